/* Steps of a simulated backward with the gradient sum beside or behind it: how long the ranks wait for the network. Run by
 * overlap.sh. usage: overlap MODE [FLOATS [BACKWARD_S [STEPS [BUCKET_KIB]]]]
 * MODE: alone (no communication), behind (all buckets after backward), beside (on the communication thread), inline (the same
 * without a thread: data moves when parts are announced), library (MPI's own MPI_Iallreduce, tested at each announcement) */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { N_PARTS = 160, MOST_STEPS = 200, MOST_REQUESTS = 4096 }; /* parts: about resnet50's nodes with parameters */

typedef struct bench {
    const char *mode;
    MPI_Comm comm;
    size_t n, bucket; /* floats */
    float *values;
    ac_reducer *reducer;
    long rounds; /* of work in one part */
    MPI_Request request[MOST_REQUESTS];
    int n_requests;
    size_t n_started;
} bench;

/* Multiply-adds on every thread, out of no memory. */
static float work(long rounds)
{
    float sum = 0;
#pragma omp parallel reduction(+ : sum)
    {
        float x[64];
        for (int i = 0; i < 64; i++)
            x[i] = (float)i;
        for (long r = 0; r < rounds; r++)
            for (int i = 0; i < 64; i++)
                x[i] = x[i] * 0.999f + 0.5f;
        for (int i = 0; i < 64; i++)
            sum += x[i];
    }
    return sum;
}

static double thread_s(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

/* Rounds that take `seconds` of a processor, whatever else the machine does. */
static long calibrate(MPI_Comm comm, double seconds)
{
    long rounds = 1000, most;
    for (;;) {
        MPI_Barrier(comm);
        double start_s = thread_s();
        volatile float keep = work(rounds);
        double took_s = thread_s() - start_s;
        (void)keep;
        if (took_s > 0.3) {
            rounds = (long)((double)rounds * seconds / took_s);
            break;
        }
        rounds *= 2;
    }
    MPI_Allreduce(&rounds, &most, 1, MPI_LONG, MPI_MAX, comm);
    return most;
}

static void library_ready(bench *b, size_t n_ready)
{
    int done;
    while (b->n_started < b->n && (n_ready == b->n || n_ready - b->n_started >= b->bucket)) {
        size_t left = b->n - b->n_started, n = left < b->bucket ? left : b->bucket;
        MPI_Iallreduce(MPI_IN_PLACE, b->values + b->n_started, (int)n, MPI_FLOAT, MPI_SUM, b->comm, &b->request[b->n_requests++]);
        b->n_started += n;
    }
    MPI_Testall(b->n_requests, b->request, &done, MPI_STATUSES_IGNORE);
}

/* @return seconds waited */
static double step(bench *b)
{
    bool library = strcmp(b->mode, "library") == 0, ours = strcmp(b->mode, "beside") == 0 || strcmp(b->mode, "inline") == 0;
    double exposed_s = 0, start_s;
    volatile float keep;
    b->n_started = 0;
    b->n_requests = 0;
    if (!library)
        ac_reducer_begin(b->reducer);
    for (int part = 0; part < N_PARTS; part++) {
        size_t first = b->n * (size_t)part / N_PARTS, ready = b->n * (size_t)(part + 1) / N_PARTS;
        keep = work(b->rounds);
        for (size_t i = first; i < ready; i++)
            b->values[i] = keep + (float)i;
        if (library)
            library_ready(b, ready);
        else if (ours && ac_reducer_ready(b->reducer, ready) != AC_OK)
            MPI_Abort(b->comm, 1);
    }
    start_s = ac_now_s();
    if (library)
        MPI_Waitall(b->n_requests, b->request, MPI_STATUSES_IGNORE);
    else if (strcmp(b->mode, "alone") != 0 && ac_reducer_finish(b->reducer, NULL) != AC_OK)
        MPI_Abort(b->comm, 1);
    exposed_s = ac_now_s() - start_s;
    return exposed_s;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double processor_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
    static bench b;
    int level, rank, n_steps = argc > 4 ? atoi(argv[4]) : 10;
    double took_s[MOST_STEPS], exposed_s[MOST_STEPS], seconds = argc > 3 ? atof(argv[3]) : 0.5;
    size_t bucket_bytes = argc > 5 ? (size_t)atol(argv[5]) << 10 : 0;
    b.mode = argc > 1 ? argv[1] : "beside";
    b.n = argc > 2 ? (size_t)atol(argv[2]) : 25557032;
    n_steps = n_steps > MOST_STEPS ? MOST_STEPS : n_steps;
    MPI_Init_thread(&argc, &argv, strcmp(b.mode, "inline") == 0 ? MPI_THREAD_FUNNELED : MPI_THREAD_SERIALIZED, &level);
    if (ac_comm_begin(MPI_COMM_WORLD, &b.comm) != AC_OK || ac_malloc(b.n, sizeof *b.values, &b.values) != AC_OK ||
        ac_reducer_create(b.comm, b.values, b.n, bucket_bytes, &b.reducer) != AC_OK) {
        fprintf(stderr, "%s\n", ac_error_text());
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    MPI_Comm_rank(b.comm, &rank);
    b.bucket = (bucket_bytes ? bucket_bytes : (size_t)25 << 20) / sizeof(float);
    b.rounds = calibrate(b.comm, seconds / N_PARTS);
    step(&b);
    MPI_Barrier(b.comm);
    double used_s = processor_s();
    for (int s = 0; s < n_steps; s++) {
        double start_s = ac_now_s();
        exposed_s[s] = step(&b);
        took_s[s] = ac_now_s() - start_s;
    }
    used_s = processor_s() - used_s;
    ac_reducer_stats stats;
    ac_reducer_get_stats(b.reducer, &stats);
    qsort(took_s, (size_t)n_steps, sizeof *took_s, by_size);
    qsort(exposed_s, (size_t)n_steps, sizeof *exposed_s, by_size);
    if (rank == 0)
        printf("%-8s step %6.1f ms, exposed %6.1f ms (medians of %d), processor time of rank 0 %6.1f ms a step\n", b.mode, 1e3 * took_s[n_steps / 2],
               1e3 * exposed_s[n_steps / 2], n_steps, 1e3 * used_s / n_steps);
    ac_reducer_destroy(b.reducer);
    ac_free(b.values);
    MPI_Comm_free(&b.comm);
    MPI_Finalize();
    return 0;
}
