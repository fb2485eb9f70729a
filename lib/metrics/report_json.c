/* Metrics as members of a JSON object, under the reference's names (docs/formats.md, "Metrics (JSON)"). In the
 * reference's arithmetic the three dictionaries have its members alone, and what we add stands in a fourth. Leaves file
 * names, Highlights and Labels to the program. */
#include "anyclass/metrics.h"
#include "lib/metrics/formula.h"
#include <math.h>

static void write_main(const ac_metrics *metrics, ac_json *json)
{
    ac_json_begin_object(json, "Main");
    ac_json_double(json, "MACRO_P", metrics->macro_precision);
    ac_json_double(json, "MACRO_R", metrics->macro_recall);
    ac_json_double(json, "MACRO_F1", metrics->macro_f1);
    ac_json_double(json, "MACRO_F2", metrics->macro_f2);
    ac_json_double(json, "mAP", metrics->mean_average_precision);
    ac_json_double(json, "ROC_AUC", metrics->macro_roc_auc);
    ac_json_double(json, "FNR", metrics->fnr);
    ac_json_double(json, "FPR", metrics->fpr);
    ac_json_double(json, "FPR_IN_POSITIVE", metrics->fpr_in_positive);
    ac_json_double(json, "FPR_IN_NEGATIVE", metrics->fpr_in_negative);
    ac_json_double(json, "MICRO_P", metrics->micro_precision);
    ac_json_double(json, "MICRO_R", metrics->micro_recall);
    ac_json_double(json, "MICRO_F1", metrics->micro_f1);
    ac_json_double(json, "MICRO_F2", metrics->micro_f2);
    ac_json_double(json, "CIW_F2", metrics->ciw_f2);
    if (!metrics->reference)
        ac_json_double(json, "LOG_LOSS", metrics->mean_log_loss);
    ac_json_end_object(json);
}

static void write_sizes(const ac_metrics *metrics, char *const *class_name, ac_json *json)
{
    ac_json_int(json, "N_IMAGES", metrics->n_images);
    ac_json_int(json, "N_CLASSES", (int64_t)metrics->n_classes);
    ac_json_double(json, "THRESHOLD", metrics->threshold);
    ac_json_begin_array(json, "ABSENT_CLASSES");
    for (size_t c = 0; c < metrics->n_classes; c++) {
        const ac_class_count *count = &metrics->class_metrics[c].count;
        if (count->true_positive + count->false_negative == 0)
            ac_json_string(json, NULL, class_name[c]);
    }
    ac_json_end_array(json);
}

static void write_meta(const ac_metrics *metrics, char *const *class_name, ac_json *json)
{
    const ac_image_count *images = &metrics->image_count;
    ac_ratios positive, negative;
    ac_image_ratios(metrics, false, &positive);
    ac_image_ratios(metrics, true, &negative);
    ac_json_begin_object(json, "Meta");
    if (!metrics->reference)
        write_sizes(metrics, class_name, json);
    ac_json_double(json, "POSITIVE_P", positive.precision);
    ac_json_double(json, "POSITIVE_R", positive.recall);
    ac_json_double(json, "POSITIVE_F1", positive.f1);
    ac_json_double(json, "POSITIVE_F2", positive.f2);
    ac_json_double(json, "NEGATIVE_P", negative.precision);
    ac_json_double(json, "NEGATIVE_R", negative.recall);
    ac_json_double(json, "NEGATIVE_F1", negative.f1);
    ac_json_double(json, "NEGATIVE_F2", negative.f2);
    ac_json_int(json, "POSITIVE_NP", images->true_positive + images->false_positive);
    ac_json_int(json, "POSITIVE_NTP", images->true_positive);
    ac_json_int(json, "POSITIVE_NG", images->true_positive + images->false_negative);
    ac_json_int(json, "NEGATIVE_NP", images->true_negative + images->false_negative);
    ac_json_int(json, "NEGATIVE_NTP", images->true_negative);
    ac_json_int(json, "NEGATIVE_NG", images->true_negative + images->false_positive);
    ac_json_end_object(json);
}

