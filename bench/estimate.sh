#!/usr/bin/env bash
# The paper estimate of every model that was measured: on the H100 beside MEASURED (a file with the tables of bench/ops), then H200 and inference.
# usage: bench/estimate.sh MEASURED >RESULTS; needs `make CUDA=emulated benches` (BUILD=build/release-cudaemulated)
set -euo pipefail
measured=$1
build=${BUILD:-build/release-cudaemulated}
for model in tresnet_l vit_b_16 maxvit_s resnet50; do
    "$build/bench/estimate" "$model" 256 train bf16 h100 224 "$measured"
    "$build/bench/estimate" "$model" 256 train bf16 h200 | grep -v "^ .* x \|^by "
    for gpu in h100 h200; do
        "$build/bench/estimate" "$model" 256 infer bf16 "$gpu" | grep -v "^ .* x \|^by "
    done
done
"$build/bench/estimate" maxvit_s 128 train bf16 h100 | grep -v "^ .* x \|^by "
