/* Walks over the chunks of a PNG file. Ancillary chunks never reach libpng, so a bad colour profile or text cannot
 * reject an image, and nothing but the pixel data can cause a warning. */
#include "png_chunks.h"
#include <stdbool.h>
#include <string.h>

typedef struct chunk {
    const uint8_t *start; /* of the length field */
    const uint8_t *data;
    size_t n; /* bytes of data */
    char type[5];
} chunk;

uint32_t ac_png_crc32(const uint8_t *bytes, size_t n)
{
    uint32_t table[16]; /* one entry per half byte: small enough to be made anew */
    for (uint32_t i = 0; i < 16; i++) {
        table[i] = i;
        for (int bit = 0; bit < 4; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320u : table[i] >> 1;
    }
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

static uint32_t get32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool is(const chunk *c, const char *type)
{
    return memcmp(c->type, type, 4) == 0;
}

/* Read the chunk at `at`. False: there is no sound length and name (the file may be over). */
static bool read_chunk(const uint8_t *bytes, size_t n_bytes, size_t at, chunk *out)
{
    if (n_bytes - at < 8)
        return false;
    out->start = bytes + at;
    out->data = bytes + at + 8;
    out->n = get32(out->start);
    memcpy(out->type, out->start + 4, 4);
    out->type[4] = 0;
    for (int i = 0; i < 4; i++)
        if (!((out->type[i] >= 'A' && out->type[i] <= 'Z') || (out->type[i] >= 'a' && out->type[i] <= 'z')))
            return false;
    return true;
}

/* bytes of the file behind the chunk's data; -1: the data themselves pass the end */
static int64_t bytes_behind(const uint8_t *bytes, size_t n_bytes, const chunk *c)
{
    const size_t left = n_bytes - (size_t)(c->data - bytes);
    return left < c->n ? -1 : (int64_t)(left - c->n);
}

static ac_status check_crc(const chunk *c)
{
    if (ac_png_crc32(c->start + 4, c->n + 4) != get32(c->data + c->n))
        return ac_error(AC_ERR_DATA, "PNG: wrong CRC of chunk %s", c->type);
    return AC_OK;
}

static ac_status read_header(const chunk *c, ac_png_chunks *out)
{
    static const struct {
        int colour_type, bit_depths; /* bit i set: depth i is allowed (PNG 1.2, 4.1.1) */
    } allowed[] = {{0, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 16}, {2, 1 << 8 | 1 << 16},
                   {3, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8}, {4, 1 << 8 | 1 << 16}, {6, 1 << 8 | 1 << 16}};
    if (!is(c, "IHDR"))
        return ac_error(AC_ERR_DATA, "PNG: the first chunk is %s, not IHDR", c->type);
    if (c->n != 13)
        return ac_error(AC_ERR_DATA, "PNG: header chunk of %zu bytes, not 13", c->n);
    out->width_px = get32(c->data);
    out->height_px = get32(c->data + 4);
    out->bit_depth = c->data[8];
    out->colour_type = c->data[9];
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (out->colour_type == allowed[i].colour_type && out->bit_depth <= 16 &&
            allowed[i].bit_depths >> out->bit_depth & 1)
            return AC_OK;
    return ac_error(AC_ERR_DATA, "PNG: no such colour type and bit depth: %d, %d", out->colour_type, out->bit_depth);
}

static ac_png_part whole(const chunk *c)
{
    return (ac_png_part){c->start, c->n + AC_PNG_AROUND_BYTES};
}

static void note_exif(const chunk *c, ac_png_chunks *out)
{
    if (is(c, "eXIf") && !out->exif.bytes)
        out->exif = (ac_png_part){c->data, c->n};
}

/* Everything before the pixel data. *at ends at the first IDAT chunk. */
static ac_status read_front(const uint8_t *bytes, size_t n_bytes, size_t *at, ac_png_chunks *out)
{
    chunk c;
    for (;;) {
        if (n_bytes - *at < 8)
            return ac_error(AC_ERR_DATA, "PNG: truncated before its pixel data (file of %zu bytes)", n_bytes);
        if (!read_chunk(bytes, n_bytes, *at, &c))
            return ac_error(AC_ERR_DATA, "PNG: broken chunk at byte %zu", *at);
        if (is(&c, "IDAT") && out->header.bytes)
            return AC_OK;
        if (bytes_behind(bytes, n_bytes, &c) < 4)
            return ac_error(AC_ERR_DATA, "PNG: truncated in chunk %s (file of %zu bytes)", c.type, n_bytes);
        ac_status status = check_crc(&c);
        if (status == AC_OK && !out->header.bytes) {
            status = read_header(&c, out);
            out->header = (ac_png_part){bytes, AC_PNG_SIGNATURE_BYTES + AC_PNG_AROUND_BYTES + c.n};
        }
        if (status != AC_OK)
            return status;
        if (is(&c, "IEND"))
            return ac_error(AC_ERR_DATA, "PNG: no pixel data");
        if (is(&c, "IHDR") && *at != AC_PNG_SIGNATURE_BYTES)
            return ac_error(AC_ERR_DATA, "PNG: a second header at byte %zu", *at);
        if (is(&c, "PLTE"))
            out->palette = whole(&c);
        note_exif(&c, out);
        *at += c.n + AC_PNG_AROUND_BYTES;
    }
}

/* The pixel data and what is behind them. */
static ac_status read_rest(const uint8_t *bytes, size_t n_bytes, size_t at, ac_png_chunks *out)
{
    chunk c;
    const size_t first = at;
    bool in_run = true;
    while (read_chunk(bytes, n_bytes, at, &c)) {
        const int64_t behind = bytes_behind(bytes, n_bytes, &c);
        const bool is_data = is(&c, "IDAT"), is_end = is(&c, "IEND"); /* nobody reads what the end chunk holds */
        if ((behind < 0 && !is_end) || (is_data && behind < 4))
            return ac_error(AC_ERR_DATA, "PNG: truncated in chunk %s (file of %zu bytes)", c.type, n_bytes);
        in_run = in_run && is_data;
        if (in_run)
            out->pixel_data = (ac_png_part){bytes + first, at + c.n + AC_PNG_AROUND_BYTES - first};
        else if (is_data)
            out->oddity = "pixel data in two places";
        else if (is(&c, "IHDR"))
            out->oddity = "a second header behind its pixel data";
        note_exif(&c, out);
        if (behind < 4)
            break;
        if (is_end)
            return AC_OK;
        at += c.n + AC_PNG_AROUND_BYTES;
    }
    out->oddity = "truncated behind its pixel data";
    return AC_OK;
}

ac_status ac_png_read_chunks(const uint8_t *bytes, size_t n_bytes, ac_png_chunks *out)
{
    size_t at = AC_PNG_SIGNATURE_BYTES;
    *out = (ac_png_chunks){0};
    const ac_status status = read_front(bytes, n_bytes, &at, out);
    return status == AC_OK ? read_rest(bytes, n_bytes, at, out) : status;
}
