/* Matrix products of linear layers and 1x1 convolutions: c = epilogue(a b), with a, b, c in float or bf16 and sums in float. Whoever
 * serves a shape here (gemm_f32.c, gemm_bf16.c) packs both operands itself, so that either may be transposed, and is chosen by the shape, the
 * types and the processor alone. No result depends on the number of threads. Called from outside of parallel regions, not collective; allocates nothing. */
#ifndef ANYCLASS_LIB_CPU_GEMM_H
#define ANYCLASS_LIB_CPU_GEMM_H

#include "anyclass/ops.h"
#include "backend/cpu/cpu.h"

typedef struct cpu_matrix { /* element (i, j) lies at values[i * row + j * column]; row or column is 1 */
    const void *values;
    int64_t row, column;
    ac_dtype dtype;         /* AC_F32 or AC_BF16; a float operand of a product with a bf16 one is rounded to bf16 when packed */
} cpu_matrix;

typedef struct cpu_gemm {
    int64_t m, n, k;
    cpu_matrix a;           /* [m, k] */
    cpu_matrix b;           /* [k, n] */
    void *c;                /* [m, n], rows c_row apart, type c_dtype */
    int64_t c_row;
    ac_dtype c_dtype;
    bool add;               /* c += a b: c_dtype AC_F32, and nothing of what follows */
    const float *bias;      /* [n], added to each row; NULL: none */
    ac_activation activation; /* none, GELU or tanh; ReLU and leaky ReLU, which come behind the residual, as in a batch norm */
    float slope;            /* leaky ReLU */
    void *before;           /* what went into the activation, as c; NULL: not wanted */
    const void *residual;   /* as c, added behind GELU and tanh; may be c itself; NULL: none */
    const float *scale, *shift; /* inference: c = a b * scale[n] + shift[n] in place of the bias (a batch norm); NULL: none */
} cpu_gemm;

/** Most bytes of workspace cpu_gemm_run() takes for a product of these sizes and types, on n_threads threads; 64-byte aligned. */
size_t cpu_gemm_workspace_bytes(const cpu_device *cpu, const cpu_gemm *gemm);
/** Multiply. Packs b each time, unless `packed_b` is what cpu_gemm_pack_b() made of it.
 * @param packed_b  NULL, or see there */
void cpu_gemm_run(const cpu_device *cpu, const cpu_gemm *gemm, const void *packed_b, void *workspace);
/** For weights that stay the same (inference): b as the product reads it, of so many bytes. */
size_t cpu_gemm_packed_b_bytes(const cpu_device *cpu, const cpu_gemm *gemm);
void cpu_gemm_pack_b(const cpu_device *cpu, const cpu_gemm *gemm, void *packed_b);

/* The two implementations (same contracts). */
size_t cpu_gemm_f32_workspace_bytes(const cpu_device *cpu, const cpu_gemm *gemm);
void cpu_gemm_f32_run(const cpu_device *cpu, const cpu_gemm *gemm, const void *packed_b, void *workspace);
size_t cpu_gemm_f32_packed_b_bytes(const cpu_device *cpu, const cpu_gemm *gemm);
void cpu_gemm_f32_pack_b(const cpu_device *cpu, const cpu_gemm *gemm, void *packed_b);
size_t cpu_gemm_bf16_workspace_bytes(const cpu_device *cpu, const cpu_gemm *gemm);
void cpu_gemm_bf16_run(const cpu_device *cpu, const cpu_gemm *gemm, const void *packed_b, void *workspace);
size_t cpu_gemm_bf16_packed_b_bytes(const cpu_device *cpu, const cpu_gemm *gemm);
void cpu_gemm_bf16_pack_b(const cpu_device *cpu, const cpu_gemm *gemm, void *packed_b);

/** The epilogue on one finished piece: rows i0 .. i0 + rows, columns j0 .. j0 + columns of the sums (float, rows ld apart) into c. Shared by
 * both; vector code. */
void cpu_gemm_finish(const cpu_gemm *gemm, const float *sums, int64_t ld, int64_t i0, int64_t rows, int64_t j0, int64_t columns);

#endif
