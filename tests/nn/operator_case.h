/* The operator table: every backend against `ref`, and `ref` against finite differences. Each case is a small network,
 * image -> conv 3x3 -> the operators under test -> average -> linear -> loss, so that inputs, parameters and the
 * gradient parts of the plan are all on the way. A new operator joins by a row of a test_operators*.c's `cases`. */
#ifndef ANYCLASS_TESTS_OPERATOR_CASE_H
#define ANYCLASS_TESTS_OPERATOR_CASE_H

#include "anyclass/alloc.h"
#include "anyclass/model.h"
#include "anyclass/plan.h"
#include "anyclass/random.h"
#include "tests/backend.h"
#include "tests/part.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { M = 5 };

typedef struct op_case {
    const char *name;
    int batch, side, channels;
    ac_value (*add)(ac_graph *graph, ac_value x, const struct op_case *c); /* -> [N, H, W, C] or [N, C]; sample keys: ac_graph_find(graph, "keys") */
    int kernel, stride, padding, groups, out;
    bool bias, residual;
    ac_activation activation;
    ac_augment augment;
    ac_attention_kind attention; /* the last dimension of x is 3 n_heads times a head's */
    int n_heads, window;
    float probability;           /* of stochastic depth or dropout */
} op_case;

typedef struct trial {
    ac_graph *graph;
    ac_value images, keys, targets, weights, scale, logits, loss;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    float *value, *gradient, *buffer; /* host copies of the parameter arenas, by fetch() */
} trial;

static void close_trial(trial *t)
{
    ac_free(t->value);
    ac_free(t->gradient);
    ac_free(t->buffer);
    ac_plan_destroy(t->plan);
    ac_params_destroy(t->params);
    if (t->device)
        t->device->backend->close(t->device);
    ac_graph_destroy(t->graph);
    memset(t, 0, sizeof *t);
}

/* What gradients are multiplied by on their way: those of single elements would be below what float16 resolves (2^-24). */
static double loss_scale_of(ac_dtype activations)
{
    return activations == AC_F16 ? 1024 : 1;
}

static ac_status open_trial(trial *t, const op_case *c, const char *backend, ac_dtype activations, bool training)
{
    ac_status status = AC_OK;
    const ac_loss_config loss = {AC_LOSS_FOCAL, 2, 1, 0.3};
    const ac_image_input_attribute input = {{.4f, .5f, .6f}, {.2f, .25f, .3f}, true, 3, c->augment};
    memset(t, 0, sizeof *t);
    AC_TRY(ac_graph_create(activations, &t->graph));
    ac_graph *g = t->graph;
    t->images = ac_graph_input(g, "images", &(ac_shape){4, {c->batch, c->side, c->side, 3}, AC_U8});
    t->keys = ac_graph_input(g, "keys", &(ac_shape){1, {c->batch}, AC_I64});
    ac_value x = ac_add_image_input(g, "input", t->images, t->keys, &input);
    op_case first = {.kernel = 3, .stride = 1, .padding = 1, .groups = 1, .out = c->channels, .bias = true};
    x = ac_add_conv2d(g, "first", x, &(ac_conv2d_attribute){.out_channels = first.out, .kernel_px = 3, .stride_px = 1, .padding_px = 1, .groups = 1,
                      .bias = true, .weight_init = {AC_INIT_NORMAL, 0, 0.3f}, .bias_init = {AC_INIT_NORMAL, 0, 0.3f}});
    x = c->add(g, x, c);
    if (x != AC_NO_VALUE && ac_graph_shape(g, x)->n_dims == 4)
        x = ac_add_global_avg_pool(g, "average", x);
    t->logits = ac_add_linear(g, "head", x, &(ac_linear_attribute){.out_features = M, .bias = true, .float32_output = true, .weight_init = {AC_INIT_NORMAL, 0, 0.5f}, .bias_init = {AC_INIT_NORMAL, 0, 0.5f}});
    ac_graph_result(g, t->logits);
    t->targets = ac_graph_input(g, "targets", &(ac_shape){2, {c->batch, M}, AC_U8});
    t->weights = ac_graph_input(g, "weights", &(ac_shape){1, {M + 1}, AC_F64});
    t->scale = ac_graph_input(g, "scale", &(ac_shape){1, {1}, AC_F64});
    t->loss = ac_add_any_class_loss(g, "loss", t->logits, t->targets, t->weights, t->scale, &loss);
    AC_TRY(ac_graph_finish(g));
    AC_TRY(ac_backend_find(backend)->open(2, &t->device));
    AC_TRY(ac_params_create(t->device, g, true, &t->params));
    AC_TRY(ac_params_init(t->params, 11));
    const ac_step_state state = {.loss_scale = loss_scale_of(activations)};
    AC_TRY(t->device->backend->upload(t->device, t->params->state, &state, sizeof state));
    AC_TRY(ac_plan_create(g, t->params, training, &t->plan));
    AC_TRY(training ? ac_plan_bind_guarded(t->plan) : ac_plan_bind(t->plan, NULL));
out:
    return status;
}

