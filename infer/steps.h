/* What the steps of anyclass-infer share. A run goes through: which checkpoints there are and under which names
 * (jobs.c, foreign.c), shards or pictures (input.c), what the output folders hold already (record.c, existing.c), a network with
 * weights (session.c), scores (score.c) into files (output.c), and what completes a set of them (finish.c). */
#ifndef ANYCLASS_INFER_STEPS_H
#define ANYCLASS_INFER_STEPS_H

#include "anyclass/checkpoint.h"
#include "anyclass/file.h"
#include "anyclass/forward.h"
#include "anyclass/json.h"
#include "anyclass/model.h"
#include "anyclass/pictures.h"
#include "anyclass/plan.h"
#include "anyclass/program.h"
#include "anyclass/store.h"
#include "anyclass/weights.h"

enum { NAME_BYTES = 256, MAX_INPUTS = 3 };

typedef struct infer_config {
    ac_common_config common;
    const char *log_dir, *data_root, *images, *results_output, *device, *weights, *model;
    ac_string_list versions, checkpoints, checkpoint, split;
    bool do_val_test, allow_warnings, overwrite;
    int precision, inplace_abn;
    int64_t batch_size, n_threads, n_workers, max_bad;
} infer_config;

#define INFER_PRECISION_CHOICES "32|bf16-mixed"
/** Its name, and the type of activations it stands for. */
const char *infer_precision_name(const infer_config *config);
ac_dtype infer_precision_dtype(const infer_config *config);

typedef struct infer_target {   /* where a checkpoint's scores go, and under which name */
    char folder[AC_PATH_BYTES]; /* R/version_NAME, or R */
    char version[NAME_BYTES], checkpoint[NAME_BYTES];
} infer_target;

typedef struct infer_weights { /* a checkpoint, once whatever its names; plain bytes, so that ranks can send it */
    char path[AC_PATH_BYTES];
    ac_hash hash; /* of the file */
    bool is_foreign; /* --weights: no checkpoint */
    char model[64];
    int image_size_px;
    float mean[3], std[3];
    size_t n_classes, classes_at; /* zero-terminated names in infer_jobs.names */
    size_t first_target, n_targets;
} infer_weights;

typedef struct infer_jobs {
    infer_weights *weights; /* [n_weights] in the order of the first of their targets */
    size_t n_weights, weights_capacity;
    infer_target *target; /* [n_targets] those of a checkpoint lie together */
    size_t n_targets, target_capacity;
    char *names; /* [n_name_bytes] class names */
    size_t n_name_bytes, names_capacity;
} infer_jobs;

typedef struct infer_input { /* a split, or a folder of pictures */
    const char *title;       /* "Val": in names of files */
    bool is_pictures;
    ac_store store;
    ac_pictures pictures;
    ac_hash hash;        /* of what it holds */
    int64_t n;           /* images */
    ac_loader *loader;   /* NULL until it is needed */
    int64_t loader_rows; /* it was made for so many rows of so large images */
    int loader_size_px;
} infer_input;

typedef struct infer_session { /* a network that is ready; of the checkpoint loaded last */
    ac_device *device;
    infer_weights shape; /* what it was made for; model "": nothing yet */
    size_t loaded;       /* number of the checkpoint whose weights it has; SIZE_MAX: none */
    int64_t rows;        /* images of a step on this rank */
    ac_network network;
    ac_params *params;
    ac_plan *plan;
    ac_forward *pass;
    ac_batch asked[AC_FORWARDS_AHEAD]; /* of passes under way: step, n, and copies of sample and usable [rows]; the rest is NULL */
    int64_t n_asked, n_answered;
    float *scores; /* [rows, n_classes] of the batch answered last; the pass's */
} infer_session;

typedef struct infer_lock {
    int fd; /* -1: none is held */
    char path[AC_PATH_BYTES];
} infer_lock;

typedef struct infer {
    const infer_config *config;
    ac_run *run;
    infer_jobs jobs;
    infer_input input[MAX_INPUTS];
    size_t n_inputs;
    infer_session session;
    infer_lock *lock; /* [n_locks] of the folders that are written; rank 0 */
    size_t n_locks;
    size_t n_scored;                   /* sets that were worked on, in this run */
    size_t n_over;                     /* sets with more rejected pictures than --max_bad allows */
    size_t n_rejected;                 /* most of one of these */
    char rejected_path[AC_PATH_BYTES]; /* the list of that one; rank 0 */
} infer;

