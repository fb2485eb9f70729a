/* Handles of cuBLASLt and cuDNN, their errors in words, and the clock that choices are made by. */
#include "backend/cuda/libraries.h"
#include "anyclass/alloc.h"
#include <stdio.h>
#include <stdlib.h>

ac_status cuda_blas_check(cublasStatus_t result, const char *what)
{
    if (result == CUBLAS_STATUS_SUCCESS)
        return AC_OK;
    if (result == CUBLAS_STATUS_ALLOC_FAILED)
        return ac_error(AC_ERR_MEMORY, "cuBLASLt: %s: out of memory", what);
    bool lacks = result == CUBLAS_STATUS_NOT_SUPPORTED || result == CUBLAS_STATUS_ARCH_MISMATCH || result == CUBLAS_STATUS_INVALID_VALUE;
    return ac_error(lacks ? AC_ERR_UNSUPPORTED : AC_ERR_NUMERIC, "cuBLASLt: %s: %s", what, cublasLtGetStatusString(result));
}

ac_status cuda_dnn_check(cudnnStatus_t result, const char *what)
{
    if (result == CUDNN_STATUS_SUCCESS)
        return AC_OK;
    bool failed = result == CUDNN_STATUS_EXECUTION_FAILED || result == CUDNN_STATUS_INTERNAL_ERROR;
    return ac_error(failed ? AC_ERR_NUMERIC : AC_ERR_UNSUPPORTED, "cuDNN: %s: %s", what, cudnnGetErrorString(result));
}

ac_status cuda_libraries_open(cuda_device *device)
{
    ac_status status = AC_OK;
    cuda_libraries *l = NULL;
    const char *candidates = getenv("ANYCLASS_CUDA_TUNE");
    AC_TRY(ac_calloc(1, sizeof *l, &l));
    device->libraries = l;
    l->n_candidates = candidates && atoi(candidates) > 1 ? atoi(candidates) : 1;
    AC_TRY(cuda_blas_check(cublasLtCreate(&l->blas), "start"));
    AC_TRY(cuda_dnn_check(cudnnCreate(&l->dnn), "start"));
    AC_TRY(cuda_dnn_check(cudnnSetStream(l->dnn, device->stream), "stream"));
    AC_TRY(cuda_check(cudaEventCreate(&l->begin), "event"));
    AC_TRY(cuda_check(cudaEventCreate(&l->end), "event"));
out:
    return status;
}

void cuda_libraries_close(cuda_device *device)
{
    cuda_libraries *l = device->libraries;
    if (!l)
        return;
    cuda_gemm_destroy_all(l);
    cuda_conv_destroy_all(l);
    if (l->begin)
        cudaEventDestroy(l->begin);
    if (l->end)
        cudaEventDestroy(l->end);
    if (l->dnn)
        cudnnDestroy(l->dnn);
    if (l->blas)
        cublasLtDestroy(l->blas);
    ac_free(l);
    device->libraries = NULL;
}

void cuda_libraries_describe(const cuda_device *device, char *out, size_t capacity)
{
    (void)device;
    size_t dnn = cudnnGetVersion(), blas = cublasLtGetVersion();
    snprintf(out, capacity, "cuDNN %zu.%zu.%zu, cuBLASLt %zu.%zu.%zu", dnn / 10000, dnn / 100 % 100, dnn % 100, blas / 10000, blas / 100 % 100, blas % 100);
}

ac_status cuda_time(cuda_device *device, ac_status (*run)(void *context), void *context, float *out_ms)
{
    ac_status status = AC_OK;
    float ms;
    *out_ms = 0;
    for (int k = 0; k < 4; k++) {
        AC_TRY(cuda_check(cudaEventRecord(device->libraries->begin, device->stream), "event"));
        AC_TRY(run(context));
        AC_TRY(cuda_check(cudaEventRecord(device->libraries->end, device->stream), "event"));
        AC_TRY(cuda_check(cudaEventSynchronize(device->libraries->end), "event"));
        AC_TRY(cuda_check(cudaEventElapsedTime(&ms, device->libraries->begin, device->libraries->end), "event"));
        if (k == 1 || (k > 1 && ms < *out_ms))
            *out_ms = ms;
    }
out:
    return status;
}
