/* Conversion between float and bf16 against its definition in double: every bf16, every tie, the ends of the range, NaN. */
#include "anyclass/bf16.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <math.h>

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Nearest of the two neighbours in magnitude, the even one when both are as near. */
static uint16_t nearest(uint32_t bits)
{
    uint16_t below = (uint16_t)(bits >> 16), above = (uint16_t)(below + 1);
    double value = (double)float_of(bits), low = (double)ac_float_from_bf16(below);
    /* what would follow the largest finite value stands in for infinity */
    double high = isinf(ac_float_from_bf16(above)) ? copysign(ldexp(1, 128), value) : (double)ac_float_from_bf16(above);
    double to_low = fabs(value - low), to_high = fabs(high - value);
    return to_low < to_high || (to_low == to_high && !(below & 1)) ? below : above;
}

int main(void)
{
    uint32_t n_back = 0, n_ties = 0, n_drawn = 0, n_nan = 0, n_nans = 0;
    for (uint32_t v = 0; v < 1u << 16; v++) {
        float value = ac_float_from_bf16((uint16_t)v);
        if (isnan(value)) {
            n_nans++;
            n_nan += isnan(ac_float_from_bf16(ac_bf16_from_float(value))) && isnan(ac_float_from_bf16(ac_bf16_from_float(float_of(v << 16 | 0xFFFF))));
            continue;
        }
        n_back += ac_bf16_from_float(value) != v;
        for (uint32_t low = 0x7FFF; low <= 0x8001 && !isinf(value); low++)
            n_ties += ac_bf16_from_float(float_of(v << 16 | low)) != nearest(v << 16 | low);
    }
    TAP_OK(n_back == 0, "each bf16 comes back from float (%u do not)", n_back);
    TAP_OK(n_ties == 0, "ties go to even, their neighbours to the nearest (%u do not)", n_ties);
    TAP_OK(n_nans == 2 * 127 && n_nan == n_nans, "%u of %u NaNs stay NaN", n_nan, n_nans);
    for (uint64_t i = 0; i < 1000000; i++) {
        uint32_t bits = ac_random_block(1, AC_STREAM_TEST, i, 0).word[0];
        n_drawn += isfinite(float_of(bits)) && ac_bf16_from_float(float_of(bits)) != nearest(bits);
    }
    TAP_OK(n_drawn == 0, "a million floats go to the nearest (%u do not)", n_drawn);
    TAP_OK(isnan(ac_float_from_bf16(ac_bf16_from_float(float_of(0x7F800001)))), "a NaN whose upper half is that of infinity stays NaN");
    TAP_OK(isinf(ac_float_from_bf16(ac_bf16_from_float(3.4e38f))) && isinf(ac_float_from_bf16(ac_bf16_from_float(-INFINITY))), "too large is infinite");
    TAP_OK(ac_bf16_from_float(float_of(0x00018000)) == 2 && ac_bf16_from_float(-0.0f) == 0x8000, "denormal numbers and the sign of zero are kept");
    return tap_done();
}
