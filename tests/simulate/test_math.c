/* The page's exp, expm1, log and log1p against the C library's in long double: the largest error in units of the last
 * place, and what is special. */
#include "anyclass/random.h"
#include "simulate/page_math.h"
#include "tests/tap.h"
#include <float.h>
#include <math.h>

enum { N_DRAWN = 400000 };

typedef struct function {
    const char *name;
    double (*ours)(double);
    long double (*exact)(long double);
    double low, high; /* where it is measured */
    bool log_spaced;  /* |x| from 1e-300 on to the ends, both signs where low < 0 */
} function;

/* Distance to the exact value in units of the last place of a double of that size. */
static double ulps(double got, long double exact)
{
    int exponent;
    if (exact == 0 || isnan(exact) || isinf((double)exact))
        return got == (double)exact ? 0 : INFINITY;
    frexpl(exact, &exponent);
    exponent = exponent < DBL_MIN_EXP ? DBL_MIN_EXP : exponent;
    return (double)fabsl(((long double)got - exact) / ldexpl(1, exponent - DBL_MANT_DIG));
}

static double drawn(const function *f, uint32_t i)
{
    ac_philox word = ac_random_block(11, AC_STREAM_TEST, 3, i);
    double u = ac_uniform_double(word.word[0], word.word[1]);
    if (!f->log_spaced)
        return f->low + u * (f->high - f->low);
    double end = f->low < 0 && word.word[2] & 1 ? f->low : f->high;
    return copysign(exp(log(1e-300) + u * (log(fabs(end)) - log(1e-300))), end);
}

static void measure(const function *f, double bound)
{
    double worst = 0, at = 0;
    for (uint32_t i = 0; i < N_DRAWN; i++) {
        double x = drawn(f, i), error = ulps(f->ours(x), f->exact((long double)x));
        if (!(error <= worst)) {
            worst = error;
            at = x;
        }
    }
    TAP_OK(worst <= bound, "%s on %g .. %g%s: at most %.3f ulp from the exact value, at %.17g", f->name, f->low,
           f->high, f->log_spaced ? ", by size" : "", worst, at);
}

static void test_errors(void)
{
    static const function all[] = {
        {"exp", page_exp, expl, -708, 709.7, false},     {"exp", page_exp, expl, -1, 1, true},
        {"exp", page_exp, expl, -40, 3, false},          {"expm1", page_expm1, expm1l, -45, 709, false},
        {"expm1", page_expm1, expm1l, -2, 2, false},     {"expm1", page_expm1, expm1l, -5, 60, true},
        {"log", page_log, logl, 0, 1e308, true},         {"log", page_log, logl, 0.5, 2, false},
        {"log", page_log, logl, 0.99, 1.01, false},      {"log1p", page_log1p, log1pl, 0, 1, false},
        {"log1p", page_log1p, log1pl, -0.99, 50, false}, {"log1p", page_log1p, log1pl, -1, 1e300, true},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        measure(&all[i], 1);
    /* below the normal numbers the result is rounded once more */
    measure(&(function){"exp", page_exp, expl, -745, -708, false}, 1.5);
}

static void expect(const char *what, double got, double wanted)
{
    bool good = isnan(wanted) ? isnan(got) : got == wanted && signbit(got) == signbit(wanted);
    TAP_OK(good, "%s is %g, wanted %g", what, got, wanted);
}

static void test_special(void)
{
    const double special[] = {0.0,          -0.0,          1,       -1,       INFINITY, -INFINITY, NAN,
                              710,          1000,          -1000,   1e308,    -1e308,   DBL_MIN,   -DBL_MIN,
                              DBL_TRUE_MIN, -DBL_TRUE_MIN, DBL_MAX, -DBL_MAX, 0x1p53,   0x1p-53,   -0x1p-53};
    char what[64];
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        double x = special[i];
        snprintf(what, sizeof what, "log of %g", x);
        if (!(x > 0) || x > DBL_MAX || x == 1)
            expect(what, page_log(x), log(x));
        else
            TAP_OK(ulps(page_log(x), logl((long double)x)) <= 1, "%s", what);
        snprintf(what, sizeof what, "log1p of %g", x);
        if (!(x > -1) || x > DBL_MAX || fabs(x) < 0x1p-54)
            expect(what, page_log1p(x), log1p(x));
        else
            TAP_OK(ulps(page_log1p(x), log1pl((long double)x)) <= 1, "%s", what);
        snprintf(what, sizeof what, "exp of %g", x);
        if (fabs(x) == 1)
            TAP_OK(ulps(page_exp(x), expl((long double)x)) <= 1, "%s", what);
        else
            expect(what, page_exp(x), exp(x));
        snprintf(what, sizeof what, "expm1 of %g", x);
        if (fabs(x) == 1)
            TAP_OK(ulps(page_expm1(x), expm1l((long double)x)) <= 1, "%s", what);
        else
            expect(what, page_expm1(x), expm1(x));
    }
}

int main(void)
{
    test_errors();
    test_special();
    return tap_done();
}
