/* attention: the row of the table, and plain kernels for every type and size, a warp to a row of logits. Forward keeps the log of the sum of exponentials alone;
 * backward makes probabilities from it. Heads of 32 and 64 in bf16 and f16 run in attention_tile.cu. */
#include "backend/cuda/attention.cuh"

enum { PLAIN_BLOCK = 128, PLAIN_WARPS = PLAIN_BLOCK / 32, SHARED_BYTES = 96 << 10 };

__device__ static inline float warp_most(float v)
{
    for (int mask = 16; mask > 0; mask /= 2)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, mask));
    return v;
}

template <typename T> __device__ static inline float dot(const T *a, const T *b, int n)
{
    float sum = 0;
    for (int c = 0; c < n; c++)
        sum += to_float(a[c]) * to_float(b[c]);
    return sum;
}

template <typename T> __device__ static inline float logit(const attention_call &call, const T *q, const T *k, int head, int i, int j)
{
    const attention_shape &s = call.s;
    float bias = call.bias ? call.bias[(code_of(s, i) - code_of(s, j) + middle_of(s)) * s.heads + head] : 0.0f;
    return dot(q, k, s.head) * s.scale + bias;
}

template <typename T> __device__ static inline const T *part_of_row(const attention_call &call, int64_t item, int head, int which, int i)
{
    const attention_shape &s = call.s;
    return (const T *)call.qkv + (row_of(s, item, i) * 3 + which) * s.channels + head * s.head;
}

/* blockIdx.x: item, blockIdx.y: head. */
template <typename T> __global__ void __launch_bounds__(PLAIN_BLOCK) plain_forward_kernel(attention_call call)
{
    AC_DYNAMIC_SHARED(float, shared);
    const attention_shape &s = call.s;
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, head = (int)blockIdx.y;
    int64_t item = blockIdx.x;
    float *p = shared + warp * s.seen;
    for (int i = warp; i < s.seen; i += PLAIN_WARPS) {
        const T *q = part_of_row<T>(call, item, head, 0, i);
        float most = -INFINITY, sum = 0;
        for (int j = lane; j < s.seen; j += 32) {
            p[j] = logit(call, q, part_of_row<T>(call, item, head, 1, j), head, i, j);
            most = fmaxf(most, p[j]);
        }
        most = warp_most(most);
        for (int j = lane; j < s.seen; j += 32) {
            p[j] = expf(p[j] - most);
            sum += p[j];
        }
        sum = warp_sum(sum);
        __syncwarp();
        for (int c = lane; c < s.head; c += 32) {
            float y = 0;
            for (int j = 0; j < s.seen; j++)
                y += p[j] * to_float(part_of_row<T>(call, item, head, 2, j)[c]);
            ((T *)call.out)[row_of(s, item, i) * s.channels + head * s.head + c] = from_float<T>(y / sum);
        }
        if (lane == 0 && call.log_sum)
            call.log_sum[log_sum_at(s, item, head, i)] = most + logf(sum);
        __syncwarp();
    }
}

template <typename T> __device__ static inline float gradient_of(const attention_call &call, int64_t at)
{
    float sum = 0;
    for (int k = 0; k < call.n_dout; k++)
        sum += to_float(((const T *)call.dout[k])[at]);
    return sum;
}

