# All ranks killed at random times (KILLS=20 for more), started again each time on another number of ranks: in the end the same scores
# as never killed, each image once, no temporary file. Then signals: exit code 75, and the same line goes on.
. tests/tap.sh
. tests/infer/setup.sh
n_kills=${KILLS:-6}
RANDOM=${KILL_SEED:-4711}
make_version 500 40 2
options=(--checkpoints val_loss val_f1 last --do_val_test --batch_size 8)
tap_ok "never killed" infer 2 "$TMP/whole" "${options[@]}"
same_all() { # FOLDER
    local k s
    for k in val_loss val_f1 last; do for s in Val Test; do same_rows "$TMP/whole/version_a" "$1/version_a" "${k}_$s" || return 1; done; done
    no_parts "$1"
}
finished() { [ "$(grep -l '"finished": true' "$1"/version_a/*_scores.json | wc -l)" = 6 ]; }
# one start on $1 ranks, signalled with $3 after $2 ms unless it is done before; with $4 1 after so many ms of scoring. The exit code is
# the launcher's
one_start() {
    local launcher pids end status=0 i
    rm -f "$TMP/out"
    (cd "$TMP" && exec mpirun -n "$1" "$infer_program" --log_dir "$TMP/logs" --versions a --data_root "$TMP/s" --results_output "$TMP/cut" "${options[@]}") >"$TMP/out" 2>&1 &
    launcher=$!
    while [ "$4" = 1 ] && kill -0 "$launcher" 2>/dev/null && ! grep -qs ': loaded' "$TMP/out"; do sleep 0.01; done
    end=$(($(now_ms) + $2))
    while kill -0 "$launcher" 2>/dev/null && [ "$(now_ms)" -lt "$end" ]; do sleep 0.01; done
    pids=$(pgrep -P "$launcher" anyclass-infer)
    if [ -n "$pids" ]; then
        ls "$TMP/cut/version_a"/*.csv.part >/dev/null 2>&1 && n_writing=$((n_writing + 1))
        kill -s "$3" $pids 2>/dev/null && n_sent=$((n_sent + 1))
        if [ "$3" = KILL ]; then
            for ((i = 0; i < 100; i++)); do kill -0 "$launcher" 2>/dev/null || break; sleep 0.1; done
            kill -9 "$launcher" 2>/dev/null # one that does not notice
        fi
    fi
    wait "$launcher" 2>/dev/null || status=$?
    return "$status"
}
n_sent=0 n_writing=0 n_runs=0 n_taken=0 problem=
while [ "$n_sent" -lt "$n_kills" ] && [ -z "$problem" ]; do
    rm -rf "$TMP/cut" status=1
    status=1
    while [ "$status" -ne 0 ] && [ -z "$problem" ]; do
        delay=$((n_sent < n_kills ? RANDOM % 1000 : 120000)) wait_for=$((RANDOM % 3 ? 1 : 0))
        before=$n_sent; status=0; one_start $((1 + RANDOM % 4)) "$delay" KILL "$wait_for" || status=$?
        n_taken=$((n_taken + $(grep -c 'are taken over' "$TMP/out")))
        [ "$status" -eq 0 ] || [ "$n_sent" -gt "$before" ] || problem="ended with $status: $(tail -3 "$TMP/out")"
    done
    [ -n "$problem" ] || same_all "$TMP/cut" >"$TMP/diff" || problem="not as never killed: $(head -3 "$TMP/diff")"
    finished "$TMP/cut" || problem+=" a record does not say that it is finished"
    n_runs=$((n_runs + 1))
done
echo "# $n_sent kills, $n_writing of them amid a file, $n_taken temporary files taken over, in $n_runs runs"
[ -z "$problem" ] || echo "# $problem"
tap_ok "$n_sent kills of all ranks, other numbers of ranks: the same scores, each image once, no temporary file" test -z "$problem"

# ---- signals ----
rm -rf "$TMP/cut"; problem= status=75 n_sent=0 n_stopped=0 n_starts=0
while [ "$status" -eq 75 ] && [ -z "$problem" ]; do
    n_starts=$((n_starts + 1))
    delay=$((n_stopped < 3 ? RANDOM % 150 : 120000))
    status=0; one_start $((1 + RANDOM % 3)) "$delay" USR1 1 || status=$?
    [ "$status" -eq 75 ] && n_stopped=$((n_stopped + 1))
    [ "$status" -ne 75 ] || [ "$(grep -c 'error: stopped by signal 10: .*run the same command again' "$TMP/out")" = 1 ] || problem="no line says why it stopped: $(tail -2 "$TMP/out")"
    [ "$status" -ne 75 ] || no_parts "$TMP/cut" || problem="temporary files after a stop"
    [ "$status" -ne 0 ] || [ "$n_stopped" -gt 0 ] || [ "$n_starts" -gt 20 ] || { status=75; rm -rf "$TMP/cut"; } # done before the signal came
done
echo "# stopped $n_stopped times"
[ -z "$problem" ] || echo "# $problem"
tap_ok "signals: exit code 75, one line, only complete files" test -z "$problem" -a "$status" -eq 0 -a "$n_stopped" -gt 0
tap_ok "and the same scores in the end" same_all "$TMP/cut"

# ---- a killed run's file whose end is damaged ----
file=$TMP/cut/version_a/resnet18_last_Val_sigmoid.rank0000.csv
damaged() { # NAME COMMAND...: that changes the temporary file $part
    rm -rf "$TMP/cut"; mkdir -p "$TMP/cut/version_a"
    sed 's/"finished": true/"finished": false/' "$TMP/whole/version_a/resnet18_last_Val_scores.json" >"$TMP/cut/version_a/resnet18_last_Val_scores.json"
    part=$file.part
    head -41 "$TMP/whole/version_a/resnet18_last_Val_sigmoid.rank0000.csv" >"$part"
    local name=$1 rows=$2; shift 2
    "$@"
    infer 2 "$TMP/cut" --checkpoints last >"$TMP/said" 2>&1
    tap_ok "a temporary file $name: $rows rows are taken over" test "$(grep -o '[0-9]* rows of a run that was cut off' "$TMP/said" | cut -d' ' -f1)" = "$rows"
    tap_ok "a temporary file $name: the same scores" same_rows "$TMP/whole/version_a" "$TMP/cut/version_a" last_Val
}
damaged "as it was" 40 true
damaged "without the end of its last row" 39 truncate -s -3 "$file.part"
damaged "with zeros behind 9 rows" 9 sed -i '11s/^./\x00/' "$file.part"
damaged "with a score that was changed" 19 sed -i '21s/0\.[0-9]*$/0.5000/' "$file.part"
damaged "with an unknown image" 4 sed -i '6s/^0/x/' "$file.part"
damaged "with an image twice" 39 sed -i '7{h};8{g}' "$file.part"
damaged "with a row that is too short" 29 sed -i '31s/,[^,]*$//' "$file.part"
damaged "of other classes" "" sed -i '1s/ring/wing/' "$file.part"
tap_ok "nothing is left of it" no_parts "$TMP/cut"
tap_done
