/* Loops of layer_norm over rows of channels, float or bf16. */
#ifndef ANYCLASS_LIB_CPU_LAYER_NORM_ROWS_H
#define ANYCLASS_LIB_CPU_LAYER_NORM_ROWS_H

#include "anyclass/backend.h"

typedef struct layer_norm_rows {
    int64_t channels;
    bool bf16;
    const void *x;
    const float *weight, *bias;
    float *mean, *scale; /* of each row; forward writes them unless NULL */
    float eps;
    void *y;             /* may be the memory of x */
} layer_norm_rows;

typedef struct layer_norm_gradient {
    layer_norm_rows rows;
    const void *part[AC_MAX_DOUT]; /* the gradient is their sum */
    int n_parts;
    void *dx;                      /* may be the memory of a part; NULL: not wanted */
    bool add;                      /* to what dx holds */
} layer_norm_gradient;

/** Floats of scratch that backward wants. */
int64_t cpu_layer_norm_scratch(int64_t channels);

/** `n` rows from row `first` on. */
void cpu_layer_norm_forward(const layer_norm_rows *rows, int64_t first, int64_t n);
/** The same y once more, bit for bit, from mean and scale. */
void cpu_layer_norm_again(const layer_norm_rows *rows, int64_t first, int64_t n);
/** dx, and sums [2, channels] of the gradients of weight and bias over these rows. */
void cpu_layer_norm_backward(const layer_norm_gradient *gradient, int64_t first, int64_t n, double *sum, float *scratch);

#endif
