/* Convolution as a matrix product. A row of the left side is what one output pixel sees: a few runs of numbers that lie
 * together in the image, copied into a small buffer when its block is multiplied, or used where they are. The gradient
 * of the input is the same product once per class of pixels that meet the same taps (stride^2 classes). */
#include "backend/cpu/conv_avx512.h"
#include <omp.h>

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

enum {
    LANES = 16,
    BLOCK_K = 512,       /* depth of a product before its sums go back to memory */
    BLOCK_ROWS = 112,    /* rows and columns that are worked on together: a and the result lie in the second cache */
    BLOCK_COLUMNS = 256,
    BLOCK_SIDE = 256,    /* of the weights' gradient */
    BLOCK_PIXELS = 256,  /* it sums over before its sums go back to memory */
    FEW_CHANNELS = 128,  /* up to here a panel is used too seldom to be worth packing */
    N_PIECES = 16,       /* the weights' gradient is made of about so many independent parts */
    A_STRIDE = BLOCK_K + TILE_PAD
};

/* What the left side is taken from: output pixel (y, x) sees taps_y x taps_x pixels from (y * step + first_y, x * step +
 * first_x) on; outside the image there are zeros. */
typedef struct view {
    const float *image;
    int64_t n, h, w, c;
    int64_t taps_y, taps_x, step, first_y, first_x;
    int64_t rows_y, rows_x; /* output pixels of one image */
    int64_t k;              /* numbers a pixel sees */
} view;

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

static view make_view(const float *image, int64_t n, int64_t h, int64_t w, int64_t c)
{
    return (view){.image = image, .n = n, .h = h, .w = w, .c = c};
}

/* Taps outside the image. */
static bool is_padded(const view *v)
{
    return v->first_y < 0 || v->first_x < 0 || (v->rows_y - 1) * v->step + v->first_y + v->taps_y > v->h ||
           (v->rows_x - 1) * v->step + v->first_x + v->taps_x > v->w;
}

/* Row r of the left side is image + r * c. */
static bool is_plain(const view *v)
{
    return v->k == v->c && v->step == 1 && v->rows_y == v->h && v->rows_x == v->w && !is_padded(v);
}

typedef struct product {
    view v;
    bool padded;
    const float *b;    /* panels [k][TILE_COLUMNS] */
    const float *bias; /* NULL: none */
    float *out;
    int64_t out_h, out_w, columns, out_step, out_y, out_x; /* pixel (y, x) goes to (y * out_step + out_y, x * out_step + out_x) */
} product;

static void finish_product(product *p)
{
    p->padded = is_padded(&p->v);
    if (is_plain(&p->v) && p->out_step == 1) { /* all images are one row of pixels */
        p->v.w = p->v.rows_x = p->out_w = p->v.n * p->v.h * p->v.w;
        p->v.n = p->v.h = p->v.rows_y = p->out_h = 1;
    }
}

/* Rows of output pixels that are worked on together, so that they are about BLOCK_ROWS. */
static int64_t band_height(const view *v)
{
    int64_t height = cpu_divide_up(BLOCK_ROWS, v->rows_x);
    return cpu_min(height, v->rows_y);
}

static int64_t band_stride(const view *v)
{
    return cpu_round_up(((v->rows_x - 1) * v->step + v->taps_x) * v->c, LANES);
}

static int64_t band_floats(const view *v)
{
    return v->k == 0 || !is_padded(v) ? 0 : ((band_height(v) - 1) * v->step + v->taps_y) * band_stride(v);
}

/* The image rows that output rows y0 .. y1 see, with the zeros around them. */
static CPU_AVX512 void copy_band(const view *v, int64_t n, int64_t y0, int64_t y1, float *to)
{
    int64_t width = (v->rows_x - 1) * v->step + v->taps_x, left = v->first_x < 0 ? cpu_min(-v->first_x, width) : 0;
    int64_t right = cpu_min(width, v->w - v->first_x);
    for (int64_t y = y0 * v->step + v->first_y; y < (y1 - 1) * v->step + v->first_y + v->taps_y; y++, to += band_stride(v)) {
        if (y < 0 || y >= v->h || right <= left) {
            clear(to, width * v->c);
            continue;
        }
        clear(to, left * v->c);
        copy(to + left * v->c, v->image + ((n * v->h + y) * v->w + left + v->first_x) * v->c, (right - left) * v->c);
        clear(to + right * v->c, (width - right) * v->c);
    }
}

