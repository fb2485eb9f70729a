/* Ten steps of SGD and AdamW against PyTorch's, clipping included; what a step refuses. */
#include "anyclass/alloc.h"
#include "anyclass/model.h"
#include "anyclass/optimizer.h"
#include "anyclass/optimizer_formula.h"
#include "hdf5/hdf5_util.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

enum { N = 42, STEPS = 10 };
typedef struct golden {
    double init[N], grads[STEPS][N], trace[STEPS][N], norm[STEPS];
} golden;

static ac_status read_golden(hid_t file, const char *group, golden *g)
{
    ac_status status = AC_OK;
    char name[64];
    snprintf(name, sizeof name, "%s/init", group);
    AC_TRY(ac_hdf5_read(file, name, H5T_NATIVE_DOUBLE, N, g->init));
    snprintf(name, sizeof name, "%s/grads", group);
    AC_TRY(ac_hdf5_read(file, name, H5T_NATIVE_DOUBLE, STEPS * N, g->grads));
    snprintf(name, sizeof name, "%s/trace", group);
    AC_TRY(ac_hdf5_read(file, name, H5T_NATIVE_DOUBLE, STEPS * N, g->trace));
    snprintf(name, sizeof name, "%s/grad_norm_before_clip", group);
    AC_TRY(ac_hdf5_read(file, name, H5T_NATIVE_DOUBLE, STEPS, g->norm));
out:
    return status;
}

/* One linear layer of N weights without a bias: the smallest owner of parameters. */
typedef struct holder {
    ac_graph *graph;
    ac_device *device;
    ac_params *params;
    ac_optimizer *optimizer;
} holder;

static ac_status open_holder(holder *h, const char *backend, const ac_optimizer_config *config)
{
    ac_status status = AC_OK;
    memset(h, 0, sizeof *h);
    AC_TRY(ac_graph_create(AC_F32, &h->graph));
    ac_value x = ac_graph_input(h->graph, "x", &(ac_shape){2, {1, N}, AC_F32});
    ac_graph_result(h->graph, ac_add_linear(h->graph, "fc", x, &(ac_linear_attribute){.out_features = 1}));
    AC_TRY(ac_graph_finish(h->graph));
    AC_TRY(ac_backend_find(backend)->open(1, &h->device));
    AC_TRY(ac_params_create(h->device, h->graph, true, &h->params));
    AC_TRY(ac_optimizer_create(config, h->params, &h->optimizer));
out:
    return status;
}

static void close_holder(holder *h)
{
    ac_optimizer_destroy(h->optimizer);
    ac_params_destroy(h->params);
    if (h->device)
        h->device->backend->close(h->device);
    ac_graph_destroy(h->graph);
}

/* The golden runs: SGD at .1, momentum .9, decay 1e-4; AdamW at .01, decay .05, PyTorch's betas; both clipped at 1. */
static void test_golden(hid_t file, const char *group, const ac_optimizer_config *config, double rate, const char *backend)
{
    holder h;
    golden g;
    float value[N];
    double error = 0, norm_error = 0, norm, scale = 0;
    if (!TAP_CALL(read_golden(file, group, &g)) || !TAP_CALL(open_holder(&h, backend, config)))
        return;
    for (int i = 0; i < N; i++)
        value[i] = (float)g.init[i];
    TAP_CALL(ac_params_set(h.params, 0, NULL, value));
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < N; i++)
            value[i] = (float)g.grads[s][i];
        if (ac_params_set(h.params, 0, h.params->gradient, value) != AC_OK || ac_optimizer_step(h.optimizer, rate, &norm) != AC_OK ||
            ac_params_get(h.params, 0, NULL, value) != AC_OK)
            error = INFINITY;
        norm_error = fmax(norm_error, fabs(norm - g.norm[s]) / g.norm[s]);
        for (int i = 0; i < N; i++) {
            scale = fmax(scale, fabs(g.trace[s][i]));
            error = fmax(error, fabs((double)value[i] - g.trace[s][i]));
        }
    }
    TAP_OK(error / scale < 1e-5, "%s, %s: ten steps within %.2g of the largest weight", backend, group, error / scale);
    TAP_OK(norm_error < 1e-6, "%s, %s: gradient norms within %.2g", backend, group, norm_error);
    close_holder(&h);
}

