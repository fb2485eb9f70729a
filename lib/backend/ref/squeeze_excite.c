/* squeeze_excite by its definition. */
#include "backend/ref/ref.h"
#include <math.h>

typedef struct sizes {
    int64_t n, pixels, channels, hidden;
    const ac_squeeze_excite_attribute *a;
} sizes;

static sizes sizes_of(const ac_call *call)
{
    const ac_shape *x = ref_in(call, 0);
    const ac_squeeze_excite_attribute *a = (const void *)call->node->attribute;
    return (sizes){x->dim[0], x->dim[1] * x->dim[2], x->dim[3], a->hidden_channels, a};
}

static double sigmoid(double v)
{
    return 1 / (1 + exp(-v));
}

static double inner(const sizes *s, double v)
{
    return s->a->inner == AC_ACTIVATION_SILU ? v * sigmoid(v) : v < 0 ? 0 : v;
}

static double inner_slope(const sizes *s, double v)
{
    double at = sigmoid(v);
    return s->a->inner == AC_ACTIVATION_SILU ? at * (1 + v * (1 - at)) : v <= 0 ? 0 : 1;
}

/* Averages [channels], what goes into f [hidden] and the gate [channels] of image n. */
static void make_gate(const ac_call *call, const sizes *s, int64_t n, double *average, double *before, double *gate)
{
    const float *w1 = call->param[0], *b1 = call->param[1], *w2 = call->param[2], *b2 = call->param[3];
    for (int64_t c = 0; c < s->channels; c++) {
        average[c] = 0;
        for (int64_t p = 0; p < s->pixels; p++)
            average[c] += ref_input(call, 0, (n * s->pixels + p) * s->channels + c);
        average[c] /= (double)s->pixels;
    }
    for (int64_t h = 0; h < s->hidden; h++) {
        before[h] = (double)b1[h];
        for (int64_t c = 0; c < s->channels; c++)
            before[h] += (double)w1[h * s->channels + c] * average[c];
    }
    for (int64_t c = 0; c < s->channels; c++) {
        double sum = (double)b2[c];
        for (int64_t h = 0; h < s->hidden; h++)
            sum += (double)w2[c * s->hidden + h] * inner(s, before[h]);
        gate[c] = sigmoid(sum);
    }
}

static void save(float *saved, int64_t n, int64_t count, const double *values)
{
    for (int64_t i = 0; saved && i < count; i++)
        saved[n * count + i] = (float)values[i];
}

static ac_status forward(const ac_call *call)
{
    sizes s = sizes_of(call);
    double *average = call->workspace, *before = average + s.channels, *gate = before + s.hidden;
    for (int64_t n = 0; n < s.n; n++) {
        make_gate(call, &s, n, average, before, gate);
        save(call->saved[0], n, s.channels, average);
        save(call->saved[1], n, s.hidden, before);
        save(call->saved[2], n, s.channels, gate);
        for (int64_t p = 0; p < s.pixels; p++)
            for (int64_t c = 0; c < s.channels; c++) {
                int64_t i = (n * s.pixels + p) * s.channels + c;
                double v = ref_input(call, 0, i) * gate[c] + (call->node->n_inputs > 1 ? ref_input(call, 1, i) : 0);
                ref_set_output(call, i, s.a->outer == AC_ACTIVATION_RELU && v < 0 ? 0 : v);
            }
    }
    return AC_OK;
}

/* Gradient of what the outer activation is applied to. */
static double gradient_at(const ac_call *call, const sizes *s, int64_t i)
{
    return s->a->outer == AC_ACTIVATION_RELU && ref_get(ref_out(call)->dtype, call->output[0], i) <= 0 ? 0 : ref_dout(call, i);
}

typedef struct gradients { /* in the workspace */
    double *w1, *b1, *w2, *b2;  /* of the parameters */
    double *average, *before, *sum; /* of one image */
} gradients;

static size_t n_gradients(const sizes *s)
{
    return (size_t)(2 * s->channels * s->hidden + 3 * s->channels + 2 * s->hidden);
}

