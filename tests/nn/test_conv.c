/* Convolution kernels called directly, on shapes beyond the operator table's: how far each pass is from `ref`, and that
 * every bit of own code's results is the same with 1, 2, 3 and 5 threads. */
#include "anyclass/alloc.h"
#include "anyclass/ops.h"
#include "anyclass/random.h"
#include "backend/backends.h"
#include "backend/cpu/tile_avx512.h"
#include "tests/part.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

enum { GUARD = 64 };

typedef struct conv_case {
    const char *name;
    int64_t batch, side, channels, out;
    int kernel, stride, padding;
    double bound[2]; /* of forward; of gradients: relative to the largest number of the tensor */
} conv_case;

/* A direct sum of n float products is a few 1e-7 off. F(2x2), in a training's forward, is not told from it; F(4x4), in
 * gradients and inference, is known to lose some more (winograd_avx512.c). */
#define DIRECT {1.5e-6, 1.5e-6}
#define TILED {1.5e-6, 6e-6}

static const conv_case cases[] = {
    {"1x1, 64 to 96 channels", 3, 19, 64, 96, 1, 1, 0, DIRECT},
    {"1x1, 600 to 40 channels", 2, 9, 600, 40, 1, 1, 0, DIRECT},
    {"1x1 stride 2", 2, 15, 96, 130, 1, 2, 0, DIRECT},
    {"3x3 stride 2", 2, 17, 72, 48, 3, 2, 1, DIRECT},
    {"3x3, few channels", 2, 20, 16, 24, 3, 1, 1, DIRECT},
    {"7x7 stride 2, as in front of a resnet", 2, 46, 3, 64, 7, 2, 3, DIRECT},
    {"3x3 by tiles, sides no multiple of 4", 2, 27, 64, 64, 3, 1, 1, TILED},
    {"3x3 by tiles, 200 to 96 channels", 4, 14, 200, 96, 3, 1, 1, TILED},
    {"3x3 by tiles, more tiles than a chunk", 8, 28, 32, 32, 3, 1, 1, TILED},
};

typedef struct tensors {
    float *x, *weight, *dy, *y, *dx, *dweight;
} tensors;

typedef struct trial {
    ac_graph *graph;
    const ac_node *node;
    size_t n_x, n_y, n_w;
    tensors wanted, got, first;
} trial;

static ac_status make_floats(size_t n, uint64_t key, float scale, float **out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(n, sizeof **out, out));
    for (size_t i = 0; i < n && scale > 0; i++)
        (*out)[i] = scale * ((float)ac_random_block(key, AC_STREAM_TEST, i, 0).word[0] / 2147483648.f - 1);
out:
    return status;
}

static ac_status make_tensors(const trial *t, tensors *s)
{
    ac_status status = AC_OK;
    AC_TRY(make_floats(t->n_x, 1, 1, &s->x));
    AC_TRY(make_floats(t->n_w, 2, .1f, &s->weight));
    AC_TRY(make_floats(t->n_y, 3, 1, &s->dy));
    AC_TRY(make_floats(t->n_y, 0, 0, &s->y));
    AC_TRY(make_floats(t->n_x, 0, 0, &s->dx));
    AC_TRY(make_floats(t->n_w, 0, 0, &s->dweight));
out:
    return status;
}

static void free_tensors(tensors *s)
{
    float *all[] = {s->x, s->weight, s->dy, s->y, s->dx, s->dweight};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ac_free(all[i]);
}

static ac_status open_trial(trial *t, const conv_case *c)
{
    ac_status status = AC_OK;
    memset(t, 0, sizeof *t);
    AC_TRY(ac_graph_create(AC_F32, &t->graph));
    ac_value x = ac_graph_input(t->graph, "x", &(ac_shape){4, {c->batch, c->side, c->side, c->channels}, AC_F32});
    ac_value y = ac_add_conv2d(t->graph, "conv", x, &(ac_conv2d_attribute){.out_channels = c->out, .kernel_px = c->kernel, .stride_px = c->stride,
                               .padding_px = c->padding, .groups = 1});
    ac_graph_result(t->graph, y);
    AC_TRY(ac_graph_finish(t->graph));
    t->node = &t->graph->node[0];
    t->n_x = (size_t)ac_shape_elements(ac_graph_shape(t->graph, x));
    t->n_y = (size_t)ac_shape_elements(ac_graph_shape(t->graph, y));
    t->n_w = (size_t)(c->out * c->kernel * c->kernel * c->channels);
    AC_TRY(make_tensors(t, &t->wanted));
    AC_TRY(make_tensors(t, &t->got));
    AC_TRY(make_tensors(t, &t->first));
out:
    return status;
}

static void close_trial(trial *t)
{
    free_tensors(&t->wanted);
    free_tensors(&t->got);
    free_tensors(&t->first);
    ac_graph_destroy(t->graph);
}

