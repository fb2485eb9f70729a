/* The CUDA backend: device, memory, the table of kernels. Arithmetic is in the .cu files, libraries behind gemm.c and conv.c. */
#include "anyclass/alloc.h"
#include "backend/backends.h"
#include "backend/cuda/cuda.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ac_status cuda_check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess)
        return AC_OK;
    ac_status status = AC_ERR_NUMERIC;
    if (error == cudaErrorMemoryAllocation)
        status = AC_ERR_MEMORY;
    else if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver || error == cudaErrorInvalidDevice || error == cudaErrorDevicesUnavailable ||
             error == cudaErrorNoKernelImageForDevice || error == cudaErrorStubLibrary)
        status = AC_ERR_UNSUPPORTED;
    return ac_error(status, "CUDA: %s: %s", what, cudaGetErrorString(error));
}

ac_status cuda_launched(const char *kernel)
{
    return cuda_check(cudaGetLastError(), kernel);
}

/* Ranks on one machine take its GPUs in turn, by what the launcher says. */
static int local_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return atoi(value);
    }
    return 0;
}

static void close_device(ac_device *base)
{
    cuda_device *device = cuda_of(base);
    if (!device)
        return;
    cuda_group_leave(base); /* first: sums that will never be made hold up the stream */
    if (device->stream)
        cudaStreamSynchronize(device->stream);
    cuda_libraries_close(device);
    cuda_queue_close(device);
    cudaFree(device->scratch);
    if (device->stream)
        cudaStreamDestroy(device->stream);
    ac_free(device);
}

/* By what the GPU says of itself: its number depends on what CUDA_VISIBLE_DEVICES leaves of them. */
static void note_identity(cuda_device *device, const struct cudaDeviceProp *properties)
{
    static const char zero[sizeof properties->uuid.bytes];
    const size_t n = sizeof properties->uuid.bytes;
    char host[64] = "";
    if (memcmp(properties->uuid.bytes, zero, n) != 0) {
        int used = snprintf(device->identity, sizeof device->identity, "GPU-");
        for (size_t i = 0; i < n; i++)
            used += snprintf(device->identity + used, sizeof device->identity - (size_t)used, "%02x", (unsigned char)properties->uuid.bytes[i]);
        return;
    }
    gethostname(host, sizeof host - 1);
    snprintf(device->identity, sizeof device->identity, "%s %04x:%02x:%02x", host, (unsigned)properties->pciDomainID, (unsigned)properties->pciBusID,
             (unsigned)properties->pciDeviceID);
}

static ac_status choose(cuda_device *device)
{
    ac_status status = AC_OK;
    int n = 0;
    struct cudaDeviceProp properties;
    cudaError_t error = cudaGetDeviceCount(&n);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && n == 0))
        return ac_error(AC_ERR_UNSUPPORTED, "this machine has no NVIDIA GPU that CUDA can use");
    if (error == cudaErrorInsufficientDriver || error == cudaErrorStubLibrary)
        return ac_error(AC_ERR_UNSUPPORTED, "this machine has no NVIDIA GPU that CUDA can use: %s", cudaGetErrorString(error));
    AC_TRY(cuda_check(error, "counting GPUs"));
    device->index = local_rank() % n;
    AC_TRY(cuda_check(cudaSetDevice(device->index), "choice of the GPU"));
    AC_TRY(cuda_check(cudaGetDeviceProperties(&properties, device->index), "properties of the GPU"));
    device->n_multiprocessors = properties.multiProcessorCount;
    device->major = properties.major;
    device->minor = properties.minor;
    device->total_bytes = properties.totalGlobalMem;
    snprintf(device->name, sizeof device->name, "%s", properties.name);
    note_identity(device, &properties);
    if (device->major < 8)
        return ac_error(AC_ERR_UNSUPPORTED, "%s has compute capability %d.%d, needed is 8.0", device->name, device->major, device->minor);
out:
    return status;
}

static ac_status open_device(int n_threads, ac_device **out)
{
    (void)n_threads;
    ac_status status = AC_OK;
    cuda_device *device = NULL;
    *out = NULL;
    AC_TRY(ac_calloc(1, sizeof *device, &device));
    device->base.backend = &ac_backend_cuda;
    AC_TRY(choose(device));
    AC_TRY(cuda_check(cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking), "stream"));
    AC_TRY(cuda_queue_open(device));
    AC_TRY(cuda_check(cudaMalloc(&device->scratch, CUDA_SCRATCH_BYTES), "scratch memory"));
    AC_TRY(cuda_libraries_open(device));
    *out = &device->base;
    return AC_OK;
