/* Whole networks on the emulated CUDA backend, its host code and its kernels together: logits, loss and every parameter's gradient against cpu; training
 * steps in float, bf16 and f16 against cpu's or ref's, asked for one by one and replayed. Operators by themselves are tests/nn/test_operators*. */
#include "anyclass/hash.h"
#include "anyclass/model.h"
#include "anyclass/step.h"
#include "tests/model/drawn.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <limits.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { MOST_IMAGES = 4, M = 5, MOST_STEPS = 5, OVERFLOWS_AT = 1, IN_F32 = 1, IN_BF16 = 2, IN_F16 = 4 };

typedef struct family {
    const char *model;
    int n, side_px, n_steps; /* images of a step */
    ac_optimizer_kind optimizer;
    double rate;
    unsigned steps_in;     /* precisions */
    double gradient_bound; /* of a parameter's gradient in float, against cpu's, relative to its norm */
    double float_bound, bf16_bound, f16_bound; /* of the steps' losses, relative to the first */
    bool is_small;         /* f16 against ref in f16 (else, where ref would take minutes, against cpu in float); steps are made unrecorded, too */
} family;

typedef struct trial {
    const family *f;
    ac_network net;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    ac_optimizer *optimizer;
    ac_step *step;
} trial;

static void close_trial(trial *t)
{
    ac_step_destroy(t->step);
    ac_plan_destroy(t->plan);
    ac_optimizer_destroy(t->optimizer);
    ac_params_destroy(t->params);
    if (t->device)
        t->device->backend->close(t->device);
    ac_network_release(&t->net);
    memset(t, 0, sizeof *t);
}

/* A training's first weights, drawn once for all runs of a family. ResNets' branches begin small, so that rounding does not grow from block to block; a ViT's head, which
 * begins with zeros, would leave the others no gradient. */
static ac_status begin_with(ac_params *params, const char *model)
{
    static char drawn_for[64];
    static float *values, *buffers;
    ac_status status = AC_OK;
    const ac_backend *b = params->device->backend;
    size_t n_bytes = params->n_values * sizeof(float), n_buffer_bytes = params->n_buffers * sizeof(float);
    if (strcmp(drawn_for, model) != 0) {
        AC_TRY(ac_params_init(params, 7));
        AC_TRY(ac_realloc(&values, params->n_values, sizeof *values));
        AC_TRY(ac_realloc(&buffers, params->n_buffers, sizeof *buffers));
        AC_TRY(b->download(params->device, values, params->value, n_bytes));
        AC_TRY(b->download(params->device, buffers, params->buffer, n_buffer_bytes));
        for (size_t p = 0; p < params->n_params; p++) {
            const char *name = params->info[p].name;
            float *value = values + params->offset[p];
            bool ends_branch = strncmp(name, "layer", 5) == 0 && drawn_ends_with(name, "bn2.weight"), is_zero = strcmp(name, "heads.head.weight") == 0;
            for (int64_t i = 0; (ends_branch || is_zero) && i < ac_shape_elements(&params->info[p].shape); i++)
                value[i] = is_zero ? (float)(drawn(name, (uint64_t)i) - .5) / 16 : value[i] / 4;
        }
        snprintf(drawn_for, sizeof drawn_for, "%s", model);
    }
    AC_TRY(b->upload(params->device, params->value, values, n_bytes));
    AC_TRY(b->upload(params->device, params->buffer, buffers, n_buffer_bytes));
    ac_params_changed(params);
out:
    return status;
}

