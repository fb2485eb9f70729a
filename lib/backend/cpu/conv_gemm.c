/* Convolution as a matrix product. A row of the left side is what one output pixel sees: a few runs of numbers that lie
 * together in the image, copied into a small buffer when its block is multiplied, or used where they are. The gradient
 * of the input is the same product once per class of pixels that meet the same taps (stride^2 classes). */
#include "backend/cpu/conv_avx512.h"
#include <omp.h>
#include <string.h>

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

enum {
    LANES = 16,
    BLOCK_K = 192,       /* a panel of b of this depth and a strip of a lie in the nearest cache */
    BLOCK_ROWS = 168,    /* of a: in the second cache */
    BLOCK_COLUMNS = 512,
    BLOCK_SIDE = 256,    /* of the weights' gradient */
    N_PIECES = 32,       /* the weights' gradient is made of about so many independent parts */
    DIRECT_CHANNELS = 512, /* from here on rows of the image would fall on the same lines of the nearest cache */
    A_STRIDE = BLOCK_K + TILE_PAD
};

/* Rows of the left side: pixel (y, x) of image n sees taps_y x taps_x pixels from (y * step + first_y, x * step +
 * first_x) on; outside the image there are zeros. */
typedef struct gather {
    const float *image;
    int64_t h, w, c;
    int64_t taps_y, taps_x, step, first_y, first_x;
    int64_t rows_y, rows_x, n_rows; /* of one image; of all */
    int64_t k;                      /* numbers in a row */
    bool direct;                    /* row r is image + r * c */
} gather;

typedef struct product {
    gather a;
    const float *b;                       /* panels [k][TILE_COLUMNS] */
    const float *bias;                    /* NULL: none */
    float *out;
    int64_t out_h, out_w, columns, out_step, out_y, out_x; /* pixel (y, x) goes to (y * out_step + out_y, x * out_step + out_x) */
} product;

typedef struct pixel {
    int64_t n, y, x;
} pixel;

static pixel pixel_of(const gather *g, int64_t row)
{
    return (pixel){row / (g->rows_y * g->rows_x), row / g->rows_x % g->rows_y, row % g->rows_x};
}

static void next_pixel(const gather *g, pixel *p)
{
    if (++p->x < g->rows_x)
        return;
    p->x = 0;
    if (++p->y < g->rows_y)
        return;
    p->y = 0;
    p->n++;
}

static inline CPU_AVX512 void copy(float *to, const float *from, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_ps(to + i, _mm512_loadu_ps(from + i));
    if (i < n) {
        __mmask16 rest = (__mmask16)((1u << (n - i)) - 1);
        _mm512_mask_storeu_ps(to + i, rest, _mm512_maskz_loadu_ps(rest, from + i));
    }
}

static inline CPU_AVX512 void clear(float *to, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES)
        _mm512_mask_storeu_ps(to + i, (__mmask16)(n - i < LANES ? (1u << (n - i)) - 1 : 0xffff), _mm512_setzero_ps());
}

/* Numbers k0 .. k1 of the row of one pixel. The taps of one kernel row are neighbours in the image. */
static CPU_AVX512 void gather_row(const gather *g, pixel p, int64_t k0, int64_t k1, float *to)
{
    int64_t run = g->taps_x * g->c, x0 = p.x * g->step + g->first_x;
    int64_t from = x0 < 0 ? -x0 * g->c : 0, till = x0 + g->taps_x > g->w ? (g->w - x0) * g->c : run;
    for (int64_t ky = k0 / run, at = k0 - ky * run; k0 < k1; ky++, at = 0) {
        int64_t y = p.y * g->step + g->first_y + ky, end = cpu_min(run, at + k1 - k0);
        k0 += end - at;
        if (y < 0 || y >= g->h || from >= till) {
            clear(to, end - at);
            to += end - at;
            continue;
        }
        int64_t a = from < at ? at : cpu_min(from, end), b = till > end ? end : till < a ? a : till;
        clear(to, a - at);
        copy(to + (a - at), g->image + ((p.n * g->h + y) * g->w + x0) * g->c + a, b - a);
        clear(to + (b - at), end - b);
        to += end - at;
    }
}

static float *out_row(const product *p, pixel at)
{
    return p->out + ((at.n * p->out_h + at.y * p->out_step + p->out_y) * p->out_w + at.x * p->out_step + p->out_x) * p->columns;
}

