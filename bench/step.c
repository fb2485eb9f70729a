/* Whole training or inference steps of a model on random pixels, as peer_train.py runs PyTorch's: forward, loss, backward,
 * clipping and SGD, or forward alone. Prints one JSON line. No data, no files.
 * usage: step [MODEL [BATCH [STEPS [THREADS [32|tf32|bf16|f16 [train|infer]]]]]]
 * BACKEND=cuda: on that backend (the batch is sent to it for each step); OPTIMIZER=adamw; GRAPH=0: steps are not recorded; RATE=0.01: learning rate;
 * CURVE=1: the loss of every step on a line of its own, to stderr; SIDE=64: image size */
#include "anyclass/alloc.h"
#include "anyclass/forward.h"
#include "anyclass/log.h"
#include "anyclass/model.h"
#include "anyclass/optimizer.h"
#include "anyclass/plan.h"
#include "anyclass/random.h"
#include "anyclass/step.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { M = 17, WARM_UP = 3 }; /* the first step sets things up, the second is recorded */

typedef struct bench {
    bool training;
    ac_network net;
    ac_device *device;
    ac_params *params;
    ac_optimizer *optimizer;
    ac_plan *plan;
    ac_step *step;
    ac_forward *pass;
    double learning_rate;
    int64_t side;
    uint8_t *images, *targets;
    int64_t *keys;
    double first_loss, loss; /* of the first step, of the last */
} bench;

static void close_bench(bench *b)
{
    ac_free(b->images);
    ac_free(b->targets);
    ac_free(b->keys);
    ac_step_destroy(b->step);
    ac_forward_destroy(b->pass);
    ac_plan_destroy(b->plan);
    ac_optimizer_destroy(b->optimizer);
    ac_params_destroy(b->params);
    if (b->device)
        b->device->backend->close(b->device);
    ac_network_release(&b->net);
}

static ac_status open_bench(bench *b, const char *model, int64_t batch, int n_threads, const char *precision)
{
    ac_status status = AC_OK;
    const char *backend = getenv("BACKEND") ? getenv("BACKEND") : "cpu", *optimizer = getenv("OPTIMIZER"), *graph = getenv("GRAPH");
    ac_dtype activations = strcmp(precision, "bf16") == 0 ? AC_BF16 : strcmp(precision, "f16") == 0 ? AC_F16 : AC_F32;
    const ac_optimizer_config config = {.kind = optimizer && strcmp(optimizer, "adamw") == 0 ? AC_OPTIMIZER_ADAMW : AC_OPTIMIZER_SGD, .weight_decay = 1e-4, .momentum = .9,
                                        .beta1 = .9, .beta2 = .999, .epsilon = 1e-8, .max_norm = 1, .dynamic_scale = activations == AC_F16};
    b->side = getenv("SIDE") ? atoi(getenv("SIDE")) : 224;
    ac_network_options o = {.model = ac_model_find(model), .batch = batch, .image_size_px = (int)b->side, .n_classes = M, .mean = {.47f, .447f, .408f},
                            .std = {.233f, .228f, .231f}, .training = b->training, .flip = true, .seed = 1, .loss = {AC_LOSS_BCE, 2, 1, .1},
                            .activation_dtype = activations};
    if (!o.model || batch < 1 || !ac_backend_find(backend))
        return ac_error(AC_ERR_USAGE, "models %s, a batch of 1 or more, backends %s", ac_model_names(), ac_backend_names());
    AC_TRY(ac_network_build(&o, &b->net));
    AC_TRY(ac_backend_find(backend)->open(n_threads, &b->device));
    AC_TRY(b->device->backend->check_precision(b->device, activations));
    if (strcmp(precision, "tf32") == 0)
        AC_TRY(b->device->backend->allow_tf32 ? b->device->backend->allow_tf32(b->device) : ac_error(AC_ERR_UNSUPPORTED, "%s has no tf32", backend));
    AC_TRY(ac_params_create(b->device, b->net.graph, b->training, &b->params));
    AC_TRY(ac_params_init(b->params, 1));
    if (b->training)
        AC_TRY(ac_optimizer_create(&config, b->params, &b->optimizer));
    AC_TRY(ac_plan_create(b->net.graph, b->params, b->training, &b->plan));
    AC_TRY(ac_plan_bind(b->plan, NULL));
    if (!b->training)
        AC_TRY(ac_forward_create(b->plan, b->net.logits, !graph || strcmp(graph, "0") != 0, &b->pass));
    else
        AC_TRY(ac_step_create(&(ac_step_config){.optimizer = b->optimizer, .n_plans = 1, .plan = {b->plan}, .loss = {b->net.loss},
                                                .record = !graph || strcmp(graph, "0") != 0}, &b->step));
    size_t n = (size_t)(batch * b->side * b->side * 3);
    AC_TRY(ac_malloc(n, 1, &b->images));
    AC_TRY(ac_calloc((size_t)batch, M, &b->targets));
    AC_TRY(ac_calloc((size_t)batch, sizeof *b->keys, &b->keys));
    for (size_t i = 0; i < n; i++)
        b->images[i] = (uint8_t)ac_random_block(1, AC_STREAM_TEST, i, 0).word[0];
    for (int64_t i = 0; i < batch * M; i += 7)
        b->targets[i] = 1;
out:
    return status;
}

