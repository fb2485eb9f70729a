/* attention alone: against PyTorch (fixtures/attention.json), cpu against ref on shapes that operator_case.h cannot have, large logits, and the same
 * bits whatever the threads. Each also by the code that processors with less run. */
#include "anyclass/json.h"
#include "tests/model/drawn.h"
#include "tests/nn/operator_alone.h"
#include "tests/part.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>

typedef struct shape {
    const char *name;
    ac_attention_kind kind;
    int64_t batch, height, width;
    int n_heads, head, window;
} shape;

static ac_status open_shape(alone *a, const shape *s, const char *backend, int n_threads, ac_dtype dtype, float scale)
{
    int64_t channels = 3 * s->n_heads * s->head;
    ac_shape x = {4, {s->batch, s->height, s->width, channels}, dtype};
    if (s->kind == AC_ATTENTION_GLOBAL)
        x = (ac_shape){3, {s->batch, s->height * s->width, channels}, dtype};
    ac_attention_attribute attribute = {s->kind, s->n_heads, s->window, scale};
    return alone_open(a, backend, n_threads, &x, &ac_op_attention, &attribute, true);
}

/* Element i of an array: `size` times a number in [-1, 1), as a float. */
static void fill(alone *a, int array, int64_t n, const char *name, const char *what, double size)
{
    char full[96];
    snprintf(full, sizeof full, "%s %s", name, what);
    for (int64_t i = 0; i < n; i++)
        alone_set(a, array, i, (double)(float)(size * (2 * drawn(full, (uint64_t)i) - 1)));
}

static void fill_all(alone *a, const char *name)
{
    fill(a, ALONE_X, a->n_x, name, "qkv", 2);
    fill(a, ALONE_DY, a->n_y, name, "gradient", 1);
    fill(a, ALONE_PARAM, a->n_param, name, "table", 1);
}

static ac_status run(const alone *a)
{
    ac_status status = a->kernel->forward(&a->call);
    return status == AC_OK ? a->kernel->backward(&a->call) : status;
}

static bool same_bits(const alone *a, const alone *b)
{
    static const int arrays[] = {ALONE_Y, ALONE_DX, ALONE_DPARAM, ALONE_SAVED};
    for (size_t k = 0; k < sizeof arrays / sizeof *arrays; k++)
        if (memcmp(a->array[arrays[k]], b->array[arrays[k]], a->bytes[arrays[k]]) != 0)
            return false;
    return true;
}

/* Largest difference of n elements, relative to the largest element. NaN anywhere: 1. */
static double differs(const alone *a, const alone *b, int array, int64_t n)
{
    double worst = 0, most = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        double x = alone_get(a, array, i), y = alone_get(b, array, i);
        if (isnan(x) || isnan(y))
            return 1;
        worst = worse(worst, fabs(x - y));
        most = fmax(most, fabs(x));
    }
    return worst / most;
}

static const shape shapes[] = {
    {"global of 1", AC_ATTENTION_GLOBAL, 2, 1, 1, 2, 8, 0},
    {"global of 10", AC_ATTENTION_GLOBAL, 2, 1, 10, 3, 5, 0},
    {"global of 32, one panel", AC_ATTENTION_GLOBAL, 1, 1, 32, 1, 32, 0},
    {"global of 50", AC_ATTENTION_GLOBAL, 3, 1, 50, 2, 64, 0},
    {"global of 65, 1 + 64 rows", AC_ATTENTION_GLOBAL, 1, 1, 65, 2, 33, 0},
    {"global of 197", AC_ATTENTION_GLOBAL, 1, 1, 197, 2, 64, 0},
    {"global of 389", AC_ATTENTION_GLOBAL, 1, 1, 389, 1, 40, 0},
    {"window of 3 in 6 x 9", AC_ATTENTION_WINDOW, 2, 6, 9, 2, 5, 3},
    {"grid of 3 in 9 x 6", AC_ATTENTION_GRID, 2, 9, 6, 2, 5, 3},
    {"window of 2 in 2 x 6, 9 heads", AC_ATTENTION_WINDOW, 40, 2, 6, 9, 2, 2},
    {"window of 7 in 14 x 21", AC_ATTENTION_WINDOW, 1, 14, 21, 6, 32, 7},
    {"grid of 7 in 21 x 14", AC_ATTENTION_GRID, 1, 21, 14, 3, 32, 7},
    {"window of 10 in 10 x 20", AC_ATTENTION_WINDOW, 1, 10, 20, 1, 16, 10},
};

