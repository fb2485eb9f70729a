/* PNG to RGB through libpng, as Pillow's convert("RGB") sees the file: transparency, gamma and colour profiles are
 * ignored, 16-bit grey is clipped at 255, other 16-bit values keep their high byte, palette indices without an entry
 * become grey. libpng is given the chunks that make pixels and no others (png_chunks.c).
 * setjmp / longjmp stay inside this file. */
#include "image_internal.h"
#include "png_chunks.h"
#include "anyclass/alloc.h"
#include <png.h>
#include <setjmp.h>
#include <string.h>

enum { N_PARTS = 4 };
/* deflate packs at most 258 bytes into two bits */
static const uint64_t MAX_DEFLATE_RATIO = 1032;

typedef struct decoder {
    png_structp png;
    png_infop info;
    ac_png_part parts[N_PARTS]; /* what libpng still has to read, in order */
    int part;
    ac_status status; /* why libpng was left */
    const ac_decode_options *options;
    ac_image *image;
    png_bytep *rows; /* where libpng puts each row */
    ac_png_chunks chunks;
} decoder;

static void read_parts(png_structp png, png_bytep to, size_t n)
{
    decoder *d = png_get_io_ptr(png);
    while (n > 0) {
        while (d->part < N_PARTS && d->parts[d->part].n == 0)
            d->part++;
        if (d->part == N_PARTS)
            png_error(png, "truncated pixel data");
        ac_png_part *from = &d->parts[d->part];
        const size_t step = n < from->n ? n : from->n;
        memcpy(to, from->bytes, step);
        from->bytes += step;
        from->n -= step;
        to += step;
        n -= step;
    }
}

static void on_error(png_structp png, png_const_charp text)
{
    decoder *d = png_get_error_ptr(png);
    if (d->status == AC_OK)
        d->status = ac_error(AC_ERR_DATA, "PNG: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    decoder *d = png_get_error_ptr(png);
    /* bytes behind a complete image that has passed its checksum */
    static const char *const harmless[] = {"Extra compressed data", "Too much image data"};
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strstr(text, harmless[i]))
            return;
    if (d->options->allow_warnings || d->status != AC_OK)
        return;
    d->status = ac_error(AC_ERR_DATA, "PNG warning: %s", text);
    png_longjmp(png, 1);
}

static png_voidp take_memory(png_structp png, png_alloc_size_t n)
{
    decoder *d = png_get_mem_ptr(png);
    void *block = NULL;
    const ac_status status = ac_malloc(n, 1, &block);
    if (status != AC_OK)
        d->status = status;
    return block;
}

static void give_memory(png_structp png, png_voidp block)
{
    (void)png;
    ac_free(block);
}

/* Palette indices, one byte each, to RGB; the largest index is returned. `index` may lie in the last n bytes of `rgb`. */
static uint8_t spread_indices(const uint8_t palette[256][3], const uint8_t *index, size_t n, uint8_t *rgb)
{
    uint8_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = index[i] > largest ? index[i] : largest;
        memcpy(rgb + 3 * i, palette[index[i]], 3);
    }
    return largest;
}

/* Big-endian 16-bit grey to RGB. `grey` may lie in the last 2 n bytes of `rgb`. */
static void spread_grey16(const uint8_t *grey, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t value = grey[2 * i] ? 255 : grey[2 * i + 1];
        memset(rgb + 3 * i, value, 3);
    }
}

static bool is_grey16(const decoder *d)
{
    return d->chunks.colour_type == PNG_COLOR_TYPE_GRAY && d->chunks.bit_depth == 16;
}

/* Ask libpng for RGB, or for what spread_indices() and spread_grey16() take. */
static void set_transformations(decoder *d)
{
    if (d->chunks.colour_type == PNG_COLOR_TYPE_PALETTE) {
        png_set_packing(d->png);
        return;
    }
    if (is_grey16(d))
        return;
    png_set_expand_gray_1_2_4_to_8(d->png);
    png_set_strip_16(d->png);
    png_set_strip_alpha(d->png);
    png_set_gray_to_rgb(d->png);
}

static ac_status spread_palette(decoder *d)
{
    const size_t width = d->chunks.width_px, n_bytes = d->chunks.palette.n - AC_PNG_AROUND_BYTES;
    uint8_t palette[256][3], largest = 0;
    for (int i = 0; i < 256; i++)
        memset(palette[i], i, 3);
    memcpy(palette, d->chunks.palette.bytes + 8, n_bytes < sizeof palette ? n_bytes : sizeof palette);
    for (size_t y = 0; y < d->chunks.height_px; y++) {
        const uint8_t in_row = spread_indices(palette, d->rows[y], width, d->image->pixel + y * width * 3);
        largest = in_row > largest ? in_row : largest;
    }
    if (largest >= n_bytes / 3 && !d->options->allow_warnings)
        return ac_error(AC_ERR_DATA, "PNG: palette index %d, the palette has %zu entries", largest, n_bytes / 3);
    return AC_OK;
}

