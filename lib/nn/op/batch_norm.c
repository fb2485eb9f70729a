/* batch_norm: normalisation over the batch, with residual and activation folded in. */
#include "nn/op/op.h"

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_batch_norm_attribute *a = (const void *)node->attribute;
    const ac_init one = {AC_INIT_CONSTANT, 1, 0}, zero = {AC_INIT_CONSTANT, 0, 0}, scale = {AC_INIT_CONSTANT, a->weight_init, 0};
    ac_shape x = *ac_graph_shape(graph, node->input[0]);
    if (x.n_dims < 2)
        return ac_error(AC_ERR_RANGE, "needs at least two dimensions");
    if (node->n_inputs == 2 && !ac_shape_equal(&x, ac_graph_shape(graph, node->input[1]))) {
        char of_x[96], of_residual[96];
        return ac_error(AC_ERR_RANGE, "residual is %s, the input %s",
                        ac_shape_format(ac_graph_shape(graph, node->input[1]), of_residual, sizeof of_residual),
                        ac_shape_format(&x, of_x, sizeof of_x));
    }
    if (a->activation > AC_ACTIVATION_GELU || (a->activation == AC_ACTIVATION_GELU && node->n_inputs > 1))
        return ac_error(AC_ERR_RANGE, "an activation it has not, or GELU behind a residual");
    int64_t channels = x.dim[x.n_dims - 1];
    AC_TRY(ac_graph_add_param(graph, node, "weight", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 1, &channels, scale));
    AC_TRY(ac_graph_add_param(graph, node, "bias", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 1, &channels, zero));
    AC_TRY(ac_graph_add_param(graph, node, "running_mean", AC_PARAM_BUFFER, AC_LAYOUT_PLAIN, 1, &channels, zero));
    AC_TRY(ac_graph_add_param(graph, node, "running_var", AC_PARAM_BUFFER, AC_LAYOUT_PLAIN, 1, &channels, one));
    node->n_saved = 2;
    for (int i = 0; i < 2; i++)
        node->saved[i] = (ac_shape){1, {channels}, AC_F32};
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, x)));
out:
    return status;
}

/* Where the activation let the gradient through, the sign of what went into it tells: of the output, or where there is no
 * residual, of the same formula on x once more, which backward reads anyway. */
static unsigned keep(const ac_node *node)
{
    const ac_batch_norm_attribute *a = (const void *)node->attribute;
    return AC_KEEP_INPUT(0) | (a->activation == AC_ACTIVATION_NONE || node->n_inputs == 1 ? 0 : AC_KEEP_OUTPUT(0));
}

const ac_op ac_op_batch_norm = {
    .name = "batch_norm",
    .attribute_bytes = sizeof(ac_batch_norm_attribute),
    .min_inputs = 1,
    .max_inputs = 2,
    .gradient_inputs = 3,
    .is_norm = true,
    .infer = infer,
    .keep = keep,
};

ac_value ac_add_batch_norm(ac_graph *graph, const char *name, ac_value x, ac_value residual, const ac_batch_norm_attribute *attribute)
{
    ac_value inputs[] = {x, residual};
    return ac_graph_append(graph, &ac_op_batch_norm, name, inputs, residual == AC_NO_VALUE ? 1 : 2, attribute);
}
