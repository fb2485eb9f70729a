/* Matrix products with an operand in bf16 (gemm.h), cut into pieces for the kernels of tile_bf16.h. A block of columns of b is packed once and stays
 * in the second cache for its whole depth, while strips of 32 rows of a go by, each a chunk of k at a time in the first cache. Chunks and parts of k
 * follow from the shape alone, so that no sum depends on the number of threads; how rows and columns are dealt out does not matter to any. */
#include "backend/cpu/conv_avx512.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/tile_bf16.h"
#include <omp.h>

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

enum {
    MOST_K = 768, TURNED_K = 384, /* of a chunk: a strip of it fills the first cache; b passes by. Less where a is turned, so that a group is more. */
    BLOCK_NUMBERS = 1 << 19,   /* of b in a block: half of a second cache of 2 MiB */
    MOST_PAIRS = 16,           /* of panels in a block: their sums wait for the next chunk */
    GROUP_BYTES = 1 << 18,     /* of packed strips and their sums: so many strips are packed together, from rows that are read on */
    MOST_PARTS = 8, PART_K = 1536, FEW_BLOCKS = 8, /* long sums of small results are cut, for the threads */
    LONG_K = 4096,             /* and very long ones, so that enough columns of b fit */
    LARGE_RESULT = 1 << 22,    /* numbers; written past the caches */
    SUMS = BF16_SIDE * BF16_SIDE
};

typedef struct cut {
    int64_t k;                                /* rounded up to whole units */
    int64_t n_parts, part_k, chunk, n_chunks; /* n_chunks: of a part */
    int64_t n_strips, n_pairs;                /* 32 rows, 32 columns (pairs of panels) */
    int64_t n_row_blocks, n_column_blocks, pairs; /* pairs: the most of a block */
    int64_t group;                            /* strips that go through a chunk together */
    int64_t part_floats, a_numbers, b_numbers, sum_floats;
} cut;

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Equal pieces of whole units. */
static int64_t piece_k(int64_t k, int64_t n)
{
    return cpu_round_up(cpu_divide_up(k, n), BF16_STEP);
}

static cut cut_product(const cpu_gemm *g, int n_threads)
{
    cut c = {.k = cpu_round_up(g->k, BF16_STEP), .n_strips = cpu_divide_up(g->m, BF16_SIDE), .n_pairs = cpu_divide_up(g->n, BF16_SIDE)};
    int64_t few = cpu_divide_up(c.n_strips * c.n_pairs, 64) < FEW_BLOCKS ? cpu_min(MOST_PARTS, c.k / PART_K) : 1;
    c.part_k = piece_k(c.k, most(most(1, few), c.k / LONG_K));
    c.n_parts = cpu_divide_up(c.k, c.part_k);
    c.chunk = piece_k(c.part_k, cpu_divide_up(c.part_k, g->a.column == 1 ? MOST_K : TURNED_K));
    c.n_chunks = cpu_divide_up(c.part_k, c.chunk);
    int64_t most_pairs = most(1, cpu_min(MOST_PAIRS, BLOCK_NUMBERS / (c.part_k * BF16_SIDE)));
    c.n_column_blocks = cpu_divide_up(c.n_pairs, most_pairs);
    if (c.n_column_blocks * c.n_parts % n_threads) /* as many for each thread */
        c.n_column_blocks = cpu_min(c.n_pairs, cpu_round_up(c.n_column_blocks, n_threads));
    c.n_row_blocks = cpu_min(c.n_strips, cpu_divide_up(n_threads, c.n_column_blocks * c.n_parts));
    c.pairs = cpu_divide_up(c.n_pairs, c.n_column_blocks);
    int64_t strip_bytes = BF16_SIDE * c.chunk * (int64_t)sizeof(uint16_t) + c.pairs * SUMS * (int64_t)sizeof(float);
    c.group = g->a.column == 1 ? 1 : cpu_min(c.n_strips, most(1, GROUP_BYTES / strip_bytes));
    c.part_floats = c.n_parts > 1 ? c.n_parts * c.n_strips * c.n_pairs * SUMS : 0;
    c.a_numbers = c.group * BF16_SIDE * c.chunk;
    c.b_numbers = c.pairs * BF16_SIDE * c.part_k;
    c.sum_floats = c.n_parts > 1 ? 0 : c.n_chunks > 1 ? c.group * c.pairs * SUMS : SUMS;
    return c;
}

