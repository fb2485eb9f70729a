/* GELU over floats in memory, and as the end of a matrix product. Own AVX-512 code where the processor has it, with products and sums fused; the
 * formulas of activation_formula.h elsewhere. The same value gives the same bits in all of these on one machine. */
#ifndef ANYCLASS_LIB_CPU_GELU_H
#define ANYCLASS_LIB_CPU_GELU_H

#include "backend/cpu/gemm.h"
#include "backend/cpu/norm_rows.h"

/** value[i] = gelu(value[i]). */
void cpu_gelu(float *value, int64_t n);
/** g[i] *= slope of GELU at value[i]. */
void cpu_gelu_slope(const float *value, float *g, int64_t n);
/** The same of n elements of an array of float or bf16, from element `first` on. */
void cpu_gelu_copy(const void *from, int64_t first, int64_t n, bool bf16, void *to);
void cpu_gelu_slope_of(const void *from, int64_t first, int64_t n, bool bf16, float *g);
/** y = GELU of what a norm makes (norm_affine, its residual and slope aside) of n channels of a row, from element i, channel c on. */
void cpu_gelu_norm(const norm_affine *affine, int64_t i, int64_t c, int64_t n, bool bf16, void *y);
/** g[k] *= slope of GELU at what the norm makes of element i + k. */
void cpu_gelu_norm_slope(const norm_affine *affine, int64_t i, int64_t c, int64_t n, bool bf16, float *g);
/** cpu_gemm_finish() of a product that ends in GELU without anything behind it. False: not done, the processor has no code of its own. */
bool cpu_gelu_finish(const cpu_gemm *gemm, const float *sums, int64_t ld, int64_t i0, int64_t rows, int64_t j0, int64_t columns);

#endif
