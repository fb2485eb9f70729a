/* The system calls that change files, made to fail, to kill the process or to bring it a signal at the n-th of them: definitions that stand
 * in front of the C library's for this whole program, libhdf5 included. Only calls on files in failing_folder count.
 * For one source file of a test. Needs _GNU_SOURCE before the first header. */
#ifndef ANYCLASS_TESTS_FAILING_CALLS_H
#define ANYCLASS_TESTS_FAILING_CALLS_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef enum failing_way { /* SIGNAL: SIGUSR1 before that call; SIGNALS: before it and each behind it */
    FAILING_OFF,
    FAILING_COUNT,
    FAILING_ERROR,
    FAILING_SHORT,
    FAILING_KILL,
    FAILING_SIGNAL,
    FAILING_SIGNALS
} failing_way;

static char failing_folder[4096];
static failing_way failing_how;
static long failing_at, failing_n; /* the n-th call, calls so far */
static int failing_errno;
static const char *failing_name; /* of the call that failed */
static bool failing_links;       /* as on a file system that has no hard links */

/* `real`: the library's own function, or AddressSanitizer's in front of it. */
#define FAILING_REAL(name)                                                                                             \
    static __typeof__(name) *real;                                                                                     \
    if (!real)                                                                                                         \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

static bool failing_path(const char *path)
{
    return failing_how != FAILING_OFF && strncmp(path, failing_folder, strlen(failing_folder)) == 0;
}

static bool failing_fd(int fd)
{
    char link_name[64], path[4096];
    if (failing_how == FAILING_OFF)
        return false;
    snprintf(link_name, sizeof link_name, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link_name, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    return failing_path(path);
}

/* True when this call is the one that fails. */
static bool failing_now(bool counts, const char *name)
{
    if (!counts)
        return false;
    failing_n++;
    if ((failing_how == FAILING_SIGNAL && failing_n == failing_at) || (failing_how == FAILING_SIGNALS && failing_n >= failing_at))
        raise(SIGUSR1);
    if (failing_n != failing_at || failing_how == FAILING_COUNT || failing_how >= FAILING_SIGNAL)
        return false;
    if (failing_how == FAILING_KILL)
        raise(SIGKILL);
    failing_name = name;
    errno = failing_errno;
    return true;
}

int open(const char *path, int flags, ...)
{
    FAILING_REAL(open);
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return failing_now(flags & O_CREAT && failing_path(path), "open") ? -1 : real(path, flags, mode);
}

int close(int fd)
{
    FAILING_REAL(close);
    const bool fails = failing_now(failing_fd(fd), "close");
    const int cause = errno, result = real(fd);
    if (fails)
        errno = cause;
    return fails ? -1 : result;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    FAILING_REAL(pwrite);
    if (!failing_now(failing_fd(fd), "pwrite"))
        return real(fd, bytes, n, at);
    return failing_how == FAILING_SHORT && n > 7 ? real(fd, bytes, n / 8, at) : -1;
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    FAILING_REAL(write);
    if (!failing_now(failing_fd(fd), "write"))
        return real(fd, bytes, n);
    return failing_how == FAILING_SHORT && n > 7 ? real(fd, bytes, n / 8) : -1;
}

int ftruncate(int fd, off_t n)
{
    FAILING_REAL(ftruncate);
    return failing_now(failing_fd(fd), "ftruncate") ? -1 : real(fd, n);
}

int fsync(int fd)
{
    FAILING_REAL(fsync);
    return failing_now(failing_fd(fd), "fsync") ? -1 : real(fd);
}

int rename(const char *from, const char *to)
{
    FAILING_REAL(rename);
    return failing_now(failing_path(from), "rename") ? -1 : real(from, to);
}

int link(const char *from, const char *to)
{
    FAILING_REAL(link);
    if (failing_links) {
        errno = EPERM;
        return -1;
    }
    return failing_now(failing_path(from), "link") ? -1 : real(from, to);
}

int unlink(const char *path)
{
    FAILING_REAL(unlink);
    return failing_now(failing_path(path), "unlink") ? -1 : real(path);
}

size_t fwrite(const void *bytes, size_t size, size_t n, FILE *file)
{
    FAILING_REAL(fwrite);
    if (!failing_now(failing_fd(fileno(file)), "fwrite"))
        return real(bytes, size, n, file);
    return failing_how == FAILING_SHORT ? real(bytes, size, n / 2, file) : 0;
}

int fflush(FILE *file)
{
    FAILING_REAL(fflush);
    return failing_now(file && failing_fd(fileno(file)), "fflush") ? EOF : real(file);
}

int fclose(FILE *file)
{
    FAILING_REAL(fclose);
    const bool fails = failing_now(failing_fd(fileno(file)), "fclose");
    const int cause = errno, result = real(file);
    if (fails)
        errno = cause;
    return fails ? EOF : result;
}

#endif
