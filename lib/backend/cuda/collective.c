/* Sums over ranks: gradients on their way to host memory and back, and NCCL. NCCL is loaded when several GPUs are to be used, so that neither
 * the build nor a machine with one GPU needs it. Who sums what, and when, is lib/comm's to say. */
#include "anyclass/alloc.h"
#include "backend/cuda/cuda.h"
#include "backend/cuda/nccl.h"
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct cuda_group {
    nccl_functions call;
    ncclComm_t comm;    /* NULL: not joined, or ended */
    bool ended;
    ncclComm_t ending;  /* a thread ends it */
    bool threaded;
    pthread_t thread;
    int index;          /* of the GPU */
};

/* ---- through host memory ---- */

/* The second stream goes on behind everything on the first; while that one is recorded, as part of the recording. */
static ac_status fork_side(cuda_device *device)
{
    ac_status status = AC_OK;
    AC_TRY(cuda_check(cudaEventRecord(device->fork, device->stream), "event"));
    AC_TRY(cuda_check(cudaStreamWaitEvent(device->side, device->fork, 0), "order of streams"));
    device->forked = true;
out:
    return status;
}

ac_status cuda_stage_out(ac_device *base, float *host, const float *from, size_t n, void (*arrived)(void *context), void *context)
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    AC_TRY(fork_side(device));
    AC_TRY(cuda_check(cudaMemcpyAsync(host, from, n * sizeof *from, cudaMemcpyDeviceToHost, device->side), "copy of gradients from the GPU"));
    AC_TRY(cuda_check(cudaLaunchHostFunc(device->side, arrived, context), "call behind a copy"));
out:
    return status;
}

/* On a stream of its own: on the second one it would wait for gradients that backward has still to make. */
ac_status cuda_stage_in(ac_device *base, float *to, const float *host, size_t n)
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    AC_TRY(cuda_check(cudaSetDevice(device->index), "choice of the GPU")); /* each thread has its own */
    AC_TRY(cuda_check(cudaMemcpyAsync(to, host, n * sizeof *to, cudaMemcpyHostToDevice, device->back), "copy of sums to the GPU"));
out:
    return status;
}

static ac_status join_one(cuda_device *device, cudaStream_t stream, cudaEvent_t event)
{
    ac_status status = AC_OK;
    AC_TRY(cuda_check(cudaEventRecord(event, stream), "event"));
    AC_TRY(cuda_check(cudaStreamWaitEvent(device->stream, event, 0), "order of streams"));
out:
    return status;
}

/* A recording may wait for what is recorded alone. */
ac_status cuda_stage_join(ac_device *base)
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    if (!device->recording)
        AC_TRY(join_one(device, device->back, device->back_join));
    if (!device->recording || device->forked)
        AC_TRY(join_one(device, device->side, device->join));
out:
    return status;
}

/* ---- NCCL ---- */

static ac_status load(cuda_group *group)
{
    struct {
        const char *name;
        void *function; /* as an address of a pointer to it */
    } wanted[] = {
        {"ncclGetVersion", &group->call.get_version},     {"ncclGetErrorString", &group->call.error_string},
        {"ncclGetUniqueId", &group->call.get_unique_id},  {"ncclCommInitRank", &group->call.init_rank},
        {"ncclAllReduce", &group->call.all_reduce},       {"ncclCommGetAsyncError", &group->call.get_async_error},
        {"ncclCommDestroy", &group->call.destroy},        {"ncclCommAbort", &group->call.abort},
    };
    void *library = dlopen(NCCL_FILE, RTLD_NOW | RTLD_LOCAL); /* stays loaded, as long as the process lives */
    if (!library)
        return ac_error(AC_ERR_UNSUPPORTED, "NCCL cannot be loaded: %s", dlerror());
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(library, wanted[i].name);
        if (!found)
            return ac_error(AC_ERR_UNSUPPORTED, "%s has no function %s", NCCL_FILE ? NCCL_FILE : "this program", wanted[i].name);
        memcpy(wanted[i].function, &found, sizeof found);
    }
    return AC_OK;
}

static ac_status open_group(cuda_device *device)
{
    ac_status status = AC_OK;
    cuda_group *group = NULL;
    if (device->group)
        return AC_OK;
    AC_TRY(ac_calloc(1, sizeof *group, &group));
    AC_TRY(load(group));
    device->group = group;
    return AC_OK;
out:
    ac_free(group);
    return status;
}

