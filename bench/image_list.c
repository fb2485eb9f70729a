/* For every path on stdin a line with tabs: path, strict verdict, verdict with warnings allowed ("ok" or the reason),
 * width, height, CRC-32 of the pixels (with warnings allowed). What image_compare.py compares with Pillow. */
#include "anyclass/alloc.h"
#include "anyclass/image.h"
#include "image/png_chunks.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *verdict(ac_status status, char *text, size_t n_bytes)
{
    snprintf(text, n_bytes, "%s", status == AC_OK ? "ok" : ac_error_text());
    text[strcspn(text, "\t\n")] = 0;
    return text;
}

int main(void)
{
    static const ac_decode_options strict = {0}, lenient = {.allow_warnings = true};
    char path[4096], text[2][512];
    ac_image image = {0};
    uint8_t *scratch = NULL;
    size_t scratch_bytes = 0;
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = 0;
        verdict(ac_image_load(path, &strict, &image, &scratch, &scratch_bytes), text[0], sizeof text[0]);
        const ac_status status = ac_image_load(path, &lenient, &image, &scratch, &scratch_bytes);
        verdict(status, text[1], sizeof text[1]);
        printf("%s\t%s\t%s", path, text[0], text[1]);
        if (status == AC_OK)
            printf("\t%d\t%d\t%08" PRIx32, image.width_px, image.height_px,
                   ac_png_crc32(image.pixel, (size_t)image.width_px * (size_t)image.height_px * 3));
        printf("\n");
    }
    ac_image_release(&image);
    ac_free(scratch);
    return 0;
}
