/* Reading our own JSON documents: YAJL's parser fills a small tree of ours, with every allocation counted. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/file.h"
#include "anyclass/json.h"
#include <math.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum { MAX_DEPTH = 64 };

typedef enum kind { KIND_NULL, KIND_BOOL, KIND_NUMBER, KIND_STRING, KIND_ARRAY, KIND_OBJECT } kind;

struct ac_json_value {
    kind kind;
    bool truth;
    char *text;              /* string, or a number as written */
    char **key;              /* [n] members' names (objects) */
    ac_json_value **item;    /* [n] elements or members */
    size_t n, item_capacity, key_capacity;
};

typedef struct builder {
    ac_json_value *root;
    ac_json_value *open[MAX_DEPTH];
    int depth;
    ac_status status;
} builder;

void ac_json_release(ac_json_value *value)
{
    if (!value)
        return;
    for (size_t i = 0; i < value->n; i++) {
        ac_json_release(value->item[i]);
        if (value->key)
            ac_free(value->key[i]);
    }
    /* a key that waits for its value */
    if (value->kind == KIND_OBJECT && value->key && value->n < value->key_capacity)
        ac_free(value->key[value->n]);
    ac_free(value->item);
    ac_free(value->key);
    ac_free(value->text);
    ac_free(value);
}

static ac_status copy_text(const unsigned char *text, size_t n, char **out)
{
    ac_status status = ac_malloc(n + 1, 1, out);
    if (status == AC_OK) {
        memcpy(*out, text, n);
        (*out)[n] = 0;
    }
    return status;
}

static ac_json_value *add(builder *b, kind what)
{
    ac_status status = AC_OK;
    ac_json_value *value = NULL;
    AC_TRY(ac_calloc(1, sizeof *value, &value));
    value->kind = what;
    if (b->depth == 0) {
        b->root = value;
    } else {
        ac_json_value *parent = b->open[b->depth - 1];
        AC_TRY(ac_reserve(&parent->item, &parent->item_capacity, parent->n + 1, sizeof *parent->item));
        parent->item[parent->n++] = value;
    }
    if (what == KIND_ARRAY || what == KIND_OBJECT) {
        if (b->depth == MAX_DEPTH) {
            b->status = ac_error(AC_ERR_DATA, "nested deeper than %d", MAX_DEPTH);
            return NULL;
        }
        b->open[b->depth++] = value;
    }
    return value;
out:
    ac_free(value);
    b->status = status;
    return NULL;
}

static int on_null(void *context)
{
    return add(context, KIND_NULL) != NULL;
}

static int on_bool(void *context, int truth)
{
    ac_json_value *value = add(context, KIND_BOOL);
    if (value)
        value->truth = truth != 0;
    return value != NULL;
}

static int on_text(builder *b, kind what, const unsigned char *text, size_t n)
{
    ac_json_value *value = add(b, what);
    if (value)
        b->status = copy_text(text, n, &value->text);
    return value != NULL && b->status == AC_OK;
}

static int on_number(void *context, const char *text, size_t n)
{
    return on_text(context, KIND_NUMBER, (const unsigned char *)text, n);
}

static int on_string(void *context, const unsigned char *text, size_t n)
{
    return on_text(context, KIND_STRING, text, n);
}

static int on_key(void *context, const unsigned char *text, size_t n)
{
    builder *b = context;
    ac_json_value *object = b->open[b->depth - 1];
    size_t old = object->key_capacity;
    b->status = ac_reserve(&object->key, &object->key_capacity, object->n + 1, sizeof *object->key);
    if (b->status != AC_OK)
        return 0;
    memset(object->key + old, 0, (object->key_capacity - old) * sizeof *object->key);
    b->status = copy_text(text, n, &object->key[object->n]);
    return b->status == AC_OK;
}

static int on_begin_array(void *context)
{
    return add(context, KIND_ARRAY) != NULL;
}

static int on_begin_object(void *context)
{
    return add(context, KIND_OBJECT) != NULL;
}

static int on_end(void *context)
{
    ((builder *)context)->depth--;
    return 1;
}

