/* exp and its like without a C library: reduce the argument by powers of two, sum a Taylor series, put the parts that
 * were rounded off back in. Speed and an error below 1 ulp are what matters; errno and rounding modes are not served.
 */
#include "simulate/page_math.h"
#include <stdint.h>

static const double ln2_high = 0x1.62e42fefa38p-1; /* 11 bits are free: k * ln2_high is exact */
static const double ln2_low = 0x1.ef35793c7673p-45;
static const double tiny = 5e-17; /* below it x is the nearest to expm1(x) and log1p(x) */
static const double per_ln2 = 0x1.71547652b82fep+0;

static uint64_t bits_of(double x)
{
    union {
        double real;
        uint64_t bits;
    } u = {.real = x};
    return u.bits;
}

static double real_of(uint64_t bits)
{
    union {
        uint64_t bits;
        double real;
    } u = {.bits = bits};
    return u.real;
}

/* 2^k, -1022 <= k <= 1023. */
static double power_of_two(int k)
{
    return real_of((uint64_t)(k + 1023) << 52);
}

/* x * 2^k, k down to -2044 or up to 2046: in two steps, so that what is no normal number comes out as well. */
static double scaled(double x, int k)
{
    int half = k / 2;
    return x * power_of_two(half) * power_of_two(k - half);
}

/* exp(r) - 1 - r for |r + low| <= 0.35, of which `low` is what r lost: r^2/2 + r^3/6 + ... to r^14, and low (1 + r). */
static double exp_tail(double r, double low)
{
    double q = r * r;
    double a = 1.0 / 2 + r * (1.0 / 6), b = 1.0 / 24 + r * (1.0 / 120), c = 1.0 / 720 + r * (1.0 / 5040);
    double d = 1.0 / 40320 + r * (1.0 / 362880), e = 1.0 / 3628800 + r * (1.0 / 39916800);
    double f = 1.0 / 479001600 + r * (1.0 / 6227020800) + q * (1.0 / 87178291200);
    return q * (a + q * (b + q * (c + q * (d + q * (e + q * f))))) + (low + low * r);
}

/* x = k ln 2 + r + low. */
static int reduce(double x, double *r, double *low)
{
    double k = x * per_ln2;
    k = (double)(int)(k < 0 ? k - 0.5 : k + 0.5);
    double high = x - k * ln2_high, rest = k * ln2_low;
    *r = high - rest;
    *low = (high - *r) - rest;
    return (int)k;
}

double page_exp(double x)
{
    double r, low;
    if (!(x < 710)) /* NaN too */
        return x != x ? x : x * 0x1p1023;
    if (x < -746)
        return 0;
    int k = reduce(x, &r, &low);
    double value = 1 + (r + exp_tail(r, low));
    return k > -1000 && k < 1000 ? value * power_of_two(k) : scaled(value, k);
}

double page_expm1(double x)
{
    double r, low;
    if (!(x < 710))
        return x != x ? x : x * 0x1p1023;
    if (x < -40)
        return -1;
    if (x < tiny && x > -tiny)
        return x;
    int k = reduce(x, &r, &low);
    double tail = exp_tail(r, low);
    if (k == 0)
        return r + tail;
    if (k > 60)
        return scaled(1 + (r + tail), k);
    /* 2^k (1 + r + tail) - 1, the large parts first, with what their sums lose; |2^k - 1| is more than |2^k r| */
    double power = power_of_two(k), base = power - 1, lost = (power - base) - 1;
    double high = base + power * r, error = (base - high) + power * r;
    return high + (power * tail + (error + lost));
}

/* log(1 + f) + k ln 2 + c, 1 + f within sqrt(1/2) .. sqrt(2): with s = f / (2 + f) it is 2 s + 2 s^3/3 + 2 s^5/5 + ...,
 * and 2 s = f - s f, s f = f^2/2 - s f^2/2. */
static double log_sum(double f, double k, double c)
{
    double s = f / (2 + f), z = s * s, half = 0.5 * f * f;
    double w = z * z;
    double odd = 2.0 / 3 + w * (2.0 / 7 + w * (2.0 / 11 + w * (2.0 / 15 + w * (2.0 / 19 + w * (2.0 / 23)))));
    double even = 2.0 / 5 + w * (2.0 / 9 + w * (2.0 / 13 + w * (2.0 / 17 + w * (2.0 / 21))));
    double rest = z * (odd + z * even);
    return k * ln2_high - ((half - (s * (half + rest) + (k * ln2_low + c))) - f);
}

/* x = 2^k (1 + f), x > 0 and normal. */
static int split(double x, double *f)
{
    uint64_t bits = bits_of(x) + (0x3FF0000000000000u - 0x3FE6A09E667F3BCDu); /* from sqrt(1/2) on the next power */
    int k = (int)(bits >> 52) - 1023;
    *f = real_of((bits & 0x000FFFFFFFFFFFFFu) + 0x3FE6A09E667F3BCDu) - 1;
    return k;
}

double page_log(double x)
{
    double f;
    int less = 0;
    if (!(x > 0))
        return x == 0 ? -1 / (x * x) : (x - x) / 0.0;
    if (x > 0x1.fffffffffffffp+1023)
        return x;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        less = 54;
    }
    int k = split(x, &f) - less;
    return log_sum(f, k, 0);
}

double page_log1p(double x)
{
    double f;
    if (!(x > -1))
        return x == -1 ? -1 / 0.0 : (x - x) / 0.0;
    if (x > 0x1.fffffffffffffp+1023)
        return x;
    if (x < tiny && x > -tiny)
        return x;
    if (x > -0.29 && x < 0.41)
        return log_sum(x, 0, 0);
    double sum = 1 + x;
    double lost = x < 0x1p53 ? (x >= 1 ? 1 - (sum - x) : x - (sum - 1)) / sum : 0;
    int k = split(sum, &f);
    return log_sum(f, k, lost);
}
