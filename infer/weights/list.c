/* anyclass-weights list: the tensors of a file. */
#include "anyclass/alloc.h"
#include "anyclass/json.h"
#include "anyclass/log.h"
#include "infer/weights/weights.h"
#include <inttypes.h>
#include <string.h>

static int64_t count_elements(const ac_weights *w)
{
    int64_t n = 0;
    for (size_t k = 0; k < w->n_tensors; k++)
        if (ac_weights_type_is_float(w->tensor[k].type) && !w->tensor[k].outside)
            n += w->tensor[k].n_elements;
    return n;
}

static ac_status print_text(const ac_weights *w, const char *path, weights_text *text)
{
    ac_status status = AC_OK;
    for (size_t k = 0; k < w->n_tensors; k++) {
        const ac_weights_tensor *t = &w->tensor[k];
        AC_TRY(weights_add_text(text, "%-5s %12" PRIu64 "  %s ", ac_weights_type_name(t->type), t->n_bytes, t->name));
        AC_TRY(weights_add_shape(text, t));
        AC_TRY(weights_add_text(text, "%s\n", t->outside ? " beside the model" : ""));
    }
    AC_TRY(weights_add_text(text, "%s: %s, %zu tensors, %" PRId64 " numbers of the model\n", path, ac_weights_kind_name(w->kind), w->n_tensors,
                            count_elements(w)));
out:
    return status;
}

/* Any JSON value once more. */
static void copy_json(ac_json *to, const char *key, const ac_json_value *value)
{
    const char *text;
    int64_t integer;
    double number;
    bool flag;
    if (ac_json_count(value) || ac_json_read_string(value, "", &text) == AC_OK) {
        if (!ac_json_count(value)) {
            ac_json_string(to, key, text);
        } else if (ac_json_key_at(value, 0)) {
            ac_json_begin_object(to, key);
            for (size_t i = 0; i < ac_json_count(value); i++)
                copy_json(to, ac_json_key_at(value, i), ac_json_at(value, i));
            ac_json_end_object(to);
        } else {
            ac_json_begin_array(to, key);
            for (size_t i = 0; i < ac_json_count(value); i++)
                copy_json(to, NULL, ac_json_at(value, i));
            ac_json_end_array(to);
        }
    } else if (ac_json_read_int(value, "", &integer) == AC_OK) {
        ac_json_int(to, key, integer);
    } else if (ac_json_read_bool(value, "", &flag) == AC_OK) {
        ac_json_bool(to, key, flag);
    } else if (ac_json_read_double(value, "", &number) == AC_OK) {
        ac_json_double(to, key, number);
    } else {
        ac_json_string(to, key, NULL);
    }
}

static ac_status print_json(const ac_weights *w, const char *path, ac_json *json)
{
    ac_status status = AC_OK;
    ac_json_value *metadata = NULL;
    ac_json_begin_object(json, NULL);
    ac_json_string(json, "file", path);
    ac_json_string(json, "kind", ac_weights_kind_name(w->kind));
    if (w->metadata) {
        AC_TRY(ac_json_parse(path, w->metadata, strlen(w->metadata), &metadata));
        copy_json(json, "metadata", metadata);
    }
    ac_json_begin_array(json, "tensors");
    for (size_t k = 0; k < w->n_tensors; k++) {
        const ac_weights_tensor *t = &w->tensor[k];
        ac_json_begin_object(json, NULL);
        ac_json_string(json, "name", t->name);
        ac_json_string(json, "dtype", ac_weights_type_name(t->type));
        ac_json_begin_array(json, "shape");
        for (int i = 0; i < t->n_dims; i++)
            ac_json_int(json, NULL, t->dim[i]);
        ac_json_end_array(json);
        ac_json_int(json, "bytes", (int64_t)t->n_bytes);
        ac_json_bool(json, "outside", t->outside);
        ac_json_end_object(json);
    }
    ac_json_end_array(json);
    ac_json_end_object(json);
out:
    ac_json_release(metadata);
    return status;
}

ac_status weights_list(const char *path, bool as_json)
{
    ac_status status = AC_OK;
    ac_weights *w = NULL;
    ac_json *json = NULL;
    weights_text text = {0};
    const char *answer;
    size_t n;
    AC_TRY(ac_weights_open(path, &w));
    if (as_json) {
        AC_TRY(ac_json_create(&json));
        AC_TRY(print_json(w, path, json));
        AC_TRY(ac_json_text(json, &answer, &n));
    } else {
        AC_TRY(print_text(w, path, &text));
        answer = text.at;
    }
    AC_TRY(ac_log_answer(answer));
out:
    ac_weights_close(w);
    ac_json_destroy(json);
    ac_free(text.at);
    return status;
}
