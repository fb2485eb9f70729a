/* attention: one task has one or a few heads of one or a few sets of positions that see each other; the heads themselves are done by
 * attention_float.c or attention_bf16.c. Here are the sets, the tasks, and the table of biases and its gradient.
 *
 * Workspace of a thread grows with L, the positions that see each other, never with L^2 but for the sums of the table's gradient (HEADS L L, where L is
 * a window's). */
#include "backend/cpu/attention.h"
#include "anyclass/alloc.h"
#include <omp.h>
#include <string.h>

enum {
    HEADS = 4,     /* of a task with a bias table: heads that lie side by side in a pixel's channels */
    MAX_SETS = 16, /* of such a task: over so many, the table's gradient is summed in float */
    WANTED_TASKS = 64,
    ALIGN = 64     /* bytes */
};

static const float LOG2_E = 1.44269504f;

typedef struct layout { /* the state that plan() makes */
    int64_t n_heads, head, channels; /* of q */
    int64_t n_images, positions;     /* of an image */
    int64_t seen, n_sets;            /* positions that see each other; sets of them in an image */
    int64_t padded_seen;
    int64_t n_columns, set_row, set_column; /* sets are in rows of n_columns; steps between the first positions of neighbours */
    int64_t window, table_rows;      /* 0: no table */
    int64_t task_heads, task_sets, n_head_tasks, n_set_tasks;
    int n_threads;
    float scale;
    bool bf16;
    const attention_way *way;
    int32_t *table_at;               /* [seen]; the pair (i, j) has the row at[i] - at[j] + middle of the table */
    int32_t place[];                 /* [seen] of a set's positions behind its first, then table_at */
} layout;

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Where a set begins, where its positions lie. */
static void place_sets(layout *l, const ac_attention_attribute *a, const ac_shape *x)
{
    int64_t width = x->dim[x->n_dims - 2], rows, columns, window = l->window;
    l->table_at = l->place + l->seen;
    if (a->kind == AC_ATTENTION_GLOBAL) {
        l->n_columns = 1;
        for (int64_t i = 0; i < l->seen; i++)
            l->place[i] = (int32_t)i;
        return;
    }
    rows = x->dim[1] / window;
    columns = width / window;
    bool grid = a->kind == AC_ATTENTION_GRID;
    l->n_columns = columns;
    l->set_row = grid ? width : window * width;
    l->set_column = grid ? 1 : window;
    for (int64_t i = 0; i < l->seen; i++) {
        l->table_at[i] = (int32_t)(i / window * (2 * window - 1) + i % window);
        l->place[i] = (int32_t)(grid ? i / window * rows * width + i % window * columns : i / window * width + i % window);
    }
}

static void cut_tasks(layout *l)
{
    int64_t sets = l->n_images * l->n_sets;
    l->task_heads = l->table_rows ? (l->n_heads < HEADS ? l->n_heads : HEADS) : 1;
    l->n_head_tasks = (l->n_heads + l->task_heads - 1) / l->task_heads;
    l->task_sets = l->table_rows ? sets * l->n_head_tasks / WANTED_TASKS : 1;
    l->task_sets = l->task_sets < 1 ? 1 : l->task_sets > MAX_SETS ? MAX_SETS : l->task_sets;
    l->n_set_tasks = (sets + l->task_sets - 1) / l->task_sets;
}

/* Workspace, in bytes. Shared by all threads: the bias of each pair of positions, float [n_heads][seen][padded_seen]; in backward the gradient of the
 * table in parts, double [n_set_tasks][n_heads][table_rows], rows in reverse. Then of each thread: sums of the table's gradient, float
 * [task_heads][seen][padded_seen], and what a head takes. */
typedef struct sizes {
    int64_t bias, partial, table, thread; /* thread: with its table */
} sizes;

