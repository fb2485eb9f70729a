/* One run at a time writes to a folder of scores: a lock on a file in it, which the system gives up when its holder
 * dies. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "infer/steps.h"
#include <string.h>

static ac_status lock_folder(const char *folder, infer_lock *lock)
{
    ac_status status = AC_OK;
    ac_lock state;
    lock->fd = -1;
    AC_TRY(ac_path_make_folders(folder));
    AC_TRY(ac_path_join(lock->path, folder, "inference.lock"));
    AC_TRY(ac_file_lock(lock->path, &lock->fd, &state));
    if (state == AC_LOCK_HELD)
        return ac_error(AC_ERR_IO, "%s: another run writes scores to this folder: wait until it has ended, or stop it",
                        lock->path);
    if (state == AC_LOCK_NONE)
        ac_log(AC_LOG_WARN, "%s: this file system has no locks: see that no other run writes scores to this folder",
               lock->path);
out:
    return status;
}

static bool is_locked(const infer *in, const char *folder)
{
    for (size_t i = 0; i < in->n_locks; i++)
        if (strncmp(in->lock[i].path, folder, strlen(folder)) == 0 &&
            strcmp(in->lock[i].path + strlen(folder) + (folder[strlen(folder) - 1] != '/'), "inference.lock") == 0)
            return true;
    return false;
}

ac_status infer_lock_folders(infer *in)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(in->jobs.n_targets + 1, sizeof *in->lock, &in->lock));
    for (size_t t = 0; t < in->jobs.n_targets; t++) {
        if (is_locked(in, in->jobs.target[t].folder))
            continue;
        AC_TRY(lock_folder(in->jobs.target[t].folder, &in->lock[in->n_locks]));
        in->n_locks++;
    }
out:
    return status;
}

ac_status infer_check_locks(const infer *in)
{
    for (size_t i = 0; i < in->n_locks; i++)
        if (in->lock[i].fd >= 0 && !ac_file_lock_holds(in->lock[i].path, in->lock[i].fd))
            return ac_error(AC_ERR_IO, "%s is gone: the folder was removed or replaced while this run wrote to it",
                            in->lock[i].path);
    return AC_OK;
}

void infer_unlock_folders(infer *in)
{
    for (size_t i = 0; i < in->n_locks; i++)
        ac_file_unlock(in->lock[i].path, &in->lock[i].fd);
    ac_free(in->lock);
    in->lock = NULL;
    in->n_locks = 0;
}
