/* What the kernels of lib/backend/cuda read, write and compute, node by node of a plan: the estimate's only knowledge of them. A change of a kernel's passes is a
 * change here. Each tensor counts once for every launch that touches it; caches are taken to hold what a block reads twice, and nothing between launches. */
#ifndef ANYCLASS_BENCH_PAPER_TRAFFIC_H
#define ANYCLASS_BENCH_PAPER_TRAFFIC_H

#include "nn/plan_internal.h"

typedef enum traffic_unit { TRAFFIC_VECTOR, TRAFFIC_TENSOR } traffic_unit; /* which of the two does the arithmetic */

typedef struct traffic_launch {
    const char *what;
    double flops, bytes;
    traffic_unit unit;
    int n_launches; /* kernels behind this line; all but one of them are small */
} traffic_launch;

enum { TRAFFIC_MOST = 24 };

typedef struct traffic {
    traffic_launch launch[TRAFFIC_MOST];
    int n;
} traffic;

typedef enum traffic_pass { TRAFFIC_FORWARD, TRAFFIC_BACKWARD } traffic_pass;

/** What node i of the plan asks the device for in this pass: nothing if another node does its work or if it has no backward. Backward counts with it the sums
 * of gradient parts and the output that is made again in front of it. */
void traffic_of_node(const ac_plan *plan, int i, traffic_pass pass, traffic *out);
/** The parameters in the type of activations, at the beginning of a training forward. */
void traffic_of_mirror(const ac_params *params, traffic *out);
/** The optimiser's step. @param n_moments 1 (SGD) or 2 (AdamW) */
void traffic_of_update(const ac_params *params, int n_moments, traffic *out);

#endif
