/* layer norm, add and dropout alone: against PyTorch (fixtures/rows.json), statistics of what is far from zero, what is made again or added to,
 * the same bits whatever the threads, and the draws of stochastic depth and dropout. */
#include "anyclass/activation_formula.h"
#include "anyclass/drop_formula.h"
#include "anyclass/json.h"
#include "tests/model/drawn.h"
#include "tests/nn/operator_alone.h"
#include "tests/tap.h"
#include "tests/worse.h"

/* ---- layer norm ---- */

typedef struct norm { /* the operator alone, and the second of its parameters, gradients and saved tensors */
    alone a;
    float *bias, *dbias, *scale;
} norm;

static void close_norm(norm *n)
{
    alone_close(&n->a);
    ac_free(n->bias);
    ac_free(n->dbias);
    ac_free(n->scale);
    memset(n, 0, sizeof *n);
}

/* x and gradient drawn from the name; `far` is added to x. */
static ac_status open_norm(norm *n, const char *backend, int n_threads, const char *name, int64_t rows, int64_t channels, float eps, ac_dtype dtype, double far)
{
    ac_status status = AC_OK;
    char text[4][96];
    memset(n, 0, sizeof *n);
    AC_TRY(alone_open(&n->a, backend, n_threads, &(ac_shape){2, {rows, channels}, dtype}, &ac_op_layer_norm, &(ac_layer_norm_attribute){eps}, true));
    AC_TRY(ac_calloc((size_t)channels, sizeof(float), &n->bias));
    AC_TRY(ac_calloc((size_t)channels, sizeof(float), &n->dbias));
    AC_TRY(ac_calloc((size_t)rows, sizeof(float), &n->scale));
    n->a.call.param[1] = n->bias;
    n->a.call.param_gradient[1] = n->dbias;
    n->a.call.saved[1] = n->scale;
    static const char *const what[] = {"x", "gradient", "weight", "bias"};
    for (int k = 0; k < 4; k++)
        snprintf(text[k], sizeof text[k], "%s %s", name, what[k]);
    for (int64_t i = 0; i < rows * channels; i++) {
        alone_set(&n->a, ALONE_X, i, far + (double)(float)(3 * (2 * drawn(text[0], (uint64_t)i) - 1)));
        alone_set(&n->a, ALONE_DY, i, (double)(float)(2 * drawn(text[1], (uint64_t)i) - 1));
    }
    for (int64_t c = 0; c < channels; c++) {
        alone_set(&n->a, ALONE_PARAM, c, (double)(float)(2 * drawn(text[2], (uint64_t)c) - 1));
        n->bias[c] = (float)(2 * drawn(text[3], (uint64_t)c) - 1);
    }
out:
    return status;
}

static ac_status run_norm(norm *n)
{
    ac_status status = n->a.kernel->forward(&n->a.call);
    return status == AC_OK ? n->a.kernel->backward(&n->a.call) : status;
}

/* Largest difference from what the fixture keeps of a tensor, relative to its largest kept element; 1 where something is wrong. */
static double off_fixture(const ac_json_value *kept, const float *values, int64_t n)
{
    int64_t step = 0;
    double worst = 0, most = 0, length = 0, want, sum = 0;
    const ac_json_value *list = ac_json_get(kept, "values");
    if (ac_json_read_int(ac_json_get(kept, "step"), "step", &step) != AC_OK || ac_json_read_double(ac_json_get(kept, "norm"), "norm", &length) != AC_OK || step < 1 ||
        (int64_t)ac_json_count(list) != (n + step - 1) / step)
        return 1;
    for (size_t k = 0; k < ac_json_count(list); k++) {
        if (ac_json_read_double(ac_json_at(list, k), "value", &want) != AC_OK)
            return 1;
        worst = worse(worst, fabs(want - (double)values[k * (size_t)step]));
        most = fmax(most, fabs(want));
    }
    for (int64_t i = 0; i < n; i++)
        sum += (double)values[i] * (double)values[i];
    return worse(worst / most, fabs(sqrt(sum) - length) / length);
}

