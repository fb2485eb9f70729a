/* Matrix products in float, with each tile there is: against sums in double, whichever way the operands lie, for sizes on both sides of every tile, block
 * and part, with all that may become of a sum; nothing is written beside the result or behind the workspace, whose contents do not matter; the same bits
 * with 1, 2 and 3 threads, with b packed before, and of a row whatever the rows beside it. On the tiles for other processors operands in bf16 too. */
#include "anyclass/alloc.h"
#include "anyclass/random.h"
#include "backend/backends.h"
#include "backend/cpu/gemm.h"
#include "tests/part.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

enum { GUARD = 64, GAP = 3 }; /* numbers behind each row and around the result */
enum { ADD = 1, BIAS = 2, RESIDUAL = 4, ONTO = 8, SCALE = 16, BEFORE = 32 }; /* ONTO: the residual is c itself */

typedef struct gemm_case {
    int64_t m, n, k;
    unsigned flags;
    ac_activation activation;
    bool long_only; /* only where a lies transposed, as for the gradient of weights */
} gemm_case;

static const gemm_case cases[] = {
    {1, 1, 1, 0, AC_ACTIVATION_NONE, false},
    {1, 40, 7, BIAS, AC_ACTIVATION_NONE, false},
    {13, 31, 33, 0, AC_ACTIVATION_NONE, false},
    {14, 32, 16, ADD, AC_ACTIVATION_NONE, false},
    {15, 33, 17, BIAS | RESIDUAL, AC_ACTIVATION_NONE, false},
    {29, 65, 383, BIAS, AC_ACTIVATION_GELU, false},
    {29, 65, 385, BIAS | BEFORE, AC_ACTIVATION_GELU, false},
    {57, 97, 70, BIAS | BEFORE, AC_ACTIVATION_TANH, false},
    {57, 3, 515, ADD, AC_ACTIVATION_NONE, false},
    {100, 257, 40, RESIDUAL | ONTO, AC_ACTIVATION_NONE, false},
    {100, 130, 800, RESIDUAL | ONTO | BIAS, AC_ACTIVATION_NONE, false},
    {64, 64, 512, SCALE | RESIDUAL, AC_ACTIVATION_RELU, false},
    {33, 70, 1024, SCALE, AC_ACTIVATION_LEAKY_RELU, false},
    {33, 70, 100, SCALE | RESIDUAL | ONTO, AC_ACTIVATION_LEAKY_RELU, false},
    {481, 36, 50, BIAS, AC_ACTIVATION_NONE, false},
    {490, 300, 20, ADD, AC_ACTIVATION_NONE, false},
    {1, 300, 400, 0, AC_ACTIVATION_NONE, false},
    {40, 33, 4000, ADD, AC_ACTIVATION_NONE, true},
    {31, 17, 7001, 0, AC_ACTIVATION_NONE, true},
};

typedef struct trial {
    cpu_gemm g;
    void *a, *b, *c, *start, *before, *first, *residual;
    float *bias, *scale, *shift;
    size_t n_c, c_bytes;
} trial;

/* -1 .. 1 */
static ac_status make_numbers(int64_t n, uint64_t key, ac_dtype dtype, void *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_malloc((size_t)n, ac_dtype_bytes(dtype), (void **)out));
    for (int64_t i = 0; i < n; i++)
        cpu_store(*(void **)out, i, (float)ac_random_block(key, AC_STREAM_TEST, (uint64_t)i, 0).word[0] / 2147483648.f - 1, dtype == AC_BF16);
out:
    return status;
}

static void close_trial(trial *t)
{
    void *all[] = {t->a, t->b, t->c, t->start, t->before, t->first, t->residual, t->bias, t->scale, t->shift};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ac_free(all[i]);
}

static cpu_matrix matrix(const void *values, int64_t rows, int64_t columns, bool turned, ac_dtype dtype)
{
    return turned ? (cpu_matrix){values, 1, rows + GAP, dtype} : (cpu_matrix){values, columns + GAP, 1, dtype};
}