static ac_status write_batch(bench *b, int64_t batch)
{
    ac_status status = AC_OK;
    double weights[M + 1], scale = 1.0 / (double)batch;
    AC_TRY(ac_plan_write(b->plan, b->net.images, b->images, (size_t)(batch * b->side * b->side * 3)));
    AC_TRY(ac_plan_write(b->plan, b->net.keys, b->keys, (size_t)batch * sizeof *b->keys));
    if (!b->training)
        return AC_OK;
    for (int c = 0; c <= M; c++)
        weights[c] = 1;
    AC_TRY(ac_plan_write(b->plan, b->net.targets, b->targets, (size_t)batch * M));
    AC_TRY(ac_plan_write(b->plan, b->net.class_weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(b->plan, b->net.inverse_denominator, &scale, sizeof scale));
out:
    return status;
}

/* The numbers of the step before this one are read, as the programs do it. */
static ac_status step(bench *b, int64_t batch, bool now)
{
    ac_status status = AC_OK;
    ac_step_state state;
    void *logits;
    AC_TRY(write_batch(b, batch));
    if (!b->training) {
        AC_TRY(ac_forward_run(b->pass));
        while (ac_forward_n_waiting(b->pass) > (now ? 0 : ac_forward_lag(b->pass)))
            AC_TRY(ac_forward_take(b->pass, &logits));
        return AC_OK;
    }
    AC_TRY(ac_step_run(b->step, 0, AC_STEP_FIRST | AC_STEP_LAST | AC_STEP_UPDATE, NULL, b->learning_rate));
    AC_TRY(ac_step_end(b->step));
    while (ac_step_n_waiting(b->step) > (now || !b->device->backend->queue ? 0 : AC_STEPS_AHEAD - 1)) {
        AC_TRY(ac_step_take(b->step, &state));
        b->loss = state.loss;
        if (getenv("CURVE"))
            fprintf(stderr, "loss %.9g\n", state.loss);
    }
out:
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static ac_status run(bench *b, const char *model, int64_t batch, int n_steps, const char *precision)
{
    ac_status status = AC_OK;
    double *times = NULL, *cpu = NULL; /* processor time says more where other work runs on the machine; with one thread, that is */
    struct rusage usage;
    char device[256];
    ac_plan_memory memory = ac_plan_get_memory(b->plan);
    size_t optimizer_bytes = b->optimizer ? b->params->n_values * sizeof(float) * (size_t)b->optimizer->n_moments : 0;
    AC_TRY(ac_malloc((size_t)n_steps, sizeof *times, &times));
    AC_TRY(ac_malloc((size_t)n_steps, sizeof *cpu, &cpu));
    for (int k = -WARM_UP; k < n_steps; k++) {
        double start = ac_now_s();
        clock_t used = clock();
        AC_TRY(step(b, batch, k < 0 || k == n_steps - 1));
        if (k == -WARM_UP)
            b->first_loss = b->loss;
        if (k >= 0) {
            times[k] = ac_now_s() - start;
            cpu[k] = (double)(clock() - used) / CLOCKS_PER_SEC;
        }
    }
    qsort(times, (size_t)n_steps, sizeof *times, by_value);
    qsort(cpu, (size_t)n_steps, sizeof *cpu, by_value);
    getrusage(RUSAGE_SELF, &usage);
    b->device->backend->describe(b->device, device, sizeof device);
    printf("{\"ours\": \"%s\", \"model\": \"%s\", \"precision\": \"%s\", \"batch\": %d, \"images_per_s\": %.3f, \"step_s\": %.4f, \"cpu_s\": %.4f, \"peak_rss_mib\": %ld, "
           "\"arena_mib\": %zu, \"params_mib\": %zu, \"recorded\": %d, \"gflop_per_image\": %.2f, \"first_loss\": %.6f, \"last_loss\": %.6f, \"device\": \"%s\"}\n",
           b->training ? "training" : "inference", model, precision, (int)batch, (double)batch / times[n_steps / 2], times[n_steps / 2],
           cpu[n_steps / 2], usage.ru_maxrss / 1024, memory.arena_bytes >> 20, (memory.param_bytes + optimizer_bytes) >> 20, b->step && ac_step_is_recorded(b->step), (b->training ? 3 : 1) * ac_graph_flops(b->net.graph) / 1e9 / (double)batch, b->first_loss,
           b->loss, device);
out:
    ac_free(times);
    ac_free(cpu);
    return status;
}

int main(int argc, char **argv)
{
    bench b = {.learning_rate = getenv("RATE") ? atof(getenv("RATE")) : .01, .training = !(argc > 6 && strcmp(argv[6], "infer") == 0)};
    const char *model = argc > 1 ? argv[1] : "resnet50", *precision = argc > 5 ? argv[5] : "32";
    int batch = argc > 2 ? atoi(argv[2]) : 8, n_steps = argc > 3 ? atoi(argv[3]) : 5, n_threads = argc > 4 ? atoi(argv[4]) : 0;
    ac_status status = open_bench(&b, model, batch, n_threads, precision);
    if (status == AC_OK)
        status = run(&b, model, batch, n_steps > 0 ? n_steps : 1, precision);
    if (status != AC_OK)
        fprintf(stderr, "step: %s\n", ac_error_text());
    close_bench(&b);
    return ac_status_exit_code(status);
}
