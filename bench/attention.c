/* Time of the attention operator alone, forward and backward, on random numbers.
 * usage: attention KIND BATCH SIDE HEADS HEAD [STEPS [THREADS [32|bf16]]]   KIND: global (SIDE positions), window or grid (of 7) */
#include "anyclass/random.h"
#include "backend/cpu/cpu.h"
#include "tests/nn/operator_alone.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Processor time where one thread runs, which others on the machine disturb less. */
static double now_s(bool one_thread)
{
    struct timespec t;
    clock_gettime(one_thread ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fill(alone *a, int array, int64_t n, double scale)
{
    for (int64_t i = 0; i < n; i += 4) {
        ac_philox draw = ac_random_block((uint64_t)array, AC_STREAM_TEST, (uint64_t)i, 0);
        for (int64_t k = 0; k < 4 && i + k < n; k++)
            alone_set(a, array, i + k, scale * (2 * (double)ac_uniform_float(draw.word[k]) - 1));
    }
}

static ac_status run(alone *a, int n_steps, double flops)
{
    ac_status status = AC_OK;
    double best[2] = {1e9, 1e9};
    bool one = ((const cpu_device *)a->device)->n_threads == 1;
    for (int s = -2; s < n_steps; s++) {
        double start = now_s(one), middle;
        AC_TRY(a->kernel->forward(&a->call));
        middle = now_s(one);
        AC_TRY(a->kernel->backward(&a->call));
        double end = now_s(one);
        best[0] = s >= 0 && middle - start < best[0] ? middle - start : best[0];
        best[1] = s >= 0 && end - middle < best[1] ? end - middle : best[1];
    }
    /* forward has two products, backward five */
    printf("forward_ms %.3f backward_ms %.3f forward_gflops %.1f backward_gflops %.1f workspace_mb %.2f\n", 1e3 * best[0], 1e3 * best[1], 1e-9 * flops / best[0],
           2.5e-9 * flops / best[1], 1e-6 * (double)a->made.workspace_bytes);
out:
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: attention KIND BATCH SIDE HEADS HEAD [STEPS [THREADS [32|bf16]]]\n");
        return 2;
    }
    alone a;
    bool global = strcmp(argv[1], "global") == 0;
    int64_t batch = atoi(argv[2]), side = atoi(argv[3]), heads = atoi(argv[4]), head = atoi(argv[5]);
    ac_dtype dtype = argc > 8 && strcmp(argv[8], "bf16") == 0 ? AC_BF16 : AC_F32;
    ac_attention_attribute attribute = {global ? AC_ATTENTION_GLOBAL : strcmp(argv[1], "grid") == 0 ? AC_ATTENTION_GRID : AC_ATTENTION_WINDOW, (int)heads, global ? 0 : 7, 0.125f};
    ac_shape x = {global ? 3 : 4, {batch, side, global ? 3 * heads * head : side, 3 * heads * head}, dtype};
    ac_status status = alone_open(&a, "cpu", argc > 7 ? atoi(argv[7]) : 0, &x, &ac_op_attention, &attribute, true);
    if (status == AC_OK) {
        fill(&a, ALONE_X, a.n_x, 2);
        fill(&a, ALONE_DY, a.n_y, 1);
        fill(&a, ALONE_PARAM, a.n_param, 0.1);
        status = run(&a, argc > 6 ? atoi(argv[6]) : 10, ac_op_attention.flops(a.graph, &a.graph->node[0]));
    }
    if (status != AC_OK)
        fprintf(stderr, "attention: %s\n", ac_error_text());
    alone_close(&a);
    return ac_status_exit_code(status);
}
