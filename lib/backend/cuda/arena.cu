/* Passes over whole arenas: sums of gradient parts, the gradient's norm, the optimiser's update, changes of type. */
#include "backend/cuda/kernel.cuh"

template <typename T, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) add_kernel(T *to, const T *from, int64_t n)
{
    int64_t i = thread_index() * VEC;
    if (i >= n)
        return;
    pack<T, VEC> a = load<T, VEC>(to, i), b = load<T, VEC>(from, i);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        a.v[k] = from_float<T>(to_float(a.v[k]) + to_float(b.v[k]));
    store<T, VEC>(to, i, a);
}

extern "C" ac_status cuda_add(ac_device *device, ac_dtype dtype, void *to, const void *from, size_t n)
{
    CUDA_TRY(cuda_check_precision(device, dtype));
    if (n == 0)
        return AC_OK;
    CUDA_FOR_TYPE_AND_WIDTH(dtype, (int64_t)n, {
        CUDA_TRY(AC_LAUNCH((add_kernel<T, VEC>), cuda_blocks((int64_t)n / VEC), dim3(CUDA_BLOCK), 0, cuda_of(device)->stream, (T *)to, (const T *)from, (int64_t)n));
    });
    return AC_OK;
}

/* to = sum of up to three parts; added in float, rounded once. */
template <typename T, int VEC>
__global__ void __launch_bounds__(CUDA_BLOCK) sum_parts_kernel(T *to, const T *a, const T *b, const T *c, int64_t n)
{
    int64_t i = thread_index() * VEC;
    if (i >= n)
        return;
    pack<T, VEC> x = load<T, VEC>(a, i), y = load<T, VEC>(b, i), z;
    if (c)
        z = load<T, VEC>(c, i);
#pragma unroll
    for (int k = 0; k < VEC; k++)
        x.v[k] = from_float<T>(to_float(x.v[k]) + to_float(y.v[k]) + (c ? to_float(z.v[k]) : 0.0f));
    store<T, VEC>(to, i, x);
}

extern "C" ac_status cuda_sum_parts(cuda_device *device, ac_dtype dtype, const void *const *part, int n_parts, void *to, size_t n, const void **out)
{
    *out = part[0];
    if (n_parts < 2 || n == 0)
        return AC_OK;
    *out = to;
    CUDA_FOR_TYPE_AND_WIDTH(dtype, (int64_t)n, {
        CUDA_TRY(AC_LAUNCH((sum_parts_kernel<T, VEC>), cuda_blocks((int64_t)n / VEC), dim3(CUDA_BLOCK), 0, device->stream, (T *)to, (const T *)part[0],
                           (const T *)part[1], n_parts > 2 ? (const T *)part[2] : (const T *)nullptr, (int64_t)n));
    });
    return AC_OK;
}

/* Block b sums piece b; then one block sums the pieces. */
__global__ void __launch_bounds__(CUDA_BLOCK) squares_kernel(const float *values, int64_t n, int64_t piece, double *partial)
{
    __shared__ double shared[CUDA_BLOCK];
    int64_t first = blockIdx.x * piece, end = first + piece < n ? first + piece : n;
    double sum = 0;
    for (int64_t i = first + threadIdx.y * 4; i < end; i += CUDA_BLOCK * 4)
        if (i + 4 <= end) {
            pack<float, 4> v = load<float, 4>(values, i);
            sum += (double)v.v[0] * v.v[0] + (double)v.v[1] * v.v[1] + (double)v.v[2] * v.v[2] + (double)v.v[3] * v.v[3];
        } else {
            for (int64_t k = i; k < end; k++)
                sum += (double)values[k] * values[k];
        }
    sum = sum_over_y(sum, shared);
    if (threadIdx.y == 0)
        partial[blockIdx.x] = sum;
}

/* ac_optimizer_terms in float, and whether there is an update at all. */
struct update_terms {
    int update;
    float scale, rate, weight_decay, momentum, decay, rest1, beta2, rest2, rate_1, root_2, epsilon;
};

