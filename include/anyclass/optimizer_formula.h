/* One scalar's update, as inline functions that C and CUDA share: torch.optim.SGD and torch.optim.AdamW. */
#ifndef ANYCLASS_OPTIMIZER_FORMULA_H
#define ANYCLASS_OPTIMIZER_FORMULA_H

#include "anyclass/random.h" /* AC_INLINE */
#include <math.h>

/** g += weight_decay * w; m = momentum * m + g; w -= rate * m. At step 1 m is 0 before, so m = g as in PyTorch. */
AC_INLINE float ac_sgd_update(float w, float g, float *m, float rate, float weight_decay, float momentum)
{
    g += weight_decay * w;
    *m = momentum * *m + g;
    return w - rate * *m;
}

/** AdamW (Loshchilov and Hutter, ICLR 2019). `rate_1` = rate / (1 - beta1^t), `root_2` = sqrt(1 - beta2^t).
 * `rest1` = 1 - beta1 and `rest2` = 1 - beta2 are taken in double: 1 - .999f would be 5e-5 off. */
AC_INLINE float ac_adamw_update(float w, float g, float *m, float *v, float decay, float rest1, float beta2, float rest2, float rate_1,
                                float root_2, float epsilon)
{
    w *= decay; /* 1 - rate * weight_decay */
    *m += rest1 * (g - *m);
    *v = beta2 * *v + rest2 * g * g;
    return w - rate_1 * *m / (sqrtf(*v) / root_2 + epsilon);
}

#endif
