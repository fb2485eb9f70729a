#!/usr/bin/env bash
# The JSON of a score set is the same bytes for 1-4 ranks, rows in any order, any split into files, and any way to write
# the same CSV; its values are those worked out by hand.
. tests/tap.sh
. tests/evaluate/data.sh

# run_in DIR RANKS: evaluate DIR/val_sigmoid*.csv, compare the JSON with the first one
run_in() {
    rm -f "$1/val_metrics.json"
    ranks "$2" "$evaluate" --scores "$1"/val_sigmoid*.csv --labels "$TMP/labels.csv" && cmp "$1/val_metrics.json" "$TMP/val_metrics.json"
}
tap_ok "one rank, one file" ranks 1 "$evaluate" --scores "$TMP/val_sigmoid.csv" --labels "$TMP/labels.csv"
cp "$TMP/.tap_out" "$TMP/table"
tap_ok "no temporary file is left" test -z "$(find "$TMP" -name '*.part')"
tap_ok "the absent class is listed" grep -A1 '"ABSENT_CLASSES"' "$TMP/val_metrics.json"
tap_ok "and warned of" grep -q 'shows none:' "$TMP/table"
tap_ok "and null" grep -q '"F1_CLS": \[.*, null\]' "$TMP/val_metrics.json"

mkdir "$TMP/same" "$TMP/shuffled" "$TMP/columns" "$TMP/crlf"
cp "$TMP/val_sigmoid.csv" "$TMP/same"
shuffle "$TMP/val_sigmoid.csv" >"$TMP/shuffled/val_sigmoid.csv"
tap_ok "the shuffled rows are in another order" test "$(sed -n 2p "$TMP/shuffled/val_sigmoid.csv")" != "$(sed -n 2p "$TMP/val_sigmoid.csv")"
sed 's/"odd, ""7"".png"/odd/' "$TMP/val_sigmoid.csv" | awk -F, -v OFS=, '{ print $4, $1, $2, $5, $3 }' |
    sed 's/,odd,/,"odd, ""7"".png",/' >"$TMP/columns/val_sigmoid.csv"
{ printf '\357\273\277'; sed 's/^\([0-9.png]*\),/"\1",/; s/$/\r/' "$TMP/val_sigmoid.csv" | head -c -2; } >"$TMP/crlf/val_sigmoid.csv"
for n in 1 2 3 4; do
    tap_ok "$n ranks, one file" run_in "$TMP/same" "$n"
    tap_ok "$n ranks, shuffled rows" run_in "$TMP/shuffled" "$n"
done
tap_ok "classes in other columns, the name in the second" run_in "$TMP/columns" 2
tap_ok "CRLF, byte-order mark, quoted names, no last newline" run_in "$TMP/crlf" 2
for files in 2 3 7; do
    mkdir "$TMP/files$files"
    split_rows "$TMP/shuffled/val_sigmoid.csv" "$files" "$TMP/files$files/val_sigmoid"
    tap_ok "1 rank, $files files" run_in "$TMP/files$files" 1
    tap_ok "4 ranks, $files files" run_in "$TMP/files$files" 4
done
head -1 "$TMP/val_sigmoid.csv" >"$TMP/files2/val_sigmoid.rank0002.csv"
tap_ok "a rank file with a header alone" run_in "$TMP/files2" 3

# by hand, threshold 1/2: a: TP FN, ranks 1 and 3 of 3 -> AP (1 + 2/3)/2, AUC 1/2; b: one TP, one FP
cat >"$TMP/hand.csv" <<'END'
name,a,b
x.png,1,0
y.png,1,1
z.png,0,0
END
cat >"$TMP/hand_val_f1_val_sigmoid.csv" <<'END'
Filename,b,a
y.png,0.75,0.25
z.png,0.5,0.375
x.png,0.25,0.5
END
tap_ok "a table by hand" ranks 2 "$evaluate" --scores "$TMP/hand_val_f1_val_sigmoid.csv" --labels "$TMP/hand.csv"
cp "$TMP/.tap_out" "$TMP/table"
for want in '"P_CLS": \[1, 0.5\]' '"R_CLS": \[0.5, 1\]' '"F1_CLS": \[0.6666666666666666, 0.6666666666666666\]' \
    '"AP_CLS": \[0.833333333333333[34], 1\]' '"ROC_AUC_CLS": \[0.5, 1\]' '"N_IMAGES": 3' '"NEGATIVE_F1": 0,' \
    '"POSITIVE_F1": 0.8,' '"MACRO_P": 0.75' '"LabelWeights": null'; do
    tap_ok "has $want" grep -q "$want" "$TMP/hand_val_f1_val_metrics.json"
done
tap_ok "its row of the table" grep -qE 'val_f1 +0.6667 +[0-9.]+ +0.7500 +0.7500 +0.6667 +0.9167 +0.0000 +0.8000 +0.7500$' "$TMP/table"
tap_ok "members in the promised order" test "$(grep -oE '^  "[A-Za-z]+"' "$TMP/hand_val_f1_val_metrics.json" | tr -d ' "' | tr '\n' ' ')" \
    = "Highlights Main Meta Class Labels LabelWeights "
tap_ok "a threshold of 0.25" ranks 2 "$evaluate" --scores "$TMP/hand_val_f1_val_sigmoid.csv" --labels "$TMP/hand.csv" --threshold .25
tap_ok "is reached by 0.25" grep -q '"NP": \[3, 3\]' "$TMP/hand_val_f1_val_metrics.json"
tap_done
