/* The emulated CUDA runtime itself: each kind of fault that it is there to find is planted once and must be seen; what is right must be left alone, in every
 * order of streams and threads. */
#include "tests/cuda_host/faulty.h"
#include "tests/tap.h"
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 1000, BYTES = N * (int)sizeof(int) };

static const char *const orders[] = {"late", "early", "1", "2", "3", "4"};
enum { N_ORDERS = sizeof orders / sizeof *orders };

typedef struct bench { /* two streams, some memory */
    cudaStream_t stream, side;
    cudaEvent_t event[3];
    int *device[3];  /* [N + 24] */
    int *pinned[2];  /* [N] */
    int host[N];
} bench;

static bool open_bench(bench *b)
{
    bool good = true;
    memset(b, 0, sizeof *b);
    good = good && cudaStreamCreateWithFlags(&b->stream, cudaStreamNonBlocking) == cudaSuccess;
    good = good && cudaStreamCreateWithFlags(&b->side, cudaStreamNonBlocking) == cudaSuccess;
    for (int k = 0; k < 3; k++) {
        good = good && cudaEventCreateWithFlags(&b->event[k], cudaEventDisableTiming) == cudaSuccess;
        good = good && cudaMalloc((void **)&b->device[k], BYTES) == cudaSuccess;
    }
    for (int k = 0; k < 2; k++)
        good = good && cudaMallocHost((void **)&b->pinned[k], BYTES) == cudaSuccess;
    return TAP_OK(good, "streams, events, memory");
}

static void close_bench(bench *b)
{
    bool good = cudaStreamDestroy(b->stream) == cudaSuccess && cudaStreamDestroy(b->side) == cudaSuccess;
    for (int k = 0; k < 3; k++)
        good = cudaEventDestroy(b->event[k]) == cudaSuccess && cudaFree(b->device[k]) == cudaSuccess && good;
    for (int k = 0; k < 2; k++)
        good = cudaFreeHost(b->pinned[k]) == cudaSuccess && good;
    TAP_OK(good && emulated_n_pending() == 0, "all is released");
}

/* A failure of queued work that names `kernel` and says `what`; the runtime works again behind it. */
static bool failed(const char *kernel, const char *what)
{
    const char *text = emulated_take_failure();
    if (text)
        printf("# %s\n", text);
    cudaGetLastError();
    return text && strstr(text, kernel) && strstr(text, what);
}

static bool all(const int *values, int n, int wanted)
{
    for (int i = 0; i < n; i++)
        if (values[i] != wanted)
            return false;
    return true;
}

/* Device memory as the host sees it when the stream is done. */
static bool holds(bench *b, const int *device, int wanted)
{
    return cudaMemcpyAsync(b->host, device, BYTES, cudaMemcpyDeviceToHost, b->stream) == cudaSuccess && cudaStreamSynchronize(b->stream) == cudaSuccess && all(b->host, N, wanted);
}

/* ---- memory ---- */

#ifdef __SANITIZE_ADDRESS__
static void write_past(bench *b)
{
    (void)!faulty_write_past(b->stream, b->device[0], N);
}

static void write_in_front(bench *b)
{
    (void)!faulty_write_in_front(b->stream, b->device[0], 24);
}

/* AddressSanitizer ends the program at the access: in a child, which reports `word`. */
static bool ends_with(bench *b, void (*call)(bench *b), const char *word)
{
    char report[4096];
    int ends[2], status = 0;
    size_t n = 0;
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        call(b);
        cudaStreamSynchronize(b->stream);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t got = 1; got > 0;) { /* all of it is read, so that the child can end */
        char rest[4096];
        got = read(ends[0], rest, sizeof rest);
        for (ssize_t i = 0; i < got && n < sizeof report - 1; i++)
            report[n++] = rest[i];
    }
    report[n] = 0;
    close(ends[0]);
    return child > 0 && waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0) && strstr(report, word);
}
#endif

