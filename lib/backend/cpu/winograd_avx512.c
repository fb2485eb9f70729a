/* F(2x2, 3x3) at the points 0, +-1 and infinity, as everywhere; F(4x4, 3x3) at 0, +-1/sqrt(2), +-sqrt(2) and infinity. With
 * the usual 0, +-1, +-2 results are off by up to 1.6e-5 of the largest (256 channels of normal numbers); these points
 * leave 2.3e-6, a direct sum 3e-7 to 5e-7. With a = 1/sqrt(2), b = sqrt(2), along one dimension of F(4x4):
 *
 *   input    1   0 -5/2   0  1 0     weights      1      0     0    output  1 1  1  1   1 0
 *            0 -2a  -2    a  1 0               -2/3  -2a/3  -1/3            0 a -a  b  -b 0
 *            0  2a  -2   -a  1 0               -2/3   2a/3  -1/3            0 1/2 1/2 2 2 0
 *            0 -b/2 -1/2  b  1 0                1/6    b/6   1/3            0 a/2 -a/2 2b -2b 1
 *            0  b/2 -1/2 -b  1 0                1/6   -b/6   1/3
 *            0   1   0  -5/2 0 1                 0      0     1
 */
#include "backend/cpu/winograd_avx512.h"

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) CPU_AVX512
#define SET(x) _mm512_set1_ps(x)

enum { OUT = WINOGRAD_OUT, IN = WINOGRAD_IN, TAPS = 3 }; /* OUT and IN: the larger of the two */

static const float A = 0.70710678118654752f, B = 1.41421356237309505f;

INLINE __m512 multiply_add(__m512 a, float b, __m512 c)
{
    return _mm512_fmadd_ps(a, SET(b), c);
}

INLINE void input_line(const int out, const __m512 d[IN], __m512 t[IN])
{
    if (out == 2) {
        t[0] = _mm512_sub_ps(d[0], d[2]);
        t[1] = _mm512_add_ps(d[1], d[2]);
        t[2] = _mm512_sub_ps(d[2], d[1]);
        t[3] = _mm512_sub_ps(d[3], d[1]);
        return;
    }
    __m512 even1 = multiply_add(d[2], -2, d[4]), odd1 = multiply_add(d[1], -2, d[3]), even2 = multiply_add(d[2], -0.5f, d[4]), odd2 = multiply_add(d[1], -0.5f, d[3]);
    t[0] = multiply_add(d[2], -2.5f, _mm512_add_ps(d[0], d[4]));
    t[1] = multiply_add(odd1, A, even1);
    t[2] = multiply_add(odd1, -A, even1);
    t[3] = multiply_add(odd2, B, even2);
    t[4] = multiply_add(odd2, -B, even2);
    t[5] = multiply_add(d[3], -2.5f, _mm512_add_ps(d[1], d[5]));
}

INLINE void output_line(const int out, const __m512 m[IN], __m512 y[OUT])
{
    if (out == 2) {
        y[0] = _mm512_add_ps(m[0], _mm512_add_ps(m[1], m[2]));
        y[1] = _mm512_add_ps(_mm512_sub_ps(m[1], m[2]), m[3]);
        return;
    }
    __m512 sum1 = _mm512_add_ps(m[1], m[2]), sum2 = _mm512_add_ps(m[3], m[4]);
    __m512 odd1 = _mm512_mul_ps(_mm512_sub_ps(m[1], m[2]), SET(A)), odd2 = _mm512_mul_ps(_mm512_sub_ps(m[3], m[4]), SET(B));
    y[0] = _mm512_add_ps(m[0], _mm512_add_ps(sum1, sum2));
    y[1] = _mm512_add_ps(odd1, odd2);
    y[2] = multiply_add(sum1, 0.5f, _mm512_add_ps(sum2, sum2));
    y[3] = multiply_add(odd1, 0.5f, multiply_add(odd2, 2, m[5]));
}

INLINE void gradient_line(const __m512 y[OUT], __m512 t[IN])
{
    __m512 even1 = multiply_add(y[2], 0.5f, y[0]), odd1 = multiply_add(y[3], 0.5f, y[1]), even2 = multiply_add(y[2], 2, y[0]), odd2 = multiply_add(y[3], 2, y[1]);
    t[0] = y[0];
    t[1] = multiply_add(odd1, A, even1);
    t[2] = multiply_add(odd1, -A, even1);
    t[3] = multiply_add(odd2, B, even2);
    t[4] = multiply_add(odd2, -B, even2);
    t[5] = y[3];
}

