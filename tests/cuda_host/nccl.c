/* NCCL as lib/backend/cuda/collective.c sees it, for processes on one machine: sums in the order of ranks, through shared memory. It looks at what
 * the real one leaves to chance: that ranks make the same calls in the same order, and it waits for a rank for a while only. */
#include "backend/cuda/nccl.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MOST_RANKS = 16, SLOT_BYTES = 256 << 10, PAUSE_US = 50 };
#define PATIENCE_S 30.0

typedef struct call { /* what ranks must agree in */
    uint64_t number, n;
    int type;
} call;

typedef struct shared {
    atomic_int n_arrived, n_rounds, gone;
    call call[MOST_RANKS];
    cudaUUID_t device[MOST_RANKS];
    _Alignas(64) unsigned char slot[MOST_RANKS][SLOT_BYTES];
} shared;

struct ncclComm {
    shared *shared;
    int rank, size;
    uint64_t n_done;
    _Atomic(int) failure; /* ncclResult_t */
    atomic_int n_held;    /* sums in recordings */
};

typedef struct work {
    ncclComm_t comm;
    void *values;
    call call;
} work;

ncclResult_t ncclGetVersion(int *version);
const char *ncclGetErrorString(ncclResult_t result);
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRank(ncclComm_t *comm, int n_ranks, ncclUniqueId id, int rank);
ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *result);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

ncclResult_t ncclGetVersion(int *version)
{
    const char *said = getenv("ANYCLASS_EMULATE_NCCL");
    *version = said ? atoi(said) : 22703;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const text[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error", "invalid argument", "invalid usage",
                                       "remote process exited or there was a network error", "in progress"};
    return (unsigned)result < sizeof text / sizeof *text ? text[result] : "unknown";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "/anyclass-%ld-%.0f", (long)getpid(), 1e9 * now_s());
    int file = shm_open(id->internal, O_RDWR | O_CREAT | O_EXCL, 0600);
    bool good = file >= 0 && ftruncate(file, sizeof(shared)) == 0;
    if (file >= 0)
        close(file);
    return good ? ncclSuccess : ncclSystemError;
}

/* @return false when a rank is gone */
static bool meet(ncclComm_t comm)
{
    shared *s = comm->shared;
    int round = atomic_load(&s->n_rounds);
    double until = now_s() + PATIENCE_S;
    if (atomic_load(&s->gone)) /* those who came before are still counted */
        return false;
    if (atomic_fetch_add(&s->n_arrived, 1) + 1 == comm->size) {
        atomic_store(&s->n_arrived, 0);
        atomic_fetch_add(&s->n_rounds, 1);
    }
    while (atomic_load(&s->n_rounds) == round) {
        if (atomic_load(&s->gone) || now_s() > until) {
            atomic_store(&s->gone, 1);
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000 * PAUSE_US}, NULL);
    }
    return true;
}