/* What a row starts from where there is no product to start it: the bias, or nothing at all behind it. */
static CPU_AVX512 void start_rows(const product *p, float *const *rows, int64_t n_rows, int64_t column, int64_t n_columns)
{
    for (int64_t r = 0; r < n_rows; r++)
        if (p->bias)
            copy(rows[r] + column, p->bias + column, n_columns);
        else
            clear(rows[r] + column, n_columns);
}

/* One block of rows and columns; `buffer` holds [BLOCK_ROWS][A_STRIDE]. */
static void multiply_block(const product *p, int64_t row, int64_t n_rows, int64_t column, int64_t end, float *buffer)
{
    float *rows[BLOCK_ROWS], *c[TILE_ROWS];
    pixel at[BLOCK_ROWS];
    int64_t k = p->a.k, n_blocks = cpu_divide_up(k, BLOCK_K), n_strips = cpu_divide_up(n_rows, TILE_ROWS);
    at[0] = pixel_of(&p->a, row);
    for (int64_t r = 0; r < n_rows; r++) {
        rows[r] = out_row(p, at[r]);
        if (r + 1 < n_rows) {
            at[r + 1] = at[r];
            next_pixel(&p->a, &at[r + 1]);
        }
    }
    if (p->bias || k == 0)
        start_rows(p, rows, n_rows, column, end - column);
    for (int64_t block = 0; block < n_blocks; block++) {
        int64_t k0 = cpu_strip_begin(k, n_blocks, block), k1 = cpu_strip_begin(k, n_blocks, block + 1);
        for (int64_t r = 0; !p->a.direct && r < n_rows; r++)
            gather_row(&p->a, at[r], k0, k1, buffer + r * A_STRIDE);
        cpu_tile t = {.k = k1 - k0, .lda = p->a.direct ? p->a.c : A_STRIDE, .ldb = TILE_COLUMNS, .c = c, .add = p->bias || block > 0};
        for (int64_t j = column; j < end; j += TILE_COLUMNS) {
            t.b = p->b + j * k + k0 * TILE_COLUMNS;
            t.n_columns = (int)cpu_min(TILE_COLUMNS, end - j);
            for (int64_t s = 0; s < n_strips; s++) {
                int64_t r0 = cpu_strip_begin(n_rows, n_strips, s), r1 = cpu_strip_begin(n_rows, n_strips, s + 1);
                t.a = p->a.direct ? p->a.image + (row + r0) * p->a.c + k0 : buffer + r0 * A_STRIDE;
                for (int64_t r = r0; r < r1; r++)
                    c[r - r0] = rows[r] + j;
                cpu_tile_by_rows((int)(r1 - r0), &t);
            }
        }
    }
}

/* By all threads of the region; nobody waits at the end. */
static void multiply(const product *p, int n_threads, float *buffer)
{
    int64_t n_row_blocks = cpu_divide_up(p->a.n_rows, BLOCK_ROWS), n_column_blocks = cpu_divide_up(p->columns, BLOCK_COLUMNS);
    int64_t n_panels = cpu_divide_up(p->columns, TILE_COLUMNS);
    if (n_row_blocks * n_column_blocks < 4 * n_threads)
        n_column_blocks = cpu_min(cpu_divide_up(4 * n_threads, n_row_blocks), cpu_divide_up(n_panels, 4));
#pragma omp for schedule(dynamic) nowait
    for (int64_t task = 0; task < n_row_blocks * n_column_blocks; task++) {
        int64_t block = task / n_column_blocks, part = task % n_column_blocks;
        int64_t row = cpu_strip_begin(p->a.n_rows, n_row_blocks, block), end = cpu_strip_begin(p->a.n_rows, n_row_blocks, block + 1);
        int64_t first = cpu_strip_begin(n_panels, n_column_blocks, part) * TILE_COLUMNS;
        int64_t last = cpu_strip_begin(n_panels, n_column_blocks, part + 1) * TILE_COLUMNS;
        multiply_block(p, row, end - row, first, cpu_min(last, p->columns), buffer);
    }
}

static gather forward_gather(const cpu_conv *c, const float *x)
{
    gather g = {.image = x, .h = c->h, .w = c->w, .c = c->c, .taps_y = c->kernel_px, .taps_x = c->kernel_px, .step = c->stride_px,
                .first_y = -c->padding_px, .first_x = -c->padding_px, .rows_y = c->oh, .rows_x = c->ow, .n_rows = c->n * c->oh * c->ow,
                .k = c->kernel_px * c->kernel_px * c->c};
    g.direct = c->kernel_px == 1 && c->stride_px == 1 && c->padding_px == 0 && c->c < DIRECT_CHANNELS;
    return g;
}

