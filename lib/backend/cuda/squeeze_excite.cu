/* squeeze_excite: sums over the pixels of each image by pieces, the two small products by a block per image, a pass that applies the gate; backward likewise, the
 * gradients of the weights summed over images in their order. */
#include "backend/cuda/kernel.cuh"

struct excite {
    int64_t n_images, pixels, piece; /* pixels of a block */
    int channels, hidden, n_vectors, n_pieces;
    bool silu, relu;
    const float *w1, *b1, *w2, *b2;  /* [hidden, channels], [channels, hidden] */
    double *partial;                 /* [n_images, n_pieces, channels] */
    float *average, *before, *gate;  /* [n_images, channels], [n_images, hidden] */
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

/* A block per image; shared: average [channels], f(before) [hidden]. */
__global__ void __launch_bounds__(CUDA_BLOCK) gate_kernel(excite e)
{
    AC_DYNAMIC_SHARED(float, average);
    float *after = average + e.channels;
    int64_t image = blockIdx.x;
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    for (int c = (int)threadIdx.x; c < e.channels; c += CUDA_BLOCK) {
        average[c] = (float)(sum_of_pieces(e, image, c) / (double)e.pixels);
        e.average[image * e.channels + c] = average[c];
    }
    __syncthreads();
    for (int h = warp; h < e.hidden; h += CUDA_BLOCK / 32) {
        float sum = 0;
        for (int c = lane; c < e.channels; c += 32)
            sum += e.w1[(int64_t)h * e.channels + c] * average[c];
        sum = warp_sum(sum) + e.b1[h];
        if (lane == 0) {
            e.before[image * e.hidden + h] = sum;
            after[h] = inner(e, sum);
        }
    }
    __syncthreads();
    for (int c = warp; c < e.channels; c += CUDA_BLOCK / 32) {
        float sum = 0;
        for (int h = lane; h < e.hidden; h += 32)
            sum += e.w2[(int64_t)c * e.hidden + h] * after[h];
        sum = warp_sum(sum);
        if (lane == 0)
            e.gate[image * e.channels + c] = ac_sigmoid(sum + e.b2[c]);
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

/* A block per image; shared: d2 [channels], d1 [hidden]. */
__global__ void __launch_bounds__(CUDA_BLOCK) gate_backward_kernel(excite e)
{
    AC_DYNAMIC_SHARED(float, d2);
    float *d1 = d2 + e.channels;
    int64_t image = blockIdx.x;
    for (int c = (int)threadIdx.x; c < e.channels; c += CUDA_BLOCK) {
        float gate = e.gate[image * e.channels + c];
        d2[c] = (float)(sum_of_pieces(e, image, c) * (double)(gate * (1 - gate)));
        e.d2[image * e.channels + c] = d2[c];
    }
    __syncthreads();
    for (int h = (int)threadIdx.x; h < e.hidden; h += CUDA_BLOCK) {
        float sum = 0, before = e.before[image * e.hidden + h];
        for (int c = 0; c < e.channels; c++)
            sum += d2[c] * e.w2[(int64_t)c * e.hidden + h];
        d1[h] = sum * (e.silu ? ac_silu_slope(before) : before <= 0 ? 0.0f : 1.0f);
        e.d1[image * e.hidden + h] = d1[h];
    }
    __syncthreads();
    for (int c = (int)threadIdx.x; c < e.channels; c += CUDA_BLOCK) {
        float sum = 0;
        for (int h = 0; h < e.hidden; h++)
            sum += d1[h] * e.w1[(int64_t)h * e.channels + c];
        e.daverage[image * e.channels + c] = sum / (float)e.pixels;
    }
}

/* out [rows, columns] = sum over images of a [n, rows] (outer) f(b [n, columns]); columns 1 and b NULL: of a alone. */
__global__ void __launch_bounds__(CUDA_BLOCK) outer_kernel(excite e, const float *a, const float *b, bool through_inner, int rows, int columns, float *out, bool accumulate)
{
    int64_t i = thread_index();
    double sum = 0;
    if (i >= (int64_t)rows * columns)
        return;
    int r = (int)(i / columns), c = (int)(i % columns);
    for (int64_t n = 0; n < e.n_images; n++) {
        float factor = b ? b[n * columns + c] : 1.0f;
        sum += (double)a[n * rows + r] * (double)(through_inner ? inner(e, factor) : factor);
    }
    out[i] = (float)(sum + (accumulate ? (double)out[i] : 0.0));
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
    int64_t blocks = e.n_images * ((e.n_vectors + 31) / 32), wanted = ((int64_t)device->n_multiprocessors * 8 + blocks - 1) / blocks;
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
    if (e.n_images > 65535 || (size_t)(e.channels + e.hidden) * sizeof(float) > 48 << 10)
        return ac_error(AC_ERR_UNSUPPORTED, "%lld images of %d channels", (long long)e.n_images, e.channels);
    /* forward without training: average, before, gate; backward: three of the same sizes */
    out->workspace_bytes = partial_bytes(&e) + 2 * floats_bytes(e.n_images * e.channels) + floats_bytes(e.n_images * e.hidden);
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
    e.gate = backward || call->training ? (float *)call->saved[2] : more;
    e.d2 = channels;
    e.daverage = more;
    e.d1 = hidden;
    return e;
}

static dim3 sums_grid(const excite &e)
{
    return dim3((unsigned)((e.n_vectors + 31) / 32), (unsigned)e.n_images, (unsigned)e.n_pieces);
}

static ac_status forward(const ac_call *call)
{
    excite e = call_of(call, false);
    cudaStream_t stream = cuda_of(call->device)->stream;
    int64_t n = ac_shape_elements(cuda_in(call, 0));
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, e.channels, {
        gradient_parts<T> none = {{NULL, NULL, NULL}, 0};
        CUDA_TRY(AC_LAUNCH((pixel_sums_kernel<T, VEC, false>), sums_grid(e), dim3(32, CUDA_BLOCK / 32), 0, stream, (const T *)call->input[0], none, (const T *)nullptr, e));
        CUDA_TRY(AC_LAUNCH(gate_kernel, dim3((unsigned)e.n_images), dim3(CUDA_BLOCK), sizeof(float) * (size_t)(e.channels + e.hidden), stream, e));
        CUDA_TRY(AC_LAUNCH((apply_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, stream, (const T *)call->input[0],
                           call->node->n_inputs > 1 ? (const T *)call->input[1] : (const T *)nullptr, (T *)call->output[0], e, n));
    });
    return AC_OK;
}

static ac_status outer(const ac_call *call, const excite &e, const float *a, const float *b, bool through_inner, int rows, int columns, int param)
{
    return AC_LAUNCH(outer_kernel, cuda_blocks((int64_t)rows * columns), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, e, a, b, through_inner, rows, columns,
                     call->param_gradient[param], call->accumulate);
}

static ac_status backward(const ac_call *call)
{
    excite e = call_of(call, true);
    cudaStream_t stream = cuda_of(call->device)->stream;
    int64_t n = ac_shape_elements(cuda_in(call, 0));
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, e.channels, {
        const T *y = e.relu ? (const T *)call->output[0] : nullptr;
        CUDA_TRY(AC_LAUNCH((pixel_sums_kernel<T, VEC, true>), sums_grid(e), dim3(32, CUDA_BLOCK / 32), 0, stream, (const T *)call->input[0], parts_of<T>(call), y, e));
        CUDA_TRY(AC_LAUNCH(gate_backward_kernel, dim3((unsigned)e.n_images), dim3(CUDA_BLOCK), sizeof(float) * (size_t)(e.channels + e.hidden), stream, e));
        CUDA_TRY(AC_LAUNCH((apply_backward_kernel<T, VEC>), cuda_blocks(n / VEC), dim3(CUDA_BLOCK), 0, stream, parts_of<T>(call), y, (T *)call->dinput[0],
                           call->node->n_inputs > 1 ? (T *)call->dinput[1] : (T *)nullptr, e, n));
    });
    CUDA_TRY(outer(call, e, e.d1, e.average, false, e.hidden, e.channels, 0));
    CUDA_TRY(outer(call, e, e.d1, NULL, false, e.hidden, 1, 1));
    CUDA_TRY(outer(call, e, e.d2, e.before, true, e.channels, e.hidden, 2));
    return outer(call, e, e.d2, NULL, false, e.channels, 1, 3);
}

extern "C" const ac_kernel ac_cuda_squeeze_excite = {&ac_op_squeeze_excite, AC_KERNEL_SUMS_DOUTPUT, plan, NULL, forward, backward, NULL, NULL};
