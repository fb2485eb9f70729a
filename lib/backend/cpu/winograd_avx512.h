/* The transforms of Winograd's minimal filtering (Lavin and Gray, 2016), 16 channels at a time: F(2x2, 3x3) and F(4x4, 3x3).
 * A tile of 4 x 4 (6 x 6) pixels gives 2 x 2 (4 x 4) outputs; in between each of its 16 (36) positions is a matrix product
 * over channels. `out` is 2 or 4. */
#ifndef ANYCLASS_LIB_CPU_WINOGRAD_AVX512_H
#define ANYCLASS_LIB_CPU_WINOGRAD_AVX512_H

#include "backend/cpu/tile_avx512.h"

enum { WINOGRAD_OUT = 4, WINOGRAD_IN = 6, WINOGRAD_POSITIONS = WINOGRAD_IN * WINOGRAD_IN, WINOGRAD_LANES = 16 };

/* A square of pixels of which only those inside the image exist: rows y0 .. y1 and columns x0 .. x1 of the square. */
typedef struct cpu_square {
    int y0, y1, x0, x1;
    int64_t row_stride, pixel_stride; /* in floats */
    int n_channels;                   /* of the 16; the others count as zero and are not written */
    int64_t ahead;                    /* from here to a square that is read soon, in floats: asked for meanwhile */
} cpu_square;

/** Image to the positions: to[p * stride], 16 floats each. `image` is where the square's first pixel would lie. */
void cpu_winograd_input(int out, const float *image, const cpu_square *s, float *to, int64_t stride);
/* What becomes of a sum before it is stored. */
typedef struct cpu_finish {
    const float *shift; /* per channel, added; NULL: zero */
    bool add;           /* what the image holds is added */
    float slope;        /* negative results are multiplied with it; 1: no activation */
} cpu_finish;

/** The positions to at most out x out outputs; `finish->shift` begins at the first of the 16 channels. */
void cpu_winograd_output(int out, const float *from, int64_t stride, const cpu_finish *finish, const cpu_square *s, float *image);
/** The adjoint of cpu_winograd_output() with out = 4: the outputs' gradient to the 36 positions. */
void cpu_winograd_gradient(const float *image, const cpu_square *s, float *to, int64_t stride);
/** 3 x 3 weights, tap t at w[t * tap_stride], to the positions. */
void cpu_winograd_weights(int out, const float *w, int64_t tap_stride, int n_channels, float *to, int64_t stride);
/** The adjoint of cpu_winograd_weights() with out = 4: gradient of the 36 positions to that of the weights, written or added. */
void cpu_winograd_weights_gradient(const float *from, int64_t stride, int n_channels, bool add, float *w, int64_t tap_stride);

#endif
