# What inference does when something is wrong: one line, a documented exit code, and nothing that was complete is lost.
. tests/tap.sh
. tests/infer/setup.sh
make_version 14 5 2
I=("$infer_program" --log_dir "$TMP/logs" --data_root "$TMP/s" --versions a)
stem=resnet18_val_f1_Val

# ---- wrong use: refused before any work ----
tap_refused 2 'versions is required' "no version" "$infer_program" --log_dir "$TMP/logs" --data_root "$TMP/s" --results_output "$TMP/x"
tap_refused 2 'log_dir is required' "no log_dir" "$infer_program" --versions a --data_root "$TMP/s" --results_output "$TMP/x"
tap_refused 2 'exclude each other' "versions and a file" "${I[@]}" --checkpoint x.h5 --results_output "$TMP/x"
tap_refused 2 'give.*--data_root' "neither shards nor pictures" "$infer_program" --log_dir "$TMP/logs" --versions a --results_output "$TMP/x"
tap_refused 2 'give one of --data_root' "both" "${I[@]}" --images "$TMP" --results_output "$TMP/x"
tap_refused 2 "'f1' is none of" "unknown checkpoint" "${I[@]}" --checkpoints f1 --results_output "$TMP/x"
tap_refused 2 'val_f1 twice' "a checkpoint twice" "${I[@]}" --checkpoints val_f1 val_f1 --results_output "$TMP/x"
tap_refused 2 'names a twice' "a version twice" "${I[@]}" a --results_output "$TMP/x"
tap_refused 2 'Val twice' "a split twice" "${I[@]}" --split Val val --results_output "$TMP/x"
tap_refused 2 "no name of a version" "a version that is a path" "$infer_program" --log_dir "$TMP/logs" --versions ../logs/a --data_root "$TMP/s" --results_output "$TMP/x"
tap_refused 2 'tpu' "unknown device" "${I[@]}" --device tpu --results_output "$TMP/x"
tap_refused 2 'precision' "unknown precision" "${I[@]}" --precision 16 --results_output "$TMP/x"
cp "$TMP/logs/version_a/last.h5" "$TMP/copy.h5"
tap_refused 2 'twice' "a file twice" "$infer_program" --checkpoint "$TMP/copy.h5" "$TMP/copy.h5" --data_root "$TMP/s" --results_output "$TMP/x"
mkdir -p "$TMP/other"; cp "$TMP"/logs/version_a/epoch=*-val_loss=*.h5 "$TMP/other/copy.h5"
cmp -s "$TMP/other/copy.h5" "$TMP/copy.h5" || tap_refused 2 'two checkpoints would write' "two files of one name" "$infer_program" --checkpoint "$TMP/copy.h5" "$TMP/other/copy.h5" --data_root "$TMP/s" --results_output "$TMP/x"

