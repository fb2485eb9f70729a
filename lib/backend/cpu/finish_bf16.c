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

/* What the 16 columns from `column` on are multiplied with and what is added. */
typedef struct columns {
    __m512 scale, shift, slope;
    __mmask16 inside;
} columns;

INLINE columns load_columns(const cpu_bf16_finish *f, int64_t column, __mmask16 inside)
{
    return (columns){f->scale ? _mm512_maskz_loadu_ps(inside, f->scale + column) : _mm512_set1_ps(1),
                     f->shift ? _mm512_maskz_loadu_ps(inside, f->shift + column) : _mm512_setzero_ps(), _mm512_set1_ps(f->slope), inside};
}

INLINE __m512 finish_16(const cpu_bf16_finish *f, const columns *c, const float *sums, int64_t at, const bool bf16, const bool plain)
{
    __m512 v = _mm512_loadu_ps(sums);
    if (f->scale)
        v = _mm512_mul_ps(v, c->scale);
    if (f->shift)
        v = _mm512_add_ps(v, c->shift);
    if (plain)
        return v;
    if (f->add)
        v = _mm512_add_ps(v, load(f->to, at, bf16, c->inside));
    if (f->residual)
        v = _mm512_add_ps(v, load(f->residual, at, bf16, c->inside));
    if (f->slope != 1)
        v = _mm512_mask_mul_ps(v, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ), v, c->slope);
    return v;
}

/* 32 columns: whole cache lines at once. */
INLINE void finish_wide(const cpu_bf16_finish *f, const float *sums, int64_t at, int rows, int64_t column, const bool plain)
{
    columns left = load_columns(f, column, 0xffff), right = load_columns(f, column + BF16_LANES, 0xffff);
    for (int i = 0; i < rows; i++, at += f->row, sums += BF16_SIDE) {
        __m256i low = _mm512_cvtepi32_epi16(cpu_bf16_round(finish_16(f, &left, sums, at, true, plain)));
        __m256i high = _mm512_cvtepi32_epi16(cpu_bf16_round(finish_16(f, &right, sums + BF16_LANES, at + BF16_LANES, true, plain)));
        __m512i line = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
        if (f->past_caches)
            _mm512_stream_si512((void *)((uint16_t *)f->to + at), line);
        else
            _mm512_storeu_si512((uint16_t *)f->to + at, line);
    }
}

INLINE void finish(const cpu_bf16_finish *f, const float *sums, int64_t at, int rows, int64_t column, int n_columns, const bool bf16, const bool plain)
{
    if (bf16 && n_columns == BF16_SIDE) {
        finish_wide(f, sums, at, rows, column, plain);
        return;
    }
    for (int j = 0; j < n_columns; j += BF16_LANES) {
        columns c = load_columns(f, column + j, (__mmask16)(n_columns - j < BF16_LANES ? (1u << (n_columns - j)) - 1 : 0xffff));
        for (int i = 0; i < rows; i++) {
            int64_t to = at + i * f->row + j;
            __m512 v = finish_16(f, &c, sums + i * BF16_SIDE + j, to, bf16, plain);
            if (bf16)
                _mm256_mask_storeu_epi16((uint16_t *)f->to + to, c.inside, _mm512_cvtepi32_epi16(cpu_bf16_round(v)));
            else
                _mm512_mask_storeu_ps((float *)f->to + to, c.inside, v);
        }
    }
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
