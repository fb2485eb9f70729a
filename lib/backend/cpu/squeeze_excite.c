/* squeeze_excite: two passes over memory forward (average, then scale) and two backward; between them the gate, an image at a time.
 * With as many images as threads a thread takes an image through both passes, while it is in the cache; with fewer, or where the
 * weights are larger than an image, the threads share each pass. Sums are made over tiles whose size depends on the shape alone, and added in order. */
#include "anyclass/activation_formula.h"
#include "backend/cpu/lanes.h"

enum { TILE_ELEMENTS = 1 << 15, LONGEST_ROW = 4096 };

typedef struct sizes {
    int64_t n, pixels, channels, hidden;
    int64_t row;       /* elements done at a time: pixels that make whole vectors together, so that 76 channels leave no rest in each */
    int64_t tile, n_tiles; /* elements of an image's tile, a multiple of row; tiles of an image */
    bool bf16, silu, relu;
    bool is_wide; /* the weights are larger than an image: they are read once for all images, not once for each */
} sizes;

static sizes sizes_of(const ac_graph *graph, const ac_node *node)
{
    const ac_squeeze_excite_attribute *a = (const void *)node->attribute;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    sizes s = {.n = x->dim[0], .pixels = x->dim[1] * x->dim[2], .channels = x->dim[3], .hidden = a->hidden_channels, .row = x->dim[3],
               .bf16 = x->dtype == AC_BF16, .silu = a->inner == AC_ACTIVATION_SILU, .relu = a->outer == AC_ACTIVATION_RELU};
    while (s.row % CPU_LANES && s.row * 2 <= LONGEST_ROW)
        s.row *= 2;
    s.tile = (TILE_ELEMENTS + s.row - 1) / s.row * s.row;
    s.n_tiles = (s.pixels * s.channels + s.tile - 1) / s.tile;
    s.is_wide = 2 * s.hidden > s.pixels;
    return s;
}

typedef struct buffers { /* in the workspace, each row of an image apart */
    float *partial;      /* [N, n_tiles, row] */
    float *scale, *shift; /* [N, row]: what an element is multiplied with; what is added (backward) */
    float *average, *before, *gate; /* [N, channels | hidden | channels], of inference */
    float *active;       /* [N, hidden]: f(before) */
    float *dsum, *dhidden; /* [N, channels | hidden]: gradients of what goes into the sigmoid and into f */
    float *spread;       /* [N, channels]: the gradient of the average */
} buffers;

static size_t place(const sizes *s, float *at, buffers *out)
{
    struct {
        float **to;
        int64_t n;
    } part[] = {{&out->partial, s->n_tiles * s->row}, {&out->scale, s->row},      {&out->shift, s->row},    {&out->average, s->channels}, {&out->before, s->hidden},
                {&out->gate, s->channels},            {&out->active, s->hidden},  {&out->dsum, s->channels}, {&out->dhidden, s->hidden},  {&out->spread, s->channels}};
    size_t used = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        *part[i].to = at ? at + used : NULL;
        used += (size_t)((s->n * part[i].n + CPU_LANES - 1) / CPU_LANES * CPU_LANES);
    }
    return used * sizeof(float);
}

typedef struct job { /* a call, unpacked */
    sizes s;
    buffers b;
    const ac_call *call;
    float *average, *before, *gate; /* saved, or in the workspace */
} job;

static job job_of(const ac_call *call)
{
    job j = {.s = sizes_of(call->graph, call->node), .call = call};
    place(&j.s, call->workspace, &j.b);
    j.average = call->saved[0] ? call->saved[0] : j.b.average;
    j.before = call->saved[1] ? call->saved[1] : j.b.before;
    j.gate = call->saved[2] ? call->saved[2] : j.b.gate;
    return j;
}

/* Elements [first, end) of tile `tile` of image n, in all of the tensor. */
static int64_t tile_first(const sizes *s, int64_t n, int64_t tile)
{
    return n * s->pixels * s->channels + tile * s->tile;
}

