/* tokens and first_token: from a feature map to a sequence with a class token, and that token out again. */
#include "nn/op/op.h"

static ac_status infer_tokens(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_tokens_attribute *a = (const void *)node->attribute;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    ac_shape y = {3, {x->dim[0], x->dim[1] * x->dim[2] + 1, x->dim[3]}, AC_F32};
    int64_t class_token[] = {1, 1, y.dim[2]}, position[] = {1, y.dim[1], y.dim[2]};
    AC_TRY(ac_graph_add_named_param(graph, node, "class_token", 3, class_token, a->class_token_init));
    AC_TRY(ac_graph_add_param(graph, node, "pos_embedding", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 3, position, a->pos_embedding_init));
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, y)));
out:
    return status;
}

const ac_op ac_op_tokens = {
    .name = "tokens",
    .attribute_bytes = sizeof(ac_tokens_attribute),
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer_tokens,
    .keep = ac_op_keep_nothing,
};

ac_value ac_add_tokens(ac_graph *graph, const char *name, ac_value x, const ac_tokens_attribute *attribute)
{
    return ac_graph_append(graph, &ac_op_tokens, name, &x, 1, attribute);
}

static ac_status infer_first(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 3));
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, (ac_shape){2, {x->dim[0], x->dim[2]}, AC_F32})));
out:
    return status;
}

const ac_op ac_op_first_token = {
    .name = "first_token",
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer_first,
    .keep = ac_op_keep_nothing,
};

ac_value ac_add_first_token(ac_graph *graph, const char *name, ac_value x)
{
    return ac_graph_append(graph, &ac_op_first_token, name, &x, 1, NULL);
}
