/* conv2d: 1x1 convolutions are products of rows, and so are those whose windows touch but do not overlap, once pixels lie window by window; the others are cuDNN's; what neither has (and everything, with
 * ANYCLASS_CUDA_CONV=plain) runs in plain kernels, a thread per result. */
#include "backend/cuda/kernel.cuh"
#include "backend/cuda/conv_dweight.h"
#include "backend/cuda/conv_tile.h"
#include "backend/cuda/depthwise.h"
#include "backend/cuda/product.h"
#include <stdlib.h>

struct conv_state {
    cuda_conv_spec spec;
    bool is_product, is_depthwise, own_dweight;
    bool own_pass[2];       /* forward and dx by conv_tile.cu */
    size_t patch_bytes;     /* of a product of whole windows: where they are put, at the start of the workspace */
    cuda_product product;
    cuda_conv *pass[3];     /* NULL: plain kernels */
    size_t weight_bytes;    /* weights in 16 bits, at the start of the workspace */
    size_t made_bytes;      /* behind them: the gradient of the weights before it is added, or the result before its bias is */
    bool float_result;      /* a bias is added to float sums */
    int dweight_type;       /* ac_dtype of the gradient of the weights as cuDNN makes it */
};

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) forward_kernel(const T *x, const T *weight, const float *bias, T *y, cuda_conv_spec s, int64_t n)
{
    int64_t i = thread_index();
    if (i >= n)
        return;
    int o = (int)(i % s.o);
    int64_t ox = i / s.o % s.ow, oy = i / s.o / s.ow % s.oh, image = i / s.o / s.ow / s.oh;
    int64_t inside = s.c / s.groups, first = o / (s.o / s.groups) * inside;
    float sum = bias ? bias[o] : 0.0f;
    for (int ky = 0; ky < s.kernel; ky++)
        for (int kx = 0; kx < s.kernel; kx++) {
            int64_t iy = oy * s.stride - s.padding + ky, ix = ox * s.stride - s.padding + kx;
            if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w)
                continue;
            const T *from = x + ((image * s.h + iy) * s.w + ix) * s.c + first, *w = weight + (((int64_t)o * s.kernel + ky) * s.kernel + kx) * inside;
            for (int64_t k = 0; k < inside; k++)
                sum += to_float(from[k]) * to_float(w[k]);
        }
    y[i] = from_float<T>(sum);
}

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) dx_kernel(const T *dy, const T *weight, T *dx, cuda_conv_spec s, int64_t n)
{
    int64_t i = thread_index();
    if (i >= n)
        return;
    int c = (int)(i % s.c);
    int64_t ix = i / s.c % s.w, iy = i / s.c / s.w % s.h, image = i / s.c / s.w / s.h;
    int64_t inside = s.c / s.groups, outside = s.o / s.groups, group = c / inside;
    float sum = 0;
    for (int ky = 0; ky < s.kernel; ky++)
        for (int kx = 0; kx < s.kernel; kx++) {
            int64_t top = iy + s.padding - ky, left = ix + s.padding - kx;
            if (top < 0 || left < 0 || top % s.stride || left % s.stride || top / s.stride >= s.oh || left / s.stride >= s.ow)
                continue;
            const T *d = dy + ((image * s.oh + top / s.stride) * s.ow + left / s.stride) * s.o + group * outside;
            for (int64_t o = 0; o < outside; o++)
                sum += to_float(d[o]) * to_float(weight[(((group * outside + o) * s.kernel + ky) * s.kernel + kx) * inside + c % inside]);
        }
    dx[i] = from_float<T>(sum);
}

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) dweight_kernel(const T *x, const T *dy, float *dweight, cuda_conv_spec s, int64_t n, bool accumulate)
{
    int64_t i = thread_index();
    if (i >= n)
        return;
    int64_t inside = s.c / s.groups, k = i % inside, kx = i / inside % s.kernel, ky = i / inside / s.kernel % s.kernel, o = i / inside / s.kernel / s.kernel;
    int64_t c = o / (s.o / s.groups) * inside + k;
    double sum = 0;
    for (int64_t image = 0; image < s.n; image++)
        for (int64_t oy = 0; oy < s.oh; oy++)
            for (int64_t ox = 0; ox < s.ow; ox++) {
                int64_t iy = oy * s.stride - s.padding + ky, ix = ox * s.stride - s.padding + kx;
                if (iy >= 0 && iy < s.h && ix >= 0 && ix < s.w)
                    sum += (double)to_float(x[((image * s.h + iy) * s.w + ix) * s.c + c]) * (double)to_float(dy[((image * s.oh + oy) * s.ow + ox) * s.o + o]);
            }
    dweight[i] = (float)(sum + (accumulate ? (double)dweight[i] : 0.0));
}

