/* A plan bound for tests: every buffer apart from the others, guard words behind each. */
#include "anyclass/alloc.h"
#include "nn/plan_internal.h"
#include <string.h>

enum { GUARD = 0xFF }; /* all bits set is a NaN in every float type */

ac_status ac_plan_bind_guarded(ac_plan *plan)
{
    ac_status status = AC_OK;
    unsigned char *fill = NULL;
    if (plan->arena)
        return ac_error(AC_ERR_RANGE, "the plan is bound already");
    plan_place_apart(plan);
    AC_TRY(ac_malloc(plan->memory.arena_bytes, 1, &fill));
    memset(fill, GUARD, plan->memory.arena_bytes);
    AC_TRY(ac_plan_bind(plan, NULL));
    AC_TRY(plan->device->backend->upload(plan->device, plan->arena, fill, plan->memory.arena_bytes));
    plan->guarded = true;
out:
    ac_free(fill);
    return status;
}

/* Whose memory is it? Looks the buffer up among values, then among what the nodes own. */
static ac_status broken(const ac_plan *plan, int buffer, size_t at)
{
    const ac_graph *graph = plan->graph;
    for (size_t v = 0; v < graph->n_values; v++)
        if (plan->value[v].buffer == buffer)
            return ac_error(AC_ERR_RANGE, "value %s was written %zu bytes past its end", graph->value[v].name, at + 1);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const plan_node *node = &plan->node[i];
        const char *what = node->workspace[0] == buffer || node->workspace[1] == buffer ? "workspace" : NULL;
        for (int k = 0; k < AC_MAX_SAVED && !what; k++)
            what = node->saved[k] == buffer ? "saved tensor" : NULL;
        for (int k = 0; k < graph->node[i].n_inputs && !what; k++)
            what = node->dinput[k] == buffer ? "input gradient" : NULL;
        if (what)
            return ac_error(AC_ERR_RANGE, "%s of %s was written %zu bytes past its end", what, graph->node[i].name, at + 1);
    }
    return ac_error(AC_ERR_RANGE, "buffer %d was written %zu bytes past its end", buffer, at + 1);
}

ac_status ac_plan_check_guards(ac_plan *plan)
{
    ac_status status = AC_OK;
    unsigned char *bytes = NULL;
    if (!plan->guarded)
        return ac_error(AC_ERR_RANGE, "the plan is not bound to a guarded arena");
    AC_TRY(ac_malloc(plan->memory.arena_bytes, 1, &bytes));
    AC_TRY(plan->device->backend->download(plan->device, bytes, plan->arena, plan->memory.arena_bytes));
    for (size_t b = 0; b < plan->n_buffers; b++) {
        const plan_buffer *buffer = &plan->buffer[b];
        if (buffer->same_as != AC_NO_BUFFER)
            continue;
        size_t n = buffer->bytes - buffer->used + AC_ALIGN_BYTES;
        for (size_t k = 0; k < n; k++)
            if (bytes[buffer->offset + buffer->used + k] != GUARD)
                AC_TRY(broken(plan, (int)b, k));
    }
out:
    ac_free(bytes);
    return status;
}
