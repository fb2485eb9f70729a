/* Pixels to a shard's file, in a thread of its own, while the next shard's images are decoded: writing, reading back and
 * syncing take a core a while and a disk longer. HDF5 is called by this thread alone until it has ended. */
#include "anyclass/alloc.h"
#include "preprocess/steps.h"
#include <string.h>

/* Sort the images into good ones, moved together in the batch's pixels, and rejected ones. */
static ac_status sort_out(shard_writer *w, const image_batch *b)
{
    ac_status status = AC_OK;
    split_job *job = w->job;
    size_t m = job->dataset.n_classes, image_bytes = preprocess_image_bytes(job);
    AC_TRY(ac_calloc(b->n, sizeof *w->names, &w->names));
    AC_TRY(ac_calloc(2 * b->n, sizeof *w->rejected, &w->rejected));
    AC_TRY(ac_calloc(b->n * m, 1, &w->labels));
    w->content = (ac_shard_content){.names = w->names, .labels = w->labels, .images = b->pixels, .rejected = w->rejected};
    for (size_t i = 0; i < b->n; i++) {
        const char *name = ac_dataset_name(&job->dataset, b->first + i);
        size_t *n = &w->content.n, *n_rejected = &w->content.n_rejected;
        if (b->reason[i][0]) {
            AC_TRY(preprocess_add_rejected(job, b->first + i, b->reason[i]));
            w->rejected[2 * *n_rejected] = name;
            w->rejected[2 * *n_rejected + 1] = b->reason[i];
            ++*n_rejected;
            continue;
        }
        w->names[*n] = name;
        memcpy(w->labels + *n * m, job->dataset.label + (b->first + i) * m, m);
        if (*n != i)
            memcpy(b->pixels + *n * image_bytes, b->pixels + i * image_bytes, image_bytes);
        ++*n;
    }
out:
    return status;
}

static void *write_shard(void *context)
{
    shard_writer *w = context;
    w->status = ac_shard_write(w->path, &w->job->meta, (size_t)w->record.shard, w->job->n_shards, &w->content,
                               &w->record.hash);
    if (w->status != AC_OK)
        snprintf(w->text, sizeof w->text, "%s", ac_error_text());
    atomic_store(&w->done, true);
    return NULL;
}

static void release(shard_writer *w)
{
    ac_free(w->reason);
    ac_free(w->names);
    ac_free(w->rejected);
    ac_free(w->labels);
    w->reason = NULL;
    w->names = w->rejected = NULL;
    w->labels = NULL;
}

/* The pixels being written and those being decoded change places. */
static void swap_pixels(shard_writer *w)
{
    uint8_t *pixels = w->pixels;
    size_t capacity = w->pixels_capacity;
    w->pixels = w->job->pixels;
    w->pixels_capacity = w->job->pixels_capacity;
    w->job->pixels = pixels;
    w->job->pixels_capacity = capacity;
}

ac_status preprocess_write_begin(shard_writer *w, image_batch *b, size_t shard)
{
    ac_status status = AC_OK;
    if (b->status != AC_OK)
        return ac_error(b->status, "%s", b->text);
    AC_TRY(preprocess_shard_path(w->job, shard, w->path));
    AC_TRY(sort_out(w, b));
    w->record = (shard_record){
        .shard = (int64_t)shard, .n = (int64_t)w->content.n, .n_rejected = (int64_t)w->content.n_rejected};
    w->reason = b->reason; /* the rejected ones' are part of the content */
    b->reason = NULL;
    swap_pixels(w);
    w->busy = true;
    atomic_store(&w->done, false);
    w->threaded = pthread_create(&w->thread, NULL, write_shard, w) == 0;
    if (!w->threaded)
        write_shard(w);
out:
    if (status != AC_OK)
        release(w);
    return status;
}

bool preprocess_write_done(const shard_writer *w)
{
    return !w->busy || atomic_load(&w->done);
}

ac_status preprocess_write_end(shard_writer *w)
{
    if (!w->busy)
        return AC_OK;
    if (w->threaded)
        pthread_join(w->thread, NULL);
    w->busy = false;
    release(w);
    return w->status == AC_OK ? preprocess_add_record(w->job, &w->record) : ac_error(w->status, "%s", w->text);
}

void preprocess_write_release(shard_writer *w)
{
    if (w->busy && w->threaded)
        pthread_join(w->thread, NULL);
    release(w);
    ac_free(w->pixels);
    w->pixels = NULL;
    w->pixels_capacity = 0;
}