/* ---- jobs.c ---- */

/** Find the checkpoints that the options name, read what they say of themselves, put equal ones together. Collective.
 * AC_ERR_IO, AC_ERR_DATA naming the file; AC_ERR_USAGE when two would write the same files. */
AC_NODISCARD ac_status infer_jobs_find(infer *in);
void infer_jobs_release(infer_jobs *jobs);
/** Name of class c of a checkpoint; borrowed. */
const char *infer_class_name(const infer_jobs *jobs, const infer_weights *weights, size_t c);

/** Append the zero-terminated names of n classes. @param[out] at  where they begin. AC_ERR_MEMORY. */
AC_NODISCARD ac_status infer_add_names(infer_jobs *jobs, char *const *names, size_t n, size_t *at);

/* ---- foreign.c: --weights, rank 0 ---- */

/** Of the file's bytes and of how they are read. AC_ERR_IO. */
AC_NODISCARD ac_status infer_foreign_hash(const infer *in, const char *path, ac_hash *hash);
/** Model, classes, image size and normalisation: what the file says of itself, else what options and shards say. AC_ERR_USAGE when
 * nobody says it; AC_ERR_DATA. */
AC_NODISCARD ac_status infer_foreign_describe(const infer *in, const char *path, infer_jobs *jobs, infer_weights *out);
AC_NODISCARD ac_status infer_foreign_load(const infer *in, const infer_weights *weights, ac_params *params);

/* ---- input.c ---- */

/** Open the shards or list the pictures. Collective. */
AC_NODISCARD ac_status infer_inputs_open(infer *in);
void infer_inputs_close(infer *in);
/** AC_ERR_DATA when the checkpoint's classes or image size are not the shards'. */
AC_NODISCARD ac_status infer_check_fit(const infer *in, const infer_weights *weights, const infer_input *input);
/** The input's loader, for this checkpoint's image size and the session's rows. */
AC_NODISCARD ac_status infer_input_begin(const infer *in, infer_input *input, int image_size_px, int64_t rows);
/** The source that the loader reads from. */
ac_source infer_input_source(infer_input *input);

/* ---- lock.c: rank 0. One run at a time writes to a folder. ---- */

/** Make the targets' folders and lock them. AC_ERR_IO naming the lock file when another run holds one. */
AC_NODISCARD ac_status infer_lock_folders(infer *in);
/** AC_ERR_IO when a folder that was locked was removed or replaced: another run may write there. */
AC_NODISCARD ac_status infer_check_locks(const infer *in);
void infer_unlock_folders(infer *in);

/* ---- record.c: rank 0. {model}_{checkpoint}_{Split}_scores.json, which says where a set's scores come from. ---- */

typedef struct infer_set { /* the scores of one checkpoint, under one of its names, on one input */
    const infer_target *target;
    const infer_weights *weights;
    const infer_input *input;
    char stem[AC_PATH_BYTES]; /* R/version_NAME/{model}_{checkpoint}_{Split} */
} infer_set;

typedef struct infer_rows { /* a file of a set: {stem}_sigmoid.rank{number}.csv */
    int64_t number, n_rows;
} infer_rows;

typedef enum infer_origin { INFER_NOTHING, INFER_SAME, INFER_OTHER } infer_origin;

typedef struct infer_found { /* what is there of a set */
    infer_origin origin;
    bool finished;
    int64_t n_rejected; /* then: pictures without scores */
    char reason[512];   /* why it is OTHER */
} infer_found;

AC_NODISCARD ac_status infer_set_name(const infer_target *target, const infer_weights *weights,
                                      const infer_input *input, infer_set *out);
/** "{stem}{suffix}" */
AC_NODISCARD ac_status infer_set_path(const infer_set *set, const char *suffix, char path[AC_PATH_BYTES]);
/** Path of the file of that number, or of the temporary one. */
AC_NODISCARD ac_status infer_rows_path(const infer_set *set, int64_t number, bool part, char path[AC_PATH_BYTES]);
AC_NODISCARD ac_status infer_record_find(const infer *in, const infer_set *set, infer_found *out);
/** Write it, unless it is there like that. @param rows  [n_rows] the set's files; as n_rejected, told when it is
 * finished */
