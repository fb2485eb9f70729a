/* Tiles of the float matrix product: AVX-512 (tile_avx512.c), AVX2 and what any processor runs; and how their operands are packed. */
#include "backend/cpu/gemm_tile.h"
#include "backend/cpu/cpu.h"
#include <stdlib.h>
#include <string.h>

AC_INLINE float load(const void *from, int64_t i, gemm_load how)
{
    float value = cpu_load(from, i, how == GEMM_BF16);
    return how == GEMM_ROUNDED ? ac_float_from_bf16(ac_bf16_from_float(value)) : value;
}

AC_INLINE void along(const void *from, int64_t ld, int n, int64_t k, gemm_load how, int width, float *to)
{
    for (int64_t p = 0; p < k; p++, to += width) {
        for (int i = 0; i < n; i++)
            to[i] = load(from, i * ld + p, how);
        for (int i = n; i < width; i++)
            to[i] = 0;
    }
}

AC_INLINE void across(const void *from, int64_t ld, int n, int64_t k, gemm_load how, int width, float *to)
{
    for (int64_t p = 0; p < k; p++, to += width) {
        for (int i = 0; i < n; i++)
            to[i] = load(from, p * ld + i, how);
        for (int i = n; i < width; i++)
            to[i] = 0;
    }
}

static void pack_along_any(const void *from, int64_t ld, int n, int64_t k, gemm_load how, int width, float *to)
{
    if (how == GEMM_F32)
        along(from, ld, n, k, GEMM_F32, width, to);
    else if (how == GEMM_BF16)
        along(from, ld, n, k, GEMM_BF16, width, to);
    else
        along(from, ld, n, k, GEMM_ROUNDED, width, to);
}

AC_SIMD static void pack_across_any(const void *from, int64_t ld, int n, int64_t k, gemm_load how, int width, float *to)
{
    if (how == GEMM_F32)
        across(from, ld, n, k, GEMM_F32, width, to);
    else if (how == GEMM_BF16)
        across(from, ld, n, k, GEMM_BF16, width, to);
    else
        across(from, ld, n, k, GEMM_ROUNDED, width, to);
}

enum { PLAIN_ROWS = 4, PLAIN_COLUMNS = 8 };

/* Always all rows: those behind `rows` are packed zeros and not stored. */
static void run_plain(int rows, const cpu_tile *t)
{
    for (int first = 0; first < GEMM_PANEL; first += PLAIN_COLUMNS) {
        float sum[PLAIN_ROWS][PLAIN_COLUMNS] = {{0}};
        for (int64_t p = 0; p < t->k; p++)
            for (int i = 0; i < PLAIN_ROWS; i++)
                for (int j = 0; j < PLAIN_COLUMNS; j++)
                    sum[i][j] += t->a[p * GEMM_STRIP + i] * t->b[p * GEMM_PANEL + first + j];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < PLAIN_COLUMNS; j++)
                t->c[i][first + j] = sum[i][j] + (t->add ? t->c[i][first + j] : 0);
    }
}

static const gemm_tile plain = {"plain", PLAIN_ROWS, run_plain, NULL, pack_along_any, pack_across_any};

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

enum { AVX2_ROWS = 6, LANES8 = 8 };

#define AVX2 __attribute__((target("avx2,fma")))

