/* The classes and functions that the pickles of torch.save() and of Lightning name, and what each means to a reader that
 * builds nothing. A name that is not here makes a file refused. */
#include "checkpoint/weights_pickle.h"
#include <string.h>

#define STORAGE(name, of)                                                                                                                            \
    {                                                                                                                                                \
        "torch", name "Storage", AC_MEANS_STORAGE, AC_WEIGHTS_##of                                                                                   \
    }
#define TYPE(name, of)                                                                                                                               \
    {                                                                                                                                                \
        "torch", name, AC_MEANS_TYPE, AC_WEIGHTS_##of                                                                                                \
    }
#define DICT(module, name)                                                                                                                           \
    {                                                                                                                                                \
        module, name, AC_MEANS_DICT, 0                                                                                                               \
    }
#define CONSTANT(module, name)                                                                                                                       \
    {                                                                                                                                                \
        module, name, AC_MEANS_CONSTANT, 0                                                                                                           \
    }
#define OPAQUE(module, name)                                                                                                                         \
    {                                                                                                                                                \
        module, name, AC_MEANS_OPAQUE, 0                                                                                                             \
    }

static const ac_pickle_global known[] = {
    {"torch._utils", "_rebuild_tensor_v2", AC_MEANS_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor", AC_MEANS_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v3", AC_MEANS_TENSOR_V3, 0},
    {"torch._utils", "_rebuild_parameter", AC_MEANS_PARAMETER, 0},
    {"torch._utils", "_rebuild_parameter_with_state", AC_MEANS_PARAMETER, 0},
    {"torch._tensor", "_rebuild_from_type_v2", AC_MEANS_SUBCLASS, 0},
    {"torch", "Size", AC_MEANS_SIZE, 0},
    {"torch.storage", "UntypedStorage", AC_MEANS_UNTYPED, AC_WEIGHTS_U8},
    STORAGE("Float", F32),
    STORAGE("Double", F64),
    STORAGE("Half", F16),
    STORAGE("BFloat16", BF16),
    STORAGE("Long", I64),
    STORAGE("Int", I32),
    STORAGE("Short", I16),
    STORAGE("Char", I8),
    STORAGE("Byte", U8),
    STORAGE("Bool", BOOL),
    TYPE("float32", F32),
    TYPE("float64", F64),
    TYPE("float16", F16),
    TYPE("bfloat16", BF16),
    TYPE("int64", I64),
    TYPE("int32", I32),
    TYPE("int16", I16),
    TYPE("int8", I8),
    TYPE("uint8", U8),
    TYPE("uint16", U16),
    TYPE("uint32", U32),
    TYPE("uint64", U64),
    TYPE("bool", BOOL),
    CONSTANT("torch", "Tensor"),
    CONSTANT("torch.nn.parameter", "Parameter"),
    CONSTANT("torch.nn.parameter", "Buffer"),
    CONSTANT("torch", "strided"),
    CONSTANT("torch", "contiguous_format"),
    CONSTANT("torch", "channels_last"),

    DICT("collections", "OrderedDict"),
    DICT("collections", "defaultdict"),
    DICT("collections", "Counter"),
    DICT("argparse", "Namespace"),
    DICT("types", "SimpleNamespace"),
    DICT("pytorch_lightning.utilities.parsing", "AttributeDict"),
    DICT("lightning.pytorch.utilities.parsing", "AttributeDict"),
    DICT("lightning_fabric.utilities.data", "AttributeDict"),
    DICT("lightning.fabric.utilities.data", "AttributeDict"),
    DICT("builtins", "dict"),
    DICT("__builtin__", "dict"),

    CONSTANT("builtins", "int"),
    CONSTANT("builtins", "float"),
    CONSTANT("builtins", "str"),
    CONSTANT("builtins", "bool"),
    CONSTANT("builtins", "list"),
    CONSTANT("builtins", "tuple"),
    CONSTANT("builtins", "object"),
    CONSTANT("__builtin__", "int"),
    CONSTANT("__builtin__", "float"),
    CONSTANT("__builtin__", "unicode"),
    CONSTANT("__builtin__", "bool"),
    CONSTANT("__builtin__", "list"),
    CONSTANT("__builtin__", "tuple"),
    CONSTANT("__builtin__", "object"),
    CONSTANT("pytorch_lightning.callbacks", "*"),
    CONSTANT("lightning.pytorch.callbacks", "*"),

    OPAQUE("builtins", "set"),
    OPAQUE("builtins", "frozenset"),
    OPAQUE("builtins", "complex"),
    OPAQUE("builtins", "bytearray"),
    OPAQUE("builtins", "slice"),
    OPAQUE("builtins", "range"),
    OPAQUE("__builtin__", "set"),
    OPAQUE("__builtin__", "frozenset"),
    OPAQUE("__builtin__", "complex"),
    OPAQUE("__builtin__", "bytearray"),
    OPAQUE("__builtin__", "slice"),
    OPAQUE("__builtin__", "xrange"),
    OPAQUE("_codecs", "encode"),
    OPAQUE("torch", "device"),
    OPAQUE("torch.serialization", "_get_layout"),
    OPAQUE("pathlib", "Path"),
    OPAQUE("pathlib", "PosixPath"),
    OPAQUE("pathlib", "WindowsPath"),
    OPAQUE("pathlib", "PurePath"),
    OPAQUE("pathlib", "PurePosixPath"),
    OPAQUE("pathlib", "PureWindowsPath"),
    OPAQUE("pathlib._local", "Path"),
    OPAQUE("pathlib._local", "PosixPath"),
    OPAQUE("pathlib._local", "WindowsPath"),
    OPAQUE("pathlib._local", "PurePosixPath"),
    OPAQUE("pathlib._local", "PureWindowsPath"),
    OPAQUE("numpy", "dtype"),
    OPAQUE("numpy", "ndarray"),
    OPAQUE("numpy.core.multiarray", "scalar"),
    OPAQUE("numpy.core.multiarray", "_reconstruct"),
    OPAQUE("numpy._core.multiarray", "scalar"),
    OPAQUE("numpy._core.multiarray", "_reconstruct"),
    OPAQUE("datetime", "datetime"),
    OPAQUE("datetime", "date"),
    OPAQUE("datetime", "time"),
    OPAQUE("datetime", "timedelta"),
    OPAQUE("datetime", "timezone"),
    OPAQUE("decimal", "Decimal"),
    OPAQUE("fractions", "Fraction"),
    OPAQUE("uuid", "UUID"),
    OPAQUE("torch.nn.modules", "*"), /* a loss among hyper-parameters */
};

static bool is_text(const char *text, const char *bytes, size_t n)
{
    return strlen(text) == n && memcmp(text, bytes, n) == 0;
}

/* The module itself or one below it. */
static bool is_below(const char *module, const char *bytes, size_t n)
{
    const size_t n_module = strlen(module);
    return n >= n_module && memcmp(module, bytes, n_module) == 0 && (n == n_module || bytes[n_module] == '.');
}

const ac_pickle_global *ac_pickle_find_global(const char *module, size_t n_module, const char *name, size_t n_name)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const bool all = known[i].name[0] == '*';
        if (all ? is_below(known[i].module, module, n_module) && n_name > 0 && !memchr(name, '.', n_name)
                : is_text(known[i].module, module, n_module) && is_text(known[i].name, name, n_name))
            return &known[i];
    }
    return NULL;
}