void cpu_gemm_forward(const cpu_conv *c, const float *x, const float *weight, const float *bias, float *y, void *workspace)
{
    int64_t k = c->kernel_px * c->kernel_px * c->c;
    float *b = workspace, *buffers = b + cpu_round_up(c->o, TILE_COLUMNS) * k;
    product p = {.a = forward_gather(c, x), .b = b, .bias = bias, .out = y, .out_h = c->oh, .out_w = c->ow, .columns = c->o, .out_step = 1};
#pragma omp parallel num_threads(c->n_threads)
    {
#pragma omp for schedule(static)
        for (int64_t o = 0; o < c->o; o += TILE_COLUMNS)
            cpu_pack_transposed(weight + o * k, k, (int)cpu_min(TILE_COLUMNS, c->o - o), k, b + o * k);
        multiply(&p, c->n_threads, buffers + (int64_t)omp_get_thread_num() * BLOCK_ROWS * A_STRIDE);
    }
}

/* Input pixels (stride * y + class_y, ...) meet kernel rows that leave the same remainder; with the rows in descending
 * order their output pixels ascend, so the class is a plain product over the output's gradient. */
static product class_product(const cpu_conv *c, const float *dy, float *dx, int class_y, int class_x)
{
    int s = c->stride_px, shift_y = class_y + c->padding_px, shift_x = class_x + c->padding_px;
    int64_t taps_y = shift_y % s < c->kernel_px ? cpu_divide_up(c->kernel_px - shift_y % s, s) : 0;
    int64_t taps_x = shift_x % s < c->kernel_px ? cpu_divide_up(c->kernel_px - shift_x % s, s) : 0;
    gather g = {.image = dy, .h = c->oh, .w = c->ow, .c = c->o, .taps_y = taps_y, .taps_x = taps_x, .step = 1,
                .first_y = shift_y / s - (taps_y - 1), .first_x = shift_x / s - (taps_x - 1), .rows_y = cpu_divide_up(c->h - class_y, s),
                .rows_x = cpu_divide_up(c->w - class_x, s), .k = taps_y * taps_x * c->o};
    g.n_rows = c->n * g.rows_y * g.rows_x;
    g.direct = c->kernel_px == 1 && s == 1 && c->padding_px == 0 && c->o < DIRECT_CHANNELS;
    return (product){.a = g, .out = dx, .out_h = c->h, .out_w = c->w, .columns = c->c, .out_step = s, .out_y = class_y, .out_x = class_x};
}

/* The panel of columns `column` ... of a class: weights as they lie, taps in the class's order. */
static CPU_AVX512 void pack_class(const cpu_conv *c, const product *p, const float *weight, int64_t column, float *to)
{
    int s = c->stride_px, n = (int)cpu_min(TILE_COLUMNS, c->c - column);
    int64_t y0 = (p->out_y + c->padding_px) % s, x0 = (p->out_x + c->padding_px) % s;
    for (int64_t ty = p->a.taps_y - 1; ty >= 0; ty--)
        for (int64_t tx = p->a.taps_x - 1; tx >= 0; tx--)
            for (int64_t o = 0; o < c->o; o++, to += TILE_COLUMNS) {
                copy(to, weight + ((o * c->kernel_px + y0 + ty * s) * c->kernel_px + x0 + tx * s) * c->c + column, n);
                clear(to + n, TILE_COLUMNS - n);
            }
}

void cpu_gemm_backward_data(const cpu_conv *c, const float *dy, const float *weight, float *dx, void *workspace)
{
    int64_t columns = cpu_round_up(c->c, TILE_COLUMNS);
    float *b = workspace, *buffers = b + columns * c->kernel_px * c->kernel_px * c->o;
#pragma omp parallel num_threads(c->n_threads)
    {
        float *at = b, *buffer = buffers + (int64_t)omp_get_thread_num() * BLOCK_ROWS * A_STRIDE;
        for (int k = 0; k < c->stride_px * c->stride_px; k++) {
            product p = class_product(c, dy, dx, k / c->stride_px, k % c->stride_px);
#pragma omp for schedule(static) nowait
            for (int64_t column = 0; column < c->c; column += TILE_COLUMNS)
                pack_class(c, &p, weight, column, at + column * p.a.k);
            at += columns * p.a.k;
        }
#pragma omp barrier
        at = b;
        for (int k = 0; k < c->stride_px * c->stride_px; k++) {
            product p = class_product(c, dy, dx, k / c->stride_px, k % c->stride_px);
            p.b = at;
            multiply(&p, c->n_threads, buffer);
            at += columns * p.a.k;
        }
    }
}