static inline __attribute__((always_inline)) AVX2 void tile_avx2(const int rows, const cpu_tile *t, int first)
{
    const float *a = t->a, *b = t->b + first;
    __m256 sum[AVX2_ROWS][2];
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    for (int64_t k = t->k; k > 0; k--, a += GEMM_STRIP, b += GEMM_PANEL) {
        __m256 b0 = _mm256_loadu_ps(b), b1 = _mm256_loadu_ps(b + LANES8);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            __m256 v = _mm256_broadcast_ss(a + i);
            sum[i][0] = _mm256_fmadd_ps(v, b0, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(v, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++)
        for (int half = 0; half < 2; half++) {
            float *to = t->c[i] + first + half * LANES8;
            _mm256_storeu_ps(to, t->add ? _mm256_add_ps(sum[i][half], _mm256_loadu_ps(to)) : sum[i][half]);
        }
}

AVX2 static void run_avx2(int rows, const cpu_tile *t)
{
    for (int half = 0; half < GEMM_PANEL; half += 2 * LANES8)
        switch (rows) {
        case 1: tile_avx2(1, t, half); break;
        case 2: tile_avx2(2, t, half); break;
        case 3: tile_avx2(3, t, half); break;
        case 4: tile_avx2(4, t, half); break;
        case 5: tile_avx2(5, t, half); break;
        default: tile_avx2(6, t, half); break;
        }
}

static const gemm_tile avx2 = {"avx2", AVX2_ROWS, run_avx2, NULL, pack_along_any, pack_across_any};

enum { AHEAD_K = 64, AHEAD_ROWS = 24 }; /* so far in front of what is packed memory is asked for */

CPU_AVX512 static void pack_along_avx512(const void *from, int64_t ld, int n, int64_t k, gemm_load how, int width, float *to)
{
    enum { SIDE = 16 };
    if (how != GEMM_F32) {
        pack_along_any(from, ld, n, k, how, width, to);
        return;
    }
    for (int64_t p = 0; p < k; p += SIDE)
        for (int i = 0; i < width; i += SIDE) {
            for (int r = i; r < n && r < i + SIDE; r++)
                _mm_prefetch((const char *)((const float *)from + r * ld + p + AHEAD_K), _MM_HINT_T0);
            cpu_transpose_16((const float *)from + (n > i ? i : 0) * ld + p, ld, n - i, (int)(k - p < SIDE ? k - p : SIDE), to + p * width + i, width);
        }
}

CPU_AVX512 static void pack_across_avx512(const void *from, int64_t ld, int n, int64_t k, gemm_load how, int width, float *to)
{
    if (how != GEMM_F32) {
        pack_across_any(from, ld, n, k, how, width, to);
        return;
    }
    const float *at = from;
    uint32_t inside = n >= 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1;
    if (width == GEMM_STRIP)
        for (int64_t p = 0; p < k; p++) {
            _mm_prefetch((const char *)(at + (p + AHEAD_ROWS) * ld), _MM_HINT_T0);
            _mm512_storeu_ps(to + p * GEMM_STRIP, _mm512_maskz_loadu_ps((__mmask16)inside, at + p * ld));
        }
    else
        for (int64_t p = 0; p < k; p++) {
            _mm_prefetch((const char *)(at + (p + AHEAD_ROWS) * ld), _MM_HINT_T0);
            _mm_prefetch((const char *)(at + (p + AHEAD_ROWS) * ld + 16), _MM_HINT_T0);
            _mm512_storeu_ps(to + p * GEMM_PANEL, _mm512_maskz_loadu_ps((__mmask16)inside, at + p * ld));
            _mm512_storeu_ps(to + p * GEMM_PANEL + 16, _mm512_maskz_loadu_ps((__mmask16)(inside >> 16), at + p * ld + 16));
        }
}

static const gemm_tile avx512 = {"avx512", TILE_ROWS, cpu_tile_by_columns, cpu_tile_by_rows, pack_along_avx512, pack_across_avx512};
#endif

const gemm_tile *cpu_gemm_find_tile(void)
{
    const gemm_tile *found = &plain;
    const char *wanted = getenv("ANYCLASS_GEMM");
#if CPU_HAS_AVX512_CODE
    const gemm_tile *there[] = {cpu_has_avx512() ? &avx512 : NULL, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &avx2 : NULL};
    for (int i = 0; i < 2 && found == &plain; i++)
        if (there[i] && (!wanted || strcmp(wanted, there[i]->name) == 0))
            found = there[i];
#else
    (void)wanted;
#endif
    return found;
}