# ---- checkpoints and data ----
tap_refused 4 'version_b' "a version that is not there" "$infer_program" --log_dir "$TMP/logs" --versions b --data_root "$TMP/s" --results_output "$TMP/x"
mkdir -p "$TMP/logs/version_young"; cp "$TMP/logs/version_a/last.h5" "$TMP/logs/version_young/"
tap_refused 4 'checkpoints.json.*--checkpoints last' "a training amid its first epoch" "$infer_program" --log_dir "$TMP/logs" --versions young --data_root "$TMP/s" --results_output "$TMP/x"
tap_refused 4 'none.h5' "a file that is not there" "$infer_program" --checkpoint "$TMP/none.h5" --data_root "$TMP/s" --results_output "$TMP/x"
tap_refused 3 'val-manifest.json' "a file that is no checkpoint" "$infer_program" --checkpoint "$TMP/s/val-manifest.json" --data_root "$TMP/s" --results_output "$TMP/x"
tap_refused 4 'anyclass-preprocess' "no shards" "$infer_program" --log_dir "$TMP/logs" --versions a --data_root "$TMP/none" --results_output "$TMP/x"
tap_ok "shards of 48 pixels" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/data/annotations" --data_root "$TMP/data/images" --output "$TMP/s48" --image_size 48 --splits Val
tap_refused 3 'at 32 pixels, the shards 6 at 48' "another image size" "$infer_program" --log_dir "$TMP/logs" --versions a --data_root "$TMP/s48" --results_output "$TMP/x"
size=$(stat -c %s "$TMP/logs/version_a/last.h5")
for place in 3000 $((size / 2)) $((size - 10)); do
    cp "$TMP/logs/version_a/last.h5" "$TMP/damaged.h5"
    printf '\xA5' | dd of="$TMP/damaged.h5" bs=1 seek="$place" conv=notrunc 2>/dev/null
    tap_refused 3 'damaged.h5' "a checkpoint damaged at byte $place" ranks 2 "$infer_program" --checkpoint "$TMP/damaged.h5" --data_root "$TMP/s" --results_output "$TMP/xd"
    tap_refused 3 'damaged.h5' "by --dry_run too" "$infer_program" --checkpoint "$TMP/damaged.h5" --data_root "$TMP/s" --results_output "$TMP/xd" --dry_run
done
tap_ok "no score of it" test -z "$(ls "$TMP"/xd/*.csv 2>/dev/null)"
tap_ok "nothing was written by what was refused" test ! -e "$TMP/x"
tap_ok "--dry_run" infer 2 "$TMP/x" --dry_run
tap_says 'nothing was written' "says so"
tap_ok "and writes nothing" test ! -e "$TMP/x"
cp -r "$TMP/s" "$TMP/rotten"
shard=$(echo "$TMP"/rotten/val-00000*.h5); printf '\x5A\xA5' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 3)) conv=notrunc 2>/dev/null
tap_refused 3 'val-00000-of' "bit rot in a shard" ranks 2 "$infer_program" --log_dir "$TMP/logs" --versions a --data_root "$TMP/rotten" --results_output "$TMP/xr" --checkpoints val_f1
tap_ok "a checkpoint of finite weights whose logits are infinite" "$BUILD/tests/infer/infinite" "$TMP/logs/version_a/last.h5" "$TMP/infinite.h5"
tap_refused 5 'infinite.h5: a score of .* is not a number' "scores that are not finite" ranks 2 "$infer_program" --checkpoint "$TMP/infinite.h5" --data_root "$TMP/s" --results_output "$TMP/xi"
tap_ok "none of them is written" test -z "$(ls "$TMP"/xi/*.csv* 2>/dev/null)"

