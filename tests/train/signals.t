# SIGUSR1 or SIGTERM to one rank or to both of a training at random times (STOPS=20 for more): exit code 75, no step lost and none made twice,
# and the end is that of a training that was never stopped.
. tests/tap.sh
export OMP_NUM_THREADS=1
n_stops=${STOPS:-8}
RANDOM=${STOP_SEED:-75}
data=$TMP/data
program=$(realpath "$BIN/anyclass-train")
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 32 --n_val 24 --n_test 2 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/s" --image_size 32 --shard_size 16 --splits Train Val
# each in a folder of its own, so that all of them have the same options
train() { # NAME [OPTION...]
    mkdir -p "$TMP/$1" && cd "$TMP/$1" || exit 1
    shift
    exec mpirun -n 2 "$program" --data_root "$TMP/s" --log_save_dir logs --version_name 0 --model resnet18 --batch_size 8 \
        --optimizer sgd --learning_rate 0.01 --max_epochs 12 --log_every 1 --checkpoint auto "$@"
}
now_ms() { echo $(($(date +%s%N) / 1000000)); }
begin=$(now_ms)
tap_ok "never stopped" bash -c "$(declare -f train); TMP=$TMP program=$program; train whole"
cp "$TMP/.tap_out" "$TMP/whole.log"
whole_ms=$(($(now_ms) - begin))

n_stopped=0 n_runs=0 problem=
# one start of version $1, signalled $2 ms after it says that it runs; the exit code is the launcher's
one_start() {
    local launcher status=0 victims=() name=$1
    : >"$TMP/out"
    (train "$name" >"$TMP/out" 2>&1) &
    launcher=$!
    until_true 60 grep -q 'loader:' "$TMP/out"
    sleep "$(printf '%d.%03d' $(($2 / 1000)) $(($2 % 1000)))"
    mapfile -t victims < <(pgrep -P "$launcher" anyclass-train)
    [ $((RANDOM % 2)) = 0 ] && victims=("${victims[$((RANDOM % 2))]:-}")
    [ -z "${victims[0]:-}" ] || kill -s "$([ $((RANDOM % 2)) = 0 ] && echo USR1 || echo TERM)" "${victims[@]}" 2>/dev/null
    wait "$launcher" || status=$?
    cat "$TMP/out" >>"$TMP/$name.log"
    return "$status"
}
steps() { grep -o 'epoch [0-9]* step [0-9]*/[0-9]*: loss [^,]*' "$1"; }
while [ "$n_stopped" -lt "$n_stops" ] && [ -z "$problem" ]; do
    name=cut$n_runs status=75
    while [ "$status" -eq 75 ]; do
        delay=$((n_stopped < n_stops ? RANDOM % (whole_ms * 2 / 3) : 60000))
        [ "$delay" -eq 60000 ] && { status=0; (train "$name" >"$TMP/out" 2>&1) || status=$?; cat "$TMP/out" >>"$TMP/$name.log"; break; }
        status=0; one_start "$name" "$delay" || status=$?
        if [ "$status" -eq 75 ]; then
            n_stopped=$((n_stopped + 1))
            [ "$(grep -c 'error: stopped by signal 1[05]' "$TMP/out")" -eq 1 ] || problem="no line, or more than one, says why it stopped"
        fi
    done
    [ "$status" -eq 0 ] || problem="exit code $status: $(tail -3 "$TMP/out")"
    diff <(steps "$TMP/whole.log") <(steps "$TMP/$name.log") >"$TMP/diff" || problem+=" other steps: $(head -5 "$TMP/diff")"
    for file in last.h5 metrics.csv checkpoints.json; do
        cmp -s "$TMP/whole/logs/version_0/$file" "$TMP/$name/logs/version_0/$file" || problem+=" $name: $file differs"
    done
    n_runs=$((n_runs + 1))
done
echo "# stopped $n_stopped times in $n_runs trainings"
[ -z "$problem" ] || echo "# $problem"
tap_ok "$n_stopped stops: exit code 75, one line each, the same steps with the same losses, the same files in the end" test -z "$problem"

(train early >"$TMP/out" 2>&1) & launcher=$!
both_there() { pids=$(pgrep -P "$launcher" anyclass-train) && [ "$(echo $pids | wc -w)" = 2 ]; }
until_true 60 both_there
sleep 0.15; kill -USR1 $pids; status=0; wait "$launcher" || status=$?
tap_ok "a signal while the program starts: exit code 75" test "$status" -eq 75
tap_done