INLINE void weights_line(const int out, const __m512 g[TAPS], __m512 t[IN])
{
    if (out == 2) {
        __m512 even = _mm512_mul_ps(_mm512_add_ps(g[0], g[2]), SET(0.5f));
        t[0] = g[0];
        t[1] = multiply_add(g[1], 0.5f, even);
        t[2] = multiply_add(g[1], -0.5f, even);
        t[3] = g[2];
        return;
    }
    __m512 even1 = _mm512_mul_ps(multiply_add(g[2], 0.5f, g[0]), SET(-2 / 3.f)), even2 = _mm512_mul_ps(multiply_add(g[2], 2, g[0]), SET(1 / 6.f));
    t[0] = g[0];
    t[1] = multiply_add(g[1], -2 / 3.f * A, even1);
    t[2] = multiply_add(g[1], 2 / 3.f * A, even1);
    t[3] = multiply_add(g[1], B / 6.f, even2);
    t[4] = multiply_add(g[1], -B / 6.f, even2);
    t[5] = g[2];
}

INLINE void weights_gradient_line(const __m512 t[IN], __m512 g[TAPS])
{
    __m512 sum1 = _mm512_add_ps(t[1], t[2]), sum2 = _mm512_add_ps(t[3], t[4]);
    g[0] = multiply_add(sum1, -2 / 3.f, multiply_add(sum2, 1 / 6.f, t[0]));
    g[1] = multiply_add(_mm512_sub_ps(t[1], t[2]), -2 / 3.f * A, _mm512_mul_ps(_mm512_sub_ps(t[3], t[4]), SET(B / 6.f)));
    g[2] = multiply_add(_mm512_sub_ps(sum2, sum1), 1 / 3.f, t[5]);
}

INLINE __mmask16 lanes(int n)
{
    return (__mmask16)((1u << n) - 1);
}

/* Column x of the square, `n` pixels high. */
INLINE void load_column(const float *image, const cpu_square *s, int x, const int n, __m512 d[])
{
#pragma GCC unroll 6
    for (int y = 0; y < n; y++)
        _mm_prefetch((const char *)(image + s->ahead + y * s->row_stride + x * s->pixel_stride), _MM_HINT_T0);
    __mmask16 inside = x >= s->x0 && x < s->x1 ? lanes(s->n_channels) : 0;
#pragma GCC unroll 6
    for (int y = 0; y < n; y++)
        d[y] = _mm512_maskz_loadu_ps(y >= s->y0 && y < s->y1 ? inside : 0, image + y * s->row_stride + x * s->pixel_stride);
}

INLINE void transform_input(const int out, const float *image, const cpu_square *s, float *to, int64_t stride)
{
    const int in = out + TAPS - 1;
    __m512 half[IN][IN], d[IN], t[IN];
    for (int x = 0; x < in; x++) {
        load_column(image, s, x, in, d);
        input_line(out, d, t);
#pragma GCC unroll 6
        for (int y = 0; y < in; y++)
            half[y][x] = t[y];
    }
    for (int y = 0; y < in; y++) {
        input_line(out, half[y], t);
#pragma GCC unroll 6
        for (int x = 0; x < in; x++)
            _mm512_storeu_ps(to + (y * in + x) * stride, t[x]);
    }
}

CPU_AVX512 void cpu_winograd_input(int out, const float *image, const cpu_square *s, float *to, int64_t stride)
{
    if (out == 2)
        transform_input(2, image, s, to, stride);
    else
        transform_input(4, image, s, to, stride);
}

CPU_AVX512 void cpu_winograd_gradient(const float *image, const cpu_square *s, float *to, int64_t stride)
{
    __m512 half[IN][OUT], d[OUT], t[IN];
    for (int x = 0; x < OUT; x++) {
        load_column(image, s, x, OUT, d);
        gradient_line(d, t);
#pragma GCC unroll 6
        for (int y = 0; y < IN; y++)
            half[y][x] = t[y];
    }
    for (int y = 0; y < IN; y++) {
        gradient_line(half[y], t);
#pragma GCC unroll 6
        for (int x = 0; x < IN; x++)
            _mm512_storeu_ps(to + (y * IN + x) * stride, t[x]);
    }
}