static int64_t tile_end(const sizes *s, int64_t n, int64_t tile)
{
    return tile + 1 < s->n_tiles ? tile_first(s, n, tile + 1) : (n + 1) * s->pixels * s->channels;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

AC_INLINE void sum_rows(const void *x, int64_t first, int64_t end, int64_t row, bool bf16, float *restrict sum)
{
    for (int64_t c = 0; c < row; c++)
        sum[c] = 0;
    for (int64_t i = first; i < end; i += row) {
        int64_t n = least(row, end - i);
#pragma omp simd
        for (int64_t c = 0; c < n; c++)
            sum[c] += cpu_load(x, i + c, bf16);
    }
}

AC_SIMD static void sum_tile(const job *j, int64_t n, int64_t tile)
{
    const sizes *s = &j->s;
    float *sum = j->b.partial + (n * s->n_tiles + tile) * s->row;
    if (s->bf16)
        sum_rows(j->call->input[0], tile_first(s, n, tile), tile_end(s, n, tile), s->row, true, sum);
    else
        sum_rows(j->call->input[0], tile_first(s, n, tile), tile_end(s, n, tile), s->row, false, sum);
}

/* Sum over the tiles of image n, channel by channel, times `factor`. */
static void fold_tiles(const job *j, int64_t n, double factor, float *out)
{
    const sizes *s = &j->s;
    for (int64_t c = 0; c < s->channels; c++) {
        double sum = 0;
        for (int64_t t = 0; t < s->n_tiles; t++)
            for (int64_t i = c; i < s->row; i += s->channels)
                sum += (double)j->b.partial[(n * s->n_tiles + t) * s->row + i];
        out[c] = (float)(sum * factor);
    }
}

static void repeat(const sizes *s, const float *values, float factor, float *row)
{
    for (int64_t i = 0; i < s->row; i += s->channels)
        for (int64_t c = 0; c < s->channels; c++)
            row[i + c] = values[c] * factor;
}

/* Four vectors of sums, so that no addition waits for the one before it. */
AC_SIMD static float dot(const float *a, const float *b, int64_t n)
{
    cpu_lanes part[4] = {{0}};
    int64_t i = 0;
    for (; i + 4 * CPU_LANES <= n; i += 4 * CPU_LANES)
        for (int k = 0; k < 4; k++)
            part[k] += cpu_load_lanes(a, i + k * CPU_LANES, CPU_LANES, false) * cpu_load_lanes(b, i + k * CPU_LANES, CPU_LANES, false);
    for (; i + CPU_LANES <= n; i += CPU_LANES)
        part[0] += cpu_load_lanes(a, i, CPU_LANES, false) * cpu_load_lanes(b, i, CPU_LANES, false);
    float rest = 0;
    for (; i < n; i++)
        rest += a[i] * b[i];
    part[0] = (part[0] + part[1]) + (part[2] + part[3]);
    float sum = 0;
    for (int k = 0; k < CPU_LANES; k++)
        sum += part[0][k];
    return sum + rest;
}

/* y += a x */
AC_SIMD static void add_scaled(float *restrict y, float a, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

static float inner(const sizes *s, float v)
{
    return s->silu ? ac_silu(v) : v < 0 ? 0 : v;
}

static float inner_slope(const sizes *s, float v)
{
    return s->silu ? ac_silu_slope(v) : v <= 0 ? 0 : 1;
}

typedef struct range {
    int64_t first, end;
} range;

/* Hidden channel h, then channel c of the gate, of some images: a row of the weights is read once for them. */
static void make_hidden(const job *j, int64_t h, range images)
{
    const sizes *s = &j->s;
    const float *w1 = (const float *)j->call->param[0] + h * s->channels, *b1 = j->call->param[1];
    for (int64_t n = images.first; n < images.end; n++) {
        float v = b1[h] + dot(w1, j->average + n * s->channels, s->channels);
        j->before[n * s->hidden + h] = v;
        j->b.active[n * s->hidden + h] = inner(s, v);
    }
}

static void make_gate_of(const job *j, int64_t c, range images)
{
    const sizes *s = &j->s;
    const float *w2 = (const float *)j->call->param[2] + c * s->hidden, *b2 = j->call->param[3];
    for (int64_t n = images.first; n < images.end; n++)
        j->gate[n * s->channels + c] = ac_sigmoid(b2[c] + dot(w2, j->b.active + n * s->hidden, s->hidden));
}

static void average_image(const job *j, int64_t n)
{
    fold_tiles(j, n, 1 / (double)j->s.pixels, j->average + n * j->s.channels);
}

static void repeat_gate(const job *j, int64_t n)
{
    repeat(&j->s, j->gate + n * j->s.channels, 1, j->b.scale + n * j->s.row);
}

static void make_gate(const job *j, int64_t n)
{
    average_image(j, n);
    for (int64_t h = 0; h < j->s.hidden; h++)
        make_hidden(j, h, (range){n, n + 1});
    for (int64_t c = 0; c < j->s.channels; c++)
        make_gate_of(j, c, (range){n, n + 1});
    repeat_gate(j, n);
}

static void make_all_gates(const job *j)
{
    range all = {0, j->s.n};
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < all.end; n++)
        average_image(j, n);
#pragma omp parallel for schedule(static)
    for (int64_t h = 0; h < j->s.hidden; h++)
        make_hidden(j, h, all);
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < j->s.channels; c++)
        make_gate_of(j, c, all);
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < all.end; n++)
        repeat_gate(j, n);
}

