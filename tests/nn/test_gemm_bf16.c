/* Matrix products in bf16: each kernel that this processor has against sums in double of the same rounded operands, whichever way operands lie, for
 * odd sizes, with what the end of a product does; nothing is written beside the result; the same bits with 1, 2 and 3 threads. */
#include "anyclass/alloc.h"
#include "anyclass/random.h"
#include "backend/backends.h"
#include "backend/cpu/gemm.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

enum { GUARD = 64, ROW_GAP = 5, ROWS_BEFORE = 1 };
enum { PLAIN = 0, BIAS = 1, RESIDUAL = 2, SCALE = 4, ADD = 8, PACKED = 16, TURN_A = 32, TURN_B = 64, FLOAT_A = 128, FLOAT_B = 256, FLOAT_C = 512, ALIGNED = 1024 };

typedef struct gemm_case {
    const char *name;
    int64_t m, n, k;
    unsigned flags;
} gemm_case;

static const gemm_case cases[] = {
    {"one number", 1, 1, 1, PLAIN},
    {"whole tiles", 64, 64, 64, PLAIN},
    {"a linear layer", 70, 100, 96, TURN_B | FLOAT_B | BIAS},
    {"a linear layer of a float output", 8, 17, 77, TURN_B | FLOAT_B | BIAS | FLOAT_C},
    {"a linear layer with a residual, two chunks", 100, 130, 1504, TURN_B | FLOAT_B | BIAS | RESIDUAL},
    {"gradient of an input", 65, 96, 136, FLOAT_B},
    {"gradient of weights", 100, 72, 333, TURN_A | FLOAT_C},
    {"gradient of weights, added", 48, 33, 200, TURN_A | FLOAT_C | ADD},
    {"a small gradient of long sums", 40, 50, 6400, TURN_A | FLOAT_C},
    {"a small gradient of long sums, added, odd", 33, 17, 5003, TURN_A | FLOAT_C | ADD},
    {"both turned, both float", 37, 53, 61, TURN_A | TURN_B | FLOAT_A | FLOAT_B},
    {"a float", 31, 47, 161, FLOAT_A | BIAS},
    {"a turned from float", 31, 47, 161, TURN_A | FLOAT_A},
    {"b turned", 49, 15, 45, TURN_B},
    {"scaled and shifted, b packed before", 100, 96, 64, TURN_B | FLOAT_B | SCALE | PACKED},
    {"scaled and shifted, a residual, b packed before, odd", 99, 41, 1571, TURN_B | FLOAT_B | SCALE | RESIDUAL | PACKED},
    {"many rows and columns", 300, 620, 40, TURN_B | FLOAT_B | BIAS},
    {"very long sums", 17, 40, 9000, PLAIN},
    {"a result that goes past the caches", 2085, 2048, 8, TURN_B | FLOAT_B | BIAS | ALIGNED},
};

typedef struct trial {
    cpu_gemm g;
    bool packed;
    void *a, *b, *c, *start, *first;
    float *bias, *scale, *shift;
    void *residual;
    size_t c_bytes;
} trial;

/* Numbers of -1 .. 1. */
static ac_status make_numbers(int64_t n, uint64_t key, ac_dtype dtype, void *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_malloc((size_t)n, ac_dtype_bytes(dtype), (void **)out));
    for (int64_t i = 0; i < n; i++)
        cpu_store(*(void **)out, i, (float)ac_random_block(key, AC_STREAM_TEST, (uint64_t)i, 0).word[0] / 2147483648.f - 1, dtype == AC_BF16);
out:
    return status;
}