static void check_memory(bench *b)
{
    TAP_OK(holds(b, b->device[0], -1), "new memory is filled");
    TAP_OK(emulated_check_device(b->device[0], BYTES) == NULL && emulated_check_device(b->device[0] + 1, BYTES) != NULL && emulated_check_device(b->host, 4) != NULL &&
               emulated_check_device(b->pinned[0], 4) != NULL, "a span is in a device block or not");
#ifdef __SANITIZE_ADDRESS__
    TAP_OK(ends_with(b, write_past, "use-after-poison"), "a write past the end of a block is reported by AddressSanitizer");
    TAP_OK(ends_with(b, write_in_front, "use-after-poison"), "a write in front of a block, too");
#else
    TAP_OK(faulty_write_past(b->stream, b->device[0], N) == AC_OK && cudaStreamSynchronize(b->stream) != cudaSuccess, "a write past the end is seen by who waits");
    TAP_OK(failed("fill_kernel", "past the end"), "and which kernel it was");
    TAP_OK(faulty_write_in_front(b->stream, b->device[0], 24) == AC_OK && cudaStreamSynchronize(b->stream) != cudaSuccess && failed("in_front_kernel", "in front"), "a write in front of a block");
#endif
    TAP_OK(faulty_fill(b->stream, b->host, N, 1) != AC_OK, "a kernel is not given host memory");
    TAP_OK(cudaMemcpyAsync(b->host, b->host + 1, 4, cudaMemcpyHostToDevice, b->stream) == cudaErrorInvalidValue, "nor is a copy");
    TAP_OK(cudaMemcpyAsync(b->device[0], b->device[1], 4, cudaMemcpyHostToDevice, b->stream) == cudaErrorInvalidValue, "nor device memory where the host's belongs");
    TAP_OK(cudaMemcpyAsync(b->device[0], b->device[1], BYTES + 4, cudaMemcpyDeviceToDevice, b->stream) == cudaErrorInvalidValue, "nor more than a block has");
    int *gone = NULL;
    TAP_OK(cudaMalloc((void **)&gone, BYTES) == cudaSuccess && cudaFree(gone) == cudaSuccess && faulty_fill(b->stream, gone, N, 1) != AC_OK, "nor freed memory");
    TAP_OK(cudaFree(gone) == cudaErrorInvalidValue && cudaFree(b->host) == cudaErrorInvalidValue, "memory is freed once, and only memory of the device");
    void *huge;
    TAP_OK(cudaMalloc(&huge, (size_t)1 << 40) == cudaErrorMemoryAllocation && !huge, "no more memory than there is");
    cudaGetLastError();
}

/* ---- kernels ---- */

static bool neighbours_right(const int *values, int n_blocks, int step)
{
    for (int i = 0; i < n_blocks * FAULTY_BLOCK; i++)
        if (values[i] != step + (i % FAULTY_BLOCK + FAULTY_BLOCK + step) % FAULTY_BLOCK)
            return false;
    return true;
}

static bool run_neighbours(bench *b, int n_blocks, int step, bool synchronized)
{
    return faulty_neighbour(b->stream, b->device[0], n_blocks, step, synchronized) == AC_OK &&
           cudaMemcpyAsync(b->host, b->device[0], BYTES, cudaMemcpyDeviceToHost, b->stream) == cudaSuccess && neighbours_right(b->host, n_blocks, step);
}

static void check_kernels(bench *b)
{
    static const char *const threads[] = {"", "forward", "reversed", "7", "8"};
    for (size_t k = 0; k < sizeof threads / sizeof *threads; k++) {
        emulated_set_order("late", threads[k]);
        TAP_OK(run_neighbours(b, 4, 1, true) && run_neighbours(b, 4, -1, true), "order \"%s\": values of neighbours, with a barrier", threads[k]);
        if (threads[k][0] == 0 || threads[k][0] >= '0' + 7)
            TAP_OK(!run_neighbours(b, 4, 1, false) && !run_neighbours(b, 4, -1, false), "order \"%s\": a missing barrier shows, whichever neighbour is read", threads[k]);
    }
    emulated_set_order("late", "");
    int blank[2 * FAULTY_BLOCK];
    for (int k = 0; k < 2; k++)
        TAP_OK(faulty_read_shared(b->stream, b->device[0]) == AC_OK && cudaMemcpyAsync(blank, b->device[0], sizeof blank, cudaMemcpyDeviceToHost, b->stream) == cudaSuccess &&
                   all(blank, 2 * FAULTY_BLOCK, -1), "shared memory does not keep what a kernel before left");
    TAP_OK(faulty_warp_sum(b->stream, b->device[0]) == AC_OK && cudaMemcpyAsync(blank, b->device[0], sizeof blank, cudaMemcpyDeviceToHost, b->stream) == cudaSuccess &&
               all(blank, 32, 496) && all(blank + 32, 32, 496 + 1024), "sums by shuffles");
    static const char *const words[FAULTY_WAYS] = {"a part of the block", "different places", "of its warp", "different places", "wait for each other"};
    for (int way = 0; way < FAULTY_WAYS; way++)
        TAP_OK(faulty_diverge(b->stream, b->device[0], (faulty_way)way) == AC_OK && cudaStreamSynchronize(b->stream) == cudaErrorLaunchFailure && failed("diverge_kernel", words[way]),
               "a barrier that not all come to, way %d", way);
    for (int which = 0; which < 3; which++)
        TAP_OK(faulty_configuration(b->stream, b->device[0], which) != AC_OK, "a launch that no device takes, %d", which);
    cudaGetLastError();
    TAP_OK(run_neighbours(b, 2, 1, true), "and kernels run again");
}

