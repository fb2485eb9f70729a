/* The JSON files of one score set: metrics at --threshold, and those at tuned thresholds. Leaves the members Main, Meta
 * and Class to lib/metrics. */
#include "anyclass/alloc.h"
#include "evaluate/steps.h"
#include <math.h>
#include <string.h>

enum { GRID_STEP = 5, N_GRID = EVALUATE_GRID / GRID_STEP }; /* --multi_threshold: 0.05, 0.10 .. 0.95 */

static void write_numbers(ac_json *json, const char *key, const double *values, size_t n)
{
    ac_json_begin_array(json, key);
    for (size_t i = 0; i < n; i++)
        ac_json_double(json, NULL, values[i]);
    ac_json_end_array(json);
}

/* `tuned`: thresholds [n_classes] that make these metrics those of --max_fbeta, or NULL. */
static void write_highlights(const evaluate_config *config, const set_result *result, const ac_metrics *metrics,
                             const double *tuned, ac_json *json)
{
    char key[64];
    ac_json_begin_object(json, "Highlights");
    ac_json_double(json, "MACRO_F1", metrics->macro_f1);
    ac_json_double(json, "MACRO_F2", metrics->macro_f2);
    ac_json_double(json, "MAP", metrics->mean_average_precision);
    ac_json_double(json, "NEGATIVE_F1", metrics->f1_negative);
    ac_json_double(json, "POSITIVE_F1", metrics->f1_positive);
    ac_json_double(json, "MACRO_R", metrics->macro_recall);
    ac_json_double(json, "MICRO_F1", metrics->micro_f1);
    if (metrics->has_label_weight)
        ac_json_double(json, "CIW_F2", metrics->ciw_f2);
    if (tuned) { /* beta as Python writes it: "1.0" */
        const char *fraction = config->f_beta == floor(config->f_beta) ? ".0" : "";
        snprintf(key, sizeof key, "VAL_MAX_F%g%s", config->f_beta, fraction);
        ac_json_double(json, key, result->val_max_f);
        snprintf(key, sizeof key, "VAL_MAX_F%g%s_THRESHOLDS", config->f_beta, fraction);
        write_numbers(json, key, tuned, metrics->n_classes);
    }
    ac_json_end_object(json);
}

typedef struct grid {                /* metrics at each threshold, from counts that are there already */
    ac_split_count *total, *reached; /* [n_classes] at one threshold */
    double *threshold;               /* [n_classes] */
    ac_metrics at[N_GRID];
} grid;

static void release_grid(grid *of)
{
    ac_free(of->total);
    ac_free(of->reached);
    ac_free(of->threshold);
    for (size_t t = 0; t < N_GRID; t++)
        ac_metrics_release(&of->at[t]);
}

/* The column behind the classes' tells how many images show something, and how many of them some class reaches the
 * threshold in. */
static ac_image_count count_images(const set_result *result, size_t n_classes, size_t threshold)
{
    const ac_split_count *total = &result->profile[n_classes].total;
    const ac_split_count *reached = &result->reached[n_classes * EVALUATE_N_THRESHOLDS + threshold];
    return (ac_image_count){.true_positive = reached->positive,
                            .false_negative = total->positive - reached->positive,
                            .false_positive = reached->negative_in_negative,
                            .true_negative = total->negative_in_negative - reached->negative_in_negative};
}

static ac_status fill_grid(const evaluate_config *config, const label_table *labels, const set_result *result,
                           grid *out)
{
    ac_status status = AC_OK;
    size_t n = labels->n_classes;
    AC_TRY(ac_calloc(n, sizeof *out->total, &out->total));
    AC_TRY(ac_calloc(n, sizeof *out->reached, &out->reached));
    AC_TRY(ac_calloc(n, sizeof *out->threshold, &out->threshold));
    for (size_t t = 0; t < N_GRID; t++) {
        size_t at = GRID_STEP * (t + 1) - 1;
        for (size_t c = 0; c < n; c++) {
            out->total[c] = result->profile[c].total;
            out->reached[c] = result->reached[c * EVALUATE_N_THRESHOLDS + at];
            out->threshold[c] = result->threshold[at];
        }
        ac_metrics_input input = {.n_classes = n,
                                  .total = out->total,
                                  .reached = out->reached,
                                  .image = count_images(result, n, at),
                                  .threshold = out->threshold,
                                  .label_weight = labels->label_weight,
                                  .reference = config->compat == EVALUATE_COMPAT_REFERENCE};
        AC_TRY(ac_metrics_compute(&input, &out->at[t]));
    }
out:
    return status;
}

