/* The graph's refusals and the plan's arena: training steps give the same bits whatever the arena held before and on
 * every repetition, sharing included; every allocation of building and planning fails once. */
#include "anyclass/alloc.h"
#include "anyclass/model.h"
#include "anyclass/plan.h"
#include "anyclass/random.h"
#include "nn/plan_internal.h"
#include "tests/model/drawn.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

enum { BATCH = 3, SIDE = 40, M = 4 };

typedef struct trial {
    ac_network net;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    unsigned char *arena;
} trial;

static void close_trial(trial *t)
{
    ac_plan_destroy(t->plan);
    ac_params_destroy(t->params);
    if (t->device)
        t->device->backend->close(t->device);
    ac_network_release(&t->net);
    ac_free(t->arena);
    memset(t, 0, sizeof *t);
}

static ac_status open_trial(trial *t, const char *model, const char *backend, ac_dtype activations, bool training)
{
    ac_status status = AC_OK;
    ac_network_options o = {.model = ac_model_find(model), .batch = BATCH, .image_size_px = SIDE, .n_classes = M, .mean = {.5f, .5f, .5f},
                            .std = {.25f, .25f, .25f}, .training = training, .seed = 3, .loss = {AC_LOSS_FOCAL, 2, 1, .1}, .activation_dtype = activations};
    memset(t, 0, sizeof *t);
    AC_TRY(ac_network_build(&o, &t->net));
    AC_TRY(ac_backend_find(backend)->open(2, &t->device));
    AC_TRY(ac_params_create(t->device, t->net.graph, training, &t->params));
    AC_TRY(ac_plan_create(t->net.graph, t->params, training, &t->plan));
    AC_TRY(ac_malloc(ac_plan_get_memory(t->plan).arena_bytes, 1, &t->arena));
    AC_TRY(ac_plan_bind(t->plan, t->arena));
out:
    return status;
}

