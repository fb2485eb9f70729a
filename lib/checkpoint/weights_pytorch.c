/* The files of torch.save() and of Lightning: which dict of the pickle is the state dict, under which names its tensors go,
 * and where in the zip file each lies. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "checkpoint/weights_internal.h"
#include "checkpoint/weights_pickle.h"
#include <inttypes.h>
#include <string.h>

enum { MOST_NAME_BYTES = 1024, FOLDER_BYTES = 512 };

typedef struct archive {
    ac_weights *weights;
    ac_weights_source *source;
    char folder[FOLDER_BYTES]; /* in the zip file, with a '/' behind it */
    uint8_t *bytes;            /* data.pkl */
    ac_pickle pickle;
} archive;

static bool ends_with(const ac_zip_entry *e, const char *text)
{
    const size_t n = strlen(text);
    return e->n_name >= n && memcmp(e->name + e->n_name - n, text, n) == 0;
}

static size_t find_in_folder(const archive *a, const char *name, size_t n_name)
{
    char path[FOLDER_BYTES + MOST_NAME_BYTES];
    const size_t n_folder = strlen(a->folder);
    if (n_name > MOST_NAME_BYTES)
        return SIZE_MAX;
    memcpy(path, a->folder, n_folder);
    memcpy(path + n_folder, name, n_name);
    return ac_zip_find(&a->source->zip, path, n_folder + n_name);
}

/* An entry's bytes, all of them. */
static ac_status read_entry(archive *a, size_t k, size_t most_bytes, uint8_t **bytes, size_t *n)
{
    ac_status status = AC_OK;
    uint64_t at;
    const ac_zip_entry *e = &a->source->zip.entry[k];
    *bytes = NULL;
    AC_TRY(ac_zip_locate(a->source->fd, &a->source->zip, k, &at));
    if (e->n_bytes > most_bytes)
        return ac_error(AC_ERR_DATA, "its entry %.*s has %" PRIu64 " bytes, more than the %zu that are read", (int)e->n_name, e->name, e->n_bytes,
                        most_bytes);
    AC_TRY(ac_zip_check(a->source->fd, &a->source->zip, k));
    *n = (size_t)e->n_bytes;
    AC_TRY(ac_malloc(*n + 1, 1, bytes));
    AC_TRY(ac_file_read_at(a->source->fd, at, *bytes, *n));
out:
    return status;
}

/* All of torch's entries lie in one folder, whose name is that of the file once. */
static ac_status find_folder(archive *a)
{
    const ac_zip *zip = &a->source->zip;
    size_t found = SIZE_MAX;
    for (size_t k = 0; k < zip->n; k++) {
        if (ends_with(&zip->entry[k], "/constants.pkl"))
            return ac_error(AC_ERR_DATA, "it is a TorchScript program: save the model's state_dict() instead");
        if (!ends_with(&zip->entry[k], "/data.pkl"))
            continue;
        if (found != SIZE_MAX)
            return ac_error(AC_ERR_DATA, "it has more than one data.pkl");
        found = k;
    }
    if (found == SIZE_MAX)
        return ac_error(AC_ERR_DATA, "it is a zip file, but not one of torch.save(): it has no data.pkl");
    const size_t n = zip->entry[found].n_name - strlen("data.pkl");
    if (n >= sizeof a->folder || memchr(zip->entry[found].name, 0, n))
        return ac_error(AC_ERR_DATA, "its folder has a name of %zu bytes, or one that cannot be used", n);
    memcpy(a->folder, zip->entry[found].name, n);
    a->folder[n] = 0;
    return AC_OK;
}

static ac_status check_byte_order(archive *a)
{
    ac_status status = AC_OK;
    uint8_t *text = NULL;
    size_t n;
    const size_t k = find_in_folder(a, "byteorder", strlen("byteorder"));
    if (k == SIZE_MAX) /* files of older versions have none: little */
        return AC_OK;
    AC_TRY(read_entry(a, k, 16, &text, &n));
    if (n != 6 || memcmp(text, "little", 6) != 0)
        status = ac_error(AC_ERR_DATA, "its numbers are not little-endian: save it again on a machine that is");
out:
    ac_free(text);
    return status;
}

static ac_status read_pickle(archive *a)
{
    ac_status status = AC_OK;
    size_t n;
    AC_TRY(read_entry(a, find_in_folder(a, "data.pkl", strlen("data.pkl")), AC_PICKLE_MOST_BYTES, &a->bytes, &n));
    AC_TRY(ac_pickle_read(a->bytes, n, &a->pickle));
out:
    return status;
}

