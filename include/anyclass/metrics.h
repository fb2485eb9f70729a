/* Scores and labels in, numbers out: counts at a threshold, ranking metrics with tie groups, and means over classes.
 * The same code serves validation while training and anyclass-evaluate. Order of rows never matters.
 * Not collective; for many ranks, count per rank and add the counts (integers), rank per class. */
#ifndef ANYCLASS_METRICS_H
#define ANYCLASS_METRICS_H

#include "anyclass/json.h"
#include "anyclass/profile.h"
#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ac_class_count { /* of one class at one threshold; plain integers, so that ranks can add them */
    int64_t true_positive, false_positive, false_negative, true_negative;
} ac_class_count;

typedef struct ac_image_count { /* image level: negative = no class reaches the threshold */
    int64_t true_negative;      /* no label, none predicted */
    int64_t false_positive;     /* no label, some predicted */
    int64_t false_negative;     /* some label, none predicted */
    int64_t true_positive;      /* some label, some predicted */
} ac_image_count;

/** Count rows [n] into class[n_classes] and image, adding to what they hold. A class is predicted when score >= threshold
 * (the float's value against the double). A NaN score is AC_ERR_NUMERIC naming row and class; the counts are then
 * incomplete.
 * @param scores  float [n, n_classes]; @param labels uint8 [n, n_classes] */
AC_NODISCARD ac_status ac_metrics_count(const float *scores, const uint8_t *labels, size_t n, size_t n_classes, double threshold,
                                        ac_class_count *class_count, ac_image_count *image_count);
/** The same for scores read from text: "0.7" reaches the threshold 0.7, which the nearest float does not. */
AC_NODISCARD ac_status ac_metrics_count_double(const double *scores, const uint8_t *labels, size_t n, size_t n_classes,
                                               double threshold, ac_class_count *class_count, ac_image_count *image_count);

/** Average precision of one class, as scikit-learn defines it (sum over distinct scores of (R_k - R_{k-1}) P_k; equal
 * scores form one group). Sorts a copy. *ap = NaN when there is no positive. All ranking functions: a NaN score is
 * AC_ERR_NUMERIC naming the row, more than 2^32 - 1 rows AC_ERR_RANGE, and AC_ERR_MEMORY.
 * @param scores float [n] with stride; @param labels uint8 with stride (both n_classes for a row-major table) */
AC_NODISCARD ac_status ac_metrics_average_precision(const float *scores, const uint8_t *labels, size_t n, size_t stride, double *ap);

/** ROC-AUC of one class (ties count one half); NaN when positives or negatives are absent. */
AC_NODISCARD ac_status ac_metrics_roc_auc(const float *scores, const uint8_t *labels, size_t n, size_t stride, double *auc);
/** Both from one sort, for scores read from text. `ap` and `auc` may be NULL. */
AC_NODISCARD ac_status ac_metrics_rank_double(const double *scores, const uint8_t *labels, size_t n, size_t stride, double *ap,
                                              double *auc);

typedef struct ac_class_metrics {
    ac_class_count count;
    double precision, recall, f1, f2; /* 0 where nothing was predicted; NaN where the class has no positive */
    double average_precision, roc_auc; /* NaN where undefined */
    double fnr, fpr, log_loss, threshold, label_weight;
    double brier, calibration_error; /* profile.h; NaN where not measured */
} ac_class_metrics;

typedef struct ac_metrics {
    size_t n_classes;
    int64_t n_images;
    double threshold;
    ac_class_metrics *class_metrics; /* [n_classes], owned */
    size_t n_absent;                 /* classes without a positive: left out of the macro means */
    double macro_precision, macro_recall, macro_f1, macro_f2, mean_average_precision, macro_roc_auc;
    double micro_precision, micro_recall, micro_f1, micro_f2;
    double f1_negative, f1_positive; /* image level; NaN where there is no such image */
    double fnr, fpr;                 /* macro: mean of FN / (TP + FN) and FP / (FP + TN) over the classes that have them */
    double fpr_in_positive, fpr_in_negative; /* the latter among images that show something, and that show nothing */
    double ciw_f2;                   /* mean of F2 weighted by label_weight; NaN without weights */
    double mean_log_loss;            /* over all classes that have one */
    bool reference, has_label_weight;
    ac_image_count image_count;
} ac_metrics;

typedef struct ac_metrics_input { /* what metrics are computed from; borrowed */
    size_t n_classes;
    const ac_split_count *total, *reached; /* [n_classes] all images; those whose score reaches the class's threshold */
    ac_image_count image;                  /* at the same thresholds */
    const double *threshold;               /* [n_classes] */
    const double *average_precision, *roc_auc, *log_loss; /* [n_classes], NaN: undefined; NULL: not measured */
    const double *label_weight;            /* [n_classes] of CIW-F2; NULL: there is none */
    const ac_profile *profile;             /* [n_classes] of brier and calibration_error; NULL: not measured */
    bool reference;                        /* the arithmetic of the paper's own code (docs/metrics.md); average_precision is then
                                              profile.h's reference_average_precision */
} ac_metrics_input;

/** All metrics at given thresholds. `out` is filled; release it with ac_metrics_release(). AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_metrics_compute(const ac_metrics_input *input, ac_metrics *out);

/** Of each class the threshold with the highest F-beta; of several the first.
 * @param total    [n_classes]; @param reached [n_classes, n_thresholds]; @param threshold [n_thresholds]
 * @param reference  the reference's F (docs/metrics.md)
 * @param[out] best  [n_classes] index of the first best threshold; 0 for a class without positives
 * @param[out] mean_f  mean of the best over the classes that have positives (reference: over all, so NaN when one has none);
 *             may be NULL */
void ac_metrics_tune(const ac_split_count *total, const ac_split_count *reached, size_t n_classes, const double *threshold,
                     size_t n_thresholds, double beta, bool reference, size_t *best, double *mean_f);

/** Ratios and means from counts. `ap` and `auc` are [n_classes] (NaN: undefined) or NULL. `out` is filled; release it
 * with ac_metrics_release(). */
AC_NODISCARD ac_status ac_metrics_summarise(const ac_class_count *class_count, const ac_image_count *image_count, size_t n_classes,
                                            double threshold, const double *ap, const double *auc, ac_metrics *out);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_metrics_release(ac_metrics *metrics);

typedef struct ac_ratios {
    double precision, recall, f1, f2;
} ac_ratios;

/** Precision, recall, F1 and F2 from counts: 0 where nothing true was predicted, NaN where there is nothing to find
 * (true_positive + false_negative is 0). */
void ac_metrics_ratios(int64_t true_positive, int64_t false_positive, int64_t false_negative, ac_ratios *out);

/** F-beta from counts: (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP), 0 when TP is 0. */
double ac_metrics_f_beta(int64_t true_positive, int64_t false_positive, int64_t false_negative, double beta);

/** Write as the members "Main", "Meta", "Class" of the object that is open in `json`, under the reference's names
 * (docs/formats.md). `class_name` [n_classes] is borrowed. */
void ac_metrics_write_json(const ac_metrics *metrics, char *const *class_name, ac_json *json);

#endif
