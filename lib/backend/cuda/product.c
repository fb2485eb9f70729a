/* Products of rows with a weight matrix, on top of gemm.c. */
#include "backend/cuda/product.h"

static cuda_gemm_spec gemm_of(const cuda_product_spec *s, int64_t m, int64_t n, int64_t k)
{
    cuda_gemm_spec g;
    memset(&g, 0, sizeof g);
    g.m = m;
    g.n = n;
    g.k = k;
    g.ab = g.d = s->type;
    return g;
}

ac_status cuda_product_plan(cuda_device *device, const cuda_product_spec *spec, cuda_product *out)
{
    ac_status status = AC_OK;
    memset(out, 0, sizeof *out);
    out->spec = *spec;
    if (cuda_is_half(spec->type))
        out->weight_bytes = cuda_aligned((size_t)(spec->in * spec->out) * 2);
    else if (spec->round_weight)
        out->weight_bytes = cuda_aligned((size_t)(spec->in * spec->out) * 4);
    out->workspace_bytes = out->weight_bytes + (spec->bias && cuda_is_half(spec->type) ? cuda_aligned((size_t)spec->out * 2) : 0);
    if (spec->forward) {
        cuda_gemm_spec g = gemm_of(spec, spec->rows, spec->out, spec->in);
        g.transpose_b = 1;
        g.epilogue = spec->bias ? CUDA_EPILOGUE_BIAS : CUDA_EPILOGUE_NONE;
        status = cuda_gemm_find(device, &g, &out->forward);
        out->bias_in_epilogue = spec->bias && status == AC_OK;
        if (status == AC_ERR_UNSUPPORTED && spec->bias) {
            g.epilogue = CUDA_EPILOGUE_NONE;
            g.d = AC_F32;
            out->float_result = cuda_is_half(spec->type);
            out->workspace_bytes += out->float_result ? cuda_aligned((size_t)(spec->rows * spec->out) * 4) : 0;
            status = cuda_gemm_find(device, &g, &out->forward);
        }
        AC_TRY(status);
    }
    if (spec->dx) {
        cuda_gemm_spec g = gemm_of(spec, spec->rows, spec->in, spec->out);
        AC_TRY(cuda_gemm_find(device, &g, &out->dx));
    }
    if (spec->dweight) {
        cuda_gemm_spec g = gemm_of(spec, spec->out, spec->in, spec->rows);
        g.transpose_a = 1;
        g.d = AC_F32;
        AC_TRY(cuda_gemm_find(device, &g, &out->dweight));
    }
out:
    return status;
}

/* The weights as the product reads them. */
static ac_status read_weight(cuda_device *device, const cuda_product *p, const cuda_product_params *params, void *workspace, const void **out)
{
    const float *weight = params->weight;
    size_t n = (size_t)(p->spec.in * p->spec.out);
    bool mirrored = cuda_is_half(p->spec.type) && params->weight_mirror;
    *out = mirrored ? params->weight_mirror : p->weight_bytes ? workspace : weight;
    if (mirrored || !p->weight_bytes)
        return AC_OK;
    return p->spec.round_weight ? cuda_round(device, (ac_dtype)p->spec.round_weight, workspace, weight, n)
                                : cuda_convert(device, (ac_dtype)p->spec.type, workspace, AC_F32, weight, n);
}

ac_status cuda_product_forward(cuda_device *device, const cuda_product *p, const void *x, const cuda_product_params *params, const void *residual, void *y, void *workspace)
{
    ac_status status = AC_OK;
    const float *bias = params->bias;
    const void *w, *b = bias;
    void *behind = (unsigned char *)workspace + p->weight_bytes;
    AC_TRY(read_weight(device, p, params, workspace, &w));
    if (p->float_result) {
        AC_TRY(cuda_gemm_run(device, p->forward, x, w, behind, behind, NULL, 0));
        AC_TRY(cuda_add_bias_to(device, (ac_dtype)p->spec.type, y, behind, bias, residual, p->spec.rows, p->spec.out));
        return AC_OK;
    }
    if (p->bias_in_epilogue && cuda_is_half(p->spec.type)) { /* the library's bias is of the type of y */
        b = params->bias_mirror ? params->bias_mirror : behind;
        if (!params->bias_mirror)
            AC_TRY(cuda_convert(device, (ac_dtype)p->spec.type, behind, AC_F32, bias, (size_t)p->spec.out));
    }
    AC_TRY(cuda_gemm_run(device, p->forward, x, w, residual ? residual : y, y, p->bias_in_epilogue ? b : NULL, residual ? 1 : 0));
    if (p->spec.bias && !p->bias_in_epilogue)
        AC_TRY(cuda_add_bias(device, (ac_dtype)p->spec.type, y, bias, p->spec.rows, p->spec.out));
out:
    return status;
}

ac_status cuda_product_backward(cuda_device *device, const cuda_product *p, const cuda_product_gradient *g, void *workspace)
{
    ac_status status = AC_OK;
    const void *w;
    if (g->dweight)
        AC_TRY(cuda_gemm_run(device, p->dweight, g->dy, g->x, g->dweight, g->dweight, NULL, g->accumulate ? 1 : 0));
    if (g->dbias)
        AC_TRY(cuda_column_sums(device, (ac_dtype)p->spec.type, g->dy, p->spec.rows, p->spec.out, g->dbias, g->accumulate));
    if (g->dx) {
        AC_TRY(read_weight(device, p, &g->params, workspace, &w));
        AC_TRY(cuda_gemm_run(device, p->dx, g->dy, w, g->dx, g->dx, NULL, g->add_dx ? 1 : 0));
    }
out:
    return status;
}
