/* The order of work on the device (queue.c) and recorded steps (step.c), on an emulated device that does what is asked of it as late, as early or as mixed up
 * as CUDA allows: nothing may depend on it. */
#include "anyclass/alloc.h"
#include "anyclass/backend.h"
#include "anyclass/forward.h"
#include "anyclass/model.h"
#include "anyclass/random.h"
#include "anyclass/step.h"
#include "tests/cuda_host/runtime.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

enum { M = 5, SIDE = 9, MOST_IMAGES = 4, N_STEPS = 5 };

static const char *const orders[] = {"late", "early", "1", "2"};
enum { N_ORDERS = sizeof orders / sizeof *orders };

static ac_device *open_device(const char *backend)
{
    ac_device *device = NULL;
    TAP_OK(ac_backend_find(backend)->open(2, &device) == AC_OK, "%s opens", backend);
    return device;
}

/* ---- uploads ---- */

/* Round k brings n floats of value k + 1 + i % 3 to one array and adds them to another. */
static ac_status upload_round(ac_device *device, float *host, float *array, float *sum, size_t n, int k)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < n; i++)
        host[i] = (float)(k + 1 + (int)(i % 3));
    AC_TRY(device->backend->upload(device, array, host, n * sizeof *host));
    memset(host, 0xFF, n * sizeof *host); /* it is the caller's again */
    AC_TRY(device->backend->add(device, AC_F32, sum, array, n));
out:
    return status;
}

static bool sums_right(const float *sum, size_t n, int n_rounds)
{
    for (size_t i = 0; i < n; i++)
        if (sum[i] != (float)(n_rounds * (n_rounds + 1) / 2 + n_rounds * (int)(i % 3)))
            return false;
    return true;
}

/* Sizes that share a place, fill one, and need a larger one. The array is overwritten while the rounds before have still to read it. */
static void check_uploads(ac_device *device)
{
    static const size_t sizes[] = {1, 2000, 100000, 262144, 262145, 700001};
    const ac_backend *b = device->backend;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        int n_rounds = n > 100000 ? 8 : 30;
        float *host = NULL, *array = NULL, *sum = NULL;
        bool good = ac_malloc(n, sizeof *host, &host) == AC_OK && b->allocate(device, n * sizeof *array, (void **)&array) == AC_OK &&
                    b->allocate(device, n * sizeof *sum, (void **)&sum) == AC_OK;
        size_t most_pending = 0;
        for (int k = 0; k < n_rounds && good; k++) {
            good = upload_round(device, host, array, sum, n, k) == AC_OK;
            most_pending = emulated_n_pending() > most_pending ? emulated_n_pending() : most_pending;
        }
        good = good && b->download(device, host, sum, n * sizeof *sum) == AC_OK;
        TAP_OK(good && sums_right(host, n, n_rounds), "%d uploads of %zu floats to one array, each read by what was asked for behind it", n_rounds, n);
        TAP_OK(good && most_pending >= 6, "and without a wait: up to %zu things are on their way", most_pending);
        b->release(device, array);
        b->release(device, sum);
        ac_free(host);
    }
}

/* ---- results ---- */

static void check_results(ac_device *device)
{
    const ac_backend *b = device->backend;
    const ac_queue *q = b->queue;
    enum { N = 1000, BYTES = N * (int)sizeof(float) };
    float *array = NULL, *one = NULL, *result[2] = {NULL, NULL}, host[N];
    for (int i = 0; i < N; i++)
        host[i] = 1;
    bool good = b->allocate(device, BYTES, (void **)&array) == AC_OK && b->allocate(device, BYTES, (void **)&one) == AC_OK && b->upload(device, one, host, BYTES) == AC_OK;
    for (int k = 0; k < 2; k++)
        good = good && q->allocate_host(device, BYTES, (void **)&result[k]) == AC_OK && result[k][N - 1] == 0;
    for (int k = 0; k < 2; k++) {
        good = good && b->add(device, AC_F32, array, one, N) == AC_OK && q->fetch(device, result[k], array, BYTES) == AC_OK && q->mark(device, k) == AC_OK;
        good = good && b->add(device, AC_F32, array, one, N) == AC_OK;
    }
    TAP_OK(good && result[0][0] == 0, "results are fetched and marked, none of them is there yet");
    good = good && q->wait(device, 0) == AC_OK && result[0][0] == 1 && result[0][N - 1] == 1;
    TAP_OK(good && result[1][0] == 0 && emulated_n_pending() > 0, "behind the first mark the first result is there, and the second not waited for");
    TAP_OK(good && q->wait(device, 1) == AC_OK && result[1][0] == 3 && result[0][0] == 1, "behind the second the second");
    for (int k = 0; k < 2; k++)
        q->release_host(device, result[k]);
    b->release(device, array);
    b->release(device, one);
}

