/* blur_pool: a binomial filter in front of taking every second pixel (Zhang, ICML 2019). */
#include "nn/op/op.h"

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    ac_shape y = *ac_graph_shape(graph, node->input[0]);
    if (y.dim[1] < 2 || y.dim[2] < 2)
        return ac_error(AC_ERR_RANGE, "an image of one pixel cannot be mirrored at its border");
    y.dim[1] = (y.dim[1] + 1) / 2;
    y.dim[2] = (y.dim[2] + 1) / 2;
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, y)));
out:
    return status;
}

const ac_op ac_op_blur_pool = {
    .name = "blur_pool",
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer,
    .keep = ac_op_keep_nothing,
};

ac_value ac_add_blur_pool(ac_graph *graph, const char *name, ac_value x)
{
    return ac_graph_append(graph, &ac_op_blur_pool, name, &x, 1, NULL);
}
