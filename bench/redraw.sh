#!/usr/bin/env bash
# How long the page of anyclass-simulate takes to redraw while a slider moves, in a headless Chromium: all 13 pictures, contours, read-out.
# usage: bench/redraw.sh [MOVES [ROUNDS]]     (60, 3)
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build/release}
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || { echo "bench/redraw.sh: no chromium (make browser)" >&2; exit 1; }
page=$(mktemp --suffix=.html); trap 'rm -f "$page"' EXIT
"$build/bin/anyclass-simulate" --output "$page" --log_level warn
for ((i = 0; i < ${2:-3}; i++)); do
    REDRAWS=${1:-60} "$build/tests/simulate/page" "$browser" "$page" | sed -n '/^not ok/p; s/^# redraw, //p'
done
