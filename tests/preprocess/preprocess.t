# preprocess as a user meets it: complete shards are kept, damage and other options are seen, a killed or failing run
# leaves nothing half done.
. tests/tap.sh
export OMP_NUM_THREADS=1
data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 60 --n_val 9 --n_test 5 --size 40
pre() { # OUTPUT OPTIONS...; SHARD, SIZE, ANN and IMAGES change what is given
    "$BIN/anyclass-preprocess" --dataset coco --ann_root "${ANN:-$data/annotations}" --data_root "${IMAGES:-$data/images}" --image_size "${SIZE:-32}" \
        --shard_size "${SHARD:-7}" --output "$@"
}
tap_ok "a first run" pre "$TMP/a"
cp -r "$TMP/a" "$TMP/good"

# complete shards are kept: their files are not touched
touch -d '2001-01-01' "$TMP"/a/*.h5
rm "$TMP/a/train-00003-of-00009.h5" "$TMP/a/train-manifest.json"
tap_ok "a second run makes what is missing" pre "$TMP/a"
tap_says '8 of 9 shards are complete already' "and says how many were complete"
tap_ok "the result is the same bytes" diff -r "$TMP/a" "$TMP/good"
tap_ok "the other files were not written again" test "$(find "$TMP/a" -name '*.h5' ! -newermt 2001-01-02 | wc -l)" = 11

# other options or annotations are refused before any work
SIZE=33 tap_exit 2 "another image size is refused" pre "$TMP/a"
tap_says 'overwrite' "with the advice"
SHARD=8 tap_exit 2 "another shard size is refused" pre "$TMP/a"
tap_exit 2 "another mean is refused" pre "$TMP/a" --mean .1 .2 .3
tap_exit 2 "other decoding is refused" pre "$TMP/a" --apply_exif
tap_says 'other options' "the options are named"
tap_ok "nothing was changed" diff -r "$TMP/a" "$TMP/good"
cp -r "$TMP/a" "$TMP/b"
SHARD=8 tap_ok "--overwrite makes all anew" pre "$TMP/b" --overwrite
tap_ok "no shard of the old division is left" test "$(ls "$TMP/b" | grep -c 'train-.*-of-00009.h5')" = 0

# damage, with eight images to a shard
SHARD=8
flip() { # FILE OFFSET: one bit
    local byte; byte=$(od -An -tu1 -j "$2" -N1 "$1"); printf "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
shard=$TMP/b/train-00002-of-00008.h5
size=$(stat -c %s "$shard")
bad=0; n=0
cp "$shard" "$TMP/whole.h5"
for k in $(seq 0 19); do
    flip "$shard" $((size * k / 20 + 11)); n=$((n + 1))
    pre "$TMP/b" --verify >"$TMP/verify" 2>&1 && bad=$((bad + 1))
    grep -q 'train-00002-of-00008.h5' "$TMP/verify" || bad=$((bad + 1))
    cp "$TMP/whole.h5" "$shard"
done
tap_ok "verify finds and names each of $n flipped bits" test $bad = 0
tap_ok "verify is content with what is whole" pre "$TMP/b" --verify
flip "$shard" $((size / 2))
tap_ok "a run makes a damaged shard anew" pre "$TMP/b"
tap_ok "byte for byte" cmp "$shard" "$TMP/whole.h5"
truncate -s 100 "$shard"
tap_exit 3 "verify names a truncated shard" pre "$TMP/b" --verify
rm "$shard"
tap_exit 3 "verify names a missing shard" pre "$TMP/b" --verify
tap_says 'train-00002-of-00008.h5' "by name"
pre "$TMP/b" >/dev/null 2>&1
sed -i 's/"n_samples": 8/"n_samples": 9/' "$TMP/b/train-manifest.json"
tap_exit 3 "an edited manifest is refused" pre "$TMP/b" --verify
tap_says 'train-manifest.json: is damaged or was edited' "by its own hash"

unset SHARD

# a repaired image comes in, a rejected one is told with its reason
cp "$data/images/000000000005.jpg" "$TMP/five.jpg"
echo broken >"$data/images/000000000005.jpg"
tap_exit 3 "a broken image: exit 3" pre "$TMP/c" --splits Train
tap_ok "one line in rejected.csv" test "$(wc -l <"$TMP/c/train-rejected.csv")" = 2
tap_ok "allowed with --max_bad" pre "$TMP/c" --splits Train --max_bad 1
rm "$data/images/000000000005.jpg"
tap_exit 3 "the image is gone" pre "$TMP/c" --splits Train
tap_ok "the reason changes with it" grep -q '^000000000005.jpg,no such file' "$TMP/c/train-rejected.csv"
cp "$TMP/five.jpg" "$data/images/000000000005.jpg"
tap_ok "repaired" pre "$TMP/c" --splits Train
for f in "$TMP"/c/*.h5; do cmp "$f" "$TMP/good/$(basename "$f")"; done >"$TMP/cmp" 2>&1
tap_ok "the shards are as if it had never been broken" test ! -s "$TMP/cmp"

# killed at any moment, then run again: the same bytes, nothing left over
lost=0
for k in $(seq 10); do
    rm -rf "$TMP/k"; mkdir "$TMP/k"
    for try in 1 2; do
        "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --image_size 32 --shard_size 3 \
            --output "$TMP/k" >/dev/null 2>&1 &
        pid=$!
        sleep "0.$((10 + (k * 7 + try * 3) % 27))"
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
    done
    SHARD=3 pre "$TMP/k" >/dev/null 2>&1 || lost=$((lost + 1))
    [ $k = 1 ] && cp -r "$TMP/k" "$TMP/k1"
    diff -r "$TMP/k" "$TMP/k1" >/dev/null || lost=$((lost + 1))
done 2>/dev/null
tap_ok "20 kill -9 and 10 restarts: the same bytes each time" test $lost = 0
tap_ok "no temporary file is left" test -z "$(ls "$TMP/k" | grep -E 'part|lock')"

# a file-size limit stands for a full disk
export PMIX_MCA_gds=hash # MPI's own start then needs no file
tap_exit 4 "no room: exit 4" bash -c "$(declare -f pre); BIN=$BIN data=$data; ulimit -f 16; pre $TMP/full"
unset PMIX_MCA_gds
tap_says 'train-00000-of-00009.h5' "the line names the shard"
tap_ok "there is one line" test "$(grep -c 'error:' "$TMP/.tap_out")" = 1
tap_ok "no half file" test -z "$(ls "$TMP/full" | grep -E 'h5|part|json')"

# one run at a time
if command -v flock >/dev/null; then
    : >"$TMP/a/train.lock"
    tap_exit 4 "a lock held by another process" flock "$TMP/a/train.lock" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" \
        --data_root "$data/images" --image_size 32 --shard_size 7 --output "$TMP/a"
    tap_says 'another run' "the line says so"
    tap_ok "a lock file that nobody holds is no obstacle" pre "$TMP/a"
else
    tap_skip "locks" "flock is not installed"
fi
tap_exit 4 "an output that cannot be made" pre /proc/anyclass
: >"$TMP/file"
tap_exit 4 "an output below a file" pre "$TMP/file/x"
tap_exit 2 "--splits twice" pre "$TMP/d" --splits Train Train
ANN=$data/annotations/instances_train.json tap_exit 2 "two splits from one file" pre "$TMP/d" --splits Train Val
IMAGES=$data/annotations tap_exit 4 "the wrong image folder" pre "$TMP/d"
tap_says 'right folder' "is not taken for bad images"
tap_ok "and rejects none" test ! -e "$TMP/d/train-rejected.csv"

# what a manifest says: this split, and that it is complete
cp -r "$TMP/a" "$TMP/m"; cp "$TMP/m/val-manifest.json" "$TMP/m/train-manifest.json"
tap_exit 3 "another split's manifest is refused" pre "$TMP/m" --verify --splits Train
tap_says 'manifest of split val, not of train' "and both are named"
rm "$TMP/m/train-manifest.json"; cp "$TMP/a/train-manifest.json" "$TMP/m"
cp "$TMP/m/train-00000-of-00009.h5" "$TMP/m/train-00001-of-00009.h5"
tap_exit 3 "statistics refuses a shard in another's place" "$BIN/anyclass-preprocess" statistics --data_root "$TMP/m" --split Train
tap_says 'train-00001-of-00009.h5' "by name"
rm "$data/images/000000000005.jpg"
tap_ok "a run that tolerates a missing image" pre "$TMP/n" --splits Train --max_bad 1
tap_exit 3 "the same, not tolerated" pre "$TMP/n" --splits Train
tap_ok "leaves no manifest of the run before" test ! -e "$TMP/n/train-manifest.json"
cp "$TMP/five.jpg" "$data/images/000000000005.jpg"

# splits: a named one must be there, before the others are made; --dump_config and --config give the same run
mkdir "$TMP/two"; cp "$data"/annotations/instances_{train,val}.json "$TMP/two"
ANN=$TMP/two tap_exit 4 "a named split without annotations" pre "$TMP/p" --splits Train Test
tap_says 'splits Test' "is told by name"
tap_ok "before anything is made" test ! -e "$TMP/p"
ANN=$TMP/two pre "$TMP/p" --dump_config >"$TMP/config.json"
tap_ok "a dumped configuration leaves the same split out" "$BIN/anyclass-preprocess" --config "$TMP/config.json"
tap_ok "and makes the others" test -e "$TMP/p/val-manifest.json"

# a pipe where a file belongs is refused, not waited for
mkfifo "$TMP/pipe.csv"
tap_exit 4 "a pipe for annotations" timeout 20 "$BIN/anyclass-preprocess" --dataset csv --ann_root "$TMP/pipe.csv" --splits Train --data_root "$data/images" --output "$TMP/e"
tap_exit 4 "a pipe for COCO annotations" timeout 20 "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/pipe.csv" --splits Train --data_root "$data/images" --output "$TMP/e"
rm "$TMP/m/train-00000-of-00009.h5"; mkfifo "$TMP/m/train-00000-of-00009.h5"
tap_exit 3 "a pipe for a shard" timeout 20 "$BIN/anyclass-preprocess" verify --data_root "$TMP/m" --splits Train

# a name too long for a path is one bad image, wherever it stands
{ echo Filename,a; printf '%05000d,1\n' 0; echo 000000000005.jpg,1; } >"$TMP/long.csv"
tap_exit 3 "a name of 5000 bytes" "$BIN/anyclass-preprocess" --dataset csv --ann_root "$TMP/long.csv" --splits Train --data_root "$data/images" --output "$TMP/long" --image_size 32
tap_ok "is rejected" grep -q '0,the path is too long' "$TMP/long/train-rejected.csv"

# annotations that are damaged
printf 'Filename,a\n"a\nb.jpg",1\n' >"$TMP/train.csv"
tap_exit 3 "a file name of two lines" "$BIN/anyclass-preprocess" --dataset csv --ann_root "$TMP/train.csv" --splits Train --data_root "$data/images" --output "$TMP/e"
tap_says 'control characters' "is refused"
printf 'Filename,a,b\nx.jpg,1,0\ny.jpg,2,0\n' >"$TMP/train.csv"
tap_exit 3 "a label that is not 0 or 1" "$BIN/anyclass-preprocess" --dataset csv --ann_root "$TMP/train.csv" --splits Train --data_root "$data/images" --output "$TMP/e"
tap_says 'train.csv line 3' "file and line are named"
head -c 700 "$data/annotations/instances_train.json" >"$TMP/cut.json"
tap_exit 3 "a COCO file cut short" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/cut.json" --splits Train --data_root "$data/images" --output "$TMP/e"
tap_says 'cut.json' "the file is named"

# the real files, through all four programs
if [ -d "$SHARED/data/coco" ]; then
    coco=$SHARED/data/coco
    ann=$(find "$coco" -name 'instances*.json' | head -1); images=$(dirname "$(find "$coco" -name '*.jpg' | head -1)")
    mkdir -p "$TMP/ann"; for s in train val; do cp "$ann" "$TMP/ann/instances_$s.json"; done
    tap_ok "real COCO: preprocess" ranks 2 "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/ann" --data_root "$images" --output "$TMP/real" --image_size 64
    tap_ok "real COCO: train" ranks 2 "$BIN/anyclass-train" --data_root "$TMP/real" --log_save_dir "$TMP/logs" --version_name real --model resnet18 --batch_size 10 --max_epochs 1 --learning_rate 0.01
    tap_ok "real COCO: infer" ranks 2 "$BIN/anyclass-infer" --log_dir "$TMP/logs" --versions real --data_root "$TMP/real" --split Val --results_output "$TMP/results" --batch_size 16
    tap_ok "real COCO: evaluate" ranks 2 "$BIN/anyclass-evaluate" --results_output "$TMP/results" --versions real --split Val --data_root "$TMP/real"
    tap_ok "real COCO: metrics of the five best checkpoints" test "$(find "$TMP/results" -name '*_metrics.json' | wc -l)" = 5
else
    tap_skip "the real COCO files" "shared inputs are absent"
fi
tap_done
