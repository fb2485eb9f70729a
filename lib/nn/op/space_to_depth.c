/* space_to_depth: blocks of pixels become channels. */
#include "nn/op/op.h"
#include <inttypes.h>

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_space_to_depth_attribute *a = (const void *)node->attribute;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    ac_shape y = *ac_graph_shape(graph, node->input[0]);
    if (a->block_px < 1 || y.dim[1] % a->block_px || y.dim[2] % a->block_px)
        return ac_error(AC_ERR_RANGE, "%" PRId64 " x %" PRId64 " pixels are no multiple of a block of %d", y.dim[1], y.dim[2], a->block_px);
    y.dim[1] /= a->block_px;
    y.dim[2] /= a->block_px;
    y.dim[3] *= a->block_px * a->block_px;
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, y)));
out:
    return status;
}

const ac_op ac_op_space_to_depth = {
    .name = "space_to_depth",
    .attribute_bytes = sizeof(ac_space_to_depth_attribute),
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer,
    .keep = ac_op_keep_nothing,
};

ac_value ac_add_space_to_depth(ac_graph *graph, const char *name, ac_value x, const ac_space_to_depth_attribute *attribute)
{
    return ac_graph_append(graph, &ac_op_space_to_depth, name, &x, 1, attribute);
}
