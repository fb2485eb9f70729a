/* max_pool and global_avg_pool. Backward gathers, so that sums have a fixed order. */
#include "backend/cuda/kernel.cuh"

struct pool_sizes {
    int h, w, oh, ow, channels, kernel, stride, padding;
};

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) max_kernel(const T *x, T *y, uint8_t *at, pool_sizes s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    if (i >= n)
        return;
    int c = (int)(i % s.channels);
    int64_t pixel = i / s.channels;
    int ox = (int)(pixel % s.ow), oy = (int)(pixel / s.ow % s.oh);
    int64_t image = pixel / s.ow / s.oh;
    float best[VEC];
    pack<T, VEC> out;
    pack<uint8_t, VEC> place;
#pragma unroll
    for (int k = 0; k < VEC; k++)
        best[k] = 0, place.v[k] = 0;
    bool found = false;
    for (int ky = 0; ky < s.kernel; ky++)
        for (int kx = 0; kx < s.kernel; kx++) {
            int iy = oy * s.stride - s.padding + ky, ix = ox * s.stride - s.padding + kx;
            if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w)
                continue;
            pack<T, VEC> v = load<T, VEC>(x, ((image * s.h + iy) * s.w + ix) * s.channels + c);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                float value = to_float(v.v[k]);
                if (!found || value > best[k] || isnan(value)) {
                    best[k] = value;
                    place.v[k] = (uint8_t)(ky * s.kernel + kx);
                }
            }
            found = true;
        }
#pragma unroll
    for (int k = 0; k < VEC; k++)
        out.v[k] = from_float<T>(best[k]);
    store<T, VEC>(y, i, out);
    if (at)
        store<uint8_t, VEC>(at, i, place);
}

template <typename T, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK) max_backward_kernel(const T *part0, const T *part1, const T *part2, const uint8_t *at, T *dx, pool_sizes s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    if (i >= n)
        return;
    int c = (int)(i % s.channels);
    int64_t pixel = i / s.channels;
    int ix = (int)(pixel % s.w), iy = (int)(pixel / s.w % s.h);
    int64_t image = pixel / s.w / s.h;
    float sum[VEC];
    pack<T, VEC> out;
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] = 0;
    for (int ky = 0; ky < s.kernel; ky++)
        for (int kx = 0; kx < s.kernel; kx++) {
            int top = iy + s.padding - ky, left = ix + s.padding - kx;
            if (top < 0 || left < 0 || top % s.stride || left % s.stride || top / s.stride >= s.oh || left / s.stride >= s.ow)
                continue;
            int64_t o = ((image * s.oh + top / s.stride) * s.ow + left / s.stride) * s.channels + c;
            pack<uint8_t, VEC> place = load<uint8_t, VEC>(at, o);
            pack<T, VEC> d = load<T, VEC>(part0, o), second, third;
            if (part1)
                second = load<T, VEC>(part1, o);
            if (part2)
                third = load<T, VEC>(part2, o);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                if (place.v[k] == ky * s.kernel + kx)
                    sum[k] += to_float(d.v[k]) + (part1 ? to_float(second.v[k]) : 0.0f) + (part2 ? to_float(third.v[k]) : 0.0f);
        }
#pragma unroll
    for (int k = 0; k < VEC; k++)
        out.v[k] = from_float<T>(sum[k]);
    store<T, VEC>(dx, i, out);
}

static pool_sizes sizes_of(const ac_call *call)
{
    const ac_pool_attribute *a = (const ac_pool_attribute *)call->node->attribute;
    const ac_shape *x = cuda_in(call, 0), *y = cuda_out(call);
    pool_sizes s = {(int)x->dim[1], (int)x->dim[2], (int)y->dim[1], (int)y->dim[2], (int)x->dim[3], a->kernel_px, a->stride_px, a->padding_px};
    return s;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    return cuda_check_precision(device, ac_graph_shape(graph, node->input[0])->dtype);
}

template <typename T> static const T *part_of(const ac_call *call, int k)
{
    return k < call->n_doutput ? (const T *)call->doutput[k] : nullptr;
}

