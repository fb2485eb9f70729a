/* Agreement: one rank's failure is everybody's decision. */
#include "anyclass/comm.h"
#include "anyclass/hash.h"
#include "anyclass/stop.h"
#include <stdio.h>
#include <string.h>

ac_status ac_comm_agree(MPI_Comm comm, ac_status mine)
{
    ac_status status = AC_OK;
    int rank, size, first_failed;
    AC_TRY(ac_comm_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_size(comm, &size), "MPI_Comm_size"));
    /* a rank that fails because another one left does not know the reason: those who do come first */
    int last = 2 * size, candidate = mine == AC_OK ? last : mine == AC_ERR_SYNC ? size + rank : rank;
    AC_TRY(ac_comm_check(MPI_Allreduce(&candidate, &first_failed, 1, MPI_INT, MPI_MIN, comm), "MPI_Allreduce"));
    if (first_failed == last)
        return AC_OK;
    first_failed %= size;
    struct {
        int status;
        char text[AC_ERROR_TEXT_BYTES];
    } message = {.status = (int)mine};
    snprintf(message.text, sizeof message.text, "%s", ac_error_text());
    AC_TRY(ac_comm_check(MPI_Bcast(&message, (int)sizeof message, MPI_BYTE, first_failed, comm), "MPI_Bcast"));
    if (rank == first_failed)
        return mine;
    return ac_error((ac_status)message.status, "rank %d: %s", first_failed, message.text);
out:
    return status;
}

ac_status ac_comm_check_stop(MPI_Comm comm, const char *what)
{
    int any = ac_stop_signal();
    ac_status status = ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_MAX, comm), "MPI_Allreduce");
    if (status == AC_OK && any)
        status = ac_error(AC_ERR_SIGNAL, "stopped by signal %d: %s", any, what);
    return status;
}

ac_status ac_comm_same(MPI_Comm comm, const void *bytes, size_t n_bytes, bool *same)
{
    ac_status status = AC_OK;
    ac_hash hash = ac_hash_bytes(bytes, n_bytes);
    /* the smallest and the largest of each half, in one reduction: max(~x) is ~min(x) */
    uint64_t mine[4] = {hash.low, ~hash.low, hash.high, ~hash.high}, most[4];
    AC_TRY(ac_comm_check(MPI_Allreduce(mine, most, 4, MPI_UINT64_T, MPI_MAX, comm), "MPI_Allreduce"));
    *same = most[0] == ~most[1] && most[2] == ~most[3];
out:
    return status;
}
