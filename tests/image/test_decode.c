/* Decoding the fixtures as Pillow does (fixtures/decode.tsv, made by fixtures/make.py), the options, the refusals, and
 * writing. */
#include "tests/tap.h"
#include "image_help.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jpeglib.h>

static const ac_decode_options strict = {0}, lenient = {.allow_warnings = true};

/* `want` is "ok" or a part of the reason for the refusal */
static bool verdict_is(ac_status status, const char *want)
{
    if (strcmp(want, "ok") == 0)
        return status == AC_OK;
    return status == AC_ERR_DATA && strstr(ac_error_text(), want);
}

static bool crc_is(const uint8_t *bytes, size_t n, const char *want)
{
    char text[9];
    snprintf(text, sizeof text, "%08" PRIx32, ac_png_crc32(bytes, n));
    return strcmp(text, want) == 0;
}

static bool resized_is(const ac_image *image, int size, const char *want)
{
    uint8_t out[33 * 33 * 3];
    ac_resizer *r = NULL;
    const bool good = ac_resizer_create(size, &r) == AC_OK && ac_resizer_run(r, image, out) == AC_OK &&
                      crc_is(out, (size_t)size * (size_t)size * 3, want);
    ac_resizer_destroy(r);
    return good;
}

static void test_fixture(char *line, ac_image *image)
{
    char *field[8], *rest = line;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    for (int i = 0; i < 8; i++)
        field[i] = strsep(&rest, "\t");
    bool good = field[7] && read_fixture(field[0], &bytes, &n_bytes) == AC_OK;
    good = good && verdict_is(decode_copy(bytes, n_bytes, &strict, image), field[1]);
    TAP_OK(good, "%s: strict: %s", field[0], field[1]);
    good = bytes && verdict_is(decode_copy(bytes, n_bytes, &lenient, image), field[2]);
    TAP_OK(good, "%s: warnings allowed: %s", field[0], field[2]);
    if (good && strcmp(field[2], "ok") == 0)
        TAP_OK(image->width_px == atoi(field[3]) && image->height_px == atoi(field[4]) &&
                   crc_is(image->pixel, (size_t)image->width_px * (size_t)image->height_px * 3, field[5]) &&
                   resized_is(image, 16, field[6]) && resized_is(image, 33, field[7]),
               "%s: the pixels are Pillow's", field[0]);
    ac_free(bytes);
}

static void test_fixtures(void)
{
    ac_image image = {0};
    char line[256];
    int n = 0;
    FILE *table = fopen(FIXTURES "decode.tsv", "r");
    while (table && fgets(line, sizeof line, table)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#')
            continue;
        test_fixture(line, &image);
        n++;
    }
    if (table)
        fclose(table);
    TAP_OK(n == 94, "%d fixtures", n);
    ac_image_release(&image);
}

/* The turn of each EXIF orientation, from the definition: where row 0 and column 0 of the file are on the picture. */
static bool is_turned(const ac_image *file, const ac_image *shown, int orientation)
{
    const int w = file->width_px, h = file->height_px;
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            const int at[9][2] = {{x, y}, {x, y}, {w - 1 - x, y}, {w - 1 - x, h - 1 - y}, {x, h - 1 - y},
                                  {y, x}, {h - 1 - y, x}, {h - 1 - y, w - 1 - x}, {y, w - 1 - x}};
            const int *to = at[orientation];
            if (to[0] >= shown->width_px || to[1] >= shown->height_px ||
                memcmp(file->pixel + (y * w + x) * 3, shown->pixel + (to[1] * shown->width_px + to[0]) * 3, 3) != 0)
                return false;
        }
    }
    return true;
}

