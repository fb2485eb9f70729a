/* Our counts and rankings against golden/metrics: scikit-learn's AP and ROC-AUC to 1e-12, the reference's counts
 * exactly, and our F-scores to its epsilons (1e-7 in each denominator moves a ratio of small counts by up to 1e-6). */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/metrics.h"
#include "tests/tap.h"
#include <math.h>
#include <string.h>

static const char *const cases[] = {
    "plain", "ties", "rare", "absent_class", "all_negative_images", "none_predicted", "class_thresholds"};

typedef struct table {
    double *score;
    uint8_t *label;
    size_t n, n_classes;
} table;

static ac_status add_row(const ac_csv *csv, table *out)
{
    ac_status status = AC_OK;
    size_t capacity = out->n * out->n_classes, wanted = (out->n + 1) * out->n_classes;
    AC_TRY(ac_realloc(&out->score, wanted, sizeof *out->score));
    AC_TRY(ac_realloc(&out->label, wanted, 1));
    for (size_t c = 0; c < out->n_classes; c++) {
        out->label[capacity + c] = csv->field[1 + c][0] == '1';
        AC_TRY(ac_parse_double(csv->field[1 + out->n_classes + c], &out->score[capacity + c]));
    }
    out->n++;
out:
    return status;
}

static ac_status read_table(const char *path, table *out)
{
    ac_status status = AC_OK;
    ac_csv csv;
    bool have_row;
    memset(out, 0, sizeof *out);
    AC_TRY(ac_csv_open(&csv, path));
    AC_TRY(ac_malloc(0, 1, &out->score));
    AC_TRY(ac_malloc(0, 1, &out->label));
    status = ac_csv_next(&csv, &have_row);
    out->n_classes = (csv.n_fields - 1) / 2;
    while (status == AC_OK) {
        status = ac_csv_next(&csv, &have_row);
        if (status != AC_OK || !have_row)
            break;
        status = add_row(&csv, out);
    }
    ac_csv_close(&csv);
out:
    return status;
}

static double number(const ac_json_value *value)
{
    double out;
    return ac_json_read_double(value, "number", &out) == AC_OK ? out : -1;
}

static double threshold_of(const ac_json_value *golden, size_t c)
{
    const ac_json_value *threshold = ac_json_get(golden, "threshold");
    return number(ac_json_count(threshold) ? ac_json_at(threshold, c) : threshold);
}

static double largest(double most, double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b) ? most : INFINITY;
    return fabs(a - b) > most ? fabs(a - b) : most;
}

/* each class on its own, so that thresholds may differ */
static ac_status measure(const table *of, const ac_json_value *golden, ac_metrics *out)
{
    ac_status status = AC_OK;
    ac_class_count *count = NULL;
    ac_image_count image = {0}, ignored = {0};
    double *column = NULL, *ap = NULL, *auc = NULL;
    uint8_t *label = NULL;
    bool one = ac_json_count(ac_json_get(golden, "threshold")) == 0;
    AC_TRY(ac_calloc(of->n_classes, sizeof *count, &count));
    AC_TRY(ac_calloc(of->n_classes, sizeof *ap, &ap));
    AC_TRY(ac_calloc(of->n_classes, sizeof *auc, &auc));
    AC_TRY(ac_malloc(of->n, sizeof *column, &column));
    AC_TRY(ac_malloc(of->n, 1, &label));
    for (size_t c = 0; c < of->n_classes; c++) {
        AC_TRY(ac_metrics_rank_double(of->score + c, of->label + c, of->n, of->n_classes, &ap[c], &auc[c]));
        for (size_t i = 0; i < of->n; i++) {
            column[i] = of->score[i * of->n_classes + c];
            label[i] = of->label[i * of->n_classes + c];
        }
        if (!one)
            AC_TRY(ac_metrics_count_double(column, label, of->n, 1, threshold_of(golden, c), &count[c], &ignored));
    }
    if (one)
        AC_TRY(ac_metrics_count_double(of->score, of->label, of->n, of->n_classes, threshold_of(golden, 0), count,
                                       &image));
    AC_TRY(ac_metrics_summarise(count, &image, of->n_classes, .5, ap, auc, out));
out:
    ac_free(count);
    ac_free(column);
    ac_free(label);
    ac_free(ap);
    ac_free(auc);
    return status;
}

/* The reference's own arithmetic on our counts (it takes a predicted count of 0 for 1). */
static double reference_f(const ac_class_count *count, double b2)
{
    double found = (double)count->true_positive, predicted = found + (double)count->false_positive;
    double present = found + (double)count->false_negative;
    double p = found / ((predicted > 0 ? predicted : 1) + 1e-7), r = found / present;
    return present > 0 ? (1 + b2) * p * r / (b2 * p + r + 1e-7) : NAN;
}

