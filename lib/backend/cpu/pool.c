/* max_pool and global_avg_pool: channels are the inner loop. */
#include "backend/cpu/cpu.h"
#include <math.h>
#include <string.h>

enum { LANES = 32 };

ac_status cpu_check_types(const ac_device *device, const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    if (x->dtype != y->dtype)
        return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    return cpu_check_precision(device, x->dtype);
}

static ac_status plan_max(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    return cpu_check_types(device, graph, node);
}

typedef struct window { /* what is constant for a call of max_pool */
    int64_t height, width, channels, out_height, out_width;
    int kernel, stride, padding;
} window;

static window window_of(const ac_call *call)
{
    const ac_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]), *y = ac_graph_shape(call->graph, call->node->output[0]);
    return (window){x->dim[1], x->dim[2], x->dim[3], y->dim[1], y->dim[2], a->kernel_px, a->stride_px, a->padding_px};
}

/* Output pixel `out` (an element number) of row oy and column ox, n <= LANES channels from c0 on. `keep`: positions too. */
AC_INLINE void pool_lanes(const window *w, const void *x, int64_t image, int64_t oy, int64_t ox, int64_t c0, int n, bool bf16, bool keep, void *y,
                          uint8_t *saved, int64_t out)
{
    float best[LANES];
    uint32_t at[LANES];
    for (int c = 0; c < n; c++) {
        best[c] = -INFINITY;
        at[c] = UINT32_MAX; /* no pixel yet: what comes first is taken, -infinity too */
    }
    int64_t top = oy * w->stride - w->padding, left = ox * w->stride - w->padding;
    for (int64_t ky = 0; ky < w->kernel; ky++)
        for (int64_t kx = 0; kx < w->kernel; kx++) {
            if (top + ky < 0 || top + ky >= w->height || left + kx < 0 || left + kx >= w->width)
                continue;
            int64_t i = ((image * w->height + top + ky) * w->width + left + kx) * w->channels + c0;
            uint32_t k = (uint32_t)(ky * w->kernel + kx);
            for (int c = 0; c < n; c++) {
                float v = cpu_load(x, i + c, bf16);
                bool take = (keep && at[c] == UINT32_MAX) || v > best[c] || v != v;
                best[c] = take ? v : best[c];
                if (keep)
                    at[c] = take ? k : at[c];
            }
        }
    for (int c = 0; c < n; c++)
        cpu_store(y, out + c0 + c, best[c], bf16);
    for (int c = 0; c < n && keep; c++)
        saved[out + c0 + c] = (uint8_t)at[c];
}

AC_INLINE void pool_row(const window *w, const void *x, int64_t row, bool bf16, bool keep, void *y, uint8_t *saved)
{
    for (int64_t ox = 0; ox < w->out_width; ox++) {
        int64_t out = (row * w->out_width + ox) * w->channels, image = row / w->out_height, oy = row % w->out_height, c = 0;
        for (; c + LANES <= w->channels; c += LANES)
            pool_lanes(w, x, image, oy, ox, c, LANES, bf16, keep, y, saved, out);
        if (c < w->channels)
            pool_lanes(w, x, image, oy, ox, c, (int)(w->channels - c), bf16, keep, y, saved, out);
    }
}

AC_SIMD static void pool_row_of(ac_dtype dtype, const window *w, const void *x, int64_t row, void *y, uint8_t *saved)
{
    switch (2 * (dtype == AC_BF16) + (saved != NULL)) {
    case 0: pool_row(w, x, row, false, false, y, saved); break;
    case 1: pool_row(w, x, row, false, true, y, saved); break;
    case 2: pool_row(w, x, row, true, false, y, saved); break;
    default: pool_row(w, x, row, true, true, y, saved); break;
    }
}

static ac_status forward_max(const ac_call *call)
{
    const ac_shape *y = ac_graph_shape(call->graph, call->node->output[0]);
    window w = window_of(call);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < y->dim[0] * y->dim[1]; row++)
        pool_row_of(y->dtype, &w, call->input[0], row, call->output[0], call->saved[0]);
    return AC_OK;
}

typedef struct range {
    int64_t first, end;
} range;

/* Windows that hold row (or column) i of the input. */
static range windows_at(const window *w, int64_t i, int64_t n_windows)
{
    int64_t at = i + w->padding, end = at / w->stride + 1;
    return (range){at < w->kernel ? 0 : (at - w->kernel) / w->stride + 1, end < n_windows ? end : n_windows};
}

