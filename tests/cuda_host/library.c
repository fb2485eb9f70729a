/* What the doubles of cuBLASLt and cuDNN share (library.h). Products are the CPU backend's, in float. */
#include "tests/cuda_host/library.h"
#include "anyclass/f16.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/gemm_tile.h"
#include "nn/simd.h"
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 1 << 21, ONE_THREAD = 1 << 29 }; /* products of numbers: threads that wait would cost more than they bring */
static bool faults_expected;
static int n_faults;
static char last_fault[512];

void emulated_fault(const char *library, const char *format, ...)
{
    va_list arguments;
    int n = snprintf(last_fault, sizeof last_fault, "%s: ", library);
    va_start(arguments, format);
    vsnprintf(last_fault + n, sizeof last_fault - (size_t)n, format, arguments);
    va_end(arguments);
    n_faults++;
    if (faults_expected)
        return;
    fprintf(stderr, "emulated %s\n", last_fault);
    abort();
}

void emulated_expect_faults(bool expected)
{
    faults_expected = expected;
}

int emulated_n_faults(void)
{
    return n_faults;
}

const char *emulated_fault_text(void)
{
    return last_fault;
}

bool emulated_check_span(const char *library, const emulated_span *span)
{
    const char *reason = span->at ? emulated_check_device(span->at, span->n_bytes) : "no address";
    if (!reason && (uintptr_t)span->at % span->alignment != 0) {
        emulated_fault(library, "%s at %p is not aligned to %zu bytes", span->what, span->at, span->alignment);
        return false;
    }
    if (reason)
        emulated_fault(library, "%s, %zu bytes at %p: %s", span->what, span->n_bytes, span->at, reason);
    return !reason;
}

bool emulated_overlap(const emulated_span *a, const emulated_span *b)
{
    uintptr_t from_a = (uintptr_t)a->at, from_b = (uintptr_t)b->at;
    return from_a < from_b + b->n_bytes && from_b < from_a + a->n_bytes;
}

size_t emulated_type_bytes(ac_dtype type)
{
    return type == AC_F32 ? 4 : 2;
}

void emulated_to_float(float *to, ac_dtype type, const void *from, int64_t first, int64_t n)
{
    if (type == AC_F32)
        memcpy(to, (const float *)from + first, (size_t)n * sizeof *to);
    else if (type == AC_BF16)
        for (int64_t i = 0; i < n; i++)
            to[i] = ac_float_from_bf16(((const uint16_t *)from)[first + i]);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = ac_float_from_f16(((const uint16_t *)from)[first + i]);
}

void emulated_from_float(ac_dtype type, void *to, int64_t first, const float *from, int64_t n)
{
    if (type == AC_F32)
        memcpy((float *)to + first, from, (size_t)n * sizeof *from);
    else if (type == AC_BF16)
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)to)[first + i] = ac_bf16_from_float(from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)to)[first + i] = ac_f16_from_float(from[i]);
}

void emulated_round_tf32(float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        if ((bits & 0x7f800000u) != 0x7f800000u)
            bits = (bits + 0x1000u) & ~0x1fffu;
        memcpy(&values[i], &bits, sizeof bits);
    }
}

void emulated_round_bf16(float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = ac_float_from_bf16(ac_bf16_from_float(values[i]));
}

void *emulated_block(size_t n_bytes)
{
    size_t n = (n_bytes + 63) / 64 * 64;
    void *block = aligned_alloc(64, n ? n : 64);
    if (!block) {
        fprintf(stderr, "emulated library: no memory for %zu bytes\n", n_bytes);
        abort();
    }
    return block;
}

/* Small ones in double: tests of operators compare sums that cancel. b is [k, n], row after row. */
AC_SIMD static void small_rows(int64_t m, int64_t n, int64_t k, emulated_matrix a, const float *b, int64_t b_row, double *sum, float *c, int64_t c_row, bool add)
{
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++)
            sum[j] = add ? (double)c[i * c_row + j] : 0.0;
        for (int64_t p = 0; p < k; p++) {
            double factor = (double)a.values[i * a.row + p * a.column];
            for (int64_t j = 0; j < n; j++)
                sum[j] += factor * (double)b[p * b_row + j];
        }
        for (int64_t j = 0; j < n; j++)
            c[i * c_row + j] = (float)sum[j];
    }
}

static void small_product(int64_t m, int64_t n, int64_t k, emulated_matrix a, emulated_matrix b, float *c, int64_t c_row, bool add)
{
    double *sum = emulated_block((size_t)n * sizeof *sum);
    float *turned = b.column == 1 ? NULL : emulated_block((size_t)(n * k) * sizeof *turned);
    for (int64_t j = 0; turned && j < n; j++)
        for (int64_t p = 0; p < k; p++)
            turned[p * n + j] = b.values[p * b.row + j * b.column];
    small_rows(m, n, k, a, turned ? turned : b.values, turned ? n : b.row, sum, c, c_row, add);
    free(turned);
    free(sum);
}

void emulated_product(int64_t m, int64_t n, int64_t k, emulated_matrix a, emulated_matrix b, float *c, int64_t c_row, bool add)
{
    if ((double)m * (double)n * (double)k < SMALL) {
        small_product(m, n, k, a, b, c, c_row, add);
        return;
    }
    cpu_device cpu = {.n_threads = (double)m * (double)n * (double)k < ONE_THREAD ? 1 : omp_get_max_threads(), .gemm_tile = cpu_gemm_find_tile()};
    cpu_gemm g = {.m = m, .n = n, .k = k, .a = {a.values, a.row, a.column, AC_F32}, .b = {b.values, b.row, b.column, AC_F32}, .c = c, .c_row = c_row, .c_dtype = AC_F32,
                  .add = add};
    void *workspace = emulated_block(cpu_gemm_workspace_bytes(&cpu, &g));
    cpu_gemm_run(&cpu, &g, NULL, workspace);
    free(workspace);
}
