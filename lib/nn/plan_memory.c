/* When each buffer lives and where it lies: one arena, best fit by size. Runs nothing. */
#include "anyclass/alloc.h"
#include "nn/plan_internal.h"
#include <assert.h>
#include <stdlib.h>

int plan_root(const ac_plan *plan, int buffer)
{
    while (plan->buffer[buffer].same_as != AC_NO_BUFFER)
        buffer = plan->buffer[buffer].same_as;
    return buffer;
}

static size_t aligned(size_t bytes)
{
    return (bytes + AC_ALIGN_BYTES - 1) / AC_ALIGN_BYTES * AC_ALIGN_BYTES;
}

static ac_status add_buffer(ac_plan *plan, size_t bytes, int first, int last, int *out)
{
    ac_status status = ac_reserve(&plan->buffer, &plan->buffer_capacity, plan->n_buffers + 1, sizeof *plan->buffer);
    if (status != AC_OK)
        return status;
    plan->buffer[plan->n_buffers] = (plan_buffer){aligned(bytes), bytes, first, last, AC_NO_BUFFER, 0};
    *out = (int)plan->n_buffers++;
    return AC_OK;
}

static void extend(plan_buffer *buffer, int time)
{
    if (time > buffer->last)
        buffer->last = time;
}

/* Can output 0 of node i be dropped, and made again for the backwards that read it? Not if that would need something
 * that is made again itself. */
static bool is_remade(const ac_plan *plan, int i)
{
    const ac_node *node = &plan->graph->node[i];
    if (!plan->node[i].has_backward || !plan->node[i].kernel || !plan->node[i].kernel->recompute || plan->node[i].made.keeps_output ||
        plan->graph->value[node->output[0]].is_result)
        return false;
    unsigned keep = node->op->keep(node);
    for (int k = 0; k < node->n_inputs; k++)
        if ((keep & AC_KEEP_INPUT(k)) && plan->value[node->input[k]].again != AC_NO_BUFFER)
            return false;
    return !(keep & AC_KEEP_OUTPUT(0));
}

/* Node i reads `value` in its backward. Its producer comes before it in the graph, so it is known whether that makes it again:
 * the backward that comes first has it made. */
static ac_status keep_for_backward(ac_plan *plan, int i, ac_value value)
{
    ac_status status = AC_OK;
    plan_value *v = &plan->value[value];
    int time = plan_backward_time(plan, i), producer = plan->graph->value[value].producer;
    if (producer < 0 || !is_remade(plan, producer)) {
        extend(&plan->buffer[v->buffer], time);
        return AC_OK;
    }
    if (v->again == AC_NO_BUFFER)
        AC_TRY(add_buffer(plan, ac_shape_bytes(&plan->graph->value[value].shape), time, time, &v->again));
    plan_buffer *again = &plan->buffer[v->again];
    extend(again, time);
    again->first = time < again->first ? time : again->first;
out:
    return status;
}

/* A node makes at most one value again: the operators that keep several inputs take none of those that are. */
static ac_status find_remakers(ac_plan *plan)
{
    const ac_graph *graph = plan->graph;
    for (size_t v = 0; v < graph->n_values; v++) {
        if (plan->value[v].again == AC_NO_BUFFER)
            continue;
        plan_node *node = &plan->node[2 * (int)graph->n_nodes - 1 - plan->buffer[plan->value[v].again].first];
        if (node->remakes != AC_NO_NODE)
            return ac_error(AC_ERR_UNSUPPORTED, "%s: a backward that has two values made again", graph->value[v].name);
        node->remakes = graph->value[v].producer;
    }
    return AC_OK;
}

/* Activations: from the producer to the last reader, which in training may be a backward. */
static ac_status add_activations(ac_plan *plan)
{
    ac_status status = AC_OK;
    const ac_graph *graph = plan->graph;
    int end = 2 * (int)graph->n_nodes;
    for (size_t v = 0; v < graph->n_values; v++) {
        const ac_value_info *info = &graph->value[v];
        int first = info->producer < 0 ? -1 : info->producer;
        plan->value[v].buffer = plan->value[v].again = AC_NO_BUFFER;
        if (first >= 0 && plan->node[first].done_by != AC_NO_NODE)
            continue; /* never stored */
        AC_TRY(add_buffer(plan, ac_shape_bytes(&info->shape), first, info->is_result ? end : first, &plan->value[v].buffer));
    }
    for (int i = 0; i < (int)graph->n_nodes; i++) {
        const ac_node *node = &graph->node[i];
        unsigned keep = plan->node[i].has_backward ? node->op->keep(node) : 0;
        ac_value input[2 * AC_MAX_INPUTS];
        int n_inputs = plan_inputs(plan, i, input);
        plan->node[i].remakes = AC_NO_NODE;
        for (int k = 0; k < n_inputs; k++) {
            extend(&plan->buffer[plan->value[input[k]].buffer], i);
            if (keep & AC_KEEP_INPUT(k))
                AC_TRY(keep_for_backward(plan, i, input[k]));
        }
        for (int k = 0; k < node->n_outputs; k++)
            if (keep & AC_KEEP_OUTPUT(k))
                extend(&plan->buffer[plan->value[node->output[k]].buffer], plan_backward_time(plan, i));
    }
    AC_TRY(find_remakers(plan));
out:
    return status;
}

