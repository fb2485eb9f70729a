/* Convolutions by own AVX-512 code: float, one group, channels last, weights [O, kernel, kernel, C]. Which code serves
 * a shape is a rule on the shape alone (conv_avx512.c), so that ranks agree and runs repeat; no result depends on the
 * number of threads. */
#ifndef ANYCLASS_LIB_CPU_CONV_AVX512_H
#define ANYCLASS_LIB_CPU_CONV_AVX512_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/winograd_avx512.h"

typedef struct cpu_conv {
    int64_t n, h, w, c, oh, ow, o; /* input [n, h, w, c], output [n, oh, ow, o] */
    int kernel_px, stride_px, padding_px;
    bool bias;
    int n_threads;
    const cpu_device *cpu;
} cpu_conv;

/** Whether the node is served here: its type and groups, the processor, and ANYCLASS_CONV=onednn not set. If so, `out`
 * is filled. */
bool cpu_conv_describe(const cpu_device *cpu, const ac_graph *graph, const ac_node *node, cpu_conv *out);
/** Most that forward and backward of a training step need. */
size_t cpu_conv_workspace_bytes(const cpu_conv *c);
void cpu_conv_forward(const cpu_conv *c, const ac_call *call);
void cpu_conv_backward(const cpu_conv *c, const ac_call *call);

/** Whether this code also serves inference, where it takes the norm behind it (NULL: none): 3x3 by Winograd's method but for GELU, 1x1 as a
 * product (gemm.h). oneDNN does as well elsewhere. */
bool cpu_conv_infers(const cpu_conv *c, const ac_node *norm);
/** Fills in workspace_bytes and prepared_bytes. */
void cpu_conv_plan_inference(const cpu_conv *c, ac_kernel_plan *out);
void cpu_conv_prepare(const cpu_conv *c, const ac_call *call);
void cpu_conv_infer(const cpu_conv *c, const ac_call *call);

/* As one matrix product whose left side is gathered from the image while it is used (conv_gemm.c): any kernel, stride
 * and padding. The three passes need at most the bytes of cpu_gemm_bytes(). */
size_t cpu_gemm_bytes(const cpu_conv *c);
void cpu_gemm_forward(const cpu_conv *c, const float *x, const float *weight, const float *bias, float *y, void *workspace);
void cpu_gemm_backward_data(const cpu_conv *c, const float *dy, const float *weight, float *dx, void *workspace);
void cpu_gemm_backward_weights(const cpu_conv *c, const float *x, const float *dy, bool add, float *dweight, void *workspace);

/* 3x3 with stride 1 and padding 0 to 2 by Winograd's method (conv_winograd.c), likewise. */
size_t cpu_winograd_bytes(const cpu_conv *c);
void cpu_winograd_forward(const cpu_conv *c, const float *x, const float *weight, const float *bias, float *y, void *workspace);
void cpu_winograd_backward_data(const cpu_conv *c, const float *dy, const float *weight, float *dx, void *workspace);
void cpu_winograd_backward_weights(const cpu_conv *c, const float *x, const float *dy, bool add, float *dweight, void *workspace);

/* Inference: the transformed weights are kept, `finish` is applied to each output. */
size_t cpu_winograd_prepared_bytes(const cpu_conv *c);
size_t cpu_winograd_infer_bytes(const cpu_conv *c);
void cpu_winograd_prepare(const cpu_conv *c, const float *weight, void *prepared);
void cpu_winograd_infer(const cpu_conv *c, const float *x, const void *prepared, const cpu_finish *finish, float *y, void *workspace);

static inline int64_t cpu_divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline int64_t cpu_round_up(int64_t a, int64_t b)
{
    return cpu_divide_up(a, b) * b;
}

static inline int64_t cpu_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
