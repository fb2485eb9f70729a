/* One column sorted for all replicates, and the walk down its scores that measures eight of them at once. What costs is
 * fetching weights in the order of scores; so images that change nothing are not in it: the negatives below the last
 * positive and below the threshold. */
#include "anyclass/alloc.h"
#include "anyclass/bootstrap.h"
#include "lib/metrics/bootstrap_lanes.h"
#include "lib/metrics/sort.h"
#include <math.h>
#include <stdbool.h>

enum { LANES = AC_BOOTSTRAP_LANES, DIGIT_BITS = 11, N_DIGITS = 1 << DIGIT_BITS, MOST_PACKED = 4096 };

typedef struct step { /* images one after the other: negatives above a group of equal scores, then the group's positives
                         and negatives */
    uint32_t n_above, n_positive, n_negative;
} step;

struct ac_bootstrap_order {
    uint32_t *image;
    step *step;
    size_t n_steps,
        n_threshold_steps; /* the first so many steps hold the images that reach the threshold, and no others */
};

typedef struct item {
    uint64_t key; /* ascending: the highest score first */
    uint32_t image;
    bool positive;
} item;

static ac_status fill_items(const ac_column *column, item *out)
{
    for (size_t i = 0; i < column->n; i++) {
        if (isnan(column->score[i]))
            return ac_error(AC_ERR_NUMERIC, "the score of row %zu is not a number", i);
        out[i] = (item){.key = ~ac_sort_key(column->score[i]),
                        .image = (uint32_t)i,
                        .positive = column->label[i * column->label_stride] != 0};
    }
    return AC_OK;
}

/* Radix sort, as in ranking.c; returns whichever of the two holds the result. */
static item *sort_items(item *from, item *to, size_t n)
{
    for (int shift = 0; shift < 64; shift += DIGIT_BITS) {
        size_t start[N_DIGITS] = {0}, at = 0;
        for (size_t i = 0; i < n; i++)
            start[from[i].key >> shift & (N_DIGITS - 1)]++;
        if (n == 0 || start[from[0].key >> shift & (N_DIGITS - 1)] == n)
            continue;
        for (int digit = 0; digit < N_DIGITS; digit++) {
            size_t count = start[digit];
            start[digit] = at;
            at += count;
        }
        for (size_t i = 0; i < n; i++)
            to[start[from[i].key >> shift & (N_DIGITS - 1)]++] = from[i];
        item *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

typedef struct builder {
    ac_bootstrap_order *order;
    size_t n_images, capacity; /* images kept; room for steps */
    step now;
} builder;

static ac_status end_step(builder *of)
{
    ac_bootstrap_order *order = of->order;
    ac_status status = ac_reserve(&order->step, &of->capacity, order->n_steps + 1, sizeof *order->step);
    if (status == AC_OK)
        order->step[order->n_steps++] = of->now;
    of->now = (step){0};
    return status;
}

/* Images of equal score, items [n]: positives first. */
static ac_status add_group(builder *of, const item *group, size_t n)
{
    uint32_t *image = of->order->image;
    size_t n_positive = 0;
    for (size_t i = 0; i < n; i++)
        if (group[i].positive)
            image[of->n_images + n_positive++] = group[i].image;
    size_t at = of->n_images + n_positive;
    for (size_t i = 0; i < n; i++)
        if (!group[i].positive)
            image[at++] = group[i].image;
    of->n_images += n;
    if (n_positive == 0) {
        of->now.n_above += (uint32_t)n;
        return AC_OK;
    }
    of->now.n_positive = (uint32_t)n_positive;
    of->now.n_negative = (uint32_t)(n - n_positive);
    return end_step(of);
}

static ac_status build(const item *sorted, size_t n, double threshold, ac_bootstrap_order *order)
{
    ac_status status = AC_OK;
    builder of = {.order = order};
    uint64_t lowest = ~ac_sort_key(threshold);
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first; end < n && sorted[end].key == sorted[first].key;)
            end++;
        AC_TRY(add_group(&of, sorted + first, end - first));
        if (sorted[first].key > lowest || (end < n && sorted[end].key <= lowest))
            continue;
        if (of.now.n_above > 0) /* the threshold falls among negatives */
            AC_TRY(end_step(&of));
        order->n_threshold_steps = order->n_steps;
    }
out:
    return status;
}

