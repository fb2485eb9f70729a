/* One class from one sort (profile.h). Leaves sorting and ranking to ranking.c. */
#include "anyclass/profile.h"
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include "lib/metrics/sort.h"
#include <math.h>

enum { POSITIVE, NEGATIVE_IN_POSITIVE, NEGATIVE_IN_NEGATIVE, N_PARTS };

typedef struct parts { /* keys of the scores, ascending: positives; negatives */
    uint64_t *positive, *negative, *scratch;
    size_t n_positive, n_negative;
} parts;

static int part_of(const ac_column *column, size_t i)
{
    if (column->label[i * column->label_stride])
        return POSITIVE;
    return column->image_positive[i] ? NEGATIVE_IN_POSITIVE : NEGATIVE_IN_NEGATIVE;
}

static void add_to(ac_split_count *count, int part)
{
    count->positive += part == POSITIVE;
    count->negative_in_positive += part == NEGATIVE_IN_POSITIVE;
    count->negative_in_negative += part == NEGATIVE_IN_NEGATIVE;
}

static void insert_wrong(ac_wrong_image *list, uint32_t *n, double score, uint64_t image, double sign)
{
    uint32_t at = *n;
    if (at == AC_PROFILE_WRONG) {
        if (sign * list[at - 1].score <= sign * score)
            return;
        at--;
    } else
        ++*n;
    for (; at > 0 && sign * list[at - 1].score > sign * score; at--)
        list[at] = list[at - 1];
    list[at] = (ac_wrong_image){.score = score, .image = image};
}

static ac_status scan(const ac_column *column, const ac_profile_options *options, ac_profile *out,
                      ac_split_count *reached, parts *of)
{
    for (size_t i = 0; i < column->n; i++) {
        double score = column->score[i];
        int part = part_of(column, i);
        if (isnan(score))
            return ac_error(AC_ERR_NUMERIC, "the score of row %zu is not a number", i);
        add_to(&out->total, part);
        for (size_t t = 0; t < options->n_thresholds; t++)
            if (score >= options->threshold[t])
                add_to(&reached[t], part);
        int bin = (int)(score * AC_PROFILE_BINS);
        bin = bin < 0 ? 0 : bin >= AC_PROFILE_BINS ? AC_PROFILE_BINS - 1 : bin;
        add_to(&out->bin[bin], part);
        if (part == POSITIVE) {
            of->positive[of->n_positive++] = ac_sort_key(score);
            insert_wrong(out->missed, &out->n_missed, score, i, 1);
        } else {
            of->negative[of->n_negative++] = ac_sort_key(score);
            insert_wrong(out->false_alarm, &out->n_false_alarms, score, i, -1);
        }
    }
    return AC_OK;
}

static void draw_curve(const ac_profile_options *options, const parts *of, ac_profile *out)
{
    size_t found = 0, wrong = 0, next = 0, n_positive = of->n_positive;
    out->best_f = out->best_threshold = NAN;
    while (found < n_positive) {
        uint64_t key = of->positive[n_positive - 1 - found];
        if (wrong < of->n_negative && of->negative[of->n_negative - 1 - wrong] > key)
            key = of->negative[of->n_negative - 1 - wrong];
        while (found < n_positive && of->positive[n_positive - 1 - found] == key)
            found++;
        while (wrong < of->n_negative && of->negative[of->n_negative - 1 - wrong] == key)
            wrong++;
        double f = ac_metrics_f_beta((int64_t)found, (int64_t)wrong, (int64_t)(n_positive - found), options->beta);
        if (!(f <= out->best_f)) {
            out->best_f = f;
            out->best_threshold = ac_sort_score(key);
        }
        if (found * (AC_PROFILE_POINTS - 2) >= next * n_positive && out->n_points < AC_PROFILE_POINTS) {
            uint32_t at = out->n_points++;
            out->point_recall[at] = (float)((double)found / (double)n_positive);
            out->point_precision[at] = (float)((double)found / (double)(found + wrong));
            out->point_threshold[at] = (float)ac_sort_score(key);
            next = found * (AC_PROFILE_POINTS - 2) / n_positive + 1;
        }
    }
}

static double clip(double score)
{
    const double least = 0x1p-52;
    return score < least ? least : score > 1 - least ? 1 - least : score;
}

static void sum_scores(const uint64_t *key, size_t n, double label, ac_profile *out, double *log_loss, double *brier)
{
    for (size_t i = 0; i < n; i++) {
        double score = ac_sort_score(key[i]), p = clip(score);
        int bin = (int)(score * AC_PROFILE_BINS);
        out->bin_score_sum[bin < AC_PROFILE_BINS ? bin : AC_PROFILE_BINS - 1] += score;
        *log_loss -= log(label > 0 ? p : 1 - p);
        *brier += (score - label) * (score - label);
    }
}

ac_status ac_profile_measure(const ac_column *column, const ac_profile_options *options, ac_profile *out,
                             ac_split_count *reached)
{
    ac_status status = AC_OK;
    parts of = {0};
    double log_loss = 0, brier = 0;
    memset(out, 0, sizeof *out);
    memset(reached, 0, options->n_thresholds * sizeof *reached);
    if (column->n > UINT32_MAX)
        return ac_error(AC_ERR_RANGE, "ranking takes at most 2^32 - 1 scores, not %zu", column->n);
    AC_TRY(ac_malloc(column->n, sizeof *of.positive, &of.positive));
    AC_TRY(ac_malloc(column->n, sizeof *of.negative, &of.negative));
    AC_TRY(ac_malloc(column->n, sizeof *of.scratch, &of.scratch));
    AC_TRY(scan(column, options, out, reached, &of));
    ac_sort_keys(of.positive, of.scratch, of.n_positive);
    ac_sort_keys(of.negative, of.scratch, of.n_negative);
    ac_rank_sorted(of.positive, of.n_positive, of.negative, of.n_negative, &out->average_precision, &out->roc_auc);
    out->reference_average_precision = NAN;
    draw_curve(options, &of, out);
    sum_scores(of.positive, of.n_positive, 1, out, &log_loss, &brier);
    sum_scores(of.negative, of.n_negative, 0, out, &log_loss, &brier);
    out->log_loss = column->n ? log_loss / (double)column->n : NAN;
    out->brier = column->n ? brier / (double)column->n : NAN;
out:
    ac_free(of.positive);
    ac_free(of.negative);
    ac_free(of.scratch);
    return status;
}
