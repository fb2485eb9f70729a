/* What a training writes as it goes on: the best of each metric, the last and the one before, and the table of them.
 * The order of the steps is what makes a kill harmless: docs/formats.md. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "checkpoint/checkpoint_internal.h"
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What this file, or a save that was cut short, would have written under that name. */
static bool is_left_over(const char *name, const ac_checkpoint_info *info)
{
    char base[96];
    const size_t n = strlen(name);
    if (n >= sizeof base)
        return false;
    strcpy(base, name);
    const bool part = n > 5 && strcmp(name + n - 5, ".part") == 0;
    if (part)
        base[n - 5] = 0;
    if (part && (strcmp(base, "last.h5") == 0 || strcmp(base, "previous.h5") == 0 ||
                 strcmp(base, "last.h5.part") == 0 || strcmp(base, "checkpoints.json") == 0))
        return true;
    if (!ac_checkpoint_is_best_name(base, NULL))
        return false;
    for (int i = 0; i < AC_N_TRACKED; i++)
        if (!part && strcmp(info->best[i].file, name) == 0)
            return false;
    return true;
}

void ac_checkpoint_sweep(const char *folder, const ac_checkpoint_info *info)
{
    char path[AC_PATH_BYTES];
    DIR *d = opendir(folder);
    for (struct dirent *entry = d ? readdir(d) : NULL; entry; entry = readdir(d))
        if (is_left_over(entry->d_name, info) && ac_path_join(path, folder, entry->d_name) == AC_OK &&
            unlink(path) != 0)
            ac_log(AC_LOG_WARN, "%s: cannot be removed", path);
    if (d)
        closedir(d);
}

ac_status ac_checkpoint_save_table(const char *folder, const ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_json *json = NULL;
    AC_TRY(ac_path_join(path, folder, "checkpoints.json"));
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    for (int i = 0; i < AC_N_TRACKED; i++) {
        if (!info->best[i].file[0])
            continue;
        ac_json_begin_object(json, ac_tracked_name[i]);
        ac_json_string(json, "file", info->best[i].file);
        ac_json_double(json, "value", info->best[i].value);
        ac_json_int(json, "epoch", info->best[i].epoch);
        ac_json_end_object(json);
    }
    ac_json_begin_object(json, "last");
    ac_json_string(json, "file", "last.h5");
    ac_json_int(json, "epochs", info->epoch);
    ac_json_end_object(json);
    ac_json_end_object(json);
    AC_TRY(ac_json_save(json, path));
out:
    ac_json_destroy(json);
    return status;
}

typedef struct names { /* of the files that are rotated */
    char last[AC_PATH_BYTES], last_part[AC_PATH_BYTES], previous[AC_PATH_BYTES], previous_part[AC_PATH_BYTES];
} names;

static ac_status make_names(const char *folder, names *n)
{
    ac_status status = AC_OK;
    AC_TRY(ac_path_join(n->last, folder, "last.h5"));
    AC_TRY(ac_path_join(n->last_part, folder, "last.h5.part"));
    AC_TRY(ac_path_join(n->previous, folder, "previous.h5"));
    AC_TRY(ac_path_join(n->previous_part, folder, "previous.h5.part"));
out:
    return status;
}

/* The old last.h5 gets its second name first and takes it over after the new one has its place: should the old one have
 * been damaged meanwhile, previous.h5 is still there until the new one is. Without hard links: one after the other. */
static ac_status rotate(const names *n)
{
    ac_status status = AC_OK;
    const bool have_last = ac_path_exists(n->last);
    unlink(n->previous_part);
    const bool linked = have_last && link(n->last, n->previous_part) == 0;
    if (have_last && !linked && rename(n->last, n->previous) != 0)
        AC_TRY(ac_error_errno("%s: rename to %s", n->last, n->previous));
    AC_TRY(ac_file_publish(n->last_part, n->last));
    if (linked)
        AC_TRY(ac_file_publish(n->previous_part, n->previous));
out:
    unlink(n->previous_part); /* still there after a failure, or when it and previous.h5 were one file */
    return status;
}

ac_status ac_checkpoint_rotate(const char *folder)
{
    names n;
    ac_status status = make_names(folder, &n);
    return status == AC_OK ? rotate(&n) : status;
}

static bool is_better(int metric, double value, const ac_checkpoint_best *best)
{
    if (!isfinite(value))
        return false;
    return !best->file[0] || (metric < 2 ? value < best->value : value > best->value);
}

