/* --max_fbeta: a threshold for each class, the one with the highest F-beta on the validation split. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/log.h"
#include "evaluate/steps.h"
#include <math.h>
#include <string.h>

enum { GRID_STEP = 5, N_TUNED = EVALUATE_GRID / GRID_STEP }; /* 0.05, 0.10 .. 0.95 */

void evaluate_release_tuning(tuning *of)
{
    ac_free(of->threshold);
    memset(of, 0, sizeof *of);
}

typedef struct grid {                /* counts of all classes at the thresholds that are tried */
    ac_split_count *total, *reached; /* [n_classes], [n_classes, N_TUNED] */
    double threshold[N_TUNED];
    size_t *best; /* [n_classes] */
} grid;

static ac_status allocate_grid(size_t n_classes, grid *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_malloc(n_classes, sizeof *out->total, &out->total));
    AC_TRY(ac_malloc(n_classes * N_TUNED, sizeof *out->reached, &out->reached));
    AC_TRY(ac_malloc(n_classes, sizeof *out->best, &out->best));
out:
    return status;
}

static ac_status tune_over_grid(const evaluate_config *config, size_t n_classes, const set_result *result, tuning *out)
{
    ac_status status = AC_OK;
    grid of = {0};
    AC_TRY(allocate_grid(n_classes, &of));
    for (size_t t = 0; t < N_TUNED; t++)
        of.threshold[t] = result->threshold[GRID_STEP * (t + 1) - 1];
    for (size_t c = 0; c < n_classes; c++) {
        of.total[c] = result->profile[c].total;
        for (size_t t = 0; t < N_TUNED; t++)
            of.reached[c * N_TUNED + t] = result->reached[c * EVALUATE_N_THRESHOLDS + GRID_STEP * (t + 1) - 1];
    }
    ac_metrics_tune(of.total, of.reached, n_classes, of.threshold, N_TUNED, config->f_beta,
                    config->compat == EVALUATE_COMPAT_REFERENCE, of.best, &out->mean_f);
    for (size_t c = 0; c < n_classes; c++)
        out->threshold[c] = of.threshold[of.best[c]];
out:
    ac_free(of.total);
    ac_free(of.reached);
    ac_free(of.best);
    return status;
}

static void tune_over_scores(size_t n_classes, const set_result *result, tuning *out)
{
    double sum = 0;
    size_t n = 0;
    for (size_t c = 0; c < n_classes; c++) {
        const ac_profile *profile = &result->profile[c];
        out->threshold[c] = profile->best_threshold;
        if (!isnan(profile->best_f)) {
            sum += profile->best_f;
            n++;
        }
    }
    out->mean_f = n > 0 ? sum / (double)n : NAN;
}

ac_status evaluate_tune(const evaluate_config *config, const label_table *labels, const set_result *result, tuning *out)
{
    ac_status status = AC_OK;
    bool reference = config->compat == EVALUATE_COMPAT_REFERENCE;
    AC_TRY(ac_malloc(labels->n_classes, sizeof *out->threshold, &out->threshold));
    if (config->tune_over == EVALUATE_TUNE_SCORES && !reference)
        tune_over_scores(labels->n_classes, result, out);
    else
        AC_TRY(tune_over_grid(config, labels->n_classes, result, out));
    for (size_t c = 0; c < labels->n_classes && !reference; c++) {
        if (result->profile[c].total.positive == 0)
            out->threshold[c] = config->threshold;
    }
out:
    return status;
}

/* The Val set of the same version, model and checkpoint. */
static const score_set *find_namesake(const score_sets *val, const score_set *set)
{
    for (size_t i = 0; i < val->n_sets; i++) {
        const score_set *one = &val->set[i];
        if (strcmp(one->version, set->version) == 0 && strcmp(one->model, set->model) == 0 &&
            strcmp(one->checkpoint, set->checkpoint) == 0)
            return one;
    }
    return NULL;
}