/* ---- the state dict ---- */

static bool has_tensors(const ac_pickle *p, const ac_pickle_value *dict)
{
    if (dict->kind != AC_PICKLE_DICT)
        return false;
    uint32_t cell = dict->is.items.first;
    for (uint32_t i = 0; i < dict->is.items.n && cell != AC_PICKLE_END; i++, cell = p->cell[cell].next)
        if (p->value[p->cell[cell].value].kind == AC_PICKLE_TENSOR)
            return true;
    return false;
}

static ac_status find_state(const archive *a, const ac_pickle_value **state, bool *lightning)
{
    static const char *const nested[] = {"state_dict", "model", "model_state_dict"};
    const ac_pickle *p = &a->pickle;
    const ac_pickle_value *top = &p->value[p->top];
    *lightning = false;
    if (top->kind != AC_PICKLE_DICT)
        return ac_error(AC_ERR_DATA, "what was saved is no dict: save the model's state_dict(), not the model");
    for (size_t i = 0; i < sizeof nested / sizeof *nested; i++) {
        const ac_pickle_value *inner = ac_pickle_get(p, top, nested[i]);
        if (!inner || !has_tensors(p, inner))
            continue;
        *state = inner;
        *lightning = i == 0 && ac_pickle_get(p, top, "pytorch-lightning_version");
        return AC_OK;
    }
    *state = top;
    return has_tensors(p, top) ? AC_OK : ac_error(AC_ERR_DATA, "it holds no state dict: no tensors, nor under state_dict or model");
}

typedef struct prefix { /* in front of names */
    const char *text;
    size_t n;
} prefix;

static bool begins_with(const char *name, size_t n, const prefix *p)
{
    return n > p->n && memcmp(name, p->text, p->n) == 0;
}

/* Do all tensors' names behind their first `skip` bytes begin with it? */
static bool all_begin(const ac_pickle *p, const ac_pickle_value *state, size_t skip, const prefix *with)
{
    uint32_t cell = state->is.items.first;
    for (uint32_t i = 0; i < state->is.items.n && cell != AC_PICKLE_END; i++, cell = p->cell[cell].next) {
        const ac_pickle_value *key = &p->value[p->cell[cell].key];
        if (p->value[p->cell[cell].value].kind != AC_PICKLE_TENSOR || key->kind != AC_PICKLE_TEXT)
            continue;
        if (key->is.text.n < skip || !begins_with((const char *)p->bytes + key->is.text.at + skip, key->is.text.n - skip, with))
            return false;
    }
    return true;
}

/* Bytes in front of every name that are the wrapping's, not the model's. In a Lightning file "model." tells the model from the rest. */
static size_t count_wrapping(const ac_pickle *p, const ac_pickle_value *state, bool lightning)
{
    static const prefix wrapping[] = {{"module.", 7}, {"_orig_mod.", 10}, {"model.", 6}};
    const size_t n_kinds = lightning ? 2 : 3;
    size_t skip = 0;
    for (int round = 0; round < 4; round++)
        for (size_t i = 0; i < n_kinds; i++)
            if (all_begin(p, state, skip, &wrapping[i]))
                skip += wrapping[i].n;
    return skip;
}

/* The bytes of a tensor's storage in the zip file, as many as the pickle says. */
static ac_status place_tensor(archive *a, const ac_pickle_tensor *t, ac_weights_place *place)
{
    ac_status status = AC_OK;
    const ac_pickle_storage *s = &a->pickle.storage[t->storage];
    const size_t item = s->untyped ? 1 : ac_weights_type_bytes(s->type);
    char name[MOST_NAME_BYTES];
    if (s->n_key > 64)
        return ac_error(AC_ERR_DATA, "it has a storage with a name of %" PRIu32 " bytes", s->n_key);
    memcpy(name, "data/", 5);
    memcpy(name + 5, a->bytes + s->key_at, s->n_key);
    place->entry = find_in_folder(a, name, 5 + s->n_key);
    if (place->entry == SIZE_MAX)
        return ac_error(AC_ERR_DATA, "its storage %.*s is missing", (int)s->n_key, (const char *)a->bytes + s->key_at);
    AC_TRY(ac_zip_locate(a->source->fd, &a->source->zip, place->entry, &place->at));
    const uint64_t n_bytes = a->source->zip.entry[place->entry].n_bytes;
    if (n_bytes / item != (uint64_t)s->n_elements || n_bytes % item)
        return ac_error(AC_ERR_DATA, "its storage %.*s has %" PRIu64 " bytes for %" PRId64 " elements of %zu", (int)s->n_key,
                        (const char *)a->bytes + s->key_at, n_bytes, s->n_elements, item);
    place->storage_elements = n_bytes / ac_weights_type_bytes(t->type);
    place->first = (uint64_t)t->first;
    memcpy(place->stride, t->stride, sizeof place->stride);
    place->contiguous = true;
    int64_t stride = 1;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        place->contiguous = place->contiguous && (t->dim[i] <= 1 || t->stride[i] == stride);
        stride *= t->dim[i] > 0 ? t->dim[i] : 1;
    }
