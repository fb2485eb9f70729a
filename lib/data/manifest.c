/* The manifest of a split: JSON, written last, so that its presence says the split is complete. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/json.h"
#include "anyclass/shard.h"
#include <stdio.h>
#include <string.h>

static ac_status manifest_path(const char *folder, const char *split, char path[AC_PATH_BYTES])
{
    char name[64];
    snprintf(name, sizeof name, "%s-manifest.json", split);
    return ac_path_join(path, folder, name);
}

static void write_numbers(ac_json *json, const char *key, const float *values)
{
    ac_json_begin_array(json, key);
    for (int i = 0; i < 3; i++)
        ac_json_double(json, NULL, (double)values[i]);
    ac_json_end_array(json);
}

/* Everything but the manifest's own hash, inside an open object. */
static void write_members(ac_json *json, const ac_manifest *m)
{
    char hash[AC_HASH_TEXT_BYTES];
    ac_json_int(json, "format", AC_SHARD_FORMAT);
    ac_json_string(json, "split", m->split);
    ac_json_string(json, "dataset", m->dataset);
    ac_json_string(json, "source", m->source);
    ac_json_string(json, "options", m->options);
    ac_json_int(json, "image_size_px", m->image_size_px);
    ac_json_int(json, "n_samples", (int64_t)m->n_samples);
    ac_json_int(json, "n_negative", m->n_negative);
    ac_json_int(json, "n_rejected", (int64_t)m->n_rejected);
    write_numbers(json, "mean", m->mean);
    write_numbers(json, "std", m->std);
    ac_json_begin_array(json, "classes");
    for (size_t c = 0; c < m->n_classes; c++) {
        ac_json_begin_object(json, NULL);
        ac_json_string(json, "name", m->class_name[c]);
        ac_json_int(json, "count", m->class_count[c]);
        ac_json_end_object(json);
    }
    ac_json_end_array(json);
    ac_json_begin_array(json, "shards");
    for (size_t i = 0; i < m->n_shards; i++) {
        ac_json_begin_object(json, NULL);
        ac_json_string(json, "file", m->shard[i].file);
        ac_json_int(json, "n_samples", (int64_t)m->shard[i].n_samples);
        ac_hash_format(m->shard[i].hash, hash);
        ac_json_string(json, "hash", hash);
        ac_json_end_object(json);
    }
    ac_json_end_array(json);
}

/* Hash of the members' text: what is read back must give the same text again. */
static ac_status hash_members(const ac_manifest *m, char hash[AC_HASH_TEXT_BYTES])
{
    ac_status status = AC_OK;
    const char *text;
    size_t n;
    ac_json *json = NULL;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    write_members(json, m);
    ac_json_end_object(json);
    AC_TRY(ac_json_text(json, &text, &n));
    ac_hash_format(ac_hash_bytes(text, n), hash);
out:
    ac_json_destroy(json);
    return status;
}

ac_status ac_manifest_save(const ac_manifest *m, const char *folder)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES], hash[AC_HASH_TEXT_BYTES];
    ac_json *json = NULL;
    AC_TRY(manifest_path(folder, m->split, path));
    AC_TRY(hash_members(m, hash));
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    write_members(json, m);
    ac_json_string(json, "hash", hash);
    ac_json_end_object(json);
    AC_TRY(ac_json_save(json, path));
out:
    ac_json_destroy(json);
    return status;
}

static ac_status read_size(const ac_json_value *object, const char *key, int64_t *out)
{
    ac_status status = ac_json_read_int(ac_json_get(object, key), key, out);
    if (status == AC_OK && *out < 0)
        status = ac_error(AC_ERR_DATA, "%s is negative", key);
    return status;
}

static ac_status read_text(const ac_json_value *object, const char *key, char **out)
{
    const char *text;
    ac_status status = ac_json_read_string(ac_json_get(object, key), key, &text);
    return status == AC_OK ? ac_strdup(text, out) : status;
}

static ac_status read_numbers(const ac_json_value *object, const char *key, float out[3])
{
    ac_status status = AC_OK;
    double value = 0;
    for (size_t i = 0; i < 3 && status == AC_OK; i++) {
        status = ac_json_read_double(ac_json_at(ac_json_get(object, key), i), key, &value);
        out[i] = (float)value;
    }
    return status;
}

