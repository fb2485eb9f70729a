/* Content hashes on top of xxHash. */
#include "anyclass/hash.h"
#include "anyclass/alloc.h"
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

ac_status ac_hash_file(const char *path, ac_hash *out)
{
    enum { PIECE_BYTES = 1 << 20 };
    ac_status status = AC_OK;
    XXH3_state_t *state = NULL;
    uint8_t *piece = NULL;
    size_t n;
    FILE *file = fopen(path, "rb");
    if (!file)
        return ac_error_errno("%s", path);
    AC_TRY(ac_malloc(PIECE_BYTES, 1, &piece));
    state = XXH3_createState();
    if (!state)
        AC_TRY(ac_error(AC_ERR_MEMORY, "cannot allocate a hash state"));
    XXH3_128bits_reset(state);
    while ((n = fread(piece, 1, PIECE_BYTES, file)) > 0)
        XXH3_128bits_update(state, piece, n);
    if (ferror(file))
        AC_TRY(ac_error_errno("%s: read", path));
    XXH128_hash_t h = XXH3_128bits_digest(state);
    *out = (ac_hash){h.low64, h.high64};
out:
    XXH3_freeState(state);
    ac_free(piece);
    fclose(file);
    return status;
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
