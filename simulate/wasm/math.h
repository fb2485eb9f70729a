/* The <math.h> of the page's WebAssembly, where there is no C library: what the loss formulas call. */
#ifndef ANYCLASS_SIMULATE_WASM_MATH_H
#define ANYCLASS_SIMULATE_WASM_MATH_H

#include "simulate/page_math.h"

static inline double exp(double x)
{
    return page_exp(x);
}

static inline double expm1(double x)
{
    return page_expm1(x);
}

static inline double log(double x)
{
    return page_log(x);
}

static inline double log1p(double x)
{
    return page_log1p(x);
}

static inline float expf(float x)
{
    return (float)page_exp((double)x);
}

static inline float log1pf(float x)
{
    return (float)page_log1p((double)x);
}

#endif
