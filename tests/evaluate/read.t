#!/usr/bin/env bash
# read_cases on four ranks, each case by 1, 2, 3 and 4 of them; each group's own checks count as one here.
. tests/tap.sh
program=$BUILD/tests/evaluate/read_cases
tap_ok "scores and labels that are right: the same JSON" ranks 4 "$program" right
tap_ok "scores and labels that are wrong: the same words" ranks 4 "$program" wrong
tap_ok "labels from annotations, and their weights" ranks 4 "$program" sources
. tests/evaluate/data.sh
tap_refused 2 "either as --data_root DIR or as --labels FILE or as --dataset KIND" "labels from two sources" \
    "$evaluate" --scores "$TMP/val_sigmoid.csv" --labels "$TMP/labels.csv" --dataset csv --ann_root "$TMP/labels.csv"
tap_refused 2 "go together" "--dataset without --ann_root" "$evaluate" --scores "$TMP/val_sigmoid.csv" --dataset csv
tap_refused 2 "go together" "--ann_root without --dataset" "$evaluate" --scores "$TMP/val_sigmoid.csv" --ann_root "$TMP/labels.csv"
tap_ok "--dataset csv" ranks 2 "$evaluate" --scores "$TMP/val_sigmoid.csv" --dataset csv --ann_root "$TMP/labels.csv" --log_level debug
tap_says "read the scores of val in .* MB/s on this rank" "the log tells how fast scores were read"
tap_done
