/* Which AVX-512 code serves which convolution, and what is common to all of it. */
#include "backend/cpu/conv_avx512.h"
#include "backend/cpu/gemm.h"
#include <stdlib.h>
#include <string.h>

bool cpu_conv_describe(const cpu_device *cpu, const ac_graph *graph, const ac_node *node, cpu_conv *out)
{
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    const char *wanted = getenv("ANYCLASS_CONV");
    if (a->groups != 1 || x->dtype != AC_F32 || !cpu_has_avx512() || (wanted && strcmp(wanted, "onednn") == 0))
        return false;
    *out = (cpu_conv){x->dim[0], x->dim[1], x->dim[2], x->dim[3], y->dim[1], y->dim[2], y->dim[3], a->kernel_px, a->stride_px,
                      a->padding_px, a->bias, cpu->n_threads, cpu};
    return true;
}

#if CPU_HAS_AVX512_CODE
/* Few channels spend their time on the transforms, few tiles on those of the weights. The number of images does not count:
 * an image's activations are the same bits in any batch, on any number of ranks. */
static bool is_winograd(const cpu_conv *c)
{
    enum { LEAST_CHANNELS = 32, LEAST_TILES = 4 };
    return c->kernel_px == 3 && c->stride_px == 1 && c->padding_px <= 2 && c->c >= LEAST_CHANNELS && c->o >= LEAST_CHANNELS &&
           cpu_divide_up(c->oh, 4) * cpu_divide_up(c->ow, 4) >= LEAST_TILES;
}

/* A product of the images as they lie. */
static bool is_pointwise(const cpu_conv *c)
{
    return c->kernel_px == 1 && c->stride_px == 1 && c->padding_px == 0;
}

static cpu_gemm forward_product(const cpu_conv *c, const float *x, const float *weight, float *y)
{
    return (cpu_gemm){.m = c->n * c->h * c->w, .n = c->o, .k = c->c, .a = {x, c->c, 1, AC_F32}, .b = {weight, 1, c->c, AC_F32}, .c = y, .c_row = c->o};
}

static cpu_gemm data_product(const cpu_conv *c, const float *dy, const float *weight, float *dx)
{
    return (cpu_gemm){.m = c->n * c->h * c->w, .n = c->c, .k = c->o, .a = {dy, c->o, 1, AC_F32}, .b = {weight, c->c, 1, AC_F32}, .c = dx, .c_row = c->c};
}

static cpu_gemm weights_product(const cpu_conv *c, const float *x, const float *dy, bool add, float *dweight)
{
    return (cpu_gemm){.m = c->o, .n = c->c, .k = c->n * c->h * c->w, .a = {dy, 1, c->o, AC_F32}, .b = {x, c->c, 1, AC_F32}, .c = dweight, .c_row = c->c,
                      .add = add};
}

static size_t pointwise_bytes(const cpu_conv *c)
{
    cpu_gemm product[] = {forward_product(c, NULL, NULL, NULL), data_product(c, NULL, NULL, NULL), weights_product(c, NULL, NULL, false, NULL)};
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        size_t bytes = cpu_gemm_workspace_bytes(c->cpu, &product[i]);
        most = bytes > most ? bytes : most;
    }
    return most;
}

size_t cpu_conv_workspace_bytes(const cpu_conv *c)
{
    return is_winograd(c) ? cpu_winograd_bytes(c) : is_pointwise(c) ? pointwise_bytes(c) : cpu_gemm_bytes(c);
}

void cpu_conv_forward(const cpu_conv *c, const ac_call *call)
{
    const float *bias = c->bias ? call->param[1] : NULL;
    cpu_gemm product = forward_product(c, call->input[0], call->param[0], call->output[0]);
    product.bias = bias;
    if (is_winograd(c))
        cpu_winograd_forward(c, call->input[0], call->param[0], bias, call->output[0], call->workspace);
    else if (is_pointwise(c))
        cpu_gemm_run(c->cpu, &product, NULL, call->workspace);
    else
        cpu_gemm_forward(c, call->input[0], call->param[0], bias, call->output[0], call->workspace);
}

/* Channels by the threads, pixels in order. */
static void backward_bias(const cpu_conv *c, const float *dy, bool add, float *dbias)
{
    enum { CHUNK = 16 };
    int64_t n_rows = c->n * c->oh * c->ow;
#pragma omp parallel for schedule(static) num_threads(c->n_threads)
    for (int64_t first = 0; first < c->o; first += CHUNK) {
        double sum[CHUNK] = {0};
        int64_t n = cpu_min(CHUNK, c->o - first);
        for (int64_t r = 0; r < n_rows; r++)
            for (int64_t i = 0; i < n; i++)
                sum[i] += (double)dy[r * c->o + first + i];
        for (int64_t i = 0; i < n; i++)
            dbias[first + i] = (float)(sum[i] + (add ? (double)dbias[first + i] : 0));
    }
}

static void backward_pointwise(const cpu_conv *c, const ac_call *call)
{
    cpu_gemm data = data_product(c, call->doutput[0], call->param[0], call->dinput[0]);
    cpu_gemm weights = weights_product(c, call->input[0], call->doutput[0], call->accumulate, call->param_gradient[0]);
    if (call->dinput[0])
        cpu_gemm_run(c->cpu, &data, NULL, call->workspace);
    cpu_gemm_run(c->cpu, &weights, NULL, call->workspace);
}

