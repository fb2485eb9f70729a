# What each program of the line refuses, with which exit code and words, and that it leaves nothing behind.
. tests/tap.sh
. tests/train/line.sh
tap_ok "shards" pre 1 "$TMP/s1"
tap_ok "an epoch" train 1 whole --max_epochs 1
tap_ok "scores" infer 1 "$TMP/r2"
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
