#!/usr/bin/env bash
# Folders of versions as anyclass-infer leaves them: the table, where the JSON goes, labels from shards, --dry_run.
. tests/tap.sh
. tests/evaluate/data.sh
results=$TMP/results
for version in J_bce 'J_any|bce' empty; do mkdir -p "$results/version_$version"; done
names() { find "$1" -name '*.json' -printf '%P\n' | sort | tr '\n' ' '; }
for metric in last val_f1 val_loss; do
    split_rows "$TMP/val_sigmoid.csv" 2 "$results/version_J_bce/vit_b_16_${metric}_val_sigmoid"
done
shuffle "$TMP/val_sigmoid.csv" >"$TMP/shuffled.csv"
split_rows "$TMP/shuffled.csv" 3 "$results/version_J_any|bce/vit_b_16_val_f1_val_sigmoid"
# none of these belongs to the split Val
cp "$TMP/val_sigmoid.csv" "$results/version_J_bce/vit_b_16_val_f1_test_sigmoid.rank0000.csv"
cp "$TMP/val_sigmoid.csv" "$results/version_J_bce/vit_b_16_val_ap_val_sigmoid.rank0000.csv.part"
cp "$TMP/labels.csv" "$results/version_J_bce/notes_val.csv"

tap_ok "--dry_run checks" ranks 2 "$evaluate" --results_output "$results" --versions J_bce 'J_any|bce' --labels "$TMP/labels.csv" --dry_run
tap_ok "and writes nothing" test -z "$(names "$results")"
tap_ok "two versions side by side" ranks 2 bash -c '"$0" "$@" 2>/dev/null' "$evaluate" --results_output "$results" \
    --versions J_bce 'J_any|bce' --labels "$TMP/labels.csv"
cp "$TMP/.tap_out" "$TMP/whole"
sed -n '1,/^$/{/./p}' "$TMP/whole" >"$TMP/table"
tap_ok "the table is a header and four rows" test "$(wc -l <"$TMP/table")" -eq 5
tap_ok "stdout holds nothing else but the best of each of its nine columns" test "$(sed '1,/^$/d' "$TMP/whole" | awk '{ print $1 }' | tr '\n' ' ')" = \
    "best macro macro macro macro micro mAP F1-Neg F1-Pos ROC-AUC "
tap_ok "versions as asked for, checkpoints in order" test "$(awk 'NR > 1 { print $1, $2 }' "$TMP/table" | tr '\n' ';')" = \
    'J_bce val_loss;J_bce val_f1;J_bce last;J_any|bce val_f1;'
tap_ok "its columns are aligned" test "$(awk '{ print length($0) }' "$TMP/table" | sort -u | wc -l)" -eq 1
tap_ok "the same scores give the same numbers" test "$(awk 'NR > 1 { $1 = $2 = ""; print }' "$TMP/table" | sort -u | wc -l)" -eq 1
tap_ok "a JSON beside each set" test "$(names "$results")" = "version_J_any|bce/vit_b_16_val_f1_val_metrics.json \
version_J_bce/vit_b_16_last_val_metrics.json version_J_bce/vit_b_16_val_f1_val_metrics.json \
version_J_bce/vit_b_16_val_loss_val_metrics.json "
tap_ok "with equal bytes" cmp "$results/version_J_bce/vit_b_16_val_f1_val_metrics.json" \
    "$results/version_J_any|bce/vit_b_16_val_f1_val_metrics.json"

tap_ok "--output" ranks 2 "$evaluate" --results_output "$results" --versions 'J_any|bce' --labels "$TMP/labels.csv" --output "$TMP/deep/out"
tap_ok "has a folder per version" cmp "$TMP/deep/out/version_J_any|bce/vit_b_16_val_f1_val_metrics.json" \
    "$results/version_J_bce/vit_b_16_val_f1_val_metrics.json"
tap_ok "--split test" ranks 1 "$evaluate" --results_output "$results" --versions J_bce --split Test --labels "$TMP/labels.csv"
tap_ok "takes the other scores" test -e "$results/version_J_bce/vit_b_16_val_f1_test_metrics.json"
tap_ok "a version without scores" says 3 'version_empty holds no scores of the split val.*anyclass-infer' 2 --results_output "$results" \
    --versions J_bce empty --labels "$TMP/labels.csv"
tap_ok "a version that is not there" says 4 version_other 1 --results_output "$results" --versions other --labels "$TMP/labels.csv"
tap_ok "a version twice" says 2 'J_bce twice' 1 --results_output "$results" --versions J_bce J_bce --labels "$TMP/labels.csv"
rmdir "$results/version_empty"
cp "$results/version_J_bce/vit_b_16_last_val_sigmoid.rank0000.csv" "$results/version_J_bce/resnet18_last_val_sigmoid.rank0000.csv"
cp "$results/version_J_bce/vit_b_16_last_val_sigmoid.rank0001.csv" "$results/version_J_bce/resnet18_last_val_sigmoid.rank0001.csv"
tap_ok "all versions, two models" ranks 2 bash -c '"$0" "$@" 2>/dev/null' "$evaluate" --results_output "$results" --labels "$TMP/labels.csv"
sed -n '1,/^$/{/./p}' "$TMP/.tap_out" >"$TMP/table"
tap_ok "the model is shown" test "$(awk 'NR > 1 { print $1, $2, $3 }' "$TMP/table" | tr '\n' ';')" = \
    'J_any|bce vit_b_16 val_f1;J_bce resnet18 last;J_bce vit_b_16 val_loss;J_bce vit_b_16 val_f1;J_bce vit_b_16 last;'
tap_ok "two sets, one JSON" says 2 'both write' 1 --scores "$results"/*/vit_b_16_val_f1_val_sigmoid.rank*.csv --labels "$TMP/labels.csv" \
    --output "$TMP/one"

mkdir "$TMP/shards"
tap_ok "shards" "$BUILD/tests/evaluate/write_shards" "$TMP/labels.csv" "$TMP/shards" 3
for n in 1 2 4; do
    tap_ok "labels from shards, $n ranks" ranks "$n" "$evaluate" --results_output "$results" --versions 'J_any|bce' --data_root "$TMP/shards" \
        --output "$TMP/shards$n"
    tap_ok "give the same JSON" cmp "$TMP/shards$n/version_J_any|bce/vit_b_16_val_f1_val_metrics.json" \
        "$results/version_J_bce/vit_b_16_val_f1_val_metrics.json"
done
cp "$TMP/shards/val-00000-of-00003.h5" "$TMP/shards/val-00001-of-00003.h5"
tap_ok "an image in two shards" says 3 '0000.png has labels twice' 2 --results_output "$results" --versions 'J_any|bce' --data_root "$TMP/shards"
rm "$TMP/shards/val-00001-of-00003.h5"
tap_ok "a shard is gone" says 4 val-00001-of-00003.h5 2 --results_output "$results" --versions 'J_any|bce' --data_root "$TMP/shards"
tap_ok "--help" ranks 2 "$evaluate" --help
cp "$TMP/.tap_out" "$TMP/help"
tap_ok "comes once" test "$(grep -c -- '--results_output DIR --versions' "$TMP/help")" -eq 1
tap_ok "--version" ranks 2 "$evaluate" --version
tap_ok "--dump_config" ranks 2 "$evaluate" --dump_config --threshold .25
cp "$TMP/.tap_out" "$TMP/config"
tap_ok "comes once" test "$(grep -c '"threshold": 0.25' "$TMP/config")" -eq 1
tap_ok "an unknown option" says 2 threshold 2 --thresold .3
tap_done
