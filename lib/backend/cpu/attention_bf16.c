/* A head of attention with products in bf16 (tile_bf16.h: AMX or AVX512-BF16) and everything between them in float. Rows of logits come in strips of
 * STRIP. What is multiplied with the transpose of the probabilities is turned instead: dv^T = dy^T p and dk^T = q^T dlogits are summed, so that p and
 * dlogits are needed with their rows in pairs, which is how two rows next to each other are rounded at once.
 *
 * Workspace for L positions and heads of d: some 12 L d numbers of 2 bytes and 5 of 4, 2 STRIP L floats, and 2 GROUP STRIP L bf16. */
#include "backend/cpu/attention.h"
#include "backend/cpu/attention_math.h"
#include <string.h>

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define DOT __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16")))
#define INLINE static inline __attribute__((always_inline)) DOT

enum {
    STRIP = BF16_SIDE,          /* rows */
    BLOCK = STRIP * BF16_SIDE,  /* floats of what one tile run makes */
    GROUP = 8,                  /* strips between two sums of dk and dv */
    LANES = BF16_LANES
};

static const float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

/* Operands of products are in units; `panels` of 16 lines each have all units along k behind each other. */
typedef struct buffers {
    int64_t seen, head;      /* rounded up to whole STRIPs */
    uint16_t *q, *k, *v, *dy;  /* [seen][head] with zeros around */
    uint16_t *k_by_seen, *v_by_seen; /* k^T, v^T as b: [seen / 16][head / 32] units */
    uint16_t *by_head;       /* v (forward) or k (backward) as b: [head / 16][seen / 32] units */
    uint16_t *q_turned, *dy_turned; /* q^T, dy^T as a: [head / 16][seen / 32] units */
    float *p, *dp;           /* a strip of logits: blocks [seen / 32][32][32] */
    uint16_t *rows;          /* the strip's p (forward) or gradient of logits, [32][seen] */
    uint16_t *p_pairs, *d_pairs; /* p and gradient of logits of a group as b: [seen / 16][GROUP] units */
    float *out;              /* blocks [head / 32][32][32] */
    float *dk, *dv;          /* turned: blocks [head / 32][seen / 32][32][32] */
} buffers;

static void *take(unsigned char *start, size_t *used, size_t n_bytes)
{
    void *out = start ? start + *used : NULL;
    *used += (n_bytes + 63) / 64 * 64;
    return out;
}

static size_t carve(int64_t seen, int64_t head, bool backward, void *start, buffers *b)
{
    size_t used = 0;
    b->seen = attention_padded(seen);
    b->head = attention_padded(head);
    size_t packed = (size_t)(b->seen * b->head), strip = (size_t)(STRIP * b->seen);
    b->q = take(start, &used, 2 * packed);
    b->k = take(start, &used, 2 * packed);
    b->v = take(start, &used, 2 * packed);
    b->k_by_seen = take(start, &used, 2 * packed);
    b->by_head = take(start, &used, 2 * packed);
    b->p = take(start, &used, 4 * strip);
    b->rows = take(start, &used, 2 * strip);
    b->out = take(start, &used, 4 * (size_t)(STRIP * b->head));
    if (!backward)
        return used;
    b->dy = take(start, &used, 2 * packed);
    b->v_by_seen = take(start, &used, 2 * packed);
    b->q_turned = take(start, &used, 2 * packed);
    b->dy_turned = take(start, &used, 2 * packed);
    b->dp = take(start, &used, 4 * strip);
    b->p_pairs = take(start, &used, 2 * GROUP * strip);
    b->d_pairs = take(start, &used, 2 * GROUP * strip);
    b->dk = take(start, &used, 4 * packed);
    b->dv = take(start, &used, 4 * packed);
    return used;
}

static size_t workspace_bytes(int64_t seen, int64_t head, bool backward)
{
    buffers b;
    return carve(seen, head, backward, NULL, &b);
}

INLINE __mmask16 first_16(int64_t n)
{
    return (__mmask16)(n >= 16 ? 0xFFFF : n <= 0 ? 0 : (1u << n) - 1);
}

