/* Weights of PyTorch: files read tensor by tensor, taken over into parameters, and written. Read are .safetensors, what
 * torch.save() writes (.pth, .pt), the .ckpt of PyTorch Lightning, and our own checkpoints; which of them a file is, its
 * bytes say and not its name. A pickle is read by a machine that can build tensors, dicts, lists, numbers and strings and
 * calls nothing (docs/weights.md). Not collective. */
#ifndef ANYCLASS_WEIGHTS_H
#define ANYCLASS_WEIGHTS_H

#include "anyclass/checkpoint.h"
#include "anyclass/graph.h"
#include "anyclass/hash.h"
#include "anyclass/params.h"

enum { AC_WEIGHTS_MAX_DIMS = 8 };

typedef enum ac_weights_kind { AC_WEIGHTS_SAFETENSORS, AC_WEIGHTS_PYTORCH, AC_WEIGHTS_LIGHTNING, AC_WEIGHTS_CHECKPOINT } ac_weights_kind;
/** "safetensors", "PyTorch", "PyTorch Lightning", "anyclass checkpoint": static storage. */
const char *ac_weights_kind_name(ac_weights_kind kind);

/* name of the type in safetensors, bytes of an element, is it a floating point type */
#define AC_WEIGHTS_TYPES(X)                                                                                               \
    X(F64, 8, true) X(F32, 4, true) X(F16, 2, true) X(BF16, 2, true)                                                     \
    X(I64, 8, false) X(I32, 4, false) X(I16, 2, false) X(I8, 1, false)                                                   \
    X(U64, 8, false) X(U32, 4, false) X(U16, 2, false) X(U8, 1, false) X(BOOL, 1, false)
typedef enum ac_weights_type {
#define AC_WEIGHTS_TYPE(name, bytes, is_float) AC_WEIGHTS_##name,
    AC_WEIGHTS_TYPES(AC_WEIGHTS_TYPE)
#undef AC_WEIGHTS_TYPE
    AC_N_WEIGHTS_TYPES
} ac_weights_type;
/** "F32", ...: static storage. */
const char *ac_weights_type_name(ac_weights_type type);
/** Bytes of one element. */
size_t ac_weights_type_bytes(ac_weights_type type);
/** F64, F32, F16 or BF16. */
bool ac_weights_type_is_float(ac_weights_type type);

typedef struct ac_weights_tensor {
    const char *name; /* without "model." of Lightning and "module." of DataParallel; borrowed from the file */
    ac_weights_type type;
    int n_dims;
    int64_t dim[AC_WEIGHTS_MAX_DIMS];
    int64_t n_elements;
    uint64_t n_bytes; /* n_elements of its type */
    bool outside;     /* in a Lightning file beside the model: of its loss or metrics */
} ac_weights_tensor;

typedef struct ac_weights { /* a file that is open */
    ac_weights_kind kind;
    ac_weights_tensor *tensor; /* [n_tensors] in the order of the file */
    size_t n_tensors;
    char *metadata; /* JSON object: a .ckpt's hyper_parameters, a .safetensors' __metadata__, a checkpoint's info; or NULL */
    struct ac_weights_source *source; /* where the tensors lie */
} ac_weights;

/** Open and check everything but the tensors' values: sizes, offsets and types are right then. Memory used is bounded by the
 * size of the file's directory.
 * @return AC_ERR_IO; AC_ERR_DATA naming the file and what is wrong; AC_ERR_MEMORY. Nothing is left open then. */
AC_NODISCARD ac_status ac_weights_open(const char *path, ac_weights **out);
/** NULL is allowed. */
void ac_weights_close(ac_weights *weights);
/** Number of the tensor, or -1. */
int64_t ac_weights_find(const ac_weights *weights, const char *name);
/** All elements as float, rounded to nearest, in PyTorch's order (last dimension fastest), whatever the strides in the file.
 * @param[out] out  [n_elements], the caller's
 * @return AC_ERR_IO, AC_ERR_MEMORY; AC_ERR_DATA naming the tensor when what the file holds has another hash than it says (where the
 *         format has one). */
AC_NODISCARD ac_status ac_weights_read(ac_weights *weights, size_t k, float *out);
/** Hash of all bytes of a file. AC_ERR_IO. */
AC_NODISCARD ac_status ac_weights_hash_file(const char *path, ac_hash *hash);

/** A buffer that only PyTorch has: num_batches_tracked, a counter that nothing reads, or relative_position_index, a table that
 * follows from the window's size. */
bool ac_weights_is_torch_only(const char *name);

/* ---- into parameters ---- */

#define AC_INPLACE_ABN_CHOICES "auto|yes|no"
typedef enum ac_inplace_abn { AC_INPLACE_ABN_AUTO, AC_INPLACE_ABN_YES, AC_INPLACE_ABN_NO } ac_inplace_abn;

typedef struct ac_weights_options {
    const char *model;         /* its name */
    const ac_graph *graph;     /* from which the parameters were made */
    bool new_head;             /* the last linear layer keeps the values that it has */
    ac_inplace_abn inplace_abn; /* batch norm weights w stand for |w| + 1e-5; auto: of a TResNet that was not trained here */
} ac_weights_options;

/** Take the tensors of the file at `path` over: every parameter and running statistic must be there in its shape, and no tensor
 * that the model lacks, but for num_batches_tracked and relative_position_index. A position embedding for another image size is
 * interpolated. What was done beside copying is logged.
 * @return AC_ERR_DATA naming the file, the tensor and both shapes, also for a value that is not finite; AC_ERR_IO; AC_ERR_MEMORY.
 *         After a failure the parameters may be changed in part. */
AC_NODISCARD ac_status ac_weights_load(const char *path, const ac_weights_options *options, ac_params *params);

/** Bicubic interpolation of a position embedding [1, 1 + old * old, width] to [1, 1 + new * new, width] as torchvision's
 * interpolate_embeddings() has it (corners aligned, no antialiasing): the class token's row is kept. */
void ac_weights_resize_positions(const float *from, int64_t n_old, float *to, int64_t n_new, int64_t width);

/* ---- out of a checkpoint ---- */

/** Write the weights of a checkpoint as .safetensors: PyTorch's names, shapes and order, and the buffers that only PyTorch has, so
 * that load_state_dict(strict=True) accepts them. What `info` says of model, classes, image size and normalisation becomes metadata.
 * Complete or absent (file.h); one tensor at a time is in memory.
 * @param graph  of the checkpoint's model, classes and image size
 * @param from   the checkpoint, open
 * @return AC_ERR_DATA when the checkpoint does not hold the graph's parameters; AC_ERR_IO; AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_weights_save(const char *path, const ac_checkpoint_info *info, const ac_graph *graph, ac_weights *from);

#endif
