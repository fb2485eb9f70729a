/* Depthwise convolutions (as many groups as channels in and out): a thread to a vector of channels of one pixel; weights as float [taps, channels] in the workspace.
 * The gradient of the weights is summed over tiles of output pixels, then over tiles, in a fixed order. */
#include "backend/cuda/kernel.cuh"
#include "backend/cuda/depthwise.h"

/* to [taps, channels] = from [channels, taps], rounded as the type of activations is. */
template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) turn_kernel(const float *from, float *to, int channels, int taps)
{
    int64_t i = thread_index();
    if (i >= (int64_t)channels * taps)
        return;
    to[i] = to_float(from_float<T>(from[i % channels * taps + i / channels]));
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) forward_kernel(const T *x, const float *weight, const float *bias, T *y, cuda_conv_spec s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float sum[VEC], v[VEC], w[VEC];
    if (i >= n)
        return;
    int channels = (int)s.c, c = (int)(i % channels), width = (int)s.w, height = (int)s.h;
    int64_t pixel = i / channels;
    int ox = (int)(pixel % s.ow), oy = (int)(pixel / s.ow % s.oh);
    const T *image = x + pixel / s.ow / s.oh * s.h * s.w * channels + c;
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] = bias ? bias[c + k] : 0.0f;
    for (int ky = 0; ky < s.kernel; ky++) {
        int iy = oy * s.stride - s.padding + ky;
        if (iy < 0 || iy >= height)
            continue;
#pragma unroll 3
        for (int kx = 0; kx < s.kernel; kx++) {
            int ix = ox * s.stride - s.padding + kx;
            if (ix < 0 || ix >= width)
                continue;
            load_floats<T, VEC>(image, ((int64_t)iy * width + ix) * channels, v);
            load_floats<float, VEC>(weight, (int64_t)(ky * s.kernel + kx) * channels + c, w);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                sum[k] += v[k] * w[k];
        }
    }
    store_floats<T, VEC>(y, i, sum);
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) dx_kernel(const T *dy, const float *weight, T *dx, cuda_conv_spec s, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float sum[VEC], v[VEC], w[VEC];
    if (i >= n)
        return;
    int channels = (int)s.c, c = (int)(i % channels), ow = (int)s.ow, oh = (int)s.oh;
    int64_t pixel = i / channels;
    int ix = (int)(pixel % s.w), iy = (int)(pixel / s.w % s.h);
    const T *image = dy + pixel / s.w / s.h * s.oh * s.ow * channels + c;
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] = 0;
    for (int ky = 0; ky < s.kernel; ky++) {
        int top = iy + s.padding - ky;
        if (top < 0 || top % s.stride || top / s.stride >= oh)
            continue;
#pragma unroll 3
        for (int kx = 0; kx < s.kernel; kx++) {
            int left = ix + s.padding - kx;
            if (left < 0 || left % s.stride || left / s.stride >= ow)
                continue;
            load_floats<T, VEC>(image, ((int64_t)(top / s.stride) * ow + left / s.stride) * channels, v);
            load_floats<float, VEC>(weight, (int64_t)(ky * s.kernel + kx) * channels + c, w);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                sum[k] += v[k] * w[k];
        }
    }
    store_floats<T, VEC>(dx, i, sum);
}

/* partial [tiles, channels, taps]. Taps blockIdx.z K and on; K 9: all of a 3 x 3 kernel. */
template <typename T, int VEC, int K> __global__ void __launch_bounds__(CUDA_BLOCK) dweight_kernel(const T *x, const T *dy, double *partial, cuda_conv_spec s, row_grid g)
{
    __shared__ float shared[VEC * CUDA_BLOCK];
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x), taps = s.kernel * s.kernel, channels = g.channels, tap0 = (int)blockIdx.z * K;
    int64_t first = blockIdx.y * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    float sum[K][VEC], v[VEC], d[VEC];
#pragma unroll
    for (int j = 0; j < K; j++)
