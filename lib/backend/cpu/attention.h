/* Inside of the CPU's attention: what the row (attention.c) asks of the vector code, which is there twice: attention_plain.c for every processor,
 * attention_avx512.c. All floats but what is packed and unpacked; columns are padded to panels of TILE_COLUMNS. */
#ifndef ANYCLASS_LIB_CPU_ATTENTION_H
#define ANYCLASS_LIB_CPU_ATTENTION_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/tile_avx512.h"

enum { ATTENTION_MAX_ROWS = 64 }; /* of logits at a time */

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

/* Some rows of logits. Logarithms and exponentials are of base 2 in here. */
typedef struct attention_rows {
    int64_t rows, seen, ld; /* rows <= ATTENTION_MAX_ROWS; ld: a multiple of TILE_COLUMNS and at least `seen` */
    float *p;               /* [rows][ld], products q k before */
    float scale;            /* what they are multiplied with: the operator's, times log2 e */
    const float *bias;      /* [rows][ld], added, times log2 e; NULL: none */
} attention_rows;

/* Rows of one head where they lie in a tensor. */
typedef struct attention_place {
    const int32_t *place; /* [rows] positions */
    int64_t rows;
    int64_t row_channels, first; /* element 0 of row i is place[i] * row_channels + first */
    int64_t head;
    bool bf16;
} attention_place;

typedef struct attention_code {
    void (*multiply)(const attention_product *p);
    /** Rows [rows][TILE_COLUMNS] (zeros behind `rows`) into a panel [TILE_COLUMNS][TILE_COLUMNS] that has them as columns. */
    void (*transpose)(const float *from, int rows, float *to);
    /** The sum of n tensors' rows into panels [ceil(head / TILE_COLUMNS)][rows][TILE_COLUMNS], zeros behind the head's. */
    void (*pack)(const attention_place *from, const void *const *values, int n, float *to);
    /** Rows [rows][ld] times factor, and times by_row[i] unless that is NULL, to where they lie. */
    void (*unpack)(const float *from, int64_t ld, float factor, const float *by_row, const attention_place *to, void *values);
    /** p becomes 2^(logit - largest of its row), zero behind `seen`. inverse[i] is 1 / their sum; log_sum[i] the natural log of the sum of the row's
     * exponentials (NULL: not wanted). */
    void (*exponentials)(const attention_rows *r, float *inverse, float *log_sum);
    /** p becomes the probabilities, dp (their gradient, [rows][ld]) the gradient of the logits but for the operator's scale, which is added to
     * `sum` [rows][ld] as well (NULL: not wanted). */
    void (*gradient)(const attention_rows *r, const float *log_sum, float *dp, float *sum);
} attention_code;

extern const attention_code cpu_attention_plain;
#if CPU_HAS_AVX512_CODE
extern const attention_code cpu_attention_avx512;
#endif

#endif
