/* The inner loop of gemm_f32.c for one processor: a tile of some rows by a panel of columns, along k. Both operands are packed. */
#ifndef ANYCLASS_LIB_CPU_GEMM_TILE_H
#define ANYCLASS_LIB_CPU_GEMM_TILE_H

#include "anyclass/bf16.h"
#include "backend/cpu/tile_avx512.h"

enum { GEMM_PANEL = TILE_COLUMNS, GEMM_STRIP = 16 }; /* numbers of b and of a that belong to one k: columns, and at most so many rows */

typedef enum gemm_load { GEMM_F32, GEMM_BF16, GEMM_ROUNDED } gemm_load; /* float, bf16, float that is rounded to bf16 */

typedef struct gemm_tile {
    const char *name;
    int rows; /* at most, per tile */
    /** A tile as tile_avx512.h has it with n_runs 1, b packed (ldb is GEMM_PANEL) and a packed (a(i, k) = a[k * GEMM_STRIP + i]). `end`, and less
     * than all columns, only where run_by_rows is. */
    void (*run)(int rows, const cpu_tile *t);
    void (*run_by_rows)(int rows, const cpu_tile *t); /* the same with a(i, k) = a[i * lda + k]; NULL: not there */
    /** to[k * width + i] = element i * from_ld + k of `from` for i < n, zero up to width (GEMM_STRIP or GEMM_PANEL). */
    void (*pack_along)(const void *from, int64_t ld, int n, int64_t k, gemm_load load, int width, float *to);
    /** to[k * width + i] = element k * from_ld + i of `from`, likewise. */
    void (*pack_across)(const void *from, int64_t ld, int n, int64_t k, gemm_load load, int width, float *to);
} gemm_tile;

/** The fastest this processor has; ANYCLASS_GEMM=avx512|avx2|plain asks for another one. */
const gemm_tile *cpu_gemm_find_tile(void);

#endif
