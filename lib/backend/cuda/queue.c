/* The order of work on the device: results on their way to the host, recordings (CUDA graphs), and the inbox, through which
 * batches reach the device while the step before runs. */
#include "anyclass/alloc.h"
#include "backend/cuda/cuda.h"
#include <string.h>
#include <time.h>

enum { LOOK_US = 20, N_PLACES = 3, PLACE_BYTES = 1 << 20, PIECE_BYTES = 1 << 20, MOST_BYTES = 128 << 20 /* of an upload at once: places keep the room they once had */ };

struct ac_recording {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
};

/* Places are filled in turn: host memory, the same on the device, and from there a copy within the device that takes its turn among the work.
 * A place is filled anew when its copies within the device are done. */
typedef struct place {
    unsigned char *host, *device;
    size_t capacity, used;
    cudaEvent_t copied, taken; /* the last copy from host to device; the last one within the device */
} place;

struct cuda_inbox {
    cudaStream_t stream;
    place place[N_PLACES];
    int current;
};

ac_status cuda_queue_open(cuda_device *device)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(1, sizeof *device->inbox, &device->inbox));
    AC_TRY(cuda_check(cudaStreamCreateWithFlags(&device->inbox->stream, cudaStreamNonBlocking), "stream of copies"));
    for (int k = 0; k < N_PLACES; k++) {
        AC_TRY(cuda_check(cudaEventCreateWithFlags(&device->inbox->place[k].copied, cudaEventDisableTiming), "event"));
        AC_TRY(cuda_check(cudaEventCreateWithFlags(&device->inbox->place[k].taken, cudaEventDisableTiming), "event"));
    }
    AC_TRY(cuda_check(cudaStreamCreateWithFlags(&device->side, cudaStreamNonBlocking), "second stream"));
    AC_TRY(cuda_check(cudaStreamCreateWithFlags(&device->back, cudaStreamNonBlocking), "third stream"));
    AC_TRY(cuda_check(cudaEventCreateWithFlags(&device->fork, cudaEventDisableTiming), "event"));
    AC_TRY(cuda_check(cudaEventCreateWithFlags(&device->back_join, cudaEventDisableTiming), "event"));
    AC_TRY(cuda_check(cudaEventCreateWithFlags(&device->join, cudaEventDisableTiming), "event"));
    for (int k = 0; k < AC_QUEUE_MARKS; k++)
        AC_TRY(cuda_check(cudaEventCreateWithFlags(&device->mark[k], cudaEventDisableTiming), "event"));
out:
    return status;
}

static void destroy_event(cudaEvent_t event)
{
    if (event)
        cudaEventDestroy(event);
}

static void destroy_stream(cudaStream_t stream)
{
    if (stream) {
        cudaStreamSynchronize(stream);
        cudaStreamDestroy(stream);
    }
}

/* NULL is not cudaFreeHost()'s to free. */
static void free_host(void *block)
{
    if (block)
        cudaFreeHost(block);
}

static void release_place(place *p)
{
    free_host(p->host);
    cudaFree(p->device);
    p->host = p->device = NULL;
    p->capacity = 0;
}

void cuda_queue_close(cuda_device *device)
{
    cuda_inbox *inbox = device->inbox;
    if (!inbox)
        return;
    destroy_stream(inbox->stream);
    destroy_stream(device->side);
    destroy_stream(device->back);
    for (int k = 0; k < N_PLACES; k++) {
        destroy_event(inbox->place[k].copied);
        destroy_event(inbox->place[k].taken);
        release_place(&inbox->place[k]);
    }
    destroy_event(device->fork);
    destroy_event(device->join);
    destroy_event(device->back_join);
    for (int k = 0; k < AC_QUEUE_MARKS; k++)
        destroy_event(device->mark[k]);
    ac_free(inbox);
    device->inbox = NULL;
}

/* ---- from the host ---- */

