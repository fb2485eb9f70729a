/* The scheduler of emulated kernels, and the runtime on host memory. Threads of a block take turns in a fixed order, or with
 * ANYCLASS_EMULATE_ORDER=n in the n-th shuffled one: what depends on it is a race. */
#include "backend/cuda/kernel.cuh"
#include <cstdio>
#include <cstdlib>
#include <vector>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

unsigned char *dynamic_shared;

enum { STACK_BYTES = 128 << 10, MOST_THREADS = 1024 };

struct thread {
    void *stack_pointer;
    unsigned char *stack;
    bool done;
    dim3 index;
};

struct barrier {
    unsigned alive, arrived, round;
};

static thread threads[MOST_THREADS];
static unsigned n_threads, current;
static barrier whole, warps[MOST_THREADS / 32];
alignas(16) static unsigned char slots[MOST_THREADS][32];
static void *scheduler_stack;
static const std::function<void()> *body;
static unsigned long n_events;

/* Saves what a call must keep and the stack pointer into *from, goes on at `to`. */
extern "C" void emulated_switch(void **from, void *to);
__asm__(".text\n.globl emulated_switch\nemulated_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");

static void yield()
{
    unsigned me = current;
    emulated_switch(&threads[me].stack_pointer, scheduler_stack);
    threadIdx = threads[me].index;
}

static void leave(barrier &b) /* a thread that ends no longer counts */
{
    b.alive--;
    if (b.alive > 0 && b.arrived == b.alive) {
        b.arrived = 0;
        b.round++;
    }
}

static void wait(barrier &b)
{
    unsigned round = b.round;
    if (++b.arrived == b.alive) {
        b.arrived = 0;
        b.round++;
        n_events++;
        return;
    }
    while (b.round == round)
        yield();
}

void block_barrier()
{
    wait(whole);
}

void warp_barrier()
{
    wait(warps[current / 32]);
}

unsigned lane()
{
    return current % 32;
}

void *slot(unsigned lane)
{
    return slots[current / 32 * 32 + lane];
}

static void begin()
{
    (*body)();
    threads[current].done = true;
    n_events++;
    leave(whole);
    leave(warps[current / 32]);
    emulated_switch(&threads[current].stack_pointer, scheduler_stack);
}

static void prepare(unsigned i)
{
    thread &t = threads[i];
    if (!t.stack)
        t.stack = (unsigned char *)aligned_alloc(64, STACK_BYTES);
    void **top = (void **)(t.stack + STACK_BYTES - 64);
    *--top = NULL; /* keeps the alignment a called function finds */
    *--top = (void *)begin;
    for (int k = 0; k < 6; k++)
        *--top = NULL;
    t.stack_pointer = top;
    t.done = false;
    t.index = dim3(i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y);
}

static void shuffle(std::vector<unsigned> &order, uint64_t seed, uint64_t index)
{
    for (unsigned i = (unsigned)order.size() - 1; i > 0; i--)
        std::swap(order[i], order[ac_random_block(seed, AC_STREAM_TEST, index, i).word[0] % (i + 1)]);
}

static ac_status run_block(const char *name, std::vector<unsigned> &order, uint64_t seed)
{
    static uint64_t n_rounds;
    whole = {n_threads, 0, 0};
    for (unsigned w = 0; w * 32 < n_threads; w++)
        warps[w] = {n_threads - w * 32 < 32 ? n_threads - w * 32 : 32, 0, 0};
    for (unsigned i = 0; i < n_threads; i++)
        prepare(i);
    for (unsigned n_done = 0; n_done < n_threads;) {
        unsigned long before = n_events;
        n_done = 0;
        if (seed)
            shuffle(order, seed, n_rounds++);
        for (unsigned k = 0; k < n_threads; k++) {
            current = order[k];
            if (!threads[current].done) {
                threadIdx = threads[current].index;
                emulated_switch(&scheduler_stack, threads[current].stack_pointer);
            }
            n_done += threads[order[k]].done;
        }
        if (n_events == before)
            return ac_error(AC_ERR_NUMERIC, "%s: threads of a block wait for each other for ever", name);
    }
    return AC_OK;
}

ac_status run(const char *name, dim3 grid, dim3 block, size_t shared, const std::function<void()> &thread)
{
    ac_status status = AC_OK;
    const char *seed = getenv("ANYCLASS_EMULATE_ORDER");
    uint64_t n = (uint64_t)block.x * block.y * block.z;
    if (n == 0 || n > MOST_THREADS || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
        return ac_error(AC_ERR_NUMERIC, "%s: grid %u x %u x %u, block %u x %u x %u", name, grid.x, grid.y, grid.z, block.x, block.y, block.z);
    n_threads = (unsigned)n;
    blockDim = block;
    gridDim = grid;
    body = &thread;
    dynamic_shared = shared ? (unsigned char *)aligned_alloc(64, (shared + 63) / 64 * 64) : NULL;
    std::vector<unsigned> order(n_threads);
    for (unsigned i = 0; i < n_threads; i++)
        order[i] = i;
    for (unsigned z = 0; z < grid.z && status == AC_OK; z++)
        for (unsigned y = 0; y < grid.y && status == AC_OK; y++)
            for (unsigned x = 0; x < grid.x && status == AC_OK; x++) {
                blockIdx = dim3(x, y, z);
                if (shared)
                    memset(dynamic_shared, 0xFF, shared);
                status = run_block(name, order, seed ? strtoull(seed, NULL, 10) : 0);
            }
    free(dynamic_shared);
    return status;
}

}

extern "C" {

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = getenv("ANYCLASS_EMULATE_NONE") ? 0 : 1;
    return *n ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int)
{
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "emulated GPU");
    out->totalGlobalMem = (size_t)8 << 30;
    out->multiProcessorCount = 2;
    out->major = 9;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaSuccess ? "no error" : error == cudaErrorMemoryAllocation ? "out of memory" : "emulated error";
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind, cudaStream_t)
{
    memcpy(to, from, n_bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *block, int value, size_t n_bytes, cudaStream_t)
{
    memset(block, value, n_bytes);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = (cudaStream_t)malloc(1);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned)
{
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = (cudaEvent_t)malloc(1);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, enum cudaStreamCaptureMode)
{
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *)
{
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *, cudaGraph_t, unsigned long long)
{
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t)
{
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t)
{
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t)
{
    return cudaSuccess;
}

void emulated_enqueue(cudaStream_t, const char *, void (*run)(void *), const void *context, size_t context_bytes)
{
    std::vector<unsigned char> copy((const unsigned char *)context, (const unsigned char *)context + context_bytes);
    run(copy.data());
}

}
