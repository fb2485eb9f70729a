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

#endif
