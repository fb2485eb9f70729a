/* Counted allocation: all memory of the library goes through here, so that tests can count it and make the n-th
 * request fail. Thread-safe. Memory is released with ac_free() only. */
#ifndef ANYCLASS_ALLOC_H
#define ANYCLASS_ALLOC_H

#include "anyclass/status.h"
#include <stddef.h>
#include <stdint.h>

enum { AC_ALIGN_BYTES = 64 }; /* alignment of every block: a cache line, and the widest vector */

/** Allocate n * size bytes, zeroed, aligned to AC_ALIGN_BYTES.
 * @param[out] out  the block, owned by the caller; NULL after a failure. n * size == 0 gives a valid block.
 * @return AC_OK; AC_ERR_MEMORY with the size in the text (overflow of n * size included). */
AC_NODISCARD ac_status ac_calloc(size_t n, size_t size, void *out);

/** Like ac_calloc(), not zeroed. */
AC_NODISCARD ac_status ac_malloc(size_t n, size_t size, void *out);

/** Grow or shrink the block *inout to n * size bytes; the common part is kept. On failure *inout is unchanged. */
AC_NODISCARD ac_status ac_realloc(void *inout, size_t n, size_t size);

/** Make room for at least `wanted` items of `size` bytes in a growing array (doubling).
 * @param[in,out] array     address of the array pointer
 * @param[in,out] capacity  items it has room for */
AC_NODISCARD ac_status ac_reserve(void *array, size_t *capacity, size_t wanted, size_t size);

/** Copy of a string; owned by the caller. */
AC_NODISCARD ac_status ac_strdup(const char *text, char **out);

/** Release a block; NULL is allowed. */
void ac_free(void *block);

typedef struct ac_alloc_stats {
    uint64_t n_calls;    /* requests so far, failed ones included */
    uint64_t live_bytes; /* now */
    uint64_t peak_bytes; /* most at one time */
    uint64_t n_live;     /* blocks not yet released */
} ac_alloc_stats;

/** Counters of this process. */
ac_alloc_stats ac_alloc_get_stats(void);

/** Test aid: let the n-th request from now fail (1 = the next), once. 0 switches it off. */
void ac_alloc_fail_at(uint64_t n);

#endif
