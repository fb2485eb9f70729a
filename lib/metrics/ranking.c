/* Average precision and ROC-AUC from sorted scores. Equal scores are one group, so the order of rows never matters.
 * Leaves counts at a threshold to count.c. */
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include "lib/metrics/sort.h"
#include <math.h>
#include <string.h>

enum { DIGIT_BITS = 11, N_DIGITS = 1 << DIGIT_BITS };

typedef struct column { /* one class: [n] values `stride` apart, scores of one of the two types */
    const float *single;
    const double *wide;
    const uint8_t *label;
    size_t n, stride;
} column;

/* Ascending radix sort by 11-bit digits; a digit that all keys share costs one reading pass. The result is in keys. */
void ac_sort_keys(uint64_t *keys, uint64_t *scratch, size_t n)
{
    uint64_t *from = keys, *to = scratch;
    for (int shift = 0; shift < 64; shift += DIGIT_BITS) {
        size_t start[N_DIGITS] = {0}, at = 0;
        for (size_t i = 0; i < n; i++)
            start[from[i] >> shift & (N_DIGITS - 1)]++;
        if (n == 0 || start[from[0] >> shift & (N_DIGITS - 1)] == n)
            continue;
        for (int digit = 0; digit < N_DIGITS; digit++) {
            size_t count = start[digit];
            start[digit] = at;
            at += count;
        }
        for (size_t i = 0; i < n; i++)
            to[start[from[i] >> shift & (N_DIGITS - 1)]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys)
        memcpy(keys, from, n * sizeof *keys);
}

/* Keys of the positives from the front of keys[n], of the negatives behind them. */
static ac_status split_keys(const column *scores, uint64_t *keys, size_t *n_positive)
{
    size_t front = 0, back = scores->n;
    for (size_t i = 0; i < scores->n; i++) {
        size_t at = i * scores->stride;
        double score = scores->wide ? scores->wide[at] : (double)scores->single[at];
        if (isnan(score))
            return ac_error(AC_ERR_NUMERIC, "the score of row %zu is not a number", i);
        if (scores->label[at])
            keys[front++] = ac_sort_key(score);
        else
            keys[--back] = ac_sort_key(score);
    }
    *n_positive = front;
    return AC_OK;
}

static size_t group_size(const uint64_t *sorted, size_t n, uint64_t key)
{
    size_t count = 0;
    while (count < n && sorted[n - 1 - count] == key)
        count++;
    return count;
}

/* Walk the groups of equal scores from the highest down. Sums of millions of terms keep their last bits by Neumaier's
 * compensation; pairs are counted in integers, twice, so that a tie is one. */
void ac_rank_sorted(const uint64_t *positive, size_t n_positive, const uint64_t *negative, size_t n_negative,
                    double *ap, double *auc)
{
    double sum = 0, lost = 0;
    uint64_t pairs_twice = 0;
    size_t left_positive = n_positive, left_negative = n_negative;
    while (left_positive > 0) {
        uint64_t key = positive[left_positive - 1];
        if (left_negative > 0 && negative[left_negative - 1] > key)
            key = negative[left_negative - 1];
        size_t in_positive = group_size(positive, left_positive, key);
        size_t in_negative = group_size(negative, left_negative, key);
        left_positive -= in_positive;
        left_negative -= in_negative;
        if (in_positive == 0)
            continue;
        size_t found = n_positive - left_positive, wrong = n_negative - left_negative;
        double term = (double)in_positive * ((double)found / (double)(found + wrong)), next = sum + term;
        lost += sum >= term ? (sum - next) + term : (term - next) + sum;
        sum = next;
        pairs_twice += (uint64_t)in_positive * (2 * (uint64_t)left_negative + in_negative);
    }
    *ap = n_positive > 0 ? (sum + lost) / (double)n_positive : NAN;
    *auc =
        n_positive > 0 && n_negative > 0 ? (double)pairs_twice / (2.0 * (double)n_positive * (double)n_negative) : NAN;
}

static ac_status rank_column(const column *scores, double *ap, double *auc)
{
    ac_status status = AC_OK;
    uint64_t *keys = NULL, *scratch = NULL;
    size_t n_positive = 0;
    double ignored;
    if (scores->n > UINT32_MAX)
        return ac_error(AC_ERR_RANGE, "ranking takes at most 2^32 - 1 scores, not %zu", scores->n);
    AC_TRY(ac_malloc(scores->n, sizeof *keys, &keys));
    AC_TRY(ac_malloc(scores->n, sizeof *scratch, &scratch));
    AC_TRY(split_keys(scores, keys, &n_positive));
    ac_sort_keys(keys, scratch, n_positive);
    ac_sort_keys(keys + n_positive, scratch, scores->n - n_positive);
    ac_rank_sorted(keys, n_positive, keys + n_positive, scores->n - n_positive, ap ? ap : &ignored, auc ? auc : &ignored);
out:
    ac_free(scratch);
    ac_free(keys);
    return status;
}

ac_status ac_metrics_average_precision(const float *scores, const uint8_t *labels, size_t n, size_t stride, double *ap)
{
    column all = {.single = scores, .label = labels, .n = n, .stride = stride};
    return rank_column(&all, ap, NULL);
}

ac_status ac_metrics_roc_auc(const float *scores, const uint8_t *labels, size_t n, size_t stride, double *auc)
{
    column all = {.single = scores, .label = labels, .n = n, .stride = stride};
    return rank_column(&all, NULL, auc);
}

ac_status ac_metrics_rank_double(const double *scores, const uint8_t *labels, size_t n, size_t stride, double *ap,
                                 double *auc)
{
    column all = {.wide = scores, .label = labels, .n = n, .stride = stride};
    return rank_column(&all, ap, auc);
}
