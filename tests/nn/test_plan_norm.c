/* Batch norms that the convolution in front of them applies, in plans for inference: which are and which must not be, results
 * as those of the two nodes run apart, and parameters that change between two forwards. */
#include "anyclass/alloc.h"
#include "anyclass/bf16.h"
#include "anyclass/ops.h"
#include "anyclass/random.h"
#include "nn/plan_internal.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

enum { N = 2, SIDE = 6, C = 20, N_ELEMENTS = N * SIDE * SIDE * C };

static ac_value conv(ac_graph *g, const char *name, ac_value x, bool bias)
{
    return ac_add_conv2d(g, name, x, &(ac_conv2d_attribute){.out_channels = C, .kernel_px = 3, .stride_px = 1, .padding_px = 1, .groups = 1, .bias = bias,
                         .weight_init = {AC_INIT_NORMAL, 0, 0.1f}, .bias_init = {AC_INIT_NORMAL, 0, 1}});
}

static ac_value norm(ac_graph *g, const char *name, ac_value x, ac_value residual, ac_activation activation)
{
    return ac_add_batch_norm(g, name, x, residual, &(ac_batch_norm_attribute){1e-5f, .1f, activation, .1f, 1});
}

/* Networks from x to a value; what is called "taken..." must be, the other norms must not. */
static ac_value chain(ac_graph *g, ac_value x)
{
    x = norm(g, "taken1", conv(g, "conv1", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU);
    return norm(g, "taken2", conv(g, "conv2", x, true), AC_NO_VALUE, AC_ACTIVATION_NONE);
}

static ac_value block(ac_graph *g, ac_value x)
{
    x = norm(g, "taken1", conv(g, "conv1", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU);
    ac_value y = norm(g, "taken2", conv(g, "conv2", x, false), AC_NO_VALUE, AC_ACTIVATION_LEAKY_RELU);
    return norm(g, "taken3", conv(g, "conv3", y, true), x, AC_ACTIVATION_LEAKY_RELU);
}

static ac_value downsample(ac_graph *g, ac_value x)
{
    x = norm(g, "taken1", conv(g, "conv1", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU);
    ac_value y = conv(g, "conv2", x, false), side = norm(g, "taken2", conv(g, "conv3", x, false), AC_NO_VALUE, AC_ACTIVATION_NONE);
    return norm(g, "taken3", y, side, AC_ACTIVATION_RELU);
}

static ac_value residual_is_read_later(ac_graph *g, ac_value x)
{
    x = norm(g, "taken1", conv(g, "conv1", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU);
    ac_value y = norm(g, "taken2", conv(g, "conv2", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU);
    y = norm(g, "apart", conv(g, "conv3", y, false), x, AC_ACTIVATION_RELU);
    return norm(g, "last", y, x, AC_ACTIVATION_NONE);
}

static ac_value residual_is_the_input(ac_graph *g, ac_value x)
{
    x = norm(g, "taken1", conv(g, "conv1", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU);
    return norm(g, "apart", conv(g, "conv2", x, false), x, AC_ACTIVATION_RELU);
}

static ac_value residual_is_the_graphs(ac_graph *g, ac_value x)
{
    ac_value y = norm(g, "taken1", conv(g, "conv1", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU);
    return norm(g, "apart", conv(g, "conv2", y, false), x, AC_ACTIVATION_RELU);
}

static ac_value two_readers(ac_graph *g, ac_value x)
{
    x = conv(g, "conv1", x, false);
    return norm(g, "last", norm(g, "apart", x, AC_NO_VALUE, AC_ACTIVATION_RELU), x, AC_ACTIVATION_NONE);
}

/* conv2 would read r, at the time of `apart`, when r has become the output of taken3. */
static ac_value overwritten_in_between(ac_graph *g, ac_value x)
{
    ac_value r = norm(g, "taken1", conv(g, "conv1", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU), late = conv(g, "conv2", r, false);
    ac_value other = norm(g, "taken2", conv(g, "conv3", x, false), AC_NO_VALUE, AC_ACTIVATION_RELU);
    other = norm(g, "taken3", conv(g, "conv4", other, false), r, AC_ACTIVATION_RELU);
    return norm(g, "apart", late, other, AC_ACTIVATION_NONE);
}

typedef struct net_case {
    const char *name;
    ac_value (*build)(ac_graph *graph, ac_value x);
} net_case;

static const net_case cases[] = {
    {"chain", chain},
    {"block", block},
    {"downsample", downsample},
    {"residual read later", residual_is_read_later},
    {"residual is the convolution's input", residual_is_the_input},
    {"residual is the graph's input", residual_is_the_graphs},
    {"two readers of a convolution", two_readers},
    {"input overwritten in between", overwritten_in_between},
};

typedef struct trial {
    ac_graph *graph;
    ac_params *params;
    ac_plan *plan;
    ac_value x, y;
} trial;

static void close_trial(trial *t)
{
    ac_plan_destroy(t->plan);
    ac_params_destroy(t->params);
    ac_graph_destroy(t->graph);
}

/* Every parameter and statistic drawn; `k` for another drawing. */
static ac_status draw_params(ac_params *params, uint32_t k)
{
    ac_status status = AC_OK;
    float *host = NULL;
    for (size_t p = 0; p < params->n_params; p++) {
        const ac_param_info *info = &params->info[p];
        size_t n = (size_t)ac_shape_elements(&info->shape);
        AC_TRY(ac_realloc(&host, n, sizeof *host));
        for (size_t i = 0; i < n; i++) {
            float u = (float)ac_uniform_double(ac_random_block(p, AC_STREAM_TEST, i, k).word[0], 0);
            host[i] = info->shape.n_dims > 1 ? .3f * u - .15f : strstr(info->name, "running_var") ? .5f + u : 2 * u - 1;
        }
        AC_TRY(ac_params_set(params, (int)p, NULL, host));
    }
out:
    ac_free(host);
    return status;
}

/* `apart`: every value is a result, so that nothing is taken. */
static ac_status open_trial(trial *t, const net_case *c, ac_device *device, ac_dtype activations, bool apart)
{
    ac_status status = AC_OK;
    memset(t, 0, sizeof *t);
    AC_TRY(ac_graph_create(activations, &t->graph));
    t->x = ac_graph_input(t->graph, "x", &(ac_shape){4, {N, SIDE, SIDE, C}, activations});
    t->y = c->build(t->graph, t->x);
    for (size_t v = 0; v < t->graph->n_values; v++)
        if (apart || (ac_value)v == t->y)
            ac_graph_result(t->graph, (ac_value)v);
    AC_TRY(ac_graph_finish(t->graph));
    AC_TRY(ac_params_create(device, t->graph, false, &t->params));
    AC_TRY(draw_params(t->params, 0));
    AC_TRY(ac_plan_create(t->graph, t->params, false, &t->plan));
    AC_TRY(ac_plan_bind_guarded(t->plan));
out:
    return status;
}

static ac_status run(trial *t, ac_dtype activations, double *y)
{
    ac_status status = AC_OK;
    static unsigned char host[N_ELEMENTS * sizeof(float)];
    size_t n_bytes = ac_shape_bytes(ac_graph_shape(t->graph, t->x));
    for (size_t i = 0; i < N_ELEMENTS; i++) {
        float u = 2 * (float)ac_uniform_double(ac_random_block(7, AC_STREAM_TEST, i, 0).word[0], 0) - 1;
        if (activations == AC_BF16)
            ((uint16_t *)(void *)host)[i] = ac_bf16_from_float(u);
        else
            ((float *)(void *)host)[i] = u;
    }
    AC_TRY(ac_plan_write(t->plan, t->x, host, n_bytes));
    AC_TRY(ac_plan_forward(t->plan));
    AC_TRY(ac_plan_read(t->plan, t->y, host, n_bytes));
    for (size_t i = 0; i < N_ELEMENTS; i++)
        y[i] = (double)(activations == AC_BF16 ? ac_float_from_bf16(((uint16_t *)(void *)host)[i]) : ((float *)(void *)host)[i]);
out:
    return status;
}

static double difference(const double *a, const double *b)
{
    double worst = 0, scale = 0;
    for (size_t i = 0; i < N_ELEMENTS; i++) {
        worst = worse(worst, fabs(a[i] - b[i]));
        scale = fmax(scale, fabs(a[i]));
    }
    return worst / scale;
}

/* Norms that another node applies though they must not, or the other way. */
static int n_wrong(const trial *t)
{
    int n = 0;
    for (size_t i = 0; i < t->graph->n_nodes; i++)
        n += (strncmp(t->graph->node[i].name, "taken", 5) == 0) != (t->plan->node[i].takes != AC_NO_NODE);
    return n;
}

static void check(const net_case *c, ac_device *device, ac_dtype activations)
{
    static double taken[N_ELEMENTS], apart[N_ELEMENTS], before[N_ELEMENTS];
    trial a, b;
    const char *type = ac_dtype_name(activations);
    /* float: rounding of sums of 180 terms in three layers. bf16: each layer rounds once less, and its weights with the scale in
     * them: some units in the last place (2^-8) of the largest. */
    double allowed = activations == AC_BF16 ? 0x1p-6 : 2e-6;
    bool ran = open_trial(&a, c, device, activations, false) == AC_OK && open_trial(&b, c, device, activations, true) == AC_OK;
    TAP_OK(ran && n_wrong(&a) == 0, "%s in %s: taken are those that may be", c->name, type);
    ran = ran && run(&a, activations, taken) == AC_OK && run(&b, activations, apart) == AC_OK;
    TAP_OK(ran && difference(apart, taken) < allowed, "%s in %s: as apart, within %.2g", c->name, type, difference(apart, taken));
    memcpy(before, taken, sizeof before);
    ran = ran && draw_params(a.params, 1) == AC_OK && draw_params(b.params, 1) == AC_OK && run(&a, activations, taken) == AC_OK &&
          run(&b, activations, apart) == AC_OK;
    TAP_OK(ran && difference(apart, taken) < allowed && difference(before, taken) > .1, "%s in %s: other parameters, within %.2g", c->name, type,
           difference(apart, taken));
    TAP_OK(ran && ac_plan_check_guards(a.plan) == AC_OK, "%s in %s: nothing written past an end", c->name, type);
    TAP_OK(ran && ac_plan_get_memory(a.plan).prepared_bytes > 0, "%s in %s: %zu bytes prepared", c->name, type, ac_plan_get_memory(a.plan).prepared_bytes);
    close_trial(&a);
    close_trial(&b);
}

int main(void)
{
    ac_device *device;
    if (!TAP_CALL(ac_backend_find("cpu")->open(2, &device)))
        return tap_done();
    bool has_bf16 = device->backend->check_precision(device, AC_BF16) == AC_OK;
    if (!has_bf16)
        TAP_SKIP(ac_error_text());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(&cases[i], device, AC_F32);
        if (has_bf16)
            check(&cases[i], device, AC_BF16);
    }
    device->backend->close(device);
    return tap_done();
}
