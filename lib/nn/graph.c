/* The graph as a growing list of nodes, values and parameters. What an operator means is its row's business (op/). */
#include "anyclass/graph.h"
#include "anyclass/alloc.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

ac_status ac_graph_create(ac_dtype activation_dtype, ac_graph **out)
{
    ac_status status = ac_calloc(1, sizeof **out, out);
    if (status == AC_OK)
        (*out)->activation_dtype = activation_dtype;
    return status;
}

void ac_graph_destroy(ac_graph *graph)
{
    if (!graph)
        return;
    ac_free(graph->node);
    ac_free(graph->value);
    ac_free(graph->param);
    ac_free(graph);
}

/* Keep the first failure; the calls that follow do nothing. */
static ac_value graph_fail(ac_graph *graph, ac_status status)
{
    if (graph->status == AC_OK) {
        graph->status = status;
        snprintf(graph->error, sizeof graph->error, "%s", ac_error_text());
    }
    return AC_NO_VALUE;
}

static ac_status check_shape(const char *name, const ac_shape *shape)
{
    int64_t n = 1;
    bool good = shape->n_dims >= 1 && shape->n_dims <= AC_MAX_DIMS;
    for (int i = 0; good && i < shape->n_dims; i++) {
        good = shape->dim[i] >= 1 && n <= INT64_MAX / 16 / shape->dim[i];
        if (good)
            n *= shape->dim[i];
    }
    return good ? AC_OK : ac_error(AC_ERR_RANGE, "%s: a tensor needs 1 to %d dimensions of at least 1", name, AC_MAX_DIMS);
}

static ac_status copy_name(char out[AC_NAME_BYTES], const char *name)
{
    if (strlen(name) >= AC_NAME_BYTES)
        return ac_error(AC_ERR_RANGE, "name '%s' is longer than %d bytes", name, AC_NAME_BYTES - 1);
    strcpy(out, name);
    return AC_OK;
}

static ac_status add_value(ac_graph *graph, const char *name, const ac_shape *shape, int producer, ac_value *out)
{
    ac_status status = AC_OK;
    AC_TRY(check_shape(name, shape));
    AC_TRY(ac_reserve(&graph->value, &graph->value_capacity, graph->n_values + 1, sizeof *graph->value));
    ac_value_info *value = &graph->value[graph->n_values];
    memset(value, 0, sizeof *value);
    AC_TRY(copy_name(value->name, name));
    value->shape = *shape;
    value->producer = producer;
    *out = (ac_value)graph->n_values++;
out:
    return status;
}

ac_value ac_graph_input(ac_graph *graph, const char *name, const ac_shape *shape)
{
    ac_value value = AC_NO_VALUE;
    if (graph->status != AC_OK)
        return AC_NO_VALUE;
    ac_status status = add_value(graph, name, shape, -1, &value);
    return status == AC_OK ? value : graph_fail(graph, status);
}

/* A value needs a gradient when a trainable parameter lies at or before its producer. */
static void mark_gradients(ac_graph *graph, const ac_node *node)
{
    bool needs = false;
    for (int i = 0; i < node->n_params; i++)
        needs |= graph->param[node->param[i]].role != AC_PARAM_BUFFER;
    for (int i = 0; i < node->n_inputs; i++)
        if (node->input[i] != AC_NO_VALUE && (node->op->gradient_inputs >> i & 1u))
            needs |= graph->value[node->input[i]].needs_gradient;
    for (int i = 0; i < node->n_outputs; i++)
        graph->value[node->output[i]].needs_gradient = needs;
}

static ac_status append(ac_graph *graph, const ac_op *op, const char *name, const ac_value *inputs, int n_inputs, const void *attribute)
{
    ac_status status = AC_OK;
    if (n_inputs < op->min_inputs || n_inputs > op->max_inputs || op->attribute_bytes > AC_ATTRIBUTE_BYTES)
        return ac_error(AC_ERR_RANGE, "%d inputs do not fit operator %s", n_inputs, op->name);
    AC_TRY(ac_reserve(&graph->node, &graph->node_capacity, graph->n_nodes + 1, sizeof *graph->node));
    ac_node *node = &graph->node[graph->n_nodes];
    memset(node, 0, sizeof *node);
    node->op = op;
    node->n_inputs = n_inputs;
    AC_TRY(copy_name(node->name, name));
    for (int i = 0; i < n_inputs; i++) {
        if (inputs[i] < 0 || (size_t)inputs[i] >= graph->n_values)
            return ac_error(AC_ERR_RANGE, "input %d is no value of this graph", i);
        node->input[i] = inputs[i];
    }
    if (op->attribute_bytes)
        memcpy(node->attribute, attribute, op->attribute_bytes);
    graph->n_nodes++;
    AC_TRY(op->infer(graph, node));
    mark_gradients(graph, node);
out:
    return status;
}

