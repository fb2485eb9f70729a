/* depthwise_loops.h for processors with AVX-512. */
#include "backend/cpu/depthwise_rows.h"
#if CPU_HAS_DEPTHWISE_LEVELS
#define CPU_VECTOR 16
#define DEPTHWISE_TARGET __attribute__((target("arch=x86-64-v4")))
#define DEPTHWISE_ROWS cpu_depthwise_avx512
#include "backend/cpu/depthwise_loops.h"
#endif
