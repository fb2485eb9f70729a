/* space_to_depth, blur_pool and avg_pool by their definitions: forward reads what a window covers, backward asks every window that
 * may cover a pixel. */
#include "backend/ref/ref.h"

static int64_t index_of(const ac_shape *s, int64_t n, int64_t y, int64_t x, int64_t c)
{
    return ((n * s->dim[1] + y) * s->dim[2] + x) * s->dim[3] + c;
}

#define FOR_EACH_ELEMENT(s)                                                                                            \
    for (int64_t i = 0, n = 0; n < (s)->dim[0]; n++)                                                                   \
        for (int64_t py = 0; py < (s)->dim[1]; py++)                                                                   \
            for (int64_t px = 0; px < (s)->dim[2]; px++)                                                               \
                for (int64_t c = 0; c < (s)->dim[3]; c++, i++)

/* Where element (n, py, px, c) of the input is in the output. */
static int64_t moved_to(const ac_call *call, int64_t n, int64_t py, int64_t px, int64_t c)
{
    const ac_space_to_depth_attribute *a = (const void *)call->node->attribute;
    int64_t b = a->block_px;
    return index_of(ref_out(call), n, py / b, px / b, (py % b * b + px % b) * ref_in(call, 0)->dim[3] + c);
}

static ac_status forward_space(const ac_call *call)
{
    FOR_EACH_ELEMENT(ref_in(call, 0))
        ref_set_output(call, moved_to(call, n, py, px, c), ref_input(call, 0, i));
    return AC_OK;
}

static ac_status backward_space(const ac_call *call)
{
    FOR_EACH_ELEMENT(ref_in(call, 0))
        if (call->dinput[0])
            ref_set_dinput(call, 0, i, ref_dout(call, moved_to(call, n, py, px, c)));
    return AC_OK;
}

const ac_kernel ac_ref_space_to_depth = {.op = &ac_op_space_to_depth, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward_space, .backward = backward_space};

/* Weight of pixel `at` of `n` in output `o` of blur_pool, along one side. */
static double blur_weight(int64_t o, int64_t at, int64_t n)
{
    double sum = 0;
    for (int64_t k = -1; k <= 1; k++) {
        int64_t from = 2 * o + k;
        from = from < 0 ? -from : from >= n ? 2 * (n - 1) - from : from;
        sum += from == at ? (k == 0 ? 0.5 : 0.25) : 0;
    }
    return sum;
}

/* Smallest and largest output (or input) that may touch: a few too many have weight 0. */
static int64_t first_of(int64_t i)
{
    return i > 0 ? i : 0;
}

static int64_t last_of(int64_t i, int64_t n)
{
    return i < n ? i : n - 1;
}

static ac_status forward_blur(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    int64_t h = x->dim[1], w = x->dim[2];
    FOR_EACH_ELEMENT(ref_out(call)) {
        double sum = 0;
        for (int64_t iy = first_of(2 * py - 1); iy <= last_of(2 * py + 1, h); iy++)
            for (int64_t ix = first_of(2 * px - 1); ix <= last_of(2 * px + 1, w); ix++)
                sum += blur_weight(py, iy, h) * blur_weight(px, ix, w) * ref_input(call, 0, index_of(x, n, iy, ix, c));
        ref_set_output(call, i, sum);
    }
    return AC_OK;
}

static ac_status backward_blur(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0), *y = ref_out(call);
    FOR_EACH_ELEMENT(x) {
        double sum = 0;
        for (int64_t oy = first_of(py / 2 - 1); oy <= last_of(py / 2 + 1, y->dim[1]); oy++)
            for (int64_t ox = first_of(px / 2 - 1); ox <= last_of(px / 2 + 1, y->dim[2]); ox++) {
                double weight = blur_weight(oy, py, x->dim[1]) * blur_weight(ox, px, x->dim[2]);
                sum += weight > 0 ? weight * ref_dout(call, index_of(y, n, oy, ox, c)) : 0;
            }
        if (call->dinput[0])
            ref_set_dinput(call, 0, i, sum);
    }
    return AC_OK;
}

const ac_kernel ac_ref_blur_pool = {.op = &ac_op_blur_pool, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward_blur, .backward = backward_blur};

typedef struct range { /* of the pixels that window o covers along a side of n */
    int64_t first, end, counted;
} range;

static range window_at(const ac_avg_pool_attribute *a, int64_t o, int64_t n)
{
    int64_t first = o * a->stride_px - a->padding_px, end = first + a->kernel_px;
    int64_t padded = end < n + a->padding_px ? end - first : n + a->padding_px - first;
    range r = {first > 0 ? first : 0, end < n ? end : n, 0};
    r.counted = a->count_padding ? padded : r.end - r.first;
    return r;
}

static ac_status forward_average(const ac_call *call)
{
    const ac_avg_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ref_in(call, 0);
    FOR_EACH_ELEMENT(ref_out(call)) {
        range rows = window_at(a, py, x->dim[1]), columns = window_at(a, px, x->dim[2]);
        double sum = 0;
        for (int64_t iy = rows.first; iy < rows.end; iy++)
            for (int64_t ix = columns.first; ix < columns.end; ix++)
                sum += ref_input(call, 0, index_of(x, n, iy, ix, c));
        ref_set_output(call, i, sum / (double)(rows.counted * columns.counted));
    }
    return AC_OK;
}

static double gradient_of_pixel(const ac_call *call, int64_t n, int64_t iy, int64_t ix, int64_t c)
{
    const ac_avg_pool_attribute *a = (const void *)call->node->attribute;
    const ac_shape *x = ref_in(call, 0), *y = ref_out(call);
    double sum = 0;
    for (int64_t oy = 0; oy < y->dim[1]; oy++)
        for (int64_t ox = 0; ox < y->dim[2]; ox++) {
            range rows = window_at(a, oy, x->dim[1]), columns = window_at(a, ox, x->dim[2]);
            if (iy >= rows.first && iy < rows.end && ix >= columns.first && ix < columns.end)
                sum += ref_dout(call, index_of(y, n, oy, ox, c)) / (double)(rows.counted * columns.counted);
        }
    return sum;
}

static ac_status backward_average(const ac_call *call)
{
    FOR_EACH_ELEMENT(ref_in(call, 0))
        if (call->dinput[0])
            ref_set_dinput(call, 0, i, gradient_of_pixel(call, n, py, px, c));
    return AC_OK;
}

const ac_kernel ac_ref_avg_pool = {.op = &ac_op_avg_pool, .flags = AC_KERNEL_SUMS_DOUTPUT, .forward = forward_average, .backward = backward_average};
