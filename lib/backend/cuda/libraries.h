/* What libraries.c, gemm.c and conv.c share: handles, and the products and convolutions made so far. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_LIBRARIES_H
#define ANYCLASS_LIB_BACKEND_CUDA_LIBRARIES_H

#include "backend/cuda/cache.h"
#include "backend/cuda/cuda.h"
#include <cublasLt.h>
#include <cudnn.h>

struct cuda_libraries {
    cublasLtHandle_t blas;
    cudnnHandle_t dnn;
    int n_candidates;     /* to be timed; 1: the library's own first choice */
    cuda_cache *cache;    /* of choices; NULL: none */
    cuda_gemm *gemm;      /* lists */
    cuda_conv *conv;
    cudaEvent_t begin, end;
};

AC_NODISCARD ac_status cuda_blas_check(cublasStatus_t result, const char *what);
AC_NODISCARD ac_status cuda_dnn_check(cudnnStatus_t result, const char *what);
void cuda_gemm_destroy_all(cuda_libraries *libraries);
void cuda_conv_destroy_all(cuda_libraries *libraries);

/** Milliseconds of one call of `run`, the least of three behind one to warm up. */
AC_NODISCARD ac_status cuda_time(cuda_device *device, ac_status (*run)(void *context), void *context, float *out_ms);

#endif
