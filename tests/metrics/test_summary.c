/* Ratios, means that leave absent classes out, and the JSON members. */
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static bool close_to(double a, double b)
{
    return fabs(a - b) <= 1e-15;
}

static bool same_count(ac_class_count a, int64_t tp, int64_t fp, int64_t fn, int64_t tn)
{
    return a.true_positive == tp && a.false_positive == fp && a.false_negative == fn && a.true_negative == tn;
}

/* class 0: P 3/4, R 3/5; class 1: never predicted; class 2: absent but predicted twice */
static const ac_class_count counts[3] = {{3, 1, 2, 4}, {0, 0, 4, 6}, {0, 2, 0, 8}};
static const ac_image_count images = {.true_negative = 2, .false_positive = 1, .false_negative = 3, .true_positive = 4};
static const double ap[3] = {.5, .25, NAN}, auc[3] = {.75, .5, NAN};

static void test_f_beta(void)
{
    TAP_OK(close_to(ac_metrics_f_beta(3, 1, 2, 1), 6. / 9), "F1 = 2 TP / (2 TP + FP + FN)");
    TAP_OK(close_to(ac_metrics_f_beta(3, 1, 2, 2), 15. / 24), "F2 = 5 TP / (5 TP + 4 FN + FP)");
    TAP_OK(close_to(ac_metrics_f_beta(3, 1, 2, .5), 1.25 * 3 / (1.25 * 3 + .25 * 2 + 1)), "F0.5");
    TAP_OK(ac_metrics_f_beta(0, 0, 0, 1) == 0 && ac_metrics_f_beta(0, 5, 0, 1) == 0, "0 where nothing is found");
    TAP_OK(ac_metrics_f_beta(7, 0, 0, 2) == 1, "1 where everything is right");
}

static void test_summary(void)
{
    ac_metrics of;
    TAP_CALL(ac_metrics_summarise(counts, &images, 3, .5, ap, auc, &of));
    const ac_class_metrics *c = of.class_metrics;
    TAP_OK(of.n_images == 10 && of.n_classes == 3 && of.n_absent == 1 && of.threshold == .5, "sizes");
    TAP_OK(c[0].precision == .75 && c[0].recall == .6 && close_to(c[0].f1, 6. / 9) && close_to(c[0].f2, 15. / 24),
           "a class with hits");
    TAP_OK(c[1].precision == 0 && c[1].recall == 0 && c[1].f1 == 0 && c[1].f2 == 0, "a class never predicted is 0");
    TAP_OK(isnan(c[2].precision) && isnan(c[2].recall) && isnan(c[2].f1) && isnan(c[2].f2),
           "an absent class is undefined");
    TAP_OK(of.macro_precision == .375 && of.macro_recall == .3 && close_to(of.macro_f1, 3. / 9) &&
               close_to(of.macro_f2, 7.5 / 24),
           "macro means are over two classes");
    TAP_OK(of.mean_average_precision == .375 && of.macro_roc_auc == .625, "so are mAP and ROC-AUC");
    TAP_OK(of.micro_precision == .5 && close_to(of.micro_recall, 3. / 9), "micro ratios are over all decisions");
    TAP_OK(close_to(of.micro_f1, 6. / (6 + 6 + 3)) && close_to(of.micro_f2, 15. / (15 + 24 + 3)), "micro F1 and F2");
    TAP_OK(close_to(of.f1_negative, 4. / (4 + 3 + 1)) && close_to(of.f1_positive, 8. / (8 + 1 + 3)),
           "F1-Neg and F1-Pos");
    ac_metrics_release(&of);
    TAP_OK(of.class_metrics == NULL, "released");
}

static void test_nothing_positive(void)
{
    const ac_class_count none[2] = {{0, 1, 0, 4}, {0, 0, 0, 5}};
    const ac_image_count negative = {.true_negative = 4, .false_positive = 1};
    ac_metrics of;
    TAP_CALL(ac_metrics_summarise(none, &negative, 2, .5, NULL, NULL, &of));
    TAP_OK(isnan(of.macro_f1) && isnan(of.mean_average_precision) && isnan(of.micro_f1) && isnan(of.f1_positive),
           "without positives everything about them is undefined");
    TAP_OK(of.n_absent == 2 && close_to(of.f1_negative, 8. / 9), "the negatives are still measured");
    ac_metrics_release(&of);
}

/* class 0: 4 positives, 3 found; of 6 negatives in positive images 2 predicted, of 5 in negative ones 1; class 1:
 * present, nothing predicted; class 2: absent, every image predicted; class 3: in all images that show something, no
 * negative elsewhere */
static const ac_split_count total[4] = {{4, 6, 5}, {2, 8, 5}, {0, 10, 5}, {15, 0, 0}};
static const ac_split_count reached[4] = {{3, 2, 1}, {0, 0, 0}, {0, 10, 5}, {12, 0, 0}};

