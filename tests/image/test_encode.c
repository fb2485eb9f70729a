/* JPEG in memory: it is a JPEG, the same as the one in a file but for its tables, and its buffer is used again. */
#include "anyclass/alloc.h"
#include "anyclass/image.h"
#include "tests/tap.h"
#include <string.h>

enum { SIDE = 96 };

static int largest_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
    int most = 0;
    for (size_t i = 0; i < n; i++) {
        int difference = a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
        most = difference > most ? difference : most;
    }
    return most;
}

int main(void)
{
    static uint8_t pixels[SIDE * SIDE * 3], noise[SIDE * SIDE * 3];
    uint64_t n_live = ac_alloc_get_stats().n_live, state = 1;
    uint8_t *jpeg = NULL, *bytes = NULL;
    size_t capacity = 0, n = 0, n_noise = 0, n_file = 0;
    ac_image image = {0}, same = {0};
    ac_decode_options options = {0};
    char folder[AC_PATH_BYTES], path[AC_PATH_BYTES];
    for (size_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i / 3 % SIDE * 2 + i / 3 / SIDE);
        state = state * 6364136223846793005u + 1442695040888963407u;
        noise[i] = (uint8_t)(state >> 56);
    }
    TAP_CALL(ac_image_encode_jpeg(pixels, SIDE, SIDE, 3, 90, &jpeg, &capacity, &n));
    TAP_CALL(ac_image_decode(jpeg, n, &options, &image));
    TAP_OK(image.width_px == SIDE && image.height_px == SIDE &&
               largest_difference(image.pixel, pixels, sizeof pixels) < 24,
           "it decodes to what it was");
    TAP_OK(tap_folder(folder) && ac_path_join(path, folder, "a.jpg") == AC_OK &&
               ac_image_write_jpeg(path, pixels, SIDE, SIDE, 3, 90) == AC_OK &&
               ac_file_read_all(path, 0, &bytes, &n_file) == AC_OK &&
               ac_image_decode(bytes, n_file, &options, &same) == AC_OK,
           "the same in a file");
    TAP_OK(same.pixel && memcmp(same.pixel, image.pixel, sizeof pixels) == 0 && n < n_file,
           "has the same pixels in %zu bytes, here %zu", n_file, n);
    TAP_CALL(ac_image_encode_jpeg(noise, SIDE, SIDE, 3, 100, &jpeg, &capacity, &n_noise));
    TAP_OK(n_noise > 8192 && ac_image_decode(jpeg, n_noise, &options, &image) == AC_OK, "the buffer grows: %zu bytes",
           n_noise);
    TAP_CALL(ac_image_encode_jpeg(pixels, SIDE, SIDE, 1, 90, &jpeg, &capacity, &n));
    TAP_OK(n < n_noise && ac_image_decode(jpeg, n, &options, &image) == AC_OK, "grey, into the same buffer");
    TAP_OK(ac_image_encode_jpeg(pixels, SIDE, SIDE, 2, 90, &jpeg, &capacity, &n) == AC_ERR_RANGE, "two channels: %s",
           ac_error_text());
    TAP_OK(ac_image_encode_jpeg(pixels, 0, SIDE, 3, 90, &jpeg, &capacity, &n) == AC_ERR_RANGE, "no width: %s",
           ac_error_text());
    ac_free(jpeg);
    jpeg = NULL;
    capacity = 0;
    for (uint64_t k = 1; k < 4; k++) {
        ac_alloc_fail_at(k);
        ac_status status = ac_image_encode_jpeg(noise, SIDE, SIDE, 3, 100, &jpeg, &capacity, &n);
        ac_alloc_fail_at(0);
        TAP_OK(status == AC_ERR_MEMORY, "allocation %d fails: %s", (int)k, ac_error_text());
        ac_free(jpeg);
        jpeg = NULL;
        capacity = 0;
    }
    ac_free(bytes);
    ac_image_release(&image);
    ac_image_release(&same);
    TAP_OK(ac_alloc_get_stats().n_live == n_live, "no memory is left");
    tap_remove(folder);
    return tap_done();
}