static ac_status run_scaled(trial *t, const op_case *c, double scale, double *loss)
{
    ac_status status = AC_OK;
    static uint8_t images[4 * 32 * 32 * 3], targets[8 * M];
    const double weights[M + 1] = {1, .5, 2, 1.5, .25, .75};
    int64_t keys[8];
    size_t n = (size_t)(c->batch * c->side * c->side * 3);
    for (size_t i = 0; i < n; i++)
        images[i] = (uint8_t)ac_random_block(5, AC_STREAM_TEST, i, 0).word[0];
    for (int i = 0; i < c->batch * M; i++)
        targets[i] = (uint8_t)(i % 3 == 0 && i < M);
    for (int i = 0; i < c->batch; i++)
        keys[i] = i + 7;
    AC_TRY(ac_plan_write(t->plan, t->images, images, n));
    AC_TRY(ac_plan_write(t->plan, t->keys, keys, (size_t)c->batch * sizeof *keys));
    AC_TRY(ac_plan_write(t->plan, t->targets, targets, (size_t)c->batch * M));
    AC_TRY(ac_plan_write(t->plan, t->weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(t->plan, t->scale, &scale, sizeof scale));
    AC_TRY(ac_plan_forward(t->plan));
    AC_TRY(ac_plan_read(t->plan, t->loss, loss, sizeof *loss));
out:
    return status;
}

static ac_status run_trial(trial *t, const op_case *c, double *loss)
{
    return run_scaled(t, c, 0.5, loss);
}

/* Copies of the parameter arenas as they are now, the loss scale taken out of the gradients. */
static ac_status fetch(trial *t)
{
    ac_status status = AC_OK;
    const ac_params *p = t->params;
    AC_TRY(ac_realloc(&t->value, p->n_values, sizeof *t->value));
    AC_TRY(ac_realloc(&t->gradient, p->n_values, sizeof *t->gradient));
    AC_TRY(ac_realloc(&t->buffer, p->n_buffers, sizeof *t->buffer));
    AC_TRY(t->device->backend->download(t->device, t->value, p->value, p->n_values * sizeof *t->value));
    AC_TRY(t->device->backend->download(t->device, t->gradient, p->gradient, p->n_values * sizeof *t->gradient));
    AC_TRY(t->device->backend->download(t->device, t->buffer, p->buffer, p->n_buffers * sizeof *t->buffer));
    for (size_t i = 0; i < p->n_values; i++)
        t->gradient[i] *= (float)(1 / loss_scale_of(t->graph->activation_dtype));
out:
    return status;
}

/* What lies between two parameters belongs to nobody and stays zero. */
static bool gaps_are_zero(const trial *t)
{
    const ac_params *p = t->params;
    for (size_t k = 0; k < p->n_params; k++) {
        if (p->info[k].role == AC_PARAM_BUFFER)
            continue;
        size_t at = p->offset[k] + (size_t)ac_shape_elements(&p->info[k].shape);
        for (; at % AC_PARAM_ALIGN != 0 && at < p->n_values; at++)
            if (t->gradient[at] != 0 || t->value[at] != 0)
                return false;
    }
    return true;
}

typedef struct tolerance { /* of one element type */
    ac_dtype activations;
    double loss, gradient; /* relative: to the loss, to the parameter's own largest gradient */
    double floor;          /* or to this, if that is larger */
} tolerance;

static const tolerance tolerances[] = {
    /* Float sums of up to a few hundred terms in another order: 1e-5 of the largest is their rounding. The floor allows 6e-7
     * absolute. Gradients that cancel to almost nothing need it: a bias in front of a batch norm (2e-8 on ref) and a scale
     * behind one (7e-5) were seen to differ by up to 3.1e-7, nothing else beyond 3e-5. */
    {AC_F32, 1e-5, 3e-5, 2e-2},
    /* The roundings to bf16 (2^-9 relative) fall alike but where float sums come to lie on both sides of a tie, or where a
     * backend stores a gradient part rounded that ref adds unrounded (seen: 1.8e-3). Twice a unit in the last place allows for both. */
    {AC_BF16, 1e-3, 0x1p-7, 2e-2},
    /* The same with three bits more. */
    {AC_F16, 1.25e-4, 0x1p-10, 2e-2},
};

/* cuda: its matrix library takes biases of products in bf16, and tensor cores probabilities of attention: roundings of 2^-9 that ref does not make and the
 * loss sees (up to 3.4e-3 of it in these networks, with the library's arithmetic by plain loops in tests/cuda_host). */
static const tolerance tolerances_cuda[] = {{AC_F32, 1e-5, 3e-5, 2e-2}, {AC_BF16, 0x1p-7, 0x1p-6, 2e-2}, {AC_F16, 0x1p-10, 0x1p-9, 2e-2}};

static const tolerance *tolerance_of(const char *backend, size_t k)
{
    return strcmp(backend, "cuda") == 0 ? &tolerances_cuda[k] : &tolerances[k];
}

/* Gradients and running statistics of two runs over the same graph. */
static double compare(const trial *a, const trial *b, const tolerance *allowed)
{
    double worst = 0;
    for (size_t i = 0; i < a->params->n_values; i++) {
        double scale = allowed->floor;
        for (size_t p = 0; p < a->params->n_params; p++) /* relative to the parameter's own largest gradient */
            if (a->params->info[p].role != AC_PARAM_BUFFER && a->params->offset[p] == i) {
                size_t n = (size_t)ac_shape_elements(&a->params->info[p].shape);
                for (size_t k = 0; k < n; k++)
                    scale = fmax(scale, fabs((double)a->gradient[i + k]));
                for (size_t k = 0; k < n; k++)
                    worst = worse(worst, fabs((double)a->gradient[i + k] - (double)b->gradient[i + k]) / scale);
            }
    }
    for (size_t i = 0; i < a->params->n_buffers; i++)
        worst = worse(worst, fabs((double)a->buffer[i] - (double)b->buffer[i]));
    return worst;
}

static void against_ref(const op_case *c, const char *backend, const tolerance *allowed)
{
    const char *type = ac_dtype_name(allowed->activations);
    trial a, b;
    double loss_a = 0, loss_b = 1;
    bool ran = open_trial(&a, c, "ref", allowed->activations, true) == AC_OK && open_trial(&b, c, backend, allowed->activations, true) == AC_OK && run_trial(&a, c, &loss_a) == AC_OK &&
               run_trial(&b, c, &loss_b) == AC_OK && ac_plan_backward(a.plan, false) == AC_OK && ac_plan_backward(b.plan, false) == AC_OK &&
               fetch(&a) == AC_OK && fetch(&b) == AC_OK;
    TAP_OK(ran, "%s: %s in %s runs", backend, c->name, type);
    if (ran) {
        TAP_OK(fabs(loss_a - loss_b) < allowed->loss * loss_a, "%s: %s in %s, loss differs by %.2g", backend, c->name, type, fabs(loss_a - loss_b) / loss_a);
        double once = compare(&a, &b, allowed);
        TAP_OK(once < allowed->gradient, "%s: %s in %s, gradients and statistics differ by %.2g", backend, c->name, type, once);
        ran = run_trial(&a, c, &loss_a) == AC_OK && run_trial(&b, c, &loss_b) == AC_OK && ac_plan_backward(a.plan, true) == AC_OK && ac_plan_backward(b.plan, true) == AC_OK &&
              fetch(&a) == AC_OK && fetch(&b) == AC_OK;
        /* what the floor holds doubles as well */
        TAP_OK(ran && compare(&a, &b, allowed) < 2 * allowed->gradient, "%s: %s in %s, accumulated a second time", backend, c->name, type);
        TAP_OK(ac_plan_check_guards(a.plan) == AC_OK && gaps_are_zero(&a), "ref: %s in %s, nothing written past an end", c->name, type);
        TAP_OK(ac_plan_check_guards(b.plan) == AC_OK && gaps_are_zero(&b), "%s: %s in %s, nothing written past an end", backend, c->name, type);
    }
    close_trial(&a);
    close_trial(&b);
}

/* Running statistics, and a plan in which kernels may work in place. */
static void inference_against_ref(const op_case *c, const char *backend, const tolerance *allowed)
{
    trial a, b;
    double loss_a = 0, loss_b = 1;
    bool ran = open_trial(&a, c, "ref", allowed->activations, false) == AC_OK && open_trial(&b, c, backend, allowed->activations, false) == AC_OK && run_trial(&a, c, &loss_a) == AC_OK &&
               run_trial(&b, c, &loss_b) == AC_OK;
    TAP_OK(ran && fabs(loss_a - loss_b) < allowed->loss * loss_a, "%s: %s in %s, inference differs by %.2g", backend, c->name,
           ac_dtype_name(allowed->activations), fabs(loss_a - loss_b) / loss_a);
    close_trial(&a);
    close_trial(&b);
}

/* Central differences of the loss for some elements of every parameter. */
static void differences(const op_case *c)
{
    trial t;
    double up, down, loss, worst = 0;
    if (!TAP_CALL(open_trial(&t, c, "ref", AC_F32, true)) || !TAP_CALL(run_trial(&t, c, &loss)) || !TAP_CALL(ac_plan_backward(t.plan, false)))
        return;
    for (size_t p = 0; p < t.params->n_params; p++) {
        if (t.params->info[p].role == AC_PARAM_BUFFER)
            continue;
        size_t n = (size_t)ac_shape_elements(&t.params->info[p].shape), at = t.params->offset[p];
        double square = 1e-4, error = 0;
        for (size_t i = 0; i < n; i++)
            square += (double)t.params->gradient[at + i] * (double)t.params->gradient[at + i];
        for (size_t i = 0; i < n; i += 1 + n / 6) {
            float old = t.params->value[at + i], step = 2e-3f;
            t.params->value[at + i] = old + step;
            bool good = run_trial(&t, c, &up) == AC_OK;
            t.params->value[at + i] = old - step;
            good = good && run_trial(&t, c, &down) == AC_OK;
            t.params->value[at + i] = old;
            error = worse(error, good ? fabs((up - down) / (2 * (double)step) - (double)t.params->gradient[at + i]) : 1);
        }
        worst = worse(worst, error / sqrt(square));
    }
    /* activations are float, and a step of 2e-3 may carry a value over a kink: 3 % of the gradient's norm */
    TAP_OK(worst < 3e-2, "ref: %s, finite differences within %.2g of the gradient's norm", c->name, worst);
    close_trial(&t);
}

/* Relative distance of two runs' gradients, as vectors. */
static double distance(const trial *a, const trial *b)
{
    double error = 0, square = 0;
    for (size_t i = 0; i < a->params->n_values; i++) {
        double want = (double)a->gradient[i], off = (double)b->gradient[i] - want;
        error += off * off;
        square += want * want;
    }
    return sqrt(error / square);
}

/* The oracle itself: in 16 bits it computes what it computes in float, but for rounding. (Seen in bf16: losses up to 7.7e-3 and gradients
 * up to 3.6e-2 apart; in f16 8.2e-4 and, where rounding carries a value over relu's kink, whatever the type, 2e-2.) */
static void type_near_float(const op_case *c, ac_dtype activations)
{
    trial a, b;
    double loss_a = 0, loss_b = 1;
    bool ran = open_trial(&a, c, "ref", AC_F32, true) == AC_OK && open_trial(&b, c, "ref", activations, true) == AC_OK && run_trial(&a, c, &loss_a) == AC_OK &&
               run_trial(&b, c, &loss_b) == AC_OK && ac_plan_backward(a.plan, false) == AC_OK && ac_plan_backward(b.plan, false) == AC_OK &&
               fetch(&a) == AC_OK && fetch(&b) == AC_OK;
    double of_loss = activations == AC_F16 ? 2.5e-3 : 2e-2, of_gradient = activations == AC_F16 ? 2.5e-2 : 0.1;
    const char *type = ac_dtype_name(activations);
    TAP_OK(ran && fabs(loss_a - loss_b) < of_loss * loss_a, "ref: %s, loss in %s differs by %.2g", c->name, type, fabs(loss_a - loss_b) / loss_a);
    TAP_OK(ran && distance(&a, &b) < of_gradient, "ref: %s, gradient in %s differs by %.2g of its norm", c->name, type, distance(&a, &b));
    close_trial(&a);
    close_trial(&b);
}

static void near_float(const op_case *c)
{
    for (size_t k = 1; k < sizeof tolerances / sizeof *tolerances; k++)
        type_near_float(c, tolerances[k].activations);
}

/* A forward with a NaN in parameter p. */
static ac_status run_trial_with_nan(trial *t, const op_case *c, int p, double *loss)
{
    ac_status status = AC_OK;
    float *host = NULL;
    AC_TRY(ac_malloc((size_t)ac_shape_elements(&t->params->info[p].shape), sizeof *host, &host));
    AC_TRY(ac_params_get(t->params, p, NULL, host));
    host[0] = NAN;
    AC_TRY(ac_params_set(t->params, p, NULL, host));
    AC_TRY(run_trial(t, c, loss));
out:
    ac_free(host);
    return status;
}

/* A NaN in front comes out as the loss; one in the loss's gradient reaches every parameter. */
static void nan_goes_through(const op_case *c, const char *backend, ac_dtype activations)
{
    trial t;
    double loss = 0;
    size_t n_missed = 0;
    if (!TAP_CALL(open_trial(&t, c, backend, activations, true)))
        return;
    bool ran = run_scaled(&t, c, (double)NAN, &loss) == AC_OK && ac_plan_backward(t.plan, false) == AC_OK && fetch(&t) == AC_OK;
    for (size_t p = 0; p < t.params->n_params; p++) {
        bool seen = t.params->info[p].role == AC_PARAM_BUFFER;
        for (int64_t i = 0; !seen && i < ac_shape_elements(&t.params->info[p].shape); i++) /* not each: a tap may lie on padding alone */
            seen = isnan(t.gradient[t.params->offset[p] + (size_t)i]);
        n_missed += !seen;
    }
    TAP_OK(ran && n_missed == 0, "%s: %s in %s, NaN as the loss's gradient: %zu parameters miss it", backend, c->name, ac_dtype_name(activations), n_missed);
    int first = ac_params_find(t.params, "first.bias");
    ran = run_trial_with_nan(&t, c, first, &loss) == AC_OK;
    TAP_OK(ran && isnan(loss), "%s: %s in %s, NaN in front comes out", backend, c->name, ac_dtype_name(activations));
    close_trial(&t);
}

/* Needs a device of its own to ask. */
static bool runs_here(const char *backend, ac_dtype activations)
{
    ac_device *device = NULL;
    bool runs = false;
    if (TAP_CALL(ac_backend_find(backend)->open(1, &device))) {
        runs = device->backend->check_precision(device, activations) == AC_OK;
        device->backend->close(device);
        if (!runs)
            TAP_SKIP(ac_error_text());
    }
    return runs;
}

/* All there is to say of one case. */
static inline void run_case(const op_case *c)
{
    const char *backend = tested_backend();
    if (!part_has_next())
        return;
    if (strcmp(backend, "cpu") == 0) /* the oracle's own checks, once */
        differences(c);
    for (size_t k = 0; k < sizeof tolerances / sizeof *tolerances; k++) {
        if (!runs_here(backend, tolerances[k].activations))
            continue;
        against_ref(c, backend, tolerance_of(backend, k));
        inference_against_ref(c, backend, tolerance_of(backend, k));
        nan_goes_through(c, backend, tolerances[k].activations);
        if (strcmp(backend, "cpu") == 0)
            nan_goes_through(c, "ref", tolerances[k].activations);
    }
    if (strcmp(backend, "cpu") == 0)
        near_float(c);
}

#endif
