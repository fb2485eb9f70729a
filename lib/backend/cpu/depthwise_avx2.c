/* depthwise_loops.h for processors with AVX2. */
#include "backend/cpu/depthwise_rows.h"
#if CPU_HAS_DEPTHWISE_LEVELS
#define CPU_VECTOR 8
#define DEPTHWISE_TARGET __attribute__((target("arch=x86-64-v3")))
#define DEPTHWISE_ROWS cpu_depthwise_avx2
#include "backend/cpu/depthwise_loops.h"
#endif
