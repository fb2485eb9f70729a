/* The float products of linear layers and 1x1 convolutions, pass by pass, in GFLOP/s: ours (lib/backend/cpu/gemm.h) and oneDNN's dnnl_sgemm in turns;
 * the fastest round counts. Random numbers, no files. usage: gemm_f32 [THREADS [ROUNDS [PEAK [WORD]]]]
 * PEAK: GFLOP/s of bench/fma with as many threads, for the share of it; WORD: only lines that contain it. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "backend/cpu/gemm.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct layer {
    const char *name;
    int64_t rows, in, out;
} layer;

static const layer layers[] = { /* batch 8 */
    {"vit_b qkv", 1576, 768, 2304},         {"vit_b proj", 1576, 768, 768},         {"vit_b fc1", 1576, 768, 3072},
    {"vit_b fc2", 1576, 3072, 768},         {"vit_b_32 fc1", 400, 768, 3072},       {"vit_l fc1", 1576, 1024, 4096},
    {"maxvit 1 qkv", 25088, 96, 288},       {"maxvit 1 proj", 25088, 96, 96},       {"maxvit 1 fc1", 25088, 96, 384},
    {"maxvit 1 fc2", 25088, 384, 96},       {"maxvit 1 stem", 25088, 64, 256},      {"maxvit 2 fc1", 6272, 192, 768},
    {"maxvit 3 fc1", 1568, 384, 1536},      {"maxvit 4 fc1", 392, 768, 3072},       {"resnet50 1", 25088, 64, 256},
    {"resnet50 2", 6272, 512, 128},         {"resnet50 3", 1568, 1024, 256},        {"resnet50 4", 392, 512, 2048},
    {"head", 8, 2048, 64},
};

enum { FORWARD, DATA, WEIGHTS, N_PASSES, OURS = 0, ONEDNN, N_SIDES };

/* One thread is timed by the processor seconds it used, so that other work on the machine is not counted. */
static double now_s(int n_threads)
{
    struct timespec t;
    if (n_threads > 1)
        return ac_now_s();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ac_status random_floats(int64_t n, float **out)
{
    ac_status status = AC_OK;
    uint32_t state = 1;
    AC_TRY(ac_malloc((size_t)n, sizeof **out, out));
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        (*out)[i] = (float)(state >> 8) / (float)(1 << 23) - 1;
    }
out:
    return status;
}

typedef struct buffers {
    float *x, *w, *y, *dx, *dw;
    void *workspace;
} buffers;

static cpu_gemm product(const layer *l, int pass, const buffers *m)
{
    cpu_gemm g[] = {
        {.m = l->rows, .n = l->out, .k = l->in, .a = {m->x, l->in, 1, AC_F32}, .b = {m->w, 1, l->in, AC_F32}, .c = m->y, .c_row = l->out},
        {.m = l->rows, .n = l->in, .k = l->out, .a = {m->y, l->out, 1, AC_F32}, .b = {m->w, l->in, 1, AC_F32}, .c = m->dx, .c_row = l->in},
        {.m = l->out, .n = l->in, .k = l->rows, .a = {m->y, 1, l->out, AC_F32}, .b = {m->x, l->in, 1, AC_F32}, .c = m->dw, .c_row = l->in},
    };
    return g[pass];
}

static void run(const cpu_device *cpu, int side, const cpu_gemm *g, void *workspace)
{
    bool ta = g->a.column != 1, tb = g->b.column != 1;
    if (side == OURS)
        cpu_gemm_run(cpu, g, NULL, workspace);
    else
        dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', g->m, g->n, g->k, 1, g->a.values, ta ? g->a.column : g->a.row, g->b.values, tb ? g->b.column : g->b.row, 0,
                   g->c, g->c_row);
}

static ac_status time_layer(const cpu_device *cpu, const layer *l, int n_rounds, double peak)
{
    static const char *const name[] = {"forward", "dX", "dW"};
    ac_status status = AC_OK;
    buffers m = {0};
    size_t workspace = 0;
    double flop = 2.0 * (double)l->rows * (double)l->in * (double)l->out;
    for (int p = 0; p < N_PASSES; p++) {
        cpu_gemm g = product(l, p, &m);
        size_t bytes = cpu_gemm_workspace_bytes(cpu, &g);
        workspace = bytes > workspace ? bytes : workspace;
    }
    AC_TRY(random_floats(l->rows * l->in, &m.x));
    AC_TRY(random_floats(l->rows * l->out, &m.y));
    AC_TRY(random_floats(l->in * l->out, &m.w));
    AC_TRY(random_floats(l->rows * l->in, &m.dx));
    AC_TRY(random_floats(l->in * l->out, &m.dw));
    AC_TRY(ac_calloc(workspace, 1, &m.workspace));
    printf("%-14s %6d %5d %5d", l->name, (int)l->rows, (int)l->in, (int)l->out);
    for (int p = 0; p < N_PASSES; p++) {
        double best_s[N_SIDES] = {INFINITY, INFINITY};
        cpu_gemm g = product(l, p, &m);
        for (int r = 0; r < N_SIDES * n_rounds; r++) {
            double start = now_s(cpu->n_threads), took;
            run(cpu, r % N_SIDES, &g, m.workspace);
            took = now_s(cpu->n_threads) - start;
            best_s[r % N_SIDES] = took < best_s[r % N_SIDES] ? took : best_s[r % N_SIDES];
        }
        printf("  %s %7.3f ms %4.0f (%4.0f)", name[p], 1e3 * best_s[OURS], flop / best_s[OURS] * 1e-9, flop / best_s[ONEDNN] * 1e-9);
        if (peak > 0)
            printf(" %3.0f %%", 100 * flop / best_s[OURS] * 1e-9 / peak);
    }
    printf("\n");
out:
    for (int i = 0; i < 6; i++)
        ac_free(((void *[]){m.x, m.y, m.w, m.dx, m.dw, m.workspace})[i]);
    return status;
}

int main(int argc, char **argv)
{
    ac_device *device = NULL;
    char text[256];
    ac_status status = ac_backend_find("cpu")->open(argc > 1 ? atoi(argv[1]) : 0, &device);
    if (status == AC_OK) {
        device->backend->describe(device, text, sizeof text);
        printf("%s; rows, in, out; GFLOP/s of ours (of dnnl_sgemm)\n", text);
    }
    for (size_t i = 0; status == AC_OK && i < sizeof layers / sizeof *layers; i++)
        if (argc <= 4 || strstr(layers[i].name, argv[4]))
            status = time_layer((const cpu_device *)device, &layers[i], argc > 2 ? atoi(argv[2]) : 10, argc > 3 ? atof(argv[3]) : 0);
    if (status != AC_OK)
        fprintf(stderr, "gemm_f32: %s\n", ac_error_text());
    if (device)
        device->backend->close(device);
    return ac_status_exit_code(status);
}
