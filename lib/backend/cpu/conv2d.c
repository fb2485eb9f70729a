/* conv2d, channels last: by own code for single channels (conv_depthwise.h) and for 1x1 in bf16 (conv_bf16.h), training in float by own AVX-512
 * code where it serves (conv_avx512.h), else by oneDNN. For oneDNN weights are kept as [O, H, W, I] and turned into the layout each primitive
 * wants inside the workspace, in bf16 where the activations are; all primitives are made at plan time. For inference the weights are turned
 * once, scaled by the batch norm that follows if this kernel takes it. */
#include "anyclass/alloc.h"
#include "backend/cpu/conv_avx512.h"
#include "backend/cpu/conv_bf16.h"
#include "backend/cpu/conv_depthwise.h"
#include <string.h>

enum { PASS_FORWARD, PASS_DATA, PASS_WEIGHTS, N_PASSES };

typedef struct pass {
    dnnl_primitive_t primitive;
    dnnl_primitive_t reorder;     /* weights into (or, for PASS_WEIGHTS, gradient out of) the primitive's layout; NULL: equal */
    dnnl_primitive_t reorder_add; /* PASS_WEIGHTS: the same, adding */
    dnnl_memory_t x, w, b, y, scratch, plain_w; /* x, y: activation or its gradient; plain_w: as stored */
    size_t w_bytes, scratch_bytes;
} pass;

struct conv;

typedef struct own_code {
    void (*prepare)(const struct conv *c, const ac_call *call);
    void (*forward)(const struct conv *c, const ac_call *call);
    void (*backward)(const struct conv *c, const ac_call *call);
} own_code;

typedef struct conv {
    const own_code *code; /* serves instead of oneDNN, there are no primitives then; NULL: none */
    cpu_conv own;         /* what conv_avx512.h and conv_bf16.h work on */
    cpu_depthwise depthwise;
    dnnl_stream_t stream;
    pass pass[N_PASSES];
    size_t bias_bytes, prepared_w_bytes; /* prepared: weights, then the bias if it is a norm's */
} conv;

static void release(void *state)
{
    conv *c = state;
    for (int p = 0; c && p < N_PASSES; p++) {
        pass *s = &c->pass[p];
        dnnl_primitive_t primitives[] = {s->primitive, s->reorder, s->reorder_add};
        dnnl_memory_t memories[] = {s->x, s->w, s->b, s->y, s->scratch, s->plain_w};
        for (int i = 0; i < 3; i++)
            if (primitives[i])
                dnnl_primitive_destroy(primitives[i]);
        for (int i = 0; i < 6; i++)
            if (memories[i])
                dnnl_memory_destroy(memories[i]);
    }
    ac_free(c);
}

typedef struct geometry {
    dnnl_memory_desc_t x, w_any, w_plain, b, y;
    dnnl_memory_desc_t dw_any; /* always float */
    dnnl_dims_t strides, padding;
    bool bias;
    const ac_node *norm; /* its scale goes into the weights, its shift is the bias */
} geometry;

static ac_status any_layout(int groups, const dnnl_dims_t dims, const dnnl_dims_t grouped, dnnl_data_type_t type, dnnl_memory_desc_t *out)
{
    return cpu_check(dnnl_memory_desc_init_by_tag(out, groups == 1 ? 4 : 5, groups == 1 ? dims : grouped, type, dnnl_format_tag_any), "layout of weights");
}

static ac_status describe(const ac_graph *graph, const ac_node *node, geometry *g)
{
    ac_status status = AC_OK;
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    dnnl_dims_t xd = {x->dim[0], x->dim[3], x->dim[1], x->dim[2]}, yd = {y->dim[0], y->dim[3], y->dim[1], y->dim[2]};
    dnnl_dims_t wd = {a->out_channels, x->dim[3], a->kernel_px, a->kernel_px}, bd = {a->out_channels};
    dnnl_dims_t grouped = {a->groups, a->out_channels / a->groups, x->dim[3] / a->groups, a->kernel_px, a->kernel_px};
    dnnl_data_type_t type = x->dtype == AC_BF16 ? dnnl_bf16 : dnnl_f32;
    if (x->dtype != y->dtype)
        return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    for (int i = 0; i < 2; i++) {
        g->strides[i] = a->stride_px;
        g->padding[i] = a->padding_px;
    }
    g->bias = a->bias || g->norm;
    AC_TRY(cpu_check(dnnl_memory_desc_init_by_tag(&g->x, 4, xd, type, dnnl_nhwc), "layout of x"));
    AC_TRY(cpu_check(dnnl_memory_desc_init_by_tag(&g->y, 4, yd, type, dnnl_nhwc), "layout of y"));
    AC_TRY(cpu_check(dnnl_memory_desc_init_by_tag(&g->b, 1, bd, dnnl_f32, dnnl_a), "layout of the bias"));
    AC_TRY(cpu_check(a->groups == 1 ? dnnl_memory_desc_init_by_tag(&g->w_plain, 4, wd, dnnl_f32, dnnl_acdb)
                                    : dnnl_memory_desc_init_by_tag(&g->w_plain, 5, grouped, dnnl_f32, dnnl_abdec), "layout of weights"));
    AC_TRY(any_layout(a->groups, wd, grouped, type, &g->w_any));
    AC_TRY(any_layout(a->groups, wd, grouped, dnnl_f32, &g->dw_any));
out:
    return status;
}

