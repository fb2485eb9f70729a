/* GELU and its slope, 16 at a time. */
#include "backend/cpu/gelu.h"
#include "anyclass/activation_formula.h"
#include "backend/cpu/tile_bf16.h"

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) CPU_AVX512

enum { LANES = 16 };

/* e^(-t t / 2) and 1 - Phi(t) for t >= 0, the formulas of activation_formula.h with fused products and a division by Newton's step. Both are 0 from where
 * floats would be denormal. */
typedef struct normal {
    __m512 t, e, tail;
} normal;

INLINE normal normal_of(__m512 x)
{
    const __m512 end = _mm512_set1_ps(13.18f), one = _mm512_set1_ps(1);
    normal d = {.t = _mm512_min_ps(end, _mm512_abs_ps(x))}; /* a NaN stays: min gives its second operand */
    __mmask16 inside = _mm512_cmp_ps_mask(d.t, end, _CMP_NGE_UQ);
    __m512 u = _mm512_mul_ps(_mm512_mul_ps(d.t, d.t), _mm512_set1_ps(-0.5f));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(u, _mm512_set1_ps(0x1.715476p+0f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), u));
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.00138144335f), r, _mm512_set1_ps(0.00836879667f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.0416683964f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.166665196f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.49999994f));
    p = _mm512_fmadd_ps(_mm512_fmadd_ps(p, r, one), r, one);
    d.e = _mm512_maskz_scalef_ps(inside, p, n);
    __m512 a = _mm512_fmadd_ps(_mm512_set1_ps(0.0144404052f), d.t, _mm512_set1_ps(0.108621731f));
    a = _mm512_fmadd_ps(a, d.t, _mm512_set1_ps(0.3432073f));
    a = _mm512_fmadd_ps(a, d.t, _mm512_set1_ps(0.5f));
    __m512 b = _mm512_fmadd_ps(_mm512_set1_ps(0.0362062939f), d.t, _mm512_set1_ps(0.271928728f));
    b = _mm512_fmadd_ps(b, d.t, _mm512_set1_ps(0.901564837f));
    b = _mm512_fmadd_ps(b, d.t, _mm512_set1_ps(1.48429751f));
    b = _mm512_fmadd_ps(b, d.t, one);
    __m512 inverse = _mm512_rcp14_ps(b); /* b is between 1 and 350 */
    inverse = _mm512_fmadd_ps(inverse, _mm512_fnmadd_ps(b, inverse, one), inverse);
    d.tail = _mm512_mul_ps(d.e, _mm512_mul_ps(a, inverse));
    return d;
}

INLINE __m512 gelu_of(__m512 x)
{
    normal d = normal_of(x);
    return _mm512_fnmadd_ps(d.t, d.tail, _mm512_max_ps(_mm512_setzero_ps(), x));
}

INLINE __m512 slope_of(__m512 x)
{
    normal d = normal_of(x);
    __m512 left = _mm512_fnmadd_ps(d.t, _mm512_mul_ps(d.e, _mm512_set1_ps(0.398942280f)), d.tail);
    return _mm512_mask_sub_ps(left, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ), _mm512_set1_ps(1), left);
}

INLINE __mmask16 first_lanes(int64_t n)
{
    return (__mmask16)(n < LANES ? (1u << n) - 1 : 0xffff);
}

INLINE __m512 load(const void *values, int64_t at, bool bf16, __mmask16 inside)
{
    if (bf16)
        return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(inside, (const uint16_t *)values + at)), 16);
    return _mm512_maskz_loadu_ps(inside, (const float *)values + at);
}

INLINE void store(void *values, int64_t at, bool bf16, __mmask16 inside, __m512 value)
{
    if (bf16)
        _mm256_mask_storeu_epi16((uint16_t *)values + at, inside, _mm512_cvtepi32_epi16(cpu_bf16_round(value)));
    else
        _mm512_mask_storeu_ps((float *)values + at, inside, value);
}

INLINE void copy_512(const void *from, int64_t first, int64_t n, bool bf16, void *to)
{
    for (int64_t i = 0; i < n; i += LANES)
        store(to, first + i, bf16, first_lanes(n - i), gelu_of(load(from, first + i, bf16, first_lanes(n - i))));
}

INLINE void slope_512(const void *from, int64_t first, int64_t n, bool bf16, float *g)
{
    for (int64_t i = 0; i < n; i += LANES) {
        __mmask16 inside = first_lanes(n - i);
        __m512 slope = slope_of(load(from, first + i, bf16, inside));
        _mm512_mask_storeu_ps(g + i, inside, _mm512_mul_ps(_mm512_maskz_loadu_ps(inside, g + i), slope));
    }
}

