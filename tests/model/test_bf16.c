/* bf16-mixed against float32 on a whole network: logits, gradients, and the losses of twenty steps, from equal weights on
 * equal images. */
#include "anyclass/model.h"
#include "anyclass/optimizer.h"
#include "anyclass/plan.h"
#include "nn/plan_internal.h"
#include "tests/model/drawn.h"
#include "tests/tap.h"
#include "tests/worse.h"

enum { MOST = 8, M = 5 };

typedef struct family {
    const char *model;
    bool initial; /* weights as a training begins with, not drawn ones */
    int n, side_px, n_steps; /* images of a step */
    double rate, logits_bound, gradient_bound, loss_bound; /* distances of the norm, of the first loss */
    double learns;                                         /* the last losses are so many times smaller than the first */
} family;

typedef struct trial {
    int n, side_px;
    ac_network net;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    ac_optimizer *optimizer;
} trial;

static ac_status open_trial(trial *t, const family *f, ac_dtype activations)
{
    ac_status status = AC_OK;
    const ac_optimizer_config config = {.kind = AC_OPTIMIZER_SGD, .momentum = .9, .weight_decay = 1e-4, .max_norm = 1};
    ac_network_options o = {.model = ac_model_find(f->model), .batch = f->n, .image_size_px = f->side_px, .n_classes = M, .mean = {.5f, .5f, .5f},
                            .std = {.25f, .25f, .25f}, .training = true, .flip = true, .seed = 3, .loss = {AC_LOSS_FOCAL, 2, 1, .1},
                            .activation_dtype = activations};
    memset(t, 0, sizeof *t);
    t->n = f->n;
    t->side_px = f->side_px;
    AC_TRY(ac_network_build(&o, &t->net));
    AC_TRY(ac_backend_find("cpu")->open(1, &t->device));
    AC_TRY(ac_params_create(t->device, t->net.graph, true, &t->params));
    if (f->initial)
        AC_TRY(ac_params_init(t->params, 7));
    else
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
    static uint8_t images[MOST * 224 * 224 * 3];
    uint8_t y[MOST * M];
    int64_t keys[MOST];
    size_t side = (size_t)t->side_px, n_images = (size_t)t->n, n_bytes = n_images * side * side * 3;
    double weights[M + 1], scale;
    char name[32];
    snprintf(name, sizeof name, "labels %d", k);
    for (int i = 0; i < t->n * M; i++)
        y[i] = drawn(name, (uint64_t)i) < .3;
    snprintf(name, sizeof name, "pixels %d", k);
    const uint64_t pixels = drawn_hash(name);
    for (size_t i = 0; i < n_bytes; i++) {
        size_t n = i / (side * side * 3), row = i / (side * 3) % side;
        images[i] = (uint8_t)(128 * drawn_of(pixels, i) + 127 * y[n * M + row * M / side]);
    }
    for (int i = 0; i < t->n; i++)
        keys[i] = k * t->n + i;
    for (int c = 0; c <= M; c++)
        weights[c] = 1;
    scale = 1.0 / (double)ac_loss_denominator(y, n_images, M);
    AC_TRY(ac_plan_write(t->plan, t->net.images, images, n_bytes));
    AC_TRY(ac_plan_write(t->plan, t->net.keys, keys, n_images * sizeof *keys));
    AC_TRY(ac_plan_write(t->plan, t->net.targets, y, n_images * M));
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

static void compare(trial *a, trial *b, const family *f)
{
    double loss_a, loss_b, last_a = 0, last_b = 0, worst = 0, first = 0, norm_a, norm_b;
    float logits[2][MOST * M];
    size_t n = (size_t)a->n * M;
    bool ran = gradients(a, 0, &loss_a) == AC_OK && gradients(b, 0, &loss_b) == AC_OK &&
               ac_plan_read(a->plan, a->net.logits, logits[0], n * sizeof(float)) == AC_OK &&
               ac_plan_read(b->plan, b->net.logits, logits[1], n * sizeof(float)) == AC_OK;
    double of_logits = distance(logits[0], logits[1], n), of_gradient = distance(a->params->gradient, b->params->gradient, a->params->n_values);
    TAP_OK(ran && of_logits < f->logits_bound, "%s: logits differ by %.2g of their norm", f->model, of_logits);
    TAP_OK(ran && of_gradient < f->gradient_bound, "%s: gradients differ by %.2g of their norm", f->model, of_gradient);
    for (int k = 0; k < f->n_steps && ran; k++) {
        ran = gradients(a, k % 2, &loss_a) == AC_OK && gradients(b, k % 2, &loss_b) == AC_OK && ac_optimizer_step(a->optimizer, f->rate, &norm_a) == AC_OK &&
              ac_optimizer_step(b->optimizer, f->rate, &norm_b) == AC_OK;
        first = k == 0 ? loss_a : first;
        worst = worse(worst, fabs(loss_a - loss_b) / first);
        last_a += k >= f->n_steps - 5 ? loss_a / 5 : 0;
        last_b += k >= f->n_steps - 5 ? loss_b / 5 : 0;
    }
    TAP_OK(ran && worst < f->loss_bound, "losses of %d steps differ by %.2g of the first", f->n_steps, worst);
    TAP_OK(ran && last_a < first / f->learns && last_b < first / f->learns, "both learn: %.3g at first, %.3g and %.3g in the end", first, last_a, last_b);
}

static size_t largest_workspace(const trial *t)
{
    size_t most = 0;
    for (size_t i = 0; i < t->net.graph->n_nodes; i++)
        most = t->plan->node[i].made.workspace_bytes > most ? t->plan->node[i].made.workspace_bytes : most;
    return most;
}

static size_t value_bytes(const ac_graph *graph)
{
    size_t sum = 0;
    for (size_t v = 0; v < graph->n_values; v++)
        sum += (size_t)ac_shape_elements(&graph->value[v].shape) * ac_dtype_bytes(graph->value[v].shape.dtype);
    return sum;
}

static void run_family(const family *f)
{
    trial a, b;
    bool opened = TAP_OK(open_trial(&a, f, AC_F32) == AC_OK, "%s: float32 is planned", f->model);
    opened &= TAP_OK(open_trial(&b, f, AC_BF16) == AC_OK, "%s: bf16 is planned", f->model);
    if (opened) {
        size_t bytes_a = ac_plan_get_memory(a.plan).arena_bytes, bytes_b = ac_plan_get_memory(b.plan).arena_bytes;
        /* where one workspace is all of it (vit_b_32's, oneDNN's for patches of 32 pixels, is 83 MB of 83 without AMX), the values alone are held to that */
        bool is_smaller = bytes_b < bytes_a * 8 / 10;
        if (!is_smaller && largest_workspace(&b) > bytes_b * 9 / 10)
            is_smaller = value_bytes(b.net.graph) < value_bytes(a.net.graph) * 8 / 10;
        TAP_OK(is_smaller, "an arena of %zu KiB for one of %zu KiB", bytes_b >> 10, bytes_a >> 10);
        compare(&a, &b, f);
    }
    close_trial(&a);
    close_trial(&b);
}

/* Batch norm over 32 values and the ReLUs behind it make much of little: seen of resnet18 are 0.035 and 0.33. PyTorch's autocast
 * is 0.034 and 0.35 away from its own float32 on such a network (0.030 and 0.34 with weights drawn as here). Drawn weights take tresnet_m
 * 0.14 and 0.91 apart, PyTorch 0.15 and 0.87, so it begins with its initial ones: 0.0055 and 0.027. vit_b_32: 0.0096 and 0.011, PyTorch 0.0086
 * and 0.0073. */
static const family families[] = {
    {"resnet18", false, 8, 64, 20, .02, .06, .45, .02, 100},
    {"tresnet_m", true, 8, 64, 20, .02, .015, .06, .005, 20},
    {"vit_b_32", false, 8, 64, 20, .02, .03, .03, .005, 100},
    {"maxvit_t", false, 2, 224, 5, .02, .015, .03, .01, 1},
};

int main(int argc, char **argv)
{
    ac_device *device;
    if (!TAP_CALL(ac_backend_find("cpu")->open(0, &device)))
        return tap_done();
    bool has = device->backend->check_precision(device, AC_BF16) == AC_OK;
    device->backend->close(device);
    if (!has) {
        TAP_SKIP(ac_error_text());
        return tap_done();
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (argc < 2 || strcmp(argv[1], families[i].model) == 0)
            run_family(&families[i]);
    return tap_done();
}
