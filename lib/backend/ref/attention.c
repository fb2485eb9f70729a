/* attention by its definition: every probability from all logits of its row, none from what forward saved. */
#include "backend/ref/ref.h"
#include <math.h>
#include <string.h>

typedef struct layout {
    const ac_attention_attribute *a;
    int64_t n, height, width; /* global: a map of one row */
    int64_t channels, head;   /* of q, of one head's q */
    int64_t seen, n_parts;    /* positions that see each other, how many such sets */
    int64_t table;            /* rows of the bias table */
} layout;

static layout layout_of(const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    layout l = {.a = (const void *)node->attribute, .n = x->dim[0]};
    bool global = l.a->kind == AC_ATTENTION_GLOBAL;
    int64_t window = l.a->window_px;
    l.height = global ? 1 : x->dim[1];
    l.width = x->dim[x->n_dims - 2];
    l.channels = x->dim[x->n_dims - 1] / 3;
    l.head = l.channels / l.a->n_heads;
    l.seen = global ? l.width : window * window;
    l.n_parts = l.height * l.width / l.seen;
    l.table = global ? 0 : (2 * window - 1) * (2 * window - 1);
    return l;
}

/* Where position i of a set lies among all of the image's. */
static int64_t place(const layout *l, int64_t part, int64_t i)
{
    if (l->a->kind == AC_ATTENTION_GLOBAL)
        return i;
    int64_t window = l->a->window_px, rows = l->height / window, columns = l->width / window;
    if (l->a->kind == AC_ATTENTION_GRID)
        return (i / window * rows + part / columns) * l->width + i % window * columns + part % columns;
    return (part / columns * window + i / window) * l->width + part % columns * window + i % window;
}

/* Row of the bias table for position i that looks at j. */
static int64_t bias_row(const layout *l, int64_t i, int64_t j)
{
    int64_t window = l->a->window_px;
    return (i / window - j / window + window - 1) * (2 * window - 1) + i % window - j % window + window - 1;
}

typedef struct one { /* a head in a set of positions of an image */
    int64_t image, head, part;
} one;

/* Element c of position i's q, k or v (which: 0, 1, 2) in qkv; and of its output. */
static int64_t qkv_at(const layout *l, const one *o, int which, int64_t i, int64_t c)
{
    return (o->image * l->height * l->width + place(l, o->part, i)) * 3 * l->channels + which * l->channels + o->head * l->head + c;
}

static int64_t out_at(const layout *l, const one *o, int64_t i, int64_t c)
{
    return (o->image * l->height * l->width + place(l, o->part, i)) * l->channels + o->head * l->head + c;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)device, (void)training, (void)wants;
    layout l = layout_of(graph, node);
    out->workspace_bytes = sizeof(double) * (size_t)(2 * l.seen + 3 * l.seen * l.head + l.table * l.a->n_heads);
    return AC_OK;
}

/* Probabilities of what position i sees; returns the log of the sum of exponentials. */
static double probabilities(const ac_call *call, const layout *l, const one *o, int64_t i, double *p)
{
    double most = -(double)INFINITY, sum = 0;
    for (int64_t j = 0; j < l->seen; j++) {
        double dot = 0;
        for (int64_t c = 0; c < l->head; c++)
            dot += ref_input(call, 0, qkv_at(l, o, 0, i, c)) * ref_input(call, 0, qkv_at(l, o, 1, j, c));
        p[j] = dot * (double)l->a->scale;
        if (l->table)
            p[j] += (double)((const float *)call->param[0])[bias_row(l, i, j) * l->a->n_heads + o->head];
        most = fmax(most, p[j]);
    }
    for (int64_t j = 0; j < l->seen; j++)
        sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j < l->seen; j++)
        p[j] /= sum;
    return most + log(sum);
}

