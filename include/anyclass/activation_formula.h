/* Activations and their slopes as inline functions that C and CUDA share. Sums, products, one division and selections only, so that
 * loops over them become vector code; no product may be fused with a sum where results are to be the same bits (-ffp-contract=off).
 * What comes out of a NaN is a NaN; errors below are of all floats (tests/nn/test_activation.c). */
#ifndef ANYCLASS_ACTIVATION_FORMULA_H
#define ANYCLASS_ACTIVATION_FORMULA_H

#include "anyclass/random.h"
#include <stdint.h>
#include <string.h>

/** e^x of x <= 0, within 2e-7 of itself; below -87 it is 0. */
AC_INLINE float ac_exp_negative(float x)
{
    const float to_integer = 0x1.8p23f; /* added, it leaves the nearest integer in the last bits */
    float shifted = x * 0x1.715476p+0f + to_integer, n = shifted - to_integer;
    float r = (x - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f; /* ln 2 in two parts, the first short enough for an exact product */
    float p = 0.00138144335f;
    p = p * r + 0.00836879667f;
    p = p * r + 0.0416683964f;
    p = p * r + 0.166665196f;
    p = p * r + 0.49999994f;
    p = p * (r * r) + r + 1.0f;
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&power, &bits, sizeof power);
    return x < -87.0f ? 0.0f : p * power;
}

AC_INLINE float ac_magnitude(float x)
{
    return x < 0 ? -x : x;
}

/** Share of the normal distribution beyond t >= 0, (1 - erf(t / sqrt 2)) / 2, within 5e-8 and within 4e-6 of itself; 0 beyond 13.2.
 * exp_half_square: ac_exp_negative(-t t / 2), which is the quotient's other factor. */
AC_INLINE float ac_normal_tail(float t, float exp_half_square)
{
    float p = ((0.0144404052f * t + 0.108621731f) * t + 0.3432073f) * t + 0.5f;
    float q = (((0.0362062939f * t + 0.271928728f) * t + 0.901564837f) * t + 1.48429751f) * t + 1.0f;
    return exp_half_square * (p / q);
}

/* |x|, cut off where the normal distribution is 0 in float */
AC_INLINE float ac_normal_argument(float x)
{
    float t = ac_magnitude(x);
    return t > 14.0f ? 14.0f : t;
}

/** x times the normal distribution function, x (1 + erf(x / sqrt 2)) / 2, within 2e-7 max(1, |x|). */
AC_INLINE float ac_gelu(float x)
{
    float t = ac_normal_argument(x);
    return (x > 0 ? x : 0.0f) - t * ac_normal_tail(t, ac_exp_negative(-0.5f * (t * t)));
}

/** Derivative of GELU, within 2e-7. */
AC_INLINE float ac_gelu_slope(float x)
{
    float t = ac_normal_argument(x), e = ac_exp_negative(-0.5f * (t * t));
    float left = ac_normal_tail(t, e) - t * (e * 0.398942280f); /* of -t */
    return x > 0 ? 1.0f - left : left;
}

/** 1 / (1 + e^-x), within 3e-7 of itself; below -87 it is 0. */
AC_INLINE float ac_sigmoid(float x)
{
    float e = ac_exp_negative(-ac_magnitude(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}

/** x sigmoid(x), within 4e-7 of itself for x >= -87; below, it is 0. */
AC_INLINE float ac_silu(float x)
{
    return (x < -88.0f ? -88.0f : x) * ac_sigmoid(x);
}

/** Derivative of SiLU, within 3e-7. */
AC_INLINE float ac_silu_slope(float x)
{
    float e = ac_exp_negative(-ac_magnitude(x)), s = 1.0f / (1.0f + e), near = x > 88.0f ? 88.0f : x < -88.0f ? -88.0f : x;
    return (x < 0 ? e : 1.0f) * s + near * (e * s * s);
}

/** Hyperbolic tangent, within 3e-7 of itself. */
AC_INLINE float ac_tanh(float x)
{
    float t = ac_magnitude(x), u = x * x, e = ac_exp_negative(-2.0f * t), far = (1.0f - e) / (1.0f + e);
    float p = (((-0.00571704237f * u + 0.0206505843f) * u - 0.0537434965f) * u + 0.133314908f) * u - 0.333332837f;
    return t < 0.625f ? x + x * (u * p) : x < 0 ? -far : far;
}

#endif