INLINE void transform_output(const int out, const float *from, int64_t stride, const cpu_finish *finish, const cpu_square *s, float *image)
{
    const int in = out + TAPS - 1;
    __mmask16 inside = lanes(s->n_channels);
    __m512 half[OUT][IN], m[IN], y[OUT], zero = _mm512_setzero_ps(), slope = _mm512_set1_ps(finish->slope);
    __m512 shift = finish->shift ? _mm512_maskz_loadu_ps(inside, finish->shift) : zero;
    for (int x = 0; x < in; x++) {
#pragma GCC unroll 6
        for (int i = 0; i < in; i++)
            m[i] = _mm512_loadu_ps(from + (i * in + x) * stride);
        output_line(out, m, y);
#pragma GCC unroll 4
        for (int i = 0; i < out; i++)
            half[i][x] = y[i];
    }
    for (int i = s->y0; i < s->y1; i++) {
        output_line(out, half[i], y);
#pragma GCC unroll 4
        for (int x = 0; x < out; x++)
            if (x >= s->x0 && x < s->x1) {
                float *to = image + i * s->row_stride + x * s->pixel_stride;
                __m512 v = _mm512_add_ps(y[x], shift);
                if (finish->add)
                    v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(inside, to));
                /* as written for batch_norm: what is not larger than 0, a NaN too, takes the slope */
                v = _mm512_mask_mul_ps(v, _mm512_cmp_ps_mask(v, zero, _CMP_NGT_UQ), v, slope);
                _mm512_mask_storeu_ps(to, inside, v);
            }
    }
}

CPU_AVX512 void cpu_winograd_output(int out, const float *from, int64_t stride, const cpu_finish *finish, const cpu_square *s, float *image)
{
    if (out == 2)
        transform_output(2, from, stride, finish, s, image);
    else
        transform_output(4, from, stride, finish, s, image);
}

INLINE void transform_weights(const int out, const float *w, int64_t tap_stride, int n_channels, float *to, int64_t stride)
{
    const int in = out + TAPS - 1;
    __m512 half[IN][TAPS], g[TAPS], t[IN];
    for (int x = 0; x < TAPS; x++) {
#pragma GCC unroll 3
        for (int y = 0; y < TAPS; y++)
            g[y] = _mm512_maskz_loadu_ps(lanes(n_channels), w + (y * TAPS + x) * tap_stride);
        weights_line(out, g, t);
#pragma GCC unroll 6
        for (int y = 0; y < in; y++)
            half[y][x] = t[y];
    }
    for (int y = 0; y < in; y++) {
        weights_line(out, half[y], t);
#pragma GCC unroll 6
        for (int x = 0; x < in; x++)
            _mm512_storeu_ps(to + (y * in + x) * stride, t[x]);
    }
}

CPU_AVX512 void cpu_winograd_weights(int out, const float *w, int64_t tap_stride, int n_channels, float *to, int64_t stride)
{
    if (out == 2)
        transform_weights(2, w, tap_stride, n_channels, to, stride);
    else
        transform_weights(4, w, tap_stride, n_channels, to, stride);
}

CPU_AVX512 void cpu_winograd_weights_gradient(const float *from, int64_t stride, int n_channels, bool add, float *w, int64_t tap_stride)
{
    __m512 half[TAPS][IN], t[IN], g[TAPS];
    for (int x = 0; x < IN; x++) {
#pragma GCC unroll 6
        for (int y = 0; y < IN; y++)
            t[y] = _mm512_loadu_ps(from + (y * IN + x) * stride);
        weights_gradient_line(t, g);
#pragma GCC unroll 3
        for (int y = 0; y < TAPS; y++)
            half[y][x] = g[y];
    }
    for (int y = 0; y < TAPS; y++) {
        weights_gradient_line(half[y], g);
#pragma GCC unroll 3
        for (int x = 0; x < TAPS; x++) {
            float *at = w + (y * TAPS + x) * tap_stride;
            if (add)
                g[x] = _mm512_add_ps(g[x], _mm512_maskz_loadu_ps(lanes(n_channels), at));
            _mm512_mask_storeu_ps(at, lanes(n_channels), g[x]);
        }
    }
}
#endif
