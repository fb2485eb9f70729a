/* The line that `anyclass-preprocess statistics` must print, the slow way: two passes in long double over every pixel.
 * usage: naive_statistics SHARDS SPLIT */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/store.h"
#include <math.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    ac_store store;
    uint8_t *pixels = NULL;
    long double mean[3] = {0}, spread[3] = {0};
    char text[AC_NUMBER_BYTES];
    if (argc != 3 || ac_store_open(argv[1], argv[2], &store) != AC_OK ||
        ac_malloc(store.image_bytes, 1, &pixels) != AC_OK)
        return 1;
    long double n = (long double)store.n_samples * (long double)(store.image_bytes / 3);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < store.n_samples; i++) {
            if (ac_store_read_image(&store, i, pixels) != AC_OK)
                return 1;
            for (size_t k = 0; k < store.image_bytes; k++) {
                long double x = pixels[k] / 255.0L;
                if (pass == 0)
                    mean[k % 3] += x / n;
                else
                    spread[k % 3] += (x - mean[k % 3]) * (x - mean[k % 3]) / n;
            }
        }
    for (int c = 0; c < 6; c++) {
        ac_format_float((float)(c < 3 ? mean[c] : sqrtl(spread[c - 3])), text);
        printf("%s%s", c == 0 ? "--mean " : c == 3 ? " --std " : " ", text);
    }
    printf("\n");
    ac_free(pixels);
    ac_store_close(&store);
    return 0;
}
