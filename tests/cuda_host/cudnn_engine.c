/* The engines of the double of cuDNN: which there are for a convolution and what they tell of themselves, and the convolution itself, as products
 * over gathered columns. Some are such as lib/backend/cuda must not take, and compute so that it shows. */
#include "tests/cuda_host/dnn.h"
#include "tests/cuda_host/library.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMN_FLOATS = 1 << 20, WORKSPACE_ALIGN = 16 };
static const char *const library = "cuDNN";
#define REFUSE(status, ...) return emulated_fault(library, __VA_ARGS__), (status)

typedef enum engine_id {
    TENSOR,   /* tensor cores: float operands become tf32 */
    ATOMIC,   /* never the same twice */
    WINOGRAD, /* operands lose digits; 3x3 alone */
    IMPLICIT, /* no workspace, takes everything */
    COLUMNS,  /* workspace by its knob, a tile of 0 to 3 */
    COMPILED, /* when the plan is made */
    NARROW,   /* no plan: too little shared memory */
    HUGE,     /* 2 GiB of workspace */
    N_ENGINES
} engine_id;

/* ---- the problem ---- */

static bool type_of(int32_t type, int32_t *out)
{
    *out = type == CUDNN_DATA_BFLOAT16 ? AC_BF16 : type == CUDNN_DATA_HALF ? AC_F16 : AC_F32;
    return true; /* tensors of others are not finalized */
}

static bool is_channels_last(const dnn_tensor *t)
{
    const int64_t *d = t->dimension, *s = t->stride;
    return t->n_dimensions == 4 && s[1] == 1 && s[3] == d[1] && s[2] == d[3] * d[1] && s[0] == d[2] * d[3] * d[1];
}

