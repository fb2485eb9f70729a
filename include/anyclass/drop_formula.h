/* Stochastic depth and dropout: what a draw makes of a value, as inline functions that C and CUDA share. A function of (seed, sample
 * key, layer[, element]) alone: never of rank, thread or batch. */
#ifndef ANYCLASS_DROP_FORMULA_H
#define ANYCLASS_DROP_FORMULA_H

#include "anyclass/random.h"

/** 0 with the given probability, else 1 / (1 - probability). */
AC_INLINE float ac_drop_scale(uint32_t word, float probability)
{
    return ac_uniform_float(word) < probability ? 0.0f : 1.0f / (1.0f - probability);
}

/** Stochastic depth: factor of a whole image's branch at place `layer` (below 2^16). */
AC_INLINE float ac_stochastic_depth_scale(uint64_t seed, int64_t key, uint32_t layer, float probability)
{
    return ac_drop_scale(ac_random_block(seed, AC_STREAM_DROP, (uint64_t)key, layer).word[0], probability);
}

/** Dropout: the word for element `e` (its position within the image, channels last, below 2^32) of an image at place `layer`. Four elements share a
 * block: word[e % 4] of block e / 4. */
AC_INLINE ac_philox ac_dropout_block(uint64_t seed, int64_t key, uint32_t layer, uint32_t block)
{
    /* the layer goes into the key, behind what no seed of the command line reaches twice */
    return ac_random_block(seed ^ (uint64_t)(layer + 1) * 0x9E3779B97F4A7C15u, AC_STREAM_DROP, (uint64_t)key, block);
}

#endif
