#!/usr/bin/env bash
# anyclass-evaluate compare: values and intervals, the same bytes for any ranks, order and files; what A and B may be; wrong use.
. tests/tap.sh
. tests/evaluate/data.sh
# the scores of B: those of A with some noise
awk -F, -v OFS=, 'NR > 1 { n = NF; for (i = n - 3; i <= n; i++) $i = ($i * 16 + (NR * 7 + i * 5) % 5) / 20 } { print }' "$TMP/val_sigmoid.csv" >"$TMP/other_sigmoid.csv"
tap_ok "B differs from A" bash -c '! cmp -s "$0" "$1"' "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv"
# json KEY FILE: what a comparison says of a metric
json() { sed -n "/^  \"Main\"/,/^  \"Class\"/p" "$2" | sed -n "/\"$1\": {/,/}/p"; }
run() { ranks "$1" "$evaluate" compare "${@:2}" --labels "$TMP/labels.csv"; }
tap_ok "two files" run 1 "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --output "$TMP/out/ab.json" --table "$TMP/out/ab.csv" "$TMP/out/ab.txt" "$TMP/out/ab.md" "$TMP/out/ab.tex"
"$evaluate" compare "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --labels "$TMP/labels.csv" >"$TMP/stdout" 2>"$TMP/stderr"
tap_ok "stdout is the text file" cmp "$TMP/stdout" "$TMP/out/ab.txt"
tap_ok "one row of CSV per metric and per class and metric" test "$(awk -F, '{ print NF }' "$TMP/out/ab.csv" | uniq -c | tr -s ' ')" = " 23 13"
tap_ok "nothing beside the scores" test -z "$(find "$TMP" -maxdepth 1 -name '*.json')"
tap_ok "no temporary file" test -z "$(find "$TMP" -name '*.part')"

# the values are those of anyclass-evaluate
ranks 1 "$evaluate" --scores "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --labels "$TMP/labels.csv" >"$TMP/table" 2>/dev/null
both() { # KEY: A and B of the comparison are the two files' own
    local a b
    a=$(json "$1" "$TMP/out/ab.json" | sed -n 's/.*"A": \([^,]*\),/\1/p'); b=$(json "$1" "$TMP/out/ab.json" | sed -n 's/.*"B": \([^,]*\),/\1/p')
    grep -qE "\"$1\": $a,?$" "$TMP/val_metrics.json" && grep -qE "\"$1\": $b,?$" "$TMP/other_metrics.json"
}
for key in MACRO_F1 MACRO_F2 MACRO_P MACRO_R MICRO_F1 mAP ROC_AUC NEGATIVE_F1 POSITIVE_F1; do
    tap_ok "$key is what anyclass-evaluate says" both "$key"
done

tap_ok "so is the log loss, to 1e-12" awk -v ours="$(json LOG_LOSS "$TMP/out/ab.json" | sed -n 's/.*"A": \([^,]*\),/\1/p')" \
    '/"LOG_LOSS":/ { n++; split($2, v, ","); if (v[1] !~ /[0-9]/ || ours !~ /[0-9]/ || (v[1] - ours) ^ 2 > 1e-24) bad = 1 } END { exit bad || !n }' "$TMP/val_metrics.json"
printf 'class,weight\ncrack,1\nroot,0.5\njoint,0.25\nnone,0.1\n' >"$TMP/weights.csv"
tap_ok "class weights" run 2 "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --label_weights "$TMP/weights.csv" --output "$TMP/weighted.json" --table "$TMP/weighted.csv"
ranks 1 "$evaluate" --scores "$TMP/val_sigmoid.csv" --labels "$TMP/labels.csv" --label_weights "$TMP/weights.csv" --output "$TMP/weighted" >"$TMP/table" 2>/dev/null
tap_ok "give CIW-F2, as anyclass-evaluate says" grep -qE "\"CIW_F2\": $(json CIW_F2 "$TMP/weighted.json" | sed -n 's/.*"A": \([^,]*\),/\1/p'),?\$" "$TMP/weighted/val_metrics.json"
tap_ok "with an interval around it" awk -F, '$1 == "CIW_F2" { ok = $10 < $4 && $4 < $11 && $11 - $10 < .6 } END { exit !ok }' "$TMP/weighted.csv"
tap_ok "and change nothing else" cmp <(grep -v CIW_F2 "$TMP/weighted.csv") "$TMP/out/ab.csv"

