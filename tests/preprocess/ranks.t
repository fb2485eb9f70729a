# preprocess on several ranks: the same bytes for any number of ranks and threads, all ranks at work, killed anywhere,
# and a target that fills up or cannot be written.
. tests/tap.sh
data=$TMP/data
tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$data" --n_train 203 --n_val 9 --n_test 5 --size 40
echo broken >"$data/images/000000000017.jpg"
rm "$data/images/000000000150.jpg"
# pre RANKS SHARD_SIZE OUTPUT OPTIONS...
pre() {
    local n=$1 shard=$2 out=$3; shift 3
    OMP_NUM_THREADS=${THREADS:-1} ranks "$n" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$data/annotations" --data_root "$data/images" \
        --image_size 32 --shard_size "$shard" --output "$out" --max_bad 2 "$@"
}
# few shards for many ranks, many for few, one for all
for shard in 203 90 7; do
    tap_ok "1 rank, shards of $shard" pre 1 $shard "$TMP/one$shard"
    for n in 2 3 5; do
        tap_ok "$n ranks, shards of $shard" pre $n $shard "$TMP/many" --log_level debug --log_all_ranks
        cp "$TMP/.tap_out" "$TMP/log$n"
        tap_ok "the same bytes" diff -r "$TMP/one$shard" "$TMP/many"
        rm -rf "$TMP/many"
    done
    if [ $shard = 203 ]; then
        tap_ok "no rank was idle though there is one shard" test "$(grep -c 'train: rank . read [1-9][0-9]* images' "$TMP/log3")" = 3
        tap_ok "and no image was read twice" test "$(sed -n 's/.*train: rank . read \([0-9]*\) images.*/\1/p' "$TMP/log3" | awk '{n += $1} END {print n}')" = 203
    fi
done
THREADS=3 tap_ok "3 threads" pre 2 90 "$TMP/threads"
tap_ok "the same bytes for any number of threads" diff -r "$TMP/one90" "$TMP/threads"
tap_ok "a rejected image is in the list once" test "$(cut -d, -f1 "$TMP/one7/train-rejected.csv" | sort | tr '\n' ' ')" = "000000000017.jpg 000000000150.jpg file "

# one rank of several is killed at a random moment; the launcher ends the others
wait_gone() { # until the ranks of the killed run are gone and its lock with them
    until_true 60 flock -n "$1/train.lock" true
}
if command -v flock >/dev/null; then
    met() { # LAUNCHER: its ranks run, or it is gone
        victims=($(pgrep -P "$(pgrep -P $1 -x mpirun || echo $1)" -f anyclass-preprocess))
        [ ${#victims[@]} -gt 0 ] || gone $1
    }
    lost=0; RANDOM=7; n_killed=0
    for k in $(seq 20); do
        n=$((1 + k % 3)); [ $((k % 4)) = 1 ] && rm -rf "$TMP/k"
        mkdir -p "$TMP/k"
        pre $n 7 "$TMP/k" >/dev/null 2>&1 &
        launcher=$!
        # from the start of the ranks to their end
        until_true 60 met $launcher
        sleep "0.$(printf %03d $((RANDOM % 260)))"
        [ ${#victims[@]} -gt 0 ] && kill -9 "${victims[$((RANDOM % ${#victims[@]}))]}" 2>/dev/null && n_killed=$((n_killed + 1))
        # Open MPI's launcher may wait for ever when a rank dies while MPI starts: then it is ended, as a batch system would
        for _ in $(seq 100); do kill -0 $launcher 2>/dev/null || break; sleep 0.1; done
        stuck=$(pgrep -P $launcher -x mpirun); kill -0 $launcher 2>/dev/null && kill -9 ${stuck:-$launcher} 2>/dev/null
        wait $launcher 2>/dev/null
        wait_gone "$TMP/k"
        if [ $((k % 4)) = 0 ]; then
            pre $((1 + (k / 4) % 3)) 7 "$TMP/k" >/dev/null 2>&1 || lost=$((lost + 1))
            diff -r "$TMP/k" "$TMP/one7" >/dev/null || lost=$((lost + 1))
        fi
    done 2>/dev/null
    tap_ok "kill -9 of a rank, $n_killed times, then restarts on other numbers of ranks: the bytes of an undisturbed run" test $lost = 0
    tap_ok "most of them met a running rank" test $n_killed -ge 10
else
    tap_skip "killed ranks" "flock is not installed"
fi

# a signal: all ranks stop at the next image, what is finished stays
stop_with() { # SIGNAL RANKS
    rm -rf "$TMP/stop"
    pre $2 7 "$TMP/stop" --n_threads 1 >"$TMP/stop.log" 2>&1 &
    local launcher=$! code=0
    shard_there() { ls "$TMP/stop" 2>/dev/null | grep -q 'train-0000[1-9].*h5$' || gone $launcher; }
    until_true 60 shard_there
    local victims=($(pgrep -P "$(pgrep -P $launcher -x mpirun || echo $launcher)" -f anyclass-preprocess))
    kill -$1 "${victims[0]}" 2>/dev/null
    wait $launcher || code=$?
    cat "$TMP/stop.log"
    [ $code = 0 ] && return 75 # it had ended already
    return $code
}
for n in 1 3; do
    tap_exit 75 "SIGTERM to one of $n ranks: exit 75" stop_with TERM $n
    tap_ok "run again: the same bytes" bash -c "$(declare -f pre ranks); BIN=$BIN data=$data; pre 2 7 $TMP/stop && diff -r $TMP/stop $TMP/one7"
done

# a small file system that fills up, and one that is read-only: in a mount namespace of their own
if unshare -m true 2>/dev/null; then
    export -f pre ranks; export BIN data
    small() { # OPTIONS OF MOUNT, RANKS
        mkdir -p "$TMP/small"
        unshare -m bash -c "mount -t tmpfs -o $1 none '$TMP/small' && pre $2 90 '$TMP/small'; code=\$?; ls '$TMP/small'; exit \$code"
    }
    for n in 1 3; do
        tap_exit 4 "$n ranks: the file system is full" small size=500k $n
        tap_says 'No space left on device' "the line says so"
        tap_ok "there is one line" test "$(grep -c 'error:' "$TMP/.tap_out")" = 1
        tap_ok "no half file, no manifest" test -z "$(grep -E 'part$|lock$|json$' "$TMP/.tap_out")"
    done
    tap_exit 4 "a read-only file system" small ro 2
    tap_says 'Read-only file system' "the line says so"
else
    tap_skip "a full and a read-only file system" "mount namespaces are not allowed here"
fi
tap_done
