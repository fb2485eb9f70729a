/* add (with stochastic depth) and dropout: what draws random numbers inside the network. */
#include "nn/op/op.h"

static ac_status check_drop(const ac_graph *graph, const ac_node *node, int keys)
{
    ac_status status = AC_OK;
    const ac_drop_attribute *a = (const void *)node->attribute;
    if (!(a->probability >= 0 && a->probability < 1))
        return ac_error(AC_ERR_RANGE, "a probability of %g", (double)a->probability);
    if (a->probability > 0 && node->n_inputs <= keys)
        return ac_error(AC_ERR_RANGE, "drops at random without sample keys");
    if (node->n_inputs <= keys)
        return AC_OK;
    AC_TRY(ac_op_expect_dims(graph, node, keys, 1));
    const ac_shape *key = ac_graph_shape(graph, node->input[keys]);
    if (key->dtype != AC_I64 || key->dim[0] != ac_graph_shape(graph, node->input[0])->dim[0])
        return ac_error(AC_ERR_RANGE, "needs int64 keys [N]");
out:
    return status;
}

/* Backward draws again what forward drew, from the keys. */
static unsigned keep_add_keys(const ac_node *node)
{
    return node->n_inputs > 2 ? AC_KEEP_INPUT(2) : 0;
}

static unsigned keep_dropout_keys(const ac_node *node)
{
    (void)node;
    return AC_KEEP_INPUT(1);
}

static ac_status infer_add(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    ac_shape x = *ac_graph_shape(graph, node->input[0]);
    if (!ac_shape_equal(&x, ac_graph_shape(graph, node->input[1])))
        return ac_error(AC_ERR_RANGE, "residual and input differ in shape");
    AC_TRY(check_drop(graph, node, 2));
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, x)));
out:
    return status;
}

const ac_op ac_op_add = {
    .name = "add",
    .attribute_bytes = sizeof(ac_drop_attribute),
    .min_inputs = 2,
    .max_inputs = 3,
    .gradient_inputs = 3,
    .passes = 2,
    .infer = infer_add,
    .keep = keep_add_keys,
};

ac_value ac_add_add(ac_graph *graph, const char *name, ac_value x, ac_value residual, ac_value keys, const ac_drop_attribute *attribute)
{
    ac_value inputs[] = {x, residual, keys};
    return ac_graph_append(graph, &ac_op_add, name, inputs, keys == AC_NO_VALUE ? 2 : 3, attribute);
}

static ac_status infer_dropout(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    AC_TRY(check_drop(graph, node, 1));
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, *ac_graph_shape(graph, node->input[0]))));
out:
    return status;
}

const ac_op ac_op_dropout = {
    .name = "dropout",
    .attribute_bytes = sizeof(ac_drop_attribute),
    .min_inputs = 2,
    .max_inputs = 2,
    .gradient_inputs = 1,
    .infer = infer_dropout,
    .keep = keep_dropout_keys,
};

ac_value ac_add_dropout(ac_graph *graph, const char *name, ac_value x, ac_value keys, const ac_drop_attribute *attribute)
{
    ac_value inputs[] = {x, keys};
    return ac_graph_append(graph, &ac_op_dropout, name, inputs, 2, attribute);
}
