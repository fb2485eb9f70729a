/* attention in bf16 and f16 by tensor cores, heads of 32 and 64. A block holds the keys and values (backward: also queries and gradients) of one head in one set of positions
 * in shared memory; its warps take 16 rows at a time. Softmax in float; no probability leaves the registers but, for the gradient of the bias, one set's. */
#include "backend/cuda/attention.cuh"
#include "backend/cuda/copy_async.cuh"
#include "backend/cuda/tensor_core.cuh"

enum { FORWARD_WARPS = 8, BACKWARD_WARPS = 13, KEYS = 32, MOST_TABLE = 512, PAD = 8 };

/* Row `i` of an item, which q (0), k or v, of one head into shared memory; rows from `seen` on are zeros. */
template <typename T, int HEAD> __device__ static inline void fetch_rows(const attention_call &call, const set_place<T> &at, const int *places, int which, int n_rows, T *to)
{
    const attention_shape &s = call.s;
    for (int i = (int)threadIdx.x; i < n_rows * (HEAD / 8); i += (int)blockDim.x) {
        int row = i / (HEAD / 8), c = i % (HEAD / 8) * 8;
        copy_async(to + row * (HEAD + PAD) + c, at.qkv + ((int64_t)places[row] * 3 + which) * s.channels + c, row < s.seen);
    }
}

