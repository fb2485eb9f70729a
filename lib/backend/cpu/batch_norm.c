/* batch_norm with residual and activation folded in: one pass for statistics, one to apply; backward likewise. Partial
 * sums belong to tiles that depend on the shape alone and are added in order, so results do not depend on threads. The
 * loops over pixels are in norm_rows.c. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/norm_rows.h"
#include <math.h>
#include <omp.h>
#include <string.h>

enum { MAX_TILES = 64, MIN_ROWS = 256, MIN_CHANNELS = 64, MAX_SAMPLE = 32 };

typedef struct grid { /* how a tensor [rows, channels] is divided */
    int64_t rows, channels;
    int n_row_tiles, n_channel_tiles;
    int64_t tile_rows, tile_channels;
    bool bf16;
} grid;

static grid whole_rows(const ac_shape *x)
{
    grid g = {.channels = x->dim[x->n_dims - 1], .n_channel_tiles = 1, .bf16 = x->dtype == AC_BF16};
    g.rows = ac_shape_elements(x) / g.channels;
    g.tile_channels = g.channels;
    g.tile_rows = (g.rows + MAX_TILES - 1) / MAX_TILES;
    g.n_row_tiles = (int)((g.rows + g.tile_rows - 1) / g.tile_rows);
    return g;
}

/* For sums: tiles of few rows would spend their time on the sums' own memory, so what is wide and short is divided by channels. */
static grid for_sums(const ac_shape *x)
{
    grid g = whole_rows(x);
    if (g.tile_rows < MIN_ROWS) {
        g.tile_rows = MIN_ROWS;
        g.n_row_tiles = (int)((g.rows + MIN_ROWS - 1) / MIN_ROWS);
        g.tile_channels = (g.channels * g.n_row_tiles + MAX_TILES - 1) / MAX_TILES;
        g.tile_channels = (g.tile_channels + MIN_CHANNELS - 1) / MIN_CHANNELS * MIN_CHANNELS;
        g.n_channel_tiles = (int)((g.channels + g.tile_channels - 1) / g.tile_channels);
    }
    return g;
}

typedef void tile_function(const void *context, const norm_tile *tile, int row_tile);

/* A thread has neighbouring tiles. `backwards`: last ones first, which are still in cache after a pass forwards. */
static void for_each_tile(const grid *g, bool backwards, tile_function *function, const void *context)
{
    int64_t n = (int64_t)g->n_row_tiles * g->n_channel_tiles;
#pragma omp parallel
    {
        int64_t first = n * omp_get_thread_num() / omp_get_num_threads(), end = n * (omp_get_thread_num() + 1) / omp_get_num_threads();
        for (int64_t k = first; k < end; k++) {
            int64_t t = backwards ? first + end - 1 - k : k, row = t / g->n_channel_tiles, channel = t % g->n_channel_tiles;
            norm_tile tile = {row * g->tile_rows, g->tile_rows, channel * g->tile_channels, g->tile_channels, g->channels, g->bf16};
            if (tile.row + tile.n_rows > g->rows)
                tile.n_rows = g->rows - tile.row;
            if (tile.channel + tile.n_channels > g->channels)
                tile.n_channels = g->channels - tile.channel;
            function(context, &tile, (int)row);
        }
    }
}

/* Workspace: two rows of sums for each row of tiles, a place for the count, four float rows of coefficients. */
static size_t n_sums(const grid *g)
{
    return (size_t)(2 * g->n_row_tiles * g->channels) + 8;
}

static float *coefficients(const ac_call *call, const grid *g)
{
    return (float *)((double *)call->workspace + n_sums(g));
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    grid g = for_sums(x);
    if (x->dtype != y->dtype)
        return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    out->workspace_bytes = sizeof(double) * n_sums(&g) + 4 * sizeof(float) * (size_t)g.channels;
    return cpu_check_precision(device, x->dtype);
}

/* Sums of the row tiles into those of the first. */
AC_SIMD static void add_row_tiles(double *sum, const grid *g)
{
    int64_t n = 2 * g->channels;
    for (int t = 1; t < g->n_row_tiles; t++)
        for (int64_t i = 0; i < n; i++)
            sum[i] += sum[t * n + i];
}

