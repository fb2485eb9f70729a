/* The machine's multiply-add rate, what any convolution is measured against: GFLOP/s of registers alone, no memory, on all
 * threads, in float and, where the processor has them, in bfloat16 pairs summed to float and in bfloat16 tiles.
 * usage: fma [THREADS [SECONDS]]. Prints "fp32 N", "bf16 N" and "amx N" (0: not there). */
#include "backend/cpu/tile_bf16.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { N_CHAINS = 12, N_ROUNDS = 1 << 16 }; /* independent chains: more than latency times units */

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static double fp32_512(void)
{
    __m512 sum[N_CHAINS], a = _mm512_set1_ps(.999f), b = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < N_CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < N_ROUNDS; r++)
        for (int i = 0; i < N_CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], a, b);
    for (int i = 1; i < N_CHAINS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return (double)_mm512_reduce_add_ps(sum[0]);
}

__attribute__((target("avx2,fma"))) static double fp32_256(void)
{
    __m256 sum[N_CHAINS], a = _mm256_set1_ps(.999f), b = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < N_CHAINS; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (int r = 0; r < N_ROUNDS; r++)
        for (int i = 0; i < N_CHAINS; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], a, b);
    for (int i = 1; i < N_CHAINS; i++)
        sum[0] = _mm256_add_ps(sum[0], sum[i]);
    return (double)_mm256_cvtss_f32(sum[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static double bf16_512(void)
{
    __m512 sum[N_CHAINS];
    __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f7f), b = (__m512bh)_mm512_set1_epi16(0x3a83);
    for (int i = 0; i < N_CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int r = 0; r < N_ROUNDS; r++)
        for (int i = 0; i < N_CHAINS; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], a, b);
    for (int i = 1; i < N_CHAINS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return (double)_mm512_reduce_add_ps(sum[0]);
}

/* Four sums, as AMX products have; the tiles hold zeros, which takes no less time. */
__attribute__((target("amx-tile,amx-bf16"))) static double amx(void)
{
    cpu_amx_begin();
    for (int t = 0; t < N_ROUNDS / 4; t++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    cpu_amx_end();
    return 1;
}
#endif

/* Product and sum as the compiler has them: vectors of four, fused where the processor always is (aarch64). */
#if defined(__aarch64__)
#define PRODUCT_SUM(x, a, b) __builtin_fmaf(x, a, b)
#else
#define PRODUCT_SUM(x, a, b) ((x) * (a) + (b))
#endif

static double fp32_plain(void)
{
    float sum[4 * N_CHAINS] = {0};
    for (int r = 0; r < N_ROUNDS; r++)
        for (int i = 0; i < 4 * N_CHAINS; i++)
            sum[i] = PRODUCT_SUM(sum[i], .999f, 1e-3f);
    return (double)sum[0];
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* GFLOP/s of all threads together: the best of many short runs that all threads make at the same time.
 * @param flop  of one call */
static double measure(double (*kernel)(void), double flop, double seconds)
{
    double best = 0, sink = 0, end = now_s() + seconds;
    while (now_s() < end) {
        double start = now_s(), sum = 0;
        int n_threads = 1;
#pragma omp parallel reduction(+ : sum)
        {
#pragma omp single
            n_threads = omp_get_num_threads();
            for (int k = 0; k < 8; k++)
                sum += kernel();
        }
        double rate = 8 * flop * n_threads / (now_s() - start) * 1e-9;
        best = rate > best ? rate : best;
        sink += sum;
    }
    return sink != 0 ? best : 0;
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? atof(argv[2]) : 1, calls = (double)N_ROUNDS * N_CHAINS * 2, fp32 = 0, bf16 = 0, tiles = 0;
    if (argc > 1)
        omp_set_num_threads(atoi(argv[1]) > 0 ? atoi(argv[1]) : 1);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        fp32 = measure(fp32_512, calls * 16, seconds);
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        fp32 = measure(fp32_256, calls * 8, seconds);
    if (__builtin_cpu_supports("avx512bf16"))
        bf16 = measure(bf16_512, calls * 32, seconds);
    if (cpu_amx_permitted())
        tiles = measure(amx, (double)N_ROUNDS * 16 * 16 * 32 * 2, seconds);
#endif
    if (fp32 == 0)
        fp32 = measure(fp32_plain, calls * 4, seconds);
    printf("fp32 %.1f\nbf16 %.1f\namx %.1f\n", fp32, bf16, tiles);
    return 0;
}
