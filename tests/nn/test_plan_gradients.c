/* Gradients that are passed on, added to and read from outputs made again, against a plan that does nothing of the kind: random networks of
 * residuals, norms and activations, their values read more than once. Kernels are tested in test_operators*.c. */
#include "anyclass/alloc.h"
#include "anyclass/backend.h"
#include "anyclass/bf16.h"
#include "anyclass/ops.h"
#include "anyclass/plan.h"
#include "anyclass/random.h"
#include "nn/plan_internal.h"
#include "tests/tap.h"
#include "tests/worse.h"
#include <math.h>
#include <string.h>

enum { N = 2, SIDE = 3, L = SIDE * SIDE, C = 8, M = 4, MOST_NODES = 24, MOST_KERNELS = 64 };

/* ---- a backend that writes every gradient apart and keeps every output ---- */

static ac_op plain_add_op, plain_linear_op;
static ac_kernel plain_kernel[MOST_KERNELS];
static const ac_kernel *plain_kernels[MOST_KERNELS];
static ac_backend plain_backend;
static ac_status (*add_backward)(const ac_call *), (*linear_backward)(const ac_call *);

static void copy_gradient(const ac_call *call)
{
    if (call->node->n_inputs > 1 && call->dinput[1])
        memcpy(call->dinput[1], call->doutput[0], ac_shape_bytes(ac_graph_shape(call->graph, call->node->output[0])));
}

static ac_status backward_plain_add(const ac_call *call)
{
    copy_gradient(call);
    return add_backward(call);
}

static ac_status backward_plain_linear(const ac_call *call)
{
    copy_gradient(call);
    return linear_backward(call);
}

static void make_plain(const char *name)
{
    const ac_backend *from = ac_backend_find(name);
    plain_add_op = ac_op_add;
    plain_linear_op = ac_op_linear;
    plain_add_op.passes = plain_linear_op.passes = 0;
    plain_backend = *from;
    plain_backend.kernels = plain_kernels;
    for (size_t k = 0; k < from->n_kernels; k++) {
        ac_kernel *mine = &plain_kernel[k];
        *mine = *from->kernels[k];
        mine->flags = 0;
        mine->recompute = NULL;
        if (mine->op == &ac_op_add) {
            add_backward = mine->backward;
            mine->op = &plain_add_op;
            mine->backward = backward_plain_add;
        } else if (mine->op == &ac_op_linear) {
            linear_backward = mine->backward;
            mine->op = &plain_linear_op;
            mine->backward = backward_plain_linear;
        }
        plain_kernels[k] = mine;
    }
}

/* ---- networks ---- */

typedef struct trial {
    ac_graph *graph;
    ac_value x, keys, targets, weights, scale, loss;
    ac_device *device;
    ac_params *params;
    ac_plan *plan;
    unsigned char *arena;
    const ac_op *add_op, *linear_op;
} trial;

typedef void network(trial *t, uint64_t seed, ac_value first, ac_value *last);

static void close_trial(trial *t)
{
    ac_plan_destroy(t->plan);
    ac_params_destroy(t->params);
    if (t->device)
        t->device->backend->close(t->device);
    ac_graph_destroy(t->graph);
    ac_free(t->arena);
    memset(t, 0, sizeof *t);
}

static ac_linear_attribute linear_of(ac_activation activation)
{
    return (ac_linear_attribute){.out_features = C, .bias = true, .activation = activation, .weight_init = {AC_INIT_NORMAL, 0, 0.3f},
                                 .bias_init = {AC_INIT_NORMAL, 0, 0.2f}};
}

static ac_value add_linear(trial *t, const char *name, ac_value x, ac_value residual, ac_activation activation)
{
    const ac_linear_attribute a = linear_of(activation);
    ac_value inputs[] = {x, residual};
    return ac_graph_append(t->graph, t->linear_op, name, inputs, residual == AC_NO_VALUE ? 1 : 2, &a);
}

static ac_value add_norm(trial *t, const char *name, ac_value x)
{
    return ac_add_layer_norm(t->graph, name, x, &(ac_layer_norm_attribute){1e-5f});
}

