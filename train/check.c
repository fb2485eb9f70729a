/* Options against each other, before any work. What one option alone allows is in the table of run.c. */
#include "anyclass/log.h"
#include "train/train_internal.h"
#include <string.h>

/* An option that was given although nothing will read it: the user expects an effect that will not come. */
static void warn_unused(const ac_options *given, bool unused, const char *name, const char *why)
{
    if (unused && ac_options_given(given, name))
        ac_log(AC_LOG_WARN, "--%s has no effect with %s", name, why);
}

static void warn_all_unused(const train_config *c, const ac_options *given)
{
    bool cosine = c->schedule == 1 + AC_SCHEDULE_COSINE || (c->schedule == 0 && c->optimizer == AC_OPTIMIZER_ADAMW);
    bool multistep = c->schedule == 1 + AC_SCHEDULE_MULTISTEP || (c->schedule == 0 && c->optimizer == AC_OPTIMIZER_SGD);
    warn_unused(given, c->base_loss != AC_LOSS_FOCAL, "focal_gamma", "--base_loss bce");
    warn_unused(given, c->meta_loss_weight <= 0, "meta_loss_beta", "--meta_loss_weight 0");
    warn_unused(given, c->optimizer != AC_OPTIMIZER_SGD, "momentum", "--optimizer adamW");
    warn_unused(given, !multistep, "lr_steps", "this --schedule");
    warn_unused(given, !multistep, "lr_decay", "this --schedule");
    warn_unused(given, !cosine, "min_lr", "this --schedule");
    warn_unused(given, !cosine, "restart_period", "this --schedule");
    warn_unused(given, !cosine, "restart_factor", "this --schedule");
    warn_unused(given, !c->init, "new_head", "no --init");
    warn_unused(given, !c->init, "inplace_abn", "no --init");
    warn_unused(given, c->warmup_epochs == 0, "warmup_start_factor", "--warmup_epochs 0");
}

static ac_status check_drops(const train_config *c, const ac_options *given)
{
    const ac_model *model = ac_model_find(c->model);
    if (c->stochastic_depth < 0 && c->stochastic_depth != -1)
        return ac_error(AC_ERR_USAGE, "--stochastic_depth is a probability, or -1 for the model's own, not %g", c->stochastic_depth);
    if (model) {
        warn_unused(given, !(model->drops & AC_DROPS_ELEMENTS), "dropout", model->name);
        warn_unused(given, !(model->drops & AC_DROPS_BRANCHES), "stochastic_depth", model->name);
    }
    return AC_OK;
}

/* A version's folder is LOG_SAVE_DIR/version_NAME and nothing else. */
static ac_status check_name(const char *name)
{
    enum { MOST = 255 - (int)sizeof "version_" + 1 }; /* of a file name */
    if (!name[0] || strlen(name) > MOST || strpbrk(name, "/\n"))
        return ac_error(AC_ERR_USAGE, "--version_name: '%s' is no name of a folder", name);
    return AC_OK;
}

ac_status trainer_check_options(const train_config *c, const ac_options *given)
{
    ac_status status = AC_OK;
    AC_TRY(check_name(c->version_name));
    if (c->checkpoint && !c->checkpoint[0])
        return ac_error(AC_ERR_USAGE, "--checkpoint needs a file, or auto");
    if (c->init && !c->init[0])
        return ac_error(AC_ERR_USAGE, "--init needs a file");
    if (c->init && c->checkpoint && strcmp(c->checkpoint, "auto") != 0)
        return ac_error(AC_ERR_USAGE, "--init begins a training, --checkpoint goes on with one: give one of them, or --checkpoint auto");
    if (c->min_lr > c->learning_rate)
        return ac_error(AC_ERR_USAGE, "--min_lr %g is larger than --learning_rate %g", c->min_lr, c->learning_rate);
    if (c->overwrite && c->checkpoint)
        return ac_error(AC_ERR_USAGE, "--overwrite begins anew, --checkpoint goes on: give one of them");
    for (size_t i = 1; i < c->lr_steps.n_items; i++)
        if (c->lr_steps.item[i] <= c->lr_steps.item[i - 1])
            return ac_error(AC_ERR_USAGE, "--lr_steps: %g does not come after %g", c->lr_steps.item[i], c->lr_steps.item[i - 1]);
    if (c->warmup_epochs >= c->max_epochs)
        ac_log(AC_LOG_WARN, "--warmup_epochs %lld: all %lld epochs are warm-up", (long long)c->warmup_epochs, (long long)c->max_epochs);
    warn_all_unused(c, given);
    AC_TRY(check_drops(c, given));
out:
    return status;
}
