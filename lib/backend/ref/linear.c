/* linear by its definition. Activations in double, by the C library. */
#include "backend/ref/ref.h"
#include <math.h>

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * 0.70710678118654752440);
}

static double gelu_slope(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440) + x * 0.39894228040143267794 * exp(-0.5 * x * x);
}

static int64_t n_out(const ac_graph *graph, const ac_node *node)
{
    return ac_shape_elements(ac_graph_shape(graph, node->output[0]));
}

/* The workspace holds the gradient of what goes into the activation, in double. */
static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)device, (void)wants;
    out->workspace_bytes = training ? (size_t)n_out(graph, node) * sizeof(double) : 0;
    out->keeps_output = ((const ac_linear_attribute *)(const void *)node->attribute)->activation != AC_ACTIVATION_GELU;
    return AC_OK;
}

static ac_status forward(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    const ac_linear_attribute *a = (const void *)call->node->attribute;
    int64_t in = x->dim[x->n_dims - 1], rows = ac_shape_elements(x) / in, out = a->out_features;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = a->bias ? (double)((const float *)call->param[1])[o] : 0;
            for (int64_t i = 0; i < in; i++)
                sum += ref_input(call, 0, r * in + i) * ref_matrix(call, o * in + i);
            if (a->activation != AC_ACTIVATION_NONE) /* of the value as it is stored: recompute() makes y of what is saved */
                sum = ref_stored(ref_out(call)->dtype, sum);
            if (call->saved[0])
                ref_set(ref_out(call)->dtype, call->saved[0], r * out + o, sum);
            if (a->activation == AC_ACTIVATION_GELU)
                sum = gelu(sum);
            else if (a->activation == AC_ACTIVATION_TANH)
                sum = tanh(sum);
            ref_set_output(call, r * out + o, sum + (call->node->n_inputs == 2 ? ref_input(call, 1, r * out + o) : 0));
        }
    return AC_OK;
}

static ac_status recompute(const ac_call *call)
{
    const ac_shape *y = ref_out(call);
    for (int64_t i = 0; i < n_out(call->graph, call->node); i++)
        ref_set_output(call, i, gelu(ref_get(y->dtype, call->saved[0], i)));
    return AC_OK;
}

/* Gradient of element i of what goes into the activation. */
static double gradient_before(const ac_call *call, int64_t i)
{
    const ac_linear_attribute *a = (const void *)call->node->attribute;
    double g = ref_dout(call, i), y;
    if (a->activation == AC_ACTIVATION_GELU)
        return g * gelu_slope(ref_get(ref_out(call)->dtype, call->saved[0], i));
    if (a->activation != AC_ACTIVATION_TANH)
        return g;
    y = ref_get(ref_out(call)->dtype, call->output[0], i);
    return g * (1 - y * y);
}

static ac_status backward(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    const ac_linear_attribute *a = (const void *)call->node->attribute;
    int64_t in = x->dim[x->n_dims - 1], rows = ac_shape_elements(x) / in, out = a->out_features;
    double *g = call->workspace;
    for (int64_t i = 0; i < rows * out; i++)
        g[i] = gradient_before(call, i);
    for (int64_t r = 0; call->dinput[0] && r < rows; r++)
        for (int64_t i = 0; i < in; i++) {
            double sum = call->add_dinput ? ref_get(x->dtype, call->dinput[0], r * in + i) : 0;
            for (int64_t o = 0; o < out; o++)
                sum += g[r * out + o] * ref_matrix(call, o * in + i);
            ref_set_dinput(call, 0, r * in + i, sum);
        }
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i <= in; i++) { /* the last one is the bias */
            double sum = 0;
            float *gradient = i < in ? &call->param_gradient[0][o * in + i] : a->bias ? &call->param_gradient[1][o] : NULL;
            for (int64_t r = 0; r < rows; r++)
                sum += g[r * out + o] * (i < in ? ref_input(call, 0, r * in + i) : 1);
            if (gradient)
                *gradient = (float)(sum + (call->accumulate ? (double)*gradient : 0));
        }
    return AC_OK;
}

const ac_kernel ac_ref_linear = {.op = &ac_op_linear, .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT | AC_KERNEL_RECOMPUTES_FROM_SAVED,
                                 .plan = plan, .forward = forward, .backward = backward, .recompute = recompute};
