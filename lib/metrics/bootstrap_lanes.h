/* Where the eight replicates of a packed weight lie; for this folder alone. A byte each: replicates 0..3 in bytes 0, 2, 4, 6 and 4..7
 * in bytes 1, 3, 5, 7. So two masks give eight 16-bit lanes, in which thousands of weights can be added before they are unpacked. */
#ifndef ANYCLASS_METRICS_BOOTSTRAP_LANES_H
#define ANYCLASS_METRICS_BOOTSTRAP_LANES_H

static inline int ac_lane_shift(int lane)
{
    return lane < 4 ? 16 * lane : 16 * (lane - 4) + 8;
}

#endif
