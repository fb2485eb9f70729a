/* Content hashes: XXH3-128 of bytes, for shards, samples, tensors and parameters. Detects damage, not malice. */
#ifndef ANYCLASS_HASH_H
#define ANYCLASS_HASH_H

#include "anyclass/status.h"
#include <stddef.h>
#include <stdint.h>

enum { AC_HASH_TEXT_BYTES = 33 };

typedef struct ac_hash {
    uint64_t low, high;
} ac_hash;

/** XXH3-128 of bytes in memory; of nothing too. */
ac_hash ac_hash_bytes(const void *bytes, size_t n);
/** 64-bit XXH3 of bytes: the hash of one image in a shard. */
uint64_t ac_hash64_bytes(const void *bytes, size_t n);
/** 1 when both halves are equal, else 0. */
int ac_hash_equal(ac_hash a, ac_hash b);
/** 32 hexadecimal digits, high half first. */
void ac_hash_format(ac_hash hash, char out[AC_HASH_TEXT_BYTES]);
/** Read ac_hash_format()'s text back. AC_ERR_DATA for anything but 32 hexadecimal digits. */
AC_NODISCARD ac_status ac_hash_parse(const char *text, ac_hash *out);

#endif
