/* A profile against its definitions by brute force, on random columns with ties, absent classes, constants and extreme
 * imbalance: counts, bins, losses, best F, curve, lists; and that the order of images changes nothing. */
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

enum { MOST = 3000, N_CASES = 300, N_THRESHOLDS = 8 };

typedef struct sample {
    double score[MOST];
    uint8_t label[2 * MOST], image_positive[MOST]; /* labels with stride 2 */
    size_t n;
    double beta;
} sample;

static const double thresholds[N_THRESHOLDS] = {0.5, 0, 1, 0.07, 0.25, -1, 1.5, 0.9999};

static uint32_t draw(uint64_t index, uint32_t k)
{
    return ac_random_block(23, AC_STREAM_TEST, index, k).word[0];
}

/* Case `index`: rows, distinct scores, share of positives, scale and beta all vary. Scores k / 2^m and k / 100 fall on
 * thresholds and on edges of bins. */
static void make_sample(uint64_t index, sample *out)
{
    static const uint32_t level[] = {1, 2, 64, 100, 50, 1000000, 1000000000};
    uint32_t n_levels = level[draw(index, 0) % 7], share = draw(index, 1) % 6 * 20;
    bool low = draw(index, 3) % 4 == 0, rare = draw(index, 5) % 4 == 0;
    out->n = index % 10 == 0 ? index / 10 % 4 : 1 + draw(index, 2) % MOST;
    out->beta = 0.5 * (1 << draw(index, 4) % 3);
    for (size_t i = 0; i < out->n; i++) {
        uint32_t word = draw(index, 10 + 2 * (uint32_t)i), other = draw(index, 11 + 2 * (uint32_t)i);
        double score = (double)(word % (n_levels + 1)) / n_levels;
        out->score[i] = low ? score * score * score / 1024 : score;
        out->label[2 * i] = rare ? other % 1000 < share / 20 : other % 100 < share;
        out->label[2 * i + 1] = 1;
        out->image_positive[i] = out->label[2 * i] | (other >> 16 & 1);
    }
}

static void shuffle(uint64_t index, sample *of)
{
    for (size_t i = of->n; i > 1; i--) {
        size_t j = draw(index, (uint32_t)i) % i, k = i - 1;
        sample *s = of;
        double score = s->score[j];
        uint8_t label = s->label[2 * j], positive = s->image_positive[j];
        s->score[j] = s->score[k];
        s->label[2 * j] = s->label[2 * k];
        s->image_positive[j] = s->image_positive[k];
        s->score[k] = score;
        s->label[2 * k] = label;
        s->image_positive[k] = positive;
    }
}

static ac_status measure(const sample *of, bool reference, ac_profile *out, ac_split_count *reached)
{
    ac_column column = {
        .score = of->score, .label = of->label, .label_stride = 2, .image_positive = of->image_positive, .n = of->n};
    ac_profile_options options = {
        .threshold = thresholds, .n_thresholds = N_THRESHOLDS, .beta = of->beta, .reference = reference};
    return ac_profile_measure(&column, &options, out, reached);
}

static bool same_bits(const void *a, const void *b, size_t n_bytes)
{
    return memcmp(a, b, n_bytes) == 0;
}

