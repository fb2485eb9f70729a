/* Scores as integers that sort fast; for this folder alone. */
#ifndef ANYCLASS_METRICS_SORT_H
#define ANYCLASS_METRICS_SORT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Unsigned order of the key = numeric order of the score; -0 and 0 share a key. */
static inline uint64_t ac_sort_key(double score)
{
    uint64_t bits;
    score += 0.0;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

/** The score of a key. */
static inline double ac_sort_score(uint64_t key)
{
    double score;
    key = key >> 63 ? key & ~((uint64_t)1 << 63) : ~key;
    memcpy(&score, &key, sizeof score);
    return score;
}

/** Ascending; scratch [n]. */
void ac_sort_keys(uint64_t *keys, uint64_t *scratch, size_t n);

/** Walk the groups of equal scores of two ascending lists from the highest down.
 * @param[out] ap, auc  metrics.h */
void ac_rank_sorted(const uint64_t *positive, size_t n_positive, const uint64_t *negative, size_t n_negative,
                    double *ap, double *auc);

#endif
