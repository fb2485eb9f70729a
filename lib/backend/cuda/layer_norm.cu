/* layer_norm: a warp to a row, or half or a quarter of one where rows are short. Backward does a tile of rows per block: the gradient of x row by row, those of the parameters summed in registers over the tile's
 * rows, then over warps and tiles in a fixed order. */
#include "backend/cuda/kernel.cuh"

enum { MOST_ROUNDS = 8 };

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

/* Gradient of the row's vector j, whose first part is at hand. */
template <typename T, int VEC>
__device__ static inline void gradient_at(const gradient_parts<T> &parts, const raw<T, VEC> &first, int64_t at, float *d /* [VEC] */)
{
#pragma unroll
    for (int k = 0; k < VEC; k++)
        d[k] = float_at<T, VEC>(first, k);
#pragma unroll
    for (int part = 1; part < AC_MAX_DOUT; part++)
        if (part < parts.n) {
            float more[VEC];
            load_floats<T, VEC>(parts.part[part], at, more);
#pragma unroll
            for (int k = 0; k < VEC; k++)
                d[k] += more[k];
        }
}

/* Blocks that a multiprocessor holds at a time, by registers. */
__host__ __device__ constexpr int blocks_at_a_time(int rounds)
{
    return rounds == 1 ? 4 : rounds <= 3 ? 2 : 1;
}

/* ROUNDS vectors of a row to a lane, LANES lanes to a row. A row is kept as it was read and made floats twice: enough warps have room then that one's loads hide behind
 * the others' sums. partial: [n_tiles, 2, channels]. */
template <typename T, int VEC, int ROUNDS, int LANES>
__global__ void __launch_bounds__(CUDA_BLOCK, blocks_at_a_time(ROUNDS))
backward_kernel(gradient_parts<T> parts, const T *x, const float *weight, const float *means, const float *scales, T *dx, bool add, double *partial, norm_rows g)
{
    enum { TEAMS = CUDA_BLOCK / LANES };
    __shared__ float shared[TEAMS][2][LANES * VEC];
    int lane = (int)threadIdx.x % LANES, team = (int)threadIdx.x / LANES;
    int64_t first = blockIdx.x * g.tile_rows, end = first + g.tile_rows < g.rows ? first + g.tile_rows : g.rows;
    float dweight[ROUNDS][VEC], dbias[ROUNDS][VEC];
#pragma unroll
    for (int j = 0; j < ROUNDS; j++)
#pragma unroll
        for (int k = 0; k < VEC; k++)
            dweight[j][k] = dbias[j][k] = 0;
    for (int64_t base = first; base < end; base += TEAMS) { /* all lanes of a warp go along, also those without a row */
        int64_t row = base + team, start = row * g.channels;
        int n_vectors = row < end ? g.n_vectors : 0;
        raw<T, VEC> in[ROUNDS] = {}, out[ROUNDS] = {}, old[ROUNDS] = {};
        float sum = 0, along = 0, mean = 0, scale = 0;
#pragma unroll
        for (int j = 0; j < ROUNDS; j++) {
            int i = lane + LANES * j;
            if (i < n_vectors) {
                in[j] = load_raw<T, VEC>(x, start + i * VEC);
                out[j] = load_raw<T, VEC>(parts.part[0], start + i * VEC);
                if (add)
                    old[j] = load_raw<T, VEC>(dx, start + i * VEC);
            }
        }
        if (n_vectors) {
            mean = means[row];
            scale = scales[row];
        }
#pragma unroll
        for (int j = 0; j < ROUNDS; j++) {
            int i = lane + LANES * j;
            float w[VEC], d[VEC];
            if (i >= n_vectors)
                break;
            load_floats<float, VEC>(weight, i * VEC, w);
            gradient_at<T, VEC>(parts, out[j], start + i * VEC, d);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                float hat = (float_at<T, VEC>(in[j], k) - mean) * scale, dw = d[k] * w[k];
                dbias[j][k] += d[k];
                dweight[j][k] += d[k] * hat;
                sum += dw;
                along += dw * hat;
            }
        }
        if (!dx)
            continue;
        sum = lanes_sum<LANES>(sum) / (float)g.channels;
        along = lanes_sum<LANES>(along) / (float)g.channels;
#pragma unroll
        for (int j = 0; j < ROUNDS; j++) {
            int i = lane + LANES * j;
            float w[VEC], d[VEC];
            if (i >= n_vectors)
                break;
            load_floats<float, VEC>(weight, i * VEC, w);
            gradient_at<T, VEC>(parts, out[j], start + i * VEC, d);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                float hat = (float_at<T, VEC>(in[j], k) - mean) * scale;
                d[k] = scale * (d[k] * w[k] - sum - hat * along) + (add ? float_at<T, VEC>(old[j], k) : 0.0f);
            }
            store_floats<T, VEC>(dx, start + i * VEC, d);
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

/* Of a warp's lanes, for backward. */
static int lanes_of_row(int n_vectors)
{
    return n_vectors <= 8 ? 8 : n_vectors <= 16 || (n_vectors > 32 && n_vectors <= 48) ? 16 : 32;
}

static int rounds_of_row(int n_vectors)
{
    int lanes = lanes_of_row(n_vectors);
    return (n_vectors + lanes - 1) / lanes;
}

static norm_rows rows_of(const cuda_device *device, const ac_shape *x, float eps)
{
    norm_rows g;
    g.channels = (int)x->dim[x->n_dims - 1];
    g.rows = ac_shape_elements(x) / g.channels;
    g.n_vectors = g.channels / cuda_width(x->dtype, g.channels);
    int teams = CUDA_BLOCK / lanes_of_row(g.n_vectors);
    int64_t tiles = (int64_t)device->n_multiprocessors * blocks_at_a_time(rounds_of_row(g.n_vectors));
    g.tile_rows = (g.rows + tiles - 1) / tiles;
    g.tile_rows = (g.tile_rows + teams - 1) / teams * teams;
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
    int lanes = lanes_of_row(g.n_vectors), rounds = rounds_of_row(g.n_vectors);
    CUDA_FOR_TYPE_AND_WIDTH(cuda_in(call, 0)->dtype, g.channels, {
        ac_status status = lanes == 8    ? launch_backward<T, VEC, 1, 8>(call, g) :
                           lanes == 16   ? (rounds == 1 ? launch_backward<T, VEC, 1, 16>(call, g) : launch_backward<T, VEC, 3, 16>(call, g)) :
                           rounds == 1   ? launch_backward<T, VEC, 1, 32>(call, g) :
                           rounds == 2   ? launch_backward<T, VEC, 2, 32>(call, g) :
                           rounds == 3   ? launch_backward<T, VEC, 3, 32>(call, g) :
                           rounds == 4   ? launch_backward<T, VEC, 4, 32>(call, g) :
                                           launch_backward<T, VEC, MOST_ROUNDS, 32>(call, g);
        CUDA_TRY(status);
    });
    const double *partial = (const double *)call->workspace;
    for (int k = 0; k < 2; k++)
        CUDA_TRY(cuda_tile_totals(cuda_of(call->device), partial + k * g.channels, g.n_tiles, 2 * (int64_t)g.channels, g.channels, call->param_gradient[k], call->accumulate));
    return AC_OK;
}

extern "C" const ac_kernel ac_cuda_layer_norm = {&ac_op_layer_norm, AC_KERNEL_SUMS_DOUTPUT | AC_KERNEL_ADDS_DINPUT, plan, NULL, forward, backward, NULL, recompute};