/* dq, the sum of p dp of each row, and the bias's share. Shared: p, dp of each warp; ds [seen, seen]. */
template <typename T> __global__ void __launch_bounds__(PLAIN_BLOCK) plain_query_kernel(attention_call call)
{
    AC_DYNAMIC_SHARED(float, shared);
    const attention_shape &s = call.s;
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, head = (int)blockIdx.y;
    float *p = shared + warp * 2 * s.seen, *dp = p + s.seen, *all = shared + PLAIN_WARPS * 2 * s.seen;
    for (int64_t item = blockIdx.x; item < s.n_items; item += call.n_groups) {
        for (int i = warp; i < s.seen; i += PLAIN_WARPS) {
            const T *q = part_of_row<T>(call, item, head, 0, i);
            int64_t dy = row_of(s, item, i) * s.channels + head * s.head;
            float log_sum = call.log_sum[log_sum_at(s, item, head, i)], delta = 0;
            for (int j = lane; j < s.seen; j += 32) {
                const T *v = part_of_row<T>(call, item, head, 2, j);
                p[j] = expf(logit(call, q, part_of_row<T>(call, item, head, 1, j), head, i, j) - log_sum);
                dp[j] = 0;
                for (int c = 0; c < s.head; c++)
                    dp[j] += gradient_of<T>(call, dy + c) * to_float(v[c]);
                delta += p[j] * dp[j];
            }
            delta = warp_sum(delta);
            for (int j = lane; j < s.seen; j += 32) {
                p[j] *= dp[j] - delta;
                if (s.table)
                    all[i * s.seen + j] = p[j];
            }
            __syncwarp();
            for (int c = lane; c < s.head; c += 32) {
                float d = 0;
                for (int j = 0; j < s.seen; j++)
                    d += p[j] * to_float(part_of_row<T>(call, item, head, 1, j)[c]);
                if (call.dqkv)
                    ((T *)call.dqkv)[row_of(s, item, i) * 3 * s.channels + head * s.head + c] = from_float<T>(d * s.scale);
            }
            if (lane == 0)
                call.delta[log_sum_at(s, item, head, i)] = delta;
            __syncwarp();
        }
        __syncthreads();
        for (int e = (int)threadIdx.x; e < s.table; e += PLAIN_BLOCK) {
            double *to = &call.dbias[((int64_t)blockIdx.x * s.table + e) * s.heads + head];
            *to = (item == blockIdx.x ? 0.0 : *to) + sum_of_pairs(s, e, all, s.seen);
        }
        __syncthreads();
    }
}

/* dk and dv: a warp to a key, lanes to channels in turn. Shared: p and ds of each warp. */
template <typename T> __global__ void __launch_bounds__(PLAIN_BLOCK) plain_key_kernel(attention_call call)
{
    AC_DYNAMIC_SHARED(float, shared);
    const attention_shape &s = call.s;
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, head = (int)blockIdx.y;
    int64_t item = blockIdx.x;
    float *p = shared + warp * 2 * s.seen, *ds = p + s.seen;
    for (int j = warp; j < s.seen; j += PLAIN_WARPS) {
        const T *k = part_of_row<T>(call, item, head, 1, j), *v = part_of_row<T>(call, item, head, 2, j);
        for (int i = lane; i < s.seen; i += 32) {
            int64_t dy = row_of(s, item, i) * s.channels + head * s.head, at = log_sum_at(s, item, head, i);
            float dp = 0;
            p[i] = expf(logit(call, part_of_row<T>(call, item, head, 0, i), k, head, i, j) - call.log_sum[at]);
            for (int c = 0; c < s.head; c++)
                dp += gradient_of<T>(call, dy + c) * to_float(v[c]);
            ds[i] = p[i] * (dp - call.delta[at]);
        }
        __syncwarp();
        for (int c = lane; c < s.head; c += 32) {
            float dk = 0, dv = 0;
            for (int i = 0; i < s.seen; i++) {
                dk += ds[i] * to_float(part_of_row<T>(call, item, head, 0, i)[c]);
                dv += p[i] * gradient_of<T>(call, row_of(s, item, i) * s.channels + head * s.head + c);
            }
            T *to = (T *)call.dqkv + row_of(s, item, j) * 3 * s.channels + head * s.head + c;
            to[s.channels] = from_float<T>(dk * s.scale);
            to[2 * s.channels] = from_float<T>(dv);
        }
        __syncwarp();
    }
}

/* ---- host ---- */

static attention_shape shape_of(const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    const ac_attention_attribute *a = (const ac_attention_attribute *)node->attribute;
    bool global = a->kind == AC_ATTENTION_GLOBAL;
    attention_shape s;
    s.kind = a->kind;
    s.window = a->window_px;
    s.height = global ? 1 : (int)x->dim[1];
    s.width = (int)x->dim[x->n_dims - 2];
    s.channels = (int)x->dim[x->n_dims - 1] / 3;
    s.heads = a->n_heads;
    s.head = s.channels / s.heads;
    s.seen = global ? s.width : s.window * s.window;
    s.n_parts = s.height * s.width / s.seen;
    s.table = global ? 0 : (2 * s.window - 1) * (2 * s.window - 1);
    s.n_items = x->dim[0] * s.n_parts;
    s.scale = a->scale;
    return s;
}

