/* The loss of one image, as inline functions that C and CUDA share (arXiv 2506.05721). In double and in float;
 * stable for any finite logit: everything is written with softplus. */
#ifndef ANYCLASS_LOSS_FORMULA_H
#define ANYCLASS_LOSS_FORMULA_H

#include "anyclass/loss.h"
#include "anyclass/random.h" /* AC_INLINE */
#include <math.h>

/* 1 where one of the labels y[m] is. */
AC_INLINE int ac_any_label(const unsigned char *y, int m)
{
    int any = 0;
    for (int j = 0; j < m; j++)
        any |= y[j];
    return any;
}

/* For one logit z and target y in {0, 1}, with s = z if y = 1 else -z:
 *   bce(z, y)   = softplus(-s) = -log p_t,   p_t = sigmoid(s)
 *   focal(z, y) = (1 - p_t)^gamma * bce,     1 - p_t = exp(-softplus(s))
 *   d bce / ds  = -(1 - p_t)
 *   d focal/ds  = (1 - p_t)^gamma * (-(1 - p_t) - gamma * p_t * bce)
 * value goes to *value, d/dz is returned. */
#define AC_DEFINE_LOSS_FORMULA(real, suffix, EXP, LOG1P)                                                              \
    AC_INLINE real ac_softplus_##suffix(real x)                                                                       \
    {                                                                                                                 \
        return x > 0 ? x + LOG1P(EXP(-x)) : LOG1P(EXP(x));                                                            \
    }                                                                                                                 \
    AC_INLINE real ac_logit_loss_##suffix(int base, real gamma, real z, int y, real *value)                           \
    {                                                                                                                 \
        real s = y ? z : -z, bce = ac_softplus_##suffix(-s), slope;                                                   \
        real log_miss = -ac_softplus_##suffix(s), miss = EXP(log_miss);                                               \
        if (base == AC_LOSS_BCE) {                                                                                    \
            *value = bce;                                                                                             \
            slope = -miss;                                                                                            \
        } else {                                                                                                      \
            real factor = EXP(gamma * log_miss);                                                                      \
            *value = factor * bce;                                                                                    \
            slope = factor * (-miss - gamma * EXP(-bce) * bce);                                                       \
        }                                                                                                             \
        return y ? slope : -slope;                                                                                    \
    }                                                                                                                 \
    /* w_j of the any-class presence: a class that is absent from a positive image counts lambda. */                  \
    AC_INLINE real ac_presence_weight_##suffix(const ac_loss_config *config, int any, int y)                           \
    {                                                                                                                 \
        return !any || y ? (real)1 : (real)config->lambda;                                                            \
    }                                                                                                                 \
    /* sum_j w_j z_j, and sum_j w_j in *total: zbar is their quotient. */                                             \
    AC_INLINE real ac_presence_sum_##suffix(const ac_loss_config *config, const real *z, const unsigned char *y, int m, int any, \
                                            real *total)                                                              \
    {                                                                                                                 \
        real weighted = 0;                                                                                            \
        *total = 0;                                                                                                   \
        for (int j = 0; j < m; j++) {                                                                                 \
            real w = ac_presence_weight_##suffix(config, any, y[j]);                                                  \
            weighted += w * z[j];                                                                                     \
            *total += w;                                                                                              \
        }                                                                                                             \
        return weighted;                                                                                              \
    }                                                                                                                 \
    /* L of one image times `weight` (W_i and 1/denominator); gradient[m] unless NULL. */                             \
    AC_INLINE real ac_image_loss_##suffix(const ac_loss_config *config, const real *z, const unsigned char *y, int m,  \
                                          real weight, real *gradient)                                                \
    {                                                                                                                 \
        real sum = 0, value;                                                                                          \
        int any = ac_any_label(y, m);                                                                                 \
        for (int j = 0; j < m; j++) {                                                                                 \
            real slope = ac_logit_loss_##suffix(config->base, (real)config->gamma, z[j], y[j], &value);               \
            sum += value;                                                                                             \
            if (gradient)                                                                                             \
                gradient[j] = weight * slope;                                                                         \
        }                                                                                                             \
        if (config->alpha != 0) {                                                                                     \
            real total, weighted = ac_presence_sum_##suffix(config, z, y, m, any, &total);                            \
            real slope = ac_logit_loss_##suffix(config->base, (real)config->gamma, weighted / total, any, &value);    \
            sum += (real)config->alpha * value;                                                                       \
            for (int j = 0; gradient && j < m; j++)                                                                   \
                gradient[j] += weight * (real)config->alpha * slope * ac_presence_weight_##suffix(config, any, y[j]) / total; \
        }                                                                                                             \
        return weight * sum;                                                                                          \
    }

AC_DEFINE_LOSS_FORMULA(double, double, exp, log1p)
AC_DEFINE_LOSS_FORMULA(float, float, expf, log1pf)

/** W_i: sum of the class weights of the image's labels, or the weight of negative images (class_weights[m]). */
AC_INLINE double ac_image_weight(const double *class_weights, const unsigned char *y, int m)
{
    double sum = 0;
    int any = 0;
    for (int j = 0; j < m; j++)
        if (y[j]) {
            any = 1;
            sum += class_weights[j];
        }
    return any ? sum : class_weights[m];
}

#endif
