/* Convolutions in bf16 by own code: those of one pixel, as products (gemm.h), in training and inference, where the norm behind them is taken. Which
 * these are is a rule on the shape alone, so that ranks agree and runs repeat; no result depends on the number of threads. */
#ifndef ANYCLASS_LIB_CPU_CONV_BF16_H
#define ANYCLASS_LIB_CPU_CONV_BF16_H

#include "backend/cpu/conv_avx512.h"
#include "backend/cpu/gemm.h"

/** Whether the node is served here: bf16, one group, 1x1 with stride 1 and no padding, a processor that cpu_bf16_choose() has a kernel for, and
 * ANYCLASS_CONV=onednn not set. If so, `out` is filled. */
bool cpu_conv_bf16_describe(const cpu_device *cpu, const ac_graph *graph, const ac_node *node, cpu_conv *out);
/** Fills in workspace_bytes and, for inference, prepared_bytes. */
void cpu_conv_bf16_plan(const cpu_device *cpu, const cpu_conv *c, bool training, ac_kernel_plan *out);
/** Weights packed; with a norm, its scale and shift behind them. */
void cpu_conv_bf16_prepare(const cpu_conv *c, const ac_call *call);
void cpu_conv_bf16_forward(const cpu_conv *c, const ac_call *call);
void cpu_conv_bf16_backward(const cpu_conv *c, const ac_call *call);

#endif
