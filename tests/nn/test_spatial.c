/* Operators on feature maps against PyTorch's values and gradients (fixtures/spatial.json), and the same bits whatever the number of
 * threads. */
#include "anyclass/json.h"
#include "tests/nn/single_kernel.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct spatial_case {
    const char *op;
    int64_t batch, side, channels, kernel, stride, padding, ceil, count_padding, hidden, silu, relu, residual, bias;
} spatial_case;

static ac_status read_case(const ac_json_value *v, spatial_case *c)
{
    ac_status status = AC_OK;
    struct {
        const char *key;
        int64_t *to;
    } number[] = {{"batch", &c->batch},     {"side", &c->side},       {"channels", &c->channels}, {"kernel", &c->kernel},     {"stride", &c->stride},
                  {"padding", &c->padding}, {"ceil", &c->ceil},       {"count_padding", &c->count_padding}, {"hidden", &c->hidden}, {"silu", &c->silu},
                  {"relu", &c->relu},       {"residual", &c->residual}, {"bias", &c->bias}};
    AC_TRY(ac_json_read_string(ac_json_get(v, "op"), "op", &c->op));
    for (size_t i = 0; i < sizeof number / sizeof *number; i++)
        AC_TRY(ac_json_read_int(ac_json_get(v, number[i].key), number[i].key, number[i].to));
out:
    return status;
}

static void add_operator(ac_graph *g, ac_dtype dtype, const spatial_case *c)
{
    const ac_init none = {AC_INIT_NORMAL, 0, 0};
    ac_shape shape = {4, {c->batch, c->side, c->side, c->channels}, dtype};
    ac_value x = ac_graph_input(g, "x", &shape), residual = c->residual ? ac_graph_input(g, "residual", &shape) : AC_NO_VALUE;
    if (strcmp(c->op, "space_to_depth") == 0)
        ac_add_space_to_depth(g, "op", x, &(ac_space_to_depth_attribute){(int)c->kernel});
    else if (strcmp(c->op, "blur_pool") == 0)
        ac_add_blur_pool(g, "op", x);
    else if (strcmp(c->op, "avg_pool") == 0)
        ac_add_avg_pool(g, "op", x, &(ac_avg_pool_attribute){(int)c->kernel, (int)c->stride, (int)c->padding, c->ceil, c->count_padding});
    else if (strcmp(c->op, "squeeze_excite") == 0)
        ac_add_squeeze_excite(g, "op", x, residual, &(ac_squeeze_excite_attribute){c->hidden, c->silu ? AC_ACTIVATION_SILU : AC_ACTIVATION_RELU,
                              c->relu ? AC_ACTIVATION_RELU : AC_ACTIVATION_NONE, {none, none}, {none, none}});
    else
        ac_add_conv2d(g, "op", x, &(ac_conv2d_attribute){c->channels, (int)c->kernel, (int)c->stride, (int)c->padding, (int)c->channels, c->bias, none, none});
}

/* As make_spatial.py: tensor 0 is x, 1 the residual, 2 the output's gradient, 3 and on the parameters. */
static void fill(const void *values, size_t n, size_t tensor)
{
    for (size_t i = 0; i < n; i++)
        ((float *)values)[i] = (float)(((i + 7919 * tensor) * 2654435761u >> 8) % 2048) / 1024.0f - 1.0f;
}

static size_t elements_of(const single_kernel *k, ac_value value)
{
    return (size_t)ac_shape_elements(ac_graph_shape(k->graph, value));
}

static size_t param_elements(const single_kernel *k, int i)
{
    return (size_t)ac_shape_elements(&k->graph->param[k->node->param[i]].shape);
}

static ac_status run(single_kernel *k)
{
    ac_status status = AC_OK;
    for (int i = 0; i < k->node->n_inputs; i++)
        fill(k->forward.input[i], elements_of(k, k->node->input[i]), (size_t)i);
    fill(k->backward.doutput[0], elements_of(k, k->node->output[0]), 2);
    for (int i = 0; i < k->node->n_params; i++)
        fill(k->forward.param[i], param_elements(k, i), (size_t)(3 + i));
    AC_TRY(k->kernel->forward(&k->forward));
    AC_TRY(k->kernel->backward(&k->backward));
out:
    return status;
}

/* Largest difference, relative to the list's largest number; infinite if it is not n numbers. */
static double difference(const ac_json_value *list, const float *values, size_t n)
{
    double worst = 0, largest = 0, want;
    if (ac_json_count(list) != n)
        return (double)INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (ac_json_read_double(ac_json_at(list, i), "result", &want) != AC_OK || !isfinite(values[i]))
            return (double)INFINITY;
        worst = worse(worst, fabs(want - (double)values[i]));
        largest = fmax(largest, fabs(want));
    }
    return worst / fmax(largest, 1e-3);
}

