/* batch_norm by its definition, channel by channel. */
#include "backend/ref/ref.h"
#include <math.h>

static double normal_distribution(double v)
{
    return 0.5 * erfc(-v * 0.70710678118654752440);
}

static double activate(const ac_batch_norm_attribute *a, double v)
{
    if (a->activation == AC_ACTIVATION_GELU)
        return v < -40 ? 0 : v * normal_distribution(v);
    if (v > 0 || isnan(v) || a->activation == AC_ACTIVATION_NONE)
        return v;
    return a->activation == AC_ACTIVATION_RELU ? 0 : (double)a->slope * v;
}

/* Slope of the activation at v, or, but for GELU, where its output is v. */
static double slope_at(const ac_batch_norm_attribute *a, double v)
{
    if (a->activation == AC_ACTIVATION_GELU)
        return normal_distribution(v) + (fabs(v) < 40 || isnan(v) ? v * exp(-0.5 * v * v) * 0.39894228040143267794 : 0);
    if (v > 0 || a->activation == AC_ACTIVATION_NONE)
        return 1;
    return a->activation == AC_ACTIVATION_RELU ? 0 : (double)a->slope;
}

static ac_status total(const ac_call *call, double *values, size_t n)
{
    return call->sum_over_ranks ? call->sum_over_ranks(call->sum_context, values, n) : AC_OK;
}

/* Mean and 1/sqrt(var + eps) of channel c over the batch; updates the running statistics. */
static ac_status batch_statistics(const ac_call *call, int64_t rows, int64_t channels, int64_t c, double *mean, double *scale)
{
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    ac_status status = AC_OK;
    double sum[2] = {0, (double)rows}, square[1] = {0};
    for (int64_t r = 0; r < rows; r++)
        sum[0] += ref_input(call, 0, r * channels + c);
    AC_TRY(total(call, sum, 2));
    *mean = sum[0] / sum[1];
    for (int64_t r = 0; r < rows; r++) {
        double difference = ref_input(call, 0, r * channels + c) - *mean;
        square[0] += difference * difference;
    }
    AC_TRY(total(call, square, 1));
    *scale = 1 / sqrt(square[0] / sum[1] + (double)a->eps);
    float *running_mean = (float *)call->param[2] + c, *running_var = (float *)call->param[3] + c;
    double unbiased = square[0] / (sum[1] > 1 ? sum[1] - 1 : 1), momentum = (double)a->momentum;
    *running_mean = (float)((1 - momentum) * (double)*running_mean + momentum * *mean);
    *running_var = (float)((1 - momentum) * (double)*running_var + momentum * unbiased);
    *mean = ((float *)call->saved[0])[c] = (float)*mean; /* rounded here too, so that backward sees the same */
    *scale = ((float *)call->saved[1])[c] = (float)*scale;
out:
    return status;
}

static double affine(const ac_call *call, int64_t i, int64_t c, double mean, double scale)
{
    return (ref_input(call, 0, i) - mean) * scale * (double)((const float *)call->param[0])[c] + (double)((const float *)call->param[1])[c];
}

static ac_status forward(const ac_call *call)
{
    ac_status status = AC_OK;
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    const ac_shape *shape = ref_in(call, 0);
    int64_t channels = shape->dim[shape->n_dims - 1], rows = ac_shape_elements(shape) / channels;
    bool residual = call->node->n_inputs > 1;
    for (int64_t c = 0; c < channels; c++) {
        double mean = (double)((const float *)call->param[2])[c];
        double scale = 1 / sqrt((double)((const float *)call->param[3])[c] + (double)a->eps);
        if (call->training)
            AC_TRY(batch_statistics(call, rows, channels, c, &mean, &scale));
        for (int64_t i = c; i < rows * channels; i += channels) {
            double v = affine(call, i, c, mean, scale) + (residual ? ref_input(call, 1, i) : 0);
            ref_set_output(call, i, activate(a, v));
        }
    }
out:
    return status;
}

/* Gradient of element i, of channel c, before the activation. The output is kept only if there is a residual. */
static double output_gradient(const ac_call *call, int64_t i, int64_t c)
{
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    double g = ref_dout(call, i), mean = (double)((const float *)call->saved[0])[c], scale = (double)((const float *)call->saved[1])[c];
    if (call->node->n_inputs > 1)
        return a->activation == AC_ACTIVATION_NONE ? g : g * slope_at(a, ref_get(ref_out(call)->dtype, call->output[0], i));
    return g * slope_at(a, affine(call, i, c, mean, scale));
}

static ac_status backward(const ac_call *call)
{
    ac_status status = AC_OK;
    const ac_shape *shape = ref_in(call, 0);
    int64_t channels = shape->dim[shape->n_dims - 1], rows = ac_shape_elements(shape) / channels;
    const float *weight = call->param[0];
    for (int64_t c = 0; c < channels; c++) {
        double mean = (double)((const float *)call->saved[0])[c], scale = (double)((const float *)call->saved[1])[c];
        double sum[3] = {0, 0, (double)rows}; /* of g, of g * xhat, rows */
        for (int64_t i = c; i < rows * channels; i += channels) {
            double g = output_gradient(call, i, c);
            sum[0] += g;
            sum[1] += g * (ref_input(call, 0, i) - mean) * scale;
        }
        call->param_gradient[0][c] = (float)(sum[1] + (call->accumulate ? (double)call->param_gradient[0][c] : 0));
        call->param_gradient[1][c] = (float)(sum[0] + (call->accumulate ? (double)call->param_gradient[1][c] : 0));
        AC_TRY(total(call, sum, 3));
        for (int64_t i = c; i < rows * channels; i += channels) {
            double g = output_gradient(call, i, c);
            double xhat = (ref_input(call, 0, i) - mean) * scale;
            if (call->node->n_inputs > 1 && call->dinput[1])
                ref_set_dinput(call, 1, i, g);
            if (call->dinput[0])
                ref_set_dinput(call, 0, i, (double)weight[c] * scale * (g - sum[0] / sum[2] - xhat * sum[1] / sum[2]));
        }
    }
out:
    return status;
}

const ac_kernel ac_ref_batch_norm = {.op = &ac_op_batch_norm, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward, .backward = backward};
