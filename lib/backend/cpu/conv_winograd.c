/* 3x3 convolution with stride 1 by Winograd's method. Forward and the input's gradient are the same filter with other
 * weights; each thread takes blocks of tiles whose transforms stay in its cache. The weights' gradient sums over all
 * tiles: they are transformed a chunk at a time, then multiplied by all threads.
 *
 * Gradients and inference use F(4x4, 3x3), a quarter of the multiplications. A training forward uses F(2x2, 3x3), 1 / 2.25
 * of them, whose rounding is that of a direct sum: with F(4x4)'s, a few times as large, more activations near zero
 * change sides at the ReLU that follows, and each of them is felt in the gradient. */
#include "backend/cpu/conv_avx512.h"
#include "backend/cpu/winograd_avx512.h"
#include <omp.h>
#include <string.h>

#if CPU_HAS_AVX512_CODE

enum {
    LANES = WINOGRAD_LANES,
    POSITIONS = WINOGRAD_POSITIONS,
    OUT = WINOGRAD_OUT,
    TAPS = 9,
    PAD = 16,             /* between positions, so that the 36 stores of a tile do not fall on the same lines of the cache */
    BLOCK_FLOATS = 150000, /* of one thread's transforms: most of a second-level cache */
    LEAST_TILES = 56,     /* in a block: below, reading the weights costs more than the products */
    CHUNK_FLOATS = 1 << 19, /* of the transforms that are multiplied together, and tiles they have at least */
    LEAST_CHUNK = 96,
    AHEAD = 1,            /* tiles from the one that is transformed to the one asked for from memory */
    BLOCK_K = 192         /* tiles a panel holds while it is in the nearest cache */
};

typedef struct filter {
    int64_t n, h, w, c, oh, ow, o, padding; /* image [n, h, w, c] to [n, oh, ow, o] */
    int out, in, n_positions;               /* side of a tile's outputs and inputs */
    int64_t tiles_y, tiles_x, n_tiles;
    int64_t c_lanes, o_lanes, o_panels; /* rounded up to 16; panels of 32 */
    int64_t block;                      /* tiles a thread transforms at a time */
} filter;

static filter finish_filter(filter f, int out, int n_threads)
{
    f.out = out;
    f.in = out + 2;
    f.n_positions = f.in * f.in;
    f.tiles_y = cpu_divide_up(f.oh, out);
    f.tiles_x = cpu_divide_up(f.ow, out);
    f.n_tiles = f.n * f.tiles_y * f.tiles_x;
    f.c_lanes = cpu_round_up(f.c, LANES);
    f.o_lanes = cpu_round_up(f.o, LANES);
    f.o_panels = cpu_divide_up(f.o, TILE_COLUMNS);
    int64_t most = BLOCK_FLOATS / (f.n_positions * (f.c_lanes + f.o_lanes));
    most = most < LEAST_TILES ? LEAST_TILES : most;
    int64_t n_blocks = cpu_round_up(cpu_divide_up(f.n_tiles, most), n_threads);
    f.block = cpu_divide_up(f.n_tiles, n_blocks);
    return f;
}

static filter forward_filter(const cpu_conv *c, int out)
{
    filter f = {.n = c->n, .h = c->h, .w = c->w, .c = c->c, .oh = c->oh, .ow = c->ow, .o = c->o, .padding = c->padding_px};
    return finish_filter(f, out, c->n_threads);
}

static filter data_filter(const cpu_conv *c)
{
    filter f = {.n = c->n, .h = c->oh, .w = c->ow, .c = c->o, .oh = c->h, .ow = c->w, .o = c->c, .padding = 2 - c->padding_px};
    return finish_filter(f, OUT, c->n_threads);
}

static int64_t weights_stride(const filter *f)
{
    return f->o_panels * f->c_lanes * TILE_COLUMNS + PAD;
}

static int64_t block_floats(const filter *f)
{
    return f->n_positions * (f->block * (f->c_lanes + f->o_lanes) + 2 * PAD);
}

