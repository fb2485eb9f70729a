/* The device's own clock: how long it waits for other ranks, measured where the waiting is done, in recorded steps too. */
#include "backend/cuda/kernel.cuh"
#include <time.h>

__device__ static int64_t now_ns()
{
#ifdef __CUDA_ARCH__
    int64_t ns;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(ns));
    return ns;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
#endif
}

__global__ void tick_kernel(int64_t *clock, int stop)
{
    int64_t now = now_ns();
    if (stop)
        clock[1] += now - clock[0];
    else
        clock[0] = now;
}

extern "C" ac_status cuda_tick(ac_device *device, int64_t *clock, bool stop)
{
    return AC_LAUNCH(tick_kernel, dim3(1), dim3(1), 0, cuda_of(device)->stream, clock, (int)stop);
}
