/* One scalar's update, as inline functions that C and CUDA share: torch.optim.SGD and torch.optim.AdamW. In double and in
 * float. */
#ifndef ANYCLASS_OPTIMIZER_FORMULA_H
#define ANYCLASS_OPTIMIZER_FORMULA_H

#include "anyclass/backend.h"
#include "anyclass/random.h" /* AC_INLINE */
#include <math.h>

/* What all scalars of an update have in common. Taken in double also where the update is in float: 1 - .999f would be
 * 5e-5 off. */
typedef struct ac_optimizer_terms {
    double scale;                           /* of the gradient */
    double rate, weight_decay, momentum;    /* sgd */
    double decay, rest1, beta2, rest2;      /* adamW: 1 - rate * weight_decay, 1 - beta1, beta2, 1 - beta2 */
    double rate_1, root_2, epsilon;         /* rate / (1 - beta1^t), sqrt(1 - beta2^t), epsilon */
} ac_optimizer_terms;

/** Factor that brings a gradient of this norm to `max_norm`; 1 when it is smaller or max_norm is 0
 * (torch.nn.utils.clip_grad_norm_). */
AC_INLINE double ac_clip_scale(double norm, double max_norm)
{
    double scale = max_norm / (norm + 1e-6);
    return max_norm > 0 && scale < 1 ? scale : 1;
}

/** Terms of update number `step` (from 1). @param gradient_scale  clipping over the loss scale */
AC_INLINE ac_optimizer_terms ac_optimizer_terms_of(const ac_optimizer_update *u, double learning_rate, int64_t step, double gradient_scale)
{
    ac_optimizer_terms t;
    t.scale = gradient_scale;
    t.rate = learning_rate;
    t.weight_decay = u->weight_decay;
    t.momentum = u->momentum;
    t.decay = 1 - learning_rate * u->weight_decay;
    t.rest1 = 1 - u->beta1;
    t.beta2 = u->beta2;
    t.rest2 = 1 - u->beta2;
    t.rate_1 = learning_rate / (1 - pow(u->beta1, (double)step));
    t.root_2 = sqrt(1 - pow(u->beta2, (double)step));
    t.epsilon = u->epsilon;
    return t;
}

/* torch.amp.GradScaler: the scale doubles after this many updates in a row, and is halved by an overflow. */
#define AC_LOSS_SCALE_START 65536.0
#define AC_LOSS_SCALE_INTERVAL 2000
/* Below it no gradient that float16 can hold overflows by its scale: the network itself does. */
#define AC_LOSS_SCALE_LEAST (1.0 / 65536)
/* AdamW's second moment is a float: a gradient beyond the root of its range would make it infinite for good, and the weight
 * would silently never move again. */
#define AC_LARGEST_NORM 1e19

/** What becomes of a step whose gradients' squares sum to `squares`: nonzero, its terms and a new state, or 0 and no update, because the
 * gradients overflowed (16-mixed: the state says so) or the training failed (state->failure). */
AC_INLINE int ac_optimizer_decide(const ac_optimizer_update *u, double squares, ac_step_state *state, ac_optimizer_terms *terms)
{
    double norm = sqrt(squares) / state->loss_scale, clip = ac_clip_scale(norm, u->max_norm);
    int finite = squares - squares == 0;
    if (state->failure != AC_STEP_GOOD)
        return 0;
    state->gradient_norm = norm;
    if (!finite && u->dynamic_scale && state->loss_scale > AC_LOSS_SCALE_LEAST) {
        state->loss_scale /= 2;
        state->n_even = 0;
        state->n_skipped++;
        return 0;
    }
    if (!finite || norm * clip > AC_LARGEST_NORM) {
        state->failure = finite ? AC_STEP_TOO_LARGE : u->dynamic_scale ? AC_STEP_SCALE_VANISHED : AC_STEP_NOT_FINITE;
        return 0;
    }
    *terms = ac_optimizer_terms_of(u, state->learning_rate, ++state->n_updates, clip / state->loss_scale);
    if (u->dynamic_scale && ++state->n_even == AC_LOSS_SCALE_INTERVAL) {
        state->loss_scale *= 2;
        state->n_even = 0;
    }
    return 1;
}

/* sgd: g += weight_decay * w; m = momentum * m + g; w -= rate * m. At step 1 m is 0 before, so m = g as in PyTorch.
 * adamW: Loshchilov and Hutter, ICLR 2019. Both give the new w. */
#define AC_DEFINE_OPTIMIZER_FORMULA(real, suffix, SQRT)                                                               \
    AC_INLINE real ac_sgd_update_##suffix(real w, real g, real *m, real rate, real weight_decay, real momentum)       \
    {                                                                                                                 \
        g += weight_decay * w;                                                                                        \
        *m = momentum * *m + g;                                                                                       \
        return w - rate * *m;                                                                                         \
    }                                                                                                                 \
    AC_INLINE real ac_adamw_update_##suffix(real w, real g, real *m, real *v, real decay, real rest1, real beta2,     \
                                            real rest2, real rate_1, real root_2, real epsilon)                       \
    {                                                                                                                 \
        w *= decay;                                                                                                   \
        *m += rest1 * (g - *m);                                                                                       \
        *v = beta2 * *v + rest2 * g * g;                                                                              \
        return w - rate_1 * *m / (SQRT(*v) / root_2 + epsilon);                                                       \
    }

AC_DEFINE_OPTIMIZER_FORMULA(double, double, sqrt)
AC_DEFINE_OPTIMIZER_FORMULA(float, float, sqrtf)

#endif
