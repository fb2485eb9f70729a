#!/bin/sh
# One rank of overlap.sh on its own share of the machine's cores, as if it had a machine to itself.
share=$(($(getconf _NPROCESSORS_ONLN) / OMPI_COMM_WORLD_SIZE))
[ "$share" -ge 1 ] || exec "$@"
first=$((OMPI_COMM_WORLD_RANK * share))
exec taskset -c "$first-$((first + share - 1))" "$@"
