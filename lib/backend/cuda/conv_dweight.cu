/* Gradient of a convolution's weights in bf16 and f16 by tensor cores, where a library that sums in a fixed order leaves most of the device idle: the product
 * dy^T [o, pixels] x [pixels, taps c] whose second factor is read where it lies. A block has a tile of it for a chunk of the pixels, which come 32 at a time through a ring in
 * shared memory; chunks are summed in their order afterwards. */
#include "backend/cuda/conv_dweight.h"
#include "backend/cuda/copy_async.cuh"
#include "backend/cuda/tensor_core.cuh"

enum { COLUMNS = 128, PIXELS = 32, STAGES = 4, THREADS = 256, PAD = 8, X_STRIDE = COLUMNS + PAD };

struct dweight_call {
    cuda_conv_spec s;
    const void *x, *dy;
    float *partial;      /* [n_chunks, o, taps, c] */
    int pixels, chunk, columns; /* columns: taps c */
};

/* The output pixels of a thread's rows of x, step by step: decoded once, then moved on without a division. */
template <int ROWS> struct pixel_rows {
    int x[ROWS], y[ROWS], image[ROWS], left[ROWS]; /* left: pixels until the chunk's end; 0 and below: beyond */
};

template <int ROWS> __device__ static inline void begin_rows(pixel_rows<ROWS> &r, const cuda_conv_spec &s, int first, int end, int row, int rows_apart)
{
#pragma unroll
    for (int k = 0; k < ROWS; k++) {
        int p = first + row + k * rows_apart, line = p / (int)s.ow;
        r.x[k] = p % (int)s.ow;
        r.y[k] = line % (int)s.oh;
        r.image[k] = line / (int)s.oh;
        r.left[k] = end - p;
    }
}

template <int ROWS> __device__ static inline void next_rows(pixel_rows<ROWS> &r, const cuda_conv_spec &s)
{
#pragma unroll
    for (int k = 0; k < ROWS; k++) {
        r.left[k] -= PIXELS;
        r.x[k] += PIXELS;
        while (r.x[k] >= (int)s.ow) {
            r.x[k] -= (int)s.ow;
            r.y[k]++;
        }
        while (r.y[k] >= (int)s.oh) {
            r.y[k] -= (int)s.oh;
            r.image[k]++;
        }
    }
}

/* TILE rows of the weights' gradient (outputs) and COLUMNS of (tap, channel) to a block, which is blockIdx.x; blockIdx.y: chunk. Of its 8 warps two lie side by side over the
 * rows, four over the columns: TILE / 2 x 32 each. VEC: elements of a copy, 16 or 8 bytes. */
