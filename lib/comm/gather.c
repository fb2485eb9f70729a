/* Bytes of every rank, on every rank. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include <string.h>

enum { PIECE_BYTES = 1 << 30 };

/* One broadcast per rank: any length, no count beyond int. */
static ac_status spread(MPI_Comm comm, int root, char *bytes, size_t n_bytes)
{
    ac_status status = AC_OK;
    for (size_t at = 0; at < n_bytes; at += PIECE_BYTES) {
        size_t n = n_bytes - at < PIECE_BYTES ? n_bytes - at : PIECE_BYTES;
        AC_TRY(ac_comm_check(MPI_Bcast(bytes + at, (int)n, MPI_BYTE, root, comm), "MPI_Bcast"));
    }
out:
    return status;
}

ac_status ac_comm_gather_all(MPI_Comm comm, const void *bytes, size_t n_bytes, void **all, size_t *n_all, size_t *offsets)
{
    ac_status status = AC_OK;
    int rank, size;
    uint64_t *n = NULL, mine = n_bytes, total = 0;
    char *block = NULL;
    *all = NULL;
    AC_TRY(ac_comm_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_size(comm, &size), "MPI_Comm_size"));
    AC_TRY(ac_comm_agree(comm, ac_malloc((size_t)size, sizeof *n, &n)));
    AC_TRY(ac_comm_check(MPI_Allgather(&mine, 1, MPI_UINT64_T, n, 1, MPI_UINT64_T, comm), "MPI_Allgather"));
    for (int r = 0; r < size; r++)
        total += n[r];
    AC_TRY(ac_comm_agree(comm, ac_malloc((size_t)total, 1, &block)));
    size_t at = 0;
    for (int r = 0; r < size; r++) {
        if (offsets)
            offsets[r] = at;
        if (r == rank && n_bytes)
            memcpy(block + at, bytes, n_bytes);
        AC_TRY(spread(comm, r, block + at, n[r]));
        at += n[r];
    }
    if (offsets)
        offsets[size] = at;
    *all = block;
    *n_all = at;
    block = NULL;
out:
    ac_free(block);
    ac_free(n);
    return status;
}
