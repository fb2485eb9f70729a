/* Convolutions by cuDNN's graph interface: one operation, of whose engines the first deterministic ones are built and timed, or the one that
 * was the fastest in an earlier job is built again. Tensors are channels last; cuDNN names dimensions N, C, H, W and takes the order in memory from the strides. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "backend/cuda/libraries.h"
#include <stdio.h>

enum { MOST_ENGINES = 64, MOST_CANDIDATES = 16, TENSOR_X = 1, TENSOR_WEIGHT = 2, TENSOR_Y = 3, POINTER_ALIGN = 16 };
#define MOST_WORKSPACE_BYTES ((int64_t)1 << 30)

struct cuda_conv {
    cuda_conv_spec spec;
    bool missing; /* cuDNN has none */
    cudnnBackendDescriptor_t execution;
    int64_t workspace_bytes;
    cuda_conv *next;
};

static cudnnDataType_t type_of(int dtype)
{
    return dtype == AC_BF16 ? CUDNN_DATA_BFLOAT16 : dtype == AC_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_FLOAT;
}

static void drop(cudnnBackendDescriptor_t *descriptor)
{
    if (*descriptor)
        cudnnBackendDestroyDescriptor(*descriptor);
    *descriptor = NULL;
}

void cuda_conv_destroy_all(cuda_libraries *libraries)
{
    while (libraries->conv) {
        cuda_conv *next = libraries->conv->next;
        drop(&libraries->conv->execution);
        ac_free(libraries->conv);
        libraries->conv = next;
    }
}

static ac_status make(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out)
{
    return cuda_dnn_check(cudnnBackendCreateDescriptor(type, out), "descriptor");
}

static ac_status set(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
    return cuda_dnn_check(cudnnBackendSetAttribute(d, name, type, n, values), "attribute");
}

static ac_status finalize(cudnnBackendDescriptor_t d, const char *what)
{
    return cuda_dnn_check(cudnnBackendFinalize(d), what);
}

/* A tensor [n, h, w, c]. */
static ac_status make_tensor(int64_t id, int dtype, int64_t n, int64_t h, int64_t w, int64_t c, cudnnBackendDescriptor_t *out)
{
    ac_status status = AC_OK;
    cudnnDataType_t type = type_of(dtype);
    int64_t dimension[4] = {n, c, h, w}, stride[4] = {h * w * c, 1, w * c, c}, alignment = POINTER_ALIGN;
    AC_TRY(make(CUDNN_BACKEND_TENSOR_DESCRIPTOR, out));
    AC_TRY(set(*out, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    AC_TRY(set(*out, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dimension));
    AC_TRY(set(*out, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride));
    AC_TRY(set(*out, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id));
    AC_TRY(set(*out, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment));
    AC_TRY(finalize(*out, "tensor"));
out:
    return status;
}

static ac_status make_convolution(const cuda_conv_spec *s, cudnnBackendDescriptor_t *out)
{
    ac_status status = AC_OK;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    int64_t n_dims = 2, padding[2] = {s->padding, s->padding}, stride[2] = {s->stride, s->stride}, dilation[2] = {1, 1};
    AC_TRY(make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, out));
    AC_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    AC_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    AC_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &n_dims));
    AC_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, padding));
    AC_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, padding));
    AC_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, dilation));
    AC_TRY(set(*out, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride));
    AC_TRY(finalize(*out, "convolution"));
out:
    return status;
}

typedef struct operation { /* descriptors, in the order in which they are made */
    cudnnBackendDescriptor_t tensor[3], convolution, node, graph;
} operation;

static void drop_operation(operation *o)
{
    drop(&o->graph);
    drop(&o->node);
    drop(&o->convolution);
    for (int i = 0; i < 3; i++)
        drop(&o->tensor[i]);
}

