/* What products in bf16 are made of: a piece of up to 32 by 32 float sums over packed operands, by AMX, by AVX512-BF16 or, where a
 * processor has neither, by AVX-512 alone; and the packing. What is multiplied, and how it is cut into pieces, is the caller's. */
#ifndef ANYCLASS_LIB_CPU_TILE_BF16_H
#define ANYCLASS_LIB_CPU_TILE_BF16_H

#include "anyclass/graph.h"
#include "backend/cpu/tile_avx512.h"

/* One layout of both operands for all of them. a: units of 16 rows by 32 of k, [16][32]. b: units of 32 of k by 16 columns, pairs
 * along k together, [16][16][2]. Either takes a KiB. k is filled up with zeros to whole units. */
enum { BF16_LANES = 16, BF16_STEP = 32, BF16_UNIT = BF16_LANES * BF16_STEP, BF16_SIDE = 32 };

typedef enum cpu_bf16_kernel { CPU_BF16_NONE, CPU_BF16_AVX512, CPU_BF16_DOT, CPU_BF16_AMX } cpu_bf16_kernel;

/** The best of them that this processor and the operating system allow, or the one that ANYCLASS_BF16 (amx, dot: AVX512-BF16, avx512) asks for
 * if that is there. Asks the operating system for the permission to use AMX. */
cpu_bf16_kernel cpu_bf16_choose(void);

/* c[i][j] = (add ? c[i][j] : 0) + sum over k of a(i, k) b(k, j). k goes through n_runs runs of n_steps units each; run r starts at a + run[r]. */
typedef struct cpu_bf16_tile {
    const uint16_t *a;  /* (i, k) at a + run + i / 16 * a_half + i % 16 * a_row + k / 32 * a_step + k % 32 */
    int64_t a_row, a_half, a_step;
    const int64_t *run; /* [n_runs]; NULL: one run at 0 */
    int64_t n_runs, n_steps;
    const uint16_t *b;  /* units of column panel 0 in order of k; of panel 1 b_panel later */
    int64_t b_panel;
    float *c;           /* [32][32] */
    int n_rows, n_columns; /* more than 16: both halves are made. All 16 rows and columns of each half are read and written. */
    bool add;
} cpu_bf16_tile;

/** Around all calls of cpu_bf16_run() of a thread. */
void cpu_bf16_begin(cpu_bf16_kernel kernel);
void cpu_bf16_end(cpu_bf16_kernel kernel);
void cpu_bf16_run(cpu_bf16_kernel kernel, const cpu_bf16_tile *tile);

/* AMX, for the three above. */
bool cpu_amx_permitted(void);
void cpu_amx_begin(void);
void cpu_amx_end(void);
void cpu_amx_run(const cpu_bf16_tile *tile);

/* Numbers to be packed: line l (a row of a, a column of b) and k at values[l * line + k * step]; line or step is 1. */
typedef struct cpu_bf16_source {
    const void *values;
    int64_t line, step;
    bool is_float; /* rounded to nearest even */
} cpu_bf16_source;

/** Units of one group of 16 lines (n_lines of them there, zeros for the rest), n_k numbers along k: unit u goes to to + u * unit_stride. */
void cpu_bf16_pack_a(const cpu_bf16_source *s, int64_t line, int n_lines, int64_t k, int64_t n_k, uint16_t *to, int64_t unit_stride);
void cpu_bf16_pack_b(const cpu_bf16_source *s, int64_t line, int n_lines, int64_t k, int64_t n_k, uint16_t *to, int64_t unit_stride);

/* What becomes of sums: sum * scale[column] + shift[column], + what is there or the residual, negative values times slope, in float or bf16. */
typedef struct cpu_bf16_finish {
    void *to;
    int64_t row;          /* elements from one row to the next, also of the residual */
    bool bf16, add;       /* of to and residual; add: to what is there */
    const float *scale, *shift; /* NULL: none */
    const void *residual; /* NULL: none; may be `to` */
    float slope;          /* 1: no activation */
    bool past_caches;     /* a bf16 result of whole cache lines that is too large to be found there later: it is not read before it is written */
} cpu_bf16_finish;

/** Rows of sums [rows][32] into elements at + i * row + j, which are of columns column + j. */
void cpu_bf16_finish_rows(const cpu_bf16_finish *f, const float *sums, int64_t at, int rows, int64_t column, int n_columns);

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>
/* bf16 in the lower half of each number, as ac_bf16_from_float() rounds. */
static inline __attribute__((always_inline)) CPU_AVX512 __m512i cpu_bf16_round(__m512 f)
{
    __m512i bits = (__m512i)f, odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    rounded = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(f, f, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
    return _mm512_srli_epi32(rounded, 16);
}
#endif

#endif
