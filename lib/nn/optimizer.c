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
    optimizer->state.loss_scale = config->dynamic_scale ? AC_LOSS_SCALE_START : 1;
    AC_TRY(ac_optimizer_set(optimizer, 0)); /* the first backward pass wants the loss scale */
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

ac_status ac_optimizer_set(ac_optimizer *optimizer, double learning_rate)
{
    ac_status status = AC_OK;
    ac_device *device = optimizer->params->device;
    ac_step_state *now = &optimizer->state, *sent = &optimizer->sent, *there = optimizer->params->state;
    bool rate_alone = optimizer->step == sent->n_updates && now->loss_scale == sent->loss_scale && now->n_even == sent->n_even &&
                      now->n_skipped == sent->n_skipped && now->failure == sent->failure;
    now->learning_rate = learning_rate;
    now->n_updates = optimizer->step;
    if (!rate_alone)
        AC_TRY(device->backend->upload(device, there, now, sizeof *now));
    else if (learning_rate != sent->learning_rate)
        AC_TRY(device->backend->upload(device, &there->learning_rate, &learning_rate, sizeof learning_rate));
    *sent = *now;
out:
    return status;
}

ac_status ac_optimizer_update_all(ac_optimizer *optimizer)
{
    ac_params *params = optimizer->params;
    const ac_optimizer_config *config = &optimizer->config;
    ac_optimizer_update update = {
        .kind = config->kind,
        .n = params->n_values,
        .value = params->value,
        .gradient = params->gradient,
        .moment = {optimizer->moment[0], optimizer->moment[1]},
        .weight_decay = config->weight_decay,
        .momentum = config->momentum,
        .beta1 = config->beta1,
        .beta2 = config->beta2,
        .epsilon = config->epsilon,
        .max_norm = config->max_norm,
        .dynamic_scale = config->dynamic_scale,
        .state = params->state,
    };
    ac_params_changed(params);
    return params->device->backend->optimizer_step(params->device, &update);
}

ac_status ac_optimizer_take(ac_optimizer *optimizer, const ac_step_state *state)
{
    double rate = optimizer->sent.learning_rate; /* steps behind this one may have another */
    long long number = (long long)state->n_updates + 1;
    optimizer->state = *state;
    optimizer->step = state->n_updates;
    optimizer->sent = *state;
    optimizer->state.learning_rate = optimizer->sent.learning_rate = rate;
    optimizer->state.failure = AC_STEP_GOOD; /* told once */
    switch ((ac_step_failure)state->failure) {
    case AC_STEP_NOT_FINITE:
        return ac_error(AC_ERR_NUMERIC, "the gradient norm is not a number in optimiser step %lld", number);
    case AC_STEP_TOO_LARGE:
        return ac_error(AC_ERR_NUMERIC, "the gradient norm is %.3g in optimiser step %lld, too much for float arithmetic", state->gradient_norm, number);
    case AC_STEP_SCALE_VANISHED:
        return ac_error(AC_ERR_NUMERIC, "the gradients overflow in optimiser step %lld with a loss scale of %.3g too", number, state->loss_scale);
    case AC_STEP_GOOD:
        break;
    }
    return AC_OK;
}

ac_status ac_optimizer_step(ac_optimizer *optimizer, double learning_rate, double *gradient_norm)
{
    ac_status status = AC_OK;
    ac_step_state state;
    ac_device *device = optimizer->params->device;
    AC_TRY(ac_optimizer_set(optimizer, learning_rate));
    AC_TRY(ac_optimizer_update_all(optimizer));
    AC_TRY(device->backend->download(device, &state, optimizer->params->state, sizeof state));
    if (gradient_norm)
        *gradient_norm = state.gradient_norm;
    AC_TRY(ac_optimizer_take(optimizer, &state));
out:
    return status;
}

AC_SIMD void ac_optimizer_update_range(const ac_optimizer_update *u, const ac_optimizer_terms *terms, size_t first, size_t n)
{
    float *restrict value = u->value + first, *restrict m = u->moment[0] + first;
    const float *restrict gradient = u->gradient + first;
    const ac_optimizer_terms t = *terms;
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
