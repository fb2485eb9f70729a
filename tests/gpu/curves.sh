#!/usr/bin/env bash
# Trainings on demo data: does the GPU's loss follow the processor's, in each precision and on two ranks that share the GPU? TAP on stdout, every loss in OUT.
# usage: curves.sh BIN SHARDS OUT [EPOCHS]     (BIN: programs with CUDA; mpirun in PATH)     BOUND=2 (percent)  BATCH=32  CASES="32 tf32 bf16-mixed 16-mixed ranks apart"
set -uo pipefail
bin=$1 shards=$2 out=$3 epochs=${4:-8} batch=${BATCH:-32} bound=${BOUND:-2} cases=${CASES:-32 tf32 bf16-mixed 16-mixed ranks apart}
mkdir -p "$out"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
n=0
tell() { n=$((n + 1)); if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi; }

train() { # NAME RANKS OPTION...
    local name=$1 ranks=$2; shift 2
    mpirun --oversubscribe -n "$ranks" "$bin/anyclass-train" --data_root "$shards" --log_save_dir "$work" --version_name "$name" --model "${MODEL:-resnet18}" --batch_size "$batch" \
        --optimizer sgd --learning_rate 0.01 --clip_norm 1 --augment none --no_flip --max_epochs "$epochs" --log_every 1 "$@" >"$out/$name.log" 2>&1
    local status=$?
    sed -nE 's/.* step [0-9]+\/[0-9]+: loss ([^,]+),.*/\1/p' "$out/$name.log" >"$out/$name.loss"
    [ "$status" -eq 0 ] && [ "$(wc -l <"$out/$name.loss")" -eq "$(wc -l <"$out/cpu.loss")" ] || { tail -3 "$out/$name.log" | sed 's/^/# /'; return 1; }
}

compare() { # NAME AGAINST: mean over all steps, and the worst 50 in a row, against the other training's
    paste "$out/$2.loss" "$out/$1.loss" | awk -v bound="$bound" -v against="$2" '
        !/^[0-9.e+-]+\t[0-9.e+-]+$/ {odd = 1}
        {a += $1; b += $2; x += $1; y += $2; if (NR % 50 == 0) {d = 100 * (y / x - 1); if (d * d > w * w) w = d; x = y = 0}}
        END {d = 100 * (b / a - 1); printf "mean loss %.5f, of %s %.5f: %+.2f %%, worst 50 steps %+.2f %%\n", b / NR, against, a / NR, d, w; exit odd || !(d * d <= bound * bound && w * w <= 4 * bound * bound)}'
}

train cpu 1 --device cpu
tell $? "$(wc -l <"$out/cpu.loss") steps on the processor"
for case in $cases; do
    against=cpu
    case $case in
        ranks) train ranks 2 --device cuda --sync_bn ;;
        apart) # what one rank does with two micro-batches; neither needs the host amid a step, so both are recorded, one with copies to the host and calls behind them
            against=micro
            train micro 1 --device cuda --micro_batch $((batch / 2)) && train apart 2 --device cuda ;;
        *) train "$case" 1 --device cuda --precision "$case" ;;
    esac
    status=$?
    text=
    if [ "$status" -eq 0 ]; then text=$(compare "$case" "$against"); status=$?; fi
    grep -h 'not recorded' "$out/$case.log" | sed 's/^/# /'
    tell "$status" "$case: $text"
done
echo "1..$n"