/* Float: sums of a few hundred products in another order, of logits up to 30. bf16: both round results that are nearly the same (2^-8 of an
 * element from one side of a tie to the other), and cpu may round probabilities (2^-9 of each) before it multiplies. */
static const struct {
    ac_dtype dtype;
    double allowed;
} types[] = {{AC_F32, 5e-6}, {AC_BF16, 1e-2}};

/* Forward, backward with the gradient in two parts and added to the table's. */
static void against_ref(const shape *s, const char *way, size_t t)
{
    alone ref, cpu, *both[] = {&ref, &cpu};
    const char *type = ac_dtype_name(types[t].dtype);
    float scale = 1 / sqrtf((float)s->head);
    bool ran = open_shape(&ref, s, "ref", 1, types[t].dtype, scale) == AC_OK;
    if (open_shape(&cpu, s, "cpu", 2, types[t].dtype, scale) != AC_OK && types[t].dtype == AC_BF16) {
        TAP_SKIP(ac_error_text());
        goto out;
    }
    for (int k = 0; k < 2 && ran; k++) {
        fill_all(both[k], s->name);
        fill(both[k], ALONE_DY2, both[k]->n_y, s->name, "gradient 2", 1);
        fill(both[k], ALONE_DPARAM, both[k]->n_param, s->name, "before", 1);
        both[k]->call.n_doutput = 2;
        both[k]->call.accumulate = true;
        ran = ran && run(both[k]) == AC_OK;
    }
    double y = differs(&ref, &cpu, ALONE_Y, ref.n_y), dx = differs(&ref, &cpu, ALONE_DX, ref.n_x), saved = differs(&ref, &cpu, ALONE_SAVED, ref.n_saved);
    double table = ref.n_param ? differs(&ref, &cpu, ALONE_DPARAM, ref.n_param) : 0;
    TAP_OK(ran && y < types[t].allowed && dx < types[t].allowed && table < types[t].allowed, "%s, %s, %s: cpu is ref (%.1e, %.1e, %.1e)", s->name, way, type, y, dx,
           table);
    TAP_OK(ran && saved < 2e-6, "%s, %s, %s: log sums (%.1e)", s->name, way, type, saved);
    TAP_OK(ran && alone_guards_hold(&ref) && alone_guards_hold(&cpu), "%s, %s, %s: nothing written past an end", s->name, way, type);
out:
    alone_close(&ref);
    alone_close(&cpu);
}

static void same_with_threads(const shape *s, const char *way, size_t t)
{
    alone a[3];
    bool ran = true;
    for (int k = 0; k < 3; k++) {
        ran = open_shape(&a[k], s, "cpu", k + 1, types[t].dtype, .3f) == AC_OK && ran;
        if (ran)
            fill_all(&a[k], s->name);
        ran = ran && run(&a[k]) == AC_OK && alone_guards_hold(&a[k]);
    }
    if (ran || types[t].dtype == AC_F32)
        TAP_OK(ran && same_bits(&a[0], &a[1]) && same_bits(&a[0], &a[2]), "%s, %s, %s: the same bits with 1, 2 and 3 threads", s->name, way,
               ac_dtype_name(types[t].dtype));
    else
        TAP_SKIP(ac_error_text());
    for (int k = 0; k < 3; k++)
        alone_close(&a[k]);
}

