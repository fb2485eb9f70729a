/* The any-class presence likelihood loss (arXiv 2506.05721): configuration, class weights, and the batch in double.
 * The scalar formulas are in loss_formula.h, which C and CUDA share. Not collective. */
#ifndef ANYCLASS_LOSS_H
#define ANYCLASS_LOSS_H

#include "anyclass/status.h"
#include <stddef.h>
#include <stdint.h>

typedef enum ac_base_loss { AC_LOSS_BCE, AC_LOSS_FOCAL } ac_base_loss;
#define AC_BASE_LOSS_CHOICES "bce|focal"

typedef struct ac_loss_config {
    int base;       /* ac_base_loss */
    double gamma;   /* focal exponent */
    double alpha;   /* weight of the any-class term (--meta_loss_weight); 0 = the base loss alone */
    double lambda;  /* weight of absent classes in zbar of a positive image (--meta_loss_beta) */
} ac_loss_config;

/** Class-balanced weights: E_n = (1 - beta^n) / (1 - beta), v = 1 / E, w_c = v_c / sum v * (M + 1); beta 0 gives 1 for all
 * that occur. A class (or the negatives) without an image gets weight 0; beta 1 means E_n = n.
 * @param counts [M]; @param[out] weights [M + 1], the last for negative images
 * @param[out] n_absent  classes with weight 0; may be NULL
 * @return AC_ERR_DATA when nothing occurs at all. */
AC_NODISCARD ac_status ac_loss_class_weights(const int64_t *counts, int64_t n_negative, size_t n_classes, double beta,
                                             double *weights, size_t *n_absent);

/** max(1, labels of the image) summed over rows [n, M]: the denominator of J. */
int64_t ac_loss_denominator(const uint8_t *labels, size_t n, size_t n_classes);

/** Sum_i W_i L_i over n rows (not divided), and its gradient.
 * @param logits  double [n, M]; @param gradient double [n, M] or NULL
 * @param class_weights [M + 1]; @param scale  multiplies value and gradient (1 / denominator). */
double ac_loss_batch(const ac_loss_config *config, const double *logits, const uint8_t *labels, size_t n, size_t n_classes,
                     const double *class_weights, double scale, double *gradient);
/** The same in float arithmetic per element, summed in double; logits and gradient float. */
double ac_loss_batch_float(const ac_loss_config *config, const float *logits, const uint8_t *labels, size_t n, size_t n_classes,
                           const double *class_weights, double scale, float *gradient);

#endif
