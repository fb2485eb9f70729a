/* Convolution as the product [pixels, taps c] x [taps c, o] by tensor cores, its first factor read where it lies. A block has 128 output pixels and all or 96 of the output
 * channels; (tap, channel) come 32 at a time through a ring in shared memory. dx of stride 1 is the same with the weights turned. */
#include "backend/cuda/conv_tile.h"
#include "backend/cuda/copy_async.cuh"
#include "backend/cuda/tensor_core.cuh"

enum { PIXELS = 128, DEPTH = 32, STAGES = 4, THREADS = 256, PAD = 8, STRIDE = DEPTH + PAD, VEC = 4 /* channels of a copy */, PACKS = DEPTH / VEC, ROWS = PIXELS * PACKS / THREADS };

struct conv_call {
    const void *x, *weight; /* [n, h, w, c], [o, taps, c] */
    void *y;                /* [n, oh, ow, o] */
    int h, w, c, o, oh, ow, kernel, stride, padding, pixels, depth; /* depth: taps c */
};

/* Which of a window's places, from `first` on, lie in 0 .. size - 1: a bit each. */
__device__ static inline uint32_t places_inside(int first, int size, int kernel)
{
    uint32_t bits = 0;
    for (int k = 0; k < kernel; k++)
        bits |= (uint32_t)(first + k >= 0 && first + k < size) << k;
    return bits;
}

/* TILE output channels, blockIdx.y. Of the 8 warps four lie one above the other over the pixels, two side by side: 32 x TILE / 2 each. */
template <typename T, int TILE> __global__ void __launch_bounds__(THREADS, 2) conv_kernel(conv_call d)
{
    constexpr int X_STAGE = PIXELS * STRIDE, W_STAGE = TILE * STRIDE, COLUMN_TILES = TILE / 16;
    AC_DYNAMIC_SHARED(T, shared);
    T *x_ring = shared, *w_ring = shared + STAGES * X_STAGE;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, row0 = warp / 2 * 32, column0 = warp % 2 * (TILE / 2);
    const int pixel0 = (int)blockIdx.x * PIXELS, o0 = (int)blockIdx.y * TILE, n_steps = (d.depth + DEPTH - 1) / DEPTH;
    const int pack_at = (int)threadIdx.x % PACKS * VEC, row = (int)threadIdx.x / PACKS;
    int corner[ROWS];      /* of the thread's pixels: element at the window's corner, which may lie outside the image */
    uint32_t inside[ROWS]; /* bit y: row y of the window is in the image; bit 16 + x: column x is */
    int channel = pack_at % d.c, tap_x = pack_at / d.c % d.kernel, tap_y = pack_at / d.c / d.kernel, depth = pack_at; /* of the pack fetched next */
    float sum[2][COLUMN_TILES][4] = {};
#pragma unroll
    for (int k = 0; k < ROWS; k++) {
        int p = pixel0 + row + k * (THREADS / PACKS), line = p / d.ow, left = p % d.ow * d.stride - d.padding, top = line % d.oh * d.stride - d.padding;
        corner[k] = ((line / d.oh * d.h + top) * d.w + left) * d.c;
        inside[k] = p < d.pixels ? places_inside(top, d.h, d.kernel) | places_inside(left, d.w, d.kernel) << 16 : 0;
    }
    auto fetch = [&](int step) { /* for step 0, 1, 2, ... in order: the pack moves on */
        T *x_to = x_ring + step % STAGES * X_STAGE, *w_to = w_ring + step % STAGES * W_STAGE;
        bool in_depth = depth < d.depth;
        int from_corner = (tap_y * d.w + tap_x) * d.c + channel;
#pragma unroll
        for (int k = 0; k < ROWS; k++) {
            bool there = in_depth && (inside[k] >> tap_y & inside[k] >> (16 + tap_x) & 1u);
            copy_async_of<2 * VEC>(x_to + (row + k * (THREADS / PACKS)) * STRIDE + pack_at, (const T *)d.x + (there ? corner[k] + from_corner : 0), there);
        }
        for (int o = row; o < TILE; o += THREADS / PACKS) {
            bool there = in_depth && o0 + o < d.o;
            copy_async_of<2 * VEC>(w_to + o * STRIDE + pack_at, (const T *)d.weight + (there ? (o0 + o) * d.depth + depth : 0), there);
        }
        depth += DEPTH;
        for (channel += DEPTH; channel >= d.c; channel -= d.c)
            if (++tap_x == d.kernel) {
                tap_x = 0;
                tap_y++;
            }
    };
    for (int step = 0; step < STAGES - 1; step++) {
        if (step < n_steps)
            fetch(step);
        copies_commit();
    }
    for (int step = 0; step < n_steps; step++) {
        copies_wait<STAGES - 2>();
        __syncthreads(); /* all have this step's, and are done with the one whose place is taken next */
        if (step + STAGES - 1 < n_steps)
            fetch(step + STAGES - 1);
        copies_commit();
        const T *x_tile = x_ring + step % STAGES * X_STAGE + row0 * STRIDE, *w_tile = w_ring + step % STAGES * W_STAGE + column0 * STRIDE;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 16) {
            uint32_t a[2][4], b[4];
#pragma unroll
            for (int i = 0; i < 2; i++)
                load_a(a[i], x_tile + 16 * i * STRIDE + k, STRIDE, lane);
#pragma unroll
            for (int j = 0; j < COLUMN_TILES; j += 2) {
                bool two = j + 1 < COLUMN_TILES;
                if (two)
                    load_b_transposed(b, w_tile + 8 * j * STRIDE + k, STRIDE, lane);
                else
                    load_b_transposed_alone(b, w_tile + 8 * j * STRIDE + k, STRIDE, lane);
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    multiply_tile<T>(sum[i][j], a[i], b);
                    if (two)
                        multiply_tile<T>(sum[i][j + 1], a[i], b + 2);
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            int p = pixel0 + row0 + 16 * i + lane / 4 + 8 * h;
            if (p >= d.pixels)
                continue;
#pragma unroll
            for (int j = 0; j < COLUMN_TILES; j++) {
                int o = o0 + column0 + 8 * j + lane % 4 * 2;
                if (o < d.o)
                    *(uint32_t *)((T *)d.y + (int64_t)p * d.o + o) = pack_pair<T>(sum[i][j][2 * h], sum[i][j][2 * h + 1]);
            }
        }
}

/* to [c, taps, o] = from [o, taps, c], taps in reverse. */
template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) turn_kernel(const T *from, T *to, int o, int taps, int c)
{
    int i = (int)thread_index();
    if (i >= o * taps * c)
        return;
    to[i] = from[((i % o) * taps + taps - 1 - i / o % taps) * c + i / o / taps];
}

