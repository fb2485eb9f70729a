/* Each distinct convolution of a model, pass by pass: own code against oneDNN, taking turns; the fastest of all rounds
 * counts. Random numbers, no files. usage: conv [MODEL [BATCH [ROUNDS [THREADS [IMAGE_SIZE [WORD [32|bf16]]]]]]]
 * WORD: only lines that contain it. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/model.h"
#include "backend/backends.h"
#include "backend/cpu/cpu.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One thread is timed by the processor seconds it used, so that other work on the machine is not counted. */
static double now_s(const ac_device *device)
{
    struct timespec t;
    if (((const cpu_device *)device)->n_threads > 1)
        return ac_now_s();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { FORWARD, DATA, WEIGHTS, N_PASSES, OWN = 0, ONEDNN, N_SIDES };

typedef struct side {
    ac_kernel_plan plan;
    ac_call call;
    double best_s[N_PASSES];
} side;

typedef struct layer {
    side side[N_SIDES];
    float *weight, *dweight, *bias, *dbias;
    void *x, *y, *dy, *dx, *workspace;
    bool wants_data; /* the input's gradient */
} layer;

static ac_status random_numbers(size_t n, float scale, ac_dtype dtype, void *out)
{
    ac_status status = AC_OK;
    uint32_t state = 1;
    AC_TRY(ac_malloc(n, ac_dtype_bytes(dtype), (void **)out));
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        cpu_store(*(void **)out, (int64_t)i, scale * ((float)(state >> 8) / (float)(1 << 23) - 1), dtype == AC_BF16);
    }
out:
    return status;
}

static void close_layer(layer *l)
{
    for (int s = 0; s < N_SIDES; s++)
        ac_cpu_conv2d.release(l->side[s].plan.state);
    void *blocks[] = {l->x, l->y, l->dy, l->dx, l->weight, l->dweight, l->bias, l->dbias, l->workspace};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        ac_free(blocks[i]);
}

static ac_status open_layer(ac_device *device, const ac_graph *graph, const ac_node *node, layer *l)
{
    ac_status status = AC_OK;
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    size_t n_x = (size_t)ac_shape_elements(x), n_y = (size_t)ac_shape_elements(y), workspace = 0, n_o = (size_t)a->out_channels;
    size_t n_w = n_o * (size_t)(a->kernel_px * a->kernel_px * x->dim[3] / a->groups);
    memset(l, 0, sizeof *l);
    l->wants_data = graph->value[node->input[0]].needs_gradient;
    AC_TRY(random_numbers(n_x, 1, x->dtype, &l->x));
    AC_TRY(random_numbers(n_x, 1, x->dtype, &l->dx));
    AC_TRY(random_numbers(n_y, 1, x->dtype, &l->y));
    AC_TRY(random_numbers(n_y, 1, x->dtype, &l->dy));
    AC_TRY(random_numbers(n_w, .1f, AC_F32, &l->weight));
    AC_TRY(random_numbers(n_w, 1, AC_F32, &l->dweight));
    AC_TRY(random_numbers(n_o, 1, AC_F32, &l->bias));
    AC_TRY(random_numbers(n_o, 1, AC_F32, &l->dbias));
    for (int s = 0; s < N_SIDES; s++) {
        setenv("ANYCLASS_CONV", s == OWN ? "own" : "onednn", 1);
        AC_TRY(ac_cpu_conv2d.plan(device, graph, node, true, l->wants_data, &l->side[s].plan));
        workspace = l->side[s].plan.workspace_bytes > workspace ? l->side[s].plan.workspace_bytes : workspace;
    }
    AC_TRY(ac_calloc(workspace, 1, &l->workspace));
    for (int s = 0; s < N_SIDES; s++) {
        l->side[s].call = (ac_call){.device = device, .graph = graph, .node = node, .state = l->side[s].plan.state, .training = true,
                                    .input = {l->x}, .output = {l->y}, .param = {l->weight, l->bias}, .param_gradient = {l->dweight, l->dbias},
                                    .doutput = {l->dy}, .n_doutput = 1, .workspace = l->workspace};
        for (int p = 0; p < N_PASSES; p++)
            l->side[s].best_s[p] = INFINITY;
    }
out:
    return status;
}

/* The input's gradient has no call of its own: its time is what it adds to the weights'. */
static ac_status time_round(layer *l, side *s)
{
    ac_status status = AC_OK;
    double start = now_s(s->call.device), took[N_PASSES];
    AC_TRY(ac_cpu_conv2d.forward(&s->call));
    took[FORWARD] = now_s(s->call.device) - start;
    s->call.dinput[0] = NULL;
    start = now_s(s->call.device);
    AC_TRY(ac_cpu_conv2d.backward(&s->call));
    took[WEIGHTS] = now_s(s->call.device) - start;
    s->call.dinput[0] = l->wants_data ? l->dx : NULL;
    start = now_s(s->call.device);
    AC_TRY(ac_cpu_conv2d.backward(&s->call));
    took[DATA] = now_s(s->call.device) - start;
    for (int p = 0; p < N_PASSES; p++)
        s->best_s[p] = took[p] < s->best_s[p] ? took[p] : s->best_s[p];
out:
    return status;
}

