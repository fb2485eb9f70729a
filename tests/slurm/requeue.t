# A training on two nodes that is preempted, reaches its time limit, or is told to stop (USR1) while it validates or saves: it saves, is queued
# again, goes on, and ends with the bytes of the training that nothing disturbed.
. tests/slurm/common.sh
begin
demo_data 32 200 2
tap_ok "shards" prepared "$TMP/shards"

# Preemption: a job of partition `high` that needs all of both nodes.
run_file prio
submitted prio
cat >"$TMP/high.sh" <<'END'
#!/bin/sh
sleep 1
END
until_true 60 says "$log_train" 'epoch 1 step 2/'
high=$(sbatch --parsable --partition high --nodes 2 --exclusive --time 1 --output "$TMP/high.log" "$TMP/high.sh")
until_true 30 is_state "$high" COMPLETED
tap_ok "the job of partition high has run" is_state "$high" COMPLETED
job_prio=$job_train log_prio=$log_train

# Time limit: a minute, which submit would not let through. Slurm looks every 30 seconds who is near it; so that it finds a training in its middle,
# each start begins its work 4 s before, until one has been stopped.
cat >"$TMP/setup" <<END
if [ "\$SLURM_JOB_NAME" = lims-train ] && ! grep -q 'is saved in' "$TMP"/lims/logs/slurm/lims-train-*.log; then
    next=\$((30 - (\$(date +%s) - $(date +%s -r "$cluster/run/slurmctld.pid")) % 30))
    [ "\$next" -ge 12 ] || next=\$((next + 30)) # not before 60 - SIGNAL_S - 30 seconds
    sleep \$((next - 4))
fi
END
echo "SETUP=$TMP/setup" >>"$TMP/site.env"
for name in lims vali save; do
    run_file "$name" $([ "$name" != lims ] || echo TIME=2 SIGNAL_S=20)
    submitted "$name"
    [ "$name" != lims ] || scontrol update JobId="$job_train" TimeLimit=1
    printf -v "job_$name" %s "$job_train"; printf -v "log_$name" %s "$log_train"
done

# USR1 at a moment of which the log or the folder tells
usr1() { scancel --batch --signal=USR1 "$1"; }
while_validating() {
    until_true 60 says "$log_vali" 'epoch 0: 32 images in' && usr1 "$job_vali"
}
being_saved() { stat -c %i "$TMP/save/logs/version_0/last.h5.part" 2>/dev/null; }
while_saving() { # to the end of $1: what was being saved when the signal was sent, and when the script had it
    local n was
    for n in 1 2 3; do
        until was=$(being_saved); do sleep 0.02; ! ended "$job_save" || return; done
        usr1 "$job_save"
        until_true 10 test "$(grep -c 'SIGUSR1' "$log_save")" -ge "$n"
        [ "$was" != "$(being_saved)" ] || { echo hit >"$TMP/hit"; return; }
        until_true 60 says "$log_save" "start $((n + 1))" # too late: once more
    done
}
while_validating & watchers=$!
while_saving & watchers+=" $!"
tap_ok "a training that nothing disturbs" plain calm --max_epochs 3
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