static bool by_tiles(const attention_shape *s, ac_dtype dtype, bool training)
{
    const char *choice = getenv("ANYCLASS_CUDA_ATTENTION");
    return cuda_is_half(dtype) && attention_tile_fits(s, training) && !(choice && strcmp(choice, "plain") == 0);
}

static int groups_of(const cuda_device *device, const attention_shape *s)
{
    int64_t n = (int64_t)device->n_multiprocessors * 8 / s->heads;
    n = n < 1 ? 1 : n;
    return (int)(n < s->n_items ? n : s->n_items);
}

static size_t delta_bytes(const attention_shape *s)
{
    return cuda_aligned((size_t)s->n_items * (size_t)s->seen * (size_t)s->heads * sizeof(float));
}

static size_t plain_shared(const attention_shape *s)
{
    return sizeof(float) * ((size_t)PLAIN_WARPS * 2 * (size_t)s->seen + (s->table ? (size_t)s->seen * (size_t)s->seen : 0));
}

static ac_status plan(ac_device *base, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)wants;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    attention_shape s = shape_of(graph, node);
    CUDA_TRY(cuda_check_precision(base, x->dtype));
    if (!by_tiles(&s, x->dtype, training) && plain_shared(&s) > SHARED_BYTES)
        return ac_error(AC_ERR_UNSUPPORTED, "%d positions that see each other", s.seen);
    if (training)
        out->workspace_bytes = delta_bytes(&s) + sizeof(double) * (size_t)groups_of(cuda_of(base), &s) * (size_t)(s.table * s.heads);
    return AC_OK;
}

static attention_call call_of(const ac_call *call)
{
    attention_call c;
    memset(&c, 0, sizeof c);
    c.s = shape_of(call->graph, call->node);
    c.qkv = call->input[0];
    c.out = call->output[0];
    c.log_sum = (float *)call->saved[0];
    c.bias = c.s.table ? (const float *)call->param[0] : NULL;
    c.n_groups = groups_of(cuda_of(call->device), &c.s);
    return c;
}

static ac_status forward(const ac_call *call)
{
    cuda_device *device = cuda_of(call->device);
    attention_call c = call_of(call);
    if (by_tiles(&c.s, cuda_in(call, 0)->dtype, call->training))
        return attention_tile_forward(device, &c, cuda_in(call, 0)->dtype);
    CUDA_FOR_TYPE(cuda_in(call, 0)->dtype, {
        CUDA_TRY(AC_LAUNCH((plain_forward_kernel<T>), dim3((unsigned)c.s.n_items, (unsigned)c.s.heads), dim3(PLAIN_BLOCK), sizeof(float) * PLAIN_WARPS * (size_t)c.s.seen,
                           device->stream, c));
    });
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    cuda_device *device = cuda_of(call->device);
    attention_call c = call_of(call);
    c.dqkv = call->dinput[0];
    c.n_dout = call->n_doutput;
    for (int k = 0; k < c.n_dout; k++)
        c.dout[k] = call->doutput[k];
    c.delta = (float *)call->workspace;
    c.dbias = (double *)((unsigned char *)call->workspace + delta_bytes(&c.s));
    if (by_tiles(&c.s, cuda_in(call, 0)->dtype, true)) {
        CUDA_TRY(attention_tile_backward(device, &c, cuda_in(call, 0)->dtype));
    } else {
        CUDA_FOR_TYPE(cuda_in(call, 0)->dtype, {
            CUDA_TRY(AC_LAUNCH((plain_query_kernel<T>), dim3((unsigned)c.n_groups, (unsigned)c.s.heads), dim3(PLAIN_BLOCK), plain_shared(&c.s), device->stream, c));
            if (c.dqkv)
                CUDA_TRY(AC_LAUNCH((plain_key_kernel<T>), dim3((unsigned)c.s.n_items, (unsigned)c.s.heads), dim3(PLAIN_BLOCK), sizeof(float) * PLAIN_WARPS * 2 * (size_t)c.s.seen,
                                   device->stream, c));
        });
    }
    if (!c.s.table)
        return AC_OK;
    int64_t columns = (int64_t)c.s.table * c.s.heads;
    return cuda_tile_totals(device, c.dbias, c.n_groups, columns, columns, call->param_gradient[0], call->accumulate);
}

extern "C" const ac_kernel ac_cuda_attention = {&ac_op_attention, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, forward, backward, NULL, NULL};
