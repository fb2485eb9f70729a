#!/usr/bin/env bash
# Reading a COCO instances file of the real train2017's size: anyclass against Python's json.load, interleaved.
# usage: PEER_PYTHON=... bench/coco.sh [ROUNDS [MEGABYTES]]
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PEER_PYTHON:-python3} out=${BENCH_DIR:-build/bench-data} megabytes=${2:-450}
file=$out/instances_$megabytes.json bench=${BUILD:-build/release}/bench/coco_file
mkdir -p "$out"
[ -e "$file" ] || "$bench" write "$file" "$megabytes"
echo "$(date -I), $(uname -m), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'), $("$python" --version)"
echo "file: $(stat -c %s "$file") bytes; load average $(cut -d" " -f1 /proc/loadavg)"
for _ in $(seq "${1:-3}"); do
    "$bench" read "$file"
    "$python" bench/peer_json.py "$file" || echo "peer: not available"
done
