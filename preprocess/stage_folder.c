/* The target of `stage` as a whole: whose it is, who writes to it, whether there is room, and what in it must go. A split's manifest is written last and
 * removed first, so that whoever finds one finds all of its shards. */
#include "anyclass/alloc.h"
#include "preprocess/stage.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static const char marker[] = "staged.txt"; /* its presence says that all else in the folder are copies */
static const char marker_part[] = "staged.txt.part";
static const char lock_name[] = "stage.lock";

typedef enum kind { OTHER, MANIFEST, SHARD } kind;

/* What a file name of the target stands for: "train-manifest.json", "train-00000-of-00002.h5", each perhaps with .part, a shard's also with .stamp.
 * *length is that of the name without these endings. */
static kind kind_of(const char *name, ac_split split, size_t *length)
{
    static const char *const endings[] = {".part", stage_stamp_suffix};
    const char *prefix = ac_split_name(split), *at = name + strlen(prefix);
    size_t n = strlen(name);
    for (int e = 0; e < 2; e++) {
        size_t m = strlen(endings[e]);
        if (n > m && memcmp(name + n - m, endings[e], m) == 0)
            n -= m;
    }
    *length = n;
    if (strncmp(name, prefix, strlen(prefix)) != 0 || *at != '-')
        return OTHER;
    const char *const manifest = "-manifest.json";
    if (n == strlen(prefix) + strlen(manifest) && strncmp(at, manifest, strlen(manifest)) == 0)
        return MANIFEST;
    for (int part = 0; part < 2; part++) {
        if (strncmp(at, part ? "-of-" : "-", part ? 4 : 1) != 0)
            return OTHER;
        at += part ? 4 : 1;
        if (!isdigit((unsigned char)*at))
            return OTHER;
        while (isdigit((unsigned char)*at))
            at++;
    }
    return strncmp(at, ".h5", 3) == 0 && at + 3 == name + n ? SHARD : OTHER;
}

/* Call `each` with every file of these splits in the target, and the number of its split in job->split. */
static ac_status for_each_file(const stage_job *job, ac_status (*each)(const stage_job *, const char *name, size_t split, kind what, void *context), void *context)
{
    ac_status status = AC_OK;
    struct dirent *entry;
    size_t length;
    DIR *folder = opendir(job->config->to);
    if (!folder)
        return errno == ENOENT ? AC_OK : ac_error_errno("%s", job->config->to);
    while (status == AC_OK && (errno = 0, entry = readdir(folder)) != NULL)
        for (size_t s = 0; s < job->n_splits && status == AC_OK; s++) {
            kind what = kind_of(entry->d_name, job->split[s], &length);
            if (what != OTHER)
                status = each(job, entry->d_name, s, what, context);
        }
    closedir(folder);
    return status;
}

static ac_status target_path(const stage_job *job, const char *name, char out[AC_PATH_BYTES])
{
    return ac_path_join(out, job->config->to, name);
}

static bool has_marker(const stage_job *job)
{
    char path[AC_PATH_BYTES];
    return target_path(job, marker, path) == AC_OK && ac_path_exists(path);
}

static ac_status count_file(const stage_job *job, const char *name, size_t split, kind what, void *context)
{
    (void)job;
    (void)name;
    (void)split;
    (void)what;
    ++*(size_t *)context;
    return AC_OK;
}

ac_status stage_check_target(const stage_job *job)
{
    ac_status status = AC_OK;
    const stage_config *c = job->config;
    struct stat from, to;
    size_t n = 0;
    stage_job all = {.config = c, .split = {AC_SPLIT_TRAIN, AC_SPLIT_VAL, AC_SPLIT_TEST}, .n_splits = AC_N_SPLITS};
    if (!c->remove && stat(c->data_root, &from) == 0 && stat(c->to, &to) == 0 && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
        return ac_error(AC_ERR_USAGE, "--to is the folder of --data_root");
    if (has_marker(job))
        return AC_OK;
    AC_TRY(for_each_file(&all, count_file, &n));
    if (n > 0)
        status = ac_error(AC_ERR_USAGE, "%s holds shards that `stage` did not put there: nothing is %s", c->to,
                          c->remove ? "removed" : "replaced, name another folder with --to");
out:
    return status;
}

static ac_status write_marker(const stage_job *job)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_file file = {0};
    AC_TRY(target_path(job, marker, path));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_printf(&file, "Copies made by anyclass-preprocess stage; take them away with `anyclass-preprocess stage --remove --to FOLDER`.\nof %s\n", job->config->data_root));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