static ac_status open_trial(trial *t, const gemm_case *c)
{
    ac_status status = AC_OK;
    memset(t, 0, sizeof *t);
    int64_t lda = (c->flags & TURN_A ? c->m : c->k) + 3, ldb = (c->flags & TURN_B ? c->k : c->n) + 3, c_row = c->n + (c->flags & ALIGNED ? BF16_SIDE : ROW_GAP);
    ac_dtype a = c->flags & FLOAT_A ? AC_F32 : AC_BF16, b = c->flags & FLOAT_B ? AC_F32 : AC_BF16, result = c->flags & FLOAT_C ? AC_F32 : AC_BF16;
    int64_t n_c = (c->m + 2 * ROWS_BEFORE) * c_row;
    AC_TRY(make_numbers(lda * (c->flags & TURN_A ? c->k : c->m), 1, a, &t->a));
    AC_TRY(make_numbers(ldb * (c->flags & TURN_B ? c->n : c->k), 2, b, &t->b));
    AC_TRY(make_numbers(n_c, 3, result, &t->c));
    AC_TRY(make_numbers(n_c, 3, result, &t->start));
    AC_TRY(make_numbers(n_c, 3, result, &t->first));
    AC_TRY(make_numbers(n_c, 4, result, &t->residual));
    AC_TRY(make_numbers(c->n, 5, AC_F32, &t->bias));
    AC_TRY(make_numbers(c->n, 6, AC_F32, &t->scale));
    AC_TRY(make_numbers(c->n, 7, AC_F32, &t->shift));
    size_t before = (size_t)(ROWS_BEFORE * c_row) * ac_dtype_bytes(result);
    t->c_bytes = (size_t)n_c * ac_dtype_bytes(result);
    t->packed = c->flags & PACKED;
    t->g = (cpu_gemm){.m = c->m, .n = c->n, .k = c->k, .a = {t->a, lda, 1, a}, .b = {t->b, ldb, 1, b}, .c = (char *)t->c + before, .c_row = c_row,
                      .c_dtype = result, .add = c->flags & ADD};
    if (c->flags & TURN_A)
        t->g.a = (cpu_matrix){t->a, 1, lda, a};
    if (c->flags & TURN_B)
        t->g.b = (cpu_matrix){t->b, 1, ldb, b};
    t->g.bias = c->flags & BIAS ? t->bias : NULL;
    t->g.residual = c->flags & RESIDUAL ? (char *)t->residual + before : NULL;
    t->g.scale = c->flags & SCALE ? t->scale : NULL;
    t->g.shift = c->flags & SCALE ? t->shift : NULL;
out:
    return status;
}

static void close_trial(trial *t)
{
    void *all[] = {t->a, t->b, t->c, t->start, t->first, t->residual, t->bias, t->scale, t->shift};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ac_free(all[i]);
}

static double rounded(const cpu_matrix *m, int64_t i, int64_t j)
{
    float v = cpu_load(m->values, i * m->row + j * m->column, m->dtype == AC_BF16);
    return (double)ac_float_from_bf16(ac_bf16_from_float(v));
}

/* Sums in float of k products differ from those in double by some roundings of the largest partial sum, in whatever order; then, in a bf16 result, half
 * of its last place. 1 where all is as near as that allows. */
static double worst_error(const trial *t)
{
    const cpu_gemm *g = &t->g;
    bool bf16 = g->c_dtype == AC_BF16;
    double worst = 0;
    const void *start = (const char *)t->start + ((const char *)g->c - (const char *)t->c);
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < g->k; k++) {
                double product = rounded(&g->a, i, k) * rounded(&g->b, k, j);
                sum += product;
                size += fabs(product);
            }
            if (g->scale)
                sum = sum * (double)g->scale[j] + (double)g->shift[j];
            if (g->bias)
                sum += (double)g->bias[j];
            if (g->residual)
                sum += (double)cpu_load(g->residual, i * g->c_row + j, bf16);
            if (g->add)
                sum += (double)cpu_load(start, i * g->c_row + j, bf16);
            double allowed = 1e-7 * (4 + sqrt((double)g->k)) * (1 + size / sqrt((double)g->k)) + (bf16 ? .0039063 * fabs(sum) : 0);
            double error = fabs((double)cpu_load(g->c, i * g->c_row + j, bf16) - sum) / allowed;
            worst = worse(worst, error);
        }
    return worst;
}

/* Outside of the result. */
static bool is_untouched(const trial *t)
{
    const cpu_gemm *g = &t->g;
    size_t size = ac_dtype_bytes(g->c_dtype), row = (size_t)g->c_row * size, at = (size_t)ROWS_BEFORE * row, used = (size_t)g->n * size;
    bool same = memcmp(t->c, t->start, at) == 0;
    for (int64_t i = 0; i < g->m; i++, at += row)
        same = same && memcmp((char *)t->c + at + used, (char *)t->start + at + used, row - used) == 0;
    return same && memcmp((char *)t->c + at, (char *)t->start + at, t->c_bytes - at) == 0;
}

