/* Ratios in our arithmetic or in that of the paper's own code ("the reference", docs/metrics.md); for this folder
 * alone. */
#ifndef ANYCLASS_METRICS_FORMULA_H
#define ANYCLASS_METRICS_FORMULA_H

#include "anyclass/metrics.h"

/** Precision, recall and F-beta from counts, the reference's way: 1e-7 in two denominators, NaN recall without
 * positives. */
void ac_reference_ratios(int64_t true_positive, int64_t predicted, int64_t present, ac_ratios *out);
/** F-beta of such a precision and recall. */
double ac_reference_f_beta(double precision, double recall, double beta);
/** Predicted images of a class as the reference counts them: at least one. */
int64_t ac_reference_predicted(const ac_class_count *count);
/** Ratios of "the image shows something" or, with `negative`, "the image shows nothing", in the arithmetic of
 * `metrics`. */
void ac_image_ratios(const ac_metrics *metrics, bool negative, ac_ratios *out);

#endif
