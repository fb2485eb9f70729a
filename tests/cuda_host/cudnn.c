/* cuDNN's graph interface for the emulated build: descriptors by a table of their attributes, checked when they are set and when they are
 * finalized. What a caller does wrong is a fault (library.h) and gets the status the library documents. Engines are cudnn_engine.c's. */
#include "tests/cuda_host/dnn.h"
#include "tests/cuda_host/library.h"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { DESCRIPTOR = 0x44455343, HANDLE = 0x444e4e48 };
static const char *const library = "cuDNN";
#define REFUSE(status, ...) return emulated_fault(library, __VA_ARGS__), (status)

typedef struct descriptor {
    uint32_t kind;
    cudnnBackendDescriptorType_t type;
    bool is_final;
    uint64_t given; /* attributes, by their place in the table */
    union {
        dnn_tensor tensor;
        dnn_convolution convolution;
        dnn_operation operation;
        dnn_graph graph;
        dnn_heuristic heuristic;
        dnn_engine engine;
        dnn_knob knob;
        dnn_config config;
        dnn_plan plan;
        dnn_pack pack;
    } is;
} descriptor;

/* One attribute that can be set. Numbers of `count` come to the place `n_at` (0: exactly `most`); descriptors of type `child` are copied. */
typedef struct attribute {
    cudnnBackendDescriptorType_t of;
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int most;
    size_t at, bytes, n_at;
    cudnnBackendDescriptorType_t child;
    bool optional;
} attribute;