/* ---- order of streams ---- */

/* A copy on the side, a kernel that needs it. */
static bool copy_then_add(bench *b, bool ordered)
{
    bool good = cudaMemsetAsync(b->device[0], 0, BYTES, b->stream) == cudaSuccess && cudaMemsetAsync(b->device[1], 0, BYTES, b->side) == cudaSuccess;
    for (int i = 0; i < N; i++)
        b->pinned[0][i] = 5;
    good = good && cudaStreamSynchronize(b->side) == cudaSuccess && cudaMemcpyAsync(b->device[1], b->pinned[0], BYTES, cudaMemcpyHostToDevice, b->side) == cudaSuccess;
    good = good && cudaEventRecord(b->event[0], b->side) == cudaSuccess;
    if (ordered)
        good = good && cudaStreamWaitEvent(b->stream, b->event[0], 0) == cudaSuccess;
    return good && faulty_add(b->stream, b->device[0], b->device[1], N, 2) == AC_OK && holds(b, b->device[0], 10);
}

/* The side overwrites what a kernel asked for earlier still has to read. */
static bool read_then_overwrite(bench *b, bool ordered)
{
    bool good = faulty_fill(b->stream, b->device[0], N, 0) == AC_OK && faulty_fill(b->stream, b->device[1], N, 3) == AC_OK && cudaStreamSynchronize(b->stream) == cudaSuccess;
    good = good && faulty_add(b->stream, b->device[0], b->device[1], N, 1) == AC_OK && cudaEventRecord(b->event[0], b->stream) == cudaSuccess;
    if (ordered)
        good = good && cudaStreamWaitEvent(b->side, b->event[0], 0) == cudaSuccess;
    good = good && cudaMemsetAsync(b->device[1], 0, BYTES, b->side) == cudaSuccess && cudaStreamSynchronize(b->side) == cudaSuccess;
    return good && holds(b, b->device[0], 3);
}

static bool upload_twice(bench *b, bool waits)
{
    bool good = true;
    for (int value = 1; value <= 2; value++) {
        if (value == 2 && waits)
            good = good && cudaEventSynchronize(b->event[1]) == cudaSuccess;
        for (int i = 0; i < N; i++)
            b->pinned[0][i] = value;
        good = good && cudaMemcpyAsync(b->device[value], b->pinned[0], BYTES, cudaMemcpyHostToDevice, b->stream) == cudaSuccess && cudaEventRecord(b->event[1], b->stream) == cudaSuccess;
    }
    return good && holds(b, b->device[1], 1) && holds(b, b->device[2], 2);
}

