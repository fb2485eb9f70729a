/* Shapes and element types. */
#include "anyclass/graph.h"
#include <inttypes.h>
#include <stdio.h>

size_t ac_dtype_bytes(ac_dtype dtype)
{
    switch (dtype) {
    case AC_U8:
        return 1;
    case AC_BF16:
    case AC_F16:
        return 2;
    case AC_F32:
        return 4;
    case AC_F64:
    case AC_I64:
        return 8;
    }
    return 0;
}

const char *ac_dtype_name(ac_dtype dtype)
{
    switch (dtype) {
    case AC_U8:
        return "u8";
    case AC_BF16:
        return "bf16";
    case AC_F16:
        return "f16";
    case AC_F32:
        return "f32";
    case AC_F64:
        return "f64";
    case AC_I64:
        return "i64";
    }
    return "?";
}

int64_t ac_shape_elements(const ac_shape *shape)
{
    int64_t n = 1;
    for (int i = 0; i < shape->n_dims; i++)
        n *= shape->dim[i];
    return n;
}

size_t ac_shape_bytes(const ac_shape *shape)
{
    return (size_t)ac_shape_elements(shape) * ac_dtype_bytes(shape->dtype);
}

bool ac_shape_equal(const ac_shape *a, const ac_shape *b)
{
    if (a->n_dims != b->n_dims || a->dtype != b->dtype)
        return false;
    for (int i = 0; i < a->n_dims; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

char *ac_shape_format(const ac_shape *shape, char *out, size_t capacity)
{
    size_t used = 0;
    int n = snprintf(out, capacity, "[");
    for (int i = 0; i < shape->n_dims && n > 0 && used + (size_t)n < capacity; i++) {
        used += (size_t)n;
        n = snprintf(out + used, capacity - used, "%s%" PRId64, i ? ", " : "", shape->dim[i]);
    }
    if (n > 0 && used + (size_t)n < capacity) {
        used += (size_t)n;
        snprintf(out + used, capacity - used, "] %s", ac_dtype_name(shape->dtype));
    }
    return out;
}