#define AT(member) offsetof(descriptor, is.member)
#define SIZE(member) sizeof(((descriptor *)0)->is.member)
#define ONE(of, name, type, member) {of, name, type, 1, AT(member), SIZE(member), 0, 0, false}
#define SOME(of, name, type, most, member, n) {of, name, type, most, AT(member), SIZE(member) / (most), AT(n), 0, false}
#define CHILD(of, name, member, child) {of, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, AT(member), SIZE(member), 0, child, false}
#define OPERATION(of, prefix, x_, w_, y_)                                                                                              \
    CHILD(of, prefix##_CONV_DESC, operation.convolution, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR),                                        \
        CHILD(of, prefix##x_, operation.x, CUDNN_BACKEND_TENSOR_DESCRIPTOR), CHILD(of, prefix##w_, operation.w, CUDNN_BACKEND_TENSOR_DESCRIPTOR), \
        CHILD(of, prefix##y_, operation.y, CUDNN_BACKEND_TENSOR_DESCRIPTOR), ONE(of, prefix##_ALPHA, CUDNN_TYPE_FLOAT, operation.alpha),          \
        ONE(of, prefix##_BETA, CUDNN_TYPE_FLOAT, operation.beta)

#define TENSOR CUDNN_BACKEND_TENSOR_DESCRIPTOR
#define CONVOLUTION CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR
#define PACK CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR
static const attribute attributes[] = {
    ONE(TENSOR, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, tensor.type),
    SOME(TENSOR, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 8, tensor.dimension, tensor.n_dimensions),
    SOME(TENSOR, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 8, tensor.stride, tensor.n_strides),
    ONE(TENSOR, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, tensor.id),
    ONE(TENSOR, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, tensor.alignment),
    ONE(CONVOLUTION, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, convolution.type),
    ONE(CONVOLUTION, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, convolution.mode),
    ONE(CONVOLUTION, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, convolution.n_spatial),
    SOME(CONVOLUTION, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 4, convolution.before, convolution.n_before),
    SOME(CONVOLUTION, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 4, convolution.after, convolution.n_after),
    SOME(CONVOLUTION, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 4, convolution.dilation, convolution.n_dilations),
    SOME(CONVOLUTION, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 4, convolution.stride, convolution.n_strides),
    OPERATION(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD, _X, _W, _Y),
    OPERATION(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA, _DX, _W, _DY),
    OPERATION(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER, _X, _DW, _DY),
    ONE(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, graph.handle),
    CHILD(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_OPS, graph.operation, 0), /* 0: any operation */
    CHILD(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, heuristic.graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR),
    ONE(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, heuristic.mode),
    CHILD(CUDNN_BACKEND_ENGINE_DESCRIPTOR, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, engine.graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR),
    ONE(CUDNN_BACKEND_ENGINE_DESCRIPTOR, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, engine.index),
    CHILD(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, CUDNN_ATTR_ENGINECFG_ENGINE, config.engine, CUDNN_BACKEND_ENGINE_DESCRIPTOR),
    {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, DNN_MOST_KNOBS, AT(config.knob), SIZE(config.knob[0]),
     AT(config.n_knobs), CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, true},
    ONE(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, knob.type),
    ONE(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, knob.value),
    ONE(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, plan.handle),
    CHILD(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, plan.config, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR),
    SOME(PACK, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, DNN_MOST_POINTERS, pack.id, pack.n_ids),
    SOME(PACK, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, DNN_MOST_POINTERS, pack.pointer, pack.n_pointers),
    ONE(PACK, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, pack.workspace),
};
enum { N_ATTRIBUTES = sizeof attributes / sizeof *attributes };
_Static_assert(N_ATTRIBUTES <= 64, "a bit for each");

/* ---- handles ---- */

size_t cudnnGetVersion(void)
{
    return 91900;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS            ? "success"
           : status >= CUDNN_STATUS_INTERNAL_ERROR   ? "failed"
           : status >= CUDNN_STATUS_NOT_SUPPORTED    ? "not supported"
           : status == CUDNN_STATUS_NOT_INITIALIZED ? "not initialized"
                                                     : "bad parameter";
}

static bool is_handle(cudnnHandle_t handle)
{
    if (!handle || handle->kind != HANDLE)
        emulated_fault(library, "a handle that is none, or was destroyed");
    return handle && handle->kind == HANDLE;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    if (!handle)
        REFUSE(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "nowhere to put a handle");
    *handle = calloc(1, sizeof **handle);
    if (!*handle)
        return CUDNN_STATUS_INTERNAL_ERROR;
    (*handle)->kind = HANDLE;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    if (!is_handle(handle))
        return CUDNN_STATUS_BAD_PARAM;
    handle->kind = 0;
    free(handle);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    if (!is_handle(handle))
        return CUDNN_STATUS_BAD_PARAM;
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- descriptors ---- */

static descriptor *live(cudnnBackendDescriptor_t from)
{
    descriptor *d = from;
    if (!d || d->kind != DESCRIPTOR) {
        emulated_fault(library, "a descriptor that is none, or was destroyed");
        return NULL;
    }
    return d;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out)
{
    if (!out)
        REFUSE(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "nowhere to put a descriptor");
    if (type < CUDNN_BACKEND_TENSOR_DESCRIPTOR || type > CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
        REFUSE(CUDNN_STATUS_NOT_SUPPORTED, "no descriptor of type %d", (int)type);
    descriptor *d = calloc(1, sizeof *d);
    if (!d)
        return CUDNN_STATUS_INTERNAL_ERROR;
    d->kind = DESCRIPTOR;
    d->type = type;
    *out = d;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t from)
{
    descriptor *d = live(from);
    if (!d)
        return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    d->kind = 0;
    free(d);
    return CUDNN_STATUS_SUCCESS;
}

static bool is_operation(cudnnBackendDescriptorType_t type)
{
    return type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR || type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ||
           type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
}

static cudnnStatus_t copy_child(const attribute *a, unsigned char *to, cudnnBackendDescriptor_t from)
{
    const descriptor *child = live(from);
    if (!child)
        return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    if (a->child ? child->type != a->child : !is_operation(child->type))
        REFUSE(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "attribute %d is given a descriptor of type %d", (int)a->name, (int)child->type);
    if (!child->is_final)
        REFUSE(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "attribute %d is given a descriptor that is not finalized", (int)a->name);
    memcpy(to, &child->is, a->bytes);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t into, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    descriptor *d = live(into);
    int i = 0;
    if (!d || !values)
        REFUSE(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "attribute %d: no descriptor or no values", (int)name);
    if (d->is_final)
        REFUSE(CUDNN_STATUS_NOT_INITIALIZED, "attribute %d is set after its descriptor was finalized", (int)name);
    while (i < N_ATTRIBUTES && (attributes[i].of != d->type || attributes[i].name != name))
        i++;
    if (i == N_ATTRIBUTES)
        REFUSE(CUDNN_STATUS_BAD_PARAM, "a descriptor of type %d has no attribute %d that can be set", (int)d->type, (int)name);
    const attribute *a = &attributes[i];
    if (type != a->type)
        REFUSE(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "attribute %d is of type %d, not %d", (int)name, (int)a->type, (int)type);
    if (n < 1 || n > a->most || (!a->n_at && n != a->most))
        REFUSE(CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT, "attribute %d has up to %d elements, not %lld", (int)name, a->most, (long long)n);
    int32_t count = (int32_t)n;
    if (a->n_at)
        memcpy((unsigned char *)d + a->n_at, &count, sizeof count);
    for (int k = 0; k < count; k++) {
        unsigned char *to = (unsigned char *)d + a->at + (size_t)k * a->bytes;
        cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
        if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
            status = copy_child(a, to, ((const cudnnBackendDescriptor_t *)values)[k]);
        else
            memcpy(to, (const unsigned char *)values + (size_t)k * a->bytes, a->bytes);
        if (status != CUDNN_STATUS_SUCCESS)
            return status;
    }
    d->given |= (uint64_t)1 << i;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_tensor(const dnn_tensor *t)
{
    if (t->type != CUDNN_DATA_FLOAT && t->type != CUDNN_DATA_BFLOAT16 && t->type != CUDNN_DATA_HALF)
        REFUSE(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "tensor %lld: elements of type %d", (long long)t->id, t->type);
    if (t->n_dimensions != t->n_strides || t->n_dimensions < 3)
        REFUSE(CUDNN_STATUS_BAD_PARAM, "tensor %lld: %d dimensions, %d strides", (long long)t->id, t->n_dimensions, t->n_strides);
    for (int i = 0; i < t->n_dimensions; i++)
        if (t->dimension[i] < 1 || t->stride[i] < 1)
            REFUSE(CUDNN_STATUS_BAD_PARAM, "tensor %lld: dimension %d is %lld, its stride %lld", (long long)t->id, i, (long long)t->dimension[i], (long long)t->stride[i]);
    if (t->alignment < 1 || (t->alignment & (t->alignment - 1)))
        REFUSE(CUDNN_STATUS_BAD_PARAM, "tensor %lld: aligned to %lld bytes", (long long)t->id, (long long)t->alignment);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_convolution(const dnn_convolution *c)
{
    if (c->type != CUDNN_DATA_FLOAT)
        REFUSE(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "sums that are not float");
    if (c->mode != CUDNN_CROSS_CORRELATION)
        REFUSE(CUDNN_STATUS_NOT_SUPPORTED, "a convolution with turned weights, which nothing here wants");
    if (c->n_spatial != 2 || c->n_before != 2 || c->n_after != 2 || c->n_dilations != 2 || c->n_strides != 2)
        REFUSE(CUDNN_STATUS_BAD_PARAM, "%lld spatial dimensions; %d, %d, %d, %d values for them", (long long)c->n_spatial, c->n_before, c->n_after, c->n_dilations, c->n_strides);
    for (int i = 0; i < 2; i++)
        if (c->before[i] < 0 || c->after[i] < 0 || c->dilation[i] < 1 || c->stride[i] < 1)
            REFUSE(CUDNN_STATUS_BAD_PARAM, "padding %lld and %lld, dilation %lld, stride %lld", (long long)c->before[i], (long long)c->after[i], (long long)c->dilation[i],
                   (long long)c->stride[i]);
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t finish_operation(descriptor *d)
{
    dnn_shape shape;
    dnn_operation *o = &d->is.operation;
    o->pass = d->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR         ? DNN_FORWARD
              : d->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ? DNN_DATA
                                                                                         : DNN_FILTER;
    if (o->alpha != 1 || o->beta != 0)
        REFUSE(CUDNN_STATUS_NOT_SUPPORTED, "factors %g and %g", (double)o->alpha, (double)o->beta);
    if (o->x.id == o->w.id || o->x.id == o->y.id || o->w.id == o->y.id)
        REFUSE(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, "tensors %lld, %lld and %lld are not three", (long long)o->x.id, (long long)o->w.id, (long long)o->y.id);
    return dnn_shape_of(o, &shape);
}

static cudnnStatus_t finish_pack(const dnn_pack *p)
{
    if (p->n_ids != p->n_pointers)
        REFUSE(CUDNN_STATUS_BAD_PARAM, "%d addresses for %d tensors", p->n_pointers, p->n_ids);
    for (int i = 0; i < p->n_ids; i++)
        for (int k = 0; k < i; k++)
            if (p->id[i] == p->id[k])
                REFUSE(CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES, "two addresses for tensor %lld", (long long)p->id[i]);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t from)
{
    descriptor *d = live(from);
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    if (!d)
        return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    if (d->is_final)
        REFUSE(CUDNN_STATUS_BAD_PARAM, "a descriptor of type %d is finalized twice", (int)d->type);
    for (int i = 0; i < N_ATTRIBUTES; i++)
        if (attributes[i].of == d->type && !attributes[i].optional && !(d->given & (uint64_t)1 << i))
            REFUSE(CUDNN_STATUS_BAD_PARAM, "a descriptor of type %d without attribute %d", (int)d->type, (int)attributes[i].name);
    switch (d->type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        status = finish_tensor(&d->is.tensor);
        break;
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
        status = finish_convolution(&d->is.convolution);
        break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
        status = finish_operation(d);
        break;
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        status = is_handle(d->is.graph.handle) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
        break;
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
        status = dnn_check_engine(&d->is.engine);
        break;
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
        status = dnn_check_config(&d->is.config);
        break;
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        if (!is_handle(d->is.plan.handle) || d->is.plan.handle != d->is.plan.config.engine.graph.handle)
            REFUSE(CUDNN_STATUS_BAD_PARAM, "a plan for another handle than its graph's");
        status = dnn_finish_plan(&d->is.plan);
        break;
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
        status = finish_pack(&d->is.pack);
        break;
    default:
        break;
    }
    d->is_final = status == CUDNN_STATUS_SUCCESS;
    return status;
}

/* ---- what is asked for ---- */

typedef struct question {
    const descriptor *d;
    cudnnBackendAttributeType_t type;
    int64_t requested, *n;
    void *values;
} question;

/* Up to `requested` values of `bytes` each. */
static cudnnStatus_t tell(const question *q, cudnnBackendAttributeType_t type, int64_t n, const void *from, size_t bytes)
{
    if (q->type != type)
        REFUSE(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "an attribute of type %d is asked for as %d", (int)type, (int)q->type);
    if (q->n)
        *q->n = n;
    else if (n > 1)
        REFUSE(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "several values, and nowhere to say how many");
    if (n > 0 && q->requested > 0)
        memcpy(q->values, from, (size_t)(n < q->requested ? n : q->requested) * bytes);
    return CUDNN_STATUS_SUCCESS;
}

/* Descriptors that the caller made are filled in. */
static cudnnStatus_t fill(const question *q, cudnnBackendDescriptorType_t type, int64_t n, const void *from, size_t bytes)
{
    if (q->type != CUDNN_TYPE_BACKEND_DESCRIPTOR)
        REFUSE(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, "descriptors are asked for as type %d", (int)q->type);
    for (int64_t i = 0; i < n && i < q->requested; i++) {
        descriptor *to = live(((cudnnBackendDescriptor_t *)q->values)[i]);
        if (!to)
            return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
        if (to->type != type)
            REFUSE(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "descriptors of type %d are to hold those of type %d", (int)to->type, (int)type);
        memcpy(&to->is, (const unsigned char *)from + (size_t)i * bytes, bytes);
        to->is_final = true;
    }
    if (q->n)
        *q->n = n;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t from, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t requested, int64_t *n,
                                       void *values)
{
    const descriptor *d = live(from);
    question q = {d, type, requested, n, values};
    cudnnBackendNumericalNote_t numerical[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendBehaviorNote_t behavior[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    dnn_config config[DNN_MOST_CONFIGS];
    if (!d || requested < 0 || (requested > 0 && !values))
        REFUSE(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "attribute %d: no descriptor or nowhere to put values", (int)name);
    if (!d->is_final)
        REFUSE(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "attribute %d of a descriptor that is not finalized", (int)name);
    if (d->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && name == CUDNN_ATTR_ENGINEHEUR_RESULTS)
        return fill(&q, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, dnn_list_configs(&d->is.heuristic.graph, d->is.heuristic.mode, config), config, sizeof *config);
    if (d->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR && name == CUDNN_ATTR_ENGINECFG_ENGINE)
        return fill(&q, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1, &d->is.config.engine, sizeof d->is.config.engine);
    if (d->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR && name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES)
        return fill(&q, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, d->is.config.n_knobs, d->is.config.knob, sizeof *d->is.config.knob);
    if (d->type == CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR && name == CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE)
        return tell(&q, CUDNN_TYPE_KNOB_TYPE, 1, &d->is.knob.type, sizeof d->is.knob.type);
    if (d->type == CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR && name == CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE)
        return tell(&q, CUDNN_TYPE_INT64, 1, &d->is.knob.value, sizeof d->is.knob.value);
    if (d->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR && name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX)
        return tell(&q, CUDNN_TYPE_INT64, 1, &d->is.engine.index, sizeof d->is.engine.index);
    if (d->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR && name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE)
        return tell(&q, CUDNN_TYPE_NUMERICAL_NOTE, dnn_numerical_notes(d->is.engine.index, numerical), numerical, sizeof *numerical);
    if (d->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR && name == CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE)
        return tell(&q, CUDNN_TYPE_BEHAVIOR_NOTE, dnn_behavior_notes(d->is.engine.index, behavior), behavior, sizeof *behavior);
    if (d->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
        return tell(&q, CUDNN_TYPE_INT64, 1, &d->is.plan.workspace_bytes, sizeof d->is.plan.workspace_bytes);
    REFUSE(CUDNN_STATUS_BAD_PARAM, "a descriptor of type %d has no attribute %d to be asked for", (int)d->type, (int)name);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack)
{
    const descriptor *p = live(plan), *v = live(pack);
    void *address[3] = {NULL, NULL, NULL};
    if (!p || !v || !is_handle(handle))
        return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    if (p->type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR || v->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
        REFUSE(CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE, "a plan and its addresses are of types %d and %d", (int)p->type, (int)v->type);
    if (!p->is_final || !v->is_final)
        REFUSE(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "a plan or its addresses are not finalized");
    if (p->is.plan.handle != handle)
        REFUSE(CUDNN_STATUS_BAD_PARAM, "a plan of another handle");
    if (!handle->stream)
        REFUSE(CUDNN_STATUS_BAD_PARAM, "the handle was given no stream");
    const dnn_operation *o = &p->is.plan.config.engine.graph.operation;
    const int64_t wanted[3] = {o->x.id, o->w.id, o->y.id};
    for (int i = 0; i < v->is.pack.n_ids; i++) {
        int k = 0;
        while (k < 3 && wanted[k] != v->is.pack.id[i])
            k++;
        if (k == 3)
            REFUSE(CUDNN_STATUS_BAD_PARAM, "an address for tensor %lld, which the graph does not have", (long long)v->is.pack.id[i]);
        address[k] = v->is.pack.pointer[i];
    }
    for (int k = 0; k < 3; k++)
        if (!address[k])
            REFUSE(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "no address for tensor %lld", (long long)wanted[k]);
    return dnn_execute(handle->stream, &p->is.plan, address[0], address[1], address[2], v->is.pack.workspace);
}