/* to [pixels out, kernel kernel c] = windows of x, which touch. `run`: elements of a window's row, which lie together; n: of all windows. */
template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) windows_kernel(const T *x, T *to, cuda_conv_spec s, int run, int64_t n)
{
    int64_t i = thread_index() * VEC;
    if (i >= n)
        return;
    int64_t rows = i / run;
    int at = (int)(i - rows * run), ky = (int)(rows % s.kernel);
    unsigned pixel = (unsigned)(rows / s.kernel), ox = pixel % (unsigned)s.ow, line = pixel / (unsigned)s.ow, oy = line % (unsigned)s.oh, image = line / (unsigned)s.oh;
    store<T, VEC>(to, i, load<T, VEC>(x, (((int64_t)image * s.h + oy * (unsigned)s.kernel + (unsigned)ky) * s.w) * s.c + (int64_t)ox * (unsigned)run + at));
}

/* ---- host ---- */

static cuda_conv_spec spec_of(const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    const ac_conv2d_attribute *a = (const ac_conv2d_attribute *)node->attribute;
    cuda_conv_spec s;
    memset(&s, 0, sizeof s);
    s.n = x->dim[0];
    s.h = x->dim[1];
    s.w = x->dim[2];
    s.c = x->dim[3];
    s.oh = y->dim[1];
    s.ow = y->dim[2];
    s.o = y->dim[3];
    s.kernel = a->kernel_px;
    s.stride = a->stride_px;
    s.padding = a->padding_px;
    s.groups = a->groups;
    s.type = s.result = x->dtype;
    return s;
}

static int64_t weight_elements(const cuda_conv_spec *s)
{
    return s->o * s->kernel * s->kernel * (s->c / s->groups);
}

static bool wants_library(const char *name) /* of the two, unless the environment names the other */
{
    const char *choice = getenv("ANYCLASS_CUDA_CONV");
    return !choice || strcmp(choice, name) == 0;
}

static ac_status plan_product(cuda_device *device, conv_state *state, const ac_conv2d_attribute *a, bool training, unsigned wants)
{
    const cuda_conv_spec *s = &state->spec;
    cuda_product_spec p;
    memset(&p, 0, sizeof p);
    p.rows = s->n * s->oh * s->ow;
    p.in = s->c * s->kernel * s->kernel;
    p.out = s->o;
    p.type = s->type;
    p.bias = a->bias;
    p.forward = true;
    p.dx = wants & 1u;
    p.dweight = training;
    ac_status status = cuda_product_plan(device, &p, &state->product);
    state->is_product = status == AC_OK;
    return status == AC_ERR_UNSUPPORTED ? AC_OK : status;
}

/* Windows that touch and do not overlap, of images whose gradient nobody wants: a vision transformer's first layer. A row of the map that is no whole window is not read. */
static bool has_windows(const cuda_conv_spec *s, unsigned wants)
{
    return s->kernel > 1 && s->stride == s->kernel && s->padding == 0 && s->groups == 1 && !(wants & 1u) && s->n * s->oh * s->ow < INT32_MAX;
}

static size_t window_bytes(const cuda_conv_spec *s)
{
    return cuda_aligned((size_t)(s->n * s->oh * s->ow * s->kernel * s->kernel * s->c) * ac_dtype_bytes((ac_dtype)s->type));
}

/* For plain kernels, a few milliseconds at most. */
static bool is_small(const cuda_conv_spec *s)
{
    return (double)(s->n * s->oh * s->ow) * (double)weight_elements(s) < 1e9;
}

