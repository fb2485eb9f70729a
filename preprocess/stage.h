/* What the files of the command `stage` share. stage.c has options and the order of things; stage_folder.c is about the target folder as a
 * whole, stage_file.c about one shard in it. Ranks go their own ways and hear of each other by beats (beat.h). */
#ifndef ANYCLASS_PREPROCESS_STAGE_H
#define ANYCLASS_PREPROCESS_STAGE_H

#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "anyclass/shard.h"
#include "preprocess/beat.h"

enum { STAGE_MAX_STREAMS = 8 /* ranks of a machine that copy at a time */, STAGE_PIECE_BYTES = 1 << 20 };

typedef struct stage_config {
    ac_common_config common;
    const char *data_root, *to;
    ac_string_list splits;
    bool verify, remove;
} stage_config;

typedef struct stage_file { /* a shard */
    const char *name;
    ac_hash hash;
    size_t split;
} stage_file;

typedef struct stage_job {
    const stage_config *config;
    ac_run *run;
    MPI_Comm machine; /* its ranks; the first one does what is done once */
    int rank, size;   /* in it */
    ac_split split[AC_N_SPLITS];
    ac_manifest manifest[AC_N_SPLITS];
    size_t n_splits;
    stage_file *file; /* [n_files] of all splits */
    size_t n_files;
    uint8_t *state;        /* [n_files] a stage_state; the same on all ranks of a machine when they have agreed */
    uint64_t *n_bytes;     /* [n_files] at the source; likewise */
    bool keep_cache;       /* the copies fit into memory beside other things */
    size_t n_mended;       /* copies found damaged by this rank */
    work_beat beat;
    ac_progress progress;
    char lock_path[AC_PATH_BYTES];
    int lock;              /* descriptor; -1: none */
} stage_job;

typedef enum stage_state { STAGE_KEEP, STAGE_COPY, STAGE_FAILED } stage_state; /* of a file; agreed on by maximum */

/* ---- stage.c ---- */

/* Tell and hear of failures and signals, show progress: between any two pieces of work. As beat_once(). */
ac_status stage_beat(stage_job *job);

/* ---- stage_folder.c: the machine's first rank ---- */

/* Lock the target, waiting for other jobs of this machine; it is made if it is not there, but for --remove: then job->lock is -1. */
ac_status stage_lock(stage_job *job);
void stage_unlock(stage_job *job);
/* AC_ERR_USAGE when the target is the source, or holds shards that were not put there by this command. */
ac_status stage_check_target(const stage_job *job);
/* The bytes to be copied against the room there is, counting what another version leaves. AC_ERR_IO says how much is missing. */
ac_status stage_check_space(const stage_job *job);
/* Before the first copy: manifests of splits that are not complete go, and what is there of other versions or was left by a killed run. */
ac_status stage_clear(const stage_job *job);
/* Manifests of the splits that are complete. */
ac_status stage_complete(const stage_job *job);
/* --remove. @param[out] n_removed  files */
ac_status stage_remove(const stage_job *job, size_t *n_removed);

/* ---- stage_file.c: any rank ---- */

/* What is to be done about file k: *state STAGE_KEEP or STAGE_COPY, and *n_bytes of the source. A copy that is whole gets its stamp. */
ac_status stage_look(stage_job *job, size_t k, uint8_t *state, uint64_t *n_bytes);
/* Copy file k: complete or absent. AC_ERR_DATA: it is the source that is damaged. */
ac_status stage_copy(stage_job *job, size_t k);

extern const char stage_stamp_suffix[]; /* of the small file beside each copy */

#endif
