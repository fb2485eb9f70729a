/* Sums of doubles over ranks: partial sums go up a binomial tree, the result comes down. With them goes what each rank is
 * doing, so that ranks that are not at the same sum learn it instead of waiting. */
#include "comm/reducer_internal.h"
#include <string.h>

void ac_round_begin(round_of_sums *r, const double *values, size_t n, bool finish)
{
    r->state = ROUND_GATHER;
    r->mask = 1;
    r->n = n;
    r->finish = finish;
    r->mine[0] = 2 * (double)n + finish;
    r->mine[1] = finish ? r->rank : r->size;
    r->mine[2] = finish ? r->size : r->rank;
    if (n)
        memcpy(r->mine + ROUND_HEAD, values, n * sizeof *values);
}

static ac_status send(round_of_sums *r, int peer)
{
    int n = ROUND_HEAD + (int)r->n;
    r->open = true;
    r->sent_bytes += (uint64_t)n * sizeof *r->mine;
    return ac_comm_check(MPI_Isend(r->mine, n, MPI_DOUBLE, peer, AC_TAG_ROUND, r->comm, &r->request), "MPI_Isend");
}

static ac_status receive(round_of_sums *r, double *to, int peer)
{
    /* a rank that is somewhere else may send another number of values */
    r->open = true;
    return ac_comm_check(MPI_Irecv(to, ROUND_HEAD + AC_REDUCER_SUM_MAX, MPI_DOUBLE, peer, AC_TAG_ROUND, r->comm, &r->request), "MPI_Irecv");
}

static void join(round_of_sums *r)
{
    if (r->theirs[0] != r->mine[0])
        r->mine[0] = -1;
    for (int k = 1; k < ROUND_HEAD; k++)
        if (r->theirs[k] < r->mine[k])
            r->mine[k] = r->theirs[k];
    for (size_t i = 0; r->mine[0] >= 0 && i < r->n; i++)
        r->mine[ROUND_HEAD + i] += r->theirs[ROUND_HEAD + i];
}

/* The next message of the state we are in; a state without one gives way to the next. */
static ac_status post(round_of_sums *r)
{
    switch (r->state) {
    case ROUND_GATHER:
        if (r->mask >= r->size || r->rank & r->mask) {
            r->state = r->rank == 0 ? ROUND_SPREAD : ROUND_SENT_UP;
            return r->rank == 0 ? AC_OK : send(r, r->rank - r->mask);
        }
        if (r->rank + r->mask < r->size)
            return receive(r, r->theirs, r->rank + r->mask);
        r->mask *= 2;
        return AC_OK;
    case ROUND_SENT_UP:
        r->state = ROUND_RECEIVE;
        return receive(r, r->mine, r->rank - r->mask);
    case ROUND_SPREAD:
        r->mask /= 2;
        if (r->mask == 0)
            r->state = ROUND_DONE;
        else if (r->rank + r->mask < r->size)
            return send(r, r->rank + r->mask);
        return AC_OK;
    default:
        return AC_OK;
    }
}

ac_status ac_round_advance(round_of_sums *r, bool *moved)
{
    ac_status status = AC_OK;
    int done;
    while (r->state != ROUND_IDLE && r->state != ROUND_DONE) {
        if (r->open) {
            AC_TRY(ac_comm_check(MPI_Test(&r->request, &done, MPI_STATUS_IGNORE), "MPI_Test"));
            if (!done)
                break;
            r->open = false;
            if (r->state == ROUND_GATHER) {
                join(r);
                r->mask *= 2;
            } else if (r->state == ROUND_RECEIVE) {
                r->state = ROUND_SPREAD;
            }
        }
        *moved = true;
        AC_TRY(post(r));
    }
out:
    return status;
}

ac_status ac_round_end(round_of_sums *r, double *values, bool *again)
{
    r->state = ROUND_IDLE;
    *again = false;
    if (r->mine[0] >= 0) {
        if (r->n)
            memcpy(values, r->mine + ROUND_HEAD, r->n * sizeof *values);
        return AC_OK;
    }
    if (r->mine[1] < r->size && r->mine[2] < r->size) { /* some finish, some are in a sum */
        *again = r->finish;
        return r->finish ? AC_OK : ac_error(AC_ERR_SYNC, "rank %d ended its step without the sum that this rank waits for", (int)r->mine[1]);
    }
    return ac_error(AC_ERR_SYNC, "the ranks sum different numbers of values");
}
