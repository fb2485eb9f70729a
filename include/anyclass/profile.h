/* All that one class's scores tell, from one sort: ranking metrics, losses, counts at thresholds, curves to draw, and the images
 * that are most wrong. Not collective: with many ranks, each class is one rank's. Nothing depends on the order of images but
 * reference_average_precision and, among equal scores, which images stand in the lists. */
#ifndef ANYCLASS_PROFILE_H
#define ANYCLASS_PROFILE_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AC_PROFILE_BINS = 50, AC_PROFILE_POINTS = 256, AC_PROFILE_WRONG = 12 };

typedef struct ac_split_count { /* of images; plain integers, so that ranks can add them */
    int64_t positive;             /* that show the class */
    int64_t negative_in_positive; /* that do not, but show another one */
    int64_t negative_in_negative; /* that show nothing at all */
} ac_split_count;

typedef struct ac_wrong_image {
    double score;
    uint64_t image; /* index in the column */
} ac_wrong_image;

typedef struct ac_profile { /* plain bytes, so that ranks can send it; what is not used is zero */
    ac_split_count total;                 /* all images */
    double average_precision, roc_auc;    /* metrics.h; NaN where undefined */
    double reference_average_precision;   /* only with options.reference: NaN otherwise */
    double log_loss;                      /* mean over images of -log of the probability given to what is so; scores are
                                             clipped to [2^-52, 1 - 2^-52]; NaN without images */
    double brier;                         /* mean of (score - label)^2 */
    double best_f, best_threshold;        /* the highest F-beta over all thresholds that are scores, and the highest such
                                             threshold that reaches it; NaN without a positive */
    ac_split_count bin[AC_PROFILE_BINS];  /* images with floor(score * BINS) = b; 1 is in the last */
    double bin_score_sum[AC_PROFILE_BINS];
    uint32_t n_points;                    /* precision-recall curve from the highest score down, thinned to what can be seen:
                                             every point is one of the full curve, first and last included */
    float point_recall[AC_PROFILE_POINTS], point_precision[AC_PROFILE_POINTS], point_threshold[AC_PROFILE_POINTS];
    uint32_t n_missed, n_false_alarms;
    ac_wrong_image missed[AC_PROFILE_WRONG];      /* positives of the lowest scores, lowest first; equal scores by image */
    ac_wrong_image false_alarm[AC_PROFILE_WRONG]; /* negatives of the highest scores, highest first; equal scores by image */
} ac_profile;

typedef struct ac_column { /* one class, all images; borrowed */
    const double *score;           /* [n], each in 0..1 */
    const uint8_t *label;          /* [n] with label_stride, 0 or 1 */
    size_t label_stride;
    const uint8_t *image_positive; /* [n] 1: the image shows something (this class or another) */
    size_t n;
} ac_column;

typedef struct ac_profile_workspace { /* zeroed, then kept from call to call: memory that is fresh each time costs more than the sort */
    uint64_t *key;
    size_t capacity;
} ac_profile_workspace;

typedef struct ac_profile_options {
    const double *threshold; /* [n_thresholds], ascending or not */
    size_t n_thresholds;
    double beta;    /* of best_f */
    bool reference; /* also reference_average_precision: no tie groups, the order NumPy's argsort gives (introsort, as before 1.25
                       and on processors without AVX-512), 0 for a class without positives; the order of images then counts */
    ac_profile_workspace *workspace; /* NULL: memory is taken and given back in each call */
} ac_profile_options;

/** Measure one column.
 * @param[out] reached  [n_thresholds] images with score >= threshold
 * @return AC_OK; AC_ERR_NUMERIC naming the row of a score that is NaN or not in 0..1; AC_ERR_RANGE for more than 2^32 - 1 images; AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_profile_measure(const ac_column *column, const ac_profile_options *options, ac_profile *out,
                                          ac_split_count *reached);

/** Give a workspace's memory back. Safe on a zeroed struct, which is what it leaves. */
void ac_profile_release(ac_profile_workspace *workspace);

/** How far scores are from being frequencies: the mean over bins, weighted by their images, of |mean score - share of positives|
 * (expected calibration error, Guo et al., ICML 2017, arXiv 1706.04599, on AC_PROFILE_BINS bins); NaN without images. */
double ac_profile_calibration_error(const ac_profile *profile);

#endif