static ac_value add_add(trial *t, const char *name, ac_value x, ac_value residual, float probability)
{
    const ac_drop_attribute a = {probability, 1, 3};
    ac_value inputs[] = {x, residual, t->keys};
    return ac_graph_append(t->graph, t->add_op, name, inputs, probability > 0 ? 3 : 2, &a);
}

/* `residual`: AC_NO_VALUE for none. */
static ac_value add_batch_norm(trial *t, const char *name, ac_value x, ac_value residual)
{
    return ac_add_batch_norm(t->graph, name, x, residual, &(ac_batch_norm_attribute){1e-2f, .1f, AC_ACTIVATION_LEAKY_RELU, .1f, 1});
}

static ac_value add_excite(trial *t, const char *name, ac_value x, ac_value residual)
{
    const ac_init init = {AC_INIT_NORMAL, 0, 0.5f};
    const ac_squeeze_excite_attribute a = {3, AC_ACTIVATION_SILU, AC_ACTIVATION_RELU, {init, init}, {init, init}};
    return ac_add_squeeze_excite(t->graph, name, x, residual, &a);
}

static ac_value add_conv(trial *t, const char *name, ac_value x)
{
    return ac_add_conv2d(t->graph, name, x, &(ac_conv2d_attribute){.out_channels = C, .kernel_px = 3, .stride_px = 1, .padding_px = 1, .groups = 1,
                         .weight_init = {AC_INIT_NORMAL, 0, 0.15f}});
}

/* Any value made so far, the last ones more often. */
static ac_value pick(uint64_t seed, uint64_t draw, const ac_value *made, int n)
{
    uint32_t word = ac_random_block(seed, AC_STREAM_TEST, draw, 1).word[0];
    int back = word % 4 == 0 ? (int)(word / 4 % 6) : (int)(word / 4 % 2);
    return made[back < n ? n - 1 - back : 0];
}

static ac_value add_one(trial *t, uint64_t seed, int i, const ac_value *made, int n)
{
    char name[16];
    snprintf(name, sizeof name, "node%d", i);
    ac_value a = pick(seed, (uint64_t)i * 4, made, n), b = pick(seed, (uint64_t)i * 4 + 1, made, n);
    switch (ac_random_block(seed, AC_STREAM_TEST, (uint64_t)i * 4 + 2, 1).word[0] % 15) {
    case 0: return add_add(t, name, a, b, 0);
    case 1: return add_add(t, name, a, b, 0.5f);
    case 2: return add_linear(t, name, a, AC_NO_VALUE, AC_ACTIVATION_GELU);
    case 3: return add_linear(t, name, a, AC_NO_VALUE, AC_ACTIVATION_TANH);
    case 4: return add_linear(t, name, a, AC_NO_VALUE, AC_ACTIVATION_NONE);
    case 5: return ac_add_dropout(t->graph, name, a, t->keys, &(ac_drop_attribute){0.3f, (uint32_t)i, 5});
    case 6: return add_norm(t, name, a);
    case 7: return add_batch_norm(t, name, a, AC_NO_VALUE);
    case 8: return add_batch_norm(t, name, a, b);
    case 9: return add_excite(t, name, a, AC_NO_VALUE);
    case 10: return add_excite(t, name, a, b);
    case 11: return add_conv(t, name, a);
    case 12: return ac_add_avg_pool(t->graph, name, a, &(ac_avg_pool_attribute){3, 1, 1, false, true});
    default: return add_linear(t, name, a, b, AC_ACTIVATION_NONE);
    }
}

/* What nobody reads joins the last value, so that a gradient comes to it. */
static void random_network(trial *t, uint64_t seed, ac_value first, ac_value *last)
{
    ac_value made[MOST_NODES] = {t->x, first}; /* the input has no gradient */
    int n = 2, want = 5 + (int)(seed % (MOST_NODES - 5));
    for (; n < want; n++)
        made[n] = add_one(t, seed, n, made, n);
    *last = made[n - 1];
    for (int k = 1; k < n - 1; k++) {
        bool is_read = false;
        for (size_t i = 0; i < t->graph->n_nodes; i++)
            for (int j = 0; j < t->graph->node[i].n_inputs; j++)
                is_read |= t->graph->node[i].input[j] == made[k];
        char name[16];
        snprintf(name, sizeof name, "join%d", k);
        if (!is_read)
            *last = add_add(t, name, k % 2 ? made[k] : *last, k % 2 ? *last : made[k], 0);
    }
}

