#!/usr/bin/env bash
# Everything the program does, with memory or the disk ending at any call, on one rank and on one of three.
. tests/tap.sh
program=$BUILD/tests/evaluate/failing_ranks
tap_ok "one rank: each call once" timeout 500 mpirun -n 1 "$program"
tap_ok "three ranks: some of the calls" timeout 500 mpirun -n 3 "$program"
tap_done
