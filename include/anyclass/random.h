/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011, "Parallel random numbers: as easy as 1, 2, 3").
 * A draw is a function of (seed, stream, index, k) alone: never of rank, thread or order. Header only, shared by C and
 * CUDA. */
#ifndef ANYCLASS_RANDOM_H
#define ANYCLASS_RANDOM_H

#include <stdint.h>

#ifdef __CUDACC__
#define AC_INLINE static __host__ __device__ __forceinline__
#elif defined(__GNUC__) /* always: a caller with target or optimize attributes of its own would else make calls of them */
#define AC_INLINE static inline __attribute__((always_inline))
#else
#define AC_INLINE static inline
#endif

/* What a draw is for; part of the key, so that streams never meet. */
enum {
    AC_STREAM_INIT = 1,             /* index: parameter number; k: element */
    AC_STREAM_ORDER = 2,            /* index: epoch */
    AC_STREAM_AUGMENT = 3,          /* index: sample key */
    AC_STREAM_DROP = 4,             /* stochastic depth and dropout; index: sample key, k: operator */
    AC_STREAM_SPLIT = 5,            /* data preparation */
    AC_STREAM_TEST = 6,
    AC_STREAM_BOOTSTRAP = 7,        /* index: key of an image; k: block of four replicates */
    AC_STREAM_SWEEP = 8,            /* index: point of a sweep; k: line of the ranges */
    AC_STREAM_SCRAMBLE = 9          /* Owen scrambling; index: position and higher bits; k: dimension */
};

typedef struct ac_philox {
    uint32_t word[4];
} ac_philox;

/** Philox4x32-10 block function. */
AC_INLINE ac_philox ac_philox4x32(const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    ac_philox out = {{c0, c1, c2, c3}};
    return out;
}

/** Four 32-bit words for draw number `k` (k < 2^32) of `index` in `stream` under `seed`.
 * The stream enters the key and the rest the counter, so different (stream, index, k) never share a block. */
AC_INLINE ac_philox ac_random_block(uint64_t seed, uint32_t stream, uint64_t index, uint32_t k)
{
    uint32_t counter[4] = {k, (uint32_t)index, (uint32_t)(index >> 32), stream};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    return ac_philox4x32(counter, key);
}

/** Uniform in [0, 1) with 24 bits. */
AC_INLINE float ac_uniform_float(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/** Uniform in [0, 1) with 53 bits, from two words. */
AC_INLINE double ac_uniform_double(uint32_t high, uint32_t low)
{
    return (double)((((uint64_t)high << 32) | low) >> 11) * 0x1p-53;
}

#endif