bool cuda_conv_tile_takes(const cuda_conv_spec *s)
{
    bool small = s->n * s->h * s->w * s->c < INT32_MAX / 2 && s->n * s->oh * s->ow * s->o < INT32_MAX / 2 && s->o * s->c * s->kernel * s->kernel < INT32_MAX / 2;
    return cuda_is_half(s->type) && s->groups == 1 && s->o % 4 == 0 && s->c % 4 == 0 && (s->o % 8 != 0 || s->c % 8 != 0) && s->kernel <= 16 && small &&
           (s->pass != CUDA_CONV_DX || (s->stride == 1 && s->padding < s->kernel));
}

size_t cuda_conv_tile_workspace_bytes(const cuda_conv_spec *s)
{
    return s->pass == CUDA_CONV_DX ? cuda_aligned((size_t)(s->o * s->c * s->kernel * s->kernel) * 2) : 0;
}

template <typename T, int TILE> static ac_status launch(cuda_device *device, const conv_call &d)
{
    dim3 grid((unsigned)((d.pixels + PIXELS - 1) / PIXELS), (unsigned)((d.o + TILE - 1) / TILE));
    return AC_LAUNCH((conv_kernel<T, TILE>), grid, dim3(THREADS), sizeof(T) * STAGES * (PIXELS + TILE) * STRIDE, device->stream, d);
}

/* Output channels of a block: the fewest left over, and of those the most. */
template <typename T> static ac_status run(cuda_device *device, const conv_call &d)
{
    static const int tiles[] = {160, 96, 80, 64};
    int best = 0, least = INT_MAX;
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        int computed = (d.o + tiles[i] - 1) / tiles[i] * tiles[i];
        if (computed < least) {
            least = computed;
            best = tiles[i];
        }
    }
    return best == 160 ? launch<T, 160>(device, d) : best == 96 ? launch<T, 96>(device, d) : best == 80 ? launch<T, 80>(device, d) : launch<T, 64>(device, d);
}

ac_status cuda_conv_tile_forward(cuda_device *device, const cuda_conv_spec *s, const void *x, const void *weight, void *y)
{
    conv_call d = {x, weight, y, (int)s->h, (int)s->w, (int)s->c, (int)s->o, (int)s->oh, (int)s->ow, s->kernel, s->stride, s->padding, (int)(s->n * s->oh * s->ow),
                   (int)(s->c * s->kernel * s->kernel)};
    CUDA_FOR_HALF(s->type, { CUDA_TRY(run<T>(device, d)); });
    return AC_OK;
}

ac_status cuda_conv_tile_dx(cuda_device *device, const cuda_conv_spec *s, const void *dy, const void *weight, void *dx, void *workspace)
{
    int taps = s->kernel * s->kernel, o = (int)s->o, c = (int)s->c;
    conv_call d = {dy, workspace, dx, (int)s->oh, (int)s->ow, o, c, (int)s->h, (int)s->w, s->kernel, 1, s->kernel - 1 - s->padding, (int)(s->n * s->h * s->w), o * taps};
    CUDA_FOR_HALF(s->type, {
        CUDA_TRY(AC_LAUNCH((turn_kernel<T>), cuda_blocks((int64_t)o * taps * c), dim3(CUDA_BLOCK), 0, device->stream, (const T *)weight, (T *)workspace, o, taps, c));
        CUDA_TRY(run<T>(device, d));
    });
    return AC_OK;
}