static bool close_to(double a, double b)
{
    return (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-13;
}

static ac_split_count count_reaching(const sample *of, double from, double below)
{
    ac_split_count count = {0};
    for (size_t i = 0; i < of->n; i++) {
        if (!(of->score[i] >= from && of->score[i] < below))
            continue;
        count.positive += of->label[2 * i];
        count.negative_in_positive += !of->label[2 * i] && of->image_positive[i];
        count.negative_in_negative += !of->image_positive[i];
    }
    return count;
}

static bool right_counts(const sample *of, const ac_profile *profile, const ac_split_count *reached)
{
    ac_split_count all = count_reaching(of, 0, INFINITY);
    bool right = same_bits(&profile->total, &all, sizeof all);
    for (int t = 0; t < N_THRESHOLDS; t++) {
        ac_split_count count = count_reaching(of, thresholds[t], INFINITY);
        right &= same_bits(&reached[t], &count, sizeof count);
    }
    return right;
}

static bool right_bins(const sample *of, const ac_profile *profile)
{
    ac_split_count bin[AC_PROFILE_BINS] = {{0}};
    double sum[AC_PROFILE_BINS] = {0}, error = 0;
    bool right = true;
    for (size_t i = 0; i < of->n; i++) {
        int b = (int)(of->score[i] * AC_PROFILE_BINS);
        b = b < AC_PROFILE_BINS ? b : AC_PROFILE_BINS - 1;
        bin[b].positive += of->label[2 * i];
        bin[b].negative_in_positive += !of->label[2 * i] && of->image_positive[i];
        bin[b].negative_in_negative += !of->image_positive[i];
        sum[b] += of->score[i];
    }
    for (int b = 0; b < AC_PROFILE_BINS; b++) {
        right &= fabs(sum[b] - profile->bin_score_sum[b]) <= 1e-10;
        error += fabs(sum[b] - (double)bin[b].positive);
    }
    right &= close_to(ac_profile_calibration_error(profile), of->n ? error / (double)of->n : NAN);
    return right && same_bits(bin, profile->bin, sizeof bin);
}

static bool right_losses(const sample *of, const ac_profile *profile)
{
    long double log_loss = 0, brier = 0;
    double least = 0x1p-52;
    for (size_t i = 0; i < of->n; i++) {
        double p = fmin(fmax(of->score[i], least), 1 - least), wrong = of->score[i] - of->label[2 * i];
        log_loss -= logl(of->label[2 * i] ? p : 1 - p);
        brier += wrong * wrong;
    }
    return close_to(profile->log_loss, (double)(log_loss / (long double)of->n)) &&
           close_to(profile->brier, (double)(brier / (long double)of->n));
}

static bool right_best_f(const sample *of, const ac_profile *profile)
{
    double best = NAN, threshold = NAN;
    int64_t n_positive = profile->total.positive;
    for (size_t i = 0; n_positive > 0 && i < of->n; i++) {
        ac_split_count count = count_reaching(of, of->score[i], INFINITY);
        double f = ac_metrics_f_beta(count.positive, count.negative_in_positive + count.negative_in_negative,
                                     n_positive - count.positive, of->beta);
        if (!(f <= best) || (f == best && of->score[i] > threshold)) {
            best = f;
            threshold = of->score[i];
        }
    }
    return (isnan(best) && isnan(profile->best_f) && isnan(profile->best_threshold)) ||
           (best == profile->best_f && threshold == profile->best_threshold);
}

/* Every point is one of the full curve, in order; the first and the last of it are there; all of it when it is short.
 */
static bool right_curve(const sample *of, const ac_profile *profile)
{
    double next = INFINITY, highest = -1, lowest_positive = 2;
    size_t n_distinct = 0;
    int64_t n_positive = profile->total.positive;
    bool right = profile->n_points <= AC_PROFILE_POINTS;
    for (size_t i = 0; i < of->n; i++) {
        highest = fmax(highest, of->score[i]);
        lowest_positive = of->label[2 * i] ? fmin(lowest_positive, of->score[i]) : lowest_positive;
    }
    if (n_positive == 0)
        return profile->n_points == 0;
    for (double above = INFINITY; above > lowest_positive; above = next, n_distinct++) {
        next = -1;
        for (size_t i = 0; n_distinct <= AC_PROFILE_POINTS && i < of->n; i++)
            next = of->score[i] < above ? fmax(next, of->score[i]) : next;
    }
    right &= n_distinct > AC_PROFILE_POINTS || n_distinct == profile->n_points;
    for (uint32_t k = 0; right && k < profile->n_points; k++) {
        bool found = false;
        for (size_t i = 0; !found && i < of->n; i++) {
            if ((float)of->score[i] != profile->point_threshold[k])
                continue;
            ac_split_count count = count_reaching(of, of->score[i], INFINITY);
            int64_t predicted = count.positive + count.negative_in_positive + count.negative_in_negative;
            found = (float)((double)count.positive / (double)n_positive) == profile->point_recall[k] &&
                    (float)((double)count.positive / (double)predicted) == profile->point_precision[k];
        }
        right &= found && (k == 0 || profile->point_threshold[k] <= profile->point_threshold[k - 1]);
    }
    return right && profile->point_threshold[0] == (float)highest &&
           profile->point_recall[profile->n_points - 1] == 1 &&
           profile->point_threshold[profile->n_points - 1] == (float)lowest_positive;
}

static bool has_precision(const ac_profile *profile, double precision)
{
    for (uint32_t k = 0; k < profile->n_points; k++)
        if (profile->point_precision[k] == (float)precision)
            return true;
    return false;
}

/* The lowest and the highest precision of the full curve, in each half of recall, are among the points. */
static bool right_shape(const sample *of, const ac_profile *profile)
{
    double low[2] = {2, 2}, high[2] = {-1, -1};
    int64_t n_positive = profile->total.positive;
    for (size_t i = 0; n_positive > 0 && i < of->n; i++) {
        ac_split_count count = count_reaching(of, of->score[i], INFINITY);
        int64_t predicted = count.positive + count.negative_in_positive + count.negative_in_negative;
        double precision = (double)count.positive / (double)predicted;
        int half = count.positive > (n_positive + 3) / 4; /* half of the steps, that is */
        if (of->score[i] < profile->point_threshold[profile->n_points - 1])
            continue;
        low[half] = fmin(low[half], precision);
        high[half] = fmax(high[half], precision);
    }
    for (int half = 0; half < 2; half++)
        if (high[half] >= 0 && !(has_precision(profile, low[half]) && has_precision(profile, high[half])))
            return false;
    return true;
}

/* Position of image i in the list of the most wrong of its kind, counted. */
static size_t wrong_rank(const sample *of, size_t i, bool positive)
{
    size_t before = 0;
    for (size_t j = 0; j < of->n; j++) {
        if (of->label[2 * j] != positive || j == i)
            continue;
        double a = positive ? of->score[j] : -of->score[j], b = positive ? of->score[i] : -of->score[i];
        before += a < b || (a == b && j < i);
    }
    return before;
}

static bool right_lists(const sample *of, const ac_profile *profile)
{
    size_t n[2] = {0, 0};
    bool right = true;
    for (size_t i = 0; i < of->n; i++) {
        bool positive = of->label[2 * i];
        n[positive]++;
        size_t rank = wrong_rank(of, i, positive);
        const ac_wrong_image *list = positive ? profile->missed : profile->false_alarm;
        if (rank < AC_PROFILE_WRONG)
            right &= list[rank].image == i && list[rank].score == of->score[i];
    }
    return right && profile->n_false_alarms == (n[0] < AC_PROFILE_WRONG ? n[0] : AC_PROFILE_WRONG) &&
           profile->n_missed == (n[1] < AC_PROFILE_WRONG ? n[1] : AC_PROFILE_WRONG);
}

/* The ranking functions of metrics.h give the same bits. */
static bool right_ranking(const sample *of, const ac_profile *profile)
{
    double ap, auc;
    static double spread[2 * MOST];
    for (size_t i = 0; i < of->n; i++)
        spread[2 * i] = of->score[i];
    return ac_metrics_rank_double(spread, of->label, of->n, 2, &ap, &auc) == AC_OK &&
           (isnan(ap) ? isnan(profile->average_precision) : ap == profile->average_precision) &&
           (isnan(auc) ? isnan(profile->roc_auc) : auc == profile->roc_auc);
}

static void forget_images(ac_profile *profile)
{
    for (int i = 0; i < AC_PROFILE_WRONG; i++)
        profile->missed[i].image = profile->false_alarm[i].image = 0;
}

typedef enum check { COUNTS, BINS, LOSSES, BEST_F, CURVE, SHAPE, LISTS, RANKING, ORDER, N_CHECKS } check;

static void test_random(void)
{
    static const char *const what[N_CHECKS] = {
        "counts at thresholds",         "bins and calibration error",  "log loss and Brier score",
        "the best F and its threshold", "the curve's points",          "the curve's extremes",
        "the lists of wrong images",    "AP and ROC-AUC, bit by bit,", "the bytes of the shuffled images' profile"};
    static sample of;
    static ac_profile profile, moved;
    ac_split_count reached[N_THRESHOLDS], reached_moved[N_THRESHOLDS];
    size_t n_bad[N_CHECKS] = {0}, n_failed = 0, n_thinned = 0;
    for (uint64_t index = 0; index < N_CASES; index++) {
        make_sample(index, &of);
        n_failed += measure(&of, false, &profile, reached) != AC_OK;
        n_bad[COUNTS] += !right_counts(&of, &profile, reached);
        n_bad[BINS] += !right_bins(&of, &profile);
        n_bad[LOSSES] += !right_losses(&of, &profile);
        n_bad[BEST_F] += !right_best_f(&of, &profile);
        n_bad[CURVE] += !right_curve(&of, &profile);
        n_bad[SHAPE] += !right_shape(&of, &profile);
        n_bad[LISTS] += !right_lists(&of, &profile);
        n_bad[RANKING] += !right_ranking(&of, &profile);
        n_thinned += profile.n_points > 100;
        shuffle(index, &of);
        n_failed += measure(&of, false, &moved, reached_moved) != AC_OK;
        forget_images(&profile);
        forget_images(&moved);
        n_bad[ORDER] +=
            !same_bits(&profile, &moved, sizeof moved) || !same_bits(reached, reached_moved, sizeof reached);
    }
    TAP_OK(n_failed == 0, "%d random columns are measured (%zu failed)", 2 * N_CASES, n_failed);
    for (int k = 0; k < N_CHECKS; k++)
        TAP_OK(n_bad[k] == 0, "%s are right (%zu are not)", what[k], n_bad[k]);
    TAP_OK(n_thinned > N_CASES / 10, "%zu curves have more than 100 points", n_thinned);
}

static void test_edges(void)
{
    static sample of;
    static ac_profile profile;
    ac_split_count reached[N_THRESHOLDS];
    const double bad[] = {NAN, -0.25, 1.5, INFINITY};
    TAP_CALL(measure(&of, true, &profile, reached));
    TAP_OK(isnan(profile.average_precision) && isnan(profile.log_loss) && isnan(profile.best_f) &&
               profile.reference_average_precision == 0 && isnan(ac_profile_calibration_error(&profile)),
           "no image: undefined");
    make_sample(7, &of);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        of.n = 20;
        of.score[17] = bad[i];
        TAP_OK(measure(&of, false, &profile, reached) == AC_ERR_NUMERIC && strstr(ac_error_text(), "row 17"),
               "refused: %s", ac_error_text());
    }
    of = (sample){.score = {0.0, -0.0, 1}, .label = {1, 1, 0, 1, 1, 1}, .image_positive = {1, 0, 1}, .n = 3, .beta = 1};
    TAP_CALL(measure(&of, false, &profile, reached));
    TAP_OK(profile.roc_auc == 0.75 && profile.bin[0].positive == 1 && profile.bin[AC_PROFILE_BINS - 1].positive == 1,
           "0 and -0 are a tie in the first bin, 1 is in the last");
    TAP_OK(fabs(profile.log_loss - 52 * log(2) / 3) < 1e-12, "a sure and wrong score costs 52 log 2");
}