/* The square of `side` pixels at (y, x), clipped to the image. Returns where its first pixel lies (or would lie). */
static const float *square_at(const float *image, int64_t n, int64_t y, int64_t x, int64_t h, int64_t w, int64_t c, int side, cpu_square *s)
{
    s->y0 = y < 0 ? (int)-y : 0;
    s->x0 = x < 0 ? (int)-x : 0;
    s->y1 = (int)cpu_min(side, h - y);
    s->x1 = (int)cpu_min(side, w - x);
    s->row_stride = w * c;
    s->pixel_stride = c;
    s->ahead = 0;
    return image + ((n * h + y) * w + x) * c;
}

typedef struct place {
    int64_t n, y, x; /* of a tile */
} place;

static place place_of(const filter *f, int64_t tile)
{
    return (place){tile / (f->tiles_y * f->tiles_x), tile / f->tiles_x % f->tiles_y, tile % f->tiles_x};
}

/* From one tile to another in an image of [n, h, w, c]. */
static int64_t distance(const filter *f, place from, place to, int64_t h, int64_t w, int64_t c)
{
    return (((to.n - from.n) * h + (to.y - from.y) * f->out) * w + (to.x - from.x) * f->out) * c;
}

/* Tile `t` of the image; channel block b of 16 goes to to + (b / per_row) * row + (b % per_row) * 16, up to `lanes`. */
static void transform_input(const filter *f, const float *image, int64_t t, int64_t lanes, int64_t per_row, int64_t row, float *to, int64_t stride)
{
    place p = place_of(f, t);
    cpu_square s;
    const float *at = square_at(image, p.n, p.y * f->out - f->padding, p.x * f->out - f->padding, f->h, f->w, f->c, f->in, &s);
    s.ahead = distance(f, p, place_of(f, cpu_min(t + AHEAD, f->n_tiles - 1)), f->h, f->w, f->c);
    for (int64_t c = 0, b = 0; c < lanes; c += LANES, b++) {
        s.n_channels = c < f->c ? (int)cpu_min(LANES, f->c - c) : 0;
        cpu_winograd_input(f->out, at + c, &s, to + b / per_row * row + b % per_row * LANES, stride);
    }
}

static void transform_block(const filter *f, const float *image, int64_t first, int64_t n, float *v, int64_t stride)
{
    for (int64_t t = 0; t < n; t++)
        transform_input(f, image, first + t, f->c_lanes, f->c_lanes, 0, v + t * f->c_lanes, stride);
}

static void multiply_block(const filter *f, const float *u, const float *v, int64_t v_stride, int64_t n, float *m, int64_t m_stride)
{
    float *rows[TILE_ROWS];
    int64_t n_strips = cpu_divide_up(n, TILE_ROWS);
    cpu_tile t = {.k = f->c_lanes, .n_runs = 1, .lda = f->c_lanes, .ldb = TILE_COLUMNS, .c = rows};
    for (int p = 0; p < f->n_positions; p++)
        for (int64_t panel = 0; panel < f->o_panels; panel++) {
            t.b = u + p * weights_stride(f) + panel * f->c_lanes * TILE_COLUMNS;
            t.n_columns = (int)cpu_min(TILE_COLUMNS, f->o_lanes - panel * TILE_COLUMNS);
            for (int64_t s = 0; s < n_strips; s++) {
                int64_t first = cpu_strip_begin(n, n_strips, s), end = cpu_strip_begin(n, n_strips, s + 1);
                t.a = v + p * v_stride + first * f->c_lanes;
                for (int64_t r = first; r < end; r++)
                    rows[r - first] = m + p * m_stride + r * f->o_lanes + panel * TILE_COLUMNS;
                cpu_tile_by_rows((int)(end - first), &t);
            }
        }
}