static ac_status open_trial(trial *t, const family *f, const char *backend, ac_dtype activations, bool record)
{
    ac_status status = AC_OK;
    const ac_optimizer_config config = {.kind = f->optimizer, .momentum = .9, .beta1 = .9, .beta2 = .999, .epsilon = 1e-8, .weight_decay = 1e-4, .max_norm = 1,
                                        .dynamic_scale = activations == AC_F16};
    const ac_network_options o = {.model = ac_model_find(f->model), .batch = f->n, .image_size_px = f->side_px, .n_classes = M, .mean = {.5f, .5f, .5f},
                                  .std = {.25f, .25f, .25f}, .training = true, .flip = true, .seed = 3, .loss = {AC_LOSS_FOCAL, 2, 1, .1}, .dropout = .1f,
                                  .stochastic_depth = -1, .activation_dtype = activations};
    memset(t, 0, sizeof *t);
    t->f = f;
    AC_TRY(ac_network_build(&o, &t->net));
    AC_TRY(ac_backend_find(backend)->open(1, &t->device));
    AC_TRY(t->device->backend->check_precision(t->device, activations));
    AC_TRY(ac_params_create(t->device, t->net.graph, true, &t->params));
    AC_TRY(begin_with(t->params, f->model));
    AC_TRY(ac_optimizer_create(&config, t->params, &t->optimizer));
    AC_TRY(ac_plan_create(t->net.graph, t->params, true, &t->plan));
    AC_TRY(ac_plan_bind(t->plan, NULL));
    AC_TRY(ac_step_create(&(ac_step_config){.optimizer = t->optimizer, .n_plans = 1, .plan = {t->plan}, .loss = {t->net.loss}, .record = record}, &t->step));
out:
    return status;
}

/* Images whose labels can be seen: each brightens a stripe. */
static ac_status write_batch(trial *t, int k)
{
    ac_status status = AC_OK;
    static uint8_t images[MOST_IMAGES * 224 * 224 * 3];
    uint8_t y[MOST_IMAGES * M];
    int64_t keys[MOST_IMAGES];
    size_t side = (size_t)t->f->side_px, n_images = (size_t)t->f->n, n_bytes = n_images * side * side * 3;
    double weights[M + 1], scale;
    char name[32];
    snprintf(name, sizeof name, "labels %d", k);
    for (size_t i = 0; i < n_images * M; i++)
        y[i] = drawn(name, i) < .3;
    snprintf(name, sizeof name, "pixels %d", k);
    for (size_t i = 0; i < n_bytes; i++) {
        size_t n = i / (side * side * 3), row = i / (side * 3) % side;
        images[i] = (uint8_t)(128 * drawn(name, i) + 127 * y[n * M + row * M / side]);
    }
    for (size_t i = 0; i < n_images; i++)
        keys[i] = k * (int64_t)n_images + (int64_t)i;
    for (int c = 0; c <= M; c++)
        weights[c] = 1;
    scale = 1.0 / (double)ac_loss_denominator(y, n_images, M);
    AC_TRY(ac_plan_write(t->plan, t->net.images, images, n_bytes));
    AC_TRY(ac_plan_write(t->plan, t->net.keys, keys, n_images * sizeof *keys));
    AC_TRY(ac_plan_write(t->plan, t->net.targets, y, n_images * M));
    AC_TRY(ac_plan_write(t->plan, t->net.class_weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(t->plan, t->net.inverse_denominator, &scale, sizeof scale));
out:
    return status;
}

static ac_status pass(trial *t, double *loss, float *logits, float **gradient)
{
    ac_status status = AC_OK;
    size_t n = t->params->n_values;
    AC_TRY(write_batch(t, 0));
    AC_TRY(ac_plan_forward(t->plan));
    AC_TRY(ac_plan_backward(t->plan, false));
    AC_TRY(ac_plan_read(t->plan, t->net.loss, loss, sizeof *loss));
    AC_TRY(ac_plan_read(t->plan, t->net.logits, logits, (size_t)t->f->n * M * sizeof *logits));
    AC_TRY(ac_realloc(gradient, n, sizeof **gradient));
    AC_TRY(t->device->backend->download(t->device, *gradient, t->params->gradient, n * sizeof **gradient));
out:
    return status;
}

static double distance(const float *a, const float *b, size_t n, double *norm)
{
    double error = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        square += (double)a[i] * (double)a[i];
    }
    *norm = sqrt(square);
    return sqrt(error);
}

