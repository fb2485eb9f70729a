/* The matrix product in float. The result is cut into blocks whose sums stay in the second cache while k goes by, a part at a time; of both
 * operands the parts a block needs are packed next to it, and b, if many blocks read it, once for all. bf16 operands become float when packed.
 * A sum is formed in an order that depends on k alone: in parts of k, each in order. Only where a lies transposed (the gradient of weights, which
 * sums over images) is k also cut into pieces that are summed apart, by the shape, so that small results have work for many threads. */
#include "backend/cpu/conv_avx512.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/gemm_tile.h"
#include <omp.h>

enum {
    PART_K = 256,         /* a panel of b of this depth lies in the first cache */
    BLOCK_ROWS = 224,
    BLOCK_COLUMNS = 512,
    SHARED_BLOCKS = 3,    /* b is packed once for all if at least so many blocks of rows read it */
    LINE = 16             /* floats */
};

typedef struct cut { /* of a product: numbers of blocks, parts and pieces */
    int64_t n_strips, n_panels;
    int64_t n_row_blocks, n_column_blocks, n_parts, n_pieces;
    bool share_b;
    gemm_load load_a, load_b;
} cut;

typedef struct block {
    int64_t strip, strip_end, panel, panel_end, part, part_end;
} block;

static gemm_load load_of(const cpu_matrix *m, const cpu_matrix *other)
{
    return m->dtype == AC_BF16 ? GEMM_BF16 : other->dtype == AC_BF16 ? GEMM_ROUNDED : GEMM_F32;
}

static int64_t max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static cut cut_product(const cpu_device *cpu, const cpu_gemm *g)
{
    enum { PARTS_PER_PIECE = 4, WANTED_BLOCKS = 16 };
    cut s = {cpu_divide_up(g->m, cpu->gemm_tile->rows), cpu_divide_up(g->n, GEMM_PANEL), .n_parts = cpu_divide_up(g->k, PART_K), .n_pieces = 1,
             .load_a = load_of(&g->a, &g->b), .load_b = load_of(&g->b, &g->a)};
    s.n_row_blocks = cpu_divide_up(g->m, BLOCK_ROWS);
    s.n_column_blocks = cpu_divide_up(g->n, BLOCK_COLUMNS);
    s.share_b = s.n_row_blocks >= SHARED_BLOCKS && g->a.column == 1;
    if (g->a.column != 1)
        s.n_pieces = max(1, cpu_min(WANTED_BLOCKS / (s.n_row_blocks * s.n_column_blocks), s.n_parts / PARTS_PER_PIECE));
    int64_t tasks = s.n_row_blocks * s.n_column_blocks * s.n_pieces, wanted = 4 * cpu->n_threads; /* smaller blocks change no result */
    if (tasks < wanted && cpu->n_threads > 1) {
        s.n_column_blocks = cpu_min(max(1, s.n_panels / 4), s.n_column_blocks * cpu_divide_up(wanted, tasks));
        tasks = s.n_row_blocks * s.n_column_blocks * s.n_pieces;
    }
    if (tasks < wanted && cpu->n_threads > 1)
        s.n_row_blocks = cpu_min(max(1, s.n_strips / 4), s.n_row_blocks * cpu_divide_up(wanted, tasks));
    return s;
}

/* What one thread works in, in floats. */
static int64_t packed_a_floats(const cpu_device *cpu)
{
    return cpu_divide_up(BLOCK_ROWS, cpu->gemm_tile->rows - 1) * PART_K * GEMM_STRIP;
}

static int64_t packed_b_floats(void)
{
    return (BLOCK_COLUMNS + GEMM_PANEL) * PART_K;
}

static int64_t sums_floats(void)
{
    return (BLOCK_ROWS + GEMM_STRIP) * (BLOCK_COLUMNS + GEMM_PANEL);
}

static int64_t thread_floats(const cpu_device *cpu)
{
    return packed_a_floats(cpu) + packed_b_floats() + sums_floats();
}

static int64_t whole_b_floats(const cpu_gemm *g)
{
    return cpu_round_up(g->n, GEMM_PANEL) * g->k;
}

