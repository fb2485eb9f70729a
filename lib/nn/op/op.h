/* Small helpers that operator rows share. */
#ifndef ANYCLASS_LIB_NN_OP_H
#define ANYCLASS_LIB_NN_OP_H

#include "anyclass/ops.h"

/* Output element type of an operator that follows the graph's precision. */
static inline ac_shape ac_op_activation_shape(const ac_graph *graph, ac_shape shape)
{
    shape.dtype = graph->activation_dtype;
    return shape;
}

/* Input i must have n_dims dimensions. */
ac_status ac_op_expect_dims(const ac_graph *graph, const ac_node *node, int i, int n_dims);

/* "keep nothing", for rows whose backward reads only saved tensors and parameters */
unsigned ac_op_keep_nothing(const ac_node *node);
unsigned ac_op_keep_input(const ac_node *node);

#endif
