/* max_pool and global_avg_pool by their definitions. */
#include "backend/ref/ref.h"
#include <math.h>
#include <string.h>

static ac_status forward_max(const ac_call *call)
{
    const ac_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ref_in(call, 0), *y = ref_out(call);
    const float *in = call->input[0];
    int64_t i = 0, channels = x->dim[3];
    for (int64_t n = 0; n < y->dim[0]; n++)
        for (int64_t oy = 0; oy < y->dim[1]; oy++)
            for (int64_t ox = 0; ox < y->dim[2]; ox++)
                for (int64_t c = 0; c < channels; c++, i++) {
                    float best = -INFINITY;
                    int at = -1;
                    for (int k = 0; k < a->kernel_px * a->kernel_px; k++) {
                        int64_t iy = oy * a->stride_px - a->padding_px + k / a->kernel_px, ix = ox * a->stride_px - a->padding_px + k % a->kernel_px;
                        if (iy < 0 || iy >= x->dim[1] || ix < 0 || ix >= x->dim[2])
                            continue;
                        float v = in[((n * x->dim[1] + iy) * x->dim[2] + ix) * channels + c];
                        if (at < 0 || v > best || isnan(v)) {
                            best = v;
                            at = k;
                        }
                    }
                    ((float *)call->output[0])[i] = best;
                    if (call->saved[0])
                        ((uint8_t *)call->saved[0])[i] = (uint8_t)at;
                }
    return AC_OK;
}

static ac_status backward_max(const ac_call *call)
{
    const ac_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ref_in(call, 0), *y = ref_out(call);
    float *dx = call->dinput[0];
    int64_t i = 0, channels = x->dim[3];
    if (!dx)
        return AC_OK;
    memset(dx, 0, ac_shape_bytes(x));
    for (int64_t n = 0; n < y->dim[0]; n++)
        for (int64_t oy = 0; oy < y->dim[1]; oy++)
            for (int64_t ox = 0; ox < y->dim[2]; ox++)
                for (int64_t c = 0; c < channels; c++, i++) {
                    int k = ((const uint8_t *)call->saved[0])[i];
                    int64_t iy = oy * a->stride_px - a->padding_px + k / a->kernel_px, ix = ox * a->stride_px - a->padding_px + k % a->kernel_px;
                    dx[((n * x->dim[1] + iy) * x->dim[2] + ix) * channels + c] += (float)ref_dout(call, i);
                }
    return AC_OK;
}

const ac_kernel ac_ref_max_pool = {&ac_op_max_pool, AC_KERNEL_SUMS_DOUTPUT, NULL, NULL, forward_max, backward_max};

static ac_status forward_average(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    int64_t pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    for (int64_t n = 0; n < x->dim[0]; n++)
        for (int64_t c = 0; c < channels; c++) {
            double sum = 0;
            for (int64_t p = 0; p < pixels; p++)
                sum += (double)((const float *)call->input[0])[(n * pixels + p) * channels + c];
            ((float *)call->output[0])[n * channels + c] = (float)(sum / (double)pixels);
        }
    return AC_OK;
}

static ac_status backward_average(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    int64_t pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    for (int64_t i = 0; call->dinput[0] && i < ac_shape_elements(x); i++)
        ((float *)call->dinput[0])[i] = (float)(ref_dout(call, i / (pixels * channels) * channels + i % channels) / (double)pixels);
    return AC_OK;
}

const ac_kernel ac_ref_global_avg_pool = {&ac_op_global_avg_pool, AC_KERNEL_SUMS_DOUTPUT, NULL, NULL, forward_average, backward_average};
