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

# Time limit: a minute, and Slurm looks every 30 seconds who is near it. So that it finds a training in its middle, the first start waits until it has looked once.
cat >"$TMP/setup" <<END
if [ "\$SLURM_JOB_NAME" = lims-train ] && [ -z "\${SLURM_RESTART_COUNT:-}" ]; then sleep \$((30 - (\$(date +%s) - $(date +%s -r "$cluster/run/slurmctld.pid")) % 30 + 22)); fi
END
echo "SETUP=$TMP/setup" >>"$TMP/site.env"
run_file lims TIME=1 SIGNAL_S=20 MAX_EPOCHS=3
submitted lims
job_lims=$job_train log_lims=$log_train

# USR1 at a moment of which the log and the folder tell
run_file vali
submitted vali
job_vali=$job_train log_vali=$log_train
run_file save
submitted save
job_save=$job_train log_save=$log_train
usr1() { scancel --batch --signal=USR1 "$1"; }
saving() { compgen -G "$TMP/save/logs/version_0/*.part" >/dev/null; }
