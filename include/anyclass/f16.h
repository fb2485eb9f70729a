/* float16 (IEEE 754 binary16: 5 bits of exponent, 10 of fraction) as inline functions that C and CUDA share. Integer arithmetic: the
 * same bits on every processor, denormal numbers included. */
#ifndef ANYCLASS_F16_H
#define ANYCLASS_F16_H

#include "anyclass/random.h"
#include <stdint.h>
#include <string.h>

/** Value of a float16. Exact, denormal numbers, infinities and NaNs (their bits) too. */
AC_INLINE float ac_float_from_f16(uint16_t value)
{
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16, magnitude = value & 0x7FFFu, bits;
    float out;
    if (magnitude >= 0x0400u) { /* exponents of 15 become those of 127; infinities and NaNs go from 31 to 255 */
        bits = (magnitude << 13) + ((magnitude >= 0x7C00u ? 224u : 112u) << 23);
    } else {                    /* so many 2^-24: nothing is rounded */
        float few = (float)magnitude * (1.0f / 16777216);
        memcpy(&bits, &few, sizeof bits);
    }
    bits |= sign;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/** Nearest float16, ties to even; from 65520 on infinity. A NaN stays a NaN with its sign. */
AC_INLINE uint16_t ac_f16_from_float(float value)
{
    uint32_t bits, out;
    memcpy(&bits, &value, sizeof bits);
    uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) {
        out = 0x7E00u | (magnitude >> 13 & 0x3FFu);
    } else if (magnitude >= 0x47800000u) { /* 2^16 */
        out = 0x7C00u;
    } else if (magnitude >= 0x38800000u) { /* 2^-14, the least normal number; what rounds up past 65504 is the infinity's bits */
        out = (magnitude + 0xFFFu + (magnitude >> 13 & 1u) - (112u << 23)) >> 13;
    } else if (magnitude >= 0x33000000u) { /* 2^-25, half of the least number: the fraction in units of 2^-24 */
        uint32_t fraction = (magnitude & 0x7FFFFFu) | 0x800000u, shift = 126 - (magnitude >> 23);
        out = (fraction + (1u << (shift - 1)) - 1 + (fraction >> shift & 1u)) >> shift;
    } else {
        out = 0;
    }
    return (uint16_t)((bits >> 16 & 0x8000u) | out);
}

#endif
