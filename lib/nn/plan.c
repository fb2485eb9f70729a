/* Building a plan and running it. Lifetimes and places are in plan_memory.c, arithmetic in the backends. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "nn/plan_internal.h"
#include <string.h>

/* A node has a backward when the loss depends on it and something before it is trained. */
static void find_backward(ac_plan *plan)
{
    const ac_graph *graph = plan->graph;
    if (!plan->training)
        return;
    for (int i = (int)graph->n_nodes - 1; i >= 0; i--) {
        const ac_node *node = &graph->node[i];
        bool reached = node->op->is_loss;
        for (int c = i + 1; c < (int)graph->n_nodes && !reached; c++)
            for (int k = 0; k < graph->node[c].n_inputs; k++)
                reached |= plan->node[c].has_backward && graph->node[c].input[k] == node->output[0] &&
                           (graph->node[c].op->gradient_inputs >> k & 1u);
        plan->node[i].has_backward = reached && graph->value[node->output[0]].needs_gradient;
    }
}

static unsigned wanted_gradients(const ac_plan *plan, int i)
{
    const ac_node *node = &plan->graph->node[i];
    unsigned wants = 0;
    for (int k = 0; plan->node[i].has_backward && k < node->n_inputs; k++)
        if ((node->op->gradient_inputs >> k & 1u) && !(node->op->passes >> k & 1u) && plan->graph->value[node->input[k]].needs_gradient)
            wants |= 1u << k;
    return wants;
}

static ac_status plan_kernels(ac_plan *plan)
{
    ac_status status = AC_OK;
    for (int i = 0; i < (int)plan->graph->n_nodes; i++) {
        plan_node *mine = &plan->node[i];
        const ac_node *node = &plan->graph->node[mine->takes == AC_NO_NODE ? i : mine->takes];
        if (!mine->kernel || !mine->kernel->plan)
            continue;
        mine->made.norm = mine->takes == AC_NO_NODE ? NULL : &plan->graph->node[i];
        status = mine->kernel->plan(plan->device, plan->graph, node, plan->training, wanted_gradients(plan, i), &mine->made);
        if (status != AC_OK)
            return ac_error_in(status, "%s (%s)", node->name, node->op->name);
        mine->prepared = plan->memory.prepared_bytes;
        plan->memory.prepared_bytes += (mine->made.prepared_bytes + AC_ALIGN_BYTES - 1) / AC_ALIGN_BYTES * AC_ALIGN_BYTES;
    }
    return AC_OK;
}

/* Parameters lie in reverse order of use, so what is final after node i's backward is everything up to the end of its
 * first parameter. */
static void find_ready(ac_plan *plan)
{
    for (size_t i = 0; i < plan->graph->n_nodes; i++) {
        const ac_node *node = &plan->graph->node[i];
        for (int k = 0; k < node->n_params; k++) {
            const ac_param_info *info = &plan->params->info[node->param[k]];
            size_t end = plan->params->offset[node->param[k]] + (size_t)ac_shape_elements(&info->shape);
            end = (end + AC_PARAM_ALIGN - 1) / AC_PARAM_ALIGN * AC_PARAM_ALIGN;
            if (info->role != AC_PARAM_BUFFER && end > plan->node[i].n_ready)
                plan->node[i].n_ready = end;
        }
    }
}

static ac_status check_params(const ac_graph *graph, const ac_params *params)
{
    if (graph->n_params != params->n_params)
        return ac_error(AC_ERR_RANGE, "graph has %zu parameters, the arena %zu", graph->n_params, params->n_params);
    for (size_t p = 0; p < graph->n_params; p++)
        if (strcmp(graph->param[p].name, params->info[p].name) != 0 || !ac_shape_equal(&graph->param[p].shape, &params->info[p].shape))
            return ac_error(AC_ERR_RANGE, "parameter %s of the graph is %s in the arena", graph->param[p].name, params->info[p].name);
    return AC_OK;
}

