/* The resize against Pillow's numbers in fixtures/resize.tsv (made by fixtures/make.py), its kernels against each
 * other, the memory around its buffers, and its behaviour when memory runs out. */
#include "tests/tap.h"
#include "anyclass/alloc.h"
#include "image/png_chunks.h"
#include "image/resize.h"
#include <inttypes.h>
#include <string.h>

enum { GUARD = 64 };

/* The patterns of make.py. The buffer is as large as the image: a read past it is seen by AddressSanitizer. */
static ac_status make_pattern(const char *kind, int width, int height, ac_image *image)
{
    uint32_t state = 12345u + (uint32_t)width * 7919u + (uint32_t)height;
    *image = (ac_image){.capacity = (size_t)width * (size_t)height * 3, .width_px = width, .height_px = height};
    const ac_status status = ac_malloc(image->capacity, 1, &image->pixel);
    if (status != AC_OK)
        return status;
    for (size_t i = 0; i < image->capacity; i++) {
        const size_t c = i % 3, x = i / 3 % (size_t)width, y = i / 3 / (size_t)width;
        state = state * 1664525u + 1013904223u;
        const uint32_t noise = state >> 24;
        if (strcmp(kind, "noise") == 0)
            image->pixel[i] = (uint8_t)noise;
        else if (strcmp(kind, "sharp") == 0)
            image->pixel[i] = noise & 1 ? 255 : 0;
        else if (strcmp(kind, "slope") == 0)
            image->pixel[i] = (uint8_t)(x * 3 + y * 5 + c * 80 + noise / 16);
        else
            image->pixel[i] = 255;
    }
    return AC_OK;
}

/* Resize between two guards; true if it went well and the guards are whole. *crc is that of the result. */
static bool run_guarded(ac_resizer *r, const ac_image *image, int size, uint32_t *crc)
{
    const size_t n = (size_t)size * (size_t)size * 3;
    uint8_t *buffer = NULL;
    bool good = ac_malloc(n + 2 * GUARD, 1, &buffer) == AC_OK;
    if (!good)
        return false;
    memset(buffer, 0x5a, n + 2 * GUARD);
    good = ac_resizer_run(r, image, buffer + GUARD) == AC_OK;
    for (size_t i = 0; i < GUARD; i++)
        good = good && buffer[i] == 0x5a && buffer[GUARD + n + i] == 0x5a;
    *crc = ac_png_crc32(buffer + GUARD, n);
    ac_free(buffer);
    return good;
}

static bool run_once(const ac_resize_kernels *kernels, const ac_image *image, int size, uint32_t *crc)
{
    ac_resizer *r = NULL;
    const bool good = ac_resizer_create_with(size, kernels, &r) == AC_OK && run_guarded(r, image, size, crc);
    ac_resizer_destroy(r);
    return good;
}

static void test_fixtures(const ac_resize_kernels *kernels)
{
    FILE *file = fopen("tests/image/fixtures/resize.tsv", "r");
    char line[256], kind[16];
    int width, height, size, n = 0, n_good = 0;
    uint32_t want, crc;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "%d\t%d\t%15s\t%d\t%" SCNx32, &width, &height, kind, &size, &want) != 5)
            continue;
        ac_image image;
        n++;
        if (make_pattern(kind, width, height, &image) == AC_OK && run_once(kernels, &image, size, &crc) && crc == want)
            n_good++;
        else
            printf("# %s %d x %d to %d differs from Pillow\n", kind, width, height, size);
        ac_image_release(&image);
    }
    if (file)
        fclose(file);
    TAP_OK(n == 75 && n_good == n, "%s: %d of %d results equal Pillow's", kernels->name, n_good, n);
}

/* sizes from a generator, one resizer for all of them, so that tables and buffers are used again */
static void test_twins(void)
{
    static const int sizes[] = {1, 2, 7, 31, 64, 200};
    uint32_t state = 7, n_equal = 0, n = 0;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        ac_resizer *best = NULL, *plain = NULL;
        TAP_CALL(ac_resizer_create(sizes[s], &best));
        TAP_CALL(ac_resizer_create_with(sizes[s], &ac_resize_plain, &plain));
        for (int k = 0; k < 40; k++) {
            ac_image image;
            uint32_t a = 0, b = 1, again = 2;
            state = state * 1664525u + 1013904223u;
            const int width = k % 8 == 0 ? sizes[s] : 1 + (int)(state >> 24), height = 1 + (int)(state >> 16 & 255);
            n++;
            if (make_pattern(k % 3 ? "sharp" : "noise", width, height, &image) == AC_OK &&
                run_guarded(best, &image, sizes[s], &a) && run_guarded(plain, &image, sizes[s], &b) &&
                run_guarded(best, &image, sizes[s], &again) && a == b && a == again)
                n_equal++;
            ac_image_release(&image);
        }
        ac_resizer_destroy(best);
        ac_resizer_destroy(plain);
    }
    TAP_OK(n_equal == n, "%s equals plain for %u of %u shapes", ac_resize_kernels_best()->name, (unsigned)n_equal, (unsigned)n);
}

static void test_identity(void)
{
    ac_image image;
    ac_resizer *r = NULL;
    uint8_t out[33 * 33 * 3];
    TAP_CALL(make_pattern("noise", 33, 33, &image));
    TAP_CALL(ac_resizer_create(33, &r));
    TAP_CALL(ac_resizer_run(r, &image, out));
    TAP_OK(memcmp(out, image.pixel, sizeof out) == 0, "an image of the right size is copied");
    ac_resizer_destroy(r);
    ac_image_release(&image);
}

static void test_range(void)
{
    ac_resizer *r = NULL;
    TAP_OK(ac_resizer_create(0, &r) == AC_ERR_RANGE && !r, "size 0 is refused");
    TAP_OK(ac_resizer_create(4097, &r) == AC_ERR_RANGE && !r, "size 4097 is refused");
    TAP_CALL(ac_resizer_create(4096, &r));
    ac_resizer_destroy(r);
    ac_resizer_destroy(NULL);
}

static void test_memory(void)
{
    static uint8_t out[16 * 16 * 3];
    ac_image image;
    int n_failed = 0;
    bool clean = true, done = false;
    TAP_CALL(make_pattern("noise", 40, 30, &image));
    const uint64_t n_live = ac_alloc_get_stats().n_live;
    while (!done && n_failed < 100) {
        ac_resizer *r = NULL;
        ac_alloc_fail_at((uint64_t)n_failed + 1);
        ac_status status = ac_resizer_create(16, &r);
        if (status == AC_OK)
            status = ac_resizer_run(r, &image, out);
        ac_alloc_fail_at(0);
        /* the same resizer goes on after a failure */
        if (status != AC_OK && r)
            clean = clean && ac_resizer_run(r, &image, out) == AC_OK;
        ac_resizer_destroy(r);
        clean = clean && (status == AC_OK || status == AC_ERR_MEMORY) && ac_alloc_get_stats().n_live == n_live;
        done = status == AC_OK;
        n_failed += !done;
    }
    TAP_OK(clean && done && n_failed >= 9, "each of %d requests for memory may fail", n_failed);
    ac_image_release(&image);
}

int main(void)
{
    test_fixtures(&ac_resize_plain);
    if (ac_resize_avx2.supported())
        test_fixtures(&ac_resize_avx2);
    else
        TAP_SKIP("this processor has no AVX2");
    test_twins();
    test_identity();
    test_range();
    test_memory();
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left behind");
    return tap_done();
}
