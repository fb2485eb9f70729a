/* The resize's inner loops with AVX-512. A weight of 22 bits is split into three signed bytes, so that VNNI's
 * multiply-add of four unsigned by four signed bytes gives exact sums; low + (middle << 8) + (high << 16) is the sum
 * that resize_plain.c forms, whatever its parts wrap around on the way. */
#include "resize.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")))

enum { OUTPUTS = 4, COLUMNS = 64, N_DIGITS = 3 };

static bool supported(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
           __builtin_cpu_supports("avx512vnni");
}

/* Bytes that make three digits, each in -128 .. 127, of a number; the last byte is 0. Adding 128 carries into the next
 * digit what the sign takes away. */
static inline AVX512 __m512i to_digits(__m512i number)
{
    const __m512i bias = _mm512_set1_epi32(0x8080);
    return _mm512_xor_si512(_mm512_add_epi32(number, bias), bias);
}

/* __m512i is made of 64-bit numbers: as a sum that goes round a loop it would be copied twice on each round (GCC 12) */
typedef int32_t numbers __attribute__((vector_size(64)));

typedef struct sums { /* of products with each digit */
    numbers low, middle, high;
} sums;

/* sum of the three parts, shifted to 0 .. 255 (or a little more where weights were rounded up) */
static inline AVX512 __m512i join(sums s)
{
    const __m512i upper =
        _mm512_add_epi32(_mm512_slli_epi32((__m512i)s.middle, 8), _mm512_slli_epi32((__m512i)s.high, 16));
    return _mm512_srli_epi32(_mm512_add_epi32((__m512i)s.low, upper), AC_RESIZE_BITS);
}

static inline AVX512 sums start_sums(void)
{
    return (sums){.low = (numbers)_mm512_set1_epi32(1 << (AC_RESIZE_BITS - 1))};
}

static inline AVX512 sums add_products(sums s, __m512i pixels, const __m512i digit[N_DIGITS])
{
    return (sums){(numbers)_mm512_dpbusd_epi32((__m512i)s.low, pixels, digit[0]),
                  (numbers)_mm512_dpbusd_epi32((__m512i)s.middle, pixels, digit[1]),
                  (numbers)_mm512_dpbusd_epi32((__m512i)s.high, pixels, digit[2])};
}

/* four blocks of 16 bytes */
static inline AVX512 __m512i load_4(const void *a, const void *b, const void *c, const void *d)
{
    __m512i all = _mm512_castsi128_si512(_mm_loadu_si128(a));
    all = _mm512_inserti32x4(all, _mm_loadu_si128(b), 1);
    all = _mm512_inserti32x4(all, _mm_loadu_si128(c), 2);
    return _mm512_inserti32x4(all, _mm_loadu_si128(d), 3);
}

/* Collect the lowest bytes of a block's four numbers, four times over; the middle ones; the highest ones. */
static inline AVX512 void spread_digits(__m512i bytes, __m512i digit[N_DIGITS])
{
    for (int d = 0; d < N_DIGITS; d++)
        digit[d] = _mm512_shuffle_epi8(bytes, _mm512_set1_epi32(0x0c080400 + d * 0x01010101));
}

/* Four pixels of a block to [4 x red, 4 x green, 4 x blue, nothing of use]. */
static inline AVX512 __m512i channel_order(void)
{
    return _mm512_broadcast_i32x4(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, 0, 0, 0, 0));
}

/* Where the bytes of channel_order() stand for each of four outputs, counted from the first one's first pixel. */
static inline AVX512 __m512i near_order(const size_t at[OUTPUTS])
{
    const __m512i step = _mm512_maskz_set1_epi8(0x00000000ffff0000, (char)(at[1] - at[0]));
    const __m512i two = _mm512_mask_set1_epi8(step, 0x0000ffff00000000, (char)(at[2] - at[0]));
    return _mm512_add_epi8(channel_order(), _mm512_mask_set1_epi8(two, 0xffff000000000000, (char)(at[3] - at[0])));
}

static inline AVX512 void store_pixels(sums s, uint8_t *to)
{
    const __m128i squeeze = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m128i pixels = _mm512_cvtusepi32_epi8(join(s));
    /* four bytes too many, overwritten by the next pixels or in the slack */
    _mm_storeu_si128((__m128i *)to, _mm_shuffle_epi8(pixels, squeeze));
}

typedef struct window { /* where four outputs read; behind it the digits of their weights, group after group of taps */
    __m512i order;
    size_t at[OUTPUTS]; /* bytes in a row */
    bool is_near;       /* one load of 64 bytes reaches four taps of each output */
} window;

static inline AVX512 __m512i load_pixels(const uint8_t *from, const window *w, __m512i order, bool is_near)
{
    return is_near
               ? _mm512_permutexvar_epi8(order, _mm512_loadu_si512(from + w->at[0]))
               : _mm512_shuffle_epi8(load_4(from + w->at[0], from + w->at[1], from + w->at[2], from + w->at[3]), order);
}

static size_t window_bytes(const ac_resize_filter *filter)
{
    return sizeof(window) + (size_t)filter->stride / AC_RESIZE_TAP_GROUP * N_DIGITS * sizeof(__m512i);
}

static size_t packed_bytes(const ac_resize_filter *filter)
{
    return ((size_t)filter->n_out + OUTPUTS - 1) / OUTPUTS * window_bytes(filter);
}