static void forward_one(const ac_call *call, const layout *l, const one *o)
{
    double *p = call->workspace;
    float *saved = call->saved[0];
    for (int64_t i = 0; i < l->seen; i++) {
        double log_sum = probabilities(call, l, o, i, p);
        if (saved)
            saved[((o->image * l->a->n_heads + o->head) * l->n_parts + o->part) * l->seen + i] = (float)log_sum;
        for (int64_t c = 0; c < l->head; c++) {
            double sum = 0;
            for (int64_t j = 0; j < l->seen; j++)
                sum += p[j] * ref_input(call, 0, qkv_at(l, o, 2, j, c));
            ref_set_output(call, out_at(l, o, i, c), sum);
        }
    }
}

/* Row i's share of the gradients dq, dk, dv, each [seen, head], and of the table's. */
static void backward_row(const ac_call *call, const layout *l, const one *o, int64_t i, double *gradient, double *table)
{
    double *p = call->workspace, *dp = p + l->seen, mean = 0;
    double *dq = gradient, *dk = dq + l->seen * l->head, *dv = dk + l->seen * l->head;
    probabilities(call, l, o, i, p);
    for (int64_t j = 0; j < l->seen; j++) {
        dp[j] = 0;
        for (int64_t c = 0; c < l->head; c++) {
            double dy = ref_dout(call, out_at(l, o, i, c));
            dp[j] += dy * ref_input(call, 0, qkv_at(l, o, 2, j, c));
            dv[j * l->head + c] += p[j] * dy;
        }
        mean += p[j] * dp[j];
    }
    for (int64_t j = 0; j < l->seen; j++) {
        double ds = p[j] * (dp[j] - mean), dot = ds * (double)l->a->scale;
        if (l->table)
            table[bias_row(l, i, j) * l->a->n_heads + o->head] += ds;
        for (int64_t c = 0; c < l->head; c++) {
            dq[i * l->head + c] += dot * ref_input(call, 0, qkv_at(l, o, 1, j, c));
            dk[j * l->head + c] += dot * ref_input(call, 0, qkv_at(l, o, 0, i, c));
        }
    }
}

static void backward_one(const ac_call *call, const layout *l, const one *o)
{
    double *gradient = (double *)call->workspace + 2 * l->seen, *table = gradient + 3 * l->seen * l->head;
    memset(gradient, 0, sizeof *gradient * (size_t)(3 * l->seen * l->head));
    for (int64_t i = 0; i < l->seen; i++)
        backward_row(call, l, o, i, gradient, table);
    for (int which = 0; which < 3 && call->dinput[0]; which++)
        for (int64_t i = 0; i < l->seen; i++)
            for (int64_t c = 0; c < l->head; c++)
                ref_set_dinput(call, 0, qkv_at(l, o, which, i, c), gradient[(which * l->seen + i) * l->head + c]);
}

static void for_each(const ac_call *call, const layout *l, void (*function)(const ac_call *, const layout *, const one *))
{
    for (int64_t image = 0; image < l->n; image++)
        for (int64_t head = 0; head < l->a->n_heads; head++)
            for (int64_t part = 0; part < l->n_parts; part++)
                function(call, l, &(one){image, head, part});
}

static ac_status forward(const ac_call *call)
{
    layout l = layout_of(call->graph, call->node);
    for_each(call, &l, forward_one);
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    layout l = layout_of(call->graph, call->node);
    double *table = (double *)call->workspace + 2 * l.seen + 3 * l.seen * l.head;
    int64_t n_table = l.table * l.a->n_heads;
    memset(table, 0, sizeof *table * (size_t)n_table);
    for_each(call, &l, backward_one);
    for (int64_t k = 0; k < n_table; k++)
        call->param_gradient[0][k] = (float)(table[k] + (call->accumulate ? (double)call->param_gradient[0][k] : 0));
    return AC_OK;
}

const ac_kernel ac_ref_attention = {.op = &ac_op_attention, .flags = AC_KERNEL_SUMS_DOUTPUT, .plan = plan, .forward = forward, .backward = backward};
