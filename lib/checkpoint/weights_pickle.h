/* The pickles of torch.save(), read without building or calling anything: values that may hold tensors, and what is known
 * of every class or function that such a pickle may name. */
#ifndef ANYCLASS_LIB_WEIGHTS_PICKLE_H
#define ANYCLASS_LIB_WEIGHTS_PICKLE_H

#include "anyclass/json.h"
#include "anyclass/weights.h"

/* What a name in a pickle stands for (weights_globals.c). */
typedef enum ac_pickle_meaning {
    AC_MEANS_DICT,      /* a dict, or something that has one: OrderedDict, Namespace */
    AC_MEANS_TENSOR,    /* torch._utils._rebuild_tensor and its successors */
    AC_MEANS_TENSOR_V3, /* with a type of its own */
    AC_MEANS_PARAMETER, /* a tensor inside of something */
    AC_MEANS_SUBCLASS,  /* torch._tensor._rebuild_from_type_v2 */
    AC_MEANS_SIZE,      /* a tuple */
    AC_MEANS_STORAGE,   /* type of a tensor's memory */
    AC_MEANS_UNTYPED,   /* the same, counted in bytes */
    AC_MEANS_TYPE,      /* torch.float32 */
    AC_MEANS_CONSTANT,  /* a class or function that may be named, not called */
    AC_MEANS_OPAQUE     /* whatever is done with it, is parsed and dropped */
} ac_pickle_meaning;

typedef struct ac_pickle_global { /* a row of the list */
    const char *module, *name;    /* name "*": all of the module and of those below it */
    ac_pickle_meaning meaning;
    ac_weights_type type; /* of STORAGE and TYPE */
} ac_pickle_global;

/** The row for a name, or NULL: such a pickle is refused. */
const ac_pickle_global *ac_pickle_find_global(const char *module, size_t n_module, const char *name, size_t n_name);

typedef enum ac_pickle_kind {
    AC_PICKLE_NONE,
    AC_PICKLE_BOOL,
    AC_PICKLE_INT,
    AC_PICKLE_FLOAT,
    AC_PICKLE_TEXT,
    AC_PICKLE_TUPLE,
    AC_PICKLE_LIST,
    AC_PICKLE_DICT,
    AC_PICKLE_GLOBAL,
    AC_PICKLE_STORAGE,
    AC_PICKLE_TENSOR,
    AC_PICKLE_OPAQUE
} ac_pickle_kind;

enum { AC_PICKLE_END = UINT32_MAX, AC_PICKLE_MOST_DEPTH = 64, AC_PICKLE_MOST_BYTES = 1 << 25 };

typedef struct ac_pickle_value {
    uint8_t kind, depth; /* depth of what is inside */
    union {
        int64_t integer; /* and BOOL */
        double number;
        struct {
            uint32_t at, n; /* bytes of the pickle */
        } text;
        struct {
            uint32_t first, last, n; /* cells */
        } items;
        uint32_t index;                 /* of STORAGE and TENSOR */
        const ac_pickle_global *global; /* of GLOBAL; of OPAQUE what it was made by, or NULL */
    } is;
} ac_pickle_value;

typedef struct ac_pickle_cell { /* an element, or a key with its value */
    uint32_t key, value, next;
} ac_pickle_cell;

typedef struct ac_pickle_storage {
    uint32_t key_at, n_key; /* its entry's name */
    bool untyped;           /* n_elements are bytes */
    ac_weights_type type;
    int64_t n_elements;
} ac_pickle_storage;

typedef struct ac_pickle_tensor {
    uint32_t storage;
    ac_weights_type type;
    int n_dims;
    int64_t dim[AC_WEIGHTS_MAX_DIMS], stride[AC_WEIGHTS_MAX_DIMS], first;
} ac_pickle_tensor;

typedef struct ac_pickle {
    const uint8_t *bytes; /* borrowed */
    size_t n_bytes;
    ac_pickle_value *value;
    ac_pickle_cell *cell;
    ac_pickle_storage *storage;
    ac_pickle_tensor *tensor;
    size_t n_values, n_cells, n_storages, n_tensors;
    size_t value_capacity, cell_capacity, storage_capacity, tensor_capacity;
    uint32_t top; /* the value that was pickled */
} ac_pickle;

/** Read a whole pickle; its memory is a small multiple of n_bytes. Release in any case.
 * @param bytes  [n_bytes], borrowed as long as `out` is used
 * @return AC_ERR_DATA saying what is not allowed, not known or damaged; AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_pickle_read(const uint8_t *bytes, size_t n_bytes, ac_pickle *out);
void ac_pickle_release(ac_pickle *pickle);
/** Value of a text key of a dict; NULL when it has none or is none. The last one of that key, as Python has it. */
const ac_pickle_value *ac_pickle_get(const ac_pickle *pickle, const ac_pickle_value *dict, const char *key);
/** True when the value is this text. */
bool ac_pickle_is_text(const ac_pickle *pickle, const ac_pickle_value *value, const char *text);
/** A value as JSON under `key`: what JSON does not have as a text like "<argparse.Namespace>". Not more than 10,000 values.
 * AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_pickle_print(const ac_pickle *pickle, const ac_pickle_value *value, const char *key, ac_json *json);

#endif
