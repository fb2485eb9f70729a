/* The resize's inner loops with AVX2. A weight of 22 bits is split into high and low halves of 11 bits, so that the
 * 16-bit multiply-add of pairs gives exact sums; (high << 11) + low is the sum that resize_plain.c forms. */
#include "resize.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

enum { LOW_BITS = AC_RESIZE_BITS / 2 };

static bool supported(void)
{
    return __builtin_cpu_supports("avx2");
}

/* [red pair, green pair, blue pair, 0] of 16-bit values: pixels 0 and 1 in the low half, 2 and 3 in the high half */
static inline AVX2 __m256i load_4_pixels(const uint8_t *from)
{
    const __m256i order = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,
                                           6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)from)), order);
}

/* weights 0 and 1 as pairs in the low half, 2 and 3 in the high half */
static inline AVX2 __m256i spread_4_weights(__m128i weight)
{
    const __m128i packed = _mm_packs_epi32(weight, weight);
    return _mm256_set_m128i(_mm_shuffle_epi32(packed, 0x55), _mm_shuffle_epi32(packed, 0x00));
}

static inline AVX2 __m256i add_products(__m256i sum, __m256i pixels, __m256i weights)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pixels, weights));
}

static inline AVX2 void store_pixel(__m256i high, __m256i low, uint8_t *to)
{
    const __m256i both = _mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low);
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    sum = _mm_srli_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (AC_RESIZE_BITS - 1))), AC_RESIZE_BITS);
    sum = _mm_packus_epi16(_mm_packs_epi32(sum, sum), sum);
    const int32_t pixel = _mm_cvtsi128_si32(sum);
    memcpy(to, &pixel, sizeof pixel); /* one byte too many, overwritten by the next pixel or in the slack */
}

static AVX2 void horizontal(const ac_resize_filter *filter, const uint8_t *const source[AC_RESIZE_ROWS],
                            uint8_t *const target[AC_RESIZE_ROWS])
{
    for (int i = 0; i < filter->n_out; i++) {
        const size_t first = (size_t)filter->first[i] * 3;
        const int32_t *weight = filter->weight + (size_t)i * (size_t)filter->stride;
        __m256i high[AC_RESIZE_ROWS], low[AC_RESIZE_ROWS];
        for (int row = 0; row < AC_RESIZE_ROWS; row++)
            high[row] = low[row] = _mm256_setzero_si256();
        for (int t = 0; t < filter->n_taps[i]; t += AC_RESIZE_TAP_GROUP) {
            const __m128i weights = _mm_loadu_si128((const __m128i *)(weight + t));
            const __m256i weight_high = spread_4_weights(_mm_srli_epi32(weights, LOW_BITS));
            const __m256i weight_low = spread_4_weights(_mm_and_si128(weights, _mm_set1_epi32((1 << LOW_BITS) - 1)));
            for (int row = 0; row < AC_RESIZE_ROWS; row++) {
                const __m256i pixels = load_4_pixels(source[row] + first + (size_t)t * 3);
                high[row] = add_products(high[row], pixels, weight_high);
                low[row] = add_products(low[row], pixels, weight_low);
            }
        }
        for (int row = 0; row < AC_RESIZE_ROWS; row++)
            store_pixel(high[row], low[row], target[row] + (size_t)i * 3);
    }
}

static inline AVX2 __m256i to_bytes(__m256i high, __m256i low)
{
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low);
    return _mm256_srli_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << (AC_RESIZE_BITS - 1))), AC_RESIZE_BITS);
}

/* 16 columns; rows are taken in pairs, a last single one with the weight 0 for its partner */
static inline AVX2 void vertical_16(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps,
                                    uint8_t *target)
{
    __m256i high[2], low[2];
    for (int half = 0; half < 2; half++)
        high[half] = low[half] = _mm256_setzero_si256();
    for (int t = 0; t < n_taps; t += 2) {
        const bool pair = t + 1 < n_taps;
        const uint8_t *row = rows + (size_t)t * row_bytes;
        const int32_t a = weight[t], b = pair ? weight[t + 1] : 0;
        const __m256i weight_high = _mm256_set1_epi32(b >> LOW_BITS << 16 | a >> LOW_BITS);
        const __m256i weight_low =
            _mm256_set1_epi32((b & ((1 << LOW_BITS) - 1)) << 16 | (a & ((1 << LOW_BITS) - 1)));
        const __m128i upper = _mm_loadu_si128((const __m128i *)row);
        const __m128i lower = pair ? _mm_loadu_si128((const __m128i *)(row + row_bytes)) : upper;
        const __m256i pixels[2] = {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(upper, lower)),
                                   _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(upper, lower))};
        for (int half = 0; half < 2; half++) {
            high[half] = add_products(high[half], pixels[half], weight_high);
            low[half] = add_products(low[half], pixels[half], weight_low);
        }
    }
    __m256i packed = _mm256_packs_epi32(to_bytes(high[0], low[0]), to_bytes(high[1], low[1]));
    packed = _mm256_permute4x64_epi64(packed, 0xd8); /* packing works in 128-bit halves */
    _mm_storeu_si128((__m128i *)target,
                     _mm_packus_epi16(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1)));
}

static AVX2 void vertical(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps, size_t n_bytes,
                          uint8_t *target)
{
    size_t at = 0;
    for (; at + 16 <= n_bytes; at += 16)
        vertical_16(rows + at, row_bytes, weight, n_taps, target + at);
    if (at < n_bytes)
        ac_resize_plain.vertical(rows + at, row_bytes, weight, n_taps, n_bytes - at, target + at);
}

const ac_resize_kernels ac_resize_avx2 = {"avx2", supported, horizontal, vertical};

#else

static bool supported(void)
{
    return false;
}

const ac_resize_kernels ac_resize_avx2 = {"avx2", supported, NULL, NULL};

#endif