/* The weights' gradient [o, k] is cut into blocks of BLOCK_SIDE and the pixels it sums over into pieces, by the shape
 * alone; each piece is summed apart, and pieces are added in order. */
typedef struct cut {
    int64_t n_o, n_k, n_pieces;
} cut;

static cut cut_gradient(const cpu_conv *c)
{
    cut s = {cpu_divide_up(c->o, BLOCK_SIDE), cpu_divide_up(c->kernel_px * c->kernel_px * c->c, BLOCK_SIDE), 1};
    int64_t most = cpu_divide_up(c->n * c->oh * c->ow, BLOCK_K);
    s.n_pieces = cpu_min(cpu_divide_up(N_PIECES, s.n_o * s.n_k), most);
    return s;
}

enum { GRADIENT_A = BLOCK_K * BLOCK_SIDE + LANES, GRADIENT_B = BLOCK_K * BLOCK_SIDE, GRADIENT_BUFFER = GRADIENT_A + GRADIENT_B + BLOCK_SIDE };

/* Rows r .. r + n of the image side as panels [n][TILE_COLUMNS] of numbers k0 .. k1. */
static CPU_AVX512 void gather_panels(const gather *g, int64_t row, int64_t n, int64_t k0, int64_t k1, float *scratch, float *to)
{
    pixel at = pixel_of(g, row);
    int64_t columns = k1 - k0, whole = cpu_round_up(columns, TILE_COLUMNS);
    bool plain = g->k == g->c && g->step == 1 && g->rows_x == g->w && g->rows_y == g->h && columns == whole;
    clear(scratch + columns, whole - columns);
    for (int64_t r = 0; r < n; r++, next_pixel(g, &at)) {
        const float *from = g->image + (row + r) * g->c + k0;
        if (!plain) {
            gather_row(g, at, k0, k1, scratch);
            from = scratch;
        }
        for (int64_t j = 0; j < whole; j += LANES)
            _mm512_storeu_ps(to + j / TILE_COLUMNS * n * TILE_COLUMNS + r * TILE_COLUMNS + j % TILE_COLUMNS, _mm512_loadu_ps(from + j));
    }
}

/* Channels o0 .. o1 of n rows of the output's gradient as strips [n][height of the strip]. */
static CPU_AVX512 void pack_strips(const float *dy, int64_t ld, int64_t n, int64_t o0, int64_t o1, float *to)
{
    int64_t n_strips = cpu_divide_up(o1 - o0, TILE_ROWS);
    for (int64_t s = 0; s < n_strips; s++) {
        int64_t first = cpu_strip_begin(o1 - o0, n_strips, s), height = cpu_strip_begin(o1 - o0, n_strips, s + 1) - first;
        __mmask16 inside = (__mmask16)((1u << height) - 1);
        for (int64_t r = 0; r < n; r++, to += height) /* the lanes behind are overwritten by the next row */
            _mm512_storeu_ps(to, _mm512_maskz_loadu_ps(inside, dy + r * ld + o0 + first));
    }
}

typedef struct gradient_block {
    int64_t o0, o1, k0, k1, row, end;
    float *out; /* [o, k] */
    bool add;
} gradient_block;

