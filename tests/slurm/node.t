# A node dies in the middle of two trainings, with all it runs (slurmd, step daemons, ranks) and without a goodbye. Slurm queues both again: one is left
# to it, the other is cancelled and submitted anew. Both go on from what was saved last when the node is back, and end as if nothing had happened.
. tests/slurm/common.sh
begin
demo_data 32 24 2
tap_ok "shards" prepared "$TMP/shards"
third_step() { logged "$1" 'epoch 0 step 3/'; }
both=()
for name in dead gone; do
    run_file "$name" TRAIN_OPTIONS="$train_options --checkpoint_steps 2"
    submitted "$name"
    printf -v "job_$name" %s "$job_train"; printf -v "log_$name" %s "$log_train"
    hold "$name" third_step "$log_train"; both+=("${held[@]}")
done
held=("${both[@]}")
"$root/tests/slurm/cluster.sh" down "$cluster" node2
let_go 2>/dev/null # those of the other node
tap_ok "a training that nothing disturbs" plain calm --checkpoint_steps 2
for name in dead gone; do
    job=job_$name
    until_true 60 is_state "${!job}" PENDING
    tap_ok "$name is queued again" is_state "${!job}" PENDING
done
scancel "$job_gone"
"$root/tests/slurm/cluster.sh" up "$cluster" node2
submitted gone
job_gone=$job_train log_gone=$log_train
for name in dead gone; do
    job=job_$name log=log_$name
    job_ends 90 "${!job}" COMPLETED "${!log}" "$name ended COMPLETED when the node was back"
    tap_ok "it went on from what was saved last" says "${!log}" "continuing in epoch [0-9]* at step [0-9]* of 4"
    tap_ok "the same files as undisturbed" same_training "$TMP/calm/logs" "$TMP/$name/logs"
done
tap_done
