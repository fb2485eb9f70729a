/* Buckets under way: parts to the owner of each slice, added there in the order of ranks, sums back to all. */
#include "anyclass/alloc.h"
#include "comm/reducer_internal.h"
#include <string.h>

enum { MOST_PLACES = 8, FEWEST_PLACES = 2, PLACES_BYTES = 32 << 20 };

static void slice(const exchange *e, const bucket *b, int rank, size_t *first, int *n)
{
    int64_t from, count;
    ac_comm_slice((int64_t)b->n, rank, e->size, &from, &count);
    *first = b->first + (size_t)from;
    *n = (int)count;
}

static size_t at(const exchange *e, const bucket *b, int peer, int lane)
{
    return ((size_t)(b - e->place) * (size_t)e->size + (size_t)peer) * 2 + (size_t)lane;
}

static int tag(const exchange *e, const bucket *b, int message)
{
    return AC_TAG_BUCKET + 2 * (int)(b - e->place) + message;
}

ac_status ac_exchange_init(exchange *e, MPI_Comm comm, float *values, size_t bucket_floats)
{
    ac_status status = AC_OK;
    int count;
    *e = (exchange){.comm = comm, .values = values};
    AC_TRY(ac_comm_check(MPI_Comm_rank(comm, &e->rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_size(comm, &e->size), "MPI_Comm_size"));
    AC_TRY(ac_comm_count(bucket_floats, &count));
    size_t places = PLACES_BYTES / (bucket_floats * sizeof(float)), others = (size_t)e->size - 1;
    places = places < FEWEST_PLACES ? FEWEST_PLACES : places > MOST_PLACES ? MOST_PLACES : places;
    size_t requests = places * (size_t)e->size * 2, share = (bucket_floats + others) / (size_t)e->size;
    AC_TRY(ac_comm_count(requests, &count));
    AC_TRY(ac_calloc(places, sizeof *e->place, &e->place));
    AC_TRY(ac_malloc(requests, sizeof *e->request, &e->request));
    AC_TRY(ac_malloc(requests, sizeof *e->index, &e->index));
    AC_TRY(ac_calloc(requests, 1, &e->second));
    AC_TRY(ac_malloc(places * others * share, sizeof *e->parts, &e->parts));
    e->n_places = (int)places;
    for (size_t i = 0; i < requests; i++)
        e->request[i] = MPI_REQUEST_NULL;
    for (size_t p = 0; p < places; p++)
        e->place[p].parts = e->parts + p * others * share;
out:
    return status;
}

void ac_exchange_release(exchange *e)
{
    ac_free(e->place);
    ac_free(e->request);
    ac_free(e->index);
    ac_free(e->second);
    ac_free(e->parts);
}

static ac_status send(exchange *e, const float *from, int n, int peer, int tag_, size_t i)
{
    e->sent_bytes += (uint64_t)n * sizeof *from;
    return ac_comm_check(MPI_Isend(from, n, MPI_FLOAT, peer, tag_, e->comm, &e->request[i]), "MPI_Isend");
}

static ac_status receive(exchange *e, float *to, int n, int peer, int tag_, size_t i)
{
    return ac_comm_check(MPI_Irecv(to, n, MPI_FLOAT, peer, tag_, e->comm, &e->request[i]), "MPI_Irecv");
}

/* Place in parts[] of what `peer` sends: those before us, then those behind. */
static float *part(const exchange *e, const bucket *b, int peer, int n)
{
    return b->parts + (size_t)(peer < e->rank ? peer : peer - 1) * (size_t)n;
}

ac_status ac_exchange_start(exchange *e, size_t first, size_t n, bool *started)
{
    ac_status status = AC_OK;
    bucket *b = &e->place[e->n_buckets % (uint64_t)e->n_places]; /* in turn, so that all ranks use the same tags */
    size_t from, mine_at;
    int count, mine;
    *started = b->n_chains == 0;
    if (!*started)
        return AC_OK;
    b->first = first;
    b->n = n;
    slice(e, b, e->rank, &mine_at, &mine);
    b->n_missing = mine > 0 ? e->size - 1 : 0;
    b->n_chains = b->n_missing;
    e->n_buckets++;
    e->n_under_way++;
    for (int d = 1; d < e->size; d++) { /* everybody begins with another peer */
        int peer = (e->rank + d) % e->size;
        size_t i = at(e, b, peer, 0);
        e->second[i] = e->second[i + 1] = 0;
        if (mine > 0)
            AC_TRY(receive(e, part(e, b, peer, mine), mine, peer, tag(e, b, 0), i + 1));
        slice(e, b, peer, &from, &count);
        if (count > 0) {
            b->n_chains++;
            AC_TRY(send(e, e->values + from, count, peer, tag(e, b, 0), i));
        }
    }
out:
    return status;
}

/* values[] of our slice = the parts of all ranks, in the order of ranks. */
static void add_up(const exchange *e, const bucket *b, size_t first, int n)
{
    enum { BLOCK = 512 };
    double sum[BLOCK];
    for (int from = 0; from < n; from += BLOCK) {
        int count = n - from < BLOCK ? n - from : BLOCK;
        float *own = e->values + first + from;
        memset(sum, 0, (size_t)count * sizeof *sum);
        for (int r = 0; r < e->size; r++) {
            const float *x = r == e->rank ? own : part(e, b, r, n) + from;
            for (int i = 0; i < count; i++)
                sum[i] += (double)x[i];
        }
        for (int i = 0; i < count; i++)
            own[i] = (float)sum[i];
    }
}

static ac_status send_sums(exchange *e, bucket *b)
{
    ac_status status = AC_OK;
    size_t first;
    int n;
    slice(e, b, e->rank, &first, &n);
    add_up(e, b, first, n);
    for (int d = 1; d < e->size; d++) {
        int peer = (e->rank + d) % e->size;
        size_t i = at(e, b, peer, 1);
        e->second[i] = 1;
        AC_TRY(send(e, e->values + first, n, peer, tag(e, b, 1), i));
    }
out:
    return status;
}

static ac_status message_done(exchange *e, size_t i)
{
    ac_status status = AC_OK;
    bucket *b = &e->place[i / 2 / (size_t)e->size];
    int peer = (int)(i / 2 % (size_t)e->size), n;
    size_t first;
    if (e->second[i]) {
        if (--b->n_chains == 0) {
            e->n_under_way--;
            if (e->summed)
                AC_TRY(e->summed(e->context, b->first, b->n));
        }
    } else if (i % 2) {
        if (--b->n_missing == 0)
            AC_TRY(send_sums(e, b));
    } else { /* only now may the sum overwrite what was sent */
        e->second[i] = 1;
        slice(e, b, peer, &first, &n);
        AC_TRY(receive(e, e->values + first, n, peer, tag(e, b, 1), i));
    }
out:
    return status;
}

ac_status ac_exchange_advance(exchange *e, bool *moved)
{
    ac_status status = AC_OK;
    int n_done = 0, n = e->n_places * e->size * 2;
    if (e->n_under_way == 0)
        return AC_OK;
    AC_TRY(ac_comm_check(MPI_Testsome(n, e->request, &n_done, e->index, MPI_STATUSES_IGNORE), "MPI_Testsome"));
    for (int k = 0; n_done != MPI_UNDEFINED && k < n_done; k++) {
        *moved = true;
        AC_TRY(message_done(e, (size_t)e->index[k]));
    }
out:
    return status;
}
