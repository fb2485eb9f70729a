/* The CPU backend: device, memory, whole-arena passes. */
#define _GNU_SOURCE
#include "backend/cpu/cpu.h"
#include "anyclass/alloc.h"
#include "anyclass/optimizer.h"
#include "anyclass/optimizer_formula.h"
#include "backend/cpu/gemm_tile.h"
#include "backend/loss_kernel.h"
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 15 }; /* elements a thread takes at a time */

ac_status cpu_check(dnnl_status_t result, const char *what)
{
    if (result == dnnl_success)
        return AC_OK;
    if (result == dnnl_out_of_memory)
        return ac_error(AC_ERR_MEMORY, "oneDNN: %s: out of memory", what);
    return ac_error(AC_ERR_UNSUPPORTED, "oneDNN: %s: %s", what, result == dnnl_unimplemented ? "not implemented for this shape" : "refused");
}

static int usable_cores(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    return omp_get_num_procs();
}

static void close_device(ac_device *device)
{
    cpu_device *cpu = (cpu_device *)device;
    if (!cpu)
        return;
    if (cpu->stream)
        dnnl_stream_destroy(cpu->stream);
    if (cpu->engine)
        dnnl_engine_destroy(cpu->engine);
    ac_free(cpu);
}

static ac_status open_device(int n_threads, ac_device **out)
{
    ac_status status = AC_OK;
    cpu_device *cpu = NULL;
    *out = NULL;
    AC_TRY(ac_calloc(1, sizeof *cpu, &cpu));
    cpu->base.backend = &ac_backend_cpu;
    cpu->n_threads = n_threads > 0 ? n_threads : getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : usable_cores();
    cpu->gemm_tile = cpu_gemm_find_tile();
    omp_set_num_threads(cpu->n_threads);
    cpu->bf16_kernel = cpu_bf16_choose();
    AC_TRY(cpu_check(dnnl_engine_create(&cpu->engine, dnnl_cpu, 0), "engine"));
    AC_TRY(cpu_check(dnnl_stream_create(&cpu->stream, cpu->engine, dnnl_stream_default_flags), "stream"));
    *out = &cpu->base;
    return AC_OK;
out:
    if (cpu)
        close_device(&cpu->base);
    return status;
}

static void describe(const ac_device *device, char *out, size_t capacity)
{
    const dnnl_version_t *v = dnnl_version();
    static const struct {
        int isa;
        const char *name;
    } names[] = {{dnnl_cpu_isa_avx512_core_amx, "AMX"}, {dnnl_cpu_isa_avx512_core_bf16, "AVX-512 with bf16"}, {dnnl_cpu_isa_avx512_core, "AVX-512"}, {dnnl_cpu_isa_avx2, "AVX2"}};
    const char *isa = "baseline";
    int level = (int)dnnl_get_effective_cpu_isa();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if ((level & names[i].isa) == names[i].isa) {
            isa = names[i].name;
            break;
        }
    snprintf(out, capacity, "cpu: oneDNN %d.%d.%d (%s), %d threads", v->major, v->minor, v->patch, isa, ((const cpu_device *)device)->n_threads);
}

ac_status cpu_check_precision(const ac_device *device, ac_dtype activations)
{
    (void)device;
    if (activations == AC_F32)
        return AC_OK;
    if (activations != AC_BF16)
        return ac_error(AC_ERR_UNSUPPORTED, "cpu has no activations of type %s", ac_dtype_name(activations));
    if (((int)dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) != dnnl_cpu_isa_avx512_core)
        return ac_error(AC_ERR_UNSUPPORTED, "bf16 needs a processor with AVX-512 (F, BW, VL, DQ), which this one lacks or oneDNN was told not to use");
    return AC_OK;
}

static ac_status allocate(ac_device *device, size_t n_bytes, void **out)
{
    (void)device;
    return ac_calloc(n_bytes, 1, out);
}

static void release(ac_device *device, void *block)
{
    (void)device;
    ac_free(block);
}

static ac_status copy(ac_device *device, void *to, const void *from, size_t n_bytes)
{
    (void)device;
    memcpy(to, from, n_bytes);
    return AC_OK;
}