typedef struct block {
    int64_t n, y0, y1, x0, x1, column, end;
} block;

static float *out_pixel(const product *p, int64_t n, int64_t y, int64_t x)
{
    return p->out + ((n * p->out_h + y * p->out_step + p->out_y) * p->out_w + x * p->out_step + p->out_x) * p->columns;
}

/* What sums start from where no product starts them: the bias, or zero where no tap meets the pixel. */
static CPU_AVX512 void start_block(const product *p, const block *b)
{
    for (int64_t y = b->y0; y < b->y1; y++)
        for (int64_t x = b->x0; x < b->x1; x++) {
            float *to = out_pixel(p, b->n, y, x) + b->column;
            if (p->bias)
                copy(to, p->bias + b->column, b->end - b->column);
            else
                clear(to, b->end - b->column);
        }
}

/* All tiles of a block for the part of k that `t` describes; `a` is what output pixel (y0, 0) sees of it. */
static void multiply_part(const product *p, const block *b, const float *a, int64_t row_stride, int64_t k, cpu_tile t)
{
    const view *v = &p->v;
    float *c[TILE_ROWS];
    int64_t n_strips = cpu_divide_up(b->x1 - b->x0, TILE_ROWS);
    t.c = c;
    for (int64_t j = b->column; j < b->end; j += TILE_COLUMNS) {
        t.b = p->b + j * v->k + k * TILE_COLUMNS;
        t.n_columns = (int)cpu_min(TILE_COLUMNS, b->end - j);
        for (int64_t y = b->y0; y < b->y1; y++)
            for (int64_t s = 0; s < n_strips; s++) {
                int64_t x = b->x0 + cpu_strip_begin(b->x1 - b->x0, n_strips, s), end = b->x0 + cpu_strip_begin(b->x1 - b->x0, n_strips, s + 1);
                float *to = out_pixel(p, b->n, y, x) + j;
                t.a = a + (y - b->y0) * v->step * row_stride + x * v->step * v->c;
                for (int64_t i = 0; i < end - x; i++)
                    c[i] = to + i * p->out_step * p->columns;
                cpu_tile_by_rows((int)(end - x), &t);
            }
    }
}

/* k is cut into parts of at most about BLOCK_K: several kernel rows, or a piece of one. */
static void multiply_block(const product *p, const block *b, float *buffer)
{
    const view *v = &p->v;
    int64_t run = v->taps_x * v->c, row_stride = p->padded ? band_stride(v) : v->w * v->c;
    const float *a = p->padded ? buffer : v->image + ((b->n * v->h + b->y0 * v->step + v->first_y) * v->w + v->first_x) * v->c;
    if (p->bias || v->k == 0)
        start_block(p, b);
    if (v->k == 0)
        return;
    if (p->padded)
        copy_band(v, b->n, b->y0, b->y1, buffer);
    cpu_tile t = {.lda = v->step * v->c, .run_stride = row_stride, .ldb = TILE_COLUMNS, .add = p->bias};
    int64_t n_pieces = cpu_divide_up(run, BLOCK_K), n_together = run < BLOCK_K ? BLOCK_K / run : 1;
    for (int64_t ky = 0; ky < v->taps_y; ky += n_together)
        for (int64_t piece = 0; piece < n_pieces; piece++, t.add = true) {
            int64_t k = cpu_strip_begin(run, n_pieces, piece);
            t.k = cpu_strip_begin(run, n_pieces, piece + 1) - k;
            t.n_runs = cpu_min(n_together, v->taps_y - ky);
            multiply_part(p, b, a + ky * row_stride + k, row_stride, ky * run + k, t);
        }
}

