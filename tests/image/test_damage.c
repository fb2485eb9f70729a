/* Damaged files: cut at every byte, every bit flipped, random bits flipped. Never a crash (run under AddressSanitizer),
 * never a word on stderr; a cut file is never accepted, and a damaged PNG that is accepted has its old pixels. */
#include "tests/tap.h"
#include "image_help.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* small enough to decode in microseconds, also when a flipped bit makes the header's size large */
static const ac_decode_options strict = {.max_pixels = 1 << 18},
                               lenient = {.max_pixels = 1 << 18, .allow_warnings = true, .apply_orientation = true};
static const char *const fixtures[] = {"jpeg-grey.jpg", "jpeg-420.jpg", "jpeg-progressive.jpg", "jpeg-ycck.jpg",
                                       "jpeg-exif.jpg", "png-2-8.png", "png-3-4-interlaced.png", "png-0-16.png",
                                       "png-many-idat.png", "png-exif-6.png", "png-apng.png"};
enum { N_FIXTURES = sizeof fixtures / sizeof *fixtures, N_RANDOM = 1500 };

static bool expected(ac_status status)
{
    return status == AC_OK || (status == AC_ERR_DATA && ac_error_text()[0]);
}

static void test_cut(const char *name, const uint8_t *bytes, size_t n_bytes, ac_image *image)
{
    size_t n_accepted = 0, n_odd = 0;
    for (size_t n = 0; n < n_bytes; n++) {
        n_accepted += decode_copy(bytes, n, &strict, image) != AC_ERR_DATA;
        n_odd += !expected(decode_copy(bytes, n, &lenient, image));
    }
    TAP_OK(n_accepted == 0 && n_odd == 0, "%s cut at each of %zu bytes is refused", name, n_bytes);
}

static void test_flip_each(const char *name, uint8_t *bytes, size_t n_bytes, ac_image *image)
{
    const bool png = strncmp(name, "png", 3) == 0;
    size_t n_odd = 0, n_changed = 0;
    if (decode_copy(bytes, n_bytes, &strict, image) != AC_OK)
        n_odd++;
    const uint32_t crc = image_crc(image);
    for (size_t bit = 0; bit < n_bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        const ac_status status = decode_copy(bytes, n_bytes, &strict, image);
        n_odd += !expected(status);
        n_changed += status == AC_OK && image_crc(image) != crc;
        if (png) /* CRCs stop libpng early in strict mode: let it go on */
            n_odd += !expected(decode_copy(bytes, n_bytes, &lenient, image));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    TAP_OK(n_odd == 0 && (!png || n_changed == 0), "%s with each of %zu bits flipped: refused or sound%s", name, n_bytes * 8,
           png ? ", never other pixels" : "");
}

static void test_flip_random(const char *name, const uint8_t *bytes, size_t n_bytes, ac_image *image)
{
    uint8_t *copy = NULL;
    uint32_t state = 99;
    size_t n_odd = 0;
    TAP_CALL(ac_malloc(n_bytes, 1, &copy));
    for (int i = 0; copy && i < N_RANDOM; i++) {
        memcpy(copy, bytes, n_bytes);
        for (int k = 0; k < 2 + i % 12; k++) {
            state = state * 1664525u + 1013904223u;
            copy[(state >> 8) % n_bytes] ^= (uint8_t)(1u << (state >> 5 & 7));
        }
        n_odd += !expected(decode_copy(copy, n_bytes, &lenient, image));
    }
    TAP_OK(n_odd == 0, "%s with several bits flipped, %d times", name, N_RANDOM);
    ac_free(copy);
}

int main(void)
{
    ac_image image = {0};
    struct stat info;
    FILE *stream = tmpfile();
    const int log = stream ? fileno(stream) : -1, kept = dup(STDERR_FILENO);
    if (log < 0 || kept < 0 || dup2(log, STDERR_FILENO) < 0) {
        TAP_OK(false, "stderr can be watched");
        return tap_done();
    }
    for (int i = 0; i < N_FIXTURES; i++) {
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        if (!TAP_CALL(read_fixture(fixtures[i], &bytes, &n_bytes)))
            continue;
        test_cut(fixtures[i], bytes, n_bytes, &image);
        test_flip_each(fixtures[i], bytes, n_bytes, &image);
        test_flip_random(fixtures[i], bytes, n_bytes, &image);
        ac_free(bytes);
    }
    dup2(kept, STDERR_FILENO);
    TAP_OK(fstat(log, &info) == 0 && info.st_size == 0, "nothing was written to stderr");
    fclose(stream);
    close(kept);
    ac_image_release(&image);
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left behind");
    return tap_done();
}
