/* The resize's inner loops behind a small table, so that one can be picked at run time. Not installed. */
#ifndef ANYCLASS_LIB_IMAGE_RESIZE_H
#define ANYCLASS_LIB_IMAGE_RESIZE_H

#include "anyclass/image.h"

enum {
    AC_RESIZE_BITS = 32 - 8 - 2, /* fraction bits of a weight, Pillow's PRECISION_BITS; weights are 0 .. 1 << 22 */
    AC_RESIZE_ROWS = 8,          /* rows of one call of `horizontal` */
    AC_RESIZE_TAP_GROUP = 4,     /* `stride` of a filter is a multiple of it */
    AC_RESIZE_SLACK_BYTES = 64   /* behind a row: `horizontal` may read as many behind its source and write as many
                                    behind its target */
};

/* Weights of one axis: output i = sum over t < n_taps[i] of weight[i * stride + t] * input[first[i] + t].
 * first[] never falls. An output may be given `stride` taps, all of which lie in the input but for at most three. */
typedef struct ac_resize_filter {
    int n_in, n_out;
    int stride; /* weights of one output; those from n_taps on are 0 */
    int32_t *first, *n_taps, *weight;
    size_t n_weights; /* room for */
    uint8_t *packed;  /* what the kernels made of them; aligned to AC_ALIGN_BYTES */
    size_t packed_bytes;
} ac_resize_filter;

typedef struct ac_resize_kernels {
    const char *name;
    bool (*supported)(void); /* by this processor */
    /** Filter AC_RESIZE_ROWS rows of RGB pixels; the same row may be given more than once. */
    void (*horizontal)(const ac_resize_filter *filter, const uint8_t *const source[AC_RESIZE_ROWS],
                       uint8_t *const target[AC_RESIZE_ROWS]);
    /** Weighted sum of n_taps rows of n_bytes bytes that lie row_bytes apart. The weights from n_taps to the next
     * multiple of AC_RESIZE_TAP_GROUP are 0. */
    void (*vertical)(const uint8_t *rows, size_t row_bytes, const int32_t *weight, int n_taps, size_t n_bytes,
                     uint8_t *target);
    /** For `horizontal` only, both or none: bytes that `packed` needs for the filter, and filling it. */
    size_t (*packed_bytes)(const ac_resize_filter *filter);
    void (*pack)(ac_resize_filter *filter);
} ac_resize_kernels;

extern const ac_resize_kernels ac_resize_plain; /* the definition: plain C, everywhere */
extern const ac_resize_kernels ac_resize_avx2, ac_resize_avx512, ac_resize_neon;

/** The kernels of a level, whether this processor supports them or not; NULL for AC_SIMD_AUTO. */
const ac_resize_kernels *ac_resize_kernels_of(ac_simd level);

#endif
