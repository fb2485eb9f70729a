/* A training's folder when it begins or continues: one training at a time, where to continue, and files that agree with
 * that. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "checkpoint/checkpoint_internal.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

ac_status ac_checkpoint_lock_folder(const char *folder, ac_checkpoint_lock *lock)
{
    ac_status status = AC_OK;
    ac_lock state;
    lock->fd = -1;
    AC_TRY(ac_path_join(lock->path, folder, "training.lock"));
    AC_TRY(ac_file_lock(lock->path, &lock->fd, &state));
    if (state == AC_LOCK_HELD)
        return ac_error(AC_ERR_IO, "%s: another training writes to this folder: wait until it has ended, or stop it",
                        lock->path);
    if (state == AC_LOCK_NONE)
        ac_log(AC_LOG_WARN, "%s: this file system has no locks: see that no other training writes to this folder",
               lock->path);
out:
    return status;
}

/* Someone may have removed the folder and begun anew in one of that name. */
ac_status ac_checkpoint_check_lock(const ac_checkpoint_lock *lock)
{
    if (lock->fd < 0 || ac_file_lock_holds(lock->path, lock->fd))
        return AC_OK;
    return ac_error(AC_ERR_IO, "%s is gone: the folder was removed or replaced while this training ran", lock->path);
}

void ac_checkpoint_unlock_folder(ac_checkpoint_lock *lock)
{
    ac_file_unlock(lock->path, &lock->fd);
}

typedef struct candidate {
    char name[96];
    int64_t age; /* the smaller the sooner it is tried */
} candidate;

static int by_age(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return x->age != y->age ? (x->age > y->age) - (x->age < y->age) : strcmp(x->name, y->name);
}

/* last.h5 before previous.h5 whatever epochs they tell: who went back to an older checkpoint wants to stay there. Best
 * checkpoints come behind them, newest first. */
static bool is_candidate(const char *name, int64_t *age)
{
    int64_t epoch;
    if (strcmp(name, "last.h5") == 0 || strcmp(name, "previous.h5") == 0) {
        *age = *name == 'l' ? INT64_MIN : INT64_MIN + 1;
        return true;
    }
    if (!ac_checkpoint_is_best_name(name, &epoch))
        return false;
    *age = -epoch;
    return true;
}

static ac_status list_candidates(const char *folder, candidate **list, size_t *n)
{
    ac_status status = AC_OK;
    size_t capacity = 0;
    candidate found;
    *n = 0;
    *list = NULL;
    DIR *d = opendir(folder);
    if (!d)
        return errno == ENOENT ? AC_OK : ac_error_errno("%s", folder);
    for (struct dirent *entry = readdir(d); entry; entry = readdir(d)) {
        if (strlen(entry->d_name) >= sizeof found.name || !is_candidate(entry->d_name, &found.age))
            continue;
        strcpy(found.name, entry->d_name);
        AC_TRY(ac_reserve(list, &capacity, *n + 1, sizeof **list));
        (*list)[(*n)++] = found;
    }
    if (*n)
        qsort(*list, *n, sizeof **list, by_age);
out:
    closedir(d);
    return status;
}

ac_status ac_checkpoint_choose(const char *folder, char path[AC_PATH_BYTES], ac_checkpoint_info *info)
{
    ac_status status = AC_OK, worst = AC_ERR_IO;
    char names[512] = "";
    candidate *list = NULL;
    size_t n = 0;
    path[0] = 0;
    memset(info, 0, sizeof *info);
    AC_TRY(list_candidates(folder, &list, &n));
    for (size_t i = 0; i < n; i++) {
        AC_TRY(ac_path_join(path, folder, list[i].name));
        status = ac_checkpoint_check(path, info);
        /* what could not be read may be whole: only damage makes way for an older one */
        if (status != AC_ERR_DATA)
            goto out;
        ac_log(AC_LOG_WARN, "%s: this checkpoint is not used", ac_error_text());
        worst = status == AC_ERR_IO ? worst : AC_ERR_DATA;
        const size_t length = strlen(names);
        snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", list[i].name);
    }
    if (n)
        status =
            ac_error(worst, "%s: no checkpoint is whole: %s (last reason: %.300s)", folder, names, ac_error_text());
out:
    if (status != AC_OK)
        path[0] = 0;
    ac_free(list);
    return status;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

/* A checkpoint from elsewhere becomes last.h5. In the place of a damaged last.h5, previous.h5 does. */
static ac_status take_as_last(const char *folder, const char *path)
{
    ac_status status = AC_OK;
    char last[AC_PATH_BYTES], last_part[AC_PATH_BYTES], previous[AC_PATH_BYTES];
    AC_TRY(ac_path_join(last, folder, "last.h5"));
    AC_TRY(ac_path_join(last_part, folder, "last.h5.part"));
    AC_TRY(ac_path_join(previous, folder, "previous.h5"));
    if (is_same_file(path, last))
        return AC_OK;
    if (is_same_file(path, previous))
        return ac_file_link(path, last);
    if (strcmp(path, last_part) != 0) /* else ac_checkpoint_stage() was here */
        AC_TRY(ac_file_link(path, last_part));
    AC_TRY(ac_checkpoint_rotate(folder));
out:
    return status;
}

/* A best checkpoint may be missing: the save that was to make it was cut short, a later one has replaced it, or it is
 * of another folder. If it is of the epoch that ends with the checkpoint at hand, it is that checkpoint. */
static ac_status mend_table(const char *folder, ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES], last[AC_PATH_BYTES];
    AC_TRY(ac_path_join(last, folder, "last.h5"));
    for (int i = 0; i < AC_N_TRACKED; i++) {
        ac_checkpoint_best *best = &info->best[i];
        if (!best->file[0])
            continue;
        AC_TRY(ac_path_join(path, folder, best->file));
        if (ac_path_exists(path))
            continue;
        if (info->step == 0 && best->epoch == info->epoch - 1) {
            AC_TRY(ac_file_link(last, path));
            continue;
        }
        ac_log(AC_LOG_WARN, "%s is not there: the best %s is sought anew", path, ac_tracked_name[i]);
        *best = (ac_checkpoint_best){0};
    }
out:
    return status;
}

ac_status ac_checkpoint_stage(const char *folder, const char *path, char staged[AC_PATH_BYTES])
{
    ac_status status = AC_OK;
    AC_TRY(ac_path_join(staged, folder, "last.h5.part"));
    AC_TRY(ac_file_link(path, staged));
out:
    return status;
}

ac_status ac_checkpoint_adopt(const char *folder, const char *path, ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    AC_TRY(take_as_last(folder, path));
    AC_TRY(mend_table(folder, info));
    AC_TRY(ac_checkpoint_save_table(folder, info));
    ac_checkpoint_sweep(folder, info);
out:
    return status == AC_OK ? status : ac_error_in(status, "%s", folder);
}

ac_status ac_checkpoint_present(const char *folder, bool *present)
{
    candidate *list = NULL;
    size_t n = 0;
    ac_status status = list_candidates(folder, &list, &n);
    *present = n > 0;
    ac_free(list);
    return status;
}

ac_status ac_checkpoint_clear(const char *folder)
{
    static const char *const names[] = {"checkpoints.json", "previous.h5", "last.h5"};
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_checkpoint_sweep(folder, &(ac_checkpoint_info){.epoch = 0});
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        AC_TRY(ac_path_join(path, folder, names[i]));
        if (unlink(path) != 0 && errno != ENOENT)
            return ac_error_errno("%s", path);
    }
out:
    return status;
}