static ac_status add_saved_and_workspace(ac_plan *plan)
{
    ac_status status = AC_OK;
    for (int i = 0; i < (int)plan->graph->n_nodes; i++) {
        plan_node *node = &plan->node[i];
        int back = plan_backward_time(plan, i);
        for (int k = 0; k < AC_MAX_SAVED; k++)
            node->saved[k] = AC_NO_BUFFER;
        for (int k = 0; plan->training && k < plan->graph->node[i].n_saved; k++)
            AC_TRY(add_buffer(plan, ac_shape_bytes(&plan->graph->node[i].saved[k]), i, node->has_backward ? back : i, &node->saved[k]));
        node->workspace[0] = node->workspace[1] = AC_NO_BUFFER;
        if (node->made.workspace_bytes == 0)
            continue;
        AC_TRY(add_buffer(plan, node->made.workspace_bytes, i, i, &node->workspace[0]));
        if (node->has_backward)
            AC_TRY(add_buffer(plan, node->made.workspace_bytes, back, back, &node->workspace[1]));
        if (node->made.workspace_bytes > plan->memory.workspace_bytes)
            plan->memory.workspace_bytes = node->made.workspace_bytes;
    }
out:
    return status;
}

static bool is_passed(const ac_plan *plan, int i, int k)
{
    const ac_node *node = &plan->graph->node[i];
    return plan->node[i].has_backward && (node->op->passes & node->op->gradient_inputs) >> k & 1u && plan->graph->value[node->input[k]].needs_gradient;
}

bool plan_passes(const ac_plan *plan, int i)
{
    for (int k = 0; k < plan->graph->node[i].n_inputs; k++)
        if (is_passed(plan, i, k))
            return true;
    return false;
}

/* May node i add to the first part there is of the gradient of input 0? Not where it reads that very memory as its output's. Others that read it
 * have run: they come behind node i in the graph. */
static bool adds_to_part(const ac_plan *plan, int i)
{
    const ac_node *node = &plan->graph->node[i];
    const plan_value *in = &plan->value[node->input[0]], *out = &plan->value[node->output[0]];
    if (!(plan->node[i].kernel->flags & AC_KERNEL_ADDS_DINPUT) || in->n_parts == 0 || plan->graph->value[node->input[0]].is_result)
        return false;
    for (int k = 0; k < out->n_parts; k++)
        if (out->part[k] == in->part[0])
            return false;
    return true;
}

/* The part of input k's gradient that node i makes. */
static ac_status add_part(ac_plan *plan, int i, int k)
{
    ac_status status = AC_OK;
    const ac_node *node = &plan->graph->node[i];
    const ac_value_info *info = &plan->graph->value[node->input[k]];
    plan_value *value = &plan->value[node->input[k]];
    int last = info->is_result ? 2 * (int)plan->graph->n_nodes : plan_backward_time(plan, info->producer), part = AC_NO_BUFFER;
    if (k == 0 && adds_to_part(plan, i)) {
        plan->node[i].dinput[0] = value->part[0];
        plan->node[i].adds_dinput = true;
        return AC_OK;
    }
    if (value->n_parts == AC_MAX_PARTS)
        return ac_error(AC_ERR_UNSUPPORTED, "%s is used by more than %d operators", info->name, AC_MAX_PARTS);
    if (is_passed(plan, i, k)) {
        if (plan->graph->value[node->output[0]].is_result)
            return ac_error(AC_ERR_UNSUPPORTED, "%s: a result's gradient cannot be passed on", node->name);
        part = plan->value[node->output[0]].part[0];
        extend(&plan->buffer[part], last);
    } else {
        AC_TRY(add_buffer(plan, ac_shape_bytes(&info->shape), plan_backward_time(plan, i), last, &part));
        plan->node[i].dinput[k] = part;
    }
    value->part[value->n_parts++] = part;
out:
    return status;
}

/* Every consumer writes its own part of a value's gradient, adds to one that is there, or passes its output's on; the producer's backward reads
 * them all. */
static ac_status add_gradients(ac_plan *plan)
{
    ac_status status = AC_OK;
    const ac_graph *graph = plan->graph;
    for (int i = (int)graph->n_nodes - 1; i >= 0; i--) {
        const ac_node *node = &graph->node[i];
        for (int k = 0; k < AC_MAX_INPUTS; k++)
            plan->node[i].dinput[k] = AC_NO_BUFFER;
        for (int k = 0; plan->node[i].has_backward && k < node->n_inputs; k++)
            if ((node->op->gradient_inputs >> k & 1u) && graph->value[node->input[k]].needs_gradient)
                AC_TRY(add_part(plan, i, k));
    }
out:
    return status;
}