static void check_order(bench *b)
{
    for (size_t k = 0; k < N_ORDERS; k++) {
        emulated_set_order(orders[k], "");
        TAP_OK(copy_then_add(b, true) && read_then_overwrite(b, true) && upload_twice(b, true), "streams \"%s\": right orders give right results", orders[k]);
    }
    emulated_set_order("late", "");
    TAP_OK(!copy_then_add(b, false), "a kernel that does not wait for a copy on another stream shows");
    TAP_OK(!read_then_overwrite(b, false), "memory overwritten from another stream too early shows");
    TAP_OK(!upload_twice(b, false), "pinned memory used again too early shows");
    for (int i = 0; i < N; i++)
        b->host[i] = 4;
    bool good = cudaMemcpyAsync(b->device[1], b->host, BYTES, cudaMemcpyHostToDevice, b->stream) == cudaSuccess;
    memset(b->host, 0, sizeof b->host);
    TAP_OK(good && holds(b, b->device[1], 4), "pageable memory is read at the call");
    good = faulty_fill(b->stream, b->device[0], N, 6) == AC_OK && cudaMemcpyAsync(b->pinned[1], b->device[0], BYTES, cudaMemcpyDeviceToHost, b->stream) == cudaSuccess;
    TAP_OK(good && all(b->pinned[1], N, -1) && cudaEventRecord(b->event[2], b->stream) == cudaSuccess && cudaEventQuery(b->event[2]) == cudaErrorNotReady,
           "a copy to pinned memory is not done when the call returns");
    int n_asked = 0;
    while (n_asked < 100 && cudaEventQuery(b->event[2]) == cudaErrorNotReady)
        n_asked++;
    TAP_OK(n_asked < 100 && all(b->pinned[1], N, 6) && cudaStreamQuery(b->stream) == cudaSuccess, "who asks again and again sees it done, after %d times", n_asked);
    int *block;
    good = cudaMallocHost((void **)&block, BYTES) == cudaSuccess && cudaMemcpyAsync(b->device[0], block, BYTES, cudaMemcpyHostToDevice, b->stream) == cudaSuccess;
    TAP_OK(good && cudaFreeHost(block) != cudaSuccess && failed("cudaFreeHost", "needs"), "pinned memory is not freed under a copy");
    cudaStream_t brief;
    good = cudaStreamCreateWithFlags(&brief, cudaStreamNonBlocking) == cudaSuccess && faulty_fill(brief, b->device[0], N, 8) == AC_OK && cudaStreamDestroy(brief) == cudaSuccess;
    TAP_OK(good && cudaDeviceSynchronize() == cudaSuccess && holds(b, b->device[0], 8), "work of a stream that is gone is done");
    TAP_OK(faulty_fill(brief, b->device[0], N, 9) != AC_OK && cudaEventRecord(b->event[0], brief) != cudaSuccess, "and it takes no more");
    cudaGetLastError();
}

/* ---- host functions ---- */

typedef struct message {
    int *values, seen;
    volatile bool arrived;
} message;

static void arrive(void *context)
{
    message *m = context;
    m->seen = m->values[N - 1];
    __atomic_store_n(&m->arrived, true, __ATOMIC_RELEASE);
}

static void call_cuda(void *context)
{
    *(bool *)context = cudaDeviceSynchronize() != cudaSuccess;
}

static void check_host_functions(bench *b)
{
    for (size_t k = 0; k < N_ORDERS; k++) {
        emulated_set_order(orders[k], "");
        message m = {b->pinned[1], 0, false};
        bool good = faulty_fill(b->stream, b->device[0], N, 20 + (int)k) == AC_OK && cudaMemcpyAsync(b->pinned[1], b->device[0], BYTES, cudaMemcpyDeviceToHost, b->stream) == cudaSuccess &&
                    cudaLaunchHostFunc(b->stream, arrive, &m) == cudaSuccess && faulty_fill(b->stream, b->device[0], N, 0) == AC_OK &&
                    cudaMemcpyAsync(b->pinned[1], b->device[0], BYTES, cudaMemcpyDeviceToHost, b->stream) == cudaSuccess;
        if (k % 2)
            good = good && cudaStreamSynchronize(b->stream) == cudaSuccess;
        else
            while (!__atomic_load_n(&m.arrived, __ATOMIC_ACQUIRE)) { /* no call of CUDA */
            }
        TAP_OK(good && m.arrived && m.seen == 20 + (int)k, "streams \"%s\": a host function comes between copies, and comes by itself", orders[k]);
        TAP_OK(cudaStreamSynchronize(b->stream) == cudaSuccess && all(b->pinned[1], N, 0), "and what is behind it goes on");
    }
    bool refused = false;
    emulated_set_order("late", "");
    TAP_OK(cudaLaunchHostFunc(b->stream, call_cuda, &refused) == cudaSuccess && cudaStreamSynchronize(b->stream) == cudaErrorNotPermitted && refused && failed("host function", "CUDA"),
           "a host function may not call CUDA");
}

/* ---- recordings ---- */

