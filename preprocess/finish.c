/* The end of a split, on rank 0: rejected.csv, the summary, the manifest. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "preprocess/steps.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* `text` as a CSV field, in memory that grows with it. */
static ac_status quote(const char *text, char **field, size_t *capacity)
{
    ac_status status = ac_reserve(field, capacity, 2 * strlen(text) + 3, 1);
    if (status == AC_OK)
        ac_csv_quote(text, *field, *capacity);
    return status;
}

static ac_status write_rejected(const split_job *job)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES], name[64], *field = NULL;
    size_t capacity = 0;
    ac_file file = {0};
    snprintf(name, sizeof name, "%s-rejected.csv", job->meta.split);
    AC_TRY(ac_path_join(path, job->config->output, name));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_printf(&file, "file,reason\n"));
    for (size_t i = 0; i < job->n_rejected; i++) {
        AC_TRY(quote(ac_dataset_name(&job->dataset, (size_t)job->rejected[i].sample), &field, &capacity));
        AC_TRY(ac_file_printf(&file, "%s,", field));
        AC_TRY(quote(job->rejected[i].reason, &field, &capacity));
        AC_TRY(ac_file_printf(&file, "%s\n", field));
    }
    AC_TRY(ac_file_commit(&file));
out:
    ac_free(field);
    ac_file_discard(&file);
    return status;
}

/* Counts over the samples that were not rejected. */
static void count_labels(const split_job *job, ac_manifest *manifest)
{
    const ac_dataset *d = &job->dataset;
    size_t m = d->n_classes, next = 0;
    for (size_t i = 0; i < d->n_samples; i++) {
        if (next < job->n_rejected && (size_t)job->rejected[next].sample == i) {
            next++;
            continue;
        }
        bool any = false;
        for (size_t c = 0; c < m; c++) {
            manifest->class_count[c] += d->label[i * m + c];
            any |= d->label[i * m + c] != 0;
        }
        manifest->n_negative += !any;
        manifest->n_samples++;
    }
}

static void log_summary(const ac_manifest *manifest)
{
    char line[160] = "";
    size_t n = 0;
    ac_log(AC_LOG_INFO, "%s: %zu images in %zu shards, %" PRId64 " negative, %zu classes, %zu rejected",
           manifest->split, manifest->n_samples, manifest->n_shards, manifest->n_negative, manifest->n_classes,
           manifest->n_rejected);
    for (size_t c = 0; c < manifest->n_classes; c++) {
        char item[128];
        int length = snprintf(item, sizeof item, "%s%.80s %" PRId64, n ? ", " : "", manifest->class_name[c],
                              manifest->class_count[c]);
        if (n > 0 && n + (size_t)length > 90) {
            ac_log(AC_LOG_INFO, "%s:   %s", manifest->split, line);
            length = snprintf(item, sizeof item, "%.80s %" PRId64, manifest->class_name[c], manifest->class_count[c]);
            n = 0;
        }
        memcpy(line + n, item, (size_t)length + 1);
        n += (size_t)length;
    }
    if (n > 0)
        ac_log(AC_LOG_INFO, "%s:   %s", manifest->split, line);
}

static void list_shards(const split_job *job, ac_manifest *manifest)
{
    for (size_t k = 0; k < job->n_records; k++) {
        ac_manifest_entry *entry = &manifest->shard[job->record[k].shard];
        ac_shard_file_name(entry->file, sizeof entry->file, job->meta.split, (size_t)job->record[k].shard,
                           job->n_shards);
        entry->n_samples = (size_t)job->record[k].n;
        entry->hash = job->record[k].hash;
    }
}

ac_status preprocess_finish(split_job *job)
{
    ac_status status = AC_OK;
    char split[8], dataset[16];
    ac_manifest manifest = {.split = split,
                            .dataset = dataset,
                            .source = job->dataset.source,
                            .options = job->options,
                            .class_name = job->dataset.class_name,
                            .n_classes = job->dataset.n_classes,
                            .n_rejected = job->n_rejected,
                            .image_size_px = job->meta.image_size_px,
                            .n_shards = job->n_shards};
    snprintf(split, sizeof split, "%s", job->meta.split);
    snprintf(dataset, sizeof dataset, "%s", job->meta.dataset);
    memcpy(manifest.mean, job->meta.mean, sizeof manifest.mean);
    memcpy(manifest.std, job->meta.std, sizeof manifest.std);
    if (job->n_records != job->n_shards)
        return ac_error(AC_ERR_SYNC, "%s: %zu of %zu shards were made", split, job->n_records, job->n_shards);
    AC_TRY(ac_calloc(manifest.n_classes, sizeof *manifest.class_count, &manifest.class_count));
    AC_TRY(ac_calloc(job->n_shards, sizeof *manifest.shard, &manifest.shard));
    count_labels(job, &manifest);
    list_shards(job, &manifest);
    AC_TRY(write_rejected(job));
    log_summary(&manifest);
    if ((int64_t)job->n_rejected <= job->config->max_bad)
        AC_TRY(ac_manifest_save(&manifest, job->config->output));
    else
        AC_TRY(preprocess_remove_manifest(job)); /* of an earlier run that tolerated more */
out:
    ac_free(manifest.class_count);
    ac_free(manifest.shard);
    return status;
}
