/* Vector loops of conv_depthwise.c, a row of an image at a time. Tables of weights and sums are [taps, slots]: 16 slots are the 16
 * channels of a block; where 16 does not divide the channels the last block is the last 16 channels, so that some have two slots. */
#ifndef ANYCLASS_LIB_CPU_DEPTHWISE_ROWS_H
#define ANYCLASS_LIB_CPU_DEPTHWISE_ROWS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct depthwise_pass { /* what is constant for a pass: in [N, in_h, in_w, channels] -> out [N, out_h, out_w, channels] */
    const void *in;
    void *out;
    int64_t in_h, in_w, out_h, out_w, channels, slots;
    int kernel, stride, padding;
    bool bf16;
    const float *weight, *shift; /* [kernel kernel, slots]; [slots], added, NULL: zero */
    bool finish;                 /* the rest counts: */
    bool add;                    /* what out holds is added */
    bool gelu;                   /* activation; else */
    float slope;                 /* negative results are multiplied with it */
} depthwise_pass;

/** Row `row` of all N out_h rows of out, slots [first, end): each pixel the sum of the taps it sees. */
void cpu_depthwise_row(const depthwise_pass *pass, int64_t row, int64_t first, int64_t end);
/** The adjoint with stride, padding and weights of the forward pass, in: gradient of the output, out: of the input. */
void cpu_depthwise_gradient_row(const depthwise_pass *pass, int64_t row, int64_t first, int64_t end);
/** What row `row` of dy [N, out_h, out_w, channels] adds to the gradient of the weights: to sum [kernel kernel, slots], and of the bias, to
 * sum's next row. pass->in is the convolution's input. */
void cpu_depthwise_weights_row(const depthwise_pass *pass, const void *dy, int64_t row, int64_t first, int64_t end, float *sum);

#endif
