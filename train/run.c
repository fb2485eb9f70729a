/* anyclass-train: options, and the loop over epochs. */
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "train/train.h"
#include "train/train_internal.h"
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#define O(field) .offset = offsetof(train_config, field)
static const ac_option options[] = {
    {.group = "Data", .name = "data_root", .type = AC_OPTION_STRING, O(data_root), .required = true, .unit = "FOLDER", .help = "Shards made by anyclass-preprocess, splits train and val."},
    {.name = "batch_size", .type = AC_OPTION_INT, O(batch_size), .fallback = "256", .min = 1, .max = 1e6, .help = "Images of one step over all ranks."},
    {.name = "n_workers", .type = AC_OPTION_INT, O(n_workers), .fallback = "1", .min = 1, .max = 256, .help = "Loader threads per rank."},
    {.name = "prefetch_mib", .type = AC_OPTION_INT, O(prefetch_mib), .fallback = "0", .min = 0, .max = 1e6, .unit = "MIB",
     .help = "Memory per rank for batches read ahead; 0: an eighth of what the machine has left, shared by its ranks, at most 1 GiB."},
    {.group = "Augmentation", .name = "augment", .type = AC_OPTION_CHOICE, O(augment), .fallback = "auto", .choices = "auto|" AC_AUGMENT_CHOICES, .help = "What is done to training images; auto: rotation for the data set chest, colour for all others."},
    {.name = "flip", .type = AC_OPTION_FLAG, O(flip), .fallback = "true", .help = "Mirror half of the training images."},
    {.name = "jitter_brightness", .type = AC_OPTION_DOUBLE, O(jitter_brightness), .fallback = "0.1", .min = 0, .max = AC_MAX_JITTER, .help = "colour: brightness is multiplied by 1 - x to 1 + x."},
    {.name = "jitter_contrast", .type = AC_OPTION_DOUBLE, O(jitter_contrast), .fallback = "0.1", .min = 0, .max = AC_MAX_JITTER, .help = "colour: contrast, the same."},
    {.name = "jitter_saturation", .type = AC_OPTION_DOUBLE, O(jitter_saturation), .fallback = "0.1", .min = 0, .max = AC_MAX_JITTER, .help = "colour: saturation, the same."},
    {.name = "jitter_hue", .type = AC_OPTION_DOUBLE, O(jitter_hue), .fallback = "0.1", .min = 0, .max = 0.5, .help = "colour: hue is turned by -x to x of its circle."},
    {.name = "rotation_degrees", .type = AC_OPTION_DOUBLE, O(rotation_degrees), .fallback = "5", .min = 0, .max = 180, .help = "rotation: by -x to x."},
    {.group = "Model and loss", .name = "model", .type = AC_OPTION_STRING, O(model), .fallback = "resnet50", .unit = "NAME", .help = "resnet18, resnet34, resnet50, resnet101 or resnet152."},
    {.name = "base_loss", .type = AC_OPTION_CHOICE, O(base_loss), .fallback = "bce", .choices = AC_BASE_LOSS_CHOICES, .help = "Loss of one class."},
    {.name = "focal_gamma", .type = AC_OPTION_DOUBLE, O(focal_gamma), .fallback = "2", .min = 0, .max = 100, .help = "Focal exponent."},
    {.name = "meta_loss_weight", .type = AC_OPTION_DOUBLE, O(meta_loss_weight), .fallback = "1", .min = 0, .max = 1e6, .help = "alpha: weight of the any-class term; 0 is the base loss alone."},
    {.name = "meta_loss_beta", .type = AC_OPTION_DOUBLE, O(meta_loss_beta), .fallback = "0.1", .min = 0, .max = 1e6, .help = "lambda: weight of absent classes in the any-class presence of a positive image."},
    {.name = "class_balancing_beta", .type = AC_OPTION_DOUBLE, O(class_balancing_beta), .fallback = "0.9999", .min = 0, .max = 1, .help = "beta of the effective number of samples."},
    {.group = "Optimisation", .name = "optimizer", .type = AC_OPTION_CHOICE, O(optimizer), .fallback = "sgd", .choices = AC_OPTIMIZER_CHOICES, .help = "Update rule."},
    {.name = "learning_rate", .type = AC_OPTION_DOUBLE, O(learning_rate), .fallback = "0.1", .min = 1e-12, .max = 1e6, .help = "Base learning rate."},
    {.name = "weight_decay", .type = AC_OPTION_DOUBLE, O(weight_decay), .fallback = "0.0001", .min = 0, .max = 1e6, .help = "Weight decay."},
    {.name = "momentum", .type = AC_OPTION_DOUBLE, O(momentum), .fallback = "0.9", .min = 0, .max = 1, .help = "SGD's momentum."},
    {.name = "clip_norm", .type = AC_OPTION_DOUBLE, O(clip_norm), .fallback = "1", .min = 0, .max = 1e9, .help = "Clip the global gradient norm to this; 0: off."},
    {.name = "schedule", .type = AC_OPTION_CHOICE, O(schedule), .fallback = "constant", .choices = AC_SCHEDULE_CHOICES, .help = "Learning rate over epochs."},
    {.name = "lr_steps", .type = AC_OPTION_DOUBLES, O(lr_steps), .min = 0, .max = 1e6, .unit = "EPOCH ...", .help = "multistep: epochs at which the rate is multiplied by --lr_decay."},
    {.name = "lr_decay", .type = AC_OPTION_DOUBLE, O(lr_decay), .fallback = "0.1", .min = 0, .max = 1, .help = "multistep: factor."},
    {.name = "min_lr", .type = AC_OPTION_DOUBLE, O(min_lr), .fallback = "0", .min = 0, .max = 1e6, .help = "cosine: smallest rate."},
    {.name = "warmup_epochs", .type = AC_OPTION_INT, O(warmup_epochs), .fallback = "0", .min = 0, .max = 1e6, .help = "Epochs of linear warm-up."},
    {.name = "warmup_start_factor", .type = AC_OPTION_DOUBLE, O(warmup_start_factor), .fallback = "0.01", .min = 0, .max = 1, .help = "First factor of the warm-up."},
    {.name = "max_epochs", .type = AC_OPTION_INT, O(max_epochs), .fallback = "90", .min = 1, .max = 1e6, .help = "Epochs."},
    {.name = "max_steps", .type = AC_OPTION_INT, O(max_steps), .fallback = "0", .min = 0, .max = 1e12, .help = "Steps per epoch at most; 0: all."},
    {.name = "seed", .type = AC_OPTION_INT, O(seed), .fallback = "1", .min = 0, .max = 9e15, .help = "Of initial weights, order and augmentation."},
    {.name = "sync_bn", .type = AC_OPTION_FLAG, O(sync_bn), .fallback = "false", .help = "Batch statistics over all ranks."},
    {.group = "Output", .name = "log_save_dir", .type = AC_OPTION_STRING, O(log_save_dir), .fallback = "logs", .unit = "FOLDER", .help = "Holds version_NAME/ with checkpoints and metrics.csv."},
    {.name = "version_name", .type = AC_OPTION_STRING, O(version_name), .fallback = "0", .unit = "NAME", .help = "Name of this run."},
    {.name = "checkpoint", .type = AC_OPTION_STRING, O(checkpoint), .unit = "FILE|auto", .help = "Continue from a checkpoint; auto: from the run's last one, if any."},
    {.name = "log_every", .type = AC_OPTION_INT, O(log_every), .fallback = "0", .min = 0, .max = 1e9, .help = "Log every N steps; 0: progress only."},
    {.group = "Machine", .name = "device", .type = AC_OPTION_STRING, O(device), .fallback = "cpu", .unit = "NAME", .help = "cpu, or ref (plain loops, slow)."},
    {.name = "n_threads", .type = AC_OPTION_INT, O(n_threads), .fallback = "0", .min = 0, .max = 1024, .help = "Compute threads per rank; 0: OMP_NUM_THREADS, else the rank's cores."},
    {.name = "bucket_mib", .type = AC_OPTION_INT, O(bucket_mib), .fallback = "25", .min = 1, .max = 1024, .unit = "MIB", .help = "Size of a gradient bucket."},
    {.name = "profile", .type = AC_OPTION_FLAG, O(profile), .fallback = "false", .help = "Log the time of each operator after every epoch."},
    AC_COMMON_OPTIONS(train_config),
};
const ac_program train_program = {
    .name = "anyclass-train",
    .summary = "Train a multi-label classifier on shards, data-parallel over MPI ranks.",
    .usage = "--data_root SHARDS --model resnet50 --log_save_dir FOLDER --version_name NAME",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(train_config),
};

