/* Gradient of a convolution's weights in bf16 and f16 by tensor cores, for kernels of few channels and many pixels, where a library that sums in a fixed order leaves most of
 * the device idle: the pixels are divided into chunks, a block to a chunk, a tap and a 64 x 64 tile of channels; chunks are summed in their order afterwards. */
#include "backend/cuda/conv_dweight.h"
#include "backend/cuda/tensor_core.cuh"

enum { TILE = 64, PIXELS = 64, THREADS = 128, PAD = 8, STRIDE = TILE + PAD, FETCHES = PIXELS * TILE / 8 / THREADS };

struct dweight_call {
    cuda_conv_spec s;
    const void *x, *dy;
    float *partial;      /* [n_chunks, o, taps, c] */
    int64_t pixels, chunk;
    int o_tiles, c_tiles, taps;
};

/* Where a thread's rows of the next tiles come from; zeros beyond a side of the map or the channels. */
template <typename T> __device__ static inline void fetch(const dweight_call &d, int64_t first, int64_t end, int o0, int c0, int tap, pack<T, 8> *dy, pack<T, 8> *x)
{
    const cuda_conv_spec &s = d.s;
    int column = (int)threadIdx.x % (TILE / 8) * 8;
#pragma unroll
    for (int k = 0; k < FETCHES; k++) {
        int64_t p = first + (int)threadIdx.x / (TILE / 8) + k * (THREADS / (TILE / 8));
        pack<T, 8> zero = {};
        dy[k] = x[k] = zero;
        if (p >= end)
            continue;
        unsigned pixel = (unsigned)p, row = pixel / (unsigned)s.ow, ox = pixel % (unsigned)s.ow, image = row / (unsigned)s.oh, oy = row % (unsigned)s.oh;
        int iy = (int)oy * s.stride - s.padding + tap / s.kernel, ix = (int)ox * s.stride - s.padding + tap % s.kernel;
        if (o0 + column < (int)s.o)
            dy[k] = load<T, 8>((const T *)d.dy, p * s.o + o0 + column);
        if (c0 + column < (int)s.c && iy >= 0 && iy < (int)s.h && ix >= 0 && ix < (int)s.w)
            x[k] = load<T, 8>((const T *)d.x, (((int64_t)image * s.h + iy) * s.w + ix) * s.c + c0 + column);
    }
}

/* blockIdx.x: tap and tiles, blockIdx.y: chunk. A warp to 32 x 32 of the tile. */
template <typename T> __global__ void __launch_bounds__(THREADS) dweight_kernel(dweight_call d)
{
    __shared__ pack<T, 8> dy_rows[PIXELS * STRIDE / 8], x_rows[PIXELS * STRIDE / 8];
    T *dy_tile = dy_rows[0].v, *x_tile = x_rows[0].v;
    int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, tap = (int)blockIdx.x % d.taps, tile = (int)blockIdx.x / d.taps;
    int o0 = tile / d.c_tiles * TILE, c0 = tile % d.c_tiles * TILE, row0 = warp / 2 * 32, column0 = warp % 2 * 32;
    int64_t first = blockIdx.y * d.chunk, end = first + d.chunk < d.pixels ? first + d.chunk : d.pixels;
    float sum[2][4][4] = {};
    pack<T, 8> dy[FETCHES], x[FETCHES];
    fetch(d, first, end, o0, c0, tap, dy, x);
    for (int64_t p = first; p < end; p += PIXELS) {
        __syncthreads();
#pragma unroll
        for (int k = 0; k < FETCHES; k++) {
            int at = ((int)threadIdx.x / (TILE / 8) + k * (THREADS / (TILE / 8))) * STRIDE + (int)threadIdx.x % (TILE / 8) * 8;
            store<T, 8>(dy_tile, at, dy[k]);
            store<T, 8>(x_tile, at, x[k]);
        }
        __syncthreads();
        if (p + PIXELS < end)
            fetch(d, p + PIXELS, end, o0, c0, tap, dy, x);
#pragma unroll
        for (int k = 0; k < PIXELS; k += 16) {
            uint32_t a[2][4], b[2][4];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                load_a_transposed(a[i], dy_tile + k * STRIDE + row0 + 16 * i, STRIDE, lane);
                load_b(b[i], x_tile + k * STRIDE + column0 + 16 * i, STRIDE, lane);
            }
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    multiply_tile<T>(sum[i][j], a[i], b[j / 2] + j % 2 * 2);
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                int o = o0 + row0 + 16 * i + lane / 4 + 8 * h, c = c0 + column0 + 8 * j + lane % 4 * 2;
                if (o < (int)d.s.o && c < (int)d.s.c) {
                    pack<float, 2> v = {{sum[i][j][2 * h], sum[i][j][2 * h + 1]}};
                    store<float, 2>(d.partial, (((int64_t)blockIdx.y * d.s.o + o) * d.taps + tap) * d.s.c + c, v);
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

/* Blocks enough for the device, partial sums of no more than 64 MiB. */
static dweight_call call_for(const cuda_device *device, const cuda_conv_spec *s, int *n_chunks)
{
    dweight_call d;
    memset(&d, 0, sizeof d);
    d.s = *s;
    d.taps = s->kernel * s->kernel;
    d.o_tiles = (int)((s->o + TILE - 1) / TILE);
    d.c_tiles = (int)((s->c + TILE - 1) / TILE);
    d.pixels = s->n * s->oh * s->ow;
    int64_t wanted = (int64_t)device->n_multiprocessors * 8 / (d.taps * d.o_tiles * d.c_tiles), most = ((int64_t)64 << 20) / (n_weights(s) * 4);
    wanted = wanted > most ? most : wanted;
    wanted = wanted < 1 ? 1 : wanted;
    d.chunk = (d.pixels + wanted - 1) / wanted;
    d.chunk = (d.chunk + PIXELS - 1) / PIXELS * PIXELS;
    *n_chunks = (int)((d.pixels + d.chunk - 1) / d.chunk);
    return d;
}

bool cuda_conv_dweight_takes(const cuda_conv_spec *s)
{
    return cuda_is_half(s->type) && s->groups == 1 && s->o % 8 == 0 && s->c % 8 == 0 && s->o * s->c <= 512 * 256 && s->n * s->oh * s->ow < INT32_MAX;
}

size_t cuda_conv_dweight_workspace_bytes(const cuda_device *device, const cuda_conv_spec *s)
{
    int n_chunks;
    call_for(device, s, &n_chunks);
    return (size_t)n_chunks * (size_t)n_weights(s) * sizeof(float);
}

ac_status cuda_conv_dweight(cuda_device *device, const cuda_conv_spec *s, const void *x, const void *dy, float *dweight, bool accumulate, void *workspace)
{
    int n_chunks;
    dweight_call d = call_for(device, s, &n_chunks);
    d.x = x;
    d.dy = dy;
    d.partial = (float *)workspace;
    CUDA_FOR_HALF(s->type, {
        CUDA_TRY(AC_LAUNCH((dweight_kernel<T>), dim3((unsigned)(d.taps * d.o_tiles * d.c_tiles), (unsigned)n_chunks), dim3(THREADS), 0, device->stream, d));
    });
    return AC_LAUNCH(chunks_kernel, cuda_blocks(n_weights(s)), dim3(CUDA_BLOCK), 0, device->stream, (const float *)workspace, n_chunks, dweight, accumulate, n_weights(s));
}
