# The run file and the site file: which keys there are, reading, defaults, checks, and sbatch's options. Sourced by slurm/submit (and whatever
# else submits); queues nothing. The files are parsed, never executed.
# shellcheck shell=bash disable=SC2034,SC2088,SC2154,SC2178 # most settings are read by the jobs; `program`, `here` and `run_file` are the caller's

stages=(preprocess train infer evaluate collect) # collect: infer and evaluate of a sweep

# kind of each key's value; see check_value
declare -A kind=(
    [NAME]=name [DATASET]='one of sewer|coco|chest|csv' [ANN_ROOT]=path [IMAGES]=path [SHARDS]=path [LOGS]=path [RESULTS]=path [VERSION]=name
    [MODEL]=word [SPLITS]='some of Train|Val|Test' [STAGES]='some of preprocess|train|infer|evaluate|collect'
    [NODES]=count [TASKS_PER_NODE]=count [GPUS_PER_NODE]=gpus [CPUS_PER_TASK]=count [MEM_PER_NODE]=memory [TIME]=time
    [MAX_RESTARTS]=count0 [SIGNAL_S]=count [STAGE_SHARDS]='one of yes|no'
    [BATCH_SIZE]=count [LEARNING_RATE]=number [OPTIMIZER]='one of sgd|adamW' [MAX_EPOCHS]=count [BASE_LOSS]='one of bce|focal' [META_LOSS_WEIGHT]=number
    [META_LOSS_BETA]=number [CLASS_BALANCING_BETA]=number [PRECISION]='one of 32|tf32|bf16-mixed|16-mixed' [SEED]=count0
    [SWEEP]=path [SWEEP_METHOD]='one of grid|random|sobol' [SWEEP_POINTS]=count [SWEEP_SEED]=count0 [SWEEP_AT_ONCE]=count
    [BEST_METRIC]='one of val_loss|val_bce|val_ap|val_f1|val_f2'
)
declare -A site_kind=(
    [PARTITION]=word [ACCOUNT]=word [QOS]=word [RESERVATION]=word [CONSTRAINT]=text [SBATCH_OPTIONS]=words [MODULES]=words [SETUP]=path
    [LAUNCHER]='one of mpirun|srun' [SRUN_MPI]=word [SRUN_OPTIONS]=words [MPIRUN_OPTIONS]=words [INTERFACE]=word [CONTAINER]=text
    [CONTAINER_OPTIONS]=words [LOCAL_DISK]=text [BIN]=path
)
for stage in "${stages[@]}"; do
    for key in NODES TASKS_PER_NODE CPUS_PER_TASK MEM_PER_NODE TIME; do kind[${stage^^}_$key]=${kind[$key]}; done
    kind[${stage^^}_OPTIONS]=words
    site_kind[${stage^^}_PARTITION]=word
done
kind[TRAIN_GPUS_PER_NODE]=gpus kind[INFER_GPUS_PER_NODE]=gpus kind[COLLECT_GPUS_PER_NODE]=gpus
unset 'kind[COLLECT_OPTIONS]' # its programs have theirs

declare -A value=() from=()
n_wrong=0
wrong() { echo "$program: error: $*" >&2; n_wrong=$((n_wrong + 1)); }
# stop_if_wrong: all mistakes are told at once
stop_if_wrong() { ((n_wrong == 0)) || { echo "$program: nothing was queued" >&2; exit 2; }; }