INLINE __m512 affine_of(const norm_affine *a, int64_t i, int64_t c, bool bf16, __mmask16 inside)
{
    __m512 centred = _mm512_sub_ps(load(a->x, i, bf16, inside), _mm512_maskz_loadu_ps(inside, a->mean + c));
    return _mm512_add_ps(_mm512_mul_ps(centred, _mm512_maskz_loadu_ps(inside, a->k + c)), _mm512_maskz_loadu_ps(inside, a->b + c));
}

INLINE void norm_512(const norm_affine *a, int64_t i, int64_t c, int64_t n, bool bf16, void *y)
{
    for (int64_t k = 0; k < n; k += LANES)
        store(y, i + k, bf16, first_lanes(n - k), gelu_of(affine_of(a, i + k, c + k, bf16, first_lanes(n - k))));
}

INLINE void norm_slope_512(const norm_affine *a, int64_t i, int64_t c, int64_t n, bool bf16, float *g)
{
    for (int64_t k = 0; k < n; k += LANES) {
        __mmask16 inside = first_lanes(n - k);
        __m512 slope = slope_of(affine_of(a, i + k, c + k, bf16, inside));
        _mm512_mask_storeu_ps(g + k, inside, _mm512_mul_ps(_mm512_maskz_loadu_ps(inside, g + k), slope));
    }
}

static CPU_AVX512 void norm_by_16(const norm_affine *a, int64_t i, int64_t c, int64_t n, bool bf16, void *y)
{
    if (bf16)
        norm_512(a, i, c, n, true, y);
    else
        norm_512(a, i, c, n, false, y);
}

static CPU_AVX512 void norm_slope_by_16(const norm_affine *a, int64_t i, int64_t c, int64_t n, bool bf16, float *g)
{
    if (bf16)
        norm_slope_512(a, i, c, n, true, g);
    else
        norm_slope_512(a, i, c, n, false, g);
}

static CPU_AVX512 void copy_by_16(const void *from, int64_t first, int64_t n, bool bf16, void *to)
{
    if (bf16)
        copy_512(from, first, n, true, to);
    else
        copy_512(from, first, n, false, to);
}

static CPU_AVX512 void slope_by_16(const void *from, int64_t first, int64_t n, bool bf16, float *g)
{
    if (bf16)
        slope_512(from, first, n, true, g);
    else
        slope_512(from, first, n, false, g);
}

/* 16 columns, down the rows. What went into GELU is rounded as it is stored, so that the result can be made again from that. */
INLINE void finish_columns(const cpu_gemm *g, const float *sums, int64_t ld, int64_t at, int64_t rows, int64_t j, __mmask16 inside, const bool bf16)
{
    __m512 scale = g->scale ? _mm512_maskz_loadu_ps(inside, g->scale + j) : _mm512_set1_ps(1);
    const float *added = g->scale ? g->shift : g->bias;
    __m512 shift = added ? _mm512_maskz_loadu_ps(inside, added + j) : _mm512_setzero_ps();
    for (int64_t i = 0; i < rows; i++, at += g->c_row, sums += ld) {
        __m512 v = _mm512_maskz_loadu_ps(inside, sums);
        if (g->scale)
            v = _mm512_mul_ps(v, scale);
        v = _mm512_add_ps(v, shift);
        if (bf16)
            v = (__m512)_mm512_slli_epi32(cpu_bf16_round(v), 16);
        if (g->before)
            store(g->before, at, bf16, inside, v);
        store(g->c, at, bf16, inside, gelu_of(v));
    }
}

static CPU_AVX512 void finish_by_16(const cpu_gemm *g, const float *sums, int64_t ld, int64_t i0, int64_t rows, int64_t j0, int64_t columns)
{
    for (int64_t j = 0; j < columns; j += LANES)
        if (g->c_dtype == AC_BF16)
            finish_columns(g, sums + j, ld, i0 * g->c_row + j0 + j, rows, j0 + j, first_lanes(columns - j), true);
        else
            finish_columns(g, sums + j, ld, i0 * g->c_row + j0 + j, rows, j0 + j, first_lanes(columns - j), false);
}
#endif

AC_INLINE void copy(const void *from, int64_t first, int64_t n, bool bf16, void *to)
{
    for (int64_t i = first; i < first + n; i++)
        cpu_store(to, i, ac_gelu(cpu_load(from, i, bf16)), bf16);
}

