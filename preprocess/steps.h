/* What the steps of anyclass-preprocess share. A split goes through: annotations and image folder (split.c), what the
 * output folder holds already (existing.c, lock.c), pixels to shards (deal.c, make.c, write.c), rejected.csv and manifest
 * (finish.c). verify.c re-reads what is there. */
#ifndef ANYCLASS_PREPROCESS_STEPS_H
#define ANYCLASS_PREPROCESS_STEPS_H

#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/image.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "anyclass/shard.h"
#include <pthread.h>
#include <stdatomic.h>

/* What a signal's line says. */
#define PREPROCESS_STOPPED "finished shards are kept, run it again to go on"

enum { REASON_BYTES = AC_IMAGE_REASON_BYTES };

typedef struct preprocess_config {
    ac_common_config common;
    int dataset; /* index into AC_DATASET_CHOICES */
    int simd;    /* an ac_simd */
    const char *ann_root, *data_root, *output;
    ac_string_list splits;
    ac_double_list mean, std;
    int64_t image_size, shard_size, max_bad, n_threads;
    bool allow_warnings, fast_decode, apply_exif, overwrite, verify;
} preprocess_config;

typedef struct shard_record { /* a shard that is complete */
    int64_t shard, n, n_rejected;
    ac_hash hash;
} shard_record;

typedef struct rejected_image {
    int64_t sample; /* in the annotation list */
    char reason[REASON_BYTES];
} rejected_image;

typedef struct split_job { /* one split on one rank */
    const preprocess_config *config;
    MPI_Comm comm;
    int rank, size;
    ac_split split;
    ac_dataset dataset;
    ac_shard_meta meta;
    char *options;                  /* meta.options */
    char image_root[AC_PATH_BYTES]; /* folder that the annotations' file names are relative to */
    size_t n_shards;
    shard_record *record; /* found or made; the first n_shared are known to all ranks */
    size_t n_records, n_shared_records, record_capacity;
    rejected_image *rejected; /* of the shards in `record`, likewise */
    size_t n_rejected, n_shared_rejected, rejected_capacity;
    uint8_t *pixels; /* [pixels_capacity, S, S, 3]: of the shard that is made */
    size_t pixels_capacity;
    ac_progress progress;
    size_t n_to_make; /* images in the shards that are missing */
} split_job;

/* Samples [*first, *first + n) of the annotation list belong to `shard`; returns n. */
size_t preprocess_shard_range(const split_job *job, size_t shard, size_t *first);
/* Bytes of one image, S * S * 3. */
size_t preprocess_image_bytes(const split_job *job);
ac_status preprocess_shard_path(const split_job *job, size_t shard, char path[AC_PATH_BYTES]);
ac_status preprocess_add_record(split_job *job, const shard_record *record);
ac_status preprocess_add_rejected(split_job *job, size_t sample, const char *reason);
/* Collective. Give what each rank added since the last time to all ranks; sorted by shard and by sample afterwards. */
ac_status preprocess_share_records(split_job *job);

/* records.c: the functions above. */

/* run.c. Collective. Everything but options: checks, then one split after the other. */
ac_status preprocess_run_all(ac_run *run, const preprocess_config *config);

/* Those of `config->splits`, `named` by the user or the default, that there is something to do for: annotations, or with config->verify manifests in
 * config->output. split[AC_N_SPLITS]. Not collective. */
ac_status preprocess_choose_splits(const preprocess_config *config, bool named, ac_split *split, size_t *n);
ac_status preprocess_split_of(const char *name, ac_split *out);

/* split.c. Collective. Make one split, or with --dry_run only look at it.
 * @param[out] n_rejected  images rejected, the same on all ranks. */
ac_status preprocess_split(ac_run *run, const preprocess_config *config, ac_split split, size_t *n_rejected);

/* existing.c. Collective. Find shards that are complete and belong to this run: they become records. One that was made
 * otherwise is AC_ERR_USAGE. With --overwrite what was there is removed instead. */
ac_status preprocess_find_existing(split_job *job);
/* Remove what a killed run left of unfinished files. Rank 0 calls it. */
ac_status preprocess_remove_parts(const split_job *job);
/* Remove the split's manifest, if it is there. Rank 0 calls it. */
ac_status preprocess_remove_manifest(const split_job *job);