static ncclResult_t check_devices(const ncclComm_t comm)
{
    for (int a = 0; a < comm->size; a++)
        for (int b = 0; b < a; b++)
            if (memcmp(&comm->shared->device[a], &comm->shared->device[b], sizeof(cudaUUID_t)) == 0)
                return ncclInvalidUsage;
    return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *out, int n_ranks, ncclUniqueId id, int rank)
{
    int file = shm_open(id.internal, O_RDWR, 0), device;
    struct cudaDeviceProp properties;
    ncclComm_t comm = calloc(1, sizeof *comm);
    *out = NULL;
    if (file < 0 || !comm || n_ranks < 1 || n_ranks > MOST_RANKS || rank < 0 || rank >= n_ranks)
        return ncclInvalidArgument;
    comm->shared = mmap(NULL, sizeof *comm->shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (comm->shared == MAP_FAILED || cudaGetDevice(&device) != cudaSuccess || cudaGetDeviceProperties(&properties, device) != cudaSuccess)
        return ncclSystemError;
    comm->rank = rank;
    comm->size = n_ranks;
    comm->shared->device[rank] = properties.uuid;
    bool met = meet(comm);
    if (rank == 0)
        shm_unlink(id.internal);
    ncclResult_t result = met ? check_devices(comm) : ncclRemoteError;
    if (result == ncclSuccess)
        *out = comm;
    return result;
}

static void fail(ncclComm_t comm, ncclResult_t result, const char *text)
{
    atomic_store(&comm->failure, (int)result);
    if (result != ncclRemoteError) /* then the sum just ends, as the real one's kernel does */
        emulated_fail(cudaErrorLaunchFailure, text);
}

static void add(int type, void *to, const void *from, size_t n, bool first)
{
    for (size_t i = 0; i < n; i++)
        if (type == ncclFloat32)
            ((float *)to)[i] = (first ? 0.0f : ((float *)to)[i]) + ((const float *)from)[i];
        else
            ((double *)to)[i] = (first ? 0.0 : ((double *)to)[i]) + ((const double *)from)[i];
}

static void sum(void *context)
{
    const work *w = context;
    ncclComm_t comm = w->comm;
    shared *s = comm->shared;
    size_t bytes = w->call.type == ncclFloat32 ? sizeof(float) : sizeof(double), most = SLOT_BYTES / bytes;
    call mine = w->call;
    const char *wrong = emulated_check_device(w->values, w->call.n * bytes);
    mine.number = comm->n_done++; /* in the order of execution, which replays repeat */
    if (wrong)
        fail(comm, ncclInvalidArgument, wrong);
    for (size_t first = 0; first < w->call.n && !wrong; first += most) {
        size_t n = w->call.n - first < most ? w->call.n - first : most;
        unsigned char *values = (unsigned char *)w->values + first * bytes;
        s->call[comm->rank] = mine;
        memcpy(s->slot[comm->rank], values, n * bytes);
        if (!meet(comm)) {
            fail(comm, ncclRemoteError, NULL);
            return;
        }
        for (int r = 0; r < comm->size; r++)
            if (s->call[r].number != mine.number || s->call[r].n != mine.n || s->call[r].type != mine.type) {
                fail(comm, ncclInvalidUsage, "NCCL's double: the ranks sum different things");
                return;
            }
        for (int r = 0; r < comm->size; r++)
            add(mine.type, values, s->slot[r], n, r == 0);
        if (!meet(comm)) {
            fail(comm, ncclRemoteError, NULL);
            return;
        }
    }
}

static void let_go(void *comm)
{
    atomic_fetch_sub(&((ncclComm_t)comm)->n_held, 1);
}

/* The real one waits for ever for recordings that hold sums. */
static void wait_for_recordings(ncclComm_t comm)
{
    double until = now_s() + PATIENCE_S;
    while (atomic_load(&comm->n_held) > 0) {
        if (now_s() > until) {
            fprintf(stderr, "NCCL's double: a group ends and recordings hold sums\n");
            abort();
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000 * PAUSE_US}, NULL);
    }
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    if (from != to || op != ncclSum || (type != ncclFloat32 && type != ncclFloat64))
        return ncclInvalidArgument;
    const work w = {.comm = comm, .values = to, .call = {.n = n, .type = type}};
    enum cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
    (void)cudaStreamIsCapturing(stream, &capturing);
    bool held = capturing == cudaStreamCaptureStatusActive;
    if (held)
        atomic_fetch_add(&comm->n_held, 1);
    emulated_enqueue_held(stream, type == ncclFloat32 ? "ncclAllReduce float" : "ncclAllReduce double", sum, &w, sizeof w, held ? let_go : NULL, comm);
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *result)
{
    *result = (ncclResult_t)atomic_load(&comm->failure);
    return ncclSuccess;
}

/* Work that is still to be done holds on to it: it is not freed. */
ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    wait_for_recordings(comm);
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    atomic_store(&comm->shared->gone, 1);
    wait_for_recordings(comm);
    return ncclSuccess;
}