static void norm_of_fixture(const ac_json_value *c, const char *backend)
{
    const char *name = "";
    int64_t rows = 0, channels = 0;
    double eps = 0;
    norm n;
    bool ran = ac_json_read_string(ac_json_get(c, "name"), "name", &name) == AC_OK && ac_json_read_int(ac_json_get(c, "rows"), "rows", &rows) == AC_OK &&
               ac_json_read_int(ac_json_get(c, "channels"), "channels", &channels) == AC_OK && ac_json_read_double(ac_json_get(c, "eps"), "eps", &eps) == AC_OK;
    if (!TAP_OK(ran, "%s: %s is read", backend, name))
        return;
    ran = open_norm(&n, backend, 2, name, rows, channels, (float)eps, AC_F32, 0) == AC_OK && run_norm(&n) == AC_OK;
    double y = off_fixture(ac_json_get(c, "y"), (float *)(void *)n.a.array[ALONE_Y], n.a.n_y), dx = off_fixture(ac_json_get(c, "dx"), (float *)(void *)n.a.array[ALONE_DX], n.a.n_x);
    double dweight = off_fixture(ac_json_get(c, "dweight"), (float *)(void *)n.a.array[ALONE_DPARAM], channels), dbias = off_fixture(ac_json_get(c, "dbias"), n.dbias, channels);
    /* float sums of some dozens: a few roundings of 6e-8 */
    TAP_OK(ran && y < 1e-6 && dx < 2e-6 && dweight < 2e-6 && dbias < 1e-6, "%s: %s, PyTorch's output and gradients (%.1e, %.1e, %.1e, %.1e)", backend, name, y, dx, dweight, dbias);
    TAP_OK(ran && alone_guards_hold(&n.a), "%s: %s, nothing written past an end", backend, name);
    close_norm(&n);
}

static void against_pytorch(void)
{
    ac_json_value *document;
    double x, y, slope, worst = 0;
    if (!TAP_CALL(ac_json_load("tests/nn/fixtures/rows.json", &document)))
        return;
    const ac_json_value *gelu = ac_json_get(document, "gelu"), *list = ac_json_get(gelu, "x"), *norms = ac_json_get(document, "layer_norm");
    bool read = ac_json_count(list) == 63 && ac_json_count(norms) == 2;
    for (size_t k = 0; k < ac_json_count(list) && read; k++) {
        read = ac_json_read_double(ac_json_at(list, k), "x", &x) == AC_OK && ac_json_read_double(ac_json_at(ac_json_get(gelu, "y"), k), "y", &y) == AC_OK &&
               ac_json_read_double(ac_json_at(ac_json_get(gelu, "slope"), k), "slope", &slope) == AC_OK;
        worst = worse(worst, fabs((double)ac_gelu((float)x) - y) / fmax(1, fabs(x)));
        worst = worse(worst, fabs((double)ac_gelu_slope((float)x) - slope));
    }
    TAP_OK(read && worst < 2e-7, "GELU and its slope are PyTorch's within %.1e", worst);
    for (size_t k = 0; k < ac_json_count(norms); k++) {
        norm_of_fixture(ac_json_at(norms, k), "ref");
        norm_of_fixture(ac_json_at(norms, k), "cpu");
    }
    ac_json_release(document);
}

/* Mean 1e4, deviation 1.7: squares about zero would leave nothing of the variance in float. */
static void far_from_zero(const char *backend)
{
    enum { ROWS = 37, CHANNELS = 211 };
    norm n;
    double worst_mean = 0, worst_scale = 0;
    bool ran = open_norm(&n, backend, 1, "far", ROWS, CHANNELS, 1e-5f, AC_F32, 1e4) == AC_OK && run_norm(&n) == AC_OK;
    for (int r = 0; r < ROWS && ran; r++) {
        double mean = 0, square = 0;
        for (int c = 0; c < CHANNELS; c++)
            mean += alone_get(&n.a, ALONE_X, r * CHANNELS + c) / CHANNELS;
        for (int c = 0; c < CHANNELS; c++)
            square += pow(alone_get(&n.a, ALONE_X, r * CHANNELS + c) - mean, 2);
        worst_mean = worse(worst_mean, fabs((double)((float *)n.a.call.saved[0])[r] - mean));
        worst_scale = worse(worst_scale, fabs((double)n.scale[r] * sqrt(square / CHANNELS + 1e-5) - 1));
    }
    /* half a unit in the last place of 1e4 is 4.9e-4 */
    TAP_OK(ran && worst_mean < 5e-4 && worst_scale < 1e-6, "%s: mean >> deviation, mean off by %.2g, scale by %.2g of itself", backend, worst_mean, worst_scale);
    close_norm(&n);
}

static bool same_array(const norm *a, const norm *b, int array)
{
    return memcmp(a->a.array[array], b->a.array[array], a->a.bytes[array]) == 0;
}