static void test_orientation(void)
{
    const ac_decode_options turn = {.apply_orientation = true};
    ac_image file = {0}, shown = {0};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    TAP_CALL(read_fixture("jpeg-exif.jpg", &bytes, &n_bytes));
    const size_t at = 2 + 4 + 6 + 18; /* SOI, APP1 head, "Exif", place in the TIFF structure */
    TAP_OK(n_bytes > at && bytes[at] == 1, "the fixture says orientation 1");
    for (int orientation = 0; orientation <= 9; orientation++) {
        bytes[at] = (uint8_t)orientation;
        const int effect = orientation >= 1 && orientation <= 8 ? orientation : 1;
        TAP_OK(decode_copy(bytes, n_bytes, &strict, &file) == AC_OK && file.width_px == 19 &&
                   decode_copy(bytes, n_bytes, &turn, &shown) == AC_OK && is_turned(&file, &shown, effect),
               "orientation %d: ignored, or applied", orientation);
    }
    ac_free(bytes);
    static const char *const png[] = {"png-exif-6.png", "png-exif-behind.png"};
    for (int i = 0; i < 2; i++) {
        TAP_CALL(read_fixture(png[i], &bytes, &n_bytes));
        TAP_OK(decode_copy(bytes, n_bytes, &strict, &file) == AC_OK && file.width_px == 9 &&
                   decode_copy(bytes, n_bytes, &turn, &shown) == AC_OK && shown.width_px == 7 && is_turned(&file, &shown, 6),
               "%s", png[i]);
        ac_free(bytes);
    }
    ac_image_release(&file);
    ac_image_release(&shown);
}

static void test_limits(void)
{
    ac_image image = {0};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    static const char *const names[] = {"jpeg-444.jpg", "png-2-8.png"};
    static const int64_t n_pixels[] = {37 * 29, 13 * 11};
    for (int i = 0; i < 2; i++) {
        TAP_CALL(read_fixture(names[i], &bytes, &n_bytes));
        ac_decode_options options = {.max_pixels = n_pixels[i]};
        TAP_CALL(ac_image_decode(bytes, n_bytes, &options, &image));
        options.max_pixels--;
        ac_image_release(&image);
        TAP_OK(verdict_is(ac_image_decode(bytes, n_bytes, &options, &image), "limit") && !image.pixel,
               "%s: refused before memory is taken: %s", names[i], ac_error_text());
        ac_free(bytes);
    }
    TAP_CALL(read_fixture("jpeg-large.jpg", &bytes, &n_bytes));
    static const int cases[][3] = {{0, 160, 96}, {97, 160, 96}, {96, 160, 96}, {49, 160, 96}, {48, 80, 48},
                                   {25, 80, 48}, {24, 40, 24}, {13, 40, 24}, {12, 20, 12}, {1, 20, 12}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ac_decode_options options = {.min_side_px = cases[i][0]};
        TAP_OK(ac_image_decode(bytes, n_bytes, &options, &image) == AC_OK && image.width_px == cases[i][1] &&
                   image.height_px == cases[i][2], "fast decode for %d pixels gives %d x %d", cases[i][0], image.width_px,
               image.height_px);
    }
    const ac_decode_options small = {.min_side_px = 12, .max_pixels = 160 * 96 - 1};
    TAP_OK(verdict_is(ac_image_decode(bytes, n_bytes, &small, &image), "limit"), "the limit is for the size in the header");
    ac_free(bytes);
    ac_image_release(&image);
}

/* arithmetic coding is another code for the same coefficients, so the pixels must be the same */
static size_t compress_noise(boolean arithmetic, boolean progressive, unsigned restart, uint8_t **bytes)
{
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    unsigned long n_bytes = 0;
    uint8_t row[50 * 3];
    uint32_t state = 1;
    *bytes = NULL;
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, bytes, &n_bytes);
    info.image_width = 50;
    info.image_height = 41;
    info.input_components = 3;
    info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info);
    info.arith_code = arithmetic;
    info.restart_interval = restart;
    if (progressive)
        jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        JSAMPROW rows = row;
        for (size_t i = 0; i < sizeof row; i++)
            row[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 25) + (uint8_t)i;
        jpeg_write_scanlines(&info, &rows, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    return n_bytes;
}

