/* Names of a set's files, and the record beside them that says where the scores come from. Rank 0 looks and writes. */
#include "anyclass/alloc.h"
#include "infer/steps.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_FORMAT = 1 };

ac_status infer_set_name(const infer_target *target, const infer_weights *weights, const infer_input *input,
                         infer_set *out)
{
    char name[NAME_BYTES * 2];
    *out = (infer_set){.target = target, .weights = weights, .input = input};
    int n = snprintf(name, sizeof name, "%s_%s_%s", weights->model, target->checkpoint, input->title);
    if (n < 0 || n + 32 > 255) /* of a file's name */
        return ac_error(AC_ERR_USAGE, "%s: its name is too long for names of score files", weights->path);
    return ac_path_join(out->stem, target->folder, name);
}

ac_status infer_set_path(const infer_set *set, const char *suffix, char path[AC_PATH_BYTES])
{
    int n = snprintf(path, AC_PATH_BYTES, "%s%s", set->stem, suffix);
    return n < AC_PATH_BYTES
               ? AC_OK
               : ac_error(AC_ERR_USAGE, "path of more than %d bytes: %.60s...", AC_PATH_BYTES - 1, set->stem);
}

ac_status infer_rows_path(const infer_set *set, int64_t number, bool part, char path[AC_PATH_BYTES])
{
    char suffix[64];
    snprintf(suffix, sizeof suffix, "_sigmoid.rank%04lld.csv%s", (long long)number, part ? ".part" : "");
    return infer_set_path(set, suffix, path);
}

static int by_number(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The number in "{stem}_sigmoid.rank0007.csv" or, of a temporary file, with .part behind it; else -1. One that this
 * program would write otherwise is not its own. */
static int64_t number_of(const infer_set *set, const char *name, bool part)
{
    char path[AC_PATH_BYTES];
    const char *base = strrchr(set->stem, '/'), *at = strstr(name, "_sigmoid.rank");
    base = base ? base + 1 : set->stem;
    if (!at || strlen(base) != (size_t)(at - name) || strncmp(base, name, strlen(base)) != 0)
        return -1;
    at += strlen("_sigmoid.rank");
    int64_t number = strtoll(at, NULL, 10);
    if (*at < '0' || *at > '9' || number > INT32_MAX || infer_rows_path(set, number, part, path) != AC_OK)
        return -1;
    return strcmp(strrchr(path, '/') + 1, name) == 0 ? number : -1;
}

ac_status infer_list_files(const infer_set *set, bool part, int64_t **numbers, size_t *n)
{
    ac_status status = AC_OK;
    size_t capacity = 0;
    *numbers = NULL;
    *n = 0;
    DIR *folder = opendir(set->target->folder);
    if (!folder)
        return errno == ENOENT ? AC_OK : ac_error_errno("%s", set->target->folder);
    errno = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL; errno = 0) {
        int64_t number = number_of(set, entry->d_name, part);
        if (number < 0)
            continue;
        AC_TRY(ac_reserve(numbers, &capacity, *n + 1, sizeof **numbers));
        (*numbers)[(*n)++] = number;
    }
    if (errno) /* the list is not whole */
        AC_TRY(ac_error_errno("%s", set->target->folder));
    if (*n)
        qsort(*numbers, *n, sizeof **numbers, by_number);
out:
    closedir(folder);
    return status;
}

ac_status infer_remove_file(const infer_set *set, const char *suffix)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    static const char *const endings[] = {".part", ""};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", suffix, endings[i]);
        AC_TRY(infer_set_path(set, name, path));
        if (unlink(path) != 0 && errno != ENOENT)
            return ac_error_errno("%s: cannot be removed", path);
    }
out:
    return status;
}

ac_status infer_remove_files(const infer_set *set, bool record)
{
    ac_status status = AC_OK;
    char suffix[64];
    for (int part = 0; part < 2; part++) {
        int64_t *numbers = NULL;
        size_t n;
        status = infer_list_files(set, part, &numbers, &n);
        for (size_t i = 0; status == AC_OK && i < n; i++) {
            snprintf(suffix, sizeof suffix, "_sigmoid.rank%04lld.csv", (long long)numbers[i]);
            status = infer_remove_file(set, suffix);
        }
        ac_free(numbers);
        AC_TRY(status);
    }
    if (record) {
        AC_TRY(infer_remove_file(set, "_rejected.csv"));
        AC_TRY(infer_remove_file(set, "_scores.json"));
    }
out:
    return status;
}

/* What must be the same for scores to go together, inside an open object. */
static void write_origin(const infer *in, const infer_set *set, ac_json *json)
{
    const infer_weights *w = set->weights;
    char hash[AC_HASH_TEXT_BYTES];
    const char *name = infer_class_name(&in->jobs, w, 0);
    ac_json_int(json, "format", RECORD_FORMAT);
    ac_json_string(json, "model", w->model);
    ac_hash_format(w->hash, hash);
    ac_json_string(json, "checkpoint_hash", hash);
    ac_json_string(json, "data", set->input->is_pictures ? "pictures" : "shards");
    ac_hash_format(set->input->hash, hash);
    ac_json_string(json, "data_hash", hash);
    ac_json_int(json, "n_images", set->input->n);
    ac_json_string(json, "precision", infer_precision_name(in->config));
    ac_json_bool(json, "allow_warnings", set->input->is_pictures && in->config->allow_warnings);
    ac_json_int(json, "image_size_px", w->image_size_px);
    ac_json_begin_array(json, "classes");
    for (size_t c = 0; c < w->n_classes; c++, name += strlen(name) + 1)
        ac_json_string(json, NULL, name);
    ac_json_end_array(json);
}