INLINE __mmask32 first_32(int64_t n)
{
    return n >= 32 ? UINT32_MAX : n <= 0 ? 0 : (UINT32_C(1) << n) - 1;
}

INLINE __m512 wide(__m256i x)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

/* bf16 as ac_bf16_from_float() rounds: what leaves the operator keeps its denormal numbers and NaN. */
INLINE __m256i round_exactly(__m512 value)
{
    __m512i bits = _mm512_castps_si512(value), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    rounded = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

/* Sum of n tensors' rows, to [seen][head]. The tensors' positions have row_channels. */
DOT static void gather(const attention_head *h, const buffers *b, const void *const *values, int n, int64_t row_channels, int64_t first, uint16_t *to)
{
    for (int64_t i = 0; i < b->seen; i++, to += b->head) {
        int64_t at = i < h->seen ? (h->base + h->place[i]) * row_channels + first + h->first : 0, inside = i < h->seen ? h->head : 0;
        for (int64_t c = 0; c < b->head; c += 32) {
            __mmask32 mask = first_32(inside - c);
            __m512i x = _mm512_maskz_loadu_epi16(mask, (const uint16_t *)values[0] + at + c);
            if (n > 1) {
                __m512 low = wide(_mm512_castsi512_si256(x)), high = wide(_mm512_extracti64x4_epi64(x, 1));
                for (int part = 1; part < n; part++) {
                    __m512i y = _mm512_maskz_loadu_epi16(mask, (const uint16_t *)values[part] + at + c);
                    low = _mm512_add_ps(low, wide(_mm512_castsi512_si256(y)));
                    high = _mm512_add_ps(high, wide(_mm512_extracti64x4_epi64(y, 1)));
                }
                x = _mm512_inserti64x4(_mm512_castsi256_si512(round_exactly(low)), round_exactly(high), 1);
            }
            _mm512_storeu_si512(to + c, x);
        }
    }
}

/* [seen][head] as an operand whose lines are positions and k channels, or (turned) the other way. */
static void pack_b(const buffers *b, const uint16_t *from, bool turned, uint16_t *to)
{
    cpu_bf16_source s = {from, turned ? 1 : b->head, turned ? b->head : 1, false};
    int64_t lines = turned ? b->head : b->seen, k = turned ? b->seen : b->head;
    for (int64_t line = 0; line < lines; line += LANES)
        cpu_bf16_pack_b(&s, line, LANES, 0, k, to + line * k, BF16_UNIT);
}

static void pack_a_turned(const buffers *b, const uint16_t *from, uint16_t *to)
{
    cpu_bf16_source s = {from, 1, b->head, false};
    for (int64_t line = 0; line < b->head; line += LANES)
        cpu_bf16_pack_a(&s, line, LANES, 0, b->seen, to + line * b->seen, BF16_UNIT);
}

/* Rows first .. first + rows of a [seen][head] by all columns of b [seen / 16][head / 32], to blocks. */
static void multiply_seen(cpu_bf16_kernel kernel, const buffers *b, const uint16_t *a, int64_t first, int rows, const uint16_t *columns, float *to)
{
    cpu_bf16_tile t = {.a = a + first * b->head, .a_row = b->head, .a_half = LANES * b->head, .a_step = BF16_STEP, .n_runs = 1, .n_steps = b->head / BF16_STEP,
                       .b_panel = LANES * b->head, .n_rows = rows, .n_columns = BF16_SIDE};
    for (int64_t j = 0; j < b->seen; j += BF16_SIDE) {
        t.b = columns + j * b->head;
        t.c = to + j * STRIP;
        cpu_bf16_run(kernel, &t);
    }
}

/* The strip's `rows` [32][seen] by b->by_head, to b->out. */
static void multiply_head(cpu_bf16_kernel kernel, const buffers *b, int rows)
{
    cpu_bf16_tile t = {.a = b->rows, .a_row = b->seen, .a_half = LANES * b->seen, .a_step = BF16_STEP, .n_runs = 1, .n_steps = b->seen / BF16_STEP,
                       .b_panel = LANES * b->seen, .n_rows = rows, .n_columns = BF16_SIDE};
    for (int64_t j = 0; j < b->head; j += BF16_SIDE) {
        t.b = b->by_head + j * b->seen;
        t.c = b->out + j * STRIP;
        cpu_bf16_run(kernel, &t);
    }
}

/* c += a [head / 16][seen / 32], of which strips first and on count, by n strips of pairs; c: blocks [head / 32][seen / 32]. */
static void multiply_turned(cpu_bf16_kernel kernel, const buffers *b, const uint16_t *a, int64_t first, int64_t n, const uint16_t *pairs, float *c)
{
    cpu_bf16_tile t = {.a_row = BF16_STEP, .a_half = LANES * b->seen, .a_step = BF16_UNIT, .n_runs = 1, .n_steps = n, .b_panel = GROUP * BF16_UNIT,
                       .n_rows = BF16_SIDE, .n_columns = BF16_SIDE, .add = first > 0};
    for (int64_t i = 0; i < b->head; i += BF16_SIDE) {
        t.a = a + i * b->seen + first * BF16_UNIT;
        for (int64_t j = 0; j < b->seen; j += BF16_SIDE) {
            t.b = pairs + j / LANES * GROUP * BF16_UNIT;
            t.c = c + i * b->seen + j * BF16_SIDE;
            cpu_bf16_run(kernel, &t);
        }
    }
}

/* Vector v of row i of a strip. */
INLINE int64_t vector_at(int64_t i, int64_t v)
{
    return v / 2 * BLOCK + i * BF16_SIDE + v % 2 * LANES;
}

INLINE __m512 logit(const float *product, const float *bias, __m512 scale)
{
    __m512 x = _mm512_loadu_ps(product);
    return bias ? _mm512_fmadd_ps(x, scale, _mm512_loadu_ps(bias)) : _mm512_mul_ps(x, scale);
}

/* Row i: its p, not divided by their sum, in bf16; the largest logit, the sum. */
INLINE void exponentials_of_row(const attention_head *h, const buffers *b, const float *bias, int64_t i, float *most, float *sum)
{
    int64_t full = h->seen / LANES, n = b->seen / LANES;
    __m512 scale = _mm512_set1_ps(h->scale * LOG2_E), low = _mm512_set1_ps(-__builtin_inff()), high = low, total = _mm512_setzero_ps();
    __mmask16 last = first_16(h->seen - full * LANES);
    uint16_t *to = b->rows + i * b->seen;
    for (int64_t v = 0; v < full; v++)
        high = _mm512_max_ps(high, logit(b->p + vector_at(i, v), bias ? bias + v * LANES : NULL, scale));
    if (last)
        high = _mm512_max_ps(high, _mm512_mask_mov_ps(low, last, logit(b->p + vector_at(i, full), bias ? bias + full * LANES : NULL, scale)));
    *most = _mm512_reduce_max_ps(high);
    high = _mm512_set1_ps(-*most);
    for (int64_t v = 0; v < full; v++) {
        __m512 x = attention_exp2(_mm512_add_ps(logit(b->p + vector_at(i, v), bias ? bias + v * LANES : NULL, scale), high));
        total = _mm512_add_ps(total, x);
        _mm256_storeu_si256((__m256i *)(void *)(to + v * LANES), (__m256i)_mm512_cvtneps_pbh(x));
    }
    for (int64_t v = full; v < n; v++) {
        __m512 x = _mm512_setzero_ps();
        if (v == full && last)
            x = _mm512_maskz_mov_ps(last, attention_exp2(_mm512_add_ps(logit(b->p + vector_at(i, v), bias ? bias + v * LANES : NULL, scale), high)));
        total = _mm512_add_ps(total, x);
        _mm256_storeu_si256((__m256i *)(void *)(to + v * LANES), (__m256i)_mm512_cvtneps_pbh(x));
    }
    *sum = _mm512_reduce_add_ps(total);
}

/* Two rows of 16 numbers, rounded, in pairs. */
INLINE __m512i in_pairs(__m512 first, __m512 second)
{
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

typedef struct pair { /* of rows i, i + 1 of a strip; the second may be missing */
    int64_t i;
    bool two;
    const float *bias, *log_sum; /* of row i */
    float *table;
    uint16_t *p_pairs, *d_pairs;
} pair;

/* p of both rows: in place, and in pairs; returns the sums of p dp. */
INLINE void probabilities_of_pair(const attention_head *h, const buffers *b, const pair *r, float mean[2])
{
    int64_t n = b->seen / LANES;
    __m512 scale = _mm512_set1_ps(h->scale * LOG2_E), total0 = _mm512_setzero_ps(), total1 = total0;
    __m512 high0 = _mm512_set1_ps(-r->log_sum[0] * LOG2_E), high1 = r->two ? _mm512_set1_ps(-r->log_sum[1] * LOG2_E) : total0;
    for (int64_t v = 0; v < n; v++) {
        float *p = b->p + vector_at(r->i, v);
        const float *dp = b->dp + vector_at(r->i, v), *bias = r->bias ? r->bias + v * LANES : NULL;
        __mmask16 inside = first_16(h->seen - v * LANES);
        __m512 x0 = _mm512_maskz_mov_ps(inside, attention_exp2(_mm512_add_ps(logit(p, bias, scale), high0))), x1 = _mm512_setzero_ps();
        if (r->two) {
            x1 = _mm512_maskz_mov_ps(inside, attention_exp2(_mm512_add_ps(logit(p + BF16_SIDE, bias ? bias + b->seen : NULL, scale), high1)));
            total1 = _mm512_fmadd_ps(x1, _mm512_loadu_ps(dp + BF16_SIDE), total1);
            _mm512_storeu_ps(p + BF16_SIDE, x1);
        }
        total0 = _mm512_fmadd_ps(x0, _mm512_loadu_ps(dp), total0);
        _mm512_storeu_ps(p, x0);
        _mm512_storeu_si512(r->p_pairs + v * GROUP * BF16_UNIT, in_pairs(x0, x1));
    }
    mean[0] = _mm512_reduce_add_ps(total0);
    mean[1] = _mm512_reduce_add_ps(total1);
}

INLINE void add_to(float *to, __m512 x)
{
    _mm512_storeu_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), x));
}

