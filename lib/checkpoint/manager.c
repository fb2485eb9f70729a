/* Which checkpoints a training folder keeps: the best of each metric and the last, listed in checkpoints.json. */
#include "anyclass/alloc.h"
#include "anyclass/checkpoint.h"
#include "anyclass/file.h"
#include "anyclass/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct entry {
    char file[96];
    double value;
    int64_t epoch;
} entry;

static ac_status load_table(const char *folder, entry table[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_json_value *document = NULL;
    memset(table, 0, AC_N_TRACKED * sizeof *table);
    AC_TRY(ac_path_join(path, folder, "checkpoints.json"));
    if (!ac_path_exists(path))
        return AC_OK;
    AC_TRY(ac_json_load(path, &document));
    for (int i = 0; i < AC_N_TRACKED; i++) {
        const ac_json_value *row = ac_json_get(document, ac_tracked_name[i]);
        const char *file;
        if (!row)
            continue;
        AC_TRY(ac_json_read_string(ac_json_get(row, "file"), "file", &file));
        AC_TRY(ac_json_read_double(ac_json_get(row, "value"), "value", &table[i].value));
        AC_TRY(ac_json_read_int(ac_json_get(row, "epoch"), "epoch", &table[i].epoch));
        snprintf(table[i].file, sizeof table[i].file, "%s", file);
    }
out:
    ac_json_release(document);
    return status;
}

static ac_status save_table(const char *folder, const entry table[AC_N_TRACKED], int64_t epoch)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_json *json = NULL;
    AC_TRY(ac_path_join(path, folder, "checkpoints.json"));
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    for (int i = 0; i < AC_N_TRACKED; i++) {
        if (!table[i].file[0])
            continue;
        ac_json_begin_object(json, ac_tracked_name[i]);
        ac_json_string(json, "file", table[i].file);
        ac_json_double(json, "value", table[i].value);
        ac_json_int(json, "epoch", table[i].epoch);
        ac_json_end_object(json);
    }
    ac_json_begin_object(json, "last");
    ac_json_string(json, "file", "last.h5");
    ac_json_int(json, "epoch", epoch);
    ac_json_end_object(json);
    ac_json_end_object(json);
    AC_TRY(ac_json_save(json, path));
out:
    ac_json_destroy(json);
    return status;
}

static bool is_better(int metric, double value, double best)
{
    if (isnan(value))
        return false;
    return isnan(best) || (metric < 2 ? value < best : value > best);
}

ac_status ac_checkpoint_keep(const char *folder, ac_checkpoint_info *info, const double values[AC_N_TRACKED], const ac_params *params,
                             const ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    entry table[AC_N_TRACKED], old[AC_N_TRACKED];
    bool better[AC_N_TRACKED];
    AC_TRY(load_table(folder, table));
    memcpy(old, table, sizeof table);
    for (int i = 0; i < AC_N_TRACKED; i++) {
        better[i] = is_better(i, values[i], info->best[i]);
        if (better[i])
            info->best[i] = values[i];
    }
    AC_TRY(ac_path_join(path, folder, "last.h5"));
    AC_TRY(ac_checkpoint_save(path, info, params, optimizer));
    for (int i = 0; i < AC_N_TRACKED; i++) {
        if (!better[i])
            continue;
        snprintf(table[i].file, sizeof table[i].file, "epoch=%02lld-%s=%.4f.h5", (long long)(info->epoch - 1), ac_tracked_name[i], values[i]);
        table[i].value = values[i];
        table[i].epoch = info->epoch - 1;
        AC_TRY(ac_path_join(path, folder, table[i].file));
        AC_TRY(ac_checkpoint_save(path, info, params, NULL));
    }
    AC_TRY(save_table(folder, table, info->epoch - 1));
    for (int i = 0; i < AC_N_TRACKED; i++)
        if (old[i].file[0] && strcmp(old[i].file, table[i].file) != 0 && ac_path_join(path, folder, old[i].file) == AC_OK)
            unlink(path);
out:
    return status;
}

ac_status ac_checkpoint_find(const char *folder, const char *metric, char *path, size_t capacity)
{
    ac_status status = AC_OK;
    char table[AC_PATH_BYTES], full[AC_PATH_BYTES];
    const char *file;
    ac_json_value *document = NULL;
    AC_TRY(ac_path_join(table, folder, "checkpoints.json"));
    AC_TRY(ac_json_load(table, &document));
    if (!ac_json_get(document, metric))
        AC_TRY(ac_error(AC_ERR_IO, "%s names no checkpoint for %s", table, metric));
    AC_TRY(ac_json_read_string(ac_json_get(ac_json_get(document, metric), "file"), "file", &file));
    AC_TRY(ac_path_join(full, folder, file));
    if (strlen(full) >= capacity)
        AC_TRY(ac_error(AC_ERR_RANGE, "path %s is too long", full));
    strcpy(path, full);
out:
    ac_json_release(document);
    return status;
}