typedef struct statistics {
    const void *x;
    const float *shift;
    double *sum;
} statistics;

static void sum_one_tile(const void *context, const norm_tile *tile, int row_tile)
{
    const statistics *s = context;
    double *sum = s->sum + 2 * row_tile * tile->channels + tile->channel, *square = sum + tile->channels;
    memset(sum, 0, sizeof *sum * (size_t)tile->n_channels);
    memset(square, 0, sizeof *square * (size_t)tile->n_channels);
    cpu_norm_sums(tile, s->x, s->shift, sum, square);
}

/* Mean of some rows from all over the tensor: near enough to the mean that sums about it do not cancel, in most data. */
AC_SIMD static void sample_mean(const void *x, const grid *g, float *restrict mean)
{
    int64_t n = g->rows / 32 < 1 ? 1 : g->rows / 32 > MAX_SAMPLE ? MAX_SAMPLE : g->rows / 32;
    memset(mean, 0, sizeof *mean * (size_t)g->channels);
    for (int64_t k = 0; k < n; k++) {
        int64_t i = k * (g->rows / n) * g->channels;
        for (int64_t c = 0; c < g->channels && g->bf16; c++)
            mean[c] += cpu_load(x, i + c, true) / (float)n;
        for (int64_t c = 0; c < g->channels && !g->bf16; c++)
            mean[c] += cpu_load(x, i + c, false) / (float)n;
    }
}

/* Sums of squares are to lose no more than two of a float's 24 bits to the shift's distance from the mean. */
static bool cancels(const double *sum, const grid *g)
{
    double n = (double)g->rows;
    for (int64_t c = 0; c < g->channels; c++) {
        double by_shift = sum[c] * sum[c] / n;
        if (by_shift > 3 * (sum[g->channels + c] - by_shift))
            return true;
    }
    return false;
}

/* Mean per channel into `mean`, sum of squares about it into sum[channels ..), of this rank's rows. `shift` [channels] is scratch. */
static void local_statistics(const void *x, const grid *g, double *sum, float *shift)
{
    statistics s = {x, shift, sum};
    sample_mean(x, g, shift);
    for (int pass = 0; pass < 2; pass++) {
        for_each_tile(g, pass == 1, sum_one_tile, &s);
        add_row_tiles(sum, g);
        if (pass == 1 || !cancels(sum, g))
            break;
        for (int64_t c = 0; c < g->channels; c++) /* once more, about the mean itself: what is then subtracted is rounding */
            shift[c] += (float)(sum[c] / (double)g->rows);
    }
    for (int64_t c = 0; c < g->channels; c++) {
        double offset = sum[c] / (double)g->rows, square = sum[g->channels + c] - sum[c] * offset;
        sum[c] = (double)shift[c] + offset;
        sum[g->channels + c] = square > 0 || square != square ? square : 0;
    }
}

/* The same over all ranks, through sums in double about a value they agree on. */
static ac_status share_statistics(const ac_call *call, const grid *g, double *sum, double *count)
{
    ac_status status = AC_OK;
    const float *shift = call->param[2]; /* the running mean */
    double n = (double)g->rows;
    *count = n;
    if (!call->sum_over_ranks)
        return AC_OK;
    for (int64_t c = 0; c < g->channels; c++) {
        double offset = sum[c] - (double)shift[c];
        sum[c] = n * offset;
        sum[g->channels + c] += n * offset * offset;
    }
    sum[2 * g->channels] = n;
    AC_TRY(call->sum_over_ranks(call->sum_context, sum, (size_t)(2 * g->channels + 1)));
    *count = sum[2 * g->channels];
    for (int64_t c = 0; c < g->channels; c++) {
        double offset = sum[c] / *count, square = sum[g->channels + c] - sum[c] * offset;
        sum[c] = (double)shift[c] + offset;
        sum[g->channels + c] = square > 0 || square != square ? square : 0;
    }
out:
    return status;
}