/* The sum of all pieces, and what becomes of the step: one block, its first thread decides. */
__global__ void __launch_bounds__(CUDA_BLOCK) decide_kernel(ac_optimizer_update u, const double *partial, int n, update_terms *out)
{
    __shared__ double shared[CUDA_BLOCK];
    double sum = 0;
    for (int i = (int)threadIdx.y; i < n; i += CUDA_BLOCK)
        sum += partial[i];
    sum = sum_over_y(sum, shared);
    if (threadIdx.y > 0)
        return;
    ac_optimizer_terms d;
    memset(&d, 0, sizeof d);
    out->update = ac_optimizer_decide(&u, sum, u.state, &d);
    out->scale = (float)d.scale;
    out->rate = (float)d.rate;
    out->weight_decay = (float)d.weight_decay;
    out->momentum = (float)d.momentum;
    out->decay = (float)d.decay;
    out->rest1 = (float)d.rest1;
    out->beta2 = (float)d.beta2;
    out->rest2 = (float)d.rest2;
    out->rate_1 = (float)d.rate_1;
    out->root_2 = (float)d.root_2;
    out->epsilon = (float)d.epsilon;
}

template <int KIND>
__global__ void __launch_bounds__(CUDA_BLOCK)
update_kernel(const update_terms *terms, float *value, const float *gradient, float *moment0, float *moment1, int64_t n)
{
    int64_t i = thread_index() * 4;
    const update_terms t = *terms;
    if (i >= n || !t.update)
        return;
    pack<float, 4> w = load<float, 4>(value, i), g = load<float, 4>(gradient, i), m = load<float, 4>(moment0, i), v;
    if (KIND == AC_OPTIMIZER_SGD) {
#pragma unroll
        for (int k = 0; k < 4; k++)
            w.v[k] = ac_sgd_update_float(w.v[k], t.scale * g.v[k], &m.v[k], t.rate, t.weight_decay, t.momentum);
    } else {
        v = load<float, 4>(moment1, i);
#pragma unroll
        for (int k = 0; k < 4; k++)
            w.v[k] = ac_adamw_update_float(w.v[k], t.scale * g.v[k], &m.v[k], &v.v[k], t.decay, t.rest1, t.beta2, t.rest2, t.rate_1, t.root_2, t.epsilon);
        store<float, 4>(moment1, i, v);
    }
    store<float, 4>(value, i, w);
    store<float, 4>(moment0, i, m);
}

/* The arenas' lengths are multiples of AC_PARAM_ALIGN. */
extern "C" ac_status cuda_optimizer_step(ac_device *base, const ac_optimizer_update *u)
{
    cuda_device *device = cuda_of(base);
    int64_t n = (int64_t)u->n, piece = (n + CUDA_N_PARTIALS - 1) / CUDA_N_PARTIALS;
    double *partial = (double *)device->scratch;
    update_terms *terms = (update_terms *)(partial + CUDA_N_PARTIALS);
    if (n % 4)
        return ac_error(AC_ERR_RANGE, "an arena of %zu floats", u->n);
    piece = (piece + 3) / 4 * 4;
    CUDA_TRY(AC_LAUNCH(squares_kernel, dim3(CUDA_N_PARTIALS), dim3(1, CUDA_BLOCK), 0, device->stream, u->gradient, n, piece, partial));
    CUDA_TRY(AC_LAUNCH(decide_kernel, dim3(1), dim3(1, CUDA_BLOCK), 0, device->stream, *u, (const double *)partial, (int)CUDA_N_PARTIALS, terms));
    if (n == 0)
        return AC_OK;
    if (u->kind == AC_OPTIMIZER_SGD)
        return AC_LAUNCH((update_kernel<AC_OPTIMIZER_SGD>), cuda_blocks(n / 4), dim3(CUDA_BLOCK), 0, device->stream, (const update_terms *)terms, u->value, u->gradient,
                         u->moment[0], u->moment[1], n);
    return AC_LAUNCH((update_kernel<AC_OPTIMIZER_ADAMW>), cuda_blocks(n / 4), dim3(CUDA_BLOCK), 0, device->stream, (const update_terms *)terms, u->value, u->gradient,
                     u->moment[0], u->moment[1], n);
}

