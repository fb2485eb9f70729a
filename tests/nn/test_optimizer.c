/* Ten steps of SGD and AdamW against PyTorch's (the shared golden file, and fixtures/optimizers.json): the formulas in double,
 * the backends in float; continuing with saved moments; what a step refuses. */
#include "anyclass/alloc.h"
#include "anyclass/json.h"
#include "anyclass/model.h"
#include "anyclass/optimizer.h"
#include "anyclass/optimizer_formula.h"
#include "hdf5/hdf5_util.h"
#include "tests/model/drawn.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

enum { N = 42, STEPS = 10 };

/* A run of PyTorch's: n weights, of which there are values behind each step. */
typedef struct golden {
    char name[64];
    ac_optimizer_config config;
    double rate;
    size_t n;
    double init[N], grads[STEPS][N], trace[STEPS][N], norm[STEPS];
} golden;

static ac_status read_shared(hid_t file, const char *group, const ac_optimizer_config *config, double rate, golden *g)
{
    ac_status status = AC_OK;
    char name[64];
    snprintf(g->name, sizeof g->name, "reference's %s", group);
    g->config = *config;
    g->rate = rate;
    g->n = N;
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

static double number(const ac_json_value *c, const char *key, double fallback)
{
    double value = NAN;
    return ac_json_get(c, key) && ac_json_read_double(ac_json_get(c, key), key, &value) == AC_OK ? value : fallback;
}

static ac_status read_fixture(const ac_json_value *c, golden *g)
{
    ac_status status = AC_OK;
    const char *kind;
    char name[32];
    const ac_json_value *sizes = ac_json_get(c, "sizes"), *norm = ac_json_get(c, "norm"), *trace = ac_json_get(c, "trace");
    AC_TRY(ac_json_read_string(ac_json_get(c, "optimizer"), "optimizer", &kind));
    g->config = (ac_optimizer_config){.kind = strcmp(kind, "sgd") == 0 ? AC_OPTIMIZER_SGD : AC_OPTIMIZER_ADAMW, .weight_decay = number(c, "weight_decay", NAN),
                                      .momentum = number(c, "momentum", 0), .beta1 = number(c, "beta1", 0), .beta2 = number(c, "beta2", 0),
                                      .epsilon = number(c, "epsilon", 0), .max_norm = number(c, "clip", NAN)};
    g->rate = number(c, "rate", NAN);
    g->n = (size_t)number(c, "n", 0);
    if (g->n < 1 || g->n > N || ac_json_count(trace) != STEPS || ac_json_count(norm) != STEPS || ac_json_count(sizes) == 0)
        return ac_error(AC_ERR_DATA, "%s: not %d steps of at most %d weights", g->name, STEPS, N);
    for (size_t i = 0; i < g->n; i++)
        g->init[i] = 2 * drawn("init", i) - 1;
    for (int s = 0; s < STEPS; s++) {
        snprintf(name, sizeof name, "gradient %d", s);
        AC_TRY(ac_json_read_double(ac_json_at(norm, (size_t)s), "norm", &g->norm[s]));
        for (size_t i = 0; i < g->n; i++) {
            double size;
            AC_TRY(ac_json_read_double(ac_json_at(sizes, i % ac_json_count(sizes)), "size", &size));
            AC_TRY(ac_json_read_double(ac_json_at(ac_json_at(trace, (size_t)s), i), "weight", &g->trace[s][i]));
            g->grads[s][i] = (2 * drawn(name, i) - 1) * size;
        }
    }
out:
    return status;
}

/* The formulas as they are in the headers, in double. */
static void test_double(const golden *g)
{
    double w[N], m[N] = {0}, v[N] = {0}, error = 0, norm_error = 0, scale = 0;
    memcpy(w, g->init, sizeof w);
    for (int s = 0; s < STEPS; s++) {
        double squares = 0;
        for (size_t i = 0; i < g->n; i++)
            squares += g->grads[s][i] * g->grads[s][i];
        norm_error = worse(norm_error, fabs(sqrt(squares) - g->norm[s]) / g->norm[s]);
        const ac_optimizer_config *c = &g->config;
        const ac_optimizer_update update = {.kind = c->kind, .weight_decay = c->weight_decay, .momentum = c->momentum,
                                            .beta1 = c->beta1, .beta2 = c->beta2, .epsilon = c->epsilon};
        const ac_optimizer_terms t = ac_optimizer_terms_of(&update, g->rate, s + 1, ac_clip_scale(sqrt(squares), c->max_norm));
        for (size_t i = 0; i < g->n; i++) {
            double gradient = t.scale * g->grads[s][i];
            w[i] = c->kind == AC_OPTIMIZER_SGD
                       ? ac_sgd_update_double(w[i], gradient, &m[i], t.rate, t.weight_decay, t.momentum)
                       : ac_adamw_update_double(w[i], gradient, &m[i], &v[i], t.decay, t.rest1, t.beta2, t.rest2, t.rate_1, t.root_2, t.epsilon);
            scale = fmax(scale, fabs(g->trace[s][i]));
            error = worse(error, fabs(w[i] - g->trace[s][i]));
        }
    }
    TAP_OK(error / scale < 1e-10, "%s in double: ten steps within %.2g of the largest weight", g->name, error / scale);
    TAP_OK(norm_error < 1e-10, "%s in double: gradient norms within %.2g", g->name, norm_error);
}

/* One linear layer of n weights without a bias: the smallest owner of parameters. */
typedef struct holder {
    ac_graph *graph;
    ac_device *device;
    ac_params *params;
    ac_optimizer *optimizer;
} holder;

static ac_status open_holder(holder *h, const char *backend, size_t n, const ac_optimizer_config *config)
{
    ac_status status = AC_OK;
    memset(h, 0, sizeof *h);
    AC_TRY(ac_graph_create(AC_F32, &h->graph));
    ac_value x = ac_graph_input(h->graph, "x", &(ac_shape){2, {1, (int64_t)n}, AC_F32});
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

/* One step with a gradient given in double. */
static ac_status step(holder *h, const double *gradient, size_t n, double rate, double *norm, float value[N])
{
    ac_status status = AC_OK;
    float single[N];
    for (size_t i = 0; i < n; i++)
        single[i] = (float)gradient[i];
    AC_TRY(ac_params_set(h->params, 0, h->params->gradient, single));
    AC_TRY(ac_optimizer_step(h->optimizer, rate, norm));
    AC_TRY(ac_params_get(h->params, 0, NULL, value));
out:
    return status;
}

static void test_float(const golden *g, const char *backend)
{
    holder h;
    float value[N];
    double error = 0, norm_error = 0, norm = NAN, scale = 0;
    if (!TAP_CALL(open_holder(&h, backend, g->n, &g->config)))
        return;
    for (size_t i = 0; i < g->n; i++)
        value[i] = (float)g->init[i];
    TAP_CALL(ac_params_set(h.params, 0, NULL, value));
    for (int s = 0; s < STEPS; s++) {
        if (step(&h, g->grads[s], g->n, g->rate, &norm, value) != AC_OK)
            error = INFINITY;
        norm_error = worse(norm_error, fabs(norm - g->norm[s]) / g->norm[s]);
        for (size_t i = 0; i < g->n; i++) {
            scale = fmax(scale, fabs(g->trace[s][i]));
            error = worse(error, fabs((double)value[i] - g->trace[s][i]));
        }
    }
    TAP_OK(error / scale < 1e-5, "%s, %s: ten steps within %.2g of the largest weight", g->name, backend, error / scale);
    TAP_OK(norm_error < 1e-6, "%s, %s: gradient norms within %.2g", g->name, backend, norm_error);
    close_holder(&h);
}

static void test_run(const golden *g)
{
    test_double(g);
    test_float(g, "ref");
    test_float(g, "cpu");
}

/* Four steps, weights and moments moved to a second optimiser, six steps more: the same bits as ten. */
static void test_resume(const golden *g)
{
    holder whole, before, after;
    float value[N], part[N], moment[N];
    double norm;
    bool good = true;
    if (!TAP_OK(open_holder(&whole, "cpu", g->n, &g->config) == AC_OK && open_holder(&before, "cpu", g->n, &g->config) == AC_OK &&
                    open_holder(&after, "cpu", g->n, &g->config) == AC_OK,
                "three optimisers"))
        return;
    for (size_t i = 0; i < g->n; i++)
        value[i] = (float)g->init[i];
    good = ac_params_set(whole.params, 0, NULL, value) == AC_OK && ac_params_set(before.params, 0, NULL, value) == AC_OK;
    for (int s = 0; s < 4 && good; s++)
        good = step(&whole, g->grads[s], g->n, g->rate, &norm, value) == AC_OK && step(&before, g->grads[s], g->n, g->rate, &norm, part) == AC_OK;
    good = good && ac_params_set(after.params, 0, NULL, part) == AC_OK;
    for (int k = 0; k < before.optimizer->n_moments && good; k++)
        good = ac_params_get(before.params, 0, before.optimizer->moment[k], moment) == AC_OK &&
               ac_params_set(after.params, 0, after.optimizer->moment[k], moment) == AC_OK;
    after.optimizer->step = before.optimizer->step;
    for (int s = 4; s < STEPS && good; s++)
        good = step(&whole, g->grads[s], g->n, g->rate, &norm, value) == AC_OK && step(&after, g->grads[s], g->n, g->rate, &norm, part) == AC_OK;
    TAP_OK(good && memcmp(value, part, g->n * sizeof *value) == 0 && after.optimizer->step == STEPS, "%s: continued behind step 4, the same bits", g->name);
    close_holder(&whole);
    close_holder(&before);
    close_holder(&after);
}

static void test_fixture(void)
{
    golden g;
    ac_json_value *document;
    if (!TAP_CALL(ac_json_load("tests/nn/fixtures/optimizers.json", &document)))
        return;
    const ac_json_value *cases = ac_json_get(document, "cases");
    TAP_OK(ac_json_count(cases) == 8, "eight cases");
    for (size_t k = 0; k < ac_json_count(cases); k++) {
        snprintf(g.name, sizeof g.name, "%s", ac_json_key_at(cases, k));
        if (!TAP_CALL(read_fixture(ac_json_at(cases, k), &g)))
            continue;
        test_run(&g);
        test_resume(&g);
    }
    ac_json_release(document);
}

static void test_refusals(void)
{
    const ac_optimizer_config config = {AC_OPTIMIZER_ADAMW, .01, .9, .9, .999, 1e-8, 1, false};
    holder h;
    float value[N], after[N];
    double norm;
    if (!TAP_CALL(open_holder(&h, "cpu", N, &config)))
        return;
    for (int i = 0; i < N; i++)
        value[i] = (float)i;
    TAP_CALL(ac_params_set(h.params, 0, NULL, value));
    static const struct {
        const char *name;
        float value;
        double max_norm;
    } bad[] = {{"NaN", NAN, 1}, {"infinity", INFINITY, 1}, {"2e19 without clipping", 2e19f, 0}};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        float gradient[N] = {0};
        gradient[17] = bad[k].value;
        h.optimizer->config.max_norm = bad[k].max_norm;
        TAP_CALL(ac_params_set(h.params, 0, h.params->gradient, gradient));
        TAP_OK(ac_optimizer_step(h.optimizer, .1, &norm) == AC_ERR_NUMERIC, "a gradient of %s is refused", bad[k].name);
        TAP_OK(ac_params_get(h.params, 0, NULL, after) == AC_OK && memcmp(value, after, sizeof value) == 0 && h.optimizer->step == 0,
               "and nothing has changed");
    }
    h.optimizer->config.max_norm = 1;
    float none[N] = {0};
    bool decayed = ac_params_set(h.params, 0, h.params->gradient, none) == AC_OK && ac_optimizer_step(h.optimizer, .1, &norm) == AC_OK &&
                   ac_params_get(h.params, 0, NULL, after) == AC_OK && norm == 0;
    for (int i = 0; i < N; i++)
        decayed = decayed && after[i] == (float)(1 - .1 * .01) * value[i];
    TAP_OK(decayed, "a first step without any gradient is weight decay alone");
    close_holder(&h);
    for (uint64_t at = 1; at < 20; at++) { /* the optimiser's own allocations fail one by one */
        if (open_holder(&h, "ref", N, &config) != AC_OK)
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
    golden g;
    const char *shared = tap_shared();
    test_fixture();
    test_refusals();
    if (!shared) {
        TAP_SKIP("shared inputs are absent");
        return tap_done();
    }
    snprintf(path, sizeof path, "%s/golden/optimizers.h5", shared);
    if (TAP_CALL(ac_hdf5_open(path, &file))) {
        /* SGD at .1, momentum .9, decay 1e-4; AdamW at .01, decay .05, PyTorch's betas; both clipped at 1 */
        const ac_optimizer_config sgd = {AC_OPTIMIZER_SGD, 1e-4, .9, 0, 0, 0, 1, false}, adamw = {AC_OPTIMIZER_ADAMW, .05, 0, .9, .999, 1e-8, 1, false};
        if (TAP_CALL(read_shared(file, "sgd", &sgd, .1, &g)))
            test_run(&g);
        if (TAP_CALL(read_shared(file, "adamw", &adamw, .01, &g)))
            test_run(&g);
        H5Fclose(file);
    }
    return tap_done();
}