/* Mean and inverse deviation of the batch into `saved`; running statistics. */
static ac_status batch_statistics(const ac_call *call, const grid *g)
{
    ac_status status = AC_OK;
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    float *mean = call->saved[0], *scale = call->saved[1], *running_mean = (float *)call->param[2], *running_var = (float *)call->param[3];
    double *sum = call->workspace, count, momentum = (double)a->momentum, eps = (double)a->eps;
    local_statistics(call->input[0], g, sum, mean);
    AC_TRY(share_statistics(call, g, sum, &count));
    double unbiased = count > 1 ? count - 1 : 1;
    for (int64_t c = 0; c < g->channels; c++) {
        double square = sum[g->channels + c];
        mean[c] = (float)sum[c];
        scale[c] = (float)(1 / sqrt(square / count + eps));
        running_mean[c] = (float)((1 - momentum) * (double)running_mean[c] + momentum * sum[c]);
        running_var[c] = (float)((1 - momentum) * (double)running_var[c] + momentum * square / unbiased);
    }
out:
    return status;
}

bool cpu_norm_is_gelu(const ac_node *norm)
{
    return ((const ac_batch_norm_attribute *)(const void *)norm->attribute)->activation == AC_ACTIVATION_GELU;
}

float cpu_norm_slope(const ac_node *norm)
{
    const ac_batch_norm_attribute *a = (const void *)norm->attribute;
    if (a->activation == AC_ACTIVATION_LEAKY_RELU)
        return a->slope;
    return a->activation == AC_ACTIVATION_RELU ? 0 : 1;
}

/* What forward computes per element, but for the residual; its scale goes into k [channels]. The same bits in backward. */
static norm_affine affine_of(const ac_call *call, const grid *g, float *k)
{
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    const float *weight = call->param[0], *scale = call->saved[1], *running_var = call->param[3];
    for (int64_t c = 0; c < g->channels; c++)
        k[c] = (float)((double)weight[c] * (call->training ? (double)scale[c] : 1 / sqrt((double)running_var[c] + (double)a->eps)));
    return (norm_affine){.x = call->input[0], .mean = call->training ? call->saved[0] : call->param[2], .k = k, .b = call->param[1],
                         .slope = cpu_norm_slope(call->node)};
}

void cpu_norm_scale_shift(const ac_call *call, const float *bias, float *scale, float *shift)
{
    const ac_batch_norm_attribute *a = (const void *)call->norm->attribute;
    const ac_shape *y = ac_graph_shape(call->graph, call->norm->output[0]);
    const float *weight = call->norm_param[0], *b = call->norm_param[1], *mean = call->norm_param[2], *var = call->norm_param[3];
    for (int64_t c = 0; c < y->dim[y->n_dims - 1]; c++) {
        double k = (double)weight[c] / sqrt((double)var[c] + (double)a->eps);
        scale[c] = (float)k;
        shift[c] = (float)((double)b[c] + ((bias ? (double)bias[c] : 0) - (double)mean[c]) * k);
    }
}

typedef struct forward_pass {
    norm_affine affine;
    bool gelu;
    void *y;
} forward_pass;

static void apply_one_tile(const void *context, const norm_tile *tile, int row_tile)
{
    const forward_pass *f = context;
    (void)row_tile;
    if (f->gelu)
        cpu_norm_gelu_apply(tile, &f->affine, f->y);
    else
        cpu_norm_apply(tile, &f->affine, f->y);
}

static ac_status forward(const ac_call *call)
{
    ac_status status = AC_OK;
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    grid sums = for_sums(x), rows = whole_rows(x);
    if (call->training)
        AC_TRY(batch_statistics(call, &sums));
    forward_pass f = {affine_of(call, &sums, coefficients(call, &sums)), cpu_norm_is_gelu(call->node), call->output[0]};
    f.affine.residual = call->node->n_inputs > 1 ? call->input[1] : NULL;
    for_each_tile(&rows, true, apply_one_tile, &f);
out:
    return status;
}

typedef struct backward_pass {
    norm_gradient gradient;
    norm_coefficients coefficients;
    void *dx, *dresidual;
    double *sum;
} backward_pass;

