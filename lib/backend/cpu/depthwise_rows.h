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

typedef struct depthwise_rows { /* the loops, as they are compiled for one kind of processor; all make the same bits */
    /** Row `row` of all N out_h rows of out, slots [first, end): each pixel the sum of the taps it sees. */
    void (*row)(const depthwise_pass *pass, int64_t row, int64_t first, int64_t end);
    /** The adjoint with stride, padding and weights of the forward pass, in: gradient of the output, out: of the input. */
    void (*gradient_row)(const depthwise_pass *pass, int64_t row, int64_t first, int64_t end);
    /** What row `row` of dy [N, out_h, out_w, channels] adds to the gradient of the weights: to sum [kernel kernel, slots], and of the bias,
     * to sum's next row. pass->in is the convolution's input. */
    void (*weights_row)(const depthwise_pass *pass, const void *dy, int64_t row, int64_t first, int64_t end, float *sum);
} depthwise_rows;

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(AC_NO_TARGET_CLONES)
#define CPU_HAS_DEPTHWISE_LEVELS 1
#else
#define CPU_HAS_DEPTHWISE_LEVELS 0
#endif

extern const depthwise_rows cpu_depthwise_avx512, cpu_depthwise_avx2, cpu_depthwise_plain;
/** What this processor can run; less where ANYCLASS_DEPTHWISE is avx2 or plain, for tests. */
const depthwise_rows *cpu_depthwise_rows(void);

#endif
