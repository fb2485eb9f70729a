/* squeeze_excite: sums over the pixels of each image by pieces, the two small products for several images at a time, a pass that applies the gate; backward likewise,
 * the gradients of the weights summed over images in their order. */
#include "backend/cuda/kernel.cuh"

enum { IMAGES = 8, WARPS = CUDA_BLOCK / 32, TILE = 32 };

struct excite {
    int64_t n_images, pixels, piece; /* pixels of a block */
    int channels, hidden, n_vectors, n_pieces;
    bool silu, relu;
    const float *w1, *b1, *w2, *b2;  /* [hidden, channels], [channels, hidden] */
    double *partial;                 /* [n_images, n_pieces, channels] */
    float *average, *before, *after, *gate; /* [n_images, channels], [n_images, hidden] twice: before f and behind it */
    float *d1, *d2, *daverage;       /* gradients of `before`, of what goes into the gate's sigmoid, of the average over pixels / pixels */
};

__device__ static inline float inner(const excite &e, float v)
{
    return e.silu ? ac_silu(v) : v < 0 ? 0.0f : v;
}

/* Sums over a piece's pixels of x, or of masked gradient times x. grid: vectors, images, pieces. */
template <typename T, int VEC, bool BACKWARD>
__global__ void __launch_bounds__(CUDA_BLOCK) pixel_sums_kernel(const T *x, gradient_parts<T> parts, const T *y, excite e)
{
    __shared__ float shared[VEC * CUDA_BLOCK];
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    int64_t image = blockIdx.y, first = blockIdx.z * e.piece, end = first + e.piece < e.pixels ? first + e.piece : e.pixels;
    float sum[VEC], v[VEC], d[VEC] = {}, seen[VEC] = {};
#pragma unroll
    for (int k = 0; k < VEC; k++)
        sum[k] = 0;
    if (vector < e.n_vectors) {
#pragma unroll 4
        for (int64_t p = first + threadIdx.y; p < end; p += blockDim.y) {
            int64_t at = (image * e.pixels + p) * e.channels + vector * VEC;
            load_floats<T, VEC>(x, at, v);
            if (BACKWARD) {
                load_parts<T, VEC>(parts, at, d);
                if (y)
                    load_floats<T, VEC>(y, at, seen);
            }
#pragma unroll
            for (int k = 0; k < VEC; k++)
                sum[k] += !BACKWARD ? v[k] : y && seen[k] <= 0 ? 0.0f : d[k] * v[k];
        }
    }
    sum_columns<VEC>(sum, shared, [&](int k, int at, double total) {
        int c = ((int)(blockIdx.x * blockDim.x) + at) * VEC + k;
        if (c < e.channels)
            e.partial[(image * e.n_pieces + blockIdx.z) * e.channels + c] = total;
    });
}

__device__ static inline double sum_of_pieces(const excite &e, int64_t image, int c)
{
    double sum = 0;
    for (int p = 0; p < e.n_pieces; p++)
        sum += e.partial[(image * e.n_pieces + p) * e.channels + c];
    return sum;
}

/* The pieces put together, for each image and channel: the average, or the gradient of what goes into the gate's sigmoid. */
template <bool BACKWARD> __global__ void __launch_bounds__(CUDA_BLOCK) pieces_kernel(excite e)
{
    int64_t i = thread_index();
    if (i >= e.n_images * e.channels)
        return;
    double sum = sum_of_pieces(e, i / e.channels, (int)(i % e.channels));
    if (BACKWARD) {
        float gate = e.gate[i];
        e.d2[i] = (float)(sum * (double)(gate * (1 - gate)));
    } else {
        e.average[i] = (float)(sum / (double)e.pixels);
    }
}

/* One output of IMAGES images: sum over k of w [out, in] x [n, in]. A warp to an output, so that w is read once for all of them; lanes share the sum. */
__device__ static inline void sum_over_in(const float *w, const float *x, int in, int n, int lane, float *sum /* [IMAGES] */)
{
#pragma unroll
    for (int i = 0; i < IMAGES; i++)
        sum[i] = 0;
#pragma unroll 2
    for (int k = lane; k < in; k += 32) {
        float weight = w[k];
#pragma unroll
        for (int i = 0; i < IMAGES; i++)
            sum[i] += i < n ? weight * x[(int64_t)i * in + k] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < IMAGES; i++)
        sum[i] = warp_sum(sum[i]);
}

