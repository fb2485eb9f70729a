/* layer_norm: a warp to a row. Backward does a tile of rows per block: the gradient of x row by row, those of the parameters summed in registers over the tile's
 * rows, then over warps and tiles in a fixed order. */
#include "backend/cuda/kernel.cuh"

enum { WARPS = CUDA_BLOCK / 32, MOST_ROUNDS = 8 };

struct norm_rows {
    int64_t rows, tile_rows;
    int channels, n_vectors, n_tiles;
    float eps;
};

template <typename T, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK) forward_kernel(const T *x, const float *weight, const float *bias, T *y, float *mean_out, float *scale_out, bool given, norm_rows g)
{
    int lane = (int)threadIdx.x % 32;
    int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    float v[VEC], sum = 0, square = 0, mean, scale;
    if (row >= g.rows)
        return;
    x += row * g.channels;
    if (given) {
        mean = mean_out[row];
        scale = scale_out[row];
    } else {
        for (int i = lane; i < g.n_vectors; i += 32) {
            load_floats<T, VEC>(x, i * VEC, v);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                sum += v[k];
        }
        mean = warp_sum(sum) / (float)g.channels;
        for (int i = lane; i < g.n_vectors; i += 32) {
            load_floats<T, VEC>(x, i * VEC, v);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                square += (v[k] - mean) * (v[k] - mean);
        }
        scale = 1 / sqrtf(warp_sum(square) / (float)g.channels + g.eps);
        if (mean_out && lane == 0) {
            mean_out[row] = mean;
            scale_out[row] = scale;
        }
    }
    for (int i = lane; i < g.n_vectors; i += 32) {
        float w[VEC], b[VEC];
        load_floats<T, VEC>(x, i * VEC, v);
        load_floats<float, VEC>(weight, i * VEC, w);
        load_floats<float, VEC>(bias, i * VEC, b);
#pragma unroll
        for (int k = 0; k < VEC; k++)
            v[k] = (v[k] - mean) * scale * w[k] + b[k];
        store_floats<T, VEC>(y, row * g.channels + i * VEC, v);
    }
}

/* ROUNDS vectors of a row to a lane. partial: [n_tiles, 2, channels]. */
template <typename T, int VEC, int ROUNDS>
__global__ void __launch_bounds__(CUDA_BLOCK)
backward_kernel(gradient_parts<T> parts, const T *x, const float *weight, const float *means, const float *scales, T *dx, bool add, double *partial, norm_rows g)
{
    __shared__ float shared[WARPS][2][32 * VEC];
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    int64_t first = blockIdx.x * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    float dweight[ROUNDS][VEC], dbias[ROUNDS][VEC];
#pragma unroll
    for (int j = 0; j < ROUNDS; j++)
#pragma unroll
        for (int k = 0; k < VEC; k++)
            dweight[j][k] = dbias[j][k] = 0;
    for (int64_t row = first + warp; row < end; row += WARPS) {
        float mean = means[row], scale = scales[row], sum = 0, along = 0, d[ROUNDS][VEC], hat[ROUNDS][VEC];
#pragma unroll
        for (int j = 0; j < ROUNDS; j++) {
            int i = lane + 32 * j;
            if (i >= g.n_vectors)
                break;
            float w[VEC];
            load_floats<T, VEC>(x, row * g.channels + i * VEC, hat[j]);
            load_parts<T, VEC>(parts, row * g.channels + i * VEC, d[j]);
            load_floats<float, VEC>(weight, i * VEC, w);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                hat[j][k] = (hat[j][k] - mean) * scale;
                dbias[j][k] += d[j][k];
                dweight[j][k] += d[j][k] * hat[j][k];
                d[j][k] *= w[k];
                sum += d[j][k];
                along += d[j][k] * hat[j][k];
            }
        }
        if (!dx)
            continue;
        sum = warp_sum(sum) / (float)g.channels;
        along = warp_sum(along) / (float)g.channels;
#pragma unroll
        for (int j = 0; j < ROUNDS; j++) {
            int i = lane + 32 * j;
            if (i >= g.n_vectors)
                break;
            float old[VEC] = {};
            if (add)
                load_floats<T, VEC>(dx, row * g.channels + i * VEC, old);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                d[j][k] = scale * (d[j][k] - sum - hat[j][k] * along) + (add ? old[k] : 0.0f);
            store_floats<T, VEC>(dx, row * g.channels + i * VEC, d[j]);
        }
    }
