#!/usr/bin/env bash
# anyclass-infer against PyTorch, both from shards to CSV with the same weights: ROUNDS times ours on 1 rank x 2 threads and 2 ranks x 1 thread, then
# each of PyTorch's modes. Writes the JSON line of each run and a table of medians to stdout.
# usage: PEER_PYTHON=... bench/infer.sh [ROUNDS] >results.txt   and, with what is the default here:
#   MODEL=resnet50 IMAGES=384 PRECISIONS="32 bf16" MODES="channels_last fuse jit compile freeze" BATCH=16 PEER_BATCH=16 WORKERS="0 1" BENCH_DIR=build/bench-data
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-build/release/bin}
. tests/mpi.sh
rounds=${1:-3} python=${PEER_PYTHON:-python3} out=${BENCH_DIR:-build/bench-data} model=${MODEL:-resnet50} n=${IMAGES:-384}
precisions=${PRECISIONS:-32 bf16} modes=${MODES:-channels_last fuse jit compile freeze} batch=${BATCH:-16} peer_batch=${PEER_BATCH:-16} workers=${WORKERS:-0 1}
shards=$out/infer-$n logs=$out/infer-logs
if [ ! -e "$shards/val-manifest.json" ]; then
    "${BUILD:-build/release}/tests/demo/make_demo_data" --output "$out/infer-data-$n" --n_train 16 --n_val 8 --n_test "$n" --size 224 --style coco
    "$BIN"/anyclass-preprocess --dataset coco --ann_root "$out/infer-data-$n/annotations" --data_root "$out/infer-data-$n/images" --output "$shards" --log_level warn
fi
checkpoint=$logs/version_$model/last.h5
[ -e "$checkpoint" ] || OMP_NUM_THREADS=2 "$BIN"/anyclass-train --data_root "$shards" --log_save_dir "$logs" --version_name "$model" --model "$model" \
    --batch_size 8 --max_epochs 1 --learning_rate 0.001 --log_level warn
lines=$(mktemp)
trap 'rm -rf "$lines" "$lines".*' EXIT

echo "# $(date -u +%F), commit $(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' + changes'), $(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
echo "# $("$python" -c 'import sys, torch, torchvision, h5py; print("Python", sys.version.split()[0], "torch", torch.__version__, "torchvision", torchvision.__version__, "h5py", h5py.__version__)'); $("$BIN"/anyclass-infer --version); oneDNN $(dpkg-query -W -f '${Version}' libdnnl-dev 2>/dev/null || echo unknown)"
echo "# command: MODEL=$model IMAGES=$n PRECISIONS=\"$precisions\" MODES=\"$modes\" BATCH=$batch PEER_BATCH=$peer_batch WORKERS=\"$workers\" bench/infer.sh $rounds"
now_s() { date +%s.%N; }
ours() { # RANKS THREADS PRECISION
    local begin rate name=$3
    [ "$3" = bf16 ] && name=bf16-mixed
    rm -rf "$out/infer-scores"
    begin=$(now_s)
    OMP_NUM_THREADS=$2 mpirun -n "$1" "$BIN"/anyclass-infer --checkpoint "$checkpoint" --data_root "$shards" --split Test --batch_size "$batch" --precision "$name" \
        --results_output "$out/infer-scores" 2>"$lines.said" || { tail -3 "$lines.said"; return 0; }
    rate=$(sed -n 's/.*images in .*(\([0-9.]*\) images\/s).*/\1/p' "$lines.said")
    awk -v b="$begin" -v e="$(now_s)" -v r="$rate" -v n="$n" -v who="$1 x $2" -v p="$3" -v batch="$batch" -v load="$(cut -d' ' -f1 /proc/loadavg)" \
        'BEGIN { printf "{\"who\": \"anyclass\", \"mode\": \"%s\", \"precision\": \"%s\", \"batch\": %d, \"images\": %d, \"images_per_s\": %s, \"process_s\": %.2f, \"load\": %s}\n", who, p, batch, n, r, e - b, load }' | tee -a "$lines"
    cat "$out"/infer-scores/*.csv >"$lines.ours.$3"
}
theirs() { # MODE PRECISION WORKERS
    local begin
    begin=$(now_s)
    if OMP_NUM_THREADS=2 "$python" bench/peer_infer.py --checkpoint "$checkpoint" --shards "$shards" --output "$lines.csv" --mode "$1" --precision "$2" --workers "$3" \
        --batch "$peer_batch" --threads 2 >"$lines.said" 2>"$lines.error"; then
        "$python" - "$begin" "$(now_s)" "$lines.said" "$lines.csv" "$lines.ours.$2" "$(cut -d' ' -f1 /proc/loadavg)" <<'END' | tee -a "$lines"
import csv, json, sys
line = json.load(open(sys.argv[3]))
line["process_s"] = round(float(sys.argv[2]) - float(sys.argv[1]), 2)
rows = lambda path: {r[0]: [float(x) for x in r[1:]] for r in csv.reader(open(path)) if r[0] != "Filename"}
a, b = rows(sys.argv[4]), rows(sys.argv[5])
assert a.keys() == b.keys()
line["largest_difference"] = float("%.2g" % max((abs(x - y) for k in a for x, y in zip(a[k], b[k])), key=lambda d: (d != d, d)))
line["load"] = float(sys.argv[6])
print(json.dumps(line))
END
    else
        echo "# torch $1 $2: $(tail -1 "$lines.error")"
    fi
}
for round in $(seq "$rounds"); do
    for precision in $precisions; do
        ours 1 2 "$precision"
        ours 2 1 "$precision"
        for mode in $modes; do for w in $workers; do theirs "$mode" "$precision" "$w"; done; done
    done
done
"$python" - "$lines" <<'END'
import json, statistics, sys
runs = {}
for line in map(json.loads, open(sys.argv[1])):
    runs.setdefault((line["precision"], line["who"].split()[0], line["mode"], line.get("workers", "")), []).append(line)
print(f"\n{'precision':10}{'who':10}{'mode':15}{'workers':>8}{'images/s':>10}{'range':>16}{'process s':>11}{'images/s of the process':>25}")
best = {}
for (precision, who, mode, workers), lines in runs.items():
    rates = [x["images_per_s"] for x in lines]
    whole = [x["images"] / x["process_s"] for x in lines]
    rate, process = statistics.median(rates), statistics.median(whole)
    print(f"{precision:10}{who:10}{mode:15}{workers!s:>8}{rate:10.2f}{min(rates):8.2f} .. {max(rates):.2f}{statistics.median([x['process_s'] for x in lines]):11.2f}{process:25.2f}")
    for what, value in (("steady", rate), ("process", process)):
        if value > best.get((precision, who, what), (0,))[0]:
            best[precision, who, what] = (value, f"{mode} {workers}".strip())
for precision in dict.fromkeys(k[0] for k in runs):
    for what in ("steady", "process"):
        a, b = best.get((precision, "anyclass", what)), best.get((precision, "torch", what))
        if a and b:
            print(f"{precision}, {what}: {a[0] / b[0]:.2f} times ({a[1]} {a[0]:.2f} images/s, PyTorch's best: {b[1]} {b[0]:.2f})")
END
