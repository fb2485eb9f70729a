/* space_to_depth, blur_pool and avg_pool: a thread to a vector of channels of one pixel. Backward asks every window that may cover a pixel, in a fixed order. */
#include "backend/cuda/kernel.cuh"

struct map_sizes {
    int h, w, channels;    /* of the input */
    int oh, ow;            /* of the output */
    int kernel, stride, padding;
    bool count_padding;
};

struct map_place {
    int64_t image;
    int y, x, c;
};

/* Element `i` of a map [.., h, w, channels]. */
__device__ static inline map_place place_of(int64_t i, int h, int w, int channels)
{
    int64_t pixel = i / channels;
    map_place p;
    p.c = (int)(i % channels);
    p.x = (int)(pixel % w);
    p.y = (int)(pixel / w % h);
    p.image = pixel / w / h;
    return p;
}

template <typename T, int VEC> __device__ static inline void add_scaled(float *sum, const float *v, float weight)
{
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] += weight * v[k];
}

/* ---- space_to_depth; `kernel` is the block ---- */

__device__ static inline int64_t moved_to(const map_sizes &s, const map_place &p)
{
    int b = s.kernel;
    return (((p.image * s.oh + p.y / b) * s.ow + p.x / b) * b * b + p.y % b * b + p.x % b) * s.channels + p.c;
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) space_kernel(const T *x, T *y, map_sizes s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    if (i < n)
        store<T, VEC>(y, moved_to(s, place_of(i, s.h, s.w, s.channels)), load<T, VEC>(x, i));
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) space_backward_kernel(gradient_parts<T> parts, T *dx, map_sizes s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float d[VEC];
    if (i >= n)
        return;
    load_parts<T, VEC>(parts, moved_to(s, place_of(i, s.h, s.w, s.channels)), d);
    store_floats<T, VEC>(dx, i, d);
}

/* ---- blur_pool ---- */

__device__ static inline int mirrored(int at, int n)
{
    return at < 0 ? -at : at >= n ? 2 * (n - 1) - at : at;
}

/* Weight of pixel `at` of n in output `o` along one side. */
__device__ static inline float blur_weight(int o, int at, int n)
{
    float sum = 0;
#pragma unroll
    for (int k = -1; k <= 1; k++)
        sum += mirrored(2 * o + k, n) == at ? (k == 0 ? 0.5f : 0.25f) : 0.0f;
    return sum;
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) blur_kernel(const T *x, T *y, map_sizes s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float sum[VEC] = {}, v[VEC];
    if (i >= n)
        return;
    map_place p = place_of(i, s.oh, s.ow, s.channels);
#pragma unroll
    for (int ky = -1; ky <= 1; ky++)
#pragma unroll
        for (int kx = -1; kx <= 1; kx++) {
            int iy = mirrored(2 * p.y + ky, s.h), ix = mirrored(2 * p.x + kx, s.w);
            load_floats<T, VEC>(x, ((p.image * s.h + iy) * s.w + ix) * s.channels + p.c, v);
            add_scaled<T, VEC>(sum, v, (ky == 0 ? 0.5f : 0.25f) * (kx == 0 ? 0.5f : 0.25f));
        }
    store_floats<T, VEC>(y, i, sum);
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) blur_backward_kernel(gradient_parts<T> parts, T *dx, map_sizes s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float sum[VEC] = {}, v[VEC];
    if (i >= n)
        return;
    map_place p = place_of(i, s.h, s.w, s.channels);
    for (int oy = max(p.y / 2 - 1, 0); oy <= min(p.y / 2 + 1, s.oh - 1); oy++)
        for (int ox = max(p.x / 2 - 1, 0); ox <= min(p.x / 2 + 1, s.ow - 1); ox++) {
            float weight = blur_weight(oy, p.y, s.h) * blur_weight(ox, p.x, s.w);
            if (weight <= 0)
                continue;
            load_parts<T, VEC>(parts, ((p.image * s.oh + oy) * s.ow + ox) * s.channels + p.c, v);
            add_scaled<T, VEC>(sum, v, weight);
        }
    store_floats<T, VEC>(dx, i, sum);
}

/* ---- avg_pool ---- */

struct side { /* what window o covers of a side of n */
    int first, end, counted;
};