static ac_status parse_error(yajl_handle handle, const builder *b, const char *name, const char *text, size_t n)
{
    if (b->status != AC_OK)
        return ac_error_in(b->status, "%s", name);
    size_t at = yajl_get_bytes_consumed(handle), line = 1;
    for (size_t i = 0; i < at && i < n; i++)
        line += text[i] == '\n';
    unsigned char *why = yajl_get_error(handle, 0, (const unsigned char *)text, n);
    size_t length = why ? strcspn((const char *)why, "\n") : 0;
    ac_status status = ac_error(AC_ERR_DATA, "%s line %zu: %.*s", name, line, (int)length, why ? (const char *)why : "");
    if (why)
        yajl_free_error(handle, why);
    return status;
}

ac_status ac_json_parse(const char *name, const char *text, size_t n_bytes, ac_json_value **out)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_bool,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_begin_object,
        .yajl_map_key = on_key,
        .yajl_end_map = on_end,
        .yajl_start_array = on_begin_array,
        .yajl_end_array = on_end,
    };
    ac_status status = AC_OK;
    builder b = {.status = AC_OK};
    *out = NULL;
    yajl_handle handle = yajl_alloc(&callbacks, NULL, &b);
    if (!handle)
        return ac_error(AC_ERR_MEMORY, "%s: cannot allocate a parser", name);
    if (yajl_parse(handle, (const unsigned char *)text, n_bytes) != yajl_status_ok || yajl_complete_parse(handle) != yajl_status_ok)
        AC_TRY(parse_error(handle, &b, name, text, n_bytes));
    if (!b.root)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: empty", name));
    *out = b.root;
    b.root = NULL;
out:
    ac_json_release(b.root);
    yajl_free(handle);
    return status;
}

ac_status ac_json_load(const char *path, ac_json_value **out)
{
    uint8_t *bytes;
    size_t n;
    *out = NULL;
    ac_status status = ac_file_read_all(path, (size_t)1 << 30, &bytes, &n);
    if (status != AC_OK)
        return status;
    status = ac_json_parse(path, (const char *)bytes, n, out);
    ac_free(bytes);
    return status;
}

const ac_json_value *ac_json_get(const ac_json_value *object, const char *key)
{
    if (!object || object->kind != KIND_OBJECT)
        return NULL;
    for (size_t i = 0; i < object->n; i++)
        if (strcmp(object->key[i], key) == 0)
            return object->item[i];
    return NULL;
}

size_t ac_json_count(const ac_json_value *value)
{
    return value ? value->n : 0;
}

const ac_json_value *ac_json_at(const ac_json_value *value, size_t i)
{
    return value && i < value->n ? value->item[i] : NULL;
}

const char *ac_json_key_at(const ac_json_value *object, size_t i)
{
    return object && object->kind == KIND_OBJECT && i < object->n ? object->key[i] : NULL;
}

static ac_status expect(const ac_json_value *value, kind wanted, const char *what, const char *type)
{
    if (value && value->kind == wanted)
        return AC_OK;
    return ac_error(AC_ERR_DATA, "%s is %s, needs %s", what, value ? "of another type" : "missing", type);
}

ac_status ac_json_read_string(const ac_json_value *value, const char *what, const char **out)
{
    ac_status status = expect(value, KIND_STRING, what, "a string");
    if (status == AC_OK)
        *out = value->text;
    return status;
}

ac_status ac_json_read_int(const ac_json_value *value, const char *what, int64_t *out)
{
    ac_status status = expect(value, KIND_NUMBER, what, "a whole number");
    if (status == AC_OK)
        status = ac_parse_int64(value->text, INT64_MIN, INT64_MAX, out);
    return status == AC_OK ? AC_OK : ac_error_in(status, "%s", what);
}

ac_status ac_json_read_double(const ac_json_value *value, const char *what, double *out)
{
    if (value && value->kind == KIND_NULL) {
        *out = NAN;
        return AC_OK;
    }
    ac_status status = expect(value, KIND_NUMBER, what, "a number");
    if (status == AC_OK)
        status = ac_parse_double(value->text, out);
    return status == AC_OK ? AC_OK : ac_error_in(status, "%s", what);
}

ac_status ac_json_read_bool(const ac_json_value *value, const char *what, bool *out)
{
    ac_status status = expect(value, KIND_BOOL, what, "true or false");
    if (status == AC_OK)
        *out = value->truth;
    return status;
}
