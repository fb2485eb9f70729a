/* Run by comm.t on 1 to 4 ranks: agreement, gathering, comparison. Rank 0 reports for all. */
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
    ac_status left = ac_error(rank == size - 1 ? AC_ERR_NUMERIC : AC_ERR_SYNC, "another one left");
    CHECK(ac_comm_agree(comm, left) == AC_ERR_NUMERIC, "%d ranks: who only knows that another rank left does not speak for all", size);
    CHECK(ac_comm_agree(comm, ac_error(AC_ERR_SYNC, "all")) == AC_ERR_SYNC, "%d ranks: unless nobody knows more", size);
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
        int too_large;
        CHECK(ac_comm_count((size_t)INT32_MAX + 1, &too_large) == AC_ERR_RANGE, "a count beyond int is refused");
        MPI_Comm_free(&comm);
    }
    MPI_Finalize();
    if (rank == 0)
        return status == AC_OK ? tap_done() : 1;
    return 0;
}
