/* Writing and reading one checkpoint file. Which files are kept is manager.c's business. */
#include "anyclass/checkpoint.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/json.h"
#include "hdf5/hdf5_util.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const ac_tracked_name[AC_N_TRACKED] = {"val_loss", "val_bce", "val_ap", "val_f1", "val_f2"};

void ac_checkpoint_info_release(ac_checkpoint_info *info)
{
    for (size_t c = 0; info->class_name && c < info->n_classes; c++)
        ac_free(info->class_name[c]);
    ac_free(info->class_name);
    ac_free(info->config);
    memset(info, 0, sizeof *info);
}

static ac_status write_hashed(hid_t file, const char *name, hid_t type, size_t type_bytes, int n_dims, const hsize_t *dims, const void *data)
{
    ac_status status = AC_OK;
    char text[AC_HASH_TEXT_BYTES];
    size_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= dims[i];
    ac_hash_format(ac_hash_bytes(data, n * type_bytes), text);
    AC_TRY(ac_hdf5_write(file, name, type, n_dims, dims, data));
    AC_TRY(ac_hdf5_write_text(file, name, "hash", text));
out:
    return status;
}

static ac_status read_hashed(hid_t file, const char *name, hid_t type, size_t type_bytes, size_t n, void *out)
{
    ac_status status = AC_OK;
    char *text = NULL, now[AC_HASH_TEXT_BYTES];
    AC_TRY(ac_hdf5_read(file, name, type, n, out));
    AC_TRY(ac_hdf5_read_text(file, name, "hash", &text));
    ac_hash_format(ac_hash_bytes(out, n * type_bytes), now);
    if (strcmp(now, text) != 0)
        status = ac_error(AC_ERR_DATA, "tensor %s is damaged: its hash differs", name);
out:
    ac_free(text);
    return status;
}

static void write_floats(ac_json *json, const char *key, const float *values)
{
    ac_json_begin_array(json, key);
    for (int i = 0; i < 3; i++)
        ac_json_double(json, NULL, (double)values[i]);
    ac_json_end_array(json);
}

static ac_status write_info(hid_t file, const ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    ac_json *json = NULL;
    const char *text;
    size_t n;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    ac_json_int(json, "format", AC_CHECKPOINT_FORMAT);
    ac_json_string(json, "model", info->model);
    ac_json_int(json, "image_size_px", info->image_size_px);
    write_floats(json, "mean", info->mean);
    write_floats(json, "std", info->std);
    ac_json_begin_array(json, "classes");
    for (size_t c = 0; c < info->n_classes; c++)
        ac_json_string(json, NULL, info->class_name[c]);
    ac_json_end_array(json);
    ac_json_int(json, "epoch", info->epoch);
    ac_json_int(json, "optimizer_step", info->optimizer_step);
    ac_json_begin_object(json, "best");
    for (int i = 0; i < AC_N_TRACKED; i++)
        ac_json_double(json, ac_tracked_name[i], info->best[i]);
    ac_json_end_object(json);
    ac_json_string(json, "config", info->config);
    ac_json_end_object(json);
    AC_TRY(ac_json_text(json, &text, &n));
    hsize_t dims = n;
    AC_TRY(write_hashed(file, "info", H5T_STD_U8LE, 1, 1, &dims, text));
out:
    ac_json_destroy(json);
    return status;
}

static void tensor_name(char out[256], const char *group, const ac_param_info *info)
{
    snprintf(out, 256, "%s/%s", group, info->name);
}

/* Every parameter of one arena (NULL: the parameters and statistics themselves). */
static ac_status write_tensors(hid_t file, const char *group, const ac_params *params, const float *arena)
{
    ac_status status = AC_OK;
    float *host = NULL;
    char name[256];
    for (size_t p = 0; p < params->n_params; p++) {
        const ac_param_info *info = &params->info[p];
        if (arena && info->role == AC_PARAM_BUFFER)
            continue;
        hsize_t dims[AC_MAX_DIMS];
        for (int i = 0; i < info->shape.n_dims; i++)
            dims[i] = (hsize_t)info->shape.dim[i];
        tensor_name(name, group, info);
        AC_TRY(ac_realloc(&host, (size_t)ac_shape_elements(&info->shape), sizeof *host));
        AC_TRY(ac_params_get(params, (int)p, arena, host));
        AC_TRY(write_hashed(file, name, H5T_IEEE_F32LE, 4, info->shape.n_dims, dims, host));
    }
out:
    ac_free(host);
    return status;
}