static void test_codings(void)
{
    static const struct {
        const char *what;
        boolean arithmetic, progressive;
        unsigned restart;
    } cases[] = {{"sequential", FALSE, FALSE, 0}, {"progressive", FALSE, TRUE, 0}, {"restart markers", FALSE, FALSE, 2},
                 {"arithmetic", TRUE, FALSE, 0}, {"arithmetic, progressive", TRUE, TRUE, 0}};
    ac_image image = {0};
    uint32_t want = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *bytes;
        const size_t n_bytes = compress_noise(cases[i].arithmetic, cases[i].progressive, cases[i].restart, &bytes);
        const bool good = decode_copy(bytes, n_bytes, &strict, &image) == AC_OK;
        want = i == 0 ? image_crc(&image) : want;
        TAP_OK(good && image.width_px == 50 && image_crc(&image) == want, "JPEG coding: %s", cases[i].what);
        free(bytes); /* libjpeg took it from malloc */
    }
    ac_image_release(&image);
}

/* a file whose first scan comes n times, as a crafted one would to keep a decoder busy */
static ac_status decode_repeated(const uint8_t *bytes, size_t n_bytes, size_t n, ac_image *image)
{
    size_t start = 2, end, used;
    uint8_t *crafted = NULL;
    while (start + 4 < n_bytes && bytes[start + 1] != 0xda) /* from segment to segment to the first scan */
        start += 2 + ((size_t)bytes[start + 2] << 8 | bytes[start + 3]);
    for (end = start + 2; end + 1 < n_bytes && (bytes[end] != 0xff || bytes[end + 1] == 0); end++)
        continue;
    ac_status status = ac_malloc(n_bytes + n * (end - start), 1, &crafted);
    if (status != AC_OK)
        return status;
    memcpy(crafted, bytes, used = start);
    for (size_t i = 0; i < n; i++, used += end - start)
        memcpy(crafted + used, bytes + start, end - start);
    memcpy(crafted + used, bytes + end, n_bytes - end);
    status = ac_image_decode(crafted, used + n_bytes - end, &lenient, image);
    ac_free(crafted);
    return status;
}

static void test_many_scans(void)
{
    ac_image image = {0};
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    TAP_CALL(read_fixture("jpeg-progressive-grey.jpg", &bytes, &n_bytes));
    TAP_CALL(decode_repeated(bytes, n_bytes, 900, &image));
    TAP_OK(verdict_is(decode_repeated(bytes, n_bytes, 1001, &image), "scans"), "too many: %s", ac_error_text());
    ac_free(bytes);
    ac_image_release(&image);
}

/* bytes[0 .. at) + what + bytes[at ..), cut to n bytes of `bytes` */
static void test_spliced(const uint8_t *bytes, size_t n_bytes, size_t at, const void *what, size_t n, const char *want[2], const char *title)
{
    ac_image image = {0};
    uint8_t *file = NULL;
    TAP_CALL(ac_malloc(n_bytes + n, 1, &file));
    memcpy(file, bytes, at);
    memcpy(file + at, what, n);
    memcpy(file + at + n, bytes + at, n_bytes - at);
    TAP_OK(verdict_is(decode_copy(file, n_bytes + n, &strict, &image), want[0]), "%s: strict: %s", title, want[0]);
    TAP_OK(verdict_is(decode_copy(file, n_bytes + n, &lenient, &image), want[1]), "%s: warnings allowed: %s", title, want[1]);
    ac_free(file);
    ac_image_release(&image);
}

