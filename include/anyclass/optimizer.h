/* Optimisers over the flat parameter arena: SGD with momentum and AdamW as PyTorch computes them, with clipping by the
 * global gradient norm. Not collective: every rank makes the same update of the same sums. */
#ifndef ANYCLASS_OPTIMIZER_H
#define ANYCLASS_OPTIMIZER_H

#include "anyclass/params.h"

typedef enum ac_optimizer_kind { AC_OPTIMIZER_SGD, AC_OPTIMIZER_ADAMW } ac_optimizer_kind;
#define AC_OPTIMIZER_CHOICES "sgd|adamW"

typedef struct ac_optimizer_config {
    int kind; /* ac_optimizer_kind */
    double weight_decay, momentum, beta1, beta2, epsilon;
    double max_norm; /* clip the global gradient norm to this; 0 = off */
} ac_optimizer_config;

typedef struct ac_optimizer {
    ac_optimizer_config config;
    ac_params *params;   /* borrowed */
    int n_moments;       /* 1 for sgd, 2 for adamW */
    float *moment[2];    /* device arenas laid out like params->value, owned */
    int64_t step;        /* updates made so far */
} ac_optimizer;

/** Moments start at zero. */
AC_NODISCARD ac_status ac_optimizer_create(const ac_optimizer_config *config, ac_params *params, ac_optimizer **out);
/** NULL is allowed. Before its parameters. */
void ac_optimizer_destroy(ac_optimizer *optimizer);
/** "momentum_buffer", or "exp_avg" and "exp_avg_sq": PyTorch's names. */
const char *ac_optimizer_moment_name(const ac_optimizer *optimizer, int moment);
/** One update from params->gradient. @param[out] gradient_norm before clipping; may be NULL.
 * @return AC_ERR_NUMERIC when the norm is not finite, or beyond 1e19 without clipping; nothing is changed then. */
AC_NODISCARD ac_status ac_optimizer_step(ac_optimizer *optimizer, double learning_rate, double *gradient_norm);
/** Elements [first, first + n) of an update in host memory: for backends that run on the processor. */
void ac_optimizer_update_range(const ac_optimizer_update *update, size_t first, size_t n);

#endif
