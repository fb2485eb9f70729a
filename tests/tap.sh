# source this in a *.t script: TAP in shell. Scripts run from the project's top folder.
# tap_ok NAME COMMAND...     passes when the command succeeds; its output is shown when it does not
# tap_exit CODE NAME COMMAND...   passes when the command ends with CODE
# tap_says TEXT NAME               passes when the output of the command before holds TEXT
# tap_refused CODE TEXT NAME COMMAND...   passes when the command ends with CODE and says one line of error, with TEXT in it
# tap_done                   the plan; call it last
# until_true SECONDS COMMAND...   waits until the command succeeds, so long at least; what a test waits for comes late on a busy machine: give it a minute
set -uo pipefail
export BUILD=${BUILD:-build/release} BIN=${BIN:-bin}
. tests/mpi.sh
tap_n=0; tap_failed=0
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
SHARED=${ANYCLASS_SHARED:-../shared}
tap_exit() {
    local want=$1 name=$2 got=0; shift 2
    tap_n=$((tap_n + 1))
    "$@" >"$TMP/.tap_out" 2>&1 || got=$?
    if [ "$got" -eq "$want" ]; then echo "ok $tap_n - $name"; return 0; fi
    echo "not ok $tap_n - $name"; tap_failed=1
    echo "# exit $got, wanted $want: $*"; tail -20 "$TMP/.tap_out" | sed 's/^/# /'
    return 0
}
tap_says() {
    tap_n=$((tap_n + 1))
    if grep -q -- "$1" "$TMP/.tap_out"; then echo "ok $tap_n - $2"; return 0; fi
    echo "not ok $tap_n - $2"; tap_failed=1
    echo "# '$1' is not in:"; tail -20 "$TMP/.tap_out" | sed 's/^/# /'
    return 0
}
tap_refused() {
    local want=$1 text=$2 name=$3 got=0 lines; shift 3
    tap_n=$((tap_n + 1))
    "$@" >"$TMP/.tap_out" 2>&1 || got=$?
    lines=$(grep -c '^anyclass-[a-z]*: error: ' "$TMP/.tap_out")
    if [ "$got" -eq "$want" ] && [ "$lines" -eq 1 ] && grep '^anyclass-[a-z]*: error: ' "$TMP/.tap_out" | grep -q -- "$text"; then
        echo "ok $tap_n - refused: $name"; return 0
    fi
    echo "not ok $tap_n - refused: $name"; tap_failed=1
    echo "# exit $got, wanted $want; $lines lines of error, wanted one with '$text': $*"; tail -20 "$TMP/.tap_out" | sed 's/^/# /'
    return 0
}
tap_ok() { tap_exit 0 "$@"; }
tap_skip() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1 # SKIP $2"; }
tap_done() { echo "1..$tap_n"; exit "$tap_failed"; }
until_true() {
    local end=$((SECONDS + $1 + 1)) pause=0.02 n=0; shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        [ $((n += 1)) -lt 25 ] || pause=0.1 # the command may be an expensive one
        sleep $pause
    done
}
gone() { ! kill -0 "$1" 2>/dev/null; } # PID
# ranks N COMMAND...
ranks() {
    local n=$1; shift
    [ "$n" != 1 ] || local -x OMPI_MCA_odls_base_sigkill_timeout=0 # mpirun gives two seconds to the other ranks of one that failed; here are none
    mpirun -n "$n" "$@"
}
