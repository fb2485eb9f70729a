/* Average precision and ROC-AUC against their definitions by brute force, and independence of the order of rows. */
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

enum { MOST = 400 };

/* Sum over groups of (R_k - R_{k-1}) P_k is the mean, over positives, of the precision at the positive's own score. */
static double brute_ap(const double *score, const uint8_t *label, size_t n)
{
    double sum = 0;
    size_t n_positive = 0;
    for (size_t i = 0; i < n; i++) {
        size_t found = 0, above = 0;
        for (size_t j = 0; label[i] && j < n; j++) {
            above += score[j] >= score[i];
            found += score[j] >= score[i] && label[j];
        }
        if (label[i]) {
            n_positive++;
            sum += (double)found / (double)above;
        }
    }
    return n_positive ? sum / (double)n_positive : NAN;
}

static double brute_auc(const double *score, const uint8_t *label, size_t n)
{
    double won = 0, pairs = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; label[i] && j < n; j++) {
            if (label[j])
                continue;
            pairs++;
            won += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
        }
    }
    return pairs > 0 ? won / pairs : NAN;
}

static bool close_to(double a, double b)
{
    return (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-14;
}

static bool same_bits(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static uint32_t draw(uint64_t index, uint32_t k)
{
    return ac_random_block(17, AC_STREAM_TEST, index, k).word[0];
}

typedef struct sample {
    double score[MOST];
    float single[3 * MOST]; /* with stride 3 */
    uint8_t label[MOST], spread[3 * MOST];
    size_t n;
} sample;

/* Case `index`: its number of rows, of distinct scores, its share of positives and scale of scores all vary. */
static void make_sample(uint64_t index, sample *out)
{
    uint32_t n_levels = 1 + draw(index, 0) % 50, share = draw(index, 1) % 5 * 25;
    float scale = index % 7 == 0 ? -1e-30f : index % 5 == 0 ? 1e20f : 1;
    out->n = index % 10 == 0 ? index / 10 % 4 : 1 + draw(index, 2) % MOST;
    for (size_t i = 0; i < out->n; i++) {
        uint32_t level = draw(index, 10 + 2 * (uint32_t)i) % n_levels;
        float score = scale * ((float)level / (float)n_levels - (index % 3 == 0 ? 0.5f : 0));
        out->single[3 * i] = level == 0 && i % 2 ? -score : score;
        out->score[i] = out->single[3 * i];
        out->spread[3 * i] = out->label[i] = draw(index, 11 + 2 * (uint32_t)i) % 100 < share;
    }
}

static void reverse(sample *of)
{
    for (size_t i = 0; i < of->n / 2; i++) {
        size_t j = of->n - 1 - i;
        double score = of->score[i];
        uint8_t label = of->label[i];
        of->score[i] = of->score[j];
        of->label[i] = of->label[j];
        of->score[j] = score;
        of->label[j] = label;
    }
}

static void test_random(void)
{
    static sample of;
    size_t n_bad = 0, n_calls_failed = 0, n_moved = 0, n_single = 0, n_undefined = 0;
    for (uint64_t index = 0; index < 400; index++) {
        double ap, auc, ap_single, auc_single, ap_moved, auc_moved;
        make_sample(index, &of);
        n_calls_failed += ac_metrics_rank_double(of.score, of.label, of.n, 1, &ap, &auc) != AC_OK;
        n_calls_failed += ac_metrics_average_precision(of.single, of.spread, of.n, 3, &ap_single) != AC_OK;
        n_calls_failed += ac_metrics_roc_auc(of.single, of.spread, of.n, 3, &auc_single) != AC_OK;
        n_bad +=
            !close_to(ap, brute_ap(of.score, of.label, of.n)) || !close_to(auc, brute_auc(of.score, of.label, of.n));
        n_single += !same_bits(ap, ap_single) || !same_bits(auc, auc_single);
        n_undefined += isnan(ap);
        reverse(&of);
        n_calls_failed += ac_metrics_rank_double(of.score, of.label, of.n, 1, &ap_moved, &auc_moved) != AC_OK;
        n_moved += !same_bits(ap, ap_moved) || !same_bits(auc, auc_moved);
    }
    TAP_OK(n_calls_failed == 0, "400 random cases are ranked (%zu failed)", n_calls_failed);
    TAP_OK(n_bad == 0, "they match the definitions to 1e-14 (%zu do not)", n_bad);
    TAP_OK(n_single == 0, "floats with a stride give the same bits (%zu do not)", n_single);
    TAP_OK(n_moved == 0, "so do the rows in reverse (%zu do not)", n_moved);
    TAP_OK(n_undefined > 20 && n_undefined < 200, "%zu cases had no positive", n_undefined);
}

static void test_by_hand(void)
{
    const double score[] = {.9, .8, .8, .8, .3}, constant[] = {.4, .4, .4, .4, .4};
    const uint8_t label[] = {1, 0, 1, 0, 1}, all[] = {1, 1, 1, 1, 1}, none[5] = {0};
    double ap, auc;
    TAP_CALL(ac_metrics_rank_double(score, label, 5, 1, &ap, &auc));
    TAP_OK(close_to(ap, (1 + 2. / 4 + 3. / 5) / 3), "AP with a tie group: (1 + 2/4 + 3/5) / 3");
    TAP_OK(close_to(auc, (2 + 1.) / 6), "AUC with a tie group: (2 + 2/2 + 0) / 6");
    TAP_CALL(ac_metrics_rank_double(constant, label, 5, 1, &ap, &auc));
    TAP_OK(close_to(ap, .6) && auc == .5, "a constant score: AP is the share of positives, AUC one half");
    TAP_CALL(ac_metrics_rank_double(score, all, 5, 1, &ap, &auc));
    TAP_OK(ap == 1 && isnan(auc), "no negative: AP is 1, AUC undefined");
    TAP_CALL(ac_metrics_rank_double(score, none, 5, 1, &ap, &auc));
    TAP_OK(isnan(ap) && isnan(auc), "no positive: both undefined");
    TAP_CALL(ac_metrics_rank_double(NULL, NULL, 0, 1, &ap, &auc));
    TAP_OK(isnan(ap) && isnan(auc), "no row: both undefined");
    const double zeros[] = {0.0, -0.0};
    const uint8_t one[] = {1, 0};
    TAP_CALL(ac_metrics_rank_double(zeros, one, 2, 1, NULL, &auc));
    TAP_OK(auc == .5, "0 and -0 are a tie");
}

static void test_errors(void)
{
    const double score[] = {.1, NAN};
    const uint8_t label[] = {1, 0};
    double ap;
    ac_status status = ac_metrics_rank_double(score, label, 2, 1, &ap, NULL);
    TAP_OK(status == AC_ERR_NUMERIC && strstr(ac_error_text(), "row 1"), "NaN is refused by name: %s", ac_error_text());
    const double good[] = {.1, .2};
    uint64_t n_live = ac_alloc_get_stats().n_live;
    for (uint64_t n = 1; n <= 2; n++) {
        ac_alloc_fail_at(n);
        status = ac_metrics_rank_double(good, label, 2, 1, &ap, NULL);
        ac_alloc_fail_at(0);
        TAP_OK(status == AC_ERR_MEMORY && ac_alloc_get_stats().n_live == n_live, "allocation %d fails cleanly", (int)n);
    }
}

int main(void)
{
    test_by_hand();
    test_random();
    test_errors();
    return tap_done();
}