/* By all threads of the region; nobody waits at the end. */
static void multiply(const product *p, int n_threads, float *buffer)
{
    const view *v = &p->v;
    int64_t n_bands = cpu_divide_up(v->rows_y, band_height(v)), n_panels = cpu_divide_up(p->columns, TILE_COLUMNS);
    int64_t n_x = v->rows_y == 1 && !p->padded ? cpu_divide_up(v->rows_x, BLOCK_ROWS) : 1, n_columns = cpu_divide_up(p->columns, BLOCK_COLUMNS);
    int64_t n_blocks = v->n * n_bands * n_x;
    if (n_blocks * n_columns < 4 * n_threads)
        n_columns = cpu_min(cpu_divide_up(4 * n_threads, n_blocks), cpu_divide_up(n_panels, 2));
#pragma omp for schedule(dynamic) nowait
    for (int64_t task = 0; task < n_blocks * n_columns; task++) {
        int64_t part = task % n_columns, x = task / n_columns % n_x, band = task / n_columns / n_x % n_bands;
        block b = {.n = task / n_columns / n_x / n_bands, .y0 = cpu_strip_begin(v->rows_y, n_bands, band),
                   .y1 = cpu_strip_begin(v->rows_y, n_bands, band + 1), .x0 = cpu_strip_begin(v->rows_x, n_x, x),
                   .x1 = cpu_strip_begin(v->rows_x, n_x, x + 1), .column = cpu_strip_begin(n_panels, n_columns, part) * TILE_COLUMNS,
                   .end = cpu_min(p->columns, cpu_strip_begin(n_panels, n_columns, part + 1) * TILE_COLUMNS)};
        multiply_block(p, &b, buffer);
    }
}

static view forward_view(const cpu_conv *c, const float *x)
{
    view v = make_view(x, c->n, c->h, c->w, c->c);
    v.taps_y = v.taps_x = c->kernel_px;
    v.step = c->stride_px;
    v.first_y = v.first_x = -c->padding_px;
    v.rows_y = c->oh;
    v.rows_x = c->ow;
    v.k = v.taps_y * v.taps_x * c->c;
    return v;
}

void cpu_gemm_forward(const cpu_conv *c, const float *x, const float *weight, const float *bias, float *y, void *workspace)
{
    product p = {.v = forward_view(c, x), .bias = bias, .out = y, .out_h = c->oh, .out_w = c->ow, .columns = c->o, .out_step = 1};
    int64_t k = p.v.k, buffer = band_floats(&p.v);
    float *b = workspace, *buffers = b + cpu_round_up(c->o, TILE_COLUMNS) * k;
    p.b = b;
    finish_product(&p);
#pragma omp parallel num_threads(c->n_threads)
    {
#pragma omp for schedule(static)
        for (int64_t o = 0; o < c->o; o += TILE_COLUMNS)
            cpu_pack_transposed(weight + o * k, k, (int)cpu_min(TILE_COLUMNS, c->o - o), k, b + o * k);
        multiply(&p, c->n_threads, buffers + omp_get_thread_num() * buffer);
    }
}

/* Input pixels (stride * y + class_y, ...) meet kernel rows that leave the same remainder; with the rows in descending
 * order their output pixels ascend, so the class is a plain product over the output's gradient. */
static product class_product(const cpu_conv *c, const float *dy, float *dx, int class_y, int class_x)
{
    int s = c->stride_px, shift_y = class_y + c->padding_px, shift_x = class_x + c->padding_px;
    view v = make_view(dy, c->n, c->oh, c->ow, c->o);
    v.taps_y = shift_y % s < c->kernel_px ? cpu_divide_up(c->kernel_px - shift_y % s, s) : 0;
    v.taps_x = shift_x % s < c->kernel_px ? cpu_divide_up(c->kernel_px - shift_x % s, s) : 0;
    v.step = 1;
    v.first_y = shift_y / s - (v.taps_y - 1);
    v.first_x = shift_x / s - (v.taps_x - 1);
    v.rows_y = cpu_divide_up(c->h - class_y, s);
    v.rows_x = cpu_divide_up(c->w - class_x, s);
    v.k = v.taps_y * v.taps_x * c->o;
    return (product){.v = v, .out = dx, .out_h = c->h, .out_w = c->w, .columns = c->c, .out_step = s, .out_y = class_y, .out_x = class_x};
}

