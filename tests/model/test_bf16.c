/* bf16-mixed against float32 on a whole network: logits, gradients, and the losses of twenty steps, from equal weights on
 * equal images. */
#include "anyclass/model.h"
#include "anyclass/optimizer.h"
#include "anyclass/plan.h"
#include "tests/model/drawn.h"
#include "tests/tap.h"

enum { N = 8, SIDE = 64, M = 5, STEPS = 20 };

typedef struct trial {
    ac_network net;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    ac_optimizer *optimizer;
} trial;

static ac_status open_trial(trial *t, ac_dtype activations)
{
    ac_status status = AC_OK;
    const ac_optimizer_config config = {.kind = AC_OPTIMIZER_SGD, .momentum = .9, .weight_decay = 1e-4, .max_norm = 1};
    ac_network_options o = {.model = ac_model_find("resnet18"), .batch = N, .image_size_px = SIDE, .n_classes = M, .mean = {.5f, .5f, .5f},
                            .std = {.25f, .25f, .25f}, .training = true, .flip = true, .seed = 3, .loss = {AC_LOSS_FOCAL, 2, 1, .1},
                            .activation_dtype = activations};
    memset(t, 0, sizeof *t);
    AC_TRY(ac_network_build(&o, &t->net));
    AC_TRY(ac_backend_find("cpu")->open(1, &t->device));
    AC_TRY(ac_params_create(t->device, t->net.graph, true, &t->params));
    AC_TRY(drawn_fill(t->params));
    AC_TRY(ac_optimizer_create(&config, t->params, &t->optimizer));
    AC_TRY(ac_plan_create(t->net.graph, t->params, true, &t->plan));
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
    ac_network_release(&t->net);
}

/* Forward and backward on images whose labels can be seen: each brightens a stripe. */
static ac_status gradients(trial *t, int k, double *loss)
{
    ac_status status = AC_OK;
    static uint8_t images[N * SIDE * SIDE * 3];
    uint8_t y[N * M];
    int64_t keys[N];
    double weights[M + 1], scale;
    char name[32];
    snprintf(name, sizeof name, "labels %d", k);
    for (int i = 0; i < N * M; i++)
        y[i] = drawn(name, (uint64_t)i) < .3;
    snprintf(name, sizeof name, "pixels %d", k);
    for (size_t i = 0; i < sizeof images; i++) {
        size_t n = i / (SIDE * SIDE * 3), row = i / (SIDE * 3) % SIDE;
        images[i] = (uint8_t)(128 * drawn(name, i) + 127 * y[n * M + row * M / SIDE]);
    }
    for (int i = 0; i < N; i++)
        keys[i] = k * N + i;
    for (int c = 0; c <= M; c++)
        weights[c] = 1;
    scale = 1.0 / (double)ac_loss_denominator(y, N, M);
    AC_TRY(ac_plan_write(t->plan, t->net.images, images, sizeof images));
    AC_TRY(ac_plan_write(t->plan, t->net.keys, keys, sizeof keys));
    AC_TRY(ac_plan_write(t->plan, t->net.targets, y, sizeof y));
    AC_TRY(ac_plan_write(t->plan, t->net.class_weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(t->plan, t->net.inverse_denominator, &scale, sizeof scale));
    AC_TRY(ac_plan_forward(t->plan));
    AC_TRY(ac_plan_backward(t->plan, false));
    AC_TRY(ac_plan_read(t->plan, t->net.loss, loss, sizeof *loss));
out:
    return status;
}

static double distance(const float *a, const float *b, size_t n)
{
    double error = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        square += (double)a[i] * (double)a[i];
    }
    return sqrt(error / square);
}

static void compare(trial *a, trial *b)
{
    double loss_a, loss_b, last_a = 0, last_b = 0, worst = 0, first = 0, norm_a, norm_b;
    float logits[2][N * M];
    bool ran = gradients(a, 0, &loss_a) == AC_OK && gradients(b, 0, &loss_b) == AC_OK &&
               ac_plan_read(a->plan, a->net.logits, logits[0], sizeof logits[0]) == AC_OK &&
               ac_plan_read(b->plan, b->net.logits, logits[1], sizeof logits[1]) == AC_OK;
    double of_logits = distance(logits[0], logits[1], N * M), of_gradient = distance(a->params->gradient, b->params->gradient, a->params->n_values);
    /* Batch norm over 32 values and the ReLUs behind it make much of little: seen here are 0.035 and 0.33. PyTorch's autocast
     * is 0.034 and 0.35 away from its own float32 on such a network (0.030 and 0.34 with weights drawn as here). */
    TAP_OK(ran && of_logits < .06, "logits differ by %.2g of their norm", of_logits);
    TAP_OK(ran && of_gradient < .45, "gradients differ by %.2g of their norm", of_gradient);
    for (int k = 0; k < STEPS && ran; k++) {
        ran = gradients(a, k % 2, &loss_a) == AC_OK && gradients(b, k % 2, &loss_b) == AC_OK && ac_optimizer_step(a->optimizer, .02, &norm_a) == AC_OK &&
              ac_optimizer_step(b->optimizer, .02, &norm_b) == AC_OK;
        first = k == 0 ? loss_a : first;
        worst = fmax(worst, fabs(loss_a - loss_b) / first);
        last_a += k >= STEPS - 5 ? loss_a / 5 : 0;
        last_b += k >= STEPS - 5 ? loss_b / 5 : 0;
    }
    TAP_OK(ran && worst < .02, "losses of %d steps differ by %.2g of the first", STEPS, worst);
    TAP_OK(ran && last_a < first / 100 && last_b < first / 100, "both learn: %.3g at first, %.3g and %.3g in the end", first, last_a, last_b);
}

int main(void)
{
    trial a, b;
    ac_device *device;
    if (!TAP_CALL(ac_backend_find("cpu")->open(0, &device)))
        return tap_done();
    bool has = device->backend->check_precision(device, AC_BF16) == AC_OK;
    device->backend->close(device);
    if (!has) {
        TAP_SKIP(ac_error_text());
        return tap_done();
    }
    bool opened = TAP_OK(open_trial(&a, AC_F32) == AC_OK, "float32 is planned");
    opened &= TAP_OK(open_trial(&b, AC_BF16) == AC_OK, "bf16 is planned");
    if (opened) {
        size_t bytes_a = ac_plan_get_memory(a.plan).arena_bytes, bytes_b = ac_plan_get_memory(b.plan).arena_bytes;
        TAP_OK(bytes_b < bytes_a * 8 / 10, "an arena of %zu KiB for one of %zu KiB", bytes_b >> 10, bytes_a >> 10);
        compare(&a, &b);
    }
    close_trial(&a);
    close_trial(&b);
    return tap_done();
}
