/* Time of each operator of a model, grouped by shape: GFLOP/s where arithmetic counts, GB/s where memory does.
 * Random pixels, no data, no files. usage: ops [MODEL [BATCH [STEPS [THREADS [BACKEND [IMAGE_SIZE [32|bf16 [infer]]]]]]]] */
#include "anyclass/alloc.h"
#include "anyclass/model.h"
#include "anyclass/plan.h"
#include "anyclass/random.h"
#include "bench/label.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M = 17 };

typedef struct bench {
    ac_network net;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    double *forward_s, *backward_s; /* [n_nodes] best of the steps */
} bench;

static void close_bench(bench *b)
{
    ac_free(b->forward_s);
    ac_free(b->backward_s);
    ac_plan_destroy(b->plan);
    ac_params_destroy(b->params);
    if (b->device)
        b->device->backend->close(b->device);
    ac_network_release(&b->net);
}

static ac_status write_inputs(bench *b, int64_t batch, int side)
{
    ac_status status = AC_OK;
    uint8_t *images = NULL, *targets = NULL;
    int64_t *keys = NULL;
    double weights[M + 1], scale = 1.0 / (double)batch;
    size_t n = (size_t)(batch * side * side * 3);
    AC_TRY(ac_malloc(n, 1, &images));
    AC_TRY(ac_calloc((size_t)batch, M, &targets));
    AC_TRY(ac_calloc((size_t)batch, sizeof *keys, &keys));
    for (size_t i = 0; i < n; i++)
        images[i] = (uint8_t)ac_random_block(1, AC_STREAM_TEST, i, 0).word[0];
    for (int64_t i = 0; i < batch * M; i += 7)
        targets[i] = 1;
    for (int c = 0; c <= M; c++)
        weights[c] = 1;
    AC_TRY(ac_plan_write(b->plan, b->net.images, images, n));
    AC_TRY(ac_plan_write(b->plan, b->net.keys, keys, (size_t)batch * sizeof *keys));
    if (b->net.targets == AC_NO_VALUE)
        goto out;
    AC_TRY(ac_plan_write(b->plan, b->net.targets, targets, (size_t)batch * M));
    AC_TRY(ac_plan_write(b->plan, b->net.class_weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(b->plan, b->net.inverse_denominator, &scale, sizeof scale));
out:
    ac_free(images);
    ac_free(targets);
    ac_free(keys);
    return status;
}

static ac_status open_bench(bench *b, const char *model, int64_t batch, int n_threads, const char *backend, int side, ac_dtype activations, bool training)
{
    ac_status status = AC_OK;
    ac_network_options o = {.model = ac_model_find(model), .batch = batch, .image_size_px = side, .n_classes = M, .mean = {.47f, .447f, .408f},
                            .std = {.233f, .228f, .231f}, .training = training, .flip = true, .seed = 1, .loss = {AC_LOSS_FOCAL, 2, 1, .1}, .activation_dtype = activations};
    if (!o.model || !ac_backend_find(backend))
        return ac_error(AC_ERR_USAGE, "models %s; backends %s", ac_model_names(), ac_backend_names());
    AC_TRY(ac_network_build(&o, &b->net));
    AC_TRY(ac_backend_find(backend)->open(n_threads, &b->device));
    AC_TRY(ac_params_create(b->device, b->net.graph, training, &b->params));
    AC_TRY(ac_params_init(b->params, 1));
    AC_TRY(ac_plan_create(b->net.graph, b->params, training, &b->plan));
    AC_TRY(ac_plan_bind(b->plan, NULL));
    AC_TRY(ac_calloc(b->net.graph->n_nodes, sizeof(double), &b->forward_s));
    AC_TRY(ac_calloc(b->net.graph->n_nodes, sizeof(double), &b->backward_s));
    AC_TRY(write_inputs(b, batch, side));
out:
    return status;
}

static ac_status run_steps(bench *b, int n_steps)
{
    ac_status status = AC_OK;
    size_t n = b->net.graph->n_nodes;
    const double *forward, *backward;
    for (int s = -1; s < n_steps; s++) { /* the first warms up */
        ac_plan_profile(b->plan, true);
        AC_TRY(ac_plan_forward(b->plan));
        if (b->net.loss != AC_NO_VALUE)
            AC_TRY(ac_plan_backward(b->plan, false));
        ac_plan_profile_read(b->plan, &forward, &backward);
        for (size_t i = 0; i < n && s >= 0; i++) {
            b->forward_s[i] = s == 0 || forward[i] < b->forward_s[i] ? forward[i] : b->forward_s[i];
            b->backward_s[i] = s == 0 || backward[i] < b->backward_s[i] ? backward[i] : b->backward_s[i];
        }
    }
out:
    return status;
}

/* Every tensor of a forward once; backward touches the same and their gradients. */
static double tensor_bytes(const ac_graph *g, const ac_node *node)
{
    double bytes = (double)ac_shape_bytes(ac_graph_shape(g, node->output[0]));
    for (int k = 0; k < node->n_inputs; k++)
        bytes += (double)ac_shape_bytes(ac_graph_shape(g, node->input[k]));
    return bytes;
}

static void print_rate(const char *pass, double seconds, double flops, double bytes)
{
    if (flops > 0)
        printf("  %s %8.2f ms %6.1f GFLOP/s", pass, 1e3 * seconds, seconds > 0 ? flops / seconds * 1e-9 : 0);
    else
        printf("  %s %8.2f ms %6.1f GB/s   ", pass, 1e3 * seconds, seconds > 0 ? bytes / seconds * 1e-9 : 0);
}

static void print_table(const bench *b)
{
    const ac_graph *g = b->net.graph;
    char mine[256], other[256];
    double forward_s = 0, backward_s = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        label_node(g, &g->node[i], mine, sizeof mine);
        double f = 0, back = 0, flops = 0, bytes = 0;
        int count = 0;
        bool first = true;
        for (size_t k = 0; k < g->n_nodes && first; k++) {
            label_node(g, &g->node[k], other, sizeof other);
            if (strcmp(mine, other) != 0)
                continue;
            first = k >= i;
            count++;
            f += b->forward_s[k];
            back += b->backward_s[k];
            flops += g->node[k].op->flops ? g->node[k].op->flops(g, &g->node[k]) : 0;
            bytes += tensor_bytes(g, &g->node[k]);
        }
        if (!first)
            continue;
        forward_s += f;
        backward_s += back;
        printf("%2d x %-62s", count, mine);
        print_rate("forward", f, flops, bytes);
        print_rate("backward", back, 2 * flops, 2 * bytes);
        printf("\n");
    }
    printf("sum of operators: forward %.1f ms, backward %.1f ms, %.2f images/s\n", 1e3 * forward_s, 1e3 * backward_s,
           (double)ac_graph_shape(g, b->net.images)->dim[0] / (forward_s + backward_s));
    size_t n_ops;
    const ac_op *const *ops = ac_op_table(&n_ops);
    for (size_t o = 0; o < n_ops; o++) {
        double f = 0, back = 0;
        for (size_t i = 0; i < g->n_nodes; i++)
            if (g->node[i].op == ops[o]) {
                f += b->forward_s[i];
                back += b->backward_s[i];
            }
        printf("  %-16s forward %8.2f ms, backward %8.2f ms\n", ops[o]->name, 1e3 * f, 1e3 * back);
    }
}

int main(int argc, char **argv)
{
    bench b;
    char text[256];
    const char *model = argc > 1 ? argv[1] : "resnet50", *backend = argc > 5 ? argv[5] : "cpu";
    int batch = argc > 2 ? atoi(argv[2]) : 8, n_steps = argc > 3 ? atoi(argv[3]) : 5, n_threads = argc > 4 ? atoi(argv[4]) : 0;
    int side = argc > 6 ? atoi(argv[6]) : 224;
    ac_dtype activations = argc > 7 && strcmp(argv[7], "bf16") == 0 ? AC_BF16 : AC_F32;
    memset(&b, 0, sizeof b);
    ac_status status = open_bench(&b, model, batch, n_threads, backend, side, activations, !(argc > 8 && strcmp(argv[8], "infer") == 0));
    if (status == AC_OK) {
        b.device->backend->describe(b.device, text, sizeof text);
        printf("%s, batch %d, %d px, %s, best of %d steps; %s\n", model, batch, side, ac_dtype_name(activations), n_steps, text);
        status = run_steps(&b, n_steps);
    }
    if (status == AC_OK)
        print_table(&b);
    else
        fprintf(stderr, "ops: %s\n", ac_error_text());
    close_bench(&b);
    return ac_status_exit_code(status);
}
