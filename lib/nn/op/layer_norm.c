/* layer_norm: normalisation of each row of channels. */
#include "nn/op/op.h"

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_init one = {AC_INIT_CONSTANT, 1, 0}, zero = {AC_INIT_CONSTANT, 0, 0};
    ac_shape x = *ac_graph_shape(graph, node->input[0]);
    if (x.n_dims < 2)
        return ac_error(AC_ERR_RANGE, "needs at least two dimensions");
    int64_t channels = x.dim[x.n_dims - 1], rows = ac_shape_elements(&x) / channels;
    AC_TRY(ac_graph_add_param(graph, node, "weight", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 1, &channels, one));
    AC_TRY(ac_graph_add_param(graph, node, "bias", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 1, &channels, zero));
    node->n_saved = 2;
    for (int i = 0; i < 2; i++)
        node->saved[i] = (ac_shape){1, {rows}, AC_F32};
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, x)));
out:
    return status;
}

const ac_op ac_op_layer_norm = {
    .name = "layer_norm",
    .attribute_bytes = sizeof(ac_layer_norm_attribute),
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer,
    .keep = ac_op_keep_input,
};

ac_value ac_add_layer_norm(ac_graph *graph, const char *name, ac_value x, const ac_layer_norm_attribute *attribute)
{
    return ac_graph_append(graph, &ac_op_layer_norm, name, &x, 1, attribute);
}
