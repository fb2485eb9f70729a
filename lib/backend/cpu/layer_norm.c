/* layer_norm: each row read once and written once. Rows are divided into groups that depend on the shape alone; a group adds up its share of
 * the parameters' gradients, in float over a few rows and in double beyond, and the groups are added in order. Loops over a row are in
 * layer_norm_rows.c. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/layer_norm_rows.h"
#include <omp.h>

enum { MAX_GROUPS = 64, MIN_ROWS = 32 };

typedef struct division {
    int64_t rows, channels, group_rows, n_groups;
} division;

static division divide(const ac_shape *x)
{
    division d = {.channels = x->dim[x->n_dims - 1]};
    d.rows = ac_shape_elements(x) / d.channels;
    d.group_rows = (d.rows + MAX_GROUPS - 1) / MAX_GROUPS;
    d.group_rows = d.group_rows < MIN_ROWS ? MIN_ROWS : d.group_rows;
    d.n_groups = (d.rows + d.group_rows - 1) / d.group_rows;
    return d;
}

/* Workspace of backward: for each group two rows of sums in double, and its scratch. */
static double *sums_of(const ac_call *call, const division *d, int64_t group)
{
    return (double *)call->workspace + group * 2 * d->channels;
}

static float *scratch_of(const ac_call *call, const division *d, int64_t group)
{
    return (float *)sums_of(call, d, d->n_groups) + group * cpu_layer_norm_scratch(d->channels);
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)wants;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    division d = divide(x);
    if (x->dtype != y->dtype)
        return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    if (training)
        out->workspace_bytes = (size_t)d.n_groups * (2 * sizeof(double) * (size_t)d.channels + sizeof(float) * (size_t)cpu_layer_norm_scratch(d.channels));
    return cpu_check_precision(device, x->dtype);
}

static layer_norm_rows rows_of(const ac_call *call, const division *d)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    const ac_layer_norm_attribute *a = (const void *)call->node->attribute;
    layer_norm_rows r = {.channels = d->channels, .bf16 = x->dtype == AC_BF16, .x = call->input[0], .weight = call->param[0], .bias = call->param[1],
                         .mean = call->saved[0], .scale = call->saved[1], .eps = a->eps, .y = call->output[0]};
    return r;
}

typedef void rows_function(const layer_norm_rows *rows, int64_t first, int64_t n);

static void for_each_group(const layer_norm_rows *rows, const division *d, rows_function *function)
{
#pragma omp parallel for schedule(static)
    for (int64_t g = 0; g < d->n_groups; g++) {
        int64_t first = g * d->group_rows, n = d->rows - first < d->group_rows ? d->rows - first : d->group_rows;
        function(rows, first, n);
    }
}

static ac_status forward(const ac_call *call)
{
    const division d = divide(ac_graph_shape(call->graph, call->node->input[0]));
    const layer_norm_rows rows = rows_of(call, &d);
    for_each_group(&rows, &d, cpu_layer_norm_forward);
    return AC_OK;
}

static ac_status recompute(const ac_call *call)
{
    const division d = divide(ac_graph_shape(call->graph, call->node->input[0]));
    const layer_norm_rows rows = rows_of(call, &d);
    for_each_group(&rows, &d, cpu_layer_norm_again);
    return AC_OK;
}

/* Groups' sums, in order, into the parameters' gradients. */
AC_SIMD static void finish(const ac_call *call, const division *d, int64_t first, int64_t n)
{
    for (int64_t i = first; i < first + n; i++) {
        float *to = call->param_gradient[i / d->channels] + i % d->channels;
        double sum = call->accumulate ? (double)*to : 0;
        for (int64_t g = 0; g < d->n_groups; g++)
            sum += ((const double *)call->workspace)[g * 2 * d->channels + i];
        *to = (float)sum;
    }
}

static ac_status backward(const ac_call *call)
{
    const division d = divide(ac_graph_shape(call->graph, call->node->input[0]));
    layer_norm_gradient gradient = {.rows = rows_of(call, &d), .n_parts = call->n_doutput, .dx = call->dinput[0], .add = call->add_dinput};
    for (int k = 0; k < call->n_doutput; k++)
        gradient.part[k] = call->doutput[k];
#pragma omp parallel for schedule(static)
    for (int64_t g = 0; g < d.n_groups; g++) {
        int64_t first = g * d.group_rows, n = d.rows - first < d.group_rows ? d.rows - first : d.group_rows;
        cpu_layer_norm_backward(&gradient, first, n, sums_of(call, &d, g), scratch_of(call, &d, g));
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < 2 * d.channels; i += 64)
        finish(call, &d, i, 2 * d.channels - i < 64 ? 2 * d.channels - i : 64);
    return AC_OK;
}

const ac_kernel ac_cpu_layer_norm = {.op = &ac_op_layer_norm,
                                     .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT | AC_KERNEL_INPLACE_FORWARD | AC_KERNEL_INPLACE_BACKWARD,
                                     .plan = plan,
                                     .forward = forward,
                                     .backward = backward,
                                     .recompute = recompute};
