#!/usr/bin/env bash
# Scores and labels that cannot be right are refused with exit code 3 and a message that names file and line.
. tests/tap.sh
. tests/evaluate/data.sh

# refused CODE PATTERN RANKS OPTION...: as "says", and no JSON is there
refused() {
    rm -f "$TMP"/*_metrics.json
    says "$@" && ! ls "$TMP"/*_metrics.json 2>/dev/null
}
# bad RANKS NAME PATTERN SED: the scores changed by a sed script are refused
bad() {
    sed "$4" "$TMP/val_sigmoid.csv" >"$TMP/bad.csv"
    tap_ok "$2 ($1 ranks)" refused 3 "$3" "$1" --scores "$TMP/bad.csv" --labels "$TMP/labels.csv"
}
bad 1 "a missing image" 'bad.csv.*: 1 of 60 images .*, the first is 0003.png' 5d
bad 3 "a missing image" 'bad.csv.*: 1 of 60 images .*, the first is 0003.png' 5d
bad 1 "two missing images" '2 of 60 images .*, the first is 0003.png' 5,6d
bad 1 "an image twice" '0004.png has scores twice, in bad.csv line 6 and in bad.csv line 7 ' '6p'
bad 3 "an image twice" '0004.png has scores twice, in bad.csv line 6 and in bad.csv line 7 ' '6p'
bad 1 "an unknown image" 'bad.csv line 6: the image typo.png has no labels' 's/^0004/typo/'
bad 1 "a short row" 'bad.csv line 6: the row has 4 fields, the header 5' '6s/,[^,]*$//'
bad 1 "a long row" 'bad.csv line 6: the row has 6 fields, the header 5' '6s/$/,0/'
bad 1 "NaN" 'bad.csv line 6, column none: .*nan' '6s/,[^,]*$/,nan/'
bad 1 "an empty score" 'bad.csv line 6, column none: ' '6s/,[^,]*$/,/'
bad 1 "not a number" 'bad.csv line 6, column crack: .*0.5x' '6s/,[^,]*,/,0.5x,/'
bad 1 "above 1" 'bad.csv line 6, column crack: the score 1.5 is not in 0..1' '6s/,[^,]*,/,1.5,/'
bad 1 "below 0" 'bad.csv line 6, column none: the score -0.1 is not in 0..1' '6s/,[^,]*$/,-0.1/'
bad 1 "an unknown class" 'bad.csv line 1: column rot is no class' '1s,root,rot,'
bad 1 "a missing class" 'bad.csv line 1: the header has no column for the class none' 's/,[^,]*$//'
bad 1 "a class twice" 'bad.csv line 1: two columns are named crack' '1s,root,crack,'
bad 1 "no column of names" 'bad.csv line 1: the header has no column Filename' 's/^[^,]*png,//; s/^"odd, ""7"".png",//; 1s/Filename,//'
bad 1 "an open quote" 'bad.csv line 61: ' '$s/^/"/'
: >"$TMP/empty.csv"
tap_ok "an empty file" refused 3 'empty.csv line 1: the file is empty' 1 --scores "$TMP/empty.csv" --labels "$TMP/labels.csv"
split_rows "$TMP/val_sigmoid.csv" 3 "$TMP/part"
sed -n 3p "$TMP/part.rank0002.csv" >>"$TMP/part.rank0000.csv"
for n in 1 3; do
    tap_ok "an image twice in two files ($n ranks)" refused 3 'scores twice, in part.rank0000.csv line 22 and in part.rank0002.csv line 3 ' \
        "$n" --scores "$TMP"/part.rank*.csv --labels "$TMP/labels.csv"
done
split_rows "$TMP/val_sigmoid.csv" 3 "$TMP/part"; rm "$TMP/part.rank0001.csv"
tap_ok "a rank file is missing" refused 3 'part.rank0000.csv \(2 files\): 20 of 60 images .* is inference complete' 2 \
    --scores "$TMP"/part.rank*.csv --labels "$TMP/labels.csv"

sed '6s/,[01]$/,2/' "$TMP/labels.csv" >"$TMP/bad_labels.csv"
tap_ok "a label that is not 0 or 1" refused 3 'bad_labels.csv.*line 6' 1 --scores "$TMP/val_sigmoid.csv" --labels "$TMP/bad_labels.csv"
sed 6p "$TMP/labels.csv" >"$TMP/bad_labels.csv"
tap_ok "an image with labels twice" refused 3 'bad_labels.csv.*0004.png' 1 --scores "$TMP/val_sigmoid.csv" --labels "$TMP/bad_labels.csv"

tap_ok "no score file" refused 4 'nowhere.csv' 1 --scores "$TMP/nowhere.csv" --labels "$TMP/labels.csv"
tap_ok "no label file" refused 4 'nowhere.csv' 1 --scores "$TMP/val_sigmoid.csv" --labels "$TMP/nowhere.csv"
tap_ok "no shards" refused 4 'nowhere' 1 --scores "$TMP/val_sigmoid.csv" --data_root "$TMP/nowhere"
tap_ok "not a CSV by name" refused 2 'ends with .csv' 1 --scores "$TMP/val_sigmoid.txt" --labels "$TMP/labels.csv"
tap_ok "no scores at all" refused 2 'either --results_output DIR or --scores' 1 --labels "$TMP/labels.csv"
tap_ok "no labels at all" refused 2 'either as --data_root DIR or as --labels' 1 --scores "$TMP/val_sigmoid.csv"
tap_ok "a threshold above 1" refused 2 'threshold' 2 --scores "$TMP/val_sigmoid.csv" --labels "$TMP/labels.csv" --threshold 1.5
tap_ok "--versions without results" refused 2 'goes with --results_output' 1 --scores "$TMP/val_sigmoid.csv" --labels "$TMP/labels.csv" --versions a
tap_done
