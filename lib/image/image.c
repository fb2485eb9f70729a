/* Size and memory of images. */
#include "image_internal.h"
#include "anyclass/alloc.h"
#include <inttypes.h>
#include <limits.h>

static const int64_t DEFAULT_MAX_PIXELS = 178956970; /* twice Pillow's MAX_IMAGE_PIXELS: where it raises an error */

ac_status ac_image_check_size(int64_t width_px, int64_t height_px, int64_t max_pixels)
{
    if (max_pixels <= 0)
        max_pixels = DEFAULT_MAX_PIXELS;
    if (width_px < 1 || height_px < 1 || width_px > INT_MAX || height_px > INT_MAX)
        return ac_error(AC_ERR_DATA, "impossible size of %" PRId64 " x %" PRId64 " pixels", width_px, height_px);
    if (width_px > max_pixels / height_px)
        return ac_error(AC_ERR_DATA,
                        "%" PRId64 " x %" PRId64 " pixels are more than the limit of %" PRId64 " (decompression bomb?)",
                        width_px, height_px, max_pixels);
    return AC_OK;
}

ac_status ac_image_reserve(ac_image *image, int width_px, int height_px)
{
    const size_t n_pixels = (size_t)width_px * (size_t)height_px;
    if (!image->pixel || image->capacity / 3 < n_pixels) {
        ac_image_release(image);
        const ac_status status = ac_malloc(n_pixels, 3, &image->pixel);
        if (status != AC_OK)
            return status;
        image->capacity = n_pixels * 3;
    }
    image->width_px = width_px;
    image->height_px = height_px;
    return AC_OK;
}

void ac_image_release(ac_image *image)
{
    ac_free(image->pixel);
    *image = (ac_image){0};
}
