/* batch_norm with residual and activation folded in: one pass for statistics, one to apply; backward likewise. Partial
 * sums belong to fixed blocks of rows and are added in order, so results do not depend on threads. */
#include "backend/cpu/cpu.h"
#include <math.h>
#include <string.h>

enum { N_BLOCKS = 32, LANES = 32, GROUP_ROWS = 16 };

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)device, (void)wants;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    size_t channels = (size_t)x->dim[x->n_dims - 1];
    if (x->dtype != AC_F32)
        return ac_error(AC_ERR_UNSUPPORTED, "activations of type %s", ac_dtype_name(x->dtype));
    /* two sums per block, two totals and the count, and up to four float rows of coefficients */
    out->workspace_bytes = sizeof(double) * ((training ? (N_BLOCKS + 1) * 2 * channels : 0) + 8) + 4 * sizeof(float) * channels;
    return AC_OK;
}

/* Sums of (x - shift) and its square over `rows` rows of n <= LANES channels. */
static inline __attribute__((always_inline)) void sum_tile(const float *restrict x, const float *restrict shift, int64_t rows, int64_t channels,
                                                           int n, double *restrict sum, double *restrict sum_squares)
{
    float s[LANES] = {0}, q[LANES] = {0};
    for (int64_t r = 0; r < rows; r++, x += channels)
        for (int c = 0; c < n; c++) {
            float v = x[c] - shift[c];
            s[c] += v;
            q[c] += v * v;
        }
    for (int c = 0; c < n; c++) {
        sum[c] += (double)s[c];
        sum_squares[c] += (double)q[c];
    }
}

/* The same over a block, in float over a few rows, in double beyond; a few whole rows at a time, so that memory is read in order. */
AC_SIMD static void sum_block(const float *x, const float *shift, int64_t rows, int64_t channels, double *sum)
{
    for (int64_t r0 = 0; r0 < rows; r0 += GROUP_ROWS, x += GROUP_ROWS * channels) {
        int64_t n_rows = r0 + GROUP_ROWS < rows ? GROUP_ROWS : rows - r0, c = 0;
        for (; c + LANES <= channels; c += LANES)
            sum_tile(x + c, shift + c, n_rows, channels, LANES, sum + c, sum + channels + c);
        if (c < channels)
            sum_tile(x + c, shift + c, n_rows, channels, (int)(channels - c), sum + c, sum + channels + c);
    }
}

static void block_rows(int64_t rows, int block, int64_t *first, int64_t *n)
{
    int64_t share = (rows + N_BLOCKS - 1) / N_BLOCKS;
    *first = block * share < rows ? block * share : rows;
    *n = rows - *first < share ? rows - *first : share;
}

static void add_blocks(double *partial, int64_t n)
{
    for (int b = 1; b < N_BLOCKS; b++)
        for (int64_t i = 0; i < n; i++)
            partial[i] += partial[b * n + i];
}

/* Mean and inverse deviation of the batch into `saved`; running statistics. */
static ac_status batch_statistics(const ac_call *call, int64_t rows, int64_t channels, double *partial)
{
    ac_status status = AC_OK;
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    const float *x = call->input[0];
    float *mean = call->saved[0], *scale = call->saved[1], *running_mean = (float *)call->param[2], *running_var = (float *)call->param[3];
    /* first about a value near the mean, then about the mean itself: what is subtracted from the squares is then rounding */
    const float *shift = call->sum_over_ranks ? running_mean : x; /* ranks must agree on it when sums are shared */
    for (int pass = 0; pass < 2; pass++) {
        memset(partial, 0, sizeof(double) * (size_t)(N_BLOCKS * 2 * channels));
#pragma omp parallel for schedule(static)
        for (int b = 0; b < N_BLOCKS; b++) {
            int64_t first, n;
            block_rows(rows, b, &first, &n);
            sum_block(x + first * channels, shift, n, channels, partial + 2 * b * channels);
        }
        add_blocks(partial, 2 * channels);
        partial[2 * channels] = (double)rows;
        if (call->sum_over_ranks)
            AC_TRY(call->sum_over_ranks(call->sum_context, partial, (size_t)(2 * channels + 1)));
        for (int64_t c = 0; c < channels && pass == 0; c++)
            mean[c] = (float)((double)shift[c] + partial[c] / partial[2 * channels]);
        shift = pass == 0 ? mean : shift;
    }
    double count = partial[2 * channels], momentum = (double)a->momentum;
    for (int64_t c = 0; c < channels; c++) {
        double offset = partial[c] / count, square = partial[channels + c] - count * offset * offset;
        square = square > 0 ? square : 0;
        double m = (double)shift[c] + offset;
        mean[c] = (float)m;
        scale[c] = (float)(1 / sqrt(square / count + (double)a->eps));
        running_mean[c] = (float)((1 - momentum) * (double)running_mean[c] + momentum * m);
        running_var[c] = (float)((1 - momentum) * (double)running_var[c] + momentum * square / (count > 1 ? count - 1 : 1));
    }
out:
    return status;
}

