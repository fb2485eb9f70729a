#!/usr/bin/env bash
# A Slurm cluster of two nodes on this machine, for tests: a controller and two nodes, each with processes, network, host name,
# /dev/shm and hosts file of its own (Linux namespaces). All of it is below one process: when that ends, the kernel takes away
# processes, bridges and addresses, and nothing of the machine's own network, files or mounts was ever touched.
#
# usage: cluster.sh start FOLDER [CPUS_PER_NODE]   default 4; FOLDER must be new or empty; everything is kept in it
#        cluster.sh stop FOLDER                    also after a start that failed half-way; FOLDER and its logs stay
#        . FOLDER/env                              then sbatch, squeue, scontrol, scancel, sinfo and srun talk to it
#        cluster.sh on FOLDER HOST COMMAND...      run a command on node1, node2 or head (`ip -s link show fabric`, `kill`)
#        cluster.sh down FOLDER NODE               the node dies at once with all it runs (kill -9); `up` starts it again
#        cluster.sh up FOLDER NODE
# exit codes: 0; 1 it did not start, with the reason; 2 usage; 77 this machine cannot (not root, no Slurm, no namespaces)
# environment: CLUSTER_OWNER=PID    the cluster ends when that process does
#              CLUSTER_LIFE_S=N     and in any case after N seconds (default 3600)
#
# Clusters can stand side by side: each has the same names and addresses, in a network of its own.
#   head 10.77.0.1; node1 10.77.0.11, node2 10.77.0.12 on `admin`, which Slurm uses; the same in 10.78.0.0/24 on `fabric`
# Partitions `low` (default; preempted and requeued) and `high`. FOLDER/local is another folder on each node.
set -euo pipefail

die() { echo "cluster.sh: $2" >&2; exit "$1"; }
usage() { sed -n '6,14s/^# \{0,1\}//p' "$0" >&2; exit 2; }
# the time a process started, in ticks since boot: with its id it names a process for good
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
note() { echo "$1 $(started "$1")" >"$2.new" && mv "$2.new" "$2"; }
# alive FILE: the process noted in FILE still runs; its id is in `pid`
alive() {
    local since now
    read -r pid since 2>/dev/null <"$1" || return 1
    now=$(started "$pid") && [ -n "$now" ] && [ "$now" = "$since" ]
}
# wait_until TENTHS COMMAND...
wait_until() {
    local n=$1; shift
    while ! "$@"; do n=$((n - 1)); [ "$n" -gt 0 ] || return 1; sleep 0.1; done
}
# enter HOST COMMAND...: in all namespaces of that host. run/head names the process that waits for the head's first one; a node's
# does the same with its number as the head sees it
enter() {
    local host=$1 pid outer inner; shift
    alive "$folder/run/head" || return 1
    outer=(nsenter --target "$(first_child "$pid")" --net --mount --uts --ipc --pid --wd="$folder" --)
    if [ "$host" = head ]; then "${outer[@]}" "$@"; return; fi
    inner=$("${outer[@]}" cat "run/$host") 2>/dev/null && inner=$("${outer[@]}" cat "/proc/$inner/task/$inner/children" 2>/dev/null) && [ -n "$inner" ] || return 1
    "${outer[@]}" nsenter --target "${inner%% *}" --net --mount --uts --ipc --pid --wd="$folder" -- "$@"
}
first_child() { local all; all=$(cat "/proc/$1/task/$1/children" 2>/dev/null) && [ -n "$all" ] && echo "${all%% *}"; }

can_we() {
    local tool need=
    [ "$(id -u)" = 0 ] || die 77 "needs root"
    for tool in slurmctld slurmd munged sbatch ip nsenter; do command -v "$tool" >/dev/null || need+=" $tool"; done
    [ -z "$need" ] || die 77 "not installed:$need (packages slurm-wlm munge iproute2)"
    unshare --net --mount --uts --ipc --pid --fork --mount-proc ip link add tried type veth peer name other 2>/dev/null ||
        die 77 "this machine allows no namespaces, or no veth in them"
}

