/* Small kernels of test_emulation.c: good ones, and ones with a planted fault. */
#ifndef ANYCLASS_TESTS_CUDA_HOST_FAULTY_H
#define ANYCLASS_TESTS_CUDA_HOST_FAULTY_H

#ifdef __cplusplus
extern "C" {
#endif
#include "anyclass/status.h"
#include <stdbool.h>
#include "tests/cuda_host/runtime.h"

enum { FAULTY_BLOCK = 96 }; /* threads: three warps */

/** to[i] = value; to[i] += from[i] * factor; n elements. */
AC_NODISCARD ac_status faulty_fill(cudaStream_t stream, int *to, int n, int value);
AC_NODISCARD ac_status faulty_add(cudaStream_t stream, int *to, const int *from, int n, int factor);
/** The same n, and one element more. */
AC_NODISCARD ac_status faulty_write_past(cudaStream_t stream, int *to, int n);
AC_NODISCARD ac_status faulty_write_in_front(cudaStream_t stream, int *to, int n);

/** to[b][i] = i's neighbour (i + step) in block b through shared memory: step + neighbour's number. */
AC_NODISCARD ac_status faulty_neighbour(cudaStream_t stream, int *to, int n_blocks, int step, bool synchronized);
/** What static and dynamic shared memory hold when a block begins; [2 * FAULTY_BLOCK]. */
AC_NODISCARD ac_status faulty_read_shared(cudaStream_t stream, int *to);
/** Sum of the lanes' numbers of each thread's warp. */
AC_NODISCARD ac_status faulty_warp_sum(cudaStream_t stream, int *to);

typedef enum faulty_way {
    FAULTY_PART_OF_BLOCK,   /* half of the threads come to __syncthreads, the others go on */
    FAULTY_TWO_PLACES,      /* all come, to two of them */
    FAULTY_LANES_GONE,      /* a shuffle behind the return of some lanes */
    FAULTY_LANES_ELSEWHERE, /* some lanes shuffle, the others vote */
    FAULTY_LANES_WAIT,      /* some lanes wait for the block, the others for the warp */
    FAULTY_WAYS
} faulty_way;
AC_NODISCARD ac_status faulty_diverge(cudaStream_t stream, int *to, faulty_way way);
/** Launches that CUDA refuses: 0 too many threads, 1 no block, 2 too much shared memory. */
AC_NODISCARD ac_status faulty_configuration(cudaStream_t stream, int *to, int which);

#ifdef __cplusplus
}
#endif
#endif