static const struct pass_names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t convolution, x, weight, y, alpha, beta;
} names_of[3] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static ac_status make_operation(cuda_device *device, const cuda_conv_spec *s, operation *o)
{
    ac_status status = AC_OK;
    const struct pass_names *names = &names_of[s->pass];
    float one = 1, zero = 0;
    AC_TRY(make_tensor(TENSOR_X, s->pass == CUDA_CONV_DX ? s->result : s->type, s->n, s->h, s->w, s->c, &o->tensor[0]));
    AC_TRY(make_tensor(TENSOR_WEIGHT, s->pass == CUDA_CONV_DW ? s->result : s->type, s->o, s->kernel, s->kernel, s->c / s->groups, &o->tensor[1]));
    AC_TRY(make_tensor(TENSOR_Y, s->pass == CUDA_CONV_FORWARD ? s->result : s->type, s->n, s->oh, s->ow, s->o, &o->tensor[2]));
    AC_TRY(make_convolution(s, &o->convolution));
    AC_TRY(make(names->type, &o->node));
    AC_TRY(set(o->node, names->convolution, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &o->convolution));
    AC_TRY(set(o->node, names->x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &o->tensor[0]));
    AC_TRY(set(o->node, names->weight, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &o->tensor[1]));
    AC_TRY(set(o->node, names->y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &o->tensor[2]));
    AC_TRY(set(o->node, names->alpha, CUDNN_TYPE_FLOAT, 1, &one));
    AC_TRY(set(o->node, names->beta, CUDNN_TYPE_FLOAT, 1, &zero));
    AC_TRY(finalize(o->node, "operation"));
    AC_TRY(make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &o->graph));
    AC_TRY(set(o->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &device->libraries->dnn));
    AC_TRY(set(o->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &o->node));
    AC_TRY(finalize(o->graph, "operation graph"));
out:
    return status;
}

/* Sums in a fixed order, operands as they are; float is float unless tf32 is allowed, and by no transform that loses digits.
 * *compiles: the engine is built at run time, which takes a second or more. */
static bool is_welcome(const cuda_device *device, const cuda_conv_spec *s, cudnnBackendDescriptor_t engine, bool *compiles)
{
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    cudnnBackendBehaviorNote_t behaviour[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT];
    int64_t n_notes = 0, n_behaviours = 0;
    bool good = cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n_notes, note) ==
                CUDNN_STATUS_SUCCESS;
    *compiles = false;
    if (good && cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, CUDNN_BEHAVIOR_NOTE_TYPE_COUNT, &n_behaviours, behaviour) == CUDNN_STATUS_SUCCESS)
        for (int64_t i = 0; i < n_behaviours && i < CUDNN_BEHAVIOR_NOTE_TYPE_COUNT; i++)
            *compiles |= behaviour[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    for (int64_t i = 0; good && i < n_notes && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++) {
        bool loses = note[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS || note[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
                     note[i] == CUDNN_NUMERICAL_NOTE_FFT || note[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD || note[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4 ||
                     note[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6 || note[i] == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13;
        good = !loses && note[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
        if (note[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE && s->type == AC_F32 && !device->tf32)
            good = false;
    }
    return good;
}

static bool engine_of(cudnnBackendDescriptor_t config, cudnnBackendDescriptor_t *engine)
{
    int64_t n = 0;
    return cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, engine) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, engine) == CUDNN_STATUS_SUCCESS;
}

static bool build(cuda_device *device, cudnnBackendDescriptor_t config, cudnnBackendDescriptor_t *execution, int64_t *workspace_bytes)
{
    int64_t n = 0;
    *workspace_bytes = 0;
    bool good = cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, execution) == CUDNN_STATUS_SUCCESS &&
                cudnnBackendSetAttribute(*execution, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &device->libraries->dnn) == CUDNN_STATUS_SUCCESS &&
                cudnnBackendSetAttribute(*execution, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config) == CUDNN_STATUS_SUCCESS &&
                cudnnBackendFinalize(*execution) == CUDNN_STATUS_SUCCESS &&
                cudnnBackendGetAttribute(*execution, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n, workspace_bytes) == CUDNN_STATUS_SUCCESS &&
                *workspace_bytes <= MOST_WORKSPACE_BYTES;
    if (!good)
        drop(execution);
    return good;
}

/* ---- an engine as text, and back: "engine 12 2=1 40=128", knobs with their values behind it ---- */

static bool format_knobs(cudnnBackendDescriptor_t config, char *out, size_t capacity)
{
    cudnnBackendDescriptor_t knob[CUDNN_KNOB_TYPE_COUNTS] = {NULL};
    int64_t n = 0, one;
    size_t used = strlen(out);
    bool good = true;
    for (int i = 0; good && i < CUDNN_KNOB_TYPE_COUNTS; i++)
        good = cudnnBackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knob[i]) == CUDNN_STATUS_SUCCESS;
    good = good && cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS, &n, knob) == CUDNN_STATUS_SUCCESS &&
           n <= CUDNN_KNOB_TYPE_COUNTS;
    for (int64_t i = 0; good && i < n; i++) {
        cudnnBackendKnobType_t type;
        int64_t value;
        good = cudnnBackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &one, &type) == CUDNN_STATUS_SUCCESS &&
               cudnnBackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &one, &value) == CUDNN_STATUS_SUCCESS;
        if (good)
            used += (size_t)snprintf(out + used, capacity - used, " %d=%lld", (int)type, (long long)value);
        good = good && used < capacity;
    }
    for (int i = 0; i < CUDNN_KNOB_TYPE_COUNTS; i++)
        drop(&knob[i]);
    return good;
}