static ac_status open_trial(trial *t, network *build, uint64_t seed, const char *backend, ac_dtype activations, bool plain)
{
    ac_status status = AC_OK;
    const ac_loss_config loss = {AC_LOSS_FOCAL, 2, 1, 0.3};
    ac_value last = AC_NO_VALUE;
    memset(t, 0, sizeof *t);
    t->add_op = plain ? &plain_add_op : &ac_op_add;
    t->linear_op = plain ? &plain_linear_op : &ac_op_linear;
    AC_TRY(ac_graph_create(activations, &t->graph));
    ac_graph *g = t->graph;
    t->x = ac_graph_input(g, "x", &(ac_shape){4, {N, SIDE, SIDE, C}, activations});
    t->keys = ac_graph_input(g, "keys", &(ac_shape){1, {N}, AC_I64});
    build(t, seed, add_linear(t, "first", t->x, AC_NO_VALUE, AC_ACTIVATION_NONE), &last);
    const ac_linear_attribute head = {.out_features = M, .bias = true, .float32_output = true, .weight_init = {AC_INIT_NORMAL, 0, 0.5f},
                                      .bias_init = {AC_INIT_NORMAL, 0, 0.5f}};
    last = ac_add_global_avg_pool(g, "average", last);
    last = ac_graph_append(g, t->linear_op, "head", &last, 1, &head);
    t->targets = ac_graph_input(g, "targets", &(ac_shape){2, {N, M}, AC_U8});
    t->weights = ac_graph_input(g, "weights", &(ac_shape){1, {M + 1}, AC_F64});
    t->scale = ac_graph_input(g, "scale", &(ac_shape){1, {1}, AC_F64});
    t->loss = ac_add_any_class_loss(g, "loss", last, t->targets, t->weights, t->scale, &loss);
    AC_TRY(ac_graph_finish(g));
    AC_TRY(ac_backend_find(backend)->open(2, &t->device));
    if (plain)
        t->device->backend = &plain_backend;
    AC_TRY(ac_params_create(t->device, g, true, &t->params));
    AC_TRY(ac_params_init(t->params, seed + 11));
    AC_TRY(ac_plan_create(g, t->params, true, &t->plan));
out:
    return status;
}

/* One part of a batch, forward: its values are a function of `part`. */
static ac_status run_forward(trial *t, uint64_t part, double *loss)
{
    ac_status status = AC_OK;
    const double weights[M + 1] = {1, .5, 2, 1.5, .25}, scale = .5;
    const uint8_t targets[N * M] = {1, 0, 0, 1};
    const int64_t keys[N] = {(int64_t)part * 2 + 7, (int64_t)part * 2 + 8};
    float x[N * L * C];
    uint16_t halves[N * L * C];
    bool bf16 = t->graph->activation_dtype == AC_BF16;
    for (size_t i = 0; i < N * L * C; i++) {
        x[i] = 4 * ac_uniform_float(ac_random_block(3, AC_STREAM_TEST, i, (uint32_t)part).word[0]) - 2;
        halves[i] = ac_bf16_from_float(x[i]);
    }
    AC_TRY(ac_plan_write(t->plan, t->x, bf16 ? (const void *)halves : x, bf16 ? sizeof halves : sizeof x));
    AC_TRY(ac_plan_write(t->plan, t->keys, keys, sizeof keys));
    AC_TRY(ac_plan_write(t->plan, t->targets, targets, sizeof targets));
    AC_TRY(ac_plan_write(t->plan, t->weights, weights, sizeof weights));
    AC_TRY(ac_plan_write(t->plan, t->scale, &scale, sizeof scale));
    AC_TRY(ac_plan_forward(t->plan));
    AC_TRY(ac_plan_read(t->plan, t->loss, loss, sizeof *loss));
out:
    return status;
}

static ac_status run_part(trial *t, uint64_t part, bool accumulate, double *loss)
{
    ac_status status = run_forward(t, part, loss);
    return status == AC_OK ? ac_plan_backward(t->plan, accumulate) : status;
}

