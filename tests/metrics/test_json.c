/* The JSON files of anyclass-evaluate: which members stand where in both arithmetics, with and without weights and
 * tuned thresholds, and the metrics at 0.05 .. 0.95 against those measured at each of these thresholds alone. */
#include "evaluate/steps.h"
#include "tests/metrics/cases.h"

typedef struct files { /* what evaluate_write_json takes */
    evaluate_config config;
    score_set set;
    label_table labels;
    set_result result;
    char names[CASE_CLASSES][24], *name[CASE_CLASSES];
    ac_json_value *plain, *tuned; /* read back */
} files;

static ac_status measure_column(const metrics_case *of, size_t c, const double *score, files *out)
{
    bool any = c == of->n_classes;
    ac_column column = {.score = score,
                        .label = any ? of->image_positive : of->label + c,
                        .label_stride = any ? 1 : of->n_classes,
                        .image_positive = of->image_positive,
                        .n = of->n};
    ac_profile_options options = {.threshold = out->result.threshold, .n_thresholds = EVALUATE_N_THRESHOLDS, .beta = 1};
    return ac_profile_measure(&column, &options, &out->result.profile[c],
                              out->result.reached + c * EVALUATE_N_THRESHOLDS);
}

/* Profiles of all columns; the last is the highest score of each image. */
static ac_status measure_columns(const metrics_case *of, files *out)
{
    ac_status status = AC_OK;
    double *highest = NULL;
    AC_TRY(ac_calloc(of->n, sizeof *highest, &highest));
    AC_TRY(ac_calloc(of->n_classes + 1, sizeof *out->result.profile, &out->result.profile));
    AC_TRY(ac_calloc((of->n_classes + 1) * EVALUATE_N_THRESHOLDS, sizeof *out->result.reached, &out->result.reached));
    for (size_t i = 0; i < EVALUATE_N_THRESHOLDS; i++)
        out->result.threshold[i] = i < EVALUATE_GRID ? (double)(i + 1) / 100 : 0.5;
    for (size_t c = 0; c < of->n_classes; c++) {
        AC_TRY(measure_column(of, c, of->score + c * of->n, out));
        for (size_t i = 0; i < of->n; i++)
            highest[i] = fmax(highest[i], of->score[c * of->n + i]);
    }
    AC_TRY(measure_column(of, of->n_classes, highest, out));
out:
    ac_free(highest);
    return status;
}

/* Borrows the metrics of `of`, as those at one threshold and as the tuned ones. */
static ac_status write_and_read(metrics_case *of, const char *folder, bool weights, bool tuned, files *out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    out->config.multi_threshold = true;
    out->config.max_fbeta = tuned;
    out->config.compat = of->metrics.reference ? EVALUATE_COMPAT_REFERENCE : EVALUATE_COMPAT_NONE;
    out->labels.n_classes = of->n_classes;
    out->labels.class_name = out->name;
    out->labels.label_weight = weights ? of->label_weight : NULL;
    for (size_t c = 0; c < of->n_classes; c++) {
        snprintf(out->names[c], sizeof out->names[c], "c%zu", c);
        out->name[c] = out->names[c];
    }
    out->result.metrics = out->result.tuned_metrics = of->metrics;
    out->result.metrics.has_label_weight = out->result.tuned_metrics.has_label_weight = weights;
    out->result.tuned_metrics.macro_f1 = 0.125;
    out->result.tuned = tuned;
    out->result.tuned_threshold = of->threshold;
    out->result.val_max_f = 0.625;
    snprintf(out->set.output, sizeof out->set.output, "%s/deep/er/val_metrics.json", folder);
    AC_TRY(measure_columns(of, out));
    AC_TRY(evaluate_write_json(&out->config, &out->set, &out->labels, &out->result));
    AC_TRY(ac_json_load(out->set.output, &out->plain));
    AC_TRY(evaluate_tuned_output(&out->set, out->config.f_beta, path));
    if (tuned)
        AC_TRY(ac_json_load(path, &out->tuned));
    else
        TAP_OK(!ac_path_exists(path), "no file of tuned metrics");
out:
    return status;
}

static void release_files(files *of)
{
    ac_free(of->result.profile);
    ac_free(of->result.reached);
    ac_json_release(of->plain);
    ac_json_release(of->tuned);
}

/* Keys of an object with a space behind each. */
static const char *keys_of(const ac_json_value *object)
{
    static char text[1024];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < ac_json_count(object); i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s ", ac_json_key_at(object, i));
    return text;
}

static void check_keys(const char *what, const ac_json_value *object, const char *wanted)
{
    TAP_OK(strcmp(keys_of(object), wanted) == 0, "%s: %s", what, keys_of(object));
}

#define HIGHLIGHTS "MACRO_F1 MACRO_F2 MAP NEGATIVE_F1 POSITIVE_F1 MACRO_R MICRO_F1 "
#define MAIN                                                                                                           \
    "MACRO_P MACRO_R MACRO_F1 MACRO_F2 mAP ROC_AUC FNR FPR FPR_IN_POSITIVE FPR_IN_NEGATIVE MICRO_P MICRO_R MICRO_F1 "  \
    "MICRO_F2 CIW_F2 "