# read_file FILE TABLE OTHER_TABLE_NAME: KEY=value lines into `value`
read_file() {
    local file=$1 other=$3 text key at=0 folder
    local -n table=$2
    folder=$(dirname "$file")
    [[ -f $file && -r $file ]] || { wrong "$file: no such file, or not readable"; return 0; }
    while IFS= read -r text || [[ $text ]]; do
        at=$((at + 1))
        text=${text%$'\r'}
        if [[ $text =~ ^[[:space:]]*(#.*)?$ ]]; then continue; fi
        if [[ ! $text =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]]; then
            wrong "$file:$at: not a line KEY=value, a comment or empty: $text"
            continue
        fi
        key=${BASH_REMATCH[1]}
        if [[ ! ${table[$key]:-} ]]; then wrong "$file:$at: unknown key $key${other:+ (not one of those of $other)}"
        elif [[ ${from[$key]:-} == "$file":* ]]; then wrong "$file:$at: $key was set before, in line ${from[$key]##*:}"
        else
            take "$key" "${BASH_REMATCH[2]}" "$file:$at" "$folder" file "${table[$key]}"
        fi
    done <"$file"
}

# take KEY TEXT WHERE FOLDER SYNTAX KIND: FOLDER is what relative paths start from; SYNTAX is file (quotes, comments) or word (as it stands)
take() {
    local key=$1 text=$2 where=$3 folder=$4 syntax=$5 what=$6 quoted="^(\"([^\"]*)\"|'([^']*)')[[:space:]]*(#.*)?\$"
    if [[ $syntax == file ]]; then
        text=${text#"${text%%[![:space:]]*}"}
        if [[ $text =~ $quoted ]]; then text=${BASH_REMATCH[2]}${BASH_REMATCH[3]}
        elif [[ $text == [\"\']* ]]; then
            wrong "$where: $key: the quote is not closed, or something follows it: $text"
            return 0
        else
            text=${text%%[[:space:]]#*}
            [[ $text != '#'* ]] || text=''
            text=${text%"${text##*[![:space:]]}"}
        fi
    fi
    from[$key]=$where
    if [[ $what == path && $text ]]; then
        full_path "$text" "$folder" || { wrong "$where: $key: $text begins with a variable that is not set here"; return 0; }
    fi
    value[$key]=$text
    if [[ $text ]]; then check_value "$key" "$text" "$where" "$what"; fi
}

# full_path TEXT FOLDER: sets `text` of the caller. A leading ~ or $NAME counts as in a shell; nothing else is expanded. Links stay as they are
# written: what they lead to may be mounted elsewhere on the nodes.
full_path() {
    if [[ $1 == '~' || $1 == '~/'* ]]; then text=$HOME${1#'~'}
    elif [[ $1 =~ ^\$\{?([A-Za-z_][A-Za-z_0-9]*)\}?(/.*)?$ ]]; then
        [[ ${!BASH_REMATCH[1]:-} ]] || return 1
        text=${!BASH_REMATCH[1]}${BASH_REMATCH[2]}
    fi
    [[ $text == /* ]] || text=$2/$text
    text=$(realpath -ms -- "$text")
}

check_value() {
    local key=$1 text=$2 where=$3 what=$4 word words choice="|${4#* of }|"
    case $what in
        name) [[ $text =~ ^[A-Za-z0-9._+-]+$ && $text != .* && $text != -* && ${#text} -le 100 ]] ||
            wrong "$where: $key=$text: letters, digits, '.', '_', '+' and '-' make a name, which begins with no '.' or '-'" ;;
        word) [[ $text =~ ^[^[:space:]]+$ ]] || wrong "$where: $key=$text: one word" ;;
        path) [[ $text != *[$'\n\\']* ]] || wrong "$where: $key=$text: Slurm takes no path with a backslash" ;;
        count) [[ $text =~ ^[1-9][0-9]{0,8}$ ]] || wrong "$where: $key=$text: a whole number from 1" ;;
        count0) [[ $text =~ ^(0|[1-9][0-9]{0,15})$ ]] || wrong "$where: $key=$text: a whole number from 0" ;;
        number) [[ $text =~ ^[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$|^[0-9]+\.$ ]] || wrong "$where: $key=$text: a number" ;;
        gpus) [[ $text =~ ^([A-Za-z][A-Za-z0-9_.-]*:)?(0|[1-9][0-9]*)$ ]] || wrong "$where: $key=$text: a number of GPUs, or TYPE:NUMBER" ;;
        memory) [[ $text =~ ^[1-9][0-9]*[KMGTkmgt]?$|^0$ ]] || wrong "$where: $key=$text: memory as Slurm writes it: 64G, 512M" ;;
        time) [[ $text =~ ^[0-9]+$|^[0-9]+:[0-9]{1,2}(:[0-9]{1,2})?$|^[0-9]+-[0-9]{1,2}(:[0-9]{1,2}){0,2}$ ]] ||
            wrong "$where: $key=$text: a time as Slurm writes it: minutes, 8:00:00, 2-12:00:00" ;;
        words) split_words "$text" words || wrong "$where: $key=$text: a quote is not closed" ;;
        one\ of\ *) [[ $choice == *"|$text|"* ]] || wrong "$where: $key=$text: one of ${what#* of }" ;;
        some\ of\ *)
            split_words "$text" words || true
            for word in "${words[@]}"; do [[ $choice == *"|$word|"* ]] || wrong "$where: $key: $word is none of ${what#* of }"; done ;;
    esac
}

# default KEY VALUE: where the key is not set, or empty
default() { if [[ ! ${value[$1]:-} ]]; then value[$1]=$2; fi; }

# load_settings RUN_FILE KEY=value...: everything into `value`, and as shell variables; stops the program when something is wrong
load_settings() {
    local run=$1 site=${ANYCLASS_SITE:-$here/site.env} given key stage
    shift
    read_file "$site" site_kind ''
    read_file "$run" kind 'a run file; names of the site stand in the site file'
    for given in "$@"; do
        key=${given%%=*}
        if [[ ${kind[$key]:-}${site_kind[$key]:-} ]]; then
            take "$key" "${given#*=}" 'command line' . word "${kind[$key]:-${site_kind[$key]:-}}"
        else wrong "command line: unknown key $key"; fi
    done
    stop_if_wrong
    fill_defaults "$run"
    check_together "$run"
    stop_if_wrong
    for key in "${!kind[@]}" "${!site_kind[@]}"; do printf -v "$key" %s "${value[$key]:-}"; done
}

fill_defaults() {
    local run=$1 folder name stage key
    folder=$(dirname "$(realpath -s -- "$run")")
    name=$(basename "$run")
    default NAME "${name%.*}"
    default VERSION "${value[NAME]}"
    default SHARDS "$folder/shards"
    default LOGS "$folder/logs"
    default RESULTS "$folder/results"
    default STAGES "preprocess train infer evaluate"
    if [[ ${value[SWEEP]:-} ]]; then
        for name in infer evaluate; do value[STAGES]=" ${value[STAGES]} " value[STAGES]=${value[STAGES]/ $name / collect }; done
    fi
    default NODES 1
    [[ ${value[GPUS_PER_NODE]:-} != 0 ]] || value[GPUS_PER_NODE]=''
    for stage in TRAIN INFER; do
        default "${stage}_GPUS_PER_NODE" "${value[GPUS_PER_NODE]:-}"
        [[ ${value[${stage}_GPUS_PER_NODE]:-} != 0 ]] || value[${stage}_GPUS_PER_NODE]=''
        name=${value[${stage}_GPUS_PER_NODE]:-}
        default "${stage}_TASKS_PER_NODE" "${value[TASKS_PER_NODE]:-${name##*:}}"
    done
    name=${value[GPUS_PER_NODE]:-}
    default TASKS_PER_NODE "${name##*:}"
    default TASKS_PER_NODE 1
    default EVALUATE_NODES 1
    for stage in "${stages[@]}"; do
        if [[ $stage == collect ]]; then # most of it is inference
            for key in NODES TASKS_PER_NODE CPUS_PER_TASK MEM_PER_NODE TIME GPUS_PER_NODE PARTITION; do default "COLLECT_$key" "${value[INFER_$key]:-}"; done
        fi
        for key in NODES TASKS_PER_NODE CPUS_PER_TASK MEM_PER_NODE TIME; do default "${stage^^}_$key" "${value[$key]:-}"; done
        default "${stage^^}_PARTITION" "${value[PARTITION]:-}"
    done
    default MAX_RESTARTS 10
    default SIGNAL_S 120
    default STAGE_SHARDS no
    default BEST_METRIC val_f1
    default LAUNCHER mpirun
    default SWEEP_SEED 1
}

# seconds TIME: as Slurm reads it
seconds() {
    local days=0 rest=$1 part
    if [[ $rest == *-* ]]; then
        days=${rest%%-*} rest=${rest#*-}
        IFS=: read -r -a part <<<"$rest"
        echo $((days * 86400 + 10#${part[0]} * 3600 + 10#${part[1]:-0} * 60 + 10#${part[2]:-0}))
        return
    fi
    IFS=: read -r -a part <<<"$rest"
    case ${#part[@]} in
        1) echo $((10#${part[0]} * 60)) ;;
        2) echo $((10#${part[0]} * 60 + 10#${part[1]})) ;;
        *) echo $((10#${part[0]} * 3600 + 10#${part[1]} * 60 + 10#${part[2]})) ;;
    esac
}

# has STAGE: it is to be run
has() { [[ " ${value[STAGES]} " == *" $1 "* ]]; }

check_together() {
    local run=$1 key stage ranks time
    if has preprocess; then
        for key in DATASET ANN_ROOT IMAGES; do
            [[ ${value[$key]:-} ]] || wrong "$run: $key is missing, which the stage preprocess needs (or name the stages: --stages train,infer,evaluate)"
        done
    fi
    if { has infer || has evaluate; } && [[ ${value[SPLITS]:-} && ! ${value[SPLITS]} =~ Val|Test ]]; then
        wrong "$(where SPLITS "$run"): SPLITS=${value[SPLITS]}: the stages infer and evaluate need Val or Test"
    fi
    for stage in "${stages[@]}"; do
        time=${value[${stage^^}_TIME]}
        if ! has "$stage" || [[ ! $time ]]; then continue; fi
        (($(seconds "$time") > value[SIGNAL_S] + 60)) ||
            wrong "$(where TIME "$run"): TIME=$time of $stage: the signal comes SIGNAL_S=${value[SIGNAL_S]} s before its end, and up to a minute early: nothing is left to work in"
    done
    if [[ ! ${value[SWEEP]:-} ]]; then
        for key in SWEEP_METHOD SWEEP_POINTS SWEEP_AT_ONCE; do [[ ! ${value[$key]:-} ]] || wrong "$(where "$key" "$run"): $key goes with SWEEP"; done
        if has collect; then wrong "$(where STAGES "$run"): the stage collect goes with SWEEP"; fi
    elif [[ ${value[BEST_METRIC]} == @(val_loss|val_bce) ]]; then
        wrong "$(where BEST_METRIC "$run"): BEST_METRIC=${value[BEST_METRIC]}: the best of a sweep is named by val_f1, val_f2 or val_ap"
    fi
    for stage in train infer; do
        key=${value[${stage^^}_GPUS_PER_NODE]} ranks=${value[${stage^^}_TASKS_PER_NODE]}
        if has "$stage" && [[ $key && ${key##*:} != "$ranks" ]]; then
            echo "$program: warning: $stage has $ranks rank(s) and ${key##*:} GPU(s) on each node: one rank per GPU is meant (${stage^^}_TASKS_PER_NODE)" >&2
        fi
    done
    if [[ ! ${value[CPUS_PER_TASK]:-}${value[TRAIN_CPUS_PER_TASK]} && ${value[SBATCH_OPTIONS]:-} != *--exclusive* ]] && has train; then
        echo "$program: warning: CPUS_PER_TASK is not set: Slurm gives a rank what it gives by default, mostly 1 core" >&2
    fi
    ranks=$((value[TRAIN_NODES] * value[TRAIN_TASKS_PER_NODE]))
    if has train && ((${value[BATCH_SIZE]:-256} < ranks)); then
        wrong "$(where BATCH_SIZE "$run"): BATCH_SIZE=${value[BATCH_SIZE]:-256} is smaller than the number of ranks, $ranks"
    fi
    if has train && [[ ${value[PRECISION]:-} == @(tf32|16-mixed) && ! ${value[TRAIN_GPUS_PER_NODE]:-} && ${value[TRAIN_OPTIONS]:-} != *--device* ]]; then
        wrong "$(where PRECISION "$run"): PRECISION=${value[PRECISION]} needs GPUs: GPUS_PER_NODE"
    fi
    if [[ ${value[STAGE_SHARDS]} == yes && ! ${value[LOCAL_DISK]:-} ]]; then
        wrong "$(where STAGE_SHARDS "$run"): STAGE_SHARDS=yes needs LOCAL_DISK in the site file"
    fi
}

where() { echo "${from[$1]:-$2}"; }

# write_settings FILE: what the jobs read, with every setting as it counts
write_settings() {
    local key
    {
        echo "# written by slurm/submit, $(date -u +%FT%TZ); read by the jobs when they start, and again when they are queued again"
        printf '%s=%q\n' ANYCLASS_SLURM "${1%.env}.scripts" RUN_FILE "$run_file"
        for key in $(printf '%s\n' "${!kind[@]}" "${!site_kind[@]}" | LC_ALL=C sort); do printf '%s=%q\n' "$key" "${!key}"; done
    } >"$1"
}

# log_name STAGE ID: ID is %j for sbatch, in whose patterns a % of the path is written twice
log_name() {
    if [[ $2 == %* ]]; then echo "${LOGS//%/%%}/slurm/$NAME-$1-$2.log"; else echo "$LOGS/slurm/$NAME-$1-$2.log"; fi
}

# sbatch_options STAGE ARRAY [ID]: resources and names, without dependency and script
sbatch_options() {
    local stage=$1 up=${1^^} key words gpus
    local -n options_out=$2
    resource() { local name=${up}_$1; echo "${!name}"; }
    options_out=(--parsable --job-name="$NAME-$stage" --output="$(log_name "$stage" "${3:-%j}")"
        --nodes="$(resource NODES)" --ntasks="$(($(resource NODES) * $(resource TASKS_PER_NODE)))" --ntasks-per-node="$(resource TASKS_PER_NODE)")
    if [[ $(resource CPUS_PER_TASK) ]]; then options_out+=(--cpus-per-task="$(resource CPUS_PER_TASK)"); fi
    if [[ $(resource MEM_PER_NODE) ]]; then options_out+=(--mem="$(resource MEM_PER_NODE)"); fi
    if [[ $(resource TIME) ]]; then options_out+=(--time="$(resource TIME)"); fi
    key=${up}_GPUS_PER_NODE gpus=${!key:-}
    if [[ $gpus ]]; then options_out+=(--gres="gpu:$gpus"); fi
    if [[ $(resource PARTITION) ]]; then options_out+=(--partition="$(resource PARTITION)"); fi
    for key in ACCOUNT QOS RESERVATION CONSTRAINT; do
        if [[ ${!key} ]]; then options_out+=("--${key,,}=${!key}"); fi
    done
    options_out+=(--signal="B:USR1@$SIGNAL_S")
    split_words "$SBATCH_OPTIONS" words
    options_out+=("${words[@]}")
}