/* Read every tensor; take it over only when `apply`. */
static ac_status read_tensors(hid_t file, const char *group, ac_params *params, float *arena, bool is_moment, bool apply)
{
    ac_status status = AC_OK;
    float *host = NULL;
    char name[256];
    for (size_t p = 0; p < params->n_params; p++) {
        const ac_param_info *info = &params->info[p];
        if (is_moment && info->role == AC_PARAM_BUFFER)
            continue;
        hsize_t dims[AC_MAX_DIMS];
        tensor_name(name, group, info);
        AC_TRY(ac_hdf5_dims(file, name, info->shape.n_dims, dims));
        for (int i = 0; i < info->shape.n_dims; i++)
            if (dims[i] != (hsize_t)info->shape.dim[i])
                AC_TRY(ac_error(AC_ERR_DATA, "tensor %s has another shape than the model's", name));
        size_t n = (size_t)ac_shape_elements(&info->shape);
        AC_TRY(ac_realloc(&host, n, sizeof *host));
        AC_TRY(read_hashed(file, name, H5T_NATIVE_FLOAT, 4, n, host));
        if (apply)
            AC_TRY(ac_params_set(params, (int)p, arena, host));
    }
out:
    ac_free(host);
    return status;
}

static ac_status read_everything(hid_t file, ac_params *params, ac_optimizer *optimizer, bool apply)
{
    ac_status status = AC_OK;
    char group[64];
    AC_TRY(read_tensors(file, "model", params, NULL, false, apply));
    for (int i = 0; optimizer && i < optimizer->n_moments; i++) {
        snprintf(group, sizeof group, "optimizer/%s", ac_optimizer_moment_name(optimizer, i));
        AC_TRY(read_tensors(file, group, params, optimizer->moment[i], true, apply));
    }
out:
    return status;
}

static ac_status write_everything(hid_t file, const ac_checkpoint_info *info, const ac_params *params, const ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    char group[64];
    AC_TRY(write_info(file, info));
    AC_TRY(write_tensors(file, "model", params, NULL));
    for (int i = 0; optimizer && i < optimizer->n_moments; i++) {
        snprintf(group, sizeof group, "optimizer/%s", ac_optimizer_moment_name(optimizer, i));
        AC_TRY(write_tensors(file, group, params, optimizer->moment[i]));
    }
out:
    return status;
}

/* Read back what was written, before it gets its name. */
static ac_status check_file(const char *part, const ac_params *params, const ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    hid_t file = -1;
    AC_TRY(ac_hdf5_open(part, &file));
    AC_TRY(read_everything(file, (ac_params *)params, (ac_optimizer *)optimizer, false));
out:
    if (file >= 0)
        H5Fclose(file);
    return status;
}

ac_status ac_checkpoint_save(const char *path, const ac_checkpoint_info *info, const ac_params *params, const ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    char part[AC_PATH_BYTES + 8];
    hid_t file = -1;
    snprintf(part, sizeof part, "%s.part", path);
    AC_TRY(ac_hdf5_create(part, 0, &file));
    AC_TRY(write_everything(file, info, params, optimizer));
    AC_TRY(ac_hdf5_close(&file, part));
    AC_TRY(check_file(part, params, optimizer));
    AC_TRY(ac_file_publish(part, path));
out:
    if (file >= 0) {
        char text[AC_ERROR_TEXT_BYTES];
        snprintf(text, sizeof text, "%s", ac_error_text());
        if (ac_hdf5_close(&file, part) != AC_OK)
            ac_error(status, "%s", text); /* the first failure is the one to tell */
    }
    if (status != AC_OK) {
        unlink(part);
        ac_error_in(status, "%s", path);
    }
    return status;
}

