/* tokens and first_token: rows of channels moved, the position embedding added; gradients of parameters are summed over the
 * images in order. */
#include "backend/cpu/cpu.h"
#include <string.h>

enum { LANES = 64 };

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    if (x->dtype != y->dtype)
        return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    return cpu_check_precision(device, x->dtype);
}

AC_SIMD static void add_position(const void *x, const float *position, int64_t n, bool bf16, void *y)
{
    if (bf16)
        for (int64_t i = 0; i < n; i++)
            cpu_store(y, i, cpu_load(x, i, true) + position[i], true);
    else
        for (int64_t i = 0; i < n; i++)
            cpu_store(y, i, cpu_load(x, i, false) + position[i], false);
}

AC_SIMD static void add_class_token(const float *token, const float *position, int64_t n, bool bf16, void *y)
{
    for (int64_t i = 0; i < n; i++)
        cpu_store(y, i, token[i] + position[i], bf16);
}

static ac_status forward(const ac_call *call)
{
    const ac_shape *y = ac_graph_shape(call->graph, call->node->output[0]);
    const char *x = call->input[0];
    char *out = call->output[0];
    const float *position = call->param[1];
    int64_t channels = y->dim[2], length = y->dim[1], rows = y->dim[0] * length;
    size_t row_bytes = (size_t)channels * ac_dtype_bytes(y->dtype);
    bool bf16 = y->dtype == AC_BF16;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t n = r / length, l = r % length;
        if (l == 0)
            add_class_token(call->param[0], position, channels, bf16, out + (size_t)r * row_bytes);
        else
            add_position(x + (size_t)(r - n - 1) * row_bytes, position + l * channels, channels, bf16, out + (size_t)r * row_bytes);
    }
    return AC_OK;
}

/* n <= LANES channels from c0 on of token l: gradients of the position, of the class token where it is that, and dx. */
AC_INLINE void reduce_lanes(const ac_call *call, const ac_shape *y, int64_t l, int64_t c0, int n, bool bf16)
{
    double sum[LANES] = {0};
    for (int64_t image = 0; image < y->dim[0]; image++) {
        int64_t i = (image * y->dim[1] + l) * y->dim[2] + c0, to = i - (image + 1) * y->dim[2];
        float g[LANES];
        for (int c = 0; c < n; c++)
            g[c] = cpu_load(call->doutput[0], i + c, bf16);
        for (int k = 1; k < call->n_doutput; k++)
            for (int c = 0; c < n; c++)
                g[c] += cpu_load(call->doutput[k], i + c, bf16);
        for (int c = 0; c < n; c++)
            sum[c] += (double)g[c];
        if (call->dinput[0] && l > 0)
            for (int c = 0; c < n; c++)
                cpu_store(call->dinput[0], to + c, g[c], bf16);
    }
    float *of_position = call->param_gradient[1] + l * y->dim[2] + c0, *of_token = call->param_gradient[0] + c0;
    for (int c = 0; c < n; c++)
        of_position[c] = (float)sum[c] + (call->accumulate ? of_position[c] : 0);
    for (int c = 0; c < n && l == 0; c++)
        of_token[c] = (float)sum[c] + (call->accumulate ? of_token[c] : 0);
}

AC_INLINE void reduce_row(const ac_call *call, const ac_shape *y, int64_t l, bool bf16)
{
    int64_t c = 0;
    for (; c + LANES <= y->dim[2]; c += LANES)
        reduce_lanes(call, y, l, c, LANES, bf16);
    if (c < y->dim[2])
        reduce_lanes(call, y, l, c, (int)(y->dim[2] - c), bf16);
}

AC_SIMD static void reduce_token(const ac_call *call, const ac_shape *y, int64_t l)
{
    if (y->dtype == AC_BF16)
        reduce_row(call, y, l, true);
    else
        reduce_row(call, y, l, false);
}

static ac_status backward(const ac_call *call)
{
    const ac_shape *y = ac_graph_shape(call->graph, call->node->output[0]);
#pragma omp parallel for schedule(static)
    for (int64_t l = 0; l < y->dim[1]; l++)
        reduce_token(call, y, l);
    return AC_OK;
}

const ac_kernel ac_cpu_tokens = {.op = &ac_op_tokens, .flags = AC_KERNEL_SUMS_DOUTPUT, .plan = plan, .forward = forward, .backward = backward};

static ac_status forward_first(const ac_call *call)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    size_t row_bytes = (size_t)x->dim[2] * ac_dtype_bytes(x->dtype), image_bytes = row_bytes * (size_t)x->dim[1];
    for (size_t n = 0; n < (size_t)x->dim[0]; n++)
        memcpy((char *)call->output[0] + n * row_bytes, (const char *)call->input[0] + n * image_bytes, row_bytes);
    return AC_OK;
}

/* The other tokens' gradients are zero, or stay what they are. */
static ac_status backward_first(const ac_call *call)
{
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    int64_t channels = x->dim[2], each = x->dim[1] * channels;
    bool bf16 = x->dtype == AC_BF16;
    size_t image_bytes = (size_t)each * ac_dtype_bytes(x->dtype);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < x->dim[0]; n++) {
        if (!call->add_dinput)
            memset((char *)call->dinput[0] + (size_t)n * image_bytes, 0, image_bytes);
        for (int64_t c = 0; c < channels; c++) {
            float g = call->add_dinput ? cpu_load(call->dinput[0], n * each + c, bf16) : 0;
            for (int k = 0; k < call->n_doutput; k++)
                g += cpu_load(call->doutput[k], n * channels + c, bf16);
            cpu_store(call->dinput[0], n * each + c, g, bf16);
        }
    }
    return AC_OK;
}

const ac_kernel ac_cpu_first_token = {
    .op = &ac_op_first_token, .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, .plan = plan, .forward = forward_first, .backward = backward_first};