static ac_status max_forward(const ac_call *call)
{
    pool_sizes s = sizes_of(call);
    int64_t n = ac_shape_elements(cuda_out(call));
    CUDA_FOR_TYPE_AND_WIDTH(cuda_out(call)->dtype, s.channels, {
        CUDA_TRY(AC_LAUNCH((max_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, (const T *)call->input[0], (T *)call->output[0],
                           (uint8_t *)call->saved[0], s, n));
    });
    return AC_OK;
}

static ac_status max_backward(const ac_call *call)
{
    pool_sizes s = sizes_of(call);
    int64_t n = ac_shape_elements(cuda_in(call, 0));
    if (!call->dinput[0])
        return AC_OK;
    CUDA_FOR_TYPE_AND_WIDTH(cuda_out(call)->dtype, s.channels, {
        CUDA_TRY(AC_LAUNCH((max_backward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, part_of<T>(call, 0), part_of<T>(call, 1),
                           part_of<T>(call, 2), (const uint8_t *)call->saved[0], (T *)call->dinput[0], s, n));
    });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_max_pool = {&ac_op_max_pool, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, max_forward, max_backward, NULL};

/* One block per image and 32 vectors; rows of threads share the pixels. */
template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) average_kernel(const T *x, T *y, int64_t pixels, int channels)
{
    __shared__ double shared[CUDA_BLOCK];
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    const T *image = x + blockIdx.y * pixels * channels;
    float sum[VEC];
    pack<T, VEC> out;
    bool inside = vector * VEC < channels;
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] = 0;
    for (int64_t p = threadIdx.y; p < pixels && inside; p += blockDim.y) {
        pack<T, VEC> v = load<T, VEC>(image, p * channels + vector * VEC);
#pragma unroll
        for (int k = 0; k < VEC; k++)
            sum[k] += to_float(v.v[k]);
    }
#pragma unroll
    for (int k = 0; k < VEC; k++)
        out.v[k] = from_float<T>((float)(sum_over_y(sum[k], shared) / (double)pixels));
    if (inside && threadIdx.y == 0)
        store<T, VEC>(y, (int64_t)blockIdx.y * channels + vector * VEC, out);
}

template <typename T, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK) average_backward_kernel(const T *part0, const T *part1, const T *part2, T *dx, int64_t pixels, int channels, int64_t n)
{
    int64_t i = thread_index() * VEC;
    if (i >= n)
        return;
    int64_t o = i / (pixels * channels) * channels + i % channels;
    pack<T, VEC> d = load<T, VEC>(part0, o), second, third;
    if (part1)
        second = load<T, VEC>(part1, o);
    if (part2)
        third = load<T, VEC>(part2, o);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        d.v[k] = from_float<T>((to_float(d.v[k]) + (part1 ? to_float(second.v[k]) : 0.0f) + (part2 ? to_float(third.v[k]) : 0.0f)) / (float)pixels);
    store<T, VEC>(dx, i, d);
}

static ac_status average_forward(const ac_call *call)
{
    const ac_shape *x = cuda_in(call, 0);
    int64_t pixels = x->dim[1] * x->dim[2];
    int channels = (int)x->dim[3];
    CUDA_FOR_TYPE_AND_WIDTH(x->dtype, channels, {
        CUDA_TRY(AC_LAUNCH((average_kernel<T, VEC>), dim3((unsigned)((channels / VEC + 31) / 32), (unsigned)x->dim[0]), dim3(32, CUDA_BLOCK / 32), 0,
                           cuda_of(call->device)->stream, (const T *)call->input[0], (T *)call->output[0], pixels, channels));
    });
    return AC_OK;
}

static ac_status average_backward(const ac_call *call)
{
    const ac_shape *x = cuda_in(call, 0);
    int64_t pixels = x->dim[1] * x->dim[2], n = ac_shape_elements(x);
    int channels = (int)x->dim[3];
    if (!call->dinput[0])
        return AC_OK;
    CUDA_FOR_TYPE_AND_WIDTH(x->dtype, channels, {
        CUDA_TRY(AC_LAUNCH((average_backward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, part_of<T>(call, 0),
                           part_of<T>(call, 1), part_of<T>(call, 2), (T *)call->dinput[0], pixels, channels, n));
    });
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_global_avg_pool = {&ac_op_global_avg_pool, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, average_forward, average_backward, NULL};
