# reducer_ranks on 1, 2, 3 and 5 ranks, with the communication thread and without; each run's own checks count as one here.
. tests/tap.sh
program=$BUILD/tests/comm/reducer_ranks
for n in 1 2 3 5; do tap_ok "sums in the documented order on $n ranks" ranks "$n" "$program"; done
for n in 2 3; do tap_ok "the same without a thread on $n ranks" ranks "$n" "$program" funneled; done
tap_ok "over TCP on 3 ranks" env OMPI_MCA_btl=tcp,self OMPI_MCA_btl_tcp_if_include=lo mpirun -n 3 "$program"
tap_done
