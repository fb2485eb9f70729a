/* Which options of anyclass-evaluate go together. */
#include "evaluate/steps.h"

ac_status evaluate_check_label_source(const evaluate_config *config)
{
    if (!config->ann_root != (config->dataset == 0))
        return ac_error(AC_ERR_USAGE, "--dataset and --ann_root go together");
    if (!!config->data_root + !!config->labels + !!config->ann_root != 1)
        return ac_error(AC_ERR_USAGE,
                        "give the labels either as --data_root DIR or as --labels FILE or as --dataset KIND "
                        "--ann_root PATH");
    return AC_OK;
}

static ac_status check_scores(const evaluate_config *config)
{
    if (!config->results_output == !config->scores.n_items)
        return ac_error(AC_ERR_USAGE, "give either --results_output DIR or --scores FILE...");
    if (config->versions.n_items > 0 && !config->results_output)
        return ac_error(AC_ERR_USAGE, "--versions goes with --results_output");
    if (config->sweep && (!config->results_output || config->versions.n_items > 0))
        return ac_error(AC_ERR_USAGE, "--sweep goes with --results_output, and names the versions itself");
    if (config->best && !config->sweep)
        return ac_error(AC_ERR_USAGE, "--best goes with --sweep");
    return AC_OK;
}

/* --max_fbeta on another split than Val needs the Val scores and labels too. */
static ac_status check_tuning(const evaluate_config *config)
{
    bool elsewhere = config->max_fbeta && config->split != AC_SPLIT_VAL;
    if (elsewhere && config->scores.n_items > 0 && config->val_scores.n_items == 0)
        return ac_error(AC_ERR_USAGE, "--max_fbeta tunes on Val: give its scores too, as --val_scores FILE...");
    if (elsewhere && config->labels && !config->val_labels)
        return ac_error(AC_ERR_USAGE, "--max_fbeta tunes on Val: give its labels too, as --val_labels FILE");
    if (config->val_scores.n_items > 0 && !(elsewhere && config->scores.n_items > 0))
        return ac_error(AC_ERR_USAGE, "--val_scores goes with --max_fbeta, --scores and a --split that is not Val");
    if (config->val_labels && !(elsewhere && config->labels))
        return ac_error(AC_ERR_USAGE, "--val_labels goes with --max_fbeta, --labels and a --split that is not Val");
    if (config->compat == EVALUATE_COMPAT_REFERENCE && config->tune_over == EVALUATE_TUNE_SCORES)
        return ac_error(AC_ERR_USAGE, "--compat reference tunes over the grid: leave --tune_over out");
    return AC_OK;
}

ac_status evaluate_check_config(const evaluate_config *config)
{
    ac_status status = AC_OK;
    AC_TRY(check_scores(config));
    AC_TRY(evaluate_check_label_source(config));
    AC_TRY(check_tuning(config));
    AC_TRY(evaluate_check_tables(config));
    AC_TRY(evaluate_check_best(config));
    if (config->log_dir && !config->report && !config->plots && !config->sweep)
        return ac_error(AC_ERR_USAGE, "--log_dir goes with --report, --plots or --sweep");
out:
    return status;
}
