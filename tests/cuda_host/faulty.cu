/* Small kernels of test_emulation.c: good ones, and ones with a planted fault. */
#include "backend/cuda/kernel.cuh"
#include "tests/cuda_host/faulty.h"

__global__ void fill_kernel(int *to, int n, int value)
{
    int64_t i = thread_index();
    if (i < n)
        to[i] = value;
}

__global__ void add_scaled_kernel(int *to, const int *from, int n, int factor)
{
    int64_t i = thread_index();
    if (i < n)
        to[i] += from[i] * factor;
}

__global__ void in_front_kernel(int *to)
{
    to[-1 - (int)threadIdx.x] = 7;
}

template <bool SYNCHRONIZED> __global__ void neighbour_kernel(int *to, int step)
{
    __shared__ int shared[FAULTY_BLOCK];
    int me = (int)threadIdx.x;
    shared[me] = step + me;
    if (SYNCHRONIZED)
        __syncthreads();
    to[blockIdx.x * FAULTY_BLOCK + threadIdx.x] = shared[(me + FAULTY_BLOCK + step) % FAULTY_BLOCK];
}

__global__ void read_shared_kernel(int *to)
{
    __shared__ int fixed[FAULTY_BLOCK];
    AC_DYNAMIC_SHARED(int, dynamic);
    to[threadIdx.x] = fixed[threadIdx.x];
    to[FAULTY_BLOCK + threadIdx.x] = dynamic[threadIdx.x];
    fixed[threadIdx.x] = dynamic[threadIdx.x] = 1;
}

__global__ void warp_sum_kernel(int *to)
{
    int sum = (int)threadIdx.x;
    for (int mask = 16; mask > 0; mask /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, mask);
    to[threadIdx.x] = sum;
}

template <int WAY> __global__ void diverge_kernel(int *to)
{
    bool some = threadIdx.x % 32 < 5;
    int value = (int)threadIdx.x;
    if (WAY == FAULTY_PART_OF_BLOCK && threadIdx.x < 32)
        __syncthreads();
    if (WAY == FAULTY_TWO_PLACES) {
        if (threadIdx.x < 32)
            __syncthreads();
        else
            __syncthreads();
    }
    if (WAY == FAULTY_LANES_GONE && some)
        return;
    if (WAY == FAULTY_LANES_GONE)
        value = __shfl_xor_sync(0xffffffffu, value, 1);
    if (WAY == FAULTY_LANES_ELSEWHERE) {
        if (some)
            value = __shfl_sync(0xffffffffu, value, 0);
        else
            value = __any_sync(0xffffffffu, value);
    }
    if (WAY == FAULTY_LANES_WAIT) {
        if (some)
            __syncthreads();
        else
            __syncwarp();
    }
    to[threadIdx.x] = value;
}

static dim3 blocks_of(int n)
{
    return dim3((unsigned)((n + FAULTY_BLOCK - 1) / FAULTY_BLOCK));
}

ac_status faulty_fill(cudaStream_t stream, int *to, int n, int value)
{
    return AC_LAUNCH(fill_kernel, blocks_of(n), dim3(FAULTY_BLOCK), 0, stream, to, n, value);
}

ac_status faulty_add(cudaStream_t stream, int *to, const int *from, int n, int factor)
{
    return AC_LAUNCH(add_scaled_kernel, blocks_of(n), dim3(FAULTY_BLOCK), 0, stream, to, from, n, factor);
}

ac_status faulty_write_past(cudaStream_t stream, int *to, int n)
{
    return AC_LAUNCH(fill_kernel, blocks_of(n + 1), dim3(FAULTY_BLOCK), 0, stream, to, n + 1, 7);
}

ac_status faulty_write_in_front(cudaStream_t stream, int *to, int n)
{
    return AC_LAUNCH(in_front_kernel, dim3(1), dim3((unsigned)n), 0, stream, to);
}

ac_status faulty_neighbour(cudaStream_t stream, int *to, int n_blocks, int step, bool synchronized)
{
    if (synchronized)
        return AC_LAUNCH(neighbour_kernel<true>, dim3((unsigned)n_blocks), dim3(FAULTY_BLOCK), 0, stream, to, step);
    return AC_LAUNCH(neighbour_kernel<false>, dim3((unsigned)n_blocks), dim3(FAULTY_BLOCK), 0, stream, to, step);
}

ac_status faulty_read_shared(cudaStream_t stream, int *to)
{
    return AC_LAUNCH(read_shared_kernel, dim3(1), dim3(FAULTY_BLOCK), sizeof(int) * FAULTY_BLOCK, stream, to);
}

ac_status faulty_warp_sum(cudaStream_t stream, int *to)
{
    return AC_LAUNCH(warp_sum_kernel, dim3(1), dim3(FAULTY_BLOCK), 0, stream, to);
}

ac_status faulty_diverge(cudaStream_t stream, int *to, faulty_way way)
{
    switch (way) {
    case FAULTY_PART_OF_BLOCK: return AC_LAUNCH(diverge_kernel<FAULTY_PART_OF_BLOCK>, dim3(1), dim3(FAULTY_BLOCK), 0, stream, to);
    case FAULTY_TWO_PLACES: return AC_LAUNCH(diverge_kernel<FAULTY_TWO_PLACES>, dim3(1), dim3(FAULTY_BLOCK), 0, stream, to);
    case FAULTY_LANES_GONE: return AC_LAUNCH(diverge_kernel<FAULTY_LANES_GONE>, dim3(1), dim3(FAULTY_BLOCK), 0, stream, to);
    case FAULTY_LANES_ELSEWHERE: return AC_LAUNCH(diverge_kernel<FAULTY_LANES_ELSEWHERE>, dim3(1), dim3(FAULTY_BLOCK), 0, stream, to);
    default: return AC_LAUNCH(diverge_kernel<FAULTY_LANES_WAIT>, dim3(1), dim3(FAULTY_BLOCK), 0, stream, to);
    }
}

ac_status faulty_configuration(cudaStream_t stream, int *to, int which)
{
    return AC_LAUNCH(warp_sum_kernel, dim3(which == 1 ? 0 : 1), dim3(which == 0 ? 1056 : 32), which == 2 ? 228 << 10 : 0, stream, to);
}