/* Empty: this one cannot be written down. */
static void format_config(cudnnBackendDescriptor_t config, cudnnBackendDescriptor_t engine, char *out, size_t capacity)
{
    int64_t index, n = 0;
    out[0] = '\0';
    if (cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n, &index) != CUDNN_STATUS_SUCCESS)
        return;
    snprintf(out, capacity, "engine %lld", (long long)index);
    if (!format_knobs(config, out, capacity))
        out[0] = '\0';
}

static bool make_knob(int type, int64_t value, cudnnBackendDescriptor_t *out)
{
    cudnnBackendKnobType_t t = (cudnnBackendKnobType_t)type;
    return cudnnBackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, out) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(*out, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &t) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(*out, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &value) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendFinalize(*out) == CUDNN_STATUS_SUCCESS;
}

/* The engine of the text with its knobs, for this graph; false when the library does not take it. */
static bool parse_config(const char *text, cudnnBackendDescriptor_t graph, cudnnBackendDescriptor_t *engine, cudnnBackendDescriptor_t *config)
{
    cudnnBackendDescriptor_t knob[CUDNN_KNOB_TYPE_COUNTS] = {NULL};
    int64_t n = 0;
    long long index, value;
    int used = 0, type;
    bool good = sscanf(text, "engine %lld%n", &index, &used) == 1;
    for (const char *at = text + used; good && *at; at += used) {
        good = n < CUDNN_KNOB_TYPE_COUNTS && sscanf(at, " %d=%lld%n", &type, &value, &used) == 2 && make_knob(type, value, &knob[n]);
        n += good;
    }
    int64_t wanted = good ? index : 0;
    good = good && cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, engine) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(*engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(*engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &wanted) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendFinalize(*engine) == CUDNN_STATUS_SUCCESS && cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, config) == CUDNN_STATUS_SUCCESS &&
           cudnnBackendSetAttribute(*config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, engine) == CUDNN_STATUS_SUCCESS &&
           (n == 0 || cudnnBackendSetAttribute(*config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, n, knob) == CUDNN_STATUS_SUCCESS) &&
           cudnnBackendFinalize(*config) == CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < CUDNN_KNOB_TYPE_COUNTS; i++)
        drop(&knob[i]);
    return good;
}

/* ---- candidates ---- */

typedef struct candidates {
    cudnnBackendDescriptor_t execution[MOST_CANDIDATES];
    int64_t workspace_bytes[MOST_CANDIDATES];
    bool compiled[MOST_CANDIDATES]; /* at run time */
    char text[MOST_CANDIDATES][CUDA_CACHE_VALUE_BYTES];
    int n;
} candidates;

/* Joins the others if it is welcome, compiled or not as wanted, and can be built. */
static bool join(cuda_device *device, const cuda_conv_spec *s, cudnnBackendDescriptor_t config, bool compiled, candidates *found)
{
    cudnnBackendDescriptor_t engine = NULL;
    bool compiles, joins = engine_of(config, &engine) && is_welcome(device, s, engine, &compiles) && compiles == compiled &&
                           build(device, config, &found->execution[found->n], &found->workspace_bytes[found->n]);
    if (joins) {
        found->compiled[found->n] = compiles;
        format_config(config, engine, found->text[found->n], sizeof found->text[found->n]);
        found->n++;
    }
    drop(&engine);
    return joins;
}

