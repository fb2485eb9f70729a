/* Metrics as members of a JSON object, under the reference's names (docs/formats.md, "Metrics (JSON)").
 * Leaves file names, Highlights and Labels to the program. */
#include "anyclass/metrics.h"

static void write_main(const ac_metrics *metrics, ac_json *json)
{
    ac_json_begin_object(json, "Main");
    ac_json_double(json, "MACRO_P", metrics->macro_precision);
    ac_json_double(json, "MACRO_R", metrics->macro_recall);
    ac_json_double(json, "MACRO_F1", metrics->macro_f1);
    ac_json_double(json, "MACRO_F2", metrics->macro_f2);
    ac_json_double(json, "mAP", metrics->mean_average_precision);
    ac_json_double(json, "ROC_AUC", metrics->macro_roc_auc);
    ac_json_double(json, "MICRO_P", metrics->micro_precision);
    ac_json_double(json, "MICRO_R", metrics->micro_recall);
    ac_json_double(json, "MICRO_F1", metrics->micro_f1);
    ac_json_double(json, "MICRO_F2", metrics->micro_f2);
    ac_json_end_object(json);
}

static void write_meta(const ac_metrics *metrics, char *const *class_name, ac_json *json)
{
    const ac_image_count *images = &metrics->image_count;
    ac_ratios positive, negative;
    ac_metrics_ratios(images->true_positive, images->false_positive, images->false_negative, &positive);
    ac_metrics_ratios(images->true_negative, images->false_negative, images->false_positive, &negative);
    ac_json_begin_object(json, "Meta");
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

typedef double (*class_value)(const ac_class_metrics *of);
typedef int64_t (*class_number)(const ac_class_count *count);

static double precision_of(const ac_class_metrics *of)
{
    return of->precision;
}
static double recall_of(const ac_class_metrics *of)
{
    return of->recall;
}
static double f1_of(const ac_class_metrics *of)
{
    return of->f1;
}
static double f2_of(const ac_class_metrics *of)
{
    return of->f2;
}
static double average_precision_of(const ac_class_metrics *of)
{
    return of->average_precision;
}
static double roc_auc_of(const ac_class_metrics *of)
{
    return of->roc_auc;
}
static int64_t predicted_of(const ac_class_count *count)
{
    return count->true_positive + count->false_positive;
}
static int64_t found_of(const ac_class_count *count)
{
    return count->true_positive;
}
static int64_t present_of(const ac_class_count *count)
{
    return count->true_positive + count->false_negative;
}

static void write_class(const ac_metrics *metrics, ac_json *json)
{
    static const struct {
        const char *key;
        class_value value;
        class_number number;
    } rows[] = {
        {"P_CLS", precision_of, NULL},
        {"R_CLS", recall_of, NULL},
        {"F1_CLS", f1_of, NULL},
        {"F2_CLS", f2_of, NULL},
        {"AP_CLS", average_precision_of, NULL},
        {"ROC_AUC_CLS", roc_auc_of, NULL},
        {"NP", NULL, predicted_of},
        {"NTP", NULL, found_of},
        {"NG", NULL, present_of},
    };
    ac_json_begin_object(json, "Class");
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        ac_json_begin_array(json, rows[row].key);
        for (size_t c = 0; c < metrics->n_classes; c++) {
            if (rows[row].value)
                ac_json_double(json, NULL, rows[row].value(&metrics->class_metrics[c]));
            else
                ac_json_int(json, NULL, rows[row].number(&metrics->class_metrics[c].count));
        }
        ac_json_end_array(json);
    }
    ac_json_end_object(json);
}

void ac_metrics_write_json(const ac_metrics *metrics, char *const *class_name, ac_json *json)
{
    write_main(metrics, json);
    write_meta(metrics, class_name, json);
    write_class(metrics, json);
}
