/* Writes small images for demo data, tests and thumbnails. A file that could not be written whole is removed.
 * setjmp / longjmp stay inside this file. */
#include "anyclass/alloc.h"
#include "anyclass/image.h"
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>

typedef struct memory_file { /* where an encoder in memory writes to */
    struct jpeg_destination_mgr manager;
    uint8_t **bytes;
    size_t *capacity, n_bytes;
} memory_file;

typedef struct writer {
    const char *path;
    FILE *stream;
    memory_file *memory; /* instead of a stream */
    const uint8_t *pixels;
    int width_px, height_px, channels, quality;
    ac_status status; /* why `escape` or libpng's own jump was taken */
    jmp_buf escape;
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    png_structp png;
    png_infop info;
} writer;

static ac_status check_size(const writer *w)
{
    if (w->width_px < 1 || w->height_px < 1 || (w->channels != 1 && w->channels != 3))
        return ac_error(AC_ERR_RANGE, "%s: no image of %d x %d pixels and %d channels", w->path, w->width_px,
                        w->height_px, w->channels);
    return AC_OK;
}

static ac_status writer_open(writer *w)
{
    ac_status status = check_size(w);
    if (status != AC_OK)
        return status;
    w->stream = fopen(w->path, "wb");
    return w->stream ? AC_OK : ac_error_errno("%s", w->path);
}

/* fclose() is where a full disk shows; the file goes when anything failed. */
static ac_status writer_close(writer *w, ac_status status)
{
    if (!w->stream)
        return status;
    const bool failed = ferror(w->stream) != 0;
    const bool close_failed = fclose(w->stream) != 0;
    if (status == AC_OK && (failed || close_failed))
        status = ac_error_errno("cannot write %s", w->path);
    if (status != AC_OK)
        remove(w->path);
    return status;
}

static void jpeg_failed(j_common_ptr info)
{
    writer *w = info->client_data;
    char text[JMSG_LENGTH_MAX];
    info->err->format_message(info, text);
    w->status = ac_error(AC_ERR_IO, "cannot write %s: %s", w->path, text);
    longjmp(w->escape, 1);
}

static void jpeg_silent(j_common_ptr info)
{
    (void)info;
}

static ac_status compress_jpeg(writer *w)
{
    struct jpeg_compress_struct *info = &w->jpeg;
    if (setjmp(w->escape))
        return w->status;
    jpeg_create_compress(info);
    if (w->memory)
        info->dest = &w->memory->manager;
    else
        jpeg_stdio_dest(info, w->stream);
    info->image_width = (JDIMENSION)w->width_px;
    info->image_height = (JDIMENSION)w->height_px;
    info->input_components = w->channels;
    info->in_color_space = w->channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(info);
    jpeg_set_quality(info, w->quality, TRUE);
    info->optimize_coding = w->memory != NULL;
    jpeg_start_compress(info, TRUE);
    const size_t row_bytes = (size_t)w->width_px * (size_t)w->channels;
    while (info->next_scanline < info->image_height) {
        JSAMPROW row = (JSAMPROW)w->pixels + info->next_scanline * row_bytes;
        jpeg_write_scanlines(info, &row, 1);
    }
    jpeg_finish_compress(info);
    return AC_OK;
}

/* To the stream, or to memory where `memory` is set. */
static ac_status run_jpeg(writer *w)
{
    w->jpeg.err = jpeg_std_error(&w->errors);
    w->jpeg.client_data = w;
    w->errors.error_exit = jpeg_failed;
    w->errors.output_message = jpeg_silent;
    ac_status status = compress_jpeg(w);
    jpeg_destroy_compress(&w->jpeg);
    return status;
}

ac_status ac_image_write_jpeg(const char *path, const uint8_t *pixels, int width_px, int height_px, int channels,
                              int quality)
{
    writer w = {.path = path, .pixels = pixels, .width_px = width_px, .height_px = height_px, .channels = channels,
                .quality = quality};
    ac_status status = writer_open(&w);
    if (status != AC_OK)
        return status;
    status = run_jpeg(&w);
    return writer_close(&w, status);
}

/* Give libjpeg the room behind the first n bytes. */
static boolean memory_room(writer *w, size_t n)
{
    memory_file *file = w->memory;
    w->status = ac_reserve(file->bytes, file->capacity, n + 4096, 1);
    if (w->status != AC_OK)
        longjmp(w->escape, 1);
    file->manager.next_output_byte = *file->bytes + n;
    file->manager.free_in_buffer = *file->capacity - n;
    return TRUE;
}

static void memory_begin(j_compress_ptr info)
{
    memory_room(info->client_data, 0);
}

/* Called with the buffer full, whatever free_in_buffer says. */
static boolean memory_grow(j_compress_ptr info)
{
    writer *w = info->client_data;
    return memory_room(w, *w->memory->capacity);
}

static void memory_end(j_compress_ptr info)
{
    writer *w = info->client_data;
    w->memory->n_bytes = *w->memory->capacity - w->memory->manager.free_in_buffer;
}

ac_status ac_image_encode_jpeg(const uint8_t *pixels, int width_px, int height_px, int channels, int quality, uint8_t **out,
                               size_t *capacity, size_t *n_bytes)
{
    memory_file file = {.manager = {.init_destination = memory_begin, .empty_output_buffer = memory_grow, .term_destination = memory_end},
                        .bytes = out, .capacity = capacity};
    writer w = {.path = "a JPEG in memory", .memory = &file, .pixels = pixels, .width_px = width_px, .height_px = height_px,
                .channels = channels, .quality = quality};
    ac_status status = check_size(&w);
    if (status != AC_OK)
        return status;
    status = run_jpeg(&w);
    *n_bytes = file.n_bytes;
    return status;
}

static void png_failed(png_structp png, png_const_charp text)
{
    writer *w = png_get_error_ptr(png);
    w->status = ac_error(AC_ERR_IO, "cannot write %s: %s", w->path, text);
    png_longjmp(png, 1);
}

static void png_silent(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static ac_status compress_png(writer *w)
{
    if (setjmp(png_jmpbuf(w->png)))
        return w->status;
    png_init_io(w->png, w->stream);
    png_set_IHDR(w->png, w->info, (png_uint_32)w->width_px, (png_uint_32)w->height_px, 8,
                 w->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(w->png, w->info);
    const size_t row_bytes = (size_t)w->width_px * (size_t)w->channels;
    for (int y = 0; y < w->height_px; y++)
        png_write_row(w->png, w->pixels + (size_t)y * row_bytes);
    png_write_end(w->png, NULL);
    return AC_OK;
}

ac_status ac_image_write_png(const char *path, const uint8_t *pixels, int width_px, int height_px, int channels)
{
    writer w = {.path = path, .pixels = pixels, .width_px = width_px, .height_px = height_px, .channels = channels};
    ac_status status = writer_open(&w);
    if (status != AC_OK)
        return status;
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, png_failed, png_silent);
    if (w.png)
        w.info = png_create_info_struct(w.png);
    status = w.info ? compress_png(&w) : ac_error(AC_ERR_MEMORY, "%s: libpng does not start", path);
    png_destroy_write_struct(&w.png, &w.info);
    return writer_close(&w, status);
}