# by hand: one class, and images so many that every replicate has some of each kind. A finds none of the positives, B all and no other.
awk -v dir="$TMP" 'BEGIN {
    print "name,a" > (dir "/hand.csv"); print "Filename,a" > (dir "/hand_a.csv"); print "Filename,a" > (dir "/hand_b.csv")
    for (i = 0; i < 200; i++) { y = i % 4 == 0
        print i ".png," y > (dir "/hand.csv"); print i ".png,0.25" > (dir "/hand_a.csv"); print i ".png," (y ? 0.75 : 0.25) > (dir "/hand_b.csv") } }'
tap_ok "by hand" ranks 2 "$evaluate" compare "$TMP/hand_a.csv" "$TMP/hand_b.csv" --labels "$TMP/hand.csv" --output "$TMP/hand.json" --table "$TMP/hand.tex" "$TMP/hand_table.csv"
tap_ok "F1 from 0 to 1, surely" grep -qx 'MACRO_F1,,,0,1,1,1,1,1,0,0,1,1' "$TMP/hand_table.csv"
tap_ok "recall alike" grep -qx 'MACRO_R,,,0,1,1,1,1,1,0,0,1,1' "$TMP/hand_table.csv"
tap_ok "the positives of the class" grep -qx 'F1_CLS,a,50,0,1,1,1,1,1,0,0,1,1' "$TMP/hand_table.csv"
tap_ok "AUC from a half" grep -qx 'ROC_AUC,,,0.5,1,0.5,0.5,0.5,1,0.5,0.5,1,1' "$TMP/hand_table.csv"
# AP of constant scores is the share of positives, whose deviation is sqrt(p q / n) = .0306: 95 % are .190 to .310, 90 % .200 to .300
tap_ok "AP's interval is as wide as the share of positives says" awk -F, '$1 == "mAP" { ok = $4 == .25 && $10 > .183 && $10 < .197 && $11 > .303 && $11 < .317 } END { exit !ok }' "$TMP/hand_table.csv"
tap_ok "log loss: log(4/3) for the negatives, log(4) or log(4/3) for the positives" awk -F, '
    $1 == "LOG_LOSS" { a = .25 * log(4) + .75 * log(4 / 3); b = log(4 / 3); ok = ($4 - a) ^ 2 < 1e-24 && ($5 - b) ^ 2 < 1e-24 && $9 == 0 && $12 == $13 } END { exit !ok }' "$TMP/hand_table.csv"
tap_ok "what differs surely is bold" grep -qE '^macro F1 .*textbf\{1.0000\}' "$TMP/hand.tex"
tap_ok "a loss that falls has a minus" grep -qE '^log loss .*textbf\{\$-\$0\.[0-9]+\}' "$TMP/hand.tex"

tap_ok "A and A" run 2 "$TMP/val_sigmoid.csv" "$TMP/val_sigmoid.csv" --table "$TMP/aa.csv"
tap_ok "differ in nothing" awk -F, 'NR > 1 && $4 != "" && !($6 == 0 && $7 == 0 && $8 == 0 && $9 == .5) { bad = 1 } END { exit bad || NR != 23 }' "$TMP/aa.csv"
tap_ok "an absent class has no numbers" test "$(grep -c ',none,0,,,,,,,,,,$' "$TMP/aa.csv")" -eq 3

# same DIR RANKS LABELS A B: the same bytes as the first run
same() {
    rm -rf "$TMP/again"
    ranks "$1" "$evaluate" compare "$3" "$4" --labels "$2" --output "$TMP/again/ab.json" --table "$TMP/again/ab.csv" "$TMP/again/ab.txt" "$TMP/again/ab.md" "$TMP/again/ab.tex" &&
        diff -r "$TMP/out" "$TMP/again"
}
mkdir "$TMP/files" "$TMP/shuffled"
place=$TMP/$(basename "$TMP") # the version is the folder's name
mkdir "$place"
for name in val other; do
    shuffle "$TMP/${name}_sigmoid.csv" >"$TMP/shuffled.csv"
    split_rows "$TMP/shuffled.csv" 3 "$place/${name}_sigmoid"
done
cp "$TMP/val_sigmoid.csv" "$place/val_sigmoid.rank0.csv.part"
shuffle "$TMP/labels.csv" >"$TMP/shuffled_labels.csv"
for n in 2 3 4; do
    tap_ok "$n ranks" same "$n" "$TMP/labels.csv" "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv"
done
for n in 1 2 4; do
    tap_ok "shuffled rows in three files, of which one is named; $n ranks" same "$n" "$TMP/labels.csv" "$place/val_sigmoid.rank0000.csv" "$place/other_sigmoid.rank0001.csv"
    tap_ok "shuffled labels; $n ranks" same "$n" "$TMP/shuffled_labels.csv" "$TMP/val_sigmoid.csv" "$place/other_sigmoid.rank0000.csv"
