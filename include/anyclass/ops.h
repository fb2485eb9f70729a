/* The operators: attribute structs, rows, and one builder function each. Formulas as PyTorch has them; a kernel per
 * backend computes them. All feature maps [N, H, W, C]. */
#ifndef ANYCLASS_OPS_H
#define ANYCLASS_OPS_H

#include "anyclass/augment.h"
#include "anyclass/graph.h"
#include "anyclass/loss.h"

/* GELU by the error function, as torch.nn.GELU(); SiLU is x sigmoid(x). Formulas: activation_formula.h. */
typedef enum ac_activation {
    AC_ACTIVATION_NONE,
    AC_ACTIVATION_RELU,
    AC_ACTIVATION_LEAKY_RELU,
    AC_ACTIVATION_GELU,
    AC_ACTIVATION_SILU,
    AC_ACTIVATION_TANH
} ac_activation;

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
 * inputs: x, and residual of the same shape if given (AC_NO_VALUE otherwise). Activations: none, ReLU, leaky ReLU; GELU
 * without a residual. */
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

/* linear: [..., I] -> [..., O], y = act(x W^T + b) [+ residual]; weight [O, I], bias [O]. Activations: none; GELU (saved: what
 * goes into it, of the shape and type of y); tanh (backward reads y). A residual (of y's shape and type) only where there is no
 * activation; its gradient is y's. */
typedef struct ac_linear_attribute {
    int64_t out_features;
    bool bias;
    bool float32_output; /* the classifier head: logits stay f32 in mixed precision */
    ac_init weight_init, bias_init;
    ac_activation activation;
    const char *weight_name, *bias_name; /* behind the node's name; NULL: "weight", "bias". Static storage. */
} ac_linear_attribute;
extern const ac_op ac_op_linear;
ac_value ac_add_linear(ac_graph *graph, const char *name, ac_value x, const ac_linear_attribute *attribute);
/** The same, and `residual` added. */
ac_value ac_add_linear_residual(ac_graph *graph, const char *name, ac_value x, ac_value residual, const ac_linear_attribute *attribute);

/* layer_norm: y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimension, biased variance; saved: mean,
 * 1/sqrt(var + eps) (f32, one of each row). weight, bias [C]. */
typedef struct ac_layer_norm_attribute {
    float eps;
} ac_layer_norm_attribute;
extern const ac_op ac_op_layer_norm;
ac_value ac_add_layer_norm(ac_graph *graph, const char *name, ac_value x, const ac_layer_norm_attribute *attribute);

/* attention: softmax(q k^T scale + bias) v of each head. Input [N, L, 3 C] (global) or [N, H, W, 3 C] (window, grid), of which the last
 * dimension holds q, k, v of C each, every one cut into n_heads pieces that lie together; output [.., C]. global: all L positions see each
 * other. window: squares of window_px x window_px positions that touch. grid: window_px x window_px positions that lie H / window_px and
 * W / window_px apart (Tu et al., MaxViT, ECCV 2022); H and W are multiples of window_px. Partitions are addressed where they are.
 * window and grid have a param relative_position_bias_table [(2 window_px - 1)^2, n_heads]: position i = (y, x) that looks at j = (v, u)
 * adds row (y - v + window_px - 1) (2 window_px - 1) + (x - u + window_px - 1). saved: log of the sum of exponentials of
 * each row, f32 [N, n_heads, positions], in the order of partitions and of positions in them. No probability is kept. */
typedef enum ac_attention_kind { AC_ATTENTION_GLOBAL, AC_ATTENTION_WINDOW, AC_ATTENTION_GRID } ac_attention_kind;
typedef struct ac_attention_attribute {
    ac_attention_kind kind;
    int n_heads, window_px;
    float scale;
} ac_attention_attribute;
extern const ac_op ac_op_attention;
ac_value ac_add_attention(ac_graph *graph, const char *name, ac_value qkv, const ac_attention_attribute *attribute);