static ac_status open_trial(trial *t, const gemm_case *c, int layout, ac_dtype dtype)
{
    ac_status status = AC_OK;
    int64_t n_c = (c->m + 2) * (c->n + GAP);
    memset(t, 0, sizeof *t);
    t->n_c = (size_t)n_c;
    t->c_bytes = t->n_c * ac_dtype_bytes(dtype);
    AC_TRY(make_numbers((c->m + GAP) * (c->k + GAP), 1, dtype, &t->a));
    AC_TRY(make_numbers((c->k + GAP) * (c->n + GAP), 2, AC_F32, &t->b));
    AC_TRY(make_numbers(n_c, 3, dtype, &t->start));
    AC_TRY(make_numbers(n_c, 3, dtype, &t->c));
    AC_TRY(make_numbers(n_c, 3, dtype, &t->first));
    AC_TRY(make_numbers(n_c, 4, dtype, &t->residual));
    AC_TRY(make_numbers(n_c, 5, dtype, &t->before));
    AC_TRY(make_numbers(c->n, 6, AC_F32, &t->bias));
    AC_TRY(make_numbers(c->n, 7, AC_F32, &t->scale));
    AC_TRY(make_numbers(c->n, 8, AC_F32, &t->shift));
    size_t skip = (size_t)(c->n + GAP) * ac_dtype_bytes(dtype); /* a row in front belongs to nobody */
    t->g = (cpu_gemm){.m = c->m, .n = c->n, .k = c->k, .a = matrix(t->a, c->m, c->k, layout & 1, dtype), .b = matrix(t->b, c->k, c->n, layout & 2, AC_F32),
                      .c = (char *)t->c + skip, .c_row = c->n + GAP, .c_dtype = dtype, .add = c->flags & ADD, .activation = c->activation, .slope = .25f};
    t->g.bias = c->flags & BIAS ? t->bias : NULL;
    t->g.before = c->flags & BEFORE ? (char *)t->before + skip : NULL;
    t->g.residual = c->flags & ONTO ? t->g.c : c->flags & RESIDUAL ? (char *)t->residual + skip : NULL;
    t->g.scale = c->flags & SCALE ? t->scale : NULL;
    t->g.shift = c->flags & SCALE ? t->shift : NULL;
out:
    return status;
}

static double element(const cpu_matrix *m, int64_t i, int64_t j, bool rounded)
{
    float v = cpu_load(m->values, i * m->row + j * m->column, m->dtype == AC_BF16);
    return (double)(rounded ? ac_float_from_bf16(ac_bf16_from_float(v)) : v);
}

static double activate(const cpu_gemm *g, double x)
{
    if (g->activation == AC_ACTIVATION_GELU)
        return .5 * x * erfc(-x / sqrt(2));
    return g->activation == AC_ACTIVATION_TANH ? tanh(x) : x;
}

/* What element (i, j) has to be, and what goes into its activation; *size: sum of the products' magnitudes. */
static double expected(const trial *t, int64_t i, int64_t j, double *before, double *size)
{
    const cpu_gemm *g = &t->g;
    bool bf16 = g->a.dtype == AC_BF16;
    int64_t at = (i + 1) * g->c_row + j;
    double sum = 0, start = (double)cpu_load(t->start, at, bf16);
    *size = 0;
    for (int64_t k = 0; k < g->k; k++) {
        double product = element(&g->a, i, k, bf16) * element(&g->b, k, j, bf16);
        sum += product;
        *size += fabs(product);
    }
    sum = g->scale ? sum * (double)g->scale[j] + (double)g->shift[j] : g->bias ? sum + (double)g->bias[j] : sum;
    *before = sum;
    sum = activate(g, sum);
    if (g->add)
        sum += start;
    if (g->residual)
        sum += g->residual == g->c ? start : (double)cpu_load(t->residual, at, bf16);
    if (g->activation == AC_ACTIVATION_RELU || g->activation == AC_ACTIVATION_LEAKY_RELU)
        sum = sum < 0 ? sum * (g->activation == AC_ACTIVATION_RELU ? 0 : .25) : sum;
    return sum;
}

/* Float sums of k products in parts: some roundings of the largest partial sum, in whatever order; 2e-7 for GELU (activation_formula.h), which may
 * enlarge what goes in by 1.13; a result in bf16 is within half of its last place, or
 * the whole of it where it is an activation of a rounded value. 1 where all is as near as that allows. */
static double worst_error(const trial *t)
{
    const cpu_gemm *g = &t->g;
    bool bf16 = g->c_dtype == AC_BF16;
    double worst = 0;
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            double before, size, want = expected(t, i, j, &before, &size);
            double allowed = 1.2e-7 * (4 + sqrt((double)g->k)) * (1 + size / sqrt((double)g->k)) + 1e-7 * (fabs(want) + fabs(before));
            allowed = (g->activation == AC_ACTIVATION_GELU ? 1.13 * allowed + 2e-7 * (1 + fabs(before)) : allowed) + (bf16 ? 0x1p-7 * (.1 + fabs(want) + fabs(before)) : 0);
            double error = fabs((double)cpu_load(g->c, i * g->c_row + j, bf16) - want) / allowed;
            worst = worse(worst, error);
            if (!g->before)
                continue;
            error = fabs((double)cpu_load(g->before, i * g->c_row + j, bf16) - before) / allowed;
            worst = worse(worst, error);
        }
    return worst;
}

static bool is_untouched(const trial *t)
{
    int64_t row = t->g.c_row;
    for (int64_t at = 0; at < (int64_t)t->n_c; at++)
        if ((at < row || at >= (t->g.m + 1) * row || at % row >= t->g.n) &&
            memcmp((char *)t->c + (size_t)at * ac_dtype_bytes(t->g.c_dtype), (char *)t->start + (size_t)at * ac_dtype_bytes(t->g.c_dtype),
                   ac_dtype_bytes(t->g.c_dtype)) != 0)
            return false;
    return true;
}