/* ---- recordings by hand ---- */

static void check_recording(ac_device *device)
{
    const ac_backend *b = device->backend;
    const ac_queue *q = b->queue;
    float *array = NULL, host = 1;
    ac_recording *recording = NULL, *none = NULL;
    bool good = b->allocate(device, 4 * sizeof(float), (void **)&array) == AC_OK && b->upload(device, array, &host, sizeof host) == AC_OK;
    good = good && q->record_begin(device) == AC_OK && b->add(device, AC_F32, array, array, 4) == AC_OK && q->record_end(device, &recording) == AC_OK && recording;
    TAP_OK(good && b->download(device, &host, array, sizeof host) == AC_OK && host == 1, "what is recorded is not done");
    for (int k = 0; k < 3; k++)
        good = good && q->replay(device, recording) == AC_OK;
    TAP_OK(good && b->download(device, &host, array, sizeof host) == AC_OK && host == 8, "three replays");
    TAP_OK(q->record_begin(device) == AC_OK && b->upload(device, array, &host, sizeof host) == AC_ERR_UNSUPPORTED && q->record_end(device, &none) == AC_OK && none, "an upload is refused, the recording is not hurt");
    q->release_recording(device, none);
    none = NULL;
    TAP_OK(q->record_begin(device) == AC_OK && b->add(device, AC_F32, array, array, 4) == AC_OK && b->download(device, &host, array, sizeof host) != AC_OK &&
               q->record_end(device, &none) != AC_OK && !none, "a download ends it");
    TAP_OK(b->add(device, AC_F32, array, array, 4) == AC_OK && b->download(device, &host, array, sizeof host) == AC_OK && host == 16, "and the device is as it was");
    TAP_OK(q->record_begin(device) == AC_OK && q->record_begin(device) != AC_OK && b->add(device, AC_F32, array, array, 4) == AC_OK, "a second beginning is refused, and does not fail what is asked for next");
    (void)!q->record_end(device, &none);
    q->release_recording(device, none);
    q->release_recording(device, recording);
    b->release(device, array);
}

/* ---- steps ---- */

typedef struct net { /* one graph for each of two batch sizes, over the same parameters */
    ac_graph *graph;
    ac_value images, keys, targets, weights, scale, loss, logits;
    int batch;
} net;

typedef struct trial {
    ac_device *device;
    net net[2];
    ac_plan *plan[2];
    ac_params *params;
    ac_optimizer *optimizer;
    ac_step *step;
} trial;

typedef struct outcome { /* what must be the same, bit for bit */
    ac_step_state state[N_STEPS];
    float *arena[5]; /* values, gradients, running statistics, moments */
    size_t n[5];
    bool recorded;
} outcome;

typedef enum step_kind {
    ONE_PLAN,      /* each step one batch */
    MICRO_BATCHES, /* two of the first plan, one of the second */
    UPDATE_ALONE,  /* as where gradients are summed by the host: the update comes behind */
    HOST_HOOK,     /* backward asks for something that cannot be recorded */
    N_KINDS
} step_kind;