done
tap_ok "a file in the folder where one is" bash -c 'cd "$0" && "$1" compare val_sigmoid.rank0002.csv other_sigmoid.rank0002.csv --labels ../labels.csv --dry_run' "$place" "$(realpath "$evaluate")"
tap_ok "another seed" run 1 "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --seed 2 --table "$TMP/seed.csv"
tap_ok "changes intervals" bash -c '! cmp -s <(cut -d, -f 7- "$0") <(cut -d, -f 7- "$1")' "$TMP/seed.csv" "$TMP/out/ab.csv"
tap_ok "and no value" cmp <(cut -d, -f -6 "$TMP/seed.csv") <(cut -d, -f -6 "$TMP/out/ab.csv")
tap_ok "a confidence of a half" run 1 "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --confidence .5 --table "$TMP/half.csv"
tap_ok "has narrower intervals" bash -c 'paste -d, "$0" "$1" | awk -F, '"'"'NR > 1 && $4 != "" && !($7 <= $20 && $21 <= $8) { bad = 1 } NR > 1 && $8 - $7 > 1.6 * ($21 - $20) { n++ } END { exit bad || n < 10 }'"'"'' "$TMP/out/ab.csv" "$TMP/half.csv"
tap_ok "a threshold of .3" run 1 "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --threshold .3 --table "$TMP/threshold.csv"
tap_ok "changes recall, not AP" bash -c '! cmp -s <(grep ^MACRO_R "$0") <(grep ^MACRO_R "$1") && cmp <(grep ^mAP "$0") <(grep ^mAP "$1")' "$TMP/threshold.csv" "$TMP/out/ab.csv"
tap_ok "ten replicates, eight or nine at a time" run 2 "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --n_bootstrap 10 --output "$TMP/ten.json"
tap_ok "are ten" test "$(json MICRO_F1 "$TMP/ten.json" | grep -o '"N_REPLICATES": 10$')" = '"N_REPLICATES": 10'

results=$TMP/results
mkdir -p "$results/version_bce" "$results/version_any|bce"
for metric in val_f1 val_f2; do
    split_rows "$TMP/val_sigmoid.csv" 2 "$results/version_bce/net_${metric}_val_sigmoid"
    split_rows "$TMP/other_sigmoid.csv" 2 "$results/version_any|bce/net_${metric}_val_sigmoid"
done
mkdir "$TMP/shards"
"$BUILD/tests/evaluate/write_shards" "$TMP/labels.csv" "$TMP/shards" 3 >/dev/null
tap_ok "versions, labels from shards" ranks 2 "$evaluate" compare bce 'any|bce' --results_output "$results" --data_root "$TMP/shards" --checkpoint val_f2 \
    --output "$TMP/versions.json" --table "$TMP/versions.csv" "$TMP/versions.md"
tap_ok "give the same numbers" cmp "$TMP/versions.csv" "$TMP/out/ab.csv"
tap_ok "are named" test "$(grep -E '"(VERSION|CHECKPOINT|SCORES)"' "$TMP/versions.json" | tr -d ' \n')" = \
    '"VERSION":"bce","CHECKPOINT":"val_f2","SCORES":"net_val_f2_val""VERSION":"any|bce","CHECKPOINT":"val_f2","SCORES":"net_val_f2_val"'
tap_ok "also in Markdown" grep -qF '| B | any\|bce | net_val_f2_val |' "$TMP/versions.md"
tap_ok "a version and a file" ranks 1 "$evaluate" compare bce "$TMP/other_sigmoid.csv" --results_output "$results" --labels "$TMP/labels.csv" --table "$TMP/mixed.csv"
tap_ok "give the same numbers" cmp "$TMP/mixed.csv" "$TMP/out/ab.csv"
tap_ok "--dry_run" run 2 "$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv" --dry_run --output "$TMP/dry/ab.json" --table "$TMP/dry/ab.csv"
tap_ok "writes nothing" test ! -e "$TMP/dry"

