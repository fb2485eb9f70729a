/* The resize's inner loops in plain C: the definition that other kernels must equal, byte for byte. */
#include "resize.h"

/* Sums are at most 255 * (1 << 22) plus the rounding of the weights, never negative; above 255 needs the clip. */
static inline uint8_t to_byte(int32_t sum)
{
    sum >>= AC_RESIZE_BITS;
    return (uint8_t)(sum > 255 ? 255 : sum);
}

static bool supported(void)
{
    return true;
}

static void horizontal(const ac_resize_filter *filter, const uint8_t *const source[AC_RESIZE_ROWS],
                       uint8_t *const target[AC_RESIZE_ROWS])
{
    for (int row = 0; row < AC_RESIZE_ROWS; row++) {
        uint8_t *to = target[row];
        for (int i = 0; i < filter->n_out; i++, to += 3) {
            const uint8_t *from = source[row] + (size_t)filter->first[i] * 3;
            const int32_t *weight = filter->weight + (size_t)i * (size_t)filter->stride;
            int32_t red = 1 << (AC_RESIZE_BITS - 1), green = red, blue = red;
            for (int t = 0; t < filter->n_taps[i]; t++, from += 3) {
                red += from[0] * weight[t];
                green += from[1] * weight[t];
                blue += from[2] * weight[t];
            }
            to[0] = to_byte(red);
            to[1] = to_byte(green);
            to[2] = to_byte(blue);
        }
    }
}

static void vertical(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps, size_t n_bytes,
                     uint8_t *target)
{
    enum { PIECE = 64 }; /* columns whose sums stay in registers or the nearest cache */
    for (size_t start = 0; start < n_bytes; start += PIECE) {
        const size_t n = n_bytes - start < PIECE ? n_bytes - start : PIECE;
        int32_t sum[PIECE];
        for (size_t i = 0; i < n; i++)
            sum[i] = 1 << (AC_RESIZE_BITS - 1);
        for (int t = 0; t < n_taps; t++) {
            const uint8_t *from = rows + (size_t)t * row_bytes + start;
            for (size_t i = 0; i < n; i++)
                sum[i] += from[i] * weight[t];
        }
        for (size_t i = 0; i < n; i++)
            target[start + i] = to_byte(sum[i]);
    }
}

const ac_resize_kernels ac_resize_plain = {"plain", supported, horizontal, vertical, NULL, NULL};