/* before = w1 average + b1 (FIRST), or gate = sigmoid(w2 f(before) + b2). grid: outputs by WARPS, images by IMAGES. */
template <bool FIRST> __global__ void __launch_bounds__(CUDA_BLOCK) product_kernel(excite e, const float *x)
{
    int lane = (int)threadIdx.x % 32, o = (int)blockIdx.x * WARPS + (int)threadIdx.x / 32, in = FIRST ? e.channels : e.hidden, out = FIRST ? e.hidden : e.channels;
    int64_t image = (int64_t)blockIdx.y * IMAGES;
    int n = e.n_images - image < IMAGES ? (int)(e.n_images - image) : (int)IMAGES;
    float sum[IMAGES];
    if (o >= out)
        return;
    sum_over_in((FIRST ? e.w1 : e.w2) + (int64_t)o * in, x + image * in, in, n, lane, sum);
#pragma unroll
    for (int i = 0; i < IMAGES; i++) {
        if (lane != i || i >= n)
            continue;
        float z = sum[i] + (FIRST ? e.b1 : e.b2)[o];
        (FIRST ? e.before : e.gate)[(image + i) * out + o] = FIRST ? z : ac_sigmoid(z);
        if (FIRST)
            e.after[(image + i) * out + o] = inner(e, z);
    }
}

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) apply_kernel(const T *x, const T *residual, T *y, excite e, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float v[VEC], gate[VEC], more[VEC] = {};
    if (i >= n)
        return;
    int64_t image = i / e.channels / e.pixels;
    load_floats<T, VEC>(x, i, v);
    load_floats<float, VEC>(e.gate, image * e.channels + i % e.channels, gate);
    if (residual)
        load_floats<T, VEC>(residual, i, more);
#pragma unroll
    for (int k = 0; k < VEC; k++) {
        v[k] = v[k] * gate[k] + (residual ? more[k] : 0.0f);
        v[k] = e.relu && v[k] < 0 ? 0.0f : v[k];
    }
    store_floats<T, VEC>(y, i, v);
}

/* The products by transposed weights [in, out]: d1 = w2^T d2 times the slope of f (FIRST), or daverage = w1^T d1 / pixels. A lane to an output, the warps of a block share the
 * sum; IMAGES images at a time. */
template <bool FIRST> __global__ void __launch_bounds__(CUDA_BLOCK) turned_kernel(excite e, const float *x)
{
    __shared__ float shared[WARPS][IMAGES][32];
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, o = (int)blockIdx.x * 32 + lane, in = FIRST ? e.channels : e.hidden, out = FIRST ? e.hidden : e.channels;
    int64_t image = (int64_t)blockIdx.y * IMAGES;
    int n = e.n_images - image < IMAGES ? (int)(e.n_images - image) : (int)IMAGES;
    const float *w = FIRST ? e.w2 : e.w1;
    float sum[IMAGES];
#pragma unroll
    for (int i = 0; i < IMAGES; i++)
        sum[i] = 0;
    x += image * in;
#pragma unroll 4
    for (int k = warp; k < in; k += WARPS) {
        float weight = o < out ? w[(int64_t)k * out + o] : 0.0f;
#pragma unroll
        for (int i = 0; i < IMAGES; i++)
            sum[i] += i < n ? weight * x[(int64_t)i * in + k] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < IMAGES; i++)
        shared[warp][i][lane] = sum[i];
    __syncthreads();
    if (warp >= n || o >= out) /* warp: one of the images from here on */
        return;
    float total = 0;
    for (int k = 0; k < WARPS; k++)
        total += shared[k][warp][lane];
    int64_t at = (image + warp) * out + o;
    if (FIRST) {
        float before = e.before[at];
        e.d1[at] = total * (e.silu ? ac_silu_slope(before) : before <= 0 ? 0.0f : 1.0f);
    } else {
        e.daverage[at] = total / (float)e.pixels;
    }
}

struct weight_gradients {
    float *out[4]; /* of w1 [hidden, channels], b1, w2 [channels, hidden], b2 */
    bool accumulate;
};

/* Gradients of the parameters: sums over images, in their order, of products of two numbers of each. A block to a tile of a weight; the tiles of column 0 do the bias as well.
 * blockIdx.y: w1 and b1, w2 and b2. */
