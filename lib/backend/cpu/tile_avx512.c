/* The matrix tile with AVX-512: 28 sums, two vectors of b and one number of a fill the 32 registers. Each sum is formed
 * in order of k by one chain of multiply-adds, so a result does not depend on how rows are cut into tiles. */
#include "backend/cpu/tile_avx512.h"

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline)) CPU_AVX512

enum { LANES = 16, ROWS_PER_POINTER = 3, N_POINTERS = (TILE_ROWS + ROWS_PER_POINTER - 1) / ROWS_PER_POINTER, UNROLL = 4 };

bool cpu_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}

/* One k. Three rows share a pointer: base, base + lda and base + 2 lda are addresses an instruction can form itself. */
INLINE void add_products(const int rows, const bool by_rows, const float *const *a, int64_t lda, int64_t at, const float *b,
                         __m512 sum[TILE_ROWS][2])
{
    __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + LANES);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        __m512 v = _mm512_set1_ps(by_rows ? a[i / ROWS_PER_POINTER][i % ROWS_PER_POINTER * lda + at] : a[0][i]);
        sum[i][0] = _mm512_fmadd_ps(v, b0, sum[i][0]);
        sum[i][1] = _mm512_fmadd_ps(v, b1, sum[i][1]);
    }
}

typedef struct ahead {
    const float *at;
    int64_t row, next;
    int turn;
} ahead;

INLINE void ask_ahead(ahead *a)
{
    if (!a->at)
        return;
#pragma GCC unroll 4
    for (int i = 0; i < UNROLL; i++)
        _mm_prefetch((const char *)(a->at + i * a->row), _MM_HINT_T1);
    a->at += UNROLL * a->row;
    if (++a->turn % 4 == 0)
        a->at += a->next;
}

INLINE void sum_along_k(const int rows, const bool by_rows, const cpu_tile *t, __m512 sum[TILE_ROWS][2])
{
    const float *a[N_POINTERS], *b = t->b;
    int64_t lda = t->lda, ldb = t->ldb;
    ahead soon = {t->ahead, t->ahead_row, t->ahead_next, 0};
    for (int64_t run = 0; run < t->n_runs; run++) {
        const float *start = t->a + run * t->run_stride;
        int64_t k = t->k;
#pragma GCC unroll 5
        for (int p = 0; p < N_POINTERS; p++)
            a[p] = by_rows ? start + p * ROWS_PER_POINTER * lda : start;
        for (; k >= UNROLL; k -= UNROLL) {
            ask_ahead(&soon);
#pragma GCC unroll 4
            for (int u = 0; u < UNROLL; u++, b += ldb) {
                add_products(rows, by_rows, a, lda, u, b, sum);
                if (!by_rows)
                    a[0] += lda;
            }
#pragma GCC unroll 5
            for (int p = 0; by_rows && p < N_POINTERS; p++)
                a[p] += UNROLL;
        }
        for (; k > 0; k--, b += ldb) {
            add_products(rows, by_rows, a, lda, 0, b, sum);
#pragma GCC unroll 5
            for (int p = 0; p < N_POINTERS; p++)
                a[p] += by_rows ? 1 : lda;
        }
    }
}

/* One vector of row i of the tile, columns `first` to `first` + 16. */
INLINE __m512 end_sum(const cpu_tile_end *e, int i, int first, __mmask16 inside, __m512 sum)
{
    if (e->scale)
        sum = _mm512_mul_ps(sum, _mm512_maskz_loadu_ps(inside, e->scale + first));
    if (e->shift)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(inside, e->shift + first));
    if (e->residual)
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(inside, e->residual + i * e->residual_row + first));
    if (e->has_slope) /* a NaN stays one */
        sum = _mm512_mask_mul_ps(sum, _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_LT_OQ), sum, _mm512_set1_ps(e->slope));
    return sum;
}

