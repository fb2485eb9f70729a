/* attention: softmax(q k^T scale + bias) v, over all positions or inside windows or grids of a feature map. */
#include "nn/op/op.h"
#include <inttypes.h>

static ac_status check_partition(const ac_attention_attribute *a, const ac_shape *x)
{
    if (a->kind == AC_ATTENTION_GLOBAL)
        return AC_OK;
    if (a->window_px < 1 || x->dim[1] % a->window_px || x->dim[2] % a->window_px)
        return ac_error(AC_ERR_RANGE, "%" PRId64 " x %" PRId64 " positions are no multiple of a window of %d", x->dim[1], x->dim[2], a->window_px);
    return AC_OK;
}

static ac_status infer(ac_graph *graph, ac_node *node)
{
    ac_status status = AC_OK;
    const ac_attention_attribute *a = (const void *)node->attribute;
    AC_TRY(ac_op_expect_dims(graph, node, 0, a->kind == AC_ATTENTION_GLOBAL ? 3 : 4));
    ac_shape y = *ac_graph_shape(graph, node->input[0]);
    int64_t *channels = &y.dim[y.n_dims - 1], positions = ac_shape_elements(&y) / *channels / y.dim[0];
    if (a->n_heads < 1 || *channels % (3 * a->n_heads))
        return ac_error(AC_ERR_RANGE, "%" PRId64 " channels are no q, k and v of %d heads", *channels, a->n_heads);
    *channels /= 3;
    AC_TRY(check_partition(a, &y));
    if (a->kind != AC_ATTENTION_GLOBAL) {
        int64_t side = 2 * a->window_px - 1, table[] = {side * side, a->n_heads};
        AC_TRY(ac_graph_add_param(graph, node, "relative_position_bias_table", AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, 2, table,
                                  (ac_init){AC_INIT_NORMAL, 0, 0.02f}));
    }
    node->n_saved = 1;
    node->saved[0] = (ac_shape){3, {y.dim[0], a->n_heads, positions}, AC_F32};
    AC_TRY(ac_graph_set_output(graph, node, 0, ac_op_activation_shape(graph, y)));
out:
    return status;
}

static unsigned keep(const ac_node *node)
{
    (void)node;
    return AC_KEEP_INPUT(0) | AC_KEEP_OUTPUT(0);
}

static double flops(const ac_graph *graph, const ac_node *node)
{
    const ac_attention_attribute *a = (const void *)node->attribute;
    const ac_shape *y = ac_graph_shape(graph, node->output[0]);
    double seen = a->kind == AC_ATTENTION_GLOBAL ? (double)y->dim[1] : (double)a->window_px * a->window_px;
    return 4 * seen * (double)ac_shape_elements(y);
}

const ac_op ac_op_attention = {
    .name = "attention",
    .attribute_bytes = sizeof(ac_attention_attribute),
    .min_inputs = 1,
    .max_inputs = 1,
    .gradient_inputs = 1,
    .infer = infer,
    .keep = keep,
    .flops = flops,
};

ac_value ac_add_attention(ac_graph *graph, const char *name, ac_value qkv, const ac_attention_attribute *attribute)
{
    return ac_graph_append(graph, &ac_op_attention, name, &qkv, 1, attribute);
}
