/* Checkpoints: one HDF5 file with everything needed to continue or to infer, every tensor hashed, complete or absent;
 * and the folder that keeps the best of each validation metric and the last. Formats in docs/formats.md.
 * Not collective: rank 0 writes, every rank may read. */
#ifndef ANYCLASS_CHECKPOINT_H
#define ANYCLASS_CHECKPOINT_H

#include "anyclass/optimizer.h"
#include "anyclass/params.h"

enum { AC_N_TRACKED = 5, AC_CHECKPOINT_FORMAT = 1 };

/** "val_loss", "val_bce" (smaller is better), "val_ap", "val_f1", "val_f2" (larger is better). */
extern const char *const ac_tracked_name[AC_N_TRACKED];

typedef struct ac_checkpoint_info {
    char model[64];
    char **class_name;       /* [n_classes], owned */
    size_t n_classes;
    int image_size_px;
    float mean[3], std[3];
    char *config;            /* the trainer's options as JSON, owned */
    int64_t epoch;           /* epochs completed */
    int64_t optimizer_step;  /* updates made */
    double best[AC_N_TRACKED]; /* NaN: none yet */
} ac_checkpoint_info;

/** Safe on a zeroed struct, which is what it leaves. */
void ac_checkpoint_info_release(ac_checkpoint_info *info);

/** Write `path`: to a temporary name, synced, re-read and checked, renamed. @param optimizer NULL: weights only.
 * AC_ERR_IO; an older file of that name then keeps its content. */
AC_NODISCARD ac_status ac_checkpoint_save(const char *path, const ac_checkpoint_info *info, const ac_params *params, const ac_optimizer *optimizer);
/** What a checkpoint says of itself; release after success. AC_ERR_IO, AC_ERR_DATA naming the file. */
AC_NODISCARD ac_status ac_checkpoint_read_info(const char *path, ac_checkpoint_info *info);
/** Check every tensor, then take them over. @param optimizer NULL: not wanted.
 * AC_ERR_DATA naming file and tensor; nothing is changed then. */
AC_NODISCARD ac_status ac_checkpoint_load(const char *path, ac_params *params, ac_optimizer *optimizer);

/** After an epoch: write last.h5 and, for each metric that is better than info->best, its own file, then the table
 * checkpoints.json; files that the table no longer names are removed last. NaN is never better.
 * @param values this epoch's metrics; info->best is updated. */
AC_NODISCARD ac_status ac_checkpoint_keep(const char *folder, ac_checkpoint_info *info, const double values[AC_N_TRACKED],
                                          const ac_params *params, const ac_optimizer *optimizer);
/** Path of the best checkpoint of `metric` (or "last") in a folder. AC_ERR_IO when there is none. */
AC_NODISCARD ac_status ac_checkpoint_find(const char *folder, const char *metric, char *path, size_t capacity);

#endif