static int64_t piece_floats(const cpu_gemm *g)
{
    return g->m * cpu_round_up(g->n, GEMM_PANEL);
}

size_t cpu_gemm_f32_workspace_bytes(const cpu_device *cpu, const cpu_gemm *gemm)
{
    cut s = cut_product(cpu, gemm);
    int64_t shared = (s.share_b ? whole_b_floats(gemm) : 0) + (s.n_pieces > 1 ? cpu_round_up(s.n_pieces * piece_floats(gemm), LINE) : 0);
    return (size_t)(shared + cpu->n_threads * thread_floats(cpu)) * sizeof(float);
}

size_t cpu_gemm_f32_packed_b_bytes(const cpu_device *cpu, const cpu_gemm *gemm)
{
    (void)cpu;
    return (size_t)whole_b_floats(gemm) * sizeof(float);
}

static const void *element(const cpu_matrix *m, int64_t i, int64_t j)
{
    return (const char *)m->values + (size_t)(i * m->row + j * m->column) * (m->dtype == AC_BF16 ? 2 : 4);
}

/* Columns of a panel, k0 .. k0 + k. */
static void pack_panel(const gemm_tile *tile, const cpu_gemm *g, gemm_load load, int64_t panel, int64_t k0, int64_t k, float *to)
{
    int n = (int)cpu_min(GEMM_PANEL, g->n - panel * GEMM_PANEL);
    const void *from = element(&g->b, k0, panel * GEMM_PANEL);
    if (g->b.column == 1)
        tile->pack_across(from, g->b.row, n, k, load, GEMM_PANEL, to);
    else
        tile->pack_along(from, g->b.column, n, k, load, GEMM_PANEL, to);
}

static void pack_strip(const gemm_tile *tile, const cpu_gemm *g, gemm_load load, int64_t row, int n, int64_t k0, int64_t k, float *to)
{
    const void *from = element(&g->a, row, k0);
    if (g->a.column == 1)
        tile->pack_along(from, g->a.row, n, k, load, GEMM_STRIP, to);
    else
        tile->pack_across(from, g->a.column, n, k, load, GEMM_STRIP, to);
}

/* By all threads of the region. */
static void pack_whole_b(const gemm_tile *tile, const cpu_gemm *g, const cut *s, float *to)
{
#pragma omp for schedule(static)
    for (int64_t task = 0; task < s->n_panels * s->n_parts; task++) {
        int64_t panel = task / s->n_parts, part = task % s->n_parts, k0 = cpu_strip_begin(g->k, s->n_parts, part);
        pack_panel(tile, g, s->load_b, panel, k0, cpu_strip_begin(g->k, s->n_parts, part + 1) - k0, to + (panel * g->k + k0) * GEMM_PANEL);
    }
}

void cpu_gemm_f32_pack_b(const cpu_device *cpu, const cpu_gemm *gemm, void *packed_b)
{
    cut s = cut_product(cpu, gemm);
#pragma omp parallel num_threads(cpu->n_threads)
    pack_whole_b(cpu->gemm_tile, gemm, &s, packed_b);
}

typedef struct buffers { /* of one thread */
    float *a, *b, *sums;
} buffers;

/* Sums of a block: `sums` begins at its first row and column, rows ld apart. */
static void sum_block(const gemm_tile *tile, const cpu_gemm *g, const cut *s, const block *b, const float *whole_b, const buffers *buffer, float *sums, int64_t ld)
{
    for (int64_t part = b->part; part < b->part_end; part++) {
        int64_t k0 = cpu_strip_begin(g->k, s->n_parts, part), k = cpu_strip_begin(g->k, s->n_parts, part + 1) - k0;
        for (int64_t strip = b->strip; strip < b->strip_end; strip++) {
            int64_t row = cpu_strip_begin(g->m, s->n_strips, strip);
            pack_strip(tile, g, s->load_a, row, (int)(cpu_strip_begin(g->m, s->n_strips, strip + 1) - row), k0, k, buffer->a + (strip - b->strip) * k * GEMM_STRIP);
        }
        for (int64_t panel = b->panel; panel < b->panel_end; panel++) {
            const float *from = whole_b ? whole_b + (panel * g->k + k0) * GEMM_PANEL : buffer->b;
            float *to = sums + (panel - b->panel) * GEMM_PANEL;
            if (!whole_b)
                pack_panel(tile, g, s->load_b, panel, k0, k, buffer->b);
            for (int64_t strip = b->strip; strip < b->strip_end; strip++) {
                int64_t row = cpu_strip_begin(g->m, s->n_strips, strip), rows = cpu_strip_begin(g->m, s->n_strips, strip + 1) - row;
                tile->run((int)rows, k, buffer->a + (strip - b->strip) * k * GEMM_STRIP, from, to, ld, part > b->part);
                to += rows * ld;
            }
        }
    }
}

