/* The resize's inner loops with AVX2. A weight of 22 bits is split into high and low halves of 11 bits, so that the
 * 16-bit multiply-add of pairs gives exact sums; (high << 11) + low is the sum that resize_plain.c forms. */
#include "resize.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

enum { LOW_BITS = AC_RESIZE_BITS / 2, PASS_ROWS = 4, COLUMNS = 32 };

static bool supported(void)
{
    return __builtin_cpu_supports("avx2");
}

static inline AVX2 __m256i load_2(const void *a, const void *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(a)), _mm_loadu_si128(b), 1);
}

static inline AVX2 __m256i add_products(__m256i sum, __m256i pixels, __m256i weights)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pixels, weights));
}

static inline AVX2 __m256i half(void)
{
    return _mm256_set1_epi32(1 << (AC_RESIZE_BITS - 1));
}

/* a sum shifted to 0 .. 255 (or a little more where weights were rounded up) */
static inline AVX2 __m256i shift(__m256i sum)
{
    return _mm256_srli_epi32(sum, AC_RESIZE_BITS);
}

typedef struct weight_parts { /* of taps 0 and 1, and of taps 2 and 3; one output in each half, once per channel */
    __m256i high[2], low[2];
} weight_parts;

static inline AVX2 weight_parts load_weights(const int32_t *a, const int32_t *b)
{
    const __m256i both = load_2(a, b);
    const __m256i parts = _mm256_packs_epi32(_mm256_srli_epi32(both, LOW_BITS),
                                             _mm256_and_si256(both, _mm256_set1_epi32((1 << LOW_BITS) - 1)));
    return (weight_parts){.high = {_mm256_shuffle_epi32(parts, 0x00), _mm256_shuffle_epi32(parts, 0x55)},
                          .low = {_mm256_shuffle_epi32(parts, 0xaa), _mm256_shuffle_epi32(parts, 0xff)}};
}

/* Store two pixels for each of four rows. */
static inline AVX2 void store_pixels(const __m256i sum[PASS_ROWS], uint8_t *const target[PASS_ROWS], size_t at)
{
    const __m256i squeeze = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, -1, -1, 8, 9, 10, 12, 13, 14, -1, -1, 0, 1, 2, 4, 5, 6,
                                             -1, -1, 8, 9, 10, 12, 13, 14, -1, -1);
    const __m256i upper = _mm256_packs_epi32(shift(sum[0]), shift(sum[1]));
    const __m256i lower = _mm256_packs_epi32(shift(sum[2]), shift(sum[3]));
    __m256i pixels = _mm256_packus_epi16(upper, lower); /* rows 0 .. 3 of the first output, then of the second */
    pixels = _mm256_permutevar8x32_epi32(pixels, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    pixels = _mm256_shuffle_epi8(pixels, squeeze);
    const __m128i pair[2] = {_mm256_castsi256_si128(pixels), _mm256_extracti128_si256(pixels, 1)};
    for (int row = 0; row < PASS_ROWS; row++) /* two bytes too many, overwritten by the next pixels or in the slack */
        _mm_storel_epi64((__m128i *)(target[row] + at),
                         row & 1 ? _mm_unpackhi_epi64(pair[row / 2], pair[row / 2]) : pair[row / 2]);
}

