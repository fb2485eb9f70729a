# The chain of four stages on two nodes: each job COMPLETED, and what comes out is what the same four programs make under mpirun without Slurm.
# The ranks of the two nodes talk over TCP on the network that the site file names; nothing else lies between them.
. tests/slurm/common.sh
begin
demo_data 48 24 16
sed -i 's/^INTERFACE=.*/INTERFACE=fabric/' "$TMP/site.env"
run_file run1 STAGES="preprocess train infer evaluate" SHARDS="$TMP/run1/shards"
traffic() { on node1 ip -j -s link show "$1" | grep -o "\"tx\":{\"bytes\":[0-9]*" | grep -o "[0-9]*$"; }
before_fabric=$(traffic fabric) before_admin=$(traffic admin)
submitted run1
tap_says 'cancel: *scancel' "submit says how to cancel"
until_true 120 ended "$job_evaluate"
for stage in preprocess train infer evaluate; do
    id=job_$stage log=log_$stage
    job_ends 1 "${!id}" COMPLETED "${!log}" "$stage ended COMPLETED"
done
sent_fabric=$(($(traffic fabric) - before_fabric)) sent_admin=$(($(traffic admin) - before_admin))
echo "# node1 sent $sent_fabric bytes on fabric, $sent_admin on admin"
# 12 steps; a rank sends half of the other's gradients and half of the sum: 45 MB each
tap_ok "the gradients went over the network of the site file" test "$sent_fabric" -gt $((12 * 44000000))
tap_ok "and not over the other" test "$sent_admin" -lt 20000000

p=$TMP/run2
tap_ok "preprocess without Slurm" mpirun -n 2 "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/data/annotations" --data_root "$TMP/data/images" \
    --output "$p/shards" --image_size 32 --shard_size 16
cp -r "$p/shards" "$TMP/shards"
tap_ok "train without Slurm" plain run2
tap_ok "infer without Slurm" mpirun -n 2 "$BIN/anyclass-infer" --log_dir "$p/logs" --versions 0 --data_root "$p/shards" --split Val Test --results_output "$p/results"
for split in Val Test; do
    tap_ok "evaluate $split without Slurm" mpirun -n 2 "$BIN/anyclass-evaluate" --results_output "$p/results" --versions 0 --split "$split" --data_root "$p/shards" --max_fbeta
done
# *_scores.json name the checkpoint's hash, and with it the folders of the run
same_files() {
    local n=0 file
    for file in "$p"/results/version_0/*$1; do n=$((n + 1)); cmp "$file" "$TMP/run1/results/version_0/${file##*/}" || return 1; done
    echo "$n files"; [ "$n" -ge 10 ] # five checkpoints, two splits
}
tap_ok "metrics: byte for byte as without Slurm" same_files _metrics.json
tap_ok "and the scores of every image" same_files _sigmoid.rank000[01].csv
tap_done
