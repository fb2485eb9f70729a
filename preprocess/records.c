/* The list of complete shards and of rejected images: what each rank finds or makes, and its union. */
#include "anyclass/alloc.h"
#include "preprocess/steps.h"
#include <stdlib.h>
#include <string.h>

size_t preprocess_shard_range(const split_job *job, size_t shard, size_t *first)
{
    size_t size = (size_t)job->config->shard_size;
    *first = shard * size;
    return job->dataset.n_samples - *first < size ? job->dataset.n_samples - *first : size;
}

size_t preprocess_image_bytes(const split_job *job)
{
    size_t side = (size_t)job->meta.image_size_px;
    return side * side * 3;
}

ac_status preprocess_shard_path(const split_job *job, size_t shard, char path[AC_PATH_BYTES])
{
    char file[64];
    ac_shard_file_name(file, sizeof file, job->meta.split, shard, job->n_shards);
    return ac_path_join(path, job->config->output, file);
}

ac_status preprocess_add_record(split_job *job, const shard_record *record)
{
    ac_status status = ac_reserve(&job->record, &job->record_capacity, job->n_records + 1, sizeof *job->record);
    if (status == AC_OK)
        job->record[job->n_records++] = *record;
    return status;
}

ac_status preprocess_add_rejected(split_job *job, size_t sample, const char *reason)
{
    ac_status status = ac_reserve(&job->rejected, &job->rejected_capacity, job->n_rejected + 1, sizeof *job->rejected);
    if (status == AC_OK) {
        rejected_image *entry = &job->rejected[job->n_rejected++];
        memset(entry, 0, sizeof *entry);
        entry->sample = (int64_t)sample;
        snprintf(entry->reason, sizeof entry->reason, "%s", reason);
    }
    return status;
}

static int by_shard(const void *a, const void *b)
{
    const shard_record *x = a, *y = b;
    return (x->shard > y->shard) - (x->shard < y->shard);
}

static int by_sample(const void *a, const void *b)
{
    const rejected_image *x = a, *y = b;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

ac_status preprocess_share_records(split_job *job)
{
    ac_status status = AC_OK;
    shard_record *records = NULL;
    rejected_image *rejected = NULL;
    size_t n_bytes;
    AC_TRY(ac_comm_gather_all(job->comm, job->record + job->n_shared_records,
                              (job->n_records - job->n_shared_records) * sizeof *records, (void **)&records, &n_bytes,
                              NULL));
    size_t n_records = n_bytes / sizeof *records;
    AC_TRY(ac_comm_gather_all(job->comm, job->rejected + job->n_shared_rejected,
                              (job->n_rejected - job->n_shared_rejected) * sizeof *rejected, (void **)&rejected,
                              &n_bytes, NULL));
    size_t n_rejected = n_bytes / sizeof *rejected;
    job->n_records = job->n_shared_records;
    job->n_rejected = job->n_shared_rejected;
    for (size_t i = 0; i < n_records && status == AC_OK; i++)
        status = preprocess_add_record(job, &records[i]);
    for (size_t i = 0; i < n_rejected && status == AC_OK; i++)
        status = preprocess_add_rejected(job, (size_t)rejected[i].sample, rejected[i].reason);
    AC_TRY(ac_comm_agree(job->comm, status));
    job->n_shared_records = job->n_records;
    job->n_shared_rejected = job->n_rejected;
    if (job->n_records)
        qsort(job->record, job->n_records, sizeof *job->record, by_shard);
    if (job->n_rejected)
        qsort(job->rejected, job->n_rejected, sizeof *job->rejected, by_sample);
out:
    ac_free(records);
    ac_free(rejected);
    return status;
}