static cudnnStatus_t check_types(const dnn_operation *o, dnn_shape *s)
{
    int32_t x, w, y;
    type_of(o->x.type, &x);
    type_of(o->w.type, &w);
    type_of(o->y.type, &y);
    s->type = o->pass == DNN_DATA ? w : x;
    s->result = o->pass == DNN_FORWARD ? y : o->pass == DNN_DATA ? x : w;
    int32_t other = o->pass == DNN_FORWARD ? w : y;
    if (other != s->type || (s->result != s->type && s->result != AC_F32))
        REFUSE(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "types of tensors that do not go together");
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t dnn_shape_of(const dnn_operation *o, dnn_shape *s)
{
    const int64_t *x = o->x.dimension, *w = o->w.dimension, *y = o->y.dimension;
    const dnn_convolution *c = &o->convolution;
    if (!is_channels_last(&o->x) || !is_channels_last(&o->w) || !is_channels_last(&o->y))
        REFUSE(CUDNN_STATUS_NOT_SUPPORTED_LAYOUT, "a tensor that is not channels last, or has gaps");
    *s = (dnn_shape){.n = x[0], .c = x[1], .h = x[2], .w = x[3], .o = w[0], .kh = w[2], .kw = w[3], .oh = y[2], .ow = y[3]};
    s->stride_h = c->stride[0];
    s->stride_w = c->stride[1];
    s->pad_h = c->before[0];
    s->pad_w = c->before[1];
    if (c->dilation[0] != 1 || c->dilation[1] != 1)
        REFUSE(CUDNN_STATUS_NOT_SUPPORTED, "a dilation of %lld, %lld, which nothing here wants", (long long)c->dilation[0], (long long)c->dilation[1]);
    if (x[1] % w[1] != 0 || y[1] != w[0] || y[0] != x[0] || w[0] % (x[1] / w[1]) != 0)
        REFUSE(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "%lld x %lld channels, weights %lld x %lld, result %lld x %lld", (long long)x[0], (long long)x[1], (long long)w[0],
               (long long)w[1], (long long)y[0], (long long)y[1]);
    s->groups = x[1] / w[1];
    int64_t space_h = s->h + s->pad_h + c->after[0] - s->kh, space_w = s->w + s->pad_w + c->after[1] - s->kw;
    if (space_h < 0 || space_w < 0 || space_h / s->stride_h + 1 != s->oh || space_w / s->stride_w + 1 != s->ow)
        REFUSE(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "%lld x %lld does not become %lld x %lld", (long long)s->h, (long long)s->w, (long long)s->oh, (long long)s->ow);
    return check_types(o, s);
}

/* ---- engines ---- */

int dnn_numerical_notes(int64_t engine, cudnnBackendNumericalNote_t *out)
{
    int n = 0;
    if (engine == TENSOR || engine == COMPILED)
        out[n++] = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
    if (engine == ATOMIC)
        out[n++] = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
    if (engine == WINOGRAD) {
        out[n++] = CUDNN_NUMERICAL_NOTE_WINOGRAD;
        out[n++] = CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4;
    }
    return n;
}

int dnn_behavior_notes(int64_t engine, cudnnBackendBehaviorNote_t *out)
{
    int n = 0;
    if (engine != COLUMNS)
        out[n++] = CUDNN_BEHAVIOR_NOTE_SUPPORTS_CUDA_GRAPH_NATIVE_API;
    if (engine == COMPILED)
        out[n++] = CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    return n;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool takes(const dnn_graph *graph, int64_t engine)
{
    const dnn_operation *o = &graph->operation;
    dnn_shape s;
    if (engine < 0 || engine >= N_ENGINES || dnn_shape_of(o, &s) != CUDNN_STATUS_SUCCESS)
        return false;
    if (s.result != s.type && !getenv("ANYCLASS_EMULATE_FLOAT_RESULT")) /* as cuDNN 9.19 */
        return false;
    if (s.kh == 2) /* something the library lacks */
        return false;
    if (engine == IMPLICIT)
        return true;
    if (engine == WINOGRAD && (s.kh != 3 || s.kw != 3 || s.stride_h != 1 || s.stride_w != 1))
        return false;
    return s.groups == 1 && least(o->x.alignment, least(o->w.alignment, o->y.alignment)) >= 16;
}

static void add_config(const dnn_graph *graph, engine_id engine, int64_t tile, dnn_config *out, int *n)
{
    if (!takes(graph, engine))
        return;
    dnn_config *c = &out[(*n)++];
    memset(c, 0, sizeof *c);
    c->engine.graph = *graph;
    c->engine.index = engine;
    c->n_knobs = engine == COLUMNS;
    c->knob[0] = (dnn_knob){CUDNN_KNOB_TYPE_TILE_SIZE, tile};
}

int dnn_list_configs(const dnn_graph *graph, int32_t mode, dnn_config *out)
{
    int n = 0;
    if (mode != CUDNN_HEUR_MODE_A) {
        add_config(graph, ATOMIC, 0, out, &n);
        add_config(graph, IMPLICIT, 0, out, &n);
        return n;
    }
    bool few = graph->operation.w.dimension[0] % 7 == 0; /* all but one are such as we do not take, and that one is to be compiled */
    add_config(graph, ATOMIC, 0, out, &n);
    add_config(graph, WINOGRAD, 0, out, &n);
    add_config(graph, NARROW, 0, out, &n);
    add_config(graph, HUGE, 0, out, &n);
    if (!few)
        add_config(graph, TENSOR, 0, out, &n);
    add_config(graph, COMPILED, 0, out, &n);
    if (few)
        return n;
    add_config(graph, COLUMNS, 2, out, &n);
    add_config(graph, COLUMNS, 1, out, &n);
    if (takes(graph, TENSOR)) /* not those with groups: they are in the other list */
        add_config(graph, IMPLICIT, 0, out, &n);
    return n;
}

cudnnStatus_t dnn_check_engine(const dnn_engine *engine)
{
    return takes(&engine->graph, engine->index) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED; /* no fault: one may ask */
}

cudnnStatus_t dnn_check_config(const dnn_config *config)
{
    bool has_tile = config->engine.index == COLUMNS;
    for (int i = 0; i < config->n_knobs; i++)
        if (!has_tile || config->knob[i].type != CUDNN_KNOB_TYPE_TILE_SIZE || config->knob[i].value < 0 || config->knob[i].value > 3)
            return CUDNN_STATUS_BAD_PARAM;
    return dnn_check_engine(&config->engine);
}

static int64_t depth_of(const dnn_shape *s)
{
    return s->kh * s->kw * s->c / s->groups;
}

cudnnStatus_t dnn_finish_plan(dnn_plan *plan)
{
    const dnn_config *c = &plan->config;
    dnn_shape s;
    cudnnStatus_t status = dnn_shape_of(&c->engine.graph.operation, &s);
    if (status != CUDNN_STATUS_SUCCESS)
        return status;
    int64_t weights = s.o * depth_of(&s), rows = s.n * s.oh * s.ow, tile = c->n_knobs ? c->knob[0].value : 0;
    plan->workspace_bytes = 0;
    switch ((engine_id)c->engine.index) {
    case NARROW:
        return CUDNN_STATUS_NOT_SUPPORTED_SHARED_MEMORY_INSUFFICIENT;
    case HUGE:
        plan->workspace_bytes = (int64_t)2 << 30;
        break;
    case COLUMNS:
        plan->workspace_bytes = least(rows, (int64_t)16 << tile) * depth_of(&s) * 4;
        break;
    case TENSOR:
        plan->workspace_bytes = c->engine.graph.operation.pass == DNN_FORWARD ? 0 : weights * 4;
        break;
    case COMPILED:
        plan->workspace_bytes = 4096;
        break;
    default:
        break;
    }
    return CUDNN_STATUS_SUCCESS;
}

/* ---- execution ---- */

typedef struct job {
    dnn_shape s;
    int32_t pass, engine;
    unsigned turn; /* the how many-th execution */
    void *x, *w, *y, *workspace;
    size_t workspace_bytes;
} job;

typedef struct source { /* an operand as float: where it lies, or a copy */
    const float *values;
    float *copy;
} source;

static source load(const job *j, const void *from, int64_t n)
{
    source out = {from, NULL};
    bool plain = j->engine != WINOGRAD && !(j->engine == TENSOR || j->engine == COMPILED);
    if (j->s.type == AC_F32 && plain)
        return out;
    out.values = out.copy = emulated_block((size_t)n * sizeof(float));
    emulated_to_float(out.copy, (ac_dtype)j->s.type, from, 0, n);
    if (j->engine == WINOGRAD)
        emulated_round_bf16(out.copy, n);
    else if (!plain && j->s.type == AC_F32)
        emulated_round_tf32(out.copy, n);
    return out;
}

/* Where output `row` meets the input under (ky, kx): element 0 of that pixel's group, or -1 outside of the image. */
static int64_t pixel(const dnn_shape *s, int64_t row, int64_t ky, int64_t kx, int64_t group)
{
    int64_t ox = row % s->ow, oy = row / s->ow % s->oh, image = row / s->ow / s->oh;
    int64_t iy = oy * s->stride_h - s->pad_h + ky, ix = ox * s->stride_w - s->pad_w + kx;
    return iy < 0 || iy >= s->h || ix < 0 || ix >= s->w ? -1 : ((image * s->h + iy) * s->w + ix) * s->c + group * (s->c / s->groups);
}

/* columns [n_rows, kh, kw, inside]: to the columns from x, or with `back` added from them to x. */
static void move(const dnn_shape *s, int64_t first, int64_t n_rows, int64_t group, const float *from, float *columns, float *back)
{
    int64_t inside = s->c / s->groups;
    for (int64_t r = 0; r < n_rows; r++)
        for (int64_t ky = 0; ky < s->kh; ky++)
            for (int64_t kx = 0; kx < s->kw; kx++) {
                float *column = columns + ((r * s->kh + ky) * s->kw + kx) * inside;
                int64_t at = pixel(s, first + r, ky, kx, group);
                if (back) {
                    for (int64_t i = 0; at >= 0 && i < inside; i++)
                        back[at + i] += column[i];
                } else if (at >= 0) {
                    memcpy(column, from + at, (size_t)inside * sizeof *column);
                } else {
                    memset(column, 0, (size_t)inside * sizeof *column);
                }
            }
}

typedef struct buffers {
    const float *x, *w, *y; /* what is read */
    float *columns, *made;  /* the result */
} buffers;

/* `n` outputs from `first` on, of one group: their part of the result. */
static void part(const job *j, const buffers *b, int64_t first, int64_t n, int64_t group)
{
    const dnn_shape *s = &j->s;
    int64_t depth = depth_of(s), outside = s->o / s->groups;
    const float *w = b->w + group * outside * depth;
    emulated_matrix columns = {b->columns, depth, 1};
    if (j->pass != DNN_DATA)
        move(s, first, n, group, b->x, b->columns, NULL);
    if (j->pass == DNN_FORWARD)
        emulated_product(n, outside, depth, columns, (emulated_matrix){w, 1, depth}, b->made + first * s->o + group * outside, s->o, false);
    else if (j->pass == DNN_FILTER)
        emulated_product(outside, depth, n, (emulated_matrix){b->y + first * s->o + group * outside, 1, s->o}, columns, b->made + group * outside * depth, depth, true);
    else
        emulated_product(n, depth, outside, (emulated_matrix){b->y + first * s->o + group * outside, s->o, 1}, (emulated_matrix){w, depth, 1}, b->columns, depth, false);
    if (j->pass == DNN_DATA)
        move(s, first, n, group, NULL, b->columns, b->made);
}

static void run(void *context)
{
    const job *j = context;
    const dnn_shape *s = &j->s;
    int64_t depth = depth_of(s), rows = s->n * s->oh * s->ow, n_x = s->n * s->h * s->w * s->c, n_w = s->o * depth, n_y = rows * s->o;
    int64_t n_made = j->pass == DNN_FORWARD ? n_y : j->pass == DNN_DATA ? n_x : n_w, chunk = MOST_COLUMN_FLOATS / depth;
    source none = {NULL, NULL}, x = j->pass == DNN_DATA ? none : load(j, j->x, n_x), w = j->pass == DNN_FILTER ? none : load(j, j->w, n_w);
    source y = j->pass == DNN_FORWARD ? none : load(j, j->y, n_y);
    void *result = j->pass == DNN_FORWARD ? j->y : j->pass == DNN_DATA ? j->x : j->w;
    chunk = least(rows, chunk > 64 ? chunk : 64);
    buffers b = {x.values, w.values, y.values, emulated_block((size_t)(chunk * depth) * sizeof(float)), emulated_block((size_t)n_made * sizeof(float))};
    if (j->workspace_bytes)
        memset(j->workspace, 0xFF, j->workspace_bytes);
    if (j->pass != DNN_FORWARD)
        memset(b.made, 0, (size_t)n_made * sizeof(float));
    for (int64_t group = 0; group < s->groups; group++)
        for (int64_t first = 0; first < rows; first += chunk)
            part(j, &b, first, least(chunk, rows - first), group);
    for (int64_t i = 0; j->engine == ATOMIC && i < n_made; i++)
        b.made[i] *= 1 + 0.01f * (float)(1 + j->turn % 5);
    emulated_from_float((ac_dtype)s->result, result, 0, b.made, n_made);
    free(b.columns);
    free(b.made);
    free(x.copy);
    free(w.copy);
    free(y.copy);
}

static emulated_span span_of(const char *what, const dnn_tensor *t, const void *at)
{
    int32_t type;
    type_of(t->type, &type);
    int64_t n = t->dimension[0] * t->dimension[1] * t->dimension[2] * t->dimension[3];
    return (emulated_span){what, at, (size_t)n * emulated_type_bytes((ac_dtype)type), (size_t)t->alignment};
}

cudnnStatus_t dnn_execute(cudaStream_t stream, const dnn_plan *plan, void *x, void *w, void *y, void *workspace)
{
    static unsigned turn;
    const dnn_operation *o = &plan->config.engine.graph.operation;
    emulated_span span[3] = {span_of("x", &o->x, x), span_of("the weights", &o->w, w), span_of("y", &o->y, y)};
    emulated_span room = {"the workspace", workspace, (size_t)plan->workspace_bytes, WORKSPACE_ALIGN};
    const int result = o->pass == DNN_FORWARD ? 2 : o->pass == DNN_DATA ? 0 : 1;
    job j;
    memset(&j, 0, sizeof j);
    for (int i = 0; i < 3; i++) {
        if (!emulated_check_span(library, &span[i]))
            return (uintptr_t)span[i].at % span[i].alignment ? CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER : CUDNN_STATUS_EXECUTION_FAILED;
        if (i != result && emulated_overlap(&span[i], &span[result]))
            REFUSE(CUDNN_STATUS_BAD_PARAM, "the result lies in %s", span[i].what);
    }
    if (room.n_bytes > 0 && !emulated_check_span(library, &room))
        return workspace ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
    for (int i = 0; room.n_bytes > 0 && i < 3; i++)
        if (emulated_overlap(&span[i], &room))
            REFUSE(CUDNN_STATUS_BAD_PARAM, "the workspace lies in %s", span[i].what);
    cudnnStatus_t status = dnn_shape_of(o, &j.s);
    if (status != CUDNN_STATUS_SUCCESS)
        return status;
    j.pass = o->pass;
    j.engine = (int32_t)plan->config.engine.index;
    j.turn = turn++;
    j.x = x;
    j.w = w;
    j.y = y;
    j.workspace = workspace;
    j.workspace_bytes = room.n_bytes;
    emulated_enqueue(stream, "convolution", run, &j, sizeof j);
    return CUDNN_STATUS_SUCCESS;
}
