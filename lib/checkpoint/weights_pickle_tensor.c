/* Storages and tensors of a pickle, checked against each other in 64 bits; and values for who reads them: look-up and JSON. */
#include "checkpoint/weights_pickle_tensor.h"
#include "anyclass/alloc.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

ac_status ac_pickle_add_value(ac_pickle *p, ac_pickle_value value)
{
    ac_status status = ac_reserve(&p->value, &p->value_capacity, p->n_values + 1, sizeof *p->value);
    if (status == AC_OK)
        p->value[p->n_values++] = value;
    return status;
}

/* The first n elements of a tuple; false when it has fewer. */
static bool take(const ac_pickle *p, uint32_t tuple, uint32_t n, uint32_t *out)
{
    const ac_pickle_value *v = &p->value[tuple];
    if (v->kind != AC_PICKLE_TUPLE || v->is.items.n < n)
        return false;
    uint32_t cell = v->is.items.first;
    for (uint32_t i = 0; i < n; i++, cell = p->cell[cell].next)
        out[i] = p->cell[cell].value;
    return true;
}

static bool is_kind(const ac_pickle *p, uint32_t v, ac_pickle_kind kind)
{
    return p->value[v].kind == kind;
}

bool ac_pickle_is_text(const ac_pickle *p, const ac_pickle_value *v, const char *text)
{
    const size_t n = strlen(text);
    return v->kind == AC_PICKLE_TEXT && v->is.text.n == n && memcmp(p->bytes + v->is.text.at, text, n) == 0;
}

ac_status ac_pickle_make_storage(ac_pickle *p, uint32_t id, uint32_t *made)
{
    ac_status status = AC_OK;
    uint32_t of[5];
    if (!take(p, id, 5, of) || !ac_pickle_is_text(p, &p->value[of[0]], "storage") || !is_kind(p, of[1], AC_PICKLE_GLOBAL) ||
        !is_kind(p, of[2], AC_PICKLE_TEXT) || !is_kind(p, of[4], AC_PICKLE_INT))
        return ac_error(AC_ERR_DATA, "its pickle names a storage in a way that torch does not");
    const ac_pickle_global *global = p->value[of[1]].is.global;
    if (global->meaning != AC_MEANS_STORAGE && global->meaning != AC_MEANS_UNTYPED)
        return ac_error(AC_ERR_DATA, "its pickle has a storage of %s.%s", global->module, global->name);
    const int64_t n = p->value[of[4]].is.integer;
    if (n < 0 || n > INT64_MAX / 16)
        return ac_error(AC_ERR_DATA, "its pickle has a storage of %" PRId64 " elements", n);
    AC_TRY(ac_reserve(&p->storage, &p->storage_capacity, p->n_storages + 1, sizeof *p->storage));
    p->storage[p->n_storages] = (ac_pickle_storage){.key_at = p->value[of[2]].is.text.at,
                                                    .n_key = p->value[of[2]].is.text.n,
                                                    .untyped = global->meaning == AC_MEANS_UNTYPED,
                                                    .type = global->type,
                                                    .n_elements = n};
    AC_TRY(ac_pickle_add_value(p, (ac_pickle_value){.kind = AC_PICKLE_STORAGE, .is.index = (uint32_t)p->n_storages++}));
    *made = (uint32_t)p->n_values - 1;
out:
    return status;
}

/* A tuple of sizes or strides into out[AC_WEIGHTS_MAX_DIMS]; -1: it is none. */
static int take_dims(const ac_pickle *p, uint32_t tuple, int64_t *out)
{
    uint32_t of[AC_WEIGHTS_MAX_DIMS];
    const uint32_t n = p->value[tuple].is.items.n;
    if (!is_kind(p, tuple, AC_PICKLE_TUPLE) || n > AC_WEIGHTS_MAX_DIMS || !take(p, tuple, n, of))
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_kind(p, of[i], AC_PICKLE_INT) || p->value[of[i]].is.integer < 0)
            return -1;
        out[i] = p->value[of[i]].is.integer;
    }
    return (int)n;
}