ac_status ac_plan_create(const ac_graph *graph, ac_params *params, bool training, ac_plan **out)
{
    ac_status status = AC_OK;
    ac_plan *plan = NULL;
    *out = NULL;
    AC_TRY(check_params(graph, params));
    if (training && !params->gradient)
        return ac_error(AC_ERR_RANGE, "training needs parameters made with gradients");
    AC_TRY(ac_calloc(1, sizeof *plan, &plan));
    plan->graph = graph;
    plan->params = params;
    plan->device = params->device;
    plan->training = training;
    AC_TRY(ac_calloc(graph->n_nodes, sizeof *plan->node, &plan->node));
    AC_TRY(ac_calloc(graph->n_values, sizeof *plan->value, &plan->value));
    AC_TRY(ac_calloc(graph->n_nodes, sizeof *plan->forward_s, &plan->forward_s));
    AC_TRY(ac_calloc(graph->n_nodes, sizeof *plan->backward_s, &plan->backward_s));
    find_backward(plan);
    AC_TRY(plan_find_norms(plan));
    AC_TRY(plan_kernels(plan));
    find_ready(plan);
    AC_TRY(plan_place_all(plan));
    plan_place_prepared(plan);
    plan->memory.param_bytes = (params->n_values * (params->gradient ? 2 : 1) + params->n_buffers) * sizeof(float) + (params->mirror ? params->n_values * 2 : 0);
    *out = plan;
    return AC_OK;
out:
    ac_plan_destroy(plan);
    return status;
}

void ac_plan_destroy(ac_plan *plan)
{
    if (!plan)
        return;
    for (size_t i = 0; plan->node && i < plan->graph->n_nodes; i++)
        if (plan->node[i].kernel && plan->node[i].kernel->release)
            plan->node[i].kernel->release(plan->node[i].made.state);
    if (plan->owns_arena)
        plan->device->backend->release(plan->device, plan->arena);
    ac_free(plan->node);
    ac_free(plan->value);
    ac_free(plan->buffer);
    ac_free(plan->forward_s);
    ac_free(plan->backward_s);
    ac_free(plan);
}

ac_plan_memory ac_plan_get_memory(const ac_plan *plan)
{
    return plan->memory;
}

void ac_plan_set_hooks(ac_plan *plan, const ac_plan_hooks *hooks)
{
    plan->hooks = *hooks;
}

/* In training each forward makes them, because what is recorded there is done again after every update. */
static bool makes_mirror(const ac_plan *plan)
{
    const ac_params *params = plan->params;
    return params->mirror && params->mirror_type == plan->graph->activation_dtype && (plan->training || params->mirror_version != params->version);
}

bool plan_prepares(const ac_plan *plan)
{
    return (plan->memory.prepared_bytes > 0 && plan->prepared_version != plan->params->version) || (!plan->training && makes_mirror(plan));
}

const void *plan_address(const ac_plan *plan, ac_value value)
{
    return plan->arena + plan->buffer[plan->value[value].buffer].offset;
}

static void *address(const ac_plan *plan, int buffer)
{
    return buffer == AC_NO_BUFFER ? NULL : plan->arena + plan->buffer[buffer].offset;
}

static float *param_address(const ac_plan *plan, int p)
{
    const ac_params *params = plan->params;
    return (params->info[p].role == AC_PARAM_BUFFER ? params->buffer : params->value) + params->offset[p];
}

static void bind_params(const ac_plan *plan, const ac_node *node, ac_call *call, bool backward)
{
    for (int k = 0; k < node->n_params; k++) {
        const ac_params *params = plan->params;
        call->param[k] = param_address(plan, node->param[k]);
        if (params->mirror && params->mirror_type == plan->graph->activation_dtype && params->info[node->param[k]].role != AC_PARAM_BUFFER)
            call->mirror[k] = (const unsigned char *)params->mirror + 2 * params->offset[node->param[k]];
        if (backward && plan->params->info[node->param[k]].role != AC_PARAM_BUFFER)
            call->param_gradient[k] = plan->params->gradient + plan->params->offset[node->param[k]];
    }
}

/* Backwards and remakings read a value that is made again where it is made. */
static int input_buffer(const ac_plan *plan, ac_value value, int pass)
{
    const plan_value *v = &plan->value[value];
    return pass > 0 && v->again != AC_NO_BUFFER ? v->again : v->buffer;
}