INLINE void run_tile(const int rows, const bool by_rows, const cpu_tile *t)
{
    __m512 sum[TILE_ROWS][2];
    uint32_t columns = t->n_columns >= TILE_COLUMNS ? UINT32_MAX : (UINT32_C(1) << t->n_columns) - 1;
    __mmask16 left = (__mmask16)columns, right = (__mmask16)(columns >> LANES);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
        _mm_prefetch((const char *)t->c[i], _MM_HINT_T0);
        _mm_prefetch((const char *)t->c[i] + 64, _MM_HINT_T0);
    }
    sum_along_k(rows, by_rows, t, sum);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        float *c = t->c[i];
        if (t->add) {
            sum[i][0] = _mm512_add_ps(sum[i][0], _mm512_maskz_loadu_ps(left, c));
            sum[i][1] = _mm512_add_ps(sum[i][1], _mm512_maskz_loadu_ps(right, c + LANES));
        }
        if (t->end) {
            sum[i][0] = end_sum(t->end, i, 0, left, sum[i][0]);
            sum[i][1] = end_sum(t->end, i, LANES, right, sum[i][1]);
        }
        _mm512_mask_storeu_ps(c, left, sum[i][0]);
        _mm512_mask_storeu_ps(c + LANES, right, sum[i][1]);
    }
}

#define FOR_EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DEFINE(n)                                                                                                     \
    CPU_AVX512 static void by_rows_##n(const cpu_tile *t) { run_tile(n, true, t); }                                   \
    CPU_AVX512 static void by_columns_##n(const cpu_tile *t) { run_tile(n, false, t); }
FOR_EACH_HEIGHT(DEFINE)
#define NAME_BY_ROWS(n) by_rows_##n,
#define NAME_BY_COLUMNS(n) by_columns_##n,

void cpu_tile_by_rows(int rows, const cpu_tile *t)
{
    static void (*const run[TILE_ROWS])(const cpu_tile *) = {FOR_EACH_HEIGHT(NAME_BY_ROWS)};
    run[rows - 1](t);
}

void cpu_tile_by_columns(int rows, const cpu_tile *t)
{
    static void (*const run[TILE_ROWS])(const cpu_tile *) = {FOR_EACH_HEIGHT(NAME_BY_COLUMNS)};
    run[rows - 1](t);
}

/* 16 rows of 16 floats, transposed in registers. */
INLINE void transpose_16(__m512 r[LANES])
{
    __m512 t[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i += 2) { /* pairs of rows */
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < LANES; i += 4) { /* groups of four: r[i + j] has column j of each 128-bit block */
        r[i] = (__m512)_mm512_unpacklo_pd((__m512d)t[i], (__m512d)t[i + 2]);
        r[i + 1] = (__m512)_mm512_unpackhi_pd((__m512d)t[i], (__m512d)t[i + 2]);
        r[i + 2] = (__m512)_mm512_unpacklo_pd((__m512d)t[i + 1], (__m512d)t[i + 3]);
        r[i + 3] = (__m512)_mm512_unpackhi_pd((__m512d)t[i + 1], (__m512d)t[i + 3]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) { /* blocks of four rows and columns, transposed as wholes */
        __m512 even = _mm512_shuffle_f32x4(r[j], r[4 + j], 0x88), odd = _mm512_shuffle_f32x4(r[j], r[4 + j], 0xdd);
        __m512 even2 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0x88), odd2 = _mm512_shuffle_f32x4(r[8 + j], r[12 + j], 0xdd);
        t[j] = _mm512_shuffle_f32x4(even, even2, 0x88);
        t[4 + j] = _mm512_shuffle_f32x4(odd, odd2, 0x88);
        t[8 + j] = _mm512_shuffle_f32x4(even, even2, 0xdd);
        t[12 + j] = _mm512_shuffle_f32x4(odd, odd2, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        r[i] = t[i];
}

CPU_AVX512 void cpu_transpose_16(const float *from, int64_t ld, int rows, int columns, float *to, int64_t to_ld)
{
    __m512 r[LANES];
    __mmask16 inside = (__mmask16)((1u << columns) - 1);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        r[i] = i < rows ? _mm512_maskz_loadu_ps(inside, from + i * ld) : _mm512_setzero_ps();
    transpose_16(r);
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        if (i < columns)
            _mm512_storeu_ps(to + i * to_ld, r[i]);
}

void cpu_pack_transposed(const float *from, int64_t ld, int rows, int64_t k, float *to)
{
    for (int64_t first = 0; first < k; first += LANES)
        for (int half = 0; half < TILE_COLUMNS; half += LANES)
            cpu_transpose_16(from + half * ld + first, ld, rows - half, (int)(k - first < LANES ? k - first : LANES),
                             to + first * TILE_COLUMNS + half, TILE_COLUMNS);
}
#else
bool cpu_has_avx512(void)
{
    return false;
}
#endif