/* Settings in which each term weighs enough to be seen, against the update written out in double. */
static void test_own(const char *backend, int kind)
{
    const ac_optimizer_config config = {kind, .2, .8, .7, .9, 1e-6, 0};
    const double rate = .05;
    holder h;
    float value[N], gradient[N];
    double w[N], m[N] = {0}, v[N] = {0}, error = 0, norm;
    if (!TAP_CALL(open_holder(&h, backend, &config)))
        return;
    for (int i = 0; i < N; i++) {
        w[i] = (double)(i - N / 2) / 7;
        value[i] = (float)w[i];
        w[i] = (double)value[i];
    }
    TAP_CALL(ac_params_set(h.params, 0, NULL, value));
    for (int s = 1; s <= STEPS; s++) {
        for (int i = 0; i < N; i++) {
            gradient[i] = (float)sin(i * s);
            double g = (double)gradient[i];
            if (kind == AC_OPTIMIZER_SGD) {
                g += .2 * w[i];
                m[i] = s == 1 ? g : .8 * m[i] + g;
                w[i] -= rate * m[i];
            } else {
                w[i] *= 1 - rate * .2;
                m[i] = .7 * m[i] + .3 * g;
                v[i] = .9 * v[i] + .1 * g * g;
                w[i] -= rate * (m[i] / (1 - pow(.7, s))) / (sqrt(v[i] / (1 - pow(.9, s))) + 1e-6);
            }
        }
        if (ac_params_set(h.params, 0, h.params->gradient, gradient) != AC_OK || ac_optimizer_step(h.optimizer, rate, &norm) != AC_OK ||
            ac_params_get(h.params, 0, NULL, value) != AC_OK)
            error = INFINITY;
        for (int i = 0; i < N; i++)
            error = fmax(error, fabs((double)value[i] - w[i]));
    }
    TAP_OK(error < 3e-6, "%s, %s: ten steps without clipping within %.2g", backend, kind == AC_OPTIMIZER_SGD ? "sgd" : "adamw", error);
    close_holder(&h);
}

static void test_refusals(void)
{
    const ac_optimizer_config config = {AC_OPTIMIZER_ADAMW, .01, .9, .9, .999, 1e-8, 1};
    holder h;
    float value[N], after[N];
    double norm;
    if (!TAP_CALL(open_holder(&h, "cpu", &config)))
        return;
    for (int i = 0; i < N; i++)
        value[i] = (float)i;
    TAP_CALL(ac_params_set(h.params, 0, NULL, value));
    for (int k = 0; k < 2; k++) {
        float gradient[N] = {0};
        gradient[17] = k ? INFINITY : NAN;
        TAP_CALL(ac_params_set(h.params, 0, h.params->gradient, gradient));
        TAP_OK(ac_optimizer_step(h.optimizer, .1, &norm) == AC_ERR_NUMERIC, "a gradient of %s is refused", k ? "infinity" : "NaN");
        TAP_OK(ac_params_get(h.params, 0, NULL, after) == AC_OK && memcmp(value, after, sizeof value) == 0 && h.optimizer->step == 0,
               "and nothing has changed");
    }
    close_holder(&h);
    for (uint64_t at = 1; at < 20; at++) { /* the optimiser's own allocations fail one by one */
        if (open_holder(&h, "ref", &config) != AC_OK)
            break;
        ac_optimizer *second = NULL;
        uint64_t live = ac_alloc_get_stats().n_live;
        ac_alloc_fail_at(at);
        ac_status status = ac_optimizer_create(&config, h.params, &second);
        ac_alloc_fail_at(0);
        if (status != AC_OK)
            TAP_OK(status == AC_ERR_MEMORY && !second && ac_alloc_get_stats().n_live == live, "allocation %d failed, none leaked", (int)at);
        ac_optimizer_destroy(second);
        close_holder(&h);
        if (status == AC_OK)
            break;
    }
}

int main(void)
{
    char path[512];
    hid_t file;
    const char *shared = tap_shared();
    static const char *const backends[] = {"ref", "cpu"};
    for (int b = 0; b < 2; b++) {
        test_own(backends[b], AC_OPTIMIZER_SGD);
        test_own(backends[b], AC_OPTIMIZER_ADAMW);
    }
    test_refusals();
    if (!shared) {
        TAP_SKIP("shared inputs are absent");
        return tap_done();
    }
    snprintf(path, sizeof path, "%s/golden/optimizers.h5", shared);
    if (TAP_CALL(ac_hdf5_open(path, &file))) {
        const ac_optimizer_config sgd = {AC_OPTIMIZER_SGD, 1e-4, .9, 0, 0, 0, 1}, adamw = {AC_OPTIMIZER_ADAMW, .05, 0, .9, .999, 1e-8, 1};
        for (int b = 0; b < 2; b++) {
            test_golden(file, "sgd", &sgd, .1, backends[b]);
            test_golden(file, "adamw", &adamw, .01, backends[b]);
        }
        H5Fclose(file);
    }
    return tap_done();
}