/* A step on fixed pixels; the arena is filled with `poison` first. */
static ac_status run_step(trial *t, int poison, double *loss, ac_hash *gradients)
{
    ac_status status = AC_OK;
    static uint8_t images[BATCH * SIDE * SIDE * 3];
    const int64_t keys[BATCH] = {1, 2, 3};
    const uint8_t targets[BATCH * M] = {1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0};
    const double weights[M + 1] = {1, 2, .5, 1, .25}, scale = .25;
    for (size_t i = 0; i < sizeof images; i++)
        images[i] = (uint8_t)ac_random_block(9, AC_STREAM_TEST, i, 0).word[0];
    memset(t->arena, poison, ac_plan_get_memory(t->plan).arena_bytes);
    AC_TRY(drawn_fill(t->params)); /* running statistics are changed by a step */
    AC_TRY(ac_plan_write(t->plan, t->net.images, images, sizeof images));
    AC_TRY(ac_plan_write(t->plan, t->net.keys, keys, sizeof keys));
    AC_TRY(ac_plan_write(t->plan, t->net.targets, targets, sizeof targets));
    AC_TRY(ac_plan_write(t->plan, t->net.class_weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(t->plan, t->net.inverse_denominator, &scale, sizeof scale));
    AC_TRY(ac_plan_forward(t->plan));
    AC_TRY(ac_plan_read(t->plan, t->net.loss, loss, sizeof *loss));
    AC_TRY(ac_plan_backward(t->plan, false));
    *gradients = ac_hash_bytes(t->params->gradient, t->params->n_values * sizeof(float));
out:
    return status;
}

/* 0xFF bytes are NaN as float and as double: what is read before it is written shows. */
static void test_arena(const char *model, const char *backend, ac_dtype activations)
{
    static const int poison[] = {0, 0xFF, 0xFF, 0x7E};
    trial t;
    double loss = 0, first_loss = 0;
    ac_hash gradients, first = {0, 0};
    if (!TAP_OK(open_trial(&t, model, backend, activations, true) == AC_OK, "%s in %s on %s is planned", model, ac_dtype_name(activations), backend))
        return;
    ac_plan_memory memory = ac_plan_get_memory(t.plan);
    TAP_OK(memory.arena_bytes < memory.sum_of_all_bytes, "%s on %s: %zu KiB of arena for %zu KiB of tensors", model, backend, memory.arena_bytes / 1024,
           memory.sum_of_all_bytes / 1024);
    uint64_t n_calls = 0;
    for (int k = 0; k < 4; k++) {
        ac_status status = run_step(&t, poison[k], &loss, &gradients);
        if (k == 0) {
            first_loss = loss;
            first = gradients;
        }
        TAP_OK(status == AC_OK && isfinite(loss) && loss == first_loss && ac_hash_equal(first, gradients),
               "%s on %s: same bits in an arena full of 0x%02X", model, backend, (unsigned)poison[k]);
    }
    n_calls = ac_alloc_get_stats().n_calls;
    bool ran = ac_plan_forward(t.plan) == AC_OK && ac_plan_backward(t.plan, true) == AC_OK;
    TAP_OK(ran && ac_alloc_get_stats().n_calls == n_calls, "%s on %s: a step allocates nothing", model, backend);
    close_trial(&t);
}

static bool has_bf16(void)
{
    ac_device *device;
    if (!TAP_CALL(ac_backend_find("cpu")->open(1, &device)))
        return false;
    bool has = device->backend->check_precision(device, AC_BF16) == AC_OK;
    device->backend->close(device);
    if (!has)
        TAP_SKIP(ac_error_text());
    return has;
}

static void test_builder(void)
{
    ac_graph *g;
    const ac_conv2d_attribute conv = {.out_channels = 4, .kernel_px = 3, .stride_px = 1, .padding_px = 0, .groups = 1};
    const ac_shape image = {4, {1, 8, 8, 3}, AC_F32}, small = {4, {1, 2, 2, 3}, AC_F32}, flat = {2, {1, 3}, AC_F32}, empty = {4, {1, 0, 2, 3}, AC_F32};
    for (int k = 0; k < 8; k++) {
        if (!TAP_CALL(ac_graph_create(AC_F32, &g)))
            return;
        ac_value x = ac_graph_input(g, "x", k == 0 ? &small : k == 1 ? &flat : k == 7 ? &empty : &image), y = AC_NO_VALUE;
        ac_conv2d_attribute a = conv;
        a.groups = k == 2 ? 2 : 1;
        a.out_channels = k == 3 ? 0 : 4;
        a.stride_px = k == 4 ? 0 : 1;
        if (k == 5)
            y = ac_add_batch_norm(g, "sum", x, ac_graph_input(g, "other", &small), &(ac_batch_norm_attribute){1e-5f, .1f, AC_ACTIVATION_NONE, 0, 1});
        else
            y = ac_add_conv2d(g, "layer.conv", k == 6 ? 99 : x, &a);
        TAP_OK(y == AC_NO_VALUE && ac_add_conv2d(g, "later", y, &conv) == AC_NO_VALUE, "wrong network %d: no value from then on", k);
        TAP_OK(ac_graph_finish(g) != AC_OK && !strstr(ac_error_text(), "later") &&
                   strstr(ac_error_text(), k == 5 ? "sum" : k == 7 ? "x" : "layer.conv"), "wrong network %d: the first failure is told: %s", k, ac_error_text());
        ac_graph_destroy(g);
    }
}

static void test_plan_refusals(void)
{
    trial t;
    float logits[BATCH * M];
    if (!TAP_CALL(open_trial(&t, "resnet18", "cpu", AC_F32, false)))
        return;
    TAP_OK(ac_plan_read(t.plan, t.net.logits, logits, 1) == AC_ERR_RANGE, "a read of another size is refused");
    TAP_OK(ac_plan_read(t.plan, 9999, logits, sizeof logits) == AC_ERR_RANGE, "a read of no value is refused");
    TAP_OK(ac_plan_write(t.plan, t.net.images, logits, 1) == AC_ERR_RANGE, "a write of another size is refused");
    TAP_OK(ac_plan_backward(t.plan, false) != AC_OK, "an inference plan has no backward");
    close_trial(&t);
}

/* One byte written behind the end of each buffer in turn is seen, and the whole arena is content. */
static void test_guards(void)
{
    trial t;
    size_t n_seen = 0, n_buffers = 0, n_named = 0;
    if (!TAP_CALL(open_trial(&t, "resnet18", "ref", AC_F32, true)))
        return;
    TAP_OK(ac_plan_bind_guarded(t.plan) == AC_ERR_RANGE, "a plan that is bound is not bound again");
    TAP_OK(ac_plan_check_guards(t.plan) == AC_ERR_RANGE, "an arena without guards has none to check");
    ac_plan_destroy(t.plan);
    t.plan = NULL;
    if (TAP_CALL(ac_plan_create(t.net.graph, t.params, true, &t.plan)) && TAP_CALL(ac_plan_bind_guarded(t.plan))) {
        TAP_CALL(ac_plan_check_guards(t.plan));
        for (size_t b = 0; b < t.plan->n_buffers; b += 3) {
            const plan_buffer *buffer = &t.plan->buffer[b];
            if (buffer->same_as != AC_NO_BUFFER)
                continue;
            unsigned char *behind = t.plan->arena + buffer->offset + buffer->used;
            *behind = 0;
            n_buffers++;
            n_seen += ac_plan_check_guards(t.plan) == AC_ERR_RANGE;
            n_named += strstr(ac_error_text(), "was written 1 bytes past its end") != NULL && strncmp(ac_error_text(), "buffer", 6) != 0;
            *behind = 0xFF;
        }
        TAP_OK(n_buffers > 10 && n_seen == n_buffers && n_named == n_buffers, "a byte behind %zu of %zu buffers is seen, %zu times with the owner's name",
               n_seen, n_buffers, n_named);
        TAP_CALL(ac_plan_check_guards(t.plan));
    }
    close_trial(&t);
}

static void test_memory(void)
{
    uint64_t live = ac_alloc_get_stats().n_live, at = 1;
    int n_leaks = 0, n_silent = 0, step = 1;
    bool done = false;
    for (; at < 100000 && !done; at += (uint64_t)step) {
        trial t;
        ac_alloc_fail_at(at);
        ac_status status = open_trial(&t, "resnet18", "cpu", AC_F32, true);
        done = ac_alloc_get_stats().n_calls > 0 && status == AC_OK;
        ac_alloc_fail_at(0);
        close_trial(&t);
        n_leaks += ac_alloc_get_stats().n_live != live;
        n_silent += status != AC_OK && status != AC_ERR_MEMORY;
        step = at < 30 ? 1 : 7; /* each open takes tens of milliseconds */
    }
    TAP_OK(done && at > 30, "failing allocations reached the end (%d)", (int)at);
    trial t;
    if (TAP_CALL(open_trial(&t, "resnet18", "cpu", AC_F32, true))) {
        ac_alloc_fail_at(1);
        ac_status status = ac_params_init(t.params, 5);
        ac_alloc_fail_at(0);
        n_silent += status != AC_ERR_MEMORY;
    }
    close_trial(&t);
    n_leaks += ac_alloc_get_stats().n_live != live;
    TAP_OK(n_leaks == 0 && n_silent == 0, "%d leaks, %d failures of another kind", n_leaks, n_silent);
}

int main(void)
{
    test_arena("resnet18", "cpu", AC_F32);
#ifndef __SANITIZE_ADDRESS__ /* minutes there */
    test_arena("resnet18", "ref", AC_F32);
    test_arena("resnet50", "cpu", AC_F32);
#endif
    if (has_bf16())
        test_arena("resnet18", "cpu", AC_BF16);
    test_builder();
    test_plan_refusals();
    test_guards();
    test_memory();
    return tap_done();
}
