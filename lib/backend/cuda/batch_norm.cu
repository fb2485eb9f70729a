/* batch_norm with residual and activation folded in: a pass for statistics and one to apply; backward likewise. Each thread
 * sums about the first value it meets, so nothing cancels whatever the mean; what threads and tiles found is put together in
 * double, in an order that depends on shape and device alone. */
#include "backend/cuda/kernel.cuh"

struct norm_call { /* what the kernels read besides tensors; all [channels] */
    const float *weight, *bias;
    const float *mean, *scale; /* scale: 1 / sqrt(var + eps), or the variance where `eps` says so */
    float eps;                 /* below 0: `scale` is one */
    float slope;               /* of the activation below 0: 1 none, 0 relu */
};

static bool is_gelu(const ac_batch_norm_attribute *a)
{
    return a->activation == AC_ACTIVATION_GELU;
}

static float slope_of(const ac_batch_norm_attribute *a)
{
    return a->activation == AC_ACTIVATION_NONE || is_gelu(a) ? 1 : a->activation == AC_ACTIVATION_RELU ? 0 : a->slope;
}

template <typename T, bool GELU> __device__ static inline float activate(float v, float slope)
{
    if (GELU)
        return gelu_of<T>(v);
    return v > 0 || isnan(v) ? v : slope == 0 ? 0.0f : slope * v;
}

/* Mean and sum of squares about it of each tile and channel, from sums about the tile's first row. */
template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) statistics_kernel(const T *x, row_grid g, double *partial)
{
    __shared__ float shared[VEC * CUDA_BLOCK];
    __shared__ double first_sum[VEC * CUDA_MOST_COLUMNS];
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    int64_t first = blockIdx.y * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    float shift[VEC], sum[VEC], square[VEC], v[VEC];
#pragma unroll
    for (int k = 0; k < VEC; k++)
        shift[k] = sum[k] = square[k] = 0;
    if (vector < g.n_vectors) {
        load_floats<T, VEC>(x, first * g.channels + vector * VEC, shift);
#pragma unroll 4
        for (int64_t r = first + threadIdx.y; r < end; r += blockDim.y) {
            load_floats<T, VEC>(x, r * g.channels + vector * VEC, v);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                float d = v[k] - shift[k];
                sum[k] += d;
                square[k] += d * d;
            }
        }
    }
    sum_columns<VEC>(sum, shared, [&](int k, int at, double total) { first_sum[k * blockDim.x + at] = total; });
    sum_columns<VEC>(square, shared, [&](int k, int at, double total) {
        int c = ((int)(blockIdx.x * blockDim.x) + at) * VEC + k;
        if (c >= g.channels)
            return;
        double n = (double)(end - first), offset = first_sum[k * blockDim.x + at] / n;
        int64_t to = (int64_t)blockIdx.y * 2 * g.channels + c;
        partial[to] = (double)to_float(x[first * g.channels + c]) + offset;
        partial[to + g.channels] = total - first_sum[k * blockDim.x + at] * offset;
    });
}

struct running_statistics {
    float *mean, *scale;                /* of the batch: saved */
    float *running_mean, *running_var;
    double momentum, eps;
};

__device__ static inline void finish_channel(const running_statistics &s, int c, double mean, double squares, double count)
{
    double clipped = squares > 0 || squares != squares ? squares : 0;
    s.mean[c] = (float)mean;
    s.scale[c] = (float)(1 / sqrt(clipped / count + s.eps));
    s.running_mean[c] = (float)((1 - s.momentum) * (double)s.running_mean[c] + s.momentum * mean);
    s.running_var[c] = (float)((1 - s.momentum) * (double)s.running_var[c] + s.momentum * (clipped / (count > 1 ? count - 1 : 1)));
}