AC_SIMD static void copy_by_formula(const void *from, int64_t first, int64_t n, bool bf16, void *to)
{
    if (bf16)
        copy(from, first, n, true, to);
    else
        copy(from, first, n, false, to);
}

AC_INLINE void slope(const void *from, int64_t first, int64_t n, bool bf16, float *g)
{
    for (int64_t i = 0; i < n; i++)
        g[i] *= ac_gelu_slope(cpu_load(from, first + i, bf16));
}

AC_SIMD static void slope_by_formula(const void *from, int64_t first, int64_t n, bool bf16, float *g)
{
    if (bf16)
        slope(from, first, n, true, g);
    else
        slope(from, first, n, false, g);
}

AC_INLINE float affine_at(const norm_affine *a, int64_t i, int64_t c, bool bf16)
{
    return (cpu_load(a->x, i, bf16) - a->mean[c]) * a->k[c] + a->b[c];
}

AC_INLINE void norm(const norm_affine *affine, int64_t i, int64_t c, int64_t n, bool bf16, void *y)
{
    const norm_affine a = *affine;
#pragma omp simd
    for (int64_t k = 0; k < n; k++)
        cpu_store(y, i + k, ac_gelu(affine_at(&a, i + k, c + k, bf16)), bf16);
}

AC_SIMD static void norm_by_formula(const norm_affine *a, int64_t i, int64_t c, int64_t n, bool bf16, void *y)
{
    if (bf16)
        norm(a, i, c, n, true, y);
    else
        norm(a, i, c, n, false, y);
}

AC_INLINE void norm_slope(const norm_affine *affine, int64_t i, int64_t c, int64_t n, bool bf16, float *g)
{
    const norm_affine a = *affine;
    for (int64_t k = 0; k < n; k++)
        g[k] *= ac_gelu_slope(affine_at(&a, i + k, c + k, bf16));
}

AC_SIMD static void norm_slope_by_formula(const norm_affine *a, int64_t i, int64_t c, int64_t n, bool bf16, float *g)
{
    if (bf16)
        norm_slope(a, i, c, n, true, g);
    else
        norm_slope(a, i, c, n, false, g);
}

static bool has_own_code(void)
{
    return CPU_HAS_AVX512_CODE && cpu_has_avx512();
}

void cpu_gelu_copy(const void *from, int64_t first, int64_t n, bool bf16, void *to)
{
#if CPU_HAS_AVX512_CODE
    if (has_own_code()) {
        copy_by_16(from, first, n, bf16, to);
        return;
    }
#endif
    copy_by_formula(from, first, n, bf16, to);
}

void cpu_gelu_slope_of(const void *from, int64_t first, int64_t n, bool bf16, float *g)
{
#if CPU_HAS_AVX512_CODE
    if (has_own_code()) {
        slope_by_16(from, first, n, bf16, g);
        return;
    }
#endif
    slope_by_formula(from, first, n, bf16, g);
}

void cpu_gelu(float *value, int64_t n)
{
    cpu_gelu_copy(value, 0, n, false, value);
}

void cpu_gelu_slope(const float *value, float *g, int64_t n)
{
    cpu_gelu_slope_of(value, 0, n, false, g);
}

void cpu_gelu_norm(const norm_affine *affine, int64_t i, int64_t c, int64_t n, bool bf16, void *y)
{
#if CPU_HAS_AVX512_CODE
    if (has_own_code()) {
        norm_by_16(affine, i, c, n, bf16, y);
        return;
    }
#endif
    norm_by_formula(affine, i, c, n, bf16, y);
}

void cpu_gelu_norm_slope(const norm_affine *affine, int64_t i, int64_t c, int64_t n, bool bf16, float *g)
{
#if CPU_HAS_AVX512_CODE
    if (has_own_code()) {
        norm_slope_by_16(affine, i, c, n, bf16, g);
        return;
    }
#endif
    norm_slope_by_formula(affine, i, c, n, bf16, g);
}

bool cpu_gelu_finish(const cpu_gemm *gemm, const float *sums, int64_t ld, int64_t i0, int64_t rows, int64_t j0, int64_t columns)
{
    if (!has_own_code() || gemm->activation != AC_ACTIVATION_GELU || gemm->add || gemm->residual)
        return false;
#if CPU_HAS_AVX512_CODE
    finish_by_16(gemm, sums, ld, i0, rows, j0, columns);
#endif
    return true;
}
