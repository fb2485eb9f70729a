/* One shard on its way to another folder. It is read once: every piece is compared with the seal and written. The copy is complete or absent, and a small
 * stamp beside it says what it was when it was complete, so that a later run need not read it. */
#define _GNU_SOURCE
#include "anyclass/alloc.h"
#include "preprocess/stage.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STAMP_BYTES = 256, WRITE_BEHIND_BYTES = 8 << 20 };

const char stage_stamp_suffix[] = ".stamp";

/* What the stamp of a file is while its copy is as it was. */
static void print_stamp(const struct stat *info, ac_hash hash, char out[STAMP_BYTES])
{
    char text[AC_HASH_TEXT_BYTES];
    ac_hash_format(hash, text);
    snprintf(out, STAMP_BYTES, "anyclass stage 1\nhash %s\nbytes %lld\nmtime %lld.%09ld\n", text, (long long)info->st_size, (long long)info->st_mtim.tv_sec,
             info->st_mtim.tv_nsec);
}

static ac_status stamp_path(const char *path, char out[AC_PATH_BYTES])
{
    int n = snprintf(out, AC_PATH_BYTES, "%s%s", path, stage_stamp_suffix);
    return n < AC_PATH_BYTES ? AC_OK : ac_error(AC_ERR_USAGE, "path of more than %d bytes: %.60s...", AC_PATH_BYTES - 1, path);
}

static bool has_stamp(const char *path, const struct stat *info, ac_hash hash)
{
    char name[AC_PATH_BYTES], wanted[STAMP_BYTES];
    uint8_t *bytes = NULL;
    size_t n;
    print_stamp(info, hash, wanted);
    bool same = stamp_path(path, name) == AC_OK && ac_file_read_all(name, STAMP_BYTES, &bytes, &n) == AC_OK && strcmp((char *)bytes, wanted) == 0;
    ac_free(bytes);
    return same;
}

static ac_status write_stamp(const char *path, ac_hash hash)
{
    ac_status status = AC_OK;
    char name[AC_PATH_BYTES], text[STAMP_BYTES];
    struct stat info;
    ac_file file = {0};
    if (stat(path, &info) != 0)
        return ac_error_errno("%s", path);
    print_stamp(&info, hash, text);
    AC_TRY(stamp_path(path, name));
    AC_TRY(ac_file_create(&file, name));
    AC_TRY(ac_file_write(&file, text, strlen(text)));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

/* Tell the system what will not be needed again. Advice: that it cannot be taken is no failure. */
static void forget(int fd, uint64_t at, uint64_t n)
{
    (void)posix_fadvise(fd, (off_t)at, (off_t)n, POSIX_FADV_DONTNEED);
}

/* All bytes of an open shard past the hashes, and into `out` unless it is NULL. Texts name `path`, or the file that is written. */
static ac_status pass(stage_job *job, const char *path, int fd, ac_hash hash, ac_file *out)
{
    ac_status status = AC_OK;
    ac_shard_pass *p = NULL;
    uint8_t *piece = NULL;
    AC_TRY(ac_malloc(STAGE_PIECE_BYTES, 1, &piece));
    status = ac_shard_pass_begin(fd, hash, &p);
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (uint64_t at = 0, behind = 0, end = ac_shard_pass_bytes(p); at < end;) {
        size_t n = end - at < STAGE_PIECE_BYTES ? (size_t)(end - at) : STAGE_PIECE_BYTES;
        AC_TRY(stage_beat(job));
        status = ac_file_read_at(fd, at, piece, n);
        if (status == AC_OK)
            status = ac_shard_pass_add(p, piece, n);
        if (status != AC_OK)
            AC_TRY(ac_error_in(status, "%s", path));
        at += n;
        if (out) {
            AC_TRY(ac_file_write(out, piece, n));
            job->beat.mine[BEAT_DONE_BYTES] += (int64_t)n;
        }
        if (out && (at - behind >= WRITE_BEHIND_BYTES || at == end)) { /* it is on its way to disk while the rest is read */
            (void)sync_file_range(fileno(out->stream), (off_t)behind, 0, SYNC_FILE_RANGE_WRITE);
            forget(fd, behind, at - behind);
            behind = at;
        }
    }
    status = ac_shard_pass_end(p);
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
out:
    ac_shard_pass_destroy(p);
    ac_free(piece);
    return status;
}

static ac_status open_shard(const char *path, int *fd, struct stat *info)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    if (*fd < 0)
        return errno == ENOENT ? ac_error(AC_ERR_DATA, "%s: is missing", path) : ac_error_errno("%s", path);
    if (fstat(*fd, info) != 0)
        return ac_error_errno("%s", path);
    return S_ISREG(info->st_mode) ? AC_OK : ac_error(AC_ERR_DATA, "%s: is no regular file", path);
}

