# What the jobs have in common. Sourced by the .sbatch files, after the settings that slurm/submit wrote; submit itself uses it for
# the command lines of the programs and for the environment in which it tries them. Nothing happens when it is sourced.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154,SC2178 # settings come from the file that submit writes; arrays are handed over by name

# Letters are ASCII's: in a Turkish locale ${stage^^} of train is not TRAIN. Other scripts' are bytes here, which pass as they are.
LC_ALL=C

say() { echo "anyclass-slurm: $*" >&2; }

# line WORD...: a command line that can be pasted into a shell
line() { local text; printf -v text '%q ' "$@"; echo "${text% }"; }

# split_words TEXT ARRAY: the words of TEXT as a shell would see them, quotes and all, but nothing is expanded
split_words() {
    local text=$1 word='' quote='' char i open=0
    local -n words_out=$2
    words_out=()
    for ((i = 0; i < ${#text}; i++)); do
        char=${text:i:1}
        if [[ $quote ]]; then
            if [[ $char == "$quote" ]]; then quote=''; else word+=$char; fi
        elif [[ $char == [\'\"] ]]; then quote=$char open=1
        elif [[ $char == [[:space:]] ]]; then
            if ((open)); then words_out+=("$word"); fi
            word='' open=0
        else word+=$char open=1; fi
    done
    [[ -z $quote ]] || return 1
    if ((open)); then words_out+=("$word"); fi
}

# environment: what the programs need before they start: the site's modules and its own file
environment() {
    local name file
    set +eu # neither kind of file is written for -e or -u
    if [[ $MODULES ]]; then
        for file in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh /etc/profile.d/z00_lmod.sh "${MODULESHOME:-/usr/share/modules}/init/bash"; do
            # shellcheck source=/dev/null
            if ! type module >/dev/null 2>&1 && [[ -r $file ]]; then . "$file"; fi
        done
        for name in $MODULES; do
            module load "$name" || { say "error: MODULES: 'module load $name' failed on $HOSTNAME"; return 4; }
        done
    fi
    if [[ $SETUP ]]; then
        # shellcheck source=/dev/null
        . "$SETUP" || { say "error: SETUP: $SETUP ended with $? on $HOSTNAME"; return 4; }
    fi
    set -eu
}

# inside ARRAY: what stands in front of a program's name: nothing, or the container
inside() {
    local folder options
    local -n inside_out=$1
    inside_out=()
    [[ $CONTAINER ]] || return 0
    inside_out=(apptainer exec)
    if [[ $GPUS ]]; then inside_out+=(--nv); fi
    for folder in "$ANN_ROOT" "$IMAGES" "$SHARDS" "$LOGS" "$RESULTS" "$LOCAL_DISK" "${SWEEP%/*}"; do
        if [[ -d $folder ]]; then inside_out+=(--bind "$folder"); fi
    done
    split_words "$CONTAINER_OPTIONS" options
    inside_out+=("${options[@]}" "$CONTAINER")
}

# option ARRAY NAME VALUE: --NAME VALUE, unless the value is empty
option() {
    local -n option_out=$1
    if [[ $3 ]]; then option_out+=("--$2" "$3"); fi
}

# preset ARRAY WORDS NAME [VALUE...]: --NAME VALUE..., unless WORDS have that option, or --no_NAME
preset() {
    local -n preset_out=$1 preset_words=$2
    local word
    for word in "${preset_words[@]}"; do
        word=${word%%=*} word=${word//-/_}
        [[ $word != "__$3" && $word != "__no_$3" ]] || return 0
    done
    preset_out+=("--$3" "${@:4}")
}

# The command lines, as arrays. {STAGE}_OPTIONS come last. They may change what is only preset here; an option that has a key and stands
# there too is given twice, which the programs refuse.
arguments_preprocess() {
    local -n out=$1
    local words splits
    split_words "$SPLITS" splits
    split_words "$PREPROCESS_OPTIONS" words
    out=(anyclass-preprocess --dataset "$DATASET" --ann_root "$ANN_ROOT" --data_root "$IMAGES" --output "$SHARDS")
    if ((${#splits[@]})); then out+=(--splits "${splits[@]}"); fi
    out+=("${words[@]}")
}

# arguments_train ARRAY SHARDS
arguments_train() {
    local -n out=$1
    local words
    split_words "$TRAIN_OPTIONS" words
    out=(anyclass-train --data_root "$2" --log_save_dir "$LOGS" --version_name "$VERSION")
    preset out words checkpoint auto
    option out model "$MODEL"
    option out batch_size "$BATCH_SIZE"
    option out base_loss "$BASE_LOSS"
    option out meta_loss_weight "$META_LOSS_WEIGHT"
    option out meta_loss_beta "$META_LOSS_BETA"
    option out class_balancing_beta "$CLASS_BALANCING_BETA"
    option out optimizer "$OPTIMIZER"
    option out learning_rate "$LEARNING_RATE"
    option out max_epochs "$MAX_EPOCHS"
    option out precision "$PRECISION"
    option out seed "$SEED"
    if [[ $TRAIN_GPUS_PER_NODE ]]; then preset out words device cuda; fi
    out+=("${words[@]}")
}

# arguments_infer ARRAY [VERSION...]
arguments_infer() {
    local -n out=$1
    local words splits versions=("${@:2}")
    ((${#versions[@]})) || versions=("$VERSION")
    split_words "$INFER_OPTIONS" words
    scored_splits splits
    out=(anyclass-infer --log_dir "$LOGS" --versions "${versions[@]}" --data_root "$SHARDS" --split "${splits[@]}" --results_output "$RESULTS")
    if [[ $INFER_GPUS_PER_NODE ]]; then preset out words device cuda; fi
    out+=("${words[@]}")
}

# arguments_evaluate ARRAY SPLIT: thresholds are tuned on Val where there is one
arguments_evaluate() {
    local -n out=$1
    local words splits to="$RESULTS/$VERSION-$2"
    split_words "$EVALUATE_OPTIONS" words
    scored_splits splits
    out=(anyclass-evaluate --results_output "$RESULTS" --versions "$VERSION" --split "$2" --data_root "$SHARDS" --log_dir "$LOGS")
    preset out words checkpoint "$BEST_METRIC"
    preset out words report "$to.html"
    preset out words table "$to.txt" "$to.csv"
    if [[ " ${splits[*]} " == *' Val '* ]]; then preset out words max_fbeta; fi
    out+=("${words[@]}")
}

# scored_splits ARRAY: SPLITS without Train; where SPLITS is empty, those of Val and Test that were made
scored_splits() {
    local -n scored_out=$1
    local split named
    scored_out=()
    split_words "$SPLITS" named
    if ((${#named[@]})); then
        for split in "${named[@]}"; do
            if [[ $split != Train ]]; then scored_out+=("$split"); fi
        done
    else
        for split in Val Test; do
            if [[ -e $SHARDS/${split,,}-manifest.json ]]; then scored_out+=("$split"); fi
        done
        if ((${#scored_out[@]} == 0)); then scored_out=(Val Test); fi # not made yet
    fi
}

# ---- inside a job ----

# job_begin STAGE: call once; the job's identity, its log, its signals, its environment
job_begin() {
    local code=0
    STAGE=$1 GPUS=${2:-}
    # An element of an array is named by both numbers: its SLURM_JOB_ID may be the number of the whole array, too.
    JOB=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
    JOB=${JOB:-$SLURM_JOB_ID}
    RESTARTS=${SLURM_RESTART_COUNT:-0}
    LIMIT=$(job_limit) || LIMIT=''
    unset SLURM_EXPORT_ENV # a job that came without the login shell's environment (--export=NONE) still hands its own, with modules, to srun and mpirun's daemons
    LOG_FILE=$(readlink "/proc/$$/fd/2")
    LOG_START=0
    if [[ -f $LOG_FILE ]]; then LOG_START=$(stat -c %s "$LOG_FILE"); fi
    CHILD='' SIGNALLED=0 STOP=''
    trap 'on_signal USR1' USR1
    trap 'on_signal TERM' TERM
    say "$STAGE: job $JOB on $SLURM_JOB_NODELIST, start $((RESTARTS + 1)), $(date -u +%FT%TZ)"
    environment || code=$?
    ((code == 0)) || job_end "$code"
    choose_threads
}

# Signals. Slurm sends USR1 to this script alone, SIGNAL_S seconds before the time limit; the launcher passes it on to the ranks.
# At preemption, scancel and the limit itself Slurm sends SIGTERM to every process of the job, the ranks too: nothing needs passing on.
on_signal() {
    SIGNALLED=1
    [[ $STOP == TERM ]] || STOP=$1
    say "$STAGE: $(date -u +%T) SIG$1: the program saves what it has and ends"
    if [[ $1 == USR1 ]]; then
        if [[ $CHILD ]]; then kill -USR1 "$CHILD" 2>/dev/null || true; fi
        if [[ -z ${GUARD:-} ]]; then guard & GUARD=$!; fi
    fi
}

# A program that does not come to its end before the time limit would take the rest of the chain with it. The job is queued again while it
# still runs: Slurm then stops it as at a preemption, and it goes on from what was saved last.
guard() {
    local end answer
    trap - USR1 TERM
    end=$(job_limit) || end=$LIMIT
    [[ $end ]] || return 0
    sleep "$((end - $(date +%s) > 15 ? end - $(date +%s) - 15 : 1))"
    ((RESTARTS < MAX_RESTARTS)) || return 0
    say "$STAGE: has not ended yet, and time is up: job $JOB is queued again and goes on from what was saved last"
    requeue
}

# choose_threads: OMP_NUM_THREADS for each rank. SLURM_CPUS_PER_TASK is only set where the job asked for it; else the ranks of a node share
# what the job has there. What the login shell exported (often 1) does not count; --n_threads in {STAGE}_OPTIONS does.
choose_threads() {
    local on_node mine all least
    RANKS=${SLURM_NTASKS:-1}
    RANKS_PER_NODE=${SLURM_NTASKS_PER_NODE:-$(((RANKS + SLURM_JOB_NUM_NODES - 1) / SLURM_JOB_NUM_NODES))}
    # "4(x2),2": the smallest share that the job has on a node
    least=$(tr ',' '\n' <<<"$SLURM_JOB_CPUS_PER_NODE" | sed 's/(.*//' | sort -n | head -n 1)
    on_node=$least
    mine=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
    all=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc --all)
    if ((mine < on_node)); then on_node=$mine; fi # the cpuset is smaller than Slurm's books say
    THREADS=${SLURM_CPUS_PER_TASK:-$((on_node / RANKS_PER_NODE))}
    if ((THREADS < 1)); then THREADS=1; fi
    if ((RANKS_PER_NODE * THREADS > least)) || ((mine < all && RANKS_PER_NODE * THREADS > mine)); then
        say "error: $RANKS_PER_NODE ranks with $THREADS threads each need $((RANKS_PER_NODE * THREADS)) cores of each node, but the job has $on_node on $HOSTNAME" \
            "(Slurm's count $least, cpuset $mine): lower TASKS_PER_NODE or CPUS_PER_TASK"
        job_end 2
    fi
    say "$STAGE: $RANKS ranks, $RANKS_PER_NODE on each of $SLURM_JOB_NUM_NODES nodes, $THREADS threads each"
}

# launcher ARRAY: the command in front of the program: mpirun or srun, then env with what the ranks must see
launcher() {
    local -n launch_out=$1
    local site version daemon=orted
    local rank_env=(env OMP_NUM_THREADS="$THREADS")
    if [[ $INTERFACE ]]; then
        # asked for TCP on that network, Open MPI is to use nothing else between nodes
        export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=$INTERFACE OMPI_MCA_oob_tcp_if_include=$INTERFACE
        # NCCL takes names of interfaces, no addresses
        if [[ $INTERFACE != *[./]* ]]; then rank_env+=(NCCL_SOCKET_IFNAME="$INTERFACE"); fi
    fi
    # Where no fast network is found, Open MPI 4.1 with a new libfabric takes the latter's `net` provider, made for tests, for one, not its own TCP.
    # Fast networks (UCX, PSM2, EFA) are chosen as ever.
    export OMPI_MCA_mtl_ofi_provider_exclude=${OMPI_MCA_mtl_ofi_provider_exclude:-shm,sockets,tcp,udp,rstream,usnic,net}
    export OMPI_MCA_btl=${OMPI_MCA_btl:-^ofi}
    if [[ $LAUNCHER == srun ]]; then
        split_words "$SRUN_OPTIONS" site
        # From 22.05 on srun does not see the job's --cpus-per-task by itself. The ranks end by themselves when one has failed, and say why;
        # srun would kill them before (--kill-on-bad-exit, WaitTime).
        export SRUN_CPUS_PER_TASK=$THREADS
        launch_out=(srun --ntasks="$RANKS" --cpus-per-task="$THREADS" --kill-on-bad-exit=0 --wait=0)
        if [[ $SRUN_MPI ]]; then launch_out+=(--mpi="$SRUN_MPI"); fi
        launch_out+=("${site[@]}" "${rank_env[@]}")
        return
    fi
    split_words "$MPIRUN_OPTIONS" site
    launch_out=(mpirun -n "$RANKS")
    # mpirun starts one daemon per node with an srun of its own: it needs all of the node's cores, not one task's, and no binding.
    unset SRUN_CPUS_PER_TASK SLURM_CPUS_PER_TASK SLURM_TRES_PER_TASK
    export SLURM_WHOLE=1 SLURM_CPU_BIND=none
    version=$(mpirun --version 2>/dev/null) || version=''
    OPEN_MPI=''
    if [[ $version == *'Open MPI'* ]]; then
        OPEN_MPI=yes
        if [[ $version =~ 'Open MPI) '([0-9]+) ]] && ((BASH_REMATCH[1] >= 5)); then daemon=prted; fi
        # Open MPI binds 1 or 2 ranks of a node to one core each, more to a socket. One rank has the node for itself; several get cores of their own.
        if [[ " ${site[*]} " != *' --bind-to '* && " ${site[*]} " != *' --map-by '* ]]; then
            if ((RANKS_PER_NODE > 1 && RANKS_PER_NODE * THREADS <= $(env -u OMP_NUM_THREADS nproc))) && [[ $(threads_per_core) == 1 ]]; then
                launch_out+=(--map-by "slot:PE=$THREADS" --bind-to core)
            else launch_out+=(--bind-to none); fi
        fi
        # A SIGTERM to mpirun or to one of its daemons kills the ranks two seconds later, whatever they are saving. Slurm sends it to all processes,
        # the ranks too, so those two do not need to see it: they inherit it blocked, and the ranks get it unblocked.
        if env --block-signal=TERM true 2>/dev/null && command -v "$daemon" >/dev/null; then
            launch_out=(env --block-signal=TERM "${launch_out[@]}")
            # Open MPI 5 would take the older name's value for its own, whose daemon is another
            if [[ $daemon == prted ]]; then export PRTE_MCA_prte_launch_agent='env --block-signal=TERM prted'
            else export OMPI_MCA_orte_launch_agent='env --block-signal=TERM orted'; fi
        else # coreutils before 8.31: twice so long then, of the 30 s that KillWait mostly is; a failed run takes as much longer to end
            export OMPI_MCA_odls_base_sigkill_timeout=12
        fi
    fi
    launch_out+=("${site[@]}" "${rank_env[@]}")
}

threads_per_core() {
    local list n=1
    read -r list 2>/dev/null </sys/devices/system/cpu/cpu0/topology/thread_siblings_list || list=0
    [[ $list != *[,-]* ]] || n=2
    echo "$n"
}

# launch PROGRAM ARGUMENT...: on all ranks of the job. Returns the program's exit code; 75 at once where the job is to stop already.
launch() {
    local command wrap program=$1 code watcher ended
    shift
    [[ -z $STOP ]] || return 75
    launcher command
    inside wrap
    if [[ $BIN ]]; then program=$BIN/$program; fi
    command+=("${wrap[@]}" "$program" "$@")
    say "$STAGE: $(line "${command[@]}")"
    SIGNALLED=0
    "${command[@]}" </dev/null &
    CHILD=$!
    watch_launcher "$CHILD" &
    watcher=$!
    # a signal ends `wait`, not the program
    while :; do
        code=0
        wait "$CHILD" 2>/dev/null || code=$?
        ((SIGNALLED)) || break
        SIGNALLED=0
    done
    CHILD=''
    kill "$watcher" 2>/dev/null || true
    ended=0
    wait "$watcher" || ended=$?
    if ((ended == 7)); then code=7; fi
    return "$code"
}

# watch_launcher PID: ends an mpirun that does not end itself, with 7. The programs' own watchdog ends ranks that cannot reach each other, but mpirun then
# waits for its daemons on the other nodes, for a quarter of an hour where the network between them is cut, and without end at its start where
# they cannot call back. The ranks of this node are Open MPI's mpirun's children; MPICH's has one srun for all nodes. srun has none; Slurm itself ends it
# when a node is lost.
watch_launcher() {
    local since=$SECONDS limit=300 child children name ranks
    trap - USR1 TERM
    [[ $LAUNCHER == mpirun && $OPEN_MPI ]] || return 0
    while sleep 5; do
        [[ -e /proc/$1/task/$1/children ]] || return 0
        ranks=''
        read -r -d '' -a children < <(cat "/proc/$1/task/"*/children 2>/dev/null) || true
        for child in "${children[@]}"; do
            read -r name 2>/dev/null <"/proc/$child/comm" || continue
            [[ $name == @(srun|ssh|rsh|sh) ]] || ranks=yes
        done
        if [[ $ranks ]]; then
            since=$SECONDS limit=30
        elif ((SECONDS - since >= limit)); then
            if ((limit == 30)); then say "$STAGE: the ranks of $HOSTNAME have ended, but mpirun waits for other nodes since $limit s: it is killed"
            else say "$STAGE: error: mpirun has started no rank in $limit s: do its daemons on other nodes reach $HOSTNAME? See INTERFACE and LAUNCHER in the site file"; fi
            kill -KILL "$1"
            return 7
        fi
    done
}

# job_end CODE: ends the job with the program's code, or has it queued again. The last line of the log says why, and what comes next.
job_end() {
    local code=$1 why next='' limit='' reason
    trap '' USR1 TERM # from here on only this
    if [[ -n ${GUARD:-} ]]; then kill "$GUARD" 2>/dev/null || true; fi
    if ((code == 0)); then
        say "$STAGE: done, job $JOB, $(date -u +%FT%TZ)"
        exit 0
    fi
    # A launcher or a rank that had no handler yet when the signal came, or a launcher that lost its way over it: what was saved is there.
    if [[ $STOP ]] && ((code == 1 || code > 128)); then code=75; fi
    reason=$(last_error)
    case $code in
        # the programs' own
        2) why='wrong use' next='Correct what the line names and submit again.' ;;
        3) why='bad input data' next='Repair what the line names and submit again: what is finished is kept.' ;;
        4) why='input/output'
            # a rank on a node that was lost may hold a lock until the file server has noticed; all of the programs' lines about locks say this
            if ((RESTARTS > 0)) && [[ $reason == *': wait until it has ended'* ]]; then limit=$MAX_RESTARTS; fi
            next='See to disk space, permissions, or the other run that holds the lock, and submit again: it goes on from what was saved.' ;;
        5) why='a number that is not finite' next='See docs/training.md: learning rate, precision, clipping, or the image that is named.' ;;
        6) why='the ranks are out of step, or one has died' limit=$MAX_RESTARTS ;;
        7) why='ended by the watchdog' limit=$MAX_RESTARTS ;;
        75) why='stopped by a signal' limit=$MAX_RESTARTS ;;
        # a rank's signal, from mpirun and srun alike
        137) why='a rank was killed: kill -9, or out of memory (MEM_PER_NODE)' limit=$MAX_RESTARTS ;;
        143) why='a rank was ended by SIGTERM' limit=$MAX_RESTARTS ;;
        12[67]) why='program or launcher cannot be started' next='See BIN, MODULES, SETUP and CONTAINER in the site file.' ;;
        # Open MPI's: a lost daemon, that is a lost node; and all that is its own fault
        205) why='a node was lost' limit=$MAX_RESTARTS ;;
        1 | 19[3-9] | 2[0-9][0-9]) why='the launcher failed, see above' limit=$MAX_RESTARTS ;;
        *) why='see above'
            if ((code > 128)); then # MPI libraries abort when a network fails, reading ends with SIGBUS when a file system does; else it is a fault of ours
                why="a rank died of signal $((code - 128)), see above" limit=$MAX_RESTARTS
                two_more 'a rank died of signal' '^anyclass-train: (saved epoch|epoch [0-9]+: train loss)'
            fi ;;
    esac
    if [[ $limit && ! $STOP ]] && ! program_spoke; then
        two_more '; the program never began' '^anyclass-(preprocess|train|infer|evaluate): ' # the first restart or two may find better nodes, ten will not
        why+='; the program never began'
    fi
    if [[ $limit ]]; then queue_again "$limit"; fi
    say "$STAGE: job $JOB ends with exit code $code ($why)${reason:+: $reason}${next:+ | $next}"
    exit "$code"
}

# the last error that a program said in this run; the log is the only place where all ranks' lines come together
last_error() {
    [[ -f $LOG_FILE ]] || return 0
    tail -c "+$((LOG_START + 1))" "$LOG_FILE" | grep -a -E '^anyclass-[a-z]+: (\[[0-9]+\] )?error: ' | tail -n 1 || true
}

# Whether a program said anything in this run.
program_spoke() {
    local lines
    [[ -f $LOG_FILE ]] || return 0
    lines=$(tail -c "+$((LOG_START + 1))" "$LOG_FILE" | grep -a '^anyclass-[a-z]*: ' | grep -c -v '^anyclass-slurm: ') || true
    ((lines > 0))
}

# two_more END PROGRESS: lowers the caller's `limit` to two restarts in a row for starts that end with END, as the log has them, and show no PROGRESS
two_more() {
    local n=$RESTARTS
    if [[ -f $LOG_FILE ]]; then
        n=$(LC_ALL=C awk -v end="$1" -v progress="$2" '$0 ~ progress { n = 0 } /^anyclass-slurm: / && $0 ~ end { n++ } END { print n + 0 }' "$LOG_FILE")
    fi
    if ((limit > RESTARTS + 2 - n)); then limit=$((RESTARTS + 2 - n)); fi
}

# requeue: sets `answer` of the caller. A controller that is restarted, or has much to do, answers a little later.
requeue() {
    local pause
    for pause in 5 10 15 20 0; do
        if answer=$(scontrol requeue "$JOB" 2>&1); then return; fi
        sleep "$pause"
    done
    return 1
}

# queue_again LIMIT: says in `next` of the caller what comes of it
queue_again() {
    local answer
    if [[ $STOP == TERM ]] && ! time_is_up; then
        next='If it was preempted, Slurm queues it again by itself. If it was cancelled, submit again: it goes on from what was saved.'
    elif ((RESTARTS >= $1)); then
        next="It was queued again $RESTARTS times (at most $1, MAX_RESTARTS=$MAX_RESTARTS) and is not any more. See above whether it gets on, then submit again: it goes on from what was saved."
    elif requeue; then
        next="It is queued again (restart $((RESTARTS + 1)) of at most $1) and goes on from what was saved."
    else next="It could not be queued again (${answer##*: }): submit again, it goes on from what was saved."; fi
}

# job_limit: when the time limit falls, in seconds; fails where there is none. Only while the job runs: once it is stopped, by the limit or by
# scancel, Slurm says when that was. By its own number: that of the whole array would have a line for each element.
job_limit() {
    local end
    end=$(scontrol show job "$JOB" -o 2>/dev/null | grep -o 'EndTime=[^ ]*') && date -d "${end#EndTime=}" +%s 2>/dev/null
}

time_is_up() { [[ $LIMIT ]] && (($(date +%s) >= LIMIT)); }

# stage_shards: sets DATA to SHARDS, or with STAGE_SHARDS=yes their copy on each node's own disk. The copy is checked by hash, and made only where
# it is not there yet; it stays for the next job. Where the disk is too small the training reads SHARDS.
stage_shards() {
    local disk=$LOCAL_DISK code=0
    DATA=$SHARDS
    [[ $STAGE_SHARDS == yes ]] || return 0
    # `$TMPDIR/x`: a folder that Slurm makes for each job
    if [[ $disk =~ ^\$([A-Za-z_][A-Za-z_0-9]*)(.*)$ ]]; then disk=${!BASH_REMATCH[1]:-}${BASH_REMATCH[2]}; fi
    if [[ $disk != /* ]]; then
        say "warning: LOCAL_DISK=$LOCAL_DISK is no folder on $HOSTNAME: reading from $SHARDS"
        return 0
    fi
    disk=$disk/anyclass-$(id -un)-$(sha256sum <<<"$SHARDS" | head -c 16)
    launch anyclass-preprocess stage --data_root "$SHARDS" --to "$disk" --splits Train Val || code=$?
    case $code in
        0) DATA=$disk ;;
        75 | 138 | 143) job_end "$code" ;;
        *) say "warning: the shards were not copied to $disk (exit code $code): reading from $SHARDS" ;;
    esac
}