static dnnl_status_t describe_pass(int which, const geometry *g, bool training, dnnl_convolution_desc_t *d)
{
    dnnl_alg_kind_t direct = dnnl_convolution_direct;
    const dnnl_memory_desc_t *bias = g->bias ? &g->b : NULL;
    if (which == PASS_FORWARD)
        return dnnl_convolution_forward_desc_init(d, training ? dnnl_forward_training : dnnl_forward_inference, direct, &g->x, &g->w_any, bias,
                                                  &g->y, g->strides, g->padding, g->padding);
    if (which == PASS_DATA)
        return dnnl_convolution_backward_data_desc_init(d, direct, &g->x, &g->w_any, &g->y, g->strides, g->padding, g->padding);
    return dnnl_convolution_backward_weights_desc_init(d, direct, &g->x, &g->dw_any, bias, &g->y, g->strides, g->padding, g->padding);
}

/* The residual is in the memory of y: oneDNN's "sum" adds to what it finds. */
static ac_status add_norm(const ac_node *norm, dnnl_primitive_attr_t attr)
{
    ac_status status = AC_OK;
    dnnl_post_ops_t ops = NULL;
    AC_TRY(cpu_check(dnnl_post_ops_create(&ops), "post operations"));
    if (norm->n_inputs > 1)
        AC_TRY(cpu_check(dnnl_post_ops_append_sum(ops, 1.0f), "residual"));
    if (cpu_norm_is_gelu(norm))
        AC_TRY(cpu_check(dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_gelu_erf, 0, 0), "activation"));
    else if (cpu_norm_slope(norm) != 1)
        AC_TRY(cpu_check(dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, cpu_norm_slope(norm), 0), "activation"));
    AC_TRY(cpu_check(dnnl_primitive_attr_set_post_ops(attr, ops), "post operations"));
out:
    if (ops)
        dnnl_post_ops_destroy(ops);
    return status;
}

static ac_status make_memory(cpu_device *cpu, const dnnl_memory_desc_t *desc, dnnl_memory_t *out)
{
    return cpu_check(dnnl_memory_create(out, desc, cpu->engine, DNNL_MEMORY_NONE), "memory");
}

static ac_status make_reorder(cpu_device *cpu, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to, bool add, dnnl_primitive_t *out)
{
    ac_status status = AC_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t pd = NULL;
    AC_TRY(cpu_check(dnnl_primitive_attr_create(&attr), "attributes"));
    if (add) {
        AC_TRY(cpu_check(dnnl_post_ops_create(&ops), "post operations"));
        AC_TRY(cpu_check(dnnl_post_ops_append_sum(ops, 1.0f), "sum"));
        AC_TRY(cpu_check(dnnl_primitive_attr_set_post_ops(attr, ops), "post operations"));
    }
    AC_TRY(cpu_check(dnnl_reorder_primitive_desc_create(&pd, from, cpu->engine, to, cpu->engine, attr), "reorder"));
    AC_TRY(cpu_check(dnnl_primitive_create(out, pd), "reorder"));
out:
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return status;
}

static ac_status make_reorders(cpu_device *cpu, int which, const geometry *g, const dnnl_memory_desc_t *w, pass *s)
{
    ac_status status = AC_OK;
    if (which == PASS_WEIGHTS) { /* accumulation needs the gradient apart, whatever the layout */
        s->w_bytes = dnnl_memory_desc_get_size(w);
        AC_TRY(make_reorder(cpu, w, &g->w_plain, false, &s->reorder));
        AC_TRY(make_reorder(cpu, w, &g->w_plain, true, &s->reorder_add));
    } else if (!dnnl_memory_desc_equal(w, &g->w_plain)) {
        s->w_bytes = dnnl_memory_desc_get_size(w);
        AC_TRY(make_reorder(cpu, &g->w_plain, w, false, &s->reorder));
    }
out:
    return status;
}

