/* The bf16 products of linear layers and 1x1 convolutions, pass by pass: TFLOP/s of the fastest round. Random numbers, no files. Each round
 * goes over all of them once, so that no operand waits in the caches from the round before.
 * usage: gemm_bf16 [THREADS [ROUNDS [WORD]]]; WORD: only lines that contain it. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "backend/backends.h"
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

static const layer layers[] = {
    {"vit_b_16 qkv", 1576, 768, 2304},      {"vit_b_16 projection", 1576, 768, 768},
    {"vit_b_16 mlp 1", 1576, 768, 3072},    {"vit_b_16 mlp 2", 1576, 3072, 768},
    {"maxvit stem 1x1", 100352, 64, 256},   {"maxvit 56 expand", 25088, 96, 384},
    {"maxvit 56 shrink", 25088, 384, 96},   {"maxvit 56 qkv", 25088, 96, 288},
    {"maxvit 28 qkv", 6272, 192, 576},      {"maxvit 28 shrink", 6272, 768, 192},
    {"maxvit 14 qkv", 1568, 384, 1152},     {"maxvit 14 expand", 1568, 384, 1536},
    {"maxvit 7 qkv", 392, 768, 2304},       {"maxvit 7 shrink", 392, 3072, 768},
    {"tresnet 28 shrink", 6272, 608, 152},  {"tresnet 14 expand", 1568, 304, 1216},
    {"tresnet 7 shrink", 392, 2432, 608},
};
enum { FORWARD, DATA, WEIGHTS, N_PASSES, N_LAYERS = sizeof layers / sizeof *layers };

typedef struct operands {
    uint16_t *x, *y, *dx;
    float *w, *dw, *bias;
    void *workspace;
    double best_s[N_PASSES];
} operands;

/* One thread is timed by the processor seconds it used, so that other work on the machine is not counted. */
static double now_s(const cpu_device *cpu)
{
    struct timespec t;
    if (cpu->n_threads > 1)
        return ac_now_s();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cpu_gemm product(const layer *l, const operands *o, int pass)
{
    cpu_matrix x = {o->x, l->in, 1, AC_BF16}, w = {o->w, l->in, 1, AC_F32}, dy = {o->y, l->out, 1, AC_BF16};
    if (pass == FORWARD)
        return (cpu_gemm){.m = l->rows, .n = l->out, .k = l->in, .a = x, .b = {w.values, 1, l->in, AC_F32}, .c = o->y, .c_row = l->out, .c_dtype = AC_BF16,
                          .bias = o->bias};
    if (pass == DATA)
        return (cpu_gemm){.m = l->rows, .n = l->in, .k = l->out, .a = dy, .b = w, .c = o->dx, .c_row = l->in, .c_dtype = AC_BF16};
    return (cpu_gemm){.m = l->out, .n = l->in, .k = l->rows, .a = {dy.values, 1, l->out, AC_BF16}, .b = x, .c = o->dw, .c_row = l->in, .c_dtype = AC_F32};
}

static ac_status random_numbers(int64_t n, bool bf16, void **out)
{
    ac_status status = AC_OK;
    uint32_t state = 1;
    AC_TRY(ac_malloc((size_t)n, bf16 ? 2 : 4, out));
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        cpu_store(*out, i, (float)(state >> 8) / (float)(1 << 23) - 1, bf16);
    }
out:
    return status;
}

static ac_status open_layer(const cpu_device *cpu, const layer *l, operands *o)
{
    ac_status status = AC_OK;
    size_t bytes = 0;
    AC_TRY(random_numbers(l->rows * l->in, true, (void **)&o->x));
    AC_TRY(random_numbers(l->rows * l->in, true, (void **)&o->dx));
    AC_TRY(random_numbers(l->rows * l->out, true, (void **)&o->y));
    AC_TRY(random_numbers(l->out * l->in, false, (void **)&o->w));
    AC_TRY(random_numbers(l->out * l->in, false, (void **)&o->dw));
    AC_TRY(random_numbers(l->out, false, (void **)&o->bias));
    for (int p = 0; p < N_PASSES; p++) {
        cpu_gemm g = product(l, o, p);
        size_t now = cpu_gemm_bf16_workspace_bytes(cpu, &g);
        bytes = now > bytes ? now : bytes;
        o->best_s[p] = INFINITY;
    }
    AC_TRY(ac_calloc(bytes, 1, &o->workspace));
out:
    return status;
}

static void close_layer(operands *o)
{
    void *all[] = {o->x, o->y, o->dx, o->w, o->dw, o->bias, o->workspace};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ac_free(all[i]);
}

static void time_layer(const cpu_device *cpu, const layer *l, operands *o)
{
    for (int p = 0; p < N_PASSES; p++) {
        cpu_gemm g = product(l, o, p);
        double start = now_s(cpu);
        cpu_gemm_bf16_run(cpu, &g, NULL, o->workspace);
        o->best_s[p] = fmin(o->best_s[p], now_s(cpu) - start);
    }
}

int main(int argc, char **argv)
{
    ac_status status = AC_OK;
    ac_device *device = NULL;
    operands o[N_LAYERS] = {{0}};
    int n_rounds = argc > 2 ? atoi(argv[2]) : 10;
    const char *word = argc > 3 ? argv[3] : "";
    AC_TRY(ac_backend_find("cpu")->open(argc > 1 ? atoi(argv[1]) : 0, &device));
    for (int i = 0; i < N_LAYERS; i++)
        AC_TRY(open_layer((cpu_device *)device, &layers[i], &o[i]));
    for (int r = 0; r < n_rounds; r++)
        for (int i = 0; i < N_LAYERS; i++)
            if (strstr(layers[i].name, word))
                time_layer((cpu_device *)device, &layers[i], &o[i]);
    printf("%-20s %6s %5s %5s   TFLOP/s forward    data  weights\n", "", "rows", "in", "out");
    for (int i = 0; i < N_LAYERS; i++) {
        const layer *l = &layers[i];
        double flops = 2e-12 * (double)(l->rows * l->in * l->out);
        if (strstr(l->name, word))
            printf("%-20s %6d %5d %5d   %15.2f %7.2f  %7.2f\n", l->name, (int)l->rows, (int)l->in, (int)l->out, flops / o[i].best_s[FORWARD],
                   flops / o[i].best_s[DATA], flops / o[i].best_s[WEIGHTS]);
    }
out:
    if (status != AC_OK)
        fprintf(stderr, "gemm_bf16: %s\n", ac_error_text());
    for (int i = 0; i < N_LAYERS; i++)
        close_layer(&o[i]);
    if (device)
        device->backend->close(device);
    return ac_status_exit_code(status);
}
