/* Copies from device memory to shared memory that go on while a thread does something else. Shared memory holds them after copies_wait() of the thread that asked and a
 * barrier. Once for the device and once for the emulation, where they land at the wait and not before. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_COPY_ASYNC_CUH
#define ANYCLASS_LIB_BACKEND_CUDA_COPY_ASYNC_CUH

#include "backend/cuda/kernel.cuh"

#ifdef AC_CUDA_EMULATED
#include <cstdlib>
#include <vector>

struct emulated_copy {
    void *to;
    const void *from;
    unsigned group;
    int n_bytes;
    bool inside;
};

struct emulated_copies {
    std::vector<emulated_copy> list;
    unsigned group;
};

static inline emulated_copies &my_copies()
{
    static emulated_copies all[1024];
    return all[threadIdx.x + blockDim.x * threadIdx.y];
}

template <int BYTES> static inline void copy_async_of(void *to, const void *from, bool inside)
{
    emulated_copy c = {to, from, my_copies().group, BYTES, inside};
    if ((uintptr_t)to % BYTES || (inside && (uintptr_t)from % BYTES))
        abort(); /* the device would stop */
    my_copies().list.push_back(c);
}

static inline void copies_commit()
{
    my_copies().group++;
}

template <int LEFT> static inline void copies_wait()
{
    emulated_copies &mine = my_copies();
    std::vector<emulated_copy> later;
    for (const emulated_copy &c : mine.list)
        if (c.group + LEFT >= mine.group)
            later.push_back(c);
        else if (c.inside)
            memcpy(c.to, c.from, (size_t)c.n_bytes);
        else
            memset(c.to, 0, (size_t)c.n_bytes);
    mine.list.swap(later);
}
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
