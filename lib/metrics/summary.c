/* Ratios of one class and means over classes, from counts, in our arithmetic or the reference's. Ours: absent classes
 * (no positive) are undefined and left out of means. Leaves counting to count.c, sorting to ranking.c, thresholds to
 * tune.c. */
#include "anyclass/alloc.h"
#include "anyclass/metrics.h"
#include "lib/metrics/formula.h"
#include <math.h>
#include <string.h>

typedef struct mean { /* of the values that are defined, NaN when there are none; with `all` an undefined one spreads */
    double sum;
    size_t n;
    bool all;
} mean;

static void mean_add(mean *of, double value)
{
    if (isnan(value) && !of->all)
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

/* NaN of nothing. */
static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : NAN;
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

double ac_reference_f_beta(double precision, double recall, double beta)
{
    double b2 = beta * beta;
    return (1 + b2) * precision * recall / (b2 * precision + recall + 1e-7);
}

void ac_reference_ratios(int64_t true_positive, int64_t predicted, int64_t present, ac_ratios *out)
{
    out->precision = (double)true_positive / ((double)predicted + 1e-7);
    out->recall = share(true_positive, present);
    out->f1 = ac_reference_f_beta(out->precision, out->recall, 1);
    out->f2 = ac_reference_f_beta(out->precision, out->recall, 2);
}

int64_t ac_reference_predicted(const ac_class_count *count)
{
    int64_t predicted = count->true_positive + count->false_positive;
    return predicted > 0 ? predicted : 1;
}

void ac_image_ratios(const ac_metrics *metrics, bool negative, ac_ratios *out)
{
    const ac_image_count *images = &metrics->image_count;
    int64_t right = negative ? images->true_negative : images->true_positive;
    int64_t alarm = negative ? images->false_negative : images->false_positive;
    int64_t lost = negative ? images->false_positive : images->false_negative;
    if (metrics->reference)
        ac_reference_ratios(right, right + alarm, right + lost, out);
    else
        ac_metrics_ratios(right, alarm, lost, out);
}

static void fill_class(ac_class_metrics *of, bool reference)
{
    const ac_class_count *count = &of->count;
    int64_t present = count->true_positive + count->false_negative;
    int64_t negatives = count->false_positive + count->true_negative;
    ac_ratios own;
    if (reference) {
        int64_t predicted = ac_reference_predicted(count);
        ac_reference_ratios(count->true_positive, predicted, present, &own);
        of->fnr = 1 - own.recall;
        of->fpr = (double)(predicted - count->true_positive) / (double)negatives;
    } else {
        ac_metrics_ratios(count->true_positive, count->false_positive, count->false_negative, &own);
        of->fnr = share(count->false_negative, present);
        of->fpr = share(count->false_positive, negatives);
    }
    of->precision = own.precision;
    of->recall = own.recall;
    of->f1 = own.f1;
    of->f2 = own.f2;
}

static void summarise_micro(ac_metrics *metrics)
{
    int64_t found = 0, predicted = 0, present = 0;
    ac_ratios micro;
    for (size_t c = 0; c < metrics->n_classes; c++) {
        const ac_class_count *count = &metrics->class_metrics[c].count;
        found += count->true_positive;
        predicted += metrics->reference ? ac_reference_predicted(count) : count->true_positive + count->false_positive;
        present += count->true_positive + count->false_negative;
    }
    if (metrics->reference)
        ac_reference_ratios(found, predicted, present, &micro);
    else
        ac_metrics_ratios(found, predicted - found, present - found, &micro);
    metrics->micro_precision = micro.precision;
    metrics->micro_recall = micro.recall;
    metrics->micro_f1 = micro.f1;
    metrics->micro_f2 = micro.f2;
}

enum { PRECISION, RECALL, F1, F2, AVERAGE_PRECISION, ROC_AUC, FNR, FPR, LOG_LOSS, N_MEANS };

static void summarise_macro(ac_metrics *metrics)
{
    mean of[N_MEANS] = {0};
    for (int k = 0; k < N_MEANS; k++)
        of[k].all = metrics->reference && k != LOG_LOSS;
    for (size_t c = 0; c < metrics->n_classes; c++) {
        const ac_class_metrics *own = &metrics->class_metrics[c];
        mean_add(&of[PRECISION], own->precision);
        mean_add(&of[RECALL], own->recall);
        mean_add(&of[F1], own->f1);
        mean_add(&of[F2], own->f2);
        mean_add(&of[AVERAGE_PRECISION], own->average_precision);
        mean_add(&of[ROC_AUC], own->roc_auc);
        mean_add(&of[FNR], own->fnr);
        mean_add(&of[FPR], own->fpr);
        mean_add(&of[LOG_LOSS], own->log_loss);
    }
    metrics->macro_precision = mean_value(of[PRECISION]);
    metrics->macro_recall = mean_value(of[RECALL]);
    metrics->macro_f1 = mean_value(of[F1]);
    metrics->macro_f2 = mean_value(of[F2]);
    metrics->mean_average_precision = mean_value(of[AVERAGE_PRECISION]);
    metrics->macro_roc_auc = mean_value(of[ROC_AUC]);
    metrics->fnr = mean_value(of[FNR]);
    metrics->fpr = mean_value(of[FPR]);
    metrics->mean_log_loss = mean_value(of[LOG_LOSS]);
}

static void summarise_weighted(ac_metrics *metrics)
{
    double sum = 0, weights = 0;
    metrics->ciw_f2 = NAN;
    if (!metrics->has_label_weight)
        return;
    for (size_t c = 0; c < metrics->n_classes; c++) {
        const ac_class_metrics *own = &metrics->class_metrics[c];
        if (isnan(own->f2) && !metrics->reference)
            continue;
        sum += own->f2 * own->label_weight;
        weights += own->label_weight;
    }
    metrics->ciw_f2 = sum / weights;
}

/* False positive rates among the images that show something and among those that show nothing. */
static void summarise_split(const ac_metrics_input *input, ac_metrics *metrics)
{
    mean positive = {.all = input->reference}, negative = {.all = input->reference};
    for (size_t c = 0; c < input->n_classes; c++) {
        const ac_split_count *total = &input->total[c], *reached = &input->reached[c];
        int64_t in_positive = reached->negative_in_positive, in_negative = reached->negative_in_negative;
        if (input->reference) {
            in_positive += reached->positive + in_positive == 0;
            in_negative += in_negative == 0;
            mean_add(&positive, (double)in_positive / (double)total->negative_in_positive);
            mean_add(&negative, (double)in_negative / (double)total->negative_in_negative);
        } else {
            mean_add(&positive, share(in_positive, total->negative_in_positive));
            mean_add(&negative, share(in_negative, total->negative_in_negative));
        }
    }
    metrics->fpr_in_positive = mean_value(positive);
    metrics->fpr_in_negative = mean_value(negative);
}

static ac_status begin(size_t n_classes, const ac_image_count *images, bool reference, ac_metrics *out)
{
    ac_status status = AC_OK;
    memset(out, 0, sizeof *out);
    AC_TRY(ac_calloc(n_classes, sizeof *out->class_metrics, &out->class_metrics));
    out->n_classes = n_classes;
    out->reference = reference;
    out->image_count = *images;
    out->n_images = images->true_positive + images->false_positive + images->false_negative + images->true_negative;
    out->fpr_in_positive = out->fpr_in_negative = NAN;
out:
    return status;
}

/* From counts, AP, AUC, log loss and weights of each class to everything else. */
static void finish(ac_metrics *metrics)
{
    ac_ratios image;
    for (size_t c = 0; c < metrics->n_classes; c++) {
        ac_class_metrics *of = &metrics->class_metrics[c];
        fill_class(of, metrics->reference);
        metrics->n_absent += of->count.true_positive + of->count.false_negative == 0;
    }
    summarise_macro(metrics);
    summarise_micro(metrics);
    summarise_weighted(metrics);
    ac_image_ratios(metrics, false, &image);
    metrics->f1_positive = image.f1;
    ac_image_ratios(metrics, true, &image);
    metrics->f1_negative = image.f1;
}

ac_status ac_metrics_summarise(const ac_class_count *class_count, const ac_image_count *image_count, size_t n_classes,
                               double threshold, const double *ap, const double *auc, ac_metrics *out)
{
    ac_status status = AC_OK;
    AC_TRY(begin(n_classes, image_count, false, out));
    out->threshold = threshold;
    for (size_t c = 0; c < n_classes; c++)
        out->class_metrics[c] = (ac_class_metrics){.count = class_count[c],
                                                   .average_precision = ap ? ap[c] : NAN,
                                                   .roc_auc = auc ? auc[c] : NAN,
                                                   .log_loss = NAN,
                                                   .brier = NAN,
                                                   .calibration_error = NAN,
                                                   .threshold = threshold,
                                                   .label_weight = NAN};
    finish(out);
out:
    return status;
}

static ac_class_count count_of(const ac_split_count *total, const ac_split_count *reached)
{
    int64_t negatives = total->negative_in_positive + total->negative_in_negative;
    int64_t false_positive = reached->negative_in_positive + reached->negative_in_negative;
    return (ac_class_count){.true_positive = reached->positive,
                            .false_positive = false_positive,
                            .false_negative = total->positive - reached->positive,
                            .true_negative = negatives - false_positive};
}

ac_status ac_metrics_compute(const ac_metrics_input *input, ac_metrics *out)
{
    ac_status status = AC_OK;
    AC_TRY(begin(input->n_classes, &input->image, input->reference, out));
    out->has_label_weight = input->label_weight != NULL;
    out->threshold = input->n_classes > 0 ? input->threshold[0] : NAN;
    for (size_t c = 0; c < input->n_classes; c++) {
        const ac_profile *profile = input->profile ? &input->profile[c] : NULL;
        out->class_metrics[c] =
            (ac_class_metrics){.count = count_of(&input->total[c], &input->reached[c]),
                               .average_precision = input->average_precision ? input->average_precision[c] : NAN,
                               .roc_auc = input->roc_auc ? input->roc_auc[c] : NAN,
                               .log_loss = input->log_loss ? input->log_loss[c] : NAN,
                               .brier = profile ? profile->brier : NAN,
                               .calibration_error = profile ? ac_profile_calibration_error(profile) : NAN,
                               .threshold = input->threshold[c],
                               .label_weight = input->label_weight ? input->label_weight[c] : NAN};
        if (input->threshold[c] != input->threshold[0])
            out->threshold = NAN;
    }
    finish(out);
    summarise_split(input, out);
out:
    return status;
}

void ac_metrics_release(ac_metrics *metrics)
{
    ac_free(metrics->class_metrics);
    memset(metrics, 0, sizeof *metrics);
}