__device__ static inline side window_at(const map_sizes &s, int o, int n)
{
    int first = o * s.stride - s.padding, end = first + s.kernel;
    side r = {max(first, 0), min(end, n), 0};
    r.counted = s.count_padding ? min(end, n + s.padding) - first : r.end - r.first;
    return r;
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) average_kernel(const T *x, T *y, map_sizes s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float sum[VEC] = {}, v[VEC];
    if (i >= n)
        return;
    map_place p = place_of(i, s.oh, s.ow, s.channels);
    side rows = window_at(s, p.y, s.h), columns = window_at(s, p.x, s.w);
    for (int iy = rows.first; iy < rows.end; iy++)
        for (int ix = columns.first; ix < columns.end; ix++) {
            load_floats<T, VEC>(x, ((p.image * s.h + iy) * s.w + ix) * s.channels + p.c, v);
            add_scaled<T, VEC>(sum, v, 1);
        }
    float count = (float)(rows.counted * columns.counted);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] /= count;
    store_floats<T, VEC>(y, i, sum);
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) average_backward_kernel(gradient_parts<T> parts, T *dx, map_sizes s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float sum[VEC] = {}, v[VEC];
    if (i >= n)
        return;
    map_place p = place_of(i, s.h, s.w, s.channels);
    for (int oy = max((p.y + s.padding - s.kernel) / s.stride, 0); oy <= min((p.y + s.padding) / s.stride, s.oh - 1); oy++)
        for (int ox = max((p.x + s.padding - s.kernel) / s.stride, 0); ox <= min((p.x + s.padding) / s.stride, s.ow - 1); ox++) {
            side rows = window_at(s, oy, s.h), columns = window_at(s, ox, s.w);
            if (p.y < rows.first || p.y >= rows.end || p.x < columns.first || p.x >= columns.end)
                continue;
            load_parts<T, VEC>(parts, ((p.image * s.oh + oy) * s.ow + ox) * s.channels + p.c, v);
            add_scaled<T, VEC>(sum, v, 1 / (float)(rows.counted * columns.counted));
        }
    store_floats<T, VEC>(dx, i, sum);
}

/* ---- host ---- */

static map_sizes sizes_of(const ac_call *call)
{
    const ac_shape *x = cuda_in(call, 0), *y = cuda_out(call);
    map_sizes s;
    memset(&s, 0, sizeof s);
    s.h = (int)x->dim[1];
    s.w = (int)x->dim[2];
    s.channels = (int)x->dim[3];
    s.oh = (int)y->dim[1];
    s.ow = (int)y->dim[2];
    if (call->node->op == &ac_op_space_to_depth) {
        s.kernel = ((const ac_space_to_depth_attribute *)call->node->attribute)->block_px;
    } else if (call->node->op == &ac_op_avg_pool) {
        const ac_avg_pool_attribute *a = (const ac_avg_pool_attribute *)call->node->attribute;
        s.kernel = a->kernel_px;
        s.stride = a->stride_px;
        s.padding = a->padding_px;
        s.count_padding = a->count_padding;
    }
    return s;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants, (void)out;
    return cuda_check_precision(device, ac_graph_shape(graph, node->input[0])->dtype);
}

/* forward_kernel over the elements of `over`, backward_kernel over those of the input. */
#define DEFINE_PASSES(name, forward_kernel, backward_kernel, over)                                                                                          \
    static ac_status name##_forward(const ac_call *call)                                                                                                     \
    {                                                                                                                                                        \
        map_sizes s = sizes_of(call);                                                                                                                        \
        int64_t n = ac_shape_elements(over);                                                                                                                 \
        CUDA_FOR_TYPE_AND_WIDTH(cuda_out(call)->dtype, s.channels, {                                                                                         \
            CUDA_TRY(AC_LAUNCH((forward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, (const T *)call->input[0], \
                               (T *)call->output[0], s, n));                                                                                                 \
        });                                                                                                                                                  \
        return AC_OK;                                                                                                                                        \
    }                                                                                                                                                        \
    static ac_status name##_backward(const ac_call *call)                                                                                                    \
    {                                                                                                                                                        \
        map_sizes s = sizes_of(call);                                                                                                                        \
        int64_t n = ac_shape_elements(cuda_in(call, 0));                                                                                                     \
        if (!call->dinput[0])                                                                                                                                \
            return AC_OK;                                                                                                                                    \
        CUDA_FOR_TYPE_AND_WIDTH(cuda_out(call)->dtype, s.channels, {                                                                                         \
            CUDA_TRY(AC_LAUNCH((backward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, parts_of<T>(call),       \
                               (T *)call->dinput[0], s, n));                                                                                                 \
        });                                                                                                                                                  \
        return AC_OK;                                                                                                                                        \
    }

DEFINE_PASSES(space, space_kernel, space_backward_kernel, cuda_in(call, 0))
DEFINE_PASSES(blur, blur_kernel, blur_backward_kernel, cuda_out(call))
DEFINE_PASSES(average, average_kernel, average_backward_kernel, cuda_out(call))

extern "C" const ac_kernel ac_cuda_space_to_depth = {&ac_op_space_to_depth, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, space_forward, space_backward, NULL, NULL};
extern "C" const ac_kernel ac_cuda_blur_pool = {&ac_op_blur_pool, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, blur_forward, blur_backward, NULL, NULL};
extern "C" const ac_kernel ac_cuda_avg_pool = {&ac_op_avg_pool, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, average_forward, average_backward, NULL, NULL};
