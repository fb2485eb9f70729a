/* The CPU's own GELU and slope against their definitions in double, over floats of every sign and exponent; as the end of a product and made again
 * they are the same bits. */
#include "backend/cpu/gelu.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

static double normal_beyond(double x) /* of -x */
{
    return 0.5 * erfc(-x / sqrt(2));
}

static void test_floats(void)
{
    double worst_value = 0, worst_slope = 0;
    for (uint32_t bits = 0; bits < 0xff800000u; bits += 1013) {
        float x, value, slope = 1;
        memcpy(&x, &bits, sizeof x);
        if (isnan(x) || isinf(x))
            continue;
        value = x;
        cpu_gelu(&value, 1);
        cpu_gelu_slope(&x, &slope, 1);
        double exact = (double)x, share = normal_beyond(exact), error = fabs((double)value - exact * share) / fmax(1, fabs(exact));
        worst_value = worse(worst_value, error);
        error = fabs((double)slope - share - exact * exp(-exact * exact / 2) * 0.3989422804014327);
        worst_slope = worse(worst_slope, error);
    }
    TAP_OK(worst_value < 2e-7, "GELU of 4 million floats: within %.2g of max(1, |x|)", worst_value);
    TAP_OK(worst_slope < 2e-7, "its slope: within %.2g", worst_slope);
}

static void test_ends(void)
{
    float value[4] = {INFINITY, -INFINITY, NAN, 0}, slope[4] = {1, 1, 1, 1};
    cpu_gelu_slope(value, slope, 4);
    cpu_gelu(value, 4);
    TAP_OK(value[0] == INFINITY && value[1] == 0 && isnan(value[2]) && value[3] == 0, "infinities, NaN and 0");
    TAP_OK(slope[0] == 1 && slope[1] == 0 && isnan(slope[2]) && slope[3] == .5f, "their slopes");
}

/* Any number of elements and any place among 16, nothing beyond. */
static void test_lengths(void)
{
    bool same = true, inside = true;
    for (int n = 0; n < 40; n++) {
        float value[48], one[48];
        for (int i = 0; i < 48; i++)
            value[i] = one[i] = (float)(i - 20) / 7;
        cpu_gelu(value + 3, n);
        for (int i = 3; i < 3 + n; i++)
            cpu_gelu(one + i, 1);
        same &= memcmp(value, one, sizeof value) == 0;
        inside &= value[2] == -18.0f / 7 && value[3 + n] == (float)(n - 17) / 7;
    }
    TAP_OK(same && inside, "the same bits alone and among others");
}

enum { ROWS = 5, COLUMNS = 37, LD = 48 };

static void test_finish(ac_dtype dtype)
{
    float sums[ROWS * LD], bias[COLUMNS], before[ROWS * COLUMNS], after[ROWS * COLUMNS], again[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * LD; i++)
        sums[i] = (float)(i % 23 - 11) / 3;
    for (int j = 0; j < COLUMNS; j++)
        bias[j] = (float)j / 50;
    cpu_gemm g = {.m = ROWS, .n = COLUMNS, .c = after, .c_row = COLUMNS, .c_dtype = dtype, .bias = bias, .activation = AC_ACTIVATION_GELU, .before = before};
    memset(after, 0, sizeof after);
    memset(again, 0, sizeof again);
    cpu_gemm_finish(&g, sums, LD, 0, ROWS, 0, COLUMNS);
    cpu_gelu_copy(before, 0, ROWS * COLUMNS, dtype == AC_BF16, again);
    TAP_OK(memcmp(after, again, sizeof after) == 0, "%s: made again from what is kept, the same bits", ac_dtype_name(dtype));
    double worst = 0;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) {
            double x = (double)(sums[i * LD + j] + bias[j]), wanted = x * normal_beyond(x);
            worst = worse(worst, fabs((double)cpu_load(after, i * COLUMNS + j, dtype == AC_BF16) - wanted) / fmax(1, fabs(wanted)));
        }
    TAP_OK(worst < (dtype == AC_BF16 ? 0x1p-7 : 1e-6), "%s: end of a product within %.2g", ac_dtype_name(dtype), worst);
}

int main(void)
{
    test_floats();
    test_ends();
    test_lengths();
    test_finish(AC_F32);
    test_finish(AC_BF16);
    return tap_done();
}
