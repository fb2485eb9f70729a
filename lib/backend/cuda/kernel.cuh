/* What kernels share: the launch, element types, vectors of 16 bytes, the geometry of passes over [rows, channels]. The only
 * place that knows whether nvcc or the emulation in tests/cuda_host compiles them. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_KERNEL_CUH
#define ANYCLASS_LIB_BACKEND_CUDA_KERNEL_CUH

#include "backend/cuda/cuda.h"

#include "anyclass/activation_formula.h"

#ifdef AC_CUDA_EMULATED
#include "tests/cuda_host/emulate.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

template <typename... P, typename... A>
static inline ac_status cuda_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A... arguments)
{
    if (shared > 48 << 10)
        CUDA_TRY(cuda_check(cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared), name));
    kernel<<<grid, block, shared, stream>>>(static_cast<P>(arguments)...);
    return cuda_launched(name);
}
/* AC_LAUNCH((kernel<T>), grid, block, shared bytes, stream, arguments...) is an ac_status */
#define AC_LAUNCH(kernel, ...) cuda_launch(#kernel, kernel, __VA_ARGS__)
#define AC_DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) unsigned char name##_bytes[]; type *name = reinterpret_cast<type *>(name##_bytes)
#endif

struct bf16 {
    uint16_t bits;
};

struct f16 {
    uint16_t bits;
};

__host__ __device__ static inline float to_float(float v)
{
    return v;
}

__host__ __device__ static inline float to_float(bf16 v)
{
    return ac_float_from_bf16(v.bits);
}

__host__ __device__ static inline float to_float(f16 v)
{
#ifdef __CUDA_ARCH__
    return __half2float(__ushort_as_half(v.bits));
#else
    return ac_float_from_f16(v.bits);
#endif
}

template <typename T> __host__ __device__ static inline T from_float(float v);

template <> __host__ __device__ inline float from_float<float>(float v)
{
    return v;
}

template <> __host__ __device__ inline bf16 from_float<bf16>(float v)
{
    bf16 out;
#ifdef __CUDA_ARCH__
    out.bits = __bfloat16_as_ushort(__float2bfloat16_rn(v));
#else
    out.bits = ac_bf16_from_float(v);
#endif
    return out;
}

template <> __host__ __device__ inline f16 from_float<f16>(float v)
{
    f16 out;
#ifdef __CUDA_ARCH__
    out.bits = __half_as_ushort(__float2half_rn(v));
#else
    out.bits = ac_f16_from_float(v);
#endif
    return out;
}

/* GELU and its slope of what is rounded to T afterwards: for types of two bytes with the device's own exponential and quotient, whose errors of some 1e-6 vanish in the rounding. */
__device__ static inline float quick_tail(float t, float *e)
{
    *e = __expf(-0.5f * (t * t));
    float p = ((0.0144404052f * t + 0.108621731f) * t + 0.3432073f) * t + 0.5f;
    float q = (((0.0362062939f * t + 0.271928728f) * t + 0.901564837f) * t + 1.48429751f) * t + 1.0f;
    return *e * __fdividef(p, q);
}

template <typename T> __device__ static inline float gelu_of(float x)
{
    if (sizeof(T) == 4)
        return ac_gelu(x);
    float t = ac_normal_argument(x), e, tail = quick_tail(t, &e);
    return (x > 0 ? x : 0.0f) - t * tail;
}

template <typename T> __device__ static inline float gelu_slope_of(float x)
{
    if (sizeof(T) == 4)
        return ac_gelu_slope(x);
    float t = ac_normal_argument(x), e, tail = quick_tail(t, &e), left = tail - t * (e * 0.398942280f);
    return x > 0 ? 1.0f - left : left;
}

/* N neighbours, read and written at once. */
template <typename T, int N> struct alignas(sizeof(T) * N) pack {
    T v[N];
};

template <typename T, int N> __device__ static inline pack<T, N> load(const T *from, int64_t at)
{
    return *reinterpret_cast<const pack<T, N> *>(from + at);
}

template <typename T, int N> __device__ static inline void store(T *to, int64_t at, const pack<T, N> &value)
{
    *reinterpret_cast<pack<T, N> *>(to + at) = value;
}

/* The same as it lies in memory, made floats where it is used: elements of two bytes that are taken apart as soon as they are read fill a register each. */
template <typename T, int N, bool IN_WORDS = (N * sizeof(T) >= 4)> struct alignas(sizeof(T) * N < 4 ? 4 : sizeof(T) * N) raw {
    uint32_t word[N * sizeof(T) / 4];
};

template <typename T, int N> struct raw<T, N, false> {
    T v[N];
};

__host__ __device__ static inline float float_of_bits(uint32_t bits)
{
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
#endif
}

__host__ __device__ static inline uint32_t bits_of_float(float v)
{
#ifdef __CUDA_ARCH__
    return __float_as_uint(v);
#else
    uint32_t out;
    memcpy(&out, &v, sizeof out);
    return out;
#endif
}