__device__ static inline float quad_sum(float v)
{
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

__device__ static inline float quad_most(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

struct tile_shared { /* offsets into dynamic shared memory, bytes */
    int rows;            /* of each matrix */
    size_t matrix, floats, codes, places, table, ds, total;
};

static tile_shared layout_of(const attention_shape *s, bool backward)
{
    tile_shared l;
    int step = backward ? 16 : KEYS;
    l.rows = (s->seen + step - 1) / step * step;
    l.matrix = (size_t)l.rows * (size_t)(s->head + PAD) * 2;
    l.floats = l.matrix * (backward ? 4 : 2);
    l.codes = l.floats + (backward ? 2 * (size_t)l.rows * 4 : 0);
    l.places = l.codes + (size_t)l.rows * 4;
    l.table = l.places + (size_t)l.rows * 4;
    l.ds = l.table + ((size_t)s->table + 3) / 4 * 16;
    l.total = l.ds + (backward && s->table ? (size_t)s->seen * (size_t)(s->seen + 1) * 4 : 0);
    return l;
}

bool attention_tile_fits(const attention_shape *s, bool training)
{
    (void)training;
    return (s->head == 32 || s->head == 64) && s->channels % 8 == 0 && s->table <= MOST_TABLE && layout_of(s, true).total <= 160u << 10 && layout_of(s, false).total <= 160u << 10;
}

/* Codes of positions and the head's column of the bias table. */
__device__ static inline void fetch_bias(const attention_call &call, int head, const tile_shared &l, int *codes, float *table)
{
    const attention_shape &s = call.s;
    for (int i = (int)threadIdx.x; i < l.rows; i += (int)blockDim.x)
        codes[i] = i < s.seen ? code_of(s, i) : 0;
    for (int e = (int)threadIdx.x; e < s.table; e += (int)blockDim.x)
        table[e] = call.bias[e * s.heads + head];
}

/* The 16 rows of q from `first` on as they are multiplied. */
template <typename T, int HEAD> __device__ static inline void take_queries(const attention_call &call, const set_place<T> &at, const int *places, int first, int lane, uint32_t (*a)[4])
{
    const attention_shape &s = call.s;
    int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = first + g + 8 * half;
        bool inside = row < s.seen;
        const T *q = at.qkv + (int64_t)places[inside ? row : 0] * 3 * s.channels + 2 * t;
#pragma unroll
        for (int k = 0; k < HEAD / 16; k++) {
            a[k][half] = inside ? *(const uint32_t *)(q + 16 * k) : 0;
            a[k][2 + half] = inside ? *(const uint32_t *)(q + 16 * k + 8) : 0;
        }
    }
}

template <typename T, int HEAD> __global__ void __launch_bounds__(32 * FORWARD_WARPS) tile_forward_kernel(attention_call call, tile_shared l)
{
    AC_DYNAMIC_SHARED(unsigned char, shared);
    const attention_shape &s = call.s;
    const int stride = HEAD + PAD, lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, n_warps = (int)blockDim.x / 32, head = (int)blockIdx.y, g = lane / 4, t = lane % 4;
    T *keys = (T *)shared, *values = (T *)(shared + l.matrix);
    int *codes = (int *)(shared + l.codes), *places = (int *)(shared + l.places), middle = middle_of(s);
    float *table = (float *)(shared + l.table);
    fetch_bias(call, head, l, codes, table);
    fetch_places(s, l.rows, places);
    for (int64_t item = blockIdx.x; item < s.n_items; item += gridDim.x) {
        __syncthreads();
        set_place<T> at = place_of_item<T>(call, item, head);
        fetch_rows<T, HEAD>(call, at, places, 1, l.rows, keys);
        fetch_rows<T, HEAD>(call, at, places, 2, l.rows, values);
        copies_commit();
        copies_wait<0>();
        __syncthreads();
        for (int first = warp * 16; first < s.seen; first += n_warps * 16) {
            uint32_t q[HEAD / 16][4];
            float y[HEAD / 8][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
            take_queries<T, HEAD>(call, at, places, first, lane, q);
            int code[2] = {codes[min(first + g, l.rows - 1)] + middle, codes[min(first + g + 8, l.rows - 1)] + middle};
#pragma unroll
            for (int n = 0; n < HEAD / 8; n++)
                y[n][0] = y[n][1] = y[n][2] = y[n][3] = 0;
            for (int j = 0; j < l.rows; j += KEYS) {
                float p[KEYS / 8][4], highest[2] = {most[0], most[1]}, shrink[2];
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
                    p[n][0] = p[n][1] = p[n][2] = p[n][3] = 0;
#pragma unroll
                for (int n = 0; n < KEYS / 16; n++)
#pragma unroll
                    for (int k = 0; k < HEAD / 16; k++) {
                        uint32_t b[4];
                        load_b_transposed(b, keys + (j + 16 * n) * stride + 16 * k, stride, lane);
                        multiply_tile<T>(p[2 * n], q[k], b);
                        multiply_tile<T>(p[2 * n + 1], q[k], b + 2);
                    }
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        int key = j + 8 * n + 2 * t + i % 2;
                        float bias = s.table && key < s.seen ? table[code[i / 2] - codes[key]] : 0.0f;
                        p[n][i] = key < s.seen ? p[n][i] * s.scale + bias : -INFINITY;
                        highest[i / 2] = fmaxf(highest[i / 2], p[n][i]);
                    }
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    highest[h] = quad_most(highest[h]);
                    shrink[h] = __expf(most[h] - highest[h]);
                    most[h] = highest[h];
                    sum[h] *= shrink[h];
                }
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        p[n][i] = __expf(p[n][i] - most[i / 2]);
                        sum[i / 2] += p[n][i];
                    }
#pragma unroll
                for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++)
                        y[n][i] *= shrink[i / 2];
#pragma unroll
                for (int k = 0; k < KEYS / 16; k++) {
                    uint32_t a[4] = {pack_pair<T>(p[2 * k][0], p[2 * k][1]), pack_pair<T>(p[2 * k][2], p[2 * k][3]), pack_pair<T>(p[2 * k + 1][0], p[2 * k + 1][1]),
                                     pack_pair<T>(p[2 * k + 1][2], p[2 * k + 1][3])};
#pragma unroll
                    for (int n = 0; n < HEAD / 16; n++) {
                        uint32_t b[4];
                        load_b(b, values + (j + 16 * k) * stride + 16 * n, stride, lane);
                        multiply_tile<T>(y[2 * n], a, b);
                        multiply_tile<T>(y[2 * n + 1], a, b + 2);
                    }
                }
            }
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int row = first + g + 8 * h;
                sum[h] = quad_sum(sum[h]);
                if (row >= s.seen)
                    continue;
                T *to = (T *)call.out + at.out + (int64_t)places[row] * s.channels + 2 * t;
#pragma unroll
                for (int n = 0; n < HEAD / 8; n++)
                    *(uint32_t *)(to + 8 * n) = pack_pair<T>(y[n][2 * h] / sum[h], y[n][2 * h + 1] / sum[h]);
                if (t == 0 && call.log_sum)
                    call.log_sum[at.log_sum + row] = most[h] + logf(sum[h]);
            }
        }
    }
}

