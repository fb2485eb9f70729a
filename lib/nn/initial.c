/* Initial values, as a definition of one element and as vector code for many. The vector code has a log and a cos of its own, less than DOUBT away from
 * the C library's; where a value is so close to the middle between two floats that this could decide, the definition is asked. */
#include "nn/initial.h"
#include "anyclass/random.h"
#include "nn/simd.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 256 }; /* elements at a time, in the first cache */

#define DOUBT 2e-13 /* of a standard normal: 3.1e-15 is the most that was seen, and one in 20,000 is asked for again */

static const double two_pi = 6.283185307179586;

AC_INLINE ac_philox block_of(uint64_t seed, size_t p, size_t e, uint32_t attempt)
{
    /* the element number goes into the index, so that tables of more than 2^32 elements stay distinct */
    return ac_random_block(seed, AC_STREAM_INIT, (uint64_t)p << 40 | (uint64_t)e, attempt);
}

/* Standard normal from one counter block (Box and Muller). */
static double draw_normal(ac_philox block)
{
    double u = 1.0 - ac_uniform_double(block.word[0], block.word[1]), v = ac_uniform_double(block.word[2], block.word[3]);
    return sqrt(-2.0 * log(u)) * cos(two_pi * v);
}

float initial_draw(const ac_init *init, uint64_t seed, size_t p, size_t e)
{
    for (uint32_t attempt = 0;; attempt++) {
        ac_philox block = block_of(seed, p, e, attempt);
        double normal;
        switch (init->kind) {
        case AC_INIT_CONSTANT:
            return init->a;
        case AC_INIT_UNIFORM:
            return (float)(init->a + ac_uniform_double(block.word[0], block.word[1]) * ((double)init->b - init->a));
        case AC_INIT_NORMAL:
            return (float)(init->a + draw_normal(block) * init->b);
        case AC_INIT_TRUNCATED_NORMAL:
            normal = draw_normal(block);
            if (fabs(normal) <= 2)
                return (float)(init->a + normal * init->b);
            break;
        }
    }
}

static int64_t bits_of(double x)
{
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double real_of(int64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* log of 2^-53 .. 1: u = 2^e m with m between the roots of 1/2 and 2, and log m = 2 artanh s, s = (m - 1) / (m + 1), to s^21. */
static inline double log_of(double u)
{
    const int64_t root_half = 0x3FE6A09E667F3BCD;
    int64_t exponent = (bits_of(u) - root_half) >> 52;
    double m = real_of(bits_of(u) - exponent * (INT64_C(1) << 52)), s = (m - 1) / (m + 1), q = s * s;
    double sum = 1.0 / 15 + q * (1.0 / 17 + q * (1.0 / 19 + q * (1.0 / 21)));
    sum = q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9 + q * (1.0 / 11 + q * (1.0 / 13 + q * sum))))));
    return (double)(int32_t)exponent * 0.6931471805599453 + 2 * (s + s * sum);
}

/* cos(2 pi v) for 0 <= v < 1: v is a whole number of quarters and at most an eighth, whose sine or cosine is a Taylor series. */
static inline double cos_of_turns(double v)
{
    int32_t quarter = (int32_t)(4 * v + .5);
    double x = (v - .25 * quarter) * two_pi, q = x * x;
    double even = 1.0 / 479001600 + q * (-1.0 / 87178291200 + q * (1.0 / 20922789888000));
    even = 1 + q * (-1.0 / 2 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 + q * (-1.0 / 3628800 + q * even)))));
    double odd = -1.0 / 39916800 + q * (1.0 / 6227020800 + q * (-1.0 / 1307674368000));
    odd = x + x * (q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880 + q * odd)))));
    double value = quarter & 1 ? -odd : even; /* cos(x + 1/4 turn) = -sin x */
    return quarter & 2 ? -value : value;
}

/* Box and Muller's two uniforms for elements first .. first + n. */
AC_SIMD static void draw_uniforms(uint64_t seed, size_t p, size_t first, size_t n, double *u, double *v)
{
    for (size_t i = 0; i < n; i++) {
        ac_philox block = block_of(seed, p, first + i, 0);
        u[i] = 1.0 - ac_uniform_double(block.word[0], block.word[1]);
        v[i] = ac_uniform_double(block.word[2], block.word[3]);
    }
}

/* Values of u and v, n <= CHUNK; doubtful[i]: out[i] is to be drawn by the definition. */
AC_SIMD static void draw_normals(const ac_init *init, const double *u, const double *v, size_t n, float *out, unsigned char *doubtful)
{
    double a = (double)init->a, b = (double)init->b, doubt = DOUBT * (fabs(a) + fabs(b)), most = init->kind == AC_INIT_TRUNCATED_NORMAL ? 2 - DOUBT : INFINITY;
    for (size_t i = 0; i < n; i++) {
        double normal = sqrt(-2.0 * log_of(u[i])) * cos_of_turns(v[i]), value = a + normal * b;
        out[i] = (float)value;
        doubtful[i] = ((float)(value - doubt) != (float)(value + doubt)) | (fabs(normal) > most);
    }
}

void initial_draw_many(const ac_init *init, uint64_t seed, size_t p, size_t first, size_t n, float *out)
{
    double u[CHUNK], v[CHUNK];
    unsigned char doubtful[CHUNK];
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t m = n - at < CHUNK ? n - at : CHUNK;
        bool normal = init->kind == AC_INIT_NORMAL || init->kind == AC_INIT_TRUNCATED_NORMAL;
        if (normal) {
            draw_uniforms(seed, p, first + at, m, u, v);
            draw_normals(init, u, v, m, out + at, doubtful);
        }
        for (size_t i = 0; i < m; i++)
            if (!normal || doubtful[i])
                out[at + i] = initial_draw(init, seed, p, first + at + i);
    }
}
