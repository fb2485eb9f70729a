/* Dividing items among parts by seed: sort by a draw that each item's key decides, cut by shares. */
#include "anyclass/divide.h"
#include "anyclass/alloc.h"
#include "anyclass/random.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct item {
    uint64_t draw, key;
    size_t number;
    uint32_t stratum;
} item;

uint64_t ac_divide_draw(uint64_t seed, uint64_t key)
{
    ac_philox block = ac_random_block(seed, AC_STREAM_SPLIT, key, 0);
    return (uint64_t)block.word[0] << 32 | block.word[1];
}

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int by_stratum_and_draw(const void *a, const void *b)
{
    const item *x = a, *y = b;
    return x->stratum != y->stratum ? COMPARE(x->stratum, y->stratum)
           : x->draw != y->draw     ? COMPARE(x->draw, y->draw)
           : x->key != y->key       ? COMPARE(x->key, y->key)
                                    : COMPARE(x->number, y->number);
}

static ac_status sort_items(uint64_t seed, size_t n, const uint64_t *key, const uint32_t *stratum, item **out)
{
    ac_status status = ac_malloc(n + 1, sizeof **out, out);
    if (status != AC_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (item){ac_divide_draw(seed, key[i]), key[i], i, stratum ? stratum[i] : 0};
    if (n)
        qsort(*out, n, sizeof **out, by_stratum_and_draw);
    return AC_OK;
}

ac_status ac_divide_order(uint64_t seed, size_t n, const uint64_t *key, size_t *order)
{
    item *sorted = NULL;
    ac_status status = sort_items(seed, n, key, NULL, &sorted);
    for (size_t i = 0; status == AC_OK && i < n; i++)
        order[i] = sorted[i].number;
    ac_free(sorted);
    return status;
}

ac_status ac_divide_check(const double *fraction, size_t n_parts)
{
    double sum = 0;
    bool positive = n_parts > 0 && n_parts <= AC_DIVIDE_MAX_PARTS;
    for (size_t p = 0; positive && p < n_parts; p++) {
        positive = fraction[p] > 0;
        sum += fraction[p];
    }
    if (!positive || fabs(sum - 1) > 1e-6)
        return ac_error(AC_ERR_USAGE, "fractions must be positive and have the sum 1");
    return AC_OK;
}

typedef struct allotment { /* over the strata so far */
    const double *fraction;
    size_t n_parts;
    double wanted[AC_DIVIDE_MAX_PARTS];
    double given[AC_DIVIDE_MAX_PARTS];
} allotment;

/* How many of the stratum's n items each part gets: its share rounded down, and one more for the parts that lag most
 * over the strata so far, this one included. Lags are compared in millionths: rounding of n * fraction must not decide,
 * on any platform. */
static void allot(allotment *a, size_t n, size_t count[AC_DIVIDE_MAX_PARTS])
{
    bool may_round_up[AC_DIVIDE_MAX_PARTS];
    size_t left = n;
    for (size_t p = 0; p < a->n_parts; p++) {
        double share = (double)n * a->fraction[p], whole = floor(share + 1e-6);
        may_round_up[p] = share - whole > 1e-6;
        count[p] = (size_t)whole < left ? (size_t)whole : left;
        left -= count[p];
        a->wanted[p] += share;
        a->given[p] += (double)count[p];
    }
    for (; left > 0; left--) {
        size_t best = SIZE_MAX;
        long long most = 0;
        for (size_t p = 0; p < a->n_parts; p++) {
            long long lag = llround((a->wanted[p] - a->given[p]) * 1e6);
            if (may_round_up[p] && (best == SIZE_MAX || lag > most)) {
                best = p;
                most = lag;
            }
        }
        best = best == SIZE_MAX ? 0 : best; /* fractions whose sum is a little less than 1 */
        may_round_up[best] = false;
        count[best]++;
        a->given[best]++;
    }
}

ac_status ac_divide(uint64_t seed, const double *fraction, size_t n_parts, size_t n, const uint64_t *key,
                    const uint32_t *stratum, uint8_t *part)
{
    ac_status status = AC_OK;
    item *sorted = NULL;
    allotment a = {.fraction = fraction, .n_parts = n_parts};
    AC_TRY(ac_divide_check(fraction, n_parts));
    AC_TRY(sort_items(seed, n, key, stratum, &sorted));
    for (size_t first = 0, end; first < n; first = end) {
        size_t count[AC_DIVIDE_MAX_PARTS], p = 0;
        for (end = first; end < n && sorted[end].stratum == sorted[first].stratum;)
            end++;
        allot(&a, end - first, count);
        for (size_t i = first; i < end; i++) {
            while (count[p] == 0)
                p++;
            part[sorted[i].number] = (uint8_t)p;
            count[p]--;
        }
    }
out:
    ac_free(sorted);
    return status;
}