write_files() {
    local cpus=$1 node tool number
    mkdir -p "$folder" && touch "$folder/.cluster"
    mkdir -p "$folder"/{run,log,state,bin,local,etc}
    chmod 755 "$folder" "$folder/run"
    dd if=/dev/urandom of="$folder/etc/munge.key" bs=128 count=1 status=none
    chmod 600 "$folder/etc/munge.key"
    printf '%s\n' '127.0.0.1 localhost' '10.77.0.1 head' '10.77.0.11 node1' '10.77.0.12 node2' >"$folder/etc/hosts"
    for node in head node1 node2; do
        mkdir -p "$folder/nodes/$node"/{spool,local,tmp}
        # files of a run, which have the host's name and process ids in their names, are this node's own
        echo "orte_tmpdir_base = $folder/nodes/$node/tmp" >"$folder/nodes/$node/openmpi-mca-params.conf"
    done
    # PMIx has files in /tmp, which the nodes share here: `srun --mpi=pmix` failed on the second one
    echo "PMIxCliTmpDirBase=$folder/local" >"$folder/etc/mpi.conf"
    printf '%s\n' CgroupPlugin=cgroup/v1 CgroupMountpoint="$folder/state/cgroup" CgroupAutomount=no >"$folder/etc/cgroup.conf"
    cat >"$folder/etc/slurm.conf" <<END
ClusterName=anyclass
SlurmctldHost=head(10.77.0.1)
SlurmUser=root
AuthType=auth/munge
# a requeued job waits for its credential to expire: two minutes where nothing is said
AuthInfo=socket=$folder/run/munge.socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobs
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=12
OverTimeLimit=0
SlurmdTimeout=10
SlurmctldTimeout=10
BatchStartTimeout=10
MinJobAge=3600
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/nodes/%n/spool
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd.%n
MailProg=/bin/true
NodeName=node1 NodeAddr=10.77.0.11 CPUs=$cpus RealMemory=16000
NodeName=node2 NodeAddr=10.77.0.12 CPUs=$cpus RealMemory=16000
PartitionName=low Nodes=node1,node2 Default=YES PriorityTier=1 MaxTime=60 DefaultTime=10 OverSubscribe=NO
PartitionName=high Nodes=node1,node2 PriorityTier=10 PreemptMode=OFF MaxTime=60 DefaultTime=10 OverSubscribe=NO
END
    # Slurm's commands reach the controller through its network; on a node, where jobs call them, they are there already
    for tool in sbatch squeue scontrol scancel sinfo srun salloc; do
        number=$(readlink /proc/self/ns/net)
        cat >"$folder/bin/$tool" <<END
#!/bin/sh
[ "\$(readlink /proc/self/ns/net)" = "$number" ] || exec $(command -v "$tool") "\$@"
read -r parent started <"$folder/run/head" || { echo "$tool: the cluster in $folder is stopped" >&2; exit 1; }
exec nsenter --net="/proc/\$parent/ns/net" --uts="/proc/\$parent/ns/uts" -- $(command -v "$tool") "\$@"
END
        chmod 755 "$folder/bin/$tool"
    done
    cat >"$folder/env" <<END
export SLURM_CONF=$folder/etc/slurm.conf PATH=$folder/bin:\$PATH
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export CLUSTER=$folder
END
}

# own_files HOST: what differs from host to host, mounted where only that host sees it
own_files() {
    hostname "$1"
    mount -t tmpfs -o mode=1777 own /dev/shm
    mount --bind "$folder/etc/hosts" /etc/hosts
    mount --bind "$folder/nodes/$1/local" "$folder/local"
    [ ! -e /etc/openmpi/openmpi-mca-params.conf ] || mount --bind "$folder/nodes/$1/openmpi-mca-params.conf" /etc/openmpi/openmpi-mca-params.conf
    ip link set lo up
}
namespaces=(unshare --net --mount --uts --ipc --pid --fork --mount-proc --kill-child)

# a node's host, below the controller's; its ends of the cables come from there
node_host() {
    own_files "$1"
    wait_until 100 ip link show fabric >/dev/null 2>&1
    ip addr add "10.77.0.1${1#node}/24" dev admin && ip link set admin up
    ip addr add "10.78.0.1${1#node}/24" dev fabric && ip link set fabric up
    slurmd -D -N "$1" >>"$folder/log/slurmd.$1.out" 2>&1 &
    while :; do sleep 3600 & wait $!; done
}

