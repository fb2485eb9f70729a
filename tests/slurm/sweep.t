# A sweep of six elements, each a training of its own: one is killed in its middle, is queued again and goes on; the table of the collecting job has all six.
. tests/slurm/common.sh
begin
demo_data 32 24 2
tap_ok "shards" prepared "$TMP/shards"
printf '%s\n' 'learning_rate = log 1e-4 .. 1e-2 x 3' 'seed = 1..2' >"$TMP/ranges.txt"
# as run_file writes it, but for what the sweep gives
run_file six STAGES="train infer evaluate" SPLITS="Train Val" SWEEP="$TMP/ranges.txt" SWEEP_AT_ONCE=3 NODES=1 MAX_EPOCHS=1 LEARNING_RATE= TRAIN_OPTIONS="$train_options --checkpoint_steps 2"
sed -i '/^LEARNING_RATE=/d' "$TMP/six.run"
submitted six
element=${log_train%_\*.log}_2.log
# its rank, found as soon as it is there: between its third step and its end is less than a second
third() {
    local process name arguments
    for process in /proc/[0-9]*; do
        { read -r name <"$process/comm"; } 2>/dev/null && [ "$name" = anyclass-train ] || continue
        { mapfile -d '' -t arguments <"$process/cmdline"; } 2>/dev/null
        [[ " ${arguments[*]} " != *" --log_save_dir $TMP/six/logs --version_name 0-002 "* ]] || { rank=${process#/proc/}; return 0; }
    done
    return 1
}
end=$((SECONDS + 60)) rank='' killed=''
until third || [ "$SECONDS" -ge "$end" ]; do tick; done
until logged "$element" 'epoch 0 step 3/' || [ "$SECONDS" -ge "$end" ]; do tick; done
[ -z "$rank" ] || ! kill -KILL "$rank" || killed=$rank
tap_ok "a rank of the third element is killed" test -n "$killed"
job_ends 150 "$job_collect" COMPLETED "$log_collect" "the collecting job ended COMPLETED"
tap_ok "the third element was queued again" test "$(field "${job_train}_2" Restarts)" -ge 1
tap_ok "and went on from what was saved last" says "$element" "continuing in epoch [0-9]* at step [0-9]* of 4"
for n in 0 1 2 3 4 5; do tap_ok "element $n ended COMPLETED" is_state "${job_train}_$n" COMPLETED; done
versions() { cut -d, -f1 "$TMP/six/results/0-Val.csv" | tail -n +2 | sort -u; }
tap_ok "all six are in the table" diff <(versions) <(printf '0-%03d\n' 0 1 2 3 4 5)
tap_ok "and the best is named" says "$log_collect" "best.* 0-00[0-5]"
tap_done
