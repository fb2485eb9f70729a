# The whole line on a tiny data set: shards for 1, 2, 3 ranks, training, resuming, inference, refusals.
. tests/tap.sh
export OMP_NUM_THREADS=1
data=$TMP/data
n_images=${PIPELINE_IMAGES:-40}
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train "$n_images" --n_val 12 --n_test 8 --size 40
pre() { local n=$1 out=$2; shift 2; ranks "$n" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$out" --image_size 32 --shard_size 7 "$@"; }
for n in 1 2 3; do tap_ok "preprocess on $n ranks" pre $n "$TMP/s$n"; done
tap_ok "shards for 1 and 2 ranks are the same bytes" diff -r "$TMP/s1" "$TMP/s2"
tap_ok "shards for 1 and 3 ranks are the same bytes" diff -r "$TMP/s1" "$TMP/s3"
tap_ok "verify" pre 2 "$TMP/s1" --verify
train() { local n=$1 name=$2; shift 2; ranks "$n" "$BIN/anyclass-train" --data_root "$TMP/s1" --log_save_dir "$TMP/logs" --version_name "$name" --model resnet18 --batch_size 8 ${UPDATE:---optimizer adamW --learning_rate 0.001} "$@"; }
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
infer() { local n=$1 out=$2; shift 2; ranks "$n" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions whole --data_root "$TMP/s1" --split Val Test --results_output "$out" --batch_size 5 "$@"; }
tap_ok "infer on 2 ranks" infer 2 "$TMP/r2"
tap_ok "infer on 1 rank" infer 1 "$TMP/r1"
tap_ok "each image once" bash -c "[ \$(cat $TMP/r2/version_whole/resnet18_val_f1_Val_sigmoid.rank*.csv | grep -v Filename | cut -d, -f1 | sort -u | wc -l) = 12 ]"
tap_ok "evaluate" ranks 2 "$BIN/anyclass-evaluate" --results_output "$TMP/r2" --versions whole --split Val --data_root "$TMP/s1"
T="$BIN/anyclass-train --data_root $TMP/s1 --log_save_dir $TMP/x --model resnet18"
tap_refused 2 'lerning_rate.*learning_rate' "unknown option" $T --lerning_rate 1
tap_refused 2 'batch_size' "value missing" $T --batch_size
tap_refused 2 'many' "no number" $T --batch_size many
tap_refused 2 '1 ..' "out of range" $T --batch_size 0
tap_refused 2 'auto|none|colour|rotation' "unknown augmentation" $T --augment blur
tap_refused 2 'jitter_hue' "hue beyond half a turn" $T --jitter_hue 0.6
tap_refused 2 'sgd|adamW' "unknown choice" $T --optimizer adamx
tap_refused 2 'seed' "option given twice" $T --seed 1 --seed 2
tap_refused 2 'data_root' "required option missing" "$BIN/anyclass-train"
tap_refused 2 'resnet18' "unknown model" "$BIN/anyclass-train" --data_root "$TMP/s1" --batch_size 8 --model resnet19
tap_refused 2 'cpu' "unknown device" $T --batch_size 8 --device tpu
tap_refused 2 'number of ranks, 3' "batch smaller than ranks" mpirun -n 3 $T --batch_size 2
tap_refused 2 "$n_images images" "batch larger than the split" $T --batch_size $((n_images + 1))
tap_refused 2 'extra' "a stray word" $T extra
tap_refused 4 'anyclass-preprocess' "no shards there" "$BIN/anyclass-train" --data_root "$TMP/none" --model resnet18
tap_refused 4 'none.h5' "checkpoint file missing" $T --batch_size 8 --checkpoint "$TMP/none.h5"
tap_refused 3 'train-manifest.json' "checkpoint that is none" $T --batch_size 8 --checkpoint "$TMP/s1/train-manifest.json"
tap_refused 3 'resnet18' "checkpoint of another model" "$BIN/anyclass-train" --data_root "$TMP/s1" --log_save_dir "$TMP/x" --model resnet34 --batch_size 8 --checkpoint "$TMP/logs/version_whole/last.h5"
tap_refused 2 'none of sewer|coco|chest|csv' "preprocess: unknown data set kind" "$BIN/anyclass-preprocess" --dataset imagenet --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/y"
tap_refused 2 'Trian' "preprocess: unknown split" pre 1 "$TMP/y" --splits Trian
tap_refused 4 'no annotation file of --dataset coco' "preprocess: no annotations" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP" --data_root "$data/images" --output "$TMP/y"
tap_refused 4 'none' "preprocess: no image folder" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$TMP/none" --output "$TMP/y"
tap_refused 4 'nope' "infer: unknown version" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions nope --data_root "$TMP/s1" --results_output "$TMP/y"
tap_refused 2 'Vla' "infer: unknown split" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions whole --data_root "$TMP/s1" --split Vla --results_output "$TMP/y"
# labels of another data set
for s in train val; do
    { echo Filename,a,b; ls "$data/images" | head -12 | sed 's/$/,1,0/'; } >"$TMP/$s.csv"
done
tap_ok "a data set of two other classes" "$BIN/anyclass-preprocess" --dataset csv --ann_root "$TMP" --data_root "$data/images" --output "$TMP/two" --image_size 32
cp -r "$TMP/two" "$TMP/mixed"; rm "$TMP"/mixed/val-*; cp "$TMP"/s1/val-* "$TMP/mixed"
tap_refused 3 'different classes' "train: splits of different classes" "$BIN/anyclass-train" --data_root "$TMP/mixed" --log_save_dir "$TMP/x" --model resnet18 --batch_size 8
tap_refused 3 'class' "train: a checkpoint of other classes" "$BIN/anyclass-train" --data_root "$TMP/two" --log_save_dir "$TMP/x" --model resnet18 --batch_size 8 --checkpoint "$TMP/logs/version_whole/last.h5"
tap_refused 3 'class' "infer: shards of other classes" "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions whole --data_root "$TMP/two" --split Val --results_output "$TMP/y"
tap_refused 3 'class\|column' "evaluate: labels of other classes" "$BIN/anyclass-evaluate" --results_output "$TMP/r2" --versions whole --split Val --data_root "$TMP/two"
tap_ok "nothing was written by what was refused" bash -c "[ ! -e $TMP/x ] && [ ! -e $TMP/y ]"
head -c 300 "$data/images/000000000003.jpg" >"$TMP/cut.jpg" && cp "$TMP/cut.jpg" "$data/images/000000000003.jpg"
tap_refused 3 'train-rejected.csv' "preprocess: a truncated image" pre 2 "$TMP/bad" --splits Train
tap_ok "it is named in rejected.csv" grep -q '^000000000003.jpg,' "$TMP/bad/train-rejected.csv"
tap_ok "no manifest then" test ! -e "$TMP/bad/train-manifest.json"
tap_ok "tolerated when asked" pre 2 "$TMP/bad" --splits Train --max_bad 1
tap_exit 4 "--help that cannot be written" bash -c "$T --help >/dev/full"
tap_ok "--dry_run writes nothing" bash -c "$(declare -f train ranks); BIN=$BIN TMP=$TMP; train 1 dry --dry_run && [ ! -e $TMP/logs/version_dry ]"
tap_ok "--dump_config is read back by --config" bash -c "$T --seed 9 --dump_config >$TMP/c.json && $BIN/anyclass-train --config $TMP/c.json --dump_config | diff - $TMP/c.json"
tap_done
