/* What a run is going to write, looked at before any work: can it be written, would one file replace another or one
 * that is read. */
#include "anyclass/alloc.h"
#include "evaluate/grid.h"
#include "evaluate/steps.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct path_list { /* resolved, so that one file has one path */
    char **path;
    size_t n, capacity;
} path_list;

typedef struct plan {
    path_list inputs, outputs;
} plan;

static void release_list(path_list *of)
{
    for (size_t i = 0; i < of->n; i++)
        ac_free(of->path[i]);
    ac_free(of->path);
}

static ac_status add_path(path_list *to, const char *path)
{
    ac_status status = AC_OK;
    AC_TRY(ac_reserve(&to->path, &to->capacity, to->n + 1, sizeof *to->path));
    AC_TRY(ac_strdup(path, &to->path[to->n]));
    to->n++;
out:
    return status;
}

static bool holds(const path_list *of, const char *path)
{
    for (size_t i = 0; i < of->n; i++)
        if (strcmp(of->path[i], path) == 0)
            return true;
    return false;
}

/* The place of a file that is perhaps not there yet: its folder without links and dots, as far as that is there. The
 * name itself may be a link: writing replaces the link. */
static ac_status resolve(const char *path, char out[AC_PATH_BYTES])
{
    ac_status status = AC_OK;
    char folder[AC_PATH_BYTES], *real, *slash;
    const char *rest;
    AC_TRY(ac_path_join(folder, "", path));
    do {
        slash = strrchr(folder, '/');
        rest = path + (slash ? slash - folder + 1 : 0);
        snprintf(slash ? slash + (slash == folder) : folder, 2, "%s", slash ? "" : ".");
        real = realpath(folder, NULL);
    } while (!real && errno == ENOENT && slash && slash != folder);
    int n = real ? snprintf(out, AC_PATH_BYTES, "%s/%s", real, rest) : snprintf(out, AC_PATH_BYTES, "%s", path);
    free(real);
    if (n >= AC_PATH_BYTES)
        status = ac_error(AC_ERR_USAGE, "path of more than %d bytes: %.60s...", AC_PATH_BYTES - 1, path);
out:
    return status;
}

/* A link and the file behind it both. */
static ac_status add_input(path_list *to, const char *path)
{
    ac_status status = AC_OK;
    char place[AC_PATH_BYTES];
    if (!path || !*path)
        return AC_OK;
    AC_TRY(resolve(path, place));
    AC_TRY(add_path(to, place));
    char *real = realpath(path, NULL);
    if (real && strcmp(real, place) != 0)
        status = add_path(to, real);
    free(real);
out:
    return status;
}

static ac_status add_inputs(plan *of, const evaluate_config *config, const score_sets *sets)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    const char *const others[] = {config->labels, config->val_labels, config->ann_root, config->label_weights, config->sweep};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        AC_TRY(add_input(&of->inputs, others[i]));
    for (size_t i = 0; i < config->val_scores.n_items; i++)
        AC_TRY(add_input(&of->inputs, config->val_scores.item[i]));
    for (size_t s = 0; s < sets->n_sets; s++)
        for (size_t i = 0; i < sets->set[s].n_files; i++) {
            AC_TRY(evaluate_file_path(sets, &sets->set[s], i, path));
            AC_TRY(add_input(&of->inputs, path));
        }
out:
    return status;
}

/* `what`: the option, for messages. */
static ac_status plan_output(plan *of, const char *what, const char *path, bool is_folder)
{
    ac_status status = AC_OK;
    char place[AC_PATH_BYTES];
    struct stat info;
    size_t n = strlen(path);
    if (n == 0 || (!is_folder && path[n - 1] == '/'))
        return ac_error(AC_ERR_USAGE, "%s '%s': a name is wanted", what, path);
    AC_TRY(resolve(path, place));
    if (holds(&of->inputs, place))
        return ac_error(AC_ERR_USAGE, "%s %s: this run reads that file: give another name", what, path);
    if (holds(&of->outputs, place))
        return ac_error(AC_ERR_USAGE, "%s %s: this run writes another file of that name: give another one", what, path);
    if (!is_folder && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return ac_error(AC_ERR_IO, "%s %s: is a folder", what, path);
    AC_TRY(is_folder ? ac_path_check_writable(path) : grid_check_folder(path));
    AC_TRY(add_path(&of->outputs, place));
out:
    return status;
}

/* What is written beside the scores or below --output. */
static ac_status plan_set(plan *of, const evaluate_config *config, const score_set *set)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    AC_TRY(plan_output(of, "metrics", set->output, false));
    if (config->max_fbeta) {
        AC_TRY(evaluate_tuned_output(set, config->f_beta, path));
        AC_TRY(plan_output(of, "metrics at tuned thresholds", path, false));
    }
    if (config->multi_threshold) {
        AC_TRY(evaluate_threshold_plot_output(set, path));
        AC_TRY(plan_output(of, "plot", path, false));
    }
out:
    return status;
}

static ac_status plan_outputs(plan *of, const evaluate_config *config, const score_sets *const *sets, size_t n_sets)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < n_sets; i++)
        AC_TRY(add_inputs(of, config, sets[i]));
    for (size_t i = 0; i < n_sets && !config->only_read; i++)
        for (size_t s = 0; s < sets[i]->n_sets; s++)
            AC_TRY(plan_set(of, config, &sets[i]->set[s]));
    if (config->only_read && config->output)
        AC_TRY(plan_output(of, "--output", config->output, false));
    for (size_t i = 0; i < config->table.n_items; i++)
        AC_TRY(plan_output(of, "--table", config->table.item[i], false));
    if (config->report)
        AC_TRY(plan_output(of, "--report", config->report, false));
    if (config->plots)
        AC_TRY(plan_output(of, "--plots", config->plots, true));
    if (config->log_dir && !ac_path_exists(config->log_dir))
        return ac_error(AC_ERR_IO, "--log_dir %s is not there", config->log_dir);
out:
    return status;
}

ac_status evaluate_check_outputs(const evaluate_config *config, const score_sets *const *sets, size_t n_sets)
{
    plan of = {0};
    ac_status status = plan_outputs(&of, config, sets, n_sets);
    release_list(&of.inputs);
    release_list(&of.outputs);
    return status;
}
