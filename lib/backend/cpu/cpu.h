/* The CPU backend's rows and what they share. */
#ifndef ANYCLASS_LIB_CPU_H
#define ANYCLASS_LIB_CPU_H

#include "anyclass/ops.h"
#include "backend/backends.h"
#include "nn/simd.h"
#include <dnnl.h>

extern const ac_kernel ac_cpu_image_input, ac_cpu_conv2d, ac_cpu_batch_norm, ac_cpu_max_pool, ac_cpu_global_avg_pool, ac_cpu_linear,
    ac_cpu_any_class_loss;

enum { CPU_N_PARTIALS = 1024 };

typedef struct cpu_device {
    ac_device base;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int n_threads;
    double partial[CPU_N_PARTIALS]; /* of sum_squares */
} cpu_device;

/** AC_ERR_UNSUPPORTED for "unimplemented", AC_ERR_MEMORY, else AC_ERR_NUMERIC; AC_OK for success. */
AC_NODISCARD ac_status cpu_check(dnnl_status_t result, const char *what);

#endif
