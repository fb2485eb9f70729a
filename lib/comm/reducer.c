/* The gradient sum: buckets of the arena, each a non-blocking all-reduce that starts when backward has filled it. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/log.h"

struct ac_reducer {
    MPI_Comm comm;
    float *values;
    size_t n, bucket;      /* floats in all, floats per bucket */
    size_t n_started;      /* floats whose buckets are under way */
    MPI_Request *request;  /* one per bucket */
    int n_requests, size;
};

ac_status ac_reducer_create(MPI_Comm comm, float *values, size_t n, size_t bucket_bytes, ac_reducer **out)
{
    ac_status status = AC_OK;
    ac_reducer *reducer = NULL;
    int count;
    *out = NULL;
    AC_TRY(ac_calloc(1, sizeof *reducer, &reducer));
    reducer->comm = comm;
    reducer->values = values;
    reducer->n = n;
    reducer->bucket = (bucket_bytes ? bucket_bytes : (size_t)25 << 20) / sizeof(float);
    reducer->bucket += reducer->bucket == 0;
    AC_TRY(ac_comm_count(reducer->bucket, &count));
    AC_TRY(ac_comm_check(MPI_Comm_size(comm, &reducer->size), "MPI_Comm_size"));
    AC_TRY(ac_comm_count((n + reducer->bucket - 1) / reducer->bucket, &count));
    AC_TRY(ac_malloc((size_t)count, sizeof *reducer->request, &reducer->request));
    *out = reducer;
    return AC_OK;
out:
    ac_reducer_destroy(reducer);
    return status;
}

void ac_reducer_destroy(ac_reducer *reducer)
{
    if (reducer)
        ac_free(reducer->request);
    ac_free(reducer);
}

void ac_reducer_begin(ac_reducer *reducer)
{
    reducer->n_started = 0;
    reducer->n_requests = 0;
}

static ac_status start_bucket(ac_reducer *reducer)
{
    size_t left = reducer->n - reducer->n_started, n = left < reducer->bucket ? left : reducer->bucket;
    MPI_Request *request = &reducer->request[reducer->n_requests];
    ac_status status = ac_comm_check(MPI_Iallreduce(MPI_IN_PLACE, reducer->values + reducer->n_started, (int)n, MPI_FLOAT, MPI_SUM,
                                                    reducer->comm, request), "MPI_Iallreduce");
    if (status == AC_OK) {
        reducer->n_requests++;
        reducer->n_started += n;
    }
    return status;
}

ac_status ac_reducer_ready(ac_reducer *reducer, size_t n_ready)
{
    ac_status status = AC_OK;
    int all_done;
    if (reducer->size == 1)
        return AC_OK;
    while (reducer->n_started < reducer->n &&
           (n_ready >= reducer->n || n_ready - reducer->n_started >= reducer->bucket) && n_ready > reducer->n_started)
        AC_TRY(start_bucket(reducer));
    /* MPI moves data only when it is called: a test now and then lets the buckets travel while backward computes */
    AC_TRY(ac_comm_check(MPI_Testall(reducer->n_requests, reducer->request, &all_done, MPI_STATUSES_IGNORE), "MPI_Testall"));
out:
    return status;
}

ac_status ac_reducer_finish(ac_reducer *reducer, double *exposed_s)
{
    ac_status status = AC_OK;
    double start = ac_now_s();
    if (reducer->size > 1) {
        while (reducer->n_started < reducer->n)
            AC_TRY(start_bucket(reducer));
        AC_TRY(ac_comm_check(MPI_Waitall(reducer->n_requests, reducer->request, MPI_STATUSES_IGNORE), "MPI_Waitall"));
    }
out:
    if (exposed_s)
        *exposed_s = ac_now_s() - start;
    return status;
}
