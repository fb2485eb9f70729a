/* Reading the header of .safetensors: a length, a JSON object of names with type, shape and place, then the tensors'
 * bytes. As the format's own reader it wants them to fill the file without a gap or an overlap. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/json.h"
#include "checkpoint/weights_internal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, MOST_HEADER_BYTES = 1 << 24 };

static ac_status read_type(const ac_json_value *tensor, ac_weights_type *out)
{
    ac_status status = AC_OK;
    const char *name;
    AC_TRY(ac_json_read_string(ac_json_get(tensor, "dtype"), "dtype", &name));
    for (int t = 0; t < AC_N_WEIGHTS_TYPES; t++)
        if (strcmp(ac_weights_type_name((ac_weights_type)t), name) == 0) {
            *out = (ac_weights_type)t;
            return AC_OK;
        }
    status = ac_error(AC_ERR_DATA, "its type %.40s is not known", name);
out:
    return status;
}

static ac_status read_tensor(const ac_json_value *json, uint64_t data_at, uint64_t n_data, ac_weights_tensor *tensor, ac_weights_place *place)
{
    ac_status status = AC_OK;
    const ac_json_value *shape = ac_json_get(json, "shape"), *offsets = ac_json_get(json, "data_offsets");
    int64_t from, to;
    const size_t n_dims = ac_json_count(shape);
    if (!shape || ac_json_key_at(shape, 0) || n_dims > AC_WEIGHTS_MAX_DIMS || ac_json_count(offsets) != 2 || ac_json_key_at(offsets, 0))
        return ac_error(AC_ERR_DATA, "its shape or data_offsets are missing or too long");
    AC_TRY(read_type(json, &tensor->type));
    tensor->n_dims = (int)n_dims;
    for (size_t i = 0; i < n_dims; i++)
        AC_TRY(ac_json_read_int(ac_json_at(shape, i), "shape", &tensor->dim[i]));
    AC_TRY(ac_weights_count(tensor));
    AC_TRY(ac_json_read_int(ac_json_at(offsets, 0), "data_offsets", &from));
    AC_TRY(ac_json_read_int(ac_json_at(offsets, 1), "data_offsets", &to));
    if (from < 0 || to < from || (uint64_t)to > n_data)
        return ac_error(AC_ERR_DATA, "its bytes %" PRId64 " to %" PRId64 " are not in the file, which has %" PRIu64, from, to, n_data);
    if ((uint64_t)(to - from) != tensor->n_bytes)
        return ac_error(AC_ERR_DATA, "it has %" PRId64 " bytes, its shape and type need %" PRIu64, to - from, tensor->n_bytes);
    *place = (ac_weights_place){.at = data_at + (uint64_t)from, .storage_elements = (uint64_t)tensor->n_elements, .contiguous = true};
out:
    return status;
}

static ac_status keep_metadata(ac_weights *weights, const ac_json_value *metadata)
{
    ac_status status = AC_OK;
    ac_json *json = NULL;
    const char *text;
    size_t n;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    for (size_t i = 0; i < ac_json_count(metadata); i++) {
        AC_TRY(ac_json_read_string(ac_json_at(metadata, i), "__metadata__", &text));
        ac_json_string(json, ac_json_key_at(metadata, i), text);
    }
    ac_json_end_object(json);
    AC_TRY(ac_json_text(json, &text, &n));
    AC_TRY(ac_strdup(text, &weights->metadata));
out:
    ac_json_destroy(json);
    return status;
}

static ac_status read_tensors(ac_weights *weights, const ac_json_value *header, uint64_t data_at)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < ac_json_count(header); i++) {
        const char *name = ac_json_key_at(header, i);
        ac_weights_tensor *tensor;
        ac_weights_place *place;
        if (!name)
            return ac_error(AC_ERR_DATA, "its header is no JSON object");
        if (strcmp(name, "__metadata__") == 0) {
            if (weights->metadata)
                return ac_error(AC_ERR_DATA, "its header has __metadata__ twice");
            AC_TRY(keep_metadata(weights, ac_json_at(header, i)));
            continue;
        }
        AC_TRY(ac_weights_add(weights, name, strlen(name), &tensor, &place));
        status = read_tensor(ac_json_at(header, i), data_at, weights->source->n_bytes - data_at, tensor, place);
        if (status != AC_OK)
            return ac_error_in(status, "tensor %.200s", name);
    }
out:
    return status;
}

typedef struct range {
    uint64_t from, n;
    size_t k;
} range;

static int by_place(const void *a, const void *b)
{
    const range *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return (x->n > y->n) - (x->n < y->n); /* an empty one in front of who begins there */
}

static ac_status check_cover(const ac_weights *weights, uint64_t data_at)
{
    ac_status status = AC_OK;
    const ac_weights_source *s = weights->source;
    range *list = NULL;
    uint64_t at = data_at;
    AC_TRY(ac_malloc(weights->n_tensors + 1, sizeof *list, &list));
    for (size_t k = 0; k < weights->n_tensors; k++)
        list[k] = (range){s->place[k].at, weights->tensor[k].n_bytes, k};
    if (weights->n_tensors)
        qsort(list, weights->n_tensors, sizeof *list, by_place);
    for (size_t i = 0; i < weights->n_tensors; at += list[i++].n)
        if (list[i].from != at)
            AC_TRY(ac_error(AC_ERR_DATA, "there is %s tensor number %zu", list[i].from > at ? "a gap in front of" : "an overlap with", list[i].k));
    if (at != s->n_bytes)
        status = ac_error(AC_ERR_DATA, "%" PRIu64 " bytes at its end belong to no tensor", s->n_bytes - at);
out:
    ac_free(list);
    return status;
}

ac_status ac_weights_open_safetensors(ac_weights *weights)
{
    ac_status status = AC_OK;
    const ac_weights_source *s = weights->source;
    uint8_t length[LENGTH_BYTES];
    char *text = NULL;
    ac_json_value *header = NULL;
    uint64_t n = 0;
    AC_TRY(ac_file_read_at(s->fd, 0, length, sizeof length));
    for (int i = 0; i < LENGTH_BYTES; i++)
        n |= (uint64_t)length[i] << 8 * i;
    if (n > s->n_bytes - LENGTH_BYTES || n > MOST_HEADER_BYTES)
        AC_TRY(ac_error(AC_ERR_DATA, "its header has %" PRIu64 " bytes, the file %" PRIu64 ", and read are at most %d", n, s->n_bytes,
                        MOST_HEADER_BYTES));
    AC_TRY(ac_malloc((size_t)n + 1, 1, &text));
    AC_TRY(ac_file_read_at(s->fd, LENGTH_BYTES, text, (size_t)n));
    AC_TRY(ac_json_parse("header", text, (size_t)n, &header));
    AC_TRY(read_tensors(weights, header, LENGTH_BYTES + n));
    AC_TRY(check_cover(weights, LENGTH_BYTES + n));
out:
    ac_json_release(header);
    ac_free(text);
    return status;
}