/* Gradient of the logits of both rows: in rows, in pairs, to the table's. */
INLINE void gradient_of_pair(const buffers *b, const pair *r, const float mean[2])
{
    int64_t n = b->seen / LANES;
    __m512 mean0 = _mm512_set1_ps(mean[0]), mean1 = _mm512_set1_ps(mean[1]);
    uint16_t *to = b->rows + r->i * b->seen;
    for (int64_t v = 0; v < n; v++) {
        const float *p = b->p + vector_at(r->i, v), *dp = b->dp + vector_at(r->i, v);
        __m512 g0 = _mm512_mul_ps(_mm512_loadu_ps(p), _mm512_sub_ps(_mm512_loadu_ps(dp), mean0)), g1 = _mm512_setzero_ps();
        if (r->two)
            g1 = _mm512_mul_ps(_mm512_loadu_ps(p + BF16_SIDE), _mm512_sub_ps(_mm512_loadu_ps(dp + BF16_SIDE), mean1));
        if (r->table) {
            add_to(r->table + v * LANES, g0);
            if (r->two)
                add_to(r->table + b->seen + v * LANES, g1);
        }
        __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(g1, g0);
        _mm256_storeu_si256((__m256i *)(void *)(to + v * LANES), _mm512_castsi512_si256(rounded));
        _mm256_storeu_si256((__m256i *)(void *)(to + b->seen + v * LANES), _mm512_extracti64x4_epi64(rounded, 1));
        _mm512_storeu_si512(r->d_pairs + v * GROUP * BF16_UNIT, in_pairs(g0, g1));
    }
}

