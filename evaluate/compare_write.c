/* What `compare A B` says: tables in four formats and JSON. Leaves layout to grid.c. */
#include "anyclass/file.h"
#include "anyclass/json.h"
#include "evaluate/compare.h"
#include "evaluate/grid.h"
#include <math.h>
#include <string.h>

typedef struct metric_name {
    const char *title, *key; /* as in the results table and in its JSON */
} metric_name;

static const metric_name metric_names[COMPARE_N_METRICS] = {
    [COMPARE_MACRO_F1] = {"macro F1", "MACRO_F1"},     [COMPARE_MACRO_F2] = {"macro F2", "MACRO_F2"},
    [COMPARE_MACRO_P] = {"macro P", "MACRO_P"},        [COMPARE_MACRO_R] = {"macro R", "MACRO_R"},
    [COMPARE_MICRO_F1] = {"micro F1", "MICRO_F1"},     [COMPARE_MAP] = {"mAP", "mAP"},
    [COMPARE_ROC_AUC] = {"ROC-AUC", "ROC_AUC"},        [COMPARE_F1_NEGATIVE] = {"F1-Neg", "NEGATIVE_F1"},
    [COMPARE_F1_POSITIVE] = {"F1-Pos", "POSITIVE_F1"}, [COMPARE_CIW_F2] = {"CIW-F2", "CIW_F2"},
    [COMPARE_LOG_LOSS] = {"log loss", "LOG_LOSS"},
};
static const metric_name class_names[COMPARE_N_CLASS_METRICS] = {[COMPARE_CLASS_F1] = {"F1", "F1_CLS"},
                                                                 [COMPARE_CLASS_F2] = {"F2", "F2_CLS"},
                                                                 [COMPARE_CLASS_AP] = {"AP", "AP_CLS"}};

static const char *const set_name[COMPARE_N_SETS] = {"A", "B"};

static bool is_shown(const compare_result *result, int metric)
{
    return metric != COMPARE_CIW_F2 || result->has_label_weight;
}

/* A difference is bold when its interval leaves 0 out. */
static void add_line(const compare_line *line, grid *out)
{
    const ac_bootstrap_interval *difference = &line->difference_interval;
    grid_add_number(out, line->value[COMPARE_A], false);
    grid_add_number(out, line->value[COMPARE_B], false);
    grid_add_number(out, line->difference, difference->low > 0 || difference->high < 0);
    grid_add_number(out, difference->low, false);
    grid_add_number(out, difference->high, false);
    grid_add_number(out, line->share, false);
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        grid_add_number(out, line->interval[s].low, false);
        grid_add_number(out, line->interval[s].high, false);
    }
}

static void add_heading(grid *out)
{
    static const char *const csv[] = {
        "metric",          "class",           "n_positive", "A",      "B",     "difference", "difference_low",
        "difference_high", "share_B_above_A", "A_low",      "A_high", "B_low", "B_high"};
    static const char *const other[] = {"metric", "class", "positives", "A",      "B",     "B - A", "low",
                                        "high",   "B > A", "A low",     "A high", "B low", "B high"};
    for (size_t i = 0; i < sizeof csv / sizeof *csv; i++)
        grid_add(out, out->format == GRID_CSV ? csv[i] : other[i]);
}

static ac_status put_metrics(const compare_report *report, grid_format format, grid_text *out)
{
    const compare_result *result = report->result;
    const label_table *labels = report->labels;
    grid cells;
    grid_begin(&cells, format, "llrrrrrrrrrrr");
    add_heading(&cells);
    for (int m = 0; m < COMPARE_N_METRICS; m++) {
        if (!is_shown(result, m))
            continue;
        grid_add(&cells, format == GRID_CSV ? metric_names[m].key : metric_names[m].title);
        grid_add(&cells, "");
        grid_add(&cells, "");
        add_line(&result->metric[m], &cells);
    }
    for (size_t m = 0; m < COMPARE_N_CLASS_METRICS; m++) {
        grid_add_space(&cells);
        for (size_t c = 0; c < labels->n_classes; c++) {
            grid_add(&cells, format == GRID_CSV ? class_names[m].key : class_names[m].title);
            grid_add(&cells, labels->class_name[c]);
            grid_add_count(&cells, result->n_positive[c]);
            add_line(&result->class_metric[m * labels->n_classes + c], &cells);
        }
    }
    ac_status status = grid_render(&cells, out);
    grid_release(&cells);
    return status;
}

/* What is compared, above the table. */
static ac_status put_sets(const compare_report *report, grid_format format, grid_text *out)
{
    char text[256];
    const compare_config *config = report->config;
    grid cells;
    grid_begin(&cells, format, "lll");
    grid_add(&cells, "set");
    grid_add(&cells, "version");
    grid_add(&cells, "scores");
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        grid_add(&cells, set_name[s]);
        grid_add(&cells, report->sets->set[s]->version);
        grid_add(&cells, report->sets->set[s]->stem);
    }
    ac_status status = grid_render(&cells, out);
    grid_release(&cells);
    snprintf(text, sizeof text,
             "\n%zu images (%s), threshold %g; %g %% intervals from %lld bootstrap replicates, seed %lld\n\n",
             report->labels->n_images, ac_split_name((ac_split)config->evaluate.split), config->evaluate.threshold,
             100 * config->confidence, (long long)config->n_bootstrap, (long long)config->seed);
    grid_put(out, text);
    return status;
}