/* One forward and backward pass in float. */
static void test_gradients(const family *f)
{
    trial a, b;
    double loss_a = 0, loss_b = 0, norm = 0, whole, worst = 0;
    float logits[2][MOST_IMAGES * M], *gradient[2] = {NULL, NULL};
    const char *name = "";
    bool ran = TAP_CALL(open_trial(&a, f, "cpu", AC_F32, false)) & TAP_CALL(open_trial(&b, f, "cuda", AC_F32, false));
    ran = ran && TAP_CALL(pass(&a, &loss_a, logits[0], &gradient[0])) && TAP_CALL(pass(&b, &loss_b, logits[1], &gradient[1]));
    double of_logits = ran ? distance(logits[0], logits[1], (size_t)f->n * M, &norm) / norm : 1;
    /* with a head of zeros they would be 0, and nothing be compared */
    TAP_OK(ran && norm > 1e-3 && of_logits < 1e-5, "%s: logits differ by %.2g of their norm, %.2g", f->model, of_logits, norm);
    TAP_OK(fabs(loss_a - loss_b) < 2e-6 * loss_a, "%s: the loss differs by %.2g", f->model, fabs(loss_a - loss_b) / loss_a);
    double of_all = ran ? distance(gradient[0], gradient[1], a.params->n_values, &whole) / whole : 1;
    TAP_OK(of_all < f->gradient_bound, "%s: the gradient differs by %.2g of its norm", f->model, of_all);
    for (size_t p = 0; ran && p < a.params->n_params; p++) {
        size_t n = (size_t)ac_shape_elements(&a.params->info[p].shape), at = a.params->offset[p];
        if (a.params->info[p].role == AC_PARAM_BUFFER)
            continue;
        double off = distance(gradient[0] + at, gradient[1] + at, n, &norm);
        /* what cancels to almost nothing is held against a thousandth of the whole */
        off /= fmax(norm, 1e-3 * whole);
        if (!(off <= worst)) {
            worst = worse(worst, off);
            name = a.params->info[p].name;
        }
    }
    TAP_OK(ran && worst < f->gradient_bound, "%s: each parameter's gradient, the worst (%s) differs by %.2g of its norm", f->model, name, worst);
    ac_free(gradient[0]);
    ac_free(gradient[1]);
    close_trial(&a);
    close_trial(&b);
}

typedef struct training { /* what became of one */
    double loss[MOST_STEPS], norm[MOST_STEPS];
    ac_hash weights;
    size_t arena_bytes;
    int64_t n_updates, n_skipped;
    bool recorded;
} training;

/* In f16 step OVERFLOWS_AT is given a loss scale that makes it overflow. */
static ac_status train(const family *f, const char *backend, ac_dtype activations, bool record, training *out)
{
    ac_status status = AC_OK;
    trial t;
    ac_step_state state;
    memset(out, 0, sizeof *out);
    AC_TRY(open_trial(&t, f, backend, activations, record));
    out->arena_bytes = ac_plan_get_memory(t.plan).arena_bytes;
    for (int k = 0; k < f->n_steps; k++) {
        if (activations == AC_F16)
            t.optimizer->state.loss_scale = k == OVERFLOWS_AT ? 0x1p60 : 1024;
        AC_TRY(write_batch(&t, k));
        AC_TRY(ac_step_run(t.step, 0, AC_STEP_FIRST | AC_STEP_LAST | AC_STEP_UPDATE, NULL, f->rate));
        AC_TRY(ac_step_end(t.step));
        AC_TRY(ac_step_take(t.step, &state));
        out->loss[k] = state.loss;
        out->norm[k] = state.gradient_norm;
    }
    out->n_updates = state.n_updates;
    out->n_skipped = state.n_skipped;
    out->recorded = ac_step_is_recorded(t.step);
    AC_TRY(ac_params_hash(t.params, false, &out->weights));
out:
    close_trial(&t);
    return status;
}

static double largest_difference(const family *f, const training *a, const training *b)
{
    double worst = 0;
    for (int k = 0; k < f->n_steps; k++)
        worst = worse(worst, fabs(a->loss[k] - b->loss[k]) / a->loss[0]);
    return worst;
}

