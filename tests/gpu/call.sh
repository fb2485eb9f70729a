#!/usr/bin/env bash
# check-gpu and bench-gpu in one unattended run from a packed folder (pack.sh): correctness first, then speed, PyTorch's beside it. Full logs go to $OUT, a
# short table to the end of the output. No step may take the others' time: each has a limit of its own, and the whole stops at the deadline.
# usage: FOLDER/call.sh [STEP...]     DEADLINE_S=400 MODELS="resnet50 tresnet_l vit_b_16 maxvit_s" BATCH=256
set -u
cd "$(dirname "$0")"
begin=$(date +%s) deadline=${DEADLINE_S:-400} out=${OUT:-out} models=${MODELS:-resnet50 tresnet_l vit_b_16 maxvit_s} batch=${BATCH:-256}
steps=${*:-about check trainings steps ops peers sanitize from_shards compiled eager pack}
mkdir -p "$out"
libraries=$(python3 -c 'import glob, nvidia; print(":".join(d for p in nvidia.__path__ for d in sorted(glob.glob(p + "/*/lib"))))' 2>/dev/null)
export LD_LIBRARY_PATH="$libraries:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}:$PWD/lib" ANYCLASS_TEST_BACKEND=cuda BACKEND=cuda ANYCLASS_SHARED=$PWD/shared PYTHONUNBUFFERED=1
export ANYCLASS_CUDA_CACHE=off # the libraries' own choice, unless a step asks for more; what is timed then is kept for the next
tuned=(ANYCLASS_CUDA_TUNE=4 "ANYCLASS_CUDA_CACHE=$PWD/choices")
for name in $(./programs); do ln -sf programs "$name"; done
table=$out/table.txt
: >"$table"
say() { echo "$*" | tee -a "$table"; }
left() { local l=$((deadline - $(date +%s) + begin)); [ "$l" -lt "$1" ] && l=0; [ "$l" -gt "$2" ] && l=$2; echo "$l"; } # seconds: none below MIN, at most MAX
limited() { # MIN MAX COMMAND...: run it if there is time for it
    local s; s=$(left "$1" "$2"); shift 2
    [ "$s" -gt 0 ] || { echo "# no time left: $*"; return 124; }
    timeout -k 5 "$s" "$@"
}
clock() { echo "$(($(date +%s) - begin)) s: $*"; }

about() {
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,temperature.gpu,power.draw --format=csv,noheader | tee -a "$table"
    { uname -a; nproc; ldd --version | head -1; ldd ./step; echo "$LD_LIBRARY_PATH"; nvidia-smi; } >"$out/machine.log" 2>&1
    ldd ./step | grep 'not found' && say "libraries are missing"
}

# One TAP program in several parts side by side; failures of all.
tap() { # NAME PARTS [ENVIRONMENT...]
    local name=$1 parts=$2 log="$out/$1$( [ $# -gt 2 ] && echo "-$3").tap"; shift 2
    for ((i = 0; i < parts; i++)); do
        (limited 5 100 env ANYCLASS_TEST_PART=$i/$parts "$@" "./$name" >"$log.$i" 2>&1; echo "# part $i ended with $?" >>"$log.$i") &
    done
    wait
    cat "$log".* >"$log"; rm -f "$log".[0-9]*
    say "$name $* : $(grep -c '^ok' "$log") ok, $(grep -c '^not ok' "$log") not ok; $(grep '# part' "$log" | grep -vc 'with 0') of $parts parts ended badly"
    grep -A1 '^not ok' "$log" | grep -v '^--' | cut -c1-300 | head -"${SHOW:-16}"
    grep -hE 'error while loading|Segmentation|CUDA:' "$log" | sort | uniq -c | head -4
}