static ac_status make_pass(cpu_device *cpu, int which, const geometry *g, bool training, dnnl_primitive_desc_t hint, pass *s,
                           dnnl_primitive_desc_t *pd)
{
    static const char *const name[] = {"convolution forward", "convolution backward data", "convolution backward weights"};
    ac_status status = AC_OK;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_attr_t attr = NULL;
    AC_TRY(cpu_check(describe_pass(which, g, training, &desc), name[which]));
    AC_TRY(cpu_check(dnnl_primitive_attr_create(&attr), "attributes"));
    AC_TRY(cpu_check(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user), "attributes"));
    if (g->norm)
        AC_TRY(add_norm(g->norm, attr));
    AC_TRY(cpu_check(dnnl_primitive_desc_create(pd, &desc, attr, cpu->engine, hint), name[which]));
    AC_TRY(cpu_check(dnnl_primitive_create(&s->primitive, *pd), name[which]));
    const dnnl_memory_desc_t *w = dnnl_primitive_desc_query_md(*pd, which == PASS_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(*pd, dnnl_query_scratchpad_md, 0);
    s->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    AC_TRY(make_memory(cpu, &g->x, &s->x));
    AC_TRY(make_memory(cpu, &g->y, &s->y));
    AC_TRY(make_memory(cpu, &g->b, &s->b));
    AC_TRY(make_memory(cpu, w, &s->w));
    AC_TRY(make_memory(cpu, &g->w_plain, &s->plain_w));
    AC_TRY(make_memory(cpu, scratch, &s->scratch));
    AC_TRY(make_reorders(cpu, which, g, w, s));
out:
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return status;
}

static size_t aligned(size_t n)
{
    return (n + 63) / 64 * 64;
}

static void plan_prepared(conv *c, const geometry *g, ac_kernel_plan *out)
{
    size_t plain_bytes = aligned(dnnl_memory_desc_get_size(&g->w_plain));
    c->prepared_w_bytes = aligned(c->pass[PASS_FORWARD].w_bytes);
    if (g->norm) { /* scaled in the workspace, then turned */
        c->prepared_w_bytes = c->prepared_w_bytes ? c->prepared_w_bytes : plain_bytes;
        out->prepared_bytes = c->prepared_w_bytes + c->bias_bytes;
        plain_bytes += c->bias_bytes; /* the scale */
        out->workspace_bytes = plain_bytes > out->workspace_bytes ? plain_bytes : out->workspace_bytes;
    } else {
        out->prepared_bytes = c->prepared_w_bytes;
    }
}