/* Passes cuDNN lacks stay NULL. The gradient of the weights, and what gets a bias, in float where it can, otherwise in the type of x. */
static ac_status plan_library(cuda_device *device, conv_state *state, bool bias, bool training, unsigned wants, size_t *workspace_bytes)
{
    const bool wanted[3] = {true, (wants & 1u) != 0, training};
    for (int pass = 0; pass < 3; pass++) {
        cuda_conv_spec s = state->spec;
        if (!wanted[pass] || (pass == CUDA_CONV_DW && state->own_dweight))
            continue;
        s.pass = pass;
        if (pass != CUDA_CONV_DW && !(pass == CUDA_CONV_FORWARD && bias) && !getenv("ANYCLASS_CUDA_CONV") && cuda_conv_tile_takes(&s)) {
            state->own_pass[pass] = true;
            size_t own_bytes = cuda_conv_tile_workspace_bytes(&s);
            *workspace_bytes = own_bytes > *workspace_bytes ? own_bytes : *workspace_bytes;
            continue;
        }
        if (pass == CUDA_CONV_DW || (pass == CUDA_CONV_FORWARD && bias))
            s.result = AC_F32;
        ac_status status = cuda_conv_find(device, &s, &state->pass[pass]);
        if (status == AC_ERR_UNSUPPORTED && pass == CUDA_CONV_FORWARD && cuda_is_half(s.type) && is_small(&s))
            continue; /* the library rounds before the bias is added, the plain kernel afterwards */
        if (status == AC_ERR_UNSUPPORTED && s.result != s.type) {
            s.result = s.type;
            status = cuda_conv_find(device, &s, &state->pass[pass]);
        }
        if (status == AC_ERR_UNSUPPORTED) {
            state->pass[pass] = NULL;
            continue;
        }
        CUDA_TRY(status);
        if (pass == CUDA_CONV_DW)
            state->dweight_type = s.result;
        if (pass == CUDA_CONV_FORWARD)
            state->float_result = s.result != s.type;
        size_t bytes = cuda_conv_workspace_bytes(state->pass[pass]);
        *workspace_bytes = bytes > *workspace_bytes ? bytes : *workspace_bytes;
    }
    return AC_OK;
}

static ac_status plan(ac_device *base, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    const ac_conv2d_attribute *a = (const ac_conv2d_attribute *)node->attribute;
    size_t library_bytes = 0;
    conv_state *state = (conv_state *)calloc(1, sizeof *state);
    if (!state)
        return ac_error(AC_ERR_MEMORY, "state of a convolution");
    out->state = state;
    state->spec = spec_of(graph, node);
    const cuda_conv_spec *s = &state->spec;
    CUDA_TRY(cuda_check_precision(base, (ac_dtype)s->type));
    bool windows = has_windows(s, wants);
    if (((s->kernel == 1 && s->stride == 1 && s->padding == 0 && s->groups == 1) || windows) && wants_library("gemm"))
        CUDA_TRY(plan_product(cuda_of(base), state, a, training, wants));
    if (state->is_product) {
        state->patch_bytes = windows ? window_bytes(s) : 0;
        out->workspace_bytes = state->patch_bytes + state->product.workspace_bytes;
        return AC_OK;
    }
    if (cuda_depthwise_takes(s) && wants_library("depthwise")) {
        state->is_depthwise = true;
        out->workspace_bytes = cuda_depthwise_workspace_bytes(cuda_of(base), s, training);
        return AC_OK;
    }
    const char *dweight = getenv("ANYCLASS_CUDA_DWEIGHT"); /* "cudnn": the library's */
    state->own_dweight = training && cuda_conv_dweight_takes(s) && wants_library("cudnn") && !(dweight && strcmp(dweight, "cudnn") == 0);
    if (state->own_dweight)
        library_bytes = cuda_conv_dweight_workspace_bytes(cuda_of(base), s);
    if (wants_library("cudnn"))
        CUDA_TRY(plan_library(cuda_of(base), state, a->bias, training, wants, &library_bytes));
    state->weight_bytes = cuda_is_half(s->type) ? cuda_aligned((size_t)weight_elements(s) * 2) : 0;
    state->made_bytes = training ? cuda_aligned((size_t)weight_elements(s) * 4) : 0;
    size_t result_bytes = state->float_result ? cuda_aligned((size_t)(s->n * s->oh * s->ow * s->o) * 4) : 0;
    state->made_bytes = result_bytes > state->made_bytes ? result_bytes : state->made_bytes;
    out->workspace_bytes = state->weight_bytes + state->made_bytes + library_bytes;
    return AC_OK;
}

