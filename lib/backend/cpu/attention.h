/* Inside of the CPU's attention: what the row (attention.c) asks of the vector code for rows of logits (attention_rows.c)
 * and for matrix products (attention_product.c). All floats; columns are padded to panels of TILE_COLUMNS. */
#ifndef ANYCLASS_LIB_CPU_ATTENTION_H
#define ANYCLASS_LIB_CPU_ATTENTION_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/tile_avx512.h"

/* c[i][j] (+)= sum over k of a(i, k) b(k, j). k goes through n_runs runs of `k` each. */
typedef struct attention_product {
    int64_t rows, n_panels; /* of c; a panel has TILE_COLUMNS columns */
    int64_t k, n_runs;
    const float *a;         /* a(i, k) = a[i lda + k], or with by_columns a[k lda + i]; runs lie run_stride apart */
    int64_t lda, run_stride;
    bool by_columns;
    const float *b;         /* [n_panels][n_runs k][TILE_COLUMNS], panels b_stride apart */
    int64_t b_stride;
    float *c;               /* c[i ldc + j] */
    int64_t ldc;
    bool add;
} attention_product;

void cpu_attention_multiply(const attention_product *p, bool avx512);
/** Rows [rows][TILE_COLUMNS] (zeros behind `rows`) into a panel [TILE_COLUMNS][TILE_COLUMNS] that has them as columns. */
void cpu_attention_transpose(const float *from, int rows, float *to, bool avx512);

/* Some rows of logits. Logarithms and exponentials are of base 2 in here. */
typedef struct attention_rows {
    int64_t rows, seen, ld; /* ld: a multiple of TILE_COLUMNS and at least `seen` */
    float *p;               /* [rows][ld], products q k before */
    float scale;            /* what they are multiplied with: the operator's, times log2 e */
    const float *bias;      /* [rows][ld], added, times log2 e; NULL: none */
    bool avx512;
} attention_rows;

/** p becomes 2^(logit - largest of its row), zero behind `seen`. inverse[i] is 1 / their sum; log_sum[i] the natural log of the sum of the row's
 * exponentials (NULL: not wanted). */
void cpu_attention_exponentials(const attention_rows *r, float *inverse, float *log_sum);
/** p becomes the probabilities, dp (their gradient, [rows][ld]) the gradient of the logits but for the operator's scale, which is added to
 * `sum` [rows][ld] as well (NULL: not wanted). */
void cpu_attention_gradient(const attention_rows *r, const float *log_sum, float *dp, float *sum);

#endif