/* Outputs i and the three behind it; the last one again where there are none. */
static AVX512 void pack_window(const ac_resize_filter *filter, int i, window *w)
{
    enum { MAX_STEP = 64 / 3 - AC_RESIZE_TAP_GROUP }; /* pixels from the first to the last output's window */
    const int32_t *weight[OUTPUTS];
    __m512i *digit = (__m512i *)(w + 1);
    for (int k = 0; k < OUTPUTS; k++) {
        const int output = i + k < filter->n_out ? i + k : filter->n_out - 1;
        weight[k] = filter->weight + (size_t)output * (size_t)filter->stride;
        w->at[k] = (size_t)filter->first[output] * 3;
    }
    w->is_near = w->at[OUTPUTS - 1] - w->at[0] <= MAX_STEP * 3;
    w->order = w->is_near ? near_order(w->at) : channel_order();
    for (int t = 0; t < filter->stride; t += AC_RESIZE_TAP_GROUP, digit += N_DIGITS) /* output k in block k */
        spread_digits(to_digits(load_4(weight[0] + t, weight[1] + t, weight[2] + t, weight[3] + t)), digit);
}

static void pack(ac_resize_filter *filter)
{
    for (int i = 0; i < filter->n_out; i += OUTPUTS)
        pack_window(filter, i, (window *)(filter->packed + (size_t)i / OUTPUTS * window_bytes(filter)));
}

/* Four outputs of all rows. */
static inline AVX512 __attribute__((always_inline)) void four_outputs(const window *w, bool is_near, int n_taps,
                                                                      const uint8_t *const source[AC_RESIZE_ROWS],
                                                                      uint8_t *const target[AC_RESIZE_ROWS], size_t to)
{
    const __m512i order = w->order;
    const __m512i *digit = (const __m512i *)(w + 1);
    sums sum[AC_RESIZE_ROWS];
#pragma GCC unroll 8
    for (int row = 0; row < AC_RESIZE_ROWS; row++)
        sum[row] = start_sums();
    for (int t = 0; t < n_taps; t += AC_RESIZE_TAP_GROUP, digit += N_DIGITS) {
#pragma GCC unroll 8
        for (int row = 0; row < AC_RESIZE_ROWS; row++)
            sum[row] = add_products(sum[row], load_pixels(source[row] + (size_t)t * 3, w, order, is_near), digit);
    }
#pragma GCC unroll 8
    for (int row = 0; row < AC_RESIZE_ROWS; row++)
        store_pixels(sum[row], target[row] + to);
}

static AVX512 void horizontal(const ac_resize_filter *filter, const uint8_t *const source[AC_RESIZE_ROWS],
                              uint8_t *const target[AC_RESIZE_ROWS])
{
    const size_t step = window_bytes(filter);
    const uint8_t *packed = filter->packed;
    for (int i = 0; i < filter->n_out; i += OUTPUTS, packed += step) {
        const window *w = (const window *)packed;
        if (w->is_near)
            four_outputs(w, true, filter->stride, source, target, (size_t)i * 3);
        else
            four_outputs(w, false, filter->stride, source, target, (size_t)i * 3);
    }
}

/* The four bytes of each column of four rows, side by side. Block b of column[q] has columns 16 b + 4 q and on, so that
 * packing four of them gives the columns in order. */
static inline AVX512 void interleave(const __m512i row[4], __m512i column[4])
{
    const __m512i upper_low = _mm512_unpacklo_epi8(row[0], row[1]), upper_high = _mm512_unpackhi_epi8(row[0], row[1]);
    const __m512i lower_low = _mm512_unpacklo_epi8(row[2], row[3]), lower_high = _mm512_unpackhi_epi8(row[2], row[3]);
    column[0] = _mm512_unpacklo_epi16(upper_low, lower_low);
    column[1] = _mm512_unpackhi_epi16(upper_low, lower_low);
    column[2] = _mm512_unpacklo_epi16(upper_high, lower_high);
    column[3] = _mm512_unpackhi_epi16(upper_high, lower_high);
}

/* up to 64 columns, those of `mask` */
static inline AVX512 void vertical_64(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps,
                                      __mmask64 mask, uint8_t *target)
{
    sums sum[4];
    for (int q = 0; q < 4; q++)
        sum[q] = start_sums();
    for (int t = 0; t < n_taps; t += AC_RESIZE_TAP_GROUP) {
        const __m512i weights = to_digits(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(weight + t))));
        __m512i row[4], column[4], digit[N_DIGITS];
        for (int k = 0; k < 4; k++) { /* the last row again where there is none: its weight is 0 */
            const int at = t + k < n_taps ? t + k : n_taps - 1;
            row[k] = _mm512_maskz_loadu_epi8(mask, rows + (size_t)at * row_bytes);
        }
        interleave(row, column);
        spread_digits(weights, digit);
        for (int q = 0; q < 4; q++)
            sum[q] = add_products(sum[q], column[q], digit);
    }
    const __m512i words[2] = {_mm512_packus_epi32(join(sum[0]), join(sum[1])),
                              _mm512_packus_epi32(join(sum[2]), join(sum[3]))};
    _mm512_mask_storeu_epi8(target, mask, _mm512_packus_epi16(words[0], words[1]));
}

static AVX512 void vertical(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps, size_t n_bytes,
                            uint8_t *target)
{
    for (size_t at = 0; at < n_bytes; at += COLUMNS) {
        const size_t left = n_bytes - at;
        const __mmask64 mask = left >= COLUMNS ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
        vertical_64(rows + at, row_bytes, weight, n_taps, mask, target + at);
    }
}

const ac_resize_kernels ac_resize_avx512 = {"avx512", supported, horizontal, vertical, packed_bytes, pack};

#else

static bool supported(void)
{
    return false;
}

const ac_resize_kernels ac_resize_avx512 = {"avx512", supported, NULL, NULL, NULL, NULL};

#endif