/* Damage that leaves a whole file with right checksums. */
static void test_subtle_damage(void)
{
    const char *refused[2] = {"second header", "second header"}, *odd[2] = {"second header", "ok"},
               *end[2] = {"truncated behind", "ok"}, *scans[2] = {"scans are missing", "ok"};
    const size_t header = 8, behind_header = 33, end_bytes = 12;
    uint8_t *bytes = NULL;
    size_t n = 0;
    TAP_CALL(read_fixture("png-2-8.png", &bytes, &n));
    test_spliced(bytes, n, behind_header, bytes + header, behind_header - header, refused, "PNG with two headers");
    test_spliced(bytes, n, n - end_bytes, bytes + header, behind_header - header, odd, "PNG with a header behind its pixels");
    bytes[n - end_bytes + 3] = 9;
    test_spliced(bytes, n, n, "", 0, end, "PNG with an end chunk beyond the file");
    ac_free(bytes);
    TAP_CALL(read_fixture("jpeg-progressive.jpg", &bytes, &n));
    size_t last = n - 2;
    while (last > 0 && !(bytes[last] == 0xff && bytes[last + 1] == 0xda))
        last--;
    TAP_OK(last > 0, "the fixture has scans");
    test_spliced(bytes, last, last, "\xff\xd9", 2, scans, "progressive JPEG without its last scan");
    ac_free(bytes);
}

static void test_load(const char *folder)
{
    ac_image image = {0};
    uint8_t *scratch = NULL;
    size_t scratch_bytes = 0;
    char pipe[AC_PATH_BYTES + 16];
    TAP_CALL(ac_image_load(FIXTURES "jpeg-large.jpg", &strict, &image, &scratch, &scratch_bytes));
    const uint8_t *file_buffer = scratch, *pixels = image.pixel;
    TAP_CALL(ac_image_load(FIXTURES "png-2-8.png", &strict, &image, &scratch, &scratch_bytes));
    TAP_OK(scratch == file_buffer && image.pixel == pixels && image.width_px == 13, "buffers are used again");
    TAP_OK(ac_image_load(FIXTURES "none.png", &strict, &image, &scratch, &scratch_bytes) == AC_ERR_IO &&
               strstr(ac_error_text(), "none.png"), "missing: %s", ac_error_text());
    TAP_OK(ac_image_load(FIXTURES "jpeg-cut.jpg", &strict, &image, &scratch, &scratch_bytes) == AC_ERR_DATA &&
               strstr(ac_error_text(), "jpeg-cut.jpg"), "damaged: %s", ac_error_text());
    TAP_OK(ac_image_load(FIXTURES, &strict, &image, &scratch, &scratch_bytes) == AC_ERR_DATA, "folder: %s", ac_error_text());
    TAP_OK(ac_image_load(FIXTURES "other.empty", &strict, &image, &scratch, &scratch_bytes) == AC_ERR_DATA, "empty: %s",
           ac_error_text());
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    TAP_OK(mkfifo(pipe, 0600) == 0 && ac_image_load(pipe, &strict, &image, &scratch, &scratch_bytes) == AC_ERR_DATA,
           "a pipe without a writer does not hang: %s", ac_error_text());
    unlink(pipe);
    ac_free(scratch);
    ac_image_release(&image);
}

static void test_memory(void)
{
    static const char *const names[] = {"jpeg-cmyk.jpg", "jpeg-exif.jpg", "png-2-8-interlaced.png", "png-exif-6.png"};
    const ac_decode_options options = {.apply_orientation = true};
    const uint64_t n_live = ac_alloc_get_stats().n_live;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        int n_failed = 0;
        bool clean = true, done = false;
        TAP_CALL(read_fixture(names[i], &bytes, &n_bytes));
        while (!done && n_failed < 100) {
            ac_image image = {0};
            ac_alloc_fail_at((uint64_t)n_failed + 1);
            const ac_status status = ac_image_decode(bytes, n_bytes, &options, &image);
            ac_alloc_fail_at(0);
            ac_image_release(&image);
            done = status == AC_OK;
            clean = clean && (done || status == AC_ERR_MEMORY) && ac_alloc_get_stats().n_live == n_live + 1;
            n_failed += !done;
        }
        TAP_OK(clean && done && n_failed >= 1, "%s: each of %d requests for memory may fail", names[i], n_failed);
        ac_free(bytes);
    }
}

