/* avg_pool and blur_pool: every output is a sum over a window, the weights of which are products of a row's and a column's. What
 * each row and column reads is tabled at plan time; the gradient is the same sum with the tables transposed. */
#include "anyclass/alloc.h"
#include "backend/cpu/lanes.h"

typedef struct side { /* one side of a window, for each position of what is written */
    int64_t n, most;  /* positions; taps that one has at most */
    int32_t *n_taps;  /* [n] */
    int32_t *at;      /* [n, most] position in what is read */
    float *weight;    /* [n, most] */
} side;

typedef struct tables {
    side rows, columns, back_rows, back_columns;
} tables;

static void release_side(side *s)
{
    ac_free(s->n_taps);
    ac_free(s->at);
    ac_free(s->weight);
}

static void release(void *state)
{
    tables *t = state;
    if (!t)
        return;
    release_side(&t->rows);
    release_side(&t->columns);
    release_side(&t->back_rows);
    release_side(&t->back_columns);
    ac_free(t);
}

static ac_status make_side(int64_t n, int64_t most, side *s)
{
    ac_status status = AC_OK;
    *s = (side){.n = n, .most = most};
    AC_TRY(ac_calloc((size_t)n, sizeof *s->n_taps, &s->n_taps));
    AC_TRY(ac_calloc((size_t)(n * most), sizeof *s->at, &s->at));
    AC_TRY(ac_calloc((size_t)(n * most), sizeof *s->weight, &s->weight));
out:
    return status;
}

/* A pixel that is there already (mirrored) weighs more. */
static void add_tap(side *s, int64_t to, int64_t from, float weight)
{
    int32_t k = 0, *at = s->at + to * s->most;
    while (k < s->n_taps[to] && at[k] != from)
        k++;
    at[k] = (int32_t)from;
    s->weight[to * s->most + k] += weight;
    s->n_taps[to] += k == s->n_taps[to];
}

static ac_status transpose(const side *s, int64_t n_in, side *out)
{
    ac_status status = AC_OK;
    int32_t *count = NULL, most = 0;
    AC_TRY(ac_calloc((size_t)n_in, sizeof *count, &count));
    for (int64_t o = 0; o < s->n; o++)
        for (int32_t k = 0; k < s->n_taps[o]; k++) {
            int32_t n = ++count[s->at[o * s->most + k]];
            most = n > most ? n : most;
        }
    AC_TRY(make_side(n_in, most, out));
    for (int64_t o = 0; o < s->n; o++)
        for (int32_t k = 0; k < s->n_taps[o]; k++)
            add_tap(out, s->at[o * s->most + k], o, s->weight[o * s->most + k]);
out:
    ac_free(count);
    return status;
}

static ac_status blur_side(const ac_node *node, int64_t n_in, int64_t n_out, side *s)
{
    (void)node;
    ac_status status = AC_OK;
    AC_TRY(make_side(n_out, 3, s));
    for (int64_t o = 0; o < n_out; o++)
        for (int64_t k = -1; k <= 1; k++) {
            int64_t i = 2 * o + k;
            add_tap(s, o, i < 0 ? -i : i >= n_in ? 2 * (n_in - 1) - i : i, k == 0 ? 0.5f : 0.25f);
        }
out:
    return status;
}

static ac_status average_side(const ac_node *node, int64_t n_in, int64_t n_out, side *s)
{
    ac_status status = AC_OK;
    const ac_avg_pool_attribute *a = (const void *)node->attribute;
    AC_TRY(make_side(n_out, a->kernel_px < n_in ? a->kernel_px : n_in, s));
    for (int64_t o = 0; o < n_out; o++) {
        int64_t first = o * a->stride_px - a->padding_px, end = first + a->kernel_px, padded_end = n_in + a->padding_px;
        int64_t padded = (end < padded_end ? end : padded_end) - first;
        first = first > 0 ? first : 0;
        end = end < n_in ? end : n_in;
        for (int64_t i = first; i < end; i++)
            add_tap(s, o, i, 1 / (float)(a->count_padding ? padded : end - first));
    }
out:
    return status;
}

typedef ac_status side_function(const ac_node *node, int64_t n_in, int64_t n_out, side *s);

static ac_status plan_with(side_function *make, ac_device *device, const ac_graph *graph, const ac_node *node, bool training, ac_kernel_plan *out)
{
    ac_status status = AC_OK;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    tables *t = NULL;
    AC_TRY(cpu_check_types(device, graph, node));
    AC_TRY(ac_calloc(1, sizeof *t, &t));
    AC_TRY(make(node, x->dim[1], y->dim[1], &t->rows));
    AC_TRY(make(node, x->dim[2], y->dim[2], &t->columns));
    if (training) {
        AC_TRY(transpose(&t->rows, x->dim[1], &t->back_rows));
        AC_TRY(transpose(&t->columns, x->dim[2], &t->back_columns));
    }
    out->state = t;
    t = NULL;
out:
    release(t);
    return status;
}

static ac_status plan_blur(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)wants;
    return plan_with(blur_side, device, graph, node, training, out);
}

