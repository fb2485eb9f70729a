/* The epilogue of matrix products. */
#include "backend/cpu/gemm.h"

AC_INLINE void finish(const cpu_gemm *g, const float *sums, int64_t ld, int64_t i0, int64_t rows, int64_t j0, int64_t columns, const bool bf16, const bool plain)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            int64_t at = (i0 + i) * g->c_row + j0 + j;
            float v = sums[i * ld + j];
            if (!plain) {
                if (g->add) {
                    ((float *)g->c)[at] += v;
                    continue;
                }
                if (g->scale)
                    v = v * g->scale[j0 + j] + g->shift[j0 + j];
                if (g->before)
                    cpu_store(g->before, at, v, bf16);
                if (g->residual)
                    v += cpu_load(g->residual, at, bf16);
            }
            cpu_store(g->c, at, v, bf16);
        }
}

AC_SIMD void cpu_gemm_finish(const cpu_gemm *g, const float *sums, int64_t ld, int64_t i0, int64_t rows, int64_t j0, int64_t columns)
{
    float biased[32 * 32];
    if (g->bias) {
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < columns; j++)
                biased[i * 32 + j] = sums[i * ld + j] + g->bias[j0 + j];
        sums = biased;
        ld = 32;
    }
    bool plain = !g->add && !g->scale && !g->before && !g->residual;
    if (plain && g->c_dtype == AC_BF16)
        finish(g, sums, ld, i0, rows, j0, columns, true, true);
    else if (plain)
        finish(g, sums, ld, i0, rows, j0, columns, false, true);
    else
        finish(g, sums, ld, i0, rows, j0, columns, g->c_dtype == AC_BF16, false);
}
