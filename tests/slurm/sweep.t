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
until_true 60 says "$element" 'epoch 0 step 3/'
node=$(field "${job_train}_2" NodeList)
killed=$(on "$node" sh -c 'for pid in $(pgrep -x anyclass-train); do
    ! tr "\0" " " <"/proc/$pid/cmdline" | grep -q "version_name 0-002 " || { kill -KILL "$pid" && echo "$pid"; }; done')
tap_ok "a rank of the third element is killed" test -n "$killed"
job_ends 150 "$job_collect" COMPLETED "$log_collect" "the collecting job ended COMPLETED"
tap_ok "the third element was queued again" test "$(field "${job_train}_2" Restarts)" -ge 1
tap_ok "and went on from what was saved last" says "$element" "continuing in epoch [0-9]* at step [0-9]* of 4"
for n in 0 1 2 3 4 5; do tap_ok "element $n ended COMPLETED" is_state "${job_train}_$n" COMPLETED; done
versions() { cut -d, -f1 "$TMP/six/results/0-Val.csv" | tail -n +2 | sort -u; }
tap_ok "all six are in the table" diff <(versions) <(printf '0-%03d\n' 0 1 2 3 4 5)
tap_ok "and the best is named" says "$log_collect" "best.* 0-00[0-5]"
tap_done