/* device 2 += 2 * (what pinned 0 holds) + 3, half of it on the side. */
static bool record_fork(bench *b, cudaGraph_t *graph, bool joins)
{
    bool good = cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess;
    good = good && cudaMemcpyAsync(b->device[0], b->pinned[0], BYTES, cudaMemcpyHostToDevice, b->stream) == cudaSuccess;
    good = good && cudaEventRecord(b->event[0], b->stream) == cudaSuccess && cudaStreamWaitEvent(b->side, b->event[0], 0) == cudaSuccess;
    good = good && faulty_fill(b->side, b->device[1], N, 3) == AC_OK && faulty_add(b->side, b->device[1], b->device[0], N, 1) == AC_OK;
    good = good && faulty_add(b->stream, b->device[2], b->device[0], N, 1) == AC_OK;
    if (joins) {
        good = good && cudaEventRecord(b->event[1], b->side) == cudaSuccess && cudaStreamWaitEvent(b->stream, b->event[1], 0) == cudaSuccess;
        good = good && faulty_add(b->stream, b->device[2], b->device[1], N, 1) == AC_OK;
    }
    cudaError_t error = cudaStreamEndCapture(b->stream, graph);
    return good && (joins ? error == cudaSuccess : error == cudaErrorStreamCaptureUnjoined);
}

static void check_replays(bench *b)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    emulated_counts counts, before, after;
    emulated_set_order("late", "");
    TAP_OK(faulty_fill(b->stream, b->device[2], N, 100) == AC_OK && record_fork(b, &graph, true) && holds(b, b->device[2], 100), "what is recorded is not done");
    emulated_graph_counts(graph, &counts);
    TAP_OK(counts.n_kernels == 4 && counts.n_copies == 1 && counts.copied_bytes == BYTES && counts.n_memsets == 0 && counts.n_library == 0, "a recording holds four kernels and a copy");
    TAP_OK(strcmp(emulated_graph_name(graph, 0), "copy") == 0 && strstr(emulated_graph_name(graph, 1), "fill_kernel") && !emulated_graph_name(graph, 5), "and knows their names");
    TAP_OK(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess && cudaGraphDestroy(graph) == cudaSuccess, "it becomes executable");
    emulated_total_counts(&before, NULL);
    for (size_t k = 0; k < N_ORDERS; k++) {
        int value = 7 * (int)k;
        emulated_set_order(orders[k], "");
        bool good = faulty_fill(b->stream, b->device[2], N, 1) == AC_OK;
        for (int i = 0; i < N; i++)
            b->pinned[0][i] = value;
        good = good && cudaGraphLaunch(exec, b->stream) == cudaSuccess && cudaGraphLaunch(exec, b->stream) == cudaSuccess;
        TAP_OK(good && holds(b, b->device[2], 1 + 2 * (2 * value + 3)), "streams \"%s\": two replays with other values", orders[k]);
    }
    emulated_total_counts(&after, NULL);
    TAP_OK(after.n_kernels - before.n_kernels == N_ORDERS * (1 + 2 * 4), "launches are counted");
    TAP_OK(cudaGraphExecDestroy(exec) == cudaSuccess && cudaGraphExecDestroy(exec) != cudaSuccess, "an executable is released once");
    cudaGetLastError();
}

/* Host functions and events from outside take part in a replay. */
static void check_replayed_messages(bench *b)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    message m = {b->pinned[1], 0, false};
    bool good = cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess;
    good = good && cudaStreamWaitEvent(b->stream, b->event[2], cudaEventWaitExternal) == cudaSuccess;
    good = good && cudaMemcpyAsync(b->pinned[1], b->device[0], BYTES, cudaMemcpyDeviceToHost, b->stream) == cudaSuccess && cudaLaunchHostFunc(b->stream, arrive, &m) == cudaSuccess;
    good = good && cudaStreamEndCapture(b->stream, &graph) == cudaSuccess && cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess;
    TAP_OK(good, "a host function and an event from outside are recorded");
    for (size_t k = 0; good && k < N_ORDERS; k++) {
        emulated_set_order(orders[k], "");
        m.arrived = false;
        good = faulty_fill(b->side, b->device[0], N, 30 + (int)k) == AC_OK && cudaEventRecord(b->event[2], b->side) == cudaSuccess && cudaGraphLaunch(exec, b->stream) == cudaSuccess;
        while (good && !__atomic_load_n(&m.arrived, __ATOMIC_ACQUIRE)) {
        }
        TAP_OK(good && m.seen == 30 + (int)k, "streams \"%s\": a replay waits for the event and calls the function", orders[k]);
        good = good && cudaStreamSynchronize(b->stream) == cudaSuccess;
    }
    TAP_OK(cudaGraphExecDestroy(exec) == cudaSuccess && cudaGraphDestroy(graph) == cudaSuccess, "released");
}

