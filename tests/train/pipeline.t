# The whole line on a tiny data set: shards for 1, 2, 3 ranks, training, resuming, inference.
. tests/tap.sh
. tests/train/line.sh
for n in 1 2 3; do tap_ok "preprocess on $n ranks" pre $n "$TMP/s$n"; done
tap_ok "shards for 1 and 2 ranks are the same bytes" diff -r "$TMP/s1" "$TMP/s2"
tap_ok "shards for 1 and 3 ranks are the same bytes" diff -r "$TMP/s1" "$TMP/s3"
tap_ok "verify" pre 2 "$TMP/s1" --verify
tap_ok "two epochs on 2 ranks" train 2 whole --max_epochs 2
tap_says 'augmentation of data set coco: colour, mirrored' "colours are changed unless told otherwise"
tap_ok "one epoch, then one more from the checkpoint" bash -c "$(declare -f train ranks); BIN=$BIN TMP=$TMP; train 2 cut --max_epochs 1 && train 2 cut --max_epochs 2 --checkpoint auto"
sum() { h5dump -d /model/fc.weight -d /model/layer1.0.bn1.running_var -d /optimizer/exp_avg_sq/conv1.weight "$1/last.h5" | grep -v '^HDF5'; }
if command -v h5dump >/dev/null; then
    tap_ok "the weights are the same as never stopped" bash -c "$(declare -f sum); diff <(sum $TMP/logs/version_whole) <(sum $TMP/logs/version_cut)"
else
    tap_ok "the metrics are the same as never stopped" diff "$TMP/logs/version_whole/metrics.csv" "$TMP/logs/version_cut/metrics.csv"
fi
# with synchronised statistics the number of ranks changes rounding alone: each score must meet its own image's labels
for n in 1 2 3; do
    UPDATE="--optimizer sgd --learning_rate 0.02" tap_ok "sync_bn on $n ranks" train $n sync$n --max_epochs 1 --sync_bn
done
for n in 2 3; do
    tap_ok "validation on $n ranks is that on 1" awk -F, 'FNR < 2 {next} NR == FNR {split($0, a, ","); next}
        {for (i = 3; i <= 8; i++) {d = $i - a[i]; if (d < 0) d = -d; if ($i a[i] !~ /^[0-9.e+-]+$/ || d > 1e-3 * a[i]) {print FILENAME, i, a[i], $i; bad = 1}}} END {exit bad}' \
        "$TMP/logs/version_sync1/metrics.csv" "$TMP/logs/version_sync$n/metrics.csv"
done
tap_ok "infer on 2 ranks" infer 2 "$TMP/r2"
tap_ok "infer on 1 rank" infer 1 "$TMP/r1"
tap_ok "each image once" bash -c "[ \$(cat $TMP/r2/version_whole/resnet18_val_f1_Val_sigmoid.rank*.csv | grep -v Filename | cut -d, -f1 | sort -u | wc -l) = 12 ]"
tap_ok "evaluate" ranks 2 "$BIN/anyclass-evaluate" --results_output "$TMP/r2" --versions whole --split Val --data_root "$TMP/s1"
tap_done
