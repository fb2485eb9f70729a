/* conv2d: convolution of feature maps. */
#include "nn/op/op.h"
#include <inttypes.h>

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    AC_TRY(ac_op_expect_dims(graph, node, 0, 4));
    ac_shape x = *ac_graph_shape(graph, node->input[0]), y = x;
    if (a->kernel_px < 1 || a->stride_px < 1 || a->padding_px < 0 || a->groups < 1 || a->out_channels < 1 || x.dim[3] % a->groups ||
        a->out_channels % a->groups)
        return ac_error(AC_ERR_RANGE, "kernel %d, stride %d, padding %d, groups %d do not fit %" PRId64 " -> %" PRId64 " channels",
                        a->kernel_px, a->stride_px, a->padding_px, a->groups, x.dim[3], a->out_channels);
    for (int i = 1; i <= 2; i++) {
        if (x.dim[i] + 2 * a->padding_px < a->kernel_px)
            return ac_error(AC_ERR_RANGE, "kernel of %d pixels is larger than the padded input of %" PRId64, a->kernel_px,
                            x.dim[i] + 2 * a->padding_px);
        y.dim[i] = (x.dim[i] + 2 * a->padding_px - a->kernel_px) / a->stride_px + 1;
    }
    y.dim[3] = a->out_channels;
    int64_t weight[] = {a->out_channels, x.dim[3] / a->groups, a->kernel_px, a->kernel_px};
    AC_TRY(ac_graph_add_param(graph, node, "weight", AC_PARAM_MATRIX, AC_LAYOUT_OHWI, 4, weight, a->weight_init));
    if (a->bias)
        AC_TRY(ac_graph_add_param(graph, node, "bias", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 1, weight, a->bias_init));
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, y)));
out:
    return status;
}

static double flops(const ac_graph *graph, const ac_node *node)
{
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    double per_output = 2.0 * a->kernel_px * a->kernel_px * (double)ac_graph_shape(graph, node->input[0])->dim[3] / a->groups;
    return per_output * (double)ac_shape_elements(ac_graph_shape(graph, node->output[0]));
}

const ac_op ac_op_conv2d = {
    .name = "conv2d",
    .attribute_bytes = sizeof(ac_conv2d_attribute),
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer,
    .keep = ac_op_keep_input,
    .flops = flops,
};

ac_value ac_add_conv2d(ac_graph *graph, const char *name, ac_value x, const ac_conv2d_attribute *attribute)
{
    return ac_graph_append(graph, &ac_op_conv2d, name, &x, 1, attribute);
}