#pragma unroll
        for (int k = 0; k < VEC; k++)
            sum[j][k] = 0;
    for (int64_t r = first + threadIdx.y; r < end && vector < g.n_vectors; r += blockDim.y) {
        int ox = (int)(r % s.ow), oy = (int)(r / s.ow % s.oh);
        const T *image = x + r / s.ow / s.oh * s.h * s.w * channels + vector * VEC;
        load_floats<T, VEC>(dy, r * channels + vector * VEC, d);
#pragma unroll
        for (int j = 0; j < K; j++) {
            int tap = tap0 + j, iy = oy * s.stride - s.padding + tap / s.kernel, ix = ox * s.stride - s.padding + tap % s.kernel;
            if (iy < 0 || iy >= (int)s.h || ix < 0 || ix >= (int)s.w)
                continue;
            load_floats<T, VEC>(image, ((int64_t)iy * (int)s.w + ix) * channels, v);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                sum[j][k] += v[k] * d[k];
        }
    }
#pragma unroll
    for (int j = 0; j < K; j++)
        sum_columns<VEC>(sum[j], shared, [&](int k, int at, double total) {
            int c = ((int)(blockIdx.x * blockDim.x) + at) * VEC + k;
            if (c < channels)
                partial[((int64_t)blockIdx.y * channels + c) * taps + tap0 + j] = total;
        });
}

static row_grid grid_of(const cuda_device *device, const cuda_conv_spec *s)
{
    return make_row_grid(device, s->n * s->oh * s->ow, s->c, cuda_width((ac_dtype)s->type, s->c));
}

static size_t weight_bytes(const cuda_conv_spec *s)
{
    return cuda_aligned((size_t)(s->c * s->kernel * s->kernel) * sizeof(float));
}

bool cuda_depthwise_takes(const cuda_conv_spec *s)
{
    return s->groups == s->c && s->o == s->c && s->c > 1;
}

size_t cuda_depthwise_workspace_bytes(const cuda_device *device, const cuda_conv_spec *s, bool training)
{
    row_grid g = grid_of(device, s);
    size_t partial = training ? sizeof(double) * (size_t)g.n_tiles * (size_t)(s->c * s->kernel * s->kernel) : 0;
    return partial > weight_bytes(s) ? partial : weight_bytes(s);
}

static ac_status turn(cuda_device *device, const cuda_conv_spec *s, const float *weight, void *workspace)
{
    int taps = s->kernel * s->kernel;
    CUDA_FOR_TYPE(s->type, return AC_LAUNCH((turn_kernel<T>), cuda_blocks(s->c * taps), dim3(CUDA_BLOCK), 0, device->stream, weight, (float *)workspace, (int)s->c, taps));
}

ac_status cuda_depthwise_forward(cuda_device *device, const cuda_conv_spec *s, const void *x, const float *weight, const float *bias, void *y, void *workspace)
{
    int64_t n = s->n * s->oh * s->ow * s->c;
    CUDA_TRY(turn(device, s, weight, workspace));
    CUDA_FOR_TYPE_AND_WIDTH(s->type, s->c, {
        CUDA_TRY(AC_LAUNCH((forward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, device->stream, (const T *)x, (const float *)workspace, bias, (T *)y, *s, n));
    });
    return AC_OK;
}

ac_status cuda_depthwise_dx(cuda_device *device, const cuda_conv_spec *s, const void *dy, const float *weight, void *dx, void *workspace)
{
    int64_t n = s->n * s->h * s->w * s->c;
    CUDA_TRY(turn(device, s, weight, workspace));
    CUDA_FOR_TYPE_AND_WIDTH(s->type, s->c, {
        CUDA_TRY(AC_LAUNCH((dx_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, device->stream, (const T *)dy, (const float *)workspace, (T *)dx, *s, n));
    });
    return AC_OK;
}

ac_status cuda_depthwise_dweight(cuda_device *device, const cuda_conv_spec *s, const void *x, const void *dy, float *dweight, bool accumulate, void *workspace)
{
    row_grid g = grid_of(device, s);
    int taps = s->kernel * s->kernel;
    CUDA_FOR_TYPE_AND_WIDTH(s->type, s->c, {
        if (taps == 9)
            CUDA_TRY(AC_LAUNCH((dweight_kernel<T, VEC, 9>), g.grid, g.block, 0, device->stream, (const T *)x, (const T *)dy, (double *)workspace, *s, g));
        else
            CUDA_TRY(AC_LAUNCH((dweight_kernel<T, VEC, 1>), dim3(g.grid.x, g.grid.y, (unsigned)taps), g.block, 0, device->stream, (const T *)x, (const T *)dy, (double *)workspace, *s, g));
    });
    return cuda_tile_totals(device, (const double *)workspace, g.n_tiles, s->c * taps, s->c * taps, dweight, accumulate);
}