#define OWN_CODE(name, prefix, forward_code, part)                                                                                           \
    static void name##_prepare(const conv *c, const ac_call *call) { prefix##_prepare(&c->part, call); }                                   \
    static void name##_forward(const conv *c, const ac_call *call) { (forward_code)(&c->part, call); }                                     \
    static void name##_backward(const conv *c, const ac_call *call) { prefix##_backward(&c->part, call); }                                 \
    static const own_code name = {name##_prepare, name##_forward, name##_backward};

OWN_CODE(depthwise_code, cpu_depthwise, cpu_depthwise_forward, depthwise)
OWN_CODE(bf16_code, cpu_conv_bf16, cpu_conv_bf16_forward, own)
OWN_CODE(float_code, cpu_conv, call->training ? cpu_conv_forward : cpu_conv_infer, own)

/* The own code that serves the node, by its shape and the processor; it then has what it needs of `out`. */
static const own_code *find_code(const cpu_device *cpu, const ac_graph *graph, const ac_node *node, bool training, conv *c, ac_kernel_plan *out)
{
    if (cpu_depthwise_describe(graph, node, &c->depthwise)) {
        cpu_depthwise_plan(&c->depthwise, training, out);
        return &depthwise_code;
    }
    if (cpu_conv_bf16_describe(cpu, graph, node, &c->own)) {
        cpu_conv_bf16_plan(cpu, &c->own, training, out);
        return &bf16_code;
    }
    if (!cpu_conv_describe(cpu, graph, node, &c->own) || !(training || cpu_conv_infers(&c->own, out->norm)))
        return NULL;
    if (training)
        out->workspace_bytes = cpu_conv_workspace_bytes(&c->own);
    else
        cpu_conv_plan_inference(&c->own, out);
    return &float_code;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    ac_status status = AC_OK;
    cpu_device *cpu = (cpu_device *)device;
    conv *c = NULL;
    dnnl_primitive_desc_t pd[N_PASSES] = {NULL};
    geometry g = {.norm = out->norm};
    AC_TRY(cpu_check_precision(device, ac_graph_shape(graph, node->input[0])->dtype));
    AC_TRY(ac_calloc(1, sizeof *c, &c));
    c->stream = cpu->stream;
    c->code = find_code(cpu, graph, node, training, c, out);
    if (c->code) {
        out->state = c;
        return AC_OK;
    }
    AC_TRY(describe(graph, node, &g));
    c->bias_bytes = g.bias ? aligned(dnnl_memory_desc_get_size(&g.b)) : 0;
    for (int p = 0; p < (training ? N_PASSES : 1); p++) {
        if (p == PASS_DATA && !(wants & 1u))
            continue;
        AC_TRY(make_pass(cpu, p, &g, training, p == PASS_FORWARD ? NULL : pd[PASS_FORWARD], &c->pass[p], &pd[p]));
        size_t bytes = (training ? aligned(c->pass[p].w_bytes) : 0) + aligned(c->pass[p].scratch_bytes) + (p == PASS_WEIGHTS ? c->bias_bytes : 0);
        out->workspace_bytes = bytes > out->workspace_bytes ? bytes : out->workspace_bytes;
    }
    if (!training)
        plan_prepared(c, &g, out);
    out->state = c;
    c = NULL;
out:
    for (int p = 0; p < N_PASSES; p++)
        if (pd[p])
            dnnl_primitive_desc_destroy(pd[p]);
    release(c);
    return status;
}

static ac_status reorder(const conv *c, dnnl_primitive_t primitive, dnnl_memory_t from, dnnl_memory_t to)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return cpu_check(dnnl_primitive_execute(primitive, c->stream, 2, args), "reorder");
}

/* Weights for forward and backward data, in the primitive's layout; scratch behind them. */
static ac_status bind_weights(const conv *c, const pass *s, const ac_call *call)
{
    ac_status status = AC_OK;
    unsigned char *workspace = call->workspace;
    dnnl_memory_set_data_handle(s->scratch, workspace + aligned(s->w_bytes));
    dnnl_memory_set_data_handle(s->w, s->reorder ? (void *)workspace : (void *)call->param[0]);
    if (s->reorder) {
        dnnl_memory_set_data_handle(s->plain_w, (void *)call->param[0]);
        AC_TRY(reorder(c, s->reorder, s->plain_w, s->w));
    }
out:
    return status;
}

void cpu_scale_rows(const float *w, const float *scale, int64_t n_rows, int64_t n, float *out)
{
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < n_rows; o++)
        for (int64_t i = 0; i < n; i++)
            out[o * n + i] = w[o * n + i] * scale[o];
}

static ac_status prepare(const ac_call *call)
{
    ac_status status = AC_OK;
    const conv *c = call->state;
    const pass *s = &c->pass[PASS_FORWARD];
    const ac_conv2d_attribute *a = (const void *)call->node->attribute;
    unsigned char *prepared = call->prepared;
    const float *w = call->param[0];
    if (c->code) {
        c->code->prepare(c, call);
        return AC_OK;
    }
    int64_t n = a->kernel_px * a->kernel_px * ac_graph_shape(call->graph, call->node->input[0])->dim[3] / a->groups;
    if (call->norm) {
        float *scale = call->workspace, *scaled = s->reorder ? (float *)((char *)call->workspace + c->bias_bytes) : (float *)call->prepared;
        cpu_norm_scale_shift(call, a->bias ? call->param[1] : NULL, scale, (float *)(prepared + c->prepared_w_bytes));
        cpu_scale_rows(w, scale, a->out_channels, n, scaled);
        w = scaled;
    }
    if (s->reorder) {
        dnnl_memory_set_data_handle(s->plain_w, (void *)w);
        dnnl_memory_set_data_handle(s->w, prepared);
        AC_TRY(reorder(c, s->reorder, s->plain_w, s->w));
        AC_TRY(cpu_check(dnnl_stream_wait(c->stream), "reorder"));
    }
out:
    return status;
}

/* Weights and bias as prepared for inference, as far as they are; the workspace is scratch. */
static void bind_prepared(const conv *c, const pass *s, const ac_call *call)
{
    unsigned char *prepared = call->prepared;
    dnnl_memory_set_data_handle(s->scratch, call->workspace);
    dnnl_memory_set_data_handle(s->w, prepared ? prepared : (void *)call->param[0]);
    if (c->bias_bytes)
        dnnl_memory_set_data_handle(s->b, call->norm ? (void *)(prepared + c->prepared_w_bytes) : (void *)call->param[1]);
}

