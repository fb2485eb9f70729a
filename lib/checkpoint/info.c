/* What a checkpoint says of itself, as JSON text and back. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "checkpoint/checkpoint_internal.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const ac_tracked_name[AC_N_TRACKED] = {"val_loss", "val_bce", "val_ap", "val_f1", "val_f2"};

void ac_checkpoint_info_release(ac_checkpoint_info *info)
{
    for (size_t c = 0; info->class_name && c < info->n_classes; c++)
        ac_free(info->class_name[c]);
    ac_free(info->class_name);
    ac_free(info->config);
    memset(info, 0, sizeof *info);
}

bool ac_checkpoint_is_best_name(const char *name, int64_t *epoch)
{
    long long number;
    int n = 0;
    if (sscanf(name, "epoch=%18lld-%n", &number, &n) != 1 || n < 9 || strchr("+- ", name[6]))
        return false;
    for (int i = 0; i < AC_N_TRACKED; i++) {
        const size_t length = strlen(ac_tracked_name[i]);
        const char *value = name + n + length + 1;
        if (strncmp(name + n, ac_tracked_name[i], length) != 0 || value[-1] != '=')
            continue;
        value += *value == '-';
        const size_t whole = strspn(value, "0123456789");
        const bool good = whole > 0 && value[whole] == '.' && strspn(value + whole + 1, "0123456789") == 4 &&
                          strcmp(value + whole + 5, ".h5") == 0;
        if (good && epoch)
            *epoch = number;
        return good;
    }
    return false;
}

static void print_floats(ac_json *json, const char *key, const float *values)
{
    ac_json_begin_array(json, key);
    for (int i = 0; i < 3; i++)
        ac_json_double(json, NULL, (double)values[i]);
    ac_json_end_array(json);
}

/* As text, since JSON has no infinity and no NaN. */
static void print_double(ac_json *json, const char *key, double value)
{
    char text[AC_NUMBER_BYTES];
    if (isfinite(value))
        ac_format_double(value, text);
    else
        snprintf(text, sizeof text, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
    ac_json_string(json, key, text);
}

static void print_best(ac_json *json, const ac_checkpoint_best *best)
{
    ac_json_begin_object(json, "best");
    for (int i = 0; i < AC_N_TRACKED; i++) {
        if (!best[i].file[0])
            continue;
        ac_json_begin_object(json, ac_tracked_name[i]);
        ac_json_string(json, "file", best[i].file);
        print_double(json, "value", best[i].value);
        ac_json_int(json, "epoch", best[i].epoch);
        ac_json_end_object(json);
    }
    ac_json_end_object(json);
}

static void print_shapes(ac_json *json, const ac_tensor_list *tensors)
{
    ac_json_begin_object(json, "tensors");
    for (size_t k = 0; k < tensors->n; k++) {
        const ac_shape *shape = &tensors->tensor[k].shape;
        ac_json_begin_array(json, tensors->tensor[k].name);
        for (int i = 0; i < shape->n_dims; i++)
            ac_json_int(json, NULL, shape->dim[i]);
        ac_json_end_array(json);
    }
    ac_json_end_object(json);
}

ac_status ac_checkpoint_info_print(const ac_checkpoint_info *info, const ac_tensor_list *tensors, ac_json *json)
{
    const char *text;
    size_t n;
    ac_json_begin_object(json, NULL);
    ac_json_string(json, "model", info->model);
    ac_json_int(json, "image_size_px", info->image_size_px);
    print_floats(json, "mean", info->mean);
    print_floats(json, "std", info->std);
    ac_json_begin_array(json, "classes");
    for (size_t c = 0; c < info->n_classes; c++)
        ac_json_string(json, NULL, info->class_name[c]);
    ac_json_end_array(json);
    ac_json_string(json, "precision", info->precision);
    ac_json_string(json, "data_hash", info->data_hash);
    ac_json_int(json, "n_samples", info->n_samples);
    ac_json_int(json, "batch_size", info->batch_size);
    ac_json_int(json, "seed", info->seed);
    ac_json_int(json, "epoch", info->epoch);
    ac_json_int(json, "step", info->step);
    ac_json_int(json, "optimizer_step", info->optimizer_step);
    print_double(json, "loss_sum", info->loss_sum);
    print_double(json, "loss_scale", info->loss_scale);
    if (info->n_even != 0)
        ac_json_int(json, "n_even", info->n_even);
    if (info->n_skipped != 0)
        ac_json_int(json, "n_skipped", info->n_skipped);
    print_best(json, info->best);
    ac_json_string(json, "config", info->config ? info->config : "");
    print_shapes(json, tensors);
    ac_json_end_object(json);
    return ac_json_text(json, &text, &n);
}

static ac_status parse_text(const ac_json_value *object, const char *key, size_t capacity, char *out)
{
    ac_status status = AC_OK;
    const char *text;
    AC_TRY(ac_json_read_string(ac_json_get(object, key), key, &text));
    if (strlen(text) >= capacity)
        return ac_error(AC_ERR_DATA, "%s is too long: %.40s...", key, text);
    strcpy(out, text);
out:
    return status;
}

static ac_status parse_double(const ac_json_value *object, const char *key, double *out)
{
    static const char *const name[] = {"nan", "inf", "-inf"};
    static const double special[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    ac_status status = AC_OK;
    const char *text;
    AC_TRY(ac_json_read_string(ac_json_get(object, key), key, &text));
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (strcmp(text, name[i]) == 0) {
            *out = special[i];
            return AC_OK;
        }
    AC_TRY(ac_parse_double(text, out));
out:
    return status;
}

static ac_status parse_floats(const ac_json_value *document, const char *key, float out[3])
{
    ac_status status = AC_OK;
    double value;
    for (size_t i = 0; i < 3; i++) {
        AC_TRY(ac_json_read_double(ac_json_at(ac_json_get(document, key), i), key, &value));
        out[i] = (float)value;
    }
out:
    return status;
}

static ac_status parse_classes(const ac_json_value *classes, ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    const size_t n = ac_json_count(classes);
    const char *text;
    AC_TRY(ac_calloc(n + 1, sizeof *info->class_name, &info->class_name));
    for (; info->n_classes < n; info->n_classes++) {
        AC_TRY(ac_json_read_string(ac_json_at(classes, info->n_classes), "classes", &text));
        AC_TRY(ac_strdup(text, &info->class_name[info->n_classes]));
    }
out:
    return status;
}

static ac_status parse_best(const ac_json_value *table, ac_checkpoint_best *best)
{
    ac_status status = AC_OK;
    for (int i = 0; i < AC_N_TRACKED; i++) {
        const ac_json_value *row = ac_json_get(table, ac_tracked_name[i]);
        if (!row)
            continue;
        AC_TRY(parse_text(row, "file", sizeof best[i].file, best[i].file));
        AC_TRY(parse_double(row, "value", &best[i].value));
        AC_TRY(ac_json_read_int(ac_json_get(row, "epoch"), "epoch", &best[i].epoch));
        if (!ac_checkpoint_is_best_name(best[i].file, NULL))
            return ac_error(AC_ERR_DATA, "best %s: '%s' is no name of a checkpoint", ac_tracked_name[i], best[i].file);
    }
out:
    return status;
}

/* Epoch, step and their like: none is negative. Those of 16-mixed need not be there. */
static ac_status parse_counts(const ac_json_value *document, ac_checkpoint_info *info)
{
    const struct {
        const char *key;
        int64_t *out;
        bool optional;
    } count[] = {{"n_samples", &info->n_samples, false}, {"batch_size", &info->batch_size, false},
                 {"seed", &info->seed, false},           {"epoch", &info->epoch, false},
                 {"step", &info->step, false},           {"optimizer_step", &info->optimizer_step, false},
                 {"n_even", &info->n_even, true},        {"n_skipped", &info->n_skipped, true}};
    ac_status status = AC_OK;
    for (size_t i = 0; i < sizeof count / sizeof *count; i++) {
        const ac_json_value *value = ac_json_get(document, count[i].key);
        if (!value && count[i].optional)
            continue;
        AC_TRY(ac_json_read_int(value, count[i].key, count[i].out));
        if (*count[i].out < 0)
            return ac_error(AC_ERR_DATA, "%s is %" PRId64, count[i].key, *count[i].out);
    }
out:
    return status;
}

ac_status ac_checkpoint_info_parse(const ac_json_value *document, ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    const char *text;
    int64_t size;
    memset(info, 0, sizeof *info);
    AC_TRY(parse_text(document, "model", sizeof info->model, info->model));
    AC_TRY(ac_json_read_int(ac_json_get(document, "image_size_px"), "image_size_px", &size));
    if (size < 0 || size > INT32_MAX)
        return ac_error(AC_ERR_DATA, "image_size_px is %" PRId64, size);
    info->image_size_px = (int)size;
    AC_TRY(parse_floats(document, "mean", info->mean));
    AC_TRY(parse_floats(document, "std", info->std));
    AC_TRY(parse_classes(ac_json_get(document, "classes"), info));
    AC_TRY(parse_text(document, "precision", sizeof info->precision, info->precision));
    AC_TRY(parse_text(document, "data_hash", sizeof info->data_hash, info->data_hash));
    AC_TRY(parse_counts(document, info));
    AC_TRY(parse_double(document, "loss_sum", &info->loss_sum));
    AC_TRY(parse_double(document, "loss_scale", &info->loss_scale));
    AC_TRY(parse_best(ac_json_get(document, "best"), info->best));
    AC_TRY(ac_json_read_string(ac_json_get(document, "config"), "config", &text));
    AC_TRY(ac_strdup(text, &info->config));
out:
    return status;
}
