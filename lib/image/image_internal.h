/* What the files of lib/image share. Not installed. */
#ifndef ANYCLASS_LIB_IMAGE_INTERNAL_H
#define ANYCLASS_LIB_IMAGE_INTERNAL_H

#include "anyclass/image.h"

/** AC_ERR_DATA when a side that a header states is not positive or the image has more than `max_pixels` (as in
 * ac_decode_options: 0 = Pillow's limit). To be called before memory is taken. */
AC_NODISCARD ac_status ac_image_check_size(int64_t width_px, int64_t height_px, int64_t max_pixels);

/** Set the size of `image` to checked sides and make room for its pixels; AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_image_reserve(ac_image *image, int width_px, int height_px);

/** Decoders of one kind each; `bytes` starts with that kind's first bytes.
 * @param[out] orientation  EXIF orientation 1 .. 8 when options->apply_orientation, else 1 */
AC_NODISCARD ac_status ac_jpeg_decode(const uint8_t *bytes, size_t n_bytes, const ac_decode_options *options,
                                      ac_image *image, int *orientation);
AC_NODISCARD ac_status ac_png_decode(const uint8_t *bytes, size_t n_bytes, const ac_decode_options *options,
                                     ac_image *image, int *orientation);

/** Orientation 1 .. 8 from a TIFF structure (an EXIF segment behind its "Exif\0\0", or a PNG eXIf chunk); 1 when it is
 * absent, out of range or the structure is damaged: a bad EXIF block says nothing about the pixels. */
int ac_exif_orientation(const uint8_t *tiff, size_t n_bytes);

/** Turn and mirror `image` so that orientation `orientation` (1 .. 8) becomes 1. AC_ERR_MEMORY leaves it unchanged. */
AC_NODISCARD ac_status ac_image_orient(ac_image *image, int orientation);

/** First to last pixel: spread n grey values into n RGB pixels. `grey` may lie in the last n bytes of `rgb`. */
static inline void ac_image_spread_grey(const uint8_t *grey, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t value = grey[i];
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = value;
    }
}

#endif
