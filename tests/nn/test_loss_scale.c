/* Precision 16-mixed: which steps are made and how the loss scale moves, held against torch.amp.GradScaler; what a skipped step leaves alone;
 * training goes on after gradients that overflow by their scale, and after a network that overflows by itself. */
#include "anyclass/alloc.h"
#include "anyclass/model.h"
#include "anyclass/optimizer_formula.h"
#include "anyclass/random.h"
#include "anyclass/step.h"
#include "tests/backend.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

enum { SIDE = 6, BATCH = 3, M = 4, N_IMAGE = SIDE * SIDE * 3 };

/* What GradScaler (PyTorch 2.15, initial scale 65536, the rest as it comes) makes of steps that overflow (-) or do not (+): the scale behind the
 * last of each row. */
typedef struct scaler_row {
    int n;
    bool overflow;
    double scale;
} scaler_row;

static const scaler_row grad_scaler[] = {
    {1, true, 32768}, {2, false, 32768}, {1, true, 16384},   {1, true, 8192},     {1999, false, 8192}, {1, true, 4096},
    {1999, false, 4096}, {1, false, 8192}, {1999, false, 8192}, {1, false, 16384}, {1, true, 8192},
};

static void test_formula(void)
{
    const ac_optimizer_update update = {.beta1 = .9, .beta2 = .999, .epsilon = 1e-8, .dynamic_scale = true};
    ac_step_state state = {.loss_scale = AC_LOSS_SCALE_START, .learning_rate = .1};
    int64_t n_updates = 0, n_skipped = 0;
    int n_wrong = 0;
    for (size_t r = 0; r < sizeof grad_scaler / sizeof *grad_scaler; r++) {
        const scaler_row *row = &grad_scaler[r];
        for (int i = 0; i < row->n; i++) {
            ac_optimizer_terms terms = {0};
            int made = ac_optimizer_decide(&update, row->overflow ? (i % 2 ? (double)NAN : (double)INFINITY) : 1.0, &state, &terms);
            n_updates += !row->overflow;
            n_skipped += row->overflow;
            n_wrong += made == row->overflow || (made && terms.scale <= 0);
        }
        TAP_OK(state.loss_scale == row->scale && state.n_updates == n_updates && state.n_skipped == n_skipped && state.failure == AC_STEP_GOOD,
               "after %lld updates and %lld overflows the scale is %g, GradScaler's %g", (long long)n_updates, (long long)n_skipped, state.loss_scale, row->scale);
    }
    TAP_OK(n_wrong == 0, "overflows make no update, the others do (%d wrong)", n_wrong);
    state = (ac_step_state){.loss_scale = AC_LOSS_SCALE_LEAST * 2};
    ac_optimizer_terms terms;
    TAP_OK(!ac_optimizer_decide(&update, (double)NAN, &state, &terms) && state.failure == AC_STEP_GOOD && state.loss_scale == AC_LOSS_SCALE_LEAST, "the scale falls to 2^-16");
    TAP_OK(!ac_optimizer_decide(&update, (double)NAN, &state, &terms) && state.failure == AC_STEP_SCALE_VANISHED, "and no further: then it is the network");
}

typedef struct trial {
    ac_graph *graph;
    ac_value images, keys, targets, weights, scale, logits, loss;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    ac_optimizer *optimizer;
    ac_step *step;
    size_t n_bytes;          /* of values, and of each moment */
    float *host;             /* values, moments */
} trial;

static void close_trial(trial *t)
{
    ac_free(t->host);
    ac_step_destroy(t->step);
    ac_optimizer_destroy(t->optimizer);
    ac_plan_destroy(t->plan);
    ac_params_destroy(t->params);
    if (t->device)
        t->device->backend->close(t->device);
    ac_graph_destroy(t->graph);
}