static ac_status read_classes(const ac_json_value *list, ac_manifest *m)
{
    ac_status status = AC_OK;
    size_t n = ac_json_count(list);
    AC_TRY(ac_calloc(n + 1, sizeof *m->class_name, &m->class_name));
    AC_TRY(ac_calloc(n + 1, sizeof *m->class_count, &m->class_count));
    m->n_classes = n;
    for (size_t c = 0; c < n; c++) {
        AC_TRY(read_text(ac_json_at(list, c), "name", &m->class_name[c]));
        AC_TRY(read_size(ac_json_at(list, c), "count", &m->class_count[c]));
    }
out:
    return status;
}

static ac_status read_shards(const ac_json_value *list, ac_manifest *m)
{
    ac_status status = AC_OK;
    const char *text;
    int64_t n_samples;
    m->n_shards = ac_json_count(list);
    AC_TRY(ac_calloc(m->n_shards + 1, sizeof *m->shard, &m->shard));
    for (size_t i = 0; i < m->n_shards; i++) {
        const ac_json_value *entry = ac_json_at(list, i);
        AC_TRY(ac_json_read_string(ac_json_get(entry, "file"), "file", &text));
        if (strlen(text) >= sizeof m->shard[i].file || strchr(text, '/'))
            return ac_error(AC_ERR_DATA, "shard %zu has an unusable file name", i);
        strcpy(m->shard[i].file, text);
        AC_TRY(read_size(entry, "n_samples", &n_samples));
        m->shard[i].n_samples = (size_t)n_samples;
        AC_TRY(ac_json_read_string(ac_json_get(entry, "hash"), "hash", &text));
        AC_TRY(ac_hash_parse(text, &m->shard[i].hash));
    }
out:
    return status;
}

static ac_status read_manifest(const ac_json_value *d, ac_manifest *m)
{
    ac_status status = AC_OK;
    int64_t format, size, n_samples, n_rejected;
    char hash[AC_HASH_TEXT_BYTES];
    const char *stored;
    AC_TRY(read_size(d, "format", &format));
    if (format != AC_SHARD_FORMAT)
        return ac_error(AC_ERR_DATA, "format %lld, this program reads %d: run anyclass-preprocess again",
                        (long long)format, AC_SHARD_FORMAT);
    AC_TRY(read_text(d, "split", &m->split));
    AC_TRY(read_text(d, "dataset", &m->dataset));
    AC_TRY(read_text(d, "source", &m->source));
    AC_TRY(read_text(d, "options", &m->options));
    AC_TRY(read_size(d, "image_size_px", &size));
    AC_TRY(read_size(d, "n_samples", &n_samples));
    AC_TRY(read_size(d, "n_negative", &m->n_negative));
    AC_TRY(read_size(d, "n_rejected", &n_rejected));
    m->image_size_px = (int)size;
    m->n_samples = (size_t)n_samples;
    m->n_rejected = (size_t)n_rejected;
    AC_TRY(read_numbers(d, "mean", m->mean));
    AC_TRY(read_numbers(d, "std", m->std));
    AC_TRY(read_classes(ac_json_get(d, "classes"), m));
    AC_TRY(read_shards(ac_json_get(d, "shards"), m));
    if (m->n_classes == 0 || size < 1 || size > 4096)
        return ac_error(AC_ERR_DATA, "no classes, or an image size of %lld", (long long)size);
    AC_TRY(ac_json_read_string(ac_json_get(d, "hash"), "hash", &stored));
    AC_TRY(hash_members(m, hash));
    if (strcmp(stored, hash) != 0)
        return ac_error(AC_ERR_DATA, "is damaged or was edited: its hash differs");
out:
    return status;
}

ac_status ac_manifest_load(const char *folder, const char *split, ac_manifest *out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_json_value *document = NULL;
    memset(out, 0, sizeof *out);
    AC_TRY(manifest_path(folder, split, path));
    if (!ac_path_exists(path))
        return ac_error(AC_ERR_IO, "%s: not there: run anyclass-preprocess for this split first", path);
    AC_TRY(ac_json_load(path, &document));
    status = read_manifest(document, out);
    if (status == AC_OK && strcmp(out->split, split) != 0)
        status = ac_error(AC_ERR_DATA, "is the manifest of split %s, not of %s", out->split, split);
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
out:
    ac_json_release(document);
    if (status != AC_OK)
        ac_manifest_release(out);
    return status;
}

void ac_manifest_release(ac_manifest *m)
{
    for (size_t c = 0; m->class_name && c < m->n_classes; c++)
        ac_free(m->class_name[c]);
    ac_free(m->class_name);
    ac_free(m->class_count);
    ac_free(m->split);
    ac_free(m->dataset);
    ac_free(m->source);
    ac_free(m->options);
    ac_free(m->shard);
    memset(m, 0, sizeof *m);
}