# ---- what is there already ----
tap_ok "scores" infer 2 "$TMP/r" --checkpoints val_f1
sum() { cat "$TMP/r/version_a"/* | cksum; }
before=$(sum)
tap_refused 2 'another --precision' "another precision" infer 2 "$TMP/r" --checkpoints val_f1 --precision bf16-mixed
tap_refused 2 'another --precision' "by --dry_run too" infer 2 "$TMP/r" --checkpoints val_f1 --precision bf16-mixed --dry_run
cp -r "$TMP/logs" "$TMP/logs2"; cp "$TMP/other/copy.h5" "$TMP/logs2/version_a/$(basename "$TMP"/logs/version_a/epoch=*-val_f1=*.h5)"
if cmp -s "$TMP/other/copy.h5" "$TMP"/logs/version_a/epoch=*-val_f1=*.h5; then cp "$TMP/copy.h5" "$TMP/logs2/version_a/$(basename "$TMP"/logs/version_a/epoch=*-val_f1=*.h5)"; fi
tap_refused 2 'another checkpoint' "another checkpoint" "$infer_program" --log_dir "$TMP/logs2" --versions a --data_root "$TMP/s" --results_output "$TMP/r" --checkpoints val_f1
tap_ok "other pictures" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/data/annotations" --data_root "$TMP/data/images" --output "$TMP/s7" --image_size 32 --shard_size 7 --splits Val
tap_refused 2 'other images' "other shards" "$infer_program" --log_dir "$TMP/logs" --versions a --data_root "$TMP/s7" --results_output "$TMP/r" --checkpoints val_f1
tap_ok "all is as it was" test "$(sum)" = "$before"
tap_ok "another checkpoint with --overwrite" "$infer_program" --log_dir "$TMP/logs2" --versions a --data_root "$TMP/s" --results_output "$TMP/r" --checkpoints val_f1 --overwrite
tap_ok "replaces them" test "$(ls "$TMP/r/version_a" | wc -l)" = 2 -a "$(sum)" != "$before"
mv "$TMP/r/version_a/${stem}_scores.json" "$TMP/record"
tap_refused 2 'no record' "scores without a record" infer 1 "$TMP/r" --checkpoints val_f1
head -c 100 "$TMP/record" >"$TMP/r/version_a/${stem}_scores.json"
tap_refused 2 'damaged record' "a damaged record" infer 1 "$TMP/r" --checkpoints val_f1
tap_ok "with --overwrite they are made anew" infer 1 "$TMP/r" --checkpoints val_f1 --overwrite
tap_ok "--overwrite keeps what belongs to the run" infer 1 "$TMP/r" --checkpoints val_f1 --overwrite
tap_says 'complete already' "all of it"
file=$TMP/r/version_a/${stem}_sigmoid.rank0000.csv
cp "$file" "$TMP/good.csv"
bad_file() { # TEXT NAME SED
    cp "$TMP/good.csv" "$file"; sed -i "$3" "$file"
    tap_refused 3 "$1" "a complete file $2" infer 2 "$TMP/r" --checkpoints val_f1
}
bad_file "line 3: .*no score" "with a changed score" '3s/,0\.[0-9]*/,0.50/'
bad_file "line 4: .*is not in the data" "with an unknown image" '4s/^/x/'
bad_file "line 6: .*twice" "with an image twice" '5{h};6{g}'
bad_file "line 1: not the header" "of other classes" '1s/ring/wing/'
bad_file "line 7: 6 fields" "with a short row" '7s/,[^,]*$//'
mv "$TMP/r/version_a/${stem}_sigmoid.rank0000.csv" "$TMP/r/version_a/${stem}_sigmoid.rank2147483647.csv"
tap_refused 3 'rank2147483647.csv.*rename it' "a number behind which none is left" infer 2 "$TMP/r" --checkpoints val_f1
rm "$TMP/r/version_a/${stem}_sigmoid.rank2147483647.csv"
tap_ok "removed as it says" infer 2 "$TMP/r" --checkpoints val_f1
tap_ok "they are scored again" diff <(tail -n +2 "$TMP/good.csv" | sort) <(tail -qn +2 "$TMP/r/version_a/${stem}"_sigmoid.rank*.csv | sort)
listed() { grep -o '"file": "[^"]*"' "$TMP/r/version_a/${stem}_scores.json" | cut -d'"' -f4 | sort; }
tap_ok "the record lists the files that are there" diff <(listed) <(cd "$TMP/r/version_a" && ls "${stem}"_sigmoid.rank*.csv)
rm "$file"
tap_refused 3 'val-00000-of' "a file of a finished set removed, and a shard that cannot be read" "$infer_program" --log_dir "$TMP/logs" --versions a --data_root "$TMP/rotten" --results_output "$TMP/r" --checkpoints val_f1
tap_ok "the record says no more that it is finished" grep -q '"finished": false' "$TMP/r/version_a/${stem}_scores.json"
tap_ok "whole again" infer 2 "$TMP/r" --checkpoints val_f1

# ---- other programs change things meanwhile ----
line=(--log_dir "$TMP/logs" --versions a --checkpoints val_f1 --watchdog_s 20 --results_output)
tap_refused 3 'other shards of the split Val' "shards that are not the same for all ranks" mpirun -n 1 "$infer_program" --data_root "$TMP/s" "${line[@]}" "$TMP/xm" : -n 1 "$infer_program" --data_root "$TMP/s7" "${line[@]}" "$TMP/xm"
head -4 "$TMP/good.csv" >"$file.part"
exec 9<>"$file.part"; flock 9
tap_refused 4 'still writes this file' "a temporary file that a process still has open" infer 2 "$TMP/r" --checkpoints val_f1
exec 9>&-
tap_ok "once it is closed" infer 2 "$TMP/r" --checkpoints val_f1
tap_ok "it goes" no_parts "$TMP/r"

# ---- one run at a time ----
exec 9>"$TMP/r/version_a/inference.lock"
flock 9
tap_refused 4 'another run writes scores' "a folder that is locked" infer 2 "$TMP/r" --checkpoints val_f1
exec 9>&-
tap_ok "a lock that a killed run left locks nothing" infer 2 "$TMP/r" --checkpoints val_f1
tap_ok "and goes" no_parts "$TMP/r"

replaced() { # the folder of a run that has several sets to score, between two sets, or amid the second
    infer 2 "$TMP/rf" --do_val_test --batch_size 2 >"$TMP/said" 2>&1 &
    local pid=$! i status=0
    for ((i = 0; i < 3000; i++)); do ls "$TMP/rf/version_a" 2>/dev/null | grep -q "csv$" && break; sleep 0.01; done
    mv "$TMP/rf" "$TMP/rf.old"; mkdir -p "$TMP/rf/version_a"; : >"$TMP/rf/version_a/inference.lock"
    wait "$pid" || status=$?
    cat "$TMP/said"; return "$status"
}
tap_refused 4 'version_a' "a folder that was replaced while a run wrote to it" replaced
tap_ok "what is in it is another's" test "$(ls "$TMP/rf/version_a")" = inference.lock

# ---- output that cannot be written ----
: >"$TMP/file"
tap_refused 4 'file' "a file in the place of the output folder" infer 1 "$TMP/file"
if [ "$(id -u)" != 0 ]; then
    mkdir "$TMP/closed"; chmod 555 "$TMP/closed"
    tap_refused 4 'closed' "a folder that must not be written to" infer 1 "$TMP/closed/r"
else
    tap_skip "a folder that must not be written to" "root may write everywhere"
fi
limited() { LIMIT=1024 "$BUILD/tests/infer/failing_calls" --log_dir "$TMP/logs" --versions a --data_root "$TMP/s" --results_output "$1" --checkpoints val_f1 --split Train --batch_size 4; }
tap_refused 4 'File too large' "a limit of file sizes, as a full disk" limited "$TMP/small"
tap_ok "the rows that fitted are still there" test -s "$TMP/small/version_a/resnet18_val_f1_Train_sigmoid.rank0000.csv.part"
tap_ok "with room again" infer 2 "$TMP/small" --checkpoints val_f1 --split Train --batch_size 4
tap_says 'are taken over' "they are taken over"
tap_ok "each image once" test "$(tail -qn +2 "$TMP"/small/version_a/*rank*.csv | cut -d, -f1 | sort -u | wc -l)" = 24
tap_ok "nothing is left of it" no_parts "$TMP/small"
all_rows() { HOW=error AT=$1 FOLDER=$2 "$BUILD/tests/infer/failing_calls" --checkpoint "$TMP/copy.h5" --data_root "$TMP/s" --results_output "$2" --batch_size 16; }
for ((at = 15; at < 30; at++)); do # the first sync behind the rows: 14 images and a header
    rm -rf "$TMP/xs"; all_rows $at "$TMP/xs" >"$TMP/said" 2>&1
    grep -q '^failed: fsync' "$TMP/said" && break
done
tap_ok "a disk that is full when a score file is synced: no row is lost" test "$(cat "$TMP"/xs/*_Val_sigmoid.rank0000.csv.part | wc -l)" = 15
tap_done
