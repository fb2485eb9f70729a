/* The EXIF orientation: reads it from a TIFF structure and applies it to an image. Leaves finding the structure in a
 * file to jpeg.c and png.c. Only EXIF blocks count: an orientation in XMP or in a text chunk is not looked for. */
#include "image_internal.h"
#include "anyclass/alloc.h"
#include <string.h>

enum { TAG_ORIENTATION = 0x0112, ENTRY_BYTES = 12, TYPE_BYTE = 1, TYPE_SHORT = 3, TYPE_LONG = 4 };

typedef struct tiff {
    const uint8_t *bytes;
    size_t n;
    bool big_endian;
} tiff;

static uint32_t get(const tiff *t, size_t at, unsigned n)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value = value << 8 | t->bytes[at + (t->big_endian ? i : n - 1 - i)];
    return value;
}

static int entry_orientation(const tiff *t, size_t at)
{
    uint32_t value = 0;
    if (get(t, at + 4, 4) != 1)
        return 1;
    switch (get(t, at + 2, 2)) {
    case TYPE_BYTE:
        value = get(t, at + 8, 1);
        break;
    case TYPE_SHORT:
        value = get(t, at + 8, 2);
        break;
    case TYPE_LONG:
        value = get(t, at + 8, 4);
        break;
    default:
        break;
    }
    return value >= 1 && value <= 8 ? (int)value : 1;
}

int ac_exif_orientation(const uint8_t *bytes, size_t n_bytes)
{
    tiff t = {bytes, n_bytes, false};
    if (n_bytes < 8)
        return 1;
    if (memcmp(bytes, "MM\0*", 4) == 0)
        t.big_endian = true;
    else if (memcmp(bytes, "II*\0", 4) != 0)
        return 1;
    const size_t directory = get(&t, 4, 4);
    if (directory > n_bytes - 2)
        return 1;
    const size_t n_entries = get(&t, directory, 2);
    for (size_t i = 0; i < n_entries; i++) {
        const size_t at = directory + 2 + i * ENTRY_BYTES;
        if (at + ENTRY_BYTES > n_bytes)
            return 1;
        if (get(&t, at, 2) == TAG_ORIENTATION)
            return entry_orientation(&t, at);
    }
    return 1;
}

ac_status ac_image_orient(ac_image *image, int orientation)
{
    /* new pixel (x, y) comes from old (x, y) or, transposed, (y, x), mirrored afterwards: table of EXIF 2.3, 4.6.4 A */
    static const struct {
        bool transpose, mirror_x, mirror_y;
    } turn[9] = {[2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
                 [5] = {true, false, false}, [6] = {true, false, true}, [7] = {true, true, true},
                 [8] = {true, true, false}};
    if (orientation <= 1 || orientation > 8)
        return AC_OK;
    const size_t width = (size_t)image->width_px, height = (size_t)image->height_px;
    const bool transpose = turn[orientation].transpose;
    const size_t new_width = transpose ? height : width, new_height = transpose ? width : height;
    uint8_t *turned = NULL;
    const ac_status status = ac_malloc(width * height, 3, &turned);
    if (status != AC_OK)
        return status;
    uint8_t *to = turned;
    for (size_t y = 0; y < new_height; y++) {
        for (size_t x = 0; x < new_width; x++, to += 3) {
            size_t from_x = transpose ? y : x, from_y = transpose ? x : y;
            if (turn[orientation].mirror_x)
                from_x = width - 1 - from_x;
            if (turn[orientation].mirror_y)
                from_y = height - 1 - from_y;
            memcpy(to, image->pixel + (from_y * width + from_x) * 3, 3);
        }
    }
    ac_free(image->pixel);
    image->pixel = turned;
    image->capacity = width * height * 3;
    image->width_px = (int)new_width;
    image->height_px = (int)new_height;
    return AC_OK;
}
