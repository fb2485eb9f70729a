/* Decoding of JPEG and PNG under all options, and the resize of what was decoded; or an EXIF block alone. First four
 * bytes: options, resize size, allocation that fails, smallest side. PNG checksums are mended on request, so that what
 * lies behind them is reached. */
#include "image/image_internal.h"
#include "image/png_chunks.h"
#include "tests/fuzz/fuzz.h"

enum { ALLOW_WARNINGS = 1, ORIENT = 2, MEND = 4, TWICE = 8, COMPARE_KERNELS = 16, SMALL_SIDE = 32, EXIF = 64 };
enum { MAX_PIXELS = 1 << 16, MAX_SIZE_PX = 48 };

static void put32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void mend_checksums(uint8_t *png, size_t n)
{
    for (size_t at = AC_PNG_SIGNATURE_BYTES; n >= AC_PNG_AROUND_BYTES && at <= n - AC_PNG_AROUND_BYTES;) {
        const size_t length =
            (size_t)png[at] << 24 | (size_t)png[at + 1] << 16 | (size_t)png[at + 2] << 8 | png[at + 3];
        if (length > n - AC_PNG_AROUND_BYTES - at)
            break;
        put32(png + at + 8 + length, ac_png_crc32(png + at + 4, length + 4));
        at += length + AC_PNG_AROUND_BYTES;
    }
}

/* Decode into memory full of `filling`; what is accepted must not show it. */
static ac_status decode_over(int filling, const fuzz_input *file, const ac_decode_options *options, ac_image *image)
{
    if (image->pixel)
        memset(image->pixel, filling, image->capacity);
    return ac_image_decode(file->bytes, file->n, options, image);
}

static void check_twice(const fuzz_input *file, const ac_decode_options *options, ac_image *image)
{
    const size_t n = (size_t)image->width_px * (size_t)image->height_px * 3;
    uint32_t crc[2];
    for (int i = 0; i < 2; i++) {
        FUZZ_REQUIRE(decode_over(i ? 0xa5 : 0x5a, file, options, image) == AC_OK);
        crc[i] = ac_png_crc32(image->pixel, n);
    }
    FUZZ_REQUIRE(crc[0] == crc[1]);
}

/* An orientation out of a bare block turns an image in which all pixels differ; turned, it has the same pixels. */
static void orient(const fuzz_input *exif, uint64_t fail_at)
{
    enum { WIDTH = 5, HEIGHT = 3, N = WIDTH * HEIGHT };
    const int orientation = ac_exif_orientation(exif->bytes, exif->n);
    bool seen[N] = {false};
    ac_image image = {0};
    FUZZ_REQUIRE(orientation >= 1 && orientation <= 8);
    fuzz_run run = fuzz_begin(0);
    FUZZ_REQUIRE(ac_image_reserve(&image, WIDTH, HEIGHT) == AC_OK);
    for (int i = 0; i < 3 * N; i++)
        image.pixel[i] = (uint8_t)(i / 3);
    const uint64_t n_live = run.n_live;
    run = fuzz_begin(fail_at);
    fuzz_check_status(&run, ac_image_orient(&image, orientation));
    FUZZ_REQUIRE(image.width_px * image.height_px == N);
    for (int i = 0; i < N; i++) {
        const uint8_t *pixel = image.pixel + 3 * i;
        FUZZ_REQUIRE(pixel[0] < N && pixel[1] == pixel[0] && pixel[2] == pixel[0] && !seen[pixel[0]]);
        seen[pixel[0]] = true;
    }
    ac_image_release(&image);
    run.n_live = n_live;
    fuzz_end(&run);
}

/* Size of the resized image: any, or the decoded one's width or height, so that a pass is left out. */
static int choose_size(unsigned size, const ac_image *image)
{
    const int side = size % 2 ? image->width_px : image->height_px;
    return size >= 240 && side <= MAX_SIZE_PX ? side : 1 + (int)(size % MAX_SIZE_PX);
}

static void resize_with(ac_simd level, const ac_image *image, int size_px, uint64_t fail_at, uint8_t *out)
{
    ac_resizer *resizer = NULL;
    const fuzz_run run = fuzz_begin(fail_at);
    ac_status status = ac_resizer_create_with(size_px, level, &resizer);
    if (status == AC_OK)
        status = ac_resizer_run(resizer, image, out);
    fuzz_check_status(&run, status);
    ac_resizer_destroy(resizer);
    fuzz_end(&run);
}

/* With the fastest kernels, or with all that this processor supports: they give the same bytes. */
static void resize(const ac_image *image, bool compare, int size_px, uint64_t fail_at)
{
    static uint8_t out[2][MAX_SIZE_PX * MAX_SIZE_PX * 3];
    resize_with(AC_SIMD_AUTO, image, size_px, fail_at, out[0]);
    for (int level = AC_SIMD_PLAIN; level < AC_N_SIMD && compare && fail_at == 0; level++) {
        if (ac_simd_check((ac_simd)level) != AC_OK)
            continue;
        resize_with((ac_simd)level, image, size_px, 0, out[1]);
        FUZZ_REQUIRE(memcmp(out[0], out[1], (size_t)size_px * (size_t)size_px * 3) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input file = {bytes, n_bytes};
    const unsigned choice = fuzz_byte(&file), size = fuzz_byte(&file), fail = fuzz_byte(&file), side = fuzz_byte(&file);
    const ac_decode_options options = {.allow_warnings = choice & ALLOW_WARNINGS,
                                       .apply_orientation = choice & ORIENT,
                                       .min_side_px = choice & SMALL_SIDE ? (int)side : 0,
                                       .max_pixels = MAX_PIXELS};
    uint8_t *mended = NULL;
    ac_image image = {0};
    if (choice & EXIF) {
        orient(&file, fail);
        return 0;
    }
    if (choice & MEND && file.n > 0) {
        mended = malloc(file.n);
        memcpy(mended, file.bytes, file.n);
        mend_checksums(mended, file.n);
        file.bytes = mended;
    }
    const fuzz_run run = fuzz_begin(fail);
    const ac_status status = ac_image_decode(file.bytes, file.n, &options, &image);
    fuzz_check_status(&run, status);
    if (status == AC_OK) {
        FUZZ_REQUIRE(image.width_px > 0 && image.height_px > 0);
        FUZZ_REQUIRE((int64_t)image.width_px * image.height_px <= MAX_PIXELS);
        if (choice & TWICE)
            check_twice(&file, &options, &image);
        resize(&image, choice & COMPARE_KERNELS, choose_size(size, &image), side % 16);
    }
    ac_image_release(&image);
    fuzz_end(&run);
    free(mended);
    return 0;
}