static ac_status check(const cuda_group *group, ncclResult_t result, const char *what)
{
    if (result == ncclSuccess)
        return AC_OK;
    return ac_error(AC_ERR_SYNC, "NCCL: %s: %s%s", what, group->call.error_string(result),
                    result == ncclRemoteError ? " (another rank is gone)" : result == ncclSystemError ? " (NCCL_DEBUG=INFO says more)" : "");
}

ac_status cuda_group_library(ac_device *base, char *out, size_t capacity)
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    int version;
    AC_TRY(open_group(device));
    AC_TRY(check(device->group, device->group->call.get_version(&version), "version"));
    /* since 2.9 its number has two more digits, and sums can be recorded */
    if (version < 20900)
        return ac_error(AC_ERR_UNSUPPORTED, "NCCL is of version code %d, needed is 2.9 or above", version);
    snprintf(out, capacity, "NCCL %d.%d.%d", version / 10000, version / 100 % 100, version % 100);
out:
    return status;
}

ac_status cuda_group_id(ac_device *base, unsigned char id[AC_GROUP_ID_BYTES])
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    ncclUniqueId unique;
    _Static_assert(sizeof unique == AC_GROUP_ID_BYTES, "NCCL's name of a group");
    AC_TRY(open_group(device));
    AC_TRY(check(device->group, device->group->call.get_unique_id(&unique), "name of a new group"));
    memcpy(id, &unique, sizeof unique);
out:
    return status;
}

ac_status cuda_group_join(ac_device *base, const unsigned char id[AC_GROUP_ID_BYTES], int rank, int size)
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    ncclUniqueId unique;
    memcpy(&unique, id, sizeof unique);
    AC_TRY(open_group(device));
    if (device->group->comm || device->group->ended)
        return ac_error(AC_ERR_RANGE, "this GPU is, or was, in a group");
    AC_TRY(check(device->group, device->group->call.init_rank(&device->group->comm, size, unique, rank), "joining the other ranks' GPUs"));
out:
    return status;
}

static ac_status sum(cuda_device *device, void *values, size_t n, ncclDataType_t type)
{
    ac_status status = AC_OK;
    cuda_group *group = device->group;
    if (!group || !group->comm)
        return ac_error(AC_ERR_SYNC, "the ranks' GPUs sum no more: one rank could not go on");
    AC_TRY(fork_side(device));
    AC_TRY(check(group, group->call.all_reduce(values, values, n, type, ncclSum, group->comm, device->side), "sum over ranks"));
out:
    return status;
}

ac_status cuda_group_sum(ac_device *device, float *values, size_t n)
{
    return sum(cuda_of(device), values, n, ncclFloat32);
}

ac_status cuda_group_sum_double(ac_device *device, double *values, size_t n)
{
    return sum(cuda_of(device), values, n, ncclFloat64);
}

static void *end_group(void *context)
{
    cuda_group *group = context;
    if (cudaSetDevice(group->index) == cudaSuccess)
        (void)group->call.abort(group->ending);
    return NULL;
}

/* By a thread: the call ends what is under way at once, but comes back when no recording holds a sum any more, and those are still to be released. */
void cuda_group_abort(ac_device *base)
{
    cuda_group *group = cuda_of(base)->group;
    sigset_t all, before;
    if (!group || !group->comm)
        return;
    group->ending = group->comm;
    group->index = cuda_of(base)->index;
    group->comm = NULL;
    group->ended = true;
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    group->threaded = pthread_create(&group->thread, NULL, end_group, group) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!group->threaded)
        (void)group->call.abort(group->ending);
}

ac_status cuda_group_check(cuda_device *device)
{
    ac_status status = AC_OK;
    cuda_group *group = device->group;
    ncclResult_t result = ncclSuccess;
    if (!group || !group->comm)
        return AC_OK;
    AC_TRY(check(group, group->call.get_async_error(group->comm, &result), "state of the ranks' GPUs"));
    AC_TRY(check(group, result == ncclInProgress ? ncclSuccess : result, "sum over ranks"));
out:
    if (status != AC_OK)
        cuda_group_abort(&device->base);
    return status;
}

void cuda_group_leave(ac_device *base)
{
    cuda_device *device = cuda_of(base);
    cuda_group *group = device->group;
    if (!group)
        return;
    if (group->comm && cuda_wait_all(device, "the last sums over ranks") != AC_OK)
        cuda_group_abort(base);
    if (group->comm)
        (void)group->call.destroy(group->comm);
    if (group->threaded)
        pthread_join(group->thread, NULL);
    ac_free(group);
    device->group = NULL;
}
