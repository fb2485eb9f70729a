/* Run by tests/cuda_host/ranks.t: sums over ranks of values in the memory of GPUs, asked for one by one and recorded; ranks that cannot go on.
 * Rank 0 reports for all. usage: device_ranks mpi|nccl: which way is expected */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/log.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static MPI_Comm comm;
static int rank, size;
static bool group; /* the devices sum */
static ac_device *device;

static bool everywhere(bool good)
{
    int mine = good, all;
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, comm);
    return all != 0;
}

#define CHECK(condition, ...)                                                                                                            \
    do {                                                                                                                                 \
        bool good_ = everywhere(condition);                                                                                              \
        if (!(condition))                                                                                                                \
            printf("# rank %d: %s\n", rank, ac_error_text());                                                                            \
        if (rank == 0)                                                                                                                   \
            TAP_OK(good_, __VA_ARGS__);                                                                                                  \
    } while (0)

/* Over 40 binary orders of magnitude: another order of addition, another precision, a bucket that is summed twice or not at all give other bits. */
static float draw(int r, size_t i, int step)
{
    uint32_t word = (uint32_t)i * 2654435761u ^ (uint32_t)(r * 97 + step + 1) * 40503u;
    word ^= word >> 15;
    word *= 2246822519u;
    word ^= word >> 13;
    return (float)ldexp((double)(word >> 8) - 8388608.0, (int)(word & 31) - 40);
}

/* As lib/comm adds up, or as tests/cuda_host/nccl.c does. */
static float summed(size_t i, int step)
{
    double sum = 0;
    float single = 0;
    for (int r = 0; r < size; r++) {
        sum += (double)draw(r, i, step);
        single += draw(r, i, step);
    }
    return group ? single : (float)sum;
}

typedef struct sums {
    size_t n, bucket_bytes, stride;
    float *host, *values; /* [n] here, on the device */
    ac_step_state *state;
    ac_reducer *reducer;
    ac_recording *recording;
} sums;

static ac_status begin(sums *s, size_t n, size_t bucket_bytes, size_t stride)
{
    ac_status status = AC_OK;
    *s = (sums){.n = n, .bucket_bytes = bucket_bytes, .stride = stride};
    AC_TRY(ac_malloc(n, sizeof *s->host, &s->host));
    AC_TRY(device->backend->allocate(device, n * sizeof *s->values, (void **)&s->values));
    AC_TRY(device->backend->allocate(device, sizeof *s->state, (void **)&s->state));
    const ac_reducer_place place = {device, s->values, n, s->state};
    AC_TRY(ac_reducer_create_on(comm, &place, bucket_bytes, &s->reducer));
    if (ac_reducer_on_device(s->reducer) != group)
        status = ac_error(AC_ERR_RANGE, "summed by %s", ac_reducer_way(s->reducer));
out:
    return status;
}

static void end(sums *s)
{
    if (s->recording)
        device->backend->queue->release_recording(device, s->recording);
    ac_reducer_destroy(s->reducer);
    device->backend->release(device, s->values);
    device->backend->release(device, s->state);
    ac_free(s->host);
}

static ac_status draw_all(sums *s, int step)
{
    ac_status status = AC_OK;
    const ac_step_state state = {.loss = draw(rank, 0, step)};
    for (size_t i = 0; i < s->n; i++)
        s->host[i] = draw(rank, i, step);
    AC_TRY(device->backend->upload(device, s->values, s->host, s->n * sizeof *s->host));
    AC_TRY(device->backend->upload(device, s->state, &state, sizeof state));
out:
    return status;
}

/* Values become final piece by piece, each announced at once; `upload`: and reach the device just before. */
static ac_status announce(sums *s, int step, bool upload)
{
    ac_status status = AC_OK;
    for (size_t ready = 0; ready < s->n;) {
        size_t next = ready + s->stride < s->n ? ready + s->stride : s->n;
        for (size_t i = ready; i < next; i++)
            s->host[i] = draw(rank, i, step);
        if (upload)
            AC_TRY(device->backend->upload(device, s->values + ready, s->host + ready, (next - ready) * sizeof *s->host));
        ready = next;
        AC_TRY(ac_reducer_ready(s->reducer, ready));
    }
out:
    return status;
}

