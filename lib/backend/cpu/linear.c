/* linear by oneDNN's matrix product. */
#include "backend/cpu/cpu.h"

static ac_status forward(const ac_call *call)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    const ac_linear_attribute *a = (const void *)call->node->attribute;
    int64_t in = x->dim[x->n_dims - 1], rows = ac_shape_elements(x) / in, out = a->out_features;
    float *y = call->output[0];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++)
            y[r * out + o] = a->bias ? ((const float *)call->param[1])[o] : 0;
    return cpu_check(dnnl_sgemm('N', 'T', rows, out, in, 1, call->input[0], in, call->param[0], in, 1, y, out), "linear forward");
}

static ac_status backward(const ac_call *call)
{
    ac_status status = AC_OK;
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    const ac_linear_attribute *a = (const void *)call->node->attribute;
    int64_t in = x->dim[x->n_dims - 1], rows = ac_shape_elements(x) / in, out = a->out_features;
    const float *dy = call->doutput[0];
    if (call->dinput[0])
        AC_TRY(cpu_check(dnnl_sgemm('N', 'N', rows, in, out, 1, dy, out, call->param[0], in, 0, call->dinput[0], in), "linear backward data"));
    AC_TRY(cpu_check(dnnl_sgemm('T', 'N', out, in, rows, 1, dy, out, call->input[0], in, call->accumulate ? 1 : 0, call->param_gradient[0], in),
                     "linear backward weights"));
    for (int64_t o = 0; a->bias && o < out; o++) {
        double sum = call->accumulate ? (double)call->param_gradient[1][o] : 0;
        for (int64_t r = 0; r < rows; r++)
            sum += (double)dy[r * out + o];
        call->param_gradient[1][o] = (float)sum;
    }
out:
    return status;
}

const ac_kernel ac_cpu_linear = {.op = &ac_op_linear, .forward = forward, .backward = backward};