static ac_status zero(ac_device *device, void *block, size_t n_bytes)
{
    (void)device;
    memset(block, 0, n_bytes);
    return AC_OK;
}

AC_SIMD static void add_range(ac_dtype dtype, void *restrict to, const void *restrict from, int64_t first, int64_t n)
{
    if (dtype == AC_BF16)
        for (int64_t i = first; i < first + n; i++)
            cpu_store(to, i, cpu_load(to, i, true) + cpu_load(from, i, true), true);
    else
        for (int64_t i = first; i < first + n; i++)
            cpu_store(to, i, cpu_load(to, i, false) + cpu_load(from, i, false), false);
}

static ac_status add(ac_device *device, ac_dtype dtype, void *to, const void *from, size_t n)
{
    ac_status status = AC_OK;
    AC_TRY(cpu_check_precision(device, dtype));
#pragma omp parallel for schedule(static)
    for (size_t first = 0; first < n; first += CHUNK)
        add_range(dtype, to, from, (int64_t)first, (int64_t)(n - first < CHUNK ? n - first : CHUNK));
out:
    return status;
}

AC_SIMD static double squares_of(const float *values, size_t n)
{
    enum { LANES = 16 };
    double lane[LANES] = {0}, sum = 0;
    for (; n >= LANES; n -= LANES, values += LANES)
        for (int k = 0; k < LANES; k++)
            lane[k] += (double)values[k] * (double)values[k];
    for (size_t i = 0; i < n; i++)
        lane[i] += (double)values[i] * (double)values[i];
    for (int k = 0; k < LANES; k++)
        sum += lane[k];
    return sum;
}

/* Pieces depend on n alone and are added in order, whatever the number of threads. */
static double sum_squares(cpu_device *device, const float *values, size_t n)
{
    double *partial = device->partial, sum = 0;
    size_t piece = (n + CPU_N_PARTIALS - 1) / CPU_N_PARTIALS;
#pragma omp parallel for schedule(static)
    for (size_t k = 0; k < CPU_N_PARTIALS; k++) {
        size_t first = k * piece < n ? k * piece : n;
        partial[k] = squares_of(values + first, n - first < piece ? n - first : piece);
    }
    for (size_t k = 0; k < CPU_N_PARTIALS; k++)
        sum += partial[k];
    return sum;
}

static ac_status optimizer_step(ac_device *device, const ac_optimizer_update *update)
{
    ac_optimizer_terms terms;
    if (!ac_optimizer_decide(update, sum_squares((cpu_device *)device, update->gradient, update->n), update->state, &terms))
        return AC_OK;
#pragma omp parallel for schedule(static)
    for (size_t first = 0; first < update->n; first += CHUNK)
        ac_optimizer_update_range(update, &terms, first, update->n - first < CHUNK ? update->n - first : CHUNK);
    return AC_OK;
}

const ac_kernel ac_cpu_any_class_loss = {.op = &ac_op_any_class_loss, .plan = ac_host_loss_plan, .forward = ac_host_loss_forward, .backward = ac_host_loss_backward};

static const ac_kernel *const kernels[] = {
    &ac_cpu_image_input,
    &ac_cpu_conv2d,
    &ac_cpu_batch_norm,
    &ac_cpu_max_pool,
    &ac_cpu_avg_pool,
    &ac_cpu_global_avg_pool,
    &ac_cpu_blur_pool,
    &ac_cpu_space_to_depth,
    &ac_cpu_squeeze_excite,
    &ac_cpu_linear,
    &ac_cpu_attention,
    &ac_cpu_layer_norm,
    &ac_cpu_add,
    &ac_cpu_dropout,
    &ac_cpu_tokens,
    &ac_cpu_first_token,
    &ac_cpu_any_class_loss,
};

const ac_backend ac_backend_cpu = {
    .name = "cpu",
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .check_precision = cpu_check_precision,
    .allocate = allocate,
    .release = release,
    .upload = copy,
    .download = copy,
    .zero = zero,
    .add = add,
    .add_loss = ac_host_add_loss,
    .optimizer_step = optimizer_step,
};
