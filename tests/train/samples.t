# The trainer itself: which samples make up each global step (the same list, in the same order, on 1, 2, 3 and 5 ranks, in
# micro-batches, continued in mid-epoch on another number of ranks), and what becomes of a rank that fails alone.
. tests/tap.sh
export OMP_NUM_THREADS=1
data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 53 --n_val 7 --n_test 5 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/s" --image_size 32 --shard_size 9
list() { # RANKS BATCH SEED: the lines on stdout, into a file of that name
    ranks "$1" "$BUILD/tests/train/list_samples" --data_root "$TMP/s" --model resnet18 --batch_size "$2" --seed "$3" --log_save_dir "$TMP/none" >"$TMP/$1-$2-$3"
}
for batch in 5 8; do
    for n in 1 2 3 5; do tap_ok "$n ranks, batch $batch" list $n $batch 1; done
    for n in 2 3 5; do tap_ok "$n ranks, batch $batch: the samples of 1 rank" cmp "$TMP/1-$batch-1" "$TMP/$n-$batch-1"; done
done
epoch() { grep "^$1 " "$2" | sed 's/^[^:]*://' | tr ' ' '\n' | grep . ; }
tap_ok "6 whole steps of 8 in an epoch" test "$(grep -c '^0 ' "$TMP/1-8-1")" = 6
tap_ok "no sample twice in an epoch" test "$(epoch 0 "$TMP/1-8-1" | sort -u | wc -l)" = 48
tap_ok "entered at step 2: the same steps" test "$(grep -c '^1 2:' "$TMP/1-8-1")/$(grep '^1 ' "$TMP/1-8-1" | sort -u | wc -l)" = 2/6
tap_ok "epochs differ" bash -c "! diff -q <(grep '^0 ' $TMP/1-8-1 | cut -d: -f2) <(grep '^1 ' $TMP/1-8-1 | head -6 | cut -d: -f2) >$TMP/null"
tap_ok "another seed" list 2 8 2
tap_ok "gives another order" bash -c "! cmp -s $TMP/1-8-1 $TMP/2-8-2"

# gradients accumulated over micro-batches, of one size and of two
micro() { # RANKS BATCH MICRO_BATCH
    ranks "$1" "$BUILD/tests/train/list_samples" --data_root "$TMP/s" --model resnet18 --batch_size "$2" --micro_batch "$3" --seed 1 --log_save_dir "$TMP/none" >"$TMP/micro-$1-$2-$3"
}
for of in "1 8 3" "1 5 1" "2 8 2" "2 8 3" "3 8 2" "5 8 1"; do
    set -- $of
    if [ "$1 $2 $3" = "5 8 1" ]; then
        tap_exit 2 "5 ranks, batch 8: micro-batches of 1 do not come out even" micro $of
    else
        tap_ok "$1 ranks, batch $2 in micro-batches of $3" micro $of
        tap_ok "the same samples in the same order" cmp "$TMP/1-$2-1" "$TMP/micro-$1-$2-$3"
    fi
done

# saved in mid-epoch on one number of ranks, continued on others: the rest of the epoch as it would have been
at() { # RANKS [NAME=VALUE]: version 0 of folder $TMP/at, continued if there is something to continue
    ranks "$1" env "${2:-NONE=}" "$BUILD/tests/train/list_samples" --data_root "$TMP/s" --model resnet18 --batch_size 8 --seed 1 --log_save_dir "$TMP/at" --checkpoint auto >"$TMP/at-$1"
}
grep '^1 ' "$TMP/1-8-1" | head -6 | tail -n +5 >"$TMP/rest" # epoch 1 from step 4 on
for n in 1 2 3 5; do
    rm -rf "$TMP/at"
    tap_ok "$n ranks save epoch 1, step 4" at $n "SAVE_AT=1 4"
    for m in 1 2 3 5; do
        [ $m = $n ] && continue
        tap_ok "continued on $m" at $m
        tap_ok "$n ranks, then $m: the rest of the epoch" cmp "$TMP/rest" "$TMP/at-$m"
    done
done

# the data set is COCO: colours, in training alone
tap_ok "training images are augmented as the reference does it" grep -qx 'train: kind 1, 0.1 0.1 0.1 0.1, 5 degrees, flip 1, seed 1' "$TMP/1-8-1"
tap_ok "validation images are left alone" grep -q '^val: kind 0, .* flip 0' "$TMP/1-8-1"
tap_ok "augmentation by options" bash -c "$(declare -f ranks); ranks 1 $BUILD/tests/train/list_samples --data_root $TMP/s --model resnet18 --batch_size 8 --augment rotation --rotation_degrees 7 --no_flip --log_save_dir $TMP/none >$TMP/rotated"
tap_ok "reaches the graph" grep -q '^train: kind 2, .* 7 degrees, flip 0' "$TMP/rotated"

# a rank that fails alone in its backward: nobody hangs, everybody says who and why
for n in 1 2 3; do
    tap_refused 5 "$([ $n = 1 ] || echo "rank $((n - 1)): ").*was made to fail" "a failing kernel on the last of $n ranks" \
        timeout 60 mpirun -n $n "$BUILD/tests/train/failing_rank" --data_root "$TMP/s" --model resnet18 --batch_size 8 --bucket_mib 1 --log_save_dir "$TMP/none"
done
tap_done
