/* One split from its annotations to its manifest. */
#include "anyclass/alloc.h"
#include "preprocess/steps.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Options that decide the bytes, as shards and manifest record them. */
static ac_status describe_options(const preprocess_config *c, char **out)
{
    char text[256];
    snprintf(text, sizeof text,
             "{\"image_size\": %" PRId64 ", \"shard_size\": %" PRId64
             ", \"fast_decode\": %s, \"apply_exif\": %s, \"allow_warnings\": %s}",
             c->image_size, c->shard_size, c->fast_decode ? "true" : "false", c->apply_exif ? "true" : "false",
             c->allow_warnings ? "true" : "false");
    return ac_strdup(text, out);
}

static ac_status read_annotations(split_job *job)
{
    ac_status status = AC_OK;
    const preprocess_config *c = job->config;
    ac_dataset_options options = {ac_dataset_kind((size_t)c->dataset), c->ann_root, job->split};
    AC_TRY(ac_dataset_read(&options, &job->dataset));
    AC_TRY(describe_options(c, &job->options));
    job->meta = (ac_shard_meta){.split = ac_split_name(job->split),
                                .dataset = options.kind,
                                .source = job->dataset.source,
                                .options = job->options,
                                .class_name = job->dataset.class_name,
                                .n_classes = job->dataset.n_classes,
                                .image_size_px = (int)c->image_size};
    for (int i = 0; i < 3; i++) {
        job->meta.mean[i] = c->mean.n_items ? (float)c->mean.item[i] : job->dataset.mean[i];
        job->meta.std[i] = c->std.n_items ? (float)c->std.item[i] : job->dataset.std[i];
    }
    job->n_shards = (job->dataset.n_samples + (size_t)c->shard_size - 1) / (size_t)c->shard_size;
out:
    return status;
}

/* Each rank reads the annotations itself: they must have read the same. */
static ac_status check_same(const split_job *job)
{
    ac_status status = AC_OK;
    const ac_dataset *d = &job->dataset;
    bool names, labels;
    AC_TRY(ac_comm_same(job->comm, d->name_pool, d->pool_bytes, &names));
    AC_TRY(ac_comm_same(job->comm, d->label, d->n_samples * d->n_classes, &labels));
    if (!names || !labels)
        AC_TRY(ac_error(AC_ERR_SYNC,
                        "%s: ranks read different annotations from %s: is the folder the same on all nodes?",
                        job->meta.split, job->config->ann_root));
out:
    return status;
}

/* Is at least one of a few samples, spread over the list, in `folder`? */
static bool has_images(const split_job *job, const char *folder)
{
    char path[AC_PATH_BYTES];
    size_t n = job->dataset.n_samples, n_tries = n < 16 ? n : 16;
    bool found = false;
    for (size_t i = 0; i < n_tries && !found; i++) /* a path too long is rejected later, as every image that cannot be read */
        found = ac_path_join(path, folder, ac_dataset_name(&job->dataset, n * i / n_tries)) == AC_OK && ac_path_exists(path);
    return found;
}

/* File names are relative to --data_root, or to the split's folder in it (COCO's train2017 ...). Where none of the
 * samples looked at exists, it is not the images that are bad. */
static ac_status find_images(split_job *job)
{
    static const char *const folders[AC_N_SPLITS][4] = {
        {"", "train2017", "train", "Train"}, {"", "val2017", "val", "Val"}, {"", "test2017", "test", "Test"}};
    ac_status status = AC_OK;
    const char *root = job->config->data_root;
    for (int i = 0; i < 4; i++) {
        AC_TRY(ac_path_join(job->image_root, root, folders[job->split][i]));
        if (has_images(job, job->image_root))
            return AC_OK;
    }
    status = ac_error(AC_ERR_IO,
                      "%s: none of the images looked for is in --data_root %s, %s among them: is it the right folder?",
                      job->meta.split, root, ac_dataset_name(&job->dataset, 0));
out:
    return status;
}

static void log_dry_run(const split_job *job)
{
    double mebibytes = (double)job->meta.image_size_px * job->meta.image_size_px * 3 / 1048576;
    size_t first, rows = preprocess_shard_range(job, 0, &first) * (job->n_shards > (size_t)job->size ? 2 : 1);
    ac_log(AC_LOG_INFO,
           "%s: %zu images of %zu classes, %zu shards (%zu are there), %.0f MiB on disk, %.0f MiB of memory per rank",
           job->meta.split, job->dataset.n_samples, job->dataset.n_classes, job->n_shards, job->n_records,
           mebibytes * (double)job->dataset.n_samples, mebibytes * (double)rows);
}

static ac_status run_steps(split_job *job)
{
    ac_status status = AC_OK;
    AC_TRY(ac_comm_agree(job->comm, read_annotations(job)));
    AC_TRY(ac_comm_check_stop(job->comm, PREPROCESS_STOPPED)); /* large annotation files take a while */
    AC_TRY(check_same(job));
    AC_TRY(ac_comm_agree(job->comm, find_images(job)));
    AC_TRY(preprocess_find_existing(job));
    if (job->config->common.dry_run) {
        log_dry_run(job);
        return AC_OK;
    }
    if (job->rank == 0)
        status = preprocess_remove_parts(job);
    if (job->rank == 0 && status == AC_OK && job->n_records < job->n_shards)
        status = preprocess_remove_manifest(job); /* its presence says that the split is complete */
    AC_TRY(ac_comm_agree(job->comm, status));
    AC_TRY(preprocess_make_missing(job));
    AC_TRY(preprocess_share_records(job));
    if (job->rank == 0)
        status = preprocess_finish(job);
    AC_TRY(ac_comm_agree(job->comm, status));
out:
    return status;
}

ac_status preprocess_split(ac_run *run, const preprocess_config *config, ac_split split, size_t *n_rejected)
{
    ac_status status = AC_OK;
    split_lock lock = {.fd = -1};
    split_job job = {.config = config, .comm = run->comm, .rank = run->rank, .size = run->size, .split = split};
    if (run->rank == 0 && !config->common.dry_run)
        status = preprocess_lock(config->output, split, &lock);
    AC_TRY(ac_comm_agree(run->comm, status));
    status = run_steps(&job);
    *n_rejected = config->common.dry_run ? 0 : job.n_rejected;
out:
    preprocess_unlock(&lock);
    ac_free(job.pixels);
    ac_free(job.record);
    ac_free(job.rejected);
    ac_free(job.options);
    ac_dataset_release(&job.dataset);
    return status;
}
