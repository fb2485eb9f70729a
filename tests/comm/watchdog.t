# Ranks that are stopped, killed or stuck: the others end with exit code 7 or 6 in bounded time, one line names the rank. Each
# rank's own exit code is kept by a shell around it, since mpirun tells one of them at most.
. tests/tap.sh
program=$BUILD/tests/comm/watchdog_ranks
cat > "$TMP/keep" <<'EOF'
trap : TERM
"$@" && code=0 || code=$?
echo "$code" > "$KEEP_IN/code.$OMPI_COMM_WORLD_RANK"
EOF
# start N OPTION...: in the background; launcher's pid in $launcher
start() {
    local n=$1; shift
    rm -rf "$TMP/run"; mkdir "$TMP/run"
    KEEP_IN=$TMP/run mpirun --quiet -n "$n" bash "$TMP/keep" "$program" --folder "$TMP/run" "$@" >"$TMP/said" 2>&1 &
    launcher=$!
}
# all_work N: every rank has said its pid
all_work() {
    local r
    for ((r = 0; r < $1; r++)); do until_true 60 test -s "$TMP/run/pid.$r" || return 1; done
}
# ended SECONDS: the launcher is gone within that time; ended by us otherwise
ended() {
    until_true "$1" gone "$launcher" && return 0
    kill -KILL "$launcher"
    return 1
}
codes() { local r; for r in "$@"; do cat "$TMP/run/code.$r" 2>/dev/null || echo none; done | tr '\n' ' '; }
# one_line TEXT: there is one line of error, and it holds the text
one_line() { [ "$(grep -c '^anyclass-steps: .*error: ' "$TMP/said")" = 1 ] && grep '^anyclass-steps: .*error: ' "$TMP/said" | grep -q -- "$1"; }
# others_end SIGNAL RANK CODE TEXT
others_end() {
    local others=() r
    for r in 0 1 2; do [ "$r" = "$2" ] || others+=("$r"); done
    start 3 --steps 3000 --watchdog_s 2
    all_work 3 || return 1
    local pid began=$SECONDS; pid=$(cat "$TMP/run/pid.$2")
    kill "-$1" "$pid"
    # mpirun itself may stay for long with a rank that is stopped
    until_true 10 test -e "$TMP/run/code.${others[0]}" -a -e "$TMP/run/code.${others[1]}"
    [ "$1" = KILL ] || kill -CONT "$pid" 2>/dev/null
    ended 10 || true
    echo "codes of ranks ${others[*]}: $(codes "${others[@]}")after $((SECONDS - began)) s"
    cat "$TMP/said"
    [ "$(codes "${others[@]}")" = "$3 $3 " ] && one_line "$4"
}
for r in 0 1 2; do
    tap_ok "rank $r is stopped: the others end with 7 and say so" others_end STOP "$r" 7 "rank $r on"
    tap_ok "rank $r is killed: the others end with 6 and say so" others_end KILL "$r" 6 "rank $r on .*died"
done
# ends_with CODE N TEXT OPTION...: all N ranks end with that code; TEXT in the one line of error, or none when it is empty
ends_with() {
    local code=$1 n=$2 text=$3 r want="" got; shift 3
    start "$n" "$@"
    ended 20 || { echo "still running"; return 1; }
    for ((r = 0; r < n; r++)); do want+="$code "; done
    got=$(codes $(seq 0 $((n - 1))))
    echo "codes $got"; cat "$TMP/said"
    [ "$got" = "$want" ] || return 1
    if [ -n "$text" ]; then one_line "$text"; else ! grep -q '^anyclass-steps: .*\(error\|warning\): ' "$TMP/said"; fi
}
for r in 0 1 2; do tap_ok "rank $r is stuck: it is named with its work" ends_with 7 3 "rank $r on .*in reading images 5 for" --steps 5 --at_end stuck --rank "$r" --watchdog_s 2; done
tap_ok "one rank alone watches itself" ends_with 7 1 "rank 0 on .*in reading images 5 for" --steps 5 --at_end stuck --watchdog_s 2
tap_ok "ranks that wait for each other are ended" ends_with 7 3 "wait for each other" --at_end deadlock --watchdog_s 2
tap_ok "a slow rank that reports is left alone" ends_with 0 3 "" --at_end slow --rank 1 --watchdog_s 2
for n in 1 2 5; do tap_ok "a clean end of $n ranks is silent" ends_with 0 "$n" "" --watchdog_s 1; done
tap_ok "so is one after no work at all" ends_with 0 4 "" --steps 0 --watchdog_s 1
for r in 0 2; do tap_ok "rank $r comes to the end late: silent" ends_with 0 3 "" --at_end late --rank "$r" --watchdog_s 2; done
tap_ok "an error of all ranks is told as it is" ends_with 3 3 "made to fail" --at_end error --watchdog_s 1
# not_watched: rank 1 is stopped for longer than any limit of these tests, and nothing happens until it goes on
not_watched() {
    start 3 --steps 150 --watchdog_s 0
    all_work 3 || return 1
    kill -STOP "$(cat "$TMP/run/pid.1")"
    sleep 3
    kill -0 "$launcher" || return 1
    kill -CONT "$(cat "$TMP/run/pid.1")"
    ended 20 && [ "$(codes 0 1 2)" = "0 0 0 " ]
}
# heeds_term: a program without a handler dies of SIGTERM, but half a second later, and the other one says so
heeds_term() {
    start 2 --steps 3000 --watchdog_s 60
    all_work 2 || return 1
    local sent; sent=$(date +%s%N)
    kill -TERM "$(cat "$TMP/run/pid.1")"
    ended 20 || return 1
    local lived=$(($(date -r "$TMP/run/code.1" +%s%N) - sent))
    echo "codes $(codes 0 1)after $((lived / 1000000)) ms"; cat "$TMP/said"
    [ "$(codes 0 1)" = "6 143 " ] && [ "$lived" -ge 400000000 ] && one_line "rank 1 on .*died"
}
tap_ok "SIGTERM leaves half a second to say who died, then ends" heeds_term
tap_ok "--watchdog_s 0 watches nothing" not_watched
tap_done