static ac_status fill_table(const void *context, grid_format format, grid_text *out)
{
    ac_status status = AC_OK;
    if (format == GRID_TEXT || format == GRID_MARKDOWN)
        AC_TRY(put_sets(context, format, out));
    AC_TRY(put_metrics(context, format, out));
out:
    return status;
}

static void write_interval(ac_json *json, const char *key, const ac_bootstrap_interval *interval)
{
    ac_json_begin_array(json, key);
    ac_json_double(json, NULL, interval->low);
    ac_json_double(json, NULL, interval->high);
    ac_json_end_array(json);
}

static void write_line(ac_json *json, const char *key, const compare_line *line)
{
    ac_json_begin_object(json, key);
    ac_json_double(json, "A", line->value[COMPARE_A]);
    ac_json_double(json, "B", line->value[COMPARE_B]);
    ac_json_double(json, "DIFFERENCE", line->difference);
    write_interval(json, "DIFFERENCE_INTERVAL", &line->difference_interval);
    ac_json_double(json, "SHARE_B_ABOVE_A", line->share);
    write_interval(json, "A_INTERVAL", &line->interval[COMPARE_A]);
    write_interval(json, "B_INTERVAL", &line->interval[COMPARE_B]);
    ac_json_int(json, "N_REPLICATES", (int64_t)line->difference_interval.n_defined);
    ac_json_end_object(json);
}

static void write_meta(ac_json *json, const compare_report *report)
{
    const compare_config *config = report->config;
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        const score_set *set = report->sets->set[s];
        ac_json_begin_object(json, set_name[s]);
        ac_json_string(json, "VERSION", set->version);
        ac_json_string(json, "MODEL", set->model);
        ac_json_string(json, "CHECKPOINT", set->checkpoint[0] ? set->checkpoint : NULL);
        ac_json_string(json, "SCORES", set->stem);
        ac_json_end_object(json);
    }
    ac_json_begin_object(json, "Meta");
    ac_json_string(json, "SPLIT", ac_split_name((ac_split)config->evaluate.split));
    ac_json_int(json, "N_IMAGES", (int64_t)report->labels->n_images);
    ac_json_int(json, "N_CLASSES", (int64_t)report->labels->n_classes);
    ac_json_double(json, "THRESHOLD", config->evaluate.threshold);
    ac_json_int(json, "N_BOOTSTRAP", config->n_bootstrap);
    ac_json_double(json, "CONFIDENCE", config->confidence);
    ac_json_int(json, "SEED", config->seed);
    ac_json_end_object(json);
}

static void write_classes(ac_json *json, const compare_report *report)
{
    size_t n_classes = report->labels->n_classes;
    ac_json_begin_object(json, "Class");
    for (size_t m = 0; m < COMPARE_N_CLASS_METRICS; m++) {
        ac_json_begin_array(json, class_names[m].key);
        for (size_t c = 0; c < n_classes; c++)
            write_line(json, NULL, &report->result->class_metric[m * n_classes + c]);
        ac_json_end_array(json);
    }
    ac_json_begin_array(json, "NG");
    for (size_t c = 0; c < n_classes; c++)
        ac_json_int(json, NULL, report->result->n_positive[c]);
    ac_json_end_array(json);
    ac_json_end_object(json);
    ac_json_begin_array(json, "Labels");
    for (size_t c = 0; c < n_classes; c++)
        ac_json_string(json, NULL, report->labels->class_name[c]);
    ac_json_end_array(json);
}

static ac_status write_json(const compare_report *report)
{
    ac_status status = AC_OK;
    ac_json *json = NULL;
    const char *path = report->config->evaluate.output;
    AC_TRY(grid_make_folder(path));
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    write_meta(json, report);
    ac_json_begin_object(json, "Main");
    for (int m = 0; m < COMPARE_N_METRICS; m++)
        if (is_shown(report->result, m))
            write_line(json, metric_names[m].key, &report->result->metric[m]);
    ac_json_end_object(json);
    write_classes(json, report);
    ac_json_end_object(json);
    AC_TRY(ac_json_save(json, path));
out:
    ac_json_destroy(json);
    return status;
}

ac_status compare_write(const compare_report *report)
{
    ac_status status = AC_OK;
    grid_text text = {0};
    AC_TRY(fill_table(report, GRID_TEXT, &text));
    AC_TRY(grid_print(&text, stdout));
    AC_TRY(grid_write_files(&report->config->evaluate.table, fill_table, report));
    if (report->config->evaluate.output)
        AC_TRY(write_json(report));
out:
    grid_release_text(&text);
    return status;
}
