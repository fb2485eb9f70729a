/* linear: three matrix products, the bias in the first one's epilogue. A head that leaves mixed precision (bf16 in, float out) is
 * small and computed in float, from operands rounded as mixed precision reads them. */
#include "backend/cuda/kernel.cuh"
#include "backend/cuda/product.h"

struct linear_state {
    cuda_product product;
    bool mixed;
    size_t x_bytes, dx_bytes; /* mixed: float copies behind the product's workspace */
};

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
    *mixed = x->dtype != y->dtype;
    s.type = *mixed ? AC_F32 : x->dtype;
    s.round_weight = *mixed;
    return s;
}

static ac_status plan(ac_device *base, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    bool mixed;
    cuda_product_spec s = spec_of(graph, node, &mixed);
    CUDA_TRY(cuda_check_precision(base, x->dtype));
    CUDA_TRY(cuda_check_precision(base, y->dtype));
    if (((const ac_linear_attribute *)node->attribute)->activation != AC_ACTIVATION_NONE || node->n_inputs > 1)
        return ac_error(AC_ERR_UNSUPPORTED, "no activation and no residual yet");
    if (mixed && x->dtype != AC_BF16)
        return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    s.forward = true;
    s.dweight = training;
    s.dx = wants & 1u;
    linear_state *state = (linear_state *)calloc(1, sizeof *state);
    if (!state)
        return ac_error(AC_ERR_MEMORY, "state of a linear layer");
    out->state = state;
    state->mixed = mixed;
    if (mixed) {
        state->x_bytes = cuda_aligned((size_t)(s.rows * s.in) * sizeof(float));
        state->dx_bytes = s.dx ? state->x_bytes : 0;
    }
    CUDA_TRY(cuda_product_plan(cuda_of(base), &s, &state->product));
    out->workspace_bytes = cuda_aligned(state->product.workspace_bytes) + state->x_bytes + state->dx_bytes;
    return AC_OK;
}

static void release(void *state)
{
    free(state);
}

/* Input 0 as the product reads it. */
static ac_status input_of(const ac_call *call, const linear_state *state, const void **x)
{
    *x = call->input[0];
    if (!state->mixed)
        return AC_OK;
    void *copy = (unsigned char *)call->workspace + cuda_aligned(state->product.workspace_bytes);
    *x = copy;
    return cuda_convert(cuda_of(call->device), AC_F32, copy, AC_BF16, call->input[0], (size_t)ac_shape_elements(cuda_in(call, 0)));
}

static ac_status forward(const ac_call *call)
{
    const linear_state *state = (const linear_state *)call->state;
    const void *x;
    CUDA_TRY(input_of(call, state, &x));
    return cuda_product_forward(cuda_of(call->device), &state->product, x, (const float *)call->param[0],
                                state->product.spec.bias ? (const float *)call->param[1] : NULL, call->output[0], call->workspace);
}

static ac_status backward(const ac_call *call)
{
    const linear_state *state = (const linear_state *)call->state;
    cuda_device *device = cuda_of(call->device);
    const void *x;
    CUDA_TRY(input_of(call, state, &x));
    void *dx = call->dinput[0];
    if (state->mixed && dx)
        dx = (unsigned char *)call->workspace + cuda_aligned(state->product.workspace_bytes) + state->x_bytes;
    cuda_product_gradient g = {x, call->doutput[0], (const float *)call->param[0], dx, call->param_gradient[0], state->product.spec.bias ? call->param_gradient[1] : NULL,
                               call->accumulate};
    CUDA_TRY(cuda_product_backward(device, &state->product, &g, call->workspace));
    if (state->mixed && dx)
        return cuda_convert(device, AC_BF16, call->dinput[0], AC_F32, dx, (size_t)ac_shape_elements(cuda_in(call, 0)));
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_linear = {&ac_op_linear, 0, plan, release, forward, backward, NULL, NULL};