ac_value ac_graph_append(ac_graph *graph, const ac_op *op, const char *name, const ac_value *inputs, int n_inputs, const void *attribute)
{
    if (graph->status != AC_OK)
        return AC_NO_VALUE;
    ac_status status = append(graph, op, name, inputs, n_inputs, attribute);
    if (status != AC_OK)
        return graph_fail(graph, ac_error_in(status, "%s (%s)", name, op->name));
    return graph->node[graph->n_nodes - 1].output[0];
}

void ac_graph_result(ac_graph *graph, ac_value value)
{
    if (graph->status == AC_OK && value >= 0 && (size_t)value < graph->n_values)
        graph->value[value].is_result = true;
}

ac_status ac_graph_finish(ac_graph *graph)
{
    return graph->status == AC_OK ? AC_OK : ac_error(graph->status, "%s", graph->error);
}

ac_value ac_graph_find(const ac_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_values; i++)
        if (strcmp(graph->value[i].name, name) == 0)
            return (ac_value)i;
    return AC_NO_VALUE;
}

double ac_graph_flops(const ac_graph *graph)
{
    double sum = 0;
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (graph->node[i].op->flops)
            sum += graph->node[i].op->flops(graph, &graph->node[i]);
    return sum;
}

const ac_shape *ac_graph_shape(const ac_graph *graph, ac_value value)
{
    return &graph->value[value].shape;
}

typedef struct param_kind {
    ac_param_role role;
    ac_layout layout;
    ac_init init;
} param_kind;

static ac_status add_param(ac_graph *graph, ac_node *node, const char *name, const param_kind *kind, int n_dims, const int64_t *dims)
{
    ac_status status = AC_OK;
    if (node->n_params == AC_MAX_NODE_PARAMS)
        return ac_error(AC_ERR_RANGE, "more than %d parameters", AC_MAX_NODE_PARAMS);
    AC_TRY(ac_reserve(&graph->param, &graph->param_capacity, graph->n_params + 1, sizeof *graph->param));
    ac_param_info *param = &graph->param[graph->n_params];
    memset(param, 0, sizeof *param);
    AC_TRY(copy_name(param->name, name));
    param->shape.n_dims = n_dims;
    param->shape.dtype = AC_F32;
    for (int i = 0; i < n_dims && i < AC_MAX_DIMS; i++)
        param->shape.dim[i] = dims[i];
    AC_TRY(check_shape(param->name, &param->shape));
    param->role = kind->role;
    param->layout = kind->layout;
    param->init = kind->init;
    param->node = (int)(node - graph->node);
    node->param[node->n_params++] = (int)graph->n_params++;
out:
    return status;
}

ac_status ac_graph_add_param(ac_graph *graph, ac_node *node, const char *suffix, ac_param_role role, ac_layout layout,
                             int n_dims, const int64_t *dims, ac_init init)
{
    char name[AC_NAME_BYTES];
    int n = snprintf(name, sizeof name, "%s.%s", node->name, suffix);
    if (n < 0 || (size_t)n >= sizeof name)
        return ac_error(AC_ERR_RANGE, "parameter name '%s.%s' is too long", node->name, suffix);
    return add_param(graph, node, name, &(param_kind){role, layout, init}, n_dims, dims);
}

ac_status ac_graph_add_named_param(ac_graph *graph, ac_node *node, const char *name, int n_dims, const int64_t *dims, ac_init init)
{
    return add_param(graph, node, name, &(param_kind){AC_PARAM_VECTOR, AC_LAYOUT_PLAIN, init}, n_dims, dims);
}

ac_status ac_graph_set_output(ac_graph *graph, ac_node *node, int i, ac_shape shape)
{
    char name[AC_NAME_BYTES + 8];
    if (i != node->n_outputs || i >= AC_MAX_OUTPUTS)
        return ac_error(AC_ERR_RANGE, "output %d set out of order", i);
    snprintf(name, sizeof name, i ? "%s:%d" : "%s", node->name, i);
    ac_status status = add_value(graph, name, &shape, (int)(node - graph->node), &node->output[i]);
    if (status == AC_OK)
        node->n_outputs++;
    return status;
}
