/* Files that are complete or absent, and paths. */
#include "anyclass/file.h"
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_ullong fail_at;

void ac_file_fail_at(uint64_t n)
{
    atomic_store(&fail_at, n);
}

/* True once, when the planned failure is due. */
static bool must_fail(void)
{
    unsigned long long left = atomic_load(&fail_at);
    while (left > 0)
        if (atomic_compare_exchange_weak(&fail_at, &left, left - 1)) {
            if (left == 1)
                errno = ENOSPC;
            return left == 1;
        }
    return false;
}

static ac_status copy_path(char *out, const char *path, const char *suffix)
{
    int n = snprintf(out, AC_PATH_BYTES, "%s%s", path, suffix);
    if (n < 0 || n >= AC_PATH_BYTES)
        return ac_error(AC_ERR_USAGE, "path of more than %d bytes: %.60s...", AC_PATH_BYTES - 1, path);
    return AC_OK;
}

static void unlock(ac_file *file)
{
    if (file->lock > 0)
        close(file->lock - 1);
    file->lock = 0;
}

bool ac_file_lock_holds(const char *path, int fd)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

ac_status ac_file_lock(const char *path, int *fd, ac_lock *lock)
{
    for (;;) { /* whoever had the lock before may have renamed or removed the file */
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (*fd < 0)
            return ac_error_errno("%s", path);
        bool taken = flock(*fd, LOCK_EX | LOCK_NB) == 0;
        *lock = taken ? AC_LOCK_TAKEN : errno == EWOULDBLOCK ? AC_LOCK_HELD : AC_LOCK_NONE;
        if (*lock == AC_LOCK_NONE || (taken && ac_file_lock_holds(path, *fd)))
            return AC_OK;
        close(*fd);
        *fd = -1;
        if (!taken)
            return AC_OK;
    }
}

void ac_file_unlock(const char *path, int *fd)
{
    if (*fd < 0)
        return;
    if (ac_file_lock_holds(path, *fd) && unlink(path) != 0)
        ac_log(AC_LOG_WARN, "%s: cannot be removed, but locks nothing any more", path);
    close(*fd);
    *fd = -1;
}

/* The temporary file, emptied once no other program has it locked. */
static ac_status open_locked(ac_file *file)
{
    ac_status status = AC_OK;
    ac_lock lock;
    int fd;
    AC_TRY(ac_file_lock(file->part, &fd, &lock));
    if (lock == AC_LOCK_HELD)
        return ac_error(AC_ERR_IO, "%s: another program is writing this file: wait until it has ended", file->path);
    file->lock = lock == AC_LOCK_TAKEN ? dup(fd) + 1 : 0; /* outlives the stream, until the file has its final name */
    file->stream = ftruncate(fd, 0) == 0 ? fdopen(fd, "wb") : NULL;
    if (!file->stream) {
        status = ac_error_errno("%s", file->part);
        close(fd);
        unlock(file);
    }
out:
    return status;
}

ac_status ac_file_create(ac_file *file, const char *path)
{
    ac_status status = AC_OK;
    memset(file, 0, sizeof *file);
    AC_TRY(copy_path(file->path, path, ""));
    AC_TRY(copy_path(file->part, path, ".part"));
    AC_TRY(open_locked(file));
out:
    return status;
}

ac_status ac_file_write(ac_file *file, const void *bytes, size_t n)
{
    if (!file->stream)
        return ac_error(AC_ERR_IO, "%s is not open", file->path);
    if (must_fail() || fwrite(bytes, 1, n, file->stream) != n) {
        file->failed = true;
        return ac_error_errno("%s", file->part);
    }
    return AC_OK;
}

ac_status ac_file_printf(ac_file *file, const char *format, ...)
{
    va_list args;
    if (!file->stream)
        return ac_error(AC_ERR_IO, "%s is not open", file->path);
    va_start(args, format);
    int n = must_fail() ? -1 : vfprintf(file->stream, format, args);
    va_end(args);
    if (n < 0) {
        file->failed = true;
        return ac_error_errno("%s", file->part);
    }
    return AC_OK;
}

