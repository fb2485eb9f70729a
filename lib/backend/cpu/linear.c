/* linear by plain vector loops, written for a classifier's head: few rows, few outputs, so that time goes into reading the
 * operands once. (oneDNN's matrix product allocates in each call.) Sums are over fixed lanes, whatever the threads. */
#include "backend/cpu/cpu.h"

enum { LANES = 32, CHUNK = 256 }; /* of the inner dimension */

typedef struct sizes {
    int64_t rows, in, out;
    bool bf16_x, bf16_y; /* in bf16 or float: x and its gradient, y and its gradient */
} sizes;

static sizes sizes_of(const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    int64_t in = x->dim[x->n_dims - 1];
    return (sizes){ac_shape_elements(x) / in, in, y->dim[y->n_dims - 1], x->dtype == AC_BF16, y->dtype == AC_BF16};
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    ac_status status = cpu_check_precision(device, ac_graph_shape(graph, node->input[0])->dtype);
    return status == AC_OK ? cpu_check_precision(device, ac_graph_shape(graph, node->output[0])->dtype) : status;
}

/* A weight as the product reads it. */
AC_INLINE float weight_at(const float *w, int64_t i, bool bf16)
{
    return bf16 ? ac_float_from_bf16(ac_bf16_from_float(w[i])) : w[i];
}

AC_INLINE float dot(const void *x, int64_t first, const float *restrict w, int64_t n, bool bf16)
{
    float lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += cpu_load(x, first + i + k, bf16) * weight_at(w, i + k, bf16);
    for (; i < n; i++)
        sum += cpu_load(x, first + i, bf16) * weight_at(w, i, bf16);
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

/* Column o of y. */
AC_SIMD static void product(const sizes *s, const void *x, const float *weight, float bias, int64_t o, void *y)
{
    for (int64_t r = 0; r < s->rows; r++) {
        const float *w = weight + o * s->in;
        float sum = s->bf16_x ? dot(x, r * s->in, w, s->in, true) : dot(x, r * s->in, w, s->in, false);
        cpu_store(y, r * s->out + o, sum + bias, s->bf16_y);
    }
}

static ac_status forward(const ac_call *call)
{
    sizes s = sizes_of(call->graph, call->node);
    const float *bias = ((const ac_linear_attribute *)(const void *)call->node->attribute)->bias ? call->param[1] : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < s.out; o++)
        product(&s, call->input[0], call->param[0], bias ? bias[o] : 0, o, call->output[0]);
    return AC_OK;
}

AC_INLINE void row_of_dx(const sizes *s, const void *dy, const float *weight, int64_t r, void *dx, bool bf16)
{
    for (int64_t first = 0; first < s->in; first += CHUNK) {
        int64_t n = s->in - first < CHUNK ? s->in - first : CHUNK;
        float sum[CHUNK] = {0};
        for (int64_t o = 0; o < s->out; o++) {
            const float *w = weight + o * s->in + first;
            float g = cpu_load(dy, r * s->out + o, s->bf16_y);
            for (int64_t i = 0; i < n; i++)
                sum[i] += g * weight_at(w, i, bf16);
        }
        for (int64_t i = 0; i < n; i++)
            cpu_store(dx, r * s->in + first + i, sum[i], bf16);
    }
}

AC_SIMD static void gradient_of_row(const sizes *s, const void *dy, const float *weight, int64_t r, void *dx)
{
    if (s->bf16_x)
        row_of_dx(s, dy, weight, r, dx, true);
    else
        row_of_dx(s, dy, weight, r, dx, false);
}

AC_INLINE void row_of_dw(const sizes *s, const void *dy, const void *x, int64_t o, bool accumulate, float *dw, bool bf16)
{
    for (int64_t first = 0; first < s->in; first += CHUNK) {
        int64_t n = s->in - first < CHUNK ? s->in - first : CHUNK;
        float sum[CHUNK] = {0}, *to = dw + o * s->in + first;
        for (int64_t r = 0; r < s->rows; r++) {
            float g = cpu_load(dy, r * s->out + o, s->bf16_y);
            for (int64_t i = 0; i < n; i++)
                sum[i] += g * cpu_load(x, r * s->in + first + i, bf16);
        }
        for (int64_t i = 0; i < n; i++)
            to[i] = accumulate ? to[i] + sum[i] : sum[i];
    }
}

/* Gradients of output o's weights and bias (NULL: none). */
AC_SIMD static void gradient_of_output(const sizes *s, const void *dy, const void *x, int64_t o, bool accumulate, float *dw, float *db)
{
    if (s->bf16_x)
        row_of_dw(s, dy, x, o, accumulate, dw, true);
    else
        row_of_dw(s, dy, x, o, accumulate, dw, false);
    double sum = 0;
    for (int64_t r = 0; r < s->rows; r++)
        sum += (double)cpu_load(dy, r * s->out + o, s->bf16_y);
    if (db)
        db[o] = (float)(sum + (accumulate ? (double)db[o] : 0));
}

static ac_status backward(const ac_call *call)
{
    sizes s = sizes_of(call->graph, call->node);
    float *db = ((const ac_linear_attribute *)(const void *)call->node->attribute)->bias ? call->param_gradient[1] : NULL;
#pragma omp parallel
    {
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < (call->dinput[0] ? s.rows : 0); r++)
            gradient_of_row(&s, call->doutput[0], call->param[0], r, call->dinput[0]);
#pragma omp for schedule(static)
        for (int64_t o = 0; o < s.out; o++)
            gradient_of_output(&s, call->doutput[0], call->input[0], o, call->accumulate, call->param_gradient[0], db);
    }
    return AC_OK;
}

const ac_kernel ac_cpu_linear = {.op = &ac_op_linear, .plan = plan, .forward = forward, .backward = backward};
