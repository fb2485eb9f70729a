#!/usr/bin/env bash
# The fidelity study: makes the data, trains the common initial network, then preprocess, train, infer and evaluate for every setting, share of
# negatives and seed, the same with PyTorch for two of the settings, tables and plots. docs/fidelity.md says what is compared and why.
# usage: PEER_PYTHON=/path/to/python bench/fidelity/study.sh [FOLDER]     (default build/fidelity)
# Run it again after a stop: whatever is finished stays, a training that was cut off goes on from its last epoch.
# Environment: JOBS (2) trainings at a time, each with one thread; SEEDS; SHARES; SETTINGS, PEER_SETTINGS, MORE, EXTRA, INVERSE; PRECISION; LOGS (for checkpoints
# while a training runs, FOLDER/logs; in memory, such as /dev/shm/NAME, they need not be synced); PREFIX of tables, page and figure (FOLDER/fidelity).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/mpi.sh
export OMP_NUM_THREADS=1
BIN=${BIN:-build/release/bin}
python=${PEER_PYTHON:-python3}
here=bench/fidelity

SHARES=${SHARES:-90 50 70}
SEEDS=${SEEDS:-2 3 4 5 6} # not 1, the initial network's own: its last layer would be drawn as that network's was, and fit it from the start
SETTINGS=${SETTINGS:-bce any_bce_0.5 focal any_focal_0.5} # first these, for all seeds, then PyTorch's, then other lambdas
PEER_SETTINGS=${PEER_SETTINGS-bce any_focal_0.5} # from here on any may be set to nothing
MORE=${MORE-any_bce_0.7 any_bce_0.9 any_focal_0.7 any_focal_0.9}
EXTRA=${EXTRA-any_bce_0.1 any_focal_0.1}
INVERSE=${INVERSE-bce-inv any_bce_0.5-inv focal-inv any_focal_0.5-inv}
EPOCHS=${EPOCHS:-4}
RATE=${RATE:-0.0002}
BETA=${BETA:-0.99}
PRECISION=${PRECISION:-bf16-mixed} # ours; PyTorch's is float32

# What every training shares, ours and PyTorch's
common=(--model resnet18 --optimizer adamW --learning_rate "$RATE" --weight_decay 0.05 --schedule cosine --restart_period "$EPOCHS"
    --batch_size 32 --max_epochs "$EPOCHS")
ours=(--augment none --no_flip --precision "$PRECISION" --n_threads 1 --log_every 0 --log_level warn)

settings_of() { # NAME -> options of the loss; any_bce_0.5: alpha 1, lambda 0.5; with -inv: weights of (nearly) inverse frequency
    local beta=$BETA
    [[ $1 != *-inv ]] || beta=0.9999
    set -- "${1%-inv}"
    case $1 in
    bce | focal) echo "--class_balancing_beta $beta --base_loss $1 --meta_loss_weight 0" ;;
    any_*) set -- ${1//_/ }; echo "--class_balancing_beta $beta --base_loss $2 --meta_loss_weight 1 --meta_loss_beta $3" ;;
    *) echo "study.sh: no setting $1" >&2; return 2 ;;
    esac
}

make_data() { # NAME, OPTIONS of make_data.py: scenes and shards
    local name=$1 data=$out/data/$1
    shift
    [ -e "$data/sha256.txt" ] || nice -n 10 "$python" $here/make_data.py "$data" "$@"
    "$BIN/anyclass-preprocess" --dataset csv --ann_root "$data" --data_root "$data/images" --output "$out/shards/$name" \
        --image_size 32 --mean .25 .25 .25 --std .15 .15 .15 --log_level warn
}