static double pass_s(const side *s, int pass)
{
    return pass == DATA ? s->best_s[DATA] - s->best_s[WEIGHTS] : s->best_s[pass];
}

static void label(const ac_graph *g, const ac_node *node, char *out, size_t capacity)
{
    const ac_conv2d_attribute *a = (const void *)node->attribute;
    char from[96];
    ac_shape_format(ac_graph_shape(g, node->input[0]), from, sizeof from);
    snprintf(out, capacity, "%dx%d/%d %s -> %d", a->kernel_px, a->kernel_px, a->stride_px, from, (int)a->out_channels);
}

static ac_status run_layers(ac_device *device, const ac_graph *g, int n_rounds, const char *word)
{
    static const char *const name[] = {"forward", "data", "weights"};
    ac_status status = AC_OK;
    double total_s[N_SIDES][N_PASSES] = {{0}}, total_flops[N_PASSES] = {0};
    char mine[160], other[160];
    for (size_t i = 0; i < g->n_nodes; i++) {
        layer l;
        int count = 0;
        bool first = g->node[i].op == &ac_op_conv2d;
        if (first)
            label(g, &g->node[i], mine, sizeof mine);
        for (size_t k = 0; first && k < g->n_nodes; k++) {
            if (g->node[k].op != &ac_op_conv2d)
                continue;
            label(g, &g->node[k], other, sizeof other);
            if (strcmp(mine, other) == 0) {
                first = k >= i;
                count++;
            }
        }
        if (!first || !strstr(mine, word))
            continue;
        status = open_layer(device, g, &g->node[i], &l);
        for (int r = 0; status == AC_OK && r < n_rounds * N_SIDES; r++)
            status = time_round(&l, &l.side[r % N_SIDES]);
        double flops = g->node[i].op->flops(g, &g->node[i]);
        printf("%d x %-40s", count, mine);
        for (int p = 0; status == AC_OK && p < N_PASSES; p++) {
            if (p == DATA && !l.wants_data) {
                printf("%29s", "");
                continue;
            }
            double own = pass_s(&l.side[OWN], p), dnn = pass_s(&l.side[ONEDNN], p);
            printf(" %s %7.3f ms %4.0f (%4.0f)", name[p], 1e3 * own, flops / own * 1e-9, flops / dnn * 1e-9);
            total_s[OWN][p] += count * own;
            total_s[ONEDNN][p] += count * dnn;
            total_flops[p] += count * flops;
        }
        printf("\n");
        close_layer(&l);
        AC_TRY(status);
    }
    for (int p = 0; p < N_PASSES; p++)
        printf("%s: own %.1f ms, %.0f GFLOP/s; oneDNN %.1f ms, %.0f GFLOP/s\n", name[p], 1e3 * total_s[OWN][p], total_flops[p] / total_s[OWN][p] * 1e-9,
               1e3 * total_s[ONEDNN][p], total_flops[p] / total_s[ONEDNN][p] * 1e-9);
out:
    return status;
}

int main(int argc, char **argv)
{
    ac_network net;
    ac_device *device = NULL;
    char text[256];
    int n_threads = argc > 4 ? atoi(argv[4]) : 0;
    ac_network_options o = {.model = ac_model_find(argc > 1 ? argv[1] : "resnet50"), .batch = argc > 2 ? atoi(argv[2]) : 8,
                            .image_size_px = argc > 5 ? atoi(argv[5]) : 224, .n_classes = 17, .std = {1, 1, 1}, .training = true, .seed = 1,
                            .loss = {AC_LOSS_FOCAL, 2, 1, .1}, .activation_dtype = argc > 7 && strcmp(argv[7], "bf16") == 0 ? AC_BF16 : AC_F32};
    memset(&net, 0, sizeof net);
    ac_status status = o.model ? ac_network_build(&o, &net) : ac_error(AC_ERR_USAGE, "models %s", ac_model_names());
    if (status == AC_OK)
        status = ac_backend_find("cpu")->open(n_threads, &device);
    if (status == AC_OK) {
        device->backend->describe(device, text, sizeof text);
        printf("%s; GFLOP/s of own code (of oneDNN)\n", text);
        status = run_layers(device, net.graph, argc > 3 ? atoi(argv[3]) : 10, argc > 6 ? argv[6] : "");
    }
    if (status != AC_OK)
        fprintf(stderr, "conv: %s\n", ac_error_text());
    if (device)
        device->backend->close(device);
    ac_network_release(&net);
    return ac_status_exit_code(status);
}