/* An arena full of NaN, or one where nothing lies over anything else in time. */
static ac_status bind(trial *t, bool guarded)
{
    ac_status status = AC_OK;
    if (guarded)
        return ac_plan_bind_guarded(t->plan);
    AC_TRY(ac_malloc(ac_plan_get_memory(t->plan).arena_bytes, 1, &t->arena));
    memset(t->arena, 0xFF, ac_plan_get_memory(t->plan).arena_bytes);
    AC_TRY(ac_plan_bind(t->plan, t->arena));
out:
    return status;
}

/* Two parts of a batch, the second added to the first. */
static ac_status run_both(trial *t, bool guarded, ac_hash *hash)
{
    ac_status status = AC_OK;
    double loss;
    AC_TRY(bind(t, guarded));
    AC_TRY(run_part(t, 0, false, &loss));
    AC_TRY(run_part(t, 1, true, &loss));
    if (guarded)
        AC_TRY(ac_plan_check_guards(t->plan));
    *hash = ac_hash_bytes(t->params->gradient, t->params->n_values * sizeof(float));
out:
    return status;
}

/* Largest difference of two gradients, as a share of the largest gradient of the network. NaN counts as infinite. */
static double distance(const ac_params *a, const ac_params *b)
{
    double most = 0, worst = 0;
    for (size_t i = 0; i < a->n_values; i++) {
        double x = (double)a->gradient[i], y = (double)b->gradient[i], d = fabs(x - y);
        if (!isfinite(x) || !isfinite(y))
            return INFINITY;
        most = fabs(y) > most ? fabs(y) : most;
        worst = d > worst ? d : worst;
    }
    return most > 0 ? worst / most : INFINITY;
}

/* The loss of a plan for inference, which works in place more often. */
static ac_status infer(trial *t, bool guarded, double *loss)
{
    ac_status status = AC_OK;
    ac_plan_destroy(t->plan);
    ac_free(t->arena);
    t->arena = NULL;
    t->plan = NULL;
    AC_TRY(ac_plan_create(t->graph, t->params, false, &t->plan));
    AC_TRY(bind(t, guarded));
    AC_TRY(run_forward(t, 2, loss));
out:
    return status;
}

typedef struct outcome {
    double distance;   /* to the plain plan's gradients */
    bool same_guarded; /* same bits as without any sharing over time, gradients and inference */
    size_t arena_bytes, plain_bytes;
    int n_added, n_passed, n_remade, n_in_place;
} outcome;

static void count(const ac_plan *plan, outcome *o)
{
    for (size_t i = 0; i < plan->graph->n_nodes; i++) {
        o->n_added += plan->node[i].adds_dinput;
        o->n_passed += plan->node[i].has_backward && plan_passes(plan, (int)i);
        o->n_remade += plan->node[i].remakes != AC_NO_NODE;
    }
    for (size_t b = 0; b < plan->n_buffers; b++)
        o->n_in_place += plan->buffer[b].same_as != AC_NO_BUFFER;
}

/* `o` adds up over calls. AC_ERR_UNSUPPORTED: the network has a value with more readers than plans allow. */
static ac_status compare(network *build, uint64_t seed, const char *backend, ac_dtype activations, outcome *o)
{
    ac_status status = AC_OK;
    trial mine = {0}, guarded = {0}, plain = {0};
    ac_hash a, b, c;
    AC_TRY(open_trial(&mine, build, seed, backend, activations, false));
    AC_TRY(open_trial(&guarded, build, seed, backend, activations, false));
    AC_TRY(open_trial(&plain, build, seed, backend, activations, true));
    AC_TRY(run_both(&mine, false, &a));
    count(mine.plan, o);
    o->arena_bytes = ac_plan_get_memory(mine.plan).arena_bytes;
    o->plain_bytes = ac_plan_get_memory(plain.plan).arena_bytes;
    AC_TRY(run_both(&guarded, true, &b));
    AC_TRY(run_both(&plain, true, &c));
    o->distance = distance(mine.params, plain.params);
    double loss, loss_guarded;
    AC_TRY(infer(&mine, false, &loss));
    AC_TRY(infer(&guarded, true, &loss_guarded));
    o->same_guarded = ac_hash_equal(a, b) && loss == loss_guarded;
out:
    close_trial(&mine);
    close_trial(&guarded);
    close_trial(&plain);
    return status;
}

