/* What the kernels of attention share: where positions lie, what a call is about. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_ATTENTION_CUH
#define ANYCLASS_LIB_BACKEND_CUDA_ATTENTION_CUH

#include "backend/cuda/kernel.cuh"

struct attention_shape {
    int kind, window, height, width; /* global: a map of one row */
    int channels, heads, head;       /* of q; how many; of one head */
    int seen, n_parts, table;        /* positions that see each other; such sets in an image; rows of the bias table (0: none) */
    int64_t n_items;                 /* sets in the batch */
    float scale;
};

/* A block does the items `first`, `first` + n_groups, ... of one head: what it sums over them has a fixed order. */
struct attention_call {
    attention_shape s;
    const void *qkv;
    void *out;
    float *log_sum;           /* NULL: not kept */
    const float *bias;        /* [table, heads] or NULL */
    const void *dout[AC_MAX_DOUT];
    int n_dout;
    void *dqkv;
    float *delta;             /* [log_sum's shape] workspace of the plain kernels: sum of p dp of each row */
    double *dbias;            /* [n_groups, table, heads] */
    int n_groups;
};

/* Where position i of a set lies among all of the image's. */
__device__ static inline int place_of(const attention_shape &s, int part, int i)
{
    if (s.kind == AC_ATTENTION_GLOBAL)
        return i;
    int rows = s.height / s.window, columns = s.width / s.window;
    if (s.kind == AC_ATTENTION_GRID)
        return (i / s.window * rows + part / columns) * s.width + i % s.window * columns + part % columns;
    return (part / columns * s.window + i / s.window) * s.width + part % columns * s.window + i % s.window;
}

/* Position i of an item among all of the batch's. */
__device__ static inline int64_t row_of(const attention_shape &s, int64_t item, int i)
{
    return item / s.n_parts * s.height * s.width + place_of(s, (int)(item % s.n_parts), i);
}

/* Row of the bias table for i that looks at j: code(i) - code(j) + middle. */
__device__ static inline int code_of(const attention_shape &s, int i)
{
    return s.table ? i / s.window * (2 * s.window - 1) + i % s.window : 0;
}

__device__ static inline int middle_of(const attention_shape &s)
{
    return s.table ? (s.window - 1) * (2 * s.window - 1) + s.window - 1 : 0;
}

/* Sum over all pairs of positions that row e of the table is for, of ds [seen, stride]. */
__device__ static inline double sum_of_pairs(const attention_shape &s, int e, const float *ds, int stride)
{
    int w = s.window, side = 2 * w - 1, dy = e / side - (w - 1), dx = e % side - (w - 1);
    double sum = 0;
    for (int y = max(0, -dy); y < min(w, w - dy); y++)
        for (int x = max(0, -dx); x < min(w, w - dx); x++)
            sum += (double)ds[((y + dy) * w + x + dx) * stride + y * w + x];
    return sum;
}

/* Where an item lies, found once for all of its rows: with place_of(s, 0, i) from a table, no row divides. */
template <typename T> struct set_place {
    const T *qkv;    /* of its head, at position 0 */
    int64_t out;     /* the same, element of the output */
    int64_t log_sum; /* of its first row */
};

template <typename T> __device__ static inline set_place<T> place_of_item(const attention_call &call, int64_t item, int head)
{
    const attention_shape &s = call.s;
    int64_t image = item / s.n_parts, first;
    int part = (int)(item - image * s.n_parts);
    set_place<T> p;
    first = image * s.height * s.width + place_of(s, part, 0);
    p.out = first * s.channels + head * s.head;
    p.qkv = (const T *)call.qkv + first * 3 * s.channels + head * s.head;
    p.log_sum = ((image * s.heads + head) * s.n_parts + part) * s.seen;
    return p;
}

/* The offsets of an item's positions; 0 for rows beyond. */
__device__ static inline void fetch_places(const attention_shape &s, int n_rows, int *places)
{
    for (int i = (int)threadIdx.x; i < n_rows; i += (int)blockDim.x)
        places[i] = i < s.seen ? place_of(s, 0, i) : 0;
}

__device__ static inline int64_t log_sum_at(const attention_shape &s, int64_t item, int head, int i)
{
    return ((item / s.n_parts * s.heads + head) * s.n_parts + item % s.n_parts) * s.seen + i;
}

/* attention_tile.cu: bf16 and f16, heads of 32 or 64. */
bool attention_tile_fits(const attention_shape *s, bool training);
AC_NODISCARD ac_status attention_tile_forward(cuda_device *device, const attention_call *call, ac_dtype dtype);
AC_NODISCARD ac_status attention_tile_backward(cuda_device *device, const attention_call *call, ac_dtype dtype);
/* attention_backward.cu: the same, as many positions as a warp keeps keys for. */
bool attention_pass_fits(const attention_shape *s);
AC_NODISCARD ac_status attention_pass_backward(cuda_device *device, const attention_call *call, ac_dtype dtype);

#endif
