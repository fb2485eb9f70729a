/* Gradients in the memory of devices: who sums them, and what is asked of the device for it. What MPI does with buckets in host memory is
 * in reducer.c. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "comm/reducer_internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- who sums ---- */

/* The first two ranks on one device; -1: each has its own. */
static ac_status find_sharing(MPI_Comm comm, int size, const char *mine, int *first, int *second)
{
    ac_status status = AC_OK;
    char(*all)[AC_DEVICE_ID_BYTES] = NULL;
    *first = *second = -1;
    AC_TRY(ac_comm_agree(comm, ac_malloc((size_t)size, sizeof *all, &all)));
    AC_TRY(ac_comm_check(MPI_Allgather(mine, AC_DEVICE_ID_BYTES, MPI_BYTE, all, AC_DEVICE_ID_BYTES, MPI_BYTE, comm), "MPI_Allgather"));
    for (int a = 0; a < size && *first < 0; a++)
        for (int b = a + 1; b < size && *first < 0; b++)
            if (memcmp(all[a], all[b], AC_DEVICE_ID_BYTES) == 0) {
                *first = a;
                *second = b;
            }
out:
    ac_free(all);
    return status;
}

static ac_status join_group(device_side *d, MPI_Comm comm, int rank, int size)
{
    ac_status status = AC_OK;
    unsigned char id[AC_GROUP_ID_BYTES] = {0};
    AC_TRY(ac_comm_agree(comm, rank == 0 ? d->queue->group_id(d->device, id) : AC_OK));
    AC_TRY(ac_comm_broadcast(comm, id, sizeof id));
    AC_TRY(ac_comm_agree(comm, d->queue->group_join(d->device, id, rank, size)));
out:
    return status;
}

/* Why ranks cannot leave the sums to their devices; "": they can. */
static ac_status find_obstacle(device_side *d, MPI_Comm comm, int size, char library[64], char why[AC_WAY_BYTES])
{
    ac_status status = AC_OK;
    char id[AC_DEVICE_ID_BYTES] = "";
    const char *wish = getenv("ANYCLASS_GPU_SUMS");
    int first, second;
    int says[2] = {!d->queue || !d->queue->group_sum, wish && strcmp(wish, "mpi") == 0}; /* no device with a queue; MPI is wished for */
    bool same;
    why[0] = '\0';
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, says, 2, MPI_INT, MPI_MAX, comm), "MPI_Allreduce"));
    if (says[0] || says[1]) {
        snprintf(why, AC_WAY_BYTES, "%s", says[0] ? "not all ranks have a GPU" : "as ANYCLASS_GPU_SUMS says");
        return AC_OK;
    }
    d->queue->identify(d->device, id);
    AC_TRY(find_sharing(comm, size, id, &first, &second));
    if (first >= 0) {
        snprintf(why, AC_WAY_BYTES, "ranks %d and %d share a GPU", first, second);
        return AC_OK;
    }
    if (ac_comm_agree(comm, d->queue->group_library(d->device, library, 64)) != AC_OK) {
        snprintf(why, AC_WAY_BYTES, "%s", ac_error_text());
        ac_error_clear();
        return AC_OK;
    }
    AC_TRY(ac_comm_same(comm, library, strlen(library), &same));
    if (!same)
        snprintf(why, AC_WAY_BYTES, "the ranks have different versions of NCCL, this one has %s", library);
out:
    return status;
}

ac_status ac_device_side_choose(device_side *d, MPI_Comm comm, const ac_reducer_place *place, char way[AC_WAY_BYTES])
{
    ac_status status = AC_OK;
    int rank, size, any;
    char library[64] = "", why[AC_WAY_BYTES];
    *d = (device_side){.device = place->device, .queue = place->device ? place->device->backend->queue : NULL};
    AC_TRY(ac_comm_check(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_size(comm, &size), "MPI_Comm_size"));
    snprintf(way, AC_WAY_BYTES, "%s", size == 1 ? "one rank alone" : "MPI");
    any = size > 1 && d->queue != NULL;
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_MAX, comm), "MPI_Allreduce"));
    if (!any) {
        d->queue = NULL;
        return AC_OK;
    }
    AC_TRY(find_obstacle(d, comm, size, library, why));
    if (!why[0]) {
        d->group = join_group(d, comm, rank, size) == AC_OK;
        if (!d->group) {
            snprintf(why, sizeof why, "%s", ac_error_text());
            ac_error_clear();
            d->queue->group_abort(d->device);
            ac_log(AC_LOG_WARN, "gradients are summed through host memory, which is slower: %s", why);
        }
    }
    if (d->group)
        snprintf(way, AC_WAY_BYTES, "%s over %d GPUs", library, size);
    else
        snprintf(way, AC_WAY_BYTES, "MPI through host memory: %.*s", AC_WAY_BYTES - 32, why);
