# A training on two nodes that is preempted, reaches its time limit, or is told to stop (USR1) while it validates or saves: it saves, is queued
# again, goes on, and ends with the bytes of the training that nothing disturbed.
. tests/slurm/common.sh
begin
demo_data 32 120 2
tap_ok "shards" prepared "$TMP/shards"

# A training is held where the signal is to find it, until its script has it; a watchdog is used to machines that stand still.
submitted_as() { submitted "$1"; printf -v "job_$1" %s "$job_train"; printf -v "log_$1" %s "$log_train"; }
signalled() { until_true 60 says "$(log_of "$1")" "SIG$2"; }

# Preemption: a job of partition `high` that needs all of both nodes. Slurm's SIGTERM comes with a SIGCONT.
run_file prio
submitted_as prio
printf '#!/bin/sh\nsleep 1\n' >"$TMP/high.sh"
hold prio logged "$log_prio" 'epoch 1 step 1/'
high=$(sbatch --parsable --partition high --nodes 2 --exclusive --time 1 --output "$TMP/high.log" "$TMP/high.sh")
signalled prio TERM; let_go
until_true 60 is_state "$high" COMPLETED
tap_ok "the job of partition high has run" is_state "$high" COMPLETED

# Time limit: a minute, which submit would not let through; Slurm looks every 30 seconds who is near it.
run_file lims TIME=2 SIGNAL_S=20
submitted_as lims
(hold lims logged "$log_lims" 'epoch 1 step 1/' && signalled lims USR1; let_go) & watchers=$!
scontrol update JobId="$job_lims" TimeLimit=1

usr1() { scancel --batch --signal=USR1 "$1"; }
validating() { logged "$log_vali" 'epoch 0: 32 images in'; }
run_file vali
submitted_as vali
(hold vali validating && usr1 "$job_vali" && signalled vali USR1; let_go) & watchers+=" $!"

saving() { [ -e "$TMP/save/logs/version_0/last.h5.part" ]; }
run_file save
submitted_as save
(hold save saving && usr1 "$job_save" && signalled save USR1 && saving && echo >"$TMP/hit"; let_go) & watchers+=" $!"
tap_ok "a training that nothing disturbs" plain calm
wait $watchers

lines() { grep -n -a -e "$2" "$1" | cut -d: -f1 | sed -n "${3:-1}p"; }
between() { # LOG FIRST MIDDLE LAST: in that order
    local a b c
    a=$(lines "$1" "$2") b=$(lines "$1" "$3") c=$(lines "$1" "$4")
    echo "lines $a, $b, $c"; [ "$a" -lt "$b" ] && [ "$b" -lt "$c" ]
}
for name in prio lims vali save; do
    job=job_$name log=log_$name
    job_ends 120 "${!job}" COMPLETED "${!log}" "$name: the job ended COMPLETED"
    tap_ok "$name: it had been queued again" test "$(field "${!job}" Restarts)" -ge 1
    tap_ok "$name: it had saved when it was stopped" says "${!log}" "error: stopped by signal 1[05]: epoch [0-9]*, step [0-9]* is saved"
    tap_ok "$name: and went on from there" says "${!log}" "continuing in epoch [0-9]* at step [0-9]* of 4"
    tap_ok "$name: the same files as undisturbed" same_training "$TMP/calm/logs" "$TMP/$name/logs"
done
tap_ok "prio: stopped by Slurm's SIGTERM" says "$log_prio" 'stopped by signal 15'
tap_ok "lims: stopped by the USR1 before its time limit" says "$log_lims" 'stopped by signal 10'
tap_ok "vali: the signal came in validation" between "$log_vali" 'epoch 0: 32 images in' 'SIGUSR1' 'epoch 0: train loss'
tap_ok "save: the signal came while a checkpoint was written" test -e "$TMP/hit"
tap_done
