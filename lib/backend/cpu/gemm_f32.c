/* The matrix product in float. The result is cut into blocks whose sums stay in the second cache while k goes by, a part at a time; of both
 * operands the parts a block needs are packed next to it, and b, if many blocks read it, once for all. bf16 operands become float when packed.
 * A sum is formed in an order that depends on k alone: in parts of k, each in order. Only where a lies transposed (the gradient of weights, which
 * sums over images) is k also cut into pieces that are summed apart, by the shape, so that small results have work for many threads. */
#include "backend/cpu/conv_avx512.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/gemm_tile.h"
#include <omp.h>
#include <string.h>

enum {
    PART_K = 384,        /* a panel of b of this depth lies in the first cache */
    BLOCK_ROWS = 112,
    ONE_BLOCK = 480,     /* so many rows are one block, which packs what it needs of b; more share a packed b */
    BLOCK_COLUMNS = 512,
    BLOCK_COLUMNS_ACROSS = 768, /* where a is packed for each block */
    MAX_STRIPS = ONE_BLOCK / 3 + 1,
    CONFLICT = 512,      /* rows whose distance in floats is a multiple of it lie in too few places of the first cache */
    LINE = 16            /* floats */
};

typedef struct cut { /* of a product: numbers of blocks, parts and pieces */
    int64_t n_strips, n_panels;
    int64_t n_row_blocks, n_column_blocks, n_parts, n_pieces;
    bool share_b;
    bool a_in_place, a_by_rows; /* a is read where it lies; or is copied row by row */
    bool direct;                /* tiles write the result itself, `end` applied to it */
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

/* Smaller blocks change no result. */
static void cut_for_threads(cut *s, int n_threads)
{
    int64_t tasks = s->n_row_blocks * s->n_column_blocks * s->n_pieces, wanted = 4 * n_threads;
    if (tasks < wanted && n_threads > 1) {
        s->n_column_blocks = cpu_min(max(1, s->n_panels / 2), s->n_column_blocks * cpu_divide_up(wanted, tasks));
        tasks = s->n_row_blocks * s->n_column_blocks * s->n_pieces;
    }
    if (tasks < wanted && n_threads > 1)
        s->n_row_blocks = cpu_min(max(1, s->n_strips / 4), s->n_row_blocks * cpu_divide_up(wanted, tasks));
}

static cut cut_product(const cpu_device *cpu, const cpu_gemm *g)
{
    enum { PARTS_PER_PIECE = 4, WANTED_BLOCKS = 16 };
    const gemm_tile *tile = cpu->gemm_tile;
    cut s = {cpu_divide_up(g->m, tile->rows), cpu_divide_up(g->n, GEMM_PANEL), .n_parts = cpu_divide_up(g->k, PART_K), .n_pieces = 1,
             .load_a = load_of(&g->a, &g->b), .load_b = load_of(&g->b, &g->a)};
    bool across = g->a.column != 1;
    s.n_row_blocks = g->m <= ONE_BLOCK ? 1 : cpu_divide_up(g->m, BLOCK_ROWS);
    s.n_column_blocks = cpu_divide_up(g->n, across ? BLOCK_COLUMNS_ACROSS : BLOCK_COLUMNS);
    s.share_b = s.n_row_blocks > 1;
    if (across)
        s.n_pieces = max(1, cpu_min(WANTED_BLOCKS / (s.n_row_blocks * s.n_column_blocks), s.n_parts / PARTS_PER_PIECE));
    s.a_by_rows = !across && s.load_a == GEMM_F32 && tile->run_by_rows;
    s.a_in_place = s.a_by_rows && g->a.row % CONFLICT != 0;
    s.direct = tile->run_by_rows && s.n_pieces == 1 && g->c_dtype == AC_F32 && g->activation != AC_ACTIVATION_GELU && g->activation != AC_ACTIVATION_TANH &&
               (g->residual != g->c || !g->residual || s.n_parts == 1);
    cut_for_threads(&s, cpu->n_threads);
    return s;
}

/* What one thread works in, in floats. */
static int64_t packed_a_floats(void)
{
    return MAX_STRIPS * GEMM_STRIP * (PART_K + LINE);
}

static int64_t packed_b_floats(void)
{
    return PART_K * (BLOCK_COLUMNS_ACROSS + GEMM_PANEL);
}

static int64_t sums_floats(void)
{
    return (ONE_BLOCK + GEMM_STRIP) * (BLOCK_COLUMNS_ACROSS + GEMM_PANEL);
}

static int64_t thread_floats(void)
{
    return packed_a_floats() + packed_b_floats() + sums_floats();
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
    return (size_t)(shared + cpu->n_threads * thread_floats()) * sizeof(float);
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

enum { FEW_K = 16 }; /* rows of a matrix that is packed across, read together from end to end */

/* Panels panel .. panel_end, k0 .. k0 + k, each to `to` + its number times `stride`. */
static void pack_panels(const gemm_tile *tile, const cpu_gemm *g, gemm_load load, int64_t panel, int64_t panel_end, int64_t k0, int64_t k, float *to, int64_t stride)
{
    int64_t step = g->b.column == 1 ? FEW_K : k;
    for (int64_t first = 0; first < k; first += step)
        for (int64_t p = panel; p < panel_end; p++) {
            int n = (int)cpu_min(GEMM_PANEL, g->n - p * GEMM_PANEL);
            const void *from = element(&g->b, k0 + first, p * GEMM_PANEL);
            float *at = to + (p - panel) * stride + first * GEMM_PANEL;
            if (g->b.column == 1)
                tile->pack_across(from, g->b.row, n, cpu_min(step, k - first), load, GEMM_PANEL, at);
            else
                tile->pack_along(from, g->b.column, n, k, load, GEMM_PANEL, at);
        }
}

/* Row i0 + i of a block begins strip i .. */
static void pack_strips(const gemm_tile *tile, const cpu_gemm *g, const cut *s, const int64_t *row, int64_t n_strips, int64_t k0, int64_t k, float *to)
{
    int64_t step = g->a.column == 1 ? k : FEW_K;
    for (int64_t first = 0; first < k; first += step)
        for (int64_t i = 0; i < n_strips; i++) {
            const void *from = element(&g->a, row[i], k0 + first);
            float *at = to + (i * k + first) * GEMM_STRIP;
            if (g->a.column == 1)
                tile->pack_along(from, g->a.row, (int)(row[i + 1] - row[i]), k, s->load_a, GEMM_STRIP, at);
            else
                tile->pack_across(from, g->a.column, (int)(row[i + 1] - row[i]), cpu_min(step, k - first), s->load_a, GEMM_STRIP, at);
        }
}

/* Rows as they are, but close together. */
static void copy_rows(const float *from, int64_t from_ld, int rows, int64_t k, float *to, int64_t ld)
{
    for (int i = 0; i < rows; i++)
        memcpy(to + i * ld, from + i * from_ld, (size_t)k * sizeof *to);
}

/* By all threads of the region. */
static void pack_whole_b(const gemm_tile *tile, const cpu_gemm *g, const cut *s, float *to)
{
    enum { PANELS = 8 };
    int64_t n_groups = cpu_divide_up(s->n_panels, PANELS);
#pragma omp for schedule(static)
    for (int64_t task = 0; task < n_groups * s->n_parts; task++) {
        int64_t panel = task / s->n_parts * PANELS, part = task % s->n_parts, k0 = cpu_strip_begin(g->k, s->n_parts, part);
        pack_panels(tile, g, s->load_b, panel, cpu_min(s->n_panels, panel + PANELS), k0, cpu_strip_begin(g->k, s->n_parts, part + 1) - k0,
                    to + (panel * g->k + k0) * GEMM_PANEL, g->k * GEMM_PANEL);
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

typedef struct target { /* of a block's sums: its first row and column, rows ld apart */
    float *sums;
    int64_t ld;
    bool direct, add;
    cpu_tile_end end; /* from the first row and column of all */
    bool ends;
} target;

/* A block while it is summed: its strips' first rows and what one part of k of it is. */
typedef struct progress {
    int64_t row[MAX_STRIPS + 1], n_strips;
    int64_t k0, k, lda;
    const float *a;     /* of the block, where tiles read it */
    const float *far_a; /* a_by_rows: where it lies */
    bool first, last;   /* part of k of the block */
} progress;

/* What is asked for while strip i of a panel is computed: during the first panel a's next strip, then the next panel of b. */
static void look_ahead(const cpu_gemm *g, const cut *s, const progress *p, bool first_panel, int64_t i, const float *next_b, cpu_tile *t)
{
    t->ahead = NULL;
    if (s->a_by_rows && first_panel) {
        t->ahead = p->far_a + (p->row[i + 1] - p->row[0]) * g->a.row;
        t->ahead_row = g->a.row;
        t->ahead_next = LINE - 16 * g->a.row;
    } else if (next_b && i < 2) {
        t->ahead = next_b + i * p->k * LINE;
        t->ahead_row = LINE;
        t->ahead_next = 0;
    }
}

/* All strips of a block by one panel; columns j and on of the result, whose sums begin at `sums`. */
static void run_panel(const gemm_tile *tile, const cpu_gemm *g, const cut *s, const target *to, const progress *p, const buffers *buffer, int64_t j, bool first_panel,
                      const float *b, const float *next_b, float *sums)
{
    float *c[GEMM_STRIP];
    cpu_tile_end end = to->end;
    cpu_tile t = {.k = p->k, .n_runs = 1, .lda = p->lda, .b = b, .ldb = GEMM_PANEL, .c = c, .add = to->add || !p->first, .end = p->last && to->ends ? &end : NULL};
    t.n_columns = (int)(to->direct ? cpu_min(GEMM_PANEL, g->n - j) : GEMM_PANEL);
    end.scale = end.scale ? end.scale + j : NULL;
    end.shift = end.shift ? end.shift + j : NULL;
    for (int64_t i = 0; i < p->n_strips; i++) {
        int rows = (int)(p->row[i + 1] - p->row[i]);
        int64_t first = p->row[i] - p->row[0];
        for (int r = 0; r < rows; r++, sums += to->ld)
            c[r] = sums;
        end.residual = to->end.residual ? to->end.residual + p->row[i] * g->c_row + j : NULL;
        if (s->a_by_rows && !s->a_in_place && first_panel)
            copy_rows(p->far_a + first * g->a.row, g->a.row, rows, p->k, buffer->a + first * p->lda, p->lda);
        look_ahead(g, s, p, first_panel, i, next_b, &t);
        t.a = s->a_by_rows ? p->a + first * p->lda : p->a + i * p->k * GEMM_STRIP;
        (s->a_by_rows ? tile->run_by_rows : tile->run)(rows, &t);
    }
}

/* Part `part` of k of a block's sums. */
static void sum_part(const gemm_tile *tile, const cpu_gemm *g, const cut *s, const block *b, int64_t part, const float *whole_b, const buffers *buffer, const target *to,
                     progress *p)
{
    p->k0 = cpu_strip_begin(g->k, s->n_parts, part);
    p->k = cpu_strip_begin(g->k, s->n_parts, part + 1) - p->k0;
    p->first = part == b->part;
    p->last = part + 1 == b->part_end;
    p->a = buffer->a;
    p->lda = GEMM_STRIP;
    if (s->a_by_rows) {
        p->far_a = element(&g->a, p->row[0], p->k0);
        p->a = s->a_in_place ? p->far_a : buffer->a;
        p->lda = s->a_in_place ? g->a.row : cpu_round_up(p->k, LINE) + LINE;
    } else {
        pack_strips(tile, g, s, p->row, p->n_strips, p->k0, p->k, buffer->a);
    }
    const float *own_b = buffer->b - b->panel * p->k * GEMM_PANEL;
    bool together = g->b.column == 1; /* rows of b are read from end to end */
    if (!whole_b && together)
        pack_panels(tile, g, s->load_b, b->panel, b->panel_end, p->k0, p->k, buffer->b, p->k * GEMM_PANEL);
    for (int64_t panel = b->panel; panel < b->panel_end; panel++) {
        const float *from = whole_b ? whole_b + (panel * g->k + p->k0) * GEMM_PANEL : together ? own_b + panel * p->k * GEMM_PANEL : buffer->b;
        const float *next = whole_b && panel + 1 < b->panel_end ? from + g->k * GEMM_PANEL : NULL;
        if (!whole_b && !together)
            pack_panels(tile, g, s->load_b, panel, panel + 1, p->k0, p->k, buffer->b, 0);
        run_panel(tile, g, s, to, p, buffer, panel * GEMM_PANEL, panel == b->panel, from, next, to->sums + (panel - b->panel) * GEMM_PANEL);
    }
}

static void sum_block(const gemm_tile *tile, const cpu_gemm *g, const cut *s, const block *b, const float *whole_b, const buffers *buffer, const target *to)
{
    progress p = {.n_strips = b->strip_end - b->strip};
    for (int64_t i = 0; i <= p.n_strips; i++)
        p.row[i] = cpu_strip_begin(g->m, s->n_strips, b->strip + i);
    for (int64_t part = b->part; part < b->part_end; part++)
        sum_part(tile, g, s, b, part, whole_b, buffer, to, &p);
}

static target direct_target(const cpu_gemm *g, int64_t i0, int64_t j0)
{
    target to = {(float *)g->c + i0 * g->c_row + j0, g->c_row, true, g->add, {g->scale, g->scale ? g->shift : g->bias, g->residual, g->c_row, false, 0}, false};
    to.end.has_slope = g->activation != AC_ACTIVATION_NONE;
    to.end.slope = g->activation == AC_ACTIVATION_LEAKY_RELU ? g->slope : 0;
    to.ends = to.end.scale || to.end.shift || to.end.residual || to.end.has_slope;
    return to;
}

static void run_task(const cpu_device *cpu, const cpu_gemm *g, const cut *s, int64_t task, const float *whole_b, const buffers *buffer, float *pieces)
{
    int64_t row = task % s->n_row_blocks, column = task / s->n_row_blocks % s->n_column_blocks, piece = task / s->n_column_blocks / s->n_row_blocks;
    block b = {cpu_strip_begin(s->n_strips, s->n_row_blocks, row), cpu_strip_begin(s->n_strips, s->n_row_blocks, row + 1),
               cpu_strip_begin(s->n_panels, s->n_column_blocks, column), cpu_strip_begin(s->n_panels, s->n_column_blocks, column + 1),
               cpu_strip_begin(s->n_parts, s->n_pieces, piece), cpu_strip_begin(s->n_parts, s->n_pieces, piece + 1)};
    int64_t i0 = cpu_strip_begin(g->m, s->n_strips, b.strip), i1 = cpu_strip_begin(g->m, s->n_strips, b.strip_end);
    int64_t j0 = b.panel * GEMM_PANEL, j1 = cpu_min(g->n, b.panel_end * GEMM_PANEL), whole = s->n_panels * GEMM_PANEL;
    target to = {buffer->sums, (b.panel_end - b.panel) * GEMM_PANEL, false, false, {0}, false};
    if (s->direct)
        to = direct_target(g, i0, j0);
    else if (pieces)
        to = (target){pieces + piece * piece_floats(g) + i0 * whole + j0, whole, false, false, {0}, false};
    sum_block(cpu->gemm_tile, g, s, &b, whole_b, buffer, &to);
    if (to.sums == buffer->sums)
        cpu_gemm_finish(g, to.sums, to.ld, i0, i1 - i0, j0, j1 - j0);
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
        float *mine = own + omp_get_thread_num() * thread_floats();
        buffers buffer = {mine, mine + packed_a_floats(), mine + packed_a_floats() + packed_b_floats()};
        if (!packed_b && s.share_b)
            pack_whole_b(cpu->gemm_tile, gemm, &s, whole_b);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < s.n_row_blocks * s.n_column_blocks * s.n_pieces; task++)
            run_task(cpu, gemm, &s, task, b, &buffer, s.n_pieces > 1 ? pieces : NULL);
        if (s.n_pieces > 1)
            add_pieces(gemm, &s, pieces);
    }
}