/* Outputs i and j of four rows. */
static inline AVX2 void two_outputs(const ac_resize_filter *filter, int i, int j,
                                    const uint8_t *const source[PASS_ROWS], uint8_t *const target[PASS_ROWS])
{
    /* [red, green, blue, 0] of pixels 0 and 1, and of pixels 2 and 3, in pairs of 16-bit values */
    const __m256i order_01 = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 0, -1, 3, -1, 1,
                                              -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    const __m256i order_23 = _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1, 6, -1, 9, -1,
                                              7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const size_t at[2] = {(size_t)filter->first[i] * 3, (size_t)filter->first[j] * 3};
    const int32_t *weight[2] = {filter->weight + (size_t)i * (size_t)filter->stride,
                                filter->weight + (size_t)j * (size_t)filter->stride};
    __m256i sum[PASS_ROWS];
    for (int row = 0; row < PASS_ROWS; row++)
        sum[row] = half();
    for (int t = 0; t < filter->stride; t += AC_RESIZE_TAP_GROUP) {
        const weight_parts weights = load_weights(weight[0] + t, weight[1] + t);
        for (int row = 0; row < PASS_ROWS; row++) {
            const uint8_t *from = source[row] + (size_t)t * 3;
            const __m256i bytes = load_2(from + at[0], from + at[1]);
            const __m256i first = _mm256_shuffle_epi8(bytes, order_01), second = _mm256_shuffle_epi8(bytes, order_23);
            /* joined at once: with two sums for each row the registers would not suffice */
            const __m256i high = add_products(_mm256_madd_epi16(first, weights.high[0]), second, weights.high[1]);
            const __m256i low = add_products(_mm256_madd_epi16(first, weights.low[0]), second, weights.low[1]);
            sum[row] = _mm256_add_epi32(sum[row], _mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low));
        }
    }
    store_pixels(sum, target, (size_t)i * 3);
}

static AVX2 void horizontal(const ac_resize_filter *filter, const uint8_t *const source[AC_RESIZE_ROWS],
                            uint8_t *const target[AC_RESIZE_ROWS])
{
    for (int row = 0; row < AC_RESIZE_ROWS; row += PASS_ROWS)
        for (int i = 0; i < filter->n_out; i += 2)
            two_outputs(filter, i, i + 1 < filter->n_out ? i + 1 : i, source + row, target + row);
}

/* 32 columns; rows are taken in pairs, a last single one twice, the second time with the weight 0 behind n_taps */
static inline AVX2 void vertical_32(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps,
                                    uint8_t *target)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i sum[4];
    for (int q = 0; q < 4; q++)
        sum[q] = half();
    for (int t = 0; t < n_taps; t += 2) {
        const int32_t a = weight[t], b = weight[t + 1];
        const __m256i weight_high = _mm256_set1_epi32(b >> LOW_BITS << 16 | a >> LOW_BITS);
        const __m256i weight_low = _mm256_set1_epi32((b & ((1 << LOW_BITS) - 1)) << 16 | (a & ((1 << LOW_BITS) - 1)));
        const uint8_t *row = rows + (size_t)t * row_bytes;
        const __m256i upper = _mm256_loadu_si256((const __m256i *)row);
        const __m256i lower = _mm256_loadu_si256((const __m256i *)(t + 1 < n_taps ? row + row_bytes : row));
        const __m256i pairs[2] = {_mm256_unpacklo_epi8(upper, lower), _mm256_unpackhi_epi8(upper, lower)};
        for (int q = 0; q < 4; q++) { /* quarter q: columns 4 q .. of each half, so that packing keeps their order */
            const __m256i pixels =
                q & 1 ? _mm256_unpackhi_epi8(pairs[q / 2], zero) : _mm256_unpacklo_epi8(pairs[q / 2], zero);
            const __m256i high = _mm256_slli_epi32(_mm256_madd_epi16(pixels, weight_high), LOW_BITS);
            sum[q] = _mm256_add_epi32(add_products(sum[q], pixels, weight_low), high);
        }
    }
    _mm256_storeu_si256((__m256i *)target, _mm256_packus_epi16(_mm256_packs_epi32(shift(sum[0]), shift(sum[1])),
                                                               _mm256_packs_epi32(shift(sum[2]), shift(sum[3]))));
}

static AVX2 void vertical(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps, size_t n_bytes,
                          uint8_t *target)
{
    size_t at = 0;
    for (; at + COLUMNS <= n_bytes; at += COLUMNS)
        vertical_32(rows + at, row_bytes, weight, n_taps, target + at);
    if (at < n_bytes)
        ac_resize_plain.vertical(rows + at, row_bytes, weight, n_taps, n_bytes - at, target + at);
}

const ac_resize_kernels ac_resize_avx2 = {"avx2", supported, horizontal, vertical, NULL, NULL};

#else

static bool supported(void)
{
    return false;
}

const ac_resize_kernels ac_resize_avx2 = {"avx2", supported, NULL, NULL, NULL, NULL};

#endif
