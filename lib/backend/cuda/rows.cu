/* Passes over a tensor [rows, channels] that several operators use: adding a bias, summing columns. */
#include "backend/cuda/kernel.cuh"

template <typename T, typename From, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK) add_bias_kernel(T *y, const From *from, const float *bias, const T *residual, row_grid g)
{
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    int64_t first = blockIdx.y * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    float b[VEC], v[VEC], more[VEC] = {};
    if (vector >= g.n_vectors)
        return;
#pragma unroll
    for (int k = 0; k < VEC; k++)
        b[k] = bias ? bias[vector * VEC + k] : 0.0f;
    for (int64_t r = first + threadIdx.y; r < end; r += blockDim.y) {
        int64_t at = r * g.channels + vector * VEC;
        load_floats<From, VEC>(from, at, v);
        if (residual)
            load_floats<T, VEC>(residual, at, more);
#pragma unroll
        for (int k = 0; k < VEC; k++)
            v[k] += b[k] + (residual ? more[k] : 0.0f);
        store_floats<T, VEC>(y, at, v);
    }
}

extern "C" ac_status cuda_add_bias(cuda_device *device, ac_dtype dtype, void *y, const float *bias, int64_t rows, int64_t channels)
{
    row_grid g = make_row_grid(device, rows, channels, cuda_width(dtype, channels));
    CUDA_FOR_TYPE_AND_WIDTH(dtype, channels, {
        CUDA_TRY(AC_LAUNCH((add_bias_kernel<T, T, VEC>), g.grid, g.block, 0, device->stream, (T *)y, (const T *)y, bias, (const T *)nullptr, g));
    });
    return AC_OK;
}

extern "C" ac_status cuda_add_bias_to(cuda_device *device, ac_dtype dtype, void *y, const float *from, const float *bias, const void *residual, int64_t rows,
                                      int64_t channels)
{
    row_grid g = make_row_grid(device, rows, channels, cuda_width(dtype, channels));
    CUDA_FOR_TYPE_AND_WIDTH(dtype, channels, {
        CUDA_TRY(AC_LAUNCH((add_bias_kernel<T, float, VEC>), g.grid, g.block, 0, device->stream, (T *)y, from, bias, (const T *)residual, g));
    });
    return AC_OK;
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) column_sums_kernel(const T *values, row_grid g, double *partial)
{
    __shared__ float shared[VEC * CUDA_BLOCK];
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    int64_t first = blockIdx.y * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    float sum[VEC], v[VEC];
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] = 0;
    if (vector < g.n_vectors) {
#pragma unroll 4
        for (int64_t r = first + threadIdx.y; r < end; r += blockDim.y) {
            load_floats<T, VEC>(values, r * g.channels + vector * VEC, v);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                sum[k] += v[k];
        }
    }
    sum_columns<VEC>(sum, shared, [&](int k, int x, double total) {
        int at = (int)(blockIdx.x * blockDim.x) + x;
        if (at < g.n_vectors)
            partial[(int64_t)blockIdx.y * g.channels + at * VEC + k] = total;
    });
}

/* Tiles in order, 32 strands per column. */
__global__ void __launch_bounds__(CUDA_BLOCK) tile_totals_kernel(const double *partial, int n_tiles, int64_t stride, int columns, float *out, bool accumulate)
{
    __shared__ double shared[CUDA_BLOCK];
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    double sum = 0;
    for (int t = (int)threadIdx.y; t < n_tiles && c < columns; t += (int)blockDim.y)
        sum += partial[(int64_t)t * stride + c];
    sum = sum_over_y(sum, shared);
    if (threadIdx.y == 0 && c < columns)
        out[c] = (float)(sum + (accumulate ? (double)out[c] : 0.0));
}

extern "C" ac_status cuda_tile_totals(cuda_device *device, const double *partial, int n_tiles, int64_t stride, int64_t columns, float *out, bool accumulate)
{
    return AC_LAUNCH(tile_totals_kernel, dim3((unsigned)((columns + 7) / 8)), dim3(8, CUDA_BLOCK / 8), 0, device->stream, partial, n_tiles, stride, (int)columns, out, accumulate);
}

extern "C" ac_status cuda_column_sums(cuda_device *device, ac_dtype dtype, const void *values, int64_t rows, int64_t channels, float *out, bool accumulate)
{
    row_grid g = make_row_grid(device, rows, channels, cuda_width(dtype, channels));
    double *partial = (double *)device->scratch;
    if ((size_t)g.n_tiles * (size_t)channels * sizeof *partial > CUDA_SCRATCH_BYTES)
        return ac_error(AC_ERR_UNSUPPORTED, "sums of %lld columns", (long long)channels);
    CUDA_FOR_TYPE_AND_WIDTH(dtype, channels, { CUDA_TRY(AC_LAUNCH((column_sums_kernel<T, VEC>), g.grid, g.block, 0, device->stream, (const T *)values, g, partial)); });
    return cuda_tile_totals(device, partial, g.n_tiles, channels, channels, out, accumulate);
}