typedef enum class_value {
    PRECISION,
    RECALL,
    F1,
    F2,
    AVERAGE_PRECISION,
    ROC_AUC,
    N_PREDICTED,
    N_FOUND,
    N_PRESENT,
    THRESHOLD,
    LOG_LOSS,
    BRIER,
    CALIBRATION_ERROR
} class_value;

static double number_of(const ac_class_metrics *of, class_value value)
{
    switch (value) {
    case PRECISION:
        return of->precision;
    case RECALL:
        return of->recall;
    case F1:
        return of->f1;
    case F2:
        return of->f2;
    case AVERAGE_PRECISION:
        return of->average_precision;
    case ROC_AUC:
        return of->roc_auc;
    case THRESHOLD:
        return of->threshold;
    case LOG_LOSS:
        return of->log_loss;
    case BRIER:
        return of->brier;
    case CALIBRATION_ERROR:
        return of->calibration_error;
    default:
        return NAN;
    }
}

static void write_value(const ac_metrics *metrics, size_t c, class_value value, ac_json *json)
{
    const ac_class_metrics *of = &metrics->class_metrics[c];
    const ac_class_count *count = &of->count;
    if (value == N_PREDICTED && metrics->reference)
        ac_json_int(json, NULL, ac_reference_predicted(count));
    else if (value == N_PREDICTED)
        ac_json_int(json, NULL, count->true_positive + count->false_positive);
    else if (value == N_FOUND)
        ac_json_int(json, NULL, count->true_positive);
    else if (value == N_PRESENT)
        ac_json_int(json, NULL, count->true_positive + count->false_negative);
    else
        ac_json_double(json, NULL, number_of(of, value));
}

typedef struct class_row {
    const char *key;
    class_value value;
    bool is_reference; /* a member of the reference's dictionary */
} class_row;

static const class_row class_rows[] = {
    {"P_CLS", PRECISION, true},
    {"R_CLS", RECALL, true},
    {"F1_CLS", F1, true},
    {"F2_CLS", F2, true},
    {"AP_CLS", AVERAGE_PRECISION, false},
    {"ROC_AUC_CLS", ROC_AUC, true},
    {"NP", N_PREDICTED, true},
    {"NTP", N_FOUND, true},
    {"NG", N_PRESENT, true},
    {"THRESHOLD_CLS", THRESHOLD, false},
    {"LOG_LOSS_CLS", LOG_LOSS, false},
    {"BRIER_CLS", BRIER, false},
    {"ECE_CLS", CALIBRATION_ERROR, false},
};

static bool has_value(const ac_metrics *metrics, class_value value)
{
    return value != THRESHOLD || isnan(metrics->threshold);
}

/* The rows that are the reference's, that are not, or both. */
static void write_class_rows(const ac_metrics *metrics, bool reference, bool others, ac_json *json)
{
    for (size_t i = 0; i < sizeof class_rows / sizeof *class_rows; i++) {
        const class_row *row = &class_rows[i];
        if (!(row->is_reference ? reference : others) || !has_value(metrics, row->value))
            continue;
        ac_json_begin_array(json, row->key);
        for (size_t c = 0; c < metrics->n_classes; c++)
            write_value(metrics, c, row->value, json);
        ac_json_end_array(json);
    }
}

void ac_metrics_write_json(const ac_metrics *metrics, char *const *class_name, ac_json *json)
{
    write_main(metrics, json);
    write_meta(metrics, class_name, json);
    ac_json_begin_object(json, "Class");
    write_class_rows(metrics, true, !metrics->reference, json);
    ac_json_end_object(json);
    if (!metrics->reference)
        return;
    ac_json_begin_object(json, "More");
    write_sizes(metrics, class_name, json);
    ac_json_double(json, "LOG_LOSS", metrics->mean_log_loss);
    write_class_rows(metrics, false, true, json);
    ac_json_end_object(json);
}
