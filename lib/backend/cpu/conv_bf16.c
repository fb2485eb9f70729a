/* 1x1 convolutions in bf16 as matrix products: pixels by channels. */
#include "backend/cpu/conv_bf16.h"
#include <stdlib.h>
#include <string.h>

bool cpu_conv_bf16_describe(const cpu_device *cpu, const ac_graph *graph, const ac_node *node, cpu_conv *out)
{
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    const char *wanted = getenv("ANYCLASS_CONV");
    if (a->groups != 1 || a->kernel_px != 1 || a->stride_px != 1 || a->padding_px != 0 || x->dtype != AC_BF16 || y->dtype != AC_BF16 ||
        cpu->bf16_kernel == CPU_BF16_NONE || (wanted && strcmp(wanted, "onednn") == 0))
        return false;
    *out = (cpu_conv){.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .c = x->dim[3], .oh = y->dim[1], .ow = y->dim[2], .o = y->dim[3],
                      .kernel_px = 1, .stride_px = 1, .bias = a->bias, .n_threads = cpu->n_threads, .cpu = cpu};
    return true;
}

static int64_t n_pixels(const cpu_conv *c)
{
    return c->n * c->h * c->w;
}

static cpu_gemm forward_product(const cpu_conv *c, const void *x, const float *w, void *y)
{
    return (cpu_gemm){.m = n_pixels(c), .n = c->o, .k = c->c, .a = {x, c->c, 1, AC_BF16}, .b = {w, 1, c->c, AC_F32}, .c = y, .c_row = c->o, .c_dtype = AC_BF16};
}

static cpu_gemm data_product(const cpu_conv *c, const void *dy, const float *w, void *dx)
{
    return (cpu_gemm){.m = n_pixels(c), .n = c->c, .k = c->o, .a = {dy, c->o, 1, AC_BF16}, .b = {w, c->c, 1, AC_F32}, .c = dx, .c_row = c->c, .c_dtype = AC_BF16};
}

static cpu_gemm weights_product(const cpu_conv *c, const void *dy, const void *x, bool add, float *dw)
{
    return (cpu_gemm){.m = c->o, .n = c->c, .k = n_pixels(c), .a = {dy, 1, c->o, AC_BF16}, .b = {x, c->c, 1, AC_BF16}, .c = dw, .c_row = c->c, .c_dtype = AC_F32, .add = add};
}

/* A row of floats, one per output channel, in whole cache lines. */
static int64_t row_floats(const cpu_conv *c)
{
    return cpu_round_up(c->o, 16);
}

void cpu_conv_bf16_plan(const cpu_device *cpu, const cpu_conv *c, bool training, ac_kernel_plan *out)
{
    cpu_gemm product[] = {forward_product(c, NULL, NULL, NULL), data_product(c, NULL, NULL, NULL), weights_product(c, NULL, NULL, false, NULL)};
    for (int p = 0; p < (training ? 3 : 1); p++) {
        size_t bytes = cpu_gemm_bf16_workspace_bytes(cpu, &product[p]);
        out->workspace_bytes = bytes > out->workspace_bytes ? bytes : out->workspace_bytes;
    }
    if (!training)
        out->prepared_bytes = cpu_gemm_bf16_packed_b_bytes(cpu, &product[0]) + (out->norm ? 2 * (size_t)row_floats(c) * sizeof(float) : 0);
}

void cpu_conv_bf16_prepare(const cpu_conv *c, const ac_call *call)
{
    const cpu_device *cpu = (const cpu_device *)call->device;
    cpu_gemm g = forward_product(c, NULL, call->param[0], NULL);
    float *scale = (float *)(void *)((char *)call->prepared + cpu_gemm_bf16_packed_b_bytes(cpu, &g));
    cpu_gemm_bf16_pack_b(cpu, &g, call->prepared);
    if (call->norm)
        cpu_norm_scale_shift(call, c->bias ? call->param[1] : NULL, scale, scale + row_floats(c));
}

/* What the norm makes of the sums. Its residual is in the memory of y. */
static void take_norm(const cpu_conv *c, const ac_call *call, cpu_gemm *g)
{
    const ac_batch_norm_attribute *a = (const void *)call->norm->attribute;
    g->scale = (const float *)(const void *)((const char *)call->prepared + cpu_gemm_bf16_packed_b_bytes((const cpu_device *)call->device, g));
    g->shift = g->scale + row_floats(c);
    g->activation = a->activation;
    g->slope = a->slope;
    g->residual = call->norm->n_inputs > 1 ? g->c : NULL;
}

void cpu_conv_bf16_forward(const cpu_conv *c, const ac_call *call)
{
    cpu_gemm g = forward_product(c, call->input[0], call->param[0], call->output[0]);
    if (call->norm)
        take_norm(c, call, &g);
    else
        g.bias = c->bias ? call->param[1] : NULL;
    cpu_gemm_bf16_run((const cpu_device *)call->device, &g, call->training ? NULL : call->prepared, call->workspace);
}

/* Channels by the threads, pixels in order. */
static void backward_bias(const cpu_conv *c, const void *dy, bool add, float *dbias)
{
    enum { CHUNK = 32 };
    int64_t n_rows = n_pixels(c);
#pragma omp parallel for schedule(static) num_threads(c->n_threads)
    for (int64_t first = 0; first < c->o; first += CHUNK) {
        double sum[CHUNK] = {0};
        int64_t n = cpu_min(CHUNK, c->o - first);
        for (int64_t r = 0; r < n_rows; r++)
            for (int64_t i = 0; i < n; i++)
                sum[i] += (double)cpu_load(dy, r * c->o + first + i, true);
        for (int64_t i = 0; i < n; i++)
            dbias[first + i] = (float)(sum[i] + (add ? (double)dbias[first + i] : 0));
    }
}

void cpu_conv_bf16_backward(const cpu_conv *c, const ac_call *call)
{
    const cpu_device *cpu = (const cpu_device *)call->device;
    cpu_gemm dw = weights_product(c, call->doutput[0], call->input[0], call->accumulate, call->param_gradient[0]);
    if (call->dinput[0]) {
        cpu_gemm dx = data_product(c, call->doutput[0], call->param[0], call->dinput[0]);
        cpu_gemm_bf16_run(cpu, &dx, NULL, call->workspace);
    }
    cpu_gemm_bf16_run(cpu, &dw, NULL, call->workspace);
    if (c->bias)
        backward_bias(c, call->doutput[0], call->accumulate, call->param_gradient[1]);
}