/* Written only when something differs: what is complete is not touched. */
static ac_status save_changed(ac_json *json, const char *path)
{
    ac_status status = AC_OK;
    const char *text;
    uint8_t *old = NULL;
    size_t n, n_old = 0;
    AC_TRY(ac_json_text(json, &text, &n));
    if (ac_path_exists(path))
        AC_TRY(ac_file_read_all(path, 0, &old, &n_old));
    if (!old || n_old != n || memcmp(old, text, n) != 0)
        AC_TRY(ac_json_save(json, path));
out:
    ac_free(old);
    return status;
}

ac_status infer_record_write(const infer *in, const infer_set *set, bool finished, int64_t n_rejected,
                             const infer_rows *rows, size_t n_rows)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_json *json = NULL;
    AC_TRY(infer_set_path(set, "_scores.json", path));
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    write_origin(in, set, json);
    ac_json_string(json, "version", set->target->version);
    ac_json_string(json, "checkpoint", set->target->checkpoint);
    ac_json_string(json, "split", set->input->title);
    ac_json_bool(json, "finished", finished);
    if (finished) {
        ac_json_int(json, "n_rejected", n_rejected);
        ac_json_begin_array(json, "files");
        for (size_t i = 0; i < n_rows; i++) {
            char file[AC_PATH_BYTES];
            AC_TRY(infer_rows_path(set, rows[i].number, false, file));
            ac_json_begin_object(json, NULL);
            ac_json_string(json, "file", strrchr(file, '/') + 1);
            ac_json_int(json, "rows", rows[i].n_rows);
            ac_json_end_object(json);
        }
        ac_json_end_array(json);
    }
    ac_json_end_object(json);
    AC_TRY(save_changed(json, path));
out:
    ac_json_destroy(json);
    return status;
}

static bool same_text(const ac_json_value *document, const ac_json_value *wanted, const char *key)
{
    const char *a, *b;
    return ac_json_read_string(ac_json_get(document, key), key, &a) == AC_OK &&
           ac_json_read_string(ac_json_get(wanted, key), key, &b) == AC_OK && strcmp(a, b) == 0;
}

static bool same_number(const ac_json_value *document, const ac_json_value *wanted, const char *key)
{
    int64_t a, b;
    return ac_json_read_int(ac_json_get(document, key), key, &a) == AC_OK &&
           ac_json_read_int(ac_json_get(wanted, key), key, &b) == AC_OK && a == b;
}

/* What differs between the record and what this run would write; NULL: nothing. */
static const char *find_difference(const ac_json_value *document, const ac_json_value *wanted)
{
    bool a = false, b = false;
    if (!same_number(document, wanted, "format"))
        return "another version of this program";
    if (!same_text(document, wanted, "checkpoint_hash") || !same_text(document, wanted, "model"))
        return "another checkpoint";
    if (!same_text(document, wanted, "data") || !same_text(document, wanted, "data_hash") ||
        !same_number(document, wanted, "n_images"))
        return "other images";
    if (!same_text(document, wanted, "precision"))
        return "another --precision";
    if (ac_json_read_bool(ac_json_get(document, "allow_warnings"), "", &a) != AC_OK ||
        ac_json_read_bool(ac_json_get(wanted, "allow_warnings"), "", &b) != AC_OK || a != b)
        return "another --allow_warnings";
    return NULL;
}

static ac_status compare(const infer *in, const infer_set *set, const char *path, infer_found *out)
{
    ac_status status = AC_OK;
    ac_json *json = NULL;
    ac_json_value *document = NULL, *wanted = NULL;
    const char *text;
    size_t n;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    write_origin(in, set, json);
    ac_json_end_object(json);
    AC_TRY(ac_json_text(json, &text, &n));
    AC_TRY(ac_json_parse("record", text, n, &wanted));
    status = ac_json_load(path, &document);
    out->origin = INFER_OTHER;
    if (status == AC_ERR_DATA) {
        snprintf(out->reason, sizeof out->reason, "a damaged record (%.400s)", ac_error_text());
        status = AC_OK;
        goto out;
    }
    AC_TRY(status);
    const char *difference = find_difference(document, wanted);
    if (difference)
        snprintf(out->reason, sizeof out->reason, "%s", difference);
    else
        out->origin = INFER_SAME;
    out->finished = ac_json_read_bool(ac_json_get(document, "finished"), "", &out->finished) == AC_OK &&
                    out->finished &&
                    ac_json_read_int(ac_json_get(document, "n_rejected"), "", &out->n_rejected) == AC_OK;
out:
    ac_json_destroy(json);
    ac_json_release(document);
    ac_json_release(wanted);
    return status;
}

ac_status infer_record_find(const infer *in, const infer_set *set, infer_found *out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    int64_t *numbers = NULL;
    size_t n = 0;
    *out = (infer_found){.origin = INFER_NOTHING};
    AC_TRY(infer_set_path(set, "_scores.json", path));
    if (ac_path_exists(path))
        return compare(in, set, path, out);
    for (int part = 0; part < 2 && n == 0; part++) {
        ac_free(numbers);
        AC_TRY(infer_list_files(set, part, &numbers, &n));
    }
    if (n) {
        out->origin = INFER_OTHER;
        snprintf(out->reason, sizeof out->reason, "an unknown source, there is no record of them");
    }
out:
    ac_free(numbers);
    return status;
}
