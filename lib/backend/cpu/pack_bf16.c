/* Operands of bf16 products into units (tile_bf16.h), from float or bf16, whichever way they lie. A unit of a has k along its rows, one of b
 * pairs of k along its columns: so one of the two is turned by a transpose of 16 x 16 pairs, the other only loaded. */
#include "backend/cpu/tile_bf16.h"

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) CPU_AVX512

/* 16 numbers that lie together, each in the lower half of a number; zeros outside of the mask. */
INLINE __m512i load_16(const void *values, int64_t at, const bool is_float, __mmask16 inside)
{
    if (is_float)
        return cpu_bf16_round(_mm512_maskz_loadu_ps(inside, (const float *)values + at));
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(inside, (const uint16_t *)values + at));
}

/* 32 numbers that lie together, n of them there. */
INLINE __m512i load_32(const void *values, int64_t at, const bool is_float, int64_t n)
{
    __mmask32 inside = n >= 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1;
    if (!is_float)
        return _mm512_maskz_loadu_epi16(inside, (const uint16_t *)values + at);
    __m256i low = _mm512_cvtepi32_epi16(load_16(values, at, true, (__mmask16)inside));
    __m256i high = _mm512_cvtepi32_epi16(load_16(values, at + 16, true, (__mmask16)(inside >> 16)));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* 16 x 16 pairs. */
INLINE void transpose(__m512i r[16])
{
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* r[i + j]: column j of each block of four, of rows i .. i + 3 */
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) { /* the blocks as wholes */
        __m512i even = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), odd = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
        __m512i even2 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88), odd2 = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
        t[j] = _mm512_shuffle_i32x4(even, even2, 0x88);
        t[4 + j] = _mm512_shuffle_i32x4(odd, odd2, 0x88);
        t[8 + j] = _mm512_shuffle_i32x4(even, even2, 0xdd);
        t[12 + j] = _mm512_shuffle_i32x4(odd, odd2, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        r[i] = t[i];
}

/* One unit. Where k lies together (step 1) vector i is line i, else it is the pair k = 2 i, 2 i + 1 of all lines. */
INLINE void pack_unit(const cpu_bf16_source *s, const bool is_float, const bool along_k, const bool turn, int64_t line, int n_lines, int64_t k,
                      int64_t n_k, uint16_t *to)
{
    __m512i v[16];
    __mmask16 lines = (__mmask16)((1u << n_lines) - 1);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        if (along_k) {
            v[i] = i < n_lines ? load_32(s->values, (line + i) * s->line + k, is_float, n_k) : _mm512_setzero_si512();
        } else {
            int64_t at = (k + 2 * i) * s->step + line;
            __m512i first = 2 * i < n_k ? load_16(s->values, at, is_float, lines) : _mm512_setzero_si512();
            __m512i second = 2 * i + 1 < n_k ? load_16(s->values, at + s->step, is_float, lines) : _mm512_setzero_si512();
            v[i] = _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
        }
    }
    if (turn)
        transpose(v);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        _mm512_storeu_si512(to + 32 * i, v[i]);
}

/* Whole units without the conditions of the last one. */
INLINE void pack(const cpu_bf16_source *s, const bool is_float, const bool along_k, const bool turn, int64_t line, int n_lines, int64_t k,
                 int64_t n_k, uint16_t *to, int64_t unit_stride)
{
    for (; n_lines == BF16_LANES && n_k >= BF16_STEP; k += BF16_STEP, n_k -= BF16_STEP, to += unit_stride)
        pack_unit(s, is_float, along_k, turn, line, BF16_LANES, k, BF16_STEP, to);
    for (; n_k > 0; k += BF16_STEP, n_k -= BF16_STEP, to += unit_stride)
        pack_unit(s, is_float, along_k, turn, line, n_lines, k, n_k, to);
}

CPU_AVX512 void cpu_bf16_pack_a(const cpu_bf16_source *s, int64_t line, int n_lines, int64_t k, int64_t n_k, uint16_t *to, int64_t unit_stride)
{
    if (s->step == 1 && s->is_float)
        pack(s, true, true, false, line, n_lines, k, n_k, to, unit_stride);
    else if (s->step == 1)
        pack(s, false, true, false, line, n_lines, k, n_k, to, unit_stride);
    else if (s->is_float)
        pack(s, true, false, true, line, n_lines, k, n_k, to, unit_stride);
    else
        pack(s, false, false, true, line, n_lines, k, n_k, to, unit_stride);
}

CPU_AVX512 void cpu_bf16_pack_b(const cpu_bf16_source *s, int64_t line, int n_lines, int64_t k, int64_t n_k, uint16_t *to, int64_t unit_stride)
{
    if (s->step == 1 && s->is_float)
        pack(s, true, true, true, line, n_lines, k, n_k, to, unit_stride);
    else if (s->step == 1)
        pack(s, false, true, true, line, n_lines, k, n_k, to, unit_stride);
    else if (s->is_float)
        pack(s, true, false, false, line, n_lines, k, n_k, to, unit_stride);
    else
        pack(s, false, false, false, line, n_lines, k, n_k, to, unit_stride);
}
#else
void cpu_bf16_pack_a(const cpu_bf16_source *s, int64_t line, int n_lines, int64_t k, int64_t n_k, uint16_t *to, int64_t unit_stride)
{
    (void)s, (void)line, (void)n_lines, (void)k, (void)n_k, (void)to, (void)unit_stride;
}

void cpu_bf16_pack_b(const cpu_bf16_source *s, int64_t line, int n_lines, int64_t k, int64_t n_k, uint16_t *to, int64_t unit_stride)
{
    (void)s, (void)line, (void)n_lines, (void)k, (void)n_k, (void)to, (void)unit_stride;
}
#endif