static void write_block(const filter *f, const float *m, int64_t stride, const cpu_finish *finish, int64_t first, int64_t n, float *out)
{
    cpu_finish at_channel = *finish;
    for (int64_t t = 0; t < n; t++) {
        place p = place_of(f, first + t);
        cpu_square s;
        float *at = (float *)square_at(out, p.n, p.y * f->out, p.x * f->out, f->oh, f->ow, f->o, f->out, &s);
        for (int64_t o = 0; o < f->o; o += LANES) {
            s.n_channels = (int)cpu_min(LANES, f->o - o);
            at_channel.shift = finish->shift ? finish->shift + o : NULL;
            cpu_winograd_output(f->out, m + t * f->o_lanes + o, stride, &at_channel, &s, at + o);
        }
    }
}

/* By all threads of the region, once `u` is whole. */
static void run_filter(const filter *f, const float *image, const float *u, const cpu_finish *finish, float *out, float *buffer)
{
    float *v = buffer, *m = v + f->n_positions * (f->block * f->c_lanes + PAD);
#pragma omp for schedule(dynamic)
    for (int64_t first = 0; first < f->n_tiles; first += f->block) {
        int64_t n = cpu_min(f->block, f->n_tiles - first), v_stride = n * f->c_lanes + PAD, m_stride = n * f->o_lanes + PAD;
        transform_block(f, image, first, n, v, v_stride);
        multiply_block(f, u, v, v_stride, n, m, m_stride);
        write_block(f, m, m_stride, finish, first, n, out);
    }
}

/* Weights [o, 3, 3, c] as panels of 32 o that run along c: 16 x 16 of each tap are transposed first. */
static void transform_weights(const filter *f, const float *weight, float *u)
{
    int64_t n_c = f->c_lanes / LANES, n_o = 2 * f->o_panels;
#pragma omp for schedule(static)
    for (int64_t task = 0; task < n_o * n_c; task++) {
        float taps[TAPS][LANES][LANES];
        int64_t o = task / n_c * LANES, c = task % n_c * LANES;
        int rows = (int)cpu_min(LANES, f->o - o), columns = (int)cpu_min(LANES, f->c - c);
        if (columns < LANES)
            memset(taps, 0, sizeof taps);
        for (int t = 0; t < TAPS; t++)
            cpu_transpose_16(weight + (o * TAPS + t) * f->c + c, TAPS * f->c, rows, columns, taps[t][0], LANES);
        float *to = u + (o / TILE_COLUMNS * f->c_lanes + c) * TILE_COLUMNS + o % TILE_COLUMNS;
        for (int i = 0; i < LANES; i++)
            cpu_winograd_weights(f->out, taps[0][i], LANES * LANES, LANES, to + i * TILE_COLUMNS, weights_stride(f));
    }
}

/* The same for the input's gradient, which runs along o: taps in reverse. */
static void transform_weights_reversed(const filter *f, const float *weight, float *u)
{
#pragma omp for schedule(static)
    for (int64_t k = 0; k < f->c_lanes; k++) /* the filter's input channels are the convolution's outputs */
        for (int64_t j = 0; j < f->o_panels * TILE_COLUMNS; j += LANES) {
            int n = k < f->c && j < f->o ? (int)cpu_min(LANES, f->o - j) : 0;
            cpu_winograd_weights(f->out, n ? weight + (k * TAPS + TAPS - 1) * f->o + j : weight, -f->o, n,
                                 u + (j / TILE_COLUMNS * f->c_lanes + k) * TILE_COLUMNS + j % TILE_COLUMNS, weights_stride(f));
        }
}

void cpu_winograd_forward(const cpu_conv *c, const float *x, const float *weight, const float *bias, float *y, void *workspace)
{
    filter f = forward_filter(c, 2);
    float *u = workspace, *buffers = u + f.n_positions * weights_stride(&f);
#pragma omp parallel num_threads(c->n_threads)
    {
        transform_weights(&f, weight, u);
        run_filter(&f, x, u, &(cpu_finish){bias, false, 1}, y, buffers + omp_get_thread_num() * block_floats(&f));
    }
}

