/* A rank that fails tells the others, so that they stop after the shard they are at and not after the whole split. Each
 * call is an empty message to every other rank; the end counts the calls and receives what was not heard. */
#include "anyclass/alloc.h"
#include "preprocess/steps.h"

enum { TAG_STOP = 7 };

ac_status preprocess_stop_begin(stop_call *stop, MPI_Comm comm)
{
    ac_status status = AC_OK;
    *stop = (stop_call){.comm = comm};
    AC_TRY(ac_comm_check(MPI_Comm_rank(comm, &stop->rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_size(comm, &stop->size), "MPI_Comm_size"));
    AC_TRY(ac_comm_agree(comm, ac_malloc((size_t)stop->size, sizeof *stop->request, &stop->request)));
    for (int r = 0; r < stop->size; r++)
        stop->request[r] = MPI_REQUEST_NULL;
out:
    return status;
}

ac_status preprocess_stop_call(stop_call *stop)
{
    ac_status status = AC_OK;
    stop->called = true;
    for (int r = 0; r < stop->size; r++)
        if (r != stop->rank)
            AC_TRY(
                ac_comm_check(MPI_Isend(NULL, 0, MPI_BYTE, r, TAG_STOP, stop->comm, &stop->request[r]), "MPI_Isend"));
out:
    return status;
}

bool preprocess_stop_heard(const stop_call *stop)
{
    int heard = 0;
    return MPI_Iprobe(MPI_ANY_SOURCE, TAG_STOP, stop->comm, &heard, MPI_STATUS_IGNORE) == MPI_SUCCESS && heard;
}

ac_status preprocess_stop_end(stop_call *stop)
{
    ac_status status = AC_OK;
    int mine = stop->called, all;
    AC_TRY(ac_comm_check(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, stop->comm), "MPI_Allreduce"));
    for (int i = 0; i < all - mine; i++)
        AC_TRY(ac_comm_check(MPI_Recv(NULL, 0, MPI_BYTE, MPI_ANY_SOURCE, TAG_STOP, stop->comm, MPI_STATUS_IGNORE),
                             "MPI_Recv"));
    AC_TRY(ac_comm_check(MPI_Waitall(stop->size, stop->request, MPI_STATUSES_IGNORE), "MPI_Waitall"));
out:
    ac_free(stop->request);
    stop->request = NULL;
    return status;
}
