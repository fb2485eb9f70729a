/* Counted, aligned allocation. A small header in front of each block holds its size. */
#include "anyclass/alloc.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef struct header {
    size_t bytes;
} header;

static atomic_ullong n_calls, live_bytes, peak_bytes, n_live, fail_at;

static bool must_fail(void)
{
    atomic_fetch_add(&n_calls, 1);
    unsigned long long left = atomic_load(&fail_at);
    while (left > 0)
        if (atomic_compare_exchange_weak(&fail_at, &left, left - 1))
            return left == 1;
    return false;
}

static void count(size_t bytes)
{
    unsigned long long live = atomic_fetch_add(&live_bytes, bytes) + bytes, peak = atomic_load(&peak_bytes);
    atomic_fetch_add(&n_live, 1);
    while (live > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, live)) {
    }
}

enum { HUGE_PAGE_BYTES = 2 << 20, HUGE_FROM_BYTES = 2 * HUGE_PAGE_BYTES };

/* Ask for huge pages inside a large block. */
static void advise_huge_pages(void *block, size_t n_bytes)
{
    uintptr_t first = ((uintptr_t)block + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    uintptr_t end = ((uintptr_t)block + n_bytes) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    if (end > first)
        (void)madvise((void *)first, end - first, MADV_HUGEPAGE);
}

static ac_status allocate(size_t n, size_t size, unsigned char **out)
{
    void *block = NULL;
    *out = NULL;
    if ((size && n > (SIZE_MAX - 4 * AC_ALIGN_BYTES) / size) || must_fail() ||
        posix_memalign(&block, AC_ALIGN_BYTES, AC_ALIGN_BYTES + n * size + (n * size == 0)) != 0)
        return ac_error(AC_ERR_MEMORY, "cannot allocate %zu x %zu bytes", n, size);
    if (n * size >= HUGE_FROM_BYTES) /* advice only: fewer page faults and look-ups, the kernel may not follow */
        advise_huge_pages(block, n * size);
    ((header *)block)->bytes = n * size;
    count(n * size);
    *out = (unsigned char *)block + AC_ALIGN_BYTES;
    return AC_OK;
}

static header *header_of(void *block)
{
    return (header *)((unsigned char *)block - AC_ALIGN_BYTES);
}

ac_status ac_malloc(size_t n, size_t size, void *out)
{
    unsigned char *block;
    ac_status status = allocate(n, size, &block);
    memcpy(out, &block, sizeof block);
    return status;
}

ac_status ac_calloc(size_t n, size_t size, void *out)
{
    unsigned char *block;
    ac_status status = allocate(n, size, &block);
    if (block)
        memset(block, 0, n * size);
    memcpy(out, &block, sizeof block);
    return status;
}

ac_status ac_realloc(void *inout, size_t n, size_t size)
{
    unsigned char *old, *block;
    memcpy(&old, inout, sizeof old);
    ac_status status = allocate(n, size, &block);
    if (status != AC_OK)
        return status;
    if (old) {
        size_t kept = header_of(old)->bytes < n * size ? header_of(old)->bytes : n * size;
        memcpy(block, old, kept);
        ac_free(old);
    }
    memcpy(inout, &block, sizeof block);
    return AC_OK;
}

ac_status ac_reserve(void *array, size_t *capacity, size_t wanted, size_t size)
{
    size_t larger = *capacity ? *capacity : 16;
    if (wanted <= *capacity)
        return AC_OK;
    while (larger < wanted)
        larger = larger > SIZE_MAX / 2 ? wanted : 2 * larger;
    ac_status status = ac_realloc(array, larger, size);
    if (status == AC_OK)
        *capacity = larger;
    return status;
}

ac_status ac_strdup(const char *text, char **out)
{
    size_t n = strlen(text) + 1;
    ac_status status = ac_malloc(n, 1, out);
    if (status == AC_OK)
        memcpy(*out, text, n);
    return status;
}

void ac_free(void *block)
{
    if (!block)
        return;
    atomic_fetch_sub(&live_bytes, header_of(block)->bytes);
    atomic_fetch_sub(&n_live, 1);
    free(header_of(block));
}

ac_alloc_stats ac_alloc_get_stats(void)
{
    return (ac_alloc_stats){atomic_load(&n_calls), atomic_load(&live_bytes), atomic_load(&peak_bytes), atomic_load(&n_live)};
}

void ac_alloc_fail_at(uint64_t n)
{
    atomic_store(&fail_at, n);
}