__global__ void __launch_bounds__(CUDA_BLOCK) outer_kernel(excite e, weight_gradients g)
{
    __shared__ float left[TILE][TILE], right[TILE][TILE];
    bool first = blockIdx.y == 0;
    const float *a = first ? e.d1 : e.d2, *b = first ? e.average : e.before;
    int rows = first ? e.hidden : e.channels, columns = first ? e.channels : e.hidden, x = (int)threadIdx.x % TILE, y = (int)threadIdx.x / TILE;
    int across = (columns + TILE - 1) / TILE, row0 = (int)blockIdx.x / across * TILE, column0 = (int)blockIdx.x % across * TILE;
    double sum[TILE / WARPS] = {}, bias = 0;
    for (int64_t n = 0; n < e.n_images; n += TILE) {
        __syncthreads();
        for (int k = y; k < TILE; k += WARPS) {
            bool inside = n + k < e.n_images;
            float v = inside && column0 + x < columns ? b[(n + k) * columns + column0 + x] : 0.0f;
            left[k][x] = inside && row0 + x < rows ? a[(n + k) * rows + row0 + x] : 0.0f;
            right[k][x] = first ? v : inner(e, v);
        }
        __syncthreads();
        for (int k = 0; k < TILE; k++) {
#pragma unroll
            for (int j = 0; j < TILE / WARPS; j++)
                sum[j] += (double)left[k][y + j * WARPS] * (double)right[k][x];
            bias += y == 0 ? (double)left[k][x] : 0.0;
        }
    }
    float *weight = g.out[first ? 0 : 2], *to_bias = g.out[first ? 1 : 3];
#pragma unroll
    for (int j = 0; j < TILE / WARPS; j++) {
        int r = row0 + y + j * WARPS, c = column0 + x;
        int64_t at = (int64_t)r * columns + c;
        if (r < rows && c < columns)
            weight[at] = (float)(sum[j] + (g.accumulate ? (double)weight[at] : 0.0));
    }
    if (y == 0 && column0 == 0 && row0 + x < rows)
        to_bias[row0 + x] = (float)(bias + (g.accumulate ? (double)to_bias[row0 + x] : 0.0));
}

template <typename T, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK) apply_backward_kernel(gradient_parts<T> parts, const T *y, T *dx, T *dresidual, excite e, int64_t n)
{
    int64_t i = thread_index() * VEC;
    float d[VEC], seen[VEC] = {}, gate[VEC], share[VEC];
    if (i >= n)
        return;
    int64_t at = i / e.channels / e.pixels * e.channels + i % e.channels;
    load_parts<T, VEC>(parts, i, d);
    load_floats<float, VEC>(e.gate, at, gate);
    load_floats<float, VEC>(e.daverage, at, share);
    if (y)
        load_floats<T, VEC>(y, i, seen);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        d[k] = y && seen[k] <= 0 ? 0.0f : d[k];
    if (dresidual)
        store_floats<T, VEC>(dresidual, i, d);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        d[k] = d[k] * gate[k] + share[k];
    if (dx)
        store_floats<T, VEC>(dx, i, d);
}

/* ---- host ---- */

static excite sizes_of(const cuda_device *device, const ac_graph *graph, const ac_node *node)
{
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    const ac_squeeze_excite_attribute *a = (const ac_squeeze_excite_attribute *)node->attribute;
    excite e;
    memset(&e, 0, sizeof e);
    e.n_images = x->dim[0];
    e.pixels = x->dim[1] * x->dim[2];
    e.channels = (int)x->dim[3];
    e.hidden = (int)a->hidden_channels;
    e.n_vectors = e.channels / cuda_width(x->dtype, e.channels);
    e.silu = a->inner == AC_ACTIVATION_SILU;
    e.relu = a->outer == AC_ACTIVATION_RELU;
    int columns = (int)columns_of_block(e.n_vectors);
    int64_t blocks = e.n_images * ((e.n_vectors + columns - 1) / columns), wanted = ((int64_t)device->n_multiprocessors * 8 + blocks - 1) / blocks;
    e.piece = (e.pixels + wanted - 1) / wanted;
    e.piece = e.piece < 64 ? 64 : e.piece;
    e.n_pieces = (int)((e.pixels + e.piece - 1) / e.piece);
    return e;
}

static size_t partial_bytes(const excite *e)
{
    return cuda_aligned(sizeof(double) * (size_t)e->n_images * (size_t)e->n_pieces * (size_t)e->channels);
}

static size_t floats_bytes(int64_t n)
{
    return cuda_aligned((size_t)n * sizeof(float));
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)training, (void)wants;
    excite e = sizes_of(cuda_of(device), graph, node);
    if (e.n_images > 65535)
        return ac_error(AC_ERR_UNSUPPORTED, "%lld images of %d channels", (long long)e.n_images, e.channels);
    /* forward without training: average, gate, before, after; backward: three of the same sizes */
    out->workspace_bytes = partial_bytes(&e) + 2 * floats_bytes(e.n_images * e.channels) + 2 * floats_bytes(e.n_images * e.hidden);
    return cuda_check_precision(device, ac_graph_shape(graph, node->input[0])->dtype);
}

