/* Backward of attention in bf16 and f16 by tensor cores where a warp can keep its keys for a whole set of positions: of one head a warp has 16 keys, their values and the
 * gradients of both in registers, and goes once over all queries. The gradients of logits go through shared memory, 32 queries at a time, to whichever warps
 * multiply them by the keys: five products instead of the seven of attention_tile.cu, which serves the other shapes. A bias's gradient is added up in registers over
 * all sets that a block does. */
#include "backend/cuda/attention.cuh"
#include "backend/cuda/copy_async.cuh"
#include "backend/cuda/tensor_core.cuh"

enum { MOST_WARPS = 13, TABLE_WARPS = 4, CHUNK = 32, PAD = 8, DS_STRIDE = CHUNK + PAD };

struct pass_shared { /* offsets into dynamic shared memory, bytes */
    int rows;                           /* of each matrix: a multiple of 16 */
    size_t matrix, ds, floats, places, bias, total;
};

static pass_shared layout_of(const attention_shape *s)
{
    pass_shared l;
    l.rows = (s->seen + 15) / 16 * 16;
    l.matrix = (size_t)l.rows * (size_t)(s->head + PAD) * 2;
    l.ds = 3 * l.matrix;
    l.floats = l.ds + 2 * (size_t)l.rows * DS_STRIDE * 2;
    l.places = l.floats + 2 * (size_t)l.rows * 4;
    l.bias = l.places + (size_t)l.rows * 4;
    l.total = l.bias + (s->table ? (size_t)l.rows * (size_t)(l.rows + 1) * 4 : 0);
    return l;
}

bool attention_pass_fits(const attention_shape *s)
{
    return (s->head == 32 || s->head == 64) && s->channels % 8 == 0 && s->seen <= 16 * (s->table ? TABLE_WARPS : MOST_WARPS);
}

template <typename T> struct pass_tiles { /* in shared memory */
    T *queries, *keys, *gradients, *ds;
    float *log_sums, *deltas, *bias;
    int *places;
};

/* The gradient of the output, summed over its parts, and for each row its product with the output. HEAD / 8 lanes to a row. */
template <typename T, int HEAD> __device__ static inline void take_gradients(const attention_call &call, const set_place<T> &at, int rows, const pass_tiles<T> &m)
{
    const attention_shape &s = call.s;
#pragma unroll 2
    for (int i = (int)threadIdx.x; i < rows * (HEAD / 8); i += (int)blockDim.x) { /* a warp's lanes leave together: rows are multiples of 16 */
        int row = i / (HEAD / 8), c = i % (HEAD / 8) * 8;
        float d[8] = {}, y[8] = {}, along = 0;
        if (row < s.seen) {
            int64_t from = at.out + (int64_t)m.places[row] * s.channels + c;
            load_floats<T, 8>((const T *)call.dout[0], from, d);
            load_floats<T, 8>((const T *)call.out, from, y);
            for (int k = 1; k < call.n_dout; k++) {
                float more[8];
                load_floats<T, 8>((const T *)call.dout[k], from, more);
#pragma unroll
                for (int j = 0; j < 8; j++)
                    d[j] += more[j];
            }
        }
        store_floats<T, 8>(m.gradients, row * (HEAD + PAD) + c, d);
#pragma unroll
        for (int j = 0; j < 8; j++)
            along += d[j] * y[j];
#pragma unroll
        for (int mask = HEAD / 16; mask > 0; mask /= 2)
            along += __shfl_xor_sync(0xffffffffu, along, mask);
        if (c == 0) {
            m.deltas[row] = along;
            m.log_sums[row] = row < s.seen ? call.log_sum[at.log_sum + row] : INFINITY;
        }
    }
}

template <typename T, int HEAD> __device__ static inline void begin_item(const attention_call &call, const set_place<T> &at, int rows, const pass_tiles<T> &m)
{
    const attention_shape &s = call.s;
    for (int i = (int)threadIdx.x; i < rows * (HEAD / 8); i += (int)blockDim.x) {
        int row = i / (HEAD / 8), c = i % (HEAD / 8) * 8;
        const T *from = at.qkv + (int64_t)m.places[row] * 3 * s.channels + c;
        copy_async(m.queries + row * (HEAD + PAD) + c, from, row < s.seen);
        copy_async(m.keys + row * (HEAD + PAD) + c, from + s.channels, row < s.seen);
    }
    copies_commit();
}

