/* The list of operators, and helpers of their rows. */
#include "nn/op/op.h"
#include <inttypes.h>
#include <string.h>

static const ac_op *const table[] = {
    &ac_op_image_input, &ac_op_conv2d,     &ac_op_batch_norm,     &ac_op_max_pool,       &ac_op_avg_pool,  &ac_op_global_avg_pool,
    &ac_op_blur_pool,   &ac_op_linear,     &ac_op_layer_norm,     &ac_op_attention,      &ac_op_tokens,    &ac_op_first_token,
    &ac_op_add,         &ac_op_dropout,    &ac_op_squeeze_excite, &ac_op_space_to_depth, &ac_op_any_class_loss,
};

const ac_op *const *ac_op_table(size_t *n)
{
    *n = sizeof table / sizeof *table;
    return table;
}

const ac_op *ac_op_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    return NULL;
}

ac_status ac_op_expect_dims(const ac_graph *graph, const ac_node *node, int i, int n_dims)
{
    char text[96];
    const ac_shape *shape = ac_graph_shape(graph, node->input[i]);
    if (shape->n_dims == n_dims)
        return AC_OK;
    return ac_error(AC_ERR_RANGE, "input %d is %s, needs %d dimensions", i, ac_shape_format(shape, text, sizeof text), n_dims);
}

unsigned ac_op_keep_nothing(const ac_node *node)
{
    (void)node;
    return 0;
}

unsigned ac_op_keep_input(const ac_node *node)
{
    (void)node;
    return AC_KEEP_INPUT(0);
}