static excite call_of(const ac_call *call, bool backward)
{
    excite e = sizes_of(cuda_of(call->device), call->graph, call->node);
    unsigned char *at = (unsigned char *)call->workspace;
    e.w1 = (const float *)call->param[0];
    e.b1 = (const float *)call->param[1];
    e.w2 = (const float *)call->param[2];
    e.b2 = (const float *)call->param[3];
    e.partial = (double *)at;
    float *channels = (float *)(at + partial_bytes(&e)), *more = (float *)((unsigned char *)channels + floats_bytes(e.n_images * e.channels));
    float *hidden = (float *)((unsigned char *)more + floats_bytes(e.n_images * e.channels));
    e.average = backward || call->training ? (float *)call->saved[0] : channels;
    e.before = backward || call->training ? (float *)call->saved[1] : hidden;
    e.after = (float *)((unsigned char *)hidden + floats_bytes(e.n_images * e.hidden));
    e.gate = backward || call->training ? (float *)call->saved[2] : more;
    e.d2 = channels;
    e.daverage = more;
    e.d1 = hidden;
    return e;
}

static dim3 sums_block(const excite &e)
{
    unsigned columns = columns_of_block(e.n_vectors);
    return dim3(columns, CUDA_BLOCK / columns);
}

static dim3 sums_grid(const excite &e)
{
    unsigned columns = columns_of_block(e.n_vectors);
    return dim3(((unsigned)e.n_vectors + columns - 1) / columns, (unsigned)e.n_images, (unsigned)e.n_pieces);
}

/* For an output each: `outputs` by `each` of a block. */
static dim3 product_grid(const excite &e, int outputs, int each)
{
    return dim3((unsigned)((outputs + each - 1) / each), (unsigned)((e.n_images + IMAGES - 1) / IMAGES));
}

static ac_status forward(const ac_call *call)
{
    excite e = call_of(call, false);
    cudaStream_t stream = cuda_of(call->device)->stream;
    int64_t n = ac_shape_elements(cuda_in(call, 0));
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, e.channels, {
        gradient_parts<T> none = {{NULL, NULL, NULL}, 0};
        CUDA_TRY(AC_LAUNCH((pixel_sums_kernel<T, VEC, false>), sums_grid(e), sums_block(e), 0, stream, (const T *)call->input[0], none, (const T *)nullptr, e));
    });
    CUDA_TRY(AC_LAUNCH((pieces_kernel<false>), cuda_blocks(e.n_images * e.channels), dim3(CUDA_BLOCK), 0, stream, e));
    CUDA_TRY(AC_LAUNCH((product_kernel<true>), product_grid(e, e.hidden, WARPS), dim3(CUDA_BLOCK), 0, stream, e, (const float *)e.average));
    CUDA_TRY(AC_LAUNCH((product_kernel<false>), product_grid(e, e.channels, WARPS), dim3(CUDA_BLOCK), 0, stream, e, (const float *)e.after));
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, e.channels, {
        CUDA_TRY(AC_LAUNCH((apply_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, stream, (const T *)call->input[0],
                           call->node->n_inputs > 1 ? (const T *)call->input[1] : (const T *)nullptr, (T *)call->output[0], e, n));
    });
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    excite e = call_of(call, true);
    cudaStream_t stream = cuda_of(call->device)->stream;
    int64_t n = ac_shape_elements(cuda_in(call, 0));
    weight_gradients g = {{call->param_gradient[0], call->param_gradient[1], call->param_gradient[2], call->param_gradient[3]}, call->accumulate};
    unsigned wide = (unsigned)((e.channels + TILE - 1) / TILE), narrow = (unsigned)((e.hidden + TILE - 1) / TILE);
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, e.channels, {
        CUDA_TRY(AC_LAUNCH((pixel_sums_kernel<T, VEC, true>), sums_grid(e), sums_block(e), 0, stream, (const T *)call->input[0], parts_of<T>(call),
                           e.relu ? (const T *)call->output[0] : (const T *)nullptr, e));
    });
    CUDA_TRY(AC_LAUNCH((pieces_kernel<true>), cuda_blocks(e.n_images * e.channels), dim3(CUDA_BLOCK), 0, stream, e));
    CUDA_TRY(AC_LAUNCH((turned_kernel<true>), product_grid(e, e.hidden, 32), dim3(CUDA_BLOCK), 0, stream, e, (const float *)e.d2));
    CUDA_TRY(AC_LAUNCH((turned_kernel<false>), product_grid(e, e.channels, 32), dim3(CUDA_BLOCK), 0, stream, e, (const float *)e.d1));
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, e.channels, {
        CUDA_TRY(AC_LAUNCH((apply_backward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, stream, parts_of<T>(call),
                           e.relu ? (const T *)call->output[0] : (const T *)nullptr, (T *)call->dinput[0], call->node->n_inputs > 1 ? (T *)call->dinput[1] : (T *)nullptr, e, n));
    });
    return AC_LAUNCH(outer_kernel, dim3(wide * narrow, 2), dim3(CUDA_BLOCK), 0, stream, e, g);
}

extern "C" const ac_kernel ac_cuda_squeeze_excite = {&ac_op_squeeze_excite, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, forward, backward, NULL, NULL};