/* The gradient of the output into shared memory, and for each row the sum of gradient times output. A warp to a row. */
template <typename T, int HEAD> __device__ static inline void fetch_gradient(const attention_call &call, const set_place<T> &place, const int *places, const tile_shared &l, T *to, float *log_sums, float *deltas)
{
    const attention_shape &s = call.s;
    const int lane = (int)threadIdx.x % 32, n_warps = (int)blockDim.x / 32;
    for (int row = (int)threadIdx.x / 32; row < l.rows; row += n_warps) {
        float along = 0;
        for (int c = 2 * lane; c < HEAD; c += 64) {
            float d[2] = {0, 0}, y[2] = {0, 0}, more[2];
            if (row < s.seen) {
                int64_t at = place.out + (int64_t)places[row] * s.channels + c;
                for (int k = 0; k < call.n_dout; k++) {
                    load_floats<T, 2>((const T *)call.dout[k], at, more);
                    d[0] += more[0];
                    d[1] += more[1];
                }
                load_floats<T, 2>((const T *)call.out, at, y);
            }
            store_floats<T, 2>(to, row * (HEAD + PAD) + c, d);
            along += d[0] * y[0] + d[1] * y[1];
        }
        along = warp_sum(along);
        if (lane == 0) {
            log_sums[row] = row < s.seen ? call.log_sum[place.log_sum + row] : INFINITY;
            deltas[row] = along;
        }
    }
}

/* sums[n] += 16 rows of x (fragments) times 16 rows of `with`, transposed: logits or dp of a 16 x 16 tile. */
template <typename T, int HEAD> __device__ static inline void multiply_rows(float (*out)[4], const uint32_t (*x)[4], const T *with, int lane)
{
#pragma unroll
    for (int n = 0; n < 2; n++)
        out[n][0] = out[n][1] = out[n][2] = out[n][3] = 0;
#pragma unroll
    for (int k = 0; k < HEAD / 16; k++) {
        uint32_t b[4];
        load_b_transposed(b, with + 16 * k, HEAD + PAD, lane);
        multiply_tile<T>(out[0], x[k], b);
        multiply_tile<T>(out[1], x[k], b + 2);
    }
}

/* out += tile (16 x 16, as products leave it) times 16 rows of `with`. */
template <typename T, int HEAD> __device__ static inline void add_product(float (*out)[4], const float (*tile)[4], const T *with, int lane)
{
    uint32_t a[4] = {pack_pair<T>(tile[0][0], tile[0][1]), pack_pair<T>(tile[0][2], tile[0][3]), pack_pair<T>(tile[1][0], tile[1][1]), pack_pair<T>(tile[1][2], tile[1][3])};
#pragma unroll
    for (int n = 0; n < HEAD / 16; n++) {
        uint32_t b[4];
        load_b(b, with + 16 * n, HEAD + PAD, lane);
        multiply_tile<T>(out[2 * n], a, b);
        multiply_tile<T>(out[2 * n + 1], a, b + 2);
    }
}

/* 16 rows of a gradient of q, k or v (which) to memory. */
template <typename T, int HEAD>
__device__ static inline void put_rows(const attention_call &call, const set_place<T> &at, const int *places, int which, int first, const float (*values)[4], float scale, int lane)
{
    const attention_shape &s = call.s;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = first + lane / 4 + 8 * h;
        if (row >= s.seen)
            continue;
        T *to = (T *)call.dqkv + (at.qkv - (const T *)call.qkv) + ((int64_t)places[row] * 3 + which) * s.channels + lane % 4 * 2;
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++)
            *(uint32_t *)(to + 8 * n) = pack_pair<T>(values[n][2 * h] * scale, values[n][2 * h + 1] * scale);
    }
}

template <typename T> struct tiles { /* in shared memory */
    const T *queries, *keys, *values, *gradients;
    const float *log_sums, *deltas, *table;
    const int *codes, *places;
    float *ds;
};