/* One look for the lock. */
static ac_status try_lock(stage_job *job, ac_lock *state)
{
    const char *to = job->config->to;
    ac_status status = job->config->remove ? AC_OK : ac_path_make_folders(to);
    if (status == AC_OK)
        status = ac_file_lock(job->lock_path, &job->lock, state);
    if (status == AC_OK || ac_path_exists(to) || job->config->remove)
        return status;
    *state = AC_LOCK_HELD; /* somebody has just removed the folder */
    return AC_OK;
}

ac_status stage_lock(stage_job *job)
{
    ac_status status = AC_OK;
    ac_lock state;
    double begin = ac_now_s(), said = -1;
    job->lock = -1;
    AC_TRY(target_path(job, lock_name, job->lock_path));
    for (;;) {
        AC_TRY(stage_beat(job));
        if (job->config->remove && !ac_path_exists(job->config->to))
            return AC_OK;
        AC_TRY(try_lock(job, &state));
        if (state == AC_LOCK_NONE)
            ac_log_here(AC_LOG_WARN, "%s: this file system has no locks: see that no other job stages to this folder", job->lock_path);
        if (state != AC_LOCK_HELD)
            break;
        if (said < 0 || ac_now_s() - said >= 60) {
            said = ac_now_s();
            ac_log_here(AC_LOG_INFO, "%s: another job works on this folder, waiting for it since %.0f s", job->lock_path, said - begin);
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
out:
    return status;
}

void stage_unlock(stage_job *job)
{
    ac_file_unlock(job->lock_path, &job->lock);
}

static bool is_listed(const stage_job *job, const char *name, size_t length, size_t split)
{
    for (size_t k = 0; k < job->n_files; k++)
        if (job->file[k].split == split && strlen(job->file[k].name) == length && memcmp(job->file[k].name, name, length) == 0)
            return true;
    return false;
}

/* Shards of another version, and what killed runs left. */
static bool is_stale(const stage_job *job, const char *name, size_t split, kind what)
{
    size_t length;
    (void)kind_of(name, job->split[split], &length);
    bool unfinished = strstr(name + length, ".part") != NULL;
    return unfinished || (what == SHARD && !is_listed(job, name, length, split));
}

static ac_status add_stale(const stage_job *job, const char *name, size_t split, kind what, void *context)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    struct stat info;
    if (!is_stale(job, name, split, what))
        return AC_OK;
    AC_TRY(target_path(job, name, path));
    if (lstat(path, &info) == 0 && info.st_nlink == 1)
        *(uint64_t *)context += (uint64_t)info.st_blocks * 512;
out:
    return status;
}

/* Room that files give back when they are replaced one by one: the largest new one stands beside its old self for a while. */
static uint64_t replaced_bytes(const stage_job *job)
{
    char path[AC_PATH_BYTES];
    struct stat info;
    uint64_t sum = 0, most = 0;
    for (size_t k = 0; k < job->n_files; k++) {
        if (job->state[k] != STAGE_COPY || target_path(job, job->file[k].name, path) != AC_OK || lstat(path, &info) != 0 || info.st_nlink > 1)
            continue;
        sum += (uint64_t)info.st_blocks * 512;
        most = job->n_bytes[k] > most ? job->n_bytes[k] : most;
    }
    most *= (uint64_t)(job->size < STAGE_MAX_STREAMS ? job->size : STAGE_MAX_STREAMS);
    return sum > most ? sum - most : 0;
}

ac_status stage_check_space(const stage_job *job)
{
    ac_status status = AC_OK;
    char folder[AC_PATH_BYTES];
    struct statvfs disk;
    uint64_t needed = 0, freed = 0;
    snprintf(folder, sizeof folder, "%s", job->config->to);
    while (!ac_path_exists(folder)) { /* --dry_run makes no folder: the nearest parent lies on the same disk */
        char *slash = strrchr(folder, '/');
        snprintf(slash && slash > folder ? slash : folder, 3, "%s", slash && slash > folder ? "" : slash ? "/" : ".");
    }
    if (statvfs(folder, &disk) != 0)
        return ac_error_errno("%s", folder);
    for (size_t k = 0; k < job->n_files; k++)
        needed += job->state[k] == STAGE_COPY ? job->n_bytes[k] + (2 << 12) : 0; /* and its stamp */
    AC_TRY(for_each_file(job, add_stale, &freed));
    freed += replaced_bytes(job);
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize + freed;
    if (needed > room)
        status = ac_error(AC_ERR_IO, "%s: no room: the copies take %.1f MB more, %.1f MB are free: %.1f MB are missing", job->config->to, (double)needed / 1e6,
                          (double)room / 1e6, (double)(needed - room) / 1e6);
out:
    return status;
}

static ac_status remove_one(const stage_job *job, const char *name)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    AC_TRY(target_path(job, name, path));
    if (unlink(path) != 0 && errno != ENOENT)
        status = ac_error_errno("%s: cannot be removed", path);
out:
    return status;
}