out:
    if (device)
        close_device(&device->base);
    return status;
}

static void describe(const ac_device *base, char *out, size_t capacity)
{
    const cuda_device *device = (const cuda_device *)base;
    char libraries[128];
    cuda_libraries_describe(device, libraries, sizeof libraries);
    snprintf(out, capacity, "cuda: GPU %d, %s (%d.%d), %d multiprocessors, %.0f GiB, %s%s", device->index, device->name, device->major, device->minor,
             device->n_multiprocessors, (double)device->total_bytes / (1 << 30), libraries, device->tf32 ? ", tf32" : "");
}

ac_status cuda_check_precision(const ac_device *device, ac_dtype activations)
{
    (void)device;
    return activations == AC_F32 || cuda_is_half(activations) ? AC_OK : ac_error(AC_ERR_UNSUPPORTED, "cuda has no activations of type %s", ac_dtype_name(activations));
}

static ac_status allocate(ac_device *base, size_t n_bytes, void **out)
{
    ac_status status = AC_OK;
    cuda_device *device = cuda_of(base);
    *out = NULL;
    cudaError_t error = cudaMalloc(out, n_bytes > 0 ? n_bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
        size_t available = 0, total = 0;
        cudaGetLastError(); /* it is ours, not the next launch's */
        cudaMemGetInfo(&available, &total);
        *out = NULL;
        return ac_error(AC_ERR_MEMORY, "%.2f GiB wanted on %s, %.2f of %.2f GiB are free: a smaller batch, or bf16-mixed, needs less", (double)n_bytes / (1 << 30),
                        device->name, (double)available / (1 << 30), (double)total / (1 << 30));
    }
    AC_TRY(cuda_check(error, "allocation"));
    AC_TRY(cuda_check(cudaMemsetAsync(*out, 0, n_bytes, device->stream), "zeroing"));
out:
    return status;
}

static void release(ac_device *base, void *block)
{
    if (!block)
        return;
    cudaStreamSynchronize(cuda_of(base)->stream);
    cudaFree(block);
}

static ac_status download(ac_device *base, void *to_host, const void *from, size_t n_bytes)
{
    ac_status status = AC_OK;
    AC_TRY(cuda_check(cudaMemcpyAsync(to_host, from, n_bytes, cudaMemcpyDeviceToHost, cuda_of(base)->stream), "copy from the GPU"));
    AC_TRY(cuda_wait_all(cuda_of(base), "copy from the GPU"));
out:
    return status;
}

static ac_status zero(ac_device *base, void *block, size_t n_bytes)
{
    return cuda_check(cudaMemsetAsync(block, 0, n_bytes, cuda_of(base)->stream), "zeroing");
}

static ac_status synchronize(ac_device *base)
{
    return cuda_wait_all(cuda_of(base), "waiting for the GPU");
}

static ac_status allow_tf32(ac_device *base)
{
    cuda_of(base)->tf32 = true;
    return AC_OK;
}

static const ac_kernel *const kernels[] = {
    &ac_cuda_image_input, &ac_cuda_conv2d,      &ac_cuda_batch_norm,     &ac_cuda_max_pool,       &ac_cuda_avg_pool,   &ac_cuda_global_avg_pool,
    &ac_cuda_blur_pool,   &ac_cuda_linear,      &ac_cuda_layer_norm,     &ac_cuda_attention,      &ac_cuda_add,        &ac_cuda_dropout,
    &ac_cuda_tokens,      &ac_cuda_first_token, &ac_cuda_squeeze_excite, &ac_cuda_space_to_depth, &ac_cuda_any_class_loss,
};

const ac_backend ac_backend_cuda = {
    .name = "cuda",
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .check_precision = cuda_check_precision,
    .allocate = allocate,
    .release = release,
    .upload = cuda_upload,
    .download = download,
    .zero = zero,
    .mirror = cuda_mirror,
    .add = cuda_add,
    .add_loss = cuda_add_loss,
    .optimizer_step = cuda_optimizer_step,
    .synchronize = synchronize,
    .allow_tf32 = allow_tf32,
    .queue = &cuda_queue,
};