static ac_status finish(sums *s)
{
    double one = 1;
    ac_status status = ac_reducer_finish_sum(s->reducer, &one, 1, NULL);
    return status == AC_OK && one != size ? ac_error(AC_ERR_RANGE, "1 over %d ranks is %g", size, one) : status;
}

static ac_status check(sums *s, int step)
{
    ac_status status = AC_OK;
    ac_step_state state;
    double loss = group ? 0 : draw(rank, 0, step);
    for (int r = 0; r < size && group; r++)
        loss += (double)draw(r, 0, step);
    memset(s->host, 0, s->n * sizeof *s->host);
    AC_TRY(device->backend->download(device, s->host, s->values, s->n * sizeof *s->host));
    AC_TRY(device->backend->download(device, &state, s->state, sizeof state));
    for (size_t i = 0; i < s->n; i++)
        if (s->host[i] != summed(i, step))
            return ac_error(AC_ERR_NUMERIC, "step %d: value %zu of %zu is %.9g, not %.9g", step, i, s->n, (double)s->host[i], (double)summed(i, step));
    if (state.loss != loss)
        return ac_error(AC_ERR_NUMERIC, "step %d: the loss is %.17g, not %.17g", step, state.loss, loss);
out:
    return status;
}

static ac_status record(sums *s)
{
    ac_status status = AC_OK, ended;
    const ac_queue *queue = device->backend->queue;
    AC_TRY(queue->record_begin(device));
    status = announce(s, 0, false);
    ended = queue->record_end(device, &s->recording);
    status = status == AC_OK ? ended : status;
out:
    return status;
}

/* Steps 0 and 1 as they come, then recorded, then as they come again. */
static ac_status make_steps(sums *s)
{
    ac_status status = AC_OK;
    for (int step = 0; step < 6; step++) {
        bool replayed = step == 2 || step == 3 || step == 4;
        ac_reducer_begin(s->reducer);
        AC_TRY(draw_all(s, replayed ? step : step + 100)); /* what is not final yet is something else */
        if (step == 2)
            AC_TRY(record(s));
        if (!replayed) {
            const ac_step_state state = {.loss = draw(rank, 0, step)};
            AC_TRY(device->backend->upload(device, s->state, &state, sizeof state));
        }
        AC_TRY(replayed ? device->backend->queue->replay(device, s->recording) : announce(s, step, true));
        if (!group || step % 2)
            AC_TRY(finish(s));
        AC_TRY(check(s, step));
    }
out:
    return status;
}

static void test_steps(size_t n, size_t bucket_bytes, size_t stride)
{
    sums s;
    ac_reducer_stats stats = {0};
    ac_status status = begin(&s, n, bucket_bytes, stride);
    if (status == AC_OK)
        status = make_steps(&s);
    if (status == AC_OK)
        ac_reducer_get_stats(s.reducer, &stats);
    CHECK(status == AC_OK && stats.exposed_s > 0, "%d ranks, %s: %zu floats in buckets of %zu bytes, announced by %zu, recorded and not", size,
          s.reducer ? ac_reducer_way(s.reducer) : "", n, bucket_bytes, stride);
    end(&s);
}

/* What was asked for in a recording that failed is asked for again, and summed once. */
static void test_failed_recording(void)
{
    const ac_queue *queue = device->backend->queue;
    ac_recording *recording = NULL;
    sums s;
    float value;
    ac_status status = begin(&s, 5003, 1024, 700);
    if (status == AC_OK)
        status = draw_all(&s, 7);
    bool good = status == AC_OK && queue->record_begin(device) == AC_OK;
    ac_reducer_begin(s.reducer);
    good = good && ac_reducer_ready(s.reducer, 700) == AC_OK;
    good = good && device->backend->download(device, &value, s.values, sizeof value) != AC_OK; /* cannot be recorded */
    good = queue->record_end(device, &recording) != AC_OK && !recording && good;
    ac_error_clear();
    status = good ? announce(&s, 7, true) : AC_ERR_RANGE;
    if (status == AC_OK)
        status = finish(&s);
    if (status == AC_OK)
        status = check(&s, 7);
    CHECK(status == AC_OK, "%d ranks: a recording that fails amid the buckets, then the step itself", size);
    end(&s);
}