/* The same training on the emulated device, replayed and (small ones) asked for step by step, and elsewhere. */
static void test_steps(const family *f, ac_dtype activations, const char *other, ac_dtype other_activations, double bound)
{
    training replayed, plain, elsewhere;
    const char *type = ac_dtype_name(activations);
    int n_overflows = activations == AC_F16;
    bool ran = TAP_CALL(train(f, "cuda", activations, true, &replayed));
    TAP_OK(ran && replayed.recorded, "%s in %s: %d steps are recorded and replayed", f->model, type, f->n_steps);
    TAP_OK(ran && replayed.n_skipped == n_overflows && replayed.n_updates == f->n_steps - n_overflows, "%s in %s: %lld updates, %lld steps overflowed", f->model, type,
           (long long)replayed.n_updates, (long long)replayed.n_skipped);
    if (f->is_small && activations != AC_BF16) {
        ran = TAP_CALL(train(f, "cuda", activations, false, &plain)) && ran;
        TAP_OK(ran && !plain.recorded && memcmp(plain.loss, replayed.loss, sizeof plain.loss) == 0 && memcmp(plain.norm, replayed.norm, sizeof plain.norm) == 0 &&
                   ac_hash_equal(plain.weights, replayed.weights),
               "%s in %s: they are the steps that are not recorded, bit for bit", f->model, type);
        TAP_OK(ran && plain.arena_bytes == replayed.arena_bytes, "%s in %s: in the same arena of %zu KiB", f->model, type, plain.arena_bytes >> 10);
    }
    if (ran && train(f, other, other_activations, false, &elsewhere) == AC_OK) {
        double off = largest_difference(f, &elsewhere, &replayed);
        TAP_OK(off < bound, "%s in %s: losses differ from %s's in %s by %.2g of the first", f->model, type, other, ac_dtype_name(other_activations), off);
    } else {
        TAP_SKIP(ac_error_text());
    }
}

/* Of emulated float passes the libraries' products and sums in another order are all that differs: seen are 1.7e-5 of a parameter's gradient (resnet18, whose last
 * batch norms see four values), 2.8e-6, 2.1e-6 and 9.3e-6, of losses 1.1e-6 (resnet18, five steps), 5e-8, 1.1e-6, 2.8e-7. In bf16 the bias of products and probabilities are
 * rounded once more than on the CPU (docs/cuda.md): 0.012, 4.5e-4, 5.8e-4, 3.1e-3. f16 has three bits more: 0.002 from ref in f16; the others, from
 * cpu in float, 1.2e-4, 8.2e-4 (AdamW's first step is as long for a gradient of almost nothing) and 4.4e-4. Bounds are two to five times that, of vit_b_16 1.2 to 2. */
static const family families[] = {
    {"resnet18", 4, 32, 5, AC_OPTIMIZER_SGD, .001, IN_F32 | IN_BF16 | IN_F16, 1e-4, 5e-6, .03, .005, true},
    {"tresnet_m", 2, 64, 2, AC_OPTIMIZER_SGD, .001, IN_BF16, 1e-5, 2e-6, .002, .002, false},
    {"vit_b_16", 2, 32, 2, AC_OPTIMIZER_ADAMW, 1e-4, IN_F16, 1e-5, 2e-6, .001, .001, false},
    {"maxvit_t", 1, 224, 2, AC_OPTIMIZER_ADAMW, 1e-4, IN_F16, 5e-5, 2e-6, .01, .002, false},
};

/* usage: test_models [MODEL]    that one's steps in all precisions; else in some of the larger ones', which take their time */
int main(int argc, char **argv)
{
#ifdef __GLIBC__ /* each run of a model has the pages of the last one: to clear them anew took a third of the time in the kernel */
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        const family *f = &families[i];
        const char *models = argc > 1 ? argv[1] : getenv("ANYCLASS_TEST_MODELS"); /* names with spaces between them */
        if (models && !strstr(models, f->model))
            continue;
        unsigned in = argc > 1 ? ~0u : f->steps_in;
        /* The gradients of weights by our own kernel are resnet18's to test; emulated they took a third of tresnet_m's time. */
        if (f->is_small)
            unsetenv("ANYCLASS_CUDA_DWEIGHT");
        else
            setenv("ANYCLASS_CUDA_DWEIGHT", "cudnn", 1);
        test_gradients(f);
        if (in & IN_F32)
            test_steps(f, AC_F32, "cpu", AC_F32, f->float_bound);
        if (in & IN_BF16)
            test_steps(f, AC_BF16, "cpu", AC_BF16, f->bf16_bound);
        if (in & IN_F16)
            test_steps(f, AC_F16, f->is_small ? "ref" : "cpu", f->is_small ? AC_F16 : AC_F32, f->f16_bound);
    }
    return tap_done();
}
