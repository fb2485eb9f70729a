/* Memory of the emulated device: blocks between guards, filled so that what is read before it is written shows. Who uses it when is stream.cc's. */
#include "tests/cuda_host/internal.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#endif

namespace emulated {

enum : size_t { GUARD = 256, PAGE = 4096, PATTERN_BYTES = 4 << 20, MOST_FREED_BYTES = 256 << 20, MOST_FREED = 1000 };
enum { FILL = 0xFF, GUARD_BYTE = 0xA5 };

struct block {
    size_t n_bytes, mapped;
    unsigned char *base; /* of the mapping; the block lies at base + GUARD */
    memory_kind kind;
};

static std::mutex lock;
static std::map<uintptr_t, block> living, dead; /* by address; dead ones for a while */
static std::deque<uintptr_t> freed;             /* these, the oldest first */
static size_t freed_bytes, used_bytes;

bool is_dry()
{
    static const bool dry = getenv("ANYCLASS_EMULATE_DRY") != NULL;
    return dry;
}

static size_t total_bytes()
{
    return (size_t)(is_dry() ? 80 : 8) << 30;
}

/* Pages of 0xFF that are copied when they are written: memory that nobody touches costs nothing. */
static int pattern_file()
{
    static int file = -1;
    if (file < 0) {
        file = memfd_create("emulated", MFD_CLOEXEC);
        if (file >= 0 && ftruncate(file, PATTERN_BYTES) == 0) {
            void *at = mmap(NULL, PATTERN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            if (at != MAP_FAILED) {
                memset(at, FILL, PATTERN_BYTES);
                munmap(at, PATTERN_BYTES);
            }
        }
    }
    return file;
}

static bool fill(unsigned char *base, size_t mapped)
{
    int file = is_dry() ? -1 : pattern_file();
    for (size_t at = 0; file >= 0 && at < mapped; at += PATTERN_BYTES) {
        size_t n = mapped - at < PATTERN_BYTES ? mapped - at : (size_t)PATTERN_BYTES;
        if (mmap(base + at, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0) == MAP_FAILED)
            return false;
    }
    return true;
}

static unsigned char *end_guard(uintptr_t address, const block &b)
{
    return (unsigned char *)address + b.n_bytes;
}

static void set_guards(uintptr_t address, const block &b)
{
    ASAN_UNPOISON_MEMORY_REGION(b.base, GUARD);
    ASAN_UNPOISON_MEMORY_REGION(end_guard(address, b), GUARD);
    memset(b.base, GUARD_BYTE, GUARD);
    memset(end_guard(address, b), GUARD_BYTE, GUARD);
    ASAN_POISON_MEMORY_REGION(b.base, GUARD);
    ASAN_POISON_MEMORY_REGION(end_guard(address, b), b.mapped - GUARD - b.n_bytes);
}

cudaError_t create_block(void **out, size_t n_bytes, memory_kind kind)
{
    std::lock_guard<std::mutex> hold(lock);
    block b = {n_bytes, (n_bytes + 2 * GUARD + PAGE - 1) / PAGE * PAGE, NULL, kind};
    *out = NULL;
    if (kind == MEMORY_DEVICE && used_bytes + n_bytes > total_bytes())
        return cudaErrorMemoryAllocation;
    void *base = mmap(NULL, b.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return cudaErrorMemoryAllocation;
    if (!fill((unsigned char *)base, b.mapped)) {
        munmap(base, b.mapped);
        return cudaErrorMemoryAllocation;
    }
    b.base = (unsigned char *)base;
    uintptr_t address = (uintptr_t)(b.base + GUARD);
    set_guards(address, b);
    living[address] = b;
    used_bytes += kind == MEMORY_DEVICE ? n_bytes : 0;
    *out = (void *)address;
    return cudaSuccess;
}

static void forget_oldest()
{
    uintptr_t address = freed.front();
    block b = dead[address];
    freed.pop_front();
    freed_bytes -= b.mapped;
    ASAN_UNPOISON_MEMORY_REGION(b.base, b.mapped);
    munmap(b.base, b.mapped);
    dead.erase(address);
}

__attribute__((no_sanitize("address"))) static bool guard_holds(const unsigned char *at)
{
    for (size_t i = 0; i < GUARD; i++)
        if (at[i] != GUARD_BYTE)
            return false;
    return true;
}

static std::string describe(uintptr_t address, const block &b, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "%s of a %s block of %zu bytes at %#zx", what, b.kind == MEMORY_PINNED ? "pinned" : "device", b.n_bytes, (size_t)address);
    return text;
}

static std::string check_block(uintptr_t address, const block &b)
{
    if (!guard_holds(b.base))
        return describe(address, b, "written in front");
    if (!guard_holds(end_guard(address, b)))
        return describe(address, b, "written past the end");
    return "";
}

std::string check_guards()
{
    std::lock_guard<std::mutex> hold(lock);
    for (auto &each : living) {
        std::string wrong = check_block(each.first, each.second);
        if (!wrong.empty()) {
            set_guards(each.first, each.second);
            return wrong;
        }
    }
    return "";
}

/* The block is kept for a while, so that a late user is seen: under AddressSanitizer at the access, otherwise as NaN. */
cudaError_t destroy_block(void *pointer, memory_kind kind)
{
    std::lock_guard<std::mutex> hold(lock);
    auto found = living.find((uintptr_t)pointer);
    if (found == living.end() || found->second.kind != kind)
        return cudaErrorInvalidValue;
    block b = found->second;
    used_bytes -= kind == MEMORY_DEVICE ? b.n_bytes : 0;
    living.erase(found);
    ASAN_UNPOISON_MEMORY_REGION(b.base, b.mapped);
    fill(b.base, b.mapped);
    ASAN_POISON_MEMORY_REGION(b.base, b.mapped);
    dead[(uintptr_t)pointer] = b;
    freed.push_back((uintptr_t)pointer);
    freed_bytes += b.mapped;
    while (freed_bytes > MOST_FREED_BYTES || freed.size() > MOST_FREED)
        forget_oldest();
    return cudaSuccess;
}

/* The block that `at` lies in, or NULL. */
static const block *find_block(const std::map<uintptr_t, block> &blocks, uintptr_t at, size_t *left)
{
    auto next = blocks.upper_bound(at);
    if (next == blocks.begin())
        return NULL;
    --next;
    if (at - next->first >= next->second.n_bytes && at != next->first)
        return NULL;
    *left = next->first + next->second.n_bytes - at;
    return &next->second;
}

memory_kind kind_of(const void *pointer, size_t *left)
{
    std::lock_guard<std::mutex> hold(lock);
    *left = 0;
    const block *b = find_block(living, (uintptr_t)pointer, left);
    if (b)
        return b->kind;
    return find_block(dead, (uintptr_t)pointer, left) ? MEMORY_FREED : MEMORY_UNKNOWN;
}

std::string check_device(const void *pointer, size_t n_bytes)
{
    size_t left = 0;
    memory_kind kind = kind_of(pointer, &left);
    char text[160];
    if (kind == MEMORY_DEVICE && n_bytes <= left)
        return "";
    if (kind == MEMORY_DEVICE)
        snprintf(text, sizeof text, "of %zu bytes at %p, where a device block has %zu left", n_bytes, pointer, left);
    else
        snprintf(text, sizeof text, "at %p, which is %s", pointer, kind == MEMORY_PINNED ? "pinned host memory" : kind == MEMORY_FREED ? "freed memory" : "no device memory");
    return text;
}

}

using namespace emulated;

extern "C" {

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    std::lock_guard<std::mutex> hold(emulated::lock);
    *total = total_bytes();
    *available = *total - used_bytes;
    return cudaSuccess;
}

const char *emulated_check_device(const void *pointer, size_t n_bytes)
{
    static thread_local std::string reason;
    reason = check_device(pointer, n_bytes);
    return reason.empty() ? NULL : reason.c_str();
}

}