static void same_with_threads(ac_dtype dtype, int64_t rows, int64_t channels)
{
    norm n[3];
    bool same = true;
    for (int k = 0; k < 3; k++) {
        if (open_norm(&n[k], "cpu", k + 1, "threads", rows, channels, 1e-5f, dtype, 0) != AC_OK && dtype == AC_BF16) {
            TAP_SKIP(ac_error_text());
            for (; k >= 0; k--)
                close_norm(&n[k]);
            return;
        }
        same = same && run_norm(&n[k]) == AC_OK && alone_guards_hold(&n[k].a);
    }
    for (int k = 1; k < 3; k++)
        same = same && same_array(&n[0], &n[k], ALONE_Y) && same_array(&n[0], &n[k], ALONE_DX) && same_array(&n[0], &n[k], ALONE_DPARAM) &&
               memcmp(n[0].dbias, n[k].dbias, (size_t)channels * sizeof(float)) == 0;
    TAP_OK(same, "layer norm of %lld rows of %lld in %s: the same bits with 1, 2 and 3 threads", (long long)rows, (long long)channels, ac_dtype_name(dtype));
    for (int k = 0; k < 3; k++)
        close_norm(&n[k]);
}

/* y once more from what is saved; the gradient added to what dx held; and dx over the gradient. */
static void again_and_added(const char *backend, ac_dtype dtype)
{
    enum { ROWS = 70, CHANNELS = 45, N = ROWS * CHANNELS };
    norm a, b;
    bool good = open_norm(&a, backend, 2, "again", ROWS, CHANNELS, 1e-5f, dtype, 0) == AC_OK && open_norm(&b, backend, 2, "again", ROWS, CHANNELS, 1e-5f, dtype, 0) == AC_OK;
    if (!good && dtype == AC_BF16) {
        TAP_SKIP(ac_error_text());
        goto out;
    }
    good = good && run_norm(&a) == AC_OK && b.a.kernel->forward(&b.a.call) == AC_OK;
    memset(b.a.array[ALONE_Y], 0xFF, b.a.bytes[ALONE_Y]);
    good = good && b.a.kernel->recompute(&b.a.call) == AC_OK;
    TAP_OK(good && same_array(&a, &b, ALONE_Y), "%s: layer norm in %s made again, bit for bit", backend, ac_dtype_name(dtype));
    for (int i = 0; i < N; i++)
        alone_set(&b.a, ALONE_DX, i, 2 * drawn("before", (uint64_t)i) - 1);
    b.a.call.add_dinput = true;
    good = good && b.a.kernel->backward(&b.a.call) == AC_OK;
    double worst = 0, ulp = dtype == AC_BF16 ? 0x1p-7 : 0x1p-23; /* two roundings of half of it: of dx in `a`, of the sum */
    for (int i = 0; i < N && good; i++) {
        double before = (double)(float)(2 * drawn("before", (uint64_t)i) - 1), dx = alone_get(&a.a, ALONE_DX, i);
        before = dtype == AC_BF16 ? (double)ac_float_from_bf16(ac_bf16_from_float((float)before)) : before;
        worst = worse(worst, fabs(alone_get(&b.a, ALONE_DX, i) - dx - before) / (ulp * (fabs(dx) + fabs(before) + 1e-3)));
    }
    TAP_OK(good && worst <= 1, "%s: layer norm in %s adds to the gradient (%.2g of a rounding)", backend, ac_dtype_name(dtype), worst);
    b.a.call.add_dinput = false;
    b.a.call.dinput[0] = b.a.array[ALONE_DY];
    good = good && b.a.kernel->backward(&b.a.call) == AC_OK;
    TAP_OK(good && ((b.a.kernel->flags & AC_KERNEL_INPLACE_BACKWARD) == 0 || memcmp(a.a.array[ALONE_DX], b.a.array[ALONE_DY], a.a.bytes[ALONE_DX]) == 0),
           "%s: layer norm in %s over its gradient", backend, ac_dtype_name(dtype));
out:
    close_norm(&a);
    close_norm(&b);
}

/* ---- draws ---- */

enum { IMAGES = 6, EACH = 9001 }; /* of an image: more than one piece, and no multiple of four */

typedef struct drop {
    ac_graph *graph;
    ac_device *device;
    const ac_kernel *kernel;
    ac_kernel_plan made;
    ac_call call;
    float x[IMAGES * EACH], residual[IMAGES * EACH], y[IMAGES * EACH], dy[IMAGES * EACH], dx[IMAGES * EACH];
    int64_t key[IMAGES];
} drop;

