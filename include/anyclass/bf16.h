/* bf16, the upper half of a float, as inline functions that C and CUDA share. Integer arithmetic: the same bits on every
 * processor, denormal numbers included. */
#ifndef ANYCLASS_BF16_H
#define ANYCLASS_BF16_H

#include "anyclass/random.h"
#include <stdint.h>
#include <string.h>

/** Value of a bf16. Exact. */
AC_INLINE float ac_float_from_bf16(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/** Nearest bf16, ties to even; beyond the largest one infinity. A NaN stays a NaN with its sign. */
AC_INLINE uint16_t ac_bf16_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = bits + 0x7FFF + (bits >> 16 & 1);
    return (uint16_t)((value != value ? bits | 0x400000 : rounded) >> 16);
}

#endif