check() {
    for t in ${TESTS:-$(ls -d test_operators*)}; do tap "$t" "$(case $t in test_operators | *_spatial) echo 6 ;; *) echo 2 ;; esac)" & done # cuDNN builds engines for each case: most of the time
    wait
    clock "operators"
    tap test_steps 1
    tap test_golden 1
    for m in $models; do # the same few steps in float and in bf16: losses side by side
        for p in 32 bf16; do
            limited 6 40 env RATE=1e-4 OPTIMIZER=adamw ./step "$m" 32 10 0 $p train 2>>"$out/errors.log" | sed 's/}$/, "note": "batch 32, curve"}/' | tee -a "$out/results.json" | row
        done
    done
    kept
    clock "correctness"
}

# trainings on demo data, one GPU against the processor, two ranks on one GPU; where MPI and HDF5 are, or the kit in .kit beside or in this folder
with_mpi() {
    local kit
    for kit in .kit ../.kit; do # shellcheck disable=SC1091
        [ -e "$kit/activate.sh" ] && ! command -v mpirun >/dev/null && . "$kit/activate.sh"
    done
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    command -v mpirun >/dev/null || { say "no MPI here: no trainings"; return 1; }
}

drawn() { # FOLDER IMAGES PIXELS: demo pictures in shards, if they are not there yet
    [ -e "$1/train-manifest.json" ] && return
    limited 30 90 ./make_demo_data --output "$1-data" --n_train "$2" --n_val 64 --n_test 8 --size $(($3 * 5 / 4)) >/dev/null
    limited 30 60 mpirun --oversubscribe -n 4 bin/anyclass-preprocess --dataset coco --ann_root "$1-data/annotations" --data_root "$1-data/images" --output "$1" --image_size "$3" --log_level warn
}

trainings() {
    with_mpi || return
    drawn shards 800 64
    limited 30 150 ./curves.sh bin shards "$out/curves" >"$out/curves.tap" 2>&1
    grep -E '^(ok|not ok|#)' "$out/curves.tap" | sed 's/^/training: /' | tee -a "$table"
    clock "trainings"
}