/* x, residual and gradient are functions of the key, not of the place; NaN where stochastic depth drops the image, which is not read. */
static bool run_drop(drop *d, const char *backend, int n_threads, const ac_op *op, ac_drop_attribute attribute, const int64_t *keys)
{
    ac_status status = AC_OK;
    const ac_shape shape = {2, {IMAGES, EACH}, AC_F32};
    memset(d, 0, sizeof *d);
    AC_TRY(ac_graph_create(AC_F32, &d->graph));
    ac_value x = ac_graph_input(d->graph, "x", &shape), residual = ac_graph_input(d->graph, "residual", &shape), key = ac_graph_input(d->graph, "keys", &(ac_shape){1, {IMAGES}, AC_I64});
    if (op == &ac_op_add)
        ac_add_add(d->graph, "drop", x, residual, key, &attribute);
    else
        ac_add_dropout(d->graph, "drop", x, key, &attribute);
    AC_TRY(ac_graph_finish(d->graph));
    AC_TRY(ac_backend_find(backend)->open(n_threads, &d->device));
    d->kernel = ac_backend_kernel(d->device->backend, op);
    if (d->kernel->plan)
        AC_TRY(d->kernel->plan(d->device, d->graph, &d->graph->node[0], true, 1, &d->made));
    for (int i = 0; i < IMAGES; i++) {
        char name[32];
        snprintf(name, sizeof name, "image %lld", (long long)keys[i]);
        d->key[i] = keys[i];
        bool dropped = op == &ac_op_add && attribute.probability > 0 && ac_stochastic_depth_scale(attribute.seed, keys[i], attribute.layer, attribute.probability) == 0;
        for (int e = 0; e < EACH; e++) {
            d->x[i * EACH + e] = (float)(1 + drawn(name, (uint64_t)e));
            d->residual[i * EACH + e] = (float)(drawn(name, (uint64_t)e + EACH) - .5);
            d->dy[i * EACH + e] = (float)(1 + drawn(name, (uint64_t)e + 2 * EACH));
            if (dropped)
                d->x[i * EACH + e] = d->dy[i * EACH + e] = NAN;
        }
    }
    d->call = (ac_call){.device = d->device, .graph = d->graph, .node = &d->graph->node[0], .training = true, .output = {d->y}, .doutput = {d->dy}, .n_doutput = 1, .dinput = {d->dx}};
    d->call.input[0] = d->x;
    d->call.input[1] = op == &ac_op_add ? (const void *)d->residual : d->key;
    d->call.input[2] = op == &ac_op_add ? d->key : NULL;
    AC_TRY(d->kernel->forward(&d->call));
    AC_TRY(d->kernel->backward(&d->call));
out:
    if (d->device)
        d->device->backend->close(d->device);
    ac_graph_destroy(d->graph);
    return status == AC_OK;
}

/* The same images at other places, by other backends and threads, with the same draws. */
static void place_does_not_matter(const ac_op *op)
{
    static drop a, b;
    static const int64_t keys[IMAGES] = {3, 900000000001, 5, 17, 4, 8}, turned[IMAGES] = {8, 3, 17, 4, 900000000001, 5};
    static const int from[IMAGES] = {5, 0, 3, 4, 1, 2};
    const ac_drop_attribute attribute = {.4f, 7, 0x123456789abcdefu};
    bool same = run_drop(&a, "cpu", 1, op, attribute, keys) && run_drop(&b, "cpu", 3, op, attribute, turned);
    int dropped = 0;
    for (int i = 0; i < IMAGES && same; i++) {
        same = memcmp(b.y + i * EACH, a.y + from[i] * EACH, EACH * sizeof(float)) == 0 && memcmp(b.dx + i * EACH, a.dx + from[i] * EACH, EACH * sizeof(float)) == 0;
        for (int e = 0; e < EACH; e++)
            dropped += a.dx[i * EACH + e] == 0;
    }
    TAP_OK(same && dropped > 0 && dropped < IMAGES * EACH, "%s: draws follow the sample, wherever in the batch, whatever the threads (%d dropped)", op->name, dropped);
    same = run_drop(&b, "ref", 1, op, attribute, keys);
    double worst = 0;
    for (int i = 0; i < IMAGES * EACH && same; i++) {
        worst = worse(worse(worst, fabs((double)a.y[i] - (double)b.y[i])), fabs((double)a.dx[i] - (double)b.dx[i]));
        same = (a.dx[i] == 0) == (b.dx[i] == 0) && isfinite(a.y[i]) && isfinite(b.y[i]) && isfinite(a.dx[i]) && isfinite(b.dx[i]);
    }
    TAP_OK(same && worst < 1e-6, "%s: cpu drops what ref drops, values differ by %.1g", op->name, worst);
    const ac_drop_attribute other_layer = {.4f, 8, 0x123456789abcdefu}, other_seed = {.4f, 7, 0x123456789abcdeeu};
    bool differ = run_drop(&b, "cpu", 1, op, other_layer, keys) && memcmp(a.dx, b.dx, sizeof a.dx) != 0;
    differ = differ && run_drop(&b, "cpu", 1, op, other_seed, keys) && memcmp(a.dx, b.dx, sizeof a.dx) != 0;
    TAP_OK(differ, "%s: another layer or another seed draws otherwise", op->name);
}

