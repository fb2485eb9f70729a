/* Inside of anyclass-train: options, state, and the steps in their files. */
#ifndef ANYCLASS_TRAIN_INTERNAL_H
#define ANYCLASS_TRAIN_INTERNAL_H

#include "anyclass/checkpoint.h"
#include "anyclass/event_file.h"
#include "anyclass/forward.h"
#include "anyclass/metrics.h"
#include "anyclass/model.h"
#include "anyclass/plan.h"
#include "anyclass/program.h"
#include "anyclass/schedule.h"
#include "anyclass/step.h"
#include "anyclass/store.h"
#include "anyclass/weights.h"

typedef struct train_config {
    ac_common_config common;
    const char *data_root, *log_save_dir, *version_name, *model, *device, *checkpoint, *init;
    int64_t batch_size, micro_batch, max_epochs, n_threads, n_workers, seed, log_every, bucket_mib, max_steps, prefetch_mib;
    int64_t checkpoint_steps, check_steps;
    int base_loss, optimizer, schedule, precision, inplace_abn;
    double focal_gamma, meta_loss_weight, meta_loss_beta, class_balancing_beta, dropout, stochastic_depth;
    double learning_rate, weight_decay, momentum, clip_norm, lr_decay, min_lr, warmup_start_factor;
    ac_double_list lr_steps;
    int64_t warmup_epochs, restart_period, restart_factor;
    int augment; /* 0: auto; else 1 + ac_augment_kind */
    double jitter_brightness, jitter_contrast, jitter_saturation, jitter_hue, rotation_degrees;
    bool flip, sync_bn, profile, overwrite, new_head;
} train_config;

extern const ac_program train_program;
#define TRAIN_PRECISION_CHOICES "32|tf32|bf16-mixed|16-mixed"

enum { TRAIN_MAX_SIZES = 2 };

typedef struct train_size { /* the training graph for one number of images */
    int64_t rows;
    ac_network network;
    ac_plan *plan;
} train_size;

typedef struct trainer {
    const train_config *config;
    ac_run *run;
    ac_store train, val;
    ac_loss_config loss;
    ac_schedule schedule;
    double *class_weights;        /* [M + 1] */
    int64_t slice_first, slice_n; /* this rank's rows of each global batch */
    int64_t n_micro;              /* micro-batches that the slice is cut into, the same number on all ranks */
    int64_t n_steps;              /* of an epoch */
    int64_t val_batch, val_first, val_rows; /* images of a validation batch, and this rank's rows of it */
    ac_device *device;
    train_size size[TRAIN_MAX_SIZES]; /* micro-batches differ by one image at most: the larger first */
    int n_sizes;
    ac_network eval;              /* validation graph over the same parameters */
    ac_params *params;
    ac_plan *eval_plan;
    ac_forward *eval_pass;
    void *arena;                  /* shared by all plans */
    ac_optimizer *optimizer;
    ac_step *step;
    double summed_loss;           /* J of the step just asked for, when it was summed over ranks on the host */
    ac_reducer *reducer;
    ac_loader *loader, *val_loader;
    ac_checkpoint_info info;      /* where the training stands */
    ac_checkpoint_lock lock;      /* of the folder; rank 0 */
    ac_event_file *events;        /* rank 0 */
    int64_t saved_epoch, saved_step; /* what last.h5 holds; 0, 0: nothing yet, and nothing to save */
    char folder[4096];
    float *val_scores;            /* [n_val, M] logits, filled per epoch */
    double wait_s;                /* this epoch's waiting for data */
    double images_per_s;          /* of the last epoch's steps */
    int64_t begun_epoch;          /* of which the loader brings batches already; -1: none */
} trainer;

/* ---- setup.c, resume.c ---- */

/** Open data and device, build everything, load a checkpoint when asked. Collective. */
AC_NODISCARD ac_status trainer_open(trainer *t, ac_run *run, const train_config *config);
void trainer_close(trainer *t);
/** Options, communicator and trainer, then `body` on it, unless --dry_run or --help and its like leave nothing to do.
 * @return the exit code. Collective. */
int trainer_run(MPI_Comm comm, int argc, char **argv, ac_status (*body)(trainer *));
/** Options that contradict each other (AC_ERR_USAGE) or have no effect (a warning). Not collective. */
AC_NODISCARD ac_status trainer_check_options(const train_config *config, const ac_options *given);
/** Kind and ranges as the options say them; without --augment by the data set's kind, as the reference does it. */
ac_augment trainer_augment(const train_config *config, const char *dataset);
/** Parameters and optimiser as the checkpoint of --checkpoint has them, or the file of --init, or as drawn from --seed: the same on all ranks
 *  (AC_ERR_SYNC). Collective. */
AC_NODISCARD ac_status trainer_begin(trainer *t);

/* ---- epoch.c, validate.c: AC_ERR_SIGNAL once a signal was seen on any rank and the state is saved ---- */

/** Steps from t->info.step to the end of the epoch. Collective. */
AC_NODISCARD ac_status trainer_epoch(trainer *t);
/** Every validation image once. @param[out] values  the tracked metrics, the same on all ranks. Collective. */
AC_NODISCARD ac_status trainer_validate(trainer *t, double values[AC_N_TRACKED]);

/* ---- save.c ---- */

/** Compare the ranks' parameters: AC_ERR_SYNC naming the ranks that differ from most. Collective. */
AC_NODISCARD ac_status trainer_check_drift(trainer *t);
/** Save the state as it is, in mid-epoch. Collective. */
AC_NODISCARD ac_status trainer_save(trainer *t);
/** Record and save a finished epoch; the next one begins. Collective. */
AC_NODISCARD ac_status trainer_end_epoch(trainer *t, const double values[AC_N_TRACKED]);
/** Some rank got a signal: save what is not saved already.
 * @return AC_ERR_SIGNAL with a text that says what is saved and how to go on, or why it could not be saved. Collective. */
ac_status trainer_stop(trainer *t);
/** trainer_stop() on all ranks when any of them got a signal. Collective. */
AC_NODISCARD ac_status trainer_check_stop(trainer *t);

/* ---- record.c: rank 0 alone ---- */

typedef struct train_record { /* of the steps since the last record */
    double loss, gradient_norm, learning_rate; /* of the last one */
    double images_per_s;
    double wait_s, exposed_s;                  /* per step */
} train_record;

/** Does a metrics.csv hold more than its header? */
bool trainer_has_rows(const char *path);
/** Open the event file, and take the rows of epochs that will be made again out of metrics.csv. */
AC_NODISCARD ac_status trainer_record_begin(trainer *t);
AC_NODISCARD ac_status trainer_record_step(trainer *t, const train_record *record);
/** A row of metrics.csv, in place of one that the epoch may have already, and the same numbers for TensorBoard. */
AC_NODISCARD ac_status trainer_record_epoch(trainer *t, int64_t epoch, double loss, const double values[AC_N_TRACKED]);

#endif
