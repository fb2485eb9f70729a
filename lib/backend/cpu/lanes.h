/* Vectors of 16 floats for kernels whose inner loop is the channels: written once, they are one register with AVX-512, two with
 * AVX2, four without, as the function is compiled (AC_SIMD). Elements are float or bf16. A file that is compiled for one kind of
 * processor may define CPU_VECTOR as that one's 8 or 4 first. */
#ifndef ANYCLASS_LIB_CPU_LANES_H
#define ANYCLASS_LIB_CPU_LANES_H

#include "backend/cpu/cpu.h"
#include <string.h>

#ifndef CPU_VECTOR
#define CPU_VECTOR 16
#endif

enum { CPU_LANES = 16 /* a block of channels */ };

#if defined(__GNUC__)
typedef float cpu_lanes __attribute__((vector_size(4 * CPU_VECTOR)));
typedef uint32_t cpu_lane_bits __attribute__((vector_size(4 * CPU_VECTOR)));
typedef uint16_t cpu_lane_halves __attribute__((vector_size(2 * CPU_VECTOR)));
#else
#error "vectors need the extensions that GCC and Clang have"
#endif
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" /* how such vectors are passed does not matter: every function here is inlined */
#endif

/* A row of channels is done in blocks of 16. Where it does not divide, the last block may lie across the one before it and compute
 * the same once more, if nothing is written where it is read; fewer than 16 channels are one short block. */
AC_INLINE int64_t cpu_block_first(int64_t c, int64_t channels)
{
    return c + CPU_LANES <= channels ? c : channels - CPU_LANES;
}

/* n elements from element i on; lanes beyond are zero. */
AC_INLINE cpu_lanes cpu_load_lanes(const void *values, int64_t i, int n, bool bf16)
{
    cpu_lanes out = {0};
    if (bf16) {
        uint16_t halves[CPU_VECTOR] = {0};
        uint32_t bits[CPU_VECTOR];
        if (n == CPU_VECTOR)
            memcpy(halves, (const uint16_t *)values + i, sizeof halves);
        else
            memcpy(halves, (const uint16_t *)values + i, (size_t)n * sizeof(uint16_t));
        for (int k = 0; k < CPU_VECTOR; k++) /* one instruction; of __builtin_convertvector() GCC 12 makes five */
            bits[k] = (uint32_t)halves[k] << 16;
        memcpy(&out, bits, sizeof out);
    } else if (n == CPU_VECTOR) {
        memcpy(&out, (const float *)values + i, sizeof out);
    } else {
        memcpy(&out, (const float *)values + i, (size_t)n * sizeof(float));
    }
    return out;
}

/* ac_bf16_from_float() of each. */
AC_INLINE cpu_lane_halves cpu_halves_of(const cpu_lanes *value)
{
    cpu_lane_bits bits, is_nan = (cpu_lane_bits)(*value != *value);
    memcpy(&bits, value, sizeof bits);
    cpu_lane_bits rounded = bits + 0x7FFF + (bits >> 16 & 1);
    return __builtin_convertvector(((is_nan & (bits | 0x400000)) | (~is_nan & rounded)) >> 16, cpu_lane_halves);
}

AC_INLINE void cpu_store_lanes(void *values, int64_t i, int n, bool bf16, const cpu_lanes *value)
{
    if (bf16) {
        cpu_lane_halves halves = cpu_halves_of(value);
        if (n == CPU_VECTOR)
            memcpy((uint16_t *)values + i, &halves, sizeof halves);
        else
            memcpy((uint16_t *)values + i, &halves, (size_t)n * sizeof(uint16_t));
    } else if (n == CPU_VECTOR) {
        memcpy((float *)values + i, value, sizeof *value);
    } else {
        memcpy((float *)values + i, value, (size_t)n * sizeof(float));
    }
}

#endif
