/* batch_norm's loops (norm_rows.c) with GELU behind it. A short row of channels at a time goes through a buffer of floats, where the
 * activation is the work: so there is one version per element type, whatever the number of gradient parts. */
#include "backend/cpu/gelu.h"

enum { CHANNELS = 64, GROUP_ROWS = 16 }; /* of the sums in registers; rows that are added before they go to memory */

void cpu_norm_gelu_apply(const norm_tile *t, const norm_affine *affine, void *y)
{
    for (int64_t r = t->row; r < t->row + t->n_rows; r++)
        cpu_gelu_norm(affine, r * t->channels + t->channel, t->channel, t->n_channels, t->bf16, y);
}

/* Gradient in front of the activation, of n channels from element i, channel c0 on. */
AC_INLINE void gradients(const norm_gradient *d, int64_t i, int64_t c0, int n, bool bf16, float *restrict g)
{
    for (int c = 0; c < n; c++)
        g[c] = cpu_load(d->part[0], i + c, bf16);
    for (int k = 1; k < d->n_parts; k++)
        for (int c = 0; c < n; c++)
            g[c] += cpu_load(d->part[k], i + c, bf16);
    cpu_gelu_norm_slope(&d->affine, i, c0, n, bf16, g);
}

AC_INLINE void reduce_rows(const norm_gradient *d, int64_t i, int64_t c0, int64_t rows, int64_t channels, int n, bool bf16, double *restrict sum, double *restrict sum_x)
{
    double s[CHANNELS] = {0}, q[CHANNELS] = {0};
    float g[CHANNELS];
    for (int64_t r = 0; r < rows; r++, i += channels) {
        gradients(d, i, c0, n, bf16, g);
        for (int c = 0; c < n; c++) {
            s[c] += (double)g[c];
            q[c] += (double)(g[c] * (cpu_load(d->affine.x, i + c, bf16) - d->affine.mean[c0 + c]));
        }
    }
    for (int c = 0; c < n; c++) {
        sum[c] += s[c];
        sum_x[c] += q[c];
    }
}

AC_INLINE void reduce_tile(const norm_tile *t, const norm_gradient *d, double *sum, double *sum_x, bool bf16)
{
    for (int64_t r = 0; r < t->n_rows; r += GROUP_ROWS) {
        int64_t rows = t->n_rows - r < GROUP_ROWS ? t->n_rows - r : GROUP_ROWS, c = 0, i = (t->row + r) * t->channels + t->channel;
        for (; c + CHANNELS <= t->n_channels; c += CHANNELS)
            reduce_rows(d, i + c, t->channel + c, rows, t->channels, CHANNELS, bf16, sum + c, sum_x + c);
        if (c < t->n_channels)
            reduce_rows(d, i + c, t->channel + c, rows, t->channels, (int)(t->n_channels - c), bf16, sum + c, sum_x + c);
    }
}

AC_SIMD void cpu_norm_gelu_gradient_sums(const norm_tile *tile, const norm_gradient *gradient, double *sum, double *sum_x)
{
    if (tile->bf16)
        reduce_tile(tile, gradient, sum, sum_x, true);
    else
        reduce_tile(tile, gradient, sum, sum_x, false);
}

AC_INLINE void write_tile(const norm_tile *t, const norm_gradient *d, const norm_coefficients *f, void *dx, bool bf16)
{
    const float *k = f->k, *p = f->p, *q = f->q;
    float g[CHANNELS];
    for (int64_t r = t->row; r < t->row + t->n_rows; r++)
        for (int64_t c0 = t->channel; c0 < t->channel + t->n_channels; c0 += CHANNELS) {
            int64_t i = r * t->channels + c0, left = t->channel + t->n_channels - c0;
            int n = left < CHANNELS ? (int)left : CHANNELS;
            gradients(d, i, c0, n, bf16, g);
#pragma omp simd
            for (int c = 0; c < n; c++)
                cpu_store(dx, i + c, k[c0 + c] * g[c] + p[c0 + c] * (cpu_load(d->affine.x, i + c, bf16) - d->affine.mean[c0 + c]) + q[c0 + c], bf16);
        }
}

AC_SIMD void cpu_norm_gelu_gradient_apply(const norm_tile *tile, const norm_gradient *gradient, const norm_coefficients *f, void *dx)
{
    if (tile->bf16)
        write_tile(tile, gradient, f, dx, true);
    else
        write_tile(tile, gradient, f, dx, false);
}