/* Gradient of input pixel (image, iy, ix), n <= LANES channels from c0 on: from each window that holds it, if it is the maximum there. */
AC_INLINE void gather_lanes(const ac_call *call, const window *w, int64_t image, int64_t iy, int64_t ix, range rows, range columns, int64_t c0,
                            int n, bool bf16)
{
    const uint8_t *saved = call->saved[0];
    float sum[LANES] = {0};
    for (int64_t oy = rows.first; oy < rows.end; oy++)
        for (int64_t ox = columns.first; ox < columns.end; ox++) {
            int64_t i = ((image * w->out_height + oy) * w->out_width + ox) * w->channels + c0;
            /* the pixel's position in this window */
            int64_t k = (iy + w->padding - oy * w->stride) * w->kernel + ix + w->padding - ox * w->stride;
            for (int part = 0; part < call->n_doutput; part++)
                for (int c = 0; c < n; c++) {
                    float g = cpu_load(call->doutput[part], i + c, bf16);
                    sum[c] += saved[i + c] == (uint8_t)k ? g : 0;
                }
        }
    int64_t in = ((image * w->height + iy) * w->width + ix) * w->channels + c0;
    for (int c = 0; c < n; c++)
        cpu_store(call->dinput[0], in + c, sum[c], bf16);
}

AC_INLINE void gather_row(const ac_call *call, const window *w, int64_t row, bool bf16)
{
    int64_t image = row / w->height, iy = row % w->height;
    range rows = windows_at(w, iy, w->out_height);
    for (int64_t ix = 0; ix < w->width; ix++) {
        range columns = windows_at(w, ix, w->out_width);
        int64_t c = 0;
        for (; c + LANES <= w->channels; c += LANES)
            gather_lanes(call, w, image, iy, ix, rows, columns, c, LANES, bf16);
        if (c < w->channels)
            gather_lanes(call, w, image, iy, ix, rows, columns, c, (int)(w->channels - c), bf16);
    }
}

AC_SIMD static void gather_row_of(ac_dtype dtype, const ac_call *call, const window *w, int64_t row)
{
    if (dtype == AC_BF16)
        gather_row(call, w, row, true);
    else
        gather_row(call, w, row, false);
}

static ac_status backward_max(const ac_call *call)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    window w = window_of(call);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < x->dim[0] * x->dim[1]; row++)
        gather_row_of(x->dtype, call, &w, row);
    return AC_OK;
}

const ac_kernel ac_cpu_max_pool = {.op = &ac_op_max_pool, .flags = AC_KERNEL_SUMS_DOUTPUT, .plan = plan_max, .forward = forward_max, .backward = backward_max};

static ac_status plan_average(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    return cpu_check_types(device, graph, node);
}

/* Mean over the pixels of an image, n <= LANES channels from element i on. */
AC_INLINE void average_lanes(const void *x, int64_t i, int64_t pixels, int64_t channels, int n, bool bf16, void *y, int64_t out)
{
    float sum[LANES] = {0};
    for (int64_t p = 0; p < pixels; p++, i += channels)
        for (int c = 0; c < n; c++)
            sum[c] += cpu_load(x, i + c, bf16);
    for (int c = 0; c < n; c++)
        cpu_store(y, out + c, sum[c] / (float)pixels, bf16);
}

AC_SIMD static void average_image(ac_dtype dtype, const void *x, int64_t image, int64_t pixels, int64_t channels, void *y)
{
    for (int64_t c = 0; c < channels; c += LANES) {
        int n = channels - c < LANES ? (int)(channels - c) : LANES;
        int64_t i = image * pixels * channels + c, out = image * channels + c;
        if (dtype == AC_BF16 && n == LANES)
            average_lanes(x, i, pixels, channels, LANES, true, y, out);
        else if (n == LANES)
            average_lanes(x, i, pixels, channels, LANES, false, y, out);
        else
            average_lanes(x, i, pixels, channels, n, dtype == AC_BF16, y, out);
    }
}

static ac_status forward_average(const ac_call *call)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < x->dim[0]; n++)
        average_image(x->dtype, call->input[0], n, x->dim[1] * x->dim[2], x->dim[3], call->output[0]);
    return AC_OK;
}

AC_SIMD static void spread_row(ac_dtype dtype, const void *dy, int64_t from, int64_t pixels, int64_t channels, void *dx, int64_t to)
{
    if (dtype == AC_BF16)
        for (int64_t c = 0; c < channels; c++)
            cpu_store(dx, to + c, cpu_load(dy, from + c, true) / (float)pixels, true);
    else
        for (int64_t c = 0; c < channels; c++)
            cpu_store(dx, to + c, cpu_load(dy, from + c, false) / (float)pixels, false);
}

static ac_status backward_average(const ac_call *call)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    int64_t pixels = x->dim[1] * x->dim[2], channels = x->dim[3];
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < x->dim[0] * pixels; row++)
        spread_row(x->dtype, call->doutput[0], row / pixels * channels, pixels, channels, call->dinput[0], row * channels);
    return AC_OK;
}

const ac_kernel ac_cpu_global_avg_pool = {.op = &ac_op_global_avg_pool, .plan = plan_average, .forward = forward_average, .backward = backward_average};