static void test_compute(void)
{
    const double threshold[] = {.5, .5, .5, .25}, log_loss[] = {1, 2, 3, NAN}, weight[] = {1, .5, 8, .25};
    ac_metrics_input input = {.n_classes = 4,
                              .total = total,
                              .reached = reached,
                              .image = images,
                              .threshold = threshold,
                              .log_loss = log_loss,
                              .label_weight = weight};
    ac_metrics of;
    TAP_CALL(ac_metrics_compute(&input, &of));
    const ac_class_metrics *c = of.class_metrics;
    TAP_OK(same_count(c[0].count, 3, 3, 1, 8) && same_count(c[2].count, 0, 15, 0, 0) && of.n_absent == 1, "counts");
    TAP_OK(c[0].fnr == .25 && c[1].fnr == 1 && isnan(c[2].fnr) && close_to(of.fnr, (.25 + 1 + .2) / 3),
           "FNR over classes with positives");
    TAP_OK(close_to(c[0].fpr, 3. / 11) && c[2].fpr == 1 && isnan(c[3].fpr) && close_to(of.fpr, (3. / 11 + 0 + 1) / 3),
           "FPR over classes with negatives");
    TAP_OK(close_to(of.fpr_in_positive, (2. / 6 + 0 + 1) / 3) && close_to(of.fpr_in_negative, (1. / 5 + 0 + 1) / 3),
           "FPR among images that show something, and nothing");
    TAP_OK(close_to(of.ciw_f2, (c[0].f2 + 0 + .25 * c[3].f2) / 1.75), "CIW-F2 leaves the absent class's weight out");
    TAP_OK(of.mean_log_loss == 2 && isnan(of.mean_average_precision), "log loss of absent classes counts");
    TAP_OK(isnan(of.threshold) && c[3].threshold == .25, "thresholds that differ");
    ac_metrics_release(&of);
    input.label_weight = NULL;
    TAP_CALL(ac_metrics_compute(&input, &of));
    TAP_OK(isnan(of.ciw_f2) && !of.has_label_weight, "no CIW-F2 without weights");
    ac_metrics_release(&of);
}

static void test_tune(void)
{
    const ac_split_count all[2] = {{4, 6, 0}, {0, 10, 0}};
    const ac_split_count at[2 * 3] = {{4, 4, 0}, {4, 2, 0}, {2, 0, 0}, {0, 3, 0}, {0, 1, 0}, {0, 0, 0}};
    const ac_split_count tie[3] = {{2, 2, 0}, {4, 4, 0}, {2, 0, 0}};
    const double threshold[] = {.25, .5, .75};
    size_t best[2];
    double mean_f;
    ac_metrics_tune(all, at, 2, threshold, 3, 1, false, best, &mean_f);
    TAP_OK(best[0] == 1 && best[1] == 0 && close_to(mean_f, 8. / 10),
           "the best threshold; an absent class is left out");
    ac_metrics_tune(all, at, 2, threshold, 3, 1, true, best, &mean_f);
    TAP_OK(best[0] == 1 && best[1] == 0 && isnan(mean_f), "in the reference's arithmetic it spreads");
    ac_metrics_tune(all, tie, 1, threshold, 3, 1, false, best, NULL);
    TAP_OK(best[0] == 1, "of equal ones the first");
}

static void test_json(void)
{
    static char first[] = "RB", second[] = "OB", third[] = "P\"F";
    char *names[] = {first, second, third};
    static const char *const wanted[] = {"\"Main\": {",
                                         "\"MACRO_P\": 0.375,",
                                         "\"mAP\": 0.375,",
                                         "\"MICRO_P\": 0.5,",
                                         "\"Meta\": {",
                                         "\"N_IMAGES\": 10,",
                                         "\"THRESHOLD\": 0.5,",
                                         "\"P\\\"F\"",
                                         "\"POSITIVE_P\": 0.8,",
                                         "\"NEGATIVE_P\": 0.4,",
                                         "\"NEGATIVE_R\": 0.6666666666666666,",
                                         "\"POSITIVE_NP\": 5,",
                                         "\"POSITIVE_NTP\": 4,",
                                         "\"POSITIVE_NG\": 7,",
                                         "\"NEGATIVE_NP\": 5,",
                                         "\"NEGATIVE_NTP\": 2,",
                                         "\"NEGATIVE_NG\": 3",
                                         "\"Class\": {",
                                         "\"P_CLS\": [0.75, 0, null]",
                                         "\"AP_CLS\": [0.5, 0.25, null]",
                                         "\"NP\": [4, 0, 2]",
                                         "\"NTP\": [3, 0, 0]",
                                         "\"NG\": [5, 4, 0]"};
    ac_metrics of;
    ac_json *json = NULL;
    const char *text = "", *at;
    size_t n;
    TAP_CALL(ac_metrics_summarise(counts, &images, 3, .5, ap, auc, &of));
    TAP_CALL(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    ac_metrics_write_json(&of, names, json);
    ac_json_end_object(json);
    TAP_CALL(ac_json_text(json, &text, &n));
    at = text;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        const char *found = at ? strstr(at, wanted[i]) : NULL;
        TAP_OK(found != NULL, "JSON has %s, in order", wanted[i]);
        at = found ? found : at;
    }
    ac_json_destroy(json);
    ac_metrics_release(&of);
}

int main(void)
{
    test_f_beta();
    test_summary();
    test_nothing_positive();
    test_compute();
    test_tune();
    test_json();
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left");
    return tap_done();
}
