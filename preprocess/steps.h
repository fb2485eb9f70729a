/* What the steps of anyclass-preprocess share. A split goes through: annotations and image folder (split.c), what the
 * output folder holds already (existing.c, lock.c), pixels to shards (make.c, stop.c), rejected.csv and manifest
 * (finish.c). verify.c re-reads what is there. */
#ifndef ANYCLASS_PREPROCESS_STEPS_H
#define ANYCLASS_PREPROCESS_STEPS_H

#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/image.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "anyclass/shard.h"

enum { REASON_BYTES = 240 };

typedef struct preprocess_config {
    ac_common_config common;
    int dataset; /* index into AC_DATASET_CHOICES */
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
    uint8_t *pixels; /* [samples of a shard, S, S, 3] */
    ac_progress progress;
    size_t n_mine, n_mine_done, n_to_make; /* images: this rank's share, its done ones, all ranks' */
} split_job;

typedef struct image_tools { /* what one thread needs to decode; zeroed at first */
    ac_image image;
    ac_resizer *resizer;
    uint8_t *scratch;
    size_t scratch_bytes;
} image_tools;

/* Samples [*first, *first + n) of the annotation list belong to `shard`; returns n. */
size_t preprocess_shard_range(const split_job *job, size_t shard, size_t *first);
ac_status preprocess_shard_path(const split_job *job, size_t shard, char path[AC_PATH_BYTES]);
ac_status preprocess_add_record(split_job *job, const shard_record *record);
ac_status preprocess_add_rejected(split_job *job, size_t sample, const char *reason);
/* Collective. Give what each rank added since the last time to all ranks; sorted by shard and by sample afterwards. */
ac_status preprocess_share_records(split_job *job);

/* records.c: the functions above. */

/* run.c. Collective. Everything but options: checks, then one split after the other. */
ac_status preprocess_run_all(ac_run *run, const preprocess_config *config);

/* split.c. Collective. Make one split, or with --dry_run only look at it.
 * @param[out] n_rejected  images rejected, the same on all ranks. */
ac_status preprocess_split(ac_run *run, const preprocess_config *config, ac_split split, size_t *n_rejected);

/* existing.c. Collective. Find shards that are complete and belong to this run: they become records. One that was made
 * otherwise is AC_ERR_USAGE. With --overwrite what was there is removed instead. */
ac_status preprocess_find_existing(split_job *job);
/* Remove what a killed run left of unfinished files. Rank 0 calls it. */
ac_status preprocess_remove_parts(const split_job *job);

/* make.c. Not collective. */
/* One image into row [S, S, 3]. A bad image is AC_OK with a reason; reason[0] == 0 means good. Anything else ends the
 * run: AC_ERR_IO for a file that is there and cannot be read, AC_ERR_MEMORY. */
ac_status preprocess_read_image(const split_job *job, image_tools *tools, size_t sample, uint8_t *row,
                                char reason[REASON_BYTES]);
void preprocess_release_tools(image_tools *tools);
/* Decode a shard's images in threads and write it; adds a record. */
ac_status preprocess_make_shard(split_job *job, size_t shard);

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

/* stop.c. A rank that fails tells the others, which stop after the shard they are at. */
typedef struct stop_call {
    MPI_Comm comm;
    int rank, size;
    bool called;          /* by this rank */
    MPI_Request *request; /* [size] */
} stop_call;
ac_status preprocess_stop_begin(stop_call *stop, MPI_Comm comm); /* collective */
ac_status preprocess_stop_call(stop_call *stop);
bool preprocess_stop_heard(const stop_call *stop);
ac_status preprocess_stop_end(stop_call *stop); /* collective, whatever happened before */

/* threads.c. Collective. How many threads this rank may use when nobody says: its share of the node's cores. */
ac_status preprocess_count_threads(MPI_Comm comm, int *n_threads);

#endif
