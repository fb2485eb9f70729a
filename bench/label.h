/* What makes two nodes of a graph one line in tables of operators. */
#ifndef ANYCLASS_BENCH_LABEL_H
#define ANYCLASS_BENCH_LABEL_H

#include "anyclass/graph.h"
#include "anyclass/ops.h"
#include <stdio.h>

static inline void label_node(const ac_graph *g, const ac_node *node, char *out, size_t capacity)
{
    const ac_shape *x = ac_graph_shape(g, node->input[0]), *y = ac_graph_shape(g, node->output[0]);
    char from[96], to[96];
    int kernel = 0, stride = 0;
    if (node->op == &ac_op_conv2d) {
        const ac_conv2d_attribute *a = (const void *)node->attribute;
        kernel = a->kernel_px;
        stride = a->stride_px;
    }
    ac_shape_format(x, from, sizeof from);
    ac_shape_format(y, to, sizeof to);
    if (kernel)
        snprintf(out, capacity, "conv %dx%d/%d %s -> %s", kernel, kernel, stride, from, to);
    else if (ac_shape_equal(x, y))
        snprintf(out, capacity, "%s%s %s", node->op->name, node->n_inputs == 2 ? " + residual" : "", from);
    else
        snprintf(out, capacity, "%s %s -> %s", node->op->name, from, to);
}

#endif