/* What one of the library's lists offers, best first by its own guess. */
static ac_status collect(cuda_device *device, const cuda_conv_spec *s, cudnnBackendDescriptor_t graph, cudnnBackendHeurMode_t mode, int wanted, candidates *found)
{
    ac_status status = AC_OK;
    cudnnBackendDescriptor_t guess = NULL, config[MOST_ENGINES] = {NULL};
    int64_t n = 0;
    AC_TRY(make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &guess));
    AC_TRY(set(guess, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &graph));
    AC_TRY(set(guess, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    AC_TRY(finalize(guess, "choice of engines"));
    for (int i = 0; i < MOST_ENGINES; i++)
        AC_TRY(make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[i]));
    AC_TRY(cuda_dnn_check(cudnnBackendGetAttribute(guess, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_ENGINES, &n, config), "engines"));
    /* those that are there already come first; of those to be compiled, a second or more each, one joins in when many are to be timed */
    for (int pass = 0; pass < 2 && (found->n == 0 || (wanted >= 8 && found->n < wanted)); pass++)
        for (int64_t i = 0, taken = 0; i < n && i < MOST_ENGINES && found->n < wanted && (pass == 0 || taken == 0); i++)
            taken += join(device, s, config[i], pass == 1, found);
out:
    for (int i = 0; i < MOST_ENGINES; i++)
        drop(&config[i]);
    drop(&guess);
    return status;
}

typedef struct timing {
    cuda_device *device;
    const cuda_conv *conv;
    void *x, *weight, *y, *workspace;
} timing;

static ac_status run_once(void *context)
{
    const timing *t = context;
    return cuda_conv_run(t->device, t->conv, t->x, t->weight, t->y, t->workspace);
}

/* *best: the fastest. *timed: false when there is no memory for it; then it is number 0. */
static ac_status choose(cuda_device *device, cuda_conv *conv, const candidates *found, int *best, bool *timed)
{
    ac_status status = AC_OK;
    const cuda_conv_spec *s = &conv->spec;
    size_t x = cuda_aligned((size_t)(s->n * s->h * s->w * s->c) * 4), y = cuda_aligned((size_t)(s->n * s->oh * s->ow * s->o) * 4);
    size_t weight = cuda_aligned((size_t)(s->o * s->kernel * s->kernel * s->c / s->groups) * 4), workspace = 0;
    unsigned char *block = NULL;
    float best_ms = -1, ms;
    for (int k = 0; k < found->n; k++)
        workspace = (size_t)found->workspace_bytes[k] > workspace ? (size_t)found->workspace_bytes[k] : workspace;
    if (cudaMalloc((void **)&block, x + y + weight + workspace + CUDA_ALIGN) != cudaSuccess) {
        cudaGetLastError(); /* it is ours, not the next launch's */
        return AC_OK;
    }
    *timed = true;
    AC_TRY(cuda_check(cudaMemsetAsync(block, 0x3c, x + y + weight, device->stream), "fill"));
    timing t = {device, conv, block, block + x + y, block + x, block + x + y + weight};
    for (int k = 0; k < found->n; k++) {
        conv->execution = found->execution[k];
        if (cuda_time(device, run_once, &t, &ms) != AC_OK)
            continue;
        ac_log(AC_LOG_DEBUG, "cuDNN pass %d, %lld x %lld x %lld x %lld, %dx%d/%d to %lld, result %s, candidate %d%s: %.3f ms, workspace %.1f MiB", s->pass,
               (long long)s->n, (long long)s->h, (long long)s->w, (long long)s->c, s->kernel, s->kernel, s->stride, (long long)s->o,
               ac_dtype_name((ac_dtype)s->result), k, found->compiled[k] ? " (compiled)" : "", (double)ms, (double)found->workspace_bytes[k] / (1 << 20));
        if (best_ms < 0 || ms < best_ms) {
            *best = k;
            best_ms = ms;
        }
    }
out:
    conv->execution = NULL;
    cudaFree(block);
    return status;
}

/* ---- choices from an earlier job ---- */

static void name_convolution(const cuda_device *device, const cuda_conv_spec *s, char *key)
{
    snprintf(key, CUDA_CACHE_KEY_BYTES, "convolution pass %d x %lld %lld %lld %lld y %lld %lld %lld kernel %d stride %d padding %d groups %d types %d %d tf32 %d", s->pass,
             (long long)s->n, (long long)s->h, (long long)s->w, (long long)s->c, (long long)s->oh, (long long)s->ow, (long long)s->o, s->kernel, s->stride, s->padding, s->groups,
             s->type, s->result, device->tf32);
}

/* Whether the text is an engine that the library has for this convolution and that we want; then it is the convolution's. */
static bool take_engine(cuda_device *device, cuda_conv *conv, cudnnBackendDescriptor_t graph, const char *text)
{
    cudnnBackendDescriptor_t engine = NULL, config = NULL, execution = NULL;
    int64_t workspace_bytes;
    bool compiles, good = parse_config(text, graph, &engine, &config) && is_welcome(device, &conv->spec, engine, &compiles) &&
                          build(device, config, &execution, &workspace_bytes);
    if (good) {
        drop(&conv->execution);
        conv->execution = execution;
        conv->workspace_bytes = workspace_bytes;
    }
    drop(&config);
    drop(&engine);
    return good;
}