static ac_status read_pixels(decoder *d)
{
    const size_t width = d->chunks.width_px, height = d->chunks.height_px;
    png_set_crc_action(d->png, PNG_CRC_WARN_USE, PNG_CRC_DEFAULT);
    png_set_benign_errors(d->png, 1);
    png_set_user_limits(d->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_check_for_invalid_index(d->png, -1); /* done by spread_palette(), at every bit depth */
    /* some writers state a smaller window than they used */
    png_set_option(d->png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON);
    png_set_read_fn(d->png, d, read_parts);
    png_read_info(d->png, d->info);
    set_transformations(d);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    const size_t row_bytes = png_get_rowbytes(d->png, d->info);
    if (row_bytes > width * 3)
        return ac_error(AC_ERR_DATA, "PNG: rows of %zu bytes for %zu pixels", row_bytes, width);
    /* rows that are not RGB yet stand at the end of their place, so that they can be spread where they are */
    for (size_t y = 0; y < height; y++)
        d->rows[y] = d->image->pixel + (y + 1) * width * 3 - row_bytes;
    png_read_image(d->png, d->rows);
    png_read_end(d->png, NULL);
    if (d->chunks.colour_type == PNG_COLOR_TYPE_PALETTE)
        return spread_palette(d);
    for (size_t y = 0; y < height && is_grey16(d); y++)
        spread_grey16(d->rows[y], width, d->image->pixel + y * width * 3);
    return AC_OK;
}

/* The only frame that png_longjmp() returns to; it has no locals that could be lost. */
static ac_status read_pixels_guarded(decoder *d)
{
    if (setjmp(png_jmpbuf(d->png)))
        return d->status;
    return read_pixels(d);
}

/* Refuse before memory is taken what cannot hold the pixels that it promises. */
static ac_status check_amount(const ac_png_chunks *chunks, int64_t max_pixels)
{
    static const int channels[7] = {1, 0, 3, 1, 2, 0, 4};
    const ac_status status = ac_image_check_size(chunks->width_px, chunks->height_px, max_pixels);
    if (status != AC_OK)
        return status;
    const uint64_t bits = (uint64_t)chunks->bit_depth * (uint64_t)channels[chunks->colour_type];
    const uint64_t need = ((uint64_t)chunks->width_px * bits + 7) / 8 * chunks->height_px;
    if (need / MAX_DEFLATE_RATIO > chunks->pixel_data.n)
        return ac_error(AC_ERR_DATA, "PNG: truncated: %zu bytes cannot hold %u x %u pixels", chunks->pixel_data.n,
                        (unsigned)chunks->width_px, (unsigned)chunks->height_px);
    if (chunks->colour_type == PNG_COLOR_TYPE_PALETTE && !chunks->palette.bytes)
        return ac_error(AC_ERR_DATA, "PNG: palette image without a palette");
    return AC_OK;
}

static void lay_out_parts(decoder *d)
{
    static const uint8_t end[AC_PNG_AROUND_BYTES] = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82};
    d->parts[0] = d->chunks.header;
    if (d->chunks.colour_type == PNG_COLOR_TYPE_PALETTE)
        d->parts[1] = d->chunks.palette;
    d->parts[2] = d->chunks.pixel_data;
    d->parts[3] = (ac_png_part){end, sizeof end};
}

ac_status ac_png_decode(const uint8_t *bytes, size_t n_bytes, const ac_decode_options *options, ac_image *image,
                        int *orientation)
{
    ac_status status = AC_OK;
    decoder d = {.options = options, .image = image};
    AC_TRY(ac_png_read_chunks(bytes, n_bytes, &d.chunks));
    AC_TRY(check_amount(&d.chunks, options->max_pixels));
    if (d.chunks.oddity && !options->allow_warnings)
        AC_TRY(ac_error(AC_ERR_DATA, "PNG: %s", d.chunks.oddity));
    AC_TRY(ac_image_reserve(image, (int)d.chunks.width_px, (int)d.chunks.height_px));
    AC_TRY(ac_malloc(d.chunks.height_px, sizeof *d.rows, &d.rows));
    lay_out_parts(&d);
    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d, take_memory, give_memory);
    if (d.png)
        d.info = png_create_info_struct(d.png);
    if (!d.info)
        AC_TRY(d.status != AC_OK ? d.status : ac_error(AC_ERR_MEMORY, "PNG: libpng does not start"));
    AC_TRY(read_pixels_guarded(&d));
    if (options->apply_orientation && d.chunks.exif.bytes)
        *orientation = ac_exif_orientation(d.chunks.exif.bytes, d.chunks.exif.n);
out:
    if (d.png)
        png_destroy_read_struct(&d.png, &d.info, NULL);
    ac_free(d.rows);
    return status;
}