static void check_case(const char *backend, const ac_json_value *v)
{
    spatial_case c = {0};
    single_kernel k = {0};
    const ac_json_value *results = ac_json_get(v, "results");
    double worst = 0;
    size_t at = 0;
    ac_status status = read_case(v, &c);
    if (status == AC_OK)
        status = single_open(&k, backend, 2, AC_F32);
    if (status == AC_OK) {
        add_operator(k.graph, AC_F32, &c);
        status = single_prepare(&k, true);
    }
    if (status == AC_OK && (status = run(&k)) == AC_OK) {
        worst = difference(ac_json_at(results, at++), k.forward.output[0], elements_of(&k, k.node->output[0]));
        for (int i = 0; i < k.node->n_inputs; i++)
            worst = worse(worst, difference(ac_json_at(results, at++), k.backward.dinput[i], elements_of(&k, k.node->input[i])));
        for (int i = 0; i < k.node->n_params; i++)
            worst = worse(worst, difference(ac_json_at(results, at++), k.backward.param_gradient[i], param_elements(&k, i)));
    }
    /* Six digits are written; float sums of up to a hundred numbers near 1 are as good. */
    TAP_OK(status == AC_OK && at == ac_json_count(results) && worst < 5e-6, "%s: %s of %d x %d x %d x %d: PyTorch's values and gradients but for %.2g",
           backend, c.op ? c.op : "?", (int)c.batch, (int)c.side, (int)c.side, (int)c.channels, worst);
    single_close(&k);
}

static void test_fixture(void)
{
    enum { N_CASES = 24 };
    ac_json_value *document;
    if (!TAP_CALL(ac_json_load("tests/nn/fixtures/spatial.json", &document)))
        return;
    const ac_json_value *cases = ac_json_get(document, "cases");
    TAP_OK(ac_json_count(cases) == N_CASES, "%d cases in the fixture", N_CASES);
    for (size_t i = 0; i < ac_json_count(cases); i++) {
        check_case("ref", ac_json_at(cases, i));
        check_case("cpu", ac_json_at(cases, i));
    }
    ac_json_release(document);
}

static bool same_bits(const single_kernel *a, const single_kernel *b)
{
    bool same = memcmp(a->forward.output[0], b->forward.output[0], a->output_bytes) == 0;
    for (int i = 0; i < a->node->n_inputs; i++)
        same = same && memcmp(a->backward.dinput[i], b->backward.dinput[i], ac_shape_bytes(ac_graph_shape(a->graph, a->node->input[i]))) == 0;
    for (int i = 0; i < a->node->n_params; i++)
        same = same && memcmp(a->backward.param_gradient[i], b->backward.param_gradient[i], param_elements(a, i) * sizeof(float)) == 0;
    return same;
}

static void check_threads(const spatial_case *c, ac_dtype dtype)
{
    single_kernel k[3];
    const int n_threads[3] = {1, 2, 5};
    bool ran = true;
    memset(k, 0, sizeof k);
    for (int i = 0; i < 3; i++) {
        ran = ran && single_open(&k[i], "cpu", n_threads[i], dtype) == AC_OK;
        if (ran && k[i].device->backend->check_precision(k[i].device, dtype) != AC_OK) {
            TAP_SKIP(ac_error_text());
            single_close(&k[i]);
            return;
        }
        if (ran)
            add_operator(k[i].graph, dtype, c);
        ran = ran && single_prepare(&k[i], true) == AC_OK && k[i].kernel->forward(&k[i].forward) == AC_OK && k[i].kernel->backward(&k[i].backward) == AC_OK;
    }
    TAP_OK(ran && same_bits(&k[0], &k[1]) && same_bits(&k[0], &k[2]), "%s in %s, %d images: the same bits with 1, 2 and 5 threads", c->op, ac_dtype_name(dtype),
           (int)c->batch);
    for (int i = 0; i < 3; i++)
        single_close(&k[i]);
}

static void test_threads(void)
{
    static const spatial_case cases[] = {
        {"blur_pool", 2, 23, 76, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
        {"avg_pool", 2, 23, 76, 3, 2, 1, 0, 1, 0, 0, 0, 0, 0},
        {"squeeze_excite", 3, 41, 76, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0},
        {"squeeze_excite", 2, 7, 500, 0, 0, 0, 0, 0, 200, 0, 1, 1, 0},
        {"conv2d", 3, 41, 76, 3, 1, 1, 0, 0, 0, 0, 0, 0, 1},
        {"conv2d", 2, 14, 1040, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_threads(&cases[i], AC_F32);
        check_threads(&cases[i], AC_BF16);
    }
}

/* A convolution by what each kind of processor runs. */
static void check_levels(const spatial_case *c)
{
    static const char *const level[3] = {"avx512", "avx2", "plain"};
    single_kernel k[3];
    bool ran = true;
    memset(k, 0, sizeof k);
    for (int i = 0; i < 3; i++) {
        setenv("ANYCLASS_DEPTHWISE", level[i], 1);
        ran = ran && single_open(&k[i], "cpu", 2, AC_F32) == AC_OK;
        if (ran)
            add_operator(k[i].graph, AC_F32, c);
        ran = ran && single_prepare(&k[i], true) == AC_OK && run(&k[i]) == AC_OK;
    }
    unsetenv("ANYCLASS_DEPTHWISE");
    TAP_OK(ran && same_bits(&k[0], &k[1]) && same_bits(&k[0], &k[2]), "depthwise %d x %d / %d of %d channels: the same bits on every kind of processor",
           (int)c->kernel, (int)c->kernel, (int)c->stride, (int)c->channels);
    for (int i = 0; i < 3; i++)
        single_close(&k[i]);
}

static void test_levels(void)
{
    for (int stride = 1; stride <= 2; stride++)
        for (int channels = 2; channels <= 38; channels += 3) {
            check_levels(&(spatial_case){"conv2d", 2, 7, channels, 3, stride, 1, 0, 0, 0, 0, 0, 0, 1});
            check_levels(&(spatial_case){"conv2d", 1, 6, channels, 4, stride, 2, 0, 0, 0, 0, 0, 0, 0});
        }
}

int main(void)
{
    test_fixture();
    test_threads();
    test_levels();
    return tap_done();
}
