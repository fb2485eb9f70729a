/* Vector loops of batch_norm over rows of channels, float or bf16. A tile is a range of rows by a range of channels. */
#ifndef ANYCLASS_LIB_CPU_NORM_ROWS_H
#define ANYCLASS_LIB_CPU_NORM_ROWS_H

#include "anyclass/backend.h"

typedef struct norm_tile {
    int64_t row, n_rows;
    int64_t channel, n_channels; /* of `channels` of a row */
    int64_t channels;
    bool bf16;
} norm_tile;

/** Sums of x - shift and of its square per channel of the tile, added to sum[n_channels] and square[n_channels]; shift
 * [channels]. In float over a few rows, in double beyond. */
void cpu_norm_sums(const norm_tile *tile, const void *x, const float *shift, double *sum, double *square);

typedef struct norm_affine { /* v = (x - mean) k + b [+ residual], y = v > 0 ? v : slope v; mean, k, b [channels] */
    const void *x, *residual; /* NULL: none */
    const float *mean, *k, *b;
    float slope;
} norm_affine;

/** y may be the memory of x. */
void cpu_norm_apply(const norm_tile *tile, const norm_affine *affine, void *y);

/* where the activation's side is read from; GELU's slope from x */
enum norm_mask { NORM_MASK_NONE, NORM_MASK_FROM_X, NORM_MASK_FROM_Y, NORM_MASK_GELU };

typedef struct norm_gradient { /* g: sum of the parts, times slope where the activation's input was not above 0 */
    const void *part[AC_MAX_DOUT];
    int n_parts;
    enum norm_mask mask;
    const void *y;      /* NORM_MASK_FROM_Y */
    norm_affine affine; /* without residual */
} norm_gradient;

/** Sums of g and g (x - mean) per channel of the tile, added to sum and sum_x; g itself to `g` unless NULL. */
void cpu_norm_gradient_sums(const norm_tile *tile, const norm_gradient *gradient, void *g, double *sum, double *sum_x);

typedef struct norm_coefficients { /* dx = k g + p (x - mean) + q, per channel [channels] */
    const float *k, *p, *q;
} norm_coefficients;

/** dx may be the memory of a part. */
void cpu_norm_gradient_apply(const norm_tile *tile, const norm_gradient *gradient, const norm_coefficients *f, void *dx);

/* The same with GELU in the place of v > 0 ? v : slope v, without residual (norm_gelu.c). */
void cpu_norm_gelu_apply(const norm_tile *tile, const norm_affine *affine, void *y);
void cpu_norm_gelu_gradient_sums(const norm_tile *tile, const norm_gradient *gradient, double *sum, double *sum_x);
void cpu_norm_gelu_gradient_apply(const norm_tile *tile, const norm_gradient *gradient, const norm_coefficients *f, void *dx);

#endif