AC_NODISCARD ac_status infer_record_write(const infer *in, const infer_set *set, bool finished, int64_t n_rejected,
                                          const infer_rows *rows, size_t n_rows);
/** Numbers of the set's files, ascending: complete ones, or those with .part behind their name. Owned by the caller. */
AC_NODISCARD ac_status infer_list_files(const infer_set *set, bool part, int64_t **numbers, size_t *n);
/** Remove "{stem}{suffix}" and the temporary file of it; either may be missing. AC_ERR_IO. */
AC_NODISCARD ac_status infer_remove_file(const infer_set *set, const char *suffix);
/** Remove the set's CSV files, temporary ones too, and with `record` the list of rejected pictures and the record. */
AC_NODISCARD ac_status infer_remove_files(const infer_set *set, bool record);

/* ---- existing.c ---- */

typedef struct infer_state { /* a set that is about to be completed */
    infer_set set;           /* under the name that has most already */
    uint8_t *done;           /* [input->n] 1: it has scores in a complete file */
    int64_t n_done;
    int64_t next_number; /* of files: free from here on */
    infer_rows *rows;    /* [n_rows] complete files; rank 0 */
    size_t n_rows, rows_capacity;
} infer_state;

/** Every set of the run: AC_ERR_USAGE naming one that is of another origin, unless --overwrite. Rank 0. */
AC_NODISCARD ac_status infer_check_origins(const infer *in);
/** See what is there of a checkpoint's scores on an input. With `change`, what must go (--overwrite) is removed, the
 * record is written, and the whole rows of files that a killed run left become a complete file. Collective; release in
 * any case. */
AC_NODISCARD ac_status infer_state_open(infer *in, const infer_weights *weights, const infer_input *input, bool change,
                                        infer_state *out);
void infer_state_release(infer_state *state);

/* ---- session.c ---- */

/** The device, and how many rows a step has, the same on all ranks. Collective. */
AC_NODISCARD ac_status infer_session_open(infer *in);
void infer_session_close(infer_session *session);
/** Network and plan for the checkpoint, if those at hand do not fit, and its weights, unless they are loaded.
 * Collective. */
AC_NODISCARD ac_status infer_session_load(infer *in, const infer_weights *weights);
/** Ask for the scores of a batch, which is free when this returns. */
AC_NODISCARD ac_status infer_session_ask(infer_session *session, const ac_batch *batch, const ac_source *source);
/** Should an answer be taken now: with `all` if there is any, else if enough passes are under way. */
bool infer_session_has_answer(const infer_session *session, bool all);
/** Scores of the oldest batch asked for: sigmoid, float, session->scores. @param[out] batch  its images, until the next ask. AC_ERR_NUMERIC naming the image
 * whose score is not a number. */
AC_NODISCARD ac_status infer_session_answer(infer_session *session, const ac_source *source, const ac_batch **batch);
/** Drop what was asked for and not answered. */
void infer_session_forget(infer_session *session);

/* ---- output.c: this rank's file ---- */

typedef struct infer_output {
    ac_file file;
    char *text; /* rows on their way */
    size_t n_bytes, capacity;
    int64_t n_rows;
} infer_output;

/** Header and rows are written when there is a first row. */
AC_NODISCARD ac_status infer_output_add(const infer *in, const infer_state *state, infer_output *out,
                                        const ac_batch *batch, const ac_source *source);
/** Append the header, or a text as a field or as it is, to out->text. */
AC_NODISCARD ac_status infer_format_header(const infer *in, const infer_weights *weights, infer_output *out);
AC_NODISCARD ac_status infer_format_text(infer_output *out, const char *text, bool quoted);

/* ---- score.c, finish.c ---- */

/** All images of an input that have no scores yet. AC_ERR_SIGNAL when a signal came: what was scored is in complete
 * files, as after every other failure but of writing. Collective. */
AC_NODISCARD ac_status infer_score(infer *in, const infer_weights *weights, infer_input *input, infer_state *state);
/** Complete the set: rejected pictures, the record, and the checkpoint's other names. Collective. */
AC_NODISCARD ac_status infer_finish(infer *in, const infer_weights *weights, const infer_input *input,
                                    infer_state *state);
/** AC_ERR_SIGNAL on all ranks when any of them got a signal. Collective. */
AC_NODISCARD ac_status infer_check_stop(const infer *in);

#endif