static bool all_have_namesakes(const score_sets *val, const score_sets *sets)
{
    for (size_t i = 0; i < sets->n_sets; i++)
        if (!find_namesake(val, &sets->set[i]))
            return false;
    return true;
}

/* How many sets were given before one of them. */
static size_t place_in_order(const score_sets *sets, const score_set *set)
{
    size_t place = 0;
    for (size_t i = 0; i < sets->n_sets; i++)
        place += sets->set[i].given < set->given;
    return place;
}

/* Files that are given need not have names that agree: then their order tells. */
static const score_set *find_val_set(const evaluate_config *config, const score_sets *val, const score_sets *sets,
                                     const score_set *set)
{
    bool by_order = config->scores.n_items > 0 && val->n_sets == sets->n_sets && !all_have_namesakes(val, sets);
    for (size_t i = 0; by_order && i < val->n_sets; i++)
        if (place_in_order(val, &val->set[i]) == place_in_order(sets, set))
            return &val->set[i];
    return find_namesake(val, set);
}

static ac_status check_classes(const label_table *val, const label_table *labels)
{
    bool same = val->n_classes == labels->n_classes;
    for (size_t c = 0; same && c < val->n_classes; c++)
        same = strcmp(val->class_name[c], labels->class_name[c]) == 0;
    return same ? AC_OK
                : ac_error(AC_ERR_DATA, "--max_fbeta: the classes of %s are not those of %s in the same order",
                           val->source, labels->source);
}

static ac_status tune_set(MPI_Comm comm, const evaluate_config *config, const score_sets *sets, const score_set *set,
                          const label_table *labels, tuning *out)
{
    ac_status status = AC_OK;
    score_table scores = {0};
    set_result result = {0};
    AC_TRY(evaluate_read_scores(comm, sets, set, labels, &scores));
    if (config->common.dry_run)
        goto out;
    AC_TRY(evaluate_measure(comm, config, labels, &scores, &result));
    AC_TRY(ac_comm_agree(comm, evaluate_tune(config, labels, &result, out)));
out:
    evaluate_release_scores(&scores);
    evaluate_release_result(&result);
    return status;
}

ac_status evaluate_tune_on_val(MPI_Comm comm, const evaluate_config *config, const score_sets *sets,
                               const label_table *labels, tuning *tuned)
{
    ac_status status = AC_OK;
    evaluate_config val = *config;
    score_sets val_sets = {0};
    label_table val_labels = {0};
    val.split = AC_SPLIT_VAL;
    val.only_read = true;
    val.scores = config->val_scores;
    if (config->labels)
        val.labels = config->val_labels;
    AC_TRY(evaluate_find_sets(comm, &val, &val_sets));
    AC_TRY(evaluate_read_labels(comm, &val, AC_SPLIT_VAL, &val_labels));
    AC_TRY(check_classes(&val_labels, labels));
    for (size_t c = 0; c < val_labels.n_classes; c++) {
        size_t n = 0;
        for (size_t i = 0; i < val_labels.n_images && n == 0; i++)
            n += val_labels.label[i * val_labels.n_classes + c];
        if (n == 0)
            ac_log(AC_LOG_WARN, "--max_fbeta: no image of %s shows %s: nothing to tune its threshold by",
                   val_labels.source, val_labels.class_name[c]);
    }
    for (size_t i = 0; i < sets->n_sets; i++) {
        const score_set *set = &sets->set[i], *from = find_val_set(config, &val_sets, sets, set);
        if (!from) {
            status = ac_error(AC_ERR_DATA,
                              "--max_fbeta: there are no Val scores of version %s, %s %s: run anyclass-infer for Val",
                              set->version, set->model, set->checkpoint);
            goto out;
        }
        AC_TRY(ac_comm_check_stop(comm, EVALUATE_STOPPED));
        AC_TRY(tune_set(comm, &val, &val_sets, from, &val_labels, &tuned[i]));
    }
out:
    evaluate_release_labels(&val_labels);
    evaluate_release_sets(&val_sets);
    return status;
}