static void write_grid_numbers(const grid *of, const char *key, size_t offset, ac_json *json)
{
    double value[N_GRID];
    for (size_t t = 0; t < N_GRID; t++)
        memcpy(&value[t], (const char *)&of->at[t] + offset, sizeof value[t]);
    write_numbers(json, key, value, N_GRID);
}

/* One array for each class. */
static void write_grid_classes(const grid *of, const char *key, size_t offset, ac_json *json)
{
    double value[N_GRID];
    ac_json_begin_array(json, key);
    for (size_t c = 0; c < of->at[0].n_classes; c++) {
        for (size_t t = 0; t < N_GRID; t++)
            memcpy(&value[t], (const char *)&of->at[t].class_metrics[c] + offset, sizeof value[t]);
        write_numbers(json, NULL, value, N_GRID);
    }
    ac_json_end_array(json);
}

static ac_status write_thresholds(const evaluate_config *config, const label_table *labels, const set_result *result,
                                  ac_json *json)
{
    ac_status status = AC_OK;
    grid of = {0};
    AC_TRY(fill_grid(config, labels, result, &of));
    ac_json_begin_object(json, "Thresholds");
    write_grid_numbers(&of, "THRESHOLD", offsetof(ac_metrics, threshold), json);
    write_grid_numbers(&of, "MACRO_F1", offsetof(ac_metrics, macro_f1), json);
    write_grid_numbers(&of, "MACRO_F2", offsetof(ac_metrics, macro_f2), json);
    write_grid_numbers(&of, "NEGATIVE_F1", offsetof(ac_metrics, f1_negative), json);
    write_grid_numbers(&of, "POSITIVE_F1", offsetof(ac_metrics, f1_positive), json);
    write_grid_numbers(&of, "CIW_F2", offsetof(ac_metrics, ciw_f2), json);
    write_grid_classes(&of, "F1_CLS", offsetof(ac_class_metrics, f1), json);
    write_grid_classes(&of, "F2_CLS", offsetof(ac_class_metrics, f2), json);
    ac_json_end_object(json);
out:
    release_grid(&of);
    return status;
}

static void write_labels(const label_table *labels, ac_json *json)
{
    ac_json_begin_array(json, "Labels");
    for (size_t c = 0; c < labels->n_classes; c++)
        ac_json_string(json, NULL, labels->class_name[c]);
    ac_json_end_array(json);
    if (labels->label_weight)
        write_numbers(json, "LabelWeights", labels->label_weight, labels->n_classes);
    else
        ac_json_string(json, "LabelWeights", NULL);
}

static ac_status write_file(const evaluate_config *config, const char *path, const label_table *labels,
                            const set_result *result, bool tuned)
{
    ac_status status = AC_OK;
    const ac_metrics *metrics = tuned ? &result->tuned_metrics : &result->metrics;
    ac_json *json = NULL;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    write_highlights(config, result, metrics, tuned ? result->tuned_threshold : NULL, json);
    ac_metrics_write_json(metrics, labels->class_name, json);
    if (config->multi_threshold && !tuned)
        AC_TRY(write_thresholds(config, labels, result, json));
    write_labels(labels, json);
    ac_json_end_object(json);
    AC_TRY(ac_json_save(json, path));
out:
    ac_json_destroy(json);
    return status;
}

ac_status evaluate_tuned_output(const score_set *set, double f_beta, char *out)
{
    static const char ending[] = "_metrics.json";
    size_t n = strlen(set->output);
    int n_kept = (int)(n > sizeof ending - 1 ? n - (sizeof ending - 1) : n);
    if (snprintf(out, AC_PATH_BYTES, "%.*s_max_f%g%s", n_kept, set->output, f_beta, ending) >= AC_PATH_BYTES)
        return ac_error(AC_ERR_IO, "the path of the tuned metrics beside %s is too long", set->output);
    return AC_OK;
}

ac_status evaluate_write_json(const evaluate_config *config, const score_set *set, const label_table *labels,
                              const set_result *result)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    snprintf(path, sizeof path, "%s", set->output);
    char *slash = strrchr(path, '/');
    if (slash && slash != path) {
        *slash = '\0';
        AC_TRY(ac_path_make_folders(path));
    }
    AC_TRY(write_file(config, set->output, labels, result, false));
    if (!result->tuned)
        goto out;
    AC_TRY(evaluate_tuned_output(set, config->f_beta, path));
    AC_TRY(write_file(config, path, labels, result, true));
out:
    return status;
}