/* image -> conv 3x3 -> mean -> linear -> loss: nothing but parameters outlives a step. */
static ac_status open_trial(trial *t, const char *backend, ac_dtype activations, int kind, double loss_scale)
{
    ac_status status = AC_OK;
    const ac_loss_config loss = {AC_LOSS_BCE, 0, 1, 0};
    const ac_image_input_attribute input = {.mean = {.5f, .5f, .5f}, .std = {.25f, .25f, .25f}};
    const ac_optimizer_config config = {.kind = kind, .momentum = .9, .beta1 = .9, .beta2 = .999, .epsilon = 1e-8, .max_norm = 1, .dynamic_scale = activations == AC_F16};
    memset(t, 0, sizeof *t);
    AC_TRY(ac_graph_create(activations, &t->graph));
    ac_graph *g = t->graph;
    t->images = ac_graph_input(g, "images", &(ac_shape){4, {BATCH, SIDE, SIDE, 3}, AC_U8});
    t->keys = ac_graph_input(g, "keys", &(ac_shape){1, {BATCH}, AC_I64});
    ac_value x = ac_add_image_input(g, "input", t->images, t->keys, &input);
    x = ac_add_conv2d(g, "conv", x, &(ac_conv2d_attribute){.out_channels = 8, .kernel_px = 3, .stride_px = 1, .padding_px = 1, .groups = 1, .bias = true,
                                                           .weight_init = {AC_INIT_NORMAL, 0, 0.3f}, .bias_init = {AC_INIT_NORMAL, 0, 0.3f}});
    x = ac_add_global_avg_pool(g, "mean", x);
    t->logits = ac_add_linear(g, "head", x, &(ac_linear_attribute){.out_features = M, .bias = true, .float32_output = true, .weight_init = {AC_INIT_NORMAL, 0, 0.5f}});
    ac_graph_result(g, t->logits);
    t->targets = ac_graph_input(g, "targets", &(ac_shape){2, {BATCH, M}, AC_U8});
    t->weights = ac_graph_input(g, "weights", &(ac_shape){1, {M + 1}, AC_F64});
    t->scale = ac_graph_input(g, "scale", &(ac_shape){1, {1}, AC_F64});
    t->loss = ac_add_any_class_loss(g, "loss", t->logits, t->targets, t->weights, t->scale, &loss);
    AC_TRY(ac_graph_finish(g));
    AC_TRY(ac_backend_find(backend)->open(1, &t->device));
    AC_TRY(ac_params_create(t->device, g, true, &t->params));
    AC_TRY(ac_params_init(t->params, 3));
    AC_TRY(ac_plan_create(g, t->params, true, &t->plan));
    AC_TRY(ac_plan_bind(t->plan, NULL));
    AC_TRY(ac_optimizer_create(&config, t->params, &t->optimizer));
    if (loss_scale > 0)
        t->optimizer->state.loss_scale = loss_scale;
    AC_TRY(ac_step_create(&(ac_step_config){.optimizer = t->optimizer, .n_plans = 1, .plan = {t->plan}, .loss = {t->loss}, .record = true}, &t->step));
    t->n_bytes = t->params->n_values * sizeof(float);
    AC_TRY(ac_malloc(3 * t->params->n_values, sizeof *t->host, &t->host));
out:
    return status;
}

/* Values and moments as they are now. */
static ac_status fetch(trial *t, const float **out)
{
    ac_status status = AC_OK;
    const ac_backend *b = t->device->backend;
    AC_TRY(b->download(t->device, t->host, t->params->value, t->n_bytes));
    for (int k = 0; k < t->optimizer->n_moments; k++)
        AC_TRY(b->download(t->device, t->host + (size_t)(k + 1) * t->params->n_values, t->optimizer->moment[k], t->n_bytes));
    *out = t->host;
out:
    return status;
}

