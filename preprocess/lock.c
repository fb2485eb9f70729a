/* One run at a time makes a split: a lock on a file in the output folder, which the system gives up when its holder
 * dies. The file is removed with the lock; one that a killed run left behind locks nothing. */
#include "preprocess/steps.h"
#include <unistd.h>

ac_status preprocess_lock(const char *folder, ac_split split, split_lock *lock)
{
    ac_status status = AC_OK;
    char name[32];
    ac_lock state;
    snprintf(name, sizeof name, "%s.lock", ac_split_name(split));
    AC_TRY(ac_path_join(lock->path, folder, name));
    AC_TRY(ac_file_lock(lock->path, &lock->fd, &state));
    if (state == AC_LOCK_HELD)
        return ac_error(AC_ERR_IO, "%s: another run is making this split: wait until it has ended, or stop it",
                        lock->path);
    if (state == AC_LOCK_NONE)
        ac_log(AC_LOG_WARN, "%s: this file system has no locks: see that no other run makes this split", lock->path);
out:
    return status;
}

void preprocess_unlock(split_lock *lock)
{
    if (lock->fd < 0)
        return;
    unlink(lock->path);
    close(lock->fd);
    lock->fd = -1;
}