/* Element k of two in a word, the first in its lower half. */
__device__ static inline float half_of_word(uint32_t word, int k, bf16)
{
    return float_of_bits(k ? word & 0xffff0000u : word << 16);
}

__device__ static inline float half_of_word(uint32_t word, int k, f16)
{
    f16 v = {(uint16_t)(k ? word >> 16 : word)};
    return to_float(v);
}

__device__ static inline uint32_t word_of_halves(float first, float second, bf16)
{
#ifdef __CUDA_ARCH__
    __nv_bfloat162 v = __floats2bfloat162_rn(first, second);
    return *reinterpret_cast<uint32_t *>(&v);
#else
    return ac_bf16_from_float(first) | (uint32_t)ac_bf16_from_float(second) << 16;
#endif
}

__device__ static inline uint32_t word_of_halves(float first, float second, f16)
{
#ifdef __CUDA_ARCH__
    __half2 v = __floats2half2_rn(first, second);
    return *reinterpret_cast<uint32_t *>(&v);
#else
    return ac_f16_from_float(first) | (uint32_t)ac_f16_from_float(second) << 16;
#endif
}

template <typename T, int N> __device__ static inline raw<T, N> load_raw(const T *from, int64_t at)
{
    return *reinterpret_cast<const raw<T, N> *>(from + at);
}

template <typename T, int N> __device__ static inline float float_at(const raw<T, N, true> &r, int k)
{
    if constexpr (sizeof(T) == 4)
        return float_of_bits(r.word[k]);
    else
        return half_of_word(r.word[k / 2], k % 2, T{});
}

template <typename T, int N> __device__ static inline float float_at(const raw<T, N, false> &r, int k)
{
    return to_float(r.v[k]);
}

template <typename T> struct widest {
    static constexpr int n = 16 / sizeof(T); /* elements of a vector */
};

/* The statement with T the one of the two types of 16 bits. */
#define CUDA_FOR_HALF(dtype, ...)                                                                                     \
    do {                                                                                                              \
        if ((dtype) == AC_BF16) {                                                                                     \
            typedef bf16 T;                                                                                           \
            __VA_ARGS__;                                                                                              \
        } else {                                                                                                      \
            typedef f16 T;                                                                                            \
            __VA_ARGS__;                                                                                              \
        }                                                                                                             \
    } while (0)

/* The statement with T the type of activations. */
#define CUDA_FOR_TYPE(dtype, ...)                                                                                     \
    do {                                                                                                              \
        if (cuda_is_half(dtype)) {                                                                                    \
            CUDA_FOR_HALF(dtype, __VA_ARGS__);                                                                        \
        } else {                                                                                                      \
            typedef float T;                                                                                          \
            __VA_ARGS__;                                                                                              \
        }                                                                                                             \
    } while (0)

/* Parts of a gradient; their sum counts. */
template <typename T> struct gradient_parts {
    const T *part[AC_MAX_DOUT];
    int n;
};

template <typename T> static inline gradient_parts<T> parts_of(const ac_call *call)
{
    gradient_parts<T> parts;
    parts.n = call->n_doutput;
    for (int k = 0; k < AC_MAX_DOUT; k++)
        parts.part[k] = k < call->n_doutput ? (const T *)call->doutput[k] : nullptr;
    return parts;
}

/* The sum of the parts at element `at`. */
template <typename T, int VEC> __device__ static inline void load_parts(const gradient_parts<T> &parts, int64_t at, float *out /* [VEC] */)
{
    raw<T, VEC> d = load_raw<T, VEC>(parts.part[0], at), second = {}, third = {};
    if (parts.n > 1)
        second = load_raw<T, VEC>(parts.part[1], at);
    if (parts.n > 2)
        third = load_raw<T, VEC>(parts.part[2], at);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        out[k] = float_at<T, VEC>(d, k) + (parts.n > 1 ? float_at<T, VEC>(second, k) : 0.0f) + (parts.n > 2 ? float_at<T, VEC>(third, k) : 0.0f);
}

template <typename T, int VEC> __device__ static inline void load_floats(const T *from, int64_t at, float *out /* [VEC] */)
{
    raw<T, VEC> v = load_raw<T, VEC>(from, at);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        out[k] = float_at<T, VEC>(v, k);
}

template <typename T, int VEC> __device__ static inline void store_floats(T *to, int64_t at, const float *values /* [VEC] */)
{
    raw<T, VEC> v;
    if constexpr (VEC * sizeof(T) < 4) {
#pragma unroll
        for (int k = 0; k < VEC; k++)
            v.v[k] = from_float<T>(values[k]);
    } else if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int k = 0; k < VEC; k++)
            v.word[k] = bits_of_float(values[k]);
    } else {
#pragma unroll
        for (int k = 0; k < VEC / 2; k++)
            v.word[k] = word_of_halves(values[2 * k], values[2 * k + 1], T{});
    }
    *reinterpret_cast<raw<T, VEC> *>(to + at) = v;
}

