/* Inside of anyclass-train: options, state, and the steps in their files. */
#ifndef ANYCLASS_TRAIN_INTERNAL_H
#define ANYCLASS_TRAIN_INTERNAL_H

#include "anyclass/checkpoint.h"
#include "anyclass/metrics.h"
#include "anyclass/model.h"
#include "anyclass/plan.h"
#include "anyclass/program.h"
#include "anyclass/schedule.h"
#include "anyclass/store.h"

typedef struct train_config {
    ac_common_config common;
    const char *data_root, *log_save_dir, *version_name, *model, *device, *checkpoint;
    int64_t batch_size, max_epochs, n_threads, n_workers, seed, log_every, bucket_mib, max_steps, prefetch_mib;
    int base_loss, optimizer, schedule;
    double focal_gamma, meta_loss_weight, meta_loss_beta, class_balancing_beta;
    double learning_rate, weight_decay, momentum, clip_norm, lr_decay, min_lr, warmup_start_factor;
    ac_double_list lr_steps;
    int64_t warmup_epochs;
    int augment; /* 0: auto; else 1 + ac_augment_kind */
    double jitter_brightness, jitter_contrast, jitter_saturation, jitter_hue, rotation_degrees;
    bool flip, sync_bn, profile;
} train_config;

extern const ac_program train_program;

typedef struct trainer {
    const train_config *config;
    ac_run *run;
    ac_store train, val;
    ac_loss_config loss;
    double *class_weights;      /* [M + 1] */
    int64_t slice_first, slice_n; /* this rank's rows of each global batch */
    ac_device *device;
    ac_network network, eval;   /* training and validation graphs over the same parameters */
    ac_params *params;
    ac_plan *plan, *eval_plan;
    void *arena;                /* shared by both plans */
    ac_optimizer *optimizer;
    ac_reducer *reducer;
    ac_loader *loader, *val_loader;
    ac_checkpoint_info info;
    char folder[4096];
    char *config_text;
    float *val_scores;          /* [n_val, M] logits, filled per epoch */
    double wait_s, exposed_s;
    int64_t begun_epoch;        /* of which the loader brings batches already; -1: none */
} trainer;

/** Open data and device, build everything, load a checkpoint when asked. Collective. */
AC_NODISCARD ac_status trainer_open(trainer *t, ac_run *run, const train_config *config);
void trainer_close(trainer *t);
/** Options, communicator and trainer, then `body` on it, unless --dry_run or --help and its like leave nothing to do.
 * @return the exit code. Collective. */
int trainer_run(MPI_Comm comm, int argc, char **argv, ac_status (*body)(trainer *));
/** Kind and ranges as the options say them; without --augment by the data set's kind, as the reference does it. */
ac_augment trainer_augment(const train_config *config, const char *dataset);
/** One epoch of steps. @param[out] loss  mean J of its steps. Collective. */
AC_NODISCARD ac_status trainer_epoch(trainer *t, int64_t epoch, double *loss);
/** Every validation image once. @param[out] values  the tracked metrics, the same on all ranks. Collective. */
AC_NODISCARD ac_status trainer_validate(trainer *t, int64_t epoch, double values[AC_N_TRACKED]);

#endif
