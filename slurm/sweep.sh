# Sweeps: the elements of a file of ranges, how submit makes them an array of jobs, and how a job finds its own. Sourced by slurm/submit and by
# train.sbatch and collect.sbatch, after lib.sh. Which elements there are, and which is best, the programs say (docs/sweeps.md).
# shellcheck shell=bash disable=SC2153,SC2154 # settings come from the file that submit writes

sweep_table() { echo "$LOGS/$VERSION.sweep.csv"; }

# arguments_sweep ARRAY: what makes the elements. Behind -- stands what all of them share: the trainer is asked about each as a whole.
arguments_sweep() {
    local -n sweep_out=$1
    local shared i
    arguments_train shared "$SHARDS"
    sweep_out=(anyclass-train sweep --ranges "$SWEEP" --method "${SWEEP_METHOD:-grid}" --seed "$SWEEP_SEED" --name "$VERSION" --table "$(sweep_table)")
    option sweep_out n_points "$SWEEP_POINTS"
    sweep_out+=(--)
    for ((i = 1; i < ${#shared[@]}; i++)); do
        if [[ ${shared[i]} == --version_name ]]; then i=$((i + 1)); else sweep_out+=("${shared[i]}"); fi
    done
}

# arguments_collect ARRAY SPLIT: the table of all elements; the best is chosen on Val, where no thought was given to Test
arguments_collect() {
    local -n out=$1
    local words splits to="$RESULTS/$VERSION-$2"
    split_words "$EVALUATE_OPTIONS" words
    scored_splits splits
    out=(anyclass-evaluate --results_output "$RESULTS" --sweep "$(sweep_table)" --log_dir "$LOGS" --split "$2" --data_root "$SHARDS"
        --table "$to.txt" "$to.csv" "$to.md")
    if [[ $2 == Val || " ${splits[*]} " != *' Val '* ]]; then out+=(--best "$BEST_METRIC"); fi
    if [[ " ${splits[*]} " == *' Val '* ]]; then out+=(--max_fbeta); fi
    out+=("${words[@]}")
}

# ---- in submit ----

# array_parts N: a line "FIRST COUNT" for each array that N elements need: an array's numbers end below MaxArraySize
array_parts() {
    local n=$1 first=0 most count
    most=$(scontrol show config 2>/dev/null | sed -n 's/^MaxArraySize *= *//p')
    [[ $most =~ ^[0-9]+$ ]] || most=1001
    if ((most < 2)); then
        echo "$program: error: this cluster takes no job arrays (MaxArraySize=$most): SWEEP needs them" >&2
        return 2
    fi
    for ((; first < n; first += count)); do
        count=$((n - first < most ? n - first : most))
        echo "$first $count"
    done
}

# ---- in a job ----

# take_element FILE FIRST ARRAY: this job's line of FILE, which submit wrote. Sets VERSION, and ARRAY to the options that are its own.
take_element() {
    local -n element_out=$3
    local number=$(($2 + SLURM_ARRAY_TASK_ID)) words
    IFS=$'\t' read -r -a words < <(sed -n "$((number + 1))p" "$1") || true
    if [[ ${words[0]:-} != "$number" || ! ${words[1]:-} ]]; then
        say "error: $1 has no line for element $number: submit the sweep again"
        job_end 2
    fi
    VERSION=${words[1]}
    element_out=("${words[@]:2}")
    say "$STAGE: element $number is $VERSION: ${element_out[*]}"
}

# alone PROGRAM ARGUMENT...: one process beside the ranks of this job, for a moment; its answer on stdout
alone() (
    for name in "${!SLURM_@}"; do [[ $name == SLURM_CONF ]] || unset "$name"; done
    inside wrap
    path=$1
    shift
    if [[ $BIN ]]; then path=$BIN/$path; fi
    "${wrap[@]}" "$path" "$@"
)

# newest_log VERSION: of its training, perhaps none
newest_log() {
    local file newest=''
    for file in "$LOGS/slurm/$NAME-train-"*.log; do
        if [[ -f $file && (! $newest || $file -nt $newest) ]] && grep -qF -- " is $1: " "$file"; then newest=$file; fi
    done
    echo "$newest"
}

# say_unfinished VERSION STATE: with the log of its training and that one's last word
say_unfinished() {
    local log last=''
    log=$(newest_log "$1")
    if [[ ! $log ]]; then
        say "$STAGE: $1: $2; no log in $LOGS/slurm names it"
        return
    fi
    last=$(grep -a '^anyclass-slurm: \|^anyclass-[a-z]*: error: ' "$log" | tail -n 1) || true
    say "$STAGE: $1: $2; log $log ends with: $last"
}
