#!/usr/bin/env bash
# Decode + resize against libjpeg-turbo, Pillow and torchvision, on one core. usage: PEER_PYTHON=... bench/image.sh [ROUNDS [SIZE [FILE...]]]
# Without files: the COCO images, then the chest images of the shared inputs.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PEER_PYTHON:-python3} shared=${ANYCLASS_SHARED:-../shared} rounds=${1:-15} size=${2:-224}
program=${BUILD:-build/release}/bench/image core=${CORE:-$(($(nproc) - 1))}
sets=("$shared/data/coco/train2017/*.jpg" "$shared/data/chest/images/*.png")
[ $# -le 2 ] || { shift 2; sets=("$*"); }
echo "date: $(date +%F)  commit: $(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' with changes')"
echo "machine: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores, core $core used; $(${CC:-cc} --version | head -1)"
echo "libjpeg-turbo $(pkg-config --modversion libjpeg), libpng $(pkg-config --modversion libpng); command: bench/image.sh $rounds $size"
for files in "${sets[@]}"; do
    echo "== $(dirname "${files%% *}" | xargs basename)"
    # shellcheck disable=SC2086 # patterns
    taskset -c "$core" "$python" bench/image_peer.py "$program" "$rounds" "$size" $files
done