static sizes sizes_of(const layout *l, bool backward)
{
    sizes s = {0};
    int64_t square = l->table_rows ? l->seen * l->padded_seen * (int64_t)sizeof(float) : 0;
    s.bias = round_up(l->n_heads * square, ALIGN);
    s.partial = backward ? round_up(l->n_set_tasks * l->n_heads * l->table_rows * (int64_t)sizeof(double), ALIGN) : 0;
    s.table = backward ? round_up(l->task_heads * square, ALIGN) : 0;
    s.thread = s.table + (int64_t)l->way->workspace_bytes(l->seen, l->head, backward);
    return s;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)wants;
    ac_status status = AC_OK;
    const ac_attention_attribute *a = (const void *)node->attribute;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    bool global = a->kind == AC_ATTENTION_GLOBAL;
    layout *l = NULL;
    AC_TRY(cpu_check_precision(device, x->dtype));
    int64_t window = global ? 0 : a->window_px, positions = global ? x->dim[1] : x->dim[1] * x->dim[2];
    int64_t seen = global ? positions : window * window;
    if (positions > INT32_MAX)
        return ac_error(AC_ERR_UNSUPPORTED, "attention over maps of more than 2^31 positions");
    AC_TRY(ac_calloc(1, sizeof *l + 2 * sizeof *l->place * (size_t)seen, &l));
    l->channels = x->dim[x->n_dims - 1] / 3;
    l->n_heads = a->n_heads;
    l->head = l->channels / a->n_heads;
    l->n_images = x->dim[0];
    l->positions = positions;
    l->seen = seen;
    l->n_sets = positions / seen;
    l->padded_seen = attention_padded(seen);
    l->window = window;
    l->table_rows = global ? 0 : (2 * window - 1) * (2 * window - 1);
    l->n_threads = ((const cpu_device *)device)->n_threads;
    l->scale = a->scale;
    l->bf16 = x->dtype == AC_BF16;
    l->way = cpu_attention_choose((const cpu_device *)device, x->dtype);
    place_sets(l, a, x);
    cut_tasks(l);
    out->state = l;
    sizes s = sizes_of(l, training);
    out->workspace_bytes = (size_t)(s.bias + s.partial + l->n_threads * s.thread);
out:
    return status;
}

static void release(void *state)
{
    ac_free(state);
}

static void spread_bias(const layout *l, const float *table, int64_t head, float *bias)
{
    int64_t middle = (l->window - 1) * 2 * l->window;
    bias += head * l->seen * l->padded_seen;
    for (int64_t i = 0; i < l->seen; i++, bias += l->padded_seen) {
        for (int64_t j = 0; j < l->seen; j++)
            bias[j] = table[(l->table_at[i] - l->table_at[j] + middle) * l->n_heads + head] * LOG2_E;
        memset(bias + l->seen, 0, sizeof *bias * (size_t)(l->padded_seen - l->seen));
    }
}

/* Sums [seen][padded_seen] of the gradient of a head's logits -> its part of the table, last row first: so a row of the window that position i looks
 * at adds to neighbours in order. */
AC_SIMD static void gather_table(const layout *l, const float *restrict sums, double *restrict part)
{
    int64_t middle = (l->window - 1) * 2 * l->window, window = l->window;
    memset(part, 0, sizeof *part * (size_t)l->table_rows);
    for (int64_t i = 0; i < l->seen; i++)
        for (int64_t row = 0; row < window; row++) {
            double *restrict to = part + row * (2 * window - 1) - l->table_at[i] + middle;
            for (int64_t j = 0; j < window; j++)
                to[j] += (double)sums[i * l->padded_seen + row * window + j];
        }
}

/* What differs between the heads comes later. */
static attention_head head_of(const layout *l, const ac_call *call)
{
    return (attention_head){.seen = l->seen, .head = l->head, .channels = l->channels, .place = l->place, .bf16 = l->bf16, .scale = l->scale, .qkv = &call->input[0],
                            .out = call->output[0], .dout = call->doutput, .n_dout = call->n_doutput, .dqkv = call->dinput[0]};
}

