/* tokens and first_token by their definitions. */
#include "backend/ref/ref.h"

static ac_status forward(const ac_call *call)
{
    const ac_shape *y = ref_out(call);
    int64_t length = y->dim[1], channels = y->dim[2], i = 0;
    const float *class_token = call->param[0], *position = call->param[1];
    for (int64_t n = 0; n < y->dim[0]; n++)
        for (int64_t l = 0; l < length; l++)
            for (int64_t c = 0; c < channels; c++, i++) {
                double token = l == 0 ? (double)class_token[c] : ref_input(call, 0, (n * (length - 1) + l - 1) * channels + c);
                ref_set_output(call, i, token + (double)position[l * channels + c]);
            }
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    const ac_shape *y = ref_out(call);
    int64_t length = y->dim[1], channels = y->dim[2];
    for (int64_t k = 0; k < length * channels; k++) {
        double sum = 0;
        for (int64_t n = 0; n < y->dim[0]; n++) {
            double g = ref_dout(call, n * length * channels + k);
            sum += g;
            if (call->dinput[0] && k >= channels)
                ref_set_dinput(call, 0, n * (length - 1) * channels + k - channels, g);
        }
        call->param_gradient[1][k] = (float)(sum + (call->accumulate ? (double)call->param_gradient[1][k] : 0));
        if (k < channels)
            call->param_gradient[0][k] = (float)(sum + (call->accumulate ? (double)call->param_gradient[0][k] : 0));
    }
    return AC_OK;
}

const ac_kernel ac_ref_tokens = {.op = &ac_op_tokens, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward, .backward = backward};

static ac_status forward_first(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    for (int64_t n = 0; n < x->dim[0]; n++)
        for (int64_t c = 0; c < x->dim[2]; c++)
            ref_set_output(call, n * x->dim[2] + c, ref_input(call, 0, n * x->dim[1] * x->dim[2] + c));
    return AC_OK;
}

static ac_status backward_first(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    int64_t each = x->dim[1] * x->dim[2];
    for (int64_t i = 0; call->dinput[0] && i < ac_shape_elements(x); i++) {
        double g = i % each < x->dim[2] ? ref_dout(call, i / each * x->dim[2] + i % each) : 0;
        ref_set_dinput(call, 0, i, g + (call->add_dinput ? ref_get(x->dtype, call->dinput[0], i) : 0));
    }
    return AC_OK;
}

const ac_kernel ac_ref_first_token = {
    .op = &ac_op_first_token, .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, .forward = forward_first, .backward = backward_first};
