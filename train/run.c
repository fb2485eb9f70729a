/* anyclass-train: options, and the loop over epochs. */
#include "anyclass/log.h"
#include "anyclass/stop.h"
#include "train/sweep.h"
#include "train/train.h"
#include "train/train_internal.h"
#include <string.h>

/* " resnet18 resnet34 ..." */
#define MODEL_NAME(name) " " #name
#define O(field) .offset = offsetof(train_config, field)
static const ac_option options[] = {
    {.group = "Data", .name = "data_root", .type = AC_OPTION_STRING, O(data_root), .required = true, .unit = "FOLDER", .help = "Shards made by anyclass-preprocess, splits train and val."},
    {.name = "batch_size", .type = AC_OPTION_INT, O(batch_size), .fallback = "256", .min = 1, .max = 1e6, .help = "Images of one step over all ranks."},
    {.name = "micro_batch", .type = AC_OPTION_INT, O(micro_batch), .fallback = "0", .min = 0, .max = 1e6, .help = "Images a rank computes at a time; gradients of a larger share of the batch are accumulated; 0: its whole share."},
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
    {.group = "Model and loss", .name = "model", .type = AC_OPTION_STRING, O(model), .fallback = "resnet50", .unit = "NAME", .help = "One of" AC_MODELS(MODEL_NAME) "."},
    {.name = "dropout", .type = AC_OPTION_DOUBLE, O(dropout), .fallback = "0", .min = 0, .max = 0.99, .help = "Probability to drop an element where torchvision's model has dropout (vit, maxvit)."},
    {.name = "stochastic_depth", .type = AC_OPTION_DOUBLE, O(stochastic_depth), .fallback = "-1", .min = -1, .max = 0.99, .help = "Probability to drop the last block of an image, growing from 0 at the first (maxvit); -1: the model's own, 0.2."},
    {.name = "init", .type = AC_OPTION_STRING, O(init), .unit = "FILE", .help = "Begin with these weights: .safetensors, .pth, Lightning's .ckpt, or a checkpoint (docs/weights.md)."},
    {.name = "new_head", .type = AC_OPTION_FLAG, O(new_head), .fallback = "false", .help = "--init: but with a new last layer, as for other classes."},
    {.name = "inplace_abn", .type = AC_OPTION_CHOICE, O(inplace_abn), .fallback = "auto", .choices = AC_INPLACE_ABN_CHOICES, .help = "--init: batch norm weights w stand for |w| + 1e-5; auto: in files of a TResNet that say so."},
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
    {.name = "schedule", .type = AC_OPTION_CHOICE, O(schedule), .fallback = "auto", .choices = "auto|" AC_SCHEDULE_CHOICES, .help = "Learning rate over epochs; auto: multistep with sgd, cosine with adamW."},
    {.name = "lr_steps", .type = AC_OPTION_DOUBLES, O(lr_steps), .min = 0, .max = 1e6, .unit = "EPOCH ...", .help = "multistep: epochs at which the rate is multiplied by --lr_decay."},
    {.name = "lr_decay", .type = AC_OPTION_DOUBLE, O(lr_decay), .fallback = "0.1", .min = 0, .max = 1, .help = "multistep: factor."},
    {.name = "min_lr", .type = AC_OPTION_DOUBLE, O(min_lr), .fallback = "0", .min = 0, .max = 1e6, .help = "cosine: smallest rate."},
    {.name = "restart_period", .type = AC_OPTION_INT, O(restart_period), .fallback = "10", .min = 1, .max = 1e6, .unit = "EPOCHS", .help = "cosine: epochs to the first restart."},
    {.name = "restart_factor", .type = AC_OPTION_INT, O(restart_factor), .fallback = "2", .min = 1, .max = 1000, .help = "cosine: each period is this many times the one before."},
    {.name = "warmup_epochs", .type = AC_OPTION_INT, O(warmup_epochs), .fallback = "0", .min = 0, .max = 1e6, .help = "Epochs of linear warm-up."},
    {.name = "warmup_start_factor", .type = AC_OPTION_DOUBLE, O(warmup_start_factor), .fallback = "0.01", .min = 0, .max = 1, .help = "First factor of the warm-up."},
    {.name = "max_epochs", .type = AC_OPTION_INT, O(max_epochs), .fallback = "90", .min = 1, .max = 1e6, .help = "Epochs in all, those of a resumed training counted."},
    {.name = "max_steps", .type = AC_OPTION_INT, O(max_steps), .fallback = "0", .min = 0, .max = 1e12, .help = "Steps per epoch at most; 0: all."},
    {.name = "seed", .type = AC_OPTION_INT, O(seed), .fallback = "1", .min = 0, .max = 9e15, .help = "Of initial weights, order and augmentation."},
    {.name = "precision", .type = AC_OPTION_CHOICE, O(precision), .fallback = "32", .choices = TRAIN_PRECISION_CHOICES, .help = "Of activations; weights, statistics and loss stay float."},
    {.name = "sync_bn", .type = AC_OPTION_FLAG, O(sync_bn), .fallback = "false", .help = "Batch statistics over all ranks."},
    {.group = "Output", .name = "log_save_dir", .type = AC_OPTION_STRING, O(log_save_dir), .fallback = "logs", .unit = "FOLDER", .help = "Holds version_NAME/ with checkpoints and metrics.csv."},
    {.name = "version_name", .type = AC_OPTION_STRING, O(version_name), .fallback = "0", .unit = "NAME", .help = "Name of this run."},
    {.name = "checkpoint", .type = AC_OPTION_STRING, O(checkpoint), .unit = "FILE|auto", .help = "Continue from a checkpoint; auto: from the run's last one, if any."},
    {.name = "checkpoint_steps", .type = AC_OPTION_INT, O(checkpoint_steps), .fallback = "0", .min = 0, .max = 1e12, .unit = "N", .help = "Save every N steps beside the end of each epoch; 0: epochs only."},
    {.name = "overwrite", .type = AC_OPTION_FLAG, O(overwrite), .fallback = "false", .help = "Begin anew in a folder that holds a training."},
    {.name = "log_every", .type = AC_OPTION_INT, O(log_every), .fallback = "50", .min = 0, .max = 1e9, .unit = "N", .help = "Log every N steps; 0: progress only."},
    {.name = "check_steps", .type = AC_OPTION_INT, O(check_steps), .fallback = "100", .min = 0, .max = 1e12, .unit = "N", .help = "Compare the ranks' parameters every N steps beside the end of each epoch; 0: epochs only."},
    {.group = "Machine", .name = "device", .type = AC_OPTION_STRING, O(device), .fallback = "cpu", .unit = "NAME", .help = "cpu, cuda (in builds with CUDA), auto (cuda if there is a GPU, else cpu), or ref (plain loops, slow)."},
    {.name = "n_threads", .type = AC_OPTION_INT, O(n_threads), .fallback = "0", .min = 0, .max = 1024, .help = "Compute threads per rank; 0: OMP_NUM_THREADS, else the rank's cores."},
    {.name = "bucket_mib", .type = AC_OPTION_INT, O(bucket_mib), .fallback = "0", .min = 0, .max = 1024, .unit = "MIB", .help = "Size of a gradient bucket; 0: 1 MiB per rank, at most 25."},
    {.name = "profile", .type = AC_OPTION_FLAG, O(profile), .fallback = "false", .help = "Log the time of each operator after every epoch."},
    AC_COMMON_OPTIONS(train_config),
};
const ac_program train_program = {
    .name = "anyclass-train",
    .summary = "Train a multi-label classifier on shards, data-parallel over MPI ranks.",
    .usage = "--data_root SHARDS --model resnet50 --log_save_dir FOLDER --version_name NAME",
    .notes = "anyclass-train sweep chooses values of these options for a sweep; sweep --help says more.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(train_config),
};

static ac_status train(trainer *t)
{
    ac_status status = AC_OK;
    double values[AC_N_TRACKED];
    if (t->info.epoch >= t->config->max_epochs)
        ac_log(AC_LOG_INFO, "all %lld epochs are done already: nothing is left to do", (long long)t->config->max_epochs);
    while (t->info.epoch < t->config->max_epochs) {
        AC_TRY(trainer_check_stop(t));
        if (t->info.step < t->n_steps)
            AC_TRY(trainer_epoch(t));
        AC_TRY(trainer_check_drift(t));
        AC_TRY(trainer_validate(t, values));
        AC_TRY(trainer_end_epoch(t, values));
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
    ac_stop_catch();
    AC_TRY(trainer_check_options(&config, run.options));
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
    if (argc > 1 && strcmp(argv[1], "sweep") == 0)
        return sweep_run(comm, argc - 1, argv + 1);
    return trainer_run(comm, argc, argv, train);
}
