/* Ten training steps of whole networks against PyTorch's (fixtures/steps.json, made by make_steps.py): forward, loss,
 * backward, clipping and optimiser together, without any file from outside the project. */
#include "anyclass/json.h"
#include "anyclass/model.h"
#include "anyclass/optimizer.h"
#include "anyclass/plan.h"
#include "tests/model/drawn.h"
#include "tests/tap.h"
#include <stdio.h>

enum { N = 8, SIDE = 96, M = 5, STEPS = 10, PIXELS = SIDE * SIDE };

typedef struct trial {
    ac_graph *graph;
    ac_value x, targets, weights, scale, loss;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    ac_optimizer *optimizer;
} trial;

static double number(const ac_json_value *object, const char *key)
{
    double value = NAN;
    return ac_json_read_double(ac_json_get(object, key), key, &value) == AC_OK ? value : NAN;
}

static ac_status open_trial(trial *t, const ac_json_value *c)
{
    ac_status status = AC_OK;
    const char *model, *optimizer;
    ac_optimizer_config config = {.weight_decay = number(c, "weight_decay"), .momentum = .9, .beta1 = .9, .beta2 = .999, .epsilon = 1e-8, .max_norm = 1};
    ac_loss_config loss = {number(c, "gamma") > 0 ? AC_LOSS_FOCAL : AC_LOSS_BCE, number(c, "gamma"), number(c, "alpha"), number(c, "lambda")};
    memset(t, 0, sizeof *t);
    AC_TRY(ac_json_read_string(ac_json_get(c, "model"), "model", &model));
    AC_TRY(ac_json_read_string(ac_json_get(c, "optimizer"), "optimizer", &optimizer));
    config.kind = strcmp(optimizer, "adamW") == 0 ? AC_OPTIMIZER_ADAMW : AC_OPTIMIZER_SGD;
    AC_TRY(ac_graph_create(AC_F32, &t->graph));
    t->x = ac_graph_input(t->graph, "x", &(ac_shape){4, {N, SIDE, SIDE, 3}, AC_F32});
    ac_value logits = ac_model_find(model)->build(ac_model_find(model), t->graph, t->x, M);
    t->targets = ac_graph_input(t->graph, "targets", &(ac_shape){2, {N, M}, AC_U8});
    t->weights = ac_graph_input(t->graph, "weights", &(ac_shape){1, {M + 1}, AC_F64});
    t->scale = ac_graph_input(t->graph, "scale", &(ac_shape){1, {1}, AC_F64});
    t->loss = ac_add_any_class_loss(t->graph, "loss", logits, t->targets, t->weights, t->scale, &loss);
    AC_TRY(ac_graph_finish(t->graph));
    AC_TRY(ac_backend_find("cpu")->open(0, &t->device));
    AC_TRY(ac_params_create(t->device, t->graph, true, &t->params));
    AC_TRY(drawn_fill(t->params));
    AC_TRY(ac_optimizer_create(&config, t->params, &t->optimizer));
    AC_TRY(ac_plan_create(t->graph, t->params, true, &t->plan));
    AC_TRY(ac_plan_bind(t->plan, NULL));
out:
    return status;
}

static void close_trial(trial *t)
{
    ac_plan_destroy(t->plan);
    ac_optimizer_destroy(t->optimizer);
    ac_params_destroy(t->params);
    if (t->device)
        t->device->backend->close(t->device);
    ac_graph_destroy(t->graph);
}

static ac_status step(trial *t, int k, double rate, double *loss, double *norm)
{
    ac_status status = AC_OK;
    static float x[N * PIXELS * 3];
    uint8_t y[N * M];
    double weights[M + 1], scale;
    char name[32];
    snprintf(name, sizeof name, "pixels %d", k);
    for (int n = 0; n < N; n++)
        for (int c = 0; c < 3; c++)
            for (int p = 0; p < PIXELS; p++)
                x[(n * PIXELS + p) * 3 + c] = (float)drawn(name, (uint64_t)((n * 3 + c) * PIXELS + p)) * 4 - 2;
    snprintf(name, sizeof name, "labels %d", k);
    for (int i = 0; i < N * M; i++)
        y[i] = drawn(name, (uint64_t)i) < .15;
    for (int c = 0; c < M; c++)
        weights[c] = c + 1;
    weights[M] = .5;
    scale = 1.0 / (double)ac_loss_denominator(y, N, M);
    AC_TRY(ac_plan_write(t->plan, t->x, x, sizeof x));
    AC_TRY(ac_plan_write(t->plan, t->targets, y, sizeof y));
    AC_TRY(ac_plan_write(t->plan, t->weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(t->plan, t->scale, &scale, sizeof scale));
    AC_TRY(ac_plan_forward(t->plan));
    AC_TRY(ac_plan_backward(t->plan, false));
    AC_TRY(ac_plan_read(t->plan, t->loss, loss, sizeof *loss));
    AC_TRY(ac_optimizer_step(t->optimizer, rate, norm));
out:
    return status;
}

/* Rounding grows from step to step, so the bound is what PyTorch's own float32 run is away from its float64 run,
 * times 10: another processor sums in another order. (AdamW with 1 - .999f for 1 - .999 is 28 times away.) */
static void run_case(const ac_json_value *c, size_t index)
{
    trial t;
    double loss, norm, loss_error = 0, norm_error = 0, wanted;
    bool good = TAP_OK(open_trial(&t, c) == AC_OK, "case %zu is planned", index);
    for (int k = 0; k < STEPS && good; k++) {
        good = TAP_OK(step(&t, k, number(c, "learning_rate"), &loss, &norm) == AC_OK, "case %zu, step %d", index, k);
        if (ac_json_read_double(ac_json_at(ac_json_get(c, "loss"), (size_t)k), "loss", &wanted) == AC_OK)
            loss_error = fmax(loss_error, fabs(loss - wanted) / wanted);
        if (ac_json_read_double(ac_json_at(ac_json_get(c, "gradient_norm"), (size_t)k), "norm", &wanted) == AC_OK)
            norm_error = fmax(norm_error, fabs(norm - wanted) / wanted);
    }
    double loss_bound = 10 * number(c, "float32_loss_error") + 1e-6, norm_bound = 10 * number(c, "float32_norm_error") + 1e-5;
    TAP_OK(good && loss_error < loss_bound, "case %zu: ten losses within %.2g (allowed %.2g)", index, loss_error, loss_bound);
    TAP_OK(good && norm_error < norm_bound, "case %zu: ten gradient norms within %.2g (allowed %.2g)", index, norm_error, norm_bound);
    close_trial(&t);
}

int main(void)
{
    ac_json_value *document;
    if (!TAP_CALL(ac_json_load("tests/model/fixtures/steps.json", &document)))
        return tap_done();
    const ac_json_value *cases = ac_json_get(document, "cases");
    TAP_OK(ac_json_count(cases) == 3, "three cases");
    for (size_t i = 0; i < ac_json_count(cases); i++)
        run_case(ac_json_at(cases, i), i);
    ac_json_release(document);
    return tap_done();
}