ac_status ac_file_flush(ac_file *file)
{
    if (!file->stream)
        return ac_error(AC_ERR_IO, "%s is not open", file->path);
    if (must_fail() || fflush(file->stream) != 0) {
        file->failed = true;
        return ac_error_errno("%s", file->part);
    }
    return AC_OK;
}

/* A rename is durable once its folder is. Some file systems refuse to sync a folder (EINVAL): that is no loss. */
static ac_status sync_folder_of(const char *path)
{
    char folder[AC_PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == folder)
        slash[1] = 0;
    else if (slash)
        *slash = 0;
    else
        strcpy(folder, ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ac_error_errno("%s", folder);
    bool good = !must_fail() && (fsync(fd) == 0 || errno == EINVAL || errno == EROFS);
    ac_status status = good ? AC_OK : ac_error_errno("%s: sync", folder);
    close(fd);
    return status;
}

static ac_status rename_into_place(const char *part, const char *path)
{
    if (must_fail() || rename(part, path) != 0)
        return ac_error_errno("%s: rename to %s", part, path);
    return sync_folder_of(path);
}

static void give_up(ac_file *file)
{
    if (file->keep_part)
        ac_file_leave(file);
    else
        ac_file_discard(file);
}

ac_status ac_file_sync(ac_file *file)
{
    ac_status status = AC_OK;
    if (!file->stream)
        return ac_error(AC_ERR_IO, "%s is not open", file->path);
    if (file->failed)
        AC_TRY(ac_error(AC_ERR_IO, "%s: an earlier write failed", file->part));
    if (must_fail() || fflush(file->stream) != 0 || fsync(fileno(file->stream)) != 0)
        AC_TRY(ac_error_errno("%s", file->part));
    int closed = must_fail() ? (fclose(file->stream), errno = ENOSPC, -1) : fclose(file->stream);
    file->stream = NULL;
    if (closed != 0)
        AC_TRY(ac_error_errno("%s", file->part));
    file->synced = true;
    return AC_OK;
out:
    give_up(file);
    return status;
}

ac_status ac_file_commit(ac_file *file)
{
    ac_status status = AC_OK;
    if (!file->synced)
        AC_TRY(ac_file_sync(file));
    AC_TRY(rename_into_place(file->part, file->path));
    unlock(file);
    memset(file, 0, sizeof *file);
    return AC_OK;
out:
    give_up(file);
    return status;
}

void ac_file_discard(ac_file *file)
{
    if (file->stream)
        fclose(file->stream);
    if (file->part[0])
        unlink(file->part);
    unlock(file);
    memset(file, 0, sizeof *file);
}

void ac_file_leave(ac_file *file)
{
    if (file->stream)
        fclose(file->stream);
    unlock(file);
    memset(file, 0, sizeof *file);
}

ac_status ac_file_publish(const char *part, const char *path)
{
    int fd = open(part, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ac_error_errno("%s", part);
    ac_status status = !must_fail() && fsync(fd) == 0 ? AC_OK : ac_error_errno("%s: sync", part);
    close(fd);
    return status == AC_OK ? rename_into_place(part, path) : status;
}

static ac_status copy_file(const char *from, const char *path)
{
    ac_status status = AC_OK;
    char piece[1 << 16];
    size_t n;
    ac_file file = {0};
    FILE *source = NULL;
    AC_TRY(ac_file_open_regular(from, &source));
    AC_TRY(ac_file_create(&file, path));
    while ((n = fread(piece, 1, sizeof piece, source)) > 0)
        AC_TRY(ac_file_write(&file, piece, n));
    if (ferror(source))
        AC_TRY(ac_error_errno("%s: read", from));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    if (source)
        fclose(source);
    return status;
}

ac_status ac_file_link(const char *from, const char *path)
{
    ac_status status = AC_OK;
    char part[AC_PATH_BYTES];
    AC_TRY(copy_path(part, path, ".part"));
    unlink(part);
    if (link(from, part) != 0)
        return copy_file(from, path);
    status = rename_into_place(part, path);
    unlink(part); /* still there when the rename failed, or found two names of one file, which it leaves alone */
out:
    return status;
}

ac_status ac_file_open_regular(const char *path, FILE **out)
{
    struct stat info;
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ac_error_errno("%s", path);
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return ac_error(AC_ERR_IO, "%s: not a regular file", path);
    }
    *out = fdopen(fd, "rb");
    if (*out)
        return AC_OK;
    ac_status status = ac_error_errno("%s", path);
    close(fd);
    return status;
}

ac_status ac_file_read_at(int fd, uint64_t at, void *out, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(fd, (char *)out + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ac_error_errno("read");
        if (got == 0)
            return ac_error(AC_ERR_DATA, "the file ends before its data");
        done += (size_t)got;
    }
    return AC_OK;
}

ac_status ac_file_write_at(int fd, uint64_t at, const void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = must_fail() ? -1 : pwrite(fd, (const char *)bytes + done, n - done, (off_t)(at + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return ac_error_errno("write");
        done += (size_t)put;
    }
    return AC_OK;
}

ac_status ac_file_read_all(const char *path, size_t max_bytes, uint8_t **bytes, size_t *n)
{
    ac_status status = AC_OK;
    struct stat info;
    uint8_t *block = NULL;
    FILE *file;
    *bytes = NULL;
    status = ac_file_open_regular(path, &file);
    if (status != AC_OK)
        return status;
    if (fstat(fileno(file), &info) != 0)
        AC_TRY(ac_error_errno("%s", path));
    if (max_bytes && (uint64_t)info.st_size > max_bytes)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: %lld bytes, more than the %zu allowed", path, (long long)info.st_size, max_bytes));
    AC_TRY(ac_malloc((size_t)info.st_size + 1, 1, &block));
    *n = fread(block, 1, (size_t)info.st_size, file);
    if (ferror(file))
        AC_TRY(ac_error_errno("%s: read", path));
    block[*n] = 0;
    *bytes = block;
    block = NULL;
out:
    ac_free(block);
    fclose(file);
    return status;
}

ac_status ac_path_join(char *out, const char *a, const char *b)
{
    const char *between = a[0] && a[strlen(a) - 1] != '/' ? "/" : "";
    int n = b[0] == '/' ? snprintf(out, AC_PATH_BYTES, "%s", b) : snprintf(out, AC_PATH_BYTES, "%s%s%s", a, between, b);
    if (n < 0 || n >= AC_PATH_BYTES)
        return ac_error(AC_ERR_USAGE, "path of more than %d bytes: %.60s/...", AC_PATH_BYTES - 1, a);
    return AC_OK;
}

bool ac_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

ac_status ac_path_make_folders(const char *path)
{
    char partial[AC_PATH_BYTES];
    struct stat info;
    ac_status status = copy_path(partial, path, "");
    if (status != AC_OK)
        return status;
    for (char *at = partial + 1;; at++) {
        char end = *at;
        if (end != '/' && end != 0)
            continue;
        *at = 0;
        if (mkdir(partial, 0777) != 0 && errno != EEXIST)
            return ac_error_errno("%s", partial);
        *at = end;
        if (end == 0)
            break;
    }
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return AC_OK;
    return ac_error(AC_ERR_IO, "%s: exists and is no folder", path);
}

ac_status ac_path_check_writable(const char *folder)
{
    char nearest[AC_PATH_BYTES];
    struct stat info;
    ac_status status = copy_path(nearest, folder, "");
    if (status != AC_OK)
        return status;
    while (stat(nearest, &info) != 0) {
        if (errno != ENOENT)
            return ac_error_errno("%s", nearest);
        char *slash = strrchr(nearest, '/');
        if (!slash)
            strcpy(nearest, ".");
        else if (slash == nearest)
            nearest[1] = 0;
        else
            *slash = 0;
    }
    if (!S_ISDIR(info.st_mode))
        return ac_error(AC_ERR_IO, "%s: is no folder", nearest);
    if (access(nearest, W_OK | X_OK) != 0)
        return ac_error_errno("%s: cannot write here", nearest);
    return AC_OK;
}
