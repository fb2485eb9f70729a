/* Tables of labels and scores with expected metrics (golden/metrics, and fixtures of the same form), measured as
 * anyclass-evaluate measures: a profile of each class, metrics at thresholds, thresholds tuned. */
#ifndef ANYCLASS_TESTS_METRICS_CASES_H
#define ANYCLASS_TESTS_METRICS_CASES_H

#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/json.h"
#include "anyclass/metrics.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

enum { CASE_CLASSES = 32, CASE_GRID = 19 };

typedef struct metrics_case {
    double *score;  /* [n_classes, n] */
    uint8_t *label; /* [n, n_classes] */
    uint8_t *image_positive;
    size_t n, n_classes;
    double threshold[CASE_CLASSES], label_weight[CASE_CLASSES], grid[CASE_GRID];
    ac_json_value *expected;
    ac_profile profile[CASE_CLASSES];
    ac_split_count total[CASE_CLASSES], reached[CASE_CLASSES], at_grid[CASE_CLASSES * CASE_GRID];
    double ap[CASE_CLASSES], auc[CASE_CLASSES], log_loss[CASE_CLASSES];
    ac_metrics metrics;
} metrics_case;

/* NaN for null */
static inline double case_number(const ac_json_value *value)
{
    double out;
    return ac_json_read_double(value, "number", &out) == AC_OK ? out : -1;
}

/* of a and b; null stands for whatever is no finite number */
static inline double case_difference(double most, double value, double expected)
{
    if (!isfinite(value) || isnan(expected))
        return !isfinite(value) && isnan(expected) ? most : INFINITY;
    return fabs(value - expected) > most ? fabs(value - expected) : most;
}

static inline ac_status case_read_rows(ac_csv *csv, metrics_case *out)
{
    ac_status status = AC_OK;
    bool have_row;
    double *rows = NULL;
    size_t m;
    AC_TRY(ac_csv_next(csv, &have_row));
    m = out->n_classes = (csv->n_fields - 1) / 2;
    AC_TRY(ac_malloc(0, 1, &rows));
    for (;;) {
        AC_TRY(ac_csv_next(csv, &have_row));
        if (!have_row)
            break;
        AC_TRY(ac_realloc(&rows, (out->n + 1) * m, sizeof *rows));
        AC_TRY(ac_realloc(&out->label, (out->n + 1) * m, 1));
        AC_TRY(ac_realloc(&out->image_positive, out->n + 1, 1));
        out->image_positive[out->n] = 0;
        for (size_t c = 0; c < m; c++) {
            out->label[out->n * m + c] = csv->field[1 + c][0] == '1';
            out->image_positive[out->n] |= out->label[out->n * m + c];
            AC_TRY(ac_parse_double(csv->field[1 + m + c], &rows[out->n * m + c]));
        }
        out->n++;
    }
    AC_TRY(ac_malloc(out->n * m, sizeof *out->score, &out->score));
    for (size_t i = 0; i < out->n; i++)
        for (size_t c = 0; c < m; c++)
            out->score[c * out->n + i] = rows[i * m + c];
out:
    ac_free(rows);
    return status;
}

/* Read FOLDER/NAME.csv and .json; release in any case. */
static inline ac_status case_load(const char *folder, const char *name, metrics_case *out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_csv csv;
    memset(out, 0, sizeof *out);
    AC_TRY(ac_malloc(0, 1, &out->label));
    AC_TRY(ac_malloc(0, 1, &out->image_positive));
    snprintf(path, sizeof path, "%s/%s.csv", folder, name);
    AC_TRY(ac_csv_open(&csv, path));
    status = case_read_rows(&csv, out);
    ac_csv_close(&csv);
    if (status != AC_OK)
        return status;
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    AC_TRY(ac_json_load(path, &out->expected));
    const ac_json_value *threshold = ac_json_get(out->expected, "threshold");
    const ac_json_value *weight = ac_json_get(out->expected, "label_weights");
    for (size_t c = 0; c < out->n_classes; c++) {
        out->threshold[c] = case_number(ac_json_count(threshold) ? ac_json_at(threshold, c) : threshold);
        out->label_weight[c] = case_number(ac_json_at(weight, c));
    }
    for (size_t t = 0; t < CASE_GRID; t++)
        out->grid[t] = (double)(5 * (t + 1)) / 100;
out:
    return status;
}

static inline void case_release(metrics_case *of)
{
    ac_metrics_release(&of->metrics);
    ac_json_release(of->expected);
    ac_free(of->score);
    ac_free(of->label);
    ac_free(of->image_positive);
}

static inline ac_image_count case_count_images(const metrics_case *of)
{
    int64_t count[2][2] = {{0}};
    for (size_t i = 0; i < of->n; i++) {
        bool predicted = false;
        for (size_t c = 0; c < of->n_classes; c++)
            predicted |= of->score[c * of->n + i] >= of->threshold[c];
        count[of->image_positive[i]][predicted]++;
    }
    return (ac_image_count){.true_negative = count[0][0],
                            .false_positive = count[0][1],
                            .false_negative = count[1][0],
                            .true_positive = count[1][1]};
}

static inline ac_status case_measure_class(metrics_case *of, size_t c, bool reference)
{
    double thresholds[CASE_GRID + 1];
    ac_split_count reached[CASE_GRID + 1];
    memcpy(thresholds, of->grid, sizeof of->grid);
    thresholds[CASE_GRID] = of->threshold[c];
    ac_column column = {.score = of->score + c * of->n,
                        .label = of->label + c,
                        .label_stride = of->n_classes,
                        .image_positive = of->image_positive,
                        .n = of->n};
    ac_profile_options options = {
        .threshold = thresholds, .n_thresholds = CASE_GRID + 1, .beta = 1, .reference = reference};
    ac_status status = ac_profile_measure(&column, &options, &of->profile[c], reached);
    of->total[c] = of->profile[c].total;
    of->reached[c] = reached[CASE_GRID];
    memcpy(of->at_grid + c * CASE_GRID, reached, CASE_GRID * sizeof *reached);
    of->ap[c] = reference ? of->profile[c].reference_average_precision : of->profile[c].average_precision;
    of->auc[c] = of->profile[c].roc_auc;
    of->log_loss[c] = of->profile[c].log_loss;
    return status;
}

/* Fill the profiles and the metrics. */
static inline ac_status case_measure(metrics_case *of, bool reference)
{
    ac_status status = AC_OK;
    ac_metrics_release(&of->metrics);
    for (size_t c = 0; c < of->n_classes; c++)
        AC_TRY(case_measure_class(of, c, reference));
    ac_metrics_input input = {.n_classes = of->n_classes,
                              .total = of->total,
                              .reached = of->reached,
                              .image = case_count_images(of),
                              .threshold = of->threshold,
                              .average_precision = of->ap,
                              .roc_auc = of->auc,
                              .log_loss = of->log_loss,
                              .label_weight = of->label_weight,
                              .profile = of->profile,
                              .reference = reference};
    AC_TRY(ac_metrics_compute(&input, &of->metrics));
out:
    return status;
}

#endif
