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
    bool dynamic_scale; /* precision 16-mixed: gradients are scaled, as torch.amp.GradScaler does it */
} ac_optimizer_config;

typedef struct ac_optimizer {
    ac_optimizer_config config;
    ac_params *params;   /* borrowed */
    int n_moments;       /* 1 for sgd, 2 for adamW */
    float *moment[2];    /* device arenas laid out like params->value, owned */
    int64_t step;        /* updates made so far */
    ac_step_state state; /* params->state as of the last ac_optimizer_take(). Who changes it or `step`, to continue a training, does so
                          * when nothing is under way; the next step takes it over. */
    ac_step_state sent;  /* what the device holds, as far as the host wrote it */
} ac_optimizer;

/** Moments start at zero. */
AC_NODISCARD ac_status ac_optimizer_create(const ac_optimizer_config *config, ac_params *params, ac_optimizer **out);
/** NULL is allowed. Before its parameters. */
void ac_optimizer_destroy(ac_optimizer *optimizer);
/** "momentum_buffer", or "exp_avg" and "exp_avg_sq": PyTorch's names. */
const char *ac_optimizer_moment_name(const ac_optimizer *optimizer, int moment);
/** One update from params->gradient, and wait for it. @param[out] gradient_norm before clipping; may be NULL.
 * @return AC_ERR_NUMERIC when the norm is not finite, or beyond 1e19 without clipping; nothing is changed then. */
AC_NODISCARD ac_status ac_optimizer_step(ac_optimizer *optimizer, double learning_rate, double *gradient_norm);

/* The same in three parts, for who does not wait (step.h): */
/** Bring learning rate, and what else the host changed, to the device. */
AC_NODISCARD ac_status ac_optimizer_set(ac_optimizer *optimizer, double learning_rate);
/** Ask for the update; what comes of it will be in params->state. Can be recorded. */
AC_NODISCARD ac_status ac_optimizer_update_all(ac_optimizer *optimizer);
/** Take over what a step left in params->state, copied to the host.
 * @return AC_ERR_NUMERIC when that step, or one before, could not be made: the state is as it was before that one. */
AC_NODISCARD ac_status ac_optimizer_take(ac_optimizer *optimizer, const ac_step_state *state);

struct ac_optimizer_terms;
/** Elements [first, first + n) of an update in host memory: for backends that run on the processor. */
void ac_optimizer_update_range(const ac_optimizer_update *update, const struct ac_optimizer_terms *terms, size_t first, size_t n);

#endif