refused() { says "$1" "$2" "$3" compare "${@:4}"; }
ab=("$TMP/val_sigmoid.csv" "$TMP/other_sigmoid.csv"); labels=(--labels "$TMP/labels.csv")
tap_ok "no word" refused 2 'two score sets, A and B, not 0' 1 "${labels[@]}"
tap_ok "one word" refused 2 'two score sets, A and B, not 1' 2 "${ab[0]}" "${labels[@]}"
tap_ok "three words" refused 2 'two score sets, A and B, not 3' 1 "${ab[@]}" c "${labels[@]}"
tap_ok "no labels" refused 2 'give the labels either' 1 "${ab[@]}"
tap_ok "labels twice" refused 2 'give the labels either' 1 "${ab[@]}" "${labels[@]}" --data_root "$TMP/shards"
tap_ok "an unknown option" refused 2 'bootstrp.*n_bootstrap' 2 "${ab[@]}" "${labels[@]}" --n_bootstrp 10
tap_ok "one replicate" refused 2 n_bootstrap 1 "${ab[@]}" "${labels[@]}" --n_bootstrap 1
tap_ok "a confidence of 1" refused 2 confidence 1 "${ab[@]}" "${labels[@]}" --confidence 1
tap_ok "a table of no format" refused 2 'ab.pdf: a file name that ends' 1 "${ab[@]}" "${labels[@]}" --table "$TMP/ab.pdf"
tap_ok "a table that cannot be written" refused 4 'labels.csv' 1 "${ab[@]}" "${labels[@]}" --table "$TMP/labels.csv/ab.csv"
tap_ok "an output that cannot be written" refused 4 'labels.csv' 2 "${ab[@]}" "${labels[@]}" --output "$TMP/labels.csv/ab.json"
tap_ok "a version without a folder to look in" refused 2 'bce is no .csv file.*--results_output' 2 bce "${ab[1]}" "${labels[@]}"
tap_ok "a version that is not there" refused 4 version_none 2 bce none "${labels[@]}" --results_output "$results"
tap_ok "a checkpoint that is not there" refused 3 'bce has no scores of the checkpoint last; there are net_val_f1_val net_val_f2_val' 2 bce 'any|bce' "${labels[@]}" \
    --results_output "$results" --checkpoint last
cp "$results/version_bce/net_val_f1_val_sigmoid.rank0000.csv" "$results/version_bce/other_val_f1_val_sigmoid.rank0000.csv"
tap_ok "two models" refused 2 'several score sets for val_f1, of the models net and other: name the file' 2 bce 'any|bce' "${labels[@]}" --results_output "$results"
tap_ok "a file that is not there" refused 4 'nowhere.csv' 2 "${ab[0]}" "$TMP/nowhere.csv" "${labels[@]}"
tap_ok "rank files that are not there" refused 4 'nowhere.rank0000.csv' 2 "${ab[0]}" "$TMP/nowhere.rank0000.csv" "${labels[@]}"
sed 5d "${ab[1]}" >"$TMP/short.csv"
tap_ok "an image less in B" refused 3 'short.csv.*1 of 60 images .*0003.png' 2 "${ab[0]}" "$TMP/short.csv" "${labels[@]}"
rm "$place/other_sigmoid.rank0001.csv"
tap_ok "a rank file less in B" refused 3 'other_sigmoid.rank0000.csv \(2 files\): 20 of 60' 1 "${ab[0]}" "$place/other_sigmoid.rank0000.csv" "${labels[@]}"
tap_ok "--help" ranks 2 "$evaluate" compare --help
tap_says 'compare A B' "names the words"
tap_ok "--help of the program" ranks 1 "$evaluate" --help
tap_says 'compare A B' "names the command"

if [ -n "${PEER_PYTHON:-}" ]; then
    "$PEER_PYTHON" - "$TMP" <<'PY'
import sys
import numpy as np
import pandas as pd
rng = np.random.default_rng(3)
n, classes = 400, ["a", "b", "c"]
y = rng.random((n, 3)) < [0.3, 0.15, 0.08]
names = pd.Index([f"{i}.png" for i in range(n)], name="Filename")
z = 2.5 * y - 1.5 + rng.normal(size=(n, 3))
pd.DataFrame(y.astype(int), names, classes).to_csv(f"{sys.argv[1]}/peer_labels.csv")
for name, noise in (("peer_a", 0.3), ("peer_b", 0.8)):
    p = 1 / (1 + np.exp(-(z + noise * rng.normal(size=(n, 3)))))
    pd.DataFrame(np.round(p, 2).clip(0.01, 0.99), names, classes).to_csv(f"{sys.argv[1]}/{name}.csv")
PY
    tap_ok "random scores with ties" ranks 2 "$evaluate" compare "$TMP/peer_a.csv" "$TMP/peer_b.csv" --labels "$TMP/peer_labels.csv" --n_bootstrap 2000 --output "$TMP/peer.json"
    tap_ok "intervals of a plain bootstrap with scikit-learn" "$PEER_PYTHON" tests/evaluate/plain_bootstrap.py "$TMP/peer_labels.csv" "$TMP/peer_a.csv" "$TMP/peer_b.csv" "$TMP/peer.json" 300
else
    tap_skip "intervals of a plain bootstrap" "PEER_PYTHON is not set"
fi
tap_done
