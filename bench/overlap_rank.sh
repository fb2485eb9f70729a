#!/bin/sh
# One rank of overlap.sh on its own share of the machine's cores, as if it had a machine to itself, if its threads fit there.
share=$(($(getconf _NPROCESSORS_ONLN) / OMPI_COMM_WORLD_SIZE))
[ "$share" -ge "$OMP_NUM_THREADS" ] || exec "$@"
first=$((OMPI_COMM_WORLD_RANK * share))
exec taskset -c "$first-$((first + share - 1))" "$@"