/* dk and dv of the 16 keys from `first` on; tiles are [keys, queries]. */
template <typename T, int HEAD> __device__ static inline void key_rows(const attention_call &call, const tile_shared &l, const tiles<T> &m, const set_place<T> &at, int first, int lane)
{
    const attention_shape &s = call.s;
    const int stride = HEAD + PAD, g = lane / 4, t = lane % 4;
    uint32_t k[HEAD / 16][4], v[HEAD / 16][4];
    float dk[HEAD / 8][4], dv[HEAD / 8][4];
#pragma unroll
    for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            dk[n][i] = dv[n][i] = 0;
#pragma unroll
    for (int n = 0; n < HEAD / 16; n++) {
        load_a(k[n], m.keys + first * stride + 16 * n, stride, lane);
        load_a(v[n], m.values + first * stride + 16 * n, stride, lane);
    }
    int code[2] = {middle_of(s) - m.codes[first + g], middle_of(s) - m.codes[first + g + 8]};
    for (int j = 0; j < l.rows; j += 16) {
        float p[2][4], ds[2][4];
        multiply_rows<T, HEAD>(p, k, m.queries + j * stride, lane);
        multiply_rows<T, HEAD>(ds, v, m.gradients + j * stride, lane);
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int key = first + g + i / 2 * 8, query = j + 8 * n + 2 * t + i % 2;
                bool inside = key < s.seen && query < s.seen;
                float bias = s.table && inside ? m.table[m.codes[query] + code[i / 2]] : 0.0f;
                p[n][i] = inside ? __expf(p[n][i] * s.scale + bias - m.log_sums[query]) : 0.0f;
                ds[n][i] = p[n][i] * (ds[n][i] - m.deltas[query]);
            }
        add_product<T, HEAD>(dv, p, m.gradients + j * stride, lane);
        add_product<T, HEAD>(dk, ds, m.queries + j * stride, lane);
    }
    put_rows<T, HEAD>(call, at, m.places, 1, first, dk, s.scale, lane);
    put_rows<T, HEAD>(call, at, m.places, 2, first, dv, 1, lane);
}

/* dq of the 16 queries from `first` on, and the gradients of logits for the bias; tiles are [queries, keys]. */
template <typename T, int HEAD> __device__ static inline void query_rows(const attention_call &call, const tile_shared &l, const tiles<T> &m, const set_place<T> &at, int first, int lane)
{
    const attention_shape &s = call.s;
    const int stride = HEAD + PAD, g = lane / 4, t = lane % 4;
    uint32_t q[HEAD / 16][4], d[HEAD / 16][4];
    float dq[HEAD / 8][4];
#pragma unroll
    for (int n = 0; n < HEAD / 8; n++)
        dq[n][0] = dq[n][1] = dq[n][2] = dq[n][3] = 0;
#pragma unroll
    for (int n = 0; n < HEAD / 16; n++) {
        load_a(q[n], m.queries + first * stride + 16 * n, stride, lane);
        load_a(d[n], m.gradients + first * stride + 16 * n, stride, lane);
    }
    int code[2] = {middle_of(s) + m.codes[first + g], middle_of(s) + m.codes[first + g + 8]};
    float log_sum[2] = {m.log_sums[first + g], m.log_sums[first + g + 8]}, delta[2] = {m.deltas[first + g], m.deltas[first + g + 8]};
    for (int j = 0; j < l.rows; j += 16) {
        float p[2][4], ds[2][4];
        multiply_rows<T, HEAD>(p, q, m.keys + j * stride, lane);
        multiply_rows<T, HEAD>(ds, d, m.values + j * stride, lane);
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int query = first + g + i / 2 * 8, key = j + 8 * n + 2 * t + i % 2;
                bool inside = key < s.seen && query < s.seen;
                float bias = s.table && inside ? m.table[code[i / 2] - m.codes[key]] : 0.0f;
                ds[n][i] = inside ? __expf(p[n][i] * s.scale + bias - log_sum[i / 2]) * (ds[n][i] - delta[i / 2]) : 0.0f;
                if (s.table && inside)
                    m.ds[query * (s.seen + 1) + key] = ds[n][i];
            }
        add_product<T, HEAD>(dq, ds, m.keys + j * stride, lane);
    }
    put_rows<T, HEAD>(call, at, m.places, 0, first, dq, s.scale, lane);
}