/* Forward and, in training, backward `n_backward` times, all but the first of them accumulating. The workspace starts as
 * NaN and ends in guard bytes. */
static ac_status run(const trial *t, const char *backend, int n_threads, bool training, int n_backward, tensors *s)
{
    ac_status status = AC_OK;
    ac_device *device = NULL;
    ac_kernel_plan plan = {0};
    unsigned char *workspace = NULL, *prepared = NULL;
    const ac_kernel *kernel = ac_backend_kernel(ac_backend_find(backend), &ac_op_conv2d);
    AC_TRY(ac_backend_find(backend)->open(n_threads, &device));
    AC_TRY(kernel->plan(device, t->graph, t->node, training, 1, &plan));
    AC_TRY(ac_malloc(plan.workspace_bytes + GUARD, 1, &workspace));
    memset(workspace, 0xff, plan.workspace_bytes + GUARD);
    AC_TRY(ac_malloc(plan.prepared_bytes + GUARD, 1, &prepared));
    memset(prepared, 0xff, plan.prepared_bytes + GUARD);
    ac_call call = {.device = device, .graph = t->graph, .node = t->node, .state = plan.state, .training = training, .input = {s->x},
                    .output = {s->y}, .param = {s->weight}, .param_gradient = {s->dweight}, .doutput = {s->dy}, .n_doutput = 1,
                    .dinput = {s->dx}, .workspace = workspace, .prepared = plan.prepared_bytes ? prepared : NULL};
    if (!training && kernel->prepare)
        AC_TRY(kernel->prepare(&call));
    AC_TRY(kernel->forward(&call));
    for (int i = 0; i < n_backward; i++) {
        call.accumulate = i > 0;
        AC_TRY(kernel->backward(&call));
    }
    for (int i = 0; i < GUARD; i++)
        if (workspace[plan.workspace_bytes + (size_t)i] != 0xff || prepared[plan.prepared_bytes + (size_t)i] != 0xff)
            AC_TRY(ac_error(AC_ERR_RANGE, "written past the workspace"));
out:
    ac_free(workspace);
    ac_free(prepared);
    if (kernel->release)
        kernel->release(plan.state);
    if (device)
        device->backend->close(device);
    return status;
}

static double error(const float *got, const float *wanted, size_t n)
{
    double worst = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)wanted[i]));
        worst = worse(worst, fabs((double)got[i] - (double)wanted[i]));
    }
    return worst / most;
}

static bool same_bits(const trial *t)
{
    return memcmp(t->got.y, t->first.y, t->n_y * sizeof(float)) == 0 && memcmp(t->got.dx, t->first.dx, t->n_x * sizeof(float)) == 0 &&
           memcmp(t->got.dweight, t->first.dweight, t->n_w * sizeof(float)) == 0;
}

static void check(const conv_case *c)
{
    static const int threads[] = {2, 3, 5};
    trial t;
    if (TAP_CALL(open_trial(&t, c)) && TAP_CALL(run(&t, "ref", 1, true, 1, &t.wanted)) && TAP_CALL(run(&t, "cpu", 1, true, 1, &t.first))) {
        double y = error(t.first.y, t.wanted.y, t.n_y), dx = error(t.first.dx, t.wanted.dx, t.n_x), dw = error(t.first.dweight, t.wanted.dweight, t.n_w);
        TAP_OK(y < c->bound[0], "%s: forward within %.2g of the largest", c->name, y);
        TAP_OK(dx < c->bound[1], "%s: input's gradient within %.2g", c->name, dx);
        TAP_OK(dw < c->bound[1], "%s: weights' gradient within %.2g", c->name, dw);
        for (size_t i = 0; i < sizeof threads / sizeof *threads && cpu_has_avx512(); i++) /* oneDNN promises no such thing */
            TAP_OK(run(&t, "cpu", threads[i], true, 1, &t.got) == AC_OK && same_bits(&t), "%s: %d threads, the same bits", c->name, threads[i]);
        TAP_CALL(run(&t, "cpu", 2, true, 2, &t.got));
        for (size_t i = 0; i < t.n_w; i++)
            t.wanted.dweight[i] *= 2;
        dw = error(t.got.dweight, t.wanted.dweight, t.n_w);
        TAP_OK(dw < c->bound[1], "%s: accumulated weights' gradient within %.2g", c->name, dw);
        TAP_CALL(run(&t, "cpu", 2, false, 0, &t.got));
        y = error(t.got.y, t.wanted.y, t.n_y);
        TAP_OK(y < c->bound[1], "%s: inference within %.2g", c->name, y);
    }
    close_trial(&t);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (part_has_next())
            check(&cases[i]);
    return tap_done();
}