make_initial() { # the network that every training begins with: single digits first, then scenes without negatives
    [ -e "$out/initial.safetensors" ] && return
    local schedule=(--model resnet18 --base_loss bce --meta_loss_weight 0 --optimizer adamW --weight_decay 0.05 --schedule cosine --restart_period 5
        --max_epochs 5 --batch_size 64 --log_save_dir "$logs" --checkpoint auto)
    make_data single --single --train 8000 --val 500 --test 0
    make_data many --negatives 0 --train 8000 --val 500 --test 0
    "$BIN/anyclass-train" --data_root "$out/shards/single" --version_name single --learning_rate 0.001 "${schedule[@]}" "${ours[@]}"
    "$BIN/anyclass-train" --data_root "$out/shards/many" --version_name many --init "$logs/version_single/last.h5" --learning_rate 0.0005 \
        "${schedule[@]}" "${ours[@]}"
    "$BIN/anyclass-weights" export "$logs/version_many/last.h5" "$out/initial.safetensors" --overwrite --log_level warn
    rm -r "$logs/version_single" "$logs/version_many"
}

run_one() { # WHO SHARE SETTING SEED: one training, scored and measured
    local who=$1 share=$2 setting=$3 seed=$4 name=$1_$2_$3_$4 start=$SECONDS
    local folder=$out/results/version_$name shards=$out/shards/$share
    [ -e "$folder/done" ] && return
    mkdir -p "$folder"
    if [ "$who" = torch ]; then
        if [ ! -e "$folder/training.csv" ]; then
            "$python" $here/reference_train.py --data_root "$shards" --init "$out/initial.safetensors" --output "$folder" "${common[@]}" \
                $(settings_of "$setting") --seed "$seed" >"$folder/training.csv.part"
            mv "$folder/training.csv.part" "$folder/training.csv"
        fi
    else
        "$BIN/anyclass-train" --data_root "$shards" --init "$out/initial.safetensors" --new_head --log_save_dir "$logs" \
            --version_name "$name" --checkpoint auto "${common[@]}" $(settings_of "$setting") --seed "$seed" "${ours[@]}"
        "$BIN/anyclass-infer" --log_dir "$logs" --versions "$name" --checkpoints val_f1 --data_root "$shards" --split Val Test \
            --results_output "$out/results" --precision "$PRECISION" --n_threads 1 --log_level warn
        cp "$logs/version_$name/metrics.csv" "$folder/training.csv"
    fi
    "$BIN/anyclass-evaluate" --results_output "$out/results" --versions "$name" --split Test --data_root "$shards" --max_fbeta --f_beta 1 \
        --log_level warn >/dev/null
    touch "$folder/done"
    [ "$who" = torch ] || rm -rf "$logs/version_$name" # 134 MB for each checkpoint
    echo "$(date +%T) $name: $((SECONDS - start)) s"
}

list_runs() { # WHO SETTING...: all seeds of a share, then the next share: what a stopped study has can be tested
    local who=$1 seed share setting
    shift
    for share in $SHARES; do
        for seed in $SEEDS; do
            for setting; do
                echo "$who:$share:$setting:$seed"
            done
        done
    done
}

if [ "${1-}" = --run ]; then # a worker of the call below
    out=$2 logs=$3
    run_one ${4//:/ }
    exit
fi
out=${1:-build/fidelity} logs=${LOGS:-${1:-build/fidelity}/logs}
mkdir -p "$out" "$logs"
make_initial
for share in $SHARES; do
    make_data "$share" --negatives "0.$share"
done
{
    list_runs ours $SETTINGS
    list_runs torch $PEER_SETTINGS
    list_runs ours $MORE
    list_runs ours $EXTRA
    list_runs ours $INVERSE
} >"$out/runs.txt"
echo "$(wc -l <"$out/runs.txt") trainings, ${JOBS:-2} at a time; one that is done has a file $out/results/version_NAME/done"
xargs -P "${JOBS:-2}" -n 1 bash "$0" --run "$out" "$logs" <"$out/runs.txt"
"$python" $here/analyse.py "$out" "${PREFIX:-$out/fidelity}"
