/* How sure a metric is: the paired Poisson bootstrap over images (Hanley and MacGibbon 2006; Chamandy et al. 2012, "Estimating uncertainty
 * for massive data streams"). In each replicate an image counts as often as a draw from Poisson(1) says, which depends on seed, replicate
 * and the image's key alone: so two score sets share their weights, and neither order nor ranks change a bit. Eight replicates are
 * taken at a time. Not collective: with many ranks, each class is one rank's. */
#ifndef ANYCLASS_BOOTSTRAP_H
#define ANYCLASS_BOOTSTRAP_H

#include "anyclass/profile.h"
#include "anyclass/status.h"
#include <stddef.h>
#include <stdint.h>

enum {
    AC_BOOTSTRAP_LANES = 8,
    AC_BOOTSTRAP_MOST_WEIGHT = 12,      /* a draw of more has a probability of 6e-11: less than 2^-33 */
    AC_BOOTSTRAP_MOST_IMAGES = 1 << 28  /* weights then add up in 31 bits, losses in 64 */
};

typedef struct ac_bootstrap_weights { /* of all images in eight replicates */
    uint64_t *packed;                  /* [n] the caller's; read with ac_bootstrap_weight() */
    size_t n;
    uint64_t total[AC_BOOTSTRAP_LANES]; /* sums of the weights */
} ac_bootstrap_weights;

/** Draw the weights of replicates first .. first + 7. Replicate 0 is the data itself: all weights are 1.
 * @param key  [weights->n] of each image: the hash of its name
 * @param[in,out] weights  `packed` and `n` are given, the rest is filled */
void ac_bootstrap_draw(uint64_t seed, uint32_t first, const uint64_t *key, ac_bootstrap_weights *weights);
/** Weight of image i in replicate first + lane. */
unsigned ac_bootstrap_weight(const ac_bootstrap_weights *weights, size_t i, int lane);

typedef struct ac_bootstrap_class { /* of one class in one replicate; counts are sums of weights */
    int64_t positive, true_positive, false_positive;
    double average_precision, roc_auc; /* metrics.h, of the table in which each image stands as often as its weight says;
                                          NaN where undefined */
} ac_bootstrap_class;

typedef struct ac_bootstrap_order ac_bootstrap_order; /* one column, sorted: 4 bytes an image, 12 more for a positive one */

/** Sort a column once for all replicates. While it does, it takes 32 bytes an image.
 * @param threshold  of true_positive and false_positive: score >= threshold
 * @return AC_OK; AC_ERR_NUMERIC naming the row of a NaN score; AC_ERR_RANGE for more than AC_BOOTSTRAP_MOST_IMAGES; AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_bootstrap_order_create(const ac_column *column, double threshold, ac_bootstrap_order **out);
/** NULL is allowed. */
void ac_bootstrap_order_destroy(ac_bootstrap_order *order);
/** Measure eight replicates: `weights` are of the images of the column. The same bits as ranking the repeated table. */
void ac_bootstrap_walk(const ac_bootstrap_order *order, const ac_bootstrap_weights *weights,
                       ac_bootstrap_class out[AC_BOOTSTRAP_LANES]);

/** Add the log loss of a column to loss[n], in units of 2^-44: integers, so that ranks can add theirs in any order. Up to 10,000
 * columns. */
void ac_bootstrap_add_loss(const ac_column *column, int64_t *loss);
/** Mean of loss[n] over images and `n_classes` columns in each replicate; NaN without images. */
void ac_bootstrap_mean_loss(const int64_t *loss, size_t n_classes, const ac_bootstrap_weights *weights,
                            double out[AC_BOOTSTRAP_LANES]);

typedef struct ac_bootstrap_interval {
    double low, high;
    size_t n_defined; /* replicates that have a value */
} ac_bootstrap_interval;

/** Percentile interval: the (1 - confidence) / 2 and (1 + confidence) / 2 quantiles of what is not NaN, interpolated linearly between
 * neighbours (NumPy's default). NaN when nothing is defined.
 * @param value  [n], reordered */
ac_bootstrap_interval ac_bootstrap_percentiles(double *value, size_t n, double confidence);

#endif
