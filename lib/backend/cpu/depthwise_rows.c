/* Which of the vector loops a processor runs; and depthwise_loops.h for any processor. */
#define CPU_VECTOR 4
#define DEPTHWISE_TARGET
#define DEPTHWISE_ROWS cpu_depthwise_plain
#include "backend/cpu/depthwise_loops.h"
#include <stdlib.h>

const depthwise_rows *cpu_depthwise_rows(void)
{
#if CPU_HAS_DEPTHWISE_LEVELS
    const char *wanted = getenv("ANYCLASS_DEPTHWISE");
    int most = !wanted || strcmp(wanted, "avx512") == 0 ? 2 : strcmp(wanted, "avx2") == 0 ? 1 : 0;
    if (most > 1 && __builtin_cpu_supports("x86-64-v4"))
        return &cpu_depthwise_avx512;
    if (most > 0 && __builtin_cpu_supports("x86-64-v3"))
        return &cpu_depthwise_avx2;
#endif
    return &cpu_depthwise_plain;
}
