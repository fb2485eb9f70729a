/* max_pool and global_avg_pool: channels are the inner loop. */
#include "backend/cpu/cpu.h"
#include <math.h>
#include <string.h>

AC_SIMD static void pool_pixel(const float *restrict x, int64_t channels, int k, bool first, float *restrict best, uint8_t *restrict at)
{
    for (int64_t c = 0; c < channels; c++) {
        bool take = first || x[c] > best[c] || x[c] != x[c];
        best[c] = take ? x[c] : best[c];
        at[c] = take ? (uint8_t)k : at[c];
    }
}

static ac_status plan_max(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)device, (void)wants;
    if (!training) /* positions are not kept: they go here */
        out->workspace_bytes = ac_shape_bytes(&node->saved[0]);
    return ac_graph_shape(graph, node->input[0])->dtype == AC_F32 ? AC_OK : ac_error(AC_ERR_UNSUPPORTED, "activations that are not f32");
}

static ac_status forward_max(const ac_call *call)
{
    const ac_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *xs = ac_graph_shape(call->graph, call->node->input[0]), *ys = ac_graph_shape(call->graph, call->node->output[0]);
    int64_t channels = xs->dim[3], height = xs->dim[1], width = xs->dim[2];
    const float *x = call->input[0];
    uint8_t *saved = call->saved[0] ? call->saved[0] : call->workspace;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < ys->dim[0] * ys->dim[1]; row++)
        for (int64_t ox = 0; ox < ys->dim[2]; ox++) {
            int64_t n = row / ys->dim[1], oy = row % ys->dim[1], out = (row * ys->dim[2] + ox) * channels;
            bool first = true;
            for (int k = 0; k < a->kernel_px * a->kernel_px; k++) {
                int64_t iy = oy * a->stride_px - a->padding_px + k / a->kernel_px, ix = ox * a->stride_px - a->padding_px + k % a->kernel_px;
                if (iy < 0 || iy >= height || ix < 0 || ix >= width)
                    continue;
                pool_pixel(x + ((n * height + iy) * width + ix) * channels, channels, k, first, (float *)call->output[0] + out, saved + out);
                first = false;
            }
        }
    return AC_OK;
}

static ac_status backward_max(const ac_call *call)
{
    const ac_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *xs = ac_graph_shape(call->graph, call->node->input[0]), *ys = ac_graph_shape(call->graph, call->node->output[0]);
    int64_t channels = xs->dim[3], height = xs->dim[1], width = xs->dim[2], in = height * width * channels;
    const uint8_t *saved = call->saved[0];
    float *dx = call->dinput[0];
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < xs->dim[0]; n++) { /* windows overlap inside an image only */
        memset(dx + n * in, 0, (size_t)in * sizeof *dx);
        for (int64_t p = 0; p < ys->dim[1] * ys->dim[2]; p++) {
            int64_t oy = p / ys->dim[2], ox = p % ys->dim[2], out = (n * ys->dim[1] * ys->dim[2] + p) * channels;
            for (int64_t c = 0; c < channels; c++) {
                int k = saved[out + c];
                int64_t iy = oy * a->stride_px - a->padding_px + k / a->kernel_px, ix = ox * a->stride_px - a->padding_px + k % a->kernel_px;
                float g = 0;
                for (int part = 0; part < call->n_doutput; part++)
                    g += ((const float *)call->doutput[part])[out + c];
                dx[n * in + (iy * width + ix) * channels + c] += g;
            }
        }
    }
    return AC_OK;
}

const ac_kernel ac_cpu_max_pool = {&ac_op_max_pool, AC_KERNEL_SUMS_DOUTPUT, plan_max, NULL, forward_max, backward_max};

static ac_status forward_average(const ac_call *call)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    int64_t pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < x->dim[0]; n++) {
        float *restrict y = (float *)call->output[0] + n * channels;
        const float *restrict in = (const float *)call->input[0] + n * pixels * channels;
        memset(y, 0, (size_t)channels * sizeof *y);
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < channels; c++)
                y[c] += in[p * channels + c];
        for (int64_t c = 0; c < channels; c++)
            y[c] /= (float)pixels;
    }
    return AC_OK;
}

static ac_status backward_average(const ac_call *call)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    int64_t pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
    const float *g = call->doutput[0];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < x->dim[0] * pixels; row++) {
        const float *restrict from = g + row / pixels * channels;
        float *restrict to = (float *)call->dinput[0] + row * channels;
        for (int64_t c = 0; c < channels; c++)
            to[c] = from[c] / (float)pixels;
    }
    return AC_OK;
}

const ac_kernel ac_cpu_global_avg_pool = {.op = &ac_op_global_avg_pool, .forward = forward_average, .backward = backward_average};
