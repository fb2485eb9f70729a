/* Attention's vector code with AVX-512; products by the tile of tile_avx512.h. A row's sums run over 16 lanes, which are added in a fixed order. */
#include "backend/cpu/attention.h"
#include "backend/cpu/attention_math.h"

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) CPU_AVX512

enum { LANES = 16, FEW = 4 /* vectors of a row that stay in registers */ };

static const float LOG2_E = 1.44269504f;

static void multiply(const attention_product *p)
{
    int64_t n_strips = (p->rows + TILE_ROWS - 1) / TILE_ROWS;
    float *c[TILE_ROWS];
    cpu_tile t = {.k = p->k, .n_runs = p->n_runs, .lda = p->lda, .run_stride = p->run_stride, .ldb = TILE_COLUMNS, .c = c, .n_columns = TILE_COLUMNS, .add = p->add};
    for (int64_t s = 0; s < n_strips; s++) {
        int64_t first = cpu_strip_begin(p->rows, n_strips, s);
        int rows = (int)(cpu_strip_begin(p->rows, n_strips, s + 1) - first);
        t.a = p->a + first * (p->by_columns ? 1 : p->lda);
        for (int64_t panel = 0; panel < p->n_panels; panel++) {
            t.b = p->b + panel * p->b_stride;
            for (int i = 0; i < rows; i++)
                c[i] = p->c + (first + i) * p->ldc + panel * TILE_COLUMNS;
            if (p->by_columns)
                cpu_tile_by_columns(rows, &t);
            else
                cpu_tile_by_rows(rows, &t);
        }
    }
}

static void transpose(const float *from, int rows, float *to)
{
    cpu_pack_transposed(from, TILE_COLUMNS, rows, TILE_COLUMNS, to);
}

INLINE __m512 load(const void *values, int64_t at, __mmask16 inside, bool bf16)
{
    if (!bf16)
        return _mm512_maskz_loadu_ps(inside, (const float *)values + at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(inside, (const uint16_t *)values + at)), 16));
}

/* bf16 as ac_bf16_from_float() rounds. */
INLINE void store(void *values, int64_t at, __mmask16 inside, __m512 value, bool bf16)
{
    if (!bf16) {
        _mm512_mask_storeu_ps((float *)values + at, inside, value);
        return;
    }
    __m512i bits = _mm512_castps_si512(value), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    rounded = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
    _mm256_mask_storeu_epi16((uint16_t *)values + at, inside, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

INLINE __mmask16 first_lanes(int64_t n)
{
    return (__mmask16)(n >= LANES ? 0xFFFF : n <= 0 ? 0 : (1u << n) - 1);
}

INLINE void pack_any(const attention_place *from, const void *const *values, int n, float *to, bool bf16)
{
    for (int64_t c = 0; c < from->head; c += TILE_COLUMNS, to += from->rows * TILE_COLUMNS) {
        __mmask16 left = first_lanes(from->head - c), right = first_lanes(from->head - c - LANES);
        for (int64_t i = 0; i < from->rows; i++) {
            int64_t at = from->place[i] * from->row_channels + from->first + c;
            __m512 x = load(values[0], at, left, bf16), y = load(values[0], at + LANES, right, bf16);
            for (int part = 1; part < n; part++) {
                x = _mm512_add_ps(x, load(values[part], at, left, bf16));
                y = _mm512_add_ps(y, load(values[part], at + LANES, right, bf16));
            }
            _mm512_storeu_ps(to + i * TILE_COLUMNS, x);
            _mm512_storeu_ps(to + i * TILE_COLUMNS + LANES, y);
        }
    }
}

CPU_AVX512 static void pack(const attention_place *from, const void *const *values, int n, float *to)
{
    if (from->bf16)
        pack_any(from, values, n, to, true);
    else
        pack_any(from, values, n, to, false);
}

INLINE void unpack_any(const float *from, int64_t ld, float factor, const float *by_row, const attention_place *to, void *values, bool bf16)
{
    for (int64_t i = 0; i < to->rows; i++, from += ld) {
        int64_t at = to->place[i] * to->row_channels + to->first;
        __m512 f = _mm512_set1_ps(by_row ? factor * by_row[i] : factor);
        for (int64_t c = 0; c < to->head; c += LANES)
            store(values, at + c, first_lanes(to->head - c), _mm512_mul_ps(_mm512_loadu_ps(from + c), f), bf16);
    }
}

CPU_AVX512 static void unpack(const float *from, int64_t ld, float factor, const float *by_row, const attention_place *to, void *values)
{
    if (to->bf16)
        unpack_any(from, ld, factor, by_row, to, values, true);
    else
        unpack_any(from, ld, factor, by_row, to, values, false);
}

/* Vector j of a row of logits; -infinity behind `seen`. */
INLINE __m512 logit(const float *p, const float *bias, __m512 scale, __mmask16 inside)
{
    __m512 x = _mm512_loadu_ps(p);
    x = bias ? _mm512_fmadd_ps(x, scale, _mm512_loadu_ps(bias)) : _mm512_mul_ps(x, scale);
    return _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), inside, x);
}