static size_t thread_bytes(const cut *c)
{
    return (size_t)(c->a_numbers + c->b_numbers) * sizeof(uint16_t) + (size_t)c->sum_floats * sizeof(float);
}

static cpu_bf16_source source(const cpu_matrix *m, bool is_b)
{
    return (cpu_bf16_source){m->values, is_b ? m->column : m->row, is_b ? m->row : m->column, m->dtype == AC_F32};
}

/* Pairs of panels, k .. k + n_k: panel p to to + p * panel. Rows of b that go from panel to panel are read on, not each on a page of its own. */
static void pack_pairs(const cpu_gemm *g, int64_t pair, int64_t end, int64_t k, int64_t n_k, uint16_t *to, int64_t panel)
{
    cpu_bf16_source s = source(&g->b, true);
    int64_t first = pair * BF16_SIDE, last = cpu_min(g->n, end * BF16_SIDE), step = s.step == 1 ? n_k : BF16_STEP;
    for (int64_t at = 0; at < n_k; at += step)
        for (int64_t j = first; j < last; j += BF16_LANES)
            cpu_bf16_pack_b(&s, j, (int)cpu_min(BF16_LANES, last - j), k + at, cpu_min(step, n_k - at), to + (j - first) / BF16_LANES * panel + at * BF16_LANES,
                            BF16_UNIT);
}

typedef struct block {
    int64_t strip, strip_end, pair, pair_end, k, end, part;
} block;

typedef struct job {
    const cpu_gemm *g;
    cut c;
    cpu_bf16_kernel kernel;
    const uint16_t *packed_b; /* NULL: to be packed */
    float *parts;
    uint16_t *a, *b; /* this thread's */
    float *sums;
} job;

static block block_of(const job *j, int64_t task)
{
    const cut *c = &j->c;
    int64_t column = task % c->n_column_blocks, row = task / c->n_column_blocks % c->n_row_blocks, part = task / c->n_column_blocks / c->n_row_blocks;
    return (block){cpu_strip_begin(c->n_strips, c->n_row_blocks, row), cpu_strip_begin(c->n_strips, c->n_row_blocks, row + 1),
                   cpu_strip_begin(c->n_pairs, c->n_column_blocks, column), cpu_strip_begin(c->n_pairs, c->n_column_blocks, column + 1),
                   part * c->part_k, cpu_min(j->g->k, (part + 1) * c->part_k), part};
}

static bool lies_ready(const cpu_gemm *g, int64_t s, int64_t n_k)
{
    return g->a.column == 1 && g->a.dtype == AC_BF16 && n_k % BF16_STEP == 0 && cpu_min(BF16_SIDE, g->m - s * BF16_SIDE) % BF16_LANES == 0;
}

/* Strips s .. end of a for k .. k + n_k, unless they can be read where they lie. */
static void pack_strips(const job *j, int64_t s, int64_t end, int64_t k, int64_t n_k)
{
    const cpu_gemm *g = j->g;
    cpu_bf16_source from = source(&g->a, false);
    int64_t first = s * BF16_SIDE, last = cpu_min(g->m, end * BF16_SIDE), step = from.step == 1 ? n_k : BF16_STEP;
    if (lies_ready(g, s, n_k))
        return;
    for (int64_t at = 0; at < n_k; at += step)
        for (int64_t i = first; i < last; i += BF16_LANES) {
            uint16_t *to = j->a + (i - first) / BF16_SIDE * BF16_SIDE * j->c.chunk + (i - first) % BF16_SIDE * BF16_STEP;
            cpu_bf16_pack_a(&from, i, (int)cpu_min(BF16_LANES, last - i), k + at, cpu_min(step, n_k - at), to + at * BF16_SIDE, 2 * BF16_UNIT);
        }
}

/* Where strip s of the group that starts at strip `first` is for k .. k + n_k. */
static void place_strip(const job *j, int64_t first, int64_t s, int64_t k, int64_t n_k, cpu_bf16_tile *t)
{
    const cpu_matrix *a = &j->g->a;
    bool ready = lies_ready(j->g, s, n_k);
    t->n_rows = (int)cpu_min(BF16_SIDE, j->g->m - s * BF16_SIDE);
    t->a = ready ? (const uint16_t *)a->values + s * BF16_SIDE * a->row + k : j->a + (s - first) * BF16_SIDE * j->c.chunk;
    t->a_row = ready ? a->row : BF16_STEP;
    t->a_half = BF16_LANES * t->a_row;
    t->a_step = ready ? BF16_STEP : 2 * BF16_UNIT;
}