/* The values of the warp's 16 keys as they are multiplied. */
template <typename T, int HEAD> __device__ static inline void take_values(const attention_call &call, const set_place<T> &at, const int *places, int first, int lane, uint32_t (*v)[4])
{
    const attention_shape &s = call.s;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = first + lane / 4 + 8 * half;
        bool inside = row < s.seen;
        const T *from = at.qkv + (int64_t)places[row] * 3 * s.channels + 2 * s.channels + lane % 4 * 2;
#pragma unroll
        for (int k = 0; k < HEAD / 16; k++) {
            v[k][half] = inside ? *(const uint32_t *)(from + 16 * k) : 0;
            v[k][2 + half] = inside ? *(const uint32_t *)(from + 16 * k + 8) : 0;
        }
    }
}

/* out = 16 rows of x times 16 rows of `with`, transposed; x as fragments, or NULL: rows `from`. */
template <typename T, int HEAD> __device__ static inline void multiply_rows(float (*out)[4], const uint32_t (*x)[4], const T *from, const T *with, int lane)
{
#pragma unroll
    for (int n = 0; n < 2; n++)
        out[n][0] = out[n][1] = out[n][2] = out[n][3] = 0;
#pragma unroll
    for (int k = 0; k < HEAD / 16; k++) {
        uint32_t a[4], b[4];
        if (!x)
            load_a(a, from + 16 * k, HEAD + PAD, lane);
        load_b_transposed(b, with + 16 * k, HEAD + PAD, lane);
        multiply_tile<T>(out[0], x ? x[k] : a, b);
        multiply_tile<T>(out[1], x ? x[k] : a, b + 2);
    }
}

/* out += a (16 x 16) times 16 rows of `with`. */
template <typename T, int HEAD> __device__ static inline void add_product(float (*out)[4], const uint32_t *a, const T *with, int lane)
{
#pragma unroll
    for (int n = 0; n < HEAD / 16; n++) {
        uint32_t b[4];
        load_b(b, with + 16 * n, HEAD + PAD, lane);
        multiply_tile<T>(out[2 * n], a, b);
        multiply_tile<T>(out[2 * n + 1], a, b + 2);
    }
}

template <int HEAD> struct key_state { /* of a warp's 16 keys, rows lane / 4 and lane / 4 + 8 */
    uint32_t v[HEAD / 16][4]; /* the keys themselves are read again for each tile: with them there are more registers than 13 warps can have */
    float dk[HEAD / 8][4], dv[HEAD / 8][4];
};

/* A warp's keys and the 16 queries from j on: dk, dv, and the gradients of logits into ds [key, query of the chunk]. */
template <typename T, int HEAD, bool TABLE>
__device__ static inline void key_tile(const attention_shape &s, const pass_tiles<T> &m, int j, int first, int lane, const float *bias, key_state<HEAD> &w, T *ds_out, float *bias_sum)
{
    const int stride = HEAD + PAD, t = lane % 4;
    float p[2][4], ds[2][4];
    uint32_t a[4];
    multiply_rows<T, HEAD>(p, nullptr, m.keys + first * stride, m.queries + j * stride, lane);
    multiply_rows<T, HEAD>(ds, w.v, nullptr, m.gradients + j * stride, lane);
#pragma unroll
    for (int n = 0; n < 2; n++) {
        pack<float, 2> log_sum = load<float, 2>(m.log_sums, j + 8 * n + 2 * t), delta = load<float, 2>(m.deltas, j + 8 * n + 2 * t);
        pack<float, 4> more = {};
        if (TABLE)
            more = load<float, 4>(bias, n * 4);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            bool inside = first + lane / 4 + i / 2 * 8 < s.seen; /* queries beyond have infinite sums */
            p[n][i] = inside ? __expf(p[n][i] * s.scale + (TABLE ? more.v[i] : 0.0f) - log_sum.v[i % 2]) : 0.0f;
            ds[n][i] = p[n][i] * (ds[n][i] - delta.v[i % 2]);
            if (TABLE)
                bias_sum[4 * n + i] += ds[n][i];
        }
        a[2 * n] = pack_pair<T>(ds[n][0], ds[n][1]);
        a[2 * n + 1] = pack_pair<T>(ds[n][2], ds[n][3]);
        *(uint32_t *)(ds_out + lane / 4 * DS_STRIDE + 8 * n + 2 * t) = a[2 * n];
        *(uint32_t *)(ds_out + (lane / 4 + 8) * DS_STRIDE + 8 * n + 2 * t) = a[2 * n + 1];
    }
    add_product<T, HEAD>(w.dk, a, m.queries + j * stride, lane);
