/* What the output folder holds already. A complete shard of this very run is kept; one that was made with other options
 * or of other annotations is refused before any work, or removed with --overwrite; a damaged one is made again, and so
 * is one whose rejected images look different now. */
#include "anyclass/alloc.h"
#include "preprocess/beat.h"
#include "preprocess/steps.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum file_kind { FILE_FOREIGN, FILE_SHARD, FILE_PART } file_kind;

/* Which of our files of this split is `name`? For a shard, *n_shards is what its name says. */
static file_kind kind_of(const split_job *job, const char *name, size_t *n_shards)
{
    size_t n = strlen(job->meta.split), length = strlen(name);
    unsigned long index, of;
    char stem[64], again[64];
    if (strncmp(name, job->meta.split, n) != 0 || name[n] != '-' || length >= sizeof stem)
        return FILE_FOREIGN;
    strcpy(stem, name);
    bool is_part = length > 5 && strcmp(stem + length - 5, ".part") == 0;
    if (is_part)
        stem[length - 5] = 0;
    if (strcmp(stem + n, "-manifest.json") == 0 || strcmp(stem + n, "-rejected.csv") == 0)
        return is_part ? FILE_PART : FILE_FOREIGN;
    if (sscanf(stem + n, "-%lu-of-%lu.h5", &index, &of) != 2)
        return FILE_FOREIGN;
    *n_shards = of;
    ac_shard_file_name(again, sizeof again, job->meta.split, index, of);
    return strcmp(again, stem) != 0 ? FILE_FOREIGN : is_part ? FILE_PART : FILE_SHARD;
}

static ac_status remove_file(const split_job *job, const char *name)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    AC_TRY(ac_path_join(path, job->config->output, name));
    if (unlink(path) != 0 && errno != ENOENT)
        return ac_error_errno("%s: cannot be removed", path);
out:
    return status;
}

/* Walk the output folder: remove files of a kind, or refuse shards that are not of this division. */
static ac_status walk_output(const split_job *job, bool remove_shards, bool remove_parts)
{
    ac_status status = AC_OK;
    const char *folder = job->config->output;
    DIR *directory = opendir(folder);
    if (!directory)
        return errno == ENOENT ? AC_OK : ac_error_errno("%s", folder);
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
        size_t n_shards = 0;
        file_kind kind = kind_of(job, entry->d_name, &n_shards);
        if ((kind == FILE_SHARD && remove_shards) || (kind == FILE_PART && remove_parts))
            AC_TRY(remove_file(job, entry->d_name));
        else if (kind == FILE_SHARD && n_shards != job->n_shards)
            AC_TRY(ac_error(AC_ERR_USAGE,
                            "%s/%s is of another run: this one makes %zu shards of %lld images; use another --output, "
                            "the same --shard_size and annotations, or --overwrite",
                            folder, entry->d_name, job->n_shards, (long long)job->config->shard_size));
    }
out:
    closedir(directory);
    return status;
}

ac_status preprocess_remove_parts(const split_job *job)
{
    return walk_output(job, false, true);
}

ac_status preprocess_remove_manifest(const split_job *job)
{
    char name[64];
    snprintf(name, sizeof name, "%s-manifest.json", job->meta.split);
    return remove_file(job, name);
}

/* --overwrite: the manifest goes first, so that it never lists what is no longer there. */
static ac_status remove_all(const split_job *job)
{
    ac_status status = AC_OK;
    char name[64];
    AC_TRY(preprocess_remove_manifest(job));
    snprintf(name, sizeof name, "%s-rejected.csv", job->meta.split);
    AC_TRY(remove_file(job, name));
    AC_TRY(walk_output(job, true, true));
out:
    return status;
}

static ac_status differs(const ac_shard *shard, const char *what)
{
    return ac_error(AC_ERR_USAGE, "%s was made with other %s: use another --output, the same %s, or --overwrite",
                    shard->path, what, what);
}

static ac_status check_meta(const split_job *job, size_t index, const ac_shard *shard)
{
    const ac_shard_meta *meta = &job->meta;
    if (strcmp(shard->options, meta->options) != 0)
        return ac_error(
            AC_ERR_USAGE,
            "%s was made with other options (%s, now %s): use another --output, the same options, or --overwrite",
            shard->path, shard->options, meta->options);
    if (memcmp(shard->mean, meta->mean, sizeof meta->mean) != 0 || memcmp(shard->std, meta->std, sizeof meta->std) != 0)
        return differs(shard, "--mean or --std");
    bool same = shard->n_classes == meta->n_classes && strcmp(shard->source, meta->source) == 0 &&
                strcmp(shard->dataset, meta->dataset) == 0 &&
                strcmp(shard->split, meta->split) == 0 && shard->index == index && shard->n_shards == job->n_shards &&
                shard->image_size_px == meta->image_size_px;
    for (size_t c = 0; same && c < meta->n_classes; c++)
        same = strcmp(shard->class_name[c], meta->class_name[c]) == 0;
    return same ? AC_OK : differs(shard, "annotations");
}

