/* layer_norm: a warp to a row, or half or a quarter of one where rows are short. Backward does a tile of rows per block: the gradient of x row by row, those of the parameters summed in registers over the tile's
 * rows, then over warps and tiles in a fixed order. */
#include "backend/cuda/kernel.cuh"

enum { TEAMS_OF_8 = CUDA_BLOCK / 8, MOST_ROUNDS = 8 };

struct norm_rows {
    int64_t rows, tile_rows;
    int channels, n_vectors, n_tiles;
    float eps;
};

/* Sum over LANES neighbours of a warp. */
template <int LANES> __device__ static inline float lanes_sum(float v)
{
#pragma unroll
    for (int mask = LANES / 2; mask > 0; mask /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, mask);
    return v;
}

/* LANES lanes of a warp to a row: short rows would leave most of a warp idle. */
template <typename T, int VEC, int LANES>
__global__ void __launch_bounds__(CUDA_BLOCK) forward_kernel(const T *x, const float *weight, const float *bias, T *y, float *mean_out, float *scale_out, bool given, norm_rows g)
{
    int lane = (int)threadIdx.x % LANES;
    int64_t row = (int64_t)blockIdx.x * (CUDA_BLOCK / LANES) + threadIdx.x / LANES;
    float v[VEC], sum = 0, square = 0, mean, scale;
    int n_vectors = row < g.rows ? g.n_vectors : 0; /* lanes without a row go along: their neighbours sum with them */
    x += n_vectors ? row * g.channels : 0;
    if (given) {
        mean = n_vectors ? mean_out[row] : 0.0f;
        scale = n_vectors ? scale_out[row] : 0.0f;
    } else {
        for (int i = lane; i < n_vectors; i += LANES) {
            load_floats<T, VEC>(x, i * VEC, v);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                sum += v[k];
        }
        mean = lanes_sum<LANES>(sum) / (float)g.channels;
        for (int i = lane; i < n_vectors; i += LANES) {
            load_floats<T, VEC>(x, i * VEC, v);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                square += (v[k] - mean) * (v[k] - mean);
        }
        scale = 1 / sqrtf(lanes_sum<LANES>(square) / (float)g.channels + g.eps);
        if (mean_out && lane == 0 && n_vectors) {
            mean_out[row] = mean;
            scale_out[row] = scale;
        }
    }
    for (int i = lane; i < n_vectors; i += LANES) {
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

/* A row as it is read: x, the first part of the gradient, what the gradient of x is to be added to. */
template <typename T, int VEC, int ROUNDS> struct row_read {
    pack<T, VEC> x[ROUNDS], d[ROUNDS], old[ROUNDS];
    float mean, scale;
};

template <typename T, int VEC, int ROUNDS, int LANES>
__device__ static inline void read_row(row_read<T, VEC, ROUNDS> &r, const gradient_parts<T> &parts, const T *x, const float *means, const float *scales, const T *add_to, int64_t row,
                                       int lane, const norm_rows &g)
{
    r.mean = means[row];
    r.scale = scales[row];
#pragma unroll
    for (int j = 0; j < ROUNDS; j++) {
        int i = lane + LANES * j;
        int64_t at = row * g.channels + i * VEC;
        if (i >= g.n_vectors)
            break;
        r.x[j] = load<T, VEC>(x, at);
        r.d[j] = load<T, VEC>(parts.part[0], at);
        if (add_to)
            r.old[j] = load<T, VEC>(add_to, at);
    }
}

/* ROUNDS vectors of a row to a lane, LANES lanes to a row; the next row is read while this one is summed, where there are registers for it. partial: [n_tiles, 2, channels]. */
template <typename T, int VEC, int ROUNDS, int LANES>
__global__ void __launch_bounds__(CUDA_BLOCK)
backward_kernel(gradient_parts<T> parts, const T *x, const float *weight, const float *means, const float *scales, T *dx, bool add, double *partial, norm_rows g)
{
    enum { TEAMS = CUDA_BLOCK / LANES, AHEAD = ROUNDS <= 3 };
    __shared__ float shared[TEAMS][2][LANES * VEC];
    int lane = (int)threadIdx.x % LANES, team = (int)threadIdx.x / LANES;
    int64_t first = blockIdx.x * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    const T *add_to = add ? dx : nullptr;
    float dweight[ROUNDS][VEC], dbias[ROUNDS][VEC];
    row_read<T, VEC, ROUNDS> now = {}, next = {};
#pragma unroll
    for (int j = 0; j < ROUNDS; j++)
#pragma unroll
        for (int k = 0; k < VEC; k++)
            dweight[j][k] = dbias[j][k] = 0;
    if (AHEAD && first + team < end)
        read_row<T, VEC, ROUNDS, LANES>(next, parts, x, means, scales, add_to, first + team, lane, g);
    for (int64_t base = first; base < end; base += TEAMS) { /* all lanes of a warp go along, also those without a row */
        int64_t row = base + team;
        bool mine = row < end;
        float sum = 0, along = 0;
        if (!AHEAD && mine)
            read_row<T, VEC, ROUNDS, LANES>(now, parts, x, means, scales, add_to, row, lane, g);
        if (AHEAD)
            now = next;
        if (AHEAD && row + TEAMS < end)
            read_row<T, VEC, ROUNDS, LANES>(next, parts, x, means, scales, add_to, row + TEAMS, lane, g);
        float d[ROUNDS][VEC] = {}, hat[ROUNDS][VEC] = {};
#pragma unroll
        for (int j = 0; j < ROUNDS; j++) {
            int i = lane + LANES * j;
            if (i >= g.n_vectors || !mine)
                break;
            float w[VEC];
            load_floats<float, VEC>(weight, i * VEC, w);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                d[j][k] = to_float(now.d[j].v[k]);
#pragma unroll
            for (int part = 1; part < AC_MAX_DOUT; part++)
                if (part < parts.n) {
                    float more[VEC];
                    load_floats<T, VEC>(parts.part[part], row * g.channels + i * VEC, more);
#pragma unroll
                    for (int k = 0; k < VEC; k++)
                        d[j][k] += more[k];
                }
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                hat[j][k] = (to_float(now.x[j].v[k]) - now.mean) * now.scale;
                dbias[j][k] += d[j][k];
                dweight[j][k] += d[j][k] * hat[j][k];
                d[j][k] *= w[k];
                sum += d[j][k];
                along += d[j][k] * hat[j][k];
            }
        }
        if (!dx)
            continue;
        sum = lanes_sum<LANES>(sum) / (float)g.channels;
        along = lanes_sum<LANES>(along) / (float)g.channels;
#pragma unroll
        for (int j = 0; j < ROUNDS; j++) {
            int i = lane + LANES * j;
            if (i >= g.n_vectors || !mine)
                break;
#pragma unroll
            for (int k = 0; k < VEC; k++)
                d[j][k] = now.scale * (d[j][k] - sum - hat[j][k] * along) + (add ? to_float(now.old[j].v[k]) : 0.0f);
            store_floats<T, VEC>(dx, row * g.channels + i * VEC, d[j]);
        }
    }
#pragma unroll
    for (int j = 0; j < ROUNDS; j++) {
        __syncthreads();
#pragma unroll
        for (int k = 0; k < VEC; k++) {
            shared[team][0][lane * VEC + k] = dweight[j][k];
            shared[team][1][lane * VEC + k] = dbias[j][k];
        }
        __syncthreads();
        for (int i = (int)threadIdx.x; i < 2 * LANES * VEC; i += CUDA_BLOCK) {
            int which = i / (LANES * VEC), at = i % (LANES * VEC), c = LANES * VEC * j + at;
            double total = 0;
            for (int t = 0; t < TEAMS; t++)
                total += (double)shared[t][which][at];
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
    int64_t tiles = (int64_t)device->n_multiprocessors * (g.n_vectors > 32 ? 2 : 4); /* long rows take registers: one block or two at a time */
    g.tile_rows = (g.rows + tiles - 1) / tiles;
    g.tile_rows = (g.tile_rows + TEAMS_OF_8 - 1) / TEAMS_OF_8 * TEAMS_OF_8;
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

template <typename T, int VEC, int LANES> static ac_status launch_forward(const ac_call *call, bool given, const norm_rows &g)
{
    int64_t rows_of_block = CUDA_BLOCK / LANES;
    return AC_LAUNCH((forward_kernel<T, VEC, LANES>), dim3((unsigned)((g.rows + rows_of_block - 1) / rows_of_block)), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream,
                     (const T *)call->input[0], (const float *)call->param[0], (const float *)call->param[1], (T *)call->output[0], (float *)call->saved[0], (float *)call->saved[1],
                     given, g);
}

static ac_status run(const ac_call *call, bool given)
{
    norm_rows g = rows_of_call(call);
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g.channels, {
        ac_status status = g.n_vectors <= 8 ? launch_forward<T, VEC, 8>(call, given, g) : g.n_vectors <= 16 ? launch_forward<T, VEC, 16>(call, given, g) :
                                                                                                                launch_forward<T, VEC, 32>(call, given, g);
        CUDA_TRY(status);
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

template <typename T, int VEC, int ROUNDS, int LANES> static ac_status launch_backward(const ac_call *call, const norm_rows &g)
{
    return AC_LAUNCH((backward_kernel<T, VEC, ROUNDS, LANES>), dim3((unsigned)g.n_tiles), dim3(CUDA_BLOCK), 0, cuda_of(call->device)->stream, parts_of<T>(call),
                     (const T *)call->input[0], (const float *)call->param[0], (const float *)call->saved[0], (const float *)call->saved[1], (T *)call->dinput[0],
                     call->add_dinput, (double *)call->workspace, g);
}

static ac_status backward(const ac_call *call)
{
    norm_rows g = rows_of_call(call);
    int rounds = (g.n_vectors + 31) / 32;
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g.channels, {
        ac_status status = g.n_vectors <= 8 ? launch_backward<T, VEC, 1, 8>(call, g) : g.n_vectors <= 16 ? launch_backward<T, VEC, 1, 16>(call, g) :
                           rounds == 1 ? launch_backward<T, VEC, 1, 32>(call, g) : rounds == 2 ? launch_backward<T, VEC, 2, 32>(call, g) :
                           rounds == 3 ? launch_backward<T, VEC, 3, 32>(call, g) : rounds == 4 ? launch_backward<T, VEC, 4, 32>(call, g) :
                                                                                               launch_backward<T, VEC, MOST_ROUNDS, 32>(call, g);
        CUDA_TRY(status);
    });
    const double *partial = (const double *)call->workspace;
    for (int k = 0; k < 2; k++)
        CUDA_TRY(cuda_tile_totals(cuda_of(call->device), partial + k * g.channels, g.n_tiles, 2 * (int64_t)g.channels, g.channels, call->param_gradient[k], call->accumulate));
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_layer_norm = {&ac_op_layer_norm, AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, plan, NULL, forward, backward, NULL, recompute};
