/* The chunks of a PNG file: checks its structure and finds the parts that make pixels. Leaves these to png.c. */
#ifndef ANYCLASS_LIB_IMAGE_PNG_CHUNKS_H
#define ANYCLASS_LIB_IMAGE_PNG_CHUNKS_H

#include "anyclass/status.h"
#include <stddef.h>
#include <stdint.h>

enum { AC_PNG_SIGNATURE_BYTES = 8, AC_PNG_AROUND_BYTES = 12 }; /* a chunk is 12 bytes longer than its data */

typedef struct ac_png_part {
    const uint8_t *bytes; /* in the file; NULL: absent */
    size_t n;
} ac_png_part;

typedef struct ac_png_chunks {
    uint32_t width_px, height_px;
    int bit_depth, colour_type;
    ac_png_part header;     /* signature and IHDR chunk */
    ac_png_part palette;    /* the PLTE chunk, whole */
    ac_png_part pixel_data; /* the first unbroken run of IDAT chunks, whole */
    ac_png_part exif;       /* data of the first eXIf chunk */
    const char *oddity;     /* damage behind the pixel data that Pillow passes over; NULL: none */
} ac_png_chunks;

/** Read the structure of a file that starts with the PNG signature. As Pillow does it: up to the pixel data every
 * chunk must be whole and have the right CRC; behind them a chunk must be whole, its CRC is not looked at.
 * The CRC of the pixel data is left to libpng.
 * @return AC_OK; AC_ERR_DATA with the reason. */
AC_NODISCARD ac_status ac_png_read_chunks(const uint8_t *bytes, size_t n_bytes, ac_png_chunks *out);

/** CRC-32 (ISO 3309, as in PNG and zlib) of bytes. */
uint32_t ac_png_crc32(const uint8_t *bytes, size_t n);

#endif