template <typename T, int HEAD> __global__ void __launch_bounds__(32 * BACKWARD_WARPS) tile_backward_kernel(attention_call call, tile_shared l)
{
    AC_DYNAMIC_SHARED(unsigned char, shared);
    const attention_shape &s = call.s;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, n_warps = (int)blockDim.x / 32, head = (int)blockIdx.y;
    T *matrix[4];
    for (int k = 0; k < 4; k++)
        matrix[k] = (T *)(shared + k * l.matrix);
    float *log_sums = (float *)(shared + l.floats), *deltas = log_sums + l.rows, *table = (float *)(shared + l.table), *ds = (float *)(shared + l.ds);
    int *codes = (int *)(shared + l.codes), *places = (int *)(shared + l.places);
    tiles<T> m = {matrix[0], matrix[1], matrix[2], matrix[3], log_sums, deltas, table, codes, places, ds};
    fetch_bias(call, head, l, codes, table);
    fetch_places(s, l.rows, places);
    for (int64_t item = blockIdx.x; item < s.n_items; item += gridDim.x) {
        __syncthreads();
        set_place<T> at = place_of_item<T>(call, item, head);
        for (int which = 0; which < 3; which++)
            fetch_rows<T, HEAD>(call, at, places, which, l.rows, matrix[which]);
        copies_commit();
        fetch_gradient<T, HEAD>(call, at, places, l, matrix[3], log_sums, deltas);
        copies_wait<0>();
        __syncthreads();
        for (int first = warp * 16; first < l.rows; first += n_warps * 16) {
            key_rows<T, HEAD>(call, l, m, at, first, lane);
            query_rows<T, HEAD>(call, l, m, at, first, lane);
        }
        if (!s.table)
            continue;
        __syncthreads();
        for (int e = (int)threadIdx.x; e < s.table; e += (int)blockDim.x) {
            double *to = &call.dbias[((int64_t)blockIdx.x * s.table + e) * s.heads + head];
            *to = (item == blockIdx.x ? 0.0 : *to) + sum_of_pairs(s, e, ds, s.seen + 1);
        }
    }
}

static int warps_for(int rows, int most)
{
    int blocks = (rows + 15) / 16, rounds = (blocks + most - 1) / most;
    return (blocks + rounds - 1) / rounds;
}

ac_status attention_tile_forward(cuda_device *device, const attention_call *call, ac_dtype dtype)
{
    tile_shared l = layout_of(&call->s, false);
    int64_t groups = (int64_t)device->n_multiprocessors * 32 / call->s.heads;
    dim3 grid((unsigned)(groups < call->s.n_items ? (groups < 1 ? 1 : groups) : call->s.n_items), (unsigned)call->s.heads), block(32 * (unsigned)warps_for(call->s.seen, FORWARD_WARPS));
    CUDA_FOR_HALF(dtype, {
        if (call->s.head == 32)
            CUDA_TRY(AC_LAUNCH((tile_forward_kernel<T, 32>), grid, block, l.total, device->stream, *call, l));
        else
            CUDA_TRY(AC_LAUNCH((tile_forward_kernel<T, 64>), grid, block, l.total, device->stream, *call, l));
    });
    return AC_OK;
}

ac_status attention_tile_backward(cuda_device *device, const attention_call *call, ac_dtype dtype)
{
    if (attention_pass_fits(&call->s))
        return attention_pass_backward(device, call, dtype);
    tile_shared l = layout_of(&call->s, true);
    dim3 grid((unsigned)(call->s.table ? call->n_groups : call->s.n_items), (unsigned)call->s.heads), block(32 * (unsigned)warps_for(call->s.seen, BACKWARD_WARPS));
    if (!call->dqkv)
        return ac_error(AC_ERR_UNSUPPORTED, "attention whose input needs no gradient");
    CUDA_FOR_HALF(dtype, {
        if (call->s.head == 32)
            CUDA_TRY(AC_LAUNCH((tile_backward_kernel<T, 32>), grid, block, l.total, device->stream, *call, l));
        else
            CUDA_TRY(AC_LAUNCH((tile_backward_kernel<T, 64>), grid, block, l.total, device->stream, *call, l));
    });
    return AC_OK;
}
