/* linear: fully connected layer on the last dimension. */
#include "nn/op/op.h"
#include <inttypes.h>

/* Activation and residual. */
static ac_status check_fused(const ac_graph *graph, const ac_node *node, const ac_shape *y)
{
    const ac_linear_attribute *a = (const void *)node->attribute;
    if (a->activation != AC_ACTIVATION_NONE && a->activation != AC_ACTIVATION_GELU && a->activation != AC_ACTIVATION_TANH)
        return ac_error(AC_ERR_RANGE, "an activation it has not");
    if (node->n_inputs == 2 && (a->activation != AC_ACTIVATION_NONE || !ac_shape_equal(y, ac_graph_shape(graph, node->input[1]))))
        return ac_error(AC_ERR_RANGE, "a residual behind an activation, or of another shape");
    return AC_OK;
}

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_linear_attribute *a = (const void *)node->attribute;
    ac_shape y = *ac_graph_shape(graph, node->input[0]);
    if (y.n_dims < 2 || a->out_features < 1)
        return ac_error(AC_ERR_RANGE, "needs an input of two dimensions or more and at least one output, not %" PRId64, a->out_features);
    int64_t weight[] = {a->out_features, y.dim[y.n_dims - 1]};
    y.dim[y.n_dims - 1] = a->out_features;
    y = ac_op_activation_shape(graph, y);
    if (a->float32_output)
        y.dtype = AC_F32;
    AC_TRY(check_fused(graph, node, &y));
    AC_TRY(ac_graph_add_param(graph, node, a->weight_name ? a->weight_name : "weight", AC_PARAM_MATRIX, AC_LAYOUT_PLAIN, 2, weight, a->weight_init));
    if (a->bias)
        AC_TRY(ac_graph_add_param(graph, node, a->bias_name ? a->bias_name : "bias", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 1, weight, a->bias_init));
    node->n_saved = a->activation == AC_ACTIVATION_GELU;
    node->saved[0] = y;
    AC_TRY(ac_graph_set_output(graph, node, 0, y));
out:
    return status;
}

static double flops(const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    return 2.0 * (double)x->dim[x->n_dims - 1] * (double)ac_shape_elements(ac_graph_shape(graph, node->output[0]));
}

static unsigned keep(const ac_node *node)
{
    const ac_linear_attribute *a = (const void *)node->attribute;
    return AC_KEEP_INPUT(0) | (a->activation == AC_ACTIVATION_TANH ? AC_KEEP_OUTPUT(0) : 0);
}

const ac_op ac_op_linear = {
    .name = "linear",
    .attribute_bytes = sizeof(ac_linear_attribute),
    .min_inputs = 1,
    .max_inputs = 2,
    .gradient_inputs = 3,
    .passes = 2,
    .infer = infer,
    .keep = keep,
    .flops = flops,
};

ac_value ac_add_linear(ac_graph *graph, const char *name, ac_value x, const ac_linear_attribute *attribute)
{
    return ac_graph_append(graph, &ac_op_linear, name, &x, 1, attribute);
}

ac_value ac_add_linear_residual(ac_graph *graph, const char *name, ac_value x, ac_value residual, const ac_linear_attribute *attribute)
{
    ac_value inputs[] = {x, residual};
    return ac_graph_append(graph, &ac_op_linear, name, inputs, 2, attribute);
}