/* The fastest of those the library offers, and its text for the cache; *timed when that is worth keeping. */
static ac_status find_engine(cuda_device *device, cuda_conv *conv, cudnnBackendDescriptor_t graph, char *text, bool *timed)
{
    ac_status status = AC_OK;
    candidates found;
    int wanted = device->libraries->n_candidates < MOST_CANDIDATES ? device->libraries->n_candidates : MOST_CANDIDATES, best = 0;
    memset(&found, 0, sizeof found);
    status = collect(device, &conv->spec, graph, CUDNN_HEUR_MODE_A, wanted, &found);
    if (found.n == 0)
        status = collect(device, &conv->spec, graph, CUDNN_HEUR_MODE_FALLBACK, wanted, &found);
    if (found.n == 0)
        AC_TRY(ac_error(AC_ERR_UNSUPPORTED, "cuDNN has no engine for this convolution"));
    status = AC_OK;
    *timed = found.n == 1 && wanted > 1;
    if (found.n > 1)
        AC_TRY(choose(device, conv, &found, &best, timed));
    conv->execution = found.execution[best];
    conv->workspace_bytes = found.workspace_bytes[best];
    found.execution[best] = NULL;
    memcpy(text, found.text[best], sizeof found.text[best]);
out:
    for (int k = 0; k < found.n; k++)
        drop(&found.execution[k]);
    return status;
}

/* Kept, timed, or the library's first. */
static ac_status find(cuda_device *device, cuda_conv *conv)
{
    ac_status status = AC_OK;
    cuda_libraries *l = device->libraries;
    operation o;
    char key[CUDA_CACHE_KEY_BYTES], text[CUDA_CACHE_VALUE_BYTES] = "";
    bool timed = false;
    memset(&o, 0, sizeof o);
    AC_TRY(make_operation(device, &conv->spec, &o));
    name_convolution(device, &conv->spec, key);
    const char *kept = cuda_cache_find(l->cache, key, l->n_candidates);
    if (!kept || !take_engine(device, conv, o.graph, kept)) {
        if (kept)
            cuda_cache_forget(l->cache, key);
        AC_TRY(find_engine(device, conv, o.graph, text, &timed));
        kept = timed && text[0] ? cuda_cache_keep(l->cache, key, l->n_candidates, text) : NULL;
        if (kept)
            take_engine(device, conv, o.graph, kept); /* or it stays as it is */
    }
out:
    drop_operation(&o);
    return status;
}

ac_status cuda_conv_find(cuda_device *device, const cuda_conv_spec *spec, cuda_conv **out)
{
    ac_status status = AC_OK;
    cuda_conv *conv = NULL;
    *out = NULL;
    for (cuda_conv *known = device->libraries->conv; known; known = known->next)
        if (memcmp(&known->spec, spec, sizeof *spec) == 0) {
            if (known->missing)
                return ac_error(AC_ERR_UNSUPPORTED, "cuDNN has no engine for this convolution");
            *out = known;
            return AC_OK;
        }
    AC_TRY(ac_calloc(1, sizeof *conv, &conv));
    conv->spec = *spec;
    conv->next = device->libraries->conv;
    device->libraries->conv = conv;
    status = find(device, conv);
    conv->missing = status != AC_OK;
    *out = conv->missing ? NULL : conv;
out:
    return status;
}

size_t cuda_conv_workspace_bytes(const cuda_conv *conv)
{
    return (size_t)conv->workspace_bytes;
}

ac_status cuda_conv_run(cuda_device *device, const cuda_conv *conv, const void *x, const void *weight, const void *y, void *workspace)
{
    ac_status status = AC_OK;
    cudnnBackendDescriptor_t pack = NULL;
    int64_t id[3] = {TENSOR_X, TENSOR_WEIGHT, TENSOR_Y};
    const void *pointer[3] = {x, weight, y};
    AC_TRY(make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    AC_TRY(set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, id));
    AC_TRY(set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointer));
    AC_TRY(set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace));
    AC_TRY(finalize(pack, "addresses"));
    AC_TRY(cuda_dnn_check(cudnnBackendExecute(device->libraries->dnn, conv->execution, pack), "convolution"));
out:
    drop(&pack);
    return status;
}
