/* avg_pool: mean over windows. */
#include "nn/op/op.h"
#include <inttypes.h>

/* torch.nn.AvgPool2d: with ceil the last window must begin in the input or the padding in front of it. */
static int64_t out_pixels(const ac_avg_pool_attribute *a, int64_t n)
{
    int64_t free = n + 2 * a->padding_px - a->kernel_px, y = (free + (a->ceil ? a->stride_px - 1 : 0)) / a->stride_px + 1;
    return a->ceil && (y - 1) * a->stride_px >= n + a->padding_px ? y - 1 : y;
}

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_avg_pool_attribute *a = (const void *)node->attribute;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    ac_shape y = *ac_graph_shape(graph, node->input[0]);
    if (a->kernel_px < 1 || a->stride_px < 1 || a->padding_px < 0 || 2 * a->padding_px > a->kernel_px)
        return ac_error(AC_ERR_RANGE, "kernel %d, stride %d, padding %d", a->kernel_px, a->stride_px, a->padding_px);
    for (int i = 1; i <= 2; i++) {
        if (y.dim[i] + 2 * a->padding_px < a->kernel_px && !a->ceil)
            return ac_error(AC_ERR_RANGE, "window of %d pixels is larger than the padded input of %" PRId64, a->kernel_px, y.dim[i] + 2 * a->padding_px);
        y.dim[i] = out_pixels(a, y.dim[i]);
        if (y.dim[i] < 1)
            return ac_error(AC_ERR_RANGE, "window of %d pixels leaves nothing", a->kernel_px);
    }
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, y)));
out:
    return status;
}

const ac_op ac_op_avg_pool = {
    .name = "avg_pool",
    .attribute_bytes = sizeof(ac_avg_pool_attribute),
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer,
    .keep = ac_op_keep_nothing,
};

ac_value ac_add_avg_pool(ac_graph *graph, const char *name, ac_value x, const ac_avg_pool_attribute *attribute)
{
    return ac_graph_append(graph, &ac_op_avg_pool, name, &x, 1, attribute);
}
