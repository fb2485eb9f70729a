/* Handles of cuBLASLt and cuDNN, their errors in words, and the clock that choices are made by. */
#include "backend/cuda/libraries.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include <stdio.h>
#include <stdlib.h>

enum { CUDA_KEPT_CANDIDATES = 4 }; /* where choices are kept, so that they are timed once */

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

/* How many candidates are timed, and where choices are kept. Who asks for one wants the library's own. */
static ac_status open_cache(cuda_device *device)
{
    ac_status status = AC_OK;
    cuda_libraries *l = device->libraries;
    const char *asked = getenv("ANYCLASS_CUDA_TUNE");
    char folder[AC_PATH_BYTES], identity[384];
    l->n_candidates = asked && atoi(asked) > 1 ? atoi(asked) : 1;
    if ((asked && *asked && l->n_candidates == 1) || !cuda_cache_folder(folder))
        return AC_OK;
    snprintf(identity, sizeof identity, "%s %d.%d cuDNN %zu cuBLASLt %zu", device->name, device->major, device->minor, cudnnGetVersion(), cublasLtGetVersion());
    AC_TRY(cuda_cache_open(folder, identity, &l->cache));
    if (!(asked && *asked) && cuda_cache_keeps(l->cache))
        l->n_candidates = CUDA_KEPT_CANDIDATES;
out:
    return status;
}

ac_status cuda_libraries_open(cuda_device *device)
{
    ac_status status = AC_OK;
    cuda_libraries *l = NULL;
    AC_TRY(ac_calloc(1, sizeof *l, &l));
    device->libraries = l;
    AC_TRY(open_cache(device));
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
    cuda_cache_close(l->cache);
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
    if (status != AC_OK)
        cudaGetLastError(); /* the candidate's, not the next launch's */
    return status;
}