/* Rounding: parts are added in another order, and in bf16 after each. Networks of up to 24 operators, some with gradients that cancel. */
static void test_random(const char *backend, ac_dtype activations, int n, double tolerance)
{
    outcome sum = {0};
    int n_run = 0, n_wrong = 0, n_unlike = 0;
    double worst = 0;
    for (uint64_t seed = 0; seed < (uint64_t)n; seed++) {
        outcome o = {0};
        ac_status status = compare(random_network, seed, backend, activations, &o);
        if (status == AC_ERR_UNSUPPORTED)
            continue;
        if (status != AC_OK)
            printf("# seed %d: %s\n", (int)seed, ac_error_text());
        if (status == AC_OK && !(o.distance <= tolerance))
            printf("# seed %d: gradients differ by %g\n", (int)seed, o.distance);
        if (status == AC_OK && !o.same_guarded)
            printf("# seed %d: other bits where nothing is shared\n", (int)seed);
        n_run++;
        n_wrong += status != AC_OK || !(o.distance <= tolerance);
        n_unlike += !o.same_guarded;
        worst = o.distance > worst ? o.distance : worst;
        sum.n_added += o.n_added;
        sum.n_passed += o.n_passed;
        sum.n_remade += o.n_remade;
        sum.n_in_place += o.n_in_place;
    }
    printf("# %s: %d added, %d passed, %d made again, %d in place, worst %g\n", backend, sum.n_added, sum.n_passed, sum.n_remade, sum.n_in_place, worst);
    TAP_OK(n_run > n / 2 && sum.n_added > n && sum.n_passed > n && sum.n_remade > n / 2, "%s, %s: %d random networks use it all", backend,
           ac_dtype_name(activations), n_run);
    TAP_OK(n_wrong == 0, "%s, %s: gradients of all but %d are those of the plain plan", backend, ac_dtype_name(activations), n_wrong);
    TAP_OK(n_unlike == 0, "%s, %s: all but %d give the same bits in a guarded arena", backend, ac_dtype_name(activations), n_unlike);
}

/* ---- networks of which it is known what the plan makes ---- */

enum { DEPTH = 6 };

static void transformer(trial *t, uint64_t seed, ac_value first, ac_value *last)
{
    (void)seed;
    for (int k = 0; k < DEPTH; k++) {
        char name[3][16];
        snprintf(name[0], sizeof name[0], "norm%d", k);
        snprintf(name[1], sizeof name[1], "inner%d", k);
        snprintf(name[2], sizeof name[2], "outer%d", k);
        ac_value y = add_linear(t, name[1], add_norm(t, name[0], first), AC_NO_VALUE, AC_ACTIVATION_GELU);
        first = add_linear(t, name[2], y, first, AC_ACTIVATION_NONE);
    }
    *last = first;
}

/* x + x, and linear(x) + x. */
static void doubled(trial *t, uint64_t seed, ac_value first, ac_value *last)
{
    (void)seed;
    ac_value x = add_add(t, "twice", first, first, 0);
    x = add_linear(t, "itself", x, x, AC_ACTIVATION_NONE);
    *last = add_add(t, "four times", x, x, 0.5f);
}

/* One value is the residual of two sums, which meet. */
static void two_residuals(trial *t, uint64_t seed, ac_value first, ac_value *last)
{
    (void)seed;
    ac_value a = add_linear(t, "a", first, first, AC_ACTIVATION_NONE), b = add_add(t, "b", add_norm(t, "norm", a), first, 0);
    *last = add_add(t, "sum", a, b, 0);
}

/* A norm's output that two products read, and last of all a sum that may lie over it: the products read it once more when it is gone. */
static void overwritten(trial *t, uint64_t seed, ac_value first, ac_value *last)
{
    (void)seed;
    ac_value y = add_norm(t, "norm", first), a = add_linear(t, "a", y, first, AC_ACTIVATION_NONE), b = add_linear(t, "b", y, a, AC_ACTIVATION_NONE);
    ac_value over = add_add(t, "over", y, b, 0);
    *last = add_norm(t, "last", add_linear(t, "gelu", over, AC_NO_VALUE, AC_ACTIVATION_GELU));
}

typedef struct known {
    network *build;
    const char *what;
    int n_added, n_passed, n_remade;
} known;

