/* linear: three matrix products, bias and residual in the first one's epilogue, activations in passes of their own (cuBLASLt's GELU is the
 * approximation by tanh, ours the one by the error function). A head that leaves mixed precision (16 bits in, float out) is small and computed in float, from
 * operands rounded as mixed precision reads them. */
#include "backend/cuda/kernel.cuh"
#include "backend/cuda/product.h"

struct linear_state {
    cuda_product product;
    bool mixed;
    ac_activation activation;
    size_t x_bytes, dx_bytes; /* mixed: float copies behind the product's workspace */
    size_t dz_bytes;          /* behind them: gradient of what goes into the activation, or the sum of gradient parts */
};

/* y = activation(z). */
template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) activate_kernel(const T *z, T *y, bool gelu, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float v[VEC];
    if (i >= n)
        return;
    load_floats<T, VEC>(z, i, v);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        v[k] = gelu ? gelu_of<T>(v[k]) : ac_tanh(v[k]);
    store_floats<T, VEC>(y, i, v);
}

static ac_status activate(cuda_device *device, ac_dtype dtype, const void *z, void *y, ac_activation activation, int64_t n)
{
    CUDA_FOR_TYPE_AND_WIDTH(dtype, n, {
        CUDA_TRY(AC_LAUNCH((activate_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, device->stream, (const T *)z, (T *)y, activation == AC_ACTIVATION_GELU, n));
    });
    return AC_OK;
}

/* dz = (sum of parts) times the activation's slope; GELU's from what went into it, tanh's from its output. */
template <typename T, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK) slope_kernel(gradient_parts<T> parts, const T *seen, T *dz, ac_activation activation, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float d[VEC], v[VEC];
    if (i >= n)
        return;
    load_parts<T, VEC>(parts, i, d);
    if (activation != AC_ACTIVATION_NONE) {
        load_floats<T, VEC>(seen, i, v);
#pragma unroll
        for (int k = 0; k < VEC; k++)
            d[k] *= activation == AC_ACTIVATION_GELU ? gelu_slope_of<T>(v[k]) : 1 - v[k] * v[k];
    }
    store_floats<T, VEC>(dz, i, d);
}

/* to = from (+ to), from float. */
template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) put_kernel(T *to, const float *from, bool add, int64_t n)
{
    int64_t i = thread_index();
    if (i < n)
        to[i] = from_float<T>(from[i] + (add ? to_float(to[i]) : 0.0f));
}

static cuda_product_spec spec_of(const ac_graph *graph, const ac_node *node, bool *mixed)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    const ac_linear_attribute *a = (const ac_linear_attribute *)node->attribute;
    cuda_product_spec s;
    memset(&s, 0, sizeof s);
    s.in = x->dim[x->n_dims - 1];
    s.rows = ac_shape_elements(x) / s.in;
    s.out = a->out_features;
    s.bias = a->bias;
    s.residual = node->n_inputs > 1;
    *mixed = x->dtype != y->dtype;
    s.type = *mixed ? AC_F32 : x->dtype;
    s.round_weight = *mixed ? x->dtype : AC_F32;
    return s;
}

static ac_status plan(ac_device *base, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    bool mixed;
    cuda_product_spec s = spec_of(graph, node, &mixed);
    CUDA_TRY(cuda_check_precision(base, x->dtype));
    CUDA_TRY(cuda_check_precision(base, y->dtype));
    if (mixed && !cuda_is_half(x->dtype))
        return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    s.forward = true;
    s.dweight = training;
    s.dx = wants & 1u;
    linear_state *state = (linear_state *)calloc(1, sizeof *state);
    if (!state)
        return ac_error(AC_ERR_MEMORY, "state of a linear layer");
    out->state = state;
    state->mixed = mixed;
    state->activation = ((const ac_linear_attribute *)node->attribute)->activation;
    out->keeps_output = state->activation != AC_ACTIVATION_GELU;
    if (mixed) {
        state->x_bytes = cuda_aligned((size_t)(s.rows * s.in) * sizeof(float));
        state->dx_bytes = s.dx ? state->x_bytes : 0;
    }
    state->dz_bytes = training ? cuda_aligned((size_t)(s.rows * s.out) * ac_dtype_bytes((ac_dtype)s.type)) : 0;
    CUDA_TRY(cuda_product_plan(cuda_of(base), &s, &state->product));
    out->workspace_bytes = cuda_aligned(state->product.workspace_bytes) + state->x_bytes + state->dx_bytes + state->dz_bytes;
    return AC_OK;
}