/* Things that end a recording; each returns what the call said. */
static cudaError_t wait_for_stream(bench *b)
{
    return cudaStreamSynchronize(b->stream);
}

static cudaError_t ask_stream(bench *b)
{
    return cudaStreamQuery(b->stream);
}

static cudaError_t wait_for_event(bench *b)
{
    cudaEventRecord(b->event[0], b->stream);
    return cudaEventSynchronize(b->event[0]);
}

static cudaError_t ask_event(bench *b)
{
    cudaEventRecord(b->event[0], b->stream);
    return cudaEventQuery(b->event[0]);
}

static cudaError_t wait_for_device(bench *b)
{
    (void)b;
    return cudaDeviceSynchronize();
}

static cudaError_t allocate(bench *b)
{
    void *block;
    (void)b;
    return cudaMalloc(&block, 16);
}

static cudaError_t allocate_pinned(bench *b)
{
    void *block;
    (void)b;
    return cudaMallocHost(&block, 16);
}

static cudaError_t free_memory(bench *b)
{
    return cudaFree(b->device[2]);
}

static cudaError_t copy_pageable(bench *b)
{
    return cudaMemcpyAsync(b->device[0], b->host, BYTES, cudaMemcpyHostToDevice, b->stream);
}

static cudaError_t wait_outside(bench *b)
{
    cudaEventRecord(b->event[2], b->side);
    return cudaStreamWaitEvent(b->stream, b->event[2], 0);
}

static cudaError_t use_legacy(bench *b)
{
    return cudaMemsetAsync(b->device[0], 0, BYTES, NULL);
}

static cudaError_t end_elsewhere(bench *b)
{
    cudaGraph_t graph;
    cudaEventRecord(b->event[0], b->stream);
    cudaStreamWaitEvent(b->side, b->event[0], 0);
    return cudaStreamEndCapture(b->side, &graph);
}

static void check_refusals(bench *b)
{
    static const struct {
        const char *name;
        cudaError_t (*call)(bench *b);
    } table[] = {
        {"waiting for the stream", wait_for_stream}, {"asking the stream", ask_stream}, {"waiting for an event", wait_for_event}, {"asking an event", ask_event},
        {"waiting for the device", wait_for_device}, {"an allocation", allocate}, {"an allocation of pinned memory", allocate_pinned}, {"freeing memory", free_memory},
        {"a copy from pageable memory", copy_pageable}, {"an event from outside", wait_outside}, {"the legacy stream", use_legacy}, {"the end on another stream", end_elsewhere},
    };
    emulated_set_order("late", "");
    for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
        cudaGraph_t graph = (cudaGraph_t)b;
        bool good = cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess && faulty_fill(b->stream, b->device[0], N, 1) == AC_OK;
        cudaError_t said = table[k].call(b);
        cudaError_t later = cudaMemsetAsync(b->device[0], 0, BYTES, b->stream), end = cudaStreamEndCapture(b->stream, &graph);
        cudaGetLastError();
        TAP_OK(good && said != cudaSuccess && said != cudaErrorNotReady && later == cudaErrorStreamCaptureInvalidated && end == cudaErrorStreamCaptureInvalidated && !graph,
               "in a recording %s is refused (%d)", table[k].name, (int)said);
        TAP_OK(faulty_fill(b->stream, b->device[0], N, 40 + (int)k) == AC_OK && holds(b, b->device[0], 40 + (int)k), "and streams work again behind it");
    }
    cudaGraph_t graph = NULL;
    TAP_OK(record_fork(b, &graph, false), "a stream that is not joined is an error");
    TAP_OK(cudaEventSynchronize(b->event[0]) == cudaErrorCapturedEvent && cudaStreamWaitEvent(b->stream, b->event[0], 0) != cudaSuccess, "nobody waits for an event of a recording");
    cudaGetLastError();
    TAP_OK(cudaEventRecord(b->event[0], b->stream) == cudaSuccess && cudaEventSynchronize(b->event[0]) == cudaSuccess && cudaStreamSynchronize(b->side) == cudaSuccess, "until it is recorded anew");
}

int main(void)
{
    bench *b = calloc(1, sizeof *b);
    if (b && open_bench(b)) {
        emulated_set_order("late", "");
        check_memory(b);
        check_kernels(b);
        check_order(b);
        check_host_functions(b);
        check_replays(b);
        check_replayed_messages(b);
        check_refusals(b);
        close_bench(b);
    }
    free(b);
    return tap_done();
}
