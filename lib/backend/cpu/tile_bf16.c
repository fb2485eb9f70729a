/* The bf16 piece by AVX512-BF16 and by AVX-512 alone, and which of the three runs. */
#include "backend/cpu/tile_bf16.h"
#include <stdlib.h>
#include <string.h>

#if CPU_HAS_AVX512_CODE
#include <immintrin.h>

#define DOT __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,avx512bf16")))

enum { ROWS = 8 }; /* times two columns of vectors: 16 sums, each a chain of its own */

cpu_bf16_kernel cpu_bf16_choose(void)
{
    static const char *const names[] = {"none", "avx512", "dot", "amx"};
    const char *wanted = getenv("ANYCLASS_BF16");
    cpu_bf16_kernel best = CPU_BF16_NONE;
    if (!cpu_has_avx512())
        return best;
    best = cpu_amx_permitted() ? CPU_BF16_AMX : __builtin_cpu_supports("avx512bf16") ? CPU_BF16_DOT : CPU_BF16_AVX512;
    for (int k = CPU_BF16_AVX512; wanted && k < (int)best; k++)
        if (strcmp(wanted, names[k]) == 0 && (k != CPU_BF16_DOT || __builtin_cpu_supports("avx512bf16")))
            return (cpu_bf16_kernel)k;
    return best;
}

void cpu_bf16_begin(cpu_bf16_kernel kernel)
{
    if (kernel == CPU_BF16_AMX)
        cpu_amx_begin();
}

void cpu_bf16_end(cpu_bf16_kernel kernel)
{
    if (kernel == CPU_BF16_AMX)
        cpu_amx_end();
}

/* sum + the two products of each pair, the lower one first. */
#define ADD_PAIRS_DOT(sum, a, b) (__m512)_mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))
#define LOWER(x) (__m512)_mm512_slli_epi32(x, 16)
#define UPPER(x) (__m512)_mm512_and_si512(x, _mm512_set1_epi32(-65536))
#define ADD_PAIRS_AVX512(sum, a, b) _mm512_fmadd_ps(UPPER(a), UPPER(b), _mm512_fmadd_ps(LOWER(a), LOWER(b), sum))

/* ROWS rows from row `first` on. */
#define DEFINE_ROWS(name, TARGET, ADD_PAIRS)                                                                                                         \
    TARGET static void name(const cpu_bf16_tile *t, int first)                                                                                       \
    {                                                                                                                                                \
        __m512 sum[ROWS][2];                                                                                                                         \
        bool two = t->n_columns > BF16_LANES;                                                                                                        \
        const uint16_t *b = t->b, *from = t->a + first / BF16_LANES * t->a_half + first % BF16_LANES * t->a_row;                                     \
        int64_t row = t->a_row, panel = two ? t->b_panel : 0; /* a second column that is not wanted is the first once more */                        \
        _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++)                                                                                       \
        {                                                                                                                                            \
            const float *c = t->c + (first + i) * BF16_SIDE;                                                                                         \
            sum[i][0] = t->add ? _mm512_loadu_ps(c) : _mm512_setzero_ps();                                                                           \
            sum[i][1] = t->add && two ? _mm512_loadu_ps(c + BF16_LANES) : _mm512_setzero_ps();                                                       \
        }                                                                                                                                            \
        for (int64_t run = 0; run < t->n_runs; run++) {                                                                                              \
            const uint16_t *a = from + (t->run ? t->run[run] : 0);                                                                                   \
            for (int64_t k = 0; k < t->n_steps; k++, a += t->a_step)                                                                                 \
                for (int pair = 0; pair < BF16_LANES; pair++, b += 2 * BF16_LANES) {                                                                 \
                    __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + panel);                                                          \
                    _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++)                                                                           \
                    {                                                                                                                                \
                        int32_t both;                                                                                                                \
                        memcpy(&both, a + i * row + 2 * pair, sizeof both);                                                                          \
                        __m512i v = _mm512_set1_epi32(both);                                                                                         \
                        sum[i][0] = ADD_PAIRS(sum[i][0], v, b0);                                                                                     \
                        sum[i][1] = ADD_PAIRS(sum[i][1], v, b1);                                                                                     \
                    }                                                                                                                                \
                }                                                                                                                                    \
        }                                                                                                                                            \
        _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++)                                                                                       \
        {                                                                                                                                            \
            float *c = t->c + (first + i) * BF16_SIDE;                                                                                               \
            _mm512_storeu_ps(c, sum[i][0]);                                                                                                          \
            if (two)                                                                                                                                 \
                _mm512_storeu_ps(c + BF16_LANES, sum[i][1]);                                                                                         \
        }                                                                                                                                            \
    }

DEFINE_ROWS(dot_rows, DOT, ADD_PAIRS_DOT)
DEFINE_ROWS(avx512_rows, CPU_AVX512, ADD_PAIRS_AVX512)

void cpu_bf16_run(cpu_bf16_kernel kernel, const cpu_bf16_tile *t)
{
    if (kernel == CPU_BF16_AMX) {
        cpu_amx_run(t);
        return;
    }
    for (int first = 0; first < t->n_rows; first += ROWS)
        if (kernel == CPU_BF16_DOT)
            dot_rows(t, first);
        else
            avx512_rows(t, first);
}
#else
cpu_bf16_kernel cpu_bf16_choose(void)
{
    return CPU_BF16_NONE;
}

void cpu_bf16_begin(cpu_bf16_kernel kernel)
{
    (void)kernel;
}

void cpu_bf16_end(cpu_bf16_kernel kernel)
{
    (void)kernel;
}

void cpu_bf16_run(cpu_bf16_kernel kernel, const cpu_bf16_tile *tile)
{
    (void)kernel, (void)tile;
}
#endif
