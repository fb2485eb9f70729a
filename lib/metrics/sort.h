/* Scores as integers that sort fast, and what is counted along sorted scores; for this folder alone. */
#ifndef ANYCLASS_METRICS_SORT_H
#define ANYCLASS_METRICS_SORT_H

#include "anyclass/profile.h"
#include "anyclass/status.h"
#include <math.h>
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

/** Ascending; scratch [n]; n < 2^32. */
void ac_sort_keys(uint64_t *keys, uint64_t *scratch, size_t n);

/* A sum of millions of terms that keeps its last bits (Knuth's two-sum, the errors added up beside it). */
typedef struct ac_exact_sum {
    double sum, lost;
} ac_exact_sum;

static inline void ac_sum_add(ac_exact_sum *of, double term)
{
    double next = of->sum + term, added = next - of->sum;
    of->lost += (of->sum - (next - added)) + (term - added);
    of->sum = next;
}

static inline double ac_sum_value(const ac_exact_sum *of)
{
    return of->sum + of->lost;
}

typedef struct ac_rank { /* average precision and ROC-AUC on the way from the highest score down */
    size_t n_positive, n_negative;
    size_t found, wrong; /* positives and negatives so far */
    ac_exact_sum precision;
    uint64_t pairs_twice; /* pairs won, counted twice, so that a tie is one */
} ac_rank;

/** The next lower distinct score. */
static inline void ac_rank_add(ac_rank *of, size_t in_positive, size_t in_negative)
{
    of->found += in_positive;
    of->wrong += in_negative;
    if (in_positive == 0)
        return;
    ac_sum_add(&of->precision, (double)in_positive * ((double)of->found / (double)(of->found + of->wrong)));
    of->pairs_twice += (uint64_t)in_positive * (2 * (uint64_t)(of->n_negative - of->wrong) + in_negative);
}

/** NaN without positives. */
static inline double ac_rank_average_precision(const ac_rank *of)
{
    return of->n_positive > 0 ? ac_sum_value(&of->precision) / (double)of->n_positive : NAN;
}

/** NaN without positives or negatives. */
static inline double ac_rank_auc(const ac_rank *of)
{
    if (of->n_positive == 0 || of->n_negative == 0)
        return NAN;
    return (double)of->pairs_twice / (2.0 * (double)of->n_positive * (double)of->n_negative);
}

typedef struct ac_curve_place { /* a distinct score and what reaches it */
    size_t found, wrong;
    double score;
} ac_curve_place;

typedef struct ac_curve { /* the precision-recall curve being thinned: of each step of recall the places of the lowest
                             and of the highest precision and the last place */
    bool whole;           /* every place is kept: they are few */
    size_t n_positive, next_step, end_of_step;
    uint32_t n_in_step;
    ac_curve_place low, high, last;
    double low_precision, high_precision;
} ac_curve;

void ac_curve_begin(ac_curve *of, size_t n_positive, bool whole);
/** The next lower distinct score. Without `whole` the first one, every one that holds a positive, and the one before it
 * are enough: between these precision only falls. */
void ac_curve_add(ac_curve *of, ac_curve_place place, ac_profile *out);
/** After the score that holds the last positive. */
void ac_curve_end(ac_curve *of, ac_profile *out);

/** NumPy's argsort, equal scores included, into order [n]; n < 2^32. */
void ac_reference_argsort(const double *score, uint32_t *order, size_t n);
/** Average precision of the list that argsort gives, read backwards; 0 without positives. order [n] is room to work in.
 */
double ac_reference_rank(const ac_column *column, size_t n_positive, uint32_t *order);

#endif
