# What the tests on a cluster share: a cluster of two nodes for each test, demo data, run files, waiting, comparing trainings.
# The programs are submitted as a user would, by slurm/submit; what is done to the cluster is done by tests/slurm/cluster.sh.
. tests/tap.sh
export OMP_NUM_THREADS=1
root=$PWD
BIN=$(realpath "$BIN")
cluster=$TMP/cluster
export CLUSTER_OWNER=$$ CLUSTER_LIFE_S=900
trap '"$root/tests/slurm/cluster.sh" stop "$cluster" 2>/dev/null; rm -rf "$TMP"' EXIT
trap 'exit 143' TERM INT HUP

# begin: the cluster, or the reason why there can be none as the test's only line
begin() {
    local code=0
    "$root/tests/slurm/cluster.sh" start "$cluster" "${1:-8}" >"$TMP/.start" 2>&1 || code=$?
    if [ "$code" -eq 77 ]; then tap_skip "a cluster of two nodes" "$(cat "$TMP/.start")"; tap_done; fi
    if [ "$code" -ne 0 ]; then tap_exit 0 "a cluster of two nodes starts" bash -c 'cat "$1"; tail -n 3 "$2"/log/*; exit 1' - "$TMP/.start" "$cluster"; tap_done; fi
    . "$cluster/env"
    mkfifo "$TMP/.tick"
    # a user's environment: nothing of Open MPI's but what this machine needs, root and more ranks than cores
    plain_mpi=("${!OMPI_MCA_@}")
    printf '%s\n' "BIN=$BIN" "INTERFACE=admin" "LOCAL_DISK=$cluster/local" >"$TMP/site.env"
    export ANYCLASS_SITE=$TMP/site.env
}
on() { "$root/tests/slurm/cluster.sh" on "$cluster" "$@"; }

# demo_data N_TRAIN N_VAL N_TEST: pictures in $TMP/data
demo_data() {
    tap_ok "demo data" "$BUILD/tests/demo/make_demo_data" --output "$TMP/data" --n_train "$1" --n_val "$2" --n_test "$3" --size 40
}
prepared() { "$BIN/anyclass-preprocess" --dataset coco --ann_root "$TMP/data/annotations" --data_root "$TMP/data/images" --output "$1" --image_size 32 --shard_size 16 --splits Train Val; }

# the options of every training here, beside those that a run file has keys for
train_options="--log_every 1 --augment none"
# run_file NAME [LINE...]: $TMP/NAME.run, with logs in $TMP/NAME/logs; lines given here count instead of those below
run_file() {
    local name=$1 line given=" "; shift
    mkdir -p "$TMP/$name"
    for line in "$@"; do given+="${line%%=*} "; done
    for line in NAME="$name" VERSION=0 DATASET=coco ANN_ROOT="$TMP/data/annotations" IMAGES="$TMP/data/images" SHARDS="$TMP/shards" LOGS="$TMP/$name/logs" \
        RESULTS="$TMP/$name/results" MODEL=resnet18 STAGES=train NODES=2 CPUS_PER_TASK=1 TIME=10 BATCH_SIZE=8 OPTIMIZER=sgd LEARNING_RATE=0.01 MAX_EPOCHS=2 \
        PREPROCESS_OPTIONS="--image_size 32 --shard_size 16" TRAIN_OPTIONS="$train_options" "$@"; do
        case "$given" in *" ${line%%=*} "*) continue ;; esac
        echo "${line%%=*}=\"${line#*=}\""
    done >"$TMP/$name.run"
    for line in "$@"; do echo "${line%%=*}=\"${line#*=}\""; done >>"$TMP/$name.run"
}
# plain NAME [OPTION...]: the training of a run file without Slurm, on two ranks of this machine
plain() {
    local name=$1; shift
    # shellcheck disable=SC2086 # words
    mpirun -n 2 "$BIN/anyclass-train" --data_root "$TMP/shards" --log_save_dir "$TMP/$name/logs" --version_name 0 --checkpoint auto --model resnet18 --batch_size 8 \
        --optimizer sgd --learning_rate 0.01 --max_epochs 2 "$@" $train_options
}
submit() { env "${plain_mpi[@]/#/-u}" OMPI_MCA_mpi_yield_when_idle=1 "$root/slurm/submit" "$@"; }
# submitted NAME [ARGUMENT...]: job_STAGE and log_STAGE of a run file that is submitted
submitted() {
    local name=$1 stage id log; shift
    unset job_preprocess job_train job_infer job_evaluate
    tap_ok "submit $name" submit "$TMP/$name.run" "$@"
    while read -r stage _ id _ log; do printf -v "job_$stage" %s "$id"; printf -v "log_$stage" %s "$log"; done < <(grep -E '^[a-z]+ +job [0-9]+ +log ' "$TMP/.tap_out")
}

