/* Checkpoints: one file with everything needed to continue or to infer, every byte hashed, complete or absent; and the
 * folder of a training, which keeps the best of each validation metric, the last and the one before. Formats in
 * docs/formats.md. Not collective: rank 0 writes, every rank may read. Saving calls HDF5: one thread of a process at a
 * time; reading does not. */
#ifndef ANYCLASS_CHECKPOINT_H
#define ANYCLASS_CHECKPOINT_H

#include "anyclass/file.h"
#include "anyclass/optimizer.h"
#include "anyclass/params.h"

enum { AC_N_TRACKED = 5, AC_CHECKPOINT_FORMAT = 2 };

/** "val_loss", "val_bce" (smaller is better), "val_ap", "val_f1", "val_f2" (larger is better). */
extern const char *const ac_tracked_name[AC_N_TRACKED];

typedef struct ac_checkpoint_best { /* the best value of one metric so far */
    char file[96];                  /* its checkpoint, a name in the training's folder; "": none yet */
    double value;                   /* finite */
    int64_t epoch;                  /* in which it was reached, from 0 */
} ac_checkpoint_best;

/* What a checkpoint says of itself. A zeroed struct is a valid one of a training that has not begun, but for
 * loss_scale. Doubles come back bit for bit (a NaN as some NaN). */
typedef struct ac_checkpoint_info {
    char model[64];
    char **class_name; /* [n_classes], owned */
    size_t n_classes;
    int image_size_px;
    float mean[3], std[3];
    char *config; /* the trainer's options as JSON text, owned */
    char precision[16];
    char data_hash[AC_HASH_TEXT_BYTES]; /* of the training split's manifest */
    int64_t n_samples;                  /* of the training split */
    int64_t batch_size;                 /* images of a step over all ranks */
    int64_t seed;
    int64_t epoch;          /* epochs completed */
    int64_t step;           /* steps made in the epoch under way; all of them: its validation is missing */
    int64_t optimizer_step; /* updates made */
    double loss_sum;        /* of the epoch under way's steps so far */
    double loss_scale;      /* 1 unless precision is 16-mixed */
    int64_t n_even, n_skipped; /* 16-mixed: updates since the loss scale changed; steps without an update */
    ac_checkpoint_best best[AC_N_TRACKED];
} ac_checkpoint_info;

/** Safe on a zeroed struct, which is what it leaves. */
void ac_checkpoint_info_release(ac_checkpoint_info *info);

/** Write `path`: to a temporary name, re-read and compared with its hashes, synced, renamed. The bytes depend on the
 * arguments alone. Holds one tensor at a time in memory.
 * @param optimizer  NULL: weights only.
 * @return AC_ERR_NUMERIC naming the tensor that holds a value that is not finite; AC_ERR_IO; AC_ERR_DATA when what was
 *         re-read differs. An older file of that name then keeps its content and nothing is left behind. */
AC_NODISCARD ac_status ac_checkpoint_save(const char *path, const ac_checkpoint_info *info, const ac_params *params,
                                          const ac_optimizer *optimizer);
/** What a checkpoint says of itself; its tensors are not looked at. Release after success; zeroed after a failure.
 * AC_ERR_IO; AC_ERR_DATA naming the file: no checkpoint, of another format, truncated, damaged. */
AC_NODISCARD ac_status ac_checkpoint_read_info(const char *path, ac_checkpoint_info *info);
/** The hash that stands for all of a checkpoint's bytes (the last line of its seal), which are not compared with it here: files
 * of the same hash are the same checkpoint. AC_ERR_IO, AC_ERR_DATA naming the file. */
AC_NODISCARD ac_status ac_checkpoint_read_hash(const char *path, ac_hash *hash);
/** As ac_checkpoint_read_info(), after every byte of the file was compared with its hashes. AC_ERR_DATA names file and tensor. */
AC_NODISCARD ac_status ac_checkpoint_check(const char *path, ac_checkpoint_info *info);
/** Check every byte and every tensor's shape, then take the tensors over, and optimizer->step.
 * @param optimizer  NULL: not wanted.
 * @return AC_ERR_IO, AC_ERR_DATA naming file and tensor; nothing is changed then, unless the file changed or could no
 * longer be read after it was checked. */
AC_NODISCARD ac_status ac_checkpoint_load(const char *path, ac_params *params, ac_optimizer *optimizer);

/* The folder of a training. In this order, rank 0: lock; choose and, after loading, adopt; keep and keep_last as it
 * goes on; unlock. A training that is killed anywhere and continues like this ends with the same files as if it had
 * not. */

typedef struct ac_checkpoint_lock {
    int fd; /* -1: none is held */
    char path[AC_PATH_BYTES];
} ac_checkpoint_lock;