static void sum_gradient(const cpu_conv *c, const gather *g, const float *dy, const gradient_block *b, float *buffer)
{
    float *panels = buffer, *strips = panels + GRADIENT_B, *scratch = strips + GRADIENT_A, *rows[TILE_ROWS];
    int64_t n_steps = cpu_divide_up(b->end - b->row, BLOCK_K), n_strips = cpu_divide_up(b->o1 - b->o0, TILE_ROWS);
    for (int64_t step = 0; step < n_steps; step++) {
        int64_t row = b->row + cpu_strip_begin(b->end - b->row, n_steps, step), n = b->row + cpu_strip_begin(b->end - b->row, n_steps, step + 1) - row;
        gather_panels(g, row, n, b->k0, b->k1, scratch, panels);
        pack_strips(dy + row * c->o, c->o, n, b->o0, b->o1, strips);
        cpu_tile t = {.k = n, .ldb = TILE_COLUMNS, .c = rows, .add = b->add || step > 0};
        for (int64_t k = b->k0; k < b->k1; k += TILE_COLUMNS) {
            t.b = panels + (k - b->k0) * n;
            t.n_columns = (int)cpu_min(TILE_COLUMNS, b->k1 - k);
            for (int64_t s = 0; s < n_strips; s++) {
                int64_t first = cpu_strip_begin(b->o1 - b->o0, n_strips, s);
                t.lda = cpu_strip_begin(b->o1 - b->o0, n_strips, s + 1) - first;
                t.a = strips + first * n;
                for (int64_t i = 0; i < t.lda; i++)
                    rows[i] = b->out + (b->o0 + first + i) * g->k + k;
                cpu_tile_by_columns((int)t.lda, &t);
            }
        }
    }
}

static CPU_AVX512 void add_pieces(const float *piece, int64_t n_pieces, int64_t n, bool add, float *out)
{
    enum { CHUNK = 1 << 12 };
#pragma omp for schedule(static)
    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t end = cpu_min(n, first + CHUNK);
        for (int64_t i = first; i < end; i += LANES) {
            __mmask16 inside = (__mmask16)(end - i < LANES ? (1u << (end - i)) - 1 : 0xffff);
            __m512 sum = _mm512_maskz_loadu_ps(inside, piece + i);
            for (int64_t p = 1; p < n_pieces; p++)
                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(inside, piece + p * n + i));
            if (add)
                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(inside, out + i));
            _mm512_mask_storeu_ps(out + i, inside, sum);
        }
    }
}

void cpu_gemm_backward_weights(const cpu_conv *c, const float *x, const float *dy, bool add, float *dweight, void *workspace)
{
    gather g = forward_gather(c, x);
    cut s = cut_gradient(c);
    int64_t n = c->o * g.k, n_panels = cpu_divide_up(g.k, TILE_COLUMNS);
    float *pieces = workspace, *buffers = pieces + (s.n_pieces > 1 ? cpu_round_up(s.n_pieces * n, LANES) : 0);
#pragma omp parallel num_threads(c->n_threads)
    {
        float *buffer = buffers + (int64_t)omp_get_thread_num() * GRADIENT_BUFFER;
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < s.n_pieces * s.n_o * s.n_k; task++) {
            int64_t piece = task / (s.n_o * s.n_k), o = task / s.n_k % s.n_o, k = task % s.n_k;
            gradient_block b = {.o0 = cpu_strip_begin(c->o, s.n_o, o), .o1 = cpu_strip_begin(c->o, s.n_o, o + 1),
                                .k0 = cpu_strip_begin(n_panels, s.n_k, k) * TILE_COLUMNS,
                                .k1 = cpu_min(g.k, cpu_strip_begin(n_panels, s.n_k, k + 1) * TILE_COLUMNS),
                                .row = cpu_strip_begin(g.n_rows, s.n_pieces, piece), .end = cpu_strip_begin(g.n_rows, s.n_pieces, piece + 1),
                                .out = s.n_pieces > 1 ? pieces + piece * n : dweight, .add = s.n_pieces == 1 && add};
            sum_gradient(c, &g, dy, &b, buffer);
        }
        if (s.n_pieces > 1)
            add_pieces(pieces, s.n_pieces, n, add, dweight);
    }
}

size_t cpu_gemm_bytes(const cpu_conv *c, bool training)
{
    int64_t taps = c->kernel_px * c->kernel_px, n_threads = c->n_threads;
    int64_t most = cpu_round_up(c->o, TILE_COLUMNS) * taps * c->c + n_threads * BLOCK_ROWS * A_STRIDE;
    if (training) {
        int64_t n_pieces = cut_gradient(c).n_pieces;
        int64_t data = cpu_round_up(c->c, TILE_COLUMNS) * taps * c->o + n_threads * BLOCK_ROWS * A_STRIDE;
        int64_t weights = (n_pieces > 1 ? cpu_round_up(n_pieces * taps * c->c * c->o, LANES) : 0) + n_threads * GRADIENT_BUFFER;
        most = data > most ? data : most;
        most = weights > most ? weights : most;
    }
    return (size_t)most * sizeof(float);
}
#endif