/* Tiles put together, about the first one's mean. `total` [2, channels]: mean and sum of squares about it are left there instead of being finished. */
__global__ void __launch_bounds__(CUDA_BLOCK) statistics_total_kernel(const double *partial, row_grid g, running_statistics s, double *total)
{
    __shared__ double shared[CUDA_BLOCK];
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    double sum = 0, squares = 0, shift = c < g.channels ? partial[c] : 0;
#pragma unroll 4
    for (int t = (int)threadIdx.y; t < g.n_tiles; t += (int)blockDim.y) {
        if (c >= g.channels)
            break;
        int64_t n = g.rows - t * g.tile_rows < g.tile_rows ? g.rows - t * g.tile_rows : g.tile_rows;
        const double *tile = partial + (int64_t)t * 2 * g.channels + c;
        double away = tile[0] - shift;
        sum += (double)n * away;
        squares += tile[g.channels] + (double)n * away * away;
    }
    sum = sum_over_y(sum, shared);
    squares = sum_over_y(squares, shared);
    if (threadIdx.y != 0 || c >= g.channels)
        return;
    double mean = shift + sum / (double)g.rows;
    squares -= sum * (sum / (double)g.rows);
    if (total) {
        total[c] = mean;
        total[g.channels + c] = squares;
    } else {
        finish_channel(s, c, mean, squares, (double)g.rows);
    }
}

__global__ void __launch_bounds__(CUDA_BLOCK) finish_kernel(const double *total, int channels, double count, running_statistics s)
{
    int c = (int)thread_index();
    if (c < channels)
        finish_channel(s, c, total[c], total[channels + c], count);
}

/* Each thread keeps what it needs of its channels: y = (x - mean) * factor + bias. */
template <int VEC> struct coefficients {
    float mean[VEC], factor[VEC], bias[VEC];
};

template <int VEC> __device__ static inline coefficients<VEC> take(const norm_call &n, int at)
{
    coefficients<VEC> out;
#pragma unroll
    for (int k = 0; k < VEC; k++) {
        float scale = n.eps < 0 ? n.scale[at + k] : 1 / sqrtf(n.scale[at + k] + n.eps);
        out.mean[k] = n.mean[at + k];
        out.factor[k] = n.weight[at + k] * scale;
        out.bias[k] = n.bias[at + k];
    }
    return out;
}

/* Which rows of a tile a thread goes down, and from which end. A second pass over the same tensors goes through tiles and rows backwards: what the first one
 * read last is still in the cache. */
struct row_walk {
    int64_t at, stride; /* elements */
    int count;
};

__device__ static inline row_walk walk_rows(const row_grid &g, int channel, bool backwards)
{
    int64_t tile = backwards ? gridDim.y - 1 - blockIdx.y : blockIdx.y, first = tile * g.tile_rows + threadIdx.y, end = tile * g.tile_rows + g.tile_rows;
    row_walk w;
    w.count = (int)(((end < g.rows ? end : g.rows) - first + blockDim.y - 1) / blockDim.y);
    w.at = first * g.channels + channel;
    w.stride = (int64_t)blockDim.y * g.channels;
    if (backwards) {
        w.at += (w.count - 1) * w.stride;
        w.stride = -w.stride;
    }
    return w;
}

/* Several rows are read before the first is used: the compiler cannot do that itself past a store, since what is written may lie where something is read. */
enum { ROWS_AHEAD = 4, GRADIENT_ROWS_AHEAD = 2 };

template <typename T, int VEC, bool GELU>
__global__ void __launch_bounds__(CUDA_BLOCK, 3) apply_kernel(const T *x, const T *residual, T *y, row_grid g, norm_call n)
{
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    row_walk w = walk_rows(g, vector * VEC, true);
    if (vector >= g.n_vectors)
        return;
    coefficients<VEC> c = take<VEC>(n, vector * VEC);
    for (int done = 0; done < w.count; done += ROWS_AHEAD) {
        raw<T, VEC> in[ROWS_AHEAD], add[ROWS_AHEAD] = {};
        int64_t at = w.at + done * w.stride;
#pragma unroll
        for (int i = 0; i < ROWS_AHEAD; i++)
            if (done + i < w.count) {
                in[i] = load_raw<T, VEC>(x, at + i * w.stride);
                if (residual)
                    add[i] = load_raw<T, VEC>(residual, at + i * w.stride);
            }
#pragma unroll
        for (int i = 0; i < ROWS_AHEAD; i++)
            if (done + i < w.count) {
                float v[VEC];
#pragma unroll
                for (int k = 0; k < VEC; k++)
                    v[k] = activate<T, GELU>((float_at<T, VEC>(in[i], k) - c.mean[k]) * c.factor[k] + c.bias[k] + (residual ? float_at<T, VEC>(add[i], k) : 0.0f), n.slope);
                store_floats<T, VEC>(y, at + i * w.stride, v);
            }
    }
}

