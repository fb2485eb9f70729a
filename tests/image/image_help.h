/* What the tests of images share: reading fixtures, decoding a copy with guarded ends. */
#ifndef ANYCLASS_TESTS_IMAGE_HELP_H
#define ANYCLASS_TESTS_IMAGE_HELP_H

#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/image.h"
#include "image/png_chunks.h"
#include <string.h>

#define FIXTURES "tests/image/fixtures/"

static inline ac_status read_fixture(const char *name, uint8_t **bytes, size_t *n_bytes)
{
    char path[256];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    return ac_file_read_all(path, 0, bytes, n_bytes);
}

/* Decode a copy in a block of exactly n_bytes, so that AddressSanitizer sees every read past its end. */
static inline ac_status decode_copy(const uint8_t *bytes, size_t n_bytes, const ac_decode_options *options, ac_image *image)
{
    uint8_t *copy = NULL;
    ac_status status = ac_malloc(n_bytes, 1, &copy);
    if (status != AC_OK)
        return status;
    memcpy(copy, bytes, n_bytes);
    status = ac_image_decode(copy, n_bytes, options, image);
    ac_free(copy);
    return status;
}

static inline uint32_t image_crc(const ac_image *image)
{
    return ac_png_crc32(image->pixel, (size_t)image->width_px * (size_t)image->height_px * 3);
}

#endif
