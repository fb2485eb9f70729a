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

AC_INLINE ac_optimizer_terms ac_optimizer_terms_of(const ac_optimizer_update *u)
{
    ac_optimizer_terms t;
    t.scale = u->gradient_scale;
    t.rate = u->learning_rate;
    t.weight_decay = u->weight_decay;
    t.momentum = u->momentum;
    t.decay = 1 - u->learning_rate * u->weight_decay;
    t.rest1 = 1 - u->beta1;
    t.beta2 = u->beta2;
    t.rest2 = 1 - u->beta2;
    t.rate_1 = u->learning_rate / (1 - pow(u->beta1, (double)u->step));
    t.root_2 = sqrt(1 - pow(u->beta2, (double)u->step));
    t.epsilon = u->epsilon;
    return t;
}

/** Factor that brings a gradient of this norm to `max_norm`; 1 when it is smaller or max_norm is 0
 * (torch.nn.utils.clip_grad_norm_). */
AC_INLINE double ac_clip_scale(double norm, double max_norm)
{
    double scale = max_norm / (norm + 1e-6);
    return max_norm > 0 && scale < 1 ? scale : 1;
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