# keeps a node on the head: starts it, and again when it has died and `up` asks for it
keep_node() {
    local node=$1 child first net
    while :; do
        "${namespaces[@]}" bash "$self" .node "$folder" "$node" >>"$folder/log/$node" 2>&1 &
        child=$!
        wait_until 100 first_child "$child" >/dev/null
        first=$(first_child "$child")
        for net in admin fabric; do
            ip link delete "$net.$node" 2>/dev/null || true # of one that died: the kernel takes its time
            # as a machine that comes back: with the address that the others still know
            ip link add "$net.$node" type veth peer name "$net" address "02:00:00:00:$([ "$net" = admin ] && echo 77 || echo 78):0${node#node}" netns "$first"
            ip link set "$net.$node" master "$net" up
        done
        echo "$child" >"$folder/run/$node"
        wait "$child" || true
        rm -f "$folder/run/$node"
        until [ -e "$folder/run/$node.up" ]; do sleep 0.2; done
        rm -f "$folder/run/$node.up"
    done
}

# the controller's host: bridges, munged, slurmctld, and the nodes
head_host() {
    local net node
    own_files head
    for net in admin fabric; do ip link add "$net" type bridge forward_delay 0 && ip link set "$net" up; done
    ip addr add 10.77.0.1/24 dev admin
    ip addr add 10.78.0.1/24 dev fabric
    munged --force --foreground --num-threads=2 --key-file="$folder/etc/munge.key" --socket="$folder/run/munge.socket" --pid-file="$folder/run/munged.pid" \
        --seed-file="$folder/state/munged.seed" --log-file="$folder/log/munged" >"$folder/log/munged.out" 2>&1 &
    wait_until 100 test -S "$folder/run/munge.socket"
    slurmctld -D -i >"$folder/log/slurmctld.out" 2>&1 &
    for node in node1 node2; do keep_node "$node" & done
    while :; do sleep 3600 & wait $!; done
}

# the one process of the machine's own that holds all: it ends the cluster when it is told to, when its owner ends, or when time is up
guard() {
    local owner=$1 life=$2 since
    since=$(started "$owner" || true)
    setpriv --pdeathsig KILL "${namespaces[@]}" bash "$self" .head "$folder" >"$folder/log/head" 2>&1 &
    child=$!
    trap 'kill -9 "$child" 2>/dev/null; wait "$child" 2>/dev/null; rm -f "$folder/run/head"; exit 0' EXIT TERM INT HUP
    note "$child" "$folder/run/head"
    while kill -0 "$child" 2>/dev/null && [ "$SECONDS" -lt "$life" ]; do
        [ "$owner" = 0 ] || [ "$(started "$owner" || true)" = "$since" ] || break
        sleep 1 & wait $!
    done
}

both_idle() { [ "$(sinfo -h -N -p low -o %t 2>/dev/null | grep -c '^idle$')" = 2 ]; }
start() {
    can_we
    [ -z "$(ls -A "$folder" 2>/dev/null)" ] || die 1 "$folder is not empty"
    mkdir -p "$folder"; folder=$(realpath "$folder")
    [ "${#folder}" -le 80 ] || die 1 "the path $folder is too long for a socket's (80 characters)"
    write_files "${1:-4}"
    setsid bash "$self" .guard "$folder" "${CLUSTER_OWNER:-0}" "${CLUSTER_LIFE_S:-3600}" </dev/null >"$folder/log/guard" 2>&1 &
    note "$!" "$folder/run/guard"
    . "$folder/env"
    wait_until 300 both_idle && return
    stop
    die 1 "the cluster did not come up: $(grep -h -m1 -i -E 'fatal|error' "$folder"/log/* 2>/dev/null || echo "see $folder/log")"
}
gone() { ! alive "$1"; }
stop() {
    local pid file
    [ -e "$folder/.cluster" ] || return 0 # no cluster's folder: not ours to empty
    for file in "$folder/run/guard" "$folder/run/head"; do # the second only where the first was killed and could not end it
        alive "$file" || continue
        kill "$pid"
        wait_until 50 gone "$file" || { kill -9 "$pid"; wait_until 50 gone "$file" || true; }
    done
    rm -rf "$folder"/run/* "${folder:?}/state"
}

self=$(realpath "$0")
[ $# -ge 2 ] || usage
verb=$1 folder=$(realpath -m "$2"); shift 2
case $verb in
    start) start "$@" ;;
    stop) stop ;;
    on) enter "$@" ;;
    down) # the cables first: the sockets of a machine without power say no goodbye
        for net in admin fabric; do enter head ip link set "$net.$1" down; done
        enter head kill -9 "$(cat "$folder/run/$1")" ;;
    up) touch "$folder/run/$1.up" ;;
    .guard) guard "$@" ;;
    .head) SLURM_CONF=$folder/etc/slurm.conf head_host ;;
    .node) SLURM_CONF=$folder/etc/slurm.conf node_host "$@" ;;
    *) usage ;;
esac
