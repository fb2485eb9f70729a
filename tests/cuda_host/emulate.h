/* Kernels on the processor: blocks one after the other, the threads of a block as coroutines that meet at barriers. Included by
 * lib/backend/cuda/kernel.cuh instead of CUDA's headers. When a launch is done is the streams' matter (stream.cc). */
#ifndef ANYCLASS_TESTS_CUDA_HOST_EMULATE_H
#define ANYCLASS_TESTS_CUDA_HOST_EMULATE_H

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <vector>

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static __attribute__((section("emulated_shared"))) /* filled when a kernel begins */
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
/** All threads of the block, all lanes of the warp must come here, to the same line; otherwise the kernel fails. */
void block_barrier(int line = __builtin_LINE());
void warp_barrier(int line = __builtin_LINE());
/** The calling thread's slot of its warp, and another lane's; values of up to 32 bytes. */
void *slot(unsigned lane);
unsigned lane();
/** All lanes give a value of up to 16 bytes; *out is what lane `from` gave. */
void exchange(const void *value, void *out, size_t n_bytes, unsigned mask, unsigned from, int line);
unsigned vote(bool value, unsigned mask, int line);
/** Queue the kernel; `pointers` are those of its arguments that must be device memory when it runs. */
cudaError_t launch(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t stream, std::vector<const void *> pointers, std::function<void()> thread);
}

static inline void __syncthreads(int line = __builtin_LINE())
{
    emulated::block_barrier(line);
}

static inline void __syncwarp(unsigned = 0xffffffffu, int line = __builtin_LINE())
{
    emulated::warp_barrier(line);
}

template <typename T> static inline T emulated_exchange(unsigned mask, T value, unsigned from, int line)
{
    T out;
    static_assert(sizeof value <= 16);
    emulated::exchange(&value, &out, sizeof value, mask, from, line);
    return out;
}

template <typename T> static inline T __shfl_sync(unsigned mask, T value, int from, int width = 32, int line = __builtin_LINE())
{
    unsigned me = emulated::lane();
    return emulated_exchange(mask, value, me / (unsigned)width * (unsigned)width + (unsigned)from % (unsigned)width, line);
}

template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, int line = __builtin_LINE())
{
    unsigned me = emulated::lane(), from = me ^ (unsigned)with;
    return emulated_exchange(mask, value, from / (unsigned)width > me / (unsigned)width ? me : from, line);
}

template <typename T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, int line = __builtin_LINE())
{
    unsigned me = emulated::lane();
    return emulated_exchange(mask, value, me % (unsigned)width + by < (unsigned)width ? me + by : me, line);
}

template <typename T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, int line = __builtin_LINE())
{
    unsigned me = emulated::lane();
    return emulated_exchange(mask, value, me % (unsigned)width >= by ? me - by : me, line);
}

static inline unsigned __ballot_sync(unsigned mask, int value, int line = __builtin_LINE())
{
    return emulated::vote(value != 0, mask, line);
}

static inline int __any_sync(unsigned mask, int value, int line = __builtin_LINE())
{
    return emulated::vote(value != 0, mask, line) != 0;
}

static inline int __all_sync(unsigned mask, int value, int line = __builtin_LINE())
{
    return emulated::vote(value == 0, mask, line) == 0;
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

template <typename T> static inline void emulated_note_pointer(std::vector<const void *> &to, T argument)
{
    if constexpr (std::is_pointer_v<T>)
        if (argument)
            to.push_back((const void *)argument);
}

template <typename... P, typename... A>
static inline ac_status cuda_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A... arguments)
{
    std::tuple<P...> given(static_cast<P>(arguments)...);
    std::vector<const void *> pointers;
    (emulated_note_pointer<P>(pointers, static_cast<P>(arguments)), ...);
    cudaError_t error = emulated::launch(name, grid, block, shared, stream, std::move(pointers), [kernel, given] { std::apply(kernel, given); }), left = cudaGetLastError();
    return cuda_check(error == cudaSuccess ? left : error, name); /* as the device's launch: also what an earlier call left behind */
}
#define AC_LAUNCH(kernel, ...) cuda_launch(#kernel, kernel, __VA_ARGS__)
#define AC_DYNAMIC_SHARED(type, name) type *name = reinterpret_cast<type *>(emulated::dynamic_shared)

#endif