static void reduce_one_tile(const void *context, const norm_tile *tile, int row_tile)
{
    const backward_pass *b = context;
    double *sum = b->sum + 2 * row_tile * tile->channels + tile->channel, *sum_x = sum + tile->channels;
    memset(sum, 0, sizeof *sum * (size_t)tile->n_channels);
    memset(sum_x, 0, sizeof *sum_x * (size_t)tile->n_channels);
    if (b->gradient.mask == NORM_MASK_GELU)
        cpu_norm_gelu_gradient_sums(tile, &b->gradient, sum, sum_x);
    else
        cpu_norm_gradient_sums(tile, &b->gradient, b->dresidual, sum, sum_x);
}

static void write_one_tile(const void *context, const norm_tile *tile, int row_tile)
{
    const backward_pass *b = context;
    (void)row_tile;
    if (b->gradient.mask == NORM_MASK_GELU)
        cpu_norm_gelu_gradient_apply(tile, &b->gradient, &b->coefficients, b->dx);
    else
        cpu_norm_gradient_apply(tile, &b->gradient, &b->coefficients, b->dx);
}

static norm_gradient gradient_of(const ac_call *call, const grid *g, float *k)
{
    const ac_batch_norm_attribute *a = (const void *)call->node->attribute;
    norm_gradient d = {.n_parts = call->n_doutput, .y = call->output[0], .affine = affine_of(call, g, k)};
    for (int i = 0; i < call->n_doutput; i++)
        d.part[i] = call->doutput[i];
    d.mask = a->activation == AC_ACTIVATION_NONE ? NORM_MASK_NONE : call->node->n_inputs > 1 ? NORM_MASK_FROM_Y : NORM_MASK_FROM_X;
    if (a->activation == AC_ACTIVATION_GELU)
        d.mask = NORM_MASK_GELU;
    return d;
}

/* Gradients of weight and bias from this rank's sums, then dx = k g + p (x - mean) + q from those of all ranks. */
static ac_status finish_sums(const ac_call *call, const grid *g, double *sum, float *p, float *q)
{
    ac_status status = AC_OK;
    const float *weight = call->param[0], *scale = call->saved[1];
    double *sum_x = sum + g->channels;
    for (int64_t c = 0; c < g->channels; c++) {
        sum_x[c] *= (double)scale[c];
        call->param_gradient[0][c] = (float)sum_x[c] + (call->accumulate ? call->param_gradient[0][c] : 0);
        call->param_gradient[1][c] = (float)sum[c] + (call->accumulate ? call->param_gradient[1][c] : 0);
    }
    sum[2 * g->channels] = (double)g->rows;
    if (call->sum_over_ranks)
        AC_TRY(call->sum_over_ranks(call->sum_context, sum, (size_t)(2 * g->channels + 1)));
    double count = sum[2 * g->channels];
    for (int64_t c = 0; c < g->channels; c++) {
        double factor = (double)weight[c] * (double)scale[c] / count;
        p[c] = (float)(-factor * sum_x[c] * (double)scale[c]);
        q[c] = (float)(-factor * sum[c]);
    }
out:
    return status;
}

static ac_status backward(const ac_call *call)
{
    ac_status status = AC_OK;
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]);
    grid sums = for_sums(x), rows = whole_rows(x);
    float *k = coefficients(call, &sums), *p = k + sums.channels, *q = p + sums.channels;
    backward_pass b = {gradient_of(call, &sums, k), {k, p, q}, call->dinput[0], call->node->n_inputs > 1 ? call->dinput[1] : NULL, call->workspace};
    for_each_tile(&sums, false, reduce_one_tile, &b);
    add_row_tiles(b.sum, &sums);
    AC_TRY(finish_sums(call, &sums, b.sum, p, q));
    if (b.dresidual) { /* which holds g by now */
        b.gradient.part[0] = b.dresidual;
        b.gradient.n_parts = 1;
        b.gradient.mask = NORM_MASK_NONE;
    }
    if (b.dx)
        for_each_tile(&rows, true, write_one_tile, &b);
out:
    return status;
}

const ac_kernel ac_cpu_batch_norm = {.op = &ac_op_batch_norm, .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_INPLACE_FORWARD | AC_KERNEL_INPLACE_BACKWARD, .plan = plan, .forward = forward, .backward = backward};
