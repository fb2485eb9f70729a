/* Conversion between float and float16 against its definition in double: every float16, every tie and its neighbours, a million floats over
 * the range, the ends of the range, NaN. */
#include "anyclass/f16.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <math.h>

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A float16 that is no NaN, as IEEE 754 defines it. */
static double value_of(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double magnitude = exponent == 31 ? INFINITY : exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* The value rounded to 11 bits, or to a whole number of 2^-24; rint() sends ties to even. */
static double nearest(double value)
{
    int exponent = -100;
    if (value != 0)
        frexp(value, &exponent);
    double unit = ldexp(1, exponent - 11 > -24 ? exponent - 11 : -24), rounded = rint(value / unit) * unit;
    return fabs(rounded) >= 65536 ? copysign(INFINITY, value) : rounded;
}

static bool good(float value)
{
    double back = value_of(ac_f16_from_float(value)), wanted = nearest((double)value);
    return back == wanted && !signbit(back) == !signbit(wanted);
}

int main(void)
{
    uint32_t n_value = 0, n_back = 0, n_ties = 0, n_drawn = 0, n_wide = 0, n_nan = 0, n_nans = 0;
    for (uint32_t v = 0; v < 1u << 16; v++) {
        float value = ac_float_from_f16((uint16_t)v);
        if ((v & 0x7FFF) > 0x7C00) {
            float back = ac_float_from_f16(ac_f16_from_float(value));
            n_nans++;
            n_nan += isnan(value) && isnan(back) && !signbit(value) == !(v & 0x8000) && !signbit(back) == !(v & 0x8000);
            continue;
        }
        n_value += (double)value != value_of((uint16_t)v) || !signbit(value) != !(v & 0x8000);
        n_back += ac_f16_from_float(value) != v;
        if (isinf(value))
            continue;
        /* half way to the next one away from zero; after the largest one 65536 would follow */
        double next = (v & 0x7FFF) == 0x7BFF ? copysign(65536, value) : value_of((uint16_t)(v + 1));
        uint32_t half_way = bits_of((float)(((double)value + next) / 2));
        for (uint32_t bits = half_way - 1; bits <= half_way + 1; bits++)
            n_ties += !good(float_of(bits));
    }
    TAP_OK(n_value == 0, "each float16 has its value (%u have not)", n_value);
    TAP_OK(n_back == 0, "and comes back from float (%u do not)", n_back);
    TAP_OK(n_ties == 0, "ties go to even, their neighbours to the nearest (%u do not)", n_ties);
    TAP_OK(n_nans == 2 * 1023 && n_nan == n_nans, "%u of %u NaNs stay NaN with their sign", n_nan, n_nans);
    for (uint64_t i = 0; i < 1000000; i++) {
        ac_philox block = ac_random_block(1, AC_STREAM_TEST, i, 0);
        uint32_t bits = block.word[0], exponent = 127 - 27 + block.word[1] % 45; /* 2^-27 .. 2^17 */
        n_wide += isfinite(float_of(bits)) && !good(float_of(bits));
        n_drawn += !good(float_of((bits & 0x807FFFFF) | exponent << 23));
    }
    TAP_OK(n_wide == 0 && n_drawn == 0, "two million floats go to the nearest (%u of any size, %u of float16's range do not)", n_wide, n_drawn);
    TAP_OK(ac_f16_from_float(float_of(0x7F800001)) == 0x7E00 && ac_f16_from_float(float_of(0xFF802000)) == 0xFE01, "NaNs that float16's fraction has no room for stay NaN");
    TAP_OK(ac_f16_from_float(65519.996f) == 0x7BFF && ac_f16_from_float(65520) == 0x7C00 && ac_f16_from_float(-65520) == 0xFC00, "infinite from 65520 on");
    TAP_OK(ac_f16_from_float(INFINITY) == 0x7C00 && ac_f16_from_float(-3.4e38f) == 0xFC00, "infinity, and what is far too large");
    TAP_OK(ac_f16_from_float(ldexpf(1, -25)) == 0 && ac_f16_from_float(nextafterf(ldexpf(1, -25), 1)) == 1 && ac_f16_from_float(ldexpf(-3, -25)) == 0x8002,
           "at the halves of the two least numbers");
    TAP_OK(ac_f16_from_float(-0.0f) == 0x8000 && ac_f16_from_float(float_of(1)) == 0, "the sign of zero is kept; float's denormal numbers are zero");
    return tap_done();
}
