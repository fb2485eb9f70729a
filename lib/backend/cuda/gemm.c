/* Matrix products by cuBLASLt. It counts in columns, we in rows: what is handed over is d^T = op(b)^T op(a)^T. */
#include "anyclass/alloc.h"
#include "backend/cuda/libraries.h"
#include <stdio.h>
#include <stdlib.h>

enum { MOST_CANDIDATES = 16, WORKSPACE_BYTES = 32 << 20, POINTER_ALIGN = 16 };

struct cuda_gemm {
    cuda_gemm_spec spec;
    bool missing;  /* the library has none */
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algorithm;
    cuda_gemm *next;
};

static cudaDataType_t type_of(int dtype)
{
    return dtype == AC_BF16 ? CUDA_R_16BF : dtype == AC_F16 ? CUDA_R_16F : CUDA_R_32F;
}

static void destroy(cuda_gemm *g)
{
    if (!g)
        return;
    if (g->a)
        cublasLtMatrixLayoutDestroy(g->a);
    if (g->b)
        cublasLtMatrixLayoutDestroy(g->b);
    if (g->d)
        cublasLtMatrixLayoutDestroy(g->d);
    if (g->product)
        cublasLtMatmulDescDestroy(g->product);
    ac_free(g);
}

void cuda_gemm_destroy_all(cuda_libraries *libraries)
{
    while (libraries->gemm) {
        cuda_gemm *next = libraries->gemm->next;
        destroy(libraries->gemm);
        libraries->gemm = next;
    }
}

/* A matrix stored as rows of `width`, `height` of them: to the library, columns. */
static ac_status make_layout(const cuda_gemm_spec *s, int dtype, int64_t height, int64_t width, int64_t ld, int64_t stride, cublasLtMatrixLayout_t *out)
{
    ac_status status = AC_OK;
    int32_t batch = (int32_t)s->batch;
    AC_TRY(cuda_blas_check(cublasLtMatrixLayoutCreate(out, type_of(dtype), (uint64_t)width, (uint64_t)height, ld ? ld : width), "layout"));
    if (s->batch > 1) {
        AC_TRY(cuda_blas_check(cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch), "batch"));
        AC_TRY(cuda_blas_check(cublasLtMatrixLayoutSetAttribute(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride), "batch"));
    }
out:
    return status;
}

static ac_status describe(const cuda_device *device, cuda_gemm *g)
{
    ac_status status = AC_OK;
    const cuda_gemm_spec *s = &g->spec;
    cublasOperation_t of_a = s->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, of_b = s->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = s->epilogue == CUDA_EPILOGUE_BIAS ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    bool fast = device->tf32 && s->ab == AC_F32;
    AC_TRY(cuda_blas_check(cublasLtMatmulDescCreate(&g->product, fast ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F), "product"));
    AC_TRY(cuda_blas_check(cublasLtMatmulDescSetAttribute(g->product, CUBLASLT_MATMUL_DESC_TRANSA, &of_b, sizeof of_b), "product"));
    AC_TRY(cuda_blas_check(cublasLtMatmulDescSetAttribute(g->product, CUBLASLT_MATMUL_DESC_TRANSB, &of_a, sizeof of_a), "product"));
    AC_TRY(cuda_blas_check(cublasLtMatmulDescSetAttribute(g->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue), "epilogue"));
    AC_TRY(make_layout(s, s->ab, s->transpose_a ? s->k : s->m, s->transpose_a ? s->m : s->k, s->lda, s->stride_a, &g->a));
    AC_TRY(make_layout(s, s->ab, s->transpose_b ? s->n : s->k, s->transpose_b ? s->k : s->n, s->ldb, s->stride_b, &g->b));
    AC_TRY(make_layout(s, s->d, s->m, s->n, s->ldd, s->stride_d, &g->d));
out:
    return status;
}

