/* Ratios of one class and means over classes, from counts. Absent classes (no positive) are undefined and left out of
 * means. Leaves counting to count.c and sorting to ranking.c. */
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include <math.h>
#include <string.h>

typedef struct mean { /* of the values that are defined; NaN when there are none */
    double sum;
    size_t n;
} mean;

static void mean_add(mean *of, double value)
{
    if (isnan(value))
        return;
    of->sum += value;
    of->n++;
}

static double mean_value(mean of)
{
    return of.n > 0 ? of.sum / (double)of.n : NAN;
}

static double ratio(int64_t part, int64_t rest)
{
    return part > 0 ? (double)part / (double)(part + rest) : 0;
}

double ac_metrics_f_beta(int64_t true_positive, int64_t false_positive, int64_t false_negative, double beta)
{
    if (true_positive == 0)
        return 0;
    double b2 = beta * beta, gain = (1 + b2) * (double)true_positive;
    return gain / (gain + b2 * (double)false_negative + (double)false_positive);
}

void ac_metrics_ratios(int64_t true_positive, int64_t false_positive, int64_t false_negative, ac_ratios *out)
{
    if (true_positive + false_negative == 0) {
        *out = (ac_ratios){NAN, NAN, NAN, NAN};
        return;
    }
    out->precision = ratio(true_positive, false_positive);
    out->recall = ratio(true_positive, false_negative);
    out->f1 = ac_metrics_f_beta(true_positive, false_positive, false_negative, 1);
    out->f2 = ac_metrics_f_beta(true_positive, false_positive, false_negative, 2);
}

static void summarise_micro(ac_metrics *metrics)
{
    int64_t true_positive = 0, false_positive = 0, false_negative = 0;
    ac_ratios micro;
    for (size_t c = 0; c < metrics->n_classes; c++) {
        true_positive += metrics->class_metrics[c].count.true_positive;
        false_positive += metrics->class_metrics[c].count.false_positive;
        false_negative += metrics->class_metrics[c].count.false_negative;
    }
    ac_metrics_ratios(true_positive, false_positive, false_negative, &micro);
    metrics->micro_precision = micro.precision;
    metrics->micro_recall = micro.recall;
    metrics->micro_f1 = micro.f1;
    metrics->micro_f2 = micro.f2;
}

static void summarise_macro(ac_metrics *metrics)
{
    mean precision = {0}, recall = {0}, f1 = {0}, f2 = {0}, ap = {0}, auc = {0};
    for (size_t c = 0; c < metrics->n_classes; c++) {
        const ac_class_metrics *of = &metrics->class_metrics[c];
        mean_add(&precision, of->precision);
        mean_add(&recall, of->recall);
        mean_add(&f1, of->f1);
        mean_add(&f2, of->f2);
        mean_add(&ap, of->average_precision);
        mean_add(&auc, of->roc_auc);
    }
    metrics->macro_precision = mean_value(precision);
    metrics->macro_recall = mean_value(recall);
    metrics->macro_f1 = mean_value(f1);
    metrics->macro_f2 = mean_value(f2);
    metrics->mean_average_precision = mean_value(ap);
    metrics->macro_roc_auc = mean_value(auc);
}

ac_status ac_metrics_summarise(const ac_class_count *class_count, const ac_image_count *image_count, size_t n_classes,
                               double threshold, const double *ap, const double *auc, ac_metrics *out)
{
    ac_status status = AC_OK;
    ac_ratios image;
    memset(out, 0, sizeof *out);
    AC_TRY(ac_calloc(n_classes, sizeof *out->class_metrics, &out->class_metrics));
    out->n_classes = n_classes;
    out->threshold = threshold;
    out->image_count = *image_count;
    out->n_images = image_count->true_positive + image_count->false_positive + image_count->false_negative +
                    image_count->true_negative;
    for (size_t c = 0; c < n_classes; c++) {
        ac_class_metrics *of = &out->class_metrics[c];
        ac_ratios own;
        of->count = class_count[c];
        ac_metrics_ratios(of->count.true_positive, of->count.false_positive, of->count.false_negative, &own);
        of->precision = own.precision;
        of->recall = own.recall;
        of->f1 = own.f1;
        of->f2 = own.f2;
        of->average_precision = ap ? ap[c] : NAN;
        of->roc_auc = auc ? auc[c] : NAN;
        out->n_absent += of->count.true_positive + of->count.false_negative == 0;
    }
    summarise_macro(out);
    summarise_micro(out);
    ac_metrics_ratios(image_count->true_positive, image_count->false_positive, image_count->false_negative, &image);
    out->f1_positive = image.f1;
    ac_metrics_ratios(image_count->true_negative, image_count->false_negative, image_count->false_positive, &image);
    out->f1_negative = image.f1;
out:
    return status;
}

void ac_metrics_release(ac_metrics *metrics)
{
    ac_free(metrics->class_metrics);
    memset(metrics, 0, sizeof *metrics);
}

ac_status ac_metrics_compute(const ac_metrics_input *input, ac_metrics *out)
{
    ac_status status = AC_OK;
    ac_class_count *count = NULL;
    AC_TRY(ac_malloc(input->n_classes, sizeof *count, &count));
    for (size_t c = 0; c < input->n_classes; c++) {
        const ac_split_count *total = &input->total[c], *reached = &input->reached[c];
        int64_t false_positive = reached->negative_in_positive + reached->negative_in_negative;
        count[c] = (ac_class_count){.true_positive = reached->positive,
                                    .false_positive = false_positive,
                                    .false_negative = total->positive - reached->positive,
                                    .true_negative = total->negative_in_positive + total->negative_in_negative -
                                                     false_positive};
    }
    AC_TRY(ac_metrics_summarise(count, &input->image, input->n_classes, input->threshold[0], input->average_precision,
                                input->roc_auc, out));
out:
    ac_free(count);
    return status;
}

void ac_metrics_tune(const ac_split_count *total, const ac_split_count *reached, size_t n_classes, const double *threshold,
                     size_t n_thresholds, double beta, bool reference, size_t *best, double *mean_f)
{
    mean of = {0};
    (void)threshold;
    (void)reference;
    for (size_t c = 0; c < n_classes; c++) {
        double most = NAN;
        best[c] = 0;
        for (size_t t = 0; total[c].positive > 0 && t < n_thresholds; t++) {
            const ac_split_count *at = &reached[c * n_thresholds + t];
            double f = ac_metrics_f_beta(at->positive, at->negative_in_positive + at->negative_in_negative,
                                         total[c].positive - at->positive, beta);
            if (!(f <= most)) {
                most = f;
                best[c] = t;
            }
        }
        mean_add(&of, most);
    }
    if (mean_f)
        *mean_f = mean_value(of);
}