/* What a row of the gradient comes from, as it is read; PARTS: 1 or AC_MAX_DOUT. */
template <typename T, int VEC, int PARTS> struct gradient_row {
    raw<T, VEC> x, y, part[PARTS];
};

/* The rows at `at`, `stride` elements apart, of `left` that are left. */
template <typename T, int VEC, int PARTS>
__device__ static inline void read_rows(gradient_row<T, VEC, PARTS> *row /* [GRADIENT_ROWS_AHEAD] */, const gradient_parts<T> &parts, const T *x, const T *y, int64_t at,
                                        int64_t stride, int left)
{
#pragma unroll
    for (int i = 0; i < GRADIENT_ROWS_AHEAD; i++)
        if (i < left) {
            row[i].x = load_raw<T, VEC>(x, at + i * stride);
            if (y)
                row[i].y = load_raw<T, VEC>(y, at + i * stride);
#pragma unroll
            for (int p = 0; p < PARTS; p++)
                if (p == 0 || p < parts.n)
                    row[i].part[p] = load_raw<T, VEC>(parts.part[p], at + i * stride);
        }
}

/* Gradient before the activation; x comes with it. `has_y` false: what the activation saw is computed from x once more. */
template <typename T, int VEC, int PARTS, bool GELU>
__device__ static inline void gradient_of(const gradient_row<T, VEC, PARTS> &row, int n_parts, bool has_y, const coefficients<VEC> &c, float slope, float *g /* [VEC] */,
                                          float *x_off /* [VEC], x - mean */)
{
#pragma unroll
    for (int k = 0; k < VEC; k++) {
        g[k] = float_at<T, VEC>(row.part[0], k);
#pragma unroll
        for (int p = 1; p < PARTS; p++)
            g[k] += p < n_parts ? float_at<T, VEC>(row.part[p], k) : 0.0f;
        x_off[k] = float_at<T, VEC>(row.x, k) - c.mean[k];
        float seen = has_y ? float_at<T, VEC>(row.y, k) : x_off[k] * c.factor[k] + c.bias[k];
        if (GELU)
            g[k] *= gelu_slope_of<T>(seen);
        else
            g[k] = slope == 1 || seen > 0 ? g[k] : slope * g[k];
    }
}

/* Sums of g and of g (x - mean) over tiles. */
template <typename T, int VEC, int PARTS, bool GELU>
__global__ void __launch_bounds__(CUDA_BLOCK, 2) gradient_sums_kernel(gradient_parts<T> parts, const T *x, const T *y, row_grid g, norm_call n, double *partial)
{
    __shared__ float shared[2 * VEC * CUDA_BLOCK];
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    row_walk w = walk_rows(g, vector * VEC, false);
    float sum[2 * VEC]; /* of g, of products */
#pragma unroll
    for (int k = 0; k < 2 * VEC; k++)
        sum[k] = 0;
    if (vector < g.n_vectors) {
        coefficients<VEC> c = take<VEC>(n, vector * VEC);
        for (int done = 0; done < w.count; done += GRADIENT_ROWS_AHEAD) {
            gradient_row<T, VEC, PARTS> row[GRADIENT_ROWS_AHEAD] = {};
            int64_t at = w.at + done * w.stride;
            read_rows<T, VEC, PARTS>(row, parts, x, y, at, w.stride, w.count - done);
#pragma unroll
            for (int i = 0; i < GRADIENT_ROWS_AHEAD; i++) {
                float d[VEC], x_off[VEC];
                if (done + i >= w.count)
                    break;
                gradient_of<T, VEC, PARTS, GELU>(row[i], parts.n, y != nullptr, c, n.slope, d, x_off);
#pragma unroll
                for (int k = 0; k < VEC; k++) {
                    sum[k] += d[k];
                    sum[VEC + k] += d[k] * x_off[k];
                }
            }
        }
    }
    sum_columns<2 * VEC>(sum, shared, [&](int k, int at, double total) {
        int c = ((int)(blockIdx.x * blockDim.x) + at) * VEC + k % VEC;
        if (c < g.channels)
            partial[((int64_t)blockIdx.y * 2 + k / VEC) * g.channels + c] = total;
    });
}