kept() { # the second job must build what the first one chose: it writes nothing
    local before
    for i in 1 2; do
        limited 6 40 env ANYCLASS_CUDA_CACHE="$PWD/kept" ./step resnet50 32 3 0 bf16 train >/dev/null 2>>"$out/errors.log"
        [ "$i" = 1 ] && before=$(cat kept/*.txt | sha256sum; stat -c %Y.%i kept/*.txt)
    done
    say "choices kept: $(cat kept/*.txt | grep -c ' = '), written again by the second job: $([ "$before" = "$(cat kept/*.txt | sha256sum; stat -c %Y.%i kept/*.txt)" ] && echo no || echo YES)"
}

row() { # JSON on stdin to the table; what earlier lines say of a model's FLOPs counts for the peers'
    local lines; lines=$(cat)
    { grep -h gflop_per_image "$out/results.json" 2>/dev/null; echo "---"; echo "$lines"; } | python3 gpu_table.py | awk 'told; /^---$/ {told = 1}' | tee -a "$table"
}

ours() { # MODEL PRECISION WORK NOTE [ENVIRONMENT...]: with half the batch where memory is short
    local model=$1 precision=$2 work=$3 note=$4 size; shift 4
    for size in $batch $((batch / 2)); do
        limited 8 75 env "$@" ./step "$model" "$size" 20 0 "$precision" "$work" 2>"$out/error.txt" | sed "s/}\$/, \"note\": \"$note\"}/" >"$out/line.json"
        cat "$out/error.txt" >>"$out/errors.log"
        if [ -s "$out/line.json" ]; then tee -a "$out/results.json" <"$out/line.json" | row; return; fi
        tail -1 "$out/error.txt" | cut -c1-200
        grep -qiE 'memory|GiB wanted' "$out/error.txt" || return
    done
}

optimizer_of() { case $1 in resnet*) echo sgd ;; *) echo adamw ;; esac; }

steps() {
    for m in $models; do
        local o; o=OPTIMIZER=$(optimizer_of "$m")
        ours "$m" bf16 train "tuned" "${tuned[@]}" "$o"
        ours "$m" bf16 infer "tuned" "${tuned[@]}"
        ours "$m" bf16 train "tuned, not recorded" GRAPH=0 "${tuned[@]}" "$o"
        [ "$m" = resnet50 ] || continue
        ours "$m" f16 train "tuned" "${tuned[@]}" "$o"
        ours "$m" tf32 train "tuned" "${tuned[@]}" "$o"
        ours "$m" bf16 train "first choices" "$o"
        ours "$m" bf16 train "tuned 8, dweight by cuDNN" ANYCLASS_CUDA_TUNE=8 ANYCLASS_CUDA_DWEIGHT=cudnn "$o"
    done
    clock "our steps"
}

# whole programs from shards: the loader, the inbox, validation and all; needs MPI and HDF5 as `trainings` does
from_shards() {
    with_mpi || return
    drawn large 4096 224
    for m in $models; do
        limited 20 90 bin/anyclass-train --device cuda --precision bf16-mixed --data_root large --log_save_dir large-logs --version_name "$m" --overwrite --model "$m" --batch_size "$batch" \
            --optimizer adamW --learning_rate 0.0001 --max_epochs 2 --n_workers 8 >"$out/shards-$m.log" 2>&1
        say "$m from shards, batch $batch, bf16-mixed: $(grep -oE 'epoch 1: [0-9]+ images in .*' "$out/shards-$m.log" | tail -1), $(grep -oE 'epoch 1: .*waiting for data' "$out/shards-$m.log")"
    done
    clock "from shards"
}

ops() {
    for m in $models; do
        limited 8 45 env "${tuned[@]}" ./ops "$m" "$batch" 3 0 cuda 224 bf16 >"$out/ops-$m.txt" 2>&1 || limited 8 45 ./ops "$m" $((batch / 2)) 3 0 cuda 224 bf16 >"$out/ops-$m.txt" 2>&1
        echo "--- $m, per operator"; grep -E '^  .*forward|^sum' "$out/ops-$m.txt" | grep -v '0.00 ms, backward     0.00'
    done
    clock "per operator"
}

peer() { # MODEL MODES MOST_SECONDS
    local size
    for size in $batch $((batch / 2)); do
        limited 15 "$3" python3 peer_gpu.py --model "$1" --batch "$size" --optimizer "$(optimizer_of "$1")" --steps 12 --warmup 4 --modes "$2" 2>>"$out/peer-$1.log" >"$out/lines.txt"
        tee -a "$out/results.json" <"$out/lines.txt" | row
        grep -q 'out of memory' "$out/lines.txt" || break
    done
    clock "PyTorch $1 $2"
}

peers() { for m in $models; do peer "$m" channels_last 70; done; }
eager() { for m in $models; do peer "$m" eager 70; done; }
compiled() { for m in ${COMPILED:-vit_b_16 resnet50 maxvit_s tresnet_l}; do peer "$m" compile 120; done; }

sanitize() {
    local tool; tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
    [ -n "$tool" ] || { say "no compute-sanitizer"; return; }
    for what in memcheck:test_operators:2/27 memcheck:test_operators_attention:8/11 racecheck:test_operators_rows:2/22 racecheck:test_operators_attention:8/11; do
        IFS=: read -r kind test part <<<"$what"
        limited 10 20 env ANYCLASS_TEST_PART="$part" "$tool" --tool "$kind" --error-exitcode 9 "./$test" >"$out/$kind-$test.log" 2>&1
        say "compute-sanitizer $kind $test $part: $? ($(grep -c '^ok' "$out/$kind-$test.log") ok, $(grep -c '^not ok' "$out/$kind-$test.log") not ok) $(grep -hE 'ERROR SUMMARY|RACECHECK SUMMARY' "$out/$kind-$test.log" | tail -1)"
    done
}

pack() { # few files come back
    tar czf /tmp/logs.$$.tar.gz -C "$out" . && find "$out" -type f ! -name table.txt ! -name results.json -delete && mv /tmp/logs.$$.tar.gz "$out/logs.tar.gz"
}

for step in $steps; do "$step" 2>&1; done
clock "all"
echo "=== table"; cat "$table"
