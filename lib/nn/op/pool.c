/* max_pool and global_avg_pool. */
#include "nn/op/op.h"
#include <inttypes.h>

static ac_status infer_max(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_pool_attribute *a = (const void *)node->attribute;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    ac_shape x = *ac_graph_shape(graph, node->input[0]), y = x;
    /* the window's position is kept in a byte; padding beyond half a window would give windows without a pixel */
    if (a->kernel_px < 1 || a->kernel_px > 16 || a->stride_px < 1 || a->padding_px < 0 || 2 * a->padding_px > a->kernel_px)
        return ac_error(AC_ERR_RANGE, "kernel %d, stride %d, padding %d", a->kernel_px, a->stride_px, a->padding_px);
    for (int i = 1; i <= 2; i++) {
        if (x.dim[i] + 2 * a->padding_px < a->kernel_px)
            return ac_error(AC_ERR_RANGE, "window of %d pixels is larger than the padded input of %" PRId64, a->kernel_px,
                            x.dim[i] + 2 * a->padding_px);
        y.dim[i] = (x.dim[i] + 2 * a->padding_px - a->kernel_px) / a->stride_px + 1;
    }
    node->n_saved = 1;
    node->saved[0] = y;
    node->saved[0].dtype = AC_U8;
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, y)));
out:
    return status;
}

const ac_op ac_op_max_pool = {
    .name = "max_pool",
    .attribute_bytes = sizeof(ac_pool_attribute),
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer_max,
    .keep = ac_op_keep_nothing,
};

ac_value ac_add_max_pool(ac_graph *graph, const char *name, ac_value x, const ac_pool_attribute *attribute)
{
    return ac_graph_append(graph, &ac_op_max_pool, name, &x, 1, attribute);
}

static ac_status infer_average(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, (ac_shape){2, {x->dim[0], x->dim[3]}, AC_F32})));
out:
    return status;
}

const ac_op ac_op_global_avg_pool = {
    .name = "global_avg_pool",
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer_average,
    .keep = ac_op_keep_nothing,
};

ac_value ac_add_global_avg_pool(ac_graph *graph, const char *name, ac_value x)
{
    return ac_graph_append(graph, &ac_op_global_avg_pool, name, &x, 1, NULL);
}