/* Every element lies in the storage, and there are no more of them than the storage has. */
static bool is_inside(const ac_pickle_tensor *t, int64_t n_storage)
{
    int64_t n = 1, last = t->first;
    for (int i = 0; i < t->n_dims; i++)
        if (t->dim[i] == 0)
            return true;
    for (int i = 0; i < t->n_dims; i++) {
        int64_t reach;
        if (__builtin_mul_overflow(n, t->dim[i], &n) || __builtin_mul_overflow(t->dim[i] - 1, t->stride[i], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return false;
    }
    return t->first >= 0 && last < n_storage && n <= n_storage;
}

/* (storage, offset, size, stride, requires gradient, hooks [, type]) */
static ac_status make_tensor(ac_pickle *p, bool typed, uint32_t arguments, uint32_t *made)
{
    ac_status status = AC_OK;
    uint32_t of[7];
    ac_pickle_tensor t = {0};
    if (!take(p, arguments, typed ? 7 : 4, of) || !is_kind(p, of[0], AC_PICKLE_STORAGE) || !is_kind(p, of[1], AC_PICKLE_INT))
        return ac_error(AC_ERR_DATA, "its pickle builds a tensor in a way that torch does not");
    const int n_strides = take_dims(p, of[3], t.stride);
    const ac_pickle_storage *storage = &p->storage[p->value[of[0]].is.index];
    t.n_dims = take_dims(p, of[2], t.dim);
    t.storage = p->value[of[0]].is.index;
    t.first = p->value[of[1]].is.integer;
    t.type = storage->type;
    if (t.n_dims < 0 || n_strides != t.n_dims)
        return ac_error(AC_ERR_DATA, "its pickle has a tensor with wrong sizes, or with more than %d dimensions", AC_WEIGHTS_MAX_DIMS);
    if (typed) {
        const ac_pickle_value *type = &p->value[of[6]];
        if (type->kind != AC_PICKLE_GLOBAL || type->is.global->meaning != AC_MEANS_TYPE)
            return ac_error(AC_ERR_DATA, "its pickle has a tensor of no type that is known");
        t.type = type->is.global->type;
    } else if (storage->untyped) {
        return ac_error(AC_ERR_DATA, "its pickle builds a tensor in a way that torch does not");
    }
    if (!is_inside(&t, storage->untyped ? storage->n_elements / (int64_t)ac_weights_type_bytes(t.type) : storage->n_elements))
        return ac_error(AC_ERR_DATA, "its pickle has a tensor that passes the end of its storage %.*s",
                        (int)(storage->n_key > 20 ? 20 : storage->n_key), (const char *)p->bytes + storage->key_at);
    AC_TRY(ac_reserve(&p->tensor, &p->tensor_capacity, p->n_tensors + 1, sizeof *p->tensor));
    p->tensor[p->n_tensors] = t;
    AC_TRY(ac_pickle_add_value(p, (ac_pickle_value){.kind = AC_PICKLE_TENSOR, .is.index = (uint32_t)p->n_tensors++}));
    *made = (uint32_t)p->n_values - 1;
out:
    return status;
}

/* (function, class, its arguments, state): the class adds nothing to the tensor that the function makes. */
static ac_status make_subclass(ac_pickle *p, uint32_t arguments, uint32_t *made)
{
    uint32_t of[3];
    if (!take(p, arguments, 3, of) || !is_kind(p, of[0], AC_PICKLE_GLOBAL) || !is_kind(p, of[1], AC_PICKLE_GLOBAL))
        return ac_error(AC_ERR_DATA, "its pickle builds a tensor in a way that torch does not");
    const ac_pickle_meaning meaning = p->value[of[0]].is.global->meaning;
    if (meaning != AC_MEANS_TENSOR && meaning != AC_MEANS_TENSOR_V3)
        return ac_error(AC_ERR_DATA, "its pickle wants to call %s.%s, which is refused", p->value[of[0]].is.global->module,
                        p->value[of[0]].is.global->name);
    return make_tensor(p, meaning == AC_MEANS_TENSOR_V3, of[2], made);
}

ac_status ac_pickle_make_tensor(ac_pickle *p, const ac_pickle_global *global, uint32_t arguments, uint32_t *made)
{
    switch (global->meaning) {
    case AC_MEANS_TENSOR:
    case AC_MEANS_TENSOR_V3: return make_tensor(p, global->meaning == AC_MEANS_TENSOR_V3, arguments, made);
    case AC_MEANS_SUBCLASS: return make_subclass(p, arguments, made);
    default: break;
    }
    const ac_pickle_kind wanted = global->meaning == AC_MEANS_SIZE ? AC_PICKLE_TUPLE : AC_PICKLE_TENSOR;
    if (!take(p, arguments, 1, made) || (!is_kind(p, *made, wanted) && !(wanted == AC_PICKLE_TUPLE && is_kind(p, *made, AC_PICKLE_LIST))))
        return ac_error(AC_ERR_DATA, "its pickle calls %s.%s with something else than torch does", global->module, global->name);
    return AC_OK;
}

/* ---- for readers ---- */

const ac_pickle_value *ac_pickle_get(const ac_pickle *p, const ac_pickle_value *dict, const char *key)
{
    const ac_pickle_value *found = NULL;
    if (dict->kind != AC_PICKLE_DICT)
        return NULL;
    uint32_t cell = dict->is.items.first;
    for (uint32_t i = 0; i < dict->is.items.n && cell != AC_PICKLE_END; i++, cell = p->cell[cell].next)
        if (ac_pickle_is_text(p, &p->value[p->cell[cell].key], key))
            found = &p->value[p->cell[cell].value];
    return found;
}

typedef struct printer {
    const ac_pickle *p;
    ac_json *json;
    int n_left;
} printer;

/* A text of the pickle as a C string, cut where it has a zero, and when it is long: a pickle may name one text many times. */
static ac_status copy_text(const ac_pickle *p, const ac_pickle_value *v, char **out)
{
    enum { MOST_TEXT_BYTES = 2048 };
    const size_t n = v->is.text.n < MOST_TEXT_BYTES ? v->is.text.n : MOST_TEXT_BYTES;
    ac_status status = ac_malloc(n + 1, 1, out);
    if (status != AC_OK)
        return status;
    memcpy(*out, p->bytes + v->is.text.at, n);
    (*out)[n] = 0;
    return AC_OK;
}

static ac_status print(printer *to, const ac_pickle_value *v, const char *key, int depth);

/* A key as JSON has it; NULL in *own: none that can be printed. */
static ac_status print_key(const ac_pickle *p, const ac_pickle_value *key, char **own)
{
    *own = NULL;
    if (key->kind == AC_PICKLE_TEXT)
        return copy_text(p, key, own);
    if (key->kind != AC_PICKLE_INT)
        return AC_OK;
    char number[32];
    snprintf(number, sizeof number, "%" PRId64, key->is.integer);
    return ac_strdup(number, own);
}

static ac_status print_items(printer *to, const ac_pickle_value *v, const char *key, int depth)
{
    ac_status status = AC_OK;
    const bool is_dict = v->kind == AC_PICKLE_DICT;
    char *own = NULL;
    uint32_t cell = v->is.items.first;
    if (is_dict)
        ac_json_begin_object(to->json, key);
    else
        ac_json_begin_array(to->json, key);
    for (uint32_t i = 0; i < v->is.items.n && cell != AC_PICKLE_END && to->n_left > 0; i++, cell = to->p->cell[cell].next) {
        if (is_dict)
            AC_TRY(print_key(to->p, &to->p->value[to->p->cell[cell].key], &own));
        if (!is_dict || own)
            AC_TRY(print(to, &to->p->value[to->p->cell[cell].value], own, depth + 1));
        ac_free(own);
        own = NULL;
    }
    if (is_dict)
        ac_json_end_object(to->json);
    else
        ac_json_end_array(to->json);
out:
    ac_free(own);
    return status;
}

static void print_name(printer *to, const ac_pickle_value *v, const char *key)
{
    char text[160];
    static const char *const unnamed[] = {[AC_PICKLE_STORAGE] = "<storage>", [AC_PICKLE_TENSOR] = "<tensor>", [AC_PICKLE_OPAQUE] = "<bytes>"};
    if ((v->kind == AC_PICKLE_GLOBAL || v->kind == AC_PICKLE_OPAQUE) && v->is.global)
        snprintf(text, sizeof text, "<%s.%s>", v->is.global->module, v->is.global->name);
    else
        snprintf(text, sizeof text, "%s", unnamed[v->kind]);
    ac_json_string(to->json, key, text);
}

static ac_status print(printer *to, const ac_pickle_value *v, const char *key, int depth)
{
    ac_status status = AC_OK;
    char *text = NULL;
    to->n_left--;
    switch (v->kind) {
    case AC_PICKLE_NONE: ac_json_string(to->json, key, NULL); break;
    case AC_PICKLE_BOOL: ac_json_bool(to->json, key, v->is.integer != 0); break;
    case AC_PICKLE_INT: ac_json_int(to->json, key, v->is.integer); break;
    case AC_PICKLE_FLOAT: ac_json_double(to->json, key, v->is.number); break;
    case AC_PICKLE_TEXT:
        AC_TRY(copy_text(to->p, v, &text));
        ac_json_string(to->json, key, text);
        break;
    case AC_PICKLE_TUPLE:
    case AC_PICKLE_LIST:
    case AC_PICKLE_DICT:
        if (depth < AC_PICKLE_MOST_DEPTH / 2)
            return print_items(to, v, key, depth);
        ac_json_string(to->json, key, "<deeper>");
        break;
    default: print_name(to, v, key); break;
    }
out:
    ac_free(text);
    return status;
}

ac_status ac_pickle_print(const ac_pickle *p, const ac_pickle_value *value, const char *key, ac_json *json)
{
    printer to = {p, json, 10000};
    return print(&to, value, key, 0);
}
