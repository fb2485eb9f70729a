/* What the targets of sealed files share. */
#ifndef ANYCLASS_TESTS_FUZZ_SEAL_H
#define ANYCLASS_TESTS_FUZZ_SEAL_H

#include "anyclass/hash.h"
#include <stdint.h>
#include <string.h>

/* Put the right hash behind the lines of the seal's block, if there is one. */
static inline void fuzz_mend_seal(uint8_t *block, size_t n, size_t n_block)
{
    char hash[AC_HASH_TEXT_BYTES];
    for (size_t at = 1; n >= n_block && at + 38 < n_block; at++)
        if (block[at - 1] == '\n' && memcmp(block + at, "seal ", 5) == 0) {
            ac_hash_format(ac_hash_bytes(block, at), hash);
            memcpy(block + at + 5, hash, sizeof hash - 1);
            return;
        }
}

#endif