/* Make room for n bytes in a place whose copies are all done. */
static ac_status grow(place *p, size_t n_bytes)
{
    ac_status status = AC_OK;
    size_t capacity = n_bytes < PLACE_BYTES ? PLACE_BYTES : cuda_aligned(n_bytes + n_bytes / 8 + PLACE_BYTES / 4);
    release_place(p);
    AC_TRY(cuda_check(cudaMallocHost((void **)&p->host, capacity), "pinned memory"));
    AC_TRY(cuda_check(cudaMalloc((void **)&p->device, capacity), "memory for what comes from the host"));
    p->capacity = capacity;
out:
    return status;
}

static ac_status room(cuda_device *device, size_t n_bytes, place **out)
{
    ac_status status = AC_OK;
    cuda_inbox *inbox = device->inbox;
    place *p = &inbox->place[inbox->current];
    if (p->used + n_bytes > p->capacity) {
        inbox->current = (inbox->current + 1) % N_PLACES;
        p = &inbox->place[inbox->current];
        AC_TRY(cuda_wait(device, p->taken));
        if (n_bytes > p->capacity)
            AC_TRY(grow(p, n_bytes));
        p->used = 0;
    }
    *out = p;
out:
    return status;
}

/* A batch is large: several threads bring it to memory that the device reads. */
static void fill(unsigned char *to, const unsigned char *from, size_t n_bytes)
{
    int64_t n_pieces = (int64_t)((n_bytes + PIECE_BYTES - 1) / PIECE_BYTES);
#pragma omp parallel for num_threads(4) schedule(static) if (n_pieces > 4)
    for (int64_t k = 0; k < n_pieces; k++) {
        size_t at = (size_t)k * PIECE_BYTES, n = n_bytes - at < PIECE_BYTES ? n_bytes - at : PIECE_BYTES;
        memcpy(to + at, from + at, n);
    }
}

static ac_status upload_part(cuda_device *device, void *to, const void *from_host, size_t n_bytes)
{
    ac_status status = AC_OK;
    place *p;
    AC_TRY(room(device, n_bytes, &p));
    unsigned char *host = p->host + p->used, *there = p->device + p->used;
    p->used += cuda_aligned(n_bytes);
    fill(host, from_host, n_bytes);
    AC_TRY(cuda_check(cudaMemcpyAsync(there, host, n_bytes, cudaMemcpyHostToDevice, device->inbox->stream), "copy to the GPU"));
    AC_TRY(cuda_check(cudaEventRecord(p->copied, device->inbox->stream), "event"));
    AC_TRY(cuda_check(cudaStreamWaitEvent(device->stream, p->copied, 0), "order of copies"));
    AC_TRY(cuda_check(cudaMemcpyAsync(to, there, n_bytes, cudaMemcpyDeviceToDevice, device->stream), "copy within the GPU"));
    AC_TRY(cuda_check(cudaEventRecord(p->taken, device->stream), "event"));
out:
    return status;
}

ac_status cuda_upload(ac_device *base, void *to, const void *from_host, size_t n_bytes)
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    if (device->recording)
        return ac_error(AC_ERR_UNSUPPORTED, "CUDA: a copy from the host cannot be recorded");
    for (size_t at = 0; at < n_bytes; at += MOST_BYTES)
        AC_TRY(upload_part(device, (unsigned char *)to + at, (const unsigned char *)from_host + at, n_bytes - at < MOST_BYTES ? n_bytes - at : MOST_BYTES));
out:
    return status;
}

/* ---- to the host ---- */

static ac_status allocate_host(ac_device *device, size_t n_bytes, void **out)
{
    ac_status status = AC_OK;
    (void)device;
    *out = NULL;
    AC_TRY(cuda_check(cudaMallocHost(out, n_bytes > 0 ? n_bytes : 1), "pinned memory"));
    memset(*out, 0, n_bytes);
out:
    return status;
}

static void release_host(ac_device *device, void *block)
{
    (void)device;
    free_host(block);
}

static ac_status fetch(ac_device *base, void *host, const void *from, size_t n_bytes)
{
    return cuda_check(cudaMemcpyAsync(host, from, n_bytes, cudaMemcpyDeviceToHost, cuda_of(base)->stream), "copy from the GPU");
}

static ac_status mark(ac_device *base, int k)
{
    return cuda_check(cudaEventRecord(cuda_of(base)->mark[k], cuda_of(base)->stream), "event");
}

