/* The resize's inner loops with NEON (aarch64): 32-bit multiply-add of single pixels, as resize_plain.c. */
#include "resize.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

enum { PASS_ROWS = 4, COLUMNS = 16 };

static bool supported(void)
{
    return true; /* every aarch64 processor has it */
}

/* [red, green, blue, 0] of pixels 0 .. 3 in 16 bytes, as 32-bit values: an index out of range gives 0 */
static inline void load_4_pixels(const uint8_t *from, uint32x4_t pixel[AC_RESIZE_TAP_GROUP])
{
    static const uint8_t order[16] = {0, 255, 255, 255, 1, 255, 255, 255, 2, 255, 255, 255, 255, 255, 255, 255};
    const uint8x16_t bytes = vld1q_u8(from), index = vld1q_u8(order);
    for (int k = 0; k < AC_RESIZE_TAP_GROUP; k++) /* 255 + 9 would be in range: saturate */
        pixel[k] = vreinterpretq_u32_u8(vqtbl1q_u8(bytes, vqaddq_u8(index, vdupq_n_u8((uint8_t)(3 * k)))));
}

static inline uint32x4_t add_pixel_group(uint32x4_t sum, const uint32x4_t pixel[AC_RESIZE_TAP_GROUP], uint32x4_t weight)
{
    sum = vmlaq_laneq_u32(sum, pixel[0], weight, 0);
    sum = vmlaq_laneq_u32(sum, pixel[1], weight, 1);
    sum = vmlaq_laneq_u32(sum, pixel[2], weight, 2);
    return vmlaq_laneq_u32(sum, pixel[3], weight, 3);
}

static inline void store_pixel(uint32x4_t sum, uint8_t *to)
{
    const uint16x4_t words = vqmovn_u32(vshrq_n_u32(sum, AC_RESIZE_BITS));
    const uint32_t pixel = vget_lane_u32(vreinterpret_u32_u8(vqmovn_u16(vcombine_u16(words, words))), 0);
    memcpy(to, &pixel, sizeof pixel); /* one byte too many, overwritten by the next pixel or in the slack */
}

static void horizontal(const ac_resize_filter *filter, const uint8_t *const source[AC_RESIZE_ROWS],
                       uint8_t *const target[AC_RESIZE_ROWS])
{
    for (int start = 0; start < AC_RESIZE_ROWS; start += PASS_ROWS) {
        for (int i = 0; i < filter->n_out; i++) {
            const int32_t *weight = filter->weight + (size_t)i * (size_t)filter->stride;
            const size_t first = (size_t)filter->first[i] * 3;
            uint32x4_t sum[PASS_ROWS];
            for (int row = 0; row < PASS_ROWS; row++)
                sum[row] = vdupq_n_u32(1 << (AC_RESIZE_BITS - 1));
            for (int t = 0; t < filter->n_taps[i]; t += AC_RESIZE_TAP_GROUP) {
                const uint32x4_t weights = vreinterpretq_u32_s32(vld1q_s32(weight + t));
                for (int row = 0; row < PASS_ROWS; row++) {
                    uint32x4_t pixel[AC_RESIZE_TAP_GROUP];
                    load_4_pixels(source[start + row] + first + (size_t)t * 3, pixel);
                    sum[row] = add_pixel_group(sum[row], pixel, weights);
                }
            }
            for (int row = 0; row < PASS_ROWS; row++)
                store_pixel(sum[row], target[start + row] + (size_t)i * 3);
        }
    }
}

static inline void vertical_16(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps,
                               uint8_t *target)
{
    uint32x4_t sum[4];
    for (int q = 0; q < 4; q++)
        sum[q] = vdupq_n_u32(1 << (AC_RESIZE_BITS - 1));
    for (int t = 0; t < n_taps; t++) {
        const uint8x16_t bytes = vld1q_u8(rows + (size_t)t * row_bytes);
        const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_high_u8(bytes);
        const uint32_t w = (uint32_t)weight[t];
        sum[0] = vmlaq_n_u32(sum[0], vmovl_u16(vget_low_u16(low)), w);
        sum[1] = vmlaq_n_u32(sum[1], vmovl_high_u16(low), w);
        sum[2] = vmlaq_n_u32(sum[2], vmovl_u16(vget_low_u16(high)), w);
        sum[3] = vmlaq_n_u32(sum[3], vmovl_high_u16(high), w);
    }
    uint16x4_t words[4];
    for (int q = 0; q < 4; q++)
        words[q] = vqmovn_u32(vshrq_n_u32(sum[q], AC_RESIZE_BITS));
    vst1q_u8(target,
             vcombine_u8(vqmovn_u16(vcombine_u16(words[0], words[1])), vqmovn_u16(vcombine_u16(words[2], words[3]))));
}

static void vertical(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps, size_t n_bytes,
                     uint8_t *target)
{
    size_t at = 0;
    for (; at + COLUMNS <= n_bytes; at += COLUMNS)
        vertical_16(rows + at, row_bytes, weight, n_taps, target + at);
    if (at < n_bytes)
        ac_resize_plain.vertical(rows + at, row_bytes, weight, n_taps, n_bytes - at, target + at);
}

const ac_resize_kernels ac_resize_neon = {"neon", supported, horizontal, vertical, NULL, NULL};

#else

static bool supported(void)
{
    return false;
}

const ac_resize_kernels ac_resize_neon = {"neon", supported, NULL, NULL, NULL, NULL};

#endif
