/* Who serves a matrix product, and what becomes of its sums: bias or scale and shift, activation, residual, type of the result. */
#include "backend/cpu/gemm.h"
#include "anyclass/activation_formula.h"
#include "backend/cpu/gelu.h"
#include "backend/cpu/gemm_tile.h"

/* A processor without the kernels for it multiplies bf16 as float, as all do that are asked for its tiles (ANYCLASS_GEMM). */
static bool is_bf16(const cpu_device *cpu, const cpu_gemm *gemm)
{
    return cpu->bf16_kernel != CPU_BF16_NONE && cpu->gemm_tile->run_by_rows && (gemm->a.dtype == AC_BF16 || gemm->b.dtype == AC_BF16);
}

size_t cpu_gemm_workspace_bytes(const cpu_device *cpu, const cpu_gemm *gemm)
{
    return (is_bf16(cpu, gemm) ? cpu_gemm_bf16_workspace_bytes : cpu_gemm_f32_workspace_bytes)(cpu, gemm);
}

void cpu_gemm_run(const cpu_device *cpu, const cpu_gemm *gemm, const void *packed_b, void *workspace)
{
    (is_bf16(cpu, gemm) ? cpu_gemm_bf16_run : cpu_gemm_f32_run)(cpu, gemm, packed_b, workspace);
}

size_t cpu_gemm_packed_b_bytes(const cpu_device *cpu, const cpu_gemm *gemm)
{
    return (is_bf16(cpu, gemm) ? cpu_gemm_bf16_packed_b_bytes : cpu_gemm_f32_packed_b_bytes)(cpu, gemm);
}

void cpu_gemm_pack_b(const cpu_device *cpu, const cpu_gemm *gemm, void *packed_b)
{
    (is_bf16(cpu, gemm) ? cpu_gemm_bf16_pack_b : cpu_gemm_f32_pack_b)(cpu, gemm, packed_b);
}

enum { CHUNK = 256 }; /* columns at a time, all steps over them in the first cache */

/* n columns of a row from column j of the result on, which is element `at`. `bf16` and `activation` are constants where this is inlined. */
AC_INLINE void finish_chunk(const cpu_gemm *g, const float *sums, int64_t at, int64_t j, int64_t n, bool bf16, ac_activation activation)
{
    float v[CHUNK], slope = g->activation == AC_ACTIVATION_RELU ? 0 : g->slope;
    if (g->scale)
        for (int64_t i = 0; i < n; i++)
            v[i] = sums[i] * g->scale[j + i] + g->shift[j + i];
    else if (g->bias)
        for (int64_t i = 0; i < n; i++)
            v[i] = sums[i] + g->bias[j + i];
    else
        for (int64_t i = 0; i < n; i++)
            v[i] = sums[i];
    if (activation == AC_ACTIVATION_GELU || activation == AC_ACTIVATION_TANH) { /* of the value as it is stored, so that it can be made again from that */
        for (int64_t i = 0; bf16 && i < n; i++)
            v[i] = ac_float_from_bf16(ac_bf16_from_float(v[i]));
        for (int64_t i = 0; g->before && i < n; i++)
            cpu_store(g->before, at + i, v[i], bf16);
        for (int64_t i = 0; i < n; i++)
            v[i] = activation == AC_ACTIVATION_GELU ? ac_gelu(v[i]) : ac_tanh(v[i]);
    }
    if (g->add)
        for (int64_t i = 0; i < n; i++)
            v[i] += ((const float *)g->c)[at + i];
    if (g->residual)
        for (int64_t i = 0; i < n; i++)
            v[i] += cpu_load(g->residual, at + i, bf16);
    if (activation == AC_ACTIVATION_LEAKY_RELU)
        for (int64_t i = 0; i < n; i++)
            v[i] = v[i] < 0 ? v[i] * slope : v[i];
    for (int64_t i = 0; i < n; i++)
        cpu_store(g->c, at + i, v[i], bf16);
}

AC_INLINE void finish(const cpu_gemm *g, const float *sums, int64_t at, int64_t j, int64_t n, bool bf16)
{
    for (int64_t first = 0; first < n; first += CHUNK) {
        int64_t part = n - first < CHUNK ? n - first : CHUNK;
        if (g->activation == AC_ACTIVATION_GELU)
            finish_chunk(g, sums + first, at + first, j + first, part, bf16, AC_ACTIVATION_GELU);
        else if (g->activation == AC_ACTIVATION_TANH)
            finish_chunk(g, sums + first, at + first, j + first, part, bf16, AC_ACTIVATION_TANH);
        else if (g->activation == AC_ACTIVATION_NONE)
            finish_chunk(g, sums + first, at + first, j + first, part, bf16, AC_ACTIVATION_NONE);
        else
            finish_chunk(g, sums + first, at + first, j + first, part, bf16, AC_ACTIVATION_LEAKY_RELU);
    }
}

AC_SIMD static void finish_row(const cpu_gemm *g, const float *sums, int64_t at, int64_t j, int64_t n)
{
    if (g->c_dtype == AC_BF16)
        finish(g, sums, at, j, n, true);
    else
        finish(g, sums, at, j, n, false);
}

void cpu_gemm_finish(const cpu_gemm *gemm, const float *sums, int64_t ld, int64_t i0, int64_t rows, int64_t j0, int64_t columns)
{
    if (cpu_gelu_finish(gemm, sums, ld, i0, rows, j0, columns))
        return;
    for (int64_t i = 0; i < rows; i++)
        finish_row(gemm, sums + i * ld, (i0 + i) * gemm->c_row + j0, j0, columns);
}