struct norm_gradient {
    float *weight, *bias; /* gradients */
    bool accumulate;
};

/* Tiles put together: gradients of the parameters, and total [2, channels], the sums of g and of g xhat. */
__global__ void __launch_bounds__(CUDA_BLOCK) gradient_total_kernel(const double *partial, row_grid g, const float *scale, norm_gradient out, double *total)
{
    __shared__ double shared[CUDA_BLOCK];
    int c = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    double sum = 0, product = 0;
#pragma unroll 4
    for (int t = (int)threadIdx.y; t < g.n_tiles && c < g.channels; t += (int)blockDim.y) {
        sum += partial[(int64_t)t * 2 * g.channels + c];
        product += partial[(int64_t)t * 2 * g.channels + g.channels + c];
    }
    sum = sum_over_y(sum, shared);
    product = sum_over_y(product, shared);
    if (threadIdx.y != 0 || c >= g.channels)
        return;
    product *= (double)scale[c];
    out.weight[c] = (float)(product + (out.accumulate ? (double)out.weight[c] : 0.0));
    out.bias[c] = (float)(sum + (out.accumulate ? (double)out.bias[c] : 0.0));
    total[c] = sum;
    total[g.channels + c] = product;
}

template <typename T, int VEC, int PARTS, bool GELU>
__global__ void __launch_bounds__(CUDA_BLOCK, 2)
gradient_apply_kernel(gradient_parts<T> parts, const T *x, const T *y, row_grid g, norm_call n, const double *total, double count, T *dx, T *dresidual)
{
    int vector = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    row_walk w = walk_rows(g, vector * VEC, true);
    if (vector >= g.n_vectors)
        return;
    coefficients<VEC> c = take<VEC>(n, vector * VEC);
    float mean_g[VEC], by_x[VEC];
#pragma unroll
    for (int k = 0; k < VEC; k++) {
        int at = vector * VEC + k;
        mean_g[k] = (float)(total[at] / count);
        by_x[k] = (float)(total[g.channels + at] / count) * n.scale[at];
    }
    for (int done = 0; done < w.count; done += GRADIENT_ROWS_AHEAD) {
        gradient_row<T, VEC, PARTS> row[GRADIENT_ROWS_AHEAD] = {};
        int64_t at = w.at + done * w.stride;
        read_rows<T, VEC, PARTS>(row, parts, x, y, at, w.stride, w.count - done);
#pragma unroll
        for (int i = 0; i < GRADIENT_ROWS_AHEAD; i++) {
            float d[VEC], x_off[VEC];
            if (done + i >= w.count)
                break;
            gradient_of<T, VEC, PARTS, GELU>(row[i], parts.n, y != nullptr, c, n.slope, d, x_off);
            if (dresidual)
                store_floats<T, VEC>(dresidual, at + i * w.stride, d);
            if (dx) {
#pragma unroll
                for (int k = 0; k < VEC; k++)
                    d[k] = c.factor[k] * (d[k] - mean_g[k] - x_off[k] * by_x[k]);
                store_floats<T, VEC>(dx, at + i * w.stride, d);
            }
        }
    }
}

/* ---- host ---- */

static row_grid grid_of(const ac_call *call)
{
    const ac_shape *x = cuda_in(call, 0);
    int64_t channels = x->dim[x->n_dims - 1];
    return make_row_grid(cuda_of(call->device), ac_shape_elements(x) / channels, channels, cuda_width(x->dtype, channels));
}

/* Workspace: two rows of sums for each tile, and two for the total. */
static size_t partial_bytes(const row_grid *g)
{
    return cuda_aligned((size_t)g->n_tiles * 2 * (size_t)g->channels * sizeof(double));
}

