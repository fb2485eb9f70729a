#!/usr/bin/env bash
# resnet50 training, anyclass against PyTorch on this machine, interleaved. usage: PEER_PYTHON=... bench/run.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/mpi.sh
python=${PEER_PYTHON:-python3} out=${BENCH_DIR:-build/bench-data} batch=${BATCH:-8}
export OMP_NUM_THREADS=${THREADS:-2}
if [ ! -e "$out/shards/val-manifest.json" ]; then
    "${BUILD:-build/release}/tests/demo/make_demo_data" --output "$out/data" --n_train 64 --n_val 8 --n_test 8 --size 224 --style coco
    bin/anyclass-preprocess --dataset coco --ann_root "$out/data/annotations" --data_root "$out/data/images" --output "$out/shards" --log_level warn
fi
for _ in $(seq "${1:-2}"); do
    bin/anyclass-train --data_root "$out/shards" --log_save_dir "$out/logs" --version_name bench --model resnet50 --batch_size "$batch" \
        --augment none --max_epochs 1 --learning_rate 0.01 --profile 2>&1 | grep -E 'epoch 0: [0-9]+ images|profile|memory'
    for mode in eager channels_last compile; do
        "$python" bench/peer_train.py --mode "$mode" --batch "$batch" --threads "$OMP_NUM_THREADS" --steps 4 2>/dev/null || echo "peer $mode: not available"
    done
done