AC_INLINE void scale_rows(const void *x, const void *residual, int64_t first, int64_t end, int64_t row, const float *scale, bool with_residual, bool relu,
                          bool bf16, void *y)
{
    for (int64_t i = first; i < end; i += row) {
        int64_t n = least(row, end - i);
#pragma omp simd
        for (int64_t c = 0; c < n; c++) {
            float v = cpu_load(x, i + c, bf16) * scale[c];
            if (with_residual)
                v += cpu_load(residual, i + c, bf16);
            if (relu)
                v = v < 0 ? 0 : v;
            cpu_store(y, i + c, v, bf16);
        }
    }
}

AC_SIMD static void scale_tile(const job *j, int64_t n, int64_t tile)
{
    const sizes *s = &j->s;
    const void *x = j->call->input[0], *residual = j->call->node->n_inputs > 1 ? j->call->input[1] : NULL;
    const float *scale = j->b.scale + n * s->row;
    int64_t first = tile_first(s, n, tile), end = tile_end(s, n, tile);
    void *y = j->call->output[0];
#define SCALE(with_residual, relu, bf16) scale_rows(x, residual, first, end, s->row, scale, with_residual, relu, bf16, y)
    switch (4 * s->bf16 + 2 * s->relu + (residual != NULL)) {
    case 0: SCALE(false, false, false); break;
    case 1: SCALE(true, false, false); break;
    case 2: SCALE(false, true, false); break;
    case 3: SCALE(true, true, false); break;
    case 4: SCALE(false, false, true); break;
    case 5: SCALE(true, false, true); break;
    case 6: SCALE(false, true, true); break;
    default: SCALE(true, true, true); break;
    }
#undef SCALE
}

typedef void tile_function(const job *j, int64_t n, int64_t tile);

static void run_tiles(const job *j, tile_function *pass)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < j->s.n * j->s.n_tiles; i++)
        pass(j, i / j->s.n_tiles, i % j->s.n_tiles);
}

/* First pass, what is between, second pass: an image per thread, or all images. */
static void run(const job *j, tile_function *first, void (*between)(const job *, int64_t), void (*between_all)(const job *), tile_function *second)
{
    if (j->s.is_wide || j->s.n < ((const cpu_device *)j->call->device)->n_threads) {
        run_tiles(j, first);
        between_all(j);
        run_tiles(j, second);
        return;
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t n = 0; n < j->s.n; n++) {
        for (int64_t t = 0; t < j->s.n_tiles; t++)
            first(j, n, t);
        between(j, n);
        for (int64_t t = 0; t < j->s.n_tiles; t++)
            second(j, n, t);
    }
}

static ac_status forward(const ac_call *call)
{
    job j = job_of(call);
    run(&j, sum_tile, make_gate, make_all_gates, scale_tile);
    return AC_OK;
}

typedef struct gradient { /* of what the outer activation is applied to: the sum of the parts where y is above 0 */
    const void *part[AC_MAX_DOUT];
    int n_parts;
    const void *y; /* NULL: no activation */
} gradient;

static gradient gradient_of(const job *j)
{
    gradient g = {.n_parts = j->call->n_doutput, .y = j->s.relu ? j->call->output[0] : NULL};
    for (int k = 0; k < g.n_parts; k++)
        g.part[k] = j->call->doutput[k];
    return g;
}

AC_INLINE float gradient_at(const gradient *g, int64_t i, int n_parts, bool relu, bool bf16)
{
    float v = cpu_load(g->part[0], i, bf16);
    if (n_parts > 1)
        v += cpu_load(g->part[1], i, bf16);
    if (n_parts > 2)
        v += cpu_load(g->part[2], i, bf16);
    return relu && cpu_load(g->y, i, bf16) <= 0 ? 0 : v;
}