/* Logits that are exact numbers up to some thousands, far beyond what an exponential holds: rows with one largest, and with several alike. */
static void large_logits(const char *way)
{
    static const shape s = {"large", AC_ATTENTION_GLOBAL, 1, 1, 40, 2, 8, 0};
    alone a[2];
    bool ran = open_shape(&a[0], &s, "ref", 1, AC_F32, 32) == AC_OK && open_shape(&a[1], &s, "cpu", 2, AC_F32, 32) == AC_OK;
    double most = 0;
    for (int k = 0; k < 2 && ran; k++) {
        fill_all(&a[k], s.name);
        for (int64_t i = 0; i < a[k].n_x; i++)
            alone_set(&a[k], ALONE_X, i, round(3 * alone_get(&a[k], ALONE_X, i) / 2));
        ran = run(&a[k]) == AC_OK;
        most = fmax(most, fabs(alone_get(&a[k], ALONE_SAVED, 5)));
    }
    TAP_OK(ran && most > 500, "%s: logits of %.0f", way, most);
    TAP_OK(ran && differs(&a[0], &a[1], ALONE_Y, a[0].n_y) < 2e-5 && differs(&a[0], &a[1], ALONE_SAVED, a[0].n_saved) < 2e-7, "%s: and neither overflow nor loss", way);
    /* a logit of 1000 has an ulp of 6e-5, and so has the saved log of the sum */
    TAP_OK(ran && differs(&a[0], &a[1], ALONE_DX, a[0].n_x) < 1e-3, "%s: nor in the gradient (%.1e)", way, differs(&a[0], &a[1], ALONE_DX, a[0].n_x));
    for (int k = 0; k < 2; k++)
        alone_close(&a[k]);
}

static int64_t n_nan(const alone *a, int array, int64_t first, int64_t n, int64_t stride)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += isnan(alone_get(a, array, first + i * stride));
    return count;
}

/* NaN in position 3's q, k or v (0, 1, 2) of head 1: who sees it becomes NaN, and nobody else. */
static void nan_is_seen(const char *backend, const char *way, size_t t)
{
    enum { L = 40, HEADS = 2, D = 8, C = HEADS * D };
    static const shape s = {"NaN", AC_ATTENTION_GLOBAL, 1, 1, L, HEADS, D, 0};
    for (int which = 0; which < 3; which++) {
        alone a;
        bool ran = open_shape(&a, &s, backend, 1, types[t].dtype, .3f) == AC_OK;
        if (!ran && types[t].dtype == AC_BF16) {
            TAP_SKIP(ac_error_text());
            alone_close(&a);
            return;
        }
        fill_all(&a, s.name);
        alone_set(&a, ALONE_X, 3 * 3 * C + which * C + D + 5, (double)NAN);
        ran = ran && run(&a) == AC_OK;
        int64_t others = 0, row = n_nan(&a, ALONE_Y, 3 * C + D, D, 1), column = n_nan(&a, ALONE_Y, D + 5, L, C), all = n_nan(&a, ALONE_Y, 0, L * C, 1);
        for (int64_t i = 0; i < L; i++)
            others += n_nan(&a, ALONE_Y, i * C, D, 1) + n_nan(&a, ALONE_DX, i * 3 * C, D, 1);
        bool right = which == 0 ? row == D && all == D : which == 1 ? all == L * D : column == L && all == L;
        TAP_OK(ran && right && others == 0, "%s, %s, %s: NaN in %c reaches whom it concerns", backend, way, ac_dtype_name(types[t].dtype), "qkv"[which]);
        TAP_OK(ran && n_nan(&a, ALONE_DX, D, L, 3 * C) > 0, "%s, %s, %s: and the gradient", backend, way, ac_dtype_name(types[t].dtype));
        alone_close(&a);
    }
}

static int64_t whole(const ac_json_value *c, const char *key)
{
    int64_t out = -1;
    return ac_json_read_int(ac_json_get(c, key), key, &out) == AC_OK ? out : -1;
}

