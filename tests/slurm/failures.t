# What goes wrong: bad data ends the chain, a node that dies and a cut link end the job in bounded time with a line that says what happened, and what was
# saved before is not lost.
. tests/slurm/common.sh
export CLUSTER_OWNER=$$
begin
demo_data 32 24 2
tap_ok "shards" prepared "$TMP/shards"
watched="$train_options --watchdog_s 5 --checkpoint_steps 2"

# A shard with a wrong byte, which no --dry_run reads: training ends, what waits for it never runs and does not stay in the queue.
cp -r "$TMP/shards" "$TMP/hurt"
shard=$(find "$TMP/hurt" -name 'train*.h5' | sort | tail -n 1)
printf 'X' | dd of="$shard" bs=1 seek=$(($(stat -c %s "$shard") / 2)) conv=notrunc status=none
run_file hurt STAGES="train infer evaluate" SHARDS="$TMP/hurt"
submitted hurt
until_true 60 ended "$job_train"
job_ends 1 "$job_train" FAILED "$log_train" "bad data: training failed"
tap_ok "bad data: with exit code 3" test "$(field "$job_train" ExitCode)" = 3:0
tap_ok "bad data: the last line of the log says what and where" bash -c 'tail -n 1 "$1" | tee /dev/stderr | grep -q "exit code 3 .*anyclass-train: error: .*$2"' - "$log_train" "${shard##*/}"
until_true 30 ended "$job_evaluate"
job_ends 1 "$job_infer" CANCELLED "$log_infer" "bad data: infer is cancelled"
job_ends 1 "$job_evaluate" CANCELLED "$log_evaluate" "bad data: and evaluate"
tap_ok "bad data: neither ran" bash -c '! ls "$@" 2>/dev/null' - "$log_infer" "$log_evaluate" "$TMP/hurt/results"
tap_done