/* make.c. Not collective. */
/* One image into row [S, S, 3]. A bad image is AC_OK with a reason; reason[0] == 0 means good. Anything else ends the
 * run: AC_ERR_IO for a file that is there and cannot be read, AC_ERR_MEMORY. */
ac_status preprocess_read_image(const split_job *job, ac_image_reader *tools, size_t sample, uint8_t *row,
                                char reason[REASON_BYTES]);

typedef struct image_batch { /* images of one shard while they are read, by threads here and perhaps by other ranks */
    split_job *job;
    size_t first, n;              /* samples [first, first + n) of the annotation list */
    uint8_t *pixels;              /* [n, S, S, 3] */
    char (*reason)[REASON_BYTES]; /* [n], empty for good images */
    atomic_size_t next;           /* first image that nobody has taken yet; may pass n */
    atomic_size_t n_done;
    atomic_bool failed;
    ac_status status; /* of the first failure, and its text */
    char text[AC_ERROR_TEXT_BYTES];
    void (*poll)(void *context); /* called by the main thread between two images; may be NULL */
    void *context;
} image_batch;
/* Room for n images in job->pixels, whose content is lost. AC_ERR_MEMORY. */
ac_status preprocess_reserve_pixels(split_job *job, size_t n);
/* All images of a shard, none read yet; in job->pixels. AC_ERR_MEMORY. */
ac_status preprocess_batch_begin(image_batch *batch, split_job *job, size_t shard);
/* Read the images that nobody has taken, until none is left or a failure is noted in the batch; returns how many. */
size_t preprocess_batch_read(image_batch *batch);
/* Note a failure; the first one counts. Any thread. */
void preprocess_batch_fail(image_batch *batch, ac_status status, const char *text);
/* Safe after a failed begin. */
void preprocess_batch_end(image_batch *batch);

/* write.c. Not collective. */
typedef struct shard_writer { /* one shard on its way to disk */
    split_job *job;
    bool busy, threaded;
    pthread_t thread;
    atomic_bool done;
    char path[AC_PATH_BYTES];
    ac_shard_content content;
    const char **names, **rejected;
    uint8_t *labels;
    char (*reason)[REASON_BYTES];
    uint8_t *pixels; /* as in split_job, of the shard that is written */
    size_t pixels_capacity;
    shard_record record;
    ac_status status;
    char text[AC_ERROR_TEXT_BYTES];
} shard_writer;
/* Begin to write the shard of a batch whose images are all read; takes the batch's reasons over and leaves other room in
 * job->pixels. The writer (zeroed but for `job` at first) is not busy. Returns the batch's failure if it has one. */
ac_status preprocess_write_begin(shard_writer *writer, image_batch *batch, size_t shard);
/* True when preprocess_write_end() would not wait. */
bool preprocess_write_done(const shard_writer *writer);
/* Wait for the file and add its record. AC_OK when nothing was begun. */
ac_status preprocess_write_end(shard_writer *writer);
/* Waits for a file that is under way. */
void preprocess_write_release(shard_writer *writer);

/* deal.c. Collective. Make the shards that have no record. */
ac_status preprocess_make_missing(split_job *job);

/* finish.c. Rank 0 calls it with every shard's record: rejected.csv always, the manifest when few enough are rejected.
 */
ac_status preprocess_finish(split_job *job);

/* verify.c. Collective. Logs what is damaged; AC_ERR_DATA then. */
ac_status preprocess_verify(ac_run *run, const preprocess_config *config, ac_split split);

/* lock.c. Not collective. One run at a time makes a split. */
typedef struct split_lock {
    int fd; /* -1: none */
    char path[AC_PATH_BYTES];
} split_lock;
/* AC_ERR_IO when another process holds it. A file system without locks is no error. */
ac_status preprocess_lock(const char *folder, ac_split split, split_lock *lock);
void preprocess_unlock(split_lock *lock);

/* threads.c. Collective. How many threads this rank may use when nobody says: its share of the node's cores. */
ac_status preprocess_count_threads(MPI_Comm comm, int *n_threads);

#endif
