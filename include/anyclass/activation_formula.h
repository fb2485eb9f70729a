/* Activations and their slopes, as inline functions that C and CUDA share. */
#ifndef ANYCLASS_ACTIVATION_FORMULA_H
#define ANYCLASS_ACTIVATION_FORMULA_H

#include "anyclass/random.h" /* AC_INLINE */
#include <math.h>

/** x Phi(x), Phi the normal distribution. */
AC_INLINE float ac_gelu(float x)
{
    return 0.5f * x * erfcf(-0.70710678f * x);
}

AC_INLINE float ac_gelu_slope(float x)
{
    return 0.5f * erfcf(-0.70710678f * x) + 0.39894228f * x * expf(-0.5f * x * x);
}

AC_INLINE float ac_tanh(float x)
{
    return tanhf(x);
}

#endif
