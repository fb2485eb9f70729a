/* Loops of layer_norm over rows. A row is small: it is read from memory once, turned into floats if it is bf16, and then passed over in
 * the first level of cache as often as needed. */
#include "backend/cpu/layer_norm_rows.h"
#include "backend/cpu/cpu.h"
#include <math.h>

enum { LANES = 32, BLOCK_ROWS = 16 }; /* rows whose gradients are added in float */

int64_t cpu_layer_norm_scratch(int64_t channels)
{
    return (4 * channels + 15) / 16 * 16;
}

AC_INLINE float add_lanes(float lane[LANES])
{
    for (int w = LANES / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++)
            lane[i] += lane[i + w];
    return lane[0];
}

AC_INLINE const float *as_floats(const void *values, int64_t first, int64_t n, bool bf16, float *restrict out)
{
    if (!bf16)
        return (const float *)values + first;
    for (int64_t c = 0; c < n; c++)
        out[c] = cpu_load(values, first + c, true);
    return out;
}

/* Mean and 1 / sqrt(var + eps) of a row. The first sum may be off by some rounding of the mean; the second is about it. */
AC_INLINE void statistics(const float *x, int64_t n, float eps, float *mean, float *scale)
{
    float s[LANES] = {0}, q[LANES] = {0};
    int64_t c = 0;
    for (; c + LANES <= n; c += LANES)
        for (int k = 0; k < LANES; k++)
            s[k] += x[c + k];
    for (int k = 0; c + k < n; k++)
        s[k] += x[c + k];
    float near = add_lanes(s) / (float)n;
    for (int k = 0; k < LANES; k++)
        s[k] = 0;
    for (c = 0; c + LANES <= n; c += LANES)
        for (int k = 0; k < LANES; k++) {
            float d = x[c + k] - near;
            s[k] += d;
            q[k] += d * d;
        }
    for (int k = 0; c + k < n; k++) {
        float d = x[c + k] - near;
        s[k] += d;
        q[k] += d * d;
    }
    double offset = (double)add_lanes(s) / (double)n, variance = (double)add_lanes(q) / (double)n - offset * offset;
    *mean = (float)((double)near + offset);
    *scale = (float)(1 / sqrt((variance < 0 ? 0 : variance) + (double)eps));
}

AC_INLINE void write_row(const layer_norm_rows *r, const void *x, int64_t from, int64_t to, float mean, float scale, bool from_bf16, bool bf16)
{
    const float *weight = r->weight, *bias = r->bias;
    void *y = r->y;
#pragma omp simd
    for (int64_t c = 0; c < r->channels; c++)
        cpu_store(y, to + c, (cpu_load(x, from + c, from_bf16) - mean) * scale * weight[c] + bias[c], bf16);
}

AC_INLINE void forward_rows(const layer_norm_rows *r, int64_t first, int64_t n, float *scratch, bool bf16)
{
    for (int64_t row = first; row < first + n; row++) {
        float mean, scale;
        const float *x = as_floats(r->x, row * r->channels, r->channels, bf16, scratch);
        statistics(x, r->channels, r->eps, &mean, &scale);
        if (r->mean) {
            r->mean[row] = mean;
            r->scale[row] = scale;
        }
        write_row(r, x, 0, row * r->channels, mean, scale, false, bf16);
    }
}

AC_SIMD void cpu_layer_norm_forward(const layer_norm_rows *rows, int64_t first, int64_t n, float *scratch)
{
    if (rows->bf16)
        forward_rows(rows, first, n, scratch, true);
    else
        forward_rows(rows, first, n, scratch, false);
}

AC_SIMD void cpu_layer_norm_again(const layer_norm_rows *rows, int64_t first, int64_t n, float *scratch)
{
    (void)scratch;
    for (int64_t row = first; row < first + n; row++) {
        int64_t i = row * rows->channels;
        if (rows->bf16)
            write_row(rows, rows->x, i, i, rows->mean[row], rows->scale[row], true, true);
        else
            write_row(rows, rows->x, i, i, rows->mean[row], rows->scale[row], false, false);
    }
}