/* A node whose work another does is not called; who takes a norm writes the norm's output. */
static void bind_node(ac_plan *plan, int i)
{
    plan_node *mine = &plan->node[i];
    const ac_node *node = &plan->graph->node[mine->takes == AC_NO_NODE ? i : mine->takes], *last = &plan->graph->node[i];
    if (!mine->kernel)
        return;
    for (int pass = 0; pass < 3; pass++) {
        ac_call *call = &mine->call[pass];
        memset(call, 0, sizeof *call);
        call->device = plan->device;
        call->graph = plan->graph;
        call->node = node;
        call->state = mine->made.state;
        call->training = plan->training;
        for (int k = 0; k < node->n_inputs; k++)
            call->input[k] = address(plan, input_buffer(plan, node->input[k], pass));
        for (int k = 0; k < last->n_outputs; k++)
            call->output[k] = address(plan, plan->value[last->output[k]].buffer);
        for (int k = 0; k < node->n_saved; k++)
            call->saved[k] = address(plan, mine->saved[k]);
        bind_params(plan, node, call, pass == 1);
        call->workspace = pass < 2 ? address(plan, mine->workspace[pass]) : NULL;
        call->prepared = mine->made.prepared_bytes ? plan->prepared + mine->prepared : NULL;
        call->norm = mine->made.norm;
        for (int k = 0; call->norm && k < last->n_params; k++)
            call->norm_param[k] = param_address(plan, last->param[k]);
    }
    const plan_value *out = &plan->value[node->output[0]];
    bool sums = (mine->kernel->flags & AC_KERNEL_SUMS_DOUTPUT) && !plan_passes(plan, i);
    ac_call *back = &mine->call[1];
    back->add_dinput = mine->adds_dinput;
    if (out->again != AC_NO_BUFFER)
        mine->call[2].output[0] = address(plan, out->again);
    for (int k = 0; k < out->n_parts && k < (sums ? AC_MAX_DOUT : 1); k++)
        back->doutput[back->n_doutput++] = address(plan, out->part[k]);
    for (int k = 0; k < node->n_inputs; k++)
        back->dinput[k] = address(plan, mine->dinput[k]);
}

ac_status ac_plan_bind(ac_plan *plan, void *arena)
{
    ac_status status = AC_OK;
    if (plan->owns_arena)
        plan->device->backend->release(plan->device, plan->arena);
    plan->arena = arena;
    plan->owns_arena = false;
    plan->guarded = false;
    if (!arena) {
        AC_TRY(plan->device->backend->allocate(plan->device, plan->memory.arena_bytes, (void **)&plan->arena));
        plan->owns_arena = true;
    }
    plan->prepared = plan->arena + plan->prepared_at;
    plan->prepared_version = plan->params->version - 1;
    for (int i = 0; i < (int)plan->graph->n_nodes; i++)
        bind_node(plan, i);
out:
    return status;
}

/* What the host may reach: inputs to be written, results and their gradients to be read. */
typedef enum access { ACCESS_INPUT, ACCESS_RESULT, ACCESS_GRADIENT } access;

static ac_status check_access(const ac_plan *plan, ac_value value, access kind, size_t n_bytes)
{
    if (!plan->arena)
        return ac_error(AC_ERR_RANGE, "the plan has no arena yet");
    if (value < 0 || (size_t)value >= plan->graph->n_values)
        return ac_error(AC_ERR_RANGE, "%d is no value of this graph", value);
    const ac_value_info *info = &plan->graph->value[value];
    bool allowed = kind == ACCESS_INPUT ? info->producer < 0 : info->is_result && (kind == ACCESS_RESULT || plan->value[value].n_parts > 0);
    if (!allowed || n_bytes != ac_shape_bytes(&info->shape))
        return ac_error(AC_ERR_RANGE, "value %s cannot be reached from the host with %zu bytes", info->name, n_bytes);
    return AC_OK;
}

ac_status ac_plan_write(ac_plan *plan, ac_value value, const void *host, size_t n_bytes)
{
    ac_status status = AC_OK;
    AC_TRY(check_access(plan, value, ACCESS_INPUT, n_bytes));
    AC_TRY(plan->device->backend->upload(plan->device, address(plan, plan->value[value].buffer), host, n_bytes));
out:
    return status;
}

ac_status ac_plan_read(ac_plan *plan, ac_value value, void *host, size_t n_bytes)
{
    ac_status status = AC_OK;
    AC_TRY(check_access(plan, value, ACCESS_RESULT, n_bytes));
    AC_TRY(plan->device->backend->download(plan->device, host, address(plan, plan->value[value].buffer), n_bytes));
out:
    return status;
}

ac_status ac_plan_read_gradient(ac_plan *plan, ac_value value, void *host, size_t n_bytes)
{
    ac_status status = AC_OK;
    AC_TRY(check_access(plan, value, ACCESS_GRADIENT, n_bytes));
    if (plan->value[value].n_parts > 1)
        return ac_error(AC_ERR_RANGE, "the gradient of %s lies in several parts", plan->graph->value[value].name);
    AC_TRY(plan->device->backend->download(plan->device, host, address(plan, plan->value[value].part[0]), n_bytes));
out:
    return status;
}

/* The time, when all that was asked for is done. */
static ac_status clock_of(const ac_plan *plan, double *now)
{
    ac_status status = plan->device->backend->synchronize ? plan->device->backend->synchronize(plan->device) : AC_OK;
    *now = ac_now_s();
    return status;
}

