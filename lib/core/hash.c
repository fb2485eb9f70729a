/* Content hashes on top of xxHash. */
#include "anyclass/hash.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

ac_hash ac_hash_bytes(const void *bytes, size_t n)
{
    XXH128_hash_t h = XXH3_128bits(bytes, n);
    return (ac_hash){h.low64, h.high64};
}

uint64_t ac_hash64_bytes(const void *bytes, size_t n)
{
    return XXH3_64bits(bytes, n);
}

int ac_hash_equal(ac_hash a, ac_hash b)
{
    return a.low == b.low && a.high == b.high;
}

void ac_hash_format(ac_hash hash, char out[AC_HASH_TEXT_BYTES])
{
    snprintf(out, AC_HASH_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

ac_status ac_hash_parse(const char *text, ac_hash *out)
{
    uint64_t half[2] = {0, 0};
    size_t n = strlen(text);
    for (size_t i = 0; i < n && n == AC_HASH_TEXT_BYTES - 1; i++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, text[i]);
        if (!at)
            return ac_error(AC_ERR_DATA, "'%s' is no hash", text);
        half[i / 16] = half[i / 16] << 4 | (uint64_t)(at - digits);
    }
    if (n != AC_HASH_TEXT_BYTES - 1)
        return ac_error(AC_ERR_DATA, "'%.40s' is no hash", text);
    *out = (ac_hash){half[1], half[0]};
    return AC_OK;
}
