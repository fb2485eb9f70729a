/* Arenas that may lie in a device's memory, where MPI does not reach, on their way between ranks. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"

ac_status ac_comm_broadcast_arena(MPI_Comm comm, ac_device *device, void *arena, size_t n_bytes)
{
    ac_status status = AC_OK;
    void *host = NULL;
    int rank, size;
    AC_TRY(ac_comm_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_size(comm, &size), "MPI_Comm_size"));
    if (size == 1)
        return AC_OK;
    AC_TRY(ac_comm_agree(comm, ac_malloc(n_bytes + 1, 1, &host)));
    AC_TRY(ac_comm_agree(comm, rank == 0 ? device->backend->download(device, host, arena, n_bytes) : AC_OK));
    AC_TRY(ac_comm_broadcast(comm, host, n_bytes));
    AC_TRY(ac_comm_agree(comm, rank == 0 ? AC_OK : device->backend->upload(device, arena, host, n_bytes)));
out:
    ac_free(host);
    return status;
}
