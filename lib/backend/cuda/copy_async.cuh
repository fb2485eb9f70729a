/* Copies from device memory to shared memory that go on while a thread does something else. Shared memory holds them after copies_wait() of the thread that asked and a
 * barrier. Once for the device and once for the emulation, where they land at the wait and not before. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_COPY_ASYNC_CUH
#define ANYCLASS_LIB_BACKEND_CUDA_COPY_ASYNC_CUH

#include "backend/cuda/kernel.cuh"

#ifdef AC_CUDA_EMULATED
#include "tests/cuda_host/copy_async.h"
#else
/* 16 or 8 bytes, both addresses multiples of that; zeros unless `inside`, and then `from` is not read. */
template <int BYTES> __device__ static inline void copy_async_of(void *to, const void *from, bool inside)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    int n_bytes = inside ? BYTES : 0;
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(n_bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(at), "l"(from), "r"(n_bytes), "n"(BYTES) : "memory");
}

/* What was asked for since the last call is a group. */
__device__ static inline void copies_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until all groups but the LEFT newest are there. */
template <int LEFT> __device__ static inline void copies_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}
#endif

__device__ static inline void copy_async(void *to, const void *from, bool inside)
{
    copy_async_of<16>(to, from, inside);
}

#endif
