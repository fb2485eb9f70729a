/* The part of CUDA's runtime interface that lib/backend/cuda uses, for a build in which its kernels run on the processor (make CUDA=emulated), and what
 * tests ask of it (emulated_*). Device memory is host memory between guards; what is asked of a stream is queued and done late, in an order that CUDA
 * allows but a careless program does not expect. Any thread may call. Rules that CUDA has and this checks are told by an error, never by an abort.
 *
 * Environment:
 *   ANYCLASS_EMULATE_STREAMS=late|early|N  when queued work is done: as late as possible (default), at once, or in the N-th random order
 *   ANYCLASS_EMULATE_ORDER=forward|reversed|N  turns of a block's threads: default is both ways in turn, N shuffles them
 *   ANYCLASS_EMULATE_DRY=1                 queued work is counted and not done (host memory stays as it is), device memory not touched: 80 GiB cost nothing
 *   ANYCLASS_EMULATE_NONE=1                a machine without a GPU */
#ifndef ANYCLASS_TESTS_CUDA_HOST_RUNTIME_H
#define ANYCLASS_TESTS_CUDA_HOST_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cudaError { /* CUDA's numbers */
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidMemcpyDirection = 21,
    cudaErrorStubLibrary = 34,
    cudaErrorInsufficientDriver = 35,
    cudaErrorDevicesUnavailable = 46,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorIllegalState = 401,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchFailure = 719,
    cudaErrorNotPermitted = 800,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureMerge = 902,
    cudaErrorStreamCaptureUnmatched = 903,
    cudaErrorStreamCaptureUnjoined = 904,
    cudaErrorStreamCaptureIsolation = 905,
    cudaErrorStreamCaptureImplicit = 906,
    cudaErrorCapturedEvent = 907,
    cudaErrorStreamCaptureWrongThread = 908
} cudaError_t;
typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;
typedef void (*cudaHostFn_t)(void *context);
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault };
enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2, cudaEventWaitDefault = 0, cudaEventWaitExternal = 1,
       cudaEventRecordDefault = 0, cudaEventRecordExternal = 1 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive, cudaStreamCaptureStatusInvalidated };
typedef struct cudaUUID {
    char bytes[16];
} cudaUUID_t;
struct cudaDeviceProp {
    char name[256];
    cudaUUID_t uuid;
    size_t totalGlobalMem;
    int multiProcessorCount, major, minor, pciDomainID, pciBusID, pciDeviceID;
};

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *out, int device);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
/** For an error of queued work: which kernel or copy, and what it did. */
const char *cudaGetErrorString(cudaError_t error);

/** Filled with 0xFF, 256 guard bytes on both sides; freed memory reads as 0xFF, and a kernel that is given an address in it fails. */
cudaError_t cudaMalloc(void **out, size_t n_bytes);
cudaError_t cudaFree(void *block);
cudaError_t cudaMallocHost(void **out, size_t n_bytes);
/** Refused while a queued copy needs the block: CUDA would not wait either. */
cudaError_t cudaFreeHost(void *block);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
/** Pageable memory is read at the call, and written before the call returns; memory of cudaMallocHost() when the copy is done. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemcpy(void *to, const void *from, size_t n_bytes, enum cudaMemcpyKind kind);
cudaError_t cudaMemsetAsync(void *block, int value, size_t n_bytes, cudaStream_t stream);

cudaError_t cudaStreamCreate(cudaStream_t *out);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
/** The function is called by a thread of the runtime, which calls those of all streams; one that waits for longer than some milliseconds makes that
 * thread do what is in front of it, so that a program which waits for the function, not for the stream, goes on. It may not call CUDA. */
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *context);
cudaError_t cudaEventCreate(cudaEvent_t *out);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *out);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);

/* ---- not CUDA's: for test doubles of libraries, and for tests ---- */

/** What a library does on a stream: run(a copy of the context) in its turn, or recorded where the stream is recorded. What fails calls emulated_fail().
 * @param name  is kept as it is: a string constant */
void emulated_enqueue(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context, size_t context_bytes);
/** The same, and released(with) when it will not be done again: it is done, or the recordings that hold it are released. */
void emulated_enqueue_held(cudaStream_t stream, const char *name, void (*run)(void *context), const void *context, size_t context_bytes, void (*released)(void *with), void *with);
/** NULL if [pointer, + n_bytes) lies within one living device allocation; otherwise the reason, which holds until the thread's next call. */
const char *emulated_check_device(const void *pointer, size_t n_bytes);
/** From queued work: it failed. The text goes to whoever waits next. */
void emulated_fail(cudaError_t error, const char *text);

typedef struct emulated_counts {
    size_t n_kernels, n_library, n_copies, n_memsets, n_host; /* launches, calls of emulated_enqueue(), host functions */
    size_t n_waits;                                           /* events from outside a recording */
    size_t copied_bytes, set_bytes;
} emulated_counts;

/** What a graph holds; what was done so far (replays included) or, in a recording, recorded. */
void emulated_graph_counts(cudaGraph_t graph, emulated_counts *out);
void emulated_total_counts(emulated_counts *done, emulated_counts *recorded);
/** Node i of a graph in the order of its recording: a kernel's or library's name, "copy", "memset", "host", "wait", "record"; NULL behind the last. */
const char *emulated_graph_name(cudaGraph_t graph, size_t i);
/** NULL, or the first block whose guards are overwritten and what ran since they were looked at last. Every wait looks. */
const char *emulated_check_guards(void);
/** Queued work that nothing forced yet. */
size_t emulated_n_pending(void);
/** Do all queued work; the text of what failed since the last call, or NULL. CUDA works again behind it, which the real one does not. */
const char *emulated_take_failure(void);
/** As ANYCLASS_EMULATE_STREAMS and ANYCLASS_EMULATE_ORDER; NULL: as the environment says. */
void emulated_set_order(const char *streams, const char *threads);

#ifdef __cplusplus
}
#endif
#endif
