#!/usr/bin/env bash
# Scores and labels of 1,040,129 images of 17 classes to all metrics: anyclass-evaluate on RANKS ranks, start to end, against pandas with
# scikit-learn, in turns; then, once, against a plain Python loop over the ranking (peer_evaluate.py). usage: bench/evaluate.sh [ROUNDS [IMAGES]]
# Environment: RANKS (2), FORM (six: six decimals; shortest: of a float32), ORDER (sorted; shuffled: the scores' rows), OPTIONS of our
# program, PEER_PYTHON (none: ours alone), LOOP (1; 0: without the plain loop), GROWTH="N..." (sizes for peak memory alone), BENCH_DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-build/release/bin}
. tests/mpi.sh
export OMPI_MCA_mpi_yield_when_idle=0
unset OMPI_MCA_btl_vader_single_copy_mechanism
rounds=${1:-5} images=${2:-1040129} ranks=${RANKS:-2} form=${FORM:-six} order=${ORDER:-sorted}
read -ra options <<<"${OPTIONS:---multi_threshold --max_fbeta}"
work=${BENCH_DIR:-build/bench-data}/evaluate
mkdir -p "$work"
# make_data N: its folder in $data; made once
make_data() {
    data=$work/$1-$form-$order
    [ -e "$data/val_sigmoid.csv" ] || "${BUILD:-build/release}/bench/evaluate_data" "$data" "$1" "$form" "$order"
}
# ours N: one line: seconds start to end, and of each phase on the slowest rank, rates of the slowest rank, peak memory of the largest
ours() {
    local start=$EPOCHREALTIME end
    mpirun --quiet -n "$ranks" "$BIN/anyclass-evaluate" --scores "$data/val_sigmoid.csv" --labels "$data/labels.csv" --output "$work/out" \
        "${options[@]}" --log_level debug --log_all_ranks >"$work/said" 2>&1 || { cat "$work/said" >&2; return 1; }
    end=$EPOCHREALTIME
    awk -v start="$start" -v end="$end" '
        function after(word, least,   i) {
            for (i = 1; i < NF; i++) if ($i == word) return $(i + 1) + 0
        }
        /debug: read the labels/ { if (after("in") > labels) labels = after("in") }
        /debug: read the scores/ {
            if (after("in") > scores) scores = after("in")
            match($0, /[0-9]+ MB\/s/); rate = substr($0, RSTART, RLENGTH) + 0
            if (!slowest || rate < slowest) slowest = rate
        }
        /debug: measured/ {
            if (after("in") > measured) measured = after("in")
            match($0, /wrote it in [0-9.]+/); if (substr($0, RSTART + 12, RLENGTH - 12) + 0 > wrote) wrote = substr($0, RSTART + 12, RLENGTH - 12) + 0
            if (after("RSS") > rss) rss = after("RSS")
        }
        END {
            all = end - start
            printf "anyclass: %.3f s; labels %.3f (%.0f %%), scores %.3f (%.0f %%), measuring %.3f (%.0f %%), writing %.3f (%.0f %%), start and end of MPI %.3f (%.0f %%); ", all,
                labels, 100 * labels / all, scores, 100 * scores / all, measured, 100 * measured / all, wrote, 100 * wrote / all,
                all - labels - scores - measured - wrote, 100 * (all - labels - scores - measured - wrote) / all
            printf "scores parsed and joined at %d MB/s a rank; peak RSS %d MB a rank\n", slowest, rss
        }' "$work/said"
}
median() { sort -n | awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'; }
peer() { if [ -n "${PEER_PYTHON:-}" ]; then "$PEER_PYTHON" bench/peer_evaluate.py "$1" "$data/val_sigmoid.csv" "$data/labels.csv"; fi; }

make_data "$images"
echo "# $(date -I), commit $(git rev-parse --short HEAD), $(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'), $(nproc) cores; load $(cut -d' ' -f1 /proc/loadavg)"
echo "# $(mpirun --version | head -1), $(${CC:-cc} --version | head -1)${PEER_PYTHON:+, $("$PEER_PYTHON" bench/peer_evaluate.py versions)}"
echo "# command: RANKS=$ranks FORM=$form ORDER=$order bench/evaluate.sh $rounds $images; anyclass-evaluate ${options[*]}"
echo "# $images images; scores $(stat -c %s "$data/val_sigmoid.csv") bytes, labels $(stat -c %s "$data/labels.csv") bytes"
cat "$data"/*.csv >/dev/null # in the page cache for all
: >"$work/ours"; : >"$work/peers"
for _ in $(seq "$rounds"); do
    ours | tee -a "$work/ours"
    peer sklearn | tee -a "$work/peers"
done
fast=$(sed 's/anyclass: //' "$work/ours" | median)
echo "anyclass: median $fast s; load $(cut -d' ' -f1 /proc/loadavg)"
if [ -s "$work/peers" ]; then
    slow=$(sed 's/.*: //' "$work/peers" | median)
    echo "pandas and scikit-learn: median $slow s, $(awk -v a="$slow" -v b="$fast" 'BEGIN { printf "%.1f", a / b }') times ours"
    if [ "${LOOP:-1}" = 1 ]; then
        peer loop | tee "$work/loop"
        awk -v fast="$fast" '/^plain loop, all thresholds/ { sub(/.*: /, ""); printf "plain loop: %.0f times ours\n", $1 / fast }' "$work/loop"
    fi
fi
for n in ${GROWTH:-}; do
    make_data "$n"
    echo "$n images: $(ours)"
done
