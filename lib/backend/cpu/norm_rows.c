/* Vector loops of batch_norm. What is constant for a whole call (element type, number of parts, kind of mask) is a constant
 * wherever these functions are inlined, so that each combination becomes plain vector code. */
#include "backend/cpu/norm_rows.h"
#include "backend/cpu/cpu.h"

enum { LANES = 32, GROUP_ROWS = 16 }; /* a few whole rows at a time, so that memory is read in order */

/* `rows` rows of n <= LANES channels from element i on. In double, which memory is too slow to make felt: statistics that are
 * rounded to float once are the same bits however the rows are divided over tiles and, with --sync_bn, over ranks. */
AC_INLINE void sum_lanes(const void *x, int64_t i, const float *shift, int64_t rows, int64_t channels, int n, bool bf16, double *restrict sum,
                         double *restrict square)
{
    double s[LANES] = {0}, q[LANES] = {0};
    for (int64_t r = 0; r < rows; r++, i += channels)
#pragma omp simd
        for (int c = 0; c < n; c++) {
            double v = (double)cpu_load(x, i + c, bf16) - (double)shift[c];
            s[c] += v;
            q[c] += v * v;
        }
    for (int c = 0; c < n; c++) {
        sum[c] += s[c];
        square[c] += q[c];
    }
}

AC_INLINE void sum_tile(const norm_tile *t, const void *x, const float *shift, bool bf16, double *sum, double *square)
{
    for (int64_t r = 0; r < t->n_rows; r += GROUP_ROWS) {
        int64_t rows = t->n_rows - r < GROUP_ROWS ? t->n_rows - r : GROUP_ROWS, c = 0, i = (t->row + r) * t->channels + t->channel;
        for (; c + LANES <= t->n_channels; c += LANES)
            sum_lanes(x, i + c, shift + t->channel + c, rows, t->channels, LANES, bf16, sum + c, square + c);
        if (c < t->n_channels)
            sum_lanes(x, i + c, shift + t->channel + c, rows, t->channels, (int)(t->n_channels - c), bf16, sum + c, square + c);
    }
}

AC_SIMD void cpu_norm_sums(const norm_tile *tile, const void *x, const float *shift, double *sum, double *square)
{
    if (tile->bf16)
        sum_tile(tile, x, shift, true, sum, square);
    else
        sum_tile(tile, x, shift, false, sum, square);
}

/* Centred first: x k + b' would cancel where |mean| >> deviation. */
AC_INLINE float affine_at(const norm_affine *a, int64_t i, int64_t c, bool bf16)
{
    return (cpu_load(a->x, i, bf16) - a->mean[c]) * a->k[c] + a->b[c];
}

AC_INLINE void apply_tile(const norm_tile *t, const norm_affine *affine, void *y, bool with_residual, bool bf16)
{
    const norm_affine a = *affine; /* its pointers then stay in registers */
    for (int64_t r = t->row; r < t->row + t->n_rows; r++) {
        int64_t i = r * t->channels;
#pragma omp simd
        for (int64_t c = t->channel; c < t->channel + t->n_channels; c++) {
            float v = affine_at(&a, i + c, c, bf16);
            if (with_residual)
                v += cpu_load(a.residual, i + c, bf16);
            cpu_store(y, i + c, v > 0 ? v : a.slope * v, bf16);
        }
    }
}

AC_SIMD void cpu_norm_apply(const norm_tile *tile, const norm_affine *affine, void *y)
{
    switch (2 * tile->bf16 + (affine->residual != NULL)) {
    case 0: apply_tile(tile, affine, y, false, false); break;
    case 1: apply_tile(tile, affine, y, true, false); break;
    case 2: apply_tile(tile, affine, y, false, true); break;
    default: apply_tile(tile, affine, y, true, true); break;
    }
}

/* g of element i, channel c. */
AC_INLINE float gradient_at(const norm_gradient *d, int64_t i, int64_t c, int n_parts, enum norm_mask mask, bool bf16)
{
    float g = cpu_load(d->part[0], i, bf16);
    if (n_parts > 1)
        g += cpu_load(d->part[1], i, bf16);
    if (n_parts > 2)
        g += cpu_load(d->part[2], i, bf16);
    if (mask == NORM_MASK_FROM_X)
        g = affine_at(&d->affine, i, c, bf16) > 0 ? g : d->affine.slope * g;
    if (mask == NORM_MASK_FROM_Y)
        g = cpu_load(d->y, i, bf16) > 0 ? g : d->affine.slope * g;
    return g;
}