/* One line per epoch; the header when the file is new. */
static ac_status append_metrics(const trainer *t, int64_t epoch, double loss, const double values[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    struct stat info;
    AC_TRY(ac_path_join(path, t->folder, "metrics.csv"));
    bool is_new = epoch == 0 || stat(path, &info) != 0 || info.st_size == 0;
    FILE *file = fopen(path, epoch == 0 ? "w" : "a");
    if (!file)
        return ac_error_errno("%s", path);
    if (is_new)
        fprintf(file, "epoch,step,train_loss,val_loss,val_bce,val_ap,val_f1,val_f2\n");
    fprintf(file, "%lld,%lld,%.17g", (long long)epoch, (long long)t->optimizer->step, loss);
    for (int i = 0; i < AC_N_TRACKED; i++)
        fprintf(file, ",%.17g", values[i]);
    fprintf(file, "\n");
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        return ac_error_errno("%s", path);
out:
    return status;
}

static ac_status end_epoch(trainer *t, int64_t epoch, double loss, const double values[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    ac_log(AC_LOG_INFO, "epoch %lld: train loss %.4f, val loss %.4f, bce %.4f, AP %.4f, F1 %.4f, F2 %.4f", (long long)epoch, loss, values[0], values[1],
           values[2], values[3], values[4]);
    t->info.epoch = epoch + 1;
    t->info.optimizer_step = t->optimizer->step;
    if (t->run->rank == 0) {
        AC_TRY(append_metrics(t, epoch, loss, values));
        AC_TRY(ac_checkpoint_keep(t->folder, &t->info, values, t->params, t->optimizer));
    }
out:
    return status;
}

static ac_status check_drift(trainer *t)
{
    ac_status status = AC_OK;
    ac_hash hash;
    bool same;
    AC_TRY(ac_comm_agree(t->run->comm, ac_params_hash(t->params, &hash)));
    /* running statistics are each rank's own without --sync_bn: values alone must agree, rank 0's statistics are kept */
    hash = ac_hash_bytes(t->params->value, t->params->n_values * sizeof(float));
    AC_TRY(ac_comm_same(t->run->comm, &hash, sizeof hash, &same));
    if (!same)
        return ac_error(AC_ERR_SYNC, "the ranks' parameters differ after step %lld", (long long)t->optimizer->step);
    AC_TRY(ac_comm_broadcast(t->run->comm, t->params->buffer, t->params->n_buffers * sizeof(float)));
out:
    return status;
}

static ac_status train(trainer *t)
{
    ac_status status = AC_OK;
    double loss, values[AC_N_TRACKED];
    for (int64_t epoch = t->info.epoch; epoch < t->config->max_epochs; epoch++) {
        AC_TRY(trainer_epoch(t, epoch, &loss));
        AC_TRY(check_drift(t));
        AC_TRY(trainer_validate(t, epoch, values));
        AC_TRY(ac_comm_agree(t->run->comm, end_epoch(t, epoch, loss, values)));
    }
out:
    return status;
}

int trainer_run(MPI_Comm comm, int argc, char **argv, ac_status (*body)(trainer *))
{
    ac_run run;
    train_config config;
    trainer t = {0};
    ac_status status = ac_run_begin(&run, comm, &train_program, argc, argv, &config, NULL);
    if (status != AC_OK || !run.go)
        return ac_run_end(&run, &train_program, status);
    AC_TRY(trainer_open(&t, &run, &config));
    if (config.common.dry_run)
        ac_log(AC_LOG_INFO, "everything is in place; nothing was written");
    else
        AC_TRY(body(&t));
out:
    trainer_close(&t);
    return ac_run_end(&run, &train_program, status);
}

int ac_train_run(MPI_Comm comm, int argc, char **argv)
{
    return trainer_run(comm, argc, argv, train);
}
