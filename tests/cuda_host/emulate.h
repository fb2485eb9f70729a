/* Kernels on the processor: blocks one after the other, the threads of a block as coroutines that meet at barriers. Included by
 * lib/backend/cuda/kernel.cuh instead of CUDA's headers. */
#ifndef ANYCLASS_TESTS_CUDA_HOST_EMULATE_H
#define ANYCLASS_TESTS_CUDA_HOST_EMULATE_H

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

using std::isnan;
using std::max;
using std::min;

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct float4 {
    float x, y, z, w;
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {
extern unsigned char *dynamic_shared;
void block_barrier();
void warp_barrier();
/** The calling thread's slot of its warp, and another lane's; values of up to 32 bytes. */
void *slot(unsigned lane);
unsigned lane();
ac_status run(const char *name, dim3 grid, dim3 block, size_t shared, const std::function<void()> &thread);
}

static inline void __syncthreads()
{
    emulated::block_barrier();
}

static inline void __syncwarp(unsigned = 0xffffffffu)
{
    emulated::warp_barrier();
}

template <typename T> static inline T emulated_exchange(T value, unsigned from)
{
    T out;
    memcpy(emulated::slot(emulated::lane()), &value, sizeof value);
    emulated::warp_barrier();
    memcpy(&out, emulated::slot(from), sizeof out);
    emulated::warp_barrier();
    return out;
}

template <typename T> static inline T __shfl_xor_sync(unsigned, T value, int mask, int = 32)
{
    return emulated_exchange(value, emulated::lane() ^ (unsigned)mask);
}

template <typename T> static inline T __shfl_sync(unsigned, T value, int from, int = 32)
{
    return emulated_exchange(value, (unsigned)from & 31);
}

template <typename T> static inline T atomicAdd(T *to, T value)
{
    T old = *to;
    *to += value;
    return old;
}

static inline float rsqrtf(float x)
{
    return 1 / sqrtf(x);
}

#define __expf expf

static inline float __fdividef(float a, float b)
{
    return a / b;
}

template <typename... P, typename... A>
static inline ac_status cuda_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t, A... arguments)
{
    std::tuple<P...> given(static_cast<P>(arguments)...);
    return emulated::run(name, grid, block, shared, [&] { std::apply(kernel, given); });
}
#define AC_LAUNCH(kernel, ...) cuda_launch(#kernel, kernel, __VA_ARGS__)
#define AC_DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(emulated::dynamic_shared)

#endif