/* `rows` rows of n <= LANES channels from element i, channel c0 on. */
AC_INLINE void reduce_lanes(const norm_gradient *d, void *out, int64_t i, int64_t c0, int64_t rows, int64_t channels, int n, int n_parts,
                            enum norm_mask mask, bool keep, bool bf16, double *restrict sum, double *restrict sum_x)
{
    double s[LANES] = {0}, q[LANES] = {0};
    for (int64_t r = 0; r < rows; r++, i += channels)
#pragma omp simd
        for (int c = 0; c < n; c++) {
            float g = gradient_at(d, i + c, c0 + c, n_parts, mask, bf16);
            if (keep)
                cpu_store(out, i + c, g, bf16);
            s[c] += (double)g;
            q[c] += (double)(g * (cpu_load(d->affine.x, i + c, bf16) - d->affine.mean[c0 + c]));
        }
    for (int c = 0; c < n; c++) {
        sum[c] += s[c];
        sum_x[c] += q[c];
    }
}

AC_INLINE void reduce_tile(const norm_tile *t, const norm_gradient *gradient, void *g, double *sum, double *sum_x, int n_parts,
                           enum norm_mask mask, bool keep, bool bf16)
{
    const norm_gradient d = *gradient;
    for (int64_t r = 0; r < t->n_rows; r += GROUP_ROWS) {
        int64_t rows = t->n_rows - r < GROUP_ROWS ? t->n_rows - r : GROUP_ROWS, c = 0, i = (t->row + r) * t->channels + t->channel;
        for (; c + LANES <= t->n_channels; c += LANES)
            reduce_lanes(&d, g, i + c, t->channel + c, rows, t->channels, LANES, n_parts, mask, keep, bf16, sum + c, sum_x + c);
        if (c < t->n_channels)
            reduce_lanes(&d, g, i + c, t->channel + c, rows, t->channels, (int)(t->n_channels - c), n_parts, mask, keep, bf16, sum + c, sum_x + c);
    }
}

/* `loop` for the number of parts at hand. */
#define FOR_PARTS(n, loop, ...)                                                                                                          \
    switch (n) {                                                                                                                         \
    case 1: loop(1, __VA_ARGS__); break;                                                                                                 \
    case 2: loop(2, __VA_ARGS__); break;                                                                                                 \
    default: loop(3, __VA_ARGS__); break;                                                                                                \
    }

AC_INLINE void reduce_any(const norm_tile *tile, const norm_gradient *d, void *g, double *sum, double *sum_x, bool bf16)
{
#define REDUCE(n_parts, mask, keep) reduce_tile(tile, d, g, sum, sum_x, n_parts, mask, keep, bf16)
    if (d->mask == NORM_MASK_NONE && g)
        FOR_PARTS(d->n_parts, REDUCE, NORM_MASK_NONE, true)
    else if (d->mask == NORM_MASK_NONE)
        FOR_PARTS(d->n_parts, REDUCE, NORM_MASK_NONE, false)
    else if (d->mask == NORM_MASK_FROM_X)
        FOR_PARTS(d->n_parts, REDUCE, NORM_MASK_FROM_X, false)
    else if (g)
        FOR_PARTS(d->n_parts, REDUCE, NORM_MASK_FROM_Y, true)
    else
        FOR_PARTS(d->n_parts, REDUCE, NORM_MASK_FROM_Y, false)
}

AC_SIMD void cpu_norm_gradient_sums(const norm_tile *tile, const norm_gradient *gradient, void *g, double *sum, double *sum_x)
{
    if (tile->bf16)
        reduce_any(tile, gradient, g, sum, sum_x, true);
    else
        reduce_any(tile, gradient, g, sum, sum_x, false);
}

AC_INLINE void write_tile(const norm_tile *t, const norm_gradient *gradient, const norm_coefficients *f, void *dx, int n_parts,
                          enum norm_mask mask, bool bf16)
{
    const norm_gradient d = *gradient;
    const float *k = f->k, *p = f->p, *q = f->q;
    for (int64_t r = t->row; r < t->row + t->n_rows; r++) {
        int64_t i = r * t->channels;
#pragma omp simd
        for (int64_t c = t->channel; c < t->channel + t->n_channels; c++) {
            float g = gradient_at(&d, i + c, c, n_parts, mask, bf16);
            cpu_store(dx, i + c, k[c] * g + p[c] * (cpu_load(d.affine.x, i + c, bf16) - d.affine.mean[c]) + q[c], bf16);
        }
    }
}

AC_INLINE void write_any(const norm_tile *tile, const norm_gradient *d, const norm_coefficients *f, void *dx, bool bf16)
{
#define WRITE(n_parts, mask) write_tile(tile, d, f, dx, n_parts, mask, bf16)
    if (d->mask == NORM_MASK_NONE)
        FOR_PARTS(d->n_parts, WRITE, NORM_MASK_NONE)
    else if (d->mask == NORM_MASK_FROM_X)
        FOR_PARTS(d->n_parts, WRITE, NORM_MASK_FROM_X)
    else
        FOR_PARTS(d->n_parts, WRITE, NORM_MASK_FROM_Y)
}

AC_SIMD void cpu_norm_gradient_apply(const norm_tile *tile, const norm_gradient *gradient, const norm_coefficients *f, void *dx)
{
    if (tile->bf16)
        write_any(tile, gradient, f, dx, true);
    else
        write_any(tile, gradient, f, dx, false);
}