state() { scontrol show job "$1" -o 2>/dev/null | grep -o 'JobState=[A-Z_]*' | cut -d= -f2; }
field() { scontrol show job "$1" -o 2>/dev/null | grep -o " $2=[^ ]*" | head -n 1 | cut -d= -f2-; }
is_state() { [[ $(state "$1") =~ ^($2)$ ]]; }
ended() { is_state "$1" 'COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|DEADLINE|OUT_OF_MEMORY|BOOT_FAIL'; }
says() { grep -q -a -e "$2" "$1" 2>/dev/null; }
# job_ends SECONDS ID STATE LOG NAME: a test; the end of the log is shown where it fails
job_ends() {
    tap_ok "$5" bash -c 'echo "job $2 is $1"; tail -n 25 "$3"; squeue; [ "$1" = "$4" ]' - "$(until_true "$1" ended "$2"; state "$2")" "$2" "$4" "$3"
}

# hold NAME COMMAND...: stops the ranks of a run file's job where they are when the command succeeds; let_go: they go on, and get the signals that came
# meanwhile. Looks often and starts no process for it: what it waits for can be over in a tenth of a second.
hold() {
    local end=$((SECONDS + 90))
    find_ranks "$1" "$end" || return 1
    shift
    while [ "$SECONDS" -lt "$end" ]; do
        if "$@"; then
            kill -STOP "${held[@]}" || return 1
            if "$@"; then return; fi
            kill -CONT "${held[@]}" # it was over by then: wait for the next time
        fi
        tick
    done
    return 1
}
# creep NAME COMMAND...: likewise, but the ranks run only for a moment between two looks: where the work takes no longer than the looks of a busy machine
creep() {
    local end=$((SECONDS + 90))
    find_ranks "$1" "$end" || return 1
    shift
    while [ "$SECONDS" -lt "$end" ]; do
        kill -STOP "${held[@]}" || return 1
        if "$@"; then return; fi
        let_go
        tick
    done
    return 1
}
find_ranks() { # NAME END: the processes of both ranks, in `held`
    local process name arguments
    held=()
    while [ "${#held[@]}" -lt 2 ]; do
        [ "$SECONDS" -lt "$2" ] || return 1
        held=()
        for process in /proc/[0-9]*; do
            { read -r name <"$process/comm"; } 2>/dev/null && [[ $name == anyclass-* ]] || continue
            { mapfile -d '' -t arguments <"$process/cmdline"; } 2>/dev/null
            [[ " ${arguments[*]} " != *" $TMP/$1/"* ]] || held+=("${process#/proc/}")
        done
        tick
    done
}
tick() { read -r -t 0.01 <>"$TMP/.tick" || true; }
logged() { # LOG TEXT: `says` without a process
    local all
    { mapfile -t all <"$1"; } 2>/dev/null && [[ ${all[*]} == *"$2"* ]]
}
let_go() { kill -CONT "${held[@]}"; }
# came SIGNAL: all ranks that are held have that signal waiting for them
came() {
    local process key value waits number
    number=$(kill -l "$1")
    for process in "${held[@]}"; do
        waits=0
        while read -r key value; do [ "$key" != ShdPnd: ] || waits=$((16#$value >> (number - 1) & 1)); done <"/proc/$process/status"
        [ "$waits" = 1 ] || return 1
    done
}
log_of() { local log=log_$1; echo "${!log}"; }

# same_training FOLDER FOLDER: the same files with the same bytes, weights, optimiser, counters and options. A checkpoint begins with lines that name
# its parts and their hashes; the part `info` holds the options, with the name of the training's folder: compared as text without it
same_training() {
    local a=$1/version_0 b=$2/version_0 file
    diff <(cd "$a" && ls metrics.csv checkpoints.json ./*.h5) <(cd "$b" && ls metrics.csv checkpoints.json ./*.h5) || return 1
    cmp "$a/metrics.csv" "$b/metrics.csv" && cmp "$a/checkpoints.json" "$b/checkpoints.json" || return 1
    for file in "$a"/last.h5 "$a"/epoch=*.h5; do same_checkpoint "$file" "$b/${file##*/}" || { echo "${file##*/} differs"; return 1; }; done
}
same_checkpoint() {
    local at bytes
    diff <(checkpoint_lines "$1") <(checkpoint_lines "$2") || return 1
    read -r at bytes < <(checkpoint_lines "$1" | sed -n 's/^info 0*\([0-9]*\) 0*\([0-9]*\)$/\1 \2/p')
    [ "$at" -gt 0 ] && diff <(checkpoint_info "$1" "$at" "$bytes") <(checkpoint_info "$2" "$at" "$bytes") || return 1
    cmp -i "$((at + bytes))" "$1" "$2"
}
# without the hash of `info` and the one of all lines
checkpoint_lines() { head -c 32768 "$1" | tr -d '\0' | sed 's/^\(info [0-9]* [0-9]*\) .*/\1/; /^seal /d'; }
checkpoint_info() { tail -c "+$(($2 + 1))" "$1" | head -c "$3" | sed "s#$TMP/[a-z0-9]*/#FOLDER/#g"; echo; }
