/* The optimiser's state and its step; the scalar formulas are in optimizer_formula.h. */
#include "anyclass/optimizer.h"
#include "anyclass/alloc.h"
#include "anyclass/optimizer_formula.h"
#include "nn/simd.h"

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
    double norm = sqrt(squares), scale = 1;
    if (gradient_norm)
        *gradient_norm = norm;
    if (!isfinite(norm))
        return ac_error(AC_ERR_NUMERIC, "the gradient norm is not a number in optimiser step %lld", (long long)optimizer->step + 1);
    if (config->max_norm > 0 && config->max_norm / (norm + 1e-6) < 1)
        scale = config->max_norm / (norm + 1e-6);
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
    AC_TRY(params->device->backend->optimizer_update(params->device, &update));
out:
    return status;
}

AC_SIMD void ac_optimizer_update_range(const ac_optimizer_update *u, size_t first, size_t n)
{
    float *restrict value = u->value + first, *restrict m = u->moment[0] + first;
    const float *restrict gradient = u->gradient + first;
    float scale = (float)u->gradient_scale;
    if (u->kind == AC_OPTIMIZER_SGD) {
        float rate = (float)u->learning_rate, weight_decay = (float)u->weight_decay, momentum = (float)u->momentum;
        for (size_t i = 0; i < n; i++)
            value[i] = ac_sgd_update(value[i], scale * gradient[i], &m[i], rate, weight_decay, momentum);
        return;
    }
    float *restrict v = u->moment[1] + first;
    float decay = (float)(1 - u->learning_rate * u->weight_decay), rest1 = (float)(1 - u->beta1);
    float beta2 = (float)u->beta2, rest2 = (float)(1 - u->beta2);
    float rate_1 = (float)(u->learning_rate / (1 - pow(u->beta1, (double)u->step)));
    float root_2 = (float)sqrt(1 - pow(u->beta2, (double)u->step)), epsilon = (float)u->epsilon;
    for (size_t i = 0; i < n; i++)
        value[i] = ac_adamw_update(value[i], scale * gradient[i], &m[i], &v[i], decay, rest1, beta2, rest2, rate_1, root_2, epsilon);
}