/* A row of at most FEW vectors. */
INLINE void few_exponentials(float *p, const float *bias, __m512 scale, int64_t seen, int n_vectors, float *most, float *sum)
{
    __m512 x[FEW], total = _mm512_setzero_ps(), high;
#pragma GCC unroll 4
    for (int v = 0; v < FEW; v++)
        if (v < n_vectors)
            x[v] = logit(p + v * LANES, bias ? bias + v * LANES : NULL, scale, first_lanes(seen - v * LANES));
    high = x[0];
#pragma GCC unroll 4
    for (int v = 1; v < FEW; v++)
        if (v < n_vectors)
            high = _mm512_max_ps(high, x[v]);
    *most = _mm512_reduce_max_ps(high);
#pragma GCC unroll 4
    for (int v = 0; v < FEW; v++)
        if (v < n_vectors) {
            x[v] = attention_exp2(_mm512_sub_ps(x[v], _mm512_set1_ps(*most)));
            total = _mm512_add_ps(total, x[v]);
            _mm512_storeu_ps(p + v * LANES, x[v]);
        }
    *sum = _mm512_reduce_add_ps(total);
}

INLINE void many_exponentials(float *p, const float *bias, __m512 scale, int64_t seen, int64_t ld, float *most, float *sum)
{
    __m512 total = _mm512_setzero_ps(), high = _mm512_set1_ps(-__builtin_inff());
    for (int64_t j = 0; j < ld; j += LANES) {
        __m512 x = logit(p + j, bias ? bias + j : NULL, scale, first_lanes(seen - j));
        high = _mm512_max_ps(high, x);
        _mm512_storeu_ps(p + j, x);
    }
    *most = _mm512_reduce_max_ps(high);
    for (int64_t j = 0; j < ld; j += LANES) {
        __m512 x = attention_exp2(_mm512_sub_ps(_mm512_loadu_ps(p + j), _mm512_set1_ps(*most)));
        total = _mm512_add_ps(total, x);
        _mm512_storeu_ps(p + j, x);
    }
    *sum = _mm512_reduce_add_ps(total);
}

CPU_AVX512 static void exponentials(const attention_rows *r, float *inverse, float *log_sum)
{
    float most[ATTENTION_MAX_ROWS], sum[ATTENTION_MAX_ROWS];
    __m512 scale = _mm512_set1_ps(r->scale);
    for (int64_t i = 0; i < r->rows; i++) {
        float *p = r->p + i * r->ld;
        const float *bias = r->bias ? r->bias + i * r->ld : NULL;
        if (r->ld == FEW * LANES && bias)
            few_exponentials(p, bias, scale, r->seen, FEW, &most[i], &sum[i]);
        else
            many_exponentials(p, bias, scale, r->seen, r->ld, &most[i], &sum[i]);
    }
    for (int64_t i = 0; i < r->rows; i += LANES) {
        __mmask16 inside = first_lanes(r->rows - i);
        __m512 s = _mm512_mask_loadu_ps(_mm512_set1_ps(1), inside, sum + i);
        _mm512_mask_storeu_ps(inverse + i, inside, _mm512_div_ps(_mm512_set1_ps(1), s));
        if (log_sum)
            _mm512_mask_storeu_ps(log_sum + i, inside, _mm512_fmadd_ps(_mm512_maskz_loadu_ps(inside, most + i), _mm512_set1_ps(0.693147181f), attention_log(s)));
    }
}

/* `high` is added to every logit: minus the log of the sum of the row. */
INLINE void gradient_of_row(float *p, const float *bias, __m512 scale, __m512 high, int64_t seen, int64_t ld, float *dp, float *sum)
{
    __m512 total = _mm512_setzero_ps(), mean;
    for (int64_t j = 0; j < ld; j += LANES) {
        __m512 x = attention_exp2(_mm512_add_ps(logit(p + j, bias ? bias + j : NULL, scale, first_lanes(seen - j)), high));
        total = _mm512_fmadd_ps(x, _mm512_loadu_ps(dp + j), total);
        _mm512_storeu_ps(p + j, x);
    }
    mean = _mm512_set1_ps(_mm512_reduce_add_ps(total));
    for (int64_t j = 0; j < ld; j += LANES) {
        __m512 g = _mm512_mul_ps(_mm512_loadu_ps(p + j), _mm512_sub_ps(_mm512_loadu_ps(dp + j), mean));
        _mm512_storeu_ps(dp + j, g);
        if (sum)
            _mm512_storeu_ps(sum + j, _mm512_add_ps(_mm512_loadu_ps(sum + j), g));
    }
}

CPU_AVX512 static void gradient(const attention_rows *r, const float *log_sum, float *dp, float *sum)
{
    __m512 scale = _mm512_set1_ps(r->scale);
    for (int64_t i = 0; i < r->rows; i++) {
        __m512 high = _mm512_set1_ps(-log_sum[i] * LOG2_E);
        if (r->ld == FEW * LANES && r->bias && sum)
            gradient_of_row(r->p + i * r->ld, r->bias + i * r->ld, scale, high, r->seen, FEW * LANES, dp + i * r->ld, sum + i * r->ld);
        else
            gradient_of_row(r->p + i * r->ld, r->bias ? r->bias + i * r->ld : NULL, scale, high, r->seen, r->ld, dp + i * r->ld, sum ? sum + i * r->ld : NULL);
    }
}

const attention_code cpu_attention_avx512 = {multiply, transpose, pack, unpack, exponentials, gradient};
#endif