/* Scores on the edges of bins and just beside them. */
static void test_bin_edges(void)
{
    static sample of;
    static ac_profile profile;
    ac_split_count reached[N_THRESHOLDS];
    of = (sample){.beta = 1};
    for (int b = 0; b <= AC_PROFILE_BINS; b++) {
        double below = (double)b / AC_PROFILE_BINS, above = below;
        for (int k = 0; k < 4; k++) {
            of.score[of.n++] = fmax(0, below);
            of.score[of.n++] = fmin(1, above);
            below = nextafter(below, -1);
            above = nextafter(above, 2);
        }
    }
    TAP_CALL(measure(&of, false, &profile, reached));
    TAP_OK(right_bins(&of, &profile), "a score belongs to bin floor(score * %d) to the last bit", AC_PROFILE_BINS);
}

static void test_best_f_tie(void)
{
    static sample of;
    static ac_profile profile;
    ac_split_count reached[N_THRESHOLDS];
    of = (sample){.score = {0.9, 0.8, 0.7, 0.6}, .label = {1, 0, 0, 0, 0, 0, 1, 0}, .n = 4, .beta = 1};
    TAP_CALL(measure(&of, false, &profile, reached));
    TAP_OK(profile.best_f == 2. / 3 && profile.best_threshold == 0.9, "of two best thresholds the higher counts");
}

static void test_workspace(void)
{
    static sample of;
    static ac_profile profile, kept;
    ac_split_count reached[N_THRESHOLDS];
    ac_profile_workspace workspace = {0};
    size_t n_bad = 0;
    for (uint64_t index = 1; index < 40; index++) {
        make_sample(index, &of);
        ac_column column = {
            .score = of.score, .label = of.label, .label_stride = 2, .image_positive = of.image_positive, .n = of.n};
        ac_profile_options options = {.threshold = thresholds,
                                      .n_thresholds = N_THRESHOLDS,
                                      .beta = of.beta,
                                      .reference = true,
                                      .workspace = &workspace};
        n_bad += measure(&of, true, &profile, reached) != AC_OK;
        n_bad += ac_profile_measure(&column, &options, &kept, reached) != AC_OK;
        n_bad += !same_bits(&profile, &kept, sizeof kept);
    }
    ac_profile_release(&workspace);
    TAP_OK(n_bad == 0, "kept memory changes nothing (%zu differ)", n_bad);
}

int main(void)
{
    test_random();
    test_edges();
    test_bin_edges();
    test_best_f_tie();
    test_workspace();
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left");
    return tap_done();
}
