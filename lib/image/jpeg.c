/* JPEG to RGB through libjpeg-turbo, with the settings and the strictness of Pillow's decoder: the file is handed over
 * as a suspending source, so data that end early stop the decoder where libjpeg's own sources would make up grey.
 * setjmp / longjmp stay inside this file. libjpeg takes its working memory from malloc: it offers no hook. */
#include "image_internal.h"
#include "anyclass/alloc.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

/* No encoder writes so many; a small crafted file with more keeps a decoder busy for hours. A scan costs some bytes of
 * the file but a visit of every block, so from the usual number on they are counted in pixels: 2^30 take a second. */
enum { MAX_SCANS = 1000, USUAL_SCANS = 20 };
static const int64_t MAX_SCANNED_PIXELS = (int64_t)1 << 30;

typedef struct decoder {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    ac_status status; /* why `escape` was taken */
    const ac_decode_options *options;
    ac_image *image;
    uint8_t *line; /* one CMYK row */
    size_t n_bytes;
    int orientation;
} decoder;

static void on_error(j_common_ptr info)
{
    decoder *d = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    d->status = ac_error(info->err->msg_code == JERR_OUT_OF_MEMORY ? AC_ERR_MEMORY : AC_ERR_DATA, "JPEG: %s", text);
    longjmp(d->escape, 1);
}

/* Instead of libjpeg's, which prints on stderr. */
static void on_message(j_common_ptr info, int level)
{
    decoder *d = info->client_data;
    char text[JMSG_LENGTH_MAX];
    if (level >= 0) /* a trace message */
        return;
    info->err->num_warnings++;
    if (d->options->allow_warnings)
        return;
    info->err->format_message(info, text);
    d->status = ac_error(AC_ERR_DATA, "JPEG warning: %s", text);
    longjmp(d->escape, 1);
}

static void on_progress(j_common_ptr info)
{
    decoder *d = info->client_data;
    const int n = d->info.input_scan_number;
    const int64_t n_pixels = (int64_t)d->info.image_width * d->info.image_height;
    if (!info->is_decompressor || n <= USUAL_SCANS || (n <= MAX_SCANS && n * n_pixels <= MAX_SCANNED_PIXELS))
        return;
    d->status = ac_error(AC_ERR_DATA, "JPEG: more than %d scans of %" PRId64 " pixels", n - 1, n_pixels);
    longjmp(d->escape, 1);
}

static void source_start_end(j_decompress_ptr info)
{
    (void)info;
}

/* FALSE suspends: the whole file was given at the start, nothing more will come */
static boolean source_fill(j_decompress_ptr info)
{
    (void)info;
    return FALSE;
}

static void source_skip(j_decompress_ptr info, long n)
{
    struct jpeg_source_mgr *source = info->src;
    if (n <= 0)
        return;
    const size_t step = (size_t)n < source->bytes_in_buffer ? (size_t)n : source->bytes_in_buffer;
    source->next_input_byte += step;
    source->bytes_in_buffer -= step;
}

static ac_status truncated(const decoder *d, const char *where)
{
    return ac_error(AC_ERR_DATA, "JPEG: truncated %s (file of %zu bytes)", where, d->n_bytes);
}

/* Orientation in the first EXIF segment, as Pillow takes it. */
static int find_orientation(const struct jpeg_decompress_struct *info)
{
    for (jpeg_saved_marker_ptr m = info->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length >= 6 && memcmp(m->data, "Exif\0", 5) == 0)
            return ac_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

/* 1/2, 1/4 or 1/8 when both sides stay at least min_side_px long */
static void choose_scale(struct jpeg_decompress_struct *info, int min_side_px)
{
    const unsigned side = info->image_width < info->image_height ? info->image_width : info->image_height;
    unsigned scale = 8;
    if (min_side_px <= 0)
        return;
    while (scale > 1 && (side + scale - 1) / scale < (unsigned)min_side_px)
        scale /= 2;
    info->scale_num = 1;
    info->scale_denom = scale;
}

/* Pillow takes every four-channel JPEG as inverted CMYK; its conversion: nk - c * nk / 255, rounded, nk = 255 - k. */
static void cmyk_to_rgb(const uint8_t *inverted, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; i < n; i++) {
        const int white = inverted[4 * i + 3];
        for (int c = 0; c < 3; c++) {
            const int product = (255 - inverted[4 * i + c]) * white + 128;
            rgb[3 * i + c] = (uint8_t)(white - (((product >> 8) + product) >> 8));
        }
    }
}

