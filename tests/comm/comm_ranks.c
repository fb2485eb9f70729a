/* Run by comm.t on 1 to 4 ranks: agreement, gathering, comparison, and the gradient sum. Rank 0 reports for all. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "tests/tap.h"
#include <string.h>

static MPI_Comm comm;
static int rank, size;

/* True when it is true on every rank. */
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

static void test_agree(void)
{
    CHECK(ac_comm_agree(comm, AC_OK) == AC_OK, "%d ranks: all well", size);
    for (int failing = 0; failing < size; failing++) {
        ac_error_clear();
        ac_status mine = rank == failing ? ac_error(AC_ERR_IO, "disk of rank %d", rank) : AC_OK, status = ac_comm_agree(comm, mine);
        char wanted[64];
        if (rank == failing)
            snprintf(wanted, sizeof wanted, "disk of rank %d", rank);
        else
            snprintf(wanted, sizeof wanted, "rank %d: disk of rank %d", failing, failing);
        CHECK(status == AC_ERR_IO && strcmp(ac_error_text(), wanted) == 0, "%d ranks: rank %d fails, all know and say why", size, failing);
    }
    ac_status both = ac_error(rank == 0 ? AC_ERR_DATA : AC_ERR_IO, "mine");
    CHECK(ac_comm_agree(comm, both) == AC_ERR_DATA, "%d ranks: the lowest rank's failure counts", size);
}

static void test_gather(void)
{
    size_t n_all, offsets[9], n = (size_t)rank * 3; /* rank 0 has nothing */
    unsigned char mine[64], *all = NULL;
    memset(mine, rank + 1, sizeof mine);
    ac_status status = ac_comm_gather_all(comm, mine, n, (void **)&all, &n_all, offsets);
    bool good = status == AC_OK && n_all == (size_t)(3 * size * (size - 1) / 2);
    for (int r = 0; good && r < size; r++)
        for (size_t i = offsets[r]; i < offsets[r + 1]; i++)
            good = good && all[i] == r + 1;
    CHECK(good, "%d ranks: bytes of all in the order of ranks", size);
    ac_free(all);
    bool same = false;
    int value = 5;
    CHECK(ac_comm_same(comm, &value, sizeof value, &same) == AC_OK && same, "%d ranks: the same is seen", size);
    value += rank == size - 1;
    CHECK(ac_comm_same(comm, &value, sizeof value, &same) == AC_OK && same == (size == 1), "%d ranks: a difference is seen", size);
    double numbers[1000];
    for (int i = 0; i < 1000; i++)
        numbers[i] = rank == 0 ? i * .5 : -1;
    good = ac_comm_broadcast(comm, numbers, sizeof numbers) == AC_OK;
    for (int i = 0; i < 1000; i++)
        good = good && numbers[i] == i * .5;
    CHECK(good, "%d ranks: a broadcast arrives", size);
    int64_t first, count, next = 0;
    good = true;
    for (int64_t total = 0; total < 20; total++, next = 0) {
        for (int r = 0; r < 7; r++) {
            ac_comm_slice(total, r, 7, &first, &count);
            good = good && first == next && (count == total / 7 || count == total / 7 + 1);
            next += count;
        }
        good = good && next == total;
    }
    CHECK(good, "slices cover everything once");
}

/* Small whole numbers: their sums are exact in float, in any order. */
static void test_reducer(size_t n, size_t bucket_bytes, size_t stride)
{
    float *values = NULL;
    ac_reducer *reducer = NULL;
    double exposed = -1;
    ac_status status = ac_malloc(n, sizeof *values, &values);
    if (status == AC_OK)
        status = ac_reducer_create(comm, values, n, bucket_bytes, &reducer);
    bool good = status == AC_OK;
    for (int step = 0; step < 3 && good; step++) {
        ac_reducer_begin(reducer);
        memset(values, 0, n * sizeof *values);
        for (size_t ready = 0; ready < n && good;) {
            size_t next = ready + stride < n ? ready + stride : n;
            for (; ready < next; ready++) /* what is announced is never written again */
                values[ready] = (float)((ready * 7 + (size_t)(rank * 13 + step)) % 1000);
            if (step != 2) /* step 2 announces nothing: finish does it all */
                good = ac_reducer_ready(reducer, ready) == AC_OK;
        }
        good = good && ac_reducer_finish(reducer, &exposed) == AC_OK && exposed >= 0;
        for (size_t i = 0; i < n && good; i++) {
            float sum = 0;
            for (int r = 0; r < size; r++)
                sum += (float)((i * 7 + (size_t)(r * 13 + step)) % 1000);
            good = values[i] == sum;
        }
    }
    CHECK(good, "%d ranks: exact sums of %zu floats, buckets of %zu bytes, in steps of %zu", size, n, bucket_bytes, stride);
    ac_reducer_destroy(reducer);
    ac_free(values);
}

/* A rank that fails in the middle of its backward announces no more; it finishes, the others do not wait for ever. */
static void test_reducer_after_failure(void)
{
    enum { N = 5000 };
    static float values[N];
    ac_reducer *reducer;
    double exposed;
    bool good = ac_reducer_create(comm, values, N, 1024, &reducer) == AC_OK;
    for (int step = 0; step < 2 && good; step++) { /* step 1: nobody fails, the sums are right again */
        ac_reducer_begin(reducer);
        for (int i = 0; i < N; i++)
            values[i] = (float)(rank + 1);
        size_t last = step == 0 && rank == size - 1 ? 1500 : N;
        for (size_t ready = 500; ready <= last && good; ready += 500)
            good = ac_reducer_ready(reducer, ready) == AC_OK;
        good = good && ac_reducer_finish(reducer, &exposed) == AC_OK;
    }
    for (int i = 0; i < N && good; i++)
        good = values[i] == (float)(size * (size + 1) / 2);
    CHECK(good, "%d ranks: a rank that stops announcing holds nobody up", size);
    ac_reducer_destroy(reducer);
}

int main(int argc, char **argv)
{
    int provided;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    ac_status status = ac_comm_begin(MPI_COMM_WORLD, &comm);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (status == AC_OK) {
        test_agree();
        test_gather();
        test_reducer(1, 0, 1);
        test_reducer(1000, 4, 7);
        test_reducer(1000, 400, 250);
        test_reducer(100003, 4096, 9999);
        test_reducer(100003, 0, 1000);
        test_reducer_after_failure();
        int too_large;
        CHECK(ac_comm_count((size_t)INT32_MAX + 1, &too_large) == AC_ERR_RANGE, "a count beyond int is refused");
        MPI_Comm_free(&comm);
    }
    MPI_Finalize();
    if (rank == 0)
        return status == AC_OK ? tap_done() : 1;
    return 0;
}
