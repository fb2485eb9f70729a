/* activation_formula.h against libm in double: floats of every sign and exponent, a stride apart, and the special ones. */
#include "anyclass/activation_formula.h"
#include "nn/simd.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>

enum { BLOCK = 4096, STRIDE = 1013 }; /* 4.2 million floats; the stride is prime, so that last bits differ */

typedef struct formula {
    const char *name;
    void (*evaluate)(const float *x, float *y, int n); /* in vector code, as kernels have it */
    double (*exact)(double x);
    double absolute, relative; /* error allowed: the larger of absolute * max(1, |x| where by_x) and relative * |exact| */
    bool by_x;
    double low, high;          /* value at -infinity and at infinity */
} formula;

#define VECTOR(name, call)                                                                                                               \
    AC_SIMD static void name(const float *x, float *y, int n)                                                                            \
    {                                                                                                                                    \
        for (int i = 0; i < n; i++)                                                                                                      \
            y[i] = call(x[i]);                                                                                                           \
    }
VECTOR(all_gelu, ac_gelu)
VECTOR(all_gelu_slope, ac_gelu_slope)
VECTOR(all_sigmoid, ac_sigmoid)
VECTOR(all_silu, ac_silu)
VECTOR(all_silu_slope, ac_silu_slope)
VECTOR(all_tanh, ac_tanh)

static double distribution(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

static double gelu(double x)
{
    return x < -40 ? 0 : x * distribution(x);
}

static double gelu_slope(double x)
{
    return fabs(x) > 40 ? x > 0 : distribution(x) + x * exp(-x * x / 2) * 0.3989422804014326779;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double silu(double x)
{
    return x < -700 ? 0 : x * sigmoid(x);
}

static double silu_slope(double x)
{
    return fabs(x) > 700 ? x > 0 : sigmoid(x) + x * sigmoid(x) * sigmoid(-x);
}

/* Below -87 sigmoid and SiLU are 0: 88 e^-87 is 1.5e-36. */
static const formula formulas[] = {
    {"gelu", all_gelu, gelu, 2e-7, 0, true, 0, INFINITY},
    {"gelu's slope", all_gelu_slope, gelu_slope, 2e-7, 0, false, 0, 1},
    {"sigmoid", all_sigmoid, sigmoid, 2e-38, 3e-7, false, 0, 1},
    {"silu", all_silu, silu, 2e-36, 4e-7, false, 0, INFINITY},
    {"silu's slope", all_silu_slope, silu_slope, 3e-7, 0, false, 0, 1},
    {"tanh", all_tanh, tanh, 0, 3e-7, false, -1, 1},
};

static float float_from(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double allowed(const formula *f, double x, double want)
{
    return fmax(f->absolute * (f->by_x ? fmax(1, fabs(x)) : 1), f->relative * fabs(want));
}

/* Worst error as a share of what is allowed. */
static void over_all_floats(const formula *f)
{
    float x[BLOCK], y[BLOCK];
    double worst = 0;
    float at = 0;
    bool nan_stays = true;
    int n = 0;
    for (uint64_t bits = 0; bits < (1ull << 32) + STRIDE; bits += STRIDE) {
        bool last = bits + STRIDE >= (1ull << 32) + STRIDE;
        x[n++] = float_from((uint32_t)(bits < (1ull << 32) ? bits : 0));
        if (n < BLOCK && !last)
            continue;
        f->evaluate(x, y, n);
        for (int i = 0; i < n; i++) {
            if (isnan(x[i]))
                nan_stays = nan_stays && isnan(y[i]);
            if (isnan(x[i]) || isinf(x[i]))
                continue;
            double want = f->exact((double)x[i]), off = fabs((double)y[i] - want);
            /* denormal numbers are all rounding */
            double share = off <= 0x1p-148 ? 0 : off / allowed(f, (double)x[i], want);
            if (!(share <= worst)) {
                worst = worse(worst, share);
                at = x[i];
            }
        }
        n = 0;
    }
    TAP_OK(worst <= 1, "%s: %.3g of the error allowed, at %.9g", f->name, worst, (double)at);
    TAP_OK(nan_stays, "%s: NaN stays NaN", f->name);
}

static void special(const formula *f)
{
    float x[4] = {-INFINITY, INFINITY, 0.0f, -0.0f}, y[4];
    f->evaluate(x, y, 4);
    double at_zero = f->exact(0);
    TAP_OK((double)y[0] == f->low && (double)y[1] == f->high && (double)y[2] == at_zero && (double)y[3] == at_zero, "%s: at infinities and zeros (%g %g %g %g)", f->name,
           (double)y[0], (double)y[1], (double)y[2], (double)y[3]);
}

int main(void)
{
    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++) {
        over_all_floats(&formulas[i]);
        special(&formulas[i]);
    }
    return tap_done();
}