static ac_status plan_average(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)wants;
    return plan_with(average_side, device, graph, node, training, out);
}

typedef struct sums { /* what is constant for a pass */
    const side *rows, *columns;
    const void *part[AC_MAX_DOUT]; /* read, the sum of all counts: [N, height, width, channels] */
    int n_parts;
    int64_t height, width, channels;
    void *out; /* [N, rows->n, columns->n, channels] */
    bool add;
} sums;

typedef struct pixel { /* one that is written */
    int64_t image, row, column; /* first row of its image in what is read; position */
    int64_t to;                 /* its first element */
} pixel;

/* n channels from c on; n_rows and n_columns taps. */
AC_INLINE void sum_lanes(const sums *w, const pixel *p, int64_t c, int n, int n_parts, int n_rows, int n_columns, bool bf16)
{
    const int32_t *row_at = w->rows->at + p->row * w->rows->most, *column_at = w->columns->at + p->column * w->columns->most;
    const float *row_weight = w->rows->weight + p->row * w->rows->most, *column_weight = w->columns->weight + p->column * w->columns->most;
    cpu_lanes sum = {0};
    if (w->add)
        sum = cpu_load_lanes(w->out, p->to + c, n, bf16);
    for (int k = 0; k < n_parts; k++)
        for (int r = 0; r < n_rows; r++)
            for (int s = 0; s < n_columns; s++) {
                int64_t i = ((p->image + row_at[r]) * w->width + column_at[s]) * w->channels + c;
                sum += cpu_load_lanes(w->part[k], i, n, bf16) * (row_weight[r] * column_weight[s]);
            }
    cpu_store_lanes(w->out, p->to + c, n, bf16, &sum);
}

AC_INLINE void sum_pixel(const sums *w, const pixel *p, int n_parts, int n_rows, int n_columns, bool bf16)
{
    int64_t channels = w->channels, whole = channels < CPU_LANES || w->add ? channels / CPU_LANES * CPU_LANES : channels; /* what is added to is read */
    for (int64_t c = 0; c < whole; c += CPU_LANES)
        sum_lanes(w, p, cpu_block_first(c, channels), CPU_LANES, n_parts, n_rows, n_columns, bf16);
    if (whole < channels)
        sum_lanes(w, p, whole, (int)(channels - whole), n_parts, n_rows, n_columns, bf16);
}

/* Addresses and weights stay in registers where the number of taps is a constant: the windows of 2 and 3 pixels, and their adjoints. */
AC_INLINE void sum_row(const sums *w, int64_t row, bool bf16)
{
    pixel p = {row / w->rows->n * w->height, row % w->rows->n, 0, row * w->columns->n * w->channels};
    int n_rows = w->rows->n_taps[p.row];
    for (; p.column < w->columns->n; p.column++, p.to += w->channels) {
        int n_columns = w->columns->n_taps[p.column], both = n_rows > 3 || n_columns > 3 || w->n_parts > 1 ? 0 : 4 * n_rows + n_columns;
        switch (both) {
        case 5: sum_pixel(w, &p, 1, 1, 1, bf16); break;
        case 6: sum_pixel(w, &p, 1, 1, 2, bf16); break;
        case 9: sum_pixel(w, &p, 1, 2, 1, bf16); break;
        case 10: sum_pixel(w, &p, 1, 2, 2, bf16); break;
        case 15: sum_pixel(w, &p, 1, 3, 3, bf16); break;
        default: sum_pixel(w, &p, w->n_parts, n_rows, n_columns, bf16); break;
        }
    }
}

AC_SIMD static void sum_row_of(ac_dtype dtype, const sums *w, int64_t row)
{
    if (dtype == AC_BF16)
        sum_row(w, row, true);
    else
        sum_row(w, row, false);
}

static ac_status forward(const ac_call *call)
{
    const tables *t = call->state;
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]), *y = ac_graph_shape(call->graph, call->node->output[0]);
    sums w = {&t->rows, &t->columns, {call->input[0]}, 1, x->dim[1], x->dim[2], x->dim[3], call->output[0], false};
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < y->dim[0] * y->dim[1]; row++)
        sum_row_of(x->dtype, &w, row);
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    const tables *t = call->state;
    const ac_shape *x = ac_graph_shape(call->graph, call->node->input[0]), *y = ac_graph_shape(call->graph, call->node->output[0]);
    sums w = {&t->back_rows, &t->back_columns, {0}, call->n_doutput, y->dim[1], y->dim[2], x->dim[3], call->dinput[0], call->add_dinput};
    for (int k = 0; k < call->n_doutput; k++)
        w.part[k] = call->doutput[k];
    if (!call->dinput[0])
        return AC_OK;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < x->dim[0] * x->dim[1]; row++)
        sum_row_of(x->dtype, &w, row);
    return AC_OK;
}

const ac_kernel ac_cpu_avg_pool = {.op = &ac_op_avg_pool, .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, .plan = plan_average, .release = release, .forward = forward, .backward = backward};
const ac_kernel ac_cpu_blur_pool = {.op = &ac_op_blur_pool, .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, .plan = plan_blur, .release = release, .forward = forward, .backward = backward};