/* Best first by the library's guess; those it lists but cannot run are left out. */
static ac_status candidates(const cuda_device *device, const cuda_gemm *g, cublasLtMatmulHeuristicResult_t *found, int *n)
{
    int n_found = 0;
    ac_status status = AC_OK;
    cublasLtMatmulPreference_t preference = NULL;
    size_t workspace = WORKSPACE_BYTES;
    uint32_t alignment = POINTER_ALIGN;
    static const cublasLtMatmulPreferenceAttributes_t aligned[] = {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                                                   CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    *n = 0;
    AC_TRY(cuda_blas_check(cublasLtMatmulPreferenceCreate(&preference), "preference"));
    AC_TRY(cuda_blas_check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace), "preference"));
    for (size_t i = 0; i < sizeof aligned / sizeof *aligned; i++)
        AC_TRY(cuda_blas_check(cublasLtMatmulPreferenceSetAttribute(preference, aligned[i], &alignment, sizeof alignment), "preference"));
    cublasStatus_t result = cublasLtMatmulAlgoGetHeuristic(device->libraries->blas, g->product, g->b, g->a, g->d, g->d, preference, MOST_CANDIDATES, found, &n_found);
    for (int i = 0; result == CUBLAS_STATUS_SUCCESS && i < n_found; i++)
        if (found[i].state == CUBLAS_STATUS_SUCCESS)
            found[(*n)++] = found[i];
out:
    if (preference)
        cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

typedef struct timing {
    cuda_device *device;
    cuda_gemm *gemm;
    void *a, *b, *d, *bias;
} timing;

static ac_status run_once(void *context)
{
    const timing *t = context;
    return cuda_gemm_run(t->device, t->gemm, t->a, t->b, t->d, t->d, t->bias, 0);
}

static size_t matrix_bytes(const cuda_gemm_spec *s, int dtype, int64_t height, int64_t width, int64_t ld, int64_t stride)
{
    int64_t n = height * (ld ? ld : width) + (s->batch > 1 ? (s->batch - 1) * stride : 0);
    return cuda_aligned((size_t)n * ac_dtype_bytes((ac_dtype)dtype));
}

/* The fastest of the first few, on memory of its own. *timed: false when there is no such memory; then it is the first. */
static ac_status choose(cuda_device *device, cuda_gemm *g, const cublasLtMatmulHeuristicResult_t *found, int n, bool *timed)
{
    ac_status status = AC_OK;
    const cuda_gemm_spec *s = &g->spec;
    unsigned char *block = NULL;
    size_t a = matrix_bytes(s, s->ab, s->transpose_a ? s->k : s->m, s->transpose_a ? s->m : s->k, s->lda, s->stride_a);
    size_t b = matrix_bytes(s, s->ab, s->transpose_b ? s->n : s->k, s->transpose_b ? s->k : s->n, s->ldb, s->stride_b);
    size_t d = matrix_bytes(s, s->d, s->m, s->n, s->ldd, s->stride_d);
    float best = 0, ms;
    g->algorithm = found[0].algo;
    if (cudaMalloc((void **)&block, a + b + d + cuda_aligned((size_t)s->n * 4)) != cudaSuccess) {
        cudaGetLastError(); /* it is ours, not the next launch's */
        return AC_OK;
    }
    *timed = true;
    AC_TRY(cuda_check(cudaMemsetAsync(block, 0x3c, a + b, device->stream), "fill"));
    timing t = {device, g, block, block + a, block + a + b, s->epilogue == CUDA_EPILOGUE_BIAS ? block + a + b + d : NULL};
    for (int k = 0, best_k = -1; k <= n; k++) {
        if (k == n) {
            g->algorithm = found[best_k < 0 ? 0 : best_k].algo;
            break;
        }
        g->algorithm = found[k].algo;
        if (cuda_time(device, run_once, &t, &ms) != AC_OK)
            continue;
        if (best_k < 0 || ms < best) {
            best_k = k;
            best = ms;
        }
    }
out:
    cudaFree(block);
    return status;
}

/* ---- choices from an earlier job ---- */

static void name_product(const cuda_device *device, const cuda_gemm_spec *s, char *key)
{
    snprintf(key, CUDA_CACHE_KEY_BYTES, "product %lld %lld %lld rows %lld %lld %lld batch %lld %lld %lld %lld turned %d%d types %d %d epilogue %d tf32 %d", (long long)s->m,
             (long long)s->n, (long long)s->k, (long long)s->lda, (long long)s->ldb, (long long)s->ldd, (long long)s->batch, (long long)s->stride_a, (long long)s->stride_b,
             (long long)s->stride_d, s->transpose_a != 0, s->transpose_b != 0, s->ab, s->d, s->epilogue, device->tf32);
}

static void format_algorithm(const cublasLtMatmulAlgo_t *algorithm, char *out)
{
    for (size_t i = 0; i < sizeof algorithm->data / sizeof *algorithm->data; i++)
        snprintf(out + 16 * i, 17, "%016llx", (unsigned long long)algorithm->data[i]);
}

