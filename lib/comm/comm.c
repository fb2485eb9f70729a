/* Communicators, error codes, counts, slices, broadcast. */
#include "anyclass/comm.h"
#include <stdlib.h>

enum { PIECE_BYTES = 1 << 30 };

ac_status ac_comm_check(int mpi_error, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int n = 0;
    if (mpi_error == MPI_SUCCESS)
        return AC_OK;
    if (MPI_Error_string(mpi_error, text, &n) != MPI_SUCCESS)
        n = 0;
    return ac_error(AC_ERR_SYNC, "%s: %.*s", what, n, text);
}

/* In a Slurm job, an MPI size other than the job's number of tasks means that the launcher and the MPI library do not
 * know each other: every process would run the whole work alone, as rank 0. The other ranks are not asked: on further machines mpirun
 * starts them below a job step of its own, with one task per machine in SLURM_NTASKS. */
static ac_status check_slurm_size(int size)
{
    const char *job = getenv("SLURM_JOB_ID"), *tasks = getenv("SLURM_NTASKS");
    if (!job || !tasks || atoi(tasks) == size)
        return AC_OK;
    return ac_error(AC_ERR_USAGE,
                    "MPI has %d rank%s but SLURM_NTASKS is %s (job %s): start with mpirun, or with an srun --mpi type that this MPI knows", size,
                    size == 1 ? "" : "s", tasks, job);
}

ac_status ac_comm_begin(MPI_Comm parent, MPI_Comm *comm)
{
    ac_status status = AC_OK;
    int level, rank, size;
    *comm = MPI_COMM_NULL;
    AC_TRY(ac_comm_check(MPI_Query_thread(&level), "MPI_Query_thread"));
    if (level < MPI_THREAD_FUNNELED)
        return ac_error(AC_ERR_UNSUPPORTED, "this MPI library does not support threads (MPI_THREAD_FUNNELED)");
    AC_TRY(ac_comm_check(MPI_Comm_size(parent, &size), "MPI_Comm_size"));
    AC_TRY(ac_comm_check(MPI_Comm_rank(parent, &rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_dup(parent, comm), "MPI_Comm_dup"));
    AC_TRY(ac_comm_check(MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler"));
    AC_TRY(ac_comm_agree(*comm, rank == 0 ? check_slurm_size(size) : AC_OK));
out:
    if (status != AC_OK && *comm != MPI_COMM_NULL)
        MPI_Comm_free(comm);
    return status;
}

ac_status ac_comm_count_local(MPI_Comm comm, int *n_ranks)
{
    ac_status status = AC_OK;
    MPI_Comm machine = MPI_COMM_NULL;
    AC_TRY(ac_comm_check(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine),
                         "MPI_Comm_split_type"));
    AC_TRY(ac_comm_check(MPI_Comm_size(machine, n_ranks), "MPI_Comm_size"));
out:
    if (machine != MPI_COMM_NULL)
        MPI_Comm_free(&machine);
    return status;
}

ac_status ac_comm_count(size_t n, int *out)
{
    if (n > (size_t)INT32_MAX)
        return ac_error(AC_ERR_RANGE, "%zu elements are more than one MPI call takes", n);
    *out = (int)n;
    return AC_OK;
}

void ac_comm_slice(int64_t total, int rank, int size, int64_t *first, int64_t *n)
{
    int64_t share = total / size, more = total % size;
    *n = share + (rank < more);
    *first = rank * share + (rank < more ? rank : more);
}

ac_status ac_comm_broadcast(MPI_Comm comm, void *bytes, size_t n_bytes)
{
    ac_status status = AC_OK;
    for (size_t at = 0; at < n_bytes; at += PIECE_BYTES) {
        size_t n = n_bytes - at < PIECE_BYTES ? n_bytes - at : PIECE_BYTES;
        AC_TRY(ac_comm_check(MPI_Bcast((char *)bytes + at, (int)n, MPI_BYTE, 0, comm), "MPI_Bcast"));
    }
out:
    return status;
}