static void rate_of_zero(const ac_op *op, const char *backend)
{
    static drop d;
    static const int64_t keys[IMAGES] = {1, 2, 3, 4, 5, 6};
    bool same = run_drop(&d, backend, 2, op, (ac_drop_attribute){0, 1, 1}, keys) && memcmp(d.dx, d.dy, sizeof d.dx) == 0;
    for (int i = 0; i < IMAGES * EACH && same; i++)
        same = d.y[i] == (op == &ac_op_add ? d.residual[i] + d.x[i] : d.x[i]);
    TAP_OK(same, "%s on %s: a rate of 0 changes nothing", op->name, backend);
}

/* Is `count` of n what a chance of p makes of it? Below 1e-5 that it is not and fails: 4.4 deviations. */
static bool likely(int64_t count, int64_t n, double p)
{
    return fabs((double)count - (double)n * p) < 4.4 * sqrt((double)n * p * (1 - p));
}

static bool depth_drops(uint64_t seed, int64_t key, uint32_t layer)
{
    return ac_stochastic_depth_scale(seed, key, layer, .2f) == 0;
}

static bool element_drops(uint64_t seed, int64_t key, uint32_t layer)
{
    return ac_drop_scale(ac_dropout_block(seed, key, layer, (uint32_t)key % 50).word[key % 4], .2f) == 0;
}

/* Chi-square of pairs of draws that ought to be independent, and of each one's rate. */
static void independence(const char *name, bool (*drops)(uint64_t seed, int64_t key, uint32_t layer))
{
    enum { N = 40000 };
    static const struct {
        const char *name;
        int seed, key, layer;
    } pairs[] = {{"the next layer", 0, 0, 1}, {"the next seed", 1, 0, 0}, {"the next sample", 0, 1, 0}, {"the next layer of the sample before", 0, -1, 1}};
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        int64_t count[2][2] = {{0}};
        for (int64_t key = 1; key <= N; key++)
            count[drops(77, 2 * key, 3)][drops(77 + (uint64_t)pairs[k].seed, 2 * key + pairs[k].key, (uint32_t)(3 + pairs[k].layer))]++;
        double chi_square = 0;
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++) {
                double want = N * (i ? .2 : .8) * (j ? .2 : .8);
                chi_square += ((double)count[i][j] - want) * ((double)count[i][j] - want) / want;
            }
        /* three degrees of freedom: above 25.9 by chance once in 1e5 */
        TAP_OK(chi_square < 25.9, "%s: independent of %s (chi-square %.2f)", name, pairs[k].name, chi_square);
        TAP_OK(likely(count[1][0] + count[1][1], N, .2), "%s: drops %lld of %d at a rate of 0.2", name, (long long)(count[1][0] + count[1][1]), N);
    }
}

/* A factor is 0 or 1 / (1 - p), so that its expectation is 1. */
static void expectation(void)
{
    const float p[] = {.1f, .2f, .5f, .9f};
    for (size_t k = 0; k < sizeof p / sizeof *p; k++) {
        double sum = 0, n = 100000, keep = 1 - (double)p[k];
        for (int i = 0; i < (int)n; i++)
            sum += (double)ac_stochastic_depth_scale(5, i, 2, p[k]);
        TAP_OK(fabs(sum / n - 1) < 4.4 * sqrt((1 - keep) / keep / n), "stochastic depth of %g: mean factor %.4f", (double)p[k], sum / n);
    }
}

int main(void)
{
    against_pytorch();
    far_from_zero("ref");
    far_from_zero("cpu");
    for (int t = 0; t < 2; t++) {
        ac_dtype dtype = t ? AC_BF16 : AC_F32;
        same_with_threads(dtype, 1000, 33);
        same_with_threads(dtype, 67, 768);
        again_and_added("ref", dtype);
        again_and_added("cpu", dtype);
    }
    place_does_not_matter(&ac_op_add);
    place_does_not_matter(&ac_op_dropout);
    rate_of_zero(&ac_op_add, "ref");
    rate_of_zero(&ac_op_add, "cpu");
    rate_of_zero(&ac_op_dropout, "ref");
    rate_of_zero(&ac_op_dropout, "cpu");
    independence("stochastic depth", depth_drops);
    independence("dropout", element_drops);
    expectation();
    return tap_done();
}
