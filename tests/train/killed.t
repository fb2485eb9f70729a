# A training killed at any instant and run again ends as if it had never been killed: 2 ranks, killed (one rank or both) at
# random times, in steps, validation or saving, and started anew with --checkpoint auto until it is done (KILLS=50 for more).
. tests/tap.sh
export OMP_NUM_THREADS=1
n_kills=${KILLS:-12}
RANDOM=${KILL_SEED:-20261}
data=$TMP/data
program=$(realpath "$BIN/anyclass-train")
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 36 --n_val 20 --n_test 2 --size 40
tap_ok "shards" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" --output "$TMP/s" --image_size 32 --shard_size 16 --splits Train Val
# each in a folder of its own, so that all of them have the same options
train() { # NAME [OPTION...]
    mkdir -p "$TMP/$1" && cd "$TMP/$1" || exit 1
    shift
    exec mpirun -n 2 "$program" --data_root "$TMP/s" --log_save_dir logs --version_name 0 --model resnet18 --batch_size 8 \
        --optimizer adamW --learning_rate 0.001 --max_epochs 5 --checkpoint_steps 3 --log_every 1 --checkpoint auto "$@"
}
now_ms() { echo $(($(date +%s%N) / 1000000)); }

begin=$(now_ms)
tap_ok "never killed" bash -c "$(declare -f train); TMP=$TMP program=$program; train whole"
whole_ms=$(($(now_ms) - begin))

# one start of version $1, killed after $2 ms unless it is done before; status 0: it is done
one_start() {
    local launcher pids victim status=0 end
    (train "$1" >"$TMP/out" 2>&1) &
    launcher=$!
    end=$(($(now_ms) + $2))
    while kill -0 "$launcher" 2>/dev/null && [ "$(now_ms)" -lt "$end" ]; do sleep 0.01; done
    pids=$(pgrep -P "$launcher" anyclass-train)
    if [ -n "$pids" ] && kill -0 "$launcher" 2>/dev/null; then
        ls "$TMP/$1/logs/version_0/"*.part >/dev/null 2>&1 && n_saving=$((n_saving + 1))
        case $((RANDOM % 3)) in
            0) victim=$(echo "$pids" | head -1) ;;
            1) victim=$(echo "$pids" | tail -1) ;;
            *) victim=$pids ;;
        esac
        kill -9 $victim 2>/dev/null && n_killed=$((n_killed + 1))
        for _ in $(seq 100); do kill -0 "$launcher" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$launcher" $pids 2>/dev/null # a launcher that does not notice
        wait "$launcher" 2>/dev/null
        return 1
    fi
    wait "$launcher" || status=$?
    [ "$status" -eq 0 ] || [ "$status" -ge 128 ] || { cat "$TMP/out"; return 2; }
    return "$status"
}

n_killed=0 n_saving=0 n_runs=0 n_steps=0 problem=
while [ "$n_killed" -lt "$n_kills" ] && [ -z "$problem" ]; do
    name=cut$n_runs status=1
    while [ "$status" -eq 1 ] && [ "$n_killed" -lt "$n_kills" ]; do
        status=0; one_start "$name" $((200 + RANDOM % whole_ms)) || status=$?
        n_steps=$((n_steps + 1))
    done
    while [ "$status" -eq 1 ]; do status=0; one_start "$name" 60000 || status=$?; done # to the end, after the last kill
    [ "$status" -eq 0 ] || problem="ended with $status: $(tail -3 "$TMP/out")"
    for file in last.h5 metrics.csv checkpoints.json; do
        cmp -s "$TMP/whole/logs/version_0/$file" "$TMP/$name/logs/version_0/$file" || problem+=" $name: $file differs"
    done
    [ "$(ls "$TMP/whole/logs/version_0" | grep '^epoch=')" = "$(ls "$TMP/$name/logs/version_0" | grep '^epoch=')" ] || problem+=" $name: other best checkpoints"
    for file in "$TMP/whole/logs/version_0"/epoch=*; do cmp -s "$file" "$TMP/$name/logs/version_0/${file##*/}" || problem+=" $name: ${file##*/} differs"; done
    n_runs=$((n_runs + 1))
    [ -n "$problem" ] || rm -rf "$TMP/$name"
done
echo "# $n_killed kills, $n_saving of them with a file being written, in $n_runs trainings; one undisturbed takes $whole_ms ms"
[ -z "$problem" ] || echo "# $problem"
tap_ok "weights, optimiser, best checkpoints, table and metrics.csv after $n_kills kills: the same bytes as never killed" test -z "$problem"
tap_done