static bool is_guarded(const unsigned char *block, size_t bytes)
{
    for (size_t i = 0; i < GUARD; i++)
        if (block[bytes + i] != 0xff)
            return false;
    return true;
}

/* The workspace is full of NaN before. */
static ac_status run(trial *t, int n_threads)
{
    ac_status status = AC_OK;
    ac_device *device = NULL;
    unsigned char *workspace = NULL, *packed = NULL;
    AC_TRY(ac_backend_find("cpu")->open(n_threads, &device));
    const cpu_device *cpu = (cpu_device *)device;
    size_t bytes = cpu_gemm_bf16_workspace_bytes(cpu, &t->g), packed_bytes = cpu_gemm_bf16_packed_b_bytes(cpu, &t->g);
    AC_TRY(ac_malloc(bytes + GUARD, 1, &workspace));
    AC_TRY(ac_malloc(packed_bytes + GUARD, 1, &packed));
    memset(workspace, 0xff, bytes + GUARD);
    memset(packed, 0xff, packed_bytes + GUARD);
    memcpy(t->c, t->start, t->c_bytes);
    if (t->packed)
        cpu_gemm_bf16_pack_b(cpu, &t->g, packed);
    cpu_gemm_bf16_run(cpu, &t->g, t->packed ? packed : NULL, workspace);
    if (!is_guarded(workspace, bytes) || !is_guarded(packed, packed_bytes))
        status = ac_error(AC_ERR_RANGE, "written past the workspace");
out:
    ac_free(workspace);
    ac_free(packed);
    if (device)
        device->backend->close(device);
    return status;
}

static void check(const gemm_case *c, const char *kernel)
{
    trial t;
    if (TAP_CALL(open_trial(&t, c)) && TAP_CALL(run(&t, 1))) {
        double error = worst_error(&t);
        TAP_OK(error <= 1, "%s: %s: %.2g of what rounding allows", kernel, c->name, error);
        TAP_OK(is_untouched(&t), "%s: %s: nothing beside the result", kernel, c->name);
        memcpy(t.first, t.c, t.c_bytes);
        for (int n_threads = 2; n_threads <= 3; n_threads++)
            TAP_OK(run(&t, n_threads) == AC_OK && memcmp(t.c, t.first, t.c_bytes) == 0, "%s: %s: %d threads, the same bits", kernel, c->name, n_threads);
    }
    close_trial(&t);
}

/* Infinities and NaNs go where they belong and nowhere else, also beside the filled-up end of k. */
static void check_special(const char *kernel)
{
    enum { M = 20, N = 20, K = 40 };
    trial t;
    if (TAP_CALL(open_trial(&t, &(gemm_case){"special", M, N, K, FLOAT_A}))) {
        ((float *)t.a)[3 * t.g.a.row + 39] = NAN;
        ((float *)t.a)[5 * t.g.a.row] = INFINITY;
        ((float *)t.a)[7 * t.g.a.row] = 3.4e38f; /* rounds to infinity */
        bool good = TAP_CALL(run(&t, 2));
        for (int64_t i = 0; i < M; i++)
            for (int64_t j = 0; j < N; j++) {
                float v = cpu_load(t.g.c, i * t.g.c_row + j, true);
                good = good && (i == 3 ? isnan(v) : i == 5 || i == 7 ? !isfinite(v) : isfinite(v));
            }
        TAP_OK(good, "%s: infinities and NaNs stay in their rows", kernel);
    }
    close_trial(&t);
}

int main(void)
{
    static const struct {
        const char *name, *title;
        cpu_bf16_kernel kernel;
    } kernels[] = {{"amx", "AMX", CPU_BF16_AMX}, {"dot", "AVX512-BF16", CPU_BF16_DOT}, {"avx512", "AVX-512", CPU_BF16_AVX512}};
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
        setenv("ANYCLASS_BF16", kernels[k].name, 1);
        if (cpu_bf16_choose() != kernels[k].kernel) {
            TAP_SKIP(k == 0 ? "no AMX here" : k == 1 ? "no AVX512-BF16 here" : "no AVX-512 here");
            continue;
        }
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            check(&cases[i], kernels[k].title);
        check_special(kernels[k].title);
    }
    return tap_done();
}
