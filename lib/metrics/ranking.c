/* Average precision and ROC-AUC from sorted scores. Equal scores are one group, so the order of rows never matters.
 * Leaves counts at a threshold to count.c. */
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include "lib/metrics/sort.h"
#include <math.h>

typedef struct column { /* one class: [n] values `stride` apart, scores of one of the two types */
    const float *single;
    const double *wide;
    const uint8_t *label;
    size_t n, stride;
} column;

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

/* Walk the groups of equal scores of two ascending lists from the highest down. */
static void rank_sorted(const uint64_t *positive, const uint64_t *negative, ac_rank *of)
{
    while (of->found < of->n_positive) {
        size_t left_positive = of->n_positive - of->found, left_negative = of->n_negative - of->wrong;
        uint64_t key = positive[left_positive - 1];
        if (left_negative > 0 && negative[left_negative - 1] > key)
            key = negative[left_negative - 1];
        ac_rank_add(of, group_size(positive, left_positive, key), group_size(negative, left_negative, key));
    }
}

static ac_status rank_column(const column *scores, double *ap, double *auc)
{
    ac_status status = AC_OK;
    uint64_t *keys = NULL, *scratch = NULL;
    size_t n_positive = 0;
    if (scores->n > UINT32_MAX)
        return ac_error(AC_ERR_RANGE, "ranking takes at most 2^32 - 1 scores, not %zu", scores->n);
    AC_TRY(ac_malloc(scores->n, sizeof *keys, &keys));
    AC_TRY(ac_malloc(scores->n, sizeof *scratch, &scratch));
    AC_TRY(split_keys(scores, keys, &n_positive));
    ac_sort_keys(keys, scratch, n_positive);
    ac_sort_keys(keys + n_positive, scratch, scores->n - n_positive);
    ac_rank of = {.n_positive = n_positive, .n_negative = scores->n - n_positive};
    rank_sorted(keys, keys + n_positive, &of);
    if (ap)
        *ap = ac_rank_average_precision(&of);
    if (auc)
        *auc = ac_rank_auc(&of);
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
