/* Products of small tiles by tensor cores: d [16, 8] += a [16, 16] b [16, 8], T (bf16 or f16) in, float sums. Each instruction once for the device and once by its definition,
 * which the emulation runs. With g = lane / 4 and t = lane % 4 a lane holds
 *   a[0] (row g, columns 2t, 2t + 1), a[1] (row g + 8), a[2] (row g, columns + 8), a[3] (row g + 8, columns + 8)
 *   b[0] (rows 2t, 2t + 1, column g), b[1] (rows + 8)
 *   d[0], d[1] (row g, columns 2t, 2t + 1), d[2], d[3] (row g + 8). */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_TENSOR_CORE_CUH
#define ANYCLASS_LIB_BACKEND_CUDA_TENSOR_CORE_CUH

#include "backend/cuda/kernel.cuh"

/* Two floats as T, the first in the low half. */
template <typename T> __device__ static inline uint32_t pack_pair(float low, float high)
{
    return (uint32_t)from_float<T>(low).bits | (uint32_t)from_float<T>(high).bits << 16;
}

#ifdef AC_CUDA_EMULATED
template <typename T> __device__ static inline float float_of(uint32_t bits)
{
    T value;
    value.bits = (uint16_t)bits;
    return to_float(value);
}

template <typename T> __device__ static inline void multiply_tile(float *d /* [4] */, const uint32_t *a /* [4] */, const uint32_t *b /* [2] */)
{
    uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    unsigned lane = emulated::lane(), g = lane / 4, t = lane % 4;
    memcpy(emulated::slot(lane), mine, sizeof mine);
    emulated::warp_barrier();
    float x[2][16], y[2][16]; /* two rows of a, two columns of b */
    for (unsigned q = 0; q < 4; q++) {
        uint32_t row[6], column[2][6];
        memcpy(row, emulated::slot(4 * g + q), sizeof row);
        for (unsigned n = 0; n < 2; n++)
            memcpy(column[n], emulated::slot(4 * (2 * t + n) + q), sizeof column[n]);
        for (unsigned i = 0; i < 8; i++) { /* row or column, half, which of two neighbours */
            unsigned n = i / 4, high = i / 2 % 2, at = 8 * high + 2 * q + i % 2;
            x[n][at] = float_of<T>(row[n + 2 * high] >> i % 2 * 16);
            y[n][at] = float_of<T>(column[n][4 + high] >> i % 2 * 16);
        }
    }
    for (unsigned k = 0; k < 16; k++)
        for (unsigned i = 0; i < 4; i++)
            d[i] += x[i / 2][k] * y[i % 2][k];
    emulated::warp_barrier();
}

template <bool TRANSPOSED, typename T> __device__ static inline void load_tiles(uint32_t *out /* [4] */, const T *row)
{
    unsigned lane = emulated::lane(), g = lane / 4, t = lane % 4;
    const T *from[2];
    memcpy(emulated::slot(lane), &row, sizeof row);
    emulated::warp_barrier();
    for (unsigned m = 0; m < 4; m++) {
        for (unsigned k = 0; k < 2; k++)
            memcpy(&from[k], emulated::slot(8 * m + (TRANSPOSED ? 2 * t + k : g)), sizeof from[k]);
        out[m] = TRANSPOSED ? (uint32_t)from[0][g].bits | (uint32_t)from[1][g].bits << 16 : (uint32_t)from[0][2 * t].bits | (uint32_t)from[0][2 * t + 1].bits << 16;
        if ((uintptr_t)from[0] % 16)
            out[m] = 0x7FFF7FFFu; /* the device would stop: rows begin at multiples of 16 bytes */
    }
    emulated::warp_barrier();
}
#else
template <typename T> __device__ static inline void multiply_tile(float *d, const uint32_t *a, const uint32_t *b);

template <> __device__ inline void multiply_tile<bf16>(float *d, const uint32_t *a, const uint32_t *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <> __device__ inline void multiply_tile<f16>(float *d, const uint32_t *a, const uint32_t *b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four tiles of 8 x 8: lane l names the row l % 8 of tile l / 8, which begins at a multiple of 16 bytes in shared memory. */
template <bool TRANSPOSED, typename T> __device__ static inline void load_tiles(uint32_t *out, const T *row)
{
    uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(at) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(at) : "memory");
}
#endif

/* a from rows: from[m][k], rows `stride` elements apart. */
template <typename T> __device__ static inline void load_a(uint32_t *a, const T *from, int stride, int lane)
{
    load_tiles<false>(a, from + (lane % 16) * stride + lane / 16 * 8);
}

/* a from its transpose: from[k][m]. */
template <typename T> __device__ static inline void load_a_transposed(uint32_t *a, const T *from, int stride, int lane)
{
    load_tiles<true>(a, from + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8);
}

/* b of two neighbouring products, columns 0 .. 7 and 8 .. 15, from their transpose: from[n][k]. out[0], out[1]; out[2], out[3]. */
template <typename T> __device__ static inline void load_b_transposed(uint32_t *out, const T *from, int stride, int lane)
{
    load_tiles<false>(out, from + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8);
}

/* The first of them alone. */
template <typename T> __device__ static inline void load_b_transposed_alone(uint32_t *out, const T *from, int stride, int lane)
{
    load_tiles<false>(out, from + lane % 8 * stride + lane / 8 % 2 * 8);
}

/* The same from rows: from[k][n]. */
template <typename T> __device__ static inline void load_b(uint32_t *out, const T *from, int stride, int lane)
{
    load_tiles<true>(out, from + (lane % 16) * stride + lane / 16 * 8);
}

#endif