/* squeeze_excite: y = act(x gate [+ residual]), gate = sigmoid(W2 f(W1 average(x) + b1) + b2) per image and channel (Hu et al., CVPR 2018).
 * x [N, H, W, C]. params, always read as float: fc1.weight [hidden, C, 1, 1], fc1.bias, fc2.weight [C, hidden, 1, 1], fc2.bias. f: ReLU or SiLU; act:
 * none or ReLU (backward reads y). saved (f32): average [N, C], what goes into f [N, hidden], gate [N, C]. */
typedef struct ac_squeeze_excite_attribute {
    int64_t hidden_channels;
    ac_activation inner, outer;
    ac_init weight_init[2], bias_init[2];
} ac_squeeze_excite_attribute;
extern const ac_op ac_op_squeeze_excite;
ac_value ac_add_squeeze_excite(ac_graph *graph, const char *name, ac_value x, ac_value residual, const ac_squeeze_excite_attribute *attribute);

/* space_to_depth: [N, H, W, C] -> [N, H/b, W/b, b b C]; pixel (y, x) of a block is channels (y b + x) C and on. */
typedef struct ac_space_to_depth_attribute {
    int block_px;
} ac_space_to_depth_attribute;
extern const ac_op ac_op_space_to_depth;
ac_value ac_add_space_to_depth(ac_graph *graph, const char *name, ac_value x, const ac_space_to_depth_attribute *attribute);

/* blur_pool: each channel with (1 2 1; 2 4 2; 1 2 1) / 16, stride 2, one pixel of padding that mirrors (-1 is 1). Sides of 2 and more; H -> (H + 1) / 2. */
extern const ac_op ac_op_blur_pool;
ac_value ac_add_blur_pool(ac_graph *graph, const char *name, ac_value x);

/* avg_pool: mean over a window. ceil: a window may begin in the input and end beyond it. count_padding: padding counts as zeros in the mean;
 * else the mean is over what lies inside (what lies beyond the padding never counts), as torch.nn.AvgPool2d. */
typedef struct ac_avg_pool_attribute {
    int kernel_px, stride_px, padding_px;
    bool ceil, count_padding;
} ac_avg_pool_attribute;
extern const ac_op ac_op_avg_pool;
ac_value ac_add_avg_pool(ac_graph *graph, const char *name, ac_value x, const ac_avg_pool_attribute *attribute);

/* tokens: [N, H, W, C] -> [N, H W + 1, C]: a class token in front of the pixels, position embedding added. params: class_token
 * [1, 1, C] (named so, without the node's name), {node}.pos_embedding [1, H W + 1, C]. */
typedef struct ac_tokens_attribute {
    ac_init class_token_init, pos_embedding_init;
} ac_tokens_attribute;
extern const ac_op ac_op_tokens;
ac_value ac_add_tokens(ac_graph *graph, const char *name, ac_value x, const ac_tokens_attribute *attribute);

/* first_token: [N, L, C] -> [N, C], the token at 0. */
extern const ac_op ac_op_first_token;
ac_value ac_add_first_token(ac_graph *graph, const char *name, ac_value x);

/* Random draws of a training step, a function of (seed, sample key, layer) alone (drop_formula.h); `layer` numbers the places in the network
 * where something is dropped. */
typedef struct ac_drop_attribute {
    float probability; /* 0 <= p < 1 */
    uint32_t layer;
    uint64_t seed;
} ac_drop_attribute;
/* add: y = residual + s x, where s is 1, or with stochastic depth (probability > 0, which needs keys int64 [N]; training graphs only) per
 * image 0 with that probability and else 1 / (1 - p) (torchvision's stochastic_depth, mode "row"). Inputs: x, residual [, keys]. The residual's
 * gradient is y's. */
extern const ac_op ac_op_add;
ac_value ac_add_add(ac_graph *graph, const char *name, ac_value x, ac_value residual, ac_value keys, const ac_drop_attribute *attribute);
/* dropout: each element 0 with the probability and else times 1 / (1 - p). Inputs: x, keys int64 [N]. For training graphs. */
extern const ac_op ac_op_dropout;
ac_value ac_add_dropout(ac_graph *graph, const char *name, ac_value x, ac_value keys, const ac_drop_attribute *attribute);

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