static bool is_guarded(const unsigned char *block, size_t bytes)
{
    for (size_t i = 0; i < GUARD; i++)
        if (block[bytes + i] != 0xff)
            return false;
    return true;
}

/* The workspace is full of NaN before. */
static ac_status run(trial *t, int n_threads, bool packed_before)
{
    ac_status status = AC_OK;
    ac_device *device = NULL;
    unsigned char *workspace = NULL, *packed = NULL;
    AC_TRY(ac_backend_find("cpu")->open(n_threads, &device));
    const cpu_device *cpu = (cpu_device *)device;
    size_t bytes = cpu_gemm_workspace_bytes(cpu, &t->g), packed_bytes = cpu_gemm_packed_b_bytes(cpu, &t->g);
    AC_TRY(ac_malloc(bytes + GUARD, 1, &workspace));
    AC_TRY(ac_malloc(packed_bytes + GUARD, 1, &packed));
    memset(workspace, 0xff, bytes + GUARD);
    memset(packed, 0xff, packed_bytes + GUARD);
    memcpy(t->c, t->start, t->c_bytes);
    if (packed_before)
        cpu_gemm_pack_b(cpu, &t->g, packed);
    cpu_gemm_run(cpu, &t->g, packed_before ? packed : NULL, workspace);
    if (!is_guarded(workspace, bytes) || !is_guarded(packed, packed_bytes))
        status = ac_error(AC_ERR_RANGE, "written past the workspace");
out:
    ac_free(workspace);
    ac_free(packed);
    if (device)
        device->backend->close(device);
    return status;
}

/* A row alone has the bits it has among others. Not where a lies transposed: there k is a batch. */
static bool is_row_the_same(trial *t, int64_t i)
{
    cpu_gemm all = t->g;
    size_t row = (size_t)t->g.c_row * ac_dtype_bytes(t->g.c_dtype), bytes = (size_t)t->g.n * ac_dtype_bytes(t->g.c_dtype);
    t->g.m = 1;
    t->g.a.values = (const char *)all.a.values + (size_t)(i * all.a.row) * ac_dtype_bytes(all.a.dtype);
    t->g.c = (char *)all.c + (size_t)i * row;
    t->g.before = all.before ? (char *)all.before + (size_t)i * row : NULL;
    t->g.residual = all.residual ? (const char *)all.residual + (size_t)i * row : NULL;
    bool same = run(t, 1, false) == AC_OK && memcmp(t->g.c, (char *)t->first + ((char *)t->g.c - (char *)t->c), bytes) == 0;
    t->g = all;
    return same;
}

static void check(const gemm_case *c, const char *tile, int layout, ac_dtype dtype)
{
    trial t;
    char name[160];
    snprintf(name, sizeof name, "%s %s: %d x %d x %d%s%s, flags %u, activation %d", tile, ac_dtype_name(dtype), (int)c->m, (int)c->n, (int)c->k,
             layout & 1 ? ", a turned" : "", layout & 2 ? ", b turned" : "", c->flags, c->activation);
    if (open_trial(&t, c, layout, dtype) == AC_OK && TAP_OK(run(&t, 1, false) == AC_OK, "%s: runs", name)) {
        double error = worst_error(&t);
        bool same = true;
        TAP_OK(error <= 1, "%s: %.2g of what rounding allows", name, error);
        TAP_OK(is_untouched(&t), "%s: nothing beside the result", name);
        memcpy(t.first, t.c, t.c_bytes);
        for (int n_threads = 1; n_threads <= 3; n_threads++)
            same = same && run(&t, n_threads, n_threads != 2) == AC_OK && memcmp(t.c, t.first, t.c_bytes) == 0;
        TAP_OK(same, "%s: the same bits with 1, 2 and 3 threads, and with b packed before", name);
        if (!(layout & 1))
            TAP_OK(is_row_the_same(&t, c->m - 1) && is_row_the_same(&t, c->m / 2), "%s: a row alone is the same", name);
    }
    close_trial(&t);
}

int main(void)
{
    static const char *const tiles[] = {"avx512", "avx2", "plain"};
    for (int tile = 0; tile < 3; tile++) {
        setenv("ANYCLASS_GEMM", tiles[tile], 1);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            for (int layout = 0; layout < 4; layout++)
                for (int k = 0; k < (tile == 0 || cases[i].flags & ADD ? 1 : 2); k++) /* avx512: test_gemm_bf16.c */
                    if ((!cases[i].long_only || layout == 1) && part_has_next())
                        check(&cases[i], tiles[tile], layout, k == 0 ? AC_F32 : AC_BF16);
    }
    return tap_done();
}
