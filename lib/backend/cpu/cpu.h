/* The CPU backend's rows and what they share. */
#ifndef ANYCLASS_LIB_CPU_H
#define ANYCLASS_LIB_CPU_H

#include "anyclass/bf16.h"
#include "anyclass/ops.h"
#include "backend/backends.h"
#include "backend/cpu/tile_bf16.h"
#include "nn/simd.h"
#include <dnnl.h>

extern const ac_kernel ac_cpu_image_input, ac_cpu_conv2d, ac_cpu_batch_norm, ac_cpu_max_pool, ac_cpu_avg_pool,
    ac_cpu_global_avg_pool, ac_cpu_blur_pool, ac_cpu_space_to_depth, ac_cpu_squeeze_excite, ac_cpu_linear, ac_cpu_attention,
    ac_cpu_any_class_loss;
extern const ac_kernel ac_cpu_layer_norm, ac_cpu_add, ac_cpu_dropout, ac_cpu_tokens, ac_cpu_first_token;

enum { CPU_N_PARTIALS = 1024 };

typedef struct cpu_device {
    ac_device base;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int n_threads;
    const struct gemm_tile *gemm_tile; /* inner loop of float products (gemm_tile.h) */
    cpu_bf16_kernel bf16_kernel; /* of matrix products and convolutions in bf16 */
    double partial[CPU_N_PARTIALS]; /* of sum_squares */
} cpu_device;

/* Element i of an array of float or, with `bf16`, of bf16. `bf16` is a constant wherever this is inlined. */
AC_INLINE float cpu_load(const void *values, int64_t i, bool bf16)
{
    return bf16 ? ac_float_from_bf16(((const uint16_t *)values)[i]) : ((const float *)values)[i];
}

AC_INLINE void cpu_store(void *values, int64_t i, float value, bool bf16)
{
    if (bf16)
        ((uint16_t *)values)[i] = ac_bf16_from_float(value);
    else
        ((float *)values)[i] = value;
}

/** For a kernel that takes a norm (call->norm): result * scale[c] + shift[c] is what the norm makes of it, but for residual and
 * activation. `bias` [C] of the result is taken into shift; NULL: none. */
void cpu_norm_scale_shift(const ac_call *call, const float *bias, float *scale, float *shift);
/** Row o of w [n_rows, n] times scale[o] into out. */
void cpu_scale_rows(const float *w, const float *scale, int64_t n_rows, int64_t n, float *out);
/** What negative values are multiplied with by the norm's activation; 1: it has none, or GELU. */
float cpu_norm_slope(const ac_node *norm);
/** Whether the norm's activation is GELU, which no slope stands for. */
bool cpu_norm_is_gelu(const ac_node *norm);

/** Whether kernels take activations of this type here; AC_ERR_UNSUPPORTED with the reason. */
AC_NODISCARD ac_status cpu_check_precision(const ac_device *device, ac_dtype activations);
/** The same for the type of input 0 of the node, which must be that of output 0 as well. */
AC_NODISCARD ac_status cpu_check_types(const ac_device *device, const ac_graph *graph, const ac_node *node);

/** AC_ERR_UNSUPPORTED for "unimplemented", AC_ERR_MEMORY, else AC_ERR_NUMERIC; AC_OK for success. */
AC_NODISCARD ac_status cpu_check(dnnl_status_t result, const char *what);

#endif