static ac_status manifest_name(ac_split split, char out[64])
{
    snprintf(out, 64, "%s-manifest.json", ac_split_name(split));
    return AC_OK;
}

/* Is the split's manifest there, and the same? */
static bool has_manifest(const stage_job *job, size_t split)
{
    char name[64], from[AC_PATH_BYTES], to[AC_PATH_BYTES];
    uint8_t *a = NULL, *b = NULL;
    size_t n_a, n_b;
    struct stat info;
    bool same = manifest_name(job->split[split], name) == AC_OK && ac_path_join(from, job->config->data_root, name) == AC_OK && target_path(job, name, to) == AC_OK &&
                lstat(to, &info) == 0 && S_ISREG(info.st_mode) && ac_file_read_all(from, 0, &a, &n_a) == AC_OK && ac_file_read_all(to, 0, &b, &n_b) == AC_OK &&
                n_a == n_b && memcmp(a, b, n_a) == 0;
    ac_free(a);
    ac_free(b);
    return same;
}

static size_t count_state(const stage_job *job, size_t split, stage_state state)
{
    size_t n = 0;
    for (size_t k = 0; k < job->n_files; k++)
        n += job->file[k].split == split && job->state[k] == state;
    return n;
}

static ac_status remove_stale(const stage_job *job, const char *name, size_t split, kind what, void *context)
{
    (void)context;
    return is_stale(job, name, split, what) ? remove_one(job, name) : AC_OK;
}

ac_status stage_clear(const stage_job *job)
{
    ac_status status = AC_OK;
    char name[64];
    if (!has_marker(job))
        AC_TRY(write_marker(job));
    for (size_t s = 0; s < job->n_splits; s++)
        if (count_state(job, s, STAGE_COPY) > 0 || !has_manifest(job, s)) {
            AC_TRY(manifest_name(job->split[s], name));
            AC_TRY(remove_one(job, name));
        }
    AC_TRY(for_each_file(job, remove_stale, NULL));
out:
    return status;
}

ac_status stage_complete(const stage_job *job)
{
    ac_status status = AC_OK;
    for (size_t s = 0; s < job->n_splits; s++)
        if (count_state(job, s, STAGE_FAILED) == 0 && !has_manifest(job, s))
            AC_TRY(ac_manifest_save(&job->manifest[s], job->config->to));
out:
    return status;
}

/* Manifests go in a pass of their own, before the first shard. */
typedef struct removal {
    kind what;
    size_t n;
} removal;

static ac_status remove_file(const stage_job *job, const char *name, size_t split, kind what, void *context)
{
    removal *r = context;
    (void)split;
    if (what != r->what)
        return AC_OK;
    r->n++;
    return remove_one(job, name);
}

ac_status stage_remove(const stage_job *job, size_t *n_removed)
{
    ac_status status = AC_OK;
    removal r = {MANIFEST, 0};
    size_t n_left = 0;
    stage_job all = {.config = job->config, .split = {AC_SPLIT_TRAIN, AC_SPLIT_VAL, AC_SPLIT_TEST}, .n_splits = AC_N_SPLITS};
    AC_TRY(for_each_file(job, remove_file, &r));
    r.what = SHARD;
    AC_TRY(for_each_file(job, remove_file, &r));
    AC_TRY(for_each_file(&all, count_file, &n_left));
    if (n_left == 0) {
        AC_TRY(remove_one(job, marker));
        AC_TRY(remove_one(job, marker_part));
    }
    *n_removed = r.n;
out:
    return status;
}