static ac_status build_net(net *n, int batch, ac_dtype type)
{
    ac_status status = AC_OK;
    const ac_image_input_attribute input = {{.4f, .5f, .6f}, {.2f, .25f, .3f}, true, 3, {AC_AUGMENT_COLOUR, .2f, .2f, .2f, .1f, 0}};
    const ac_batch_norm_attribute norm = {1e-5f, .1f, AC_ACTIVATION_RELU, 0, 1};
    n->batch = batch;
    AC_TRY(ac_graph_create(type, &n->graph));
    ac_graph *g = n->graph;
    n->images = ac_graph_input(g, "images", &(ac_shape){4, {batch, SIDE, SIDE, 3}, AC_U8});
    n->keys = ac_graph_input(g, "keys", &(ac_shape){1, {batch}, AC_I64});
    ac_value x = ac_add_image_input(g, "input", n->images, n->keys, &input);
    x = ac_add_conv2d(g, "first", x, &(ac_conv2d_attribute){.out_channels = 16, .kernel_px = 3, .stride_px = 1, .padding_px = 1, .groups = 1,
                      .weight_init = {AC_INIT_NORMAL, 0, .3f}, .bias_init = {AC_INIT_NORMAL, 0, .3f}});
    x = ac_add_batch_norm(g, "norm", x, AC_NO_VALUE, &norm);
    ac_value y = ac_add_conv2d(g, "second", x, &(ac_conv2d_attribute){.out_channels = 16, .kernel_px = 3, .stride_px = 1, .padding_px = 1, .groups = 16,
                               .weight_init = {AC_INIT_NORMAL, 0, .3f}, .bias_init = {AC_INIT_NORMAL, 0, .3f}});
    x = ac_add_batch_norm(g, "sum", y, x, &norm);
    x = ac_add_max_pool(g, "pool", x, &(ac_pool_attribute){3, 2, 1});
    x = ac_add_global_avg_pool(g, "average", x);
    ac_value logits = ac_add_linear(g, "head", x, &(ac_linear_attribute){.out_features = M, .bias = true, .float32_output = true, .weight_init = {AC_INIT_NORMAL, 0, .5f},
                                    .bias_init = {AC_INIT_NORMAL, 0, .5f}});
    ac_graph_result(g, logits);
    n->logits = logits;
    n->targets = ac_graph_input(g, "targets", &(ac_shape){2, {batch, M}, AC_U8});
    n->weights = ac_graph_input(g, "weights", &(ac_shape){1, {M + 1}, AC_F64});
    n->scale = ac_graph_input(g, "scale", &(ac_shape){1, {1}, AC_F64});
    n->loss = ac_add_any_class_loss(g, "loss", logits, n->targets, n->weights, n->scale, &(ac_loss_config){AC_LOSS_FOCAL, 2, 1, .3});
    AC_TRY(ac_graph_finish(g));
out:
    return status;
}

static void close_trial(trial *t)
{
    ac_step_destroy(t->step);
    ac_optimizer_destroy(t->optimizer);
    for (int p = 0; p < 2; p++)
        ac_plan_destroy(t->plan[p]);
    ac_params_destroy(t->params);
    if (t->device)
        t->device->backend->close(t->device);
    for (int p = 0; p < 2; p++)
        ac_graph_destroy(t->net[p].graph);
}

static ac_status open_trial(trial *t, const char *backend, ac_dtype type, bool dynamic_scale, bool record)
{
    ac_status status = AC_OK;
    memset(t, 0, sizeof *t);
    const ac_optimizer_config optimizer = {.kind = AC_OPTIMIZER_ADAMW, .weight_decay = .01, .beta1 = .9, .beta2 = .999, .epsilon = 1e-8, .max_norm = 1, .dynamic_scale = dynamic_scale};
    AC_TRY(build_net(&t->net[0], MOST_IMAGES, type));
    AC_TRY(build_net(&t->net[1], MOST_IMAGES - 1, type));
    AC_TRY(ac_backend_find(backend)->open(2, &t->device));
    AC_TRY(ac_params_create(t->device, t->net[0].graph, true, &t->params));
    AC_TRY(ac_params_init(t->params, 11));
    AC_TRY(ac_optimizer_create(&optimizer, t->params, &t->optimizer));
    for (int p = 0; p < 2; p++) {
        AC_TRY(ac_plan_create(t->net[p].graph, t->params, true, &t->plan[p]));
        AC_TRY(ac_plan_bind(t->plan[p], NULL));
    }
    AC_TRY(ac_step_create(&(ac_step_config){.optimizer = t->optimizer, .n_plans = 2, .plan = {t->plan[0], t->plan[1]}, .loss = {t->net[0].loss, t->net[1].loss}, .record = record}, &t->step));
out:
    return status;
}

