/* Passes over a tensor [rows, channels] that several operators use: adding a bias, summing columns. */
#include "backend/cuda/kernel.cuh"

template <typename T, typename From, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) add_bias_kernel(T *y, const From *from, const float *bias, row_grid g)
{
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    int64_t first = blockIdx.y * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    if (vector >= g.n_vectors)
        return;
    pack<float, VEC> b = load<float, VEC>(bias, vector * VEC);
    for (int64_t r = first + threadIdx.y; r < end; r += blockDim.y) {
        int64_t at = r * g.channels + vector * VEC;
        pack<From, VEC> v = load<From, VEC>(from, at);
        pack<T, VEC> out;
#pragma unroll
        for (int k = 0; k < VEC; k++)
            out.v[k] = from_float<T>(to_float(v.v[k]) + b.v[k]);
        store<T, VEC>(y, at, out);
    }
}

extern "C" ac_status cuda_add_bias(cuda_device *device, ac_dtype dtype, void *y, const float *bias, int64_t rows, int64_t channels)
{
    row_grid g = make_row_grid(device, rows, channels, cuda_width(dtype, channels));
    CUDA_FOR_TYPE_AND_WIDTH(dtype, channels, { CUDA_TRY(AC_LAUNCH((add_bias_kernel<T, T, VEC>), g.grid, g.block, 0, device->stream, (T *)y, (const T *)y, bias, g)); });
    return AC_OK;
}

extern "C" ac_status cuda_add_bias_to(cuda_device *device, ac_dtype dtype, void *y, const float *from, const float *bias, int64_t rows, int64_t channels)
{
    row_grid g = make_row_grid(device, rows, channels, cuda_width(dtype, channels));
    CUDA_FOR_TYPE_AND_WIDTH(dtype, channels, { CUDA_TRY(AC_LAUNCH((add_bias_kernel<T, float, VEC>), g.grid, g.block, 0, device->stream, (T *)y, from, bias, g)); });
    return AC_OK;
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) column_sums_kernel(const T *values, row_grid g, double *partial)
{
    __shared__ double shared[CUDA_BLOCK];
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    int64_t first = blockIdx.y * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    float sum[VEC];
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] = 0;
    if (vector < g.n_vectors) {
#pragma unroll 4
        for (int64_t r = first + threadIdx.y; r < end; r += blockDim.y) {
            pack<T, VEC> v = load<T, VEC>(values, r * g.channels + vector * VEC);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                sum[k] += to_float(v.v[k]);
        }
    }
#pragma unroll
    for (int k = 0; k < VEC; k++) {
        double total = sum_over_y(sum[k], shared);
        if (threadIdx.y == 0 && vector < g.n_vectors)
            partial[(int64_t)blockIdx.y * g.channels + vector * VEC + k] = total;
    }
}

/* Tiles in order, 8 strands per channel. */
__global__ void __launch_bounds__(CUDA_BLOCK) column_total_kernel(const double *partial, int n_tiles, int channels, float *out, bool accumulate)
{
    __shared__ double shared[CUDA_BLOCK];
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    double sum = 0;
    for (int t = (int)threadIdx.y; t < n_tiles && c < channels; t += (int)blockDim.y)
        sum += partial[(int64_t)t * channels + c];
    sum = sum_over_y(sum, shared);
    if (threadIdx.y == 0 && c < channels)
        out[c] = (float)(sum + (accumulate ? (double)out[c] : 0.0));
}

extern "C" ac_status cuda_column_sums(cuda_device *device, ac_dtype dtype, const void *values, int64_t rows, int64_t channels, float *out, bool accumulate)
{
    row_grid g = make_row_grid(device, rows, channels, cuda_width(dtype, channels));
    double *partial = (double *)device->scratch;
    if ((size_t)g.n_tiles * (size_t)channels * sizeof *partial > CUDA_SCRATCH_BYTES)
        return ac_error(AC_ERR_UNSUPPORTED, "sums of %lld columns", (long long)channels);
    CUDA_FOR_TYPE_AND_WIDTH(dtype, channels, { CUDA_TRY(AC_LAUNCH((column_sums_kernel<T, VEC>), g.grid, g.block, 0, device->stream, (const T *)values, g, partial)); });
    return AC_LAUNCH(column_total_kernel, dim3((unsigned)((channels + 31) / 32)), dim3(32, CUDA_BLOCK / 32), 0, device->stream, (const double *)partial, g.n_tiles,
                     (int)channels, out, accumulate);
}