/* Nobody calls, and yet buckets reach the other ranks. */
static void test_progress(void)
{
    sums s;
    ac_reducer_stats stats = {0};
    ac_status status = begin(&s, 100000, 100000, 100000);
    if (status == AC_OK)
        status = draw_all(&s, 0);
    ac_reducer_begin(s.reducer);
    if (status == AC_OK)
        status = announce(&s, 0, true);
    for (double until_s = ac_now_s() + 30; status == AC_OK && ac_now_s() < until_s && stats.n_buckets < 4;)
        ac_reducer_get_stats(s.reducer, &stats);
    bool good = stats.n_buckets == 4 && stats.threaded;
    if (status == AC_OK)
        status = finish(&s);
    if (status == AC_OK)
        status = check(&s, 0);
    CHECK(status == AC_OK && good, "%d ranks: buckets arrive while the caller makes no call", size);
    end(&s);
}

/* The last rank announces a part and gives up: the others get through, or learn it where they wait. */
static void test_rank_that_gives_up(void)
{
    sums s;
    bool leaves = rank == size - 1, learned = false;
    double sum[2] = {0, 0};
    ac_status status = begin(&s, 50000, 16384, 5000);
    if (status == AC_OK)
        status = record(&s); /* a recording holds sums of the group that ends */
    if (status == AC_OK)
        status = draw_all(&s, 0);
    ac_reducer_begin(s.reducer);
    if (status == AC_OK)
        status = leaves ? ac_reducer_ready(s.reducer, 20000) : announce(&s, 0, true);
    if (group && !leaves && status == AC_ERR_SYNC) { /* a device that is fast tells it while sums are still asked for */
        learned = strstr(ac_error_text(), "another rank is gone");
        status = AC_OK;
    }
    if (leaves || learned)
        ac_reducer_give_up(s.reducer);
    sum[0] = leaves;
    double start_s = ac_now_s();
    if (status == AC_OK)
        status = ac_reducer_finish_sum(s.reducer, sum, 2, NULL);
    bool good = status == AC_OK && sum[0] == 1;
    if (group && !leaves && !learned) {
        ac_status waited = device->backend->synchronize(device);
        good = good && waited == AC_ERR_SYNC && strstr(ac_error_text(), "another rank is gone");
        good = good && ac_reducer_ready(s.reducer, 1) == AC_OK && ac_reducer_ready(s.reducer, 50000) == AC_ERR_SYNC;
        ac_error_clear();
    }
    CHECK(good && ac_now_s() - start_s < 20, "%d ranks: one that gives up holds nobody up", size);
    end(&s);
}

int main(int argc, char **argv)
{
    int provided;
    char way[64] = "";
    MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
    ac_status status = ac_comm_begin(MPI_COMM_WORLD, &comm);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    snprintf(way, sizeof way, "%s", argc > 1 ? argv[1] : "mpi");
    group = strcmp(way, "nccl") == 0;
    if (status == AC_OK)
        status = ac_backend_open("cuda", 1, &device);
    if (status == AC_OK) {
        test_steps(1, 0, 1);
        test_steps(7, 4, 2);
        test_steps(1001, 12, 7);
        test_steps(30011, 4096, 9999);
        test_steps(100003, 40004, 1000);
        test_steps(300001, 0, 50000);
        test_failed_recording();
        if (!group)
            test_progress();
        test_rank_that_gives_up();
        device->backend->close(device);
    }
    if (status != AC_OK)
        printf("# %s\n", ac_error_text());
    if (comm != MPI_COMM_NULL)
        MPI_Comm_free(&comm);
    MPI_Finalize();
    return rank == 0 ? status == AC_OK ? tap_done() : 1 : 0;
}
