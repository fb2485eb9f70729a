/* Dividing items among parts (train, val, test), a function of seed and items alone: each item has a key that is its
 * own (its file name's hash, its patient's number), so neither order, rank nor platform matters. Not collective. */
#ifndef ANYCLASS_DIVIDE_H
#define ANYCLASS_DIVIDE_H

#include "anyclass/status.h"
#include <stddef.h>
#include <stdint.h>

enum { AC_DIVIDE_MAX_PARTS = 8 };

/** The number that decides an item's place among others: 64 bits of Philox stream AC_STREAM_SPLIT. */
uint64_t ac_divide_draw(uint64_t seed, uint64_t key);

/** Numbers of the items [n] by ascending draw, then key, then number.
 * @param[out] order  [n], the caller's. AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_divide_order(uint64_t seed, size_t n, const uint64_t *key, size_t *order);

/** Fractions must be positive and have the sum 1 (to 1e-6); AC_ERR_USAGE. */
AC_NODISCARD ac_status ac_divide_check(const double *fraction, size_t n_parts);

/** Give each item to a part, stratum by stratum: of a stratum's n items part p gets n * fraction[p], rounded down or up.
 * It is rounded up for the parts that lag most behind their fraction of all strata so far, so that the whole is divided
 * as well as each stratum is, small ones included.
 * @param fraction  [n_parts], as ac_divide_check() wants it; n_parts <= AC_DIVIDE_MAX_PARTS
 * @param stratum   [n], or NULL: all are one
 * @param[out] part [n]. AC_ERR_MEMORY, AC_ERR_USAGE. */
AC_NODISCARD ac_status ac_divide(uint64_t seed, const double *fraction, size_t n_parts, size_t n, const uint64_t *key,
                                 const uint32_t *stratum, uint8_t *part);

#endif