/** Keep other trainings out of a folder, which must exist, until ac_checkpoint_unlock() or the end of the process.
 * @return AC_ERR_IO naming the lock file when another training writes there. */
AC_NODISCARD ac_status ac_checkpoint_lock_folder(const char *folder, ac_checkpoint_lock *lock);
/** Before each save: AC_ERR_IO when the folder was removed or replaced since it was locked. */
AC_NODISCARD ac_status ac_checkpoint_check_lock(const ac_checkpoint_lock *lock);
/** Also after a failure, and twice; not on a struct that was never passed to ac_checkpoint_lock_folder(). */
void ac_checkpoint_unlock_folder(ac_checkpoint_lock *lock);

/** Does a folder (which may be missing) hold a checkpoint, whole or not? AC_ERR_IO, AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_checkpoint_present(const char *folder, bool *present);
/** Remove all checkpoints of a training and their table, nothing else. AC_ERR_IO. */
AC_NODISCARD ac_status ac_checkpoint_clear(const char *folder);
/** Where to continue: the first whole one of last.h5, previous.h5 and the best ones, newest first. Each that is damaged
 * is logged as a warning; one that cannot be read is a failure, since it may be whole. Changes nothing on disk.
 * @param[out] path  "" when the folder holds no checkpoint (or is not there): the training has not begun
 * @param[out] info  release after success; zeroed when there is none
 * @return AC_ERR_DATA naming each when all are damaged; AC_ERR_IO when one could not be read. */
AC_NODISCARD ac_status ac_checkpoint_choose(const char *folder, char path[AC_PATH_BYTES], ac_checkpoint_info *info);
/** Give a checkpoint from elsewhere a second name in the folder (or copy it), so that it cannot change between being checked,
 * loaded and adopted. @param[out] staged  what to check, load and adopt then. AC_ERR_IO. */
AC_NODISCARD ac_status ac_checkpoint_stage(const char *folder, const char *path, char staged[AC_PATH_BYTES]);
/** Make the folder agree with the checkpoint at `path`, from which the training continues and whose info this is: it
 * becomes last.h5 if it is not (the old one previous.h5); best checkpoints that info->best names and that are not there
 * are made from it if they are of its epoch, else dropped from info->best; checkpoints.json is written from the rest;
 * left-over files are removed. AC_ERR_IO. */
AC_NODISCARD ac_status ac_checkpoint_adopt(const char *folder, const char *path, ac_checkpoint_info *info);

/** After an epoch's validation (info->epoch counts it, info->step is 0): write a checkpoint under the name of each
 * metric that is better than info->best and as last.h5, then the table checkpoints.json; then remove best checkpoints
 * that the table does not name, whoever wrote them, and left-over temporary files. What is not finite is never better;
 * a tie keeps the earlier.
 * @param values  this epoch's metrics; info->best is updated.
 * @return as ac_checkpoint_save(). Whatever fails, the folder holds a whole checkpoint of this state or of the one
 * before, and a table of files that are there; info->best is as before unless last.h5 was replaced. */
AC_NODISCARD ac_status ac_checkpoint_keep(const char *folder, ac_checkpoint_info *info,
                                          const double values[AC_N_TRACKED], const ac_params *params,
                                          const ac_optimizer *optimizer);
/** Amid an epoch: last.h5 alone; the old one becomes previous.h5. @return as ac_checkpoint_keep(). */
AC_NODISCARD ac_status ac_checkpoint_keep_last(const char *folder, const ac_checkpoint_info *info,
                                               const ac_params *params, const ac_optimizer *optimizer);
/** Path of the best checkpoint of `metric`, or of "last", in a folder. AC_ERR_IO when there is none, AC_ERR_RANGE when
 * it is too long for path[capacity]. */
AC_NODISCARD ac_status ac_checkpoint_find(const char *folder, const char *metric, char *path, size_t capacity);

typedef enum ac_progress_kind { AC_PROGRESS_NONE, AC_PROGRESS_BEGUN, AC_PROGRESS_FINISHED, AC_PROGRESS_DAMAGED } ac_progress_kind;

typedef struct ac_progress_state { /* of a training */
    ac_progress_kind kind;
    int64_t epochs, max_epochs; /* completed, and wanted by the options of last.h5; 0 for NONE and DAMAGED */
} ac_progress_state;

enum { AC_PROGRESS_BYTES = 64 };

/** How far the training in a folder is, by what last.h5 says of itself (its tensors are not looked at). AC_ERR_IO, AC_ERR_MEMORY; a file that is no
 * checkpoint, and none at all, are states. */
AC_NODISCARD ac_status ac_checkpoint_progress(const char *folder, ac_progress_state *out);
/** "finished", "epoch 3 of 8", "not begun", "damaged". */
void ac_checkpoint_progress_text(const ac_progress_state *state, char out[AC_PROGRESS_BYTES]);

#endif
