/* layer_norm by its definition, row by row. */
#include "backend/ref/ref.h"
#include <math.h>

static int64_t channels_of(const ac_shape *x)
{
    return x->dim[x->n_dims - 1];
}

/* Elements [first, first + channels) from mean and 1 / sqrt(var + eps). */
static void write_row(const ac_call *call, int64_t first, int64_t channels, double mean, double scale)
{
    for (int64_t c = 0; c < channels; c++)
        ref_set_output(call, first + c, (ref_input(call, 0, first + c) - mean) * scale * (double)((const float *)call->param[0])[c] + (double)((const float *)call->param[1])[c]);
}

static ac_status forward(const ac_call *call)
{
    const ac_layer_norm_attribute *a = (const void *)call->node->attribute;
    int64_t channels = channels_of(ref_in(call, 0)), rows = ac_shape_elements(ref_in(call, 0)) / channels;
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, square = 0;
        for (int64_t i = r * channels; i < (r + 1) * channels; i++)
            mean += ref_input(call, 0, i) / (double)channels;
        for (int64_t i = r * channels; i < (r + 1) * channels; i++)
            square += (ref_input(call, 0, i) - mean) * (ref_input(call, 0, i) - mean);
        float saved[2] = {(float)mean, (float)(1 / sqrt(square / (double)channels + (double)a->eps))}; /* rounded, so that backward sees the same */
        for (int k = 0; k < 2 && call->training; k++)
            ((float *)call->saved[k])[r] = saved[k];
        write_row(call, r * channels, channels, (double)saved[0], (double)saved[1]);
    }
    return AC_OK;
}

static ac_status recompute(const ac_call *call)
{
    int64_t channels = channels_of(ref_in(call, 0)), rows = ac_shape_elements(ref_in(call, 0)) / channels;
    for (int64_t r = 0; r < rows; r++)
        write_row(call, r * channels, channels, (double)((const float *)call->saved[0])[r], (double)((const float *)call->saved[1])[r]);
    return AC_OK;
}

static double normalised(const ac_call *call, int64_t i, int64_t r)
{
    return (ref_input(call, 0, i) - (double)((const float *)call->saved[0])[r]) * (double)((const float *)call->saved[1])[r];
}

static ac_status backward(const ac_call *call)
{
    const float *weight = call->param[0];
    int64_t channels = channels_of(ref_in(call, 0)), rows = ac_shape_elements(ref_in(call, 0)) / channels;
    for (int64_t c = 0; c < channels; c++) {
        double sum[2] = {0, 0};
        for (int64_t r = 0; r < rows; r++) {
            sum[0] += ref_dout(call, r * channels + c) * normalised(call, r * channels + c, r);
            sum[1] += ref_dout(call, r * channels + c);
        }
        for (int k = 0; k < 2; k++)
            call->param_gradient[k][c] = (float)(sum[k] + (call->accumulate ? (double)call->param_gradient[k][c] : 0));
    }
    for (int64_t r = 0; call->dinput[0] && r < rows; r++) {
        double mean = 0, along = 0; /* of g, of g times the normalised x */
        for (int64_t c = 0; c < channels; c++) {
            double g = ref_dout(call, r * channels + c) * (double)weight[c];
            mean += g / (double)channels;
            along += g * normalised(call, r * channels + c, r) / (double)channels;
        }
        for (int64_t c = 0; c < channels; c++) {
            int64_t i = r * channels + c;
            double dx = (double)((const float *)call->saved[1])[r] * (ref_dout(call, i) * (double)weight[c] - mean - normalised(call, i, r) * along);
            ref_set_dinput(call, 0, i, dx + (call->add_dinput ? ref_get(ref_in(call, 0)->dtype, call->dinput[0], i) : 0));
        }
    }
    return AC_OK;
}

const ac_kernel ac_ref_layer_norm = {
    .op = &ac_op_layer_norm, .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, .forward = forward, .backward = backward, .recompute = recompute};
