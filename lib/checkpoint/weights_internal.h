/* Inside of the readers of weights: what the formats hand to weights.c. Not installed. */
#ifndef ANYCLASS_LIB_WEIGHTS_INTERNAL_H
#define ANYCLASS_LIB_WEIGHTS_INTERNAL_H

#include "anyclass/weights.h"
#include "checkpoint/checkpoint_internal.h"
#include "checkpoint/weights_zip.h"

typedef struct ac_weights_place { /* where a tensor's elements lie */
    uint64_t at;                  /* of the storage, in the file */
    uint64_t storage_elements;
    uint64_t first;                      /* element of the storage that is the tensor's first one */
    int64_t stride[AC_WEIGHTS_MAX_DIMS]; /* elements */
    bool contiguous;
    size_t entry; /* of the zip file */
} ac_weights_place;

typedef struct ac_weights_source {
    char path[AC_PATH_BYTES];
    int fd;
    uint64_t n_bytes;
    ac_weights_place *place; /* [n_tensors] */
    size_t tensor_capacity, place_capacity, n_names, names_capacity;
    char *names; /* zero-terminated; tensors hold offsets into it until ac_weights_name_all() */
    ac_zip zip;
    ac_checkpoint_file checkpoint;
} ac_weights_source;

/** Append a tensor whose name is still to be set, with room for it in tensor and place; both zeroed. */
AC_NODISCARD ac_status ac_weights_add(ac_weights *weights, const char *name, size_t n_name, ac_weights_tensor **tensor, ac_weights_place **place);
/** Product of the dimensions into n_elements and n_bytes. AC_ERR_DATA when it passes 2^62 or a dimension is negative. */
AC_NODISCARD ac_status ac_weights_count(ac_weights_tensor *tensor);

/* Each format's part of ac_weights_open(); texts do not name the file. */
AC_NODISCARD ac_status ac_weights_open_safetensors(ac_weights *weights);
AC_NODISCARD ac_status ac_weights_open_pytorch(ac_weights *weights);

#endif
