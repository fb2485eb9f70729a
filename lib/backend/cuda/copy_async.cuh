/* Copies from device memory to shared memory that go on while a thread does something else. Shared memory holds them after copies_wait() of the thread that asked and a
 * barrier. Once for the device and once for the emulation, where they land at the wait and not before. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_COPY_ASYNC_CUH
#define ANYCLASS_LIB_BACKEND_CUDA_COPY_ASYNC_CUH

#include "backend/cuda/kernel.cuh"

#ifdef AC_CUDA_EMULATED
#include <vector>

struct emulated_copy {
    void *to;
    const void *from;
    unsigned group;
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

static inline void copy_async(void *to, const void *from, bool inside)
{
    emulated_copy c = {to, from, my_copies().group, inside};
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
            memcpy(c.to, c.from, 16);
        else
            memset(c.to, 0, 16);
    mine.list.swap(later);
}
#else
/* 16 bytes, both addresses multiples of 16; zeros unless `inside`, and then `from` is not read. */
__device__ static inline void copy_async(void *to, const void *from, bool inside)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    int n_bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(n_bytes) : "memory");
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

#endif
