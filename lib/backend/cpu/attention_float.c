/* A head of attention in float. q, k and v are packed from where they lie into panels; probabilities exist for a block of rows at a time: a strip of
 * TILE_ROWS that stays in the first cache in forward, ROWS in backward. Workspace for L positions and heads of d: 8 L d floats and 2 ROWS L. */
#include "backend/cpu/attention.h"
#include <stdlib.h>
#include <string.h>

enum { ROWS = ATTENTION_MAX_ROWS, ALIGN = 16 /* floats */ };

static const float LOG2_E = 1.44269504f;

typedef struct buffers {
    const attention_code *code;
    int64_t padded_seen, padded_head;
    float *q, *k, *v, *dy;          /* [panels of the head][seen][TILE_COLUMNS] */
    float *k_turned, *v_turned;     /* [panels of seen][padded_head][TILE_COLUMNS] */
    float *out, *dk, *dv;           /* [rows or seen][padded_head]; out: the output, or dq */
    float *p, *dp, *inverse;        /* [rows][padded_seen] */
} buffers;

static float *take(float *start, int64_t *used, int64_t n)
{
    float *out = start ? start + *used : NULL;
    *used += (n + ALIGN - 1) / ALIGN * ALIGN;
    return out;
}

/* Carve the buffers out of `start` (NULL: only count); returns the floats they take. */
static int64_t carve(int64_t seen, int64_t head, bool backward, float *start, buffers *b)
{
    int64_t padded_head = attention_padded(head), padded_seen = attention_padded(seen), packed = seen * padded_head, turned = padded_seen * padded_head;
    int64_t rows = backward ? ROWS : TILE_ROWS, used = 0;
    memset(b, 0, sizeof *b);
    b->padded_seen = padded_seen;
    b->padded_head = padded_head;
    b->q = take(start, &used, packed);
    b->k = take(start, &used, packed);
    b->v = take(start, &used, packed);
    b->k_turned = take(start, &used, turned);
    b->out = take(start, &used, rows * padded_head);
    b->p = take(start, &used, rows * padded_seen);
    b->inverse = take(start, &used, rows);
    if (!backward)
        return used;
    b->dy = take(start, &used, packed);
    b->v_turned = take(start, &used, turned);
    b->dk = take(start, &used, packed);
    b->dv = take(start, &used, packed);
    b->dp = take(start, &used, rows * padded_seen);
    return used;
}

static size_t workspace_bytes(int64_t seen, int64_t head, bool backward)
{
    buffers b;
    return sizeof(float) * (size_t)carve(seen, head, backward, NULL, &b);
}

/* Panels of rows -> panels of columns. */
static void turn(const attention_head *h, const buffers *b, const float *from, float *to)
{
    for (int64_t i = 0; i < h->seen; i += TILE_COLUMNS, to += TILE_COLUMNS * b->padded_head)
        for (int64_t c = 0; c < b->padded_head; c += TILE_COLUMNS)
            b->code->transpose(from + c * h->seen + i * TILE_COLUMNS, (int)(h->seen - i < TILE_COLUMNS ? h->seen - i : TILE_COLUMNS), to + c * TILE_COLUMNS);
}

/* Rows first_row and on in a tensor whose positions have row_channels, of which q, k, v or the output begins at `first`. */
static attention_place place_of(const attention_head *h, int64_t first_row, int64_t rows, int64_t row_channels, int64_t first)
{
    return (attention_place){h->place + first_row, rows, row_channels, h->base * row_channels + first + h->first, h->head, h->bf16};
}

static void pack_qkv(const attention_head *h, const buffers *b)
{
    float *to[] = {b->q, b->k, b->v};
    for (int which = 0; which < 3; which++) {
        attention_place from = place_of(h, 0, h->seen, 3 * h->channels, which * h->channels);
        b->code->pack(&from, h->qkv, 1, to[which]);
    }
    turn(h, b, b->k, b->k_turned);
}

/* c [rows][padded_seen] = rows of a by the columns of `turned`. */
static void multiply_seen(const attention_head *h, const buffers *b, const float *a, int64_t first, int64_t rows, const float *turned, float *c)
{
    b->code->multiply(&(attention_product){.rows = rows, .n_panels = b->padded_seen / TILE_COLUMNS, .k = TILE_COLUMNS, .n_runs = b->padded_head / TILE_COLUMNS,
                           .a = a + first * TILE_COLUMNS, .lda = TILE_COLUMNS, .run_stride = h->seen * TILE_COLUMNS, .b = turned,
                           .b_stride = b->padded_head * TILE_COLUMNS, .c = c, .ldc = b->padded_seen});
}

/* c [rows][padded_head] = p by panels of rows, p [rows][padded_seen]. */
static void multiply_head(const attention_head *h, const buffers *b, const float *p, int64_t rows, const float *panels, float *c)
{
    b->code->multiply(&(attention_product){.rows = rows, .n_panels = b->padded_head / TILE_COLUMNS, .k = h->seen, .n_runs = 1, .a = p, .lda = b->padded_seen,
                           .b = panels, .b_stride = h->seen * TILE_COLUMNS, .c = c, .ldc = b->padded_head});
}

