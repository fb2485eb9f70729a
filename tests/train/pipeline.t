# The whole line on a tiny data set: shards for 1, 2, 3 ranks, training, resuming, inference, refusals.
. tests/tap.sh
export OMP_NUM_THREADS=1
data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 40 --n_val 12 --n_test 8 --size 40
pre() { local n=$1 out=$2; shift 2; ranks "$n" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$out" --image_size 32 --shard_size 7 "$@"; }
for n in 1 2 3; do tap_ok "preprocess on $n ranks" pre $n "$TMP/s$n"; done
tap_ok "shards for 1 and 2 ranks are the same bytes" diff -r "$TMP/s1" "$TMP/s2"
tap_ok "shards for 1 and 3 ranks are the same bytes" diff -r "$TMP/s1" "$TMP/s3"
tap_ok "verify" pre 2 "$TMP/s1" --verify
train() { local n=$1 name=$2; shift 2; ranks "$n" "$BIN/anyclass-train" --data_root "$TMP/s1" --log_save_dir "$TMP/logs" --version_name "$name" --model resnet18 --optimizer adamW --learning_rate 0.001 --batch_size 8 "$@"; }
tap_ok "two epochs on 2 ranks" train 2 whole --max_epochs 2
tap_ok "one epoch, then one more from the checkpoint" bash -c "$(declare -f train ranks); BIN=$BIN TMP=$TMP; train 2 cut --max_epochs 1 && train 2 cut --max_epochs 2 --checkpoint auto"
sum() { h5dump -d /model/fc.weight -d /model/layer1.0.bn1.running_var -d /optimizer/exp_avg_sq/conv1.weight "$1/last.h5" | grep -v '^HDF5'; }
if command -v h5dump >/dev/null; then
    tap_ok "the weights are the same as never stopped" bash -c "$(declare -f sum); diff <(sum $TMP/logs/version_whole) <(sum $TMP/logs/version_cut)"
else
    tap_ok "the metrics are the same as never stopped" diff "$TMP/logs/version_whole/metrics.csv" "$TMP/logs/version_cut/metrics.csv"
fi
tap_ok "sync_bn" train 2 sync --max_epochs 1 --sync_bn
infer() { local n=$1 out=$2; shift 2; ranks "$n" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions whole --data_root "$TMP/s1" --split Val Test --results_output "$out" --batch_size 5 "$@"; }
tap_ok "infer on 2 ranks" infer 2 "$TMP/r2"
tap_ok "infer on 1 rank" infer 1 "$TMP/r1"
tap_ok "each image once" bash -c "[ \$(cat $TMP/r2/version_whole/resnet18_val_f1_Val_sigmoid.rank*.csv | grep -v Filename | cut -d, -f1 | sort -u | wc -l) = 12 ]"
tap_ok "evaluate" ranks 2 "$BIN/anyclass-evaluate" --results_output "$TMP/r2" --versions whole --split Val --data_root "$TMP/s1"
refuse() { local code=$1 name=$2; shift 2; tap_exit "$code" "refused: $name" "$@"; }
T="$BIN/anyclass-train --data_root $TMP/s1 --log_save_dir $TMP/x --model resnet18"
refuse 2 "unknown option" $T --lerning_rate 1
refuse 2 "value missing" $T --batch_size
refuse 2 "no number" $T --batch_size many
refuse 2 "out of range" $T --batch_size 0
refuse 2 "unknown choice" $T --optimizer adamx
refuse 2 "option given twice" $T --seed 1 --seed 2
refuse 2 "required option missing" "$BIN/anyclass-train"
refuse 2 "unknown model" "$BIN/anyclass-train" --data_root "$TMP/s1" --model resnet19
refuse 2 "unknown device" $T --device tpu
refuse 2 "batch smaller than ranks" mpirun -n 3 $T --batch_size 2
refuse 2 "batch larger than the split" $T --batch_size 41
refuse 2 "a stray word" $T extra
refuse 4 "no shards there" "$BIN/anyclass-train" --data_root "$TMP/none" --model resnet18
refuse 4 "checkpoint file missing" $T --batch_size 8 --checkpoint "$TMP/none.h5"
refuse 3 "checkpoint that is none" $T --batch_size 8 --checkpoint "$TMP/s1/train-manifest.json"
refuse 3 "checkpoint of another model" "$BIN/anyclass-train" --data_root "$TMP/s1" --log_save_dir "$TMP/x" --model resnet34 --batch_size 8 --checkpoint "$TMP/logs/version_whole/last.h5"
refuse 2 "preprocess: unknown data set kind" "$BIN/anyclass-preprocess" --dataset imagenet --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/y"
refuse 2 "preprocess: unknown split" pre 1 "$TMP/y" --splits Trian
refuse 4 "preprocess: no annotations" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP" --data_root "$data/images" --output "$TMP/y"
refuse 4 "preprocess: no image folder" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$TMP/none" --output "$TMP/y"
refuse 4 "infer: unknown version" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions nope --data_root "$TMP/s1" --results_output "$TMP/y"
refuse 2 "infer: unknown split" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions whole --data_root "$TMP/s1" --split Vla --results_output "$TMP/y"
head -c 300 "$data/images/000000000003.jpg" >"$TMP/cut.jpg" && cp "$TMP/cut.jpg" "$data/images/000000000003.jpg"
refuse 3 "preprocess: a truncated image" pre 2 "$TMP/bad" --splits Train
tap_ok "it is named in rejected.csv" grep -q '^000000000003.jpg,' "$TMP/bad/train-rejected.csv"
tap_ok "no manifest then" test ! -e "$TMP/bad/train-manifest.json"
tap_ok "tolerated when asked" pre 2 "$TMP/bad" --splits Train --max_bad 1
tap_ok "--dry_run writes nothing" bash -c "$(declare -f train ranks); BIN=$BIN TMP=$TMP; train 1 dry --dry_run && [ ! -e $TMP/logs/version_dry ]"
tap_ok "--dump_config is read back by --config" bash -c "$T --seed 9 --dump_config >$TMP/c.json && $BIN/anyclass-train --config $TMP/c.json --dump_config | diff - $TMP/c.json"
tap_done
