/* Files that are complete or absent: written under a temporary name, checked, synced, renamed.
 * Also reading a whole file, and paths. Serves every text and binary output that is not HDF5. Not collective. */
#ifndef ANYCLASS_FILE_H
#define ANYCLASS_FILE_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { AC_PATH_BYTES = 4096 };

/* A file being written. Opaque fields; a zeroed struct is a valid "no file". */
typedef struct ac_file {
    FILE *stream;
    char path[AC_PATH_BYTES]; /* the final name */
    char part[AC_PATH_BYTES]; /* the temporary name: path + ".part" */
    bool failed, synced;
    bool keep_part; /* the caller's: what cannot be committed keeps its temporary file, as ac_file_leave() does */
    int lock; /* descriptor + 1 that keeps other writers out; 0: none */
} ac_file;

/** Open `path`.part for writing, replacing a left-over one. AC_ERR_IO with the path and reason, also when another
 * program is writing that file (where the file system has locks). */
AC_NODISCARD ac_status ac_file_create(ac_file *file, const char *path);
/** Append bytes. After a failure ac_file_commit() fails as well. */
AC_NODISCARD ac_status ac_file_write(ac_file *file, const void *bytes, size_t n);
/** Append formatted text. */
AC_NODISCARD ac_status ac_file_printf(ac_file *file, const char *format, ...) AC_PRINTF(2, 3);
/** Hand what was appended so far to the system: a process that is killed later does not lose it. As a write otherwise. */
AC_NODISCARD ac_status ac_file_flush(ac_file *file);
/** Flush, fsync, close (each checked): all bytes are safe in the temporary file. Of a set of files, sync all before the
 * first is committed: a full disk then shows while nothing has changed. On failure the temporary file is removed, without
 * keep_part. */
AC_NODISCARD ac_status ac_file_sync(ac_file *file);
/** ac_file_sync() if that was not done, rename to the final name, fsync the folder. On failure the temporary file is
 * removed, without keep_part, and a file that had the final name before is untouched; unless the folder's sync was what failed: then the
 * new file is there, whole, but a power failure may still undo the rename. */
AC_NODISCARD ac_status ac_file_commit(ac_file *file);
/** Close and remove the temporary file. Safe on a zeroed, committed or failed file. */
void ac_file_discard(ac_file *file);
/** Close and keep the temporary file, whose bytes may end anywhere: for who can use what is in it. Safe likewise. */
void ac_file_leave(ac_file *file);

/** Test aid: let the n-th file operation (write, also at a place, flush, sync, close, rename) from now fail as on a full disk, once.
 * 0 switches it off. */
void ac_file_fail_at(uint64_t n);

/** Open a regular file for reading as a stream. AC_ERR_IO when it is missing or anything but a regular file: a pipe could
 * keep its reader waiting for ever. The caller closes it. */
AC_NODISCARD ac_status ac_file_open_regular(const char *path, FILE **out);

typedef enum ac_lock {
    AC_LOCK_TAKEN, /* by this call */
    AC_LOCK_HELD,  /* by another process */
    AC_LOCK_NONE   /* the file system has no locks */
} ac_lock;

/** Open or make the file `path` and lock it, until its descriptor is closed, against other callers of this function.
 * @param[out] fd  the caller's to close; -1 when the lock is held by another or after a failure
 * @return AC_OK whatever `lock` says; AC_ERR_IO when the file cannot be opened. */
AC_NODISCARD ac_status ac_file_lock(const char *path, int *fd, ac_lock *lock);

/** True while `path` is the file that ac_file_lock() locked: it may have been removed, and another have its name. */
bool ac_file_lock_holds(const char *path, int fd);
/** Unlock, and remove the file if it is still the one that was locked (a warning says when that fails). Nothing for
 * fd < 0; sets it to -1. */
void ac_file_unlock(const char *path, int *fd);

/** Read exactly n bytes from byte `at` on; any thread. AC_ERR_IO; AC_ERR_DATA when the file ends before. Texts do not name
 * the file. */
AC_NODISCARD ac_status ac_file_read_at(int fd, uint64_t at, void *out, size_t n);

/** Write exactly n bytes at byte `at`; any thread. AC_ERR_IO: some of them may be there. Texts do not name the file. */
AC_NODISCARD ac_status ac_file_write_at(int fd, uint64_t at, const void *bytes, size_t n);

/** Flush a file that another library wrote, rename `part` to `path`, sync the folder. */
AC_NODISCARD ac_status ac_file_publish(const char *part, const char *path);

/** Give the whole, synced file `from` a second name `path`, in the place of an older file of that name: a hard link, or
 * where there are none a copy. The folder is synced. AC_ERR_IO; the older file is then as it was. */
AC_NODISCARD ac_status ac_file_link(const char *from, const char *path);

/** Read a whole file, with one zero byte added behind it (not counted in *n).
 * @param max_bytes  AC_ERR_DATA if the file is larger; 0 = no limit
 * @param[out] bytes owned by the caller (ac_free). AC_ERR_IO if it cannot be read. */
AC_NODISCARD ac_status ac_file_read_all(const char *path, size_t max_bytes, uint8_t **bytes, size_t *n);

/** a/b into out[AC_PATH_BYTES]; AC_ERR_USAGE if it does not fit. An absolute b replaces a. */
AC_NODISCARD ac_status ac_path_join(char *out, const char *a, const char *b);
/** True if something is there (any type). */
bool ac_path_exists(const char *path);
/** Make a folder and its parents; one that exists is fine. */
AC_NODISCARD ac_status ac_path_make_folders(const char *path);
/** Check without writing that files could be made in `folder` (or in its nearest existing parent). */
AC_NODISCARD ac_status ac_path_check_writable(const char *folder);

#endif
