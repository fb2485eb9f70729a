#!/usr/bin/env bash
# A sweep's elements in the table: their values beside their metrics, what is missing, which is best, means over seeds.
. tests/tap.sh
. tests/evaluate/data.sh
results=$TMP/results
# set_of VERSION FILE SCORES...: of classes a, b for x.png, y.png, z.png; labels are below
set_of() {
    mkdir -p "$results/version_$1"
    printf 'Filename,a,b\nx.png,%s,%s\ny.png,%s,%s\nz.png,%s,%s\n' "${@:3}" >"$results/version_$1/$2_val_sigmoid.csv"
}
printf 'name,a,b\nx.png,1,0\ny.png,1,1\nz.png,0,0\n' >"$TMP/hand.csv"
middling=(.5 .25 .25 .75 .375 .5)  # macro F1 2/3
good=(.5 .25 .75 .75 .375 .5)      # (1 + 2/3) / 2
right=(.9 .1 .8 .9 .1 .2)          # 1
for v in s-000 s-001 s-002 s-003 other; do set_of "$v" net_last .1 .1 .1 .1 .1 .1; done
set_of s-000 net_val_f1 "${middling[@]}"
set_of s-001 net_val_f1 "${good[@]}"
set_of s-002 net_val_f1 "${right[@]}"
set_of s-003 net_val_f1 "${middling[@]}"
set_of other net_val_f1 "${right[@]}"
cat >"$TMP/sweep.csv" <<'END'
index,version,learning_rate,optimizer,model,seed,command
0,s-000,0.01,sgd,net,1,anyclass-train --data_root 'my shards' --learning_rate 0.01 --seed 1
1,s-001,0.01,sgd,net,2,anyclass-train --data_root 'my shards' --learning_rate 0.01 --seed 2
2,s-002,0.1,adamW,net,1,"anyclass-train --data_root 'a, b' --learning_rate 0.1 --seed 1"
3,s-003,0.1,adamW,net,2,anyclass-train --data_root 'my shards' --learning_rate 0.1 --seed 2
END
run() { ranks "$1" "$evaluate" --results_output "$results" --labels "$TMP/hand.csv" "${@:2}"; }
out=$TMP/new
tap_ok "a sweep" run 2 --sweep "$TMP/sweep.csv" --best val_f1 --table "$out/table.txt" "$out/table.csv" "$out/table.md" "$out/table.tex"
has() { grep -qF -- "$2" "$out/$1"; }
tap_ok "CSV: values lead, the model stands once" test "$(head -1 "$out/table.csv" | cut -d, -f1-9)" = \
    'version,learning_rate,optimizer,seed,model,checkpoint,split,n_images,MACRO_F1'
tap_ok "CSV: a row" grep -qE '^s-001,0.01,sgd,2,net,val_f1,val,3,0\.83333333333333' "$out/table.csv"
tap_ok "CSV: eight rows of as many fields as the heading" test "$(awk -F, '{ print NF }' "$out/table.csv" | sort | uniq -c | tr -s ' ')" = " 9 23"
tap_ok "CSV: only the sweep's versions" test "$(grep -c other "$out/table.csv")" -eq 0
tap_ok "text: a row" grep -qE '^s-001 +0.01  sgd +net +2  val_f1 +0.8333 ' "$out/table.txt"
tap_ok "text: the columns are aligned" test "$(sed -n '1,/^$/{/./p}' "$out/table.txt" | awk '{ print length($0) }' | sort -u | wc -l)" -eq 1
tap_ok "Markdown: numbers to the right, words to the left" has table.md '| :--- | ---: | :--- | :--- | ---: | :--- | ---: |'
tap_ok "LaTeX: values too" has table.tex 's-001 & 0.01 & sgd & net & 2 & val\_f1 &'
tap_ok "the best is named with its values" has table.txt \
    'best macro F1: 1.0000, version s-002, checkpoint val_f1: learning_rate 0.1, optimizer adamW, model net, seed 1'
