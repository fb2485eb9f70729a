/* Convolutions of each channel by itself, channels last, float or bf16, any square kernel; 3x3 with stride 1 and 2 is what it is
 * fast for. No result depends on the number of threads or, of an image, on the batch. */
#ifndef ANYCLASS_LIB_CPU_CONV_DEPTHWISE_H
#define ANYCLASS_LIB_CPU_CONV_DEPTHWISE_H

#include "backend/cpu/cpu.h"

typedef struct cpu_depthwise {
    int64_t n, h, w, c, oh, ow; /* input [n, h, w, c], output [n, oh, ow, c] */
    int kernel_px, stride_px, padding_px;
    bool bias, bf16;
    int64_t slots, chunk; /* channels in whole vectors; how many are done at a time */
    const struct depthwise_rows *rows; /* the loops */
    int64_t band, n_bands; /* rows of an image whose gradients of weights are summed together */
} cpu_depthwise;

/** Whether the node is served here: as many groups as channels in and out, more than one, and ANYCLASS_CONV=onednn not set. If so,
 * `out` is filled. */
bool cpu_depthwise_describe(const ac_graph *graph, const ac_node *node, cpu_depthwise *out);
/** Fills in workspace_bytes and prepared_bytes. */
void cpu_depthwise_plan(const cpu_depthwise *d, bool training, ac_kernel_plan *out);
/** Inference: weights as forward reads them, with the norm's scale if one is to be applied. */
void cpu_depthwise_prepare(const cpu_depthwise *d, const ac_call *call);
void cpu_depthwise_forward(const cpu_depthwise *d, const ac_call *call);
void cpu_depthwise_backward(const cpu_depthwise *d, const ac_call *call);

#endif