template <typename T, int TILE, int VEC> __global__ void __launch_bounds__(THREADS, 2) dweight_kernel(dweight_call d)
{
    constexpr int DY_STRIDE = TILE + PAD, DY_STAGE = PIXELS * DY_STRIDE, X_STAGE = PIXELS * X_STRIDE, X_PACKS = COLUMNS / VEC, X_ROWS = PIXELS * X_PACKS / THREADS;
    constexpr int DY_PACKS = TILE / VEC, ROW_TILES = TILE / 32;
    AC_DYNAMIC_SHARED(T, shared);
    const cuda_conv_spec &s = d.s;
    T *dy_ring = shared, *x_ring = shared + STAGES * DY_STAGE;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, row0 = warp % 2 * (TILE / 2), column0 = warp / 2 * 32;
    const int across = (d.columns + COLUMNS - 1) / COLUMNS, n0 = (int)blockIdx.x % across * COLUMNS, o0 = (int)blockIdx.x / across * TILE;
    const int first = (int)blockIdx.y * d.chunk, end = min(first + d.chunk, d.pixels), n_steps = (end - first + PIXELS - 1) / PIXELS;
    const int at_column = (int)threadIdx.x % X_PACKS * VEC, column = n0 + at_column, tap = column / (int)s.c, channel = column % (int)s.c;
    const int ky = tap / s.kernel - s.padding, kx = tap % s.kernel - s.padding, row = (int)threadIdx.x / X_PACKS;
    const T *x = (const T *)d.x + channel, *dy = (const T *)d.dy + o0;
    float sum[ROW_TILES][4][4] = {};
    pixel_rows<X_ROWS> r;
    begin_rows<X_ROWS>(r, s, first, end, row, THREADS / X_PACKS);
    auto fetch = [&](int step) { /* called for step 0, 1, 2, ... in order: r moves on */
        T *dy_to = dy_ring + step % STAGES * DY_STAGE, *x_to = x_ring + step % STAGES * X_STAGE;
#pragma unroll
        for (int k = 0; k < X_ROWS; k++) {
            int iy = r.y[k] * s.stride + ky, ix = r.x[k] * s.stride + kx;
            bool inside = r.left[k] > 0 && column < d.columns && iy >= 0 && iy < (int)s.h && ix >= 0 && ix < (int)s.w;
            copy_async_of<VEC * 2>(x_to + (row + k * (THREADS / X_PACKS)) * X_STRIDE + at_column, x + ((r.image[k] * (int)s.h + iy) * (int)s.w + ix) * (int)s.c, inside);
        }
        next_rows<X_ROWS>(r, s);
        int p0 = first + step * PIXELS;
#pragma unroll
        for (int i = (int)threadIdx.x; i < PIXELS * DY_PACKS; i += THREADS) {
            int k = i / DY_PACKS, c = i % DY_PACKS * VEC;
            copy_async_of<VEC * 2>(dy_to + k * DY_STRIDE + c, dy + (p0 + k) * (int)s.o + c, p0 + k < end && o0 + c < (int)s.o);
        }
    };
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < n_steps)
            fetch(step);
        copies_commit();
    }
    for (int step = 0; step < n_steps; step++) {
        copies_wait<STAGES - 2>();
        __syncthreads(); /* all have this step's pixels, and are done with the one whose place is taken next */
        if (step + STAGES - 1 < n_steps)
            fetch(step + STAGES - 1);
        copies_commit();
        const T *dy_tile = dy_ring + step % STAGES * DY_STAGE + row0, *x_tile = x_ring + step % STAGES * X_STAGE + column0;
#pragma unroll
        for (int k = 0; k < PIXELS; k += 16) {
            uint32_t a[4], b[2][4];
#pragma unroll
            for (int j = 0; j < 2; j++)
                load_b(b[j], x_tile + k * X_STRIDE + 16 * j, X_STRIDE, lane);
#pragma unroll
            for (int i = 0; i < ROW_TILES; i++) {
                load_a_transposed(a, dy_tile + k * DY_STRIDE + 16 * i, DY_STRIDE, lane);
#pragma unroll
                for (int j = 0; j < 4; j++)
                    multiply_tile<T>(sum[i][j], a, b[j / 2] + j % 2 * 2);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int o = o0 + row0 + 16 * i + lane / 4 + 8 * h, n = n0 + column0 + 8 * j + lane % 4 * 2;
                if (o < (int)s.o && n < d.columns) {
                    pack<float, 2> v = {{sum[i][j][2 * h], sum[i][j][2 * h + 1]}};
                    store<float, 2>(d.partial, ((int64_t)blockIdx.y * s.o + o) * d.columns + n, v);
                }
            }
}

__global__ void __launch_bounds__(CUDA_BLOCK) chunks_kernel(const float *partial, int n_chunks, float *out, bool accumulate, int64_t n)
{
    int64_t i = thread_index();
    double sum = 0;
    if (i >= n)
        return;
#pragma unroll 8
    for (int k = 0; k < n_chunks; k++)
        sum += (double)partial[k * n + i];
    out[i] = (float)(sum + (accumulate ? (double)out[i] : 0.0));
}

static int64_t n_weights(const cuda_conv_spec *s)
{
    return s->o * s->c * s->kernel * s->kernel;
}

/* Rows of a block's tile: of 160, 128, 96 and 64 what leaves least over, the larger of equals. */
static int tile_for(int64_t o)
{
    static const int tiles[] = {160, 128, 96, 64};
    int best = 0;
    for (int k = 1; k < 4; k++)
        if ((o + tiles[k] - 1) / tiles[k] * tiles[k] < (o + tiles[best] - 1) / tiles[best] * tiles[best])
            best = k;
    return tiles[best];
}

/* Two blocks to each multiprocessor, as many as are there at once; partial sums of no more than 64 MiB. */
static dweight_call call_for(const cuda_device *device, const cuda_conv_spec *s, int *n_chunks)
{
    dweight_call d;
    int tile = tile_for(s->o);
    memset(&d, 0, sizeof d);
    d.s = *s;
    d.columns = (int)(s->c * s->kernel * s->kernel);
    d.pixels = (int)(s->n * s->oh * s->ow);
    int64_t blocks = (s->o + tile - 1) / tile * ((d.columns + COLUMNS - 1) / COLUMNS), wanted = (int64_t)device->n_multiprocessors * 2 / blocks;
    int64_t most = ((int64_t)64 << 20) / (n_weights(s) * 4);
    wanted = wanted > most ? most : wanted;
    wanted = wanted < 1 ? 1 : wanted;
    d.chunk = (int)((d.pixels + wanted - 1) / wanted);
    d.chunk = (d.chunk + PIXELS - 1) / PIXELS * PIXELS;
    *n_chunks = (d.pixels + d.chunk - 1) / d.chunk;
    return d;
}

bool cuda_conv_dweight_takes(const cuda_conv_spec *s)
{
    return cuda_is_half(s->type) && s->groups == 1 && s->o % 4 == 0 && s->c % 4 == 0 && s->o * s->c <= 512 * 256 && s->n * s->h * s->w * s->c < INT32_MAX / 2 &&
           s->n * s->oh * s->ow * s->o < INT32_MAX / 2; /* elements are counted in int */
}

size_t cuda_conv_dweight_workspace_bytes(const cuda_device *device, const cuda_conv_spec *s)
{
    int n_chunks;
    call_for(device, s, &n_chunks);
    return (size_t)n_chunks * (size_t)n_weights(s) * sizeof(float);
}

template <typename T, int TILE, int VEC> static ac_status launch(cuda_device *device, const dweight_call &d, int n_chunks)
{
    unsigned blocks = (unsigned)((d.s.o + TILE - 1) / TILE * ((d.columns + COLUMNS - 1) / COLUMNS));
    return AC_LAUNCH((dweight_kernel<T, TILE, VEC>), dim3(blocks, (unsigned)n_chunks), dim3(THREADS), sizeof(T) * STAGES * PIXELS * (TILE + PAD + X_STRIDE), device->stream, d);
}

template <typename T, int VEC> static ac_status launch_tile(cuda_device *device, const dweight_call &d, int n_chunks)
{
    switch (tile_for(d.s.o)) {
    case 160: return launch<T, 160, VEC>(device, d, n_chunks);
    case 128: return launch<T, 128, VEC>(device, d, n_chunks);
    case 96: return launch<T, 96, VEC>(device, d, n_chunks);
    default: return launch<T, 64, VEC>(device, d, n_chunks);
    }
}

ac_status cuda_conv_dweight(cuda_device *device, const cuda_conv_spec *s, const void *x, const void *dy, float *dweight, bool accumulate, void *workspace)
{
    int n_chunks;
    dweight_call d = call_for(device, s, &n_chunks);
    d.x = x;
    d.dy = dy;
    d.partial = (float *)workspace;
    bool wide = s->o % 8 == 0 && s->c % 8 == 0;
    CUDA_FOR_HALF(s->type, { CUDA_TRY((wide ? launch_tile<T, 8>(device, d, n_chunks) : launch_tile<T, 4>(device, d, n_chunks))); });
    return AC_LAUNCH(chunks_kernel, cuda_blocks(n_weights(s)), dim3(CUDA_BLOCK), 0, device->stream, (const float *)workspace, n_chunks, dweight, accumulate, n_weights(s));
}