size_t cpu_winograd_prepared_bytes(const cpu_conv *c)
{
    filter f = forward_filter(c, OUT);
    return (size_t)(f.n_positions * weights_stride(&f)) * sizeof(float);
}

void cpu_winograd_prepare(const cpu_conv *c, const float *weight, void *prepared)
{
    filter f = forward_filter(c, OUT);
#pragma omp parallel num_threads(c->n_threads)
    transform_weights(&f, weight, prepared);
}

void cpu_winograd_infer(const cpu_conv *c, const float *x, const void *prepared, const cpu_finish *finish, float *y, void *workspace)
{
    filter f = forward_filter(c, OUT);
    float *buffers = workspace;
#pragma omp parallel num_threads(c->n_threads)
    run_filter(&f, x, prepared, finish, y, buffers + omp_get_thread_num() * block_floats(&f));
}

void cpu_winograd_backward_data(const cpu_conv *c, const float *dy, const float *weight, float *dx, void *workspace)
{
    filter f = data_filter(c);
    float *u = workspace, *buffers = u + POSITIONS * weights_stride(&f);
#pragma omp parallel num_threads(c->n_threads)
    {
        transform_weights_reversed(&f, weight, u);
        run_filter(&f, dy, u, &(cpu_finish){NULL, false, 1}, dx, buffers + omp_get_thread_num() * block_floats(&f));
    }
}

/* The weights' gradient: v, m and du lie in panels of 32 channels, [position][panel][tile][32] and
 * [position][o panel][c panel][32][32]. */
typedef struct gradient {
    filter f;
    int64_t c_panels, chunk; /* tiles transformed before they are multiplied, by the shape alone */
    int64_t v_stride, m_stride, du_stride;
    float *v, *m, *du;
} gradient;

static gradient make_gradient(const cpu_conv *c, float *workspace)
{
    gradient g = {.f = forward_filter(c, OUT), .c_panels = cpu_divide_up(c->c, TILE_COLUMNS)};
    int64_t n_panels = g.c_panels + g.f.o_panels, most = CHUNK_FLOATS / (POSITIONS * n_panels * TILE_COLUMNS);
    g.chunk = cpu_divide_up(g.f.n_tiles, cpu_divide_up(g.f.n_tiles, most < LEAST_CHUNK ? LEAST_CHUNK : most));
    g.v_stride = g.c_panels * g.chunk * TILE_COLUMNS + PAD;
    g.m_stride = g.f.o_panels * g.chunk * TILE_COLUMNS + PAD;
    g.du_stride = g.f.o_panels * g.c_panels * TILE_COLUMNS * TILE_COLUMNS + PAD;
    g.v = workspace;
    g.m = g.v + POSITIONS * g.v_stride;
    g.du = g.m + POSITIONS * g.m_stride;
    return g;
}

static void transform_chunk(const gradient *g, const float *x, const float *dy, int64_t first, int64_t n)
{
    const filter *f = &g->f;
    int64_t row = n * TILE_COLUMNS;
#pragma omp for schedule(dynamic, 4)
    for (int64_t t = 0; t < n; t++) {
        place p = place_of(f, first + t);
        cpu_square s;
        transform_input(f, x, first + t, g->c_panels * TILE_COLUMNS, 2, row, g->v + t * TILE_COLUMNS, g->v_stride);
        const float *at = square_at(dy, p.n, p.y * OUT, p.x * OUT, f->oh, f->ow, f->o, OUT, &s);
        s.ahead = distance(f, p, place_of(f, cpu_min(first + t + AHEAD, f->n_tiles - 1)), f->oh, f->ow, f->o);
        for (int64_t o = 0, b = 0; o < f->o_lanes; o += LANES, b++) {
            s.n_channels = (int)cpu_min(LANES, f->o - o);
            cpu_winograd_gradient(at + o, &s, g->m + b / 2 * row + t * TILE_COLUMNS + b % 2 * LANES, g->m_stride);
        }
    }
}

