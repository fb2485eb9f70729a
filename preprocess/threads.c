/* How many threads a rank may use when nobody says. */
#define _GNU_SOURCE
#include "preprocess/steps.h"
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* Launchers bind ranks to cores of their own, or let all ranks of a node use all cores. Either way the union of what
 * they may use, divided by their number, is a fair share; but never more than the rank's own cores. */
ac_status preprocess_count_threads(MPI_Comm comm, int *n_threads)
{
    ac_status status = AC_OK;
    MPI_Comm node = MPI_COMM_NULL;
    cpu_set_t mine, all;
    int n_ranks = 1, own = omp_get_num_procs();
    if (getenv("OMP_NUM_THREADS"))
        own = omp_get_max_threads();
    *n_threads = own;
    CPU_ZERO(&mine);
    bool known = sched_getaffinity(0, sizeof mine, &mine) == 0;
    AC_TRY(
        ac_comm_check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type"));
    AC_TRY(ac_comm_check(MPI_Comm_size(node, &n_ranks), "MPI_Comm_size"));
    AC_TRY(ac_comm_check(MPI_Allreduce(&mine, &all, (int)sizeof mine, MPI_BYTE, MPI_BOR, node), "MPI_Allreduce"));
    if (known && !getenv("OMP_NUM_THREADS")) {
        int share = CPU_COUNT(&all) / n_ranks;
        *n_threads = share < 1 ? 1 : share < own ? share : own;
    }
out:
    if (node != MPI_COMM_NULL)
        MPI_Comm_free(&node);
    return status;
}
