/* One run at a time makes a split: a lock on a file in the output folder, which the system gives up when its holder
 * dies. The file is removed with the lock; one that a killed run left behind locks nothing. */
#include "preprocess/steps.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* False when the file that was locked is no longer the one of that name: its holder removed it meanwhile. */
static bool still_there(int fd, const char *path)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

ac_status preprocess_lock(const char *folder, ac_split split, split_lock *lock)
{
    ac_status status = AC_OK;
    char name[32];
    snprintf(name, sizeof name, "%s.lock", ac_split_name(split));
    AC_TRY(ac_path_join(lock->path, folder, name));
    for (;;) {
        lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (lock->fd < 0)
            return ac_error_errno("%s", lock->path);
        if (flock(lock->fd, LOCK_EX | LOCK_NB) == 0) {
            if (still_there(lock->fd, lock->path))
                return AC_OK;
        } else if (errno == EWOULDBLOCK) {
            close(lock->fd);
            lock->fd = -1;
            return ac_error(AC_ERR_IO, "%s: another run is making this split: wait until it has ended, or stop it",
                            lock->path);
        } else {
            ac_log(AC_LOG_WARN, "%s: this file system has no locks: see that no other run makes this split",
                   lock->path);
            return AC_OK;
        }
        close(lock->fd);
    }
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
