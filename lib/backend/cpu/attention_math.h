/* Exponential and logarithm of attention's rows, 16 at a time. */
#ifndef ANYCLASS_LIB_CPU_ATTENTION_MATH_H
#define ANYCLASS_LIB_CPU_ATTENTION_MATH_H

#include "backend/cpu/tile_avx512.h"

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define ATTENTION_INLINE static inline __attribute__((always_inline)) CPU_AVX512

/* 2^x for x <= 1 or so; exact 0 below -100, which no sum notices, so that nothing becomes denormal. The minimax polynomial of 2^r on
 * [-1/2, 1/2]. NaN stays NaN. */
ATTENTION_INLINE __m512 attention_exp2(__m512 x)
{
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm512_sub_ps(x, n), y = _mm512_set1_ps(1.5353362e-4f);
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1.33988747e-3f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(9.61843736e-3f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(5.55033247e-2f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.240226479f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(0.693147203f));
    y = _mm512_fmadd_ps(y, r, _mm512_set1_ps(1));
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-100), _CMP_NLT_UQ), y, n);
}

/* Natural logarithm of x > 0 by 2 atanh((m - 1) / (m + 1)) of its mantissa m in [3/4, 3/2). */
ATTENTION_INLINE __m512 attention_log(__m512 x)
{
    __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_zero), one = _mm512_set1_ps(1);
    __m512 power = _mm512_getexp_ps(_mm512_div_ps(x, m)), s = _mm512_div_ps(_mm512_sub_ps(m, one), _mm512_add_ps(m, one)), z = _mm512_mul_ps(s, s);
    __m512 y = _mm512_set1_ps(2.f / 9);
    y = _mm512_fmadd_ps(y, z, _mm512_set1_ps(2.f / 7));
    y = _mm512_fmadd_ps(y, z, _mm512_set1_ps(2.f / 5));
    y = _mm512_fmadd_ps(y, z, _mm512_set1_ps(2.f / 3));
    y = _mm512_fmadd_ps(y, z, _mm512_set1_ps(2));
    return _mm512_fmadd_ps(power, _mm512_set1_ps(0.693147181f), _mm512_mul_ps(y, s));
}
#endif

#endif