static void test_write(const char *folder)
{
    uint8_t pixels[23 * 17 * 3];
    char png[AC_PATH_BYTES + 16], jpeg[AC_PATH_BYTES + 16];
    ac_image image = {0};
    uint8_t *scratch = NULL;
    size_t scratch_bytes = 0;
    int64_t difference = 0;
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i / 3 % 23 * 9 + i / 69 * 4 + i % 3 * 20);
    snprintf(png, sizeof png, "%s/a.png", folder);
    snprintf(jpeg, sizeof jpeg, "%s/a.jpg", folder);
    TAP_CALL(ac_image_write_png(png, pixels, 23, 17, 3));
    TAP_OK(ac_image_load(png, &strict, &image, &scratch, &scratch_bytes) == AC_OK && image.width_px == 23 &&
               memcmp(image.pixel, pixels, sizeof pixels) == 0, "PNG RGB comes back");
    TAP_CALL(ac_image_write_png(png, pixels, 23, 17, 1));
    TAP_OK(ac_image_load(png, &strict, &image, &scratch, &scratch_bytes) == AC_OK && image.pixel[3 * 390] == pixels[390] &&
               image.pixel[3 * 390 + 2] == pixels[390], "PNG grey comes back");
    TAP_CALL(ac_image_write_jpeg(jpeg, pixels, 23, 17, 1, 100));
    TAP_OK(ac_image_load(jpeg, &strict, &image, &scratch, &scratch_bytes) == AC_OK && image.width_px == 23 &&
               abs(image.pixel[3 * 200] - pixels[200]) < 4, "JPEG grey comes back");
    TAP_CALL(ac_image_write_jpeg(jpeg, pixels, 23, 17, 3, 95));
    TAP_CALL(ac_image_load(jpeg, &strict, &image, &scratch, &scratch_bytes));
    for (size_t i = 0; i < sizeof pixels; i++)
        difference += abs(image.pixel[i] - pixels[i]);
    TAP_OK(difference / (double)sizeof pixels < 6.0, "JPEG RGB comes back but for %.2f grey levels",
           (double)difference / (double)sizeof pixels);
    TAP_OK(ac_image_write_png(png, pixels, 23, 17, 2) == AC_ERR_RANGE, "two channels: %s", ac_error_text());
    TAP_OK(ac_image_write_png("/nowhere/at/all.png", pixels, 23, 17, 3) == AC_ERR_IO &&
               ac_image_write_jpeg("/nowhere/at/all.jpg", pixels, 23, 17, 3, 90) == AC_ERR_IO, "no folder: %s", ac_error_text());
    if (access("/dev/full", W_OK) == 0) {
        char full[AC_PATH_BYTES + 16];
        snprintf(full, sizeof full, "%s/full.jpg", folder);
        TAP_OK(symlink("/dev/full", full) == 0 && ac_image_write_jpeg(full, pixels, 23, 17, 3, 90) == AC_ERR_IO &&
                   access(full, F_OK) != 0, "full disk, JPEG: %s", ac_error_text());
        TAP_OK(symlink("/dev/full", full) == 0 && ac_image_write_png(full, pixels, 23, 17, 3) == AC_ERR_IO &&
                   access(full, F_OK) != 0, "full disk, PNG: %s", ac_error_text());
    } else {
        TAP_SKIP("no /dev/full");
    }
    unlink(png);
    unlink(jpeg);
    ac_free(scratch);
    ac_image_release(&image);
}

int main(void)
{
    char folder[AC_PATH_BYTES];
    tap_folder(folder);
    test_fixtures();
    test_orientation();
    test_limits();
    test_codings();
    test_many_scans();
    test_subtle_damage();
    test_load(folder);
    test_memory();
    test_write(folder);
    tap_remove(folder);
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left behind");
    return tap_done();
}