static void backward_others(const cpu_conv *c, const ac_call *call)
{
    const float *dy = call->doutput[0];
    bool winograd = is_winograd(c);
    if (call->dinput[0])
        (winograd ? cpu_winograd_backward_data : cpu_gemm_backward_data)(c, dy, call->param[0], call->dinput[0], call->workspace);
    (winograd ? cpu_winograd_backward_weights : cpu_gemm_backward_weights)(c, call->input[0], dy, call->accumulate, call->param_gradient[0],
                                                                           call->workspace);
}

void cpu_conv_backward(const cpu_conv *c, const ac_call *call)
{
    (is_pointwise(c) ? backward_pointwise : backward_others)(c, call);
    if (c->bias)
        backward_bias(c, call->doutput[0], call->accumulate, call->param_gradient[1]);
}

bool cpu_conv_infers(const cpu_conv *c, const ac_node *norm)
{
    return is_pointwise(c) || (is_winograd(c) && !(norm && cpu_norm_is_gelu(norm)));
}

/* A row of floats, one per output channel, in whole cache lines. */
static size_t row_bytes(const cpu_conv *c)
{
    return (size_t)cpu_round_up(c->o, 16) * sizeof(float);
}

static size_t prepared_weights_bytes(const cpu_conv *c)
{
    cpu_gemm product = forward_product(c, NULL, NULL, NULL);
    return is_winograd(c) ? cpu_winograd_prepared_bytes(c) : (cpu_gemm_packed_b_bytes(c->cpu, &product) + 63) / 64 * 64;
}

/* Prepared: the transformed or packed weights, then the shift. While preparing, the workspace holds the scale and the scaled weights. */
void cpu_conv_plan_inference(const cpu_conv *c, ac_kernel_plan *out)
{
    cpu_gemm product = forward_product(c, NULL, NULL, NULL);
    size_t infer = is_winograd(c) ? cpu_winograd_infer_bytes(c) : cpu_gemm_workspace_bytes(c->cpu, &product);
    size_t prepare = row_bytes(c) + (size_t)(c->o * c->kernel_px * c->kernel_px * c->c) * sizeof(float);
    out->workspace_bytes = infer > prepare ? infer : prepare;
    out->prepared_bytes = prepared_weights_bytes(c) + row_bytes(c);
}

static float *prepared_shift(const cpu_conv *c, const ac_call *call)
{
    return (float *)(void *)((char *)call->prepared + prepared_weights_bytes(c));
}

void cpu_conv_prepare(const cpu_conv *c, const ac_call *call)
{
    const float *weight = call->param[0], *bias = c->bias ? call->param[1] : NULL;
    float *scale = call->workspace, *scaled = scale + row_bytes(c) / sizeof *scale, *shift = prepared_shift(c, call);
    if (call->norm) {
        cpu_norm_scale_shift(call, bias, scale, shift);
        cpu_scale_rows(weight, scale, c->o, c->kernel_px * c->kernel_px * c->c, scaled);
        weight = scaled;
    } else {
        for (int64_t o = 0; o < c->o; o++)
            shift[o] = bias ? bias[o] : 0;
    }
    cpu_gemm product = forward_product(c, NULL, weight, NULL);
    if (is_winograd(c))
        cpu_winograd_prepare(c, weight, call->prepared);
    else
        cpu_gemm_pack_b(c->cpu, &product, call->prepared);
}

void cpu_conv_infer(const cpu_conv *c, const ac_call *call)
{
    bool residual = call->norm && call->norm->n_inputs > 1;
    cpu_finish finish = {prepared_shift(c, call), residual, call->norm ? cpu_norm_slope(call->norm) : 1};
    if (is_winograd(c)) {
        cpu_winograd_infer(c, call->input[0], call->prepared, &finish, call->output[0], call->workspace);
        return;
    }
    cpu_gemm product = forward_product(c, call->input[0], NULL, call->output[0]);
    product.bias = finish.shift;
    product.residual = residual ? call->output[0] : NULL;
    product.activation = call->norm ? ((const ac_batch_norm_attribute *)(const void *)call->norm->attribute)->activation : AC_ACTIVATION_NONE;
    product.slope = finish.slope;
    cpu_gemm_run(c->cpu, &product, call->prepared, call->workspace);
}
#else
size_t cpu_conv_workspace_bytes(const cpu_conv *c)
{
    (void)c;
    return 0;
}

bool cpu_conv_infers(const cpu_conv *c, const ac_node *norm)
{
    (void)c, (void)norm;
    return false;
}

void cpu_conv_plan_inference(const cpu_conv *c, ac_kernel_plan *out)
{
    (void)c, (void)out;
}

void cpu_conv_prepare(const cpu_conv *c, const ac_call *call)
{
    (void)c, (void)call;
}

void cpu_conv_infer(const cpu_conv *c, const ac_call *call)
{
    (void)c, (void)call;
}

void cpu_conv_forward(const cpu_conv *c, const ac_call *call)
{
    (void)c, (void)call;
}

void cpu_conv_backward(const cpu_conv *c, const ac_call *call)
{
    (void)c, (void)call;
}
#endif