AC_INLINE void sum_gradient_rows(const gradient *given, const void *x, int64_t first, int64_t end, int64_t row, int n_parts, bool relu, bool keep, bool bf16,
                                 void *kept, float *restrict sum)
{
    const gradient g = *given;
    for (int64_t c = 0; c < row; c++)
        sum[c] = 0;
    for (int64_t i = first; i < end; i += row) {
        int64_t n = least(row, end - i);
#pragma omp simd
        for (int64_t c = 0; c < n; c++) {
            float v = gradient_at(&g, i + c, n_parts, relu, bf16);
            if (keep)
                cpu_store(kept, i + c, v, bf16);
            sum[c] += v * cpu_load(x, i + c, bf16);
        }
    }
}

/* `loop` with the number of parts, activation, and a third property as constants. */
#define FOR_EACH_KIND(loop, n_parts, relu, third, bf16)                                                                \
    switch (4 * ((n_parts)-1) + 2 * (relu) + (third)) {                                                                \
    case 0: loop(1, false, false, bf16); break;                                                                        \
    case 1: loop(1, false, true, bf16); break;                                                                         \
    case 2: loop(1, true, false, bf16); break;                                                                         \
    case 3: loop(1, true, true, bf16); break;                                                                          \
    case 4: loop(2, false, false, bf16); break;                                                                        \
    case 5: loop(2, false, true, bf16); break;                                                                         \
    case 6: loop(2, true, false, bf16); break;                                                                         \
    case 7: loop(2, true, true, bf16); break;                                                                          \
    case 8: loop(3, false, false, bf16); break;                                                                        \
    case 9: loop(3, false, true, bf16); break;                                                                         \
    case 10: loop(3, true, false, bf16); break;                                                                        \
    default: loop(3, true, true, bf16); break;                                                                         \
    }

AC_SIMD static void sum_gradient_tile(const job *j, int64_t n, int64_t tile)
{
    const sizes *s = &j->s;
    gradient g = gradient_of(j);
    int64_t first = tile_first(s, n, tile), end = tile_end(s, n, tile);
    float *sum = j->b.partial + (n * s->n_tiles + tile) * s->row;
    const void *x = j->call->input[0];
    void *kept = j->call->dinput[1];
#define SUM(n_parts, relu, keep, bf16) sum_gradient_rows(&g, x, first, end, s->row, n_parts, relu, keep, bf16, kept, sum)
    if (s->bf16)
        FOR_EACH_KIND(SUM, g.n_parts, s->relu, kept != NULL, true)
    else
        FOR_EACH_KIND(SUM, g.n_parts, s->relu, kept != NULL, false)
#undef SUM
}

/* out[n, columns] = sum over the rows, in order, of d[n, row] w[row, columns], of some images. */
AC_SIMD static void sum_weight_rows(const float *d, int64_t n_rows, const float *w, int64_t n_columns, range images, range columns, float *out)
{
    for (int64_t n = images.first; n < images.end; n++)
        for (int64_t c = columns.first; c < columns.end; c++)
            out[n * n_columns + c] = 0;
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t n = images.first; n < images.end; n++) {
            float *restrict to = out + n * n_columns;
            const float *restrict from = w + r * n_columns, factor = d[n * n_rows + r];
            for (int64_t c = columns.first; c < columns.end; c++)
                to[c] += factor * from[c];
        }
}

static void begin_gate_gradient(const job *j, int64_t n)
{
    const sizes *s = &j->s;
    const float *gate = j->gate + n * s->channels, *before = j->before + n * s->hidden;
    float *dsum = j->b.dsum + n * s->channels;
    fold_tiles(j, n, 1, dsum);
    for (int64_t c = 0; c < s->channels; c++)
        dsum[c] *= gate[c] * (1 - gate[c]);
    for (int64_t h = 0; h < s->hidden; h++)
        j->b.active[n * s->hidden + h] = inner(s, before[h]);
    repeat_gate(j, n);
}

static void backward_hidden(const job *j, range images, range columns)
{
    const sizes *s = &j->s;
    sum_weight_rows(j->b.dsum, s->channels, j->call->param[2], s->hidden, images, columns, j->b.dhidden);
    for (int64_t n = images.first; n < images.end; n++)
        for (int64_t h = columns.first; h < columns.end; h++)
            j->b.dhidden[n * s->hidden + h] *= inner_slope(s, j->before[n * s->hidden + h]);
}

static void backward_average(const job *j, range images, range columns)
{
    sum_weight_rows(j->b.dhidden, j->s.hidden, j->call->param[0], j->s.channels, images, columns, j->b.spread);
}