#pragma unroll
    for (int n = 0; n < 2; n++) {
        a[2 * n] = pack_pair<T>(p[n][0], p[n][1]);
        a[2 * n + 1] = pack_pair<T>(p[n][2], p[n][3]);
    }
    add_product<T, HEAD>(w.dv, a, m.gradients + j * stride, lane);
}

/* 16 rows of WIDTH columns to memory, of q, k or v (which), from column c of the head on. */
template <typename T, int WIDTH>
__device__ static inline void put_rows(const attention_call &call, const set_place<T> &at, const int *places, int which, int first, int c, const float (*values)[4], float scale, int lane)
{
    const attention_shape &s = call.s;
    T *base = (T *)call.dqkv + (at.qkv - (const T *)call.qkv) + which * s.channels + c + lane % 4 * 2;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int row = first + lane / 4 + 8 * h;
        if (row >= s.seen)
            continue;
        T *to = base + (int64_t)places[row] * 3 * s.channels;
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++)
            *(uint32_t *)(to + 8 * n) = pack_pair<T>(values[n][2 * h] * scale, values[n][2 * h + 1] * scale);
    }
}

/* dq of the 16 queries from `query` of a chunk on, 16 columns of the head from c on: ds^T keys. */
template <typename T, int HEAD>
__device__ static inline void query_tile(const attention_call &call, const set_place<T> &at, const pass_tiles<T> &m, int rows, const T *ds, int chunk, int query, int c, int lane)
{
    float dq[2][4] = {};
#pragma unroll 4
    for (int k = 0; k < rows; k += 16) {
        uint32_t a[4], b[4];
        load_a_transposed(a, ds + k * DS_STRIDE + query, DS_STRIDE, lane);
        load_b(b, m.keys + k * (HEAD + PAD) + c, HEAD + PAD, lane);
        multiply_tile<T>(dq[0], a, b);
        multiply_tile<T>(dq[1], a, b + 2);
    }
    put_rows<T, 16>(call, at, m.places, 0, chunk + query, c, dq, call.s.scale, lane);
}

/* Where positions lie, and the head's bias as the warps' tiles read it: [tile of keys][tile of queries][lane][8]. */
template <typename T, bool TABLE> __device__ static inline void begin_head(const attention_call &call, int head, int rows, const pass_tiles<T> &m)
{
    const attention_shape &s = call.s;
    fetch_places(s, rows, m.places);
    for (int i = (int)threadIdx.x; TABLE && i < rows * rows; i += (int)blockDim.x) {
        int e = i % 8, lane = i / 8 % 32, tile = i / 256, key = tile / (rows / 16) * 16 + lane / 4 + e / 2 % 2 * 8, query = tile % (rows / 16) * 16 + e / 4 * 8 + lane % 4 * 2 + e % 2;
        m.bias[i] = key < s.seen && query < s.seen ? call.bias[(code_of(s, query) - code_of(s, key) + middle_of(s)) * s.heads + head] : 0.0f;
    }
}

/* What the tiles summed, as a matrix [seen, seen + 1] where the bias was, and from it the block's part of the bias's gradient. */
template <typename T> __device__ static inline void end_head(const attention_call &call, int head, int first, int lane, const float (*sums)[8], const pass_tiles<T> &m)
{
    const attention_shape &s = call.s;
    __syncthreads();
#pragma unroll
    for (int j = 0; j < TABLE_WARPS; j++)
#pragma unroll
        for (int e = 0; e < 8; e++) {
            int key = first + lane / 4 + e / 2 % 2 * 8, query = j * 16 + e / 4 * 8 + lane % 4 * 2 + e % 2;
            if (key < s.seen && query < s.seen)
                m.bias[query * (s.seen + 1) + key] = sums[j][e];
        }
    __syncthreads();
    for (int e = (int)threadIdx.x; e < s.table; e += (int)blockDim.x)
        call.dbias[((int64_t)blockIdx.x * s.table + e) * s.heads + head] = sum_of_pairs(s, e, m.bias, s.seen + 1);
}

