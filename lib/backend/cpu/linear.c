/* linear by oneDNN's matrix product. */
#include "backend/cpu/cpu.h"

typedef struct sizes {
    int64_t rows, in, out;
} sizes;

static sizes sizes_of(const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    int64_t in = x->dim[x->n_dims - 1];
    return (sizes){ac_shape_elements(x) / in, in, y->dim[y->n_dims - 1]};
}

/* bf16 operands are widened for the product: exact, and small in all that has a linear layer so far. */
static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants;
    sizes s = sizes_of(graph, node);
    ac_dtype x = ac_graph_shape(graph, node->input[0])->dtype, y = ac_graph_shape(graph, node->output[0])->dtype;
    if (x == AC_BF16) /* x or dx; weights */
        out->workspace_bytes += sizeof(float) * (size_t)(s.rows * s.in + s.out * s.in);
    if (y == AC_BF16) /* y or dy */
        out->workspace_bytes += sizeof(float) * (size_t)(s.rows * s.out);
    ac_status status = cpu_check_precision(device, x);
    return status == AC_OK ? cpu_check_precision(device, y) : status;
}

AC_SIMD static void widen(const void *from, float *restrict to, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = cpu_load(from, i, true);
}

AC_SIMD static void narrow(const float *restrict from, void *to, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        cpu_store(to, i, from[i], true);
}

AC_SIMD static void round_to_bf16(const float *restrict from, float *restrict to, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = ac_float_from_bf16(ac_bf16_from_float(from[i]));
}

typedef struct operands { /* as float: where the call has them, or in the workspace */
    float *x, *w, *y;
    bool narrow_x, narrow_y;
} operands;

static operands operands_of(const ac_call *call, const sizes *s, void *x, void *y)
{
    operands o = {.narrow_x = ac_graph_shape(call->graph, call->node->input[0])->dtype == AC_BF16,
                  .narrow_y = ac_graph_shape(call->graph, call->node->output[0])->dtype == AC_BF16};
    float *workspace = call->workspace;
    o.x = o.narrow_x ? workspace : x;
    o.w = o.narrow_x ? workspace + s->rows * s->in : (float *)call->param[0];
    o.y = !o.narrow_y ? y : o.narrow_x ? o.w + s->out * s->in : workspace;
    if (o.narrow_x)
        round_to_bf16(call->param[0], o.w, s->out * s->in);
    return o;
}

static ac_status forward(const ac_call *call)
{
    ac_status status = AC_OK;
    sizes s = sizes_of(call->graph, call->node);
    const float *bias = ((const ac_linear_attribute *)(const void *)call->node->attribute)->bias ? call->param[1] : NULL;
    operands o = operands_of(call, &s, (void *)call->input[0], call->output[0]);
    if (o.narrow_x)
        widen(call->input[0], o.x, s.rows * s.in);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t k = 0; k < s.out; k++)
            o.y[r * s.out + k] = bias ? bias[k] : 0;
    AC_TRY(cpu_check(dnnl_sgemm('N', 'T', s.rows, s.out, s.in, 1, o.x, s.in, o.w, s.in, 1, o.y, s.out), "linear forward"));
    if (o.narrow_y)
        narrow(o.y, call->output[0], s.rows * s.out);
out:
    return status;
}

AC_SIMD static void sum_rows(const float *dy, int64_t rows, int64_t out, bool accumulate, float *gradient)
{
    for (int64_t k = 0; k < out; k++) {
        double sum = accumulate ? (double)gradient[k] : 0;
        for (int64_t r = 0; r < rows; r++)
            sum += (double)dy[r * out + k];
        gradient[k] = (float)sum;
    }
}

static ac_status backward(const ac_call *call)
{
    ac_status status = AC_OK;
    sizes s = sizes_of(call->graph, call->node);
    operands o = operands_of(call, &s, call->dinput[0], (void *)call->doutput[0]);
    if (o.narrow_y)
        widen(call->doutput[0], o.y, s.rows * s.out);
    if (call->dinput[0]) {
        AC_TRY(cpu_check(dnnl_sgemm('N', 'N', s.rows, s.in, s.out, 1, o.y, s.out, o.w, s.in, 0, o.x, s.in), "linear backward data"));
        if (o.narrow_x)
            narrow(o.x, call->dinput[0], s.rows * s.in);
    }
    const float *x = call->input[0];
    if (o.narrow_x) {
        widen(call->input[0], o.x, s.rows * s.in);
        x = o.x;
    }
    AC_TRY(cpu_check(dnnl_sgemm('T', 'N', s.out, s.in, s.rows, 1, o.y, s.out, x, s.in, call->accumulate ? 1 : 0, call->param_gradient[0], s.in),
                     "linear backward weights"));
    if (((const ac_linear_attribute *)(const void *)call->node->attribute)->bias)
        sum_rows(o.y, s.rows, s.out, call->accumulate, call->param_gradient[1]);
out:
    return status;
}

const ac_kernel ac_cpu_linear = {.op = &ac_op_linear, .plan = plan, .forward = forward, .backward = backward};
