/* Depthwise convolutions: what is laid out where and who does which rows; the loops are in depthwise_loops.h. Tensors are read and
 * written a few rows at a time, so that each comes from memory once in a pass; backward makes a row of the input's gradient
 * and adds to the weights' while the output's gradient is in the cache. */
#include "backend/cpu/conv_depthwise.h"
#include "backend/cpu/depthwise_rows.h"
#include "backend/cpu/lanes.h"
#include <stdlib.h>

enum { MOST_CHANNELS = 512, BAND_PIXELS = 1024 };

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

bool cpu_depthwise_describe(const ac_graph *graph, const ac_node *node, cpu_depthwise *out)
{
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    const char *wanted = getenv("ANYCLASS_CONV");
    if (a->groups < 2 || a->groups != x->dim[3] || a->groups != a->out_channels || x->dtype != y->dtype || (wanted && strcmp(wanted, "onednn") == 0))
        return false;
    *out = (cpu_depthwise){.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .c = x->dim[3], .oh = y->dim[1], .ow = y->dim[2], .kernel_px = a->kernel_px,
                           .stride_px = a->stride_px, .padding_px = a->padding_px, .bias = a->bias, .bf16 = x->dtype == AC_BF16};
    int64_t n_chunks = (out->c + MOST_CHANNELS - 1) / MOST_CHANNELS;
    out->rows = cpu_depthwise_rows();
    out->slots = round_up(out->c, CPU_LANES);
    out->chunk = round_up((out->slots + n_chunks - 1) / n_chunks, CPU_LANES);
    out->band = out->ow < BAND_PIXELS ? BAND_PIXELS / out->ow : 1;
    out->band = out->band < out->oh ? out->band : out->oh;
    out->n_bands = (out->oh + out->band - 1) / out->band;
    return true;
}

/* Floats of a table of weights. */
static int64_t table_size(const cpu_depthwise *d)
{
    return (int64_t)d->kernel_px * d->kernel_px * d->slots;
}

/* Sums of a band: a row for the bias behind those of the taps. */
static int64_t sums_size(const cpu_depthwise *d)
{
    return table_size(d) + d->slots;
}

void cpu_depthwise_plan(const cpu_depthwise *d, bool training, ac_kernel_plan *out)
{
    if (training) {
        out->workspace_bytes = sizeof(float) * (size_t)(2 * table_size(d) + d->n * d->n_bands * sums_size(d));
    } else {
        out->workspace_bytes = sizeof(float) * (size_t)(2 * d->slots);
        out->prepared_bytes = sizeof(float) * (size_t)(table_size(d) + d->slots);
    }
}

static int64_t channel_of(const cpu_depthwise *d, int64_t slot)
{
    if (d->c < CPU_LANES)
        return slot < d->c ? slot : -1;
    return cpu_block_first(slot / CPU_LANES * CPU_LANES, d->c) + slot % CPU_LANES;
}

/* Weights as the loops read them; `turned`: by 180 degrees. */
static void make_table(const cpu_depthwise *d, const float *weight, const float *scale, bool turned, float *table)
{
    int64_t taps = (int64_t)d->kernel_px * d->kernel_px;
    for (int64_t slot = 0; slot < d->slots; slot++) {
        int64_t c = channel_of(d, slot);
        for (int64_t t = 0; t < taps; t++) {
            float w = c < 0 ? 0 : weight[c * taps + (turned ? taps - 1 - t : t)];
            w = d->bf16 ? ac_float_from_bf16(ac_bf16_from_float(w)) : w;
            table[t * d->slots + slot] = scale && c >= 0 ? w * scale[c] : w;
        }
    }
}

static void make_shift(const cpu_depthwise *d, const float *shift, float *out)
{
    for (int64_t slot = 0; slot < d->slots; slot++) {
        int64_t c = channel_of(d, slot);
        out[slot] = shift && c >= 0 ? shift[c] : 0;
    }
}

void cpu_depthwise_prepare(const cpu_depthwise *d, const ac_call *call)
{
    float *table = call->prepared, *scale = NULL, *shift = NULL;
    const float *bias = d->bias ? call->param[1] : NULL;
    if (call->norm) {
        scale = call->workspace;
        shift = scale + d->slots;
        cpu_norm_scale_shift(call, bias, scale, shift);
    }
    make_table(d, call->param[0], scale, false, table);
    make_shift(d, call->norm ? shift : bias, table + table_size(d));
}

static depthwise_pass forward_pass(const cpu_depthwise *d, const ac_call *call)
{
    depthwise_pass p = {call->input[0], call->output[0], d->h, d->w, d->oh, d->ow, d->c, d->slots, d->kernel_px, d->stride_px, d->padding_px, d->bf16,
                        NULL, NULL, false, false, false, 1};
    return p;
}