static ac_status parse_info(const ac_json_value *d, ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    const char *text;
    int64_t format, size;
    double value;
    AC_TRY(ac_json_read_int(ac_json_get(d, "format"), "format", &format));
    if (format != AC_CHECKPOINT_FORMAT)
        return ac_error(AC_ERR_DATA, "checkpoint format %" PRId64 ", this program reads %d", format, AC_CHECKPOINT_FORMAT);
    AC_TRY(ac_json_read_string(ac_json_get(d, "model"), "model", &text));
    snprintf(info->model, sizeof info->model, "%s", text);
    AC_TRY(ac_json_read_int(ac_json_get(d, "image_size_px"), "image_size_px", &size));
    info->image_size_px = (int)size;
    for (size_t i = 0; i < 3; i++) {
        AC_TRY(ac_json_read_double(ac_json_at(ac_json_get(d, "mean"), i), "mean", &value));
        info->mean[i] = (float)value;
        AC_TRY(ac_json_read_double(ac_json_at(ac_json_get(d, "std"), i), "std", &value));
        info->std[i] = (float)value;
    }
    size_t n = ac_json_count(ac_json_get(d, "classes"));
    AC_TRY(ac_calloc(n + 1, sizeof *info->class_name, &info->class_name));
    for (; info->n_classes < n; info->n_classes++) {
        AC_TRY(ac_json_read_string(ac_json_at(ac_json_get(d, "classes"), info->n_classes), "classes", &text));
        AC_TRY(ac_strdup(text, &info->class_name[info->n_classes]));
    }
    AC_TRY(ac_json_read_int(ac_json_get(d, "epoch"), "epoch", &info->epoch));
    AC_TRY(ac_json_read_int(ac_json_get(d, "optimizer_step"), "optimizer_step", &info->optimizer_step));
    for (int i = 0; i < AC_N_TRACKED; i++)
        AC_TRY(ac_json_read_double(ac_json_get(ac_json_get(d, "best"), ac_tracked_name[i]), ac_tracked_name[i], &info->best[i]));
    AC_TRY(ac_json_read_string(ac_json_get(d, "config"), "config", &text));
    AC_TRY(ac_strdup(text, &info->config));
out:
    return status;
}

static ac_status read_info(hid_t file, ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    hsize_t n;
    char *text = NULL;
    ac_json_value *document = NULL;
    AC_TRY(ac_hdf5_dims(file, "info", 1, &n));
    AC_TRY(ac_calloc(n + 1, 1, &text));
    AC_TRY(read_hashed(file, "info", H5T_NATIVE_UINT8, 1, n, text));
    AC_TRY(ac_json_parse("info", text, n, &document));
    AC_TRY(parse_info(document, info));
out:
    ac_json_release(document);
    ac_free(text);
    return status;
}

ac_status ac_checkpoint_read_info(const char *path, ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    hid_t file = -1;
    memset(info, 0, sizeof *info);
    AC_TRY(ac_hdf5_open(path, &file));
    status = read_info(file, info);
    if (status != AC_OK) {
        ac_checkpoint_info_release(info);
        ac_error_in(status, "%s", path);
    }
out:
    if (file >= 0)
        H5Fclose(file);
    return status;
}

ac_status ac_checkpoint_load(const char *path, ac_params *params, ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    hid_t file = -1;
    ac_checkpoint_info info = {0};
    AC_TRY(ac_hdf5_open(path, &file));
    status = read_info(file, &info);
    if (status == AC_OK)
        status = read_everything(file, params, optimizer, false);
    if (status == AC_OK)
        status = read_everything(file, params, optimizer, true);
    if (status == AC_OK && optimizer)
        optimizer->step = info.optimizer_step;
    if (status != AC_OK)
        ac_error_in(status, "%s", path);
out:
    ac_checkpoint_info_release(&info);
    if (file >= 0)
        H5Fclose(file);
    return status;
}
