/* y [rows, out] = x [rows, in] weight^T [in, out] + bias [+ residual], and its gradients: what linear layers, 1x1 convolutions and attention's
 * projections have in common. Weights are float and read in the type of x. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_PRODUCT_H
#define ANYCLASS_LIB_BACKEND_CUDA_PRODUCT_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cuda_product_spec {
    int64_t rows, in, out;
    int type;                  /* ac_dtype of x, y and their gradients */
    bool bias;
    int round_weight;          /* ac_dtype: float products of weights rounded to it; AC_F32 (0): not rounded */
    bool forward, dx, dweight; /* which will be asked for */
    bool residual;             /* forward may be given one */
} cuda_product_spec;

typedef struct cuda_product {
    cuda_product_spec spec;
    cuda_gemm *forward, *dx, *dweight;
    bool bias_in_epilogue;
    bool float_result;      /* 16 bits with a bias that the library cannot add: the product in float, behind the weights, so that it is rounded once */
    size_t weight_bytes;    /* of the copy in the type of x, at the start of the workspace; 0: the parameter itself is read */
    size_t workspace_bytes;
} cuda_product;

typedef struct cuda_product_params {
    const float *weight, *bias;               /* bias NULL: none */
    const void *weight_mirror, *bias_mirror;  /* the same in the type of x, or NULL */
} cuda_product_params;

typedef struct cuda_product_gradient {
    const void *x, *dy;
    cuda_product_params params;
    void *dx;                /* NULL: not wanted */
    float *dweight, *dbias;  /* NULL: none */
    bool accumulate;         /* dweight and dbias */
    bool add_dx;             /* to what dx holds */
} cuda_product_gradient;

/** Those of a node whose parameters are weight and, perhaps, bias. */
static inline cuda_product_params cuda_product_params_of(const ac_call *call, bool bias)
{
    cuda_product_params p = {(const float *)call->param[0], bias ? (const float *)call->param[1] : NULL, call->mirror[0], bias ? call->mirror[1] : NULL};
    return p;
}

/** AC_ERR_UNSUPPORTED when the library has no such product. Nothing to release. */
AC_NODISCARD ac_status cuda_product_plan(cuda_device *device, const cuda_product_spec *spec, cuda_product *out);
AC_NODISCARD ac_status cuda_product_forward(cuda_device *device, const cuda_product *p, const void *x, const cuda_product_params *params, const void *residual, void *y,
                                            void *workspace);
AC_NODISCARD ac_status cuda_product_backward(cuda_device *device, const cuda_product *p, const cuda_product_gradient *g, void *workspace);

#ifdef __cplusplus
}
#endif
#endif