static ac_status wait(ac_device *base, int k)
{
    return cuda_wait(cuda_of(base), cuda_of(base)->mark[k]);
}

/* With a group it is looked at between two looks at the device, and behind the last: a kernel that sums waits for ever for a rank that is gone, and leaves
 * anything when it is ended. */
static ac_status look_again(cuda_device *device)
{
    cudaGetLastError(); /* "not ready" is not the next launch's */
    nanosleep(&(struct timespec){.tv_nsec = 1000 * LOOK_US}, NULL);
    return cuda_group_check(device);
}

ac_status cuda_wait(cuda_device *device, cudaEvent_t event)
{
    ac_status status = AC_OK;
    cudaError_t error = device->group ? cudaErrorNotReady : cudaEventSynchronize(event);
    while (device->group && (error = cudaEventQuery(event)) == cudaErrorNotReady)
        AC_TRY(look_again(device));
    AC_TRY(cuda_group_check(device));
    AC_TRY(cuda_check(error, "waiting for the GPU"));
out:
    return status;
}

ac_status cuda_wait_all(cuda_device *device, const char *what)
{
    ac_status status = AC_OK;
    cudaError_t error = device->group ? cudaErrorNotReady : cudaStreamSynchronize(device->stream);
    while (device->group && (error = cudaStreamQuery(device->stream)) == cudaErrorNotReady)
        AC_TRY(look_again(device));
    AC_TRY(cuda_group_check(device));
    AC_TRY(cuda_check(error, what));
out:
    return status;
}

static void identify(const ac_device *base, char out[AC_DEVICE_ID_BYTES])
{
    memcpy(out, ((const cuda_device *)base)->identity, AC_DEVICE_ID_BYTES);
}

/* ---- recordings ---- */

static ac_status record_begin(ac_device *base)
{
    cuda_device *device = cuda_of(base);
    cudaError_t error = cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal);
    ac_status status = cuda_check(error, "recording");
    if (error != cudaSuccess)
        cudaGetLastError(); /* it is ours, not the next launch's */
    device->recording = status == AC_OK;
    device->forked = false;
    return status;
}

static void release_recording(ac_device *device, ac_recording *recording)
{
    (void)device;
    if (!recording)
        return;
    if (recording->exec)
        cudaGraphExecDestroy(recording->exec);
    if (recording->graph)
        cudaGraphDestroy(recording->graph);
    ac_free(recording);
}

static ac_status record_end(ac_device *base, ac_recording **out)
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    ac_recording *recording = NULL;
    cudaGraph_t graph = NULL;
    *out = NULL;
    device->recording = false;
    cudaError_t error = cudaStreamEndCapture(device->stream, &graph);
    AC_TRY(cuda_check(error, "recording"));
    AC_TRY(ac_calloc(1, sizeof *recording, &recording));
    recording->graph = graph;
    graph = NULL;
    AC_TRY(cuda_check(cudaGraphInstantiate(&recording->exec, recording->graph, 0), "recording"));
    *out = recording;
    return AC_OK;
out:
    cudaGetLastError(); /* it is ours, not the next launch's */
    if (graph)
        cudaGraphDestroy(graph);
    release_recording(base, recording);
    return status;
}

static ac_status replay(ac_device *base, ac_recording *recording)
{
    return cuda_check(cudaGraphLaunch(recording->exec, cuda_of(base)->stream), "replay of a step");
}

const ac_queue cuda_queue = {
    .allocate_host = allocate_host,
    .release_host = release_host,
    .fetch = fetch,
    .mark = mark,
    .wait = wait,
    .record_begin = record_begin,
    .record_end = record_end,
    .replay = replay,
    .release_recording = release_recording,
    .identify = identify,
    .tick = cuda_tick,
    .stage_out = cuda_stage_out,
    .stage_in = cuda_stage_in,
    .stage_join = cuda_stage_join,
    .group_library = cuda_group_library,
    .group_id = cuda_group_id,
    .group_join = cuda_group_join,
    .group_sum = cuda_group_sum,
    .group_sum_double = cuda_group_sum_double,
    .group_abort = cuda_group_abort,
    .group_leave = cuda_group_leave,
};
