/* Time of single operators on feature maps, in the shapes of TResNet-L and MaxViT, as kernels alone: GB/s, every tensor counted once a
 * pass, beside what a copy of the same size reaches. bench/peer_spatial.py times the same with PyTorch.
 * usage: spatial [BATCH [REPEATS [THREADS [32|bf16 [PART OF A LABEL]]]]] */
#include "anyclass/alloc.h"
#include "anyclass/ops.h"
#include "anyclass/random.h"
#include "backend/backends.h"
#include "tests/nn/single_kernel.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef enum row_kind { BLUR, AVERAGE, SQUEEZE, SQUEEZE_RESIDUAL, DEPTHWISE, DEPTHWISE_NORM } row_kind;
static const char *const kind_name[] = {"blur", "average", "squeeze", "squeeze_residual", "depthwise", "depthwise_gelu"};

typedef struct bench_row {
    row_kind kind;
    int side, channels, stride, hidden;
} bench_row;

static const bench_row rows[] = {
    {BLUR, 56, 152, 2, 0},
    {BLUR, 28, 304, 2, 0},
    {AVERAGE, 56, 76, 2, 0},
    {AVERAGE, 28, 608, 2, 0},
    {SQUEEZE_RESIDUAL, 56, 76, 1, 64},
    {SQUEEZE, 28, 152, 1, 64},
    {SQUEEZE, 14, 304, 1, 76},
    {SQUEEZE, 112, 256, 1, 16},
    {SQUEEZE, 28, 512, 1, 32},
    {SQUEEZE, 7, 3072, 1, 192},
    {DEPTHWISE, 112, 256, 2, 0},
    {DEPTHWISE, 56, 256, 1, 0},
    {DEPTHWISE, 56, 512, 2, 0},
    {DEPTHWISE, 28, 512, 1, 0},
    {DEPTHWISE, 14, 1024, 1, 0},
    {DEPTHWISE, 14, 2048, 2, 0},
    {DEPTHWISE, 7, 3072, 1, 0},
};

static ac_value add(ac_graph *g, ac_value x, const bench_row *r)
{
    ac_init init = {AC_INIT_NORMAL, 0, 0.1f};
    if (r->kind == BLUR)
        return ac_add_blur_pool(g, "op", x);
    if (r->kind == AVERAGE)
        return ac_add_avg_pool(g, "op", x, &(ac_avg_pool_attribute){2, 2, 0, true, false});
    if (r->kind == DEPTHWISE)
        return ac_add_conv2d(g, "op", x, &(ac_conv2d_attribute){r->channels, 3, r->stride, 1, r->channels, false, init, init});
    ac_value residual = AC_NO_VALUE;
    if (r->kind == SQUEEZE_RESIDUAL)
        residual = ac_graph_input(g, "residual", ac_graph_shape(g, x));
    bool tresnet = r->channels % 76 == 0;
    return ac_add_squeeze_excite(g, "op", x, residual, &(ac_squeeze_excite_attribute){r->hidden, tresnet ? AC_ACTIVATION_RELU : AC_ACTIVATION_SILU,
                                 residual == AC_NO_VALUE ? AC_ACTIVATION_NONE : AC_ACTIVATION_RELU, {init, init}, {init, init}});
}

/* With one thread its own time: what else runs on the machine counts less. */
static double now_s(int n_threads)
{
    struct timespec t;
    clock_gettime(n_threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double copy_rate(const void *from, void *to, size_t n_bytes, int repeats, int n_threads)
{
    double best = 1e30;
    enum { PIECE = 1 << 18 };
    for (int r = 0; r < repeats; r++) {
        double start = now_s(n_threads);
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n_bytes / PIECE; i++)
            memcpy((char *)to + i * PIECE, (const char *)from + i * PIECE, PIECE);
        double s = now_s(n_threads) - start;
        best = s < best ? s : best;
    }
    return 2 * (double)(n_bytes / PIECE * PIECE) / best * 1e-9;
}

static ac_status measure(const bench_row *r, int batch, int repeats, int n_threads, ac_dtype dtype)
{
    ac_status status = AC_OK;
    single_kernel k;
    double forward = 1e30, backward = 1e30, infer = 1e30;
    for (int training = 1; training >= 0; training--) {
        AC_TRY(single_open(&k, "cpu", n_threads, dtype));
        ac_value x = ac_graph_input(k.graph, "x", &(ac_shape){4, {batch, r->side, r->side, r->channels}, dtype});
        add(k.graph, x, r);
        AC_TRY(single_prepare(&k, training));
        for (int i = 0; i < repeats; i++) {
            double start = now_s(n_threads);
            AC_TRY(k.kernel->forward(&k.forward));
            double s = now_s(n_threads) - start, *best = training ? &forward : &infer;
            *best = s < *best ? s : *best;
            if (!training)
                continue;
            start = now_s(n_threads);
            AC_TRY(k.kernel->backward(&k.backward));
            s = now_s(n_threads) - start;
            backward = s < backward ? s : backward;
        }
        if (training)
            continue;
        double in = (double)k.input_bytes, out = (double)k.output_bytes, copy = copy_rate(k.forward.input[0], k.forward.output[0], k.output_bytes, repeats, n_threads);
        double more = r->kind >= SQUEEZE ? (r->kind == SQUEEZE_RESIDUAL ? in + out / 2 : in / k.node->n_inputs) : 0; /* x, and y */
        printf("%-16s %3d x %3d x %4d /%d  forward %7.3f ms %5.1f GB/s  backward %7.3f ms %5.1f GB/s  inference %7.3f ms  copy %5.1f GB/s\n",
               kind_name[r->kind], r->side, r->side, r->channels, r->stride, 1e3 * forward, (in + out) / forward * 1e-9, 1e3 * backward,
               (in + out + more) / backward * 1e-9, 1e3 * infer, copy);
        single_close(&k);
    }
    return AC_OK;
out:
    single_close(&k);
    return status;
}

int main(int argc, char **argv)
{
    int batch = argc > 1 ? atoi(argv[1]) : 8, repeats = argc > 2 ? atoi(argv[2]) : 5, n_threads = argc > 3 ? atoi(argv[3]) : 0;
    ac_dtype dtype = argc > 4 && strcmp(argv[4], "bf16") == 0 ? AC_BF16 : AC_F32;
    ac_status status = AC_OK;
    for (size_t i = 0; status == AC_OK && i < sizeof rows / sizeof *rows; i++) {
        char label[64];
        snprintf(label, sizeof label, "%s %d %d", kind_name[rows[i].kind], rows[i].side, rows[i].channels);
        if (argc <= 5 || strstr(label, argv[5]))
            status = measure(&rows[i], batch, repeats, n_threads, dtype);
    }
    if (status != AC_OK)
        fprintf(stderr, "spatial: %s\n", ac_error_text());
    return ac_status_exit_code(status);
}
