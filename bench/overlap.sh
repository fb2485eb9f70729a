#!/usr/bin/env bash
# How much of the gradient sum hides behind backward: two ranks, each in a network namespace of its own, joined by a link that is
# slowed down by traffic control. Root only. usage: bench/overlap.sh [ROUNDS [RATE [DELAY [THREADS]]]]   (3 1gbit 0.5ms 1)
# OVERLAP_TRAIN="--data_root SHARDS --model resnet50 ...": the trainer too, once with one bucket for all, behind backward, and once with small ones.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-build/release/bin}
. tests/mpi.sh
rounds=${1:-3} rate=${2:-1gbit} delay=${3:-0.5ms}
export OMP_NUM_THREADS=${4:-1}
build=${BUILD:-build/release} a=acoverlap$$a b=acoverlap$$b tmp=$(mktemp -d)
clean() {
    local space pid
    for space in "$a" "$b"; do
        for pid in $(ip netns pids "$space" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
        ip netns del "$space" 2>/dev/null || true
    done
    rm -rf "$tmp"
}
trap clean EXIT
ip netns add "$a"; ip netns add "$b"
ip link add va netns "$a" type veth peer name vb netns "$b"
ip -n "$a" addr add 10.78.0.1/24 dev va; ip -n "$b" addr add 10.78.0.2/24 dev vb
for end in "$a va" "$b vb"; do
    set -- $end
    ip -n "$1" link set lo up; ip -n "$1" link set "$2" up
    if tc -n "$1" qdisc add dev "$2" root netem delay "$delay" rate "$rate" 2>/dev/null; then link="$rate, $delay each way"
    else tc -n "$1" qdisc add dev "$2" root tbf rate "$rate" burst 128kb latency 20ms; link="$rate, no delay: this kernel has no netem"; fi
done
# mpirun starts its daemon on the second "machine" through this: host first, then the command
cat > "$tmp/agent" <<EOF
#!/bin/sh
shift
exec ip netns exec $b unshare --uts sh -c 'hostname acoverlapb; exec sh -c "\$0"' "\$*"
EOF
chmod +x "$tmp/agent"
# two PROGRAM...: on one rank in each namespace, each on half of the cores
two() {
    ip netns exec "$a" unshare --uts sh -c 'hostname acoverlapa; exec "$@"' sh \
        mpirun --quiet --mca plm_rsh_agent "$tmp/agent" --mca btl tcp,self --mca btl_tcp_if_include 10.78.0.0/24 --mca oob_tcp_if_include 10.78.0.0/24 \
        --host 10.78.0.1:1,10.78.0.2:1 -n 2 -x OMP_NUM_THREADS "$PWD/bench/overlap_rank.sh" "$@"
}
echo "$(date -u +%F) $(uname -sr), $(getconf _NPROCESSORS_ONLN) cores, $OMP_NUM_THREADS threads a rank, link: $link; load $(cut -d' ' -f1 /proc/loadavg)"
for ((i = 0; i < rounds; i++)); do
    for mode in alone behind library inline beside; do two "$PWD/$build/bench/overlap" "$mode" ${OVERLAP_ARGS:-}; done
done
if [ -n "${OVERLAP_TRAIN:-}" ]; then
    for bucket in 1024 2; do
        echo "anyclass-train --bucket_mib $bucket"
        two "$PWD/$BIN/anyclass-train" $OVERLAP_TRAIN --log_save_dir "$tmp/logs$bucket" --bucket_mib "$bucket" 2>&1 | grep -iE 'epoch|exposed|communication' || true
    done
fi