static void release(void *state)
{
    free(state);
}

static unsigned char *behind_product(const ac_call *call, const linear_state *state)
{
    return (unsigned char *)call->workspace + cuda_aligned(state->product.workspace_bytes);
}

/* Input 0 as the product reads it. */
static ac_status input_of(const ac_call *call, const linear_state *state, const void **x)
{
    *x = call->input[0];
    if (!state->mixed)
        return AC_OK;
    void *copy = behind_product(call, state);
    *x = copy;
    return cuda_convert(cuda_of(call->device), AC_F32, copy, cuda_in(call, 0)->dtype, call->input[0], (size_t)ac_shape_elements(cuda_in(call, 0)));
}

static ac_status forward(const ac_call *call)
{
    const linear_state *state = (const linear_state *)call->state;
    cuda_device *device = cuda_of(call->device);
    const void *x;
    void *z = call->saved[0] ? call->saved[0] : call->output[0];
    CUDA_TRY(input_of(call, state, &x));
    cuda_product_params params = cuda_product_params_of(call, state->product.spec.bias);
    CUDA_TRY(cuda_product_forward(device, &state->product, x, &params, call->node->n_inputs > 1 ? call->input[1] : NULL, z, call->workspace));
    if (state->activation == AC_ACTIVATION_NONE)
        return AC_OK;
    return activate(device, cuda_out(call)->dtype, z, call->output[0], state->activation, ac_shape_elements(cuda_out(call)));
}

static ac_status recompute(const ac_call *call)
{
    return activate(cuda_of(call->device), cuda_out(call)->dtype, call->saved[0], call->output[0], AC_ACTIVATION_GELU, ac_shape_elements(cuda_out(call)));
}

/* Gradient of what goes into the activation. */
static ac_status gradient_before(const ac_call *call, const linear_state *state, const void **out)
{
    const ac_shape *y = cuda_out(call);
    int64_t n = ac_shape_elements(y);
    void *dz = behind_product(call, state) + state->x_bytes + state->dx_bytes;
    const void *seen = state->activation == AC_ACTIVATION_GELU ? call->saved[0] : call->output[0];
    *out = call->doutput[0];
    if (state->activation == AC_ACTIVATION_NONE && call->n_doutput == 1)
        return AC_OK;
    *out = dz;
    CUDA_FOR_TYPE_AND_WIDTH(y->dtype, n, {
        CUDA_TRY(AC_LAUNCH((slope_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, parts_of<T>(call), (const T *)seen, (T *)dz,
                           state->activation, n));
    });
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    const linear_state *state = (const linear_state *)call->state;
    cuda_device *device = cuda_of(call->device);
    const void *x, *dz;
    CUDA_TRY(input_of(call, state, &x));
    CUDA_TRY(gradient_before(call, state, &dz));
    void *dx = call->dinput[0];
    if (state->mixed && dx)
        dx = behind_product(call, state) + state->x_bytes;
    cuda_product_gradient g = {x, dz, cuda_product_params_of(call, state->product.spec.bias), dx, call->param_gradient[0], state->product.spec.bias ? call->param_gradient[1] : NULL, call->accumulate,
                               call->add_dinput && !state->mixed};
    CUDA_TRY(cuda_product_backward(device, &state->product, &g, call->workspace));
    int64_t n = ac_shape_elements(cuda_in(call, 0));
    if (state->mixed && dx)
        CUDA_FOR_HALF(cuda_in(call, 0)->dtype, {
            CUDA_TRY(AC_LAUNCH((put_kernel<T>), cuda_blocks(n), dim3(CUDA_BLOCK), 0, device->stream, (T *)call->dinput[0], (const float *)dx, call->add_dinput, n));
        });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_linear = {&ac_op_linear, AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT | AC_KERNEL_RECOMPUTES_FROM_SAVED, plan, release, forward, backward, NULL, recompute};
