/* Inside of the CUDA backend, for its C and its .cu files: the device, and thin wrappers around the runtime, cuBLASLt and
 * cuDNN that turn their errors into a status with text. Kernels and what they need are in kernel.cuh. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_H
#define ANYCLASS_LIB_BACKEND_CUDA_H

#ifdef __cplusplus /* C headers with C++'s word for alignment, their system headers outside of extern "C" */
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#define _Alignas alignas
extern "C" {
#endif
#include "anyclass/augment_formula.h"
#include "anyclass/backend.h"
#include "anyclass/bf16.h"
#include "anyclass/f16.h"
#include "anyclass/loss_formula.h"
#include "anyclass/ops.h"
#include "anyclass/optimizer.h"
#include "anyclass/optimizer_formula.h"

#ifdef AC_CUDA_EMULATED
#include "tests/cuda_host/runtime.h"
#else
#include <cuda_runtime_api.h>
#endif

typedef struct cuda_gemm cuda_gemm;
typedef struct cuda_conv cuda_conv;
typedef struct cuda_inbox cuda_inbox;
typedef struct cuda_group cuda_group;
typedef struct cuda_libraries cuda_libraries; /* handles of cuBLASLt and cuDNN, what was chosen for which shape */

typedef struct cuda_device {
    ac_device base;
    int index;                 /* of the GPU */
    int n_multiprocessors;
    int major, minor;          /* compute capability */
    char name[256];
    size_t total_bytes;
    bool tf32;                 /* float products may round their operands to tf32 */
    cudaStream_t stream;       /* everything runs on it */
    cuda_libraries *libraries;
    void *scratch;             /* device: CUDA_SCRATCH_BYTES for reductions and cuBLASLt */
    cuda_inbox *inbox;         /* what is on its way from the host: queue.c */
    cudaStream_t side, back;   /* beside the first: gradients on their way to other ranks, sums on their way back */
    cudaEvent_t mark[AC_QUEUE_MARKS], fork, join, back_join;
    bool recording, forked;    /* `side` is part of the recording */
    char identity[AC_DEVICE_ID_BYTES];
    cuda_group *group;         /* of ranks' GPUs; NULL: none */
} cuda_device;

enum { CUDA_SCRATCH_BYTES = 64 << 20, CUDA_N_PARTIALS = 1024, CUDA_ALIGN = 256 };

static inline cuda_device *cuda_of(ac_device *device)
{
    return (cuda_device *)device;
}

/* One of the types of 16 bits (ac_dtype)? */
static inline bool cuda_is_half(int dtype)
{
    return dtype == AC_BF16 || dtype == AC_F16;
}

static inline size_t cuda_aligned(size_t n_bytes)
{
    return (n_bytes + CUDA_ALIGN - 1) / CUDA_ALIGN * CUDA_ALIGN;
}

/** AC_OK, or the runtime's words behind `what`: AC_ERR_MEMORY or AC_ERR_UNSUPPORTED (no device, wrong driver); everything else is
 * AC_ERR_NUMERIC, a device that computes no more. */
AC_NODISCARD ac_status cuda_check(cudaError_t error, const char *what);
/** Result of the launch just made. */
AC_NODISCARD ac_status cuda_launched(const char *kernel);
/** Activations this backend has. */
AC_NODISCARD ac_status cuda_check_precision(const ac_device *device, ac_dtype activations);

/* ---- queue.c: the order of work, and the way from the host ---- */

/** Streams and events; released by cuda_queue_close(), which is safe after a failure. */
AC_NODISCARD ac_status cuda_queue_open(cuda_device *device);
void cuda_queue_close(cuda_device *device);
/** Host memory may change as soon as this returns; what is asked for afterwards sees it, what was asked for before does not. The copy does
 * not wait for the work before it. */
AC_NODISCARD ac_status cuda_upload(ac_device *device, void *to, const void *from_host, size_t n_bytes);
extern const ac_queue cuda_queue;
/** Wait for an event, or for all of the first stream. With a group: AC_ERR_SYNC when one of its ranks is gone. */
AC_NODISCARD ac_status cuda_wait(cuda_device *device, cudaEvent_t event);
AC_NODISCARD ac_status cuda_wait_all(cuda_device *device, const char *what);

/* ---- collective.c: sums over ranks; as in ac_queue ---- */

ac_status cuda_stage_out(ac_device *device, float *host, const float *from, size_t n, void (*arrived)(void *context), void *context);
ac_status cuda_stage_in(ac_device *device, float *to, const float *host, size_t n);
ac_status cuda_stage_join(ac_device *device);
ac_status cuda_group_library(ac_device *device, char *out, size_t capacity);
ac_status cuda_group_id(ac_device *device, unsigned char id[AC_GROUP_ID_BYTES]);
ac_status cuda_group_join(ac_device *device, const unsigned char id[AC_GROUP_ID_BYTES], int rank, int size);
ac_status cuda_group_sum(ac_device *device, float *values, size_t n);
ac_status cuda_group_sum_double(ac_device *device, double *values, size_t n);
void cuda_group_abort(ac_device *device);
/** Has something happened to it? AC_OK without one. */
AC_NODISCARD ac_status cuda_group_check(cuda_device *device);
void cuda_group_leave(ac_device *device);
/** clock.cu */
ac_status cuda_tick(ac_device *device, int64_t *clock, bool stop);

/* ---- libraries.c ---- */

AC_NODISCARD ac_status cuda_libraries_open(cuda_device *device);
void cuda_libraries_close(cuda_device *device);
/** "cuDNN 9.19.0, cuBLASLt 13.0": versions at run time. */
void cuda_libraries_describe(const cuda_device *device, char *out, size_t capacity);

/* ---- gemm.c: cuBLASLt. Row-major d [m, n] = op(a) [m, k] op(b) [k, n] (+ bias [n]) + beta d ---- */

typedef enum cuda_epilogue { CUDA_EPILOGUE_NONE, CUDA_EPILOGUE_BIAS } cuda_epilogue;

typedef struct cuda_gemm_spec { /* compared as bytes: zero it first */
    int64_t m, n, k;
    int64_t lda, ldb, ldd;             /* elements between rows as stored; 0: they touch */
    int64_t batch, stride_a, stride_b, stride_d; /* batch 0 or 1: one product */
    int transpose_a, transpose_b;      /* stored [k, m], stored [n, k] */
    int ab, d;                         /* ac_dtype of a and b, of d (that type or AC_F32) and of the bias, which has d's */
    int epilogue;                      /* cuda_epilogue */
    int reserved;                      /* no padding */
} cuda_gemm_spec;

/** The product for these shapes; owned by the device, the same one for the same shapes. AC_ERR_UNSUPPORTED when the library has
 * none (with an epilogue: ask again without). */
AC_NODISCARD ac_status cuda_gemm_find(cuda_device *device, const cuda_gemm_spec *spec, cuda_gemm **out);
/** d = op(a) op(b) (+ bias) + beta c; c has d's layout and may be d. */
AC_NODISCARD ac_status cuda_gemm_run(cuda_device *device, const cuda_gemm *gemm, const void *a, const void *b, const void *c, void *d, const void *bias, float beta);

/* ---- conv.c: cuDNN. x [n, h, w, c], weight [o, kernel, kernel, c / groups], y [n, oh, ow, o] ---- */

typedef enum cuda_conv_pass { CUDA_CONV_FORWARD, CUDA_CONV_DX, CUDA_CONV_DW } cuda_conv_pass;

typedef struct cuda_conv_spec { /* compared as bytes: zero it first */
    int64_t n, h, w, c, o, oh, ow;
    int kernel, stride, padding, groups;
    int pass;     /* cuda_conv_pass: y = x * weight; dx from y and weight; dweight from x and y */
    int type, result; /* ac_dtype of what is read, and of what is written */
    int reserved; /* no padding */
} cuda_conv_spec;

/** The fastest deterministic way, tried out on the device; owned by the device. AC_ERR_UNSUPPORTED when there is none. */
AC_NODISCARD ac_status cuda_conv_find(cuda_device *device, const cuda_conv_spec *spec, cuda_conv **out);
size_t cuda_conv_workspace_bytes(const cuda_conv *conv);
/** The result of the pass is written, the other two are read. */
AC_NODISCARD ac_status cuda_conv_run(cuda_device *device, const cuda_conv *conv, const void *x, const void *weight, const void *y, void *workspace);

/* ---- arena.cu and rows.cu: passes that several operators use ---- */

AC_NODISCARD ac_status cuda_mirror(ac_device *device, ac_dtype type, void *to, const float *from, size_t n);
AC_NODISCARD ac_status cuda_add(ac_device *device, ac_dtype dtype, void *to, const void *from, size_t n);
AC_NODISCARD ac_status cuda_add_loss(ac_device *device, ac_step_state *state, const double *loss, bool first);
AC_NODISCARD ac_status cuda_optimizer_step(ac_device *device, const ac_optimizer_update *update);
/** to[i] = from[i], each of its type; one of them is AC_F32. */
AC_NODISCARD ac_status cuda_convert(cuda_device *device, ac_dtype to_type, void *to, ac_dtype from_type, const void *from, size_t n);
/** to[i] = from[i] rounded to `dtype`: a MATRIX parameter as mixed precision reads it, in float. */
AC_NODISCARD ac_status cuda_round(cuda_device *device, ac_dtype dtype, float *to, const float *from, size_t n);
/** to[i] = from[i] (+ to[i]), from of type `dtype`. */
AC_NODISCARD ac_status cuda_put_gradient(cuda_device *device, float *to, ac_dtype dtype, const void *from, size_t n, bool accumulate);
/** y = from + bias (NULL: none) + residual (of y's type, NULL: none), rounded once. */
AC_NODISCARD ac_status cuda_add_bias_to(cuda_device *device, ac_dtype dtype, void *y, const float *from, const float *bias, const void *residual, int64_t rows,
                                        int64_t channels);
/** y [rows, channels] += bias [channels], in place. */
AC_NODISCARD ac_status cuda_add_bias(cuda_device *device, ac_dtype dtype, void *y, const float *bias, int64_t rows, int64_t channels);
/** out [channels] = sums of the columns of values [rows, channels] (+ out), in a fixed order. Uses the device's scratch. */
AC_NODISCARD ac_status cuda_column_sums(cuda_device *device, ac_dtype dtype, const void *values, int64_t rows, int64_t channels, float *out, bool accumulate);
/** out [columns] = sums over tiles of partial [n_tiles, stride], in a fixed order (+ out). */
AC_NODISCARD ac_status cuda_tile_totals(cuda_device *device, const double *partial, int n_tiles, int64_t stride, int64_t columns, float *out, bool accumulate);
/** One tensor out of gradient parts: part 0 itself, or their sum in `to`. *out is what to read. */
AC_NODISCARD ac_status cuda_sum_parts(cuda_device *device, ac_dtype dtype, const void *const *part, int n_parts, void *to, size_t n, const void **out);

static inline const ac_shape *cuda_in(const ac_call *call, int i)
{
    return ac_graph_shape(call->graph, call->node->input[i]);
}

static inline const ac_shape *cuda_out(const ac_call *call)
{
    return ac_graph_shape(call->graph, call->node->output[0]);
}

#define CUDA_TRY(call)                                                                                                \
    do {                                                                                                              \
        ac_status status_ = (call);                                                                                   \
        if (status_ != AC_OK)                                                                                         \
            return status_;                                                                                           \
    } while (0)

extern const ac_backend ac_backend_cuda;
extern const ac_kernel ac_cuda_image_input, ac_cuda_conv2d, ac_cuda_batch_norm, ac_cuda_max_pool, ac_cuda_global_avg_pool, ac_cuda_linear,
    ac_cuda_layer_norm, ac_cuda_attention, ac_cuda_add, ac_cuda_dropout, ac_cuda_tokens, ac_cuda_first_token, ac_cuda_squeeze_excite, ac_cuda_blur_pool,
    ac_cuda_avg_pool, ac_cuda_space_to_depth, ac_cuda_any_class_loss;

#ifdef __cplusplus
}
#endif
#endif
