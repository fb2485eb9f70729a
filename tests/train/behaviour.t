# What a training does when something is wrong, and options that change how a step is made but not what it computes.
. tests/tap.sh
export OMP_NUM_THREADS=1
data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 64 --n_val 10 --n_test 2 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/s" --image_size 32 --shard_size 16 --splits Train Val
options=(--log_save_dir "$TMP/logs" --model resnet18 --log_every 1 --augment none)
# train RANKS NAME [BATCH=n] [RATE=r] [OPTION...]
train() {
    local n=$1 name=$2 batch=12 rate=0.005; shift 2
    while :; do case ${1:-} in BATCH=*) batch=${1#*=} ;; RATE=*) rate=${1#*=} ;; *) break ;; esac; shift; done
    ranks "$n" "$BIN/anyclass-train" "${options[@]}" --data_root "$TMP/s" --version_name "$name" --batch_size "$batch" --learning_rate "$rate" "$@"
}
losses() { grep -o 'step [0-9]*/[0-9]*: loss [^,]*' "$TMP/$1" | awk '{print $NF}'; }
# close A B TOLERANCE: as many losses, all of them numbers, each within that relative distance
close() { paste <(losses "$1") <(losses "$2") | awk -v most="$3" '!/^[0-9.e+-]+\t[0-9.e+-]+$/ {worst = 1; next} {d = $1 - $2; d = d < 0 ? -d : d; r = d / $1; if (r > worst) worst = r; n++}
    END {printf "# %d steps, largest relative difference %.2g\n", n, worst; exit !(n > 0 && worst <= most)}'; }
run() { local name=$1; shift; tap_ok "$name" train "$@"; cp "$TMP/.tap_out" "$TMP/$2"; }

# ---- the same numbers, made otherwise ----
# At a small rate: training doubles any difference every few steps, that of rounding too, the faster the larger the rate.
tap_ok "larger demo data" "$BUILD/tests/demo/make_demo_data" --output "$TMP/d64" --n_train 120 --n_val 4 --n_test 2 --size 64
tap_ok "larger shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/d64/annotations" --data_root "$TMP/d64/images" --output "$TMP/s64" --image_size 64 --splits Train Val
for n in 1 2 3; do
    tap_ok "sync_bn, $n ranks" ranks $n "$BIN/anyclass-train" "${options[@]}" --version_name sync$n --data_root "$TMP/s64" --batch_size 24 --learning_rate 0.00001 --sync_bn --max_epochs 6
    cp "$TMP/.tap_out" "$TMP/sync$n"
done
tap_ok "30 steps" test "$(losses sync1 | wc -l)" = 30
for n in 2 3; do
    close sync1 sync$n 1e-5; tap_ok "losses of 30 steps with --sync_bn: $n ranks as 1, within 1e-5" close sync1 sync$n 1e-5
done
run "2 ranks" 2 ranks2 --max_epochs 2
run "2 micro-batches on 1 rank" 1 micro6 --max_epochs 2 --micro_batch 6
close ranks2 micro6 2e-6; tap_ok "are 2 ranks without sync_bn" close ranks2 micro6 2e-6
run "micro-batches of 5, 5 and 2 become 4, 4, 4" 1 micro5 --max_epochs 1 --micro_batch 5
run "unequal micro-batches on unequal slices" 2 micro_odd BATCH=15 --max_epochs 1 --micro_batch 3
tap_says 'gradients of 3 micro-batches of 3 images' "3 micro-batches on each rank"
run "micro-batches as large as the slice" 1 micro12 --max_epochs 1 --micro_batch 12
run "no micro-batches" 1 micro0 --max_epochs 1
tap_ok "are none" diff <(losses micro12) <(losses micro0)

# ---- something is wrong ----
tap_ok "an epoch" train 2 nan --max_epochs 1
sum=$(cat "$TMP"/logs/version_nan/*.h5 | cksum)
damaged() { local n=$1 what=$2 name=$3; shift 3; DAMAGE=$what ranks "$n" "$BUILD/tests/train/damaged_rank" "${options[@]}" --data_root "$TMP/s" --batch_size 12 --version_name "$name" "$@"; }
tap_refused 5 'not a number in epoch 1, step 3, first for image 0' "a parameter that is not a number" damaged 2 nan nan --checkpoint auto --max_epochs 2
tap_ok "what was saved is as it was" test "$(cat "$TMP"/logs/version_nan/*.h5 | cksum)" = "$sum"
tap_refused 6 'after step 3 the parameters of rank 1 differ' "a bit changed on one of 2 ranks" damaged 2 bit drift --check_steps 1
tap_refused 6 'after step 4 the parameters of rank 2 differ' "on one of 3, found at the next check" damaged 3 bit drift --check_steps 4
tap_refused 2 'holds a training already' "a folder with a training, nothing said about it" train 1 nan
tap_ok "begun anew" train 1 nan --overwrite --max_epochs 1
tap_ok "one row for its epoch" test "$(wc -l <"$TMP/logs/version_nan/metrics.csv")" = 2
tap_ok "nothing left to do" train 1 nan --checkpoint auto --max_epochs 1
tap_says 'nothing is left' "which is said"

# A rank of a training that is stopped or dies: the other's own exit code, which mpirun does not tell, and its line.
cat >"$TMP/keep" <<'EOF'
trap : TERM
"$@" && code=0 || code=$?
echo "$code" >"$KEEP_IN.$OMPI_COMM_WORLD_RANK"
EOF
other_ends() { # SIGNAL RANK CODE TEXT
    local launcher pids victim=0 other=$((1 - $2))
    rm -f "$TMP"/code.*
    : >"$TMP/said" # what the run before said is not to be taken for this one's
    KEEP_IN=$TMP/code mpirun --quiet -n 2 bash "$TMP/keep" "$BIN/anyclass-train" "${options[@]}" --data_root "$TMP/s" --version_name gone --overwrite --batch_size 12 \
        --max_epochs 100000 --watchdog_s 5 >"$TMP/said" 2>&1 &
    launcher=$!
    until_true 60 grep -q 'step 3/' "$TMP/said"
    pids=$(pgrep -P "$(pgrep -P "$launcher" bash | tr '\n' ',' | sed 's/,$//')" anyclass-train)
    for victim in $pids; do tr '\0' '\n' <"/proc/$victim/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$2" && break; done
    [ "$victim" -eq 0 ] || kill "-$1" "$victim"
    until_true 20 test -e "$TMP/code.$other"
    [ "$victim" -eq 0 ] || kill -KILL "$victim" 2>/dev/null
    until_true 10 gone "$launcher"
    kill -KILL "$launcher" 2>/dev/null
    tail -5 "$TMP/said"; echo "code $(cat "$TMP/code.$other")"
    [ "$(cat "$TMP/code.$other")" = "$3" ] && [ "$(grep -c 'error: ' "$TMP/said")" = 1 ] && grep 'error: ' "$TMP/said" | grep -q -- "$4"
}
for r in 0 1; do
    tap_ok "rank $r of 2 is stopped: the other ends with 7 and names it" other_ends STOP $r 7 "rank $r on .*last known"
    tap_ok "rank $r of 2 is killed: the other ends with 6 and names it" other_ends KILL $r 6 "rank $r on .*died"
done
tap_ok "what was saved can be continued" train 2 gone --checkpoint auto --max_epochs 1

# ---- folders and files that change or cannot be used ----
tap_ok "a training" train 1 whole --max_epochs 2
tap_ok "another one begins from its checkpoint" train 1 from --max_epochs 3 --checkpoint "$TMP/logs/version_whole/last.h5"
tap_says 'continuing in epoch 2 at step 0' "behind its last epoch"
tap_refused 2 'holds a training already' "but not in a folder with its own" train 1 from --checkpoint "$TMP/logs/version_whole/last.h5"
rm "$TMP"/logs/version_from/*.h5
tap_refused 2 'holds a training already' "nor where rows of epochs are left" train 1 from
mv "$TMP/logs/version_whole/metrics.csv" "$TMP/rows"; mkdir "$TMP/logs/version_whole/metrics.csv"
tap_refused 4 'metrics.csv' "a folder in the place of metrics.csv" train 1 whole --checkpoint auto --max_epochs 3
rmdir "$TMP/logs/version_whole/metrics.csv"; mv "$TMP/rows" "$TMP/logs/version_whole/metrics.csv"
tap_ok "the steps of a resumed epoch count" train 1 steps --max_epochs 1 --max_steps 4 --checkpoint_steps 2
pipe_ends() { "$BIN/anyclass-train" "${options[@]}" --data_root "$TMP/s" --version_name pipe --batch_size 12 --max_epochs 1 2>&1 | head -1; return "${PIPESTATUS[0]}"; }
tap_ok "the reader of its log ends: the training goes on" pipe_ends

# ---- wrong use ----
tap_refused 2 'begins anew' "both --overwrite and --checkpoint" train 1 x --overwrite --checkpoint auto
tap_refused 2 'min_lr' "a smallest rate above the largest" train 1 x --min_lr 1
tap_refused 2 'lr_steps' "steps out of order" train 1 x --schedule multistep --lr_steps 8 4
tap_refused 2 'tf32' "a precision of GPUs" train 1 x --precision tf32
tap_refused 2 '16-mixed' "another one" train 1 x --precision 16-mixed
tap_refused 2 'needs a file' "an empty checkpoint" train 1 x --checkpoint ""
tap_refused 2 'version_name' "a name longer than a file's" train 1 "$(printf 'n%.0s' $(seq 260))"
tap_refused 2 'version_name' "a version that is no name" train 1 a/b
tap_refused 2 'multiple of the ranks' "micro-batches that do not fit all ranks" train 2 x BATCH=13 --micro_batch 1
tap_ok "an option without effect" train 1 x --dry_run --optimizer adamW --momentum 0.5
tap_says 'momentum has no effect' "is warned of"
tap_ok "stopped amid an epoch" train 1 amid --max_epochs 1 --checkpoint_steps 2 --max_steps 2
tap_refused 2 'another --optimizer' "a checkpoint of another optimiser" train 1 nan --checkpoint auto --max_epochs 2 --optimizer adamW
tap_done