static float *sums_of(const job *j, const block *b, int64_t first, int64_t s, int64_t pair)
{
    const cut *c = &j->c;
    if (c->n_parts > 1)
        return j->parts + ((b->part * c->n_strips + s) * c->n_pairs + pair) * SUMS;
    return j->sums + (c->n_chunks > 1 ? ((s - first) * c->pairs + pair - b->pair) * SUMS : 0);
}

static void finish(const cpu_gemm *g, const float *sums, int64_t strip, int64_t pair)
{
    int64_t i = strip * BF16_SIDE, j = pair * BF16_SIDE, rows = cpu_min(BF16_SIDE, g->m - i), columns = cpu_min(BF16_SIDE, g->n - j);
    bool slopes = g->activation == AC_ACTIVATION_RELU || g->activation == AC_ACTIVATION_LEAKY_RELU;
    if (g->activation != AC_ACTIVATION_NONE && !slopes) {
        cpu_gemm_finish(g, sums, BF16_SIDE, i, rows, j, columns);
        return;
    }
    cpu_bf16_finish f = {.to = g->c, .row = g->c_row, .bf16 = g->c_dtype == AC_BF16, .add = g->add, .scale = g->scale,
                         .shift = g->scale ? g->shift : g->bias, .residual = g->residual,
                         .slope = !slopes ? 1 : g->activation == AC_ACTIVATION_RELU ? 0 : g->slope,
                         .past_caches = g->c_dtype == AC_BF16 && g->m * g->n > LARGE_RESULT && g->c_row % BF16_SIDE == 0 && (uintptr_t)g->c % 64 == 0};
    cpu_bf16_finish_rows(&f, sums, i * g->c_row + j, (int)rows, j, (int)columns);
}

/* Bring a share of the next strip's rows into the second cache while this one is multiplied. */
static void prefetch_strip(const cpu_gemm *g, int64_t s, int64_t k, int64_t n_k, int64_t share, int64_t n_shares)
{
    enum { LINE = 64 };
    int64_t row = s * BF16_SIDE, rows = cpu_min(BF16_SIDE, g->m - row), size = g->a.dtype == AC_BF16 ? 2 : 4;
    for (int64_t i = cpu_strip_begin(rows, n_shares, share); i < cpu_strip_begin(rows, n_shares, share + 1); i++) {
        const char *from = (const char *)g->a.values + ((row + i) * g->a.row + k) * size;
        for (int64_t at = 0; at < n_k * size; at += LINE)
            _mm_prefetch(from + at, _MM_HINT_T1);
    }
}

/* Strips s .. end, k .. k + n_k, all columns of the block. */
static void multiply_chunk(const job *j, const block *b, int64_t s, int64_t end, int64_t k)
{
    const cpu_gemm *g = j->g;
    const cut *c = &j->c;
    int64_t n_k = cpu_min(c->chunk, b->end - k), depth = j->packed_b ? c->k : c->part_k, first = s;
    const uint16_t *panels = j->packed_b ? j->packed_b + b->pair * BF16_SIDE * depth + k * BF16_LANES : j->b + (k - b->k) * BF16_LANES;
    bool is_last = c->n_parts == 1 && k + n_k == b->end;
    cpu_bf16_tile t = {.n_runs = 1, .n_steps = cpu_divide_up(n_k, BF16_STEP), .b_panel = BF16_LANES * depth, .add = k > b->k};
    if (!j->packed_b && s == b->strip)
        pack_pairs(g, b->pair, b->pair_end, k, n_k, j->b + (k - b->k) * BF16_LANES, t.b_panel);
    pack_strips(j, s, end, k, n_k);
    for (; s < end; s++) {
        place_strip(j, first, s, k, n_k, &t);
        for (int64_t pair = b->pair; pair < b->pair_end; pair++) {
            t.b = panels + (pair - b->pair) * BF16_SIDE * depth;
            t.n_columns = (int)cpu_min(BF16_SIDE, g->n - pair * BF16_SIDE);
            t.c = sums_of(j, b, first, s, pair);
            if (g->a.column == 1 && s + 1 < b->strip_end)
                prefetch_strip(g, s + 1, k, n_k, pair - b->pair, b->pair_end - b->pair);
            cpu_bf16_run(j->kernel, &t);
            if (is_last)
                finish(g, t.c, s, pair);
        }
    }
}

