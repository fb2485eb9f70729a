/* Inside of the CPU's attention. attention.c cuts the work into heads of sets of positions; attention_float.c does one in float, with vector code
 * that is there twice (attention_plain.c for every processor, attention_avx512.c); attention_bf16.c does one with products in bf16. */
#ifndef ANYCLASS_LIB_CPU_ATTENTION_H
#define ANYCLASS_LIB_CPU_ATTENTION_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/tile_avx512.h"

/* One head of one set of positions that see each other. */
typedef struct attention_head {
    int64_t seen, head, channels;   /* positions, numbers of the head, channels of q */
    const int32_t *place;           /* [seen] behind `base`, in positions of the tensors */
    int64_t base, first;            /* first position; first channel of the head in q, k, v each and in the output */
    bool bf16;                      /* the tensors; else float */
    float scale;
    const float *bias;              /* [seen][padded], added to logits, times log2 e, zeros behind `seen`; NULL: none */
    const void *const *qkv;         /* one tensor [.., 3 channels] */
    void *out;                      /* forward: [.., channels] */
    float *log_sum;                 /* [seen]; forward: NULL if not wanted */
    const void *const *dout;        /* backward: n_dout parts [.., channels] */
    int n_dout;
    void *dqkv;                     /* backward; NULL: not wanted */
    float *table;                   /* backward: [seen][padded], the gradient of the logits is added; NULL: not wanted */
} attention_head;

/** Rows of bias and table: `seen` rounded up. */
static inline int64_t attention_padded(int64_t n)
{
    return (n + TILE_COLUMNS - 1) / TILE_COLUMNS * TILE_COLUMNS;
}

/* Either way of doing a head. Logarithms and exponentials are of base 2 inside. */
typedef struct attention_way {
    /** Bytes of workspace of a thread for heads of these sizes; a multiple of 64. */
    size_t (*workspace_bytes)(int64_t seen, int64_t head, bool backward);
    void (*forward)(const attention_head *h, void *workspace);
    void (*backward)(const attention_head *h, void *workspace);
    void (*begin)(void); /* around all calls of a thread; NULL: nothing to do */
    void (*end)(void);
} attention_way;

/** The best for this type on this device; ANYCLASS_ATTENTION=plain: what processors without AVX-512 run, =float: products in float. */
const attention_way *cpu_attention_choose(const cpu_device *cpu, ac_dtype dtype);
/** Products in bf16 by this kernel, or NULL where that is no gain. */
const attention_way *cpu_attention_bf16(cpu_bf16_kernel kernel);

/* ---- in float ---- */
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

/* Some rows of logits. */
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
