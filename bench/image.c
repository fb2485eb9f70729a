/* Times decoding and resizing one image at a time. For each path on stdin: every contestant once, then "." on a line of
 * its own. image_peer.py drives it, so that ours and Pillow take turns. usage: image [SIZE] */
#include "anyclass/alloc.h"
#include "anyclass/image.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <jpeglib.h>

typedef struct bench {
    int size;
    ac_image image;
    uint8_t *scratch, *out, *rgb;
    size_t scratch_bytes, rgb_bytes;
    ac_resizer *resizer[AC_N_SIMD]; /* NULL: not on this processor */
} bench;

/* Processor time of this thread: other work on the machine counts only through the caches. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ac_status read_whole(bench *b, const char *path, size_t *n_bytes)
{
    ac_status status = AC_OK;
    FILE *file = fopen(path, "rb");
    if (!file)
        return ac_error_errno("%s", path);
    if (fseek(file, 0, SEEK_END) != 0)
        AC_TRY(ac_error_errno("%s", path));
    *n_bytes = (size_t)ftell(file);
    rewind(file);
    AC_TRY(ac_reserve(&b->scratch, &b->scratch_bytes, *n_bytes, 1));
    if (fread(b->scratch, 1, *n_bytes, file) != *n_bytes)
        AC_TRY(ac_error(AC_ERR_IO, "%s: cannot be read", path));
out:
    fclose(file);
    return status;
}

/* The yardstick: file to RGB with libjpeg's plain interface and default settings, buffers kept between images. An error
 * ends the program: the files are whole. */
static ac_status libjpeg_alone(bench *b, const char *path)
{
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    size_t n_bytes = 0;
    ac_status status = AC_OK;
    AC_TRY(read_whole(b, path, &n_bytes));
    info.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, b->scratch, n_bytes);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    const size_t row_bytes = (size_t)info.output_width * 3;
    status = ac_reserve(&b->rgb, &b->rgb_bytes, row_bytes * info.output_height, 1);
    while (status == AC_OK && info.output_scanline < info.output_height) {
        JSAMPROW row = b->rgb + info.output_scanline * row_bytes;
        jpeg_read_scanlines(&info, &row, 1);
    }
    if (status == AC_OK)
        jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
out:
    return status;
}

static ac_status load(bench *b, const char *path, bool fast)
{
    const ac_decode_options options = {.min_side_px = fast ? b->size : 0};
    return ac_image_load(path, &options, &b->image, &b->scratch, &b->scratch_bytes);
}

/* Contestants are numbered: 0 libjpeg alone, 1 decode, 2 the fast decode and resize, then for each level decode and
 * resize, then for each level the resize alone. */
enum { LIBJPEG, DECODE, FAST, LOAD_RESIZE, RESIZE = LOAD_RESIZE + AC_N_SIMD, N_CONTESTANTS = RESIZE + AC_N_SIMD };

static ac_status run_one(bench *b, int contestant, const char *path, char *name, size_t name_bytes, double *seconds)
{
    ac_status status = AC_OK;
    const int level = contestant < LOAD_RESIZE ? AC_SIMD_AUTO : (contestant - LOAD_RESIZE) % AC_N_SIMD;
    ac_resizer *resizer = b->resizer[level];
    const char *dot = strrchr(path, '.');
    const bool jpeg = dot && strcmp(dot, ".png") != 0;
    name[0] = 0; /* not run */
    if (!resizer || ((contestant == LIBJPEG || contestant == FAST) && !jpeg))
        return AC_OK;
    if (contestant >= RESIZE)
        AC_TRY(load(b, path, false));
    double start = now();
    if (contestant == LIBJPEG)
        AC_TRY(libjpeg_alone(b, path));
    else if (contestant < RESIZE)
        AC_TRY(load(b, path, contestant == FAST));
    if (contestant >= FAST)
        AC_TRY(ac_resizer_run(resizer, &b->image, b->out));
    *seconds = now() - start;
    static const char *const names[] = {"libjpeg", "decode", "fast_decode+resize"};
    if (contestant < LOAD_RESIZE)
        snprintf(name, name_bytes, "%s", names[contestant]);
    else
        snprintf(name, name_bytes, "%s%s%s", contestant < RESIZE ? "decode+resize" : "resize", level ? "_" : "",
                 level ? ac_resizer_simd(resizer) : "");
out:
    return status;
}

static ac_status run_all(bench *b, const char *path, unsigned turn)
{
    ac_status status = AC_OK;
    char name[64];
    double seconds = 0;
    for (unsigned i = 0; i < N_CONTESTANTS; i++) {
        AC_TRY(run_one(b, (int)((i + turn) % N_CONTESTANTS), path, name, sizeof name, &seconds));
        if (name[0])
            printf("%s %.9f\n", name, seconds);
    }
    AC_TRY(load(b, path, false));
    printf("pixels %lld\n.\n", (long long)b->image.width_px * b->image.height_px);
    fflush(stdout);
out:
    return status;
}

int main(int argc, char **argv)
{
    bench b = {.size = argc > 1 ? atoi(argv[1]) : 224};
    char path[4096];
    ac_status status = AC_OK;
    AC_TRY(ac_malloc((size_t)b.size * (size_t)b.size, 3, &b.out));
    for (ac_simd level = AC_SIMD_AUTO; level < AC_N_SIMD; level++)
        if (ac_simd_check(level) == AC_OK)
            AC_TRY(ac_resizer_create_with(b.size, level, &b.resizer[level]));
    for (unsigned turn = 0; fgets(path, sizeof path, stdin); turn++) {
        path[strcspn(path, "\n")] = 0;
        AC_TRY(run_all(&b, path, turn));
    }
out:
    if (status != AC_OK)
        fprintf(stderr, "image: %s\n", ac_error_text());
    for (int level = 0; level < AC_N_SIMD; level++)
        ac_resizer_destroy(b.resizer[level]);
    ac_image_release(&b.image);
    ac_free(b.scratch);
    ac_free(b.out);
    ac_free(b.rgb);
    return status == AC_OK ? 0 : 1;
}