/* Strip `first` / STRIP of backward between its products, unit `slot` of the group's pairs. */
DOT static void gradient_of_strip(const attention_head *h, const buffers *b, int64_t first, int rows, int64_t slot)
{
    for (int64_t i = 0; i < STRIP; i += 2) {
        uint16_t *p_pairs = b->p_pairs + slot * BF16_UNIT + i * BF16_LANES, *d_pairs = b->d_pairs + slot * BF16_UNIT + i * BF16_LANES;
        pair r = {i, i + 1 < rows, h->bias ? h->bias + (first + i) * b->seen : NULL, h->log_sum + first + i,
                  h->table ? h->table + (first + i) * b->seen : NULL, p_pairs, d_pairs};
        float mean[2];
        if (i < rows) {
            probabilities_of_pair(h, b, &r, mean);
            gradient_of_pair(b, &r, mean);
            continue;
        }
        for (int64_t v = 0; v < b->seen / LANES; v++) {
            _mm512_storeu_si512(p_pairs + v * GROUP * BF16_UNIT, _mm512_setzero_si512());
            _mm512_storeu_si512(d_pairs + v * GROUP * BF16_UNIT, _mm512_setzero_si512());
        }
    }
}

/* Where position i's numbers lie in a tensor of whole rows. */
INLINE uint16_t *row_of(const attention_head *h, void *values, int64_t i, int64_t row_channels, int64_t first)
{
    return (uint16_t *)values + (h->base + h->place[i]) * row_channels + first + h->first;
}

