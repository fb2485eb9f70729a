/* The scheduler of emulated kernels. Threads of a block take turns; blocks, and the threads of a block, do so forwards and backwards in turn, or in a shuffled
 * order (ANYCLASS_EMULATE_ORDER): what depends on it is a race. */
#include "tests/cuda_host/internal.h"

#include "backend/cuda/kernel.cuh"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

/* Static shared memory, but that of templates, whose section GCC 12 does not heed: the linker knows where it lies. */
extern "C" unsigned char __start_emulated_shared[] __attribute__((weak)), __stop_emulated_shared[] __attribute__((weak));

namespace emulated {

unsigned char *dynamic_shared;

enum { STACK_BYTES = 128 << 10, STACK_TOP_BYTES = 4 << 10, MOST_THREADS = 1024, MOST_SHARED_BYTES = 227 << 10, BLOCKS_FILLED = 4, MOST_SHUFFLED = 1 << 16 };

struct thread {
    void *stack_pointer, *fake_stack;
    unsigned char *stack;
    bool done;
    dim3 index;
};

struct barrier {
    const char *name;
    unsigned size, alive, arrived, round;
    int line;
};

static thread threads[MOST_THREADS];
static unsigned n_threads, n_done, current;
static unsigned turns[MOST_THREADS], turn; /* the order of a round, and who is next in it */
static barrier whole, warps[MOST_THREADS / 32];
alignas(16) static unsigned char slots[MOST_THREADS][32], exchanged[2][MOST_THREADS][16];
static void *scheduler_stack, *scheduler_fake_stack;
static const void *scheduler_bottom;
static size_t scheduler_bytes;
static bool from_scheduler;
static const std::function<void()> *body;
static unsigned long n_events, n_launches;
static char trouble[256];

enum thread_order { BOTH_WAYS, FORWARD, REVERSED, SHUFFLED };
static thread_order order;
static uint64_t order_seed;

void set_thread_order(const char *given)
{
    if (!given)
        given = getenv("ANYCLASS_EMULATE_ORDER");
    order_seed = given ? strtoull(given, NULL, 10) : 0;
    order = !given || !*given ? BOTH_WAYS : strcmp(given, "forward") == 0 ? FORWARD : strcmp(given, "reversed") == 0 ? REVERSED : order_seed ? SHUFFLED : BOTH_WAYS;
}

/* Saves what a call must keep and the stack pointer into *from, goes on at `to`. */
extern "C" void emulated_switch(void **from, void *to);
__asm__(".text\n.globl emulated_switch\nemulated_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");

/* Whoever goes on here was told by whom: AddressSanitizer wants to know whose stack the scheduler's is. */
static void arrive(void *fake_stack)
{
    const void *bottom = NULL;
    size_t n_bytes = 0;
    __sanitizer_finish_switch_fiber(fake_stack, &bottom, &n_bytes);
    if (from_scheduler) {
        scheduler_bottom = bottom;
        scheduler_bytes = n_bytes;
    }
    from_scheduler = false;
}

static void switch_to_thread(void **stack_pointer, void **fake_stack, unsigned i)
{
    current = i;
    threadIdx = threads[i].index;
    __sanitizer_start_switch_fiber(fake_stack, threads[i].stack, STACK_BYTES);
    emulated_switch(stack_pointer, threads[i].stack_pointer);
}

/* The next thread whose turn it is; behind the last one the scheduler. A thread that ends is not come back to. */
static void give_way(bool ends)
{
    thread &me = threads[current];
    while (turn < n_threads && threads[turns[turn]].done)
        turn++;
    if (turn < n_threads && !trouble[0]) {
        switch_to_thread(&me.stack_pointer, ends ? NULL : &me.fake_stack, turns[turn++]);
    } else {
        __sanitizer_start_switch_fiber(ends ? NULL : &me.fake_stack, scheduler_bottom, scheduler_bytes);
        emulated_switch(&me.stack_pointer, scheduler_stack);
    }
    arrive(me.fake_stack);
}

/* The kernel ends here; its threads are never gone on with. */
__attribute__((format(printf, 1, 2))) static void fail_kernel(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(trouble, sizeof trouble, format, args);
    va_end(args);
    for (;;)
        give_way(false);
}

static void wait(barrier &b, int line)
{
    unsigned round = b.round;
    if (b.alive < b.size)
        fail_kernel("a barrier at line %d reached by a part of the %s: %u of %u threads ended before", line, b.name, b.size - b.alive, b.size);
    if (b.arrived > 0 && b.line != line)
        fail_kernel("threads of a %s wait in different places, lines %d and %d", b.name, b.line, line);
    b.line = line;
    if (++b.arrived == b.size) {
        b.arrived = 0;
        b.round++;
        n_events++;
        return;
    }
    while (b.round == round)
        give_way(false);
}

static void leave(barrier &b) /* a thread that ends */
{
    b.alive--;
    if (b.arrived > 0)
        fail_kernel("a thread ends while others of its %s wait at line %d", b.name, b.line);
}

void block_barrier(int line)
{
    wait(whole, line);
}

void warp_barrier(int line)
{
    wait(warps[current / 32], line);
}

unsigned lane()
{
    return current % 32;
}

void *slot(unsigned lane)
{
    return slots[current / 32 * 32 + lane];
}

/* Two sets of slots in turn: who is in the next exchange has left this one's barrier behind, as all others have when it is full. */
void exchange(const void *value, void *out, size_t n_bytes, unsigned mask, unsigned from, int line)
{
    barrier &warp = warps[current / 32];
    unsigned char(*set)[16] = exchanged[warp.round % 2] + current / 32 * 32;
    if (mask != 0xffffffffu)
        fail_kernel("line %d: only exchanges of all lanes are emulated, not of %#x", line, mask);
    if (from >= warp.size)
        fail_kernel("line %d: lane %u reads from lane %u of %u", line, lane(), from, warp.size);
    memcpy(set[lane()], value, n_bytes);
    wait(warp, line);
    memcpy(out, set[from], n_bytes);
}

unsigned vote(bool value, unsigned mask, int line)
{
    barrier &warp = warps[current / 32];
    unsigned char(*set)[16] = exchanged[warp.round % 2] + current / 32 * 32;
    unsigned votes = 0, n = warp.size;
    if (mask != 0xffffffffu)
        fail_kernel("line %d: only votes of all lanes are emulated, not of %#x", line, mask);
    set[lane()][0] = value;
    wait(warp, line);
    for (unsigned i = 0; i < n; i++)
        votes |= (unsigned)set[i][0] << i;
    return votes;
}

static void begin()
{
    arrive(NULL);
    (*body)();
    leave(whole);
    leave(warps[current / 32]);
    threads[current].done = true;
    n_done++;
    n_events++;
    give_way(true);
}

static void prepare(unsigned i)
{
    thread &t = threads[i];
    if (!t.stack)
        t.stack = (unsigned char *)aligned_alloc(64, STACK_BYTES);
    ASAN_UNPOISON_MEMORY_REGION(t.stack + STACK_BYTES - STACK_TOP_BYTES, STACK_TOP_BYTES); /* frames that were never left */
    void **top = (void **)(t.stack + STACK_BYTES - 64);
    *--top = NULL; /* keeps the alignment a called function finds */
    *--top = (void *)begin;
    for (int k = 0; k < 6; k++)
        *--top = NULL;
    t.stack_pointer = top;
    t.fake_stack = NULL;
    t.done = false;
    t.index = dim3(i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y);
}

static void shuffle(unsigned *items, unsigned n, uint64_t index)
{
    for (unsigned i = n - 1; i > 0; i--)
        std::swap(items[i], items[ac_random_block(order_seed, AC_STREAM_TEST, index, i).word[0] % (i + 1)]);
}

/* Shared memory holds nothing when a block begins. The loop does not become a call that AddressSanitizer would look at: it goes over gaps, too. */
__attribute__((no_sanitize("address"), optimize("no-tree-loop-distribute-patterns"))) static void fill_shared()
{
    for (uint64_t *at = (uint64_t *)(((uintptr_t)__start_emulated_shared + 7) & ~(uintptr_t)7); (unsigned char *)(at + 1) <= __stop_emulated_shared; at++)
        *at = UINT64_MAX;
}

/* false: `trouble` says why. */
static bool run_block(bool backwards)
{
    static uint64_t n_rounds;
    whole = {"block", n_threads, n_threads, 0, 0, 0};
    for (unsigned w = 0; w * 32 < n_threads; w++) {
        unsigned size = n_threads - w * 32 < 32 ? n_threads - w * 32 : 32;
        warps[w] = {"warp", size, size, 0, 0, 0};
    }
    for (unsigned i = 0; i < n_threads; i++) {
        prepare(i);
        turns[i] = backwards ? n_threads - 1 - i : i;
    }
    for (n_done = 0; n_done < n_threads;) {
        unsigned long before = n_events;
        if (order == SHUFFLED)
            shuffle(turns, n_threads, n_rounds++);
        for (turn = 0; threads[turns[turn]].done;)
            turn++;
        from_scheduler = true;
        unsigned first = turns[turn++];
        switch_to_thread(&scheduler_stack, &scheduler_fake_stack, first);
        __sanitizer_finish_switch_fiber(scheduler_fake_stack, NULL, NULL);
        if (trouble[0])
            return false;
        if (n_events == before) {
            snprintf(trouble, sizeof trouble, "threads of a block wait for each other for ever");
            return false;
        }
    }
    return true;
}

static bool run_blocks(size_t shared)
{
    uint64_t n_blocks = (uint64_t)gridDim.x * gridDim.y * gridDim.z;
    std::vector<unsigned> blocks(order == SHUFFLED && n_blocks <= MOST_SHUFFLED ? n_blocks : 0);
    bool backwards = order == REVERSED || (order == BOTH_WAYS && n_launches % 2);
    for (unsigned i = 0; i < blocks.size(); i++)
        blocks[i] = i;
    if (!blocks.empty())
        shuffle(blocks.data(), (unsigned)n_blocks, n_launches);
    for (uint64_t i = 0; i < n_blocks; i++) {
        uint64_t at = !blocks.empty() ? blocks[i] : backwards ? n_blocks - 1 - i : i;
        blockIdx = dim3((unsigned)(at % gridDim.x), (unsigned)(at / gridDim.x % gridDim.y), (unsigned)(at / gridDim.x / gridDim.y));
        if (i < BLOCKS_FILLED)
            fill_shared();
        if (shared)
            memset(dynamic_shared, 0xFF, shared);
        if (!run_block(order == BOTH_WAYS ? (n_launches + i) % 2 : order == REVERSED)) {
            snprintf(trouble + strlen(trouble), sizeof trouble - strlen(trouble), " (block %u, %u, %u)", blockIdx.x, blockIdx.y, blockIdx.z);
            return false;
        }
    }
    return true;
}

static std::string run_kernel(dim3 grid, dim3 block, size_t shared, const std::function<void()> &thread)
{
    n_threads = block.x * block.y * block.z;
    blockDim = block;
    gridDim = grid;
    body = &thread;
    trouble[0] = 0;
    dynamic_shared = NULL;
    if (shared && posix_memalign((void **)&dynamic_shared, 64, shared) != 0)
        return "no memory";
    bool good = run_blocks(shared);
    free(dynamic_shared);
    n_launches++;
    for (unsigned i = 0; !good && i < n_threads; i++)
        ASAN_UNPOISON_MEMORY_REGION(threads[i].stack, STACK_BYTES);
    return good ? "" : trouble;
}

static std::string check_pointers(const std::vector<const void *> &pointers)
{
    for (const void *each : pointers) {
        size_t left;
        memory_kind kind = kind_of(each, &left);
        if (kind != MEMORY_DEVICE && kind != MEMORY_PINNED && kind_of((const char *)each - 1, &left) != MEMORY_DEVICE)
            return "argument " + check_device(each, 1);
    }
    return "";
}

cudaError_t launch(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t stream, std::vector<const void *> pointers, std::function<void()> thread)
{
    hold lock(engine);
    uint64_t n = (uint64_t)block.x * block.y * block.z;
    cudaError_t error = standing();
    if (error != cudaSuccess)
        return result(error);
    if (n == 0 || n > MOST_THREADS || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535 ||
        shared > MOST_SHARED_BYTES) {
        char text[200];
        snprintf(text, sizeof text, "grid %u x %u x %u, block %u x %u x %u, %zu bytes of shared memory", grid.x, grid.y, grid.z, block.x, block.y, block.z, shared);
        return result(explain(cudaErrorInvalidConfiguration, text));
    }
    std::string wrong = check_pointers(pointers);
    if (!wrong.empty())
        return result(explain(cudaErrorInvalidValue, wrong));
    auto run = [=] {
        std::string trouble_here = check_pointers(pointers);
        if (trouble_here.empty())
            trouble_here = run_kernel(grid, block, shared, thread);
        if (!trouble_here.empty())
            emulated_fail(cudaErrorLaunchFailure, (std::string(name) + ": " + trouble_here).c_str());
    };
    return result(enqueue(lock, stream, std::make_shared<work>(WORK_KERNEL, name, run)));
}

}

extern "C" {

cudaError_t cudaGetDeviceCount(int *n)
{
    const char *wanted = getenv("ANYCLASS_EMULATE_GPUS");
    *n = getenv("ANYCLASS_EMULATE_NONE") ? 0 : wanted ? atoi(wanted) : 1;
    return *n > 0 ? cudaSuccess : cudaErrorNoDevice;
}

static thread_local int device_index;

cudaError_t cudaGetDevice(int *device)
{
    *device = device_index;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    int n;
    if (cudaGetDeviceCount(&n) != cudaSuccess || device < 0 || device >= n)
        return cudaErrorInvalidDevice;
    device_index = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device)
{
    size_t available;
    memset(out, 0, sizeof *out);
    out->uuid.bytes[0] = 'E';
    out->uuid.bytes[15] = (char)device;
    out->pciBusID = device + 1;
    snprintf(out->name, sizeof out->name, "emulated GPU");
    cudaMemGetInfo(&available, &out->totalGlobalMem);
    out->multiProcessorCount = 2;
    out->major = 9;
    return cudaSuccess;
}

}
