# Precision 16-mixed: a training on a device that has it, through steps that overflow; continued, it is the one that was never stopped, loss scale and all.
. tests/tap.sh
export OMP_NUM_THREADS=1
program=$(realpath "$BIN")/anyclass-train
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$TMP/d" --n_train 16 --n_val 2 --n_test 2 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/d/annotations" --data_root "$TMP/d/images" --output "$TMP/s" --image_size 32 --shard_size 16 --splits Train Val
# each in a folder of its own, so that all of them have the same options; train FOLDER RANKS [OPTION...]
train() {
    mkdir -p "$TMP/$1"
    (cd "$TMP/$1" && ranks "$2" "$program" --log_save_dir logs --data_root "$TMP/s" --model resnet18 --batch_size 8 --learning_rate 0.0005 --seed 2 --log_every 1 --precision 16-mixed --checkpoint auto "${@:3}")
}
tap_ok "three epochs" train whole 1 --device ref --max_epochs 3
tap_says 'gradients overflowed, no update; the loss scale is now 32768' "steps that overflow are told"
tap_says 'epoch 2 step 2/2: loss [0-9.]*, learning rate [^ ]*, gradient norm [0-9]' "and the training goes on"
cp -r "$TMP/whole" "$TMP/part"
rm "$TMP"/part/logs/version_0/events.out.*
mv "$TMP/part/logs/version_0/previous.h5" "$TMP/part/logs/version_0/last.h5" # as it was behind the second epoch
tap_ok "the third epoch once more" train part 1 --device ref --max_epochs 3
tap_says 'continuing in epoch 2 at step 0' "from the second one's checkpoint"
for file in last.h5 metrics.csv; do tap_ok "$file: the same bytes" cmp "$TMP/whole/logs/version_0/$file" "$TMP/part/logs/version_0/$file"; done
tap_ok "the checkpoint knows of skipped steps" grep -aq '"n_skipped":' "$TMP/whole/logs/version_0/last.h5"
tap_ok "continued on 2 ranks" train part 2 --device ref --max_epochs 4 --check_steps 1
tap_refused 2 '--precision 16-mixed: cpu has no activations of type f16' "a device without it" train cpu 1 --device cpu --max_epochs 1
tap_done