/* What is stored of a tensor: largest difference relative to the largest stored, and the norm's. */
static double off_fixture(const ac_json_value *c, const char *key, const alone *a, int array, int64_t n)
{
    const ac_json_value *kept = ac_json_get(c, key), *values = ac_json_get(kept, "values");
    int64_t step = whole(kept, "step");
    double norm = NAN, square = 0, worst = 0, most = 0;
    if (ac_json_read_double(ac_json_get(kept, "norm"), "norm", &norm) != AC_OK || step < 1 || ac_json_count(values) != (size_t)((n + step - 1) / step))
        return INFINITY;
    for (int64_t i = 0; i < n; i++)
        square += alone_get(a, array, i) * alone_get(a, array, i);
    for (size_t k = 0; k < ac_json_count(values); k++) {
        double want = NAN, got = alone_get(a, array, (int64_t)k * step);
        if (ac_json_read_double(ac_json_at(values, k), "value", &want) != AC_OK || isnan(got))
            return INFINITY;
        worst = worse(worst, fabs(want - got));
        most = fmax(most, fabs(want));
    }
    return worse(worst / most, fabs(sqrt(square) - norm) / norm);
}

static void test_fixture_case(const ac_json_value *c, const char *backend, const char *way)
{
    const char *name = "", *kind = "";
    alone a;
    bool ran = ac_json_read_string(ac_json_get(c, "name"), "name", &name) == AC_OK && ac_json_read_string(ac_json_get(c, "kind"), "kind", &kind) == AC_OK;
    shape s = {name, strcmp(kind, "global") == 0 ? AC_ATTENTION_GLOBAL : strcmp(kind, "grid") == 0 ? AC_ATTENTION_GRID : AC_ATTENTION_WINDOW,
               whole(c, "batch"), whole(c, "height"), whole(c, "width"), (int)whole(c, "heads"), (int)whole(c, "head"), (int)whole(c, "window")};
    ran = ran && open_shape(&a, &s, backend, 2, AC_F32, (float)(1 / sqrt((double)s.head))) == AC_OK;
    if (!TAP_OK(ran, "%s, %s, %s: opens", name, backend, way))
        return;
    fill_all(&a, name);
    ran = run(&a) == AC_OK;
    double y = off_fixture(c, "output", &a, ALONE_Y, a.n_y), dx = off_fixture(c, "dqkv", &a, ALONE_DX, a.n_x);
    double table = a.n_param ? off_fixture(c, "dtable", &a, ALONE_DPARAM, a.n_param) : 0;
    TAP_OK(ran && y < 1e-5 && dx < 1e-5 && table < 1e-5, "%s, %s, %s: PyTorch's output and gradients (%.1e, %.1e, %.1e)", name, backend, way, y, dx, table);
    alone_close(&a);
}

static void test_fixture(const char *backend, const char *way)
{
    ac_json_value *document;
    if (!TAP_CALL(ac_json_load("tests/nn/fixtures/attention.json", &document)))
        return;
    const ac_json_value *cases = ac_json_get(document, "cases");
    TAP_OK(ac_json_count(cases) == 6, "six cases");
    for (size_t k = 0; k < ac_json_count(cases); k++)
        test_fixture_case(ac_json_at(cases, k), backend, way);
    ac_json_release(document);
}

int main(void)
{
    /* as on processors with less: products in float alone, no AVX-512 at all, bf16 without AMX */
    static const struct {
        const char *name, *attention, *bf16;
    } ways[] = {{"by default", "", ""}, {"float", "float", ""}, {"plain", "plain", ""}, {"dot", "", "dot"}};
    test_fixture("ref", "by definition");
    nan_is_seen("ref", "by definition", 0);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        setenv("ANYCLASS_ATTENTION", ways[w].attention, 1);
        setenv("ANYCLASS_BF16", ways[w].bf16, 1);
        if (!*ways[w].bf16) {
            test_fixture("cpu", ways[w].name);
            large_logits(ways[w].name);
        }
        for (size_t t = 0; t < sizeof types / sizeof *types; t++)
            nan_is_seen("cpu", ways[w].name, t);
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
                if (types[t].dtype == AC_F32 && (*ways[w].bf16 || strcmp(ways[w].attention, "float") == 0))
                    continue; /* has been */
                if (!part_has_next())
                    continue;
                against_ref(&shapes[i], ways[w].name, t);
                same_with_threads(&shapes[i], ways[w].name, t);
            }
    }
    return tap_done();
}