/* The panel of columns `column` ... of a class: weights as they lie, taps in the class's order. */
static CPU_AVX512 void pack_class(const cpu_conv *c, const product *p, const float *weight, int64_t column, float *to)
{
    int s = c->stride_px, n = (int)cpu_min(TILE_COLUMNS, c->c - column);
    int64_t y0 = (p->out_y + c->padding_px) % s, x0 = (p->out_x + c->padding_px) % s;
    for (int64_t ty = p->v.taps_y - 1; ty >= 0; ty--)
        for (int64_t tx = p->v.taps_x - 1; tx >= 0; tx--)
            for (int64_t o = 0; o < c->o; o++, to += TILE_COLUMNS) {
                copy(to, weight + ((o * c->kernel_px + y0 + ty * s) * c->kernel_px + x0 + tx * s) * c->c + column, n);
                clear(to + n, TILE_COLUMNS - n);
            }
}

static int64_t data_buffer_floats(const cpu_conv *c)
{
    int64_t most = 0;
    for (int k = 0; k < c->stride_px * c->stride_px; k++) {
        product p = class_product(c, NULL, NULL, k / c->stride_px, k % c->stride_px);
        most = band_floats(&p.v) > most ? band_floats(&p.v) : most;
    }
    return most;
}

void cpu_gemm_backward_data(const cpu_conv *c, const float *dy, const float *weight, float *dx, void *workspace)
{
    int64_t columns = cpu_round_up(c->c, TILE_COLUMNS), n_classes = c->stride_px * c->stride_px, buffer = data_buffer_floats(c);
    float *b = workspace, *buffers = b + columns * c->kernel_px * c->kernel_px * c->o;
#pragma omp parallel num_threads(c->n_threads)
    {
        float *at = b;
        for (int k = 0; k < n_classes; k++) {
            product p = class_product(c, dy, dx, k / c->stride_px, k % c->stride_px);
#pragma omp for schedule(static) nowait
            for (int64_t column = 0; column < c->c; column += TILE_COLUMNS)
                pack_class(c, &p, weight, column, at + column * p.v.k);
            at += columns * p.v.k;
        }
#pragma omp barrier
        at = b;
        for (int k = 0; k < n_classes; k++) {
            product p = class_product(c, dy, dx, k / c->stride_px, k % c->stride_px);
            p.b = at;
            at += columns * p.v.k;
            finish_product(&p);
            if (p.v.rows_y > 0 && p.v.rows_x > 0)
                multiply(&p, c->n_threads, buffers + omp_get_thread_num() * buffer);
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
    int64_t most = cpu_divide_up(c->n * c->oh * c->ow, BLOCK_PIXELS);
    s.n_pieces = cpu_min(cpu_divide_up(N_PIECES, s.n_o * s.n_k), most);
    return s;
}

typedef struct pixel {
    int64_t n, y, x;
} pixel;

static pixel pixel_of(const view *v, int64_t row)
{
    return (pixel){row / (v->rows_y * v->rows_x), row / v->rows_x % v->rows_y, row % v->rows_x};
}

static void next_pixel(const view *v, pixel *p)
{
    if (++p->x < v->rows_x)
        return;
    p->x = 0;
    if (++p->y < v->rows_y)
        return;
    p->y = 0;
    p->n++;
}

/* Kernel row ky of a pixel's row of numbers: its taps are neighbours in the image. Of numbers at .. end of it, only a .. b
 * lie inside the image, from `image` on. */
typedef struct run {
    int64_t at, end, a, b;
    const float *image;
} run;

/* The run that number k of the pixel's row lies in, up to k1. */
static inline run run_at(const view *v, pixel p, int64_t k, int64_t k1)
{
    int64_t length = v->taps_x * v->c, ky = k / length, y = p.y * v->step + v->first_y + ky, x = p.x * v->step + v->first_x;
    run r = {.at = k - ky * length, .end = cpu_min(length, k1 - ky * length)};
    int64_t from = x < 0 ? -x * v->c : 0, till = y < 0 || y >= v->h ? 0 : cpu_min(length, (v->w - x) * v->c);
    r.a = from < r.at ? r.at : cpu_min(from, r.end);
    r.b = till > r.end ? r.end : till < r.a ? r.a : till;
    r.image = v->image + ((p.n * v->h + y) * v->w + x) * v->c;
    return r;
}

/* Numbers k0 .. k1 of the row of one pixel. */
static CPU_AVX512 void gather_row(const view *v, pixel p, int64_t k0, int64_t k1, float *to)
{
    while (k0 < k1) {
        run r = run_at(v, p, k0, k1);
        clear(to, r.a - r.at);
        copy(to + (r.a - r.at), r.image + r.a, r.b - r.a);
        clear(to + (r.b - r.at), r.end - r.b);
        to += r.end - r.at;
        k0 += r.end - r.at;
    }
}

/* Rows that will be needed next, asked for a few at a time between the tiles: memory then works while we multiply. */
static void prefetch(const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i += LANES)
        _mm_prefetch((const char *)(from + i), _MM_HINT_T1);
}

static void prefetch_row(const view *v, pixel p, int64_t k0, int64_t k1)
{
    while (k0 < k1) {
        run r = run_at(v, p, k0, k1);
        prefetch(r.image + r.a, r.b - r.a);
        k0 += r.end - r.at;
    }
}

enum { GRADIENT_BUFFER = BLOCK_PIXELS * BLOCK_SIDE + BLOCK_SIDE };

/* Rows r .. r + n of the image side as panels [n][TILE_COLUMNS] of numbers k0 .. k1. */
static CPU_AVX512 void gather_panels(const view *v, int64_t row, int64_t n, int64_t k0, int64_t k1, float *scratch, float *to)
{
    pixel at = pixel_of(v, row);
    int64_t columns = k1 - k0, whole = cpu_round_up(columns, TILE_COLUMNS);
    bool plain = is_plain(v) && columns == whole;
    clear(scratch + columns, whole - columns);
    for (int64_t r = 0; r < n; r++, next_pixel(v, &at)) {
        const float *from = v->image + (row + r) * v->c + k0;
        if (!plain) {
            gather_row(v, at, k0, k1, scratch);
            from = scratch;
        }
        for (int64_t j = 0; j < whole; j += LANES)
            _mm512_storeu_ps(to + j / TILE_COLUMNS * n * TILE_COLUMNS + r * TILE_COLUMNS + j % TILE_COLUMNS, _mm512_loadu_ps(from + j));
    }
}

typedef struct gradient_block {
    int64_t o0, o1, k0, k1, row, end;
    float *out; /* [o, k] */
    bool add;
} gradient_block;

static void sum_gradient(const cpu_conv *c, const view *v, const float *dy, const gradient_block *b, float *buffer)
{
    float *panels = buffer, *scratch = panels + BLOCK_PIXELS * BLOCK_SIDE, *rows[TILE_ROWS];
    int64_t n_steps = cpu_divide_up(b->end - b->row, BLOCK_PIXELS), n_strips = cpu_divide_up(b->o1 - b->o0, TILE_ROWS);
    bool plain = is_plain(v) && v->c % TILE_COLUMNS == 0 && c->o <= FEW_CHANNELS;
    for (int64_t step = 0; step < n_steps; step++) {
        int64_t row = b->row + cpu_strip_begin(b->end - b->row, n_steps, step);
        int64_t n = b->row + cpu_strip_begin(b->end - b->row, n_steps, step + 1) - row;
        if (!plain)
            gather_panels(v, row, n, b->k0, b->k1, scratch, panels);
        cpu_tile t = {.k = n, .n_runs = 1, .lda = c->o, .ldb = plain ? v->c : TILE_COLUMNS, .c = rows, .add = b->add || step > 0};
        int64_t n_ahead = cpu_divide_up(n, n_strips * cpu_divide_up(b->k1 - b->k0, TILE_COLUMNS)), next = row + n;
        pixel at = pixel_of(v, next);
        for (int64_t k = b->k0; k < b->k1; k += TILE_COLUMNS) {
            t.b = plain ? v->image + row * v->c + k : panels + (k - b->k0) * n;
            t.n_columns = (int)cpu_min(TILE_COLUMNS, b->k1 - k);
            for (int64_t s = 0; s < n_strips; s++) {
                int64_t first = cpu_strip_begin(b->o1 - b->o0, n_strips, s);
                int64_t height = cpu_strip_begin(b->o1 - b->o0, n_strips, s + 1) - first;
                t.a = dy + row * c->o + b->o0 + first;
                for (int64_t i = 0; i < height; i++)
                    rows[i] = b->out + (b->o0 + first + i) * v->k + k;
                for (int64_t i = 0; i < n_ahead && next < v->n * v->rows_y * v->rows_x; i++, next++, next_pixel(v, &at)) {
                    prefetch(dy + next * c->o + b->o0, b->o1 - b->o0);
                    if (v->c >= TILE_COLUMNS)
                        prefetch_row(v, at, b->k0, b->k1);
                }
                cpu_tile_by_columns((int)height, &t);
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
    view v = forward_view(c, x);
    cut s = cut_gradient(c);
    int64_t n_rows = c->n * c->oh * c->ow, n = c->o * v.k, n_panels = cpu_divide_up(v.k, TILE_COLUMNS);
    float *pieces = workspace, *buffers = pieces + (s.n_pieces > 1 ? cpu_round_up(s.n_pieces * n, LANES) : 0);
#pragma omp parallel num_threads(c->n_threads)
    {
        float *buffer = buffers + (int64_t)omp_get_thread_num() * GRADIENT_BUFFER;
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < s.n_pieces * s.n_o * s.n_k; task++) {
            int64_t piece = task / (s.n_o * s.n_k), o = task / s.n_k % s.n_o, k = task % s.n_k;
            gradient_block b = {.o0 = cpu_strip_begin(c->o, s.n_o, o), .o1 = cpu_strip_begin(c->o, s.n_o, o + 1),
                                .k0 = cpu_strip_begin(n_panels, s.n_k, k) * TILE_COLUMNS,
                                .k1 = cpu_min(v.k, cpu_strip_begin(n_panels, s.n_k, k + 1) * TILE_COLUMNS),
                                .row = cpu_strip_begin(n_rows, s.n_pieces, piece), .end = cpu_strip_begin(n_rows, s.n_pieces, piece + 1),
                                .out = s.n_pieces > 1 ? pieces + piece * n : dweight, .add = s.n_pieces == 1 && add};
            sum_gradient(c, &v, dy, &b, buffer);
        }
        if (s.n_pieces > 1)
            add_pieces(pieces, s.n_pieces, n, add, dweight);
    }
}

size_t cpu_gemm_bytes(const cpu_conv *c)
{
    view v = forward_view(c, NULL);
    int64_t most = cpu_round_up(c->o, TILE_COLUMNS) * v.k + c->n_threads * band_floats(&v), n_pieces = cut_gradient(c).n_pieces;
    int64_t data = cpu_round_up(c->c, TILE_COLUMNS) * v.taps_y * v.taps_x * c->o + c->n_threads * data_buffer_floats(c);
    int64_t weights = (n_pieces > 1 ? cpu_round_up(n_pieces * v.k * c->o, LANES) : 0) + c->n_threads * GRADIENT_BUFFER;
    most = data > most ? data : most;
    most = weights > most ? weights : most;
    return (size_t)most * sizeof(float);
}
#endif
