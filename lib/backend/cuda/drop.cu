/* add (with stochastic depth), dropout, tokens, first_token: passes over [N, elements of an image]. What is drawn is drop_formula.h's. */
#include "anyclass/drop_formula.h"
#include "backend/cuda/kernel.cuh"

/* ---- add ---- */

struct branch { /* stochastic depth of an image */
    ac_drop_attribute a;
    const int64_t *keys; /* NULL: nothing is dropped */
    int64_t each;        /* elements of an image */
};

__device__ static inline float branch_scale(const branch &b, int64_t i)
{
    return b.keys ? ac_stochastic_depth_scale(b.a.seed, b.keys[i / b.each], b.a.layer, b.a.probability) : 1.0f;
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) add_forward_kernel(const T *x, const T *residual, T *y, branch b, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float v[VEC], sum[VEC];
    if (i >= n)
        return;
    float s = branch_scale(b, i);
    load_floats<T, VEC>(residual, i, sum);
    if (s != 0) {
        load_floats<T, VEC>(x, i, v);
#pragma unroll
        for (int k = 0; k < VEC; k++)
            sum[k] += s * v[k];
    }
    store_floats<T, VEC>(y, i, sum);
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) add_backward_kernel(gradient_parts<T> parts, T *dx, branch b, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float d[VEC];
    if (i >= n)
        return;
    float s = branch_scale(b, i);
    load_parts<T, VEC>(parts, i, d);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        d[k] = s != 0 ? s * d[k] : 0.0f;
    store_floats<T, VEC>(dx, i, d);
}

static branch branch_of(const ac_call *call)
{
    const ac_shape *y = cuda_out(call);
    branch b = {*(const ac_drop_attribute *)call->node->attribute, NULL, ac_shape_elements(y) / y->dim[0]};
    if (b.a.probability > 0)
        b.keys = (const int64_t *)call->input[2];
    return b;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    return cuda_check_precision(device, ac_graph_shape(graph, node->output[0])->dtype);
}

