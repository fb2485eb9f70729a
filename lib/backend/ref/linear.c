/* linear by its definition. */
#include "backend/ref/ref.h"

static ac_status forward(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    const ac_linear_attribute *a = (const void *)call->node->attribute;
    int64_t in = x->dim[x->n_dims - 1], rows = ac_shape_elements(x) / in, out = a->out_features;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < out; o++) {
            double sum = a->bias ? (double)((const float *)call->param[1])[o] : 0;
            for (int64_t i = 0; i < in; i++)
                sum += ref_input(call, 0, r * in + i) * ref_matrix(call, o * in + i);
            ref_set_output(call, r * out + o, sum);
        }
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    const ac_linear_attribute *a = (const void *)call->node->attribute;
    int64_t in = x->dim[x->n_dims - 1], rows = ac_shape_elements(x) / in, out = a->out_features;
    for (int64_t r = 0; call->dinput[0] && r < rows; r++)
        for (int64_t i = 0; i < in; i++) {
            double sum = 0;
            for (int64_t o = 0; o < out; o++)
                sum += ref_dout(call, r * out + o) * ref_matrix(call, o * in + i);
            ref_set_dinput(call, 0, r * in + i, sum);
        }
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i <= in; i++) { /* the last one is the bias */
            double sum = 0;
            float *gradient = i < in ? &call->param_gradient[0][o * in + i] : a->bias ? &call->param_gradient[1][o] : NULL;
            for (int64_t r = 0; r < rows; r++)
                sum += ref_dout(call, r * out + o) * (i < in ? ref_input(call, 0, r * in + i) : 1);
            if (gradient)
                *gradient = (float)(sum + (call->accumulate ? (double)*gradient : 0));
        }
    return AC_OK;
}

const ac_kernel ac_ref_linear = {.op = &ac_op_linear, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward, .backward = backward};
