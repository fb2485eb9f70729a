/* The optimiser's state and its step; the scalar formulas are in optimizer_formula.h. */
#include "anyclass/optimizer.h"
#include "anyclass/alloc.h"
#include "anyclass/optimizer_formula.h"
#include "nn/simd.h"

/* AdamW's second moment is a float: a gradient beyond the root of its range would make it infinite for good, and the weight
 * would silently never move again. */
#define LARGEST_NORM 1e19

ac_status ac_optimizer_create(const ac_optimizer_config *config, ac_params *params, ac_optimizer **out)
{
    ac_status status = AC_OK;
    ac_optimizer *optimizer = NULL;
    *out = NULL;
    AC_TRY(ac_calloc(1, sizeof *optimizer, &optimizer));
    optimizer->config = *config;
    optimizer->params = params;
    optimizer->n_moments = config->kind == AC_OPTIMIZER_SGD ? 1 : 2;
    for (int i = 0; i < optimizer->n_moments; i++)
        AC_TRY(params->device->backend->allocate(params->device, params->n_values * sizeof(float), (void **)&optimizer->moment[i]));
    *out = optimizer;
    return AC_OK;
out:
    ac_optimizer_destroy(optimizer);
    return status;
}

void ac_optimizer_destroy(ac_optimizer *optimizer)
{
    if (!optimizer)
        return;
    for (int i = 0; i < optimizer->n_moments; i++)
        optimizer->params->device->backend->release(optimizer->params->device, optimizer->moment[i]);
    ac_free(optimizer);
}

const char *ac_optimizer_moment_name(const ac_optimizer *optimizer, int moment)
{
    if (optimizer->config.kind == AC_OPTIMIZER_SGD)
        return "momentum_buffer";
    return moment == 0 ? "exp_avg" : "exp_avg_sq";
}

ac_status ac_optimizer_step(ac_optimizer *optimizer, double learning_rate, double *gradient_norm)
{
    ac_status status = AC_OK;
    ac_params *params = optimizer->params;
    const ac_optimizer_config *config = &optimizer->config;
    double squares;
    AC_TRY(params->device->backend->sum_squares(params->device, params->gradient, params->n_values, &squares));
    double norm = sqrt(squares), scale = ac_clip_scale(norm, config->max_norm);
    if (gradient_norm)
        *gradient_norm = norm;
    if (!isfinite(norm))
        return ac_error(AC_ERR_NUMERIC, "the gradient norm is not a number in optimiser step %lld", (long long)optimizer->step + 1);
    if (norm * scale > LARGEST_NORM)
        return ac_error(AC_ERR_NUMERIC, "the gradient norm is %.3g in optimiser step %lld, too much for float arithmetic", norm,
                        (long long)optimizer->step + 1);
    ac_optimizer_update update = {
        .kind = config->kind,
        .n = params->n_values,
        .value = params->value,
        .gradient = params->gradient,
        .moment = {optimizer->moment[0], optimizer->moment[1]},
        .learning_rate = learning_rate,
        .weight_decay = config->weight_decay,
        .momentum = config->momentum,
        .beta1 = config->beta1,
        .beta2 = config->beta2,
        .epsilon = config->epsilon,
        .step = ++optimizer->step,
        .gradient_scale = scale,
    };
    ac_params_changed(params);
    AC_TRY(params->device->backend->optimizer_update(params->device, &update));
out:
    return status;
}

AC_SIMD void ac_optimizer_update_range(const ac_optimizer_update *u, size_t first, size_t n)
{
    float *restrict value = u->value + first, *restrict m = u->moment[0] + first;
    const float *restrict gradient = u->gradient + first;
    const ac_optimizer_terms t = ac_optimizer_terms_of(u);
    float scale = (float)t.scale;
    if (u->kind == AC_OPTIMIZER_SGD) {
        float rate = (float)t.rate, weight_decay = (float)t.weight_decay, momentum = (float)t.momentum;
        for (size_t i = 0; i < n; i++)
            value[i] = ac_sgd_update_float(value[i], scale * gradient[i], &m[i], rate, weight_decay, momentum);
        return;
    }
    float *restrict v = u->moment[1] + first;
    float decay = (float)t.decay, rest1 = (float)t.rest1, beta2 = (float)t.beta2, rest2 = (float)t.rest2;
    float rate_1 = (float)t.rate_1, root_2 = (float)t.root_2, epsilon = (float)t.epsilon;
    for (size_t i = 0; i < n; i++)
        value[i] = ac_adamw_update_float(value[i], scale * gradient[i], &m[i], &v[i], decay, rest1, beta2, rest2, rate_1, root_2, epsilon);
}
