/* One JSON per score set. Leaves the members Main, Meta and Class to lib/metrics. */
#include "anyclass/alloc.h"
#include "evaluate/steps.h"
#include <math.h>
#include <string.h>

static void write_highlights(const ac_metrics *metrics, ac_json *json)
{
    ac_json_begin_object(json, "Highlights");
    ac_json_double(json, "MACRO_F1", metrics->macro_f1);
    ac_json_double(json, "MACRO_F2", metrics->macro_f2);
    ac_json_double(json, "MAP", metrics->mean_average_precision);
    ac_json_double(json, "NEGATIVE_F1", metrics->f1_negative);
    ac_json_double(json, "POSITIVE_F1", metrics->f1_positive);
    ac_json_double(json, "MACRO_R", metrics->macro_recall);
    ac_json_double(json, "MICRO_F1", metrics->micro_f1);
    ac_json_end_object(json);
}

ac_status evaluate_write_json(const evaluate_config *config, const score_set *set, const label_table *labels,
                              const set_result *result)
{
    ac_status status = AC_OK;
    const ac_metrics *metrics = &result->metrics;
    ac_json *json = NULL;
    char folder[AC_PATH_BYTES];
    (void)config;
    snprintf(folder, sizeof folder, "%s", set->output);
    char *slash = strrchr(folder, '/');
    if (slash && slash != folder) {
        *slash = '\0';
        AC_TRY(ac_path_make_folders(folder));
    }
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    write_highlights(metrics, json);
    ac_metrics_write_json(metrics, labels->class_name, json);
    ac_json_begin_array(json, "Labels");
    for (size_t c = 0; c < labels->n_classes; c++)
        ac_json_string(json, NULL, labels->class_name[c]);
    ac_json_end_array(json);
    ac_json_string(json, "LabelWeights", NULL);
    ac_json_end_object(json);
    AC_TRY(ac_json_save(json, set->output));
out:
    ac_json_destroy(json);
    return status;
}