/* Head `head` of set `set`. */
static void move_to(const layout *l, const ac_call *call, int64_t set, int64_t head, const float *bias, attention_head *h)
{
    int64_t image = set / l->n_sets, within = set % l->n_sets;
    h->base = image * l->positions + within / l->n_columns * l->set_row + within % l->n_columns * l->set_column;
    h->first = head * l->head;
    h->bias = l->table_rows ? bias + head * l->seen * l->padded_seen : NULL;
    h->log_sum = call->saved[0] ? (float *)call->saved[0] + ((image * l->n_heads + head) * l->n_sets + within) * l->seen : NULL;
}

/* One task: some heads of some sets. `partial`: where their part of the table's gradient goes; NULL: forward, or there is none. */
static void run_task(const layout *l, const ac_call *call, bool backward, int64_t task, const float *bias, float *table, void *workspace, double *partial)
{
    int64_t set_task = task / l->n_head_tasks, first_head = task % l->n_head_tasks * l->task_heads, first_set = set_task * l->task_sets;
    int64_t end_head = first_head + l->task_heads < l->n_heads ? first_head + l->task_heads : l->n_heads;
    int64_t sets = l->n_images * l->n_sets, end_set = first_set + l->task_sets < sets ? first_set + l->task_sets : sets, square = l->seen * l->padded_seen;
    attention_head h = head_of(l, call);
    if (partial)
        memset(table, 0, sizeof *table * (size_t)(l->task_heads * square));
    for (int64_t set = first_set; set < end_set; set++)
        for (int64_t head = first_head; head < end_head; head++) {
            move_to(l, call, set, head, bias, &h);
            h.table = partial ? table + (head - first_head) * square : NULL;
            (backward ? l->way->backward : l->way->forward)(&h, workspace);
        }
    for (int64_t head = first_head; partial && head < end_head; head++)
        gather_table(l, table + (head - first_head) * square, partial + (set_task * l->n_heads + head) * l->table_rows);
}

/* The table's gradient [table_rows, n_heads], parts added in order. */
static void add_parts(const layout *l, const ac_call *call, const double *partial, int64_t head)
{
    for (int64_t k = 0; k < l->table_rows; k++) {
        float *gradient = &call->param_gradient[0][k * l->n_heads + head];
        double sum = 0;
        for (int64_t task = 0; task < l->n_set_tasks; task++)
            sum += partial[(task * l->n_heads + head) * l->table_rows + l->table_rows - 1 - k];
        *gradient = (float)(sum + (call->accumulate ? (double)*gradient : 0));
    }
}

static ac_status run(const ac_call *call, bool backward)
{
    const layout *l = call->state;
    sizes s = sizes_of(l, backward);
    int64_t n_tasks = l->n_head_tasks * l->n_set_tasks, n_biased = l->table_rows ? l->n_heads : 0;
    unsigned char *shared = call->workspace, *threads = shared + s.bias + s.partial;
    float *bias = (float *)(void *)shared;
    double *partial = backward && n_biased ? (double *)(void *)(shared + s.bias) : NULL;
#pragma omp parallel num_threads(l->n_threads)
    {
        unsigned char *mine = threads + omp_get_thread_num() * s.thread;
#pragma omp for schedule(static)
        for (int64_t head = 0; head < n_biased; head++)
            spread_bias(l, call->param[0], head, bias);
        if (l->way->begin)
            l->way->begin();
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < n_tasks; task++)
            run_task(l, call, backward, task, bias, (float *)(void *)mine, mine + s.table, partial);
        if (l->way->end)
            l->way->end();
#pragma omp for schedule(static)
        for (int64_t head = 0; head < (partial ? n_biased : 0); head++)
            add_parts(l, call, partial, head);
    }
    return AC_OK;
}

static ac_status forward(const ac_call *call)
{
    return run(call, false);
}

static ac_status backward(const ac_call *call)
{
    return run(call, true);
}

const ac_kernel ac_cpu_attention = {.op = &ac_op_attention, .flags = AC_KERNEL_SUMS_DOUTPUT, .plan = plan, .release = release, .forward = forward, .backward = backward};
