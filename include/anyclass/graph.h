/* The static graph: values with fixed shapes, operators that connect them, parameters they use. A model function
 * appends operators; nothing here knows a device. Images and feature maps are channels last [N, H, W, C], tokens
 * [N, L, C], vectors [N, C]. Not collective.
 *
 * Builder functions (ac_add_*, ops.h) do not return a status: the first failure is kept in the graph, later calls then
 * return AC_NO_VALUE, and ac_graph_finish() reports it. So a model reads as a table of layers. */
#ifndef ANYCLASS_GRAPH_H
#define ANYCLASS_GRAPH_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ac_dtype { AC_F32, AC_BF16, AC_F16, AC_F64, AC_U8, AC_I64 } ac_dtype;
/** Bytes of one element. */
size_t ac_dtype_bytes(ac_dtype dtype);
/** "f32", "bf16", ...: static storage. */
const char *ac_dtype_name(ac_dtype dtype);

enum {
    AC_MAX_DIMS = 4,
    AC_MAX_INPUTS = 4,
    AC_MAX_OUTPUTS = 2,
    AC_MAX_NODE_PARAMS = 6,
    AC_MAX_SAVED = 4,
    AC_ATTRIBUTE_BYTES = 128,
    AC_NAME_BYTES = 96,
    AC_NO_VALUE = -1
};

typedef struct ac_shape {
    int n_dims;
    int64_t dim[AC_MAX_DIMS];
    ac_dtype dtype;
} ac_shape;

/** Product of the dimensions. */
int64_t ac_shape_elements(const ac_shape *shape);
/** Elements times bytes of one. */
size_t ac_shape_bytes(const ac_shape *shape);
/** Same dimensions and same element type. */
bool ac_shape_equal(const ac_shape *a, const ac_shape *b);
/** "[8, 56, 56, 64] f32" into out[capacity]; returns out. */
char *ac_shape_format(const ac_shape *shape, char *out, size_t capacity);

typedef int ac_value; /* index of a value in its graph */

/* ---- parameters ---- */

typedef enum ac_layout {
    AC_LAYOUT_PLAIN, /* as PyTorch stores it */
    AC_LAYOUT_OHWI   /* PyTorch [O, I, H, W], here [O, H, W, I] */
} ac_layout;

typedef enum ac_init_kind { AC_INIT_CONSTANT, AC_INIT_NORMAL, AC_INIT_UNIFORM, AC_INIT_TRUNCATED_NORMAL } ac_init_kind;

typedef struct ac_init { /* CONSTANT: a; NORMAL: mean a, std b; UNIFORM: [a, b); TRUNCATED_NORMAL: mean a, std b, cut at 2 std */
    ac_init_kind kind;
    float a, b;
} ac_init;

typedef enum ac_param_role {
    AC_PARAM_MATRIX, /* weight of a convolution or linear layer: in mixed precision read in the compute type */
    AC_PARAM_VECTOR, /* bias, scale, table: always read as float */
    AC_PARAM_BUFFER  /* running statistic: saved, never trained */
} ac_param_role;

typedef struct ac_param_info {
    char name[AC_NAME_BYTES]; /* PyTorch's name: "layer1.0.conv1.weight" */
    ac_shape shape;           /* in PyTorch's order of dimensions */
    ac_layout layout;
    ac_param_role role;
    ac_init init;
    int node;                 /* that uses it */
} ac_param_info;

/* ---- operators ---- */

struct ac_graph;
typedef struct ac_op ac_op;

typedef struct ac_node {
    const ac_op *op;
    char name[AC_NAME_BYTES]; /* PyTorch module name: "layer1.0.conv1" */
    int n_inputs, n_outputs, n_params, n_saved;
    ac_value input[AC_MAX_INPUTS];
    ac_value output[AC_MAX_OUTPUTS];
    int param[AC_MAX_NODE_PARAMS];         /* indices into the graph's parameters */
    ac_shape saved[AC_MAX_SAVED];          /* made by a training forward, read by backward */
    _Alignas(16) unsigned char attribute[AC_ATTRIBUTE_BYTES]; /* the operator's attribute struct */
} ac_node;