/* The statement with T the type of activations, VEC the vector that `channels` allow. */
#define CUDA_FOR_TYPE_AND_WIDTH(dtype, channels, ...)                                                                 \
    CUDA_FOR_TYPE(dtype, {                                                                                            \
        if ((channels) % widest<T>::n == 0) {                                                                         \
            constexpr int VEC = widest<T>::n;                                                                         \
            __VA_ARGS__;                                                                                              \
        } else if ((channels) % 4 == 0) {                                                                             \
            constexpr int VEC = 4;                                                                                    \
            __VA_ARGS__;                                                                                              \
        } else {                                                                                                      \
            constexpr int VEC = 1;                                                                                    \
            __VA_ARGS__;                                                                                              \
        }                                                                                                             \
    })

static inline int cuda_width(ac_dtype dtype, int64_t channels)
{
    int n = cuda_is_half(dtype) ? widest<bf16>::n : widest<float>::n;
    return channels % n == 0 ? n : channels % 4 == 0 ? 4 : 1;
}

enum { CUDA_BLOCK = 256 };

/* Blocks of CUDA_BLOCK threads that give every one of n items a thread. */
static inline dim3 cuda_blocks(int64_t n)
{
    return dim3((unsigned)((n + CUDA_BLOCK - 1) / CUDA_BLOCK), 1, 1);
}

__device__ static inline int64_t thread_index()
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* How many threads of a block lie side by side: as many as there are vectors in a row, or, of many, an even number that divides them up with little left over. */
static inline unsigned columns_of_block(int n_vectors)
{
    int across = (n_vectors + 63) / 64, columns = (n_vectors + across - 1) / across;
    return (unsigned)(across > 1 ? (columns + 1) / 2 * 2 : columns);
}

/* How a tensor [rows, channels] is divided: a block has threads (tx, ty), CUDA_BLOCK at most, each column of threads a vector of channels, and goes
 * down tile_rows rows. Depends on shape and device alone, so sums over tiles do too. */
struct row_grid {
    int64_t rows, tile_rows;
    int channels, n_vectors; /* vectors in a row */
    int n_tiles;
    dim3 grid, block;
};

/* As many as a multiprocessor holds: with more, each block's beginning and end, and the tiles' partial sums, weigh more. */
enum { BLOCKS_AT_A_TIME = 4 };

static inline row_grid make_row_grid(const cuda_device *device, int64_t rows, int64_t channels, int width)
{
    row_grid g;
    g.rows = rows;
    g.channels = (int)channels;
    g.n_vectors = (int)(channels / width);
    unsigned tx = columns_of_block(g.n_vectors);
    g.block = dim3(tx, CUDA_BLOCK / tx, 1);
    int64_t across = (g.n_vectors + tx - 1) / tx, wanted = (int64_t)device->n_multiprocessors * BLOCKS_AT_A_TIME / across;
    wanted = wanted < 1 ? 1 : wanted > (int64_t)CUDA_N_PARTIALS ? (int64_t)CUDA_N_PARTIALS : wanted;
    g.tile_rows = (rows + wanted - 1) / wanted;
    g.tile_rows = (g.tile_rows + g.block.y - 1) / g.block.y * g.block.y;
    g.n_tiles = (int)((rows + g.tile_rows - 1) / g.tile_rows);
    g.grid = dim3((unsigned)across, (unsigned)g.n_tiles, 1);
    return g;
}

/* Sum over threadIdx.y of `value`, for each threadIdx.x, in a fixed order; blockDim.y is a power of two. All threads call it and
 * all get the sum. */
__device__ static inline double sum_over_y(double value, double *shared /* [threads] */)
{
    unsigned at = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
    shared[at] = value;
    for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half)
            shared[at] += shared[at + half * blockDim.x];
    }
    __syncthreads();
    return shared[threadIdx.x];
}

enum { CUDA_MOST_COLUMNS = 64 }; /* of columns_of_block() */

/* Sums over threadIdx.y of COUNT floats of each thread, in double and in a fixed order. write(k, x, sum) is called once for each k and threadIdx.x, by some
 * thread. */
template <int COUNT, typename Write> __device__ static inline void sum_columns(const float *values /* [COUNT] */, float *shared /* [COUNT * CUDA_BLOCK] */, Write write)
{
    unsigned me = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < COUNT; k++)
        shared[k * CUDA_BLOCK + me] = values[k];
    __syncthreads();
    for (unsigned i = me; i < COUNT * blockDim.x; i += blockDim.x * blockDim.y) {
        unsigned k = i / blockDim.x, x = i % blockDim.x;
        double sum = 0;
        for (unsigned y = 0; y < blockDim.y; y++)
            sum += (double)shared[k * CUDA_BLOCK + y * blockDim.x + x];
        write((int)k, (int)x, sum);
    }
}

__device__ static inline float warp_sum(float v)
{
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, mask);
    return v;
}

#endif