static void check_ours(metrics_case *of, const char *folder)
{
    files out = {.config.f_beta = 0.5};
    if (TAP_CALL(write_and_read(of, folder, true, true, &out))) {
        const ac_json_value *tuned = ac_json_get(out.tuned, "Highlights");
        const ac_json_value *wanted = ac_json_get(tuned, "VAL_MAX_F0.5_THRESHOLDS");
        check_keys("ours", out.plain, "Highlights Main Meta Class Thresholds Labels LabelWeights ");
        check_keys("the tuned file", out.tuned, "Highlights Main Meta Class Labels LabelWeights ");
        check_keys("Highlights", ac_json_get(out.plain, "Highlights"), HIGHLIGHTS "CIW_F2 ");
        check_keys("tuned", tuned, HIGHLIGHTS "CIW_F2 VAL_MAX_F0.5 VAL_MAX_F0.5_THRESHOLDS ");
        check_keys("Main", ac_json_get(out.plain, "Main"), MAIN "LOG_LOSS ");
        check_keys(
            "Class", ac_json_get(out.plain, "Class"),
            "P_CLS R_CLS F1_CLS F2_CLS AP_CLS ROC_AUC_CLS NP NTP NG THRESHOLD_CLS LOG_LOSS_CLS BRIER_CLS ECE_CLS ");
        TAP_OK(ac_json_count(wanted) == of->n_classes && case_number(ac_json_at(wanted, 1)) == of->threshold[1] &&
                   case_number(ac_json_get(tuned, "VAL_MAX_F0.5")) == 0.625,
               "the tuned thresholds and their F");
        TAP_OK(case_number(ac_json_get(tuned, "MACRO_F1")) == 0.125 &&
                   case_number(ac_json_get(ac_json_get(out.tuned, "Main"), "MACRO_F1")) == 0.125 &&
                   case_number(ac_json_get(ac_json_get(out.plain, "Main"), "MACRO_F1")) == of->metrics.macro_f1,
               "each file has its own metrics");
        TAP_OK(isnan(case_number(ac_json_get(ac_json_get(out.plain, "Meta"), "THRESHOLD"))),
               "thresholds that differ are no threshold");
        TAP_OK(case_number(ac_json_at(ac_json_get(out.plain, "LabelWeights"), 1)) == of->label_weight[1], "weights");
    }
    release_files(&out);
}

static void check_reference(metrics_case *of, const char *folder)
{
    files out = {.config.f_beta = 1};
    if (TAP_CALL(write_and_read(of, folder, false, false, &out))) {
        check_keys("the reference's", out.plain, "Highlights Main Meta Class More Thresholds Labels LabelWeights ");
        check_keys("Highlights", ac_json_get(out.plain, "Highlights"), HIGHLIGHTS);
        check_keys("Main", ac_json_get(out.plain, "Main"), MAIN);
        check_keys("More", ac_json_get(out.plain, "More"),
                   "N_IMAGES N_CLASSES THRESHOLD ABSENT_CLASSES LOG_LOSS AP_CLS THRESHOLD_CLS LOG_LOSS_CLS BRIER_CLS "
                   "ECE_CLS ");
        TAP_OK(isnan(case_number(ac_json_get(out.plain, "LabelWeights"))), "no weights: null");
    }
    release_files(&out);
}

/* Largest difference of the member Thresholds from metrics at each threshold alone. */
static void check_thresholds(metrics_case *of, const char *folder, bool reference)
{
    files out = {.config.f_beta = 1};
    double most = 0;
    bool good = TAP_CALL(case_measure(of, reference)) && TAP_CALL(write_and_read(of, folder, true, false, &out));
    const ac_json_value *at = ac_json_get(out.plain, "Thresholds");
    if (good)
        check_keys("Thresholds", at, "THRESHOLD MACRO_F1 MACRO_F2 NEGATIVE_F1 POSITIVE_F1 CIW_F2 F1_CLS F2_CLS ");
    for (size_t t = 0; good && t < CASE_GRID; t++) {
        for (size_t c = 0; c < of->n_classes; c++)
            of->threshold[c] = of->grid[t];
        if (case_measure(of, reference) != AC_OK)
            most = INFINITY;
        const ac_metrics *alone = &of->metrics;
        const struct {
            const char *key;
            double value;
        } rows[] = {{"THRESHOLD", of->grid[t]},          {"MACRO_F1", alone->macro_f1},
                    {"MACRO_F2", alone->macro_f2},       {"NEGATIVE_F1", alone->f1_negative},
                    {"POSITIVE_F1", alone->f1_positive}, {"CIW_F2", alone->ciw_f2}};
        for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
            most = case_difference(most, rows[k].value, case_number(ac_json_at(ac_json_get(at, rows[k].key), t)));
        for (size_t c = 0; c < of->n_classes; c++) {
            const ac_class_metrics *own = &alone->class_metrics[c];
            most = case_difference(most, own->f1, case_number(ac_json_at(ac_json_at(ac_json_get(at, "F1_CLS"), c), t)));
            most = case_difference(most, own->f2, case_number(ac_json_at(ac_json_at(ac_json_get(at, "F2_CLS"), c), t)));
        }
    }
    TAP_OK(most == 0, "%s: at 19 thresholds as at each alone (%g)", reference ? "the reference's" : "ours", most);
    release_files(&out);
}

int main(void)
{
    static metrics_case of;
    char folder[AC_PATH_BYTES];
    if (tap_folder(folder) && TAP_CALL(case_load("tests/metrics/fixtures", "mixed", &of))) {
        if (TAP_CALL(case_measure(&of, false)))
            check_ours(&of, folder);
        if (TAP_CALL(case_measure(&of, true)))
            check_reference(&of, folder);
        tap_remove(folder);
        tap_folder(folder);
        check_thresholds(&of, folder, false);
        check_thresholds(&of, folder, true);
        tap_remove(folder);
    }
    case_release(&of);
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left");
    return tap_done();
}