static ac_status forward(const ac_call *call)
{
    ac_status status = AC_OK;
    const conv *c = call->state;
    const pass *s = &c->pass[PASS_FORWARD];
    if (c->code) {
        c->code->forward(c, call);
        return AC_OK;
    }
    if (!call->training) {
        bind_prepared(c, s, call);
    } else {
        AC_TRY(bind_weights(c, s, call));
        if (c->bias_bytes)
            dnnl_memory_set_data_handle(s->b, (void *)call->param[1]);
    }
    dnnl_memory_set_data_handle(s->x, (void *)call->input[0]);
    dnnl_memory_set_data_handle(s->y, call->output[0]);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, s->x}, {DNNL_ARG_WEIGHTS, s->w}, {DNNL_ARG_DST, s->y}, {DNNL_ARG_SCRATCHPAD, s->scratch}, {DNNL_ARG_BIAS, s->b}};
    AC_TRY(cpu_check(dnnl_primitive_execute(s->primitive, c->stream, c->bias_bytes ? 5 : 4, args), "convolution forward"));
    AC_TRY(cpu_check(dnnl_stream_wait(c->stream), "convolution forward"));
out:
    return status;
}

static ac_status backward_data(const conv *c, const ac_call *call)
{
    ac_status status = AC_OK;
    const pass *s = &c->pass[PASS_DATA];
    AC_TRY(bind_weights(c, s, call));
    dnnl_memory_set_data_handle(s->x, call->dinput[0]);
    dnnl_memory_set_data_handle(s->y, (void *)call->doutput[0]);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_DIFF_DST, s->y}, {DNNL_ARG_WEIGHTS, s->w}, {DNNL_ARG_DIFF_SRC, s->x}, {DNNL_ARG_SCRATCHPAD, s->scratch}};
    AC_TRY(cpu_check(dnnl_primitive_execute(s->primitive, c->stream, 4, args), "convolution backward data"));
out:
    return status;
}

static ac_status backward_weights(const conv *c, const ac_call *call)
{
    ac_status status = AC_OK;
    const pass *s = &c->pass[PASS_WEIGHTS];
    unsigned char *workspace = call->workspace;
    const ac_conv2d_attribute *a = (const void *)call->node->attribute;
    float *bias = (float *)(workspace + aligned(s->w_bytes));
    dnnl_memory_set_data_handle(s->w, workspace);
    dnnl_memory_set_data_handle(s->b, bias);
    dnnl_memory_set_data_handle(s->scratch, workspace + aligned(s->w_bytes) + c->bias_bytes);
    dnnl_memory_set_data_handle(s->x, (void *)call->input[0]);
    dnnl_memory_set_data_handle(s->y, (void *)call->doutput[0]);
    dnnl_memory_set_data_handle(s->plain_w, call->param_gradient[0]);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, s->x}, {DNNL_ARG_DIFF_DST, s->y}, {DNNL_ARG_DIFF_WEIGHTS, s->w}, {DNNL_ARG_SCRATCHPAD, s->scratch}, {DNNL_ARG_DIFF_BIAS, s->b}};
    AC_TRY(cpu_check(dnnl_primitive_execute(s->primitive, c->stream, c->bias_bytes ? 5 : 4, args), "convolution backward weights"));
    AC_TRY(reorder(c, call->accumulate ? s->reorder_add : s->reorder, s->w, s->plain_w));
    AC_TRY(cpu_check(dnnl_stream_wait(c->stream), "convolution backward"));
    for (int64_t o = 0; c->bias_bytes && o < a->out_channels; o++)
        call->param_gradient[1][o] = bias[o] + (call->accumulate ? call->param_gradient[1][o] : 0);
out:
    return status;
}

static ac_status backward(const ac_call *call)
{
    ac_status status = AC_OK;
    const conv *c = call->state;
    if (c->code) {
        c->code->backward(c, call);
        return AC_OK;
    }
    if (call->dinput[0])
        AC_TRY(backward_data(c, call));
    AC_TRY(backward_weights(c, call));
out:
    return status;
}

const ac_kernel ac_cpu_conv2d = {.op = &ac_op_conv2d, .flags = AC_KERNEL_TAKES_NORM, .plan = plan, .release = release, .forward = forward, .backward = backward, .prepare = prepare};
