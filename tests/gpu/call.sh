#!/usr/bin/env bash
# check-gpu and bench-gpu in one unattended run from a packed folder (pack.sh): correctness first, then speed, PyTorch's beside it. Full logs go to $OUT, a
# short table to the end of the output. No step may take the others' time: each has a limit of its own, and the whole stops at the deadline.
# usage: FOLDER/call.sh [STEP...]     DEADLINE_S=330 MODELS="resnet50" BATCH=256
set -u
cd "$(dirname "$0")"
begin=$(date +%s) deadline=${DEADLINE_S:-330} out=${OUT:-out} models=${MODELS:-resnet50} batch=${BATCH:-256}
steps=${*:-about check steps ops peers sanitize}
mkdir -p "$out"
libraries=$(python3 -c 'import glob, nvidia; print(":".join(d for p in nvidia.__path__ for d in sorted(glob.glob(p + "/*/lib"))))' 2>/dev/null)
export LD_LIBRARY_PATH="$libraries:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}:$PWD/lib" ANYCLASS_TEST_BACKEND=cuda BACKEND=cuda ANYCLASS_SHARED=$PWD/shared PYTHONUNBUFFERED=1
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
    for t in ${TESTS:-$(ls -d test_operators*)}; do tap "$t" 8; done
    tap test_steps 1
    tap test_golden 1
    clock "correctness"
}

row() { # JSON on stdin to the table
    python3 gpu_table.py | tee -a "$table"
}

ours() { # MODEL PRECISION WORK NOTE [ENVIRONMENT...]
    local model=$1 precision=$2 work=$3 note=$4; shift 4
    limited 8 60 env "$@" ./step "$model" "$batch" 20 0 "$precision" "$work" 2>>"$out/errors.log" | sed "s/}\$/, \"note\": \"$note\"}/" | tee -a "$out/results.json" | row
    tail -1 "$out/errors.log" | cut -c1-200
    : >"$out/errors.log"
}

optimizer_of() { case $1 in resnet*) echo sgd ;; *) echo adamw ;; esac; }

steps() {
    for m in $models; do
        local o; o=OPTIMIZER=$(optimizer_of "$m")
        ours "$m" bf16 train "resident" RESIDENT=1 "$o"
        ours "$m" bf16 train "resident, tuned" RESIDENT=1 "$o" ANYCLASS_CUDA_TUNE=8
        ours "$m" bf16 infer "resident, tuned" RESIDENT=1 ANYCLASS_CUDA_TUNE=8
        ours "$m" bf16 train "uploads each batch" "$o"
        ours "$m" 32 train "resident, tf32" RESIDENT=1 "$o" ANYCLASS_CUDA_TF32=1
    done
    clock "our steps"
}

ops() {
    for m in $models; do
        limited 8 60 env ANYCLASS_CUDA_TUNE=8 ./ops "$m" "$batch" 5 0 cuda 224 bf16 >"$out/ops-$m.txt" 2>&1
        echo "--- $m, per operator"; tail -22 "$out/ops-$m.txt" | grep -E 'forward' | tail -20
    done
    clock "per operator"
}

peers() {
    for m in $models; do
        limited 15 150 python3 peer_gpu.py --model "$m" --batch "$batch" --optimizer "$(optimizer_of "$m")" --modes "${PEER_MODES:-eager channels_last compile}" 2>"$out/peer-$m.log" |
            tee -a "$out/results.json" | row
        clock "PyTorch $m"
    done
}

sanitize() {
    local tool; tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
    [ -n "$tool" ] || { say "no compute-sanitizer"; return; }
    for kind in memcheck racecheck; do
        limited 15 45 env ANYCLASS_TEST_PART=5/9 "$tool" --tool "$kind" --error-exitcode 9 ./test_operators >"$out/$kind.log" 2>&1
        say "compute-sanitizer $kind: $? ($(grep -c '^ok' "$out/$kind.log") checks) $(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$out/$kind.log" | tail -1)"
    done
}

for step in $steps; do "$step" 2>&1; done
clock "all"
echo "=== table"; cat "$table"