out:
    return status;
}

/* ---- what is asked of the device ---- */

static void arrived(void *context)
{
    const arrival *a = context;
    a->announce(a->reducer, a->n_ready);
}

ac_status ac_device_side_init(device_side *d, const ac_reducer_place *place, size_t bucket_floats, void (*announce)(void *reducer, size_t n_ready),
                              void *reducer)
{
    ac_status status = AC_OK;
    size_t n_buckets = (place->n + bucket_floats - 1) / bucket_floats;
    d->values = place->values;
    d->n = place->n;
    d->bucket = bucket_floats;
    d->state = place->state;
    AC_TRY(d->device->backend->allocate(d->device, 2 * sizeof *d->clock, (void **)&d->clock));
    if (d->group)
        return AC_OK;
    AC_TRY(d->queue->allocate_host(d->device, place->n * sizeof *d->host, (void **)&d->host));
    AC_TRY(ac_calloc(n_buckets, sizeof *d->arrival, &d->arrival));
    for (size_t b = 0; b < n_buckets; b++)
        d->arrival[b] = (arrival){announce, reducer, (b + 1) * bucket_floats < place->n ? (b + 1) * bucket_floats : place->n};
out:
    return status;
}

void ac_device_side_release(device_side *d)
{
    if (!d->queue || !d->device)
        return;
    if (d->host) { /* copies that are still on their way have it and the arrivals */
        (void)d->queue->stage_join(d->device);
        (void)d->device->backend->synchronize(d->device);
        d->queue->release_host(d->device, d->host);
    }
    if (d->queue->group_leave)
        d->queue->group_leave(d->device);
    d->device->backend->release(d->device, d->clock);
    ac_free(d->arrival);
}

static ac_status ask_for_bucket(device_side *d, size_t first, size_t n)
{
    ac_status status = AC_OK;
    if (d->group) {
        if (first == 0 && d->state) /* J is whole before backward begins */
            AC_TRY(d->queue->group_sum_double(d->device, &d->state->loss, 1));
        AC_TRY(d->queue->group_sum(d->device, d->values + first, n));
    } else {
        AC_TRY(d->queue->stage_out(d->device, d->host + first, d->values + first, n, arrived, &d->arrival[first / d->bucket]));
    }
    d->n_asked = first + n;
out:
    return status;
}

ac_status ac_device_side_ready(device_side *d, size_t n_ready)
{
    ac_status status = AC_OK;
    n_ready = n_ready < d->n ? n_ready : d->n;
    if (d->gave_up)
        return AC_OK;
    if (n_ready <= d->n_announced)
        d->n_asked = 0;
    d->n_announced = n_ready;
    while (d->n_asked < d->n && (n_ready == d->n || n_ready - d->n_asked >= d->bucket)) {
        size_t left = d->n - d->n_asked;
        AC_TRY(ask_for_bucket(d, d->n_asked, left < d->bucket ? left : d->bucket));
    }
    if (n_ready == d->n) {
        AC_TRY(d->queue->tick(d->device, d->clock, false));
        AC_TRY(d->queue->stage_join(d->device));
        if (d->group)
            AC_TRY(d->queue->tick(d->device, d->clock, true));
    }
out:
    return status;
}

ac_status ac_device_side_take_back(void *side, size_t first, size_t n)
{
    device_side *d = side;
    return d->gave_up ? AC_OK : d->queue->stage_in(d->device, d->values + first, d->host + first, n);
}

ac_status ac_device_side_finish(device_side *d)
{
    ac_status status = AC_OK;
    if (d->gave_up)
        return AC_OK;
    AC_TRY(d->queue->stage_join(d->device));
    AC_TRY(d->queue->tick(d->device, d->clock, true));
out:
    return status;
}

double ac_device_side_exposed_s(const device_side *d)
{
    int64_t clock[2] = {0, 0};
    if (!d->gave_up && d->device->backend->download(d->device, clock, d->clock, sizeof clock) != AC_OK)
        ac_error_clear();
    return 1e-9 * (double)clock[1];
}