static void release(void *state)
{
    free(state);
}

static void *library_workspace(const ac_call *call, const conv_state *state)
{
    return (unsigned char *)call->workspace + state->weight_bytes + state->made_bytes;
}

static ac_status read_weight(const ac_call *call, const conv_state *state, const void **out)
{
    *out = state->weight_bytes && call->mirror[0] ? call->mirror[0] : call->param[0];
    if (!state->weight_bytes || call->mirror[0])
        return AC_OK;
    *out = call->workspace;
    return cuda_convert(cuda_of(call->device), (ac_dtype)state->spec.type, call->workspace, AC_F32, call->param[0], (size_t)weight_elements(&state->spec));
}

/* Input 0 as the product reads it, and what is left of the workspace. */
static ac_status read_rows(const ac_call *call, const conv_state *state, const void **rows, void **workspace)
{
    const cuda_conv_spec *s = &state->spec;
    int64_t run = s->kernel * s->c, n = s->n * s->oh * s->ow * s->kernel * run;
    *rows = call->input[0];
    *workspace = (unsigned char *)call->workspace + state->patch_bytes;
    if (!state->patch_bytes)
        return AC_OK;
    *rows = call->workspace;
    bool whole = (s->w * s->c) % 8 == 0; /* lines of x begin at multiples of a vector */
    CUDA_FOR_TYPE_AND_WIDTH(s->type, whole ? run : 1, {
        CUDA_TRY(AC_LAUNCH((windows_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, (const T *)call->input[0], (T *)call->workspace, *s,
                           (int)run, n));
    });
    return AC_OK;
}

static ac_status forward(const ac_call *call)
{
    const conv_state *state = (const conv_state *)call->state;
    const cuda_conv_spec *s = &state->spec;
    cuda_device *device = cuda_of(call->device);
    const float *bias = ((const ac_conv2d_attribute *)call->node->attribute)->bias ? (const float *)call->param[1] : NULL;
    const void *weight, *rows;
    void *workspace;
    if (state->is_product) {
        CUDA_TRY(read_rows(call, state, &rows, &workspace));
        cuda_product_params params = cuda_product_params_of(call, bias != NULL);
        return cuda_product_forward(device, &state->product, rows, &params, NULL, call->output[0], workspace);
    }
    if (state->is_depthwise)
        return cuda_depthwise_forward(device, s, call->input[0], (const float *)call->param[0], bias, call->output[0], call->workspace);
    CUDA_TRY(read_weight(call, state, &weight));
    if (state->own_pass[CUDA_CONV_FORWARD])
        return cuda_conv_tile_forward(device, s, call->input[0], weight, call->output[0]);
    int64_t n = s->n * s->oh * s->ow * s->o;
    if (state->float_result) {
        float *made = (float *)((unsigned char *)call->workspace + state->weight_bytes);
        CUDA_TRY(cuda_conv_run(device, state->pass[CUDA_CONV_FORWARD], call->input[0], weight, made, library_workspace(call, state)));
        return cuda_add_bias_to(device, (ac_dtype)s->type, call->output[0], made, bias, NULL, n / s->o, s->o);
    }
    if (!state->pass[CUDA_CONV_FORWARD]) {
        CUDA_FOR_TYPE(s->type, {
            CUDA_TRY(AC_LAUNCH((forward_kernel<T>), cuda_blocks(n), dim3(CUDA_BLOCK), 0, device->stream, (const T *)call->input[0], (const T *)weight, bias, (T *)call->output[0], *s, n));
        });
        return AC_OK;
    }
    CUDA_TRY(cuda_conv_run(device, state->pass[CUDA_CONV_FORWARD], call->input[0], weight, call->output[0], library_workspace(call, state)));
    return bias ? cuda_add_bias(device, (ac_dtype)s->type, call->output[0], bias, n / s->o, s->o) : AC_OK;
}

static ac_status backward_weight(const ac_call *call, const conv_state *state)
{
    const cuda_conv_spec *s = &state->spec;
    cuda_device *device = cuda_of(call->device);
    int64_t n = weight_elements(s);
    float *dweight = call->param_gradient[0];
    void *made = (unsigned char *)call->workspace + state->weight_bytes;
    if (state->own_dweight)
        return cuda_conv_dweight(device, s, call->input[0], call->doutput[0], dweight, call->accumulate, library_workspace(call, state));
    if (!state->pass[CUDA_CONV_DW]) {
        CUDA_FOR_TYPE(s->type, {
            CUDA_TRY(AC_LAUNCH((dweight_kernel<T>), cuda_blocks(n), dim3(CUDA_BLOCK), 0, device->stream, (const T *)call->input[0], (const T *)call->doutput[0], dweight, *s, n,
                               call->accumulate));
        });
        return AC_OK;
    }
    bool direct = state->dweight_type == AC_F32 && !call->accumulate;
    CUDA_TRY(cuda_conv_run(device, state->pass[CUDA_CONV_DW], call->input[0], direct ? dweight : made, call->doutput[0], library_workspace(call, state)));
    return direct ? AC_OK : cuda_put_gradient(device, dweight, (ac_dtype)state->dweight_type, made, (size_t)n, call->accumulate);
}

static ac_status backward(const ac_call *call)
{
    const conv_state *state = (const conv_state *)call->state;
    const cuda_conv_spec *s = &state->spec;
    cuda_device *device = cuda_of(call->device);
    bool bias = ((const ac_conv2d_attribute *)call->node->attribute)->bias;
    if (state->is_product) {
        const void *rows;
        void *workspace;
        CUDA_TRY(read_rows(call, state, &rows, &workspace));
        cuda_product_gradient g = {rows, call->doutput[0], cuda_product_params_of(call, bias), call->dinput[0], call->param_gradient[0], bias ? call->param_gradient[1] : NULL,
                                   call->accumulate, false};
        return cuda_product_backward(device, &state->product, &g, workspace);
    }
    if (state->is_depthwise)
        CUDA_TRY(cuda_depthwise_dweight(device, s, call->input[0], call->doutput[0], call->param_gradient[0], call->accumulate, call->workspace));
    else
        CUDA_TRY(backward_weight(call, state));
    if (bias)
        CUDA_TRY(cuda_column_sums(device, (ac_dtype)s->type, call->doutput[0], s->n * s->oh * s->ow, s->o, call->param_gradient[1], call->accumulate));
    if (!call->dinput[0])
        return AC_OK;
    if (state->is_depthwise)
        return cuda_depthwise_dx(device, s, call->doutput[0], (const float *)call->param[0], call->dinput[0], call->workspace);
    const void *weight;
    CUDA_TRY(read_weight(call, state, &weight));
    if (state->own_pass[CUDA_CONV_DX])
        return cuda_conv_tile_dx(device, s, call->doutput[0], weight, call->dinput[0], library_workspace(call, state));
    if (state->pass[CUDA_CONV_DX])
        return cuda_conv_run(device, state->pass[CUDA_CONV_DX], call->dinput[0], weight, call->doutput[0], library_workspace(call, state));
    int64_t n = s->n * s->h * s->w * s->c;
    CUDA_FOR_TYPE(s->type, {
        CUDA_TRY(AC_LAUNCH((dx_kernel<T>), cuda_blocks(n), dim3(CUDA_BLOCK), 0, device->stream, (const T *)call->doutput[0], (const T *)weight, (T *)call->dinput[0], *s, n));
    });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_conv2d = {&ac_op_conv2d, 0, plan, release, forward, backward, NULL};
