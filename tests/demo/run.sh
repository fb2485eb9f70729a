#!/usr/bin/env bash
# `make demo`: demo data, then preprocess, train (J_bce and J_any|bce), infer and evaluate on 2 MPI ranks.
# usage: tests/demo/run.sh [FOLDER]      (default build/demo; what is there already is made anew)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-build/demo}
BIN=${BIN:-build/release/bin}
BUILD=${BUILD:-build/release}
. tests/mpi.sh
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
ranks=${DEMO_RANKS:-2}
start=$SECONDS
say() { printf '\n\033[1m%s\033[0m  (%d s)\n' "$*" $((SECONDS - start)); }
rm -rf "$out"
mkdir -p "$out"

say "1/5 draw pictures: 6 kinds of marks, about 70 % of the images carry none"
"$BUILD/tests/demo/make_demo_data" --style coco --output "$out/data" --n_train "${DEMO_TRAIN:-1600}" --n_val 300 --n_test 300 --size 64

say "2/5 preprocess: images to shards"
mpirun -n "$ranks" "$BIN/anyclass-preprocess" --dataset coco --ann_root "$out/data/annotations" --data_root "$out/data/images" \
    --output "$out/shards" --image_size 48 --shard_size 256

say "3/5 train: the base loss alone, then with the any-class presence likelihood"
train() { # NAME, ALPHA: --meta_loss_weight 0 is J_bce, 1 is J_any|bce
    mpirun -n "$ranks" "$BIN/anyclass-train" --data_root "$out/shards" --log_save_dir "$out/logs" --version_name "$1" \
        --model resnet18 --base_loss bce --meta_loss_weight "$2" --meta_loss_beta 0.5 \
        --optimizer adamW --learning_rate 0.001 --schedule multistep --lr_steps 5 7 --batch_size 32 --max_epochs "${DEMO_EPOCHS:-8}" --seed 1 \
        --augment none # colour is part of what tells the marks apart
}
train bce 0
train any_bce 1

say "4/5 infer: scores of every image, one CSV per rank"
mpirun -n "$ranks" "$BIN/anyclass-infer" --log_dir "$out/logs" --versions bce any_bce --data_root "$out/shards" --split Val Test \
    --results_output "$out/results" --batch_size 64

say "5/5 evaluate: metrics, thresholds tuned on Val, and a report for each split"
for split in Val Test; do
    mpirun -n "$ranks" "$BIN/anyclass-evaluate" --results_output "$out/results" --versions bce any_bce --split "$split" \
        --data_root "$out/shards" --log_dir "$out/logs" --max_fbeta --multi_threshold --report "$out/report-$split.html" \
        --table "$out/table-$split.csv" "$out/table-$split.md" "$out/table-$split.tex" | tee "$out/table-$split.txt"
done
mpirun -n "$ranks" "$BIN/anyclass-evaluate" compare bce any_bce --results_output "$out/results" --checkpoint val_f1 --split Test \
    --data_root "$out/shards" --n_bootstrap 1000 | tee "$out/compare.txt"
say "done: open $out/report-Test.html; tables in $out/table-Test.txt, bce beside any_bce in $out/compare.txt, metrics as JSON in $out/results"
