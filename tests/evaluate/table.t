#!/usr/bin/env bash
# The results table in its four formats: values, names that need escapes, what is best, all files or none.
. tests/tap.sh
. tests/evaluate/data.sh
results=$TMP/results
# set_of VERSION FILE LABELS...: scores of classes a, b for x.png, y.png, z.png; labels are below
set_of() {
    mkdir -p "$results/version_$1"
    printf 'Filename,a,b\nx.png,%s,%s\ny.png,%s,%s\nz.png,%s,%s\n' "${@:3}" >"$results/version_$1/$2_val_sigmoid.csv"
}
printf 'name,a,b\nx.png,1,0\ny.png,1,1\nz.png,0,0\n' >"$TMP/hand.csv"
set_of 'any|_b%' net_val_f1 .5 .25 .25 .75 .375 .5  # macro F1 2/3
set_of 'any|_b%' net_val_f2 .5 .25 .75 .75 .375 .5  # macro F1 (1 + 2/3) / 2
set_of bce net_val_f1 .9 .1 .8 .9 .1 .2             # all right
set_of bce net_last .1 .1 .1 .1 .1 .1               # nothing found
set_of '日本' net_val_f1 .9 .1 .8 .9 .1 .2             # as good as the best

run() { ranks "$1" "$evaluate" --results_output "$results" --labels "$TMP/hand.csv" "${@:2}"; }
tap_ok "four files" run 2 --table "$TMP/new/table.txt" "$TMP/new/table.csv" "$TMP/new/table.md" "$TMP/new/TABLE.TEX"
tap_ok "and nothing else" test "$(find "$TMP/new" -type f -printf '%f\n' | sort | tr '\n' ' ')" = "TABLE.TEX table.csv table.md table.txt "
ranks 1 bash -c '"$0" "$@" 2>/dev/null' "$evaluate" --results_output "$results" --labels "$TMP/hand.csv" >"$TMP/stdout"
tap_ok "the text file is what stdout shows" cmp "$TMP/stdout" "$TMP/new/table.txt"
has() { grep -qF -- "$2" "$TMP/new/$1"; }

tap_ok "text: a row" grep -qE '^any\|_b% +val_f1 +0.6667 +0.[0-9]+ +0.7500 +0.7500 +0.6667 +0.9167 +0.0000 +0.8000 +0.7500$' "$TMP/new/table.txt"
tap_ok "text: the best of each column: the first of equals" grep -qE '^macro F1 +1.0000 +bce +val_f1 +val_f2 +val_f1 +val_f1$' "$TMP/new/table.txt"
tap_ok "text: under the names of the versions" grep -qE '^best +value +version +checkpoint +any\|_b% +bce +日本$' "$TMP/new/table.txt"
# mirror of the rule: these two characters take two columns each and three bytes
tap_ok "text: wide characters line up" test "$(sed -n '1,/^$/{/./p}' "$TMP/new/table.txt" | sed 's/日本/1234/' | awk '{ print length($0) }' | sort -u | wc -l)" -eq 1
printf 'name,a,b\nx.png,1,0\ny.png,1,0\nz.png,1,0\n' >"$TMP/positive.csv"
tap_ok "images without a negative" ranks 1 "$evaluate" --results_output "$results" --versions bce --labels "$TMP/positive.csv" --output "$TMP/positive" \
    --table "$TMP/positive.txt" "$TMP/positive.csv.csv" "$TMP/positive.md"
tap_ok "text: undefined is a dash" grep -qE '^bce +val_f1 .* - +[01]\.[0-9]+ +-$' "$TMP/positive.txt"
tap_ok "text: nothing is best where all is undefined" grep -qE '^ROC-AUC +- +- +-$' "$TMP/positive.txt"
tap_ok "CSV: undefined is empty" grep -qE '^bce,net,val_f1,val,3,.*,,0\.[0-9]+,,,,,' "$TMP/positive.csv.csv"
tap_ok "Markdown: undefined is a dash" grep -qE '^\| bce \| val_f1 .* \| - \| [*01.]+[0-9*]+ \| - \|$' "$TMP/positive.md"

tap_ok "CSV: heading" test "$(head -1 "$TMP/new/table.csv")" = \
    'version,model,checkpoint,split,n_images,MACRO_F1,MACRO_F2,MACRO_P,MACRO_R,MICRO_F1,mAP,NEGATIVE_F1,POSITIVE_F1,ROC_AUC,CIW_F2,TUNED_MACRO_F1,TUNED_MACRO_F2,MICRO_P,MICRO_R,MICRO_F2'
tap_ok "CSV: full precision, nothing for what there is not" grep -qE '^any\|_b%,net,val_f1,val,3,0\.6666666666666666,0\.[0-9]{16},0\.75,0\.75,0\.6666666666666666,0\.916666666666666[67]*,0,0\.8,0\.75,,,,0\.6666666666666666,0\.6666666666666666,0\.6666666666666666$' "$TMP/new/table.csv"
tap_ok "CSV: five rows of twenty fields" test "$(awk -F, '{ print NF }' "$TMP/new/table.csv" | sort | uniq -c | tr -s ' ')" = " 6 20"