__global__ void add_loss_kernel(ac_step_state *state, const double *loss, bool first)
{
    state->loss = *loss + (first ? 0 : state->loss);
}

extern "C" ac_status cuda_add_loss(ac_device *base, ac_step_state *state, const double *loss, bool first)
{
    return AC_LAUNCH(add_loss_kernel, dim3(1), dim3(1), 0, cuda_of(base)->stream, state, loss, first);
}

template <typename To, typename From, int VEC> __global__ void __launch_bounds__(CUDA_BLOCK) convert_kernel(To *to, const From *from, int64_t n)
{
    int64_t i = thread_index() * VEC;
    if (i >= n)
        return;
    pack<From, VEC> a = load<From, VEC>(from, i);
    pack<To, VEC> b;
#pragma unroll
    for (int k = 0; k < VEC; k++)
        b.v[k] = from_float<To>(to_float(a.v[k]));
    store<To, VEC>(to, i, b);
}

template <typename To, typename From> static ac_status convert(cuda_device *device, void *to, const void *from, int64_t n)
{
    if (n % 4 == 0)
        return AC_LAUNCH((convert_kernel<To, From, 4>), cuda_blocks(n / 4), dim3(CUDA_BLOCK), 0, device->stream, (To *)to, (const From *)from, n);
    return AC_LAUNCH((convert_kernel<To, From, 1>), cuda_blocks(n), dim3(CUDA_BLOCK), 0, device->stream, (To *)to, (const From *)from, n);
}

extern "C" ac_status cuda_convert(cuda_device *device, ac_dtype to_type, void *to, ac_dtype from_type, const void *from, size_t n)
{
    if (n == 0)
        return AC_OK;
    if (from_type == AC_F32)
        CUDA_FOR_TYPE(to_type, return (convert<T, float>(device, to, from, (int64_t)n)));
    if (to_type == AC_F32)
        CUDA_FOR_HALF(from_type, return (convert<float, T>(device, to, from, (int64_t)n)));
    return ac_error(AC_ERR_UNSUPPORTED, "no conversion from %s to %s", ac_dtype_name(from_type), ac_dtype_name(to_type));
}

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) round_kernel(float *to, const float *from, int64_t n)
{
    int64_t i = thread_index();
    if (i < n)
        to[i] = to_float(from_float<T>(from[i]));
}

extern "C" ac_status cuda_round(cuda_device *device, ac_dtype dtype, float *to, const float *from, size_t n)
{
    if (n == 0)
        return AC_OK;
    CUDA_FOR_HALF(dtype, return AC_LAUNCH((round_kernel<T>), cuda_blocks((int64_t)n), dim3(CUDA_BLOCK), 0, device->stream, to, from, (int64_t)n));
}

template <typename T> __global__ void __launch_bounds__(CUDA_BLOCK) put_gradient_kernel(float *to, const T *from, int64_t n, bool accumulate)
{
    int64_t i = thread_index();
    if (i < n)
        to[i] = to_float(from[i]) + (accumulate ? to[i] : 0.0f);
}

extern "C" ac_status cuda_put_gradient(cuda_device *device, float *to, ac_dtype dtype, const void *from, size_t n, bool accumulate)
{
    if (n == 0)
        return AC_OK;
    CUDA_FOR_TYPE(dtype, {
        CUDA_TRY(AC_LAUNCH((put_gradient_kernel<T>), cuda_blocks((int64_t)n), dim3(CUDA_BLOCK), 0, device->stream, to, (const T *)from, (int64_t)n, accumulate));
    });
    return AC_OK;
}

extern "C" ac_status cuda_mirror(ac_device *device, ac_dtype type, void *to, const float *from, size_t n)
{
    return cuda_convert(cuda_of(device), type, to, AC_F32, from, n);
}