static ac_status add_forward(const ac_call *call)
{
    branch b = branch_of(call);
    int64_t n = ac_shape_elements(cuda_out(call));
    CUDA_FOR_TYPE_AND_WIDTH(cuda_out(call)->dtype, b.each, {
        CUDA_TRY(AC_LAUNCH((add_forward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, (const T *)call->input[0],
                           (const T *)call->input[1], (T *)call->output[0], b, n));
    });
    return AC_OK;
}

static ac_status add_backward(const ac_call *call)
{
    branch b = branch_of(call);
    int64_t n = ac_shape_elements(cuda_out(call));
    if (!call->dinput[0])
        return AC_OK;
    CUDA_FOR_TYPE_AND_WIDTH(cuda_out(call)->dtype, b.each, {
        CUDA_TRY(AC_LAUNCH((add_backward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, parts_of<T>(call), (T *)call->dinput[0], b, n));
    });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_add = {&ac_op_add, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, add_forward, add_backward, NULL, NULL};

/* ---- dropout: a thread for each block of four draws. Backward is the same with the gradient ---- */

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) dropout_kernel(gradient_parts<T> x, T *y, branch b, int64_t per_image /* blocks of four */, int64_t n)
{
    int64_t i = thread_index();
    if (i >= n)
        return;
    int64_t image = i / per_image, block = i % per_image;
    ac_philox words = ac_dropout_block(b.a.seed, b.keys[image], b.a.layer, (uint32_t)block);
    for (int k = 0; k < 4 && block * 4 + k < b.each; k++) {
        int64_t at = image * b.each + block * 4 + k;
        float s = ac_drop_scale(words.word[k], b.a.probability), v = 0;
        for (int p = 0; p < x.n; p++)
            v += to_float(x.part[p][at]);
        y[at] = from_float<T>(s != 0 ? s * v : 0.0f);
    }
}

template <typename T> static ac_status drop(const ac_call *call, const gradient_parts<T> &from, void *to)
{
    const ac_shape *y = cuda_out(call);
    int64_t each = ac_shape_elements(y) / y->dim[0], per_image = (each + 3) / 4, n = per_image * y->dim[0];
    branch b = {*(const ac_drop_attribute *)call->node->attribute, (const int64_t *)call->input[1], each};
    return AC_LAUNCH((dropout_kernel<T>), cuda_blocks(n), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, from, (T *)to, b, per_image, n);
}

static ac_status dropout_forward(const ac_call *call)
{
    CUDA_FOR_TYPE(cuda_out(call)->dtype, {
        gradient_parts<T> x = {{(const T *)call->input[0], NULL, NULL}, 1};
        CUDA_TRY(drop<T>(call, x, call->output[0]));
    });
    return AC_OK;
}

static ac_status dropout_backward(const ac_call *call)
{
    if (!call->dinput[0])
        return AC_OK;
    CUDA_FOR_TYPE(cuda_out(call)->dtype, { CUDA_TRY(drop<T>(call, parts_of<T>(call), call->dinput[0])); });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_dropout = {&ac_op_dropout, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, dropout_forward, dropout_backward, NULL, NULL};

/* ---- tokens ---- */

template <typename T, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK) tokens_kernel(const T *x, const float *class_token, const float *position, T *y, int64_t each, int64_t channels, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float v[VEC];
    if (i >= n)
        return;
    int64_t k = i % each, image = i / each;
    if (k < channels)
        load_floats<float, VEC>(class_token, k, v);
    else
        load_floats<T, VEC>(x, image * (each - channels) + k - channels, v);
#pragma unroll
    for (int c = 0; c < VEC; c++)
        v[c] += position[k + c];
    store_floats<T, VEC>(y, i, v);
}

/* A thread sums its positions over the images, in their order, and passes the gradient on. */
template <typename T, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK)
tokens_backward_kernel(gradient_parts<T> parts, T *dx, float *dclass, float *dposition, int64_t each, int64_t channels, int64_t n_images, bool accumulate)
{
    int64_t k = thread_index() * VEC;
    double sum[VEC];
    if (k >= each)
        return;
#pragma unroll
    for (int c = 0; c < VEC; c++)
        sum[c] = 0;
    for (int64_t image = 0; image < n_images; image++) {
        float d[VEC];
        load_parts<T, VEC>(parts, image * each + k, d);
        if (dx && k >= channels)
            store_floats<T, VEC>(dx, image * (each - channels) + k - channels, d);
#pragma unroll
        for (int c = 0; c < VEC; c++)
            sum[c] += (double)d[c];
    }
#pragma unroll
    for (int c = 0; c < VEC; c++) {
        dposition[k + c] = (float)(sum[c] + (accumulate ? (double)dposition[k + c] : 0.0));
        if (k < channels)
            dclass[k + c] = (float)(sum[c] + (accumulate ? (double)dclass[k + c] : 0.0));
    }
}

static ac_status tokens_forward(const ac_call *call)
{
    const ac_shape *y = cuda_out(call);
    int64_t n = ac_shape_elements(y), each = y->dim[1] * y->dim[2], channels = y->dim[2];
    CUDA_FOR_TYPE_AND_WIDTH(y->dtype, channels, {
        CUDA_TRY(AC_LAUNCH((tokens_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, (const T *)call->input[0],
                           (const float *)call->param[0], (const float *)call->param[1], (T *)call->output[0], each, channels, n));
    });
    return AC_OK;
}

static ac_status tokens_backward(const ac_call *call)
{
    const ac_shape *y = cuda_out(call);
    int64_t each = y->dim[1] * y->dim[2], channels = y->dim[2];
    CUDA_FOR_TYPE(y->dtype, { /* one or two channels a thread: there are few positions */
        if (channels % 2 == 0)
            CUDA_TRY(AC_LAUNCH((tokens_backward_kernel<T, 2>), cuda_blocks(each / 2), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, parts_of<T>(call), (T *)call->dinput[0],
                               call->param_gradient[0], call->param_gradient[1], each, channels, y->dim[0], call->accumulate));
        else
            CUDA_TRY(AC_LAUNCH((tokens_backward_kernel<T, 1>), cuda_blocks(each), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, parts_of<T>(call), (T *)call->dinput[0],
                               call->param_gradient[0], call->param_gradient[1], each, channels, y->dim[0], call->accumulate));
    });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_tokens = {&ac_op_tokens, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, tokens_forward, tokens_backward, NULL, NULL};

/* ---- first_token ---- */

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) first_kernel(const T *x, T *y, int64_t each, int64_t channels, int64_t n)
{
    int64_t i = thread_index();
    if (i < n)
        y[i] = x[i / channels * each + i % channels];
}

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) first_backward_kernel(gradient_parts<T> parts, T *dx, int64_t each, int64_t channels, bool add, int64_t n)
{
    int64_t i = thread_index();
    float d[1] = {0};
    if (i >= n)
        return;
    bool first = i % each < channels;
    if (first)
        load_parts<T, 1>(parts, i / each * channels + i % each, d);
    else if (add)
        return;
    dx[i] = from_float<T>(d[0] + (add ? to_float(dx[i]) : 0.0f));
}

static ac_status first_forward(const ac_call *call)
{
    const ac_shape *x = cuda_in(call, 0);
    int64_t n = x->dim[0] * x->dim[2];
    CUDA_FOR_TYPE(x->dtype, {
        CUDA_TRY(AC_LAUNCH((first_kernel<T>), cuda_blocks(n), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, (const T *)call->input[0], (T *)call->output[0],
                           x->dim[1] * x->dim[2], x->dim[2], n));
    });
    return AC_OK;
}

static ac_status first_backward(const ac_call *call)
{
    const ac_shape *x = cuda_in(call, 0);
    int64_t n = ac_shape_elements(x);
    if (!call->dinput[0])
        return AC_OK;
    CUDA_FOR_TYPE(x->dtype, {
        CUDA_TRY(AC_LAUNCH((first_backward_kernel<T>), cuda_blocks(n), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, parts_of<T>(call), (T *)call->dinput[0],
                           x->dim[1] * x->dim[2], x->dim[2], call->add_dinput, n));
    });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_first_token = {&ac_op_first_token, AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, plan, NULL, first_forward, first_backward, NULL, NULL};