static ac_status read_header(decoder *d)
{
    struct jpeg_decompress_struct *info = &d->info;
    int found = JPEG_HEADER_TABLES_ONLY;
    while (found == JPEG_HEADER_TABLES_ONLY)
        found = jpeg_read_header(info, FALSE);
    if (found != JPEG_HEADER_OK)
        return truncated(d, "in its header");
    if (info->num_components != 1 && info->num_components != 3 && info->num_components != 4)
        return ac_error(AC_ERR_DATA, "JPEG: %d channels", info->num_components);
    if (d->options->apply_orientation)
        d->orientation = find_orientation(info);
    info->out_color_space = info->num_components == 4 ? JCS_CMYK : JCS_RGB;
    return AC_OK;
}

/* A progressive file may end after any scan without a word from libjpeg, which then smooths the blocks, each version in
 * its own way. coef_bits: how many low bits of a coefficient are missing, -1: all. */
static ac_status check_scans(const decoder *d)
{
    const struct jpeg_decompress_struct *info = &d->info;
    for (int c = 0; info->coef_bits && c < info->num_components; c++)
        for (int i = 0; i < DCTSIZE2; i++)
            if (info->coef_bits[c][i] != 0)
                return ac_error(AC_ERR_DATA, "JPEG: progressive, and its last scans are missing");
    return AC_OK;
}

static ac_status read_rows(decoder *d)
{
    struct jpeg_decompress_struct *info = &d->info;
    const size_t width = info->output_width;
    while (info->output_scanline < info->output_height) {
        uint8_t *rgb = d->image->pixel + (size_t)info->output_scanline * width * 3;
        JSAMPROW row = d->line ? d->line : rgb;
        if (jpeg_read_scanlines(info, &row, 1) != 1)
            return truncated(d, "in its pixel data");
        if (d->line)
            cmyk_to_rgb(d->line, width, rgb);
    }
    return AC_OK;
}

static ac_status decode(decoder *d, const uint8_t *bytes)
{
    struct jpeg_decompress_struct *info = &d->info;
    ac_status status = AC_OK;
    jpeg_create_decompress(info);
    info->src = &d->source;
    info->progress = &d->progress;
    d->source = (struct jpeg_source_mgr){.next_input_byte = bytes,
                                         .bytes_in_buffer = d->n_bytes,
                                         .init_source = source_start_end,
                                         .fill_input_buffer = source_fill,
                                         .skip_input_data = source_skip,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = source_start_end};
    if (d->options->apply_orientation)
        jpeg_save_markers(info, JPEG_APP0 + 1, 0xffff);
    AC_TRY(read_header(d));
    AC_TRY(ac_image_check_size(info->image_width, info->image_height, d->options->max_pixels));
    choose_scale(info, d->options->min_side_px);
    jpeg_calc_output_dimensions(info);
    AC_TRY(ac_image_reserve(d->image, (int)info->output_width, (int)info->output_height));
    if (info->out_color_space == JCS_CMYK)
        AC_TRY(ac_malloc(info->output_width, 4, &d->line));
    if (!jpeg_start_decompress(info))
        AC_TRY(truncated(d, "before its last scan"));
    if (!d->options->allow_warnings)
        AC_TRY(check_scans(d));
    AC_TRY(read_rows(d));
    if (!jpeg_finish_decompress(info) && !d->options->allow_warnings)
        AC_TRY(truncated(d, "before its end marker"));
out:
    return status;
}

/* The only frame that longjmp() returns to; it has no locals that could be lost. */
static ac_status decode_guarded(decoder *d, const uint8_t *bytes)
{
    if (setjmp(d->escape))
        return d->status;
    return decode(d, bytes);
}

ac_status ac_jpeg_decode(const uint8_t *bytes, size_t n_bytes, const ac_decode_options *options, ac_image *image,
                         int *orientation)
{
    decoder d = {.options = options, .image = image, .n_bytes = n_bytes, .orientation = 1};
    d.info.err = jpeg_std_error(&d.errors);
    d.info.client_data = &d;
    d.errors.error_exit = on_error;
    d.errors.emit_message = on_message;
    d.progress.progress_monitor = on_progress;
    const ac_status status = decode_guarded(&d, bytes);
    jpeg_destroy_decompress(&d.info);
    ac_free(d.line);
    *orientation = d.orientation;
    return status;
}