static void check_classes(const char *name, const ac_metrics *of, const ac_json_value *golden)
{
    const ac_json_value *ranked = ac_json_get(golden, "sklearn"),
                        *ours = ac_json_at(ac_json_get(golden, "reference"), 2);
    double ap = 0, auc = 0, f1 = 0, f2 = 0, plain_f1 = 0, plain_f2 = 0;
    size_t n_wrong = 0;
    for (size_t c = 0; c < of->n_classes; c++) {
        const ac_class_metrics *own = &of->class_metrics[c];
        ac_class_count count = own->count;
        int64_t predicted = count.true_positive + count.false_positive;
        double golden_f1 = number(ac_json_at(ac_json_get(ours, "F1_CLS"), c));
        double golden_f2 = number(ac_json_at(ac_json_get(ours, "F2_CLS"), c));
        ap = largest(ap, own->average_precision, number(ac_json_at(ac_json_get(ranked, "average_precision"), c)));
        auc = largest(auc, own->roc_auc, number(ac_json_at(ac_json_get(ranked, "roc_auc"), c)));
        n_wrong += (double)(predicted > 0 ? predicted : 1) != number(ac_json_at(ac_json_get(ours, "NP"), c));
        n_wrong += (double)count.true_positive != number(ac_json_at(ac_json_get(ours, "NTP"), c));
        n_wrong +=
            (double)(count.true_positive + count.false_negative) != number(ac_json_at(ac_json_get(ours, "NG"), c));
        f1 = largest(f1, reference_f(&count, 1), golden_f1);
        f2 = largest(f2, reference_f(&count, 4), golden_f2);
        plain_f1 = largest(plain_f1, own->f1, golden_f1);
        plain_f2 = largest(plain_f2, own->f2, golden_f2);
    }
    TAP_OK(ap <= 1e-12 && auc <= 1e-12, "%s: AP within %.1e, ROC-AUC within %.1e of scikit-learn", name, ap, auc);
    TAP_OK(n_wrong == 0, "%s: the counts of all classes (%zu differ)", name, n_wrong);
    TAP_OK(f1 <= 1e-12 && f2 <= 1e-12, "%s: the reference's F1 and F2 from our counts (%.1e, %.1e)", name, f1, f2);
    TAP_OK(plain_f1 <= 1e-6 && plain_f2 <= 1e-6, "%s: our F1 and F2 beside it (%.1e, %.1e)", name, plain_f1, plain_f2);
}

static void check_images(const char *name, const ac_metrics *of, const ac_json_value *golden)
{
    const ac_json_value *main_part = ac_json_at(ac_json_get(golden, "reference"), 0);
    const ac_json_value *meta = ac_json_at(ac_json_get(golden, "reference"), 1);
    const ac_image_count *count = &of->image_count;
    bool same = (double)(count->true_positive + count->false_positive) == number(ac_json_get(meta, "POSITIVE_NP")) &&
                (double)count->true_positive == number(ac_json_get(meta, "POSITIVE_NTP")) &&
                (double)(count->true_positive + count->false_negative) == number(ac_json_get(meta, "POSITIVE_NG")) &&
                (double)count->true_negative == number(ac_json_get(meta, "NEGATIVE_NTP"));
    double f1 = largest(0, of->f1_negative, number(ac_json_get(meta, "NEGATIVE_F1")));
    f1 = largest(f1, of->f1_positive, number(ac_json_get(meta, "POSITIVE_F1")));
    TAP_OK(same && f1 <= 1e-6, "%s: image counts; F1-Neg and F1-Pos within %.1e", name, f1);
    f1 = largest(0, of->micro_f1, number(ac_json_get(main_part, "MICRO_F1")));
    f1 = largest(f1, of->micro_f2, number(ac_json_get(main_part, "MICRO_F2")));
    TAP_OK(f1 <= 1e-6, "%s: micro F1 and F2 within %.1e", name, f1);
}

static void check_case(const char *folder, const char *name)
{
    char path[4096];
    table of;
    ac_metrics metrics;
    ac_json_value *golden = NULL;
    snprintf(path, sizeof path, "%s/golden/metrics/%s.csv", folder, name);
    bool good = TAP_CALL(read_table(path, &of));
    snprintf(path, sizeof path, "%s/golden/metrics/%s.json", folder, name);
    good = TAP_CALL(ac_json_load(path, &golden)) && good;
    if (good && TAP_CALL(measure(&of, golden, &metrics))) {
        check_classes(name, &metrics, golden);
        if (metrics.n_images > 0)
            check_images(name, &metrics, golden);
        ac_metrics_release(&metrics);
    }
    ac_json_release(golden);
    ac_free(of.score);
    ac_free(of.label);
}

int main(void)
{
    const char *folder = tap_shared();
    if (!folder) {
        TAP_SKIP("the shared golden values are not there");
        return tap_done();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_case(folder, cases[i]);
    return tap_done();
}