/* One step over always the same batch; its numbers. The update with the gradients, or, as with several ranks, by itself. */
static ac_status run_step(trial *t, bool at_once, ac_step_state *state)
{
    ac_status status = AC_OK;
    uint8_t images[BATCH * N_IMAGE], targets[BATCH * M];
    const int64_t keys[BATCH] = {1, 2, 3};
    const double weights[M + 1] = {1, 1, 1, 1, 1}, scale = 1.0 / BATCH;
    for (size_t i = 0; i < sizeof images; i++)
        images[i] = (uint8_t)ac_random_block(9, AC_STREAM_TEST, i, 0).word[0];
    for (size_t i = 0; i < sizeof targets; i++)
        targets[i] = i % 3 == 0;
    AC_TRY(ac_plan_write(t->plan, t->images, images, sizeof images));
    AC_TRY(ac_plan_write(t->plan, t->keys, keys, sizeof keys));
    AC_TRY(ac_plan_write(t->plan, t->targets, targets, sizeof targets));
    AC_TRY(ac_plan_write(t->plan, t->weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(t->plan, t->scale, &scale, sizeof scale));
    AC_TRY(ac_step_run(t->step, 0, AC_STEP_FIRST | AC_STEP_LAST | (at_once ? AC_STEP_UPDATE : 0), NULL, 0.05));
    if (!at_once)
        AC_TRY(ac_step_update(t->step, 0.05));
    AC_TRY(ac_step_end(t->step));
    AC_TRY(ac_step_take(t->step, state));
out:
    return status;
}

/* From a scale that is far too large the training comes down to one that fits, having changed nothing; from there on it is the training that
 * began with it. */
static void test_overflow_by_scale(const char *backend, int kind, bool at_once)
{
    enum { N_UPDATES = 8 };
    trial a, b;
    ac_step_state state = {0};
    const float *now;
    float *before = NULL;
    int n_steps = 0, n_changed = 0, n_wrong = 0;
    double first_loss = NAN;
    if (!TAP_CALL(open_trial(&a, backend, AC_F16, kind, 0x1p26)) || !TAP_CALL(ac_malloc(3 * a.params->n_values, sizeof *before, &before)) || !TAP_CALL(fetch(&a, &now)))
        return;
    size_t n_held = (size_t)(1 + a.optimizer->n_moments) * a.n_bytes;
    memcpy(before, now, n_held);
    for (; state.n_updates < N_UPDATES && n_steps < 100; n_steps++) {
        int64_t n_updates = state.n_updates;
        double scale = n_steps ? state.loss_scale : 0x1p26;
        if (run_step(&a, at_once, &state) != AC_OK || fetch(&a, &now) != AC_OK)
            break;
        if (n_steps == 0)
            first_loss = state.loss;
        if (state.n_updates == 0)
            n_changed += memcmp(before, now, n_held) != 0 || state.loss != first_loss;
        n_wrong += state.n_updates == n_updates ? state.loss_scale != scale / 2 : state.loss_scale != scale;
    }
    TAP_OK(state.n_updates == N_UPDATES && n_steps == N_UPDATES + (int)state.n_skipped && a.optimizer->step == N_UPDATES, "%s: %d updates in %d steps", backend, N_UPDATES, n_steps);
    TAP_OK(state.n_skipped > 5 && state.loss_scale == 0x1p26 / ldexp(1, (int)state.n_skipped), "%s: %lld steps overflowed, the scale came down to 2^%g", backend,
           (long long)state.n_skipped, log2(state.loss_scale));
    TAP_OK(n_changed == 0 && n_wrong == 0, "%s: they changed neither weights nor moments, and the scale by a half each", backend);
    TAP_OK(state.loss < 0.8 * first_loss, "%s: the training goes on, loss %.3f then %.3f", backend, first_loss, state.loss);
    TAP_OK(isfinite(state.gradient_norm) && state.gradient_norm < 10, "%s: the gradient norm %.3g is told without the scale", backend, state.gradient_norm);
    if (TAP_CALL(fetch(&a, &now)) && TAP_CALL(open_trial(&b, backend, AC_F16, kind, state.loss_scale))) {
        const float *same = NULL;
        bool ran = true;
        for (int i = 0; i < N_UPDATES && ran; i++)
            ran = run_step(&b, at_once, &state) == AC_OK;
        TAP_OK(ran && state.n_skipped == 0 && fetch(&b, &same) == AC_OK && memcmp(now, same, n_held) == 0, "%s: bit for bit the training that began with that scale", backend);
        close_trial(&b);
    }
    ac_free(before);
    close_trial(&a);
}

/* A network whose values overflow, whatever the scale: no update until it does not any more. */
static void test_overflow_by_network(const char *backend)
{
    trial t;
    ac_step_state state;
    float weights[8 * 27], large[8 * 27];
    if (!TAP_CALL(open_trial(&t, backend, AC_F16, AC_OPTIMIZER_ADAMW, 0)))
        return;
    TAP_OK(run_step(&t, true, &state) == AC_OK && state.n_updates + state.n_skipped == 1 && state.loss_scale <= AC_LOSS_SCALE_START, "%s: a step to begin with", backend);
    const double scale = state.loss_scale;
    const int64_t n_updates = state.n_updates;
    int p = ac_params_find(t.params, "conv.weight");
    TAP_CALL(ac_params_get(t.params, p, NULL, weights));
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        large[i] = i % 27 == 0 ? 6e4f : weights[i];
    TAP_CALL(ac_params_set(t.params, p, NULL, large));
    bool ran = run_step(&t, true, &state) == AC_OK;
    TAP_OK(ran && !isfinite(state.loss) && state.n_updates == n_updates && state.loss_scale == scale / 2,
           "%s: activations overflow: loss %g, no update, the scale is halved",
           backend, state.loss);
    TAP_CALL(ac_params_set(t.params, p, NULL, weights));
    int k = 0;
    while (k < 20 && run_step(&t, true, &state) == AC_OK && state.n_updates == n_updates)
        k++;
    TAP_OK(state.n_updates == n_updates + 1 && isfinite(state.loss), "%s: and the training goes on", backend);
    TAP_CALL(ac_params_set(t.params, p, NULL, large));
    t.optimizer->state.loss_scale = 0x1p-12;
    ac_status status = AC_OK;
    for (k = 0; k < 10 && status == AC_OK; k++)
        status = run_step(&t, true, &state);
    TAP_OK(status == AC_ERR_NUMERIC && strstr(ac_error_text(), "loss scale") && state.n_updates == n_updates + 1, "%s: but not for ever: %s", backend, ac_error_text());
    close_trial(&t);
}

/* Count and scale carried over, as a checkpoint does. */
static void test_growth(const char *backend)
{
    trial t;
    ac_step_state state;
    if (!TAP_CALL(open_trial(&t, backend, AC_F16, AC_OPTIMIZER_SGD, 4)))
        return;
    t.optimizer->state.n_even = AC_LOSS_SCALE_INTERVAL - 2;
    t.optimizer->state.n_skipped = 7;
    t.optimizer->step = 5000;
    TAP_OK(run_step(&t, true, &state) == AC_OK && state.loss_scale == 4 && state.n_even == AC_LOSS_SCALE_INTERVAL - 1 && state.n_updates == 5001 && state.n_skipped == 7,
           "%s: a training that was continued: update 1999 with this scale", backend);
    TAP_OK(run_step(&t, true, &state) == AC_OK && state.loss_scale == 8 && state.n_even == 0 && state.n_updates == 5002, "%s: the scale doubles with the next one", backend);
    TAP_OK(run_step(&t, true, &state) == AC_OK && state.loss_scale == 8 && state.n_even == 1, "%s: and stays", backend);
    close_trial(&t);
}

/* A scale is a power of two and nothing else: in float, where it rounds nothing, any gives the same bits. */
static void test_scale_is_exact(const char *backend)
{
    const double scales[] = {1, 1024, 0x1p-10};
    trial t;
    ac_step_state state;
    float first[3 * 1024];
    for (size_t k = 0; k < sizeof scales / sizeof *scales; k++) {
        const float *now = NULL;
        bool ran = TAP_CALL(open_trial(&t, backend, AC_F32, AC_OPTIMIZER_ADAMW, scales[k])) && 3 * t.n_bytes <= sizeof first;
        for (int i = 0; i < 3 && ran; i++)
            ran = run_step(&t, true, &state) == AC_OK;
        ran = ran && fetch(&t, &now) == AC_OK;
        if (ran && k == 0)
            memcpy(first, now, 3 * t.n_bytes);
        TAP_OK(ran && memcmp(first, now, 3 * t.n_bytes) == 0, "%s: three steps in float with a loss scale of %g", backend, scales[k]);
        close_trial(&t);
    }
}

int main(void)
{
    const char *tested = tested_backend(), *backend = strcmp(tested, "cpu") == 0 ? "ref" : tested; /* cpu has no f16 */
    test_formula();
    test_overflow_by_scale(backend, AC_OPTIMIZER_ADAMW, true);
    test_overflow_by_scale(backend, AC_OPTIMIZER_SGD, false);
    test_overflow_by_network(backend);
    test_growth(backend);
    test_scale_is_exact(tested);
    return tap_done();
}
