/* cuBLASLt and cuDNN as lib/backend/cuda sees them, in plain loops: sums in double, results rounded to their type. Operands must be
 * aligned as the real ones are promised to be. */
#include "anyclass/alloc.h"
#include "backend/cuda/cuda.h"
#include <stdio.h>
#include <stdlib.h>

struct cuda_gemm {
    cuda_gemm_spec spec;
    cuda_gemm *next;
};

struct cuda_conv {
    cuda_conv_spec spec;
    cuda_conv *next;
};

struct cuda_libraries {
    cuda_gemm *gemm;
    cuda_conv *conv;
};

static double get(int dtype, const void *values, int64_t i)
{
    if (cuda_is_half(dtype))
        return (double)(dtype == AC_BF16 ? ac_float_from_bf16(((const uint16_t *)values)[i]) : ac_float_from_f16(((const uint16_t *)values)[i]));
    return (double)((const float *)values)[i];
}

static void put(int dtype, void *values, int64_t i, double value)
{
    if (dtype == AC_BF16)
        ((uint16_t *)values)[i] = ac_bf16_from_float((float)value);
    else if (dtype == AC_F16)
        ((uint16_t *)values)[i] = ac_f16_from_float((float)value);
    else
        ((float *)values)[i] = (float)value;
}

static ac_status check_aligned(const void *pointer, const char *what)
{
    return (uintptr_t)pointer % 16 == 0 ? AC_OK : ac_error(AC_ERR_NUMERIC, "%s is not aligned to 16 bytes", what);
}

ac_status cuda_libraries_open(cuda_device *device)
{
    return ac_calloc(1, sizeof *device->libraries, &device->libraries);
}

void cuda_libraries_close(cuda_device *device)
{
    cuda_libraries *l = device->libraries;
    while (l && l->gemm) {
        cuda_gemm *next = l->gemm->next;
        ac_free(l->gemm);
        l->gemm = next;
    }
    while (l && l->conv) {
        cuda_conv *next = l->conv->next;
        ac_free(l->conv);
        l->conv = next;
    }
    ac_free(l);
}

void cuda_libraries_describe(const cuda_device *device, char *out, size_t capacity)
{
    (void)device;
    snprintf(out, capacity, "emulated libraries");
}

ac_status cuda_gemm_find(cuda_device *device, const cuda_gemm_spec *spec, cuda_gemm **out)
{
    ac_status status = AC_OK;
    *out = NULL;
    if (cuda_is_half(spec->ab) && spec->epilogue == CUDA_EPILOGUE_BIAS && (spec->n % 8 || spec->k % 8)) /* something the library lacks */
        return ac_error(AC_ERR_UNSUPPORTED, "no product of these shapes with a bias");
    AC_TRY(ac_calloc(1, sizeof **out, out));
    (*out)->spec = *spec;
    (*out)->next = device->libraries->gemm;
    device->libraries->gemm = *out;
    if (spec->m < 1 || spec->n < 1 || spec->k < 1)
        return ac_error(AC_ERR_NUMERIC, "a product of nothing");
out:
    return status;
}

ac_status cuda_gemm_run(cuda_device *device, const cuda_gemm *gemm, const void *a, const void *b, const void *c, void *d, const void *bias, float beta)
{
    ac_status status = AC_OK;
    const cuda_gemm_spec *s = &gemm->spec;
    int64_t lda = s->lda ? s->lda : s->transpose_a ? s->m : s->k, ldb = s->ldb ? s->ldb : s->transpose_b ? s->k : s->n, ldd = s->ldd ? s->ldd : s->n;
    (void)device;
    AC_TRY(check_aligned(a, "operand a"));
    AC_TRY(check_aligned(b, "operand b"));
    AC_TRY(check_aligned(c, "addend"));
    AC_TRY(check_aligned(d, "result"));
    AC_TRY(check_aligned(bias, "bias"));
    for (int64_t p = 0; p < (s->batch > 1 ? s->batch : 1); p++)
        for (int64_t i = 0; i < s->m; i++)
            for (int64_t j = 0; j < s->n; j++) {
                double sum = s->epilogue == CUDA_EPILOGUE_BIAS ? get(s->d, bias, j) : 0;
                int64_t at = p * s->stride_d + i * ldd + j;
                for (int64_t k = 0; k < s->k; k++)
                    sum += get(s->ab, a, p * s->stride_a + (s->transpose_a ? k * lda + i : i * lda + k)) * get(s->ab, b, p * s->stride_b + (s->transpose_b ? j * ldb + k : k * ldb + j));
                put(s->d, d, at, sum + (beta != 0 ? (double)beta * get(s->d, c, at) : 0));
            }
out:
    return status;
}