static double *total_of(const ac_call *call, const row_grid *g)
{
    return (double *)((unsigned char *)call->workspace + partial_bytes(g));
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)wants;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]), *y = ac_graph_shape(graph, node->output[0]);
    int64_t channels = x->dim[x->n_dims - 1];
    if (x->dtype != y->dtype)
        return ac_error(AC_ERR_UNSUPPORTED, "%s in, %s out", ac_dtype_name(x->dtype), ac_dtype_name(y->dtype));
    row_grid g = make_row_grid(cuda_of(device), ac_shape_elements(x) / channels, channels, cuda_width(x->dtype, channels));
    out->keeps_output = node->n_inputs > 1 || is_gelu((const ac_batch_norm_attribute *)node->attribute); /* otherwise making it again is cheaper than memory */
    if (training)
        out->workspace_bytes = partial_bytes(&g) + 2 * (size_t)channels * sizeof(double);
    return cuda_check_precision(device, x->dtype);
}

static dim3 total_grid(const row_grid *g)
{
    return dim3((unsigned)((g->channels + 7) / 8), 1, 1);
}

/* The totals of this rank into those of all: `values` holds 2 channels doubles and one for the count. */
static ac_status sum_over_ranks(const ac_call *call, double *total, double *host, int channels, bool about_shift)
{
    cuda_device *device = cuda_of(call->device);
    float *shift = (float *)(host + 2 * channels + 1);
    size_t n_bytes = 2 * (size_t)channels * sizeof *total;
    double n = host[2 * channels];
    CUDA_TRY(call->device->backend->download(call->device, host, total, n_bytes));
    if (about_shift) { /* sums about the running mean, which all ranks agree on, instead of mean and squares */
        CUDA_TRY(call->device->backend->download(call->device, shift, call->param[2], (size_t)channels * sizeof *shift));
        for (int c = 0; c < channels; c++) {
            double offset = host[c] - (double)shift[c];
            host[c] = n * offset;
            host[channels + c] += n * offset * offset;
        }
    }
    CUDA_TRY(call->sum_over_ranks(call->sum_context, host, (size_t)(2 * channels + 1)));
    for (int c = 0; about_shift && c < channels; c++) {
        double offset = host[c] / host[2 * channels], square = host[channels + c] - host[c] * offset;
        host[c] = (double)shift[c] + offset;
        host[channels + c] = square;
    }
    return cuda_check(cudaMemcpyAsync(total, host, n_bytes, cudaMemcpyHostToDevice, device->stream), "statistics of all ranks");
}

/* *count: rows of this rank, then of all. */
static ac_status share(const ac_call *call, const row_grid *g, double *total, bool about_shift, double *count)
{
    if (!call->sum_over_ranks)
        return AC_OK;
    double *host = (double *)malloc(sizeof(double) * (size_t)(3 * g->channels + 1));
    if (!host)
        return ac_error(AC_ERR_MEMORY, "statistics of %d channels", g->channels);
    host[2 * g->channels] = *count;
    ac_status status = sum_over_ranks(call, total, host, g->channels, about_shift);
    *count = host[2 * g->channels];
    cudaError_t error = cudaStreamSynchronize(cuda_of(call->device)->stream); /* before the host's copy goes */
    free(host);
    return status == AC_OK ? cuda_check(error, "statistics of all ranks") : status;
}

static ac_status batch_statistics(const ac_call *call, const row_grid *g)
{
    const ac_batch_norm_attribute *a = (const ac_batch_norm_attribute *)call->node->attribute;
    cuda_device *device = cuda_of(call->device);
    double *partial = (double *)call->workspace, *total = call->sum_over_ranks ? total_of(call, g) : NULL, count = (double)g->rows;
    running_statistics s = {(float *)call->saved[0], (float *)call->saved[1], (float *)call->param[2], (float *)call->param[3], (double)a->momentum, (double)a->eps};
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g->channels, {
        CUDA_TRY(AC_LAUNCH((statistics_kernel<T, VEC>), g->grid, g->block, 0, device->stream, (const T *)call->input[0], *g, partial));
    });
    CUDA_TRY(AC_LAUNCH(statistics_total_kernel, total_grid(g), dim3(8, CUDA_BLOCK / 8), 0, device->stream, (const double *)partial, *g, s, total));
    if (!total)
        return AC_OK;
    CUDA_TRY(share(call, g, total, true, &count));
    return AC_LAUNCH(finish_kernel, cuda_blocks(g->channels), dim3(CUDA_BLOCK), 0, device->stream, (const double *)total, g->channels, count, s);
}

