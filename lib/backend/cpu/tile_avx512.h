/* The matrix product all convolutions with AVX-512 are made of: a tile of up to 14 by 32 float sums that stays in
 * registers while it runs along k. What is multiplied, and how it is cut into tiles, is the caller's. */
#ifndef ANYCLASS_LIB_CPU_TILE_AVX512_H
#define ANYCLASS_LIB_CPU_TILE_AVX512_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define CPU_HAS_AVX512_CODE 1
#define CPU_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#else
#define CPU_HAS_AVX512_CODE 0
#endif

enum { TILE_ROWS = 14, TILE_COLUMNS = 32, TILE_PAD = 16 };

/* What becomes of finished sums, in this order; columns from the tile's first on. */
typedef struct cpu_tile_end {
    const float *scale, *shift; /* times, plus; NULL: neither of that one */
    const float *residual;      /* rows residual_row apart; NULL: none */
    int64_t residual_row;
    bool has_slope;             /* negative results times slope */
    float slope;
} cpu_tile_end;

/* c[i][j] = (add ? c[i][j] : 0) + sum over k of a(i, k) * b[k * ldb + j], for each j < n_columns. k goes through n_runs
 * runs of `k` each, in which a lies run_stride apart. All TILE_COLUMNS of each row of b are read. */
typedef struct cpu_tile {
    int64_t k, n_runs;
    const float *a;
    int64_t lda, run_stride;
    const float *b;
    int64_t ldb;
    float *const *c; /* [rows] */
    int n_columns;
    bool add;
    const cpu_tile_end *end; /* NULL: nothing */
    /* What is needed soon and lies far away, asked for while this tile is computed; NULL: nothing. Every four k four lines, ahead_row floats apart;
     * after four times so many, ahead_next floats further. */
    const float *ahead;
    int64_t ahead_row, ahead_next;
} cpu_tile;

/** Whether this processor runs the two below. */
bool cpu_has_avx512(void);
/** a(i, k) = a[i * lda + k] in each run; rows 1 to TILE_ROWS. */
void cpu_tile_by_rows(int rows, const cpu_tile *t);
/** a(i, k) = a[k * lda + i]. */
void cpu_tile_by_columns(int rows, const cpu_tile *t);
/** to[c * to_ld + o] = from[o * ld + c] for c < columns and all 16 o, zero where o >= rows; columns 1 to 16. */
void cpu_transpose_16(const float *from, int64_t ld, int rows, int columns, float *to, int64_t to_ld);
/** to[k * TILE_COLUMNS + i] = from[i * ld + k] for i < rows, zero for rows <= i < TILE_COLUMNS: a panel of b made of
 * rows that run along k. */
void cpu_pack_transposed(const float *from, int64_t ld, int rows, int64_t k, float *to);

/** Rows are cut into ceil(n / TILE_ROWS) strips of sizes that differ by one at most. */
static inline int64_t cpu_strip_begin(int64_t n, int64_t n_strips, int64_t strip)
{
    return n / n_strips * strip + (strip < n % n_strips ? strip : n % n_strips);
}

#endif