ac_status cuda_conv_find(cuda_device *device, const cuda_conv_spec *spec, cuda_conv **out)
{
    ac_status status = AC_OK;
    *out = NULL;
    if (spec->result != spec->type && !getenv("ANYCLASS_EMULATE_FLOAT_RESULT")) /* as cuDNN 9.19 */
        return ac_error(AC_ERR_UNSUPPORTED, "no engine for this convolution");
    if (spec->kernel == 2) /* something the library lacks */
        return ac_error(AC_ERR_UNSUPPORTED, "no engine for this convolution");
    AC_TRY(ac_calloc(1, sizeof **out, out));
    (*out)->spec = *spec;
    (*out)->next = device->libraries->conv;
    device->libraries->conv = *out;
out:
    return status;
}

size_t cuda_conv_workspace_bytes(const cuda_conv *conv)
{
    const cuda_conv_spec *s = &conv->spec;
    return sizeof(double) * (size_t)(s->pass == CUDA_CONV_DX ? s->n * s->h * s->w * s->c : s->pass == CUDA_CONV_DW ? s->o * s->kernel * s->kernel * s->c / s->groups : 1);
}

/* One pair of an input and a weight that meet in output `y`. */
static void meet(const cuda_conv_spec *s, const void *x, const void *weight, const void *y, double *sum, int64_t xi, int64_t wi, int64_t yi)
{
    if (s->pass == CUDA_CONV_FORWARD)
        sum[0] += get(s->type, x, xi) * get(s->type, weight, wi);
    else if (s->pass == CUDA_CONV_DX)
        sum[xi] += get(s->type, y, yi) * get(s->type, weight, wi);
    else
        sum[wi] += get(s->type, y, yi) * get(s->type, x, xi);
}

static void visit_output(const cuda_conv_spec *s, const void *x, const void *weight, const void *y, double *sum, int64_t yi)
{
    int64_t o = yi % s->o, ox = yi / s->o % s->ow, oy = yi / s->o / s->ow % s->oh, n = yi / s->o / s->ow / s->oh;
    int64_t inside = s->c / s->groups, first = o / (s->o / s->groups) * inside;
    for (int64_t ky = 0; ky < s->kernel; ky++)
        for (int64_t kx = 0; kx < s->kernel; kx++) {
            int64_t iy = oy * s->stride - s->padding + ky, ix = ox * s->stride - s->padding + kx;
            if (iy < 0 || iy >= s->h || ix < 0 || ix >= s->w)
                continue;
            for (int64_t k = 0; k < inside; k++)
                meet(s, x, weight, y, sum, ((n * s->h + iy) * s->w + ix) * s->c + first + k, ((o * s->kernel + ky) * s->kernel + kx) * inside + k, yi);
        }
}

ac_status cuda_conv_run(cuda_device *device, const cuda_conv *conv, const void *x, const void *weight, const void *y, void *workspace)
{
    ac_status status = AC_OK;
    const cuda_conv_spec *s = &conv->spec;
    double *sum = workspace;
    int64_t n_y = s->n * s->oh * s->ow * s->o, n_sums = (int64_t)(cuda_conv_workspace_bytes(conv) / sizeof(double));
    (void)device;
    AC_TRY(check_aligned(x, "input"));
    AC_TRY(check_aligned(weight, "weights"));
    AC_TRY(check_aligned(y, "output"));
    for (int64_t i = 0; i < n_sums; i++)
        sum[i] = 0;
    for (int64_t i = 0; i < n_y; i++) {
        if (s->pass == CUDA_CONV_FORWARD)
            sum[0] = 0;
        visit_output(s, x, weight, y, sum, i);
        if (s->pass == CUDA_CONV_FORWARD)
            put(s->result, (void *)y, i, sum[0]);
    }
    for (int64_t i = 0; s->pass != CUDA_CONV_FORWARD && i < n_sums; i++)
        put(s->result, (void *)(s->pass == CUDA_CONV_DW ? weight : x), i, sum[i]);
out:
    return status;
}
