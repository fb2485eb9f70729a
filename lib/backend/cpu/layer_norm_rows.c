/* Loops of layer_norm over rows. A row is small: it is read from memory once and then passed over in the first level of cache as often as
 * needed, 16 channels at a time. */
#include "backend/cpu/layer_norm_rows.h"
#include "backend/cpu/lanes.h"
#include <math.h>

enum { BLOCK_ROWS = 16 }; /* rows whose gradients are added in float */

int64_t cpu_layer_norm_scratch(int64_t channels)
{
    return (2 * channels + 15) / 16 * 16;
}

typedef float lanes_8 __attribute__((vector_size(32)));
typedef float lanes_4 __attribute__((vector_size(16)));

AC_INLINE float add_lanes(const cpu_lanes *v)
{
    lanes_8 half = __builtin_shufflevector(*v, *v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(*v, *v, 8, 9, 10, 11, 12, 13, 14, 15);
    lanes_4 quarter = __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
    return (quarter[0] + quarter[1]) + (quarter[2] + quarter[3]);
}

/* Channels of the block from c on. */
AC_INLINE int block_of(int64_t c, int64_t channels)
{
    return channels - c < CPU_LANES ? (int)(channels - c) : CPU_LANES;
}

/* 1 for the lanes of a last, short block and 0 beyond. */
AC_INLINE cpu_lanes short_block(int64_t channels)
{
    cpu_lanes mask;
    for (int k = 0; k < CPU_LANES; k++)
        mask[k] = k < channels % CPU_LANES ? 1.0f : 0.0f;
    return mask;
}

/* Mean and 1 / sqrt(var + eps) of a row of n. The first sum may be off by some rounding of the mean; the second is about it. inverse: 1 / n,
 * made once: rows are short, and a division holds up what follows it. */
AC_INLINE void statistics(const void *x, int64_t i, int64_t n, double inverse, float eps, const cpu_lanes *mask, bool bf16, float *mean, float *scale)
{
    cpu_lanes s = {0}, other = {0}, q = {0};
    int64_t c = 0;
    for (; c + 2 * CPU_LANES <= n; c += 2 * CPU_LANES) {
        s += cpu_load_lanes(x, i + c, CPU_LANES, bf16);
        other += cpu_load_lanes(x, i + c + CPU_LANES, CPU_LANES, bf16);
    }
    for (; c < n; c += CPU_LANES)
        s += cpu_load_lanes(x, i + c, block_of(c, n), bf16);
    s += other;
    float near = add_lanes(&s) * (float)inverse;
    s = (cpu_lanes){0};
    for (c = 0; c + CPU_LANES <= n; c += CPU_LANES) {
        cpu_lanes d = cpu_load_lanes(x, i + c, CPU_LANES, bf16) - near;
        s += d;
        q += d * d;
    }
    if (c < n) {
        cpu_lanes d = (cpu_load_lanes(x, i + c, (int)(n - c), bf16) - near) * *mask;
        s += d;
        q += d * d;
    }
    double offset = (double)add_lanes(&s) * inverse, variance = (double)add_lanes(&q) * inverse - offset * offset;
    *mean = (float)((double)near + offset);
    *scale = (float)(1 / sqrt((variance < 0 ? 0 : variance) + (double)eps));
}

AC_INLINE void write_block(const layer_norm_rows *r, int64_t i, int64_t c, int n, float mean, float scale, bool bf16)
{
    cpu_lanes y = (cpu_load_lanes(r->x, i + c, n, bf16) - mean) * scale * cpu_load_lanes(r->weight, c, n, false) + cpu_load_lanes(r->bias, c, n, false);
    cpu_store_lanes(r->y, i + c, n, bf16, &y);
}

/* From element i on; y may be the memory of x. */
AC_INLINE void write_row(const layer_norm_rows *r, int64_t i, float mean, float scale, bool bf16)
{
    int64_t c = 0;
    for (; c + CPU_LANES <= r->channels; c += CPU_LANES)
        write_block(r, i, c, CPU_LANES, mean, scale, bf16);
    if (c < r->channels)
        write_block(r, i, c, (int)(r->channels - c), mean, scale, bf16);
}

AC_INLINE void forward_rows(const layer_norm_rows *rows, int64_t first, int64_t n, bool bf16)
{
    const layer_norm_rows r = *rows; /* its pointers then stay in registers */
    const cpu_lanes mask = short_block(r.channels);
    const double inverse = 1 / (double)r.channels;
    for (int64_t row = first; row < first + n; row++) {
        float mean, scale;
        statistics(r.x, row * r.channels, r.channels, inverse, r.eps, &mask, bf16, &mean, &scale);
        if (r.mean) {
            r.mean[row] = mean;
            r.scale[row] = scale;
        }
        write_row(&r, row * r.channels, mean, scale, bf16);
    }
}

AC_SIMD void cpu_layer_norm_forward(const layer_norm_rows *rows, int64_t first, int64_t n)
{
    if (rows->bf16)
        forward_rows(rows, first, n, true);
    else
        forward_rows(rows, first, n, false);
}

AC_SIMD void cpu_layer_norm_again(const layer_norm_rows *rows, int64_t first, int64_t n)
{
    for (int64_t row = first; row < first + n; row++) {
        if (rows->bf16)
            write_row(rows, row * rows->channels, rows->mean[row], rows->scale[row], true);
        else
            write_row(rows, row * rows->channels, rows->mean[row], rows->scale[row], false);
    }
}

/* The gradient's parts, added. */
AC_INLINE cpu_lanes gradient_block(const layer_norm_gradient *d, int64_t i, int n, bool bf16)
{
    cpu_lanes g = cpu_load_lanes(d->part[0], i, n, bf16);
    if (d->n_parts > 1)
        g += cpu_load_lanes(d->part[1], i, n, bf16);
    if (d->n_parts > 2)
        g += cpu_load_lanes(d->part[2], i, n, bf16);
    return g;
}

typedef struct moments { /* of a row: sums of g weight and of that times the normalised x */
    cpu_lanes sum, along;
} moments;

/* Adds the block's gradients of weight and bias as well. Lanes beyond n have g = 0. */
AC_INLINE void reduce_block(const layer_norm_gradient *d, int64_t i, int64_t c, int n, float mean, float scale, bool bf16, float *dweight, float *dbias, moments *m)
{
    cpu_lanes h = (cpu_load_lanes(d->rows.x, i + c, n, bf16) - mean) * scale, g = gradient_block(d, i + c, n, bf16);
    cpu_lanes gw = g * cpu_load_lanes(d->rows.weight, c, n, false);
    cpu_lanes to_weight = cpu_load_lanes(dweight, c, n, false) + g * h, to_bias = cpu_load_lanes(dbias, c, n, false) + g;
    m->sum += gw;
    m->along += gw * h;
    cpu_store_lanes(dweight, c, n, false, &to_weight);
    cpu_store_lanes(dbias, c, n, false, &to_bias);
}

AC_INLINE void write_gradient(const layer_norm_gradient *d, int64_t i, int64_t c, int n, float mean, float scale, float sum, float along, bool bf16)
{
    cpu_lanes h = (cpu_load_lanes(d->rows.x, i + c, n, bf16) - mean) * scale;
    cpu_lanes v = scale * (gradient_block(d, i + c, n, bf16) * cpu_load_lanes(d->rows.weight, c, n, false) - sum - h * along);
    if (d->add)
        v += cpu_load_lanes(d->dx, i + c, n, bf16);
    cpu_store_lanes(d->dx, i + c, n, bf16, &v);
}

AC_INLINE void backward_row(const layer_norm_gradient *d, int64_t row, bool bf16, float *dweight, float *dbias)
{
    int64_t channels = d->rows.channels, i = row * channels, c = 0;
    float mean = d->rows.mean[row], scale = d->rows.scale[row];
    moments m = {{0}, {0}};
    for (; c + CPU_LANES <= channels; c += CPU_LANES)
        reduce_block(d, i, c, CPU_LANES, mean, scale, bf16, dweight, dbias, &m);
    if (c < channels)
        reduce_block(d, i, c, (int)(channels - c), mean, scale, bf16, dweight, dbias, &m);
    if (!d->dx)
        return;
    float sum = add_lanes(&m.sum) / (float)channels, along = add_lanes(&m.along) / (float)channels;
    for (c = 0; c + CPU_LANES <= channels; c += CPU_LANES)
        write_gradient(d, i, c, CPU_LANES, mean, scale, sum, along, bf16);
    if (c < channels)
        write_gradient(d, i, c, (int)(channels - c), mean, scale, sum, along, bf16);
}

/* Sums of a few rows out of float. */
AC_INLINE void take_sums(float *restrict from, int64_t n, double *restrict sum)
{
    for (int64_t c = 0; c < n; c++) {
        sum[c] += (double)from[c];
        from[c] = 0;
    }
}

AC_INLINE void backward_rows(const layer_norm_gradient *gradient, int64_t first, int64_t n, double *sum, float *scratch, bool bf16)
{
    const layer_norm_gradient d = *gradient;
    int64_t channels = d.rows.channels;
    for (int64_t c = 0; c < 2 * channels; c++) {
        scratch[c] = 0;
        sum[c] = 0;
    }
    for (int64_t row = first; row < first + n; row++) {
        backward_row(&d, row, bf16, scratch, scratch + channels);
        if ((row - first) % BLOCK_ROWS == BLOCK_ROWS - 1 || row == first + n - 1)
            take_sums(scratch, 2 * channels, sum);
    }
}

AC_SIMD void cpu_layer_norm_backward(const layer_norm_gradient *gradient, int64_t first, int64_t n, double *sum, float *scratch)
{
    if (gradient->rows.bf16)
        backward_rows(gradient, first, n, sum, scratch, true);
    else
        backward_rows(gradient, first, n, sum, scratch, false);
}