/* b->out times factor[i] to positions first .. first + rows. */
DOT static void unpack_rows(const attention_head *h, const buffers *b, int64_t first, int rows, const float *factor, int64_t row_channels, void *values)
{
    for (int64_t i = 0; i < rows; i++) {
        uint16_t *to = row_of(h, values, first + i, row_channels, 0);
        __m512 f = _mm512_set1_ps(factor[i]);
        for (int64_t v = 0; v * LANES < h->head; v++)
            _mm256_mask_storeu_epi16(to + v * LANES, first_16(h->head - v * LANES), round_exactly(_mm512_mul_ps(_mm512_loadu_ps(b->out + vector_at(i, v)), f)));
    }
}

/* Turned blocks [head / 32][seen / 32] times factor to k's or v's gradient (which: 1, 2). */
DOT static void unpack_turned(const attention_head *h, const buffers *b, const float *from, float factor, int which)
{
    __m512 f = _mm512_set1_ps(factor);
    float turned[LANES * LANES];
    for (int64_t c = 0; c < h->head; c += LANES)
        for (int64_t i = 0; i < h->seen; i += LANES) {
            const float *block = from + c / BF16_SIDE * BF16_SIDE * b->seen + i / BF16_SIDE * BLOCK + c % BF16_SIDE * BF16_SIDE + i % BF16_SIDE;
            cpu_transpose_16(block, BF16_SIDE, LANES, LANES, turned, LANES);
            for (int64_t k = i; k < i + LANES && k < h->seen; k++)
                _mm256_mask_storeu_epi16(row_of(h, h->dqkv, k, 3 * h->channels, which * h->channels) + c, first_16(h->head - c),
                                         round_exactly(_mm512_mul_ps(_mm512_loadu_ps(turned + (k - i) * LANES), f)));
        }
}

static void gather_qkv(const attention_head *h, const buffers *b)
{
    gather(h, b, h->qkv, 1, 3 * h->channels, 0, b->q);
    gather(h, b, h->qkv, 1, 3 * h->channels, h->channels, b->k);
    gather(h, b, h->qkv, 1, 3 * h->channels, 2 * h->channels, b->v);
    pack_b(b, b->k, false, b->k_by_seen);
}

static int rows_at(const attention_head *h, int64_t first)
{
    return h->seen - first < STRIP ? (int)(h->seen - first) : STRIP;
}

DOT static void softmax_of_strip(const attention_head *h, const buffers *b, int64_t first, int rows, float inverse[STRIP])
{
    float most[STRIP], sum[STRIP];
    for (int i = 0; i < rows; i++)
        exponentials_of_row(h, b, h->bias ? h->bias + (first + i) * b->seen : NULL, i, &most[i], &sum[i]);
    for (int i = 0; i < rows; i += LANES) {
        __mmask16 inside = first_16(rows - i);
        __m512 s = _mm512_mask_loadu_ps(_mm512_set1_ps(1), inside, sum + i);
        _mm512_mask_storeu_ps(inverse + i, inside, _mm512_div_ps(_mm512_set1_ps(1), s));
        if (h->log_sum)
            _mm512_mask_storeu_ps(h->log_sum + first + i, inside,
                                  _mm512_fmadd_ps(_mm512_maskz_loadu_ps(inside, most + i), _mm512_set1_ps(LN_2), attention_log(s)));
    }
}