#pragma unroll
    for (int j = 0; j < ROUNDS; j++) {
        __syncthreads();
#pragma unroll
        for (int k = 0; k < VEC; k++) {
            shared[warp][0][lane * VEC + k] = dweight[j][k];
            shared[warp][1][lane * VEC + k] = dbias[j][k];
        }
        __syncthreads();
        for (int i = (int)threadIdx.x; i < 2 * 32 * VEC; i += CUDA_BLOCK) {
            int which = i / (32 * VEC), at = i % (32 * VEC), c = 32 * VEC * j + at;
            double total = 0;
            for (int w = 0; w < WARPS; w++)
                total += (double)shared[w][which][at];
            if (c < g.channels)
                partial[((int64_t)blockIdx.x * 2 + which) * g.channels + c] = total;
        }
    }
}

static norm_rows rows_of(const cuda_device *device, const ac_shape *x, float eps)
{
    norm_rows g;
    g.channels = (int)x->dim[x->n_dims - 1];
    g.rows = ac_shape_elements(x) / g.channels;
    g.n_vectors = g.channels / cuda_width(x->dtype, g.channels);
    int64_t tiles = (int64_t)device->n_multiprocessors * 4;
    g.tile_rows = (g.rows + tiles - 1) / tiles;
    g.tile_rows = (g.tile_rows + WARPS - 1) / WARPS * WARPS;
    g.n_tiles = (int)((g.rows + g.tile_rows - 1) / g.tile_rows);
    g.eps = eps;
    return g;
}

static norm_rows rows_of_call(const ac_call *call)
{
    return rows_of(cuda_of(call->device), cuda_in(call, 0), ((const ac_layer_norm_attribute *)call->node->attribute)->eps);
}

static ac_status plan(ac_device *device, const ac_graph *graph, const ac_node *node, bool training, unsigned wants, ac_kernel_plan *out)
{
    (void)wants;
    const ac_shape *x = ac_graph_shape(graph, node->input[0]);
    norm_rows g = rows_of(cuda_of(device), x, 0);
    if (training && g.n_vectors > 32 * MOST_ROUNDS)
        return ac_error(AC_ERR_UNSUPPORTED, "rows of %d channels", g.channels);
    out->workspace_bytes = training ? sizeof(double) * 2 * (size_t)g.n_tiles * (size_t)g.channels : 0;
    return cuda_check_precision(device, x->dtype);
}

static ac_status run(const ac_call *call, bool given)
{
    norm_rows g = rows_of_call(call);
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g.channels, {
        CUDA_TRY(AC_LAUNCH((forward_kernel<T, VEC>), dim3((unsigned)((g.rows + WARPS - 1) / WARPS)), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream,
                           (const T *)call->input[0], (const float *)call->param[0], (const float *)call->param[1], (T *)call->output[0], (float *)call->saved[0],
                           (float *)call->saved[1], given, g));
    });
    return AC_OK;
}

static ac_status forward(const ac_call *call)
{
    return run(call, false);
}

static ac_status recompute(const ac_call *call)
{
    return run(call, true);
}

template <typename T, int VEC, int ROUNDS> static ac_status launch_backward(const ac_call *call, const norm_rows &g)
{
    return AC_LAUNCH((backward_kernel<T, VEC, ROUNDS>), dim3((unsigned)g.n_tiles), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, parts_of<T>(call),
                     (const T *)call->input[0], (const float *)call->param[0], (const float *)call->saved[0], (const float *)call->saved[1], (T *)call->dinput[0],
                     call->add_dinput, (double *)call->workspace, g);
}

static ac_status backward(const ac_call *call)
{
    norm_rows g = rows_of_call(call);
    int rounds = (g.n_vectors + 31) / 32;
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g.channels, {
        ac_status status = rounds == 1 ? launch_backward<T, VEC, 1>(call, g) : rounds == 2 ? launch_backward<T, VEC, 2>(call, g) : rounds == 3 ? launch_backward<T, VEC, 3>(call, g) :
                           rounds == 4 ? launch_backward<T, VEC, 4>(call, g) : launch_backward<T, VEC, MOST_ROUNDS>(call, g);
        CUDA_TRY(status);
    });
    const double *partial = (const double *)call->workspace;
    for (int k = 0; k < 2; k++)
        CUDA_TRY(cuda_tile_totals(cuda_of(call->device), partial + k * g.channels, g.n_tiles, 2 * (int64_t)g.channels, g.channels, call->param_gradient[k], call->accumulate));
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_layer_norm = {&ac_op_layer_norm, AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, plan, NULL, forward, backward, NULL, recompute};