/* Let `later`, first written at `time`, take the memory of `earlier`, if that one's life ends there. */
static void share(ac_plan *plan, int earlier, int later, int time)
{
    int root = plan_root(plan, earlier);
    plan_buffer *old = &plan->buffer[root], *new = &plan->buffer[later];
    if (old->last != time || old->first < 0 || new->first != time || old->bytes != new->bytes || new->same_as != AC_NO_BUFFER)
        return;
    new->same_as = root;
    old->used = old->used > new->used ? old->used : new->used;
    extend(old, new->last);
}

static void share_in_place(ac_plan *plan)
{
    const ac_graph *graph = plan->graph;
    int n = (int)graph->n_nodes;
    for (int i = 0; i < n; i++) {
        const ac_node *node = &graph->node[i];
        if (plan->node[i].takes != AC_NO_NODE && node->n_inputs > 1) {
            share(plan, plan->value[node->input[1]].buffer, plan->value[node->output[0]].buffer, i);
            assert(plan->buffer[plan->value[node->output[0]].buffer].same_as != AC_NO_BUFFER); /* plan_find_norms() saw to it */
        } else if (plan->node[i].kernel && (plan->node[i].kernel->flags & AC_KERNEL_INPLACE_FORWARD)) {
            share(plan, plan->value[node->input[0]].buffer, plan->value[node->output[0]].buffer, i);
        }
    }
    for (int i = n - 1; i >= 0; i--) {
        const plan_value *out = &plan->value[graph->node[i].output[0]];
        if (!plan->node[i].has_backward || !(plan->node[i].kernel->flags & AC_KERNEL_INPLACE_BACKWARD) || out->n_parts == 0 ||
            plan->node[i].dinput[0] == AC_NO_BUFFER)
            continue;
        share(plan, out->part[0], plan->node[i].dinput[0], plan_backward_time(plan, i));
    }
}

typedef struct placed { /* a buffer that has its place, in order of offset */
    size_t offset, end;
    int first, last;
} placed;

static int by_offset(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

typedef struct sized {
    size_t bytes;
    int first, buffer;
} sized;

static int by_size(const void *a, const void *b)
{
    const sized *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return (x->buffer > y->buffer) - (x->buffer < y->buffer);
}

/* Lowest gap among the placed buffers that live at the same time. `done` is sorted by offset. */
static size_t find_place(const plan_buffer *buffer, const placed *done, size_t n_done)
{
    size_t offset = 0;
    for (size_t k = 0; k < n_done; k++) {
        if (done[k].first > buffer->last || done[k].last < buffer->first)
            continue;
        if (done[k].offset >= offset + buffer->bytes)
            break;
        if (done[k].end > offset)
            offset = done[k].end;
    }
    return offset;
}

/* A buffer that shares memory lies where its root lies. */
static void follow_roots(ac_plan *plan)
{
    for (size_t b = 0; b < plan->n_buffers; b++)
        plan->buffer[b].offset = plan->buffer[plan_root(plan, (int)b)].offset;
}

static ac_status place(ac_plan *plan)
{
    ac_status status = AC_OK;
    sized *order = NULL;
    placed *done = NULL;
    size_t n = 0;
    AC_TRY(ac_malloc(plan->n_buffers, sizeof *order, &order));
    AC_TRY(ac_malloc(plan->n_buffers, sizeof *done, &done));
    for (size_t b = 0; b < plan->n_buffers; b++) {
        plan->memory.sum_of_all_bytes += plan->buffer[b].bytes;
        if (plan->buffer[b].same_as == AC_NO_BUFFER)
            order[n++] = (sized){plan->buffer[b].bytes, plan->buffer[b].first, (int)b};
    }
    qsort(order, n, sizeof *order, by_size);
    for (size_t k = 0; k < n; k++) {
        plan_buffer *buffer = &plan->buffer[order[k].buffer];
        buffer->offset = find_place(buffer, done, k);
        done[k] = (placed){buffer->offset, buffer->offset + buffer->bytes, buffer->first, buffer->last};
        qsort(done, k + 1, sizeof *done, by_offset);
        if (buffer->offset + buffer->bytes > plan->memory.arena_bytes)
            plan->memory.arena_bytes = buffer->offset + buffer->bytes;
    }
    follow_roots(plan);
out:
    ac_free(order);
    ac_free(done);
    return status;
}

void plan_place_prepared(ac_plan *plan)
{
    plan->prepared_at = plan->memory.arena_bytes;
    plan->memory.arena_bytes += plan->memory.prepared_bytes;
}

void plan_place_apart(ac_plan *plan)
{
    size_t at = 0;
    for (size_t b = 0; b < plan->n_buffers; b++)
        if (plan->buffer[b].same_as == AC_NO_BUFFER) {
            plan->buffer[b].offset = at;
            at += plan->buffer[b].bytes + AC_ALIGN_BYTES;
        }
    plan->memory.arena_bytes = at;
    follow_roots(plan);
    plan_place_prepared(plan);
}

ac_status plan_place_all(ac_plan *plan)
{
    ac_status status = AC_OK;
    AC_TRY(add_activations(plan));
    AC_TRY(add_saved_and_workspace(plan));
    AC_TRY(add_gradients(plan));
    share_in_place(plan);
    AC_TRY(place(plan));
out:
    return status;
}
