#!/usr/bin/env bash
# Training and inference against PyTorch on this machine, interleaved: each round runs ours and then PyTorch's modes for every
# model, batch and precision. Writes the JSON line of each run and the tables to stdout.
# usage: PEER_PYTHON=... bench/train.sh [ROUNDS] >results.txt   and, with what is the default here:
#   MODELS="resnet18 resnet50" BATCHES="8 16 32" PRECISIONS="32 bf16" MODES="eager channels_last compile" OPTIMIZER=sgd|adamw
#   WORK="training inference" STEPS=6 THREADS=2 BENCH_DIR=build/bench-data
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-build/release/bin}
. tests/mpi.sh
rounds=${1:-3} python=${PEER_PYTHON:-python3} out=${BENCH_DIR:-build/bench-data} threads=${THREADS:-2} steps=${STEPS:-6}
models=${MODELS:-resnet18 resnet50} batches=${BATCHES:-8 16 32} precisions=${PRECISIONS:-32 bf16} optimizer=${OPTIMIZER:-sgd}
modes=${MODES:-eager channels_last compile} work=${WORK:-training inference}
export OMP_NUM_THREADS=$threads
n_images=$(($(printf '%s\n' $batches | sort -n | tail -1) * (steps + 2)))
shards=$out/train-$n_images
if [ ! -e "$shards/val-manifest.json" ]; then
    "${BUILD:-build/release}/tests/demo/make_demo_data" --output "$out/data-$n_images" --n_train "$n_images" --n_val 8 --n_test 8 --size 224 --style coco
    "$BIN"/anyclass-preprocess --dataset coco --ann_root "$out/data-$n_images/annotations" --data_root "$out/data-$n_images/images" --output "$shards" --log_level warn
fi
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

echo "# $(date -u +%F), commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' + changes'), $(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
echo "# $("$python" -c 'import sys, torch, torchvision; print("Python", sys.version.split()[0], "torch", torch.__version__, "torchvision", torchvision.__version__)' || echo no torch); $("$BIN"/anyclass-train --version); $(pkg-config --modversion dnnl 2>/dev/null || dpkg-query -W -f 'oneDNN ${Version}' libdnnl-dev 2>/dev/null || true)"
echo "# command: MODELS=\"$models\" BATCHES=\"$batches\" PRECISIONS=\"$precisions\" MODES=\"$modes\" OPTIMIZER=$optimizer WORK=\"$work\" STEPS=$steps THREADS=$threads bench/train.sh $rounds"

own_precision() { [ "$1" = bf16 ] && echo bf16-mixed || echo "$1"; }
# what cannot run here is a line of text, and no part of the tables
try() { # NAME COMMAND...
    local name=$1; shift
    "$@" 2>"$lines.error" | tee -a "$lines" || echo "# $name: $(tail -1 "$lines.error")"
    rm -f "$lines.error"
}
train_ours() { # MODEL BATCH PRECISION
    try "anyclass $*" "$python" bench/our_train.py "$2" "$1" "$3" "$BIN"/anyclass-train --data_root "$shards" --log_save_dir "$out/logs" --overwrite \
        --version_name bench --model "$1" --batch_size "$2" --augment none --max_epochs 1 --max_steps $((steps + 2)) --learning_rate 0.001 \
        --optimizer "${optimizer/adamw/adamW}" --precision "$(own_precision "$3")" --log_every 1 --profile
}
infer_ours() { # MODEL BATCH PRECISION: steady steps; the whole program on shards is bench/infer.sh
    try "anyclass inference $*" sh -c '"$@" | sed "s/{\"ours\": /{\"who\": \"anyclass\", \"mode\": \"\", \"work\": /"' - \
        "${BUILD:-build/release}/bench/step" "$1" "$2" "$steps" "$threads" "$3" infer
}
fma=$("${BUILD:-build/release}/bench/fma" "$threads")
for round in $(seq "$rounds"); do
    for model in $models; do for batch in $batches; do for precision in $precisions; do
        for kind in $work; do
            [ "$kind" = training ] && train_ours "$model" "$batch" "$precision"
            [ "$kind" = inference ] && infer_ours "$model" "$batch" "$precision"
            for mode in $modes; do
                try "torch $mode $model $batch $precision" "$python" bench/peer_train.py --model "$model" --mode "$mode" --batch "$batch" --threads "$threads" \
                    --precision "$precision" --optimizer "$optimizer" --steps "$steps" $([ "$kind" = inference ] && echo --inference)
            done
        done
    done; done; done
    fma+=$'\n'$("${BUILD:-build/release}/bench/fma" "$threads")
done
best() { echo "$fma" | awk -v what="$1" '$1 == what && $2 > best {best = $2} END {print best}'; }
echo "# multiply-add rate of the machine, $threads threads, best of $((rounds + 1)) measurements between the rounds: fp32 $(best fp32) GFLOP/s, bf16 $(best bf16) GFLOP/s (0: none)"
"$python" bench/train_table.py "$lines" "$(best fp32)" "$(best bf16)" "$(best amx)"
for model in $models; do for precision in $precisions; do # where a step's time goes
    "${BUILD:-build/release}/bench/ops" "$model" "${batches%% *}" 3 "$threads" cpu 224 "$precision"
done; done