/* 32 x 32 weights at one position, summed over the chunk. */
static void multiply_panels(const gradient *g, int64_t p, int64_t o, int64_t c, int64_t n, bool add)
{
    float *rows[TILE_ROWS], *du = g->du + p * g->du_stride + (o * g->c_panels + c) * TILE_COLUMNS * TILE_COLUMNS;
    int64_t height = cpu_min(TILE_COLUMNS, g->f.o - o * TILE_COLUMNS), n_strips = cpu_divide_up(height, TILE_ROWS);
    int64_t n_steps = cpu_divide_up(n, BLOCK_K);
    for (int64_t step = 0; step < n_steps; step++) {
        int64_t k = cpu_strip_begin(n, n_steps, step);
        cpu_tile t = {.k = cpu_strip_begin(n, n_steps, step + 1) - k, .n_runs = 1, .lda = TILE_COLUMNS, .ldb = TILE_COLUMNS, .c = rows,
                      .b = g->v + p * g->v_stride + (c * n + k) * TILE_COLUMNS, .n_columns = TILE_COLUMNS, .add = add || step > 0};
        for (int64_t s = 0; s < n_strips; s++) {
            int64_t first = cpu_strip_begin(height, n_strips, s), end = cpu_strip_begin(height, n_strips, s + 1);
            t.a = g->m + p * g->m_stride + (o * n + k) * TILE_COLUMNS + first;
            for (int64_t r = first; r < end; r++)
                rows[r - first] = du + r * TILE_COLUMNS;
            cpu_tile_by_columns((int)(end - first), &t);
        }
    }
}

static void write_weights_gradient(const gradient *g, bool add, float *dweight)
{
    const filter *f = &g->f;
#pragma omp for schedule(static)
    for (int64_t o = 0; o < f->o; o++)
        for (int64_t c = 0; c < f->c; c += LANES) {
            int64_t panel = o / TILE_COLUMNS * g->c_panels + c / TILE_COLUMNS;
            const float *from = g->du + (panel * TILE_COLUMNS + o % TILE_COLUMNS) * TILE_COLUMNS + c % TILE_COLUMNS;
            cpu_winograd_weights_gradient(from, g->du_stride, (int)cpu_min(LANES, f->c - c), add, dweight + o * TAPS * f->c + c, f->c);
        }
}

void cpu_winograd_backward_weights(const cpu_conv *c, const float *x, const float *dy, bool add, float *dweight, void *workspace)
{
    gradient g = make_gradient(c, workspace);
    const filter *f = &g.f;
#pragma omp parallel num_threads(c->n_threads)
    {
        for (int64_t first = 0; first < f->n_tiles; first += g.chunk) {
            int64_t n = cpu_min(g.chunk, f->n_tiles - first);
            transform_chunk(&g, x, dy, first, n);
#pragma omp for schedule(dynamic, 4)
            for (int64_t task = 0; task < POSITIONS * f->o_panels * g.c_panels; task++)
                multiply_panels(&g, task / (f->o_panels * g.c_panels), task / g.c_panels % f->o_panels, task % g.c_panels, n, first > 0);
        }
        write_weights_gradient(&g, add, dweight);
    }
}

size_t cpu_winograd_infer_bytes(const cpu_conv *c)
{
    filter f = forward_filter(c, OUT);
    return (size_t)(c->n_threads * block_floats(&f)) * sizeof(float);
}

size_t cpu_winograd_bytes(const cpu_conv *c)
{
    filter f = forward_filter(c, 2), d = data_filter(c);
    gradient g = make_gradient(c, NULL);
    int64_t most = f.n_positions * weights_stride(&f) + c->n_threads * block_floats(&f);
    int64_t data = POSITIONS * weights_stride(&d) + c->n_threads * block_floats(&d);
    int64_t weights = POSITIONS * (g.v_stride + g.m_stride + g.du_stride);
    most = data > most ? data : most;
    most = weights > most ? weights : most;
    return (size_t)most * sizeof(float);
}
#endif
