/* Run by reducer.t: the gradient sum in its documented order, sums of doubles beside it, failures. Rank 0 reports for all.
 * usage: reducer_ranks [funneled]: without the thread */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/log.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static MPI_Comm comm;
static int rank, size;
static const char *mode = "thread";

/* Sends fail from the given one on. MPI's profiling interface lets a program put its own function in front of the library's. */
static int send_fails_at = -1;
int MPI_Isend(const void *buffer, int n, MPI_Datatype type, int peer, int tag, MPI_Comm on, MPI_Request *request)
{
    if (__atomic_load_n(&send_fails_at, __ATOMIC_RELAXED) >= 0 && __atomic_fetch_sub(&send_fails_at, 1, __ATOMIC_RELAXED) <= 0) {
        __atomic_store_n(&send_fails_at, 0, __ATOMIC_RELAXED);
        return MPI_ERR_OTHER;
    }
    return PMPI_Isend(buffer, n, type, peer, tag, on, request);
}

static bool everywhere(bool good)
{
    int mine = good, all;
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, comm);
    return all != 0;
}

#define CHECK(condition, ...)                                                                                                            \
    do {                                                                                                                                 \
        bool good_ = everywhere(condition);                                                                                              \
        if (rank == 0)                                                                                                                   \
            TAP_OK(good_, __VA_ARGS__);                                                                                                  \
    } while (0)

/* Numbers over 64 binary orders of magnitude, of which pairs of ranks cancel each other now and then: another order of addition,
 * or another precision, gives other bits. */
static double draw(int r, size_t i, int step)
{
    if (i % 3 == 0 && r % 2 == 1)
        return -draw(r - 1, i, step);
    uint32_t word = (uint32_t)i * 2654435761u ^ (uint32_t)(r * 97 + step) * 40503u;
    word ^= word >> 15;
    word *= 2246822519u;
    word ^= word >> 13;
    return ldexp((double)(word >> 8) - 8388608.0, (int)(word & 63) - 50);
}

static float summed(size_t i, int step)
{
    double sum = 0;
    for (int r = 0; r < size; r++)
        sum += (double)(float)draw(r, i, step);
    return (float)sum;
}

/* (0 + 1) + (2 + 3) ...: ranks [first, first + span), span a power of two */
static double pairwise(int first, int span, size_t i, int step)
{
    if (span == 1)
        return draw(first, i, step);
    double left = pairwise(first, span / 2, i, step);
    return first + span / 2 < size ? left + pairwise(first + span / 2, span / 2, i, step) : left;
}

static double all_pairs(size_t i, int step)
{
    int span = 1;
    while (span < size)
        span *= 2;
    return pairwise(0, span, i, step);
}

static bool sum_is_right(ac_reducer *reducer, size_t n, int step, ac_status *status)
{
    double *x = NULL;
    bool good = ac_malloc(n, sizeof *x, &x) == AC_OK;
    for (size_t i = 0; i < n; i++)
        x[i] = draw(rank, i, step);
    *status = ac_reducer_sum(reducer, x, n);
    good = good && *status == AC_OK;
    for (size_t i = 0; i < n && good; i++)
        good = x[i] == all_pairs(i, step);
    ac_free(x);
    return good;
}

/* Buckets announced in steps that differ between ranks, `n_sums` sums of doubles in between. */
static void test_steps(size_t n, size_t bucket_bytes, size_t stride, int n_sums)
{
    float *values = NULL;
    ac_reducer *reducer = NULL;
    double exposed = -1, at_end[2];
    ac_status status = ac_malloc(n, sizeof *values, &values);
    if (status == AC_OK)
        status = ac_reducer_create(comm, values, n, bucket_bytes, &reducer);
    bool good = status == AC_OK;
    stride += (size_t)rank * 3;
    for (int step = 0; step < 4 && good; step++) {
        int sums = 0;
        ac_reducer_begin(reducer);
        for (size_t ready = 0; ready < n && good;) {
            size_t next = ready + stride < n ? ready + stride : n;
            for (; ready < next; ready++) /* what is announced is never written again */
                values[ready] = (float)draw(rank, ready, step);
            if (step != 2) /* step 2 announces nothing: finish does it all */
                good = ac_reducer_ready(reducer, ready) == AC_OK;
            for (; good && sums < n_sums && (size_t)sums * n <= ready * (size_t)n_sums; sums++)
                good = sum_is_right(reducer, sums == 1 ? 5000 : (size_t)sums + 1, step, &status);
        }
        for (; good && sums < n_sums; sums++)
            good = sum_is_right(reducer, sums == 1 ? 5000 : (size_t)sums + 1, step, &status);
        at_end[0] = draw(rank, 0, step);
        at_end[1] = 1;
        good = good && ac_reducer_finish_sum(reducer, at_end, step == 3 ? 0 : 2, &exposed) == AC_OK && exposed >= 0;
        good = good && (step == 3 || (at_end[0] == all_pairs(0, step) && at_end[1] == size));
        for (size_t i = 0; i < n && good; i++)
            good = values[i] == summed(i, step);
        if (step % 2) /* outside of a step too */
            good = good && sum_is_right(reducer, 3, step, &status);
    }
    bool same = false;
    good = ac_comm_same(comm, values, n * sizeof *values, &same) == AC_OK && same && good;
    CHECK(good, "%d ranks, %s: %zu floats in buckets of %zu bytes, announced by %zu, %d sums between", size, mode, n, bucket_bytes, stride, n_sums);
    ac_reducer_destroy(reducer);
    ac_free(values);
}

