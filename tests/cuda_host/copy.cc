/* Copies, memory set to a value, and when memory may go: checks of who may use what, in front of memory.cc and stream.cc. */
#include "tests/cuda_host/internal.h"
#include <cstdio>
#include <cstring>

namespace emulated {

/* Is it what the copy's direction says? Checked when it is asked for and when it is done: the block may be gone by then. */
static std::string check_operand(const void *pointer, size_t n_bytes, bool device)
{
    size_t left;
    memory_kind kind = kind_of(pointer, &left);
    char text[128];
    if (device)
        return check_device(pointer, n_bytes);
    if (kind == MEMORY_UNKNOWN || (kind == MEMORY_PINNED && n_bytes <= left))
        return "";
    snprintf(text, sizeof text, "%p is %s, not host memory of %zu bytes", pointer, kind == MEMORY_DEVICE ? "device memory" : kind == MEMORY_FREED ? "freed" : "pinned", n_bytes);
    return text;
}

static std::string check_copy(const void *to, const void *from, size_t n_bytes, bool to_device, bool from_device)
{
    std::string wrong = check_operand(to, n_bytes, to_device);
    return wrong.empty() ? check_operand(from, n_bytes, from_device) : wrong;
}

static bool is_pinned(const void *pointer)
{
    size_t left;
    return kind_of(pointer, &left) == MEMORY_PINNED;
}

static cudaError_t copy(void *to, const void *from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    hold lock(engine);
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (n_bytes == 0)
        return standing();
    if (kind == cudaMemcpyHostToHost || kind > cudaMemcpyDeviceToDevice)
        return cudaErrorInvalidMemcpyDirection;
    std::string wrong = check_copy(to, from, n_bytes, to_device, from_device);
    if (!wrong.empty())
        return explain(cudaErrorInvalidValue, wrong);
    const void *host = to_device ? from_device ? NULL : from : to;
    bool pageable = host && !is_pinned(host);
    if (pageable && is_stream(stream) && stream_of(stream)->recording)
        return invalidate(stream_of(stream)->recording, cudaErrorStreamCaptureUnsupported);
    std::shared_ptr<std::vector<unsigned char>> staged;
    if (pageable && to_device && !is_dry())
        staged = std::make_shared<std::vector<unsigned char>>((const unsigned char *)from, (const unsigned char *)from + n_bytes);
    auto what = std::make_shared<work>(WORK_COPY, "copy", [=] {
        std::string gone = check_copy(to, from, n_bytes, to_device, from_device);
        if (gone.empty())
            memmove(to, staged ? staged->data() : from, n_bytes);
        else
            fail(cudaErrorIllegalAddress, "copy: " + gone);
    });
    what->n_bytes = n_bytes;
    what->pinned = pageable ? NULL : host;
    op_ref op;
    cudaError_t error = enqueue(lock, stream, what, &op);
    return error == cudaSuccess && pageable && from_device ? wait_for(lock, op) : error;
}

static cudaError_t set_memory(void *block, int value, size_t n_bytes, cudaStream_t stream)
{
    hold lock(engine);
    std::string wrong = n_bytes ? check_device(block, n_bytes) : "";
    if (!wrong.empty())
        return explain(cudaErrorInvalidValue, wrong);
    if (n_bytes == 0)
        return standing();
    auto what = std::make_shared<work>(WORK_MEMSET, "memset", [=] {
        std::string gone = check_device(block, n_bytes);
        if (gone.empty())
            memset(block, value, n_bytes);
        else
            fail(cudaErrorIllegalAddress, "memset: " + gone);
    });
    what->n_bytes = n_bytes;
    return enqueue(lock, stream, what);
}

static cudaError_t allocate(void **out, size_t n_bytes, memory_kind kind)
{
    hold lock(engine);
    *out = NULL;
    cudaError_t error = standing();
    if (error == cudaSuccess && is_recording_here())
        error = refuse_unsafe();
    return error == cudaSuccess ? create_block(out, n_bytes, kind) : error;
}

/* cudaFree() waits for the device, cudaFreeHost() does not say that it does. */
static cudaError_t release(void *block, memory_kind kind)
{
    hold lock(engine);
    if (!block) /* of NULL for cudaFreeHost() CUDA says nothing */
        return kind == MEMORY_DEVICE ? cudaSuccess : cudaErrorInvalidValue;
    if (is_recording_here())
        return refuse_unsafe();
    if (kind == MEMORY_DEVICE)
        force_all(lock);
    else if (is_needed(block))
        fail(cudaErrorIllegalAddress, "cudaFreeHost of memory that a queued copy needs");
    look_at_guards("host code");
    cudaError_t error = destroy_block(block, kind);
    return error == cudaSuccess ? standing() : error;
}

}

using namespace emulated;

extern "C" {

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    return result(copy(to, from, n_bytes, kind, stream));
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind)
{
    cudaError_t error = copy(to, from, n_bytes, kind, NULL);
    return result(error == cudaSuccess ? synchronize_stream(NULL) : error);
}

cudaError_t cudaMemsetAsync(void *block, int value, size_t n_bytes, cudaStream_t stream)
{
    return result(set_memory(block, value, n_bytes, stream));
}

cudaError_t cudaMalloc(void **out, size_t n_bytes)
{
    return result(allocate(out, n_bytes, MEMORY_DEVICE));
}

cudaError_t cudaFree(void *block)
{
    return result(release(block, MEMORY_DEVICE));
}

cudaError_t cudaMallocHost(void **out, size_t n_bytes)
{
    return result(allocate(out, n_bytes, MEMORY_PINNED));
}

cudaError_t cudaFreeHost(void *block)
{
    return result(release(block, MEMORY_PINNED));
}

}