/* Bits of ac_op.keep: what backward reads besides the saved tensors. */
#define AC_KEEP_INPUT(i) (1u << (i))
#define AC_KEEP_OUTPUT(i) (1u << (8 + (i)))

/* One row per operator. Everything about it that is no arithmetic; the arithmetic is one ac_kernel row per backend. */
struct ac_op {
    const char *name;
    size_t attribute_bytes;
    int min_inputs, max_inputs;
    unsigned gradient_inputs;  /* bit i: input i can receive a gradient */
    bool is_loss;              /* backward starts here, with a gradient of 1 */
    bool is_norm;              /* in inference act(x k + b [+ input 1]) per channel: see AC_KERNEL_TAKES_NORM (backend.h) */
    /** Check the inputs, set the shapes of outputs and saved tensors, declare parameters with ac_graph_add_param(). */
    ac_status (*infer)(struct ac_graph *graph, ac_node *node);
    /** Which inputs and outputs backward reads (AC_KEEP_*). */
    unsigned (*keep)(const ac_node *node);
    /* bit i: the gradient of input i is that of output 0, unchanged. No kernel writes it. */
    unsigned passes;
    /** Multiply-adds x 2 of one forward; backward is counted by the plan as twice that. May be NULL (0). */
    double (*flops)(const struct ac_graph *graph, const ac_node *node);
};

typedef struct ac_value_info {
    ac_shape shape;
    int producer;            /* node index, or -1 for a graph input */
    bool needs_gradient;     /* a trainable parameter lies behind it */
    bool is_result;          /* read by the caller after the step: its memory is not reused */
    char name[AC_NAME_BYTES];
} ac_value_info;

typedef struct ac_graph { /* read freely, change through the functions below */
    ac_node *node;
    size_t n_nodes, node_capacity;
    ac_value_info *value;
    size_t n_values, value_capacity;
    ac_param_info *param;
    size_t n_params, param_capacity;
    ac_dtype activation_dtype; /* AC_F32, or the compute type of mixed precision */
    bool sync_bn;              /* batch statistics over all ranks */
    ac_status status;          /* first failure of a builder call */
    char error[AC_ERROR_TEXT_BYTES];
} ac_graph;

/** An empty graph whose activations are of `activation_dtype`. AC_ERR_MEMORY. Owned by the caller. */
AC_NODISCARD ac_status ac_graph_create(ac_dtype activation_dtype, ac_graph **out);
/** NULL is allowed. After every plan made from it. */
void ac_graph_destroy(ac_graph *graph);

/** A value the caller fills before each step. */
ac_value ac_graph_input(ac_graph *graph, const char *name, const ac_shape *shape);
/** Append an operator; `attribute` (op->attribute_bytes) is copied. Returns its output 0. */
ac_value ac_graph_append(ac_graph *graph, const ac_op *op, const char *name, const ac_value *inputs, int n_inputs, const void *attribute);
/** Mark a value that the caller reads after the step. */
void ac_graph_result(ac_graph *graph, ac_value value);
/** First failure of the building, or AC_OK. */
AC_NODISCARD ac_status ac_graph_finish(ac_graph *graph);
/** Value by name (graph inputs by their name, others by their node's), or AC_NO_VALUE. */
ac_value ac_graph_find(const ac_graph *graph, const char *name);
/** Total FLOPs of one forward. */
double ac_graph_flops(const ac_graph *graph);

/* For operators' infer functions. */
const ac_shape *ac_graph_shape(const ac_graph *graph, ac_value value);
/** Declare a parameter "{node name}.{suffix}" as the node's next one. */
AC_NODISCARD ac_status ac_graph_add_param(ac_graph *graph, ac_node *node, const char *suffix, ac_param_role role, ac_layout layout,
                                          int n_dims, const int64_t *dims, ac_init init);
/** The same under a name of its own: PyTorch's "class_token" belongs to no module. Plain layout, a vector. */
AC_NODISCARD ac_status ac_graph_add_named_param(ac_graph *graph, ac_node *node, const char *name, int n_dims, const int64_t *dims, ac_init init);
/** Set output `i` of the node (creating the value at the first call). */
AC_NODISCARD ac_status ac_graph_set_output(ac_graph *graph, ac_node *node, int i, ac_shape shape);

#endif
