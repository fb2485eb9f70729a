/* any_class_loss: the scalar that training minimises, and where backward starts. */
#include "nn/op/op.h"

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 2));
    AC_TRY(ac_op_expect_dims(graph, node, 1, 2));
    AC_TRY(ac_op_expect_dims(graph, node, 2, 1));
    AC_TRY(ac_op_expect_dims(graph, node, 3, 1));
    const ac_shape *logits = ac_graph_shape(graph, node->input[0]), *targets = ac_graph_shape(graph, node->input[1]);
    const ac_shape *weights = ac_graph_shape(graph, node->input[2]), *scale = ac_graph_shape(graph, node->input[3]);
    if (logits->dtype != AC_F32 || targets->dtype != AC_U8 || logits->dim[0] != targets->dim[0] || logits->dim[1] != targets->dim[1] ||
        weights->dtype != AC_F64 || weights->dim[0] != logits->dim[1] + 1 || scale->dtype != AC_F64 || scale->dim[0] != 1)
        return ac_error(AC_ERR_RANGE, "needs float logits [N, M], uint8 targets [N, M], double weights [M + 1], double scale [1]");
    AC_TRY(ac_graph_set_output(graph, node, 0, (ac_shape){1, {1}, AC_F64}));
out:
    return status;
}

static unsigned keep(const ac_node *node)
{
    (void)node;
    return AC_KEEP_INPUT(0) | AC_KEEP_INPUT(1) | AC_KEEP_INPUT(2) | AC_KEEP_INPUT(3);
}

const ac_op ac_op_any_class_loss = {
    .name = "any_class_loss",
    .attribute_bytes = sizeof(ac_loss_config),
    .min_inputs = 4,
    .max_inputs = 4,
    .gradient_inputs = 1,
    .is_loss = true,
    .infer = infer,
    .keep = keep,
};

ac_value ac_add_any_class_loss(ac_graph *graph, const char *name, ac_value logits, ac_value targets, ac_value class_weights,
                               ac_value inverse_denominator, const ac_loss_config *config)
{
    ac_value inputs[] = {logits, targets, class_weights, inverse_denominator};
    ac_value loss = ac_graph_append(graph, &ac_op_any_class_loss, name, inputs, 4, config);
    ac_graph_result(graph, loss);
    return loss;
}