/* The shard's samples, kept and rejected, are its part of the annotation list. Adds its rejected images. */
static ac_status check_samples(split_job *job, size_t index, const ac_shard *shard)
{
    ac_status status = AC_OK;
    size_t first, n = preprocess_shard_range(job, index, &first), m = job->dataset.n_classes, kept = 0, rejected = 0;
    const char *reason;
    if (shard->n + shard->n_rejected != n)
        return differs(shard, "annotations");
    for (size_t i = first; i < first + n; i++) {
        const char *name = ac_dataset_name(&job->dataset, i);
        if (kept < shard->n && strcmp(ac_shard_name(shard, kept), name) == 0 &&
            memcmp(shard->label + kept * m, job->dataset.label + i * m, m) == 0) {
            kept++;
        } else if (rejected < shard->n_rejected && strcmp(ac_shard_rejected(shard, rejected, &reason), name) == 0) {
            AC_TRY(preprocess_add_rejected(job, i, reason));
            rejected++;
        } else {
            return differs(shard, "annotations");
        }
    }
out:
    return status;
}

/* Images that were rejected are looked at again: the user may have repaired them. */
static ac_status check_rejected(const split_job *job, size_t n_before, bool *same)
{
    ac_status status = AC_OK;
    char reason[REASON_BYTES];
    ac_image_reader tools = {0};
    uint8_t *pixels = NULL;
    *same = true;
    if (job->n_rejected == n_before)
        return AC_OK;
    AC_TRY(ac_malloc(preprocess_image_bytes(job), 1, &pixels));
    for (size_t i = n_before; i < job->n_rejected && *same; i++) {
        AC_TRY(preprocess_read_image(job, &tools, (size_t)job->rejected[i].sample, pixels, reason));
        *same = strcmp(reason, job->rejected[i].reason) == 0;
    }
out:
    ac_image_reader_release(&tools);
    ac_free(pixels);
    return status;
}

/* True when the shard's rejected images and all its bytes are still as they should be. */
static ac_status check_whole(const split_job *job, const char *path, size_t n_rejected_before, bool *good)
{
    ac_status status = AC_OK;
    size_t n_failures;
    AC_TRY(check_rejected(job, n_rejected_before, good));
    if (!*good) {
        ac_log_here(AC_LOG_WARN, "%s: images that it rejected have changed: it is made again", path);
        return AC_OK;
    }
    status = ac_shard_verify(path, &n_failures);
    *good = status == AC_OK;
    if (status == AC_ERR_DATA) {
        ac_log_here(AC_LOG_WARN, "%s: it is made again", ac_error_text());
        status = AC_OK;
    }
out:
    return status;
}

/* Compare shard `index` with this run and add it to the records when it can stay. `quick` leaves out all that takes
 * time: pixels and the file's hash. */
static ac_status examine(split_job *job, size_t index, bool quick)
{
    ac_status status = AC_OK;
    size_t n_before = job->n_rejected;
    char path[AC_PATH_BYTES];
    ac_shard shard = {.fd = -1};
    shard_record record = {.shard = (int64_t)index};
    bool good = true;
    AC_TRY(preprocess_shard_path(job, index, path));
    if (!ac_path_exists(path))
        return AC_OK;
    status = ac_shard_open(path, &shard);
    if (status == AC_ERR_DATA) {
        if (quick)
            ac_log_here(AC_LOG_WARN, "%s: it is made again", ac_error_text());
        return AC_OK;
    }
    AC_TRY(status);
    record.hash = shard.hash;
    record.n = (int64_t)shard.n;
    record.n_rejected = (int64_t)shard.n_rejected;
    AC_TRY(check_meta(job, index, &shard));
    AC_TRY(check_samples(job, index, &shard));
    if (!quick)
        AC_TRY(check_whole(job, path, n_before, &good));
    if (good)
        AC_TRY(preprocess_add_record(job, &record));
    else
        job->n_rejected = n_before;
out:
    ac_shard_close(&shard);
    return status;
}

/* This rank's part of the shards. */
static ac_status examine_all(split_job *job, bool quick)
{
    ac_status status = AC_OK;
    job->n_records = job->n_rejected = 0;
    work_beat beat;
    beat_begin(&beat, job->comm, NULL, NULL);
    for (size_t shard = (size_t)job->rank; shard < job->n_shards && status == AC_OK; shard += (size_t)job->size)
        if (beat_once(&beat) != AC_ERR_SIGNAL) /* many shards take long */
            status = examine(job, shard, quick);
        else
            break; /* which is agreed on below */
    ac_status ended = beat_end(&beat, false);
    AC_TRY(ac_comm_agree(job->comm, status == AC_OK ? ended : status));
    AC_TRY(ac_comm_check_stop(job->comm, PREPROCESS_STOPPED));
out:
    return status;
}

ac_status preprocess_find_existing(split_job *job)
{
    ac_status status = AC_OK;
    bool dry_run = job->config->common.dry_run;
    if (job->config->overwrite) {
        if (job->rank == 0 && !dry_run)
            status = remove_all(job);
        return ac_comm_agree(job->comm, status);
    }
    if (job->rank == 0)
        status = walk_output(job, false, false);
    AC_TRY(ac_comm_agree(job->comm, status));
    AC_TRY(examine_all(job, true)); /* whatever must be refused is refused before the long part */
    if (!dry_run)
        AC_TRY(examine_all(job, false));
    AC_TRY(preprocess_share_records(job));
out:
    return status;
}
