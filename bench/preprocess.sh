#!/usr/bin/env bash
# The whole of anyclass-preprocess on one core, start to manifest, against libjpeg-turbo decoding the same files and nothing else,
# and against Pillow + torchvision. Processor seconds (user + system) and seconds of the clock, in turns; medians are compared.
# usage: PEER_PYTHON=... bench/preprocess.sh [ROUNDS [COPIES]]   COPIES: how often the 55 COCO images are taken
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-build/release/bin}
. tests/mpi.sh
python=${PEER_PYTHON:-python3} rounds=${1:-5} copies=${2:-20} build=${BUILD:-build/release} core=${CORE:-$(($(nproc) - 1))}
images=$(cd "${ANYCLASS_SHARED:-../shared}/data/coco/train2017" && pwd)
work=$(mktemp -d "${BENCH_DIR:-/tmp}/anyclass-bench.XXXXXX"); trap 'rm -rf "$work"' EXIT
mkdir "$work/images"
echo Filename,a >"$work/train.csv"
for k in $(seq "$copies"); do
    for f in "$images"/*.jpg; do
        ln -s "$f" "$work/images/$k-${f##*/}"
        echo "$k-${f##*/},1" >>"$work/train.csv"
        echo "$work/images/$k-${f##*/}" >>"$work/list"
    done
done
n=$(wc -l <"$work/list")
# measure NAME COMMAND...: appends "clock cpu" to $work/NAME
measure() {
    local name=$1 TIMEFORMAT='%R %U %S'; shift
    { time taskset -c "$core" "$@" >/dev/null 2>"$work/log"; } 2>&1 | awk '{print $1, $2 + $3}' >>"$work/$name"
}
make_shards() { # its start and end cost the same for any number of images, so both are in the figure
    rm -rf "$work/shards"
    OMP_NUM_THREADS=1 measure "$1" "$BIN"/anyclass-preprocess --dataset csv --ann_root "$work" --data_root "$work/images" --output "$work/shards" \
        --splits Train --shard_size 400 "${@:2}"
}
echo "$(date +%F), commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' with changes'), $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), core $core, load $(cut -d' ' -f1 /proc/loadavg)"
echo "command: bench/preprocess.sh $rounds $copies; $n images to 224 x 224, libjpeg-turbo $(pkg-config --modversion libjpeg)"
for _ in $(seq "$rounds"); do
    measure decode "$build/bench/decode_alone" <"$work/list"
    make_shards preprocess
    make_shards fast_decode --fast_decode
    taskset -c "$core" "$python" bench/peer_preprocess.py "$work/raw" 224 <"$work/list" >>"$work/pillow" # its imports are not counted
done
median() { sort -n | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
for name in decode preprocess fast_decode pillow; do
    clock=$(cut -d' ' -f1 "$work/$name" | median) cpu=$(cut -d' ' -f2 "$work/$name" | median)
    [ $name = decode ] && base=$cpu base_clock=$clock
    awk -v n="$n" -v name=$name -v c="$clock" -v p="$cpu" -v b="$base" -v bc="$base_clock" \
        'BEGIN {printf "%-12s %7.3f ms of processor an image (%.2f of decode), %7.3f ms of the clock (%.2f)\n", name, 1e3 * p / n, p / b, 1e3 * c / n, c / bc}'
done