static void set_finish(const ac_node *norm, depthwise_pass *p)
{
    const ac_batch_norm_attribute *a = (const void *)norm->attribute;
    p->add = norm->n_inputs > 1;
    p->gelu = cpu_norm_is_gelu(norm);
    p->slope = cpu_norm_slope(norm);
    p->finish = p->add || a->activation != AC_ACTIVATION_NONE;
}

/* Rows of all images, first to all channels of a chunk. */
static void run_rows(const cpu_depthwise *d, const depthwise_pass *p)
{
    int64_t n_chunks = (d->slots + d->chunk - 1) / d->chunk;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < d->n * n_chunks * p->out_h; i++) {
        int64_t image = i / (n_chunks * p->out_h), first = i / p->out_h % n_chunks * d->chunk, end = first + d->chunk;
        d->rows->row(p, image * p->out_h + i % p->out_h, first, end < d->slots ? end : d->slots);
    }
}

void cpu_depthwise_forward(const cpu_depthwise *d, const ac_call *call)
{
    depthwise_pass p = forward_pass(d, call);
    if (call->training) {
        float *table = call->workspace;
        make_table(d, call->param[0], NULL, false, table);
        make_shift(d, d->bias ? call->param[1] : NULL, table + table_size(d));
        p.weight = table;
    } else {
        p.weight = call->prepared;
        if (call->norm)
            set_finish(call->norm, &p);
    }
    p.shift = p.weight + table_size(d);
    run_rows(d, &p);
}

/* Rows of the input whose gradient is made with band `band` of the output's. */
static int64_t band_begin(const cpu_depthwise *d, int64_t band)
{
    int64_t row = band * d->band * d->stride_px;
    return band == d->n_bands || row > d->h ? d->h : row;
}

/* One band of an image, a chunk of channels. */
static void run_band(const cpu_depthwise *d, const depthwise_pass *data, const depthwise_pass *weights, const void *dy, int64_t image, int64_t band,
                     int64_t first, float *sum)
{
    int64_t end = first + d->chunk < d->slots ? first + d->chunk : d->slots, row = image * d->h + band_begin(d, band);
    int64_t last = image * d->h + band_begin(d, band + 1);
    for (int64_t t = 0; t <= (int64_t)d->kernel_px * d->kernel_px; t++)
        memset(sum + t * d->slots + first, 0, (size_t)(end - first) * sizeof *sum);
    for (int64_t oy = band * d->band; oy < d->oh && oy < (band + 1) * d->band; oy++) {
        d->rows->weights_row(weights, dy, image * d->oh + oy, first, end, sum);
        bool is_last = oy + 1 == d->oh || oy + 1 == (band + 1) * d->band;
        for (int k = 0; data->out && row < last && (is_last || k < d->stride_px); k++, row++)
            (d->stride_px == 1 ? d->rows->row : d->rows->gradient_row)(data, row, first, end);
    }
}

/* Bands in order, in double. */
static void fold_sums(const cpu_depthwise *d, const float *sums, const ac_call *call)
{
    int64_t taps = (int64_t)d->kernel_px * d->kernel_px, n = d->n * d->n_bands;
    float *dweight = call->param_gradient[0], *dbias = d->bias ? call->param_gradient[1] : NULL;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < d->slots; block += CPU_LANES)
        for (int64_t t = 0; t < taps + (d->bias ? 1 : 0); t++) {
            double total[CPU_LANES] = {0};
            for (int64_t k = 0; k < n; k++)
                for (int l = 0; l < CPU_LANES; l++)
                    total[l] += (double)sums[k * sums_size(d) + t * d->slots + block + l];
            for (int l = 0; l < CPU_LANES; l++) {
                int64_t c = channel_of(d, block + l);
                if (c < block) /* not there, or in the block before */
                    continue;
                float *to = t < taps ? &dweight[c * taps + t] : &dbias[c];
                *to = (float)(total[l] + (call->accumulate ? (double)*to : 0));
            }
        }
}

void cpu_depthwise_backward(const cpu_depthwise *d, const ac_call *call)
{
    float *table = call->workspace, *sums = table + 2 * table_size(d);
    depthwise_pass weights = forward_pass(d, call), data = {call->doutput[0], call->dinput[0], d->oh, d->ow, d->h, d->w, d->c, d->slots, d->kernel_px,
                                                            d->stride_px, d->padding_px, d->bf16, table, NULL, false, false, false, 1};
    bool turned = d->stride_px == 1; /* then it is a convolution as forward's, with weights turned round */
    if (turned)
        data.padding = d->kernel_px - 1 - d->padding_px;
    make_table(d, call->param[0], NULL, turned, table);
    int64_t n_chunks = (d->slots + d->chunk - 1) / d->chunk;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < d->n * n_chunks * d->n_bands; i++) {
        int64_t image = i / (n_chunks * d->n_bands), chunk = i / d->n_bands % n_chunks, band = i % d->n_bands;
        run_band(d, &data, &weights, call->doutput[0], image, band, chunk * d->chunk, sums + (image * d->n_bands + band) * sums_size(d));
    }
    fold_sums(d, sums, call);
}