/* This epoch's entries into the table. */
static void enter_better(ac_checkpoint_info *info, const double values[AC_N_TRACKED], bool better[AC_N_TRACKED])
{
    for (int i = 0; i < AC_N_TRACKED; i++) {
        ac_checkpoint_best *best = &info->best[i];
        better[i] = is_better(i, values[i], best);
        if (!better[i])
            continue;
        best->value = values[i];
        best->epoch = info->epoch - 1;
        snprintf(best->file, sizeof best->file, "epoch=%02lld-%s=%.4f.h5", (long long)best->epoch, ac_tracked_name[i],
                 values[i]);
    }
}

/* The file written under `part` as the best of each metric that has improved. */
static ac_status link_better(const char *folder, const char *part, const ac_checkpoint_info *info,
                             const bool better[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    for (int i = 0; i < AC_N_TRACKED; i++) {
        if (!better[i])
            continue;
        AC_TRY(ac_path_join(path, folder, info->best[i].file));
        AC_TRY(ac_file_link(part, path));
    }
out:
    return status;
}

/* After a failure: what would hold disk space without being named anywhere. */
static void unlink_better(const char *folder, const ac_checkpoint_info *info, const bool better[AC_N_TRACKED])
{
    char path[AC_PATH_BYTES];
    for (int i = 0; i < AC_N_TRACKED; i++)
        if (better[i] && ac_path_join(path, folder, info->best[i].file) == AC_OK)
            unlink(path);
}

ac_status ac_checkpoint_keep(const char *folder, ac_checkpoint_info *info, const double values[AC_N_TRACKED],
                             const ac_params *params, const ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    names n = {0};
    bool better[AC_N_TRACKED] = {false}, replaced = false;
    ac_checkpoint_best old[AC_N_TRACKED];
    memcpy(old, info->best, sizeof old);
    AC_TRY(make_names(folder, &n));
    enter_better(info, values, better);
    AC_TRY(ac_checkpoint_write(n.last_part, info, params, optimizer));
    AC_TRY(link_better(folder, n.last_part, info, better));
    status = rotate(&n);
    replaced = status == AC_OK || !ac_path_exists(n.last_part);
    AC_TRY(status);
    AC_TRY(ac_checkpoint_save_table(folder, info));
    ac_checkpoint_sweep(folder, info);
out:
    if (!replaced) {
        unlink(n.last_part);
        unlink_better(folder, info, better);
        memcpy(info->best, old, sizeof old);
    }
    return status == AC_OK ? status : ac_error_in(status, "%s", n.last);
}

ac_status ac_checkpoint_keep_last(const char *folder, const ac_checkpoint_info *info, const ac_params *params,
                                  const ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    names n = {0};
    AC_TRY(make_names(folder, &n));
    AC_TRY(ac_checkpoint_write(n.last_part, info, params, optimizer));
    AC_TRY(rotate(&n));
out:
    unlink(n.last_part);
    return status == AC_OK ? status : ac_error_in(status, "%s", n.last);
}

/* The file that the table names for a metric. */
static ac_status find_best(const char *folder, const char *metric, char full[AC_PATH_BYTES])
{
    ac_status status = AC_OK;
    char table[AC_PATH_BYTES];
    const char *file;
    ac_json_value *document = NULL;
    AC_TRY(ac_path_join(table, folder, "checkpoints.json"));
    AC_TRY(ac_json_load(table, &document));
    const ac_json_value *row = ac_json_get(document, metric);
    if (!row)
        AC_TRY(ac_error(AC_ERR_IO, "%s names no checkpoint for %s", table, metric));
    AC_TRY(ac_json_read_string(ac_json_get(row, "file"), "file", &file));
    AC_TRY(ac_path_join(full, folder, file));
out:
    ac_json_release(document);
    return status;
}

ac_status ac_checkpoint_find(const char *folder, const char *metric, char *path, size_t capacity)
{
    ac_status status = AC_OK;
    char full[AC_PATH_BYTES];
    if (strcmp(metric, "last") == 0) { /* also amid the first epoch, when there is no table yet */
        AC_TRY(ac_path_join(full, folder, "last.h5"));
        if (!ac_path_exists(full))
            return ac_error(AC_ERR_IO, "%s: no such checkpoint", full);
    } else {
        AC_TRY(find_best(folder, metric, full));
    }
    if (strlen(full) >= capacity)
        return ac_error(AC_ERR_RANGE, "path %s is too long", full);
    strcpy(path, full);
out:
    return status;
}
