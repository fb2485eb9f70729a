/* Copies to shared memory that go on while a thread does something else, on the processor: they land at the wait that promises them, and not before. Included by
 * lib/backend/cuda/copy_async.cuh. */
#ifndef ANYCLASS_TESTS_CUDA_HOST_COPY_ASYNC_H
#define ANYCLASS_TESTS_CUDA_HOST_COPY_ASYNC_H

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

#endif
