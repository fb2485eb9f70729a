/* Matrix products of attention: by the AVX-512 tile where there is one, by plain vector loops elsewhere. A sum is formed in
 * order of k, so no result depends on how rows are cut. */
#include "backend/cpu/attention.h"

enum { PLAIN_ROWS = 2 };

#if CPU_HAS_AVX512_CODE
static void multiply_avx512(const attention_product *p)
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
#endif

/* Rows first .. first + rows of one panel of c. */
AC_INLINE void plain_rows(const attention_product *p, int64_t first, int64_t panel, int rows)
{
    float sum[PLAIN_ROWS][TILE_COLUMNS] = {{0}};
    int64_t a_row = p->by_columns ? 1 : p->lda, a_k = p->by_columns ? p->lda : 1;
    const float *b = p->b + panel * p->b_stride;
    for (int64_t run = 0; run < p->n_runs; run++) {
        const float *a = p->a + first * a_row + run * p->run_stride;
        for (int64_t k = 0; k < p->k; k++, a += a_k, b += TILE_COLUMNS)
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < TILE_COLUMNS; j++)
                    sum[i][j] += a[i * a_row] * b[j];
    }
    for (int i = 0; i < rows; i++) {
        float *c = p->c + (first + i) * p->ldc + panel * TILE_COLUMNS;
        for (int j = 0; j < TILE_COLUMNS; j++)
            c[j] = p->add ? c[j] + sum[i][j] : sum[i][j];
    }
}

AC_SIMD static void multiply_plain(const attention_product *p)
{
    for (int64_t panel = 0; panel < p->n_panels; panel++) {
        int64_t i = 0;
        for (; i + PLAIN_ROWS <= p->rows; i += PLAIN_ROWS)
            plain_rows(p, i, panel, PLAIN_ROWS);
        for (; i < p->rows; i++)
            plain_rows(p, i, panel, 1);
    }
}

void cpu_attention_multiply(const attention_product *p, bool avx512)
{
#if CPU_HAS_AVX512_CODE
    if (avx512) {
        multiply_avx512(p);
        return;
    }
#endif
    (void)avx512;
    multiply_plain(p);
}

void cpu_attention_transpose(const float *from, int rows, float *to, bool avx512)
{
#if CPU_HAS_AVX512_CODE
    if (avx512) {
        cpu_pack_transposed(from, TILE_COLUMNS, rows, TILE_COLUMNS, to);
        return;
    }
#endif
    (void)avx512;
    for (int k = 0; k < TILE_COLUMNS; k++)
        for (int i = 0; i < TILE_COLUMNS; i++)
            to[k * TILE_COLUMNS + i] = i < rows ? from[i * TILE_COLUMNS + k] : 0;
}
