/* One class from one sort (profile.h). Leaves the sort to sort.c, thinning the curve to curve.c and the reference's
 * order of equal scores to reference_rank.c.
 *
 * A score in 0..1 has two leading zero bits; shifted out, they make room for what the image is, so that one sorted
 * array of words tells everything. */
#include "anyclass/profile.h"
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include "lib/metrics/sort.h"

enum { NEGATIVE_IN_NEGATIVE, NEGATIVE_IN_POSITIVE, POSITIVE, TAG_BITS = 2, TAGS = (1 << TAG_BITS) - 1, BLOCK = 4096 };

typedef struct tagged { /* score bits and what the image is, ascending */
    uint64_t *key;      /* [2 n] the second half is scratch */
    size_t n;
    ac_split_count *before; /* [n / BLOCK + 1] images in all blocks before */
    ac_split_count total;
} tagged;

static uint64_t score_bits(double score)
{
    uint64_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits;
}

static double score_of(uint64_t key)
{
    double score;
    key >>= TAG_BITS;
    memcpy(&score, &key, sizeof score);
    return score;
}

static ac_status refuse(double score, size_t row)
{
    if (isnan(score))
        return ac_error(AC_ERR_NUMERIC, "the score of row %zu is not a number", row);
    return ac_error(AC_ERR_NUMERIC, "the score of row %zu is %g, not in 0..1", row, score);
}

/* Into a list that ascends by sign * score; rows come in ascending order, so an equal score goes behind. */
static void insert_wrong(ac_wrong_image *list, uint32_t *n, double score, uint64_t image, double sign)
{
    uint32_t at = *n < AC_PROFILE_WRONG ? (*n)++ : AC_PROFILE_WRONG - 1;
    for (; at > 0 && sign * list[at - 1].score > sign * score; at--)
        list[at] = list[at - 1];
    list[at] = (ac_wrong_image){.score = score, .image = image};
}

static ac_status tag_scores(const ac_column *column, ac_profile *out, tagged *of)
{
    double missed_below = INFINITY, alarm_above = -1; /* the scores that still enter the lists */
    for (size_t i = 0; i < column->n; i++) {
        double score = column->score[i];
        unsigned positive = column->label[i * column->label_stride] != 0;
        unsigned tag = positive * POSITIVE | (!positive & (column->image_positive[i] != 0));
        if (!(score >= 0 && score <= 1))
            return refuse(score, i);
        of->key[i] = score_bits(score) << TAG_BITS | tag;
        if ((positive & (score < missed_below)) | (!positive & (score > alarm_above))) {
            if (positive)
                insert_wrong(out->missed, &out->n_missed, score, i, 1);
            else
                insert_wrong(out->false_alarm, &out->n_false_alarms, score, i, -1);
            if (out->n_missed == AC_PROFILE_WRONG)
                missed_below = out->missed[AC_PROFILE_WRONG - 1].score;
            if (out->n_false_alarms == AC_PROFILE_WRONG)
                alarm_above = out->false_alarm[AC_PROFILE_WRONG - 1].score;
        }
    }
    return AC_OK;
}

static void count_range(const tagged *of, size_t first, size_t end, ac_split_count *out)
{
    uint64_t positive = 0, in_positive = 0;
    for (size_t i = first; i < end; i++) {
        positive += of->key[i] >> 1 & 1;
        in_positive += of->key[i] & 1;
    }
    out->positive += (int64_t)positive;
    out->negative_in_positive += (int64_t)in_positive;
    out->negative_in_negative += (int64_t)(end - first - positive - in_positive);
}

static void count_blocks(tagged *of)
{
    for (size_t block = 0; block <= of->n / BLOCK; block++) {
        of->before[block] = of->total;
        size_t end = (block + 1) * BLOCK;
        count_range(of, block * BLOCK, end < of->n ? end : of->n, &of->total);
    }
}

