# Bad data ends the chain; a cut cable ends the job, in bounded time, with a line that says what happened.
. tests/slurm/common.sh
begin
demo_data 32 24 2
tap_ok "shards" prepared "$TMP/shards"
watched="$train_options --watchdog_s 15"

# The cable of the ranks' network is cut on one node; Slurm's own still holds.
sed 's/^INTERFACE=.*/INTERFACE=fabric/' "$TMP/site.env" >"$TMP/fabric.env"
run_file link TRAIN_OPTIONS="$watched" MAX_RESTARTS=0
ANYCLASS_SITE=$TMP/fabric.env submitted link
until_true 60 says "$log_train" 'epoch 0 step 3/'
job_link=$job_train log_link=$log_train start=$SECONDS
on head ip link set fabric.node2 down

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
tap_ok "bad data: neither ran" bash -c 'for file; do [ ! -e "$file" ] || { echo "$file"; exit 1; }; done' - "$log_infer" "$log_evaluate" "$TMP/hurt/results"

until_true 100 ended "$job_link"
took=$((SECONDS - start))
echo "# $took s from the cut to the job's end"
job_ends 1 "$job_link" FAILED "$log_link" "cut link: the job failed"
tap_ok "cut link: with the watchdog's exit code" test "$(field "$job_link" ExitCode)" = 7:0
tap_ok "cut link: and its line, which is the last one's" bash -c 'tail -n 1 "$1" | tee /dev/stderr | grep -q "exit code 7 .*longer than --watchdog_s 15 s"' - "$log_link"
tap_ok "cut link: in bounded time" test "$took" -lt 90 # 15 for the watchdog, 30 for mpirun, 12 for what is left on the other node (KillWait)
tap_done
