/* Pixels to shards: threads decode and resize the images of one shard into memory, then it is written. Which images are
 * bad is decided here. */
#include "anyclass/alloc.h"
#include "preprocess/steps.h"
#include <errno.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

/* True when nothing is there under that name. */
static bool is_absent(const char *path)
{
    struct stat info;
    return stat(path, &info) != 0 && (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG || errno == ELOOP);
}

/* The recorded error without the folder in front: the reason goes into the shard, whose bytes must not depend on where
 * the images lie. */
static void copy_reason(const char *path, char reason[REASON_BYTES])
{
    const char *text = ac_error_text();
    size_t n = strlen(path);
    if (strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0)
        text += n + 2;
    snprintf(reason, REASON_BYTES, "%s", text[0] ? text : "cannot be decoded");
}

ac_status preprocess_read_image(const split_job *job, image_tools *tools, size_t sample, uint8_t *row,
                                char reason[REASON_BYTES])
{
    const preprocess_config *config = job->config;
    ac_decode_options decode = {.allow_warnings = config->allow_warnings,
                                .apply_orientation = config->apply_exif,
                                .min_side_px = config->fast_decode ? (int)config->image_size : 0};
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    reason[0] = 0;
    if (ac_path_join(path, job->image_root, ac_dataset_name(&job->dataset, sample)) != AC_OK) {
        snprintf(reason, REASON_BYTES, "the path is too long");
        return AC_OK;
    }
    if (!tools->resizer)
        AC_TRY(ac_resizer_create((int)config->image_size, &tools->resizer));
    status = ac_image_load(path, &decode, &tools->image, &tools->scratch, &tools->scratch_bytes);
    if (status == AC_ERR_DATA) {
        copy_reason(path, reason);
        return AC_OK;
    }
    if (status == AC_ERR_IO && is_absent(path)) {
        snprintf(reason, REASON_BYTES, "no such file");
        return AC_OK;
    }
    if (status != AC_OK)
        return status;
    AC_TRY(ac_resizer_run(tools->resizer, &tools->image, row));
out:
    return status;
}

void preprocess_release_tools(image_tools *tools)
{
    ac_resizer_destroy(tools->resizer);
    ac_image_release(&tools->image);
    ac_free(tools->scratch);
    *tools = (image_tools){0};
}

/* Rank 0 shows its own pace as that of all. */
static void show_progress(split_job *job, size_t n_done)
{
    if (job->n_mine)
        ac_progress_update(&job->progress, (uint64_t)((double)n_done / (double)job->n_mine * (double)job->n_to_make),
                           NULL);
}

typedef struct batch { /* the images of one shard while threads decode them */
    split_job *job;
    size_t first;
    char (*reason)[REASON_BYTES];
    atomic_size_t n_done;
    atomic_bool failed;
    ac_status status; /* of the first failure */
    char text[AC_ERROR_TEXT_BYTES];
} batch;

static void read_one(batch *b, image_tools *tools, size_t i)
{
    size_t image_bytes = (size_t)b->job->meta.image_size_px * (size_t)b->job->meta.image_size_px * 3;
    if (atomic_load(&b->failed))
        return;
    ac_status status =
        preprocess_read_image(b->job, tools, b->first + i, b->job->pixels + i * image_bytes, b->reason[i]);
    if (status != AC_OK && !atomic_exchange(&b->failed, true)) {
        b->status = status;
        snprintf(b->text, sizeof b->text, "%s", ac_error_text());
    }
    size_t n_done = atomic_fetch_add(&b->n_done, 1) + 1;
    if (omp_get_thread_num() == 0)
        show_progress(b->job, b->job->n_mine_done + n_done);
}

/* Decode samples [first, first + n) into job->pixels; reason[i] is empty for good ones. */
static ac_status read_images(split_job *job, size_t first, size_t n, char (*reason)[REASON_BYTES])
{
    batch b = {.job = job, .first = first, .reason = reason};
#pragma omp parallel
    {
        image_tools tools = {0};
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < n; i++)
            read_one(&b, &tools, i);
        preprocess_release_tools(&tools);
    }
    return b.status == AC_OK ? AC_OK : ac_error(b.status, "%s", b.text);
}

/* Sort the images [first, first + n) into good ones, moved together in job->pixels, and rejected ones. */
static ac_status sort_out(split_job *job, size_t first, size_t n, char (*reason)[REASON_BYTES], const char **names,
                          uint8_t *labels, const char **rejected, ac_shard_content *content)
{
    ac_status status = AC_OK;
    size_t m = job->dataset.n_classes,
           image_bytes = (size_t)job->meta.image_size_px * (size_t)job->meta.image_size_px * 3;
    *content = (ac_shard_content){.names = names, .labels = labels, .images = job->pixels, .rejected = rejected};
    for (size_t i = 0; i < n; i++) {
        const char *name = ac_dataset_name(&job->dataset, first + i);
        if (reason[i][0]) {
            AC_TRY(preprocess_add_rejected(job, first + i, reason[i]));
            rejected[2 * content->n_rejected] = name;
            rejected[2 * content->n_rejected + 1] = reason[i];
            content->n_rejected++;
            continue;
        }
        names[content->n] = name;
        memcpy(labels + content->n * m, job->dataset.label + (first + i) * m, m);
        if (content->n != i)
            memcpy(job->pixels + content->n * image_bytes, job->pixels + i * image_bytes, image_bytes);
        content->n++;
    }
out:
    return status;
}

ac_status preprocess_make_shard(split_job *job, size_t shard)
{
    ac_status status = AC_OK;
    size_t first, n = preprocess_shard_range(job, shard, &first);
    char(*reason)[REASON_BYTES] = NULL, path[AC_PATH_BYTES];
    const char **names = NULL, **rejected = NULL;
    uint8_t *labels = NULL;
    ac_shard_content content;
    shard_record record = {.shard = (int64_t)shard};
    AC_TRY(ac_calloc(n, sizeof *reason, &reason));
    AC_TRY(ac_calloc(n, sizeof *names, &names));
    AC_TRY(ac_calloc(2 * n, sizeof *rejected, &rejected));
    AC_TRY(ac_calloc(n * job->dataset.n_classes, 1, &labels));
    AC_TRY(read_images(job, first, n, reason));
    AC_TRY(sort_out(job, first, n, reason, names, labels, rejected, &content));
    AC_TRY(preprocess_shard_path(job, shard, path));
    AC_TRY(ac_shard_write(path, &job->meta, shard, job->n_shards, &content, &record.hash));
    record.n = (int64_t)content.n;
    record.n_rejected = (int64_t)content.n_rejected;
    AC_TRY(preprocess_add_record(job, &record));
    job->n_mine_done += n;
out:
    ac_free(reason);
    ac_free(names);
    ac_free(rejected);
    ac_free(labels);
    return status;
}