/* What micro-batch `number` of the training holds; the memory is used again for the next one. */
static ac_status write_inputs(trial *t, int p, int number)
{
    ac_status status = AC_OK;
    static uint8_t images[MOST_IMAGES * SIDE * SIDE * 3], targets[MOST_IMAGES * M];
    const net *n = &t->net[p];
    const double weights[M + 1] = {1, .5, 2, 1.5, .25, .75}, scale = .25;
    int64_t keys[MOST_IMAGES];
    size_t n_pixels = (size_t)(n->batch * SIDE * SIDE * 3), n_targets = (size_t)(n->batch * M);
    for (size_t i = 0; i < n_pixels; i++)
        images[i] = (uint8_t)ac_random_block((uint64_t)number, AC_STREAM_TEST, i, 0).word[0];
    for (size_t i = 0; i < n_targets; i++)
        targets[i] = ac_random_block((uint64_t)number, AC_STREAM_TEST, i, 1).word[0] % 3 == 0;
    for (int i = 0; i < n->batch; i++)
        keys[i] = number * 10 + i;
    AC_TRY(ac_plan_write(t->plan[p], n->images, images, n_pixels));
    AC_TRY(ac_plan_write(t->plan[p], n->keys, keys, (size_t)n->batch * sizeof *keys));
    AC_TRY(ac_plan_write(t->plan[p], n->targets, targets, n_targets));
    AC_TRY(ac_plan_write(t->plan[p], n->weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(t->plan[p], n->scale, &scale, sizeof scale));
out:
    return status;
}

/* A hook that needs the host amid a step. */
static ac_status look_at_gradient(void *context, size_t n_ready)
{
    const trial *t = context;
    float value;
    return n_ready > 0 ? t->device->backend->download(t->device, &value, t->params->gradient, sizeof value) : AC_OK;
}

static ac_status ask_for_step(trial *t, step_kind kind, int k)
{
    ac_status status = AC_OK;
    const ac_plan_hooks hooks = {.gradient_ready = look_at_gradient, .gradient_context = t}, *given = kind == HOST_HOOK ? &hooks : NULL;
    double rate = 1e-2 / (1 + k / 2); /* a new one every other step */
    int n_micro = kind == MICRO_BATCHES ? 3 : 1;
    for (int m = 0; m < n_micro; m++) {
        bool last = m == n_micro - 1;
        int p = n_micro > 1 && last;
        AC_TRY(write_inputs(t, p, k * 3 + m));
        AC_TRY(ac_step_run(t->step, p, (m == 0 ? AC_STEP_FIRST : 0) | (last ? AC_STEP_LAST : 0) | (last && kind != UPDATE_ALONE ? AC_STEP_UPDATE : 0), given, rate));
    }
    if (kind == UPDATE_ALONE) {
        double loss;
        AC_TRY(ac_step_read_loss(t->step, &loss));
        AC_TRY(ac_step_update(t->step, rate));
    }
    AC_TRY(ac_step_end(t->step));
out:
    return status;
}

static ac_status take_arenas(trial *t, outcome *out)
{
    ac_status status = AC_OK;
    const ac_params *p = t->params;
    const float *const from[5] = {p->value, p->gradient, p->buffer, t->optimizer->moment[0], t->optimizer->moment[1]};
    for (int i = 0; i < 5; i++) {
        out->n[i] = i == 2 ? p->n_buffers : p->n_values;
        AC_TRY(ac_calloc(out->n[i], sizeof(float), &out->arena[i]));
        AC_TRY(t->device->backend->download(t->device, out->arena[i], from[i], out->n[i] * sizeof(float)));
    }
out:
    return status;
}

/* @param ahead  steps that may wait */
static ac_status train(outcome *out, const char *backend, ac_dtype type, bool dynamic_scale, step_kind kind, bool record, int ahead)
{
    ac_status status = AC_OK;
    trial t;
    int n_taken = 0;
    memset(out, 0, sizeof *out);
    AC_TRY(open_trial(&t, backend, type, dynamic_scale, record));
    for (int k = 0; k < N_STEPS; k++) {
        AC_TRY(ask_for_step(&t, kind, k));
        while (ac_step_n_waiting(t.step) > (k == N_STEPS - 1 ? 0 : ahead)) {
            AC_TRY(ac_step_take(t.step, &out->state[n_taken]));
            n_taken++;
        }
    }
    AC_TRY(take_arenas(&t, out));
    out->recorded = ac_step_is_recorded(t.step);
out:
    close_trial(&t);
    return status;
}

static void release(outcome *out)
{
    for (int i = 0; i < 5; i++)
        ac_free(out->arena[i]);
}

/* The device may hold the next rate already when a step is taken. */
static bool same_state(const ac_step_state *a, const ac_step_state *b)
{
    return memcmp(&a->loss, &b->loss, sizeof a->loss) == 0 && memcmp(&a->gradient_norm, &b->gradient_norm, sizeof a->gradient_norm) == 0 && a->learning_rate == b->learning_rate &&
           a->loss_scale == b->loss_scale && a->n_updates == b->n_updates && a->n_even == b->n_even && a->n_skipped == b->n_skipped && a->failure == b->failure;
}

static bool same(const outcome *a, const outcome *b)
{
    bool good = true;
    for (int k = 0; k < N_STEPS; k++)
        good = good && same_state(&a->state[k], &b->state[k]);
    for (int i = 0; i < 5; i++)
        good = good && a->n[i] == b->n[i] && memcmp(a->arena[i], b->arena[i], a->n[i] * sizeof(float)) == 0;
    return good;
}

static void check_kind(const char *name, step_kind kind, ac_dtype type, bool dynamic_scale)
{
    outcome plain, recorded, ref;
    emulated_counts before, after;
    emulated_set_order("early", "forward");
    bool ran = TAP_OK(train(&plain, "cuda", type, dynamic_scale, kind, false, 0) == AC_OK && !plain.recorded, "%s: plainly", name);
    if (type == AC_F32 && ran) {
        ran = train(&ref, "ref", type, dynamic_scale, kind, true, 1) == AC_OK && !ref.recorded;
        double worst = 0;
        for (int k = 0; k < N_STEPS && ran; k++)
            worst = worse(worst, fabs(ref.state[k].loss / plain.state[k].loss - 1));
        /* rounding of 1e-7, grown by AdamW's steps of a rate whatever the gradient: seen 2e-6 */
        TAP_OK(ran && worst < 1e-4 && ref.state[N_STEPS - 1].n_updates == plain.state[N_STEPS - 1].n_updates, "%s: losses within %.2g of ref's", name, worst);
        release(&ref);
    }
    for (size_t o = 0; ran && o < (kind == HOST_HOOK ? 2 : N_ORDERS); o++) {
        int ahead = (o + (size_t)kind) % 3 > 0;
        emulated_set_order(orders[o], "");
        emulated_total_counts(NULL, &before);
        bool good = train(&recorded, "cuda", type, dynamic_scale, kind, true, ahead) == AC_OK;
        emulated_total_counts(NULL, &after);
        TAP_OK(good && recorded.recorded == (kind != HOST_HOOK) && after.n_kernels > before.n_kernels, "%s: streams \"%s\", %d steps ahead: %s", name, orders[o], ahead,
               kind == HOST_HOOK ? "not recorded" : "recorded");
        TAP_OK(good && same(&plain, &recorded), "%s: streams \"%s\", %d steps ahead: the same bits", name, orders[o], ahead);
        release(&recorded);
    }
    release(&plain);
}

static void check_limit(void)
{
    trial t;
    ac_step_state state;
    emulated_set_order("late", "");
    bool good = open_trial(&t, "cuda", AC_F32, false, true) == AC_OK && ask_for_step(&t, ONE_PLAN, 0) == AC_OK && ask_for_step(&t, ONE_PLAN, 1) == AC_OK;
    TAP_OK(good && ac_step_n_waiting(t.step) == AC_STEPS_AHEAD && ac_step_end(t.step) == AC_ERR_RANGE, "not more steps wait than may");
    TAP_OK(good && ac_step_take(t.step, &state) == AC_OK && state.n_updates == 1 && ac_step_take(t.step, &state) == AC_OK && state.n_updates == 2, "and they come in order");
    TAP_OK(good && ac_step_take(t.step, &state) == AC_ERR_RANGE, "none is left");
    good = good && ask_for_step(&t, ONE_PLAN, 2) == AC_OK;
    close_trial(&t); /* with a step under way */
    TAP_OK(good && emulated_n_pending() == 0 && !emulated_take_failure(), "a step under way is waited for when all is closed");
}

/* ---- passes ---- */

enum { N_PASSES = 6, CHANGES_AT = 4 /* when passes are replayed already */ };

/* Passes of a plan for inference over one batch; all weights are halved in front of pass CHANGES_AT, as where the next checkpoint is loaded. @param[out] logits of all */
static ac_status score(float logits[N_PASSES][MOST_IMAGES * M], ac_dtype type, bool record)
{
    ac_status status = AC_OK;
    trial t;
    ac_forward *pass = NULL;
    float *values = NULL;
    void *result;
    memset(logits, 0, sizeof(float) * N_PASSES * MOST_IMAGES * M);
    AC_TRY(open_trial(&t, "cuda", type, false, false));
    AC_TRY(ac_malloc(t.params->n_values, sizeof *values, &values));
    ac_plan_destroy(t.plan[0]); /* it was for training */
    AC_TRY(ac_plan_create(t.net[0].graph, t.params, false, &t.plan[0]));
    AC_TRY(ac_plan_bind(t.plan[0], NULL));
    AC_TRY(ac_forward_create(t.plan[0], t.net[0].logits, record, &pass));
    for (int k = 0; k < N_PASSES; k++) {
        if (k == CHANGES_AT) {
            AC_TRY(t.device->backend->download(t.device, values, t.params->value, t.params->n_values * sizeof *values));
            for (size_t i = 0; i < t.params->n_values; i++)
                values[i] /= 2;
            AC_TRY(t.device->backend->upload(t.device, t.params->value, values, t.params->n_values * sizeof *values));
            ac_params_changed(t.params);
        }
        AC_TRY(write_inputs(&t, 0, 0));
        AC_TRY(ac_forward_run(pass));
        AC_TRY(ac_forward_take(pass, &result));
        memcpy(logits[k], result, sizeof logits[k]);
    }
out:
    ac_forward_destroy(pass);
    ac_free(values);
    close_trial(&t);
    return status;
}

/* What is made of parameters for all passes must be made anew when they change, also where passes are replayed. */
static void check_passes(const char *name, ac_dtype type)
{
    float plain[N_PASSES][MOST_IMAGES * M], recorded[N_PASSES][MOST_IMAGES * M];
    emulated_counts before, after;
    emulated_set_order("late", "");
    bool good = TAP_OK(score(plain, type, false) == AC_OK && memcmp(plain[0], plain[CHANGES_AT - 1], sizeof *plain) == 0 && memcmp(plain[0], plain[CHANGES_AT], sizeof *plain) != 0,
                       "%s: passes before and behind a change of the parameters", name);
    emulated_total_counts(NULL, &before);
    good = good && score(recorded, type, true) == AC_OK;
    emulated_total_counts(NULL, &after);
    TAP_OK(good && after.n_kernels > before.n_kernels && memcmp(plain, recorded, sizeof plain) == 0, "%s: the same bits where they are recorded", name);
}

int main(void)
{
    emulated_set_order("late", "");
    ac_device *device = open_device("cuda");
    if (device) {
        check_uploads(device);
        check_results(device);
        check_recording(device);
        device->backend->close(device);
    }
    check_limit();
    check_passes("passes, f32", AC_F32);
    check_passes("passes, bf16", AC_BF16);
    check_kind("one plan, f32", ONE_PLAN, AC_F32, false);
    check_kind("micro-batches, f32", MICRO_BATCHES, AC_F32, false);
    check_kind("micro-batches, bf16, scaled", MICRO_BATCHES, AC_BF16, true);
    check_kind("update alone, bf16", UPDATE_ALONE, AC_BF16, false);
    check_kind("a hook that waits, f32", HOST_HOOK, AC_F32, false);
    TAP_OK(ac_alloc_get_stats().n_live == 0, "nothing is left");
    return tap_done();
}