/* The first of the images, in ascending order, with score >= threshold. */
static size_t first_reaching(const tagged *of, double threshold)
{
    size_t low = 0, high = of->n;
    if (threshold <= 0)
        return 0;
    if (!(threshold <= 1))
        return of->n;
    uint64_t key = score_bits(threshold) << TAG_BITS;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (of->key[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void count_before(const tagged *of, size_t end, ac_split_count *out)
{
    *out = of->before[end / BLOCK];
    count_range(of, end / BLOCK * BLOCK, end, out);
}

static ac_split_count difference(const ac_split_count *a, const ac_split_count *b)
{
    return (ac_split_count){.positive = a->positive - b->positive,
                            .negative_in_positive = a->negative_in_positive - b->negative_in_positive,
                            .negative_in_negative = a->negative_in_negative - b->negative_in_negative};
}

/* The least score of a bin, in which floor(score * BINS) rounds as it does for every score. */
static double bin_start(int bin)
{
    double score = (double)bin / AC_PROFILE_BINS;
    while (score > 0 && nextafter(score, 0) * AC_PROFILE_BINS >= bin)
        score = nextafter(score, 0);
    while (score * AC_PROFILE_BINS < bin)
        score = nextafter(score, 1);
    return score;
}

typedef struct losses {
    ac_exact_sum minus_log, brier;
    double product; /* of probabilities whose logarithm is still to be taken */
} losses;

/* One logarithm for the product of many probabilities: as exact as the sum of theirs, and faster. */
static void take_logarithm(losses *of)
{
    ac_sum_add(&of->minus_log, -log(of->product));
    of->product = 1;
}

static double sum_losses(const uint64_t *key, size_t n, losses *to)
{
    const double least = 0x1p-52, low_product = 0x1p-900; /* low * least is a normal number still */
    ac_exact_sum scores = {0};
    losses of = *to;
    for (size_t i = 0; i < n; i++) {
        double score = score_of(key[i]), wrong = key[i] & POSITIVE ? 1 - score : score;
        double p = score < least ? least : score > 1 - least ? 1 - least : score;
        of.product *= key[i] & POSITIVE ? p : 1 - p;
        if (of.product < low_product)
            take_logarithm(&of);
        ac_sum_add(&of.brier, wrong * wrong);
        ac_sum_add(&scores, score);
    }
    *to = of;
    return ac_sum_value(&scores);
}

static void measure_bins(const tagged *of, ac_profile *out)
{
    losses sums = {.product = 1};
    ac_split_count before = {0};
    size_t first = 0;
    for (int bin = 0; bin < AC_PROFILE_BINS; bin++) {
        size_t end = bin + 1 < AC_PROFILE_BINS ? first_reaching(of, bin_start(bin + 1)) : of->n;
        ac_split_count up_to;
        count_before(of, end, &up_to);
        out->bin[bin] = difference(&up_to, &before);
        out->bin_score_sum[bin] = sum_losses(of->key + first, end - first, &sums);
        before = up_to;
        first = end;
    }
    take_logarithm(&sums);
    out->log_loss = of->n > 0 ? ac_sum_value(&sums.minus_log) / (double)of->n : NAN;
    out->brier = of->n > 0 ? ac_sum_value(&sums.brier) / (double)of->n : NAN;
}

/* Whether the distinct scores from the highest down to the lowest of a positive are few enough to be drawn all. */
static bool few_scores(const tagged *of)
{
    size_t n_groups = 0, found = 0;
    for (size_t i = of->n; i > 0 && found < (size_t)of->total.positive && n_groups <= AC_PROFILE_POINTS; i--) {
        found += of->key[i - 1] >> 1 & 1;
        n_groups += i == of->n || of->key[i - 1] >> TAG_BITS != of->key[i] >> TAG_BITS;
    }
    return n_groups <= AC_PROFILE_POINTS;
}

static void try_f(const ac_rank *rank, double beta, double score, ac_profile *out)
{
    double f =
        ac_metrics_f_beta((int64_t)rank->found, (int64_t)rank->wrong, (int64_t)(rank->n_positive - rank->found), beta);
    if (!(f <= out->best_f)) {
        out->best_f = f;
        out->best_threshold = score;
    }
}

/* Walk the groups of equal scores from the highest down to the last that holds a positive. A group without one only
 * lowers precision and F: it matters where it is the last before one that does, and, to the curve, where it is the
 * first of all. */
static void walk(const tagged *of, double beta, ac_profile *out)
{
    ac_rank rank = {.n_positive = (size_t)of->total.positive, .n_negative = of->n - (size_t)of->total.positive};
    ac_curve curve;
    bool whole = few_scores(of);
    size_t end = of->n; /* of the group */
    out->best_f = out->best_threshold = NAN;
    ac_curve_begin(&curve, rank.n_positive, whole);
    while (rank.found < rank.n_positive) {
        size_t first = end - 1, in_positive = of->key[first] >> 1 & 1;
        uint64_t bits = of->key[first] >> TAG_BITS;
        for (; first > 0 && of->key[first - 1] >> TAG_BITS == bits; first--)
            in_positive += of->key[first - 1] >> 1 & 1;
        ac_curve_place before = {.found = rank.found, .wrong = rank.wrong};
        ac_rank_add(&rank, in_positive, end - first - in_positive);
        ac_curve_place here = {.found = rank.found, .wrong = rank.wrong, .score = score_of(of->key[first])};
        if (in_positive > 0) {
            if (!whole && end < of->n) {
                before.score = score_of(of->key[end]);
                ac_curve_add(&curve, before, out);
            }
            try_f(&rank, beta, here.score, out);
        }
        if (in_positive > 0 || whole || end == of->n)
            ac_curve_add(&curve, here, out);
        end = first;
    }
    ac_curve_end(&curve, out);
    out->average_precision = ac_rank_average_precision(&rank);
    out->roc_auc = ac_rank_auc(&rank);
}

static ac_status allocate(size_t n, ac_profile_workspace *workspace, tagged *of)
{
    ac_status status = AC_OK;
    of->n = n;
    AC_TRY(ac_reserve(&workspace->key, &workspace->capacity, n > 0 ? 2 * n : 1, sizeof *workspace->key));
    of->key = workspace->key;
    AC_TRY(ac_malloc(n / BLOCK + 1, sizeof *of->before, &of->before));
out:
    return status;
}

void ac_profile_release(ac_profile_workspace *workspace)
{
    ac_free(workspace->key);
    *workspace = (ac_profile_workspace){0};
}

ac_status ac_profile_measure(const ac_column *column, const ac_profile_options *options, ac_profile *out,
                             ac_split_count *reached)
{
    ac_status status = AC_OK;
    tagged of = {0};
    ac_profile_workspace own = {0}, *workspace = options->workspace ? options->workspace : &own;
    memset(out, 0, sizeof *out);
    if (column->n > UINT32_MAX)
        return ac_error(AC_ERR_RANGE, "ranking takes at most 2^32 - 1 scores, not %zu", column->n);
    AC_TRY(allocate(column->n, workspace, &of));
    AC_TRY(tag_scores(column, out, &of));
    ac_sort_keys(of.key, of.key + of.n, of.n);
    count_blocks(&of);
    out->total = of.total;
    for (size_t t = 0; t < options->n_thresholds; t++) {
        ac_split_count below;
        count_before(&of, first_reaching(&of, options->threshold[t]), &below);
        reached[t] = difference(&of.total, &below);
    }
    measure_bins(&of, out);
    walk(&of, options->beta, out);
    out->reference_average_precision = NAN;
    if (options->reference) /* the words are read out: their place serves for the order */
        out->reference_average_precision =
            ac_reference_rank(column, (size_t)of.total.positive, (uint32_t *)(void *)of.key);
out:
    ac_free(of.before);
    ac_profile_release(&own);
    return status;
}

double ac_profile_calibration_error(const ac_profile *profile)
{
    const ac_split_count *total = &profile->total;
    double sum = 0;
    for (int bin = 0; bin < AC_PROFILE_BINS; bin++)
        sum += fabs(profile->bin_score_sum[bin] - (double)profile->bin[bin].positive);
    return sum / (double)(total->positive + total->negative_in_positive + total->negative_in_negative);
}