/* y = act((x - mean) * k + b [+ residual]); y may be x. Centred first: x * k + b' would cancel where |mean| >> deviation. */
AC_SIMD static void apply_rows(const float *x, const float *residual, float *y, const float *restrict mean,
                               const float *restrict k, const float *restrict b, int64_t rows, int64_t channels, float slope)
{
    for (int64_t r = 0; r < rows; r++, x += channels, y += channels) {
        if (residual) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float v = (x[c] - mean[c]) * k[c] + b[c] + residual[c];
                y[c] = v > 0 ? v : slope * v;
            }
            residual += channels;
        } else {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float v = (x[c] - mean[c]) * k[c] + b[c];
                y[c] = v > 0 ? v : slope * v;
            }
        }
    }
}

/* What a negative value is multiplied with. */
static float negative_slope(const ac_batch_norm_attribute *a)
{
    return a->activation == AC_ACTIVATION_NONE ? 1 : a->activation == AC_ACTIVATION_RELU ? 0 : a->slope;
}

static ac_status forward(const ac_call *call)
{
    ac_status status = AC_OK;
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    const ac_shape *shape = ac_graph_shape(call->graph, call->node->input[0]);
    int64_t channels = shape->dim[shape->n_dims - 1], rows = ac_shape_elements(shape) / channels;
    const float *weight = call->param[0], *bias = call->param[1];
    double *partial = call->workspace;
    float *k = (float *)(partial + (call->training ? (N_BLOCKS + 1) * 2 * channels : 0) + 8);
    if (call->training)
        AC_TRY(batch_statistics(call, rows, channels, partial));
    for (int64_t c = 0; c < channels; c++) {
        double scale = call->training ? (double)((float *)call->saved[1])[c] : 1 / sqrt((double)((const float *)call->param[3])[c] + (double)a->eps);
        k[c] = (float)((double)weight[c] * scale);
    }
    const float *x = call->input[0], *residual = call->node->n_inputs > 1 ? call->input[1] : NULL;
    const float *mean = call->training ? call->saved[0] : call->param[2];
    float slope = negative_slope(a);
#pragma omp parallel for schedule(static)
    for (int block = 0; block < N_BLOCKS; block++) {
        int64_t first, n;
        block_rows(rows, block, &first, &n);
        apply_rows(x + first * channels, residual ? residual + first * channels : NULL, (float *)call->output[0] + first * channels, mean, k, bias,
                   n, channels, slope);
    }
out:
    return status;
}

typedef struct gradient { /* what a row of the output's gradient is made of */
    const float *part[AC_MAX_DOUT];
    int n_parts;
    const float *x, *y; /* y NULL: no activation */
    const float *mean, *scale;
    float slope;
} gradient;

/* Gradient of the affine output at element i: the sum of its parts, through the activation. `n_parts` and `masked` are
 * constants wherever this is inlined, so that the loops around it become plain vector code. */
static inline __attribute__((always_inline)) float gradient_at(const gradient *d, int64_t i, int n_parts, bool masked)
{
    float g = d->part[0][i];
    if (n_parts > 1)
        g += d->part[1][i];
    if (n_parts > 2)
        g += d->part[2][i];
    return masked && !(d->y[i] > 0) ? d->slope * g : g;
}

/* Sums of g and g xhat over `rows` rows of n <= LANES channels, from element i on. */
static inline __attribute__((always_inline)) void reduce_tile(const gradient *d, int64_t i, int64_t rows, int64_t channels, int n,
                                                              int n_parts, bool masked, const float *restrict mean,
                                                              const float *restrict scale, double *restrict sum, double *restrict sum_x)
{
    float s[LANES] = {0}, q[LANES] = {0};
    for (int64_t r = 0; r < rows; r++, i += channels)
        for (int c = 0; c < n; c++) {
            float g = gradient_at(d, i + c, n_parts, masked);
            s[c] += g;
            q[c] += g * ((d->x[i + c] - mean[c]) * scale[c]);
        }
    for (int c = 0; c < n; c++) {
        sum[c] += (double)s[c];
        sum_x[c] += (double)q[c];
    }
}

static inline __attribute__((always_inline)) void reduce_rows(const gradient *d, int64_t first, int64_t rows, int64_t channels,
                                                              double *sum, int n_parts, bool masked)
{
    const gradient local = *d; /* its pointers then stay in registers */
    for (int64_t r0 = 0; r0 < rows; r0 += GROUP_ROWS) { /* a few whole rows at a time: memory is read in order */
        int64_t n_rows = r0 + GROUP_ROWS < rows ? GROUP_ROWS : rows - r0, c = 0;
        for (; c + LANES <= channels; c += LANES)
            reduce_tile(&local, (first + r0) * channels + c, n_rows, channels, LANES, n_parts, masked, local.mean + c, local.scale + c,
                        sum + c, sum + channels + c);
        if (c < channels)
            reduce_tile(&local, (first + r0) * channels + c, n_rows, channels, (int)(channels - c), n_parts, masked, local.mean + c,
                        local.scale + c, sum + c, sum + channels + c);
    }
}

