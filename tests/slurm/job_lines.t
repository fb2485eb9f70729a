# What a job decides at its end, and how it starts the programs, looked at without Slurm and MPI: scontrol, mpirun and their kin are scripts here.
. tests/tap.sh
mkdir "$TMP/path"
command_is() { printf '#!/bin/sh\n%s\n' "$2" >"$TMP/path/$1"; chmod +x "$TMP/path/$1"; }
command_is scontrol "echo \"\$@\" >>$TMP/asked"
export PATH=$TMP/path:$PATH
log=$TMP/log

# ends CODE RESTARTS [LINE...]: a start that ends with CODE after the program said LINE; true when the job was queued again
ends() {
    local code=$1 restarts=$2 got=0
    shift 2
    : >"$TMP/asked"
    touch "$log"
    (
        . slurm/lib.sh
        STAGE=train JOB=7_1 RESTARTS=$restarts MAX_RESTARTS=${MOST:-10} STOP='' LIMIT='' LOG_FILE=$log LOG_START=$(stat -c %s "$log")
        say "train: job 7_1 on node1, start $((restarts + 1))"
        [ $# -eq 0 ] || printf '%s\n' "$@" >&2
        job_end "$code"
    ) 2>>"$log" || got=$?
    tail -n 1 "$log"
    [ "$got" -eq "$code" ] || { echo "exit code $got"; return 2; }
    grep -q '^requeue 7_1$' "$TMP/asked"
}
ends_for_good() { local got=0; ends "$@" || got=$?; [ "$got" -eq 1 ]; }
step="anyclass-train: epoch 0 step 3/4: loss 1"

tap_ok "a watchdog's end: queued again" ends 7 0 "$step"
tap_says 'restart 1 of at most 10' "and the line says so"
tap_ok "to the last restart" ends 7 9 "$step"
tap_ok "not after it" ends_for_good 7 10 "$step"
MOST=0 tap_ok "with MAX_RESTARTS=0 never" ends_for_good 7 0 "$step"
tap_ok "bad data: not queued again" ends_for_good 3 0 "anyclass-train: error: shard.h5: damaged"
tap_says 'exit code 3 .*anyclass-train: error: shard.h5: damaged' "and the last line says why"
rm "$log"
tap_ok "a launcher that fails before the program says a word: again" ends 1 0
tap_ok "and once more" ends 1 1
tap_ok "that is enough" ends_for_good 1 2
tap_says 'the program never began' "which the line says"
rm "$log"
for n in 0 1 2 3 4; do ends 7 $n "$step" >/dev/null; done
tap_ok "in a job that was queued again five times and worked: a bad start is the first" ends 205 5
tap_ok "the second" ends 1 6
tap_ok "a third is not given another" ends_for_good 1 7
rm "$log"
ends 1 0 >/dev/null; ends 1 1 >/dev/null; ends 7 2 "$step" >/dev/null
tap_ok "a start that worked lets bad ones begin anew" ends 1 3
rm "$log"
tap_ok "a rank that aborts: again" ends 134 0 "$step"
tap_says 'a rank died of signal 6' "and the line says of what"
tap_ok "and again" ends 139 1 "$step"
tap_ok "no third time where nothing was saved" ends_for_good 135 2 "$step"
tap_ok "but where something was" ends 134 3 "$step" "anyclass-train: saved epoch 3, step 2 in 0.3 s"
lock="anyclass-train: error: logs/version_0/training.lock: another training writes to this folder: wait until it has ended, or stop it"
tap_ok "another training has the lock: not queued again" ends_for_good 4 0 "$lock"
tap_ok "a job that was queued again waits for its own, of a node that was lost" ends 4 1 "$lock"
tap_ok "for that of a file, too" ends 4 1 "anyclass-infer: error: x.part: a process of an earlier run still writes this file: wait until it has ended"
tap_ok "but for nothing else" ends_for_good 4 1 "anyclass-train: error: last.h5: No space left on device"

rm "$log"
command_is sleep "echo \"\$1\" >>$TMP/paused"
command_is scontrol "echo \"\$@\" >>$TMP/asked; [ \$(wc -l <$TMP/asked) -gt 2 ] || { echo 'slurm_requeue error: Unable to contact slurm controller (connect failure)' >&2; exit 1; }"
tap_ok "a controller that does not answer twice" ends 75 0 "$step"
tap_says 'It is queued again' "is asked until it does"
tap_ok "with pauses" test "$(paste -sd, "$TMP/paused")" = 5,10
command_is scontrol "echo 'slurm_requeue error: Requested operation is presently disabled' >&2; exit 1"
ends 75 0 "$step" >"$TMP/last" || true
tap_ok "one that never does: the line says so" grep -q 'could not be queued again (Requested operation is presently disabled): submit again' "$TMP/last"
rm "$TMP/path/sleep"

# started VERSION: the launcher's words and what it finds in its environment
started() {
    command_is mpirun "echo '$1'"
    (
        . slurm/lib.sh
        unset OMPI_MCA_orte_launch_agent PRTE_MCA_prte_launch_agent OMPI_MCA_odls_base_sigkill_timeout
        LAUNCHER=mpirun INTERFACE='' MPIRUN_OPTIONS='' RANKS=2 RANKS_PER_NODE=1 THREADS=1
        launcher words
        echo "${words[*]}"
        echo "agent 4: ${OMPI_MCA_orte_launch_agent:-}; agent 5: ${PRTE_MCA_prte_launch_agent:-}; timeout: ${OMPI_MCA_odls_base_sigkill_timeout:-}; watched: $OPEN_MPI"
    )
}
command_is orted true
command_is prted true
tap_ok "Open MPI 4" started 'mpirun (Open MPI) 4.1.4'
tap_says '^env --block-signal=TERM mpirun -n 2 ' "does not see Slurm's SIGTERM"
tap_says 'agent 4: env --block-signal=TERM orted; agent 5: ; timeout: ; watched: yes' "nor do its daemons"
tap_ok "Open MPI 5" started 'mpirun (Open MPI) 5.0.3'
tap_says 'agent 4: ; agent 5: env --block-signal=TERM prted; timeout: ; watched: yes' "has other daemons"
rm "$TMP/path/prted"
if ! command -v prted >/dev/null; then
    tap_ok "whose name may be another" started 'mpirun (Open MPI) 5.0.3'
    tap_says 'agent 4: ; agent 5: ; timeout: 12; watched: yes' "then it waits longer"
fi
tap_ok "MPICH" started 'HYDRA build details:'
tap_says '^mpirun -n 2 env ' "has no such options"
tap_says 'agent 4: ; agent 5: ; timeout: ; watched: $' "and its ranks are no children of mpirun: it is not ended for want of them"
watch() { (. slurm/lib.sh; LAUNCHER=mpirun OPEN_MPI='' SECONDS=0; sleep 9 & watch_launcher $!; kill $!; [ $SECONDS -lt 4 ]); }
tap_ok "the watcher of the launcher leaves at once" watch

# İ is not I
if localedef -i tr_TR -f UTF-8 "$TMP/tr_TR.UTF-8" 2>/dev/null; then
    printf '%s\n' MODEL=resnet18 STAGES=train BATCH_SIZE=8 TRAIN_TIME=33 >"$TMP/a.run"
    : >"$TMP/site.env"
    tap_ok "a Turkish locale" env LOCPATH="$TMP" LC_ALL=tr_TR.UTF-8 ANYCLASS_SITE="$TMP/site.env" slurm/submit "$TMP/a.run" BIN="$(realpath "$BIN")" --print
    tap_says '--nodes=1 .*--time=33 ' "finds the keys of stages"
else
    tap_skip "a Turkish locale" "localedef has no tr_TR here"
fi
tap_done