tap_ok "and its command" has table.txt "train it again: anyclass-train --data_root 'a, b' --learning_rate 0.1 --seed 1"
tap_ok "Markdown: as code" has table.md "    anyclass-train --data_root 'a, b' --learning_rate 0.1 --seed 1"
# points by mean: (1 + 2/3) / 2 and (2/3 + 5/6) / 2; deviations 1/3 and 1/6 over the square root of two
tap_ok "seeds: the better point first" grep -qE '^ +0.1  adamW +net +2 +0.8333 +0.2357 +0.6667 +1.0000$' "$out/table.txt"
tap_ok "seeds: the other" grep -qE '^ +0.01  sgd +net +2 +0.7500 +0.1179 +0.6667 +0.8333$' "$out/table.txt"
tap_ok "seeds: in this order" test "$(sed '1,/over seeds/d' "$out/table.txt" | awk '$5 == 2 || $4 == 2 { print $1 }' | tr '\n' ' ')" = "0.1 0.01 "
ranks 1 bash -c '"$0" "$@" 2>/dev/null' "$evaluate" --results_output "$results" --labels "$TMP/hand.csv" --sweep "$TMP/sweep.csv" --best val_f1 >"$TMP/stdout"
tap_ok "stdout is the text file" cmp "$TMP/stdout" "$out/table.txt"
tap_ok "another metric" run 1 --sweep "$TMP/sweep.csv" --best negative_f1 --table "$TMP/negative.txt"
tap_ok "has its name" grep -q '^best F1-Neg: ' "$TMP/negative.txt"
tap_ok "no --best, nothing named" run 1 --sweep "$TMP/sweep.csv" --table "$TMP/unnamed.txt"
tap_ok "in text" test "$(grep -c 'train it again\|over seeds' "$TMP/unnamed.txt")" -eq 0
sed 's/,seed,/,warmup_epochs,/' "$TMP/sweep.csv" >"$TMP/unseeded.csv"
tap_ok "no seeds" run 1 --sweep "$TMP/unseeded.csv" --best val_f1 --table "$TMP/unseeded.txt"
tap_ok "no means" test "$(grep -c 'over seeds' "$TMP/unseeded.txt")" -eq 0

# two are missing: the table is written all the same, the exit code tells
rm -r "$results/version_s-001"
mv "$results/version_s-003/net_val_f1_val_sigmoid.csv" "$results/version_s-003/net_val_f1_test_sigmoid.csv"
rm "$results/version_s-003/net_last_val_sigmoid.csv"
find "$results" -name '*.json' -delete
tap_ok "missing elements" says 3 '2 of the 4 elements of .*sweep.csv are missing, the first is s-001 \(no scores of val\)' 2 --results_output "$results" \
    --labels "$TMP/hand.csv" --sweep "$TMP/sweep.csv" --best val_f1 --table "$out/part.txt" "$out/part.csv" "$out/part.md"
tap_ok "the rest is there" test "$(grep -c '^s-00[02],' "$out/part.csv") $(wc -l <"$out/part.csv")" = "4 5"
tap_ok "text: they are listed" grep -qE '^s-003 +0.1  adamW +net +2  no scores of val$' "$out/part.txt"
tap_ok "Markdown: they are listed" has part.md '| s-001 | 0.01 | sgd | net | 2 | no scores of val |'
tap_ok "seeds: counted" grep -qE '^ +0.1  adamW +net +1 +1.0000 +- +1.0000 +1.0000$' "$out/part.txt"
mkdir "$TMP/logs"
tap_ok "no training is there" says 3 'none of the 4 elements is there to evaluate; the first, s-000: not begun' 2 --results_output "$results" \
    --labels "$TMP/hand.csv" --sweep "$TMP/sweep.csv" --log_dir "$TMP/logs"

# refused
one() { says "$@" --results_output "$results" --labels "$TMP/hand.csv"; }
tap_ok "--best alone" one 2 'best goes with --sweep' 2 --best val_f1
tap_ok "--versions too" one 2 'names the versions itself' 1 --sweep "$TMP/sweep.csv" --versions s-000
tap_ok "an unknown metric" one 2 'val_loss is none of val_f1 val_f2 val_ap MACRO_F1' 2 --sweep "$TMP/sweep.csv" --best val_loss
tap_ok "no such file" one 4 'nothing.csv' 2 --sweep "$TMP/nothing.csv"
tap_ok "a table of another kind" one 3 'hand.csv: the columns index, version, ..., command' 1 --sweep "$TMP/hand.csv"
sed 3d "$TMP/sweep.csv" >"$TMP/gap.csv"
tap_ok "a row is missing" one 3 'gap.csv line 3: the index is 2, wanted 1' 1 --sweep "$TMP/gap.csv"
sed '3s/,2,/,/' "$TMP/sweep.csv" >"$TMP/short.csv"
tap_ok "a row is short" one 3 'short.csv line 3: 6 fields, the heading has 7' 1 --sweep "$TMP/short.csv"
sed '3s/s-001/..\/x/' "$TMP/sweep.csv" >"$TMP/climb.csv"
tap_ok "a name that is none" one 3 'climb.csv line 3:' 1 --sweep "$TMP/climb.csv"
head -1 "$TMP/sweep.csv" >"$TMP/none.csv"
tap_ok "no elements" one 3 'none.csv: has no elements' 1 --sweep "$TMP/none.csv"
tap_ok "a table over the sweep" one 2 'this run reads that file' 1 --sweep "$TMP/sweep.csv" --table "$TMP/sweep.csv"
tap_done
