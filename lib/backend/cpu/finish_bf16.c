/* From the sums of a piece to the result, for what products and convolutions in bf16 mostly end with. Activations other than one of two slopes are
 * gemm.c's. */
#include "backend/cpu/tile_bf16.h"

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) CPU_AVX512

INLINE __m512 load(const void *values, int64_t at, const bool bf16, __mmask16 inside)
{
    if (bf16)
        return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(inside, (const uint16_t *)values + at)), 16);
    return _mm512_maskz_loadu_ps(inside, (const float *)values + at);
}

INLINE void finish_half(const cpu_bf16_finish *f, const float *sums, int64_t at, int rows, int64_t column, __mmask16 inside, const bool bf16, const bool plain)
{
    __m512 scale = f->scale ? _mm512_maskz_loadu_ps(inside, f->scale + column) : _mm512_set1_ps(1);
    __m512 shift = f->shift ? _mm512_maskz_loadu_ps(inside, f->shift + column) : _mm512_setzero_ps(), slope = _mm512_set1_ps(f->slope);
    for (int i = 0; i < rows; i++, at += f->row) {
        __m512 v = _mm512_loadu_ps(sums + i * BF16_SIDE);
        if (f->scale)
            v = _mm512_mul_ps(v, scale);
        if (f->shift)
            v = _mm512_add_ps(v, shift);
        if (!plain) {
            if (f->add)
                v = _mm512_add_ps(v, load(f->to, at, bf16, inside));
            if (f->residual)
                v = _mm512_add_ps(v, load(f->residual, at, bf16, inside));
            if (f->slope != 1)
                v = _mm512_mask_mul_ps(v, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ), v, slope);
        }
        if (bf16)
            _mm256_mask_storeu_epi16((uint16_t *)f->to + at, inside, _mm512_cvtepi32_epi16(cpu_bf16_round(v)));
        else
            _mm512_mask_storeu_ps((float *)f->to + at, inside, v);
    }
}

INLINE void finish(const cpu_bf16_finish *f, const float *sums, int64_t at, int rows, int64_t column, int n_columns, const bool bf16, const bool plain)
{
    for (int j = 0; j < n_columns; j += BF16_LANES)
        finish_half(f, sums + j, at + j, rows, column + j, (__mmask16)(n_columns - j < BF16_LANES ? (1u << (n_columns - j)) - 1 : 0xffff), bf16, plain);
}

CPU_AVX512 void cpu_bf16_finish_rows(const cpu_bf16_finish *f, const float *sums, int64_t at, int rows, int64_t column, int n_columns)
{
    bool plain = !f->add && !f->residual && f->slope == 1;
    if (f->bf16 && plain)
        finish(f, sums, at, rows, column, n_columns, true, true);
    else if (f->bf16)
        finish(f, sums, at, rows, column, n_columns, true, false);
    else
        finish(f, sums, at, rows, column, n_columns, false, plain);
}
#else
void cpu_bf16_finish_rows(const cpu_bf16_finish *f, const float *sums, int64_t at, int rows, int64_t column, int n_columns)
{
    (void)f, (void)sums, (void)at, (void)rows, (void)column, (void)n_columns;
}
#endif
