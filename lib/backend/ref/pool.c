/* max_pool and global_avg_pool by their definitions. */
#include "backend/ref/ref.h"
#include <math.h>

static ac_status forward_max(const ac_call *call)
{
    const ac_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ref_in(call, 0), *y = ref_out(call);
    int64_t i = 0, channels = x->dim[3];
    for (int64_t n = 0; n < y->dim[0]; n++)
        for (int64_t oy = 0; oy < y->dim[1]; oy++)
            for (int64_t ox = 0; ox < y->dim[2]; ox++)
                for (int64_t c = 0; c < channels; c++, i++) {
                    double best = -INFINITY;
                    int at = -1;
                    for (int k = 0; k < a->kernel_px * a->kernel_px; k++) {
                        int64_t iy = oy * a->stride_px - a->padding_px + k / a->kernel_px, ix = ox * a->stride_px - a->padding_px + k % a->kernel_px;
                        if (iy < 0 || iy >= x->dim[1] || ix < 0 || ix >= x->dim[2])
                            continue;
                        double v = ref_input(call, 0, ((n * x->dim[1] + iy) * x->dim[2] + ix) * channels + c);
                        if (at < 0 || v > best || isnan(v)) {
                            best = v;
                            at = k;
                        }
                    }
                    ref_set_output(call, i, best);
                    if (call->saved[0])
                        ((uint8_t *)call->saved[0])[i] = (uint8_t)at;
                }
    return AC_OK;
}

/* Sum of the gradients of the windows whose maximum is pixel (n, iy, ix) in channel c. */
static double gradient_of_pixel(const ac_call *call, int64_t n, int64_t iy, int64_t ix, int64_t c)
{
    const ac_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *y = ref_out(call);
    double sum = 0;
    for (int k = 0; k < a->kernel_px * a->kernel_px; k++) { /* k: the pixel's position in the window */
        int64_t top = iy + a->padding_px - k / a->kernel_px, left = ix + a->padding_px - k % a->kernel_px;
        if (top < 0 || left < 0 || top % a->stride_px || left % a->stride_px || top / a->stride_px >= y->dim[1] || left / a->stride_px >= y->dim[2])
            continue;
        int64_t i = ((n * y->dim[1] + top / a->stride_px) * y->dim[2] + left / a->stride_px) * y->dim[3] + c;
        if (((const uint8_t *)call->saved[0])[i] == k)
            sum += ref_dout(call, i);
    }
    return sum;
}

static ac_status backward_max(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    int64_t i = 0;
    for (int64_t n = 0; call->dinput[0] && n < x->dim[0]; n++)
        for (int64_t iy = 0; iy < x->dim[1]; iy++)
            for (int64_t ix = 0; ix < x->dim[2]; ix++)
                for (int64_t c = 0; c < x->dim[3]; c++, i++)
                    ref_set_dinput(call, 0, i, gradient_of_pixel(call, n, iy, ix, c));
    return AC_OK;
}

const ac_kernel ac_ref_max_pool = {.op = &ac_op_max_pool, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward_max, .backward = backward_max};

static ac_status forward_average(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    int64_t pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    for (int64_t n = 0; n < x->dim[0]; n++)
        for (int64_t c = 0; c < channels; c++) {
            double sum = 0;
            for (int64_t p = 0; p < pixels; p++)
                sum += ref_input(call, 0, (n * pixels + p) * channels + c);
            ref_set_output(call, n * channels + c, sum / (double)pixels);
        }
    return AC_OK;
}

static ac_status backward_average(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    int64_t pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    for (int64_t i = 0; call->dinput[0] && i < ac_shape_elements(x); i++)
        ref_set_dinput(call, 0, i, ref_dout(call, i / (pixels * channels) * channels + i % channels) / (double)pixels);
    return AC_OK;
}

const ac_kernel ac_ref_global_avg_pool = {.op = &ac_op_global_avg_pool, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward_average, .backward = backward_average};