template <typename T, int HEAD, bool TABLE> __global__ void __launch_bounds__(32 * (TABLE ? TABLE_WARPS : MOST_WARPS)) pass_backward_kernel(attention_call call, pass_shared l)
{
    AC_DYNAMIC_SHARED(unsigned char, shared);
    const attention_shape &s = call.s;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, n_warps = (int)blockDim.x / 32, head = (int)blockIdx.y, first = warp * 16, n_units = CHUNK / 16 * (HEAD / 16);
    T *matrix = (T *)shared;
    size_t each = l.matrix / sizeof(T);
    pass_tiles<T> m = {matrix, matrix + each, matrix + 2 * each, (T *)(shared + l.ds), (float *)(shared + l.floats), (float *)(shared + l.floats) + l.rows, (float *)(shared + l.bias),
                    (int *)(shared + l.places)};
    float bias_sum[TABLE ? TABLE_WARPS : 1][8] = {};
    begin_head<T, TABLE>(call, head, l.rows, m);
    for (int64_t item = blockIdx.x; item < s.n_items; item += gridDim.x) {
        set_place<T> at = place_of_item<T>(call, item, head);
        key_state<HEAD> w;
        __syncthreads();
        begin_item<T, HEAD>(call, at, l.rows, m);
        take_values<T, HEAD>(call, at, m.places, first, lane, w.v);
        take_gradients<T, HEAD>(call, at, l.rows, m);
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                w.dk[n][i] = w.dv[n][i] = 0;
        copies_wait<0>();
        __syncthreads();
#pragma unroll TABLE ? TABLE_WARPS * 16 / CHUNK : 1
        for (int c = 0; c < (TABLE ? TABLE_WARPS * 16 / CHUNK : MOST_WARPS); c++) {
            int chunk = c * CHUNK;
            if (chunk >= l.rows)
                break;
            T *ds = m.ds + c % 2 * l.rows * DS_STRIDE; /* the barrier two chunks ago was behind all who read what it held */
#pragma unroll
            for (int k = 0; k < CHUNK / 16; k++)
                if (chunk + 16 * k < l.rows)
                    key_tile<T, HEAD, TABLE>(s, m, chunk + 16 * k, first, lane, m.bias + ((int64_t)(warp * (l.rows / 16) + c * (CHUNK / 16) + k) * 32 + lane) * 8, w,
                                          ds + first * DS_STRIDE + 16 * k, bias_sum[TABLE ? c * (CHUNK / 16) + k : 0]);
            __syncthreads();
            for (int u = (warp + n_warps * n_units - c * n_units % n_warps) % n_warps; u < n_units; u += n_warps) /* in turn, so that all have as much to do */
                if (chunk + u % (CHUNK / 16) * 16 < l.rows)
                    query_tile<T, HEAD>(call, at, m, l.rows, ds, chunk, u % (CHUNK / 16) * 16, u / (CHUNK / 16) * 16, lane);
        }
        put_rows<T, HEAD>(call, at, m.places, 1, first, 0, w.dk, s.scale, lane);
        put_rows<T, HEAD>(call, at, m.places, 2, first, 0, w.dv, 1, lane);
    }
    if (TABLE)
        end_head<T>(call, head, first, lane, (const float(*)[8])bias_sum, m);
}

template <typename T, int HEAD, bool TABLE> static ac_status launch(cuda_device *device, const attention_call *call)
{
    pass_shared l = layout_of(&call->s);
    dim3 grid((unsigned)(TABLE ? call->n_groups : call->s.n_items), (unsigned)call->s.heads);
    return AC_LAUNCH((pass_backward_kernel<T, HEAD, TABLE>), grid, dim3((unsigned)(l.rows / 16 * 32)), l.total, device->stream, *call, l);
}

ac_status attention_pass_backward(cuda_device *device, const attention_call *call, ac_dtype dtype)
{
    if (!call->dqkv)
        return ac_error(AC_ERR_UNSUPPORTED, "attention whose input needs no gradient");
    CUDA_FOR_HALF(dtype, {
        if (call->s.head == 32)
            CUDA_TRY((call->s.table ? launch<T, 32, true>(device, call) : launch<T, 32, false>(device, call)));
        else
            CUDA_TRY((call->s.table ? launch<T, 64, true>(device, call) : launch<T, 64, false>(device, call)));
    });
    return AC_OK;
}