/* One of the loops below for each number of parts, with and without an activation. */
#define FOR_EACH_KIND(call)                                                                                                              \
    switch (2 * d->n_parts + (d->y != NULL)) {                                                                                           \
    case 2: call(1, false); break;                                                                                                       \
    case 3: call(1, true); break;                                                                                                        \
    case 4: call(2, false); break;                                                                                                       \
    case 5: call(2, true); break;                                                                                                        \
    case 6: call(3, false); break;                                                                                                       \
    default: call(3, true); break;                                                                                                       \
    }

AC_SIMD static void reduce_block(const gradient *d, int64_t first, int64_t rows, int64_t channels, double *sum)
{
#define REDUCE(n_parts, masked) reduce_rows(d, first, rows, channels, sum, n_parts, masked)
    FOR_EACH_KIND(REDUCE)
}

typedef struct coefficients { /* dx = k g + p (x - mean) + q, per channel */
    const float *k, *p, *q;
} coefficients;

/* dx = k (g - mean_g - xhat mean_gx), and the residual's gradient g. dx may be the memory of a part. */
static inline __attribute__((always_inline)) void write_rows(const gradient *d, int64_t first, int64_t rows, int64_t channels,
                                                             const coefficients *f, float *dx, float *dresidual, int n_parts, bool masked)
{
    const gradient local = *d;
    const float *k = f->k, *p = f->p, *q = f->q;
    for (int64_t r = first; r < first + rows; r++) {
        int64_t i = r * channels;
        if (dx && dresidual) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float g = gradient_at(&local, i + c, n_parts, masked);
                dresidual[i + c] = g;
                dx[i + c] = k[c] * g + p[c] * (local.x[i + c] - local.mean[c]) + q[c];
            }
        } else if (dx) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float g = gradient_at(&local, i + c, n_parts, masked);
                dx[i + c] = k[c] * g + p[c] * (local.x[i + c] - local.mean[c]) + q[c];
            }
        } else if (dresidual) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++)
                dresidual[i + c] = gradient_at(&local, i + c, n_parts, masked);
        }
    }
}

AC_SIMD static void write_block(const gradient *d, int64_t first, int64_t rows, int64_t channels, const coefficients *f, float *dx,
                                float *dresidual)
{
#define WRITE(n_parts, masked) write_rows(d, first, rows, channels, f, dx, dresidual, n_parts, masked)
    FOR_EACH_KIND(WRITE)
}

static ac_status backward(const ac_call *call)
{
    ac_status status = AC_OK;
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    const ac_shape *shape = ac_graph_shape(call->graph, call->node->input[0]);
    int64_t channels = shape->dim[shape->n_dims - 1], rows = ac_shape_elements(shape) / channels;
    double *partial = call->workspace;
    float *k = (float *)(partial + (N_BLOCKS + 1) * 2 * channels + 8), *p = k + channels, *q = p + channels;
    const float *weight = call->param[0];
    gradient d = {.x = call->input[0], .y = a->activation == AC_ACTIVATION_NONE ? NULL : call->output[0], .mean = call->saved[0],
                  .scale = call->saved[1], .slope = negative_slope(a), .n_parts = call->n_doutput};
    for (int i = 0; i < call->n_doutput; i++)
        d.part[i] = call->doutput[i];
    memset(partial, 0, sizeof(double) * (size_t)(N_BLOCKS * 2 * channels));
#pragma omp parallel for schedule(static)
    for (int b = 0; b < N_BLOCKS; b++) {
        int64_t first, n;
        block_rows(rows, b, &first, &n);
        reduce_block(&d, first, n, channels, partial + 2 * b * channels);
    }
    add_blocks(partial, 2 * channels);
    for (int64_t c = 0; c < channels; c++) {
        call->param_gradient[0][c] = (float)partial[channels + c] + (call->accumulate ? call->param_gradient[0][c] : 0);
        call->param_gradient[1][c] = (float)partial[c] + (call->accumulate ? call->param_gradient[1][c] : 0);
    }
    partial[2 * channels] = (double)rows;
    if (call->sum_over_ranks)
        AC_TRY(call->sum_over_ranks(call->sum_context, partial, (size_t)(2 * channels + 1)));
    for (int64_t c = 0; c < channels; c++) {
        double count = partial[2 * channels], scale = (double)d.scale[c], factor = (double)weight[c] * scale;
        double mean_g = partial[c] / count, mean_gx = partial[channels + c] / count;
        k[c] = (float)factor;
        p[c] = (float)(-factor * mean_gx * scale);
        q[c] = (float)(-factor * mean_g);
    }
#pragma omp parallel for schedule(static)
    for (int b = 0; b < N_BLOCKS; b++) {
        int64_t first, n;
        block_rows(rows, b, &first, &n);
        write_block(&d, first, n, channels, &(coefficients){k, p, q}, call->dinput[0], call->node->n_inputs > 1 ? call->dinput[1] : NULL);
    }
out:
    return status;
}

const ac_kernel ac_cpu_batch_norm = {&ac_op_batch_norm, AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_INPLACE_FORWARD | AC_KERNEL_INPLACE_BACKWARD, plan,
                                     NULL, forward, backward};
