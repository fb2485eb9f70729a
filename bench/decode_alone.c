/* The yardstick of preprocess: each JPEG named on stdin to RGB with libjpeg-turbo's plain interface and default settings,
 * nothing else. usage: decode_alone <LIST; prints how many. An error ends it: the files are whole. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>

static void decode(const uint8_t *bytes, size_t n_bytes, uint8_t **rgb, size_t *capacity)
{
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    info.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, bytes, n_bytes);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB;
    jpeg_start_decompress(&info);
    size_t row_bytes = (size_t)info.output_width * 3;
    if (ac_reserve(rgb, capacity, row_bytes * info.output_height, 1) == AC_OK)
        while (info.output_scanline < info.output_height) {
            JSAMPROW row = *rgb + info.output_scanline * row_bytes;
            jpeg_read_scanlines(&info, &row, 1);
        }
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
}

int main(void)
{
    char path[AC_PATH_BYTES];
    uint8_t *bytes, *rgb = NULL;
    size_t n_bytes, capacity = 0;
    int n = 0;
    ac_status status = AC_OK;
    while (status == AC_OK && fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = 0;
        status = ac_file_read_all(path, 0, &bytes, &n_bytes);
        if (status != AC_OK)
            break;
        decode(bytes, n_bytes, &rgb, &capacity);
        ac_free(bytes);
        n++;
    }
    ac_free(rgb);
    printf("%d images\n", n);
    return ac_status_exit_code(status);
}