ac_status ac_bootstrap_order_create(const ac_column *column, double threshold, ac_bootstrap_order **out)
{
    ac_status status = AC_OK;
    item *items = NULL, *scratch = NULL;
    ac_bootstrap_order *order = NULL;
    size_t n_used = 0;
    *out = NULL;
    if (column->n > AC_BOOTSTRAP_MOST_IMAGES)
        return ac_error(AC_ERR_RANGE, "the bootstrap takes at most %d images, not %zu", AC_BOOTSTRAP_MOST_IMAGES,
                        column->n);
    AC_TRY(ac_calloc(1, sizeof *order, &order));
    AC_TRY(ac_malloc(column->n, sizeof *items, &items));
    AC_TRY(ac_malloc(column->n, sizeof *scratch, &scratch));
    AC_TRY(fill_items(column, items));
    item *sorted = sort_items(items, scratch, column->n);
    AC_TRY(ac_malloc(column->n, sizeof *order->image, &order->image));
    AC_TRY(build(sorted, column->n, threshold, order));
    for (size_t i = 0; i < order->n_steps; i++)
        n_used += (size_t)order->step[i].n_above + order->step[i].n_positive + order->step[i].n_negative;
    AC_TRY(ac_realloc(&order->image, n_used, sizeof *order->image));
    AC_TRY(ac_realloc(&order->step, order->n_steps, sizeof *order->step));
    *out = order;
    order = NULL;
out:
    ac_bootstrap_order_destroy(order);
    ac_free(items);
    ac_free(scratch);
    return status;
}

void ac_bootstrap_order_destroy(ac_bootstrap_order *order)
{
    if (!order)
        return;
    ac_free(order->image);
    ac_free(order->step);
    ac_free(order);
}

typedef struct lanes {
    uint32_t of[LANES];
} lanes;

/* Add the weights of image[n], eight replicates at a time. */
static inline void add_run(const uint64_t *packed, const uint32_t *image, size_t n, lanes *out)
{
    const uint64_t mask = 0x00FF00FF00FF00FFu;
    while (n > 0) {
        size_t part = n < MOST_PACKED ? n : MOST_PACKED;
        uint64_t first = 0, second = 0;
        for (size_t i = 0; i < part; i++) {
            uint64_t weight = packed[image[i]];
            first += weight & mask;
            second += weight >> 8 & mask;
        }
        for (int lane = 0; lane < LANES / 2; lane++) {
            out->of[lane] += (uint32_t)(first >> 16 * lane) & 0xFFFF;
            out->of[lane + LANES / 2] += (uint32_t)(second >> 16 * lane) & 0xFFFF;
        }
        image += part;
        n -= part;
    }
}

typedef struct walk { /* where eight replicates stand */
    lanes found, wrong;
    double sum[LANES], lost[LANES]; /* of AP, by Neumaier, as ranking.c has it */
    uint64_t lost_pairs[LANES];     /* twice the pairs that are not won, a tie counting one */
} walk;

/* A sum of weights is the number of images give or take some roots of it: below 2^31. As int32 it becomes double in
 * vectors. */
static inline void add_positives(walk *at, const lanes *positive, const lanes *negative)
{
    for (int lane = 0; lane < LANES; lane++) {
        uint32_t found = at->found.of[lane], all = found + at->wrong.of[lane];
        double ratio = (double)(int32_t)found / (double)(int32_t)(all > 0 ? all : 1);
        double term = (double)(int32_t)positive->of[lane] * ratio, sum = at->sum[lane], next = sum + term;
        at->lost[lane] += sum >= term ? (sum - next) + term : (term - next) + sum;
        at->sum[lane] = next;
        at->lost_pairs[lane] += positive->of[lane] * (2 * (uint64_t)at->wrong.of[lane] - negative->of[lane]);
    }
}

static void take_step(const step *of, const uint64_t *packed, const uint32_t **image, walk *at)
{
    lanes positive = {{0}}, negative = {{0}};
    add_run(packed, *image, of->n_above, &at->wrong);
    *image += of->n_above;
    if (of->n_positive == 0)
        return;
    add_run(packed, *image, of->n_positive, &positive);
    *image += of->n_positive;
    add_run(packed, *image, of->n_negative, &negative);
    *image += of->n_negative;
    for (int lane = 0; lane < LANES; lane++) {
        at->found.of[lane] += positive.of[lane];
        at->wrong.of[lane] += negative.of[lane];
    }
    add_positives(at, &positive, &negative);
}

void ac_bootstrap_walk(const ac_bootstrap_order *order, const ac_bootstrap_weights *weights,
                       ac_bootstrap_class out[AC_BOOTSTRAP_LANES])
{
    walk at = {0};
    const uint32_t *image = order->image;
    for (int lane = 0; lane < LANES; lane++)
        out[lane] = (ac_bootstrap_class){0};
    for (size_t i = 0; i < order->n_steps; i++) {
        take_step(&order->step[i], weights->packed, &image, &at);
        for (int lane = 0; i + 1 == order->n_threshold_steps && lane < LANES; lane++) {
            out[lane].true_positive = at.found.of[lane];
            out[lane].false_positive = at.wrong.of[lane];
        }
    }
    for (int lane = 0; lane < LANES; lane++) {
        uint64_t n_positive = at.found.of[lane], n_negative = weights->total[lane] - n_positive;
        uint64_t won = 2 * n_positive * n_negative - at.lost_pairs[lane];
        out[lane].positive = (int64_t)n_positive;
        out[lane].average_precision = n_positive > 0 ? (at.sum[lane] + at.lost[lane]) / (double)n_positive : NAN;
        out[lane].roc_auc =
            n_positive > 0 && n_negative > 0 ? (double)won / (2.0 * (double)n_positive * (double)n_negative) : NAN;
    }
}