static gradients gradients_in(const sizes *s, double *at)
{
    int64_t matrix = s->channels * s->hidden;
    gradients g = {.w1 = at, .b1 = at + matrix};
    g.w2 = g.b1 + s->hidden;
    g.b2 = g.w2 + matrix;
    g.average = g.b2 + s->channels;
    g.before = g.average + s->channels;
    g.sum = g.before + s->hidden;
    return g;
}

static void backward_gate(const ac_call *call, const sizes *s, int64_t n, gradients *g)
{
    const float *w1 = call->param[0], *w2 = call->param[2];
    const float *average = (const float *)call->saved[0] + n * s->channels, *before = (const float *)call->saved[1] + n * s->hidden;
    const float *gate = (const float *)call->saved[2] + n * s->channels;
    for (int64_t h = 0; h < s->hidden; h++)
        g->before[h] = 0;
    for (int64_t c = 0; c < s->channels; c++) {
        double d = g->sum[c] * (double)gate[c] * (1 - (double)gate[c]);
        g->b2[c] += d;
        for (int64_t h = 0; h < s->hidden; h++) {
            g->w2[c * s->hidden + h] += d * inner(s, (double)before[h]);
            g->before[h] += d * (double)w2[c * s->hidden + h];
        }
        g->average[c] = 0;
    }
    for (int64_t h = 0; h < s->hidden; h++) {
        double d = g->before[h] * inner_slope(s, (double)before[h]);
        g->b1[h] += d;
        for (int64_t c = 0; c < s->channels; c++) {
            g->w1[h * s->channels + c] += d * (double)average[c];
            g->average[c] += d * (double)w1[h * s->channels + c];
        }
    }
}

static void add_to(const ac_call *call, int k, int64_t n, const double *values)
{
    for (int64_t i = 0; i < n; i++)
        call->param_gradient[k][i] = (float)(values[i] + (call->accumulate ? (double)call->param_gradient[k][i] : 0));
}

static ac_status backward(const ac_call *call)
{
    sizes s = sizes_of(call);
    gradients g = gradients_in(&s, call->workspace);
    for (size_t i = 0; i < n_gradients(&s); i++)
        ((double *)call->workspace)[i] = 0;
    for (int64_t n = 0; n < s.n; n++) {
        const float *gate = (const float *)call->saved[2] + n * s.channels;
        int64_t first = n * s.pixels * s.channels, end = first + s.pixels * s.channels;
        for (int64_t c = 0; c < s.channels; c++)
            g.sum[c] = 0;
        for (int64_t i = first; i < end; i++)
            g.sum[i % s.channels] += gradient_at(call, &s, i) * ref_input(call, 0, i);
        backward_gate(call, &s, n, &g);
        for (int64_t i = first; i < end; i++) {
            double d = gradient_at(call, &s, i);
            if (call->dinput[0])
                ref_set_dinput(call, 0, i, d * (double)gate[i % s.channels] + g.average[i % s.channels] / (double)s.pixels);
            if (call->dinput[1])
                ref_set_dinput(call, 1, i, d);
        }
    }
    add_to(call, 0, s.hidden * s.channels, g.w1);
    add_to(call, 1, s.hidden, g.b1);
    add_to(call, 2, s.hidden * s.channels, g.w2);
    add_to(call, 3, s.channels, g.b2);
    return AC_OK;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)device, (void)training, (void)wants;
    const ac_squeeze_excite_attribute *a = (const void *)node->attribute;
    sizes s = {.channels = ac_graph_shape(graph, node->input[0])->dim[3], .hidden = a->hidden_channels};
    out->workspace_bytes = sizeof(double) * n_gradients(&s);
    return AC_OK;
}

const ac_kernel ac_ref_squeeze_excite = {.op = &ac_op_squeeze_excite, .flags = AC_KERNEL_SUMS_DOUTPUT, .plan = plan, .forward = forward, .backward = backward};