/* Whether the text is an algorithm that the library takes for this product; then it is the product's. */
static bool take_algorithm(const cuda_device *device, cuda_gemm *g, const char *text)
{
    cublasLtMatmulAlgo_t algorithm;
    cublasLtMatmulHeuristicResult_t result;
    const size_t n = sizeof algorithm.data / sizeof *algorithm.data;
    if (strlen(text) != 16 * n || strspn(text, "0123456789abcdef") != 16 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char word[17] = "";
        memcpy(word, text + 16 * i, 16);
        algorithm.data[i] = strtoull(word, NULL, 16);
    }
    memset(&result, 0, sizeof result);
    if (cublasLtMatmulAlgoCheck(device->libraries->blas, g->product, g->b, g->a, g->d, g->d, &algorithm, &result) != CUBLAS_STATUS_SUCCESS ||
        result.state != CUBLAS_STATUS_SUCCESS || result.workspaceSize > WORKSPACE_BYTES)
        return false;
    g->algorithm = algorithm;
    return true;
}

/* Kept, timed, or the library's first. */
static ac_status find_algorithm(cuda_device *device, cuda_gemm *g)
{
    ac_status status = AC_OK;
    cuda_libraries *l = device->libraries;
    cublasLtMatmulHeuristicResult_t found[MOST_CANDIDATES];
    char key[CUDA_CACHE_KEY_BYTES], text[CUDA_CACHE_VALUE_BYTES];
    bool timed = false;
    int n;
    name_product(device, &g->spec, key);
    const char *kept = cuda_cache_find(l->cache, key, l->n_candidates);
    if (kept && take_algorithm(device, g, kept))
        return AC_OK;
    if (kept)
        cuda_cache_forget(l->cache, key);
    AC_TRY(candidates(device, g, found, &n));
    if (n > 0)
        g->algorithm = found[0].algo;
    g->missing = n == 0;
    if (n > l->n_candidates)
        n = l->n_candidates;
    if (n < 1 || l->n_candidates == 1)
        return AC_OK;
    if (n > 1) {
        AC_TRY(choose(device, g, found, n, &timed));
        if (!timed)
            return AC_OK;
    }
    format_algorithm(&g->algorithm, text);
    kept = cuda_cache_keep(l->cache, key, l->n_candidates, text);
    if (kept)
        take_algorithm(device, g, kept);
out:
    return status;
}

ac_status cuda_gemm_find(cuda_device *device, const cuda_gemm_spec *spec, cuda_gemm **out)
{
    ac_status status = AC_OK;
    cuda_libraries *l = device->libraries;
    cuda_gemm *g = NULL;
    *out = NULL;
    for (cuda_gemm *known = l->gemm; known; known = known->next)
        if (memcmp(&known->spec, spec, sizeof *spec) == 0) {
            *out = known;
            return known->missing ? ac_error(AC_ERR_UNSUPPORTED, "cuBLASLt has no product of these shapes") : AC_OK;
        }
    AC_TRY(ac_calloc(1, sizeof *g, &g));
    g->spec = *spec;
    AC_TRY(describe(device, g));
    AC_TRY(find_algorithm(device, g));
    g->next = l->gemm;
    l->gemm = g;
    *out = g;
    return g->missing ? ac_error(AC_ERR_UNSUPPORTED, "cuBLASLt has no product [%lld, %lld] x [%lld, %lld]", (long long)spec->m, (long long)spec->k, (long long)spec->k,
                                 (long long)spec->n)
                      : AC_OK;
out:
    destroy(g);
    return status;
}

ac_status cuda_gemm_run(cuda_device *device, const cuda_gemm *g, const void *a, const void *b, const void *c, void *d, const void *bias, float beta)
{
    ac_status status = AC_OK;
    float one = 1;
    if (g->spec.epilogue == CUDA_EPILOGUE_BIAS)
        AC_TRY(cuda_blas_check(cublasLtMatmulDescSetAttribute(g->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias), "bias"));
    AC_TRY(cuda_blas_check(cublasLtMatmul(device->libraries->blas, g->product, &one, b, g->b, a, g->a, &beta, c, g->d, d, g->d, &g->algorithm, device->scratch,
                                          WORKSPACE_BYTES, device->stream),
                           "product"));
out:
    return status;
}