/* A rank that fails in the middle of its step announces no more and skips its sums; it finishes, nobody waits for ever. */
static void test_rank_that_leaves(bool with_sums)
{
    enum { N = 5000 };
    static float values[N];
    ac_reducer *reducer;
    ac_status status = AC_OK;
    bool good = ac_reducer_create(comm, values, N, 1024, &reducer) == AC_OK, left = size > 1;
    for (int step = 0; step < 2 && good; step++) { /* step 1: nobody fails, everything is right again */
        ac_reducer_begin(reducer);
        for (size_t i = 0; i < N; i++)
            values[i] = (float)draw(rank, i, step);
        bool leaves = step == 0 && rank == size - 1 && left;
        for (size_t ready = 500; ready <= (leaves ? 1500 : N) && good; ready += 500)
            good = ac_reducer_ready(reducer, ready) == AC_OK;
        if (with_sums && !leaves) {
            good = good && sum_is_right(reducer, 2, step, &status) == (step == 1 || !left);
            if (step == 0 && left) {
                char text[64];
                snprintf(text, sizeof text, "rank %d ended its step", size - 1);
                good = good && status == AC_ERR_SYNC && strstr(ac_error_text(), text);
            }
        }
        good = good && ac_reducer_finish(reducer, NULL) == AC_OK;
    }
    for (size_t i = 0; i < N && good; i++)
        good = values[i] == summed(i, 1);
    CHECK(good, "%d ranks, %s: a rank that leaves its step %s holds nobody up", size, mode, with_sums ? "before a sum" : "between buckets");
    ac_reducer_destroy(reducer);
}

/* Nobody calls, and yet the buckets arrive; in the second step the thread has to be woken. */
static void test_progress(void)
{
    enum { N = 300000 };
    static float values[N];
    ac_reducer *reducer;
    ac_reducer_stats stats = {0};
    bool good = ac_reducer_create(comm, values, N, 100000, &reducer) == AC_OK;
    for (int step = 0; step < 2; step++) {
        ac_reducer_begin(reducer);
        for (size_t i = 0; i < N; i++)
            values[i] = (float)draw(rank, i, step);
        good = good && ac_reducer_ready(reducer, N) == AC_OK;
        double until_s = ac_now_s() + 30;
        do
            ac_reducer_get_stats(reducer, &stats);
        while (ac_now_s() < until_s && stats.n_buckets < 12 * ((uint64_t)step + 1));
        good = good && stats.threaded && stats.n_buckets == 12 * ((uint64_t)step + 1) && stats.busy_s > 0;
        for (size_t i = 0; i < N && good; i++)
            good = values[i] == summed(i, step);
        good = ac_reducer_finish(reducer, NULL) == AC_OK && good;
    }
    ac_reducer_get_stats(reducer, &stats);
    good = good && stats.n_steps == 2 && stats.sent_bytes >= 2 * N * sizeof(float);
    CHECK(good, "%d ranks: buckets arrive while the caller makes no call", size);
    ac_reducer_destroy(reducer);
}

/* The last test: after a failure of MPI nothing is known about what is under way. */
static void test_failing_send(int at)
{
    enum { N = 5000 };
    static float values[N];
    ac_reducer *reducer;
    double one = 1;
    bool good = ac_reducer_create(comm, values, N, 1024, &reducer) == AC_OK;
    ac_reducer_begin(reducer);
    __atomic_store_n(&send_fails_at, at, __ATOMIC_RELAXED);
    ac_status early = ac_reducer_ready(reducer, N);
    ac_error_clear();
    ac_status sum = ac_reducer_sum(reducer, &one, 1);
    good = good && (early == AC_OK || early == AC_ERR_SYNC) && sum == AC_ERR_SYNC && strstr(ac_error_text(), "MPI_Isend");
    ac_error_clear();
    good = good && ac_reducer_finish(reducer, NULL) == AC_ERR_SYNC && strstr(ac_error_text(), "MPI_Isend");
    ac_error_clear();
    good = good && ac_reducer_ready(reducer, N) == AC_ERR_SYNC && strstr(ac_error_text(), "MPI_Isend");
    __atomic_store_n(&send_fails_at, -1, __ATOMIC_RELAXED);
    CHECK(good, "%d ranks, %s: a send that fails is reported by whoever waits, with MPI's text", size, mode);
    ac_reducer_destroy(reducer);
}

int main(int argc, char **argv)
{
    bool threaded = argc < 2;
    int provided;
    MPI_Init_thread(&argc, &argv, threaded ? MPI_THREAD_SERIALIZED : MPI_THREAD_FUNNELED, &provided);
    ac_status status = ac_comm_begin(MPI_COMM_WORLD, &comm);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    threaded = threaded && provided >= MPI_THREAD_SERIALIZED;
    mode = threaded ? "thread" : "no thread";
    if (status == AC_OK) {
        test_steps(1, 0, 1, 0);
        test_steps(7, 4, 2, 3);
        test_steps(1001, 12, 7, 2);
        test_steps(1000, 400, 250, 5);
        test_steps(100003, 4096, 9999, 20);
        test_steps(100003, 40004, 1000, 3);
        test_steps(100003, 0, 1000, 3);
        test_steps(3000001, 1 << 20, 50000, 2);
        test_rank_that_leaves(false);
        test_rank_that_leaves(true);
        if (size > 1 && threaded)
            test_progress();
        if (size > 1)
            test_failing_send(0);
        MPI_Comm_free(&comm);
    }
    MPI_Finalize();
    if (rank == 0)
        return status == AC_OK ? tap_done() : 1;
    return 0;
}