static void forward(const attention_head *h, cpu_bf16_kernel kernel, void *workspace)
{
    buffers b = {0};
    float inverse[STRIP];
    carve(h->seen, h->head, false, workspace, &b);
    gather_qkv(h, &b);
    pack_b(&b, b.v, true, b.by_head);
    for (int64_t first = 0; first < h->seen; first += STRIP) {
        int rows = rows_at(h, first);
        multiply_seen(kernel, &b, b.q, first, rows, b.k_by_seen, b.p);
        softmax_of_strip(h, &b, first, rows, inverse);
        multiply_head(kernel, &b, rows);
        unpack_rows(h, &b, first, rows, inverse, h->channels, h->out);
    }
}

static void backward(const attention_head *h, cpu_bf16_kernel kernel, void *workspace)
{
    buffers b = {0};
    float scale[STRIP];
    for (int i = 0; i < STRIP; i++)
        scale[i] = h->scale;
    carve(h->seen, h->head, true, workspace, &b);
    gather_qkv(h, &b);
    gather(h, &b, h->dout, h->n_dout, h->channels, 0, b.dy);
    pack_b(&b, b.v, false, b.v_by_seen);
    pack_b(&b, b.k, true, b.by_head);
    pack_a_turned(&b, b.q, b.q_turned);
    pack_a_turned(&b, b.dy, b.dy_turned);
    for (int64_t strip = 0; strip * STRIP < h->seen; strip++) {
        int64_t first = strip * STRIP, slot = strip % GROUP;
        int rows = rows_at(h, first);
        multiply_seen(kernel, &b, b.q, first, rows, b.k_by_seen, b.p);
        multiply_seen(kernel, &b, b.dy, first, rows, b.v_by_seen, b.dp);
        gradient_of_strip(h, &b, first, rows, slot);
        if (h->dqkv) {
            multiply_head(kernel, &b, rows);
            unpack_rows(h, &b, first, rows, scale, 3 * h->channels, h->dqkv);
        }
        if (slot == GROUP - 1 || first + STRIP >= h->seen) {
            multiply_turned(kernel, &b, b.dy_turned, strip - slot, slot + 1, b.p_pairs, b.dv);
            multiply_turned(kernel, &b, b.q_turned, strip - slot, slot + 1, b.d_pairs, b.dk);
        }
    }
    if (h->dqkv) {
        unpack_turned(h, &b, b.dk, h->scale, 1);
        unpack_turned(h, &b, b.dv, 1, 2);
    }
}

static void forward_amx(const attention_head *h, void *workspace)
{
    forward(h, CPU_BF16_AMX, workspace);
}

static void backward_amx(const attention_head *h, void *workspace)
{
    backward(h, CPU_BF16_AMX, workspace);
}

static void forward_dot(const attention_head *h, void *workspace)
{
    forward(h, CPU_BF16_DOT, workspace);
}

static void backward_dot(const attention_head *h, void *workspace)
{
    backward(h, CPU_BF16_DOT, workspace);
}

static void begin_amx(void)
{
    cpu_bf16_begin(CPU_BF16_AMX);
}

static void end_amx(void)
{
    cpu_bf16_end(CPU_BF16_AMX);
}

const attention_way *cpu_attention_bf16(cpu_bf16_kernel kernel)
{
    static const attention_way amx = {workspace_bytes, forward_amx, backward_amx, begin_amx, end_amx};
    static const attention_way dot = {workspace_bytes, forward_dot, backward_dot, NULL, NULL};
    if (kernel == CPU_BF16_AMX && __builtin_cpu_supports("avx512bf16"))
        return &amx;
    return kernel == CPU_BF16_DOT ? &dot : NULL; /* by AVX-512 alone, products in bf16 take longer than in float */
}
#else
const attention_way *cpu_attention_bf16(cpu_bf16_kernel kernel)
{
    (void)kernel;
    return NULL;
}
#endif
