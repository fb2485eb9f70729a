/* The operators: attribute structs, rows, and one builder function each. Formulas as PyTorch has them; a kernel per
 * backend computes them. All feature maps [N, H, W, C]. */
#ifndef ANYCLASS_OPS_H
#define ANYCLASS_OPS_H

#include "anyclass/augment.h"
#include "anyclass/graph.h"
#include "anyclass/loss.h"

typedef enum ac_activation { AC_ACTIVATION_NONE, AC_ACTIVATION_RELU, AC_ACTIVATION_LEAKY_RELU } ac_activation;

/* image_input: uint8 [N, H, W, 3] and sample keys int64 [N] -> (x / 255 - mean) / std of the augmented pixels, which are
 * uint8 again: colours changed or the image rotated as `augment` says, then mirrored left-right for half of the samples
 * when `flip` is on (training graphs only). What happens to a sample is a function of (seed, key) alone: the draws and
 * the arithmetic are in augment_formula.h. */
typedef struct ac_image_input_attribute {
    float mean[3], std[3];
    bool flip;
    uint64_t seed;
    ac_augment augment;
} ac_image_input_attribute;
extern const ac_op ac_op_image_input;
ac_value ac_add_image_input(ac_graph *graph, const char *name, ac_value images, ac_value keys, const ac_image_input_attribute *attribute);

/* conv2d: cross-correlation, zero padding, square stride; param weight [O, KH, KW, I/groups] (OHWI), optional bias [O]. */
typedef struct ac_conv2d_attribute {
    int64_t out_channels;
    int kernel_px, stride_px, padding_px, groups;
    bool bias;
    ac_init weight_init, bias_init;
} ac_conv2d_attribute;
extern const ac_op ac_op_conv2d;
ac_value ac_add_conv2d(ac_graph *graph, const char *name, ac_value x, const ac_conv2d_attribute *attribute);

/* batch_norm: y = act((x - mean) / sqrt(var + eps) * weight + bias [+ residual]); training uses the batch's biased
 * variance and updates the running statistics with the unbiased one (r = (1 - momentum) r + momentum * batch);
 * inference uses the running statistics. Statistics in double or compensated float.
 * params: weight, bias, running_mean, running_var [C]; saved: mean [C], 1/sqrt(var + eps) [C] (f32).
 * inputs: x, and residual of the same shape if given (AC_NO_VALUE otherwise). */
typedef struct ac_batch_norm_attribute {
    float eps, momentum;
    ac_activation activation;
    float slope;      /* leaky ReLU */
    float weight_init; /* 1, or 0 for a zero-initialised residual branch */
} ac_batch_norm_attribute;
extern const ac_op ac_op_batch_norm;
ac_value ac_add_batch_norm(ac_graph *graph, const char *name, ac_value x, ac_value residual, const ac_batch_norm_attribute *attribute);

/* max_pool: padding counts as -infinity; on ties the first element in row-major window order wins (as PyTorch).
 * saved: uint8 [N, OH, OW, C], position of the maximum inside the window. */
typedef struct ac_pool_attribute {
    int kernel_px, stride_px, padding_px;
} ac_pool_attribute;
extern const ac_op ac_op_max_pool;
ac_value ac_add_max_pool(ac_graph *graph, const char *name, ac_value x, const ac_pool_attribute *attribute);

/* global_avg_pool: [N, H, W, C] -> [N, C]. */
extern const ac_op ac_op_global_avg_pool;
ac_value ac_add_global_avg_pool(ac_graph *graph, const char *name, ac_value x);

/* linear: [..., I] -> [..., O], y = x W^T + b; weight [O, I], bias [O]. */
typedef struct ac_linear_attribute {
    int64_t out_features;
    bool bias;
    bool float32_output; /* the classifier head: logits stay f32 in mixed precision */
    ac_init weight_init, bias_init;
} ac_linear_attribute;
extern const ac_op ac_op_linear;
ac_value ac_add_linear(ac_graph *graph, const char *name, ac_value x, const ac_linear_attribute *attribute);

/* any_class_loss: logits f32 [N, M], targets uint8 [N, M], class weights f64 [M + 1] (the last for negative images),
 * inverse denominator f64 [1] -> f64 [1], this rank's share of J (loss.h), the sum over ranks is J.
 * Backward starts here with dJ = 1. */
extern const ac_op ac_op_any_class_loss;
ac_value ac_add_any_class_loss(ac_graph *graph, const char *name, ac_value logits, ac_value targets, ac_value class_weights,
                               ac_value inverse_denominator, const ac_loss_config *config);

/** Row of an operator by name, or NULL. */
const ac_op *ac_op_find(const char *name);
/** All rows, for tests and listings. */
const ac_op *const *ac_op_table(size_t *n);

#endif