static norm_call norm_of(const ac_call *call)
{
    const ac_batch_norm_attribute *a = (const ac_batch_norm_attribute *)call->node->attribute;
    norm_call n = {(const float *)call->param[0], (const float *)call->param[1], (const float *)call->param[2], (const float *)call->param[3], a->eps, slope_of(a)};
    if (call->training) {
        n.mean = (const float *)call->saved[0];
        n.scale = (const float *)call->saved[1];
        n.eps = -1;
    }
    return n;
}

template <bool GELU> static ac_status apply(const ac_call *call, const row_grid &g)
{
    norm_call n = norm_of(call);
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g.channels, {
        CUDA_TRY(AC_LAUNCH((apply_kernel<T, VEC, GELU>), g.grid, g.block, 0, cuda_of(call->device)->stream, (const T *)call->input[0],
                           call->node->n_inputs > 1 ? (const T *)call->input[1] : (const T *)nullptr, (T *)call->output[0], g, n));
    });
    return AC_OK;
}

static ac_status forward(const ac_call *call)
{
    row_grid g = grid_of(call);
    if (call->training)
        CUDA_TRY(batch_statistics(call, &g));
    return is_gelu((const ac_batch_norm_attribute *)call->node->attribute) ? apply<true>(call, g) : apply<false>(call, g);
}

static ac_status recompute(const ac_call *call)
{
    return apply<false>(call, grid_of(call));
}

template <int PARTS, bool GELU> static ac_status gradients(const ac_call *call)
{
    row_grid g = grid_of(call);
    norm_call n = norm_of(call);
    cudaStream_t stream = cuda_of(call->device)->stream;
    double *partial = (double *)call->workspace, *total = total_of(call, &g), count = (double)g.rows;
    norm_gradient out = {call->param_gradient[0], call->param_gradient[1], call->accumulate};
    bool residual = call->node->n_inputs > 1, keeps = residual && n.slope != 1;
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g.channels, {
        CUDA_TRY(AC_LAUNCH((gradient_sums_kernel<T, VEC, PARTS, GELU>), g.grid, g.block, 0, stream, parts_of<T>(call), (const T *)call->input[0],
                           keeps ? (const T *)call->output[0] : (const T *)nullptr, g, n, partial));
    });
    CUDA_TRY(AC_LAUNCH(gradient_total_kernel, total_grid(&g), dim3(8, CUDA_BLOCK / 8), 0, stream, (const double *)partial, g, n.scale, out, total));
    CUDA_TRY(share(call, &g, total, false, &count));
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g.channels, {
        CUDA_TRY(AC_LAUNCH((gradient_apply_kernel<T, VEC, PARTS, GELU>), g.grid, g.block, 0, stream, parts_of<T>(call), (const T *)call->input[0],
                           keeps ? (const T *)call->output[0] : (const T *)nullptr, g, n, (const double *)total, count, (T *)call->dinput[0],
                           residual ? (T *)call->dinput[1] : (T *)nullptr));
    });
    return AC_OK;
}

static ac_status backward(const ac_call *call)
{
    if (call->n_doutput == 1)
        return is_gelu((const ac_batch_norm_attribute *)call->node->attribute) ? gradients<1, true>(call) : gradients<1, false>(call);
    return is_gelu((const ac_batch_norm_attribute *)call->node->attribute) ? gradients<AC_MAX_DOUT, true>(call) : gradients<AC_MAX_DOUT, false>(call);
}

extern "C" const ac_kernel ac_cuda_batch_norm = {&ac_op_batch_norm, AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_INPLACE_FORWARD | AC_KERNEL_INPLACE_BACKWARD, plan, NULL,
                                                 forward, backward, NULL, recompute};