/* c [seen][padded_head] += the transpose of p by rows first .. first + rows of panels. */
static void multiply_turned(const attention_head *h, const buffers *b, const float *p, int64_t first, int64_t rows, const float *panels, float *c)
{
    b->code->multiply(&(attention_product){.rows = h->seen, .n_panels = b->padded_head / TILE_COLUMNS, .k = rows, .n_runs = 1, .a = p, .lda = b->padded_seen,
                           .by_columns = true, .b = panels + first * TILE_COLUMNS, .b_stride = h->seen * TILE_COLUMNS, .c = c, .ldc = b->padded_head,
                           .add = first > 0});
}

static attention_rows rows_of(const attention_head *h, const buffers *b, int64_t first, int64_t rows)
{
    return (attention_rows){rows, h->seen, b->padded_seen, b->p, h->scale * LOG2_E, h->bias ? h->bias + first * b->padded_seen : NULL};
}

static void forward(const attention_head *h, const attention_code *code, void *workspace)
{
    buffers b;
    int64_t n_strips = (h->seen + TILE_ROWS - 1) / TILE_ROWS;
    carve(h->seen, h->head, false, workspace, &b);
    b.code = code;
    pack_qkv(h, &b);
    for (int64_t s = 0; s < n_strips; s++) {
        int64_t first = cpu_strip_begin(h->seen, n_strips, s), rows = cpu_strip_begin(h->seen, n_strips, s + 1) - first;
        attention_rows r = rows_of(h, &b, first, rows);
        attention_place to = place_of(h, first, rows, h->channels, 0);
        multiply_seen(h, &b, b.q, first, rows, b.k_turned, b.p);
        code->exponentials(&r, b.inverse, h->log_sum ? h->log_sum + first : NULL);
        multiply_head(h, &b, b.p, rows, b.v, b.out);
        code->unpack(b.out, b.padded_head, 1, b.inverse, &to, h->out);
    }
}

/* Rows of the gradient of q, k or v (0, 1, 2). */
static void unpack_gradient(const attention_head *h, const buffers *b, int which, int64_t first_row, int64_t rows, const float *from)
{
    attention_place to = place_of(h, first_row, rows, 3 * h->channels, which * h->channels);
    if (h->dqkv)
        b->code->unpack(from, b->padded_head, which < 2 ? h->scale : 1, NULL, &to, h->dqkv);
}

static void backward(const attention_head *h, const attention_code *code, void *workspace)
{
    buffers b;
    attention_place dy = place_of(h, 0, h->seen, h->channels, 0);
    int64_t n_blocks = (h->seen + ROWS - 1) / ROWS;
    carve(h->seen, h->head, true, workspace, &b);
    b.code = code;
    pack_qkv(h, &b);
    turn(h, &b, b.v, b.v_turned);
    code->pack(&dy, h->dout, h->n_dout, b.dy);
    for (int64_t s = 0; s < n_blocks; s++) {
        int64_t first = cpu_strip_begin(h->seen, n_blocks, s), rows = cpu_strip_begin(h->seen, n_blocks, s + 1) - first;
        attention_rows r = rows_of(h, &b, first, rows);
        multiply_seen(h, &b, b.q, first, rows, b.k_turned, b.p);
        multiply_seen(h, &b, b.dy, first, rows, b.v_turned, b.dp);
        code->gradient(&r, h->log_sum + first, b.dp, h->table ? h->table + first * b.padded_seen : NULL);
        multiply_turned(h, &b, b.p, first, rows, b.dy, b.dv);
        multiply_turned(h, &b, b.dp, first, rows, b.q, b.dk);
        multiply_head(h, &b, b.dp, rows, b.k, b.out);
        unpack_gradient(h, &b, 0, first, rows, b.out);
    }
    unpack_gradient(h, &b, 1, 0, h->seen, b.dk);
    unpack_gradient(h, &b, 2, 0, h->seen, b.dv);
}

static void forward_plain(const attention_head *h, void *workspace)
{
    forward(h, &cpu_attention_plain, workspace);
}

static void backward_plain(const attention_head *h, void *workspace)
{
    backward(h, &cpu_attention_plain, workspace);
}

#if CPU_HAS_AVX512_CODE
static void forward_avx512(const attention_head *h, void *workspace)
{
    forward(h, &cpu_attention_avx512, workspace);
}

static void backward_avx512(const attention_head *h, void *workspace)
{
    backward(h, &cpu_attention_avx512, workspace);
}
#endif

const attention_way *cpu_attention_choose(const cpu_device *cpu, ac_dtype dtype)
{
    static const attention_way plain = {workspace_bytes, forward_plain, backward_plain, NULL, NULL};
#if CPU_HAS_AVX512_CODE
    static const attention_way avx512 = {workspace_bytes, forward_avx512, backward_avx512, NULL, NULL};
    const char *forced = getenv("ANYCLASS_ATTENTION");
    bool in_float = forced && strcmp(forced, "float") == 0;
    if (!cpu_has_avx512() || (forced && strcmp(forced, "plain") == 0))
        return &plain;
    const attention_way *bf16 = dtype == AC_BF16 && !in_float ? cpu_attention_bf16(cpu->bf16_kernel) : NULL;
    return bf16 ? bf16 : &avx512;
#else
    (void)cpu, (void)dtype;
    return &plain;
#endif
}