out:
    return status;
}

static ac_status add_tensor(archive *a, const char *name, size_t n_name, const ac_pickle_tensor *t, bool outside)
{
    ac_status status = AC_OK;
    ac_weights_tensor *tensor;
    ac_weights_place *place;
    if (n_name == 0 || n_name > MOST_NAME_BYTES || memchr(name, 0, n_name))
        return ac_error(AC_ERR_DATA, "a tensor has no name, or one that cannot be used");
    AC_TRY(ac_weights_add(a->weights, name, n_name, &tensor, &place));
    tensor->type = t->type;
    tensor->n_dims = t->n_dims;
    tensor->outside = outside;
    memcpy(tensor->dim, t->dim, sizeof tensor->dim);
    AC_TRY(ac_weights_count(tensor));
    AC_TRY(place_tensor(a, t, place));
out:
    return status == AC_OK ? status : ac_error_in(status, "tensor %.*s", n_name > 200 ? 200 : (int)n_name, name);
}

static ac_status add_state(archive *a, const ac_pickle_value *state, bool lightning)
{
    ac_status status = AC_OK;
    static const prefix model = {"model.", 6}, compiled = {"_orig_mod.", 10};
    const ac_pickle *p = &a->pickle;
    const size_t skip = count_wrapping(p, state, lightning);
    uint32_t cell = state->is.items.first;
    for (uint32_t i = 0; i < state->is.items.n && cell != AC_PICKLE_END; i++, cell = p->cell[cell].next) {
        const ac_pickle_value *key = &p->value[p->cell[cell].key], *v = &p->value[p->cell[cell].value];
        if (v->kind != AC_PICKLE_TENSOR)
            continue;
        if (key->kind != AC_PICKLE_TEXT)
            return ac_error(AC_ERR_DATA, "a tensor's name is no text");
        const char *name = (const char *)p->bytes + key->is.text.at + skip;
        size_t n_name = key->is.text.n - skip;
        const bool outside = lightning && !begins_with(name, n_name, &model);
        if (lightning && !outside) {
            name += model.n;
            n_name -= model.n;
            if (begins_with(name, n_name, &compiled)) {
                name += compiled.n;
                n_name -= compiled.n;
            }
        }
        AC_TRY(add_tensor(a, name, n_name, &p->tensor[v->is.index], outside));
    }
out:
    return status;
}

/* What a Lightning file says of its training, as JSON. */
static ac_status keep_metadata(const archive *a, ac_weights *weights)
{
    static const char *const kept[] = {"pytorch-lightning_version", "epoch", "global_step", "hyper_parameters"};
    ac_status status = AC_OK;
    const ac_pickle *p = &a->pickle;
    ac_json *json = NULL;
    const char *text;
    size_t n;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const ac_pickle_value *v = ac_pickle_get(p, &p->value[p->top], kept[i]);
        if (v)
            AC_TRY(ac_pickle_print(p, v, kept[i], json));
    }
    ac_json_end_object(json);
    AC_TRY(ac_json_text(json, &text, &n));
    AC_TRY(ac_strdup(text, &weights->metadata));
out:
    ac_json_destroy(json);
    return status;
}

ac_status ac_weights_open_pytorch(ac_weights *weights)
{
    ac_status status = AC_OK;
    archive a = {.weights = weights, .source = weights->source};
    const ac_pickle_value *state = NULL;
    bool lightning;
    AC_TRY(ac_zip_open(a.source->fd, a.source->n_bytes, &a.source->zip));
    AC_TRY(find_folder(&a));
    AC_TRY(check_byte_order(&a));
    AC_TRY(read_pickle(&a));
    AC_TRY(find_state(&a, &state, &lightning));
    weights->kind = lightning ? AC_WEIGHTS_LIGHTNING : AC_WEIGHTS_PYTORCH;
    AC_TRY(add_state(&a, state, lightning));
    if (lightning)
        AC_TRY(keep_metadata(&a, weights));
out:
    ac_pickle_release(&a.pickle);
    ac_free(a.bytes);
    return status;
}