static void test_known(const char *backend)
{
    static const known cases[] = {{transformer, "residual stream", DEPTH, DEPTH, 2 * DEPTH},
                                  {doubled, "values added to themselves", 0, 3, 0},
                                  {two_residuals, "a residual of two sums", 2, 3, 0},
                                  {overwritten, "an output made again after others worked in its place", 3, 3, 2}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const known *c = &cases[k];
        outcome o = {0};
        bool ran = compare(c->build, 1, backend, AC_F32, &o) == AC_OK;
        TAP_OK(ran && o.distance <= 1e-6 && o.same_guarded, "%s, %s: the plain plan's gradients, the guarded arena's bits (%g, %s)", c->what, backend,
               o.distance, ran ? "ran" : ac_error_text());
        TAP_OK(o.n_added == c->n_added && o.n_passed == c->n_passed && o.n_remade == c->n_remade, "%s, %s: %d added, %d passed, %d made again", c->what,
               backend, o.n_added, o.n_passed, o.n_remade);
        if (c->build == transformer)
            TAP_OK(o.arena_bytes < o.plain_bytes * 3 / 4, "%s, %s: %zu bytes for %zu", c->what, backend, o.arena_bytes, o.plain_bytes);
    }
}

/* The gradient of a value that the caller reads: as the plain plan has it where it is passed to it, refused where it would be passed on. */
static void marked(trial *t, uint64_t seed, ac_value first, ac_value *last)
{
    ac_value read = add_linear(t, "read", first, AC_NO_VALUE, AC_ACTIVATION_NONE), y = add_linear(t, "sum", first, read, AC_ACTIVATION_NONE);
    *last = add_linear(t, "last", add_norm(t, "norm", y), y, AC_ACTIVATION_NONE);
    ac_graph_result(t->graph, seed ? y : read);
}

static void test_result(void)
{
    trial t = {0}, plain = {0};
    ac_hash hash;
    float got[N * L * C] = {1}, want[N * L * C] = {2};
    double worst = 0;
    bool ran = open_trial(&t, marked, 0, "ref", AC_F32, false) == AC_OK && open_trial(&plain, marked, 0, "ref", AC_F32, true) == AC_OK;
    ac_value read = ran ? ac_graph_find(t.graph, "read") : AC_NO_VALUE;
    ran = ran && run_both(&t, false, &hash) == AC_OK && run_both(&plain, true, &hash) == AC_OK &&
          ac_plan_read_gradient(t.plan, read, got, sizeof got) == AC_OK && ac_plan_read_gradient(plain.plan, read, want, sizeof want) == AC_OK;
    for (int i = 0; i < N * L * C; i++)
        worst = worse(worst, fabs((double)got[i] - (double)want[i]));
    TAP_OK(ran && worst <= 1e-6, "a result's gradient that is passed to it differs by %g", worst);
    close_trial(&t);
    close_trial(&plain);
    TAP_OK(open_trial(&t, marked, 1, "ref", AC_F32, false) == AC_ERR_UNSUPPORTED && strstr(ac_error_text(), "sum"), "a result's gradient is not passed on: %s",
           ac_error_text());
    close_trial(&t);
}

/* All values of a residual stream have their gradient in one buffer. */
static void test_stream(void)
{
    trial t;
    int n = 0, part = AC_NO_BUFFER;
    if (TAP_CALL(open_trial(&t, transformer, 1, "ref", AC_F32, false))) {
        for (size_t v = 0; v < t.graph->n_values; v++) {
            const plan_value *value = &t.plan->value[v];
            bool in_stream = strstr(t.graph->value[v].name, "outer") || !strcmp(t.graph->value[v].name, "first");
            if (in_stream && part == AC_NO_BUFFER)
                part = value->part[0];
            n += in_stream && value->n_parts == 1 && value->part[0] == part;
        }
        TAP_OK(n == DEPTH + 1, "the gradient of a residual stream is one buffer for %d values", n);
    }
    close_trial(&t);
}

int main(void)
{
    make_plain("ref");
    test_random("ref", AC_F32, 60, 1e-5);
    test_known("ref");
    test_result();
    make_plain("cpu");
    test_random("cpu", AC_F32, 150, 1e-5);
    test_random("cpu", AC_BF16, 60, 0.1);
    test_known("cpu");
    test_stream();
    return tap_done();
}
