/* attention: one task has one or a few heads of one or a few sets of positions that see each other. Their q, k and v are
 * packed from where they lie into panels; probabilities exist for a block of rows at a time. The vector code is in
 * attention_plain.c and attention_avx512.c.
 *
 * Workspace of a thread, for L positions and heads of d: 8 L d floats and 2 * 64 rows of L, nothing that grows with L^2
 * but, with a bias table, the sums of its gradient (HEADS L L, where L is a window's). */
#include "backend/cpu/attention.h"
#include "anyclass/alloc.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADS = 4,         /* of a task with a bias table: heads that lie side by side in a pixel's channels */
    MAX_SETS = 16,     /* of such a task: over so many, the table's gradient is summed in float */
    WANTED_TASKS = 64,
    ROWS = ATTENTION_MAX_ROWS, /* rows of probabilities that backward has at a time */
    ALIGN = 16         /* floats */
};

static const float LOG2_E = 1.44269504f;

typedef struct layout { /* the state that plan() makes */
    int64_t n_heads, head, channels; /* of q */
    int64_t n_images, positions;     /* of an image */
    int64_t seen, n_sets;            /* positions that see each other; sets of them in an image */
    int64_t padded_seen, padded_head;
    int64_t n_columns, set_row, set_column; /* sets are in rows of n_columns; steps between the first positions of neighbours */
    int64_t window, table_rows;      /* 0: no table */
    int64_t task_heads, task_sets, n_head_tasks, n_set_tasks;
    int n_threads;
    float scale;
    bool bf16;
    const attention_code *code;
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

/* A thread's workspace. */
typedef struct buffers {
    float *q, *k, *v, *dy;          /* [panels of the head][seen][TILE_COLUMNS] */
    float *k_turned, *v_turned;     /* [panels of seen][head][TILE_COLUMNS] */
    float *out, *dk, *dv;           /* [rows or seen][head]; out: the output, or dq */
    float *p, *dp, *inverse;        /* [rows][seen] */
    float *table;                   /* [task_heads][seen][seen] */
} buffers;

static float *take(float *start, int64_t *used, int64_t n)
{
    float *out = start && n ? start + *used : NULL;
    *used += round_up(n, ALIGN);
    return out;
}

/* Carve the buffers out of `start` (NULL: only count); returns the floats they take. */
static int64_t carve(const layout *l, bool backward, float *start, buffers *b)
{
    int64_t packed = l->seen * l->padded_head, turned = l->padded_seen * l->padded_head, rows = backward ? ROWS : TILE_ROWS, used = 0;
    memset(b, 0, sizeof *b);
    b->q = take(start, &used, packed);
    b->k = take(start, &used, packed);
    b->v = take(start, &used, packed);
    b->k_turned = take(start, &used, turned);
    b->out = take(start, &used, rows * l->padded_head);
    b->p = take(start, &used, rows * l->padded_seen);
    b->inverse = take(start, &used, rows);
    if (!backward)
        return used;
    b->dy = take(start, &used, packed);
    b->v_turned = take(start, &used, turned);
    b->dk = take(start, &used, packed);
    b->dv = take(start, &used, packed);
    b->dp = take(start, &used, rows * l->padded_seen);
    b->table = take(start, &used, l->table_rows ? l->task_heads * l->seen * l->padded_seen : 0);
    return used;
}

/* Floats of one thread. */
static int64_t thread_floats(const layout *l, bool backward)
{
    buffers b;
    return carve(l, backward, NULL, &b);
}

/* Shared by all threads, in front of theirs: the bias of each pair of positions, [n_heads][seen][padded_seen]. */
static int64_t bias_floats(const layout *l)
{
    return l->table_rows ? l->n_heads * l->seen * l->padded_seen : 0;
}

/* And behind it the gradient of the table, in parts: double [n_set_tasks][n_heads][table_rows], rows in reverse. */
static int64_t partial_floats(const layout *l)
{
    return round_up(2 * l->n_set_tasks * l->n_heads * l->table_rows, ALIGN);
}

/* ANYCLASS_ATTENTION=plain: what processors without AVX-512 run. */
static const attention_code *choose_code(void)
{
#if CPU_HAS_AVX512_CODE
    const char *forced = getenv("ANYCLASS_ATTENTION");
    if (cpu_has_avx512() && !(forced && strcmp(forced, "plain") == 0))
        return &cpu_attention_avx512;
#endif
    return &cpu_attention_plain;
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
    l->padded_seen = round_up(seen, TILE_COLUMNS);
    l->padded_head = round_up(l->head, TILE_COLUMNS);
    l->window = window;
    l->table_rows = global ? 0 : (2 * window - 1) * (2 * window - 1);
    l->n_threads = ((const cpu_device *)device)->n_threads;
    l->scale = a->scale;
    l->bf16 = x->dtype == AC_BF16;
    l->code = choose_code();
    place_sets(l, a, x);
    cut_tasks(l);
    out->state = l;
    out->workspace_bytes = sizeof(float) * (size_t)(bias_floats(l) + (training ? partial_floats(l) : 0) + l->n_threads * thread_floats(l, training));
out:
    return status;
}

static void release(void *state)
{
    ac_free(state);
}

/* Panels of rows -> panels of columns. */
static void turn(const layout *l, const float *from, float *to)
{
    for (int64_t i = 0; i < l->seen; i += TILE_COLUMNS, to += TILE_COLUMNS * l->padded_head)
        for (int64_t c = 0; c < l->padded_head; c += TILE_COLUMNS)
            l->code->transpose(from + c * l->seen + i * TILE_COLUMNS, (int)(l->seen - i < TILE_COLUMNS ? l->seen - i : TILE_COLUMNS), to + c * TILE_COLUMNS);
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

typedef struct one { /* a head of a set */
    int64_t image, set, head, base;
    const float *bias;
} one;

static one one_of(const layout *l, int64_t set, int64_t head, const float *bias)
{
    one o = {.image = set / l->n_sets, .set = set % l->n_sets, .head = head};
    o.base = o.image * l->positions + o.set / l->n_columns * l->set_row + o.set % l->n_columns * l->set_column;
    o.bias = l->table_rows ? bias + head * l->seen * l->padded_seen : NULL;
    return o;
}

/* Rows first_row and on of a tensor of whole rows of row_channels, of which the head's begin at channel `first`. */
static attention_place place_of(const layout *l, const one *o, int64_t first_row, int64_t rows, int64_t row_channels, int64_t first)
{
    return (attention_place){l->place + first_row, rows, row_channels, o->base * row_channels + first + o->head * l->head, l->head, l->bf16};
}

static void pack_qkv(const layout *l, const ac_call *call, const one *o, const buffers *b)
{
    float *to[] = {b->q, b->k, b->v};
    for (int which = 0; which < 3; which++) {
        attention_place from = place_of(l, o, 0, l->seen, 3 * l->channels, which * l->channels);
        l->code->pack(&from, &call->input[0], 1, to[which]);
    }
    turn(l, b->k, b->k_turned);
}

static float *log_sums(const layout *l, const ac_call *call, const one *o)
{
    return (float *)call->saved[0] + ((o->image * l->n_heads + o->head) * l->n_sets + o->set) * l->seen;
}

/* c [rows][padded_seen] = rows of a by the columns of `turned`. */
static void multiply_seen(const layout *l, const float *a, int64_t first, int64_t rows, const float *turned, float *c)
{
    l->code->multiply(&(attention_product){.rows = rows, .n_panels = l->padded_seen / TILE_COLUMNS, .k = TILE_COLUMNS,
                           .n_runs = l->padded_head / TILE_COLUMNS, .a = a + first * TILE_COLUMNS, .lda = TILE_COLUMNS, .run_stride = l->seen * TILE_COLUMNS,
                           .b = turned, .b_stride = l->padded_head * TILE_COLUMNS, .c = c, .ldc = l->padded_seen});
}

/* c [rows][padded_head] = p b, p [rows][padded_seen]. */
static void multiply_head(const layout *l, const float *p, int64_t rows, const float *b, float *c)
{
    l->code->multiply(&(attention_product){.rows = rows, .n_panels = l->padded_head / TILE_COLUMNS, .k = l->seen, .n_runs = 1, .a = p, .lda = l->padded_seen,
                           .b = b, .b_stride = l->seen * TILE_COLUMNS, .c = c, .ldc = l->padded_head});
}

/* c [seen][padded_head] += the transpose of p by rows first .. first + rows of b. */
static void multiply_turned(const layout *l, const float *p, int64_t first, int64_t rows, const float *b, float *c)
{
    l->code->multiply(&(attention_product){.rows = l->seen, .n_panels = l->padded_head / TILE_COLUMNS, .k = rows, .n_runs = 1, .a = p, .lda = l->padded_seen,
                           .by_columns = true, .b = b + first * TILE_COLUMNS, .b_stride = l->seen * TILE_COLUMNS, .c = c, .ldc = l->padded_head,
                           .add = first > 0});
}

static attention_rows rows_of(const layout *l, const one *o, const buffers *b, int64_t first, int64_t rows)
{
    return (attention_rows){rows, l->seen, l->padded_seen, b->p, l->scale * LOG2_E, o->bias ? o->bias + first * l->padded_seen : NULL};
}

static void forward_one(const layout *l, const ac_call *call, const one *o, const buffers *b)
{
    int64_t n_strips = (l->seen + TILE_ROWS - 1) / TILE_ROWS;
    float *log_sum = call->saved[0] ? log_sums(l, call, o) : NULL;
    pack_qkv(l, call, o, b);
    for (int64_t s = 0; s < n_strips; s++) { /* a strip's logits stay in the first cache */
        int64_t first = cpu_strip_begin(l->seen, n_strips, s), rows = cpu_strip_begin(l->seen, n_strips, s + 1) - first;
        attention_rows r = rows_of(l, o, b, first, rows);
        attention_place to = place_of(l, o, first, rows, l->channels, 0);
        multiply_seen(l, b->q, first, rows, b->k_turned, b->p);
        l->code->exponentials(&r, b->inverse, log_sum ? log_sum + first : NULL);
        multiply_head(l, b->p, rows, b->v, b->out);
        l->code->unpack(b->out, l->padded_head, 1, b->inverse, &to, call->output[0]);
    }
}

/* Rows of the gradient of q, k or v (0, 1, 2). */
static void unpack_gradient(const layout *l, const ac_call *call, const one *o, int which, int64_t first_row, int64_t rows, const float *from)
{
    attention_place to = place_of(l, o, first_row, rows, 3 * l->channels, which * l->channels);
    if (call->dinput[0])
        l->code->unpack(from, l->padded_head, which < 2 ? l->scale : 1, NULL, &to, call->dinput[0]);
}

static void backward_one(const layout *l, const ac_call *call, const one *o, const buffers *b, float *table)
{
    attention_place dy = place_of(l, o, 0, l->seen, l->channels, 0);
    int64_t n_blocks = (l->seen + ROWS - 1) / ROWS;
    pack_qkv(l, call, o, b);
    turn(l, b->v, b->v_turned);
    l->code->pack(&dy, call->doutput, call->n_doutput, b->dy);
    for (int64_t s = 0; s < n_blocks; s++) {
        int64_t first = cpu_strip_begin(l->seen, n_blocks, s), rows = cpu_strip_begin(l->seen, n_blocks, s + 1) - first;
        attention_rows r = rows_of(l, o, b, first, rows);
        multiply_seen(l, b->q, first, rows, b->k_turned, b->p);
        multiply_seen(l, b->dy, first, rows, b->v_turned, b->dp);
        l->code->gradient(&r, log_sums(l, call, o) + first, b->dp, table ? table + first * l->padded_seen : NULL);
        multiply_turned(l, b->p, first, rows, b->dy, b->dv);
        multiply_turned(l, b->dp, first, rows, b->q, b->dk);
        multiply_head(l, b->dp, rows, b->k, b->out);
        unpack_gradient(l, call, o, 0, first, rows, b->out);
    }
    unpack_gradient(l, call, o, 1, 0, l->seen, b->dk);
    unpack_gradient(l, call, o, 2, 0, l->seen, b->dv);
}

/* One task: some heads of some sets. `partial`: where their part of the table's gradient goes. */
static void run_task(const layout *l, const ac_call *call, int64_t task, const float *bias, const buffers *b, double *partial)
{
    int64_t set_task = task / l->n_head_tasks, first_head = task % l->n_head_tasks * l->task_heads, first_set = set_task * l->task_sets;
    int64_t end_head = first_head + l->task_heads < l->n_heads ? first_head + l->task_heads : l->n_heads;
    int64_t sets = l->n_images * l->n_sets, end_set = first_set + l->task_sets < sets ? first_set + l->task_sets : sets, square = l->seen * l->padded_seen;
    if (b->table)
        memset(b->table, 0, sizeof(float) * (size_t)(l->task_heads * square));
    for (int64_t set = first_set; set < end_set; set++)
        for (int64_t head = first_head; head < end_head; head++) {
            one o = one_of(l, set, head, bias);
            if (b->dy)
                backward_one(l, call, &o, b, l->table_rows ? b->table + (head - first_head) * square : NULL);
            else
                forward_one(l, call, &o, b);
        }
    for (int64_t head = first_head; partial && head < end_head; head++)
        gather_table(l, b->table + (head - first_head) * square, partial + (set_task * l->n_heads + head) * l->table_rows);
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
    int64_t n_tasks = l->n_head_tasks * l->n_set_tasks, n_biased = l->table_rows ? l->n_heads : 0, each = thread_floats(l, backward);
    float *bias = call->workspace, *rest = bias + bias_floats(l) + (backward ? partial_floats(l) : 0);
    double *partial = backward && n_biased ? (double *)(void *)(bias + bias_floats(l)) : NULL;
#pragma omp parallel num_threads(l->n_threads)
    {
        buffers b;
        carve(l, backward, rest + omp_get_thread_num() * each, &b);
#pragma omp for schedule(static)
        for (int64_t head = 0; head < n_biased; head++)
            spread_bias(l, call->param[0], head, bias);
#pragma omp for schedule(dynamic, 1)
        for (int64_t task = 0; task < n_tasks; task++)
            run_task(l, call, task, bias, &b, partial);
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
