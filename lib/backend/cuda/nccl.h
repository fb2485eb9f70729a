/* The part of NCCL 2's interface that collective.c uses, by its documentation: with it the build needs no header of NCCL, whose numbers and
 * signatures are the same in all of 2.x. */
#ifndef ANYCLASS_LIB_BACKEND_CUDA_NCCL_H
#define ANYCLASS_LIB_BACKEND_CUDA_NCCL_H

#include "backend/cuda/cuda.h"

#ifdef AC_CUDA_EMULATED
#define NCCL_FILE NULL /* tests/cuda_host/nccl.c, in the program itself */
#else
#define NCCL_FILE "libnccl.so.2"
#endif

typedef struct ncclComm *ncclComm_t;
typedef struct ncclUniqueId {
    char internal[128];
} ncclUniqueId;

typedef enum ncclResult_t {
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1,
    ncclSystemError = 2,
    ncclInternalError = 3,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7
} ncclResult_t;
typedef enum ncclDataType_t { ncclFloat32 = 7, ncclFloat64 = 8 } ncclDataType_t;
typedef enum ncclRedOp_t { ncclSum = 0 } ncclRedOp_t;

typedef struct nccl_functions {
    ncclResult_t (*get_version)(int *version);
    const char *(*error_string)(ncclResult_t result);
    ncclResult_t (*get_unique_id)(ncclUniqueId *id);
    ncclResult_t (*init_rank)(ncclComm_t *comm, int n_ranks, ncclUniqueId id, int rank);
    ncclResult_t (*all_reduce)(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
    ncclResult_t (*get_async_error)(ncclComm_t comm, ncclResult_t *result);
    ncclResult_t (*destroy)(ncclComm_t comm);
    ncclResult_t (*abort)(ncclComm_t comm);
} nccl_functions;

#endif