/* The gradient of a row, its parts added. */
AC_INLINE const float *gradient_row(const layer_norm_gradient *d, int64_t first, bool bf16, float *restrict out)
{
    int64_t n = d->rows.channels;
    if (d->n_parts == 1)
        return as_floats(d->part[0], first, n, bf16, out);
    for (int64_t c = 0; c < n; c++)
        out[c] = cpu_load(d->part[0], first + c, bf16) + cpu_load(d->part[1], first + c, bf16);
    for (int k = 2; k < d->n_parts; k++)
        for (int64_t c = 0; c < n; c++)
            out[c] += cpu_load(d->part[k], first + c, bf16);
    return out;
}

typedef struct moments { /* means over a row of g weight, and of that times the normalised x */
    float mean, along;
} moments;

/* Adds the row's gradients of weight and bias as well. */
AC_INLINE moments reduce_row(const float *x, const float *g, const float *weight, int64_t n, float mean, float scale, float *restrict dweight,
                             float *restrict dbias)
{
    float s[LANES] = {0}, q[LANES] = {0};
    int64_t c = 0;
    for (; c + LANES <= n; c += LANES)
        for (int k = 0; k < LANES; k++) {
            float h = (x[c + k] - mean) * scale, gw = g[c + k] * weight[c + k];
            s[k] += gw;
            q[k] += gw * h;
            dweight[c + k] += g[c + k] * h;
            dbias[c + k] += g[c + k];
        }
    for (int k = 0; c + k < n; k++) {
        float h = (x[c + k] - mean) * scale, gw = g[c + k] * weight[c + k];
        s[k] += gw;
        q[k] += gw * h;
        dweight[c + k] += g[c + k] * h;
        dbias[c + k] += g[c + k];
    }
    return (moments){add_lanes(s) / (float)n, add_lanes(q) / (float)n};
}

AC_INLINE void write_gradient(const layer_norm_gradient *d, const float *x, const float *g, int64_t to, float mean, float scale, moments m, bool add, bool bf16)
{
    const float *weight = d->rows.weight;
    void *dx = d->dx;
#pragma omp simd
    for (int64_t c = 0; c < d->rows.channels; c++) {
        float v = scale * (g[c] * weight[c] - m.mean - (x[c] - mean) * scale * m.along);
        cpu_store(dx, to + c, add ? v + cpu_load(dx, to + c, bf16) : v, bf16);
    }
}

/* Sums of a few rows out of float. */
AC_INLINE void take_sums(float *restrict from, int64_t n, double *restrict sum)
{
    for (int64_t c = 0; c < n; c++) {
        sum[c] += (double)from[c];
        from[c] = 0;
    }
}

AC_INLINE void backward_rows(const layer_norm_gradient *d, int64_t first, int64_t n, double *sum, float *scratch, bool bf16)
{
    const layer_norm_rows *r = &d->rows;
    int64_t channels = r->channels;
    float *x_row = scratch, *g_row = x_row + channels, *dweight = g_row + channels;
    for (int64_t c = 0; c < 2 * channels; c++) {
        dweight[c] = 0;
        sum[c] = 0;
    }
    for (int64_t row = first; row < first + n; row++) {
        int64_t i = row * channels;
        float mean = r->mean[row], scale = r->scale[row];
        const float *x = as_floats(r->x, i, channels, bf16, x_row), *g = gradient_row(d, i, bf16, g_row);
        moments m = reduce_row(x, g, r->weight, channels, mean, scale, dweight, dweight + channels);
        if (d->dx && d->add)
            write_gradient(d, x, g, i, mean, scale, m, true, bf16);
        else if (d->dx)
            write_gradient(d, x, g, i, mean, scale, m, false, bf16);
        if ((row - first) % BLOCK_ROWS == BLOCK_ROWS - 1 || row == first + n - 1)
            take_sums(dweight, 2 * channels, sum);
    }
}

AC_SIMD void cpu_layer_norm_backward(const layer_norm_gradient *gradient, int64_t first, int64_t n, double *sum, float *scratch)
{
    if (gradient->rows.bf16)
        backward_rows(gradient, first, n, sum, scratch, true);
    else
        backward_rows(gradient, first, n, sum, scratch, false);
}
