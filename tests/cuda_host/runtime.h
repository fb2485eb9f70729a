/* The part of CUDA's runtime interface that lib/backend/cuda uses, for a build in which its kernels run on the processor
 * (make CUDA=emulated): device memory is host memory, everything is done when a call returns. */
#ifndef ANYCLASS_TESTS_CUDA_HOST_RUNTIME_H
#define ANYCLASS_TESTS_CUDA_HOST_RUNTIME_H

#include <stddef.h>

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorMemoryAllocation,
    cudaErrorNoDevice,
    cudaErrorInsufficientDriver,
    cudaErrorInvalidDevice,
    cudaErrorDevicesUnavailable,
    cudaErrorNoKernelImageForDevice,
    cudaErrorStubLibrary,
    cudaErrorInvalidConfiguration,
    cudaErrorStreamCaptureUnsupported,
    cudaErrorLaunchFailure,
    cudaErrorNotReady
} cudaError_t;
typedef struct CUstream_st *cudaStream_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
typedef struct CUevent_st *cudaEvent_t;
typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed };
typedef struct cudaUUID {
    char bytes[16];
} cudaUUID_t;
typedef void (*cudaHostFn_t)(void *context);
struct cudaDeviceProp {
    char name[256];
    cudaUUID_t uuid;
    int pciBusID, pciDeviceID, pciDomainID;
    size_t totalGlobalMem;
    int multiProcessorCount, major, minor;
};

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device);
cudaError_t cudaGetLastError(void);
const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaMalloc(void **out, size_t n_bytes);
cudaError_t cudaFree(void *block);
cudaError_t cudaMallocHost(void **out, size_t n_bytes);
cudaError_t cudaFreeHost(void *block);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *block, int value, size_t n_bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *context);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
void emulated_enqueue(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context, size_t context_bytes);
const char *emulated_check_device(const void *pointer, size_t n_bytes);
void emulated_fail(cudaError_t error, const char *text);

#endif
