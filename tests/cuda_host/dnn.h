/* Inside of the double of cuDNN: what descriptors hold (cudnn.c keeps and checks it) and which engines there are (cudnn_engine.c). */
#ifndef ANYCLASS_TESTS_CUDA_HOST_DNN_H
#define ANYCLASS_TESTS_CUDA_HOST_DNN_H

#include "anyclass/graph.h"
#include "tests/cuda_host/include/cudnn.h"
#include <stdbool.h>

enum { DNN_MOST_KNOBS = 4, DNN_MOST_POINTERS = 8, DNN_MOST_CONFIGS = 16 };

typedef struct dnn_tensor {
    int32_t type, n_dimensions, n_strides;
    int64_t dimension[8], stride[8], id, alignment;
} dnn_tensor;

typedef struct dnn_convolution {
    int32_t type, mode, n_before, n_after, n_dilations, n_strides;
    int64_t n_spatial, before[4], after[4], dilation[4], stride[4];
} dnn_convolution;

typedef enum dnn_pass { DNN_FORWARD, DNN_DATA, DNN_FILTER } dnn_pass;

typedef struct dnn_operation {
    dnn_convolution convolution;
    dnn_tensor x, w, y;
    float alpha, beta;
    int32_t pass;
} dnn_operation;

typedef struct dnn_graph {
    cudnnHandle_t handle;
    dnn_operation operation;
} dnn_graph;

typedef struct dnn_heuristic {
    dnn_graph graph;
    int32_t mode;
} dnn_heuristic;

typedef struct dnn_engine {
    dnn_graph graph;
    int64_t index;
} dnn_engine;

typedef struct dnn_knob {
    int32_t type;
    int64_t value;
} dnn_knob;

typedef struct dnn_config {
    dnn_engine engine;
    int32_t n_knobs;
    dnn_knob knob[DNN_MOST_KNOBS];
} dnn_config;

typedef struct dnn_plan {
    cudnnHandle_t handle;
    dnn_config config;
    int64_t workspace_bytes;
} dnn_plan;

typedef struct dnn_pack {
    int32_t n_ids, n_pointers;
    int64_t id[DNN_MOST_POINTERS];
    void *pointer[DNN_MOST_POINTERS], *workspace;
} dnn_pack;

struct emulated_dnn {
    uint32_t kind;
    cudaStream_t stream;
};

typedef struct dnn_shape { /* of a convolution of images, channels last */
    int64_t n, h, w, c, o, oh, ow, kh, kw, groups;
    int64_t stride_h, stride_w, pad_h, pad_w; /* before the first row and column */
    int32_t type, result;                     /* ac_dtype of what is read, of what is written */
} dnn_shape;

/** What a finalized operation is; a fault and what the library would say if it is none that there can be. */
cudnnStatus_t dnn_shape_of(const dnn_operation *operation, dnn_shape *out);
/** Engines with their knobs, best first; none for what the library lacks. */
int dnn_list_configs(const dnn_graph *graph, int32_t mode, dnn_config *out);
/** Whether there is such an engine for the graph, and whether it takes such knobs. */
cudnnStatus_t dnn_check_engine(const dnn_engine *engine);
cudnnStatus_t dnn_check_config(const dnn_config *config);
/** Workspace of a plan; some engines fail here. */
cudnnStatus_t dnn_finish_plan(dnn_plan *plan);
int dnn_numerical_notes(int64_t engine, cudnnBackendNumericalNote_t *out);
int dnn_behavior_notes(int64_t engine, cudnnBackendBehaviorNote_t *out);
/** Checks the memory, and has the work queued. */
cudnnStatus_t dnn_execute(cudaStream_t stream, const dnn_plan *plan, void *x, void *w, void *y, void *workspace);

#endif
