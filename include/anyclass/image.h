/* Images: JPEG and PNG to 8-bit RGB as Pillow's convert("RGB") gives it, and Pillow's antialiased bilinear resize,
 * bit for bit. Knows nothing of data sets or shards. Not collective; every function may run in many threads at once. */
#ifndef ANYCLASS_IMAGE_H
#define ANYCLASS_IMAGE_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ac_image {
    uint8_t *pixel; /* [height, width, 3] RGB, owned (ac_free); room for capacity bytes, kept between decodes */
    size_t capacity;
    int width_px, height_px;
} ac_image;

typedef struct ac_decode_options {
    bool allow_warnings;    /* accept damage that Pillow passes over: what libjpeg / libpng call a warning (stray bytes,
                               an early end marker, a wrong CRC of pixel data, a palette index without an entry), missing
                               scans of a progressive JPEG and a missing end; truncated pixel data are refused all the
                               same */
    bool apply_orientation; /* apply the orientation in the EXIF block (Pillow and the reference ignore it) */
    int min_side_px;        /* > 0: JPEG may be decoded at 1/2, 1/4 or 1/8 scale as long as both sides stay at least this
                               long ("fast decode", not bit-equal); 0: full size */
    int64_t max_pixels;     /* refuse larger headers before memory is taken; 0 = 178,956,970 (Pillow's error limit) */
} ac_decode_options;

/** Decode a JPEG or PNG file held in memory; the kind is found from the first bytes.
 * @param[in]     bytes   the file
 * @param[in,out] image   zeroed or used before; its memory is used again. Release with ac_image_release().
 * @return AC_OK; AC_ERR_DATA with the reason (not an image, truncated, corrupt, warning, too large, unsupported kind),
 *         AC_ERR_MEMORY. After a failure the pixels are undefined. */
AC_NODISCARD ac_status ac_image_decode(const uint8_t *bytes, size_t n_bytes, const ac_decode_options *options, ac_image *image);

/** Read a file and decode it; the text names the file. AC_ERR_IO when it cannot be read (AC_ERR_DATA when it is missing
 * is the caller's decision). `scratch` and `scratch_bytes` keep the file buffer between calls (start with NULL, 0;
 * release with ac_free). */
AC_NODISCARD ac_status ac_image_load(const char *path, const ac_decode_options *options, ac_image *image,
                                     uint8_t **scratch, size_t *scratch_bytes);

/** Safe on a zeroed struct, which is what it leaves. */
void ac_image_release(ac_image *image);

typedef enum ac_simd { /* instructions of the resize; every level gives the same bytes */
    AC_SIMD_AUTO,      /* the fastest that the processor supports */
    AC_SIMD_PLAIN,     /* C, everywhere */
    AC_SIMD_AVX2,
    AC_SIMD_AVX512, /* F, BW, VL, VBMI and VNNI: Intel since Ice Lake, AMD since Zen 4 */
    AC_SIMD_NEON,   /* aarch64 */
    AC_N_SIMD
} ac_simd;
#define AC_SIMD_CHOICES "auto|plain|avx2|avx512|neon" /* their names, in that order */

/** @return AC_OK when this processor supports `level`; else AC_ERR_USAGE with the levels that it does. */
AC_NODISCARD ac_status ac_simd_check(ac_simd level);

typedef struct ac_resizer ac_resizer; /* filter tables and row buffers, used again from image to image; one per thread */

/** @param size_px  side of the square result, 1 .. 4096
 * @return AC_OK; AC_ERR_RANGE, AC_ERR_MEMORY (*out is NULL). */
AC_NODISCARD ac_status ac_resizer_create(int size_px, ac_resizer **out);
/** Likewise with a level of one's own choice; AC_ERR_USAGE as from ac_simd_check(). */
AC_NODISCARD ac_status ac_resizer_create_with(int size_px, ac_simd level, ac_resizer **out);
/** Name of the level that it uses, never "auto". */
const char *ac_resizer_simd(const ac_resizer *resizer);
/** NULL is allowed. */
void ac_resizer_destroy(ac_resizer *resizer);
/** Resize without keeping the aspect ratio: Pillow's Image.resize((S, S), BILINEAR) with antialiasing, the same bytes.
 * @param[out] out  uint8 [S, S, 3], owned by the caller. */
AC_NODISCARD ac_status ac_resizer_run(ac_resizer *resizer, const ac_image *image, uint8_t *out);

enum { AC_IMAGE_REASON_BYTES = 240 };

typedef struct ac_image_reader { /* files to rows of pixels; zeroed at first, used again from image to image; one per thread */
    ac_image image;
    ac_resizer *resizer;
    uint8_t *scratch;
    size_t scratch_bytes;
} ac_image_reader;

/** Read a file, decode and resize it.
 * @param[out] out     uint8 [S, S, 3], S = size_px, the same in all calls; undefined for a bad image
 * @param[out] reason  why the image is bad, without the path; "": it is good
 * @return AC_OK for a bad image too (damaged, not an image, not there); AC_ERR_IO for a file that is there and cannot be read,
 *         AC_ERR_MEMORY, AC_ERR_RANGE, AC_ERR_USAGE (ac_simd_check()). */
AC_NODISCARD ac_status ac_image_reader_read(ac_image_reader *reader, const char *path, const ac_decode_options *options, ac_simd level,
                                            int size_px, uint8_t *out, char reason[AC_IMAGE_REASON_BYTES]);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_image_reader_release(ac_image_reader *reader);

/** Write RGB [height, width, 3] (channels 3) or grey [height, width] (channels 1) as JPEG / PNG at `path`: for demo
 * data, tests and thumbnails. */
AC_NODISCARD ac_status ac_image_write_jpeg(const char *path, const uint8_t *pixels, int width_px, int height_px, int channels, int quality);
/** The same JPEG in memory, with tables made for this image: for thumbnails inside another file. Chroma at half the size.
 * @param[in,out] out       grown as needed and used again; owned by the caller (ac_free). Start with NULL and capacity 0.
 * @param[out]    n_bytes   of the JPEG
 * @return AC_OK; AC_ERR_RANGE for a size or number of channels that there is not; AC_ERR_MEMORY; AC_ERR_IO from libjpeg. */
AC_NODISCARD ac_status ac_image_encode_jpeg(const uint8_t *pixels, int width_px, int height_px, int channels, int quality, uint8_t **out,
                                            size_t *capacity, size_t *n_bytes);
AC_NODISCARD ac_status ac_image_write_png(const char *path, const uint8_t *pixels, int width_px, int height_px, int channels);

#endif