tap_ok "Markdown: pipes are escaped, the name is not formatted" has table.md '| any\|\_b% | val_f1 | 0.6667 |'
tap_ok "Markdown: alignment" has table.md '| :--- | :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |'
tap_ok "Markdown: the best is bold" has table.md '| bce | val_f1 | **1.0000** | **1.0000** |'
tap_ok "Markdown: so are its equals" has table.md '| 日本 | val_f1 | **1.0000** | **1.0000** |'
tap_ok "Markdown: a column of its own: recall" grep -qE '^\| any.* \| val_f2 \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \| \*\*1.0000\*\* \|' "$TMP/new/table.md"
tap_ok "Markdown: and nothing else" test "$(grep -c '\*\*' "$TMP/new/table.md")" -eq 3

tap_ok "LaTeX: names are escaped" has TABLE.TEX 'any\textbar{}\_b\% & val\_f1 & 0.6667 &'
tap_ok "LaTeX: the best is bold" has TABLE.TEX 'bce & val\_f1 & \textbf{1.0000} &'
tap_ok "LaTeX: rules of booktabs" test "$(grep -oE '(top|mid|bottom)rule|addlinespace|begin\{tabular\}\{[lr]*\}|end\{tabular\}' "$TMP/new/TABLE.TEX" | tr '\n' ' ')" = \
    'begin{tabular}{llrrrrrrrrr} toprule midrule addlinespace addlinespace bottomrule end{tabular} '
tap_ok "LaTeX: five rows and a heading of eleven cells" test "$(grep '\\\\$' "$TMP/new/TABLE.TEX" | awk -F' & ' '{ print NF }' | uniq -c | tr -s ' ')" = " 6 11"

for n in 1 3 4; do
    tap_ok "$n ranks" run "$n" --table "$TMP/n$n/table.txt" "$TMP/n$n/table.csv" "$TMP/n$n/table.md" "$TMP/n$n/TABLE.TEX"
    tap_ok "write the same" diff -r "$TMP/new" "$TMP/n$n"
done
tap_ok "one set" run 1 --versions '日本' --table "$TMP/one.md" "$TMP/one.txt"
tap_ok "is not the best of anything" test "$(grep -c '\*\*' "$TMP/one.md"; wc -l <"$TMP/one.txt")" = "0
2"
printf 'class,weight\na,1\nb,0.5\n' >"$TMP/weights.csv"
tap_ok "class weights" run 2 --label_weights "$TMP/weights.csv" --table "$TMP/weighted.md" "$TMP/weighted.csv"
tap_ok "have a column" grep -qF '| ROC-AUC | CIW-F2 |' "$TMP/weighted.md"
# F2 of a: 5 / (5 + 4), of b: 5 / (5 + 1)
tap_ok "with their mean of F2" awk -F, -v want="$(awk 'BEGIN { print (5 / 9 + .5 * 5 / 6) / 1.5 }')" \
    '$1 == "any|_b%" && $3 == "val_f1" { ok = ($15 - want) ^ 2 < 1e-10 } END { exit !ok }' "$TMP/weighted.csv"
tap_ok "tuned thresholds" run 2 --max_fbeta --table "$TMP/tuned.md" "$TMP/tuned.csv"
tap_ok "have columns of their own" grep -qF '| ROC-AUC | tuned macro F1 | tuned macro F2 |' "$TMP/tuned.md"
tap_ok "with better values" grep -qE '^any\|_b%,net,val_f1,val,3,0\.66.*,,0\.[89][0-9]*,0\.[89][0-9]*,0\.[0-9]+,0\.[0-9]+,0\.[0-9]+$' "$TMP/tuned.csv"
# refused PATTERN OPTION...: nothing was written, no JSON either
refused() {
    find "$results" -name '*.json' -delete
    says "$@" --results_output "$results" --labels "$TMP/hand.csv" && [ -z "$(find "$results" -name '*.json')" ]
}
tap_ok "an ending that says nothing" refused 2 'table.xlsx: a file name that ends with .txt, .csv, .md or .tex' 2 --table "$TMP/table.csv" "$TMP/table.xlsx"
tap_ok "no ending" refused 2 'table.d/table: a file name' 1 --table "$TMP/table.d/table"
tap_ok "an ending alone" refused 2 '/.csv: a file name' 1 --table "$TMP/.csv"
tap_ok "a file twice" refused 2 'table.csv twice' 1 --table "$TMP/table.csv" "$TMP/table.csv"
: >"$TMP/file"
tap_ok "a folder that cannot be made" refused 4 "$TMP/file" 2 --table "$TMP/table.csv" "$TMP/file/table.csv"
tap_ok "--dry_run" run 2 --dry_run --table "$TMP/dry/table.csv"
tap_ok "writes nothing" test ! -e "$TMP/dry"
mkdir "$TMP/kept" "$TMP/kept/table.md.part"
echo old >"$TMP/kept/table.csv"
tap_ok "a file that cannot be written" says 4 'table.md' 1 --results_output "$results" --labels "$TMP/hand.csv" --table "$TMP/kept/table.csv" "$TMP/kept/table.md"
tap_ok "leaves the others as they were" test "$(cat "$TMP/kept/table.csv"; ls "$TMP/kept" | tr '\n' ' ')" = "old
table.csv table.md.part "
tap_done