static ac_status run(ac_plan *plan, int i, int pass)
{
    plan_node *node = &plan->node[i];
    ac_call *call = &node->call[pass];
    double start = 0, end;
    call->sum_over_ranks = plan->graph->sync_bn ? plan->hooks.sum_over_ranks : NULL;
    call->sum_context = plan->hooks.sum_context;
    call->loss_scale = plan->params->state ? &plan->params->state->loss_scale : NULL;
    ac_status status = plan->profiling ? clock_of(plan, &start) : AC_OK;
    if (status == AC_OK && call->prepared && plan->prepared_version != plan->params->version)
        status = node->kernel->prepare(call);
    if (status == AC_OK)
        status = pass == 0 ? node->kernel->forward(call) : pass == 1 ? node->kernel->backward(call) : node->kernel->recompute(call);
    if (status == AC_OK && plan->profiling) {
        status = clock_of(plan, &end);
        (pass == 0 ? plan->forward_s : plan->backward_s)[i] += end - start;
    }
    return status == AC_OK ? AC_OK : ac_error_in(status, "%s (%s)", plan->graph->node[i].name, plan->graph->node[i].op->name);
}

/* The parameters in two bytes. */
static ac_status refresh_mirror(ac_plan *plan)
{
    ac_params *params = plan->params;
    ac_status status = AC_OK;
    if (makes_mirror(plan))
        status = plan->device->backend->mirror(plan->device, params->mirror_type, params->mirror, params->value, params->n_values);
    if (status == AC_OK)
        params->mirror_version = params->version;
    return status;
}

ac_status ac_plan_forward(ac_plan *plan)
{
    ac_status status = AC_OK;
    if (!plan->arena)
        return ac_error(AC_ERR_RANGE, "the plan has no arena yet");
    AC_TRY(refresh_mirror(plan));
    for (int i = 0; i < (int)plan->graph->n_nodes; i++)
        if (plan->node[i].kernel)
            AC_TRY(run(plan, i, 0));
    plan->prepared_version = plan->params->version;
    if (plan->training) /* running statistics */
        ac_params_changed(plan->params);
out:
    return status;
}

/* Add the gradient parts that the kernel does not read itself to the first one. */
static ac_status add_parts(ac_plan *plan, int i)
{
    const ac_value_info *info = &plan->graph->value[plan->graph->node[i].output[0]];
    const plan_value *out = &plan->value[plan->graph->node[i].output[0]];
    ac_status status = AC_OK;
    for (int k = plan->node[i].call[1].n_doutput; k < out->n_parts; k++)
        AC_TRY(plan->device->backend->add(plan->device, info->shape.dtype, address(plan, out->part[0]), address(plan, out->part[k]),
                                          (size_t)ac_shape_elements(&info->shape)));
out:
    return status;
}

/* Parameters the loss does not depend on have a gradient of zero. */
static ac_status zero_unreached(ac_plan *plan, int i)
{
    ac_status status = AC_OK;
    const ac_call *call = &plan->node[i].call[1];
    for (int k = 0; k < call->node->n_params; k++)
        if (call->param_gradient[k])
            AC_TRY(plan->device->backend->zero(plan->device, call->param_gradient[k],
                                               ac_shape_bytes(&plan->params->info[call->node->param[k]].shape)));
out:
    return status;
}

ac_status ac_plan_backward(ac_plan *plan, bool accumulate)
{
    ac_status status = AC_OK;
    if (!plan->training || !plan->arena)
        return ac_error(AC_ERR_RANGE, "backward needs a bound plan made for training");
    for (int i = (int)plan->graph->n_nodes - 1; i >= 0; i--) {
        plan_node *node = &plan->node[i];
        node->call[1].accumulate = accumulate;
        if (node->has_backward) {
            AC_TRY(add_parts(plan, i));
            if (node->remakes != AC_NO_NODE)
                AC_TRY(run(plan, node->remakes, 2));
            AC_TRY(run(plan, i, 1));
        } else if (!accumulate) {
            AC_TRY(zero_unreached(plan, i));
        }
        if (node->n_ready && plan->hooks.gradient_ready)
            AC_TRY(plan->hooks.gradient_ready(plan->hooks.gradient_context, node->n_ready));
    }
out:
    return status;
}

void ac_plan_profile(ac_plan *plan, bool on)
{
    plan->profiling = on;
    memset(plan->forward_s, 0, plan->graph->n_nodes * sizeof *plan->forward_s);
    memset(plan->backward_s, 0, plan->graph->n_nodes * sizeof *plan->backward_s);
}

void ac_plan_profile_read(const ac_plan *plan, const double **forward_s, const double **backward_s)
{
    *forward_s = plan->forward_s;
    *backward_s = plan->backward_s;
}