static void repeat_spread(const job *j, int64_t n)
{
    repeat(&j->s, j->b.spread + n * j->s.channels, 1 / (float)j->s.pixels, j->b.shift + n * j->s.row);
}

static void backward_gate(const job *j, int64_t n)
{
    range image = {n, n + 1};
    begin_gate_gradient(j, n);
    backward_hidden(j, image, (range){0, j->s.hidden});
    backward_average(j, image, (range){0, j->s.channels});
    repeat_spread(j, n);
}

static void backward_all_gates(const job *j)
{
    enum { COLUMNS = 64 };
    const sizes *s = &j->s;
    range all = {0, s->n};
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < all.end; n++)
        begin_gate_gradient(j, n);
#pragma omp parallel for schedule(static)
    for (int64_t h = 0; h < s->hidden; h += COLUMNS)
        backward_hidden(j, all, (range){h, least(h + COLUMNS, s->hidden)});
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < s->channels; c += COLUMNS)
        backward_average(j, all, (range){c, least(c + COLUMNS, s->channels)});
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < all.end; n++)
        repeat_spread(j, n);
}

AC_INLINE void write_gradient_rows(const gradient *given, int64_t first, int64_t end, int64_t row, const float *scale, const float *shift, int n_parts,
                                   bool relu, bool add, bool bf16, void *dx)
{
    const gradient g = *given;
    for (int64_t i = first; i < end; i += row) {
        int64_t n = least(row, end - i);
#pragma omp simd
        for (int64_t c = 0; c < n; c++) {
            float v = gradient_at(&g, i + c, n_parts, relu, bf16) * scale[c] + shift[c];
            if (add)
                v += cpu_load(dx, i + c, bf16);
            cpu_store(dx, i + c, v, bf16);
        }
    }
}

AC_SIMD static void write_gradient_tile(const job *j, int64_t n, int64_t tile)
{
    const sizes *s = &j->s;
    gradient g = gradient_of(j);
    bool relu = s->relu, add = j->call->add_dinput;
    int64_t first = tile_first(s, n, tile), end = tile_end(s, n, tile);
    const float *scale = j->b.scale + n * s->row, *shift = j->b.shift + n * s->row;
    void *dx = j->call->dinput[0];
    if (!dx)
        return;
    if (j->call->dinput[1]) { /* it is there, summed and masked */
        g = (gradient){{j->call->dinput[1]}, 1, NULL};
        relu = false;
    }
#define WRITE(n_parts, relu, add, bf16) write_gradient_rows(&g, first, end, s->row, scale, shift, n_parts, relu, add, bf16, dx)
    if (s->bf16)
        FOR_EACH_KIND(WRITE, g.n_parts, relu, add, true)
    else
        FOR_EACH_KIND(WRITE, g.n_parts, relu, add, false)
#undef WRITE
}

/* dweight [n_rows, n_columns] and dbias [n_rows]: sums over the images, in order, of d [N, n_rows] times v [N, n_columns]. */
static void backward_weights(const job *j, int64_t n_rows, int64_t n_columns, const float *d, const float *v, float *dweight, float *dbias)
{
    bool add = j->call->accumulate;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < n_rows; r++) {
        float *row = dweight + r * n_columns;
        for (int64_t c = 0; c < n_columns && !add; c++)
            row[c] = 0;
        dbias[r] = add ? dbias[r] : 0;
        for (int64_t n = 0; n < j->s.n; n++) {
            add_scaled(row, d[n * n_rows + r], v + n * n_columns, n_columns);
            dbias[r] += d[n * n_rows + r];
        }
    }
}

static ac_status backward(const ac_call *call)
{
    job j = job_of(call);
    run(&j, sum_gradient_tile, backward_gate, backward_all_gates, write_gradient_tile);
    backward_weights(&j, j.s.hidden, j.s.channels, j.b.dhidden, j.average, call->param_gradient[0], call->param_gradient[1]);
    backward_weights(&j, j.s.channels, j.s.hidden, j.b.dsum, j.b.active, call->param_gradient[2], call->param_gradient[3]);
    return AC_OK;
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants;
    sizes s = sizes_of(graph, node);
    buffers b;
    out->workspace_bytes = place(&s, NULL, &b);
    return cpu_check_types(device, graph, node);
}

const ac_kernel ac_cpu_squeeze_excite = {
    .op = &ac_op_squeeze_excite,
    .flags = AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT | AC_KERNEL_INPLACE_FORWARD | AC_KERNEL_INPLACE_BACKWARD,
    .plan = plan,
    .forward = forward,
    .backward = backward,
};
