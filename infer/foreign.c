/* --weights: a file that is no checkpoint and says little of itself. Rank 0 looks. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "infer/steps.h"
#include <stdio.h>
#include <string.h>

ac_status infer_foreign_hash(const infer *in, const char *path, ac_hash *hash)
{
    ac_status status = AC_OK;
    ac_hash pair[2] = {{0, 0}, {(uint64_t)in->config->inplace_abn, 0}};
    AC_TRY(ac_weights_hash_file(path, &pair[0]));
    *hash = ac_hash_bytes(pair, sizeof pair);
out:
    return status;
}

/* What anyclass-weights wrote into the file, each a text, some of them with JSON inside: read into `document`, which is NULL when
 * there is none. */
static ac_status read_member(const char *path, const ac_json_value *metadata, const char *key, ac_json_value **document)
{
    const char *text;
    *document = NULL;
    if (!ac_json_get(metadata, key) || ac_json_read_string(ac_json_get(metadata, key), key, &text) != AC_OK)
        return AC_OK;
    ac_status status = ac_json_parse(key, text, strlen(text), document);
    return status == AC_OK ? status : ac_error_in(status, "%s", path);
}

static ac_status take_three(const char *path, const ac_json_value *metadata, const char *key, float out[3])
{
    ac_status status = AC_OK;
    ac_json_value *list = NULL;
    double value;
    AC_TRY(read_member(path, metadata, key, &list));
    for (size_t i = 0; list && i < 3; i++) {
        AC_TRY(ac_json_read_double(ac_json_at(list, i), key, &value));
        out[i] = (float)value;
    }
out:
    ac_json_release(list);
    return status;
}

/* The file's classes, else the shards'. */
static ac_status take_classes(const infer *in, const char *path, const ac_json_value *metadata, infer_jobs *jobs, infer_weights *out)
{
    ac_status status = AC_OK;
    const infer_input *input = &in->input[0];
    ac_json_value *list = NULL;
    char **names = NULL;
    AC_TRY(read_member(path, metadata, "classes", &list));
    out->n_classes = list ? ac_json_count(list) : input->is_pictures ? 0 : input->store.n_classes;
    if (out->n_classes == 0)
        AC_TRY(ac_error(AC_ERR_USAGE, "%s does not say which classes its scores are of: --data_root has them, pictures alone do not", path));
    AC_TRY(ac_calloc(out->n_classes, sizeof *names, &names));
    for (size_t c = 0; c < out->n_classes; c++)
        if (list)
            AC_TRY(ac_json_read_string(ac_json_at(list, c), "classes", (const char **)&names[c]));
        else
            names[c] = input->store.manifest.class_name[c];
    AC_TRY(infer_add_names(jobs, names, out->n_classes, &out->classes_at));
out:
    ac_json_release(list);
    ac_free(names);
    return status;
}

/* Of the shards; of pictures, which have none, the one that the file was made for. */
static ac_status take_image_size(const infer *in, const char *path, const ac_json_value *metadata, infer_weights *out)
{
    ac_status status = AC_OK;
    ac_json_value *size = NULL;
    int64_t px = in->input[0].store.image_size_px;
    if (in->input[0].is_pictures) {
        AC_TRY(read_member(path, metadata, "image_size", &size));
        if (!size)
            AC_TRY(ac_error(AC_ERR_USAGE, "%s does not say for which image size it is: --data_root has one, pictures do not", path));
        AC_TRY(ac_json_read_int(size, "image_size", &px));
        if (px < 1 || px > 1 << 16)
            AC_TRY(ac_error(AC_ERR_DATA, "%s: an image size of %lld", path, (long long)px));
    }
    out->image_size_px = (int)px;
out:
    ac_json_release(size);
    return status;
}

static ac_status take_model(const infer *in, const char *path, const ac_json_value *metadata, infer_weights *out)
{
    const char *name = in->config->model, *stored = NULL;
    if (ac_json_get(metadata, "model") && ac_json_read_string(ac_json_get(metadata, "model"), "model", &stored) == AC_OK) {
        if (name && strcmp(name, stored) != 0)
            return ac_error(AC_ERR_USAGE, "--model %s: %s says that it is of a %s", name, path, stored);
        name = stored;
    }
    if (!name)
        return ac_error(AC_ERR_USAGE, "%s does not say of which model it is: give --model", path);
    if (!ac_model_find(name))
        return ac_error(AC_ERR_DATA, "%s: this build has no model %.40s, it has %s", path, name, ac_model_names());
    snprintf(out->model, sizeof out->model, "%s", name);
    return AC_OK;
}

static ac_status describe(const infer *in, const char *path, const ac_json_value *metadata, infer_jobs *jobs, infer_weights *out)
{
    ac_status status = AC_OK;
    const infer_input *input = &in->input[0];
    AC_TRY(take_model(in, path, metadata, out));
    AC_TRY(take_classes(in, path, metadata, jobs, out));
    AC_TRY(take_image_size(in, path, metadata, out));
    if (input->is_pictures && (!ac_json_get(metadata, "mean") || !ac_json_get(metadata, "std")))
        return ac_error(AC_ERR_USAGE, "%s does not say how images are normalised: --data_root does, pictures do not", path);
    if (!input->is_pictures) {
        memcpy(out->mean, input->store.manifest.mean, sizeof out->mean);
        memcpy(out->std, input->store.manifest.std, sizeof out->std);
    }
    AC_TRY(take_three(path, metadata, "mean", out->mean));
    AC_TRY(take_three(path, metadata, "std", out->std));
    for (int c = 0; c < 3; c++)
        if (!(out->std[c] > 0))
            return ac_error(AC_ERR_DATA, "%s: a standard deviation of %g", path, out->std[c]);
out:
    return status;
}

ac_status infer_foreign_describe(const infer *in, const char *path, infer_jobs *jobs, infer_weights *out)
{
    ac_status status = AC_OK;
    ac_weights *file = NULL;
    ac_json_value *metadata = NULL;
    AC_TRY(infer_foreign_hash(in, path, &out->hash));
    AC_TRY(ac_weights_open(path, &file));
    if (file->kind == AC_WEIGHTS_CHECKPOINT)
        AC_TRY(ac_error(AC_ERR_USAGE, "%s is a checkpoint: give it as --checkpoint", path));
    if (file->kind == AC_WEIGHTS_SAFETENSORS && file->metadata)
        AC_TRY(ac_json_parse(path, file->metadata, strlen(file->metadata), &metadata));
    if (metadata && !ac_json_get(metadata, "anyclass")) { /* somebody else's words */
        ac_json_release(metadata);
        metadata = NULL;
    }
    out->is_foreign = true;
    snprintf(out->path, sizeof out->path, "%s", path);
    AC_TRY(describe(in, path, metadata, jobs, out));
out:
    ac_weights_close(file);
    ac_json_release(metadata);
    return status;
}

ac_status infer_foreign_load(const infer *in, const infer_weights *w, ac_params *params)
{
    const ac_weights_options o = {.model = w->model, .graph = in->session.network.graph, .inplace_abn = (ac_inplace_abn)in->config->inplace_abn};
    return ac_weights_load(w->path, &o, params);
}
