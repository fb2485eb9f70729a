/* squeeze_excite: channels weighed by a gate that the image's own averages make, with residual and activation folded in. */
#include "nn/op/op.h"
#include <inttypes.h>

static ac_status add_params(ac_graph *graph, ac_node *node, int64_t channels)
{
    ac_status status = AC_OK;
    const ac_squeeze_excite_attribute *a = (const void *)node->attribute;
    int64_t first[] = {a->hidden_channels, channels, 1, 1}, second[] = {channels, a->hidden_channels, 1, 1};
    AC_TRY(ac_graph_add_param(graph, node, "fc1.weight", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 4, first, a->weight_init[0]));
    AC_TRY(ac_graph_add_param(graph, node, "fc1.bias", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 1, first, a->bias_init[0]));
    AC_TRY(ac_graph_add_param(graph, node, "fc2.weight", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 4, second, a->weight_init[1]));
    AC_TRY(ac_graph_add_param(graph, node, "fc2.bias", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 1, second, a->bias_init[1]));
out:
    return status;
}

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_squeeze_excite_attribute *a = (const void *)node->attribute;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    ac_shape x = *ac_graph_shape(graph, node->input[0]);
    if (a->hidden_channels < 1 || (a->inner != AC_ACTIVATION_RELU && a->inner != AC_ACTIVATION_SILU) ||
        (a->outer != AC_ACTIVATION_NONE && a->outer != AC_ACTIVATION_RELU))
        return ac_error(AC_ERR_RANGE, "%" PRId64 " hidden channels, or an activation it has not", a->hidden_channels);
    if (node->n_inputs == 2 && !ac_shape_equal(&x, ac_graph_shape(graph, node->input[1])))
        return ac_error(AC_ERR_RANGE, "residual and input differ in shape");
    AC_TRY(add_params(graph, node, x.dim[3]));
    node->n_saved = 3;
    for (int i = 0; i < 3; i++)
        node->saved[i] = (ac_shape){2, {x.dim[0], i == 1 ? a->hidden_channels : x.dim[3]}, AC_F32};
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, x)));
out:
    return status;
}

static unsigned keep(const ac_node *node)
{
    const ac_squeeze_excite_attribute *a = (const void *)node->attribute;
    return AC_KEEP_INPUT(0) | (a->outer == AC_ACTIVATION_NONE ? 0 : AC_KEEP_OUTPUT(0));
}

const ac_op ac_op_squeeze_excite = {
    .name = "squeeze_excite",
    .attribute_bytes = sizeof(ac_squeeze_excite_attribute),
    .min_inputs = 1,
    .max_inputs = 2,
    .gradient_inputs = 3,
    .infer = infer,
    .keep = keep,
};

ac_value ac_add_squeeze_excite(ac_graph *graph, const char *name, ac_value x, ac_value residual, const ac_squeeze_excite_attribute *attribute)
{
    ac_value inputs[] = {x, residual};
    return ac_graph_append(graph, &ac_op_squeeze_excite, name, inputs, residual == AC_NO_VALUE ? 1 : 2, attribute);
}
