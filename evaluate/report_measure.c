/* Numbers behind the report's figures: metrics at every threshold, calibration. */
#include "anyclass/alloc.h"
#include "evaluate/report.h"
#include <math.h>
#include <string.h>

typedef struct at_threshold { /* inputs of ac_metrics_compute() */
    ac_split_count *total, *reached;
    double *threshold;
} at_threshold;

static ac_image_count count_images(const set_result *result, size_t n_classes, size_t t)
{
    const ac_split_count *total = &result->profile[n_classes].total;
    const ac_split_count *reached = &result->reached[n_classes * EVALUATE_N_THRESHOLDS + t];
    return (ac_image_count){.true_negative = total->negative_in_negative - reached->negative_in_negative,
                            .false_positive = reached->negative_in_negative,
                            .false_negative = total->positive - reached->positive,
                            .true_positive = reached->positive};
}

static ac_status compute_at(const label_table *labels, const set_result *result, bool reference, size_t t,
                            at_threshold *of, report_curves *out)
{
    ac_status status = AC_OK;
    size_t n = labels->n_classes;
    ac_metrics metrics = {0};
    for (size_t c = 0; c < n; c++) {
        of->total[c] = result->profile[c].total;
        of->reached[c] = result->reached[c * EVALUATE_N_THRESHOLDS + t];
        of->threshold[c] = result->threshold[t];
    }
    ac_metrics_input input = {.n_classes = n,
                              .total = of->total,
                              .reached = of->reached,
                              .image = count_images(result, n, t),
                              .threshold = of->threshold,
                              .label_weight = labels->label_weight,
                              .reference = reference};
    AC_TRY(ac_metrics_compute(&input, &metrics));
    for (size_t c = 0; c < n; c++) {
        out->class_f1[c * EVALUATE_GRID + t] = metrics.class_metrics[c].f1;
        out->class_f2[c * EVALUATE_GRID + t] = metrics.class_metrics[c].f2;
    }
    out->macro_f1[t] = metrics.macro_f1;
    out->macro_f2[t] = metrics.macro_f2;
    out->f1_negative[t] = metrics.f1_negative;
    out->f1_positive[t] = metrics.f1_positive;
    out->has_label_weight = metrics.has_label_weight;
    out->ciw_f2[t] = metrics.has_label_weight ? metrics.ciw_f2 : NAN;
out:
    ac_metrics_release(&metrics);
    return status;
}

ac_status report_compute_curves(const label_table *labels, const set_result *result, bool reference, report_curves *out)
{
    ac_status status = AC_OK;
    size_t n = labels->n_classes;
    at_threshold of = {0};
    AC_TRY(ac_calloc(n * EVALUATE_GRID, sizeof(double), &out->class_f1));
    AC_TRY(ac_calloc(n * EVALUATE_GRID, sizeof(double), &out->class_f2));
    AC_TRY(ac_calloc(n, sizeof *of.total, &of.total));
    AC_TRY(ac_calloc(n, sizeof *of.reached, &of.reached));
    AC_TRY(ac_calloc(n, sizeof *of.threshold, &of.threshold));
    for (size_t t = 0; t < EVALUATE_GRID; t++)
        AC_TRY(compute_at(labels, result, reference, t, &of, out));
out:
    ac_free(of.total);
    ac_free(of.reached);
    ac_free(of.threshold);
    return status;
}

void report_release_curves(report_curves *curves)
{
    ac_free(curves->class_f1);
    ac_free(curves->class_f2);
    memset(curves, 0, sizeof *curves);
}

static void add_bins(const ac_profile *profile, calibration *out, int64_t positive[CALIBRATION_BINS])
{
    for (size_t b = 0; b < AC_PROFILE_BINS; b++) {
        size_t to = b * CALIBRATION_BINS / AC_PROFILE_BINS;
        const ac_split_count *bin = &profile->bin[b];
        out->n[to] += bin->positive + bin->negative_in_positive + bin->negative_in_negative;
        out->score[to] += profile->bin_score_sum[b];
        positive[to] += bin->positive;
    }
}

void report_calibrate(const label_table *labels, const set_result *result, size_t c, calibration *out)
{
    int64_t positive[CALIBRATION_BINS] = {0}, n = 0;
    double error = 0;
    memset(out, 0, sizeof *out);
    if (c <= labels->n_classes)
        add_bins(&result->profile[c], out, positive);
    for (size_t k = 0; c > labels->n_classes && k < labels->n_classes; k++)
        add_bins(&result->profile[k], out, positive);
    for (size_t b = 0; b < CALIBRATION_BINS; b++) {
        double in_bin = (double)out->n[b];
        n += out->n[b];
        out->share[b] = out->n[b] > 0 ? (double)positive[b] / in_bin : NAN;
        error += fabs(out->score[b] - (double)positive[b]);
        out->score[b] = out->n[b] > 0 ? out->score[b] / in_bin : NAN;
    }
    out->error = n > 0 ? error / (double)n : NAN;
}
