/* Batch norm in plans for inference is a scale, a shift and an activation per channel: where a kernel can apply them to its
 * own result, the two nodes run as one, at the time of the second. The graph stays as it is. */
#include "nn/plan_internal.h"

/* Does node c read the value at all? */
static bool reads(const ac_node *node, ac_value value)
{
    for (int k = 0; k < node->n_inputs; k++)
        if (node->input[k] == value)
            return true;
    return false;
}

/* The residual lies where the result will be. So it must be in the arena and end its life here, and not be what the
 * convolution reads. Who runs later than its place in the graph says reads it later as well, which late_reads() is for. */
static bool residual_ends_here(const ac_plan *plan, int i, int conv)
{
    const ac_graph *graph = plan->graph;
    ac_value residual = graph->node[i].input[1];
    if (graph->value[residual].producer < 0 || graph->value[residual].is_result || reads(&graph->node[conv], residual))
        return false;
    for (size_t c = (size_t)i + 1; c < graph->n_nodes; c++)
        if (reads(&graph->node[c], residual))
            return false;
    return true;
}

/* Between its place and i, is something that the convolution reads overwritten as another's residual? */
static bool late_reads(const ac_plan *plan, int i, int conv)
{
    const ac_graph *graph = plan->graph;
    for (int c = conv + 1; c < i; c++)
        if (plan->node[c].takes != AC_NO_NODE && graph->node[c].n_inputs > 1 && reads(&graph->node[conv], graph->node[c].input[1]))
            return true;
    return false;
}

static bool can_take(const ac_plan *plan, int i)
{
    const ac_graph *graph = plan->graph;
    const ac_node *norm = &graph->node[i];
    const ac_value_info *x = &graph->value[norm->input[0]];
    int n_readers = 0;
    if (!norm->op->is_norm || x->producer < 0 || x->is_result || !plan->node[x->producer].kernel || plan->node[x->producer].takes != AC_NO_NODE ||
        !(plan->node[x->producer].kernel->flags & AC_KERNEL_TAKES_NORM))
        return false;
    for (size_t c = 0; c < graph->n_nodes; c++)
        for (int k = 0; k < graph->node[c].n_inputs; k++)
            n_readers += graph->node[c].input[k] == norm->input[0];
    return n_readers == 1 && (norm->n_inputs == 1 || residual_ends_here(plan, i, x->producer)) && !late_reads(plan, i, x->producer);
}

ac_status plan_find_norms(ac_plan *plan)
{
    const ac_graph *graph = plan->graph;
    for (int i = 0; i < (int)graph->n_nodes; i++) {
        plan_node *mine = &plan->node[i];
        mine->kernel = ac_backend_kernel(plan->device->backend, graph->node[i].op);
        mine->takes = mine->done_by = AC_NO_NODE;
        if (!mine->kernel || (mine->has_backward && !mine->kernel->backward))
            return ac_error(AC_ERR_UNSUPPORTED, "%s: backend %s has no %s of operator %s", graph->node[i].name, plan->device->backend->name,
                            mine->kernel ? "backward" : "forward", graph->node[i].op->name);
        if (plan->training || !can_take(plan, i))
            continue;
        mine->takes = graph->value[graph->node[i].input[0]].producer;
        mine->kernel = plan->node[mine->takes].kernel;
        plan->node[mine->takes].done_by = i;
        plan->node[mine->takes].kernel = NULL;
    }
    return AC_OK;
}

int plan_inputs(const ac_plan *plan, int i, ac_value out[2 * AC_MAX_INPUTS])
{
    const ac_node *node = &plan->graph->node[i];
    int n = 0, takes = plan->node[i].takes;
    if (plan->node[i].done_by != AC_NO_NODE)
        return 0;
    for (int k = 0; takes != AC_NO_NODE && k < plan->graph->node[takes].n_inputs; k++)
        out[n++] = plan->graph->node[takes].input[k];
    for (int k = takes == AC_NO_NODE ? 0 : 1; k < node->n_inputs; k++)
        out[n++] = node->input[k];
    return n;
}