/* The parts of each sum in order. */
static CPU_AVX512 void add_parts(const job *j, int64_t strip, int64_t pair)
{
    const cut *c = &j->c;
    float *sums = j->parts + (strip * c->n_pairs + pair) * SUMS;
    for (int64_t i = 0; i < SUMS; i += BF16_LANES) {
        __m512 sum = _mm512_loadu_ps(sums + i);
        for (int64_t p = 1; p < c->n_parts; p++)
            sum = _mm512_add_ps(sum, _mm512_loadu_ps(sums + p * c->n_strips * c->n_pairs * SUMS + i));
        _mm512_storeu_ps(sums + i, sum);
    }
    finish(j->g, sums, strip, pair);
}

void cpu_gemm_bf16_run(const cpu_device *cpu, const cpu_gemm *g, const void *packed_b, void *workspace)
{
    const cut c = cut_product(g, cpu->n_threads);
    float *parts = workspace;
    char *threads = (char *)(parts + c.part_floats);
#pragma omp parallel num_threads(cpu->n_threads)
    {
        char *mine = threads + (size_t)omp_get_thread_num() * thread_bytes(&c);
        job j = {.g = g, .c = c, .kernel = cpu->bf16_kernel, .packed_b = packed_b, .parts = parts, .sums = (float *)(void *)mine};
        j.a = (uint16_t *)(void *)(j.sums + c.sum_floats);
        j.b = j.a + c.a_numbers;
        cpu_bf16_begin(j.kernel);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < c.n_parts * c.n_row_blocks * c.n_column_blocks; task++) {
            block at = block_of(&j, task);
            for (int64_t s = at.strip; s < at.strip_end; s += c.group)
                for (int64_t k = at.k; k < at.end; k += c.chunk)
                    multiply_chunk(&j, &at, s, cpu_min(at.strip_end, s + c.group), k);
        }
        cpu_bf16_end(j.kernel);
        _mm_sfence();
        if (c.n_parts > 1) {
#pragma omp for schedule(static)
            for (int64_t k = 0; k < c.n_strips * c.n_pairs; k++)
                add_parts(&j, k / c.n_pairs, k % c.n_pairs);
        }
    }
}

size_t cpu_gemm_bf16_workspace_bytes(const cpu_device *cpu, const cpu_gemm *g)
{
    cut c = cut_product(g, cpu->n_threads);
    return (size_t)c.part_floats * sizeof(float) + (size_t)cpu->n_threads * thread_bytes(&c);
}

size_t cpu_gemm_bf16_packed_b_bytes(const cpu_device *cpu, const cpu_gemm *g)
{
    (void)cpu;
    return (size_t)(cpu_round_up(g->k, BF16_STEP) * cpu_round_up(g->n, BF16_SIDE)) * sizeof(uint16_t);
}

void cpu_gemm_bf16_pack_b(const cpu_device *cpu, const cpu_gemm *g, void *packed_b)
{
    int64_t k = cpu_round_up(g->k, BF16_STEP), n_pairs = cpu_divide_up(g->n, BF16_SIDE);
#pragma omp parallel for schedule(static) num_threads(cpu->n_threads)
    for (int64_t pair = 0; pair < n_pairs; pair++)
        pack_pairs(g, pair, pair + 1, 0, g->k, (uint16_t *)packed_b + pair * BF16_SIDE * k, BF16_LANES * k);
}
#else
size_t cpu_gemm_bf16_workspace_bytes(const cpu_device *cpu, const cpu_gemm *g)
{
    (void)cpu, (void)g;
    return 0;
}

void cpu_gemm_bf16_run(const cpu_device *cpu, const cpu_gemm *g, const void *packed_b, void *workspace)
{
    (void)cpu, (void)g, (void)packed_b, (void)workspace;
}

size_t cpu_gemm_bf16_packed_b_bytes(const cpu_device *cpu, const cpu_gemm *g)
{
    (void)cpu, (void)g;
    return 0;
}

void cpu_gemm_bf16_pack_b(const cpu_device *cpu, const cpu_gemm *g, void *packed_b)
{
    (void)cpu, (void)g, (void)packed_b;
}
#endif