/* Every byte of a copy that is there. *whole false: it is to be made anew. Fails for what ends the run alone. */
static ac_status check_copy(stage_job *job, const char *path, ac_hash hash, bool *whole)
{
    struct stat info;
    int fd;
    ac_status status = open_shard(path, &fd, &info);
    if (status == AC_OK)
        status = pass(job, path, fd, hash, NULL);
    if (fd >= 0)
        close(fd);
    *whole = status == AC_OK;
    return status == AC_ERR_DATA || status == AC_ERR_IO ? AC_OK : status;
}

ac_status stage_look(stage_job *job, size_t k, uint8_t *state, uint64_t *n_bytes)
{
    ac_status status = AC_OK;
    const stage_file *f = &job->file[k];
    char from[AC_PATH_BYTES], to[AC_PATH_BYTES];
    struct stat source, copy;
    bool whole;
    *state = STAGE_COPY;
    AC_TRY(stage_beat(job));
    AC_TRY(ac_path_join(from, job->config->data_root, f->name));
    AC_TRY(ac_path_join(to, job->config->to, f->name));
    *n_bytes = stat(from, &source) == 0 ? (uint64_t)source.st_size : 0; /* what is wrong with it is told when it is copied */
    if (lstat(to, &copy) != 0 || !S_ISREG(copy.st_mode)) /* a link to somewhere is no copy */
        return AC_OK;
    bool stamped = has_stamp(to, &copy, f->hash);
    if (stamped && !job->config->verify) {
        *state = STAGE_KEEP;
        return AC_OK;
    }
    AC_TRY(check_copy(job, to, f->hash, &whole));
    *state = whole ? STAGE_KEEP : STAGE_COPY;
    if (!whole && stamped) {
        ac_log_here(AC_LOG_WARN, "%s: the copy is damaged and is made anew", to);
        job->n_mended++;
    }
    if (whole && !stamped && !job->config->common.dry_run)
        AC_TRY(write_stamp(to, f->hash));
out:
    return status;
}

ac_status stage_copy(stage_job *job, size_t k)
{
    ac_status status = AC_OK;
    const stage_file *f = &job->file[k];
    char from[AC_PATH_BYTES], to[AC_PATH_BYTES], part[AC_PATH_BYTES + 8];
    struct stat info;
    ac_file file = {0};
    int fd = -1;
    AC_TRY(ac_path_join(from, job->config->data_root, f->name));
    AC_TRY(ac_path_join(to, job->config->to, f->name));
    AC_TRY(open_shard(from, &fd, &info));
    snprintf(part, sizeof part, "%s.part", to);
    unlink(part); /* what a killed run left, or a link: nothing is written through it */
    AC_TRY(ac_file_create(&file, to));
    AC_TRY(pass(job, from, fd, f->hash, &file));
    int copy = job->keep_cache ? -1 : dup(fileno(file.stream));
    AC_TRY(ac_file_sync(&file));
    if (copy >= 0) {
        forget(copy, 0, 0);
        close(copy);
    }
    AC_TRY(ac_file_commit(&file));
    AC_TRY(write_stamp(to, f->hash));
out:
    ac_file_discard(&file);
    if (fd >= 0)
        close(fd);
    return status;
}