static void run_task(const cpu_device *cpu, const cpu_gemm *g, const cut *s, int64_t task, const float *whole_b, const buffers *buffer, float *pieces)
{
    int64_t column = task % s->n_column_blocks, row = task / s->n_column_blocks % s->n_row_blocks, piece = task / s->n_column_blocks / s->n_row_blocks;
    block b = {cpu_strip_begin(s->n_strips, s->n_row_blocks, row), cpu_strip_begin(s->n_strips, s->n_row_blocks, row + 1),
               cpu_strip_begin(s->n_panels, s->n_column_blocks, column), cpu_strip_begin(s->n_panels, s->n_column_blocks, column + 1),
               cpu_strip_begin(s->n_parts, s->n_pieces, piece), cpu_strip_begin(s->n_parts, s->n_pieces, piece + 1)};
    int64_t i0 = cpu_strip_begin(g->m, s->n_strips, b.strip), i1 = cpu_strip_begin(g->m, s->n_strips, b.strip_end);
    int64_t j0 = b.panel * GEMM_PANEL, j1 = cpu_min(g->n, b.panel_end * GEMM_PANEL), ld = (b.panel_end - b.panel) * GEMM_PANEL;
    if (pieces) {
        ld = s->n_panels * GEMM_PANEL;
        sum_block(cpu->gemm_tile, g, s, &b, whole_b, buffer, pieces + piece * piece_floats(g) + i0 * ld + j0, ld);
    } else {
        sum_block(cpu->gemm_tile, g, s, &b, whole_b, buffer, buffer->sums, ld);
        cpu_gemm_finish(g, buffer->sums, ld, i0, i1 - i0, j0, j1 - j0);
    }
}

AC_SIMD static void add_row(float *restrict to, const float *restrict from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* By all threads of the region: pieces in order. */
static void add_pieces(const cpu_gemm *g, const cut *s, float *pieces)
{
    int64_t ld = s->n_panels * GEMM_PANEL;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t p = 1; p < s->n_pieces; p++)
            add_row(pieces + i * ld, pieces + p * piece_floats(g) + i * ld, ld);
        cpu_gemm_finish(g, pieces + i * ld, ld, i, 1, 0, g->n);
    }
}

void cpu_gemm_f32_run(const cpu_device *cpu, const cpu_gemm *gemm, const void *packed_b, void *workspace)
{
    cut s = cut_product(cpu, gemm);
    float *whole_b = workspace, *pieces = whole_b + (s.share_b ? whole_b_floats(gemm) : 0);
    float *own = pieces + (s.n_pieces > 1 ? cpu_round_up(s.n_pieces * piece_floats(gemm), LINE) : 0);
    const float *b = packed_b ? packed_b : s.share_b ? whole_b : NULL;
#pragma omp parallel num_threads(cpu->n_threads)
    {
        float *mine = own + omp_get_thread_num() * thread_floats(cpu);
        buffers buffer = {mine, mine + packed_a_floats(cpu), mine + packed_a_floats(cpu) + packed_b_floats()};
        if (!packed_b && s.share_b)
            pack_whole_b(cpu->gemm_tile, gemm, &s, whole_b);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < s.n_row_blocks * s.n_column_blocks * s.n_pieces; task++)
            run_task(cpu, gemm, &s, task, b, &buffer, s.n_pieces > 1 ? pieces : NULL);
        if (s.n_pieces > 1)
            add_pieces(gemm, &s, pieces);
    }
}
