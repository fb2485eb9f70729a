/* Every number of golden/metrics, and of fixtures of the same form that were made from the reference's formulas in
 * Python: the reference's dictionaries and its tuned thresholds in its arithmetic, scikit-learn's AP and ROC-AUC in
 * ours, all to 1e-12. */
#include "tests/metrics/cases.h"

static const char *const golden[] = {
    "plain", "ties", "rare", "absent_class", "all_negative_images", "none_predicted", "class_thresholds"};
static const char *const own[] = {"mixed", "edges"};

/* Members of `text`, the dictionary that was written, against those of `expected`; also that there is none beside them.
 */
static void check_dictionary(const char *name, const char *what, const ac_json_value *written,
                             const ac_json_value *expected)
{
    double most = 0;
    size_t n_numbers = 0;
    for (size_t i = 0; i < ac_json_count(expected); i++) {
        const ac_json_value *wanted = ac_json_at(expected, i),
                            *have = ac_json_get(written, ac_json_key_at(expected, i));
        size_t n = ac_json_count(wanted);
        if (n == 0)
            most = case_difference(most, case_number(have), case_number(wanted));
        if (ac_json_count(have) != n)
            most = INFINITY;
        for (size_t k = 0; k < n; k++)
            most = case_difference(most, case_number(ac_json_at(have, k)), case_number(ac_json_at(wanted, k)));
        n_numbers += n > 0 ? n : 1;
    }
    TAP_OK(n_numbers > 0 && most <= 1e-12, "%s: %zu numbers of %s within %.1e of the reference", name, n_numbers, what,
           most);
    TAP_OK(ac_json_count(written) == ac_json_count(expected), "%s: %s has the reference's members alone", name, what);
}

/* As it stands in the JSON file, so that the writer is checked too. */
static void check_reference(const char *name, const metrics_case *of)
{
    static const char *const part[] = {"Main", "Meta", "Class"};
    static char letters[CASE_CLASSES][24];
    char *names[CASE_CLASSES];
    const ac_json_value *expected = ac_json_get(of->expected, "reference");
    ac_json *json = NULL;
    ac_json_value *written = NULL;
    const char *text = "";
    size_t n_bytes = 0;
    for (size_t c = 0; c < of->n_classes; c++) {
        snprintf(letters[c], sizeof letters[c], "c%zu", c);
        names[c] = letters[c];
    }
    TAP_CALL(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    ac_metrics_write_json(&of->metrics, names, json);
    ac_json_end_object(json);
    TAP_CALL(ac_json_text(json, &text, &n_bytes));
    TAP_CALL(ac_json_parse(name, text, n_bytes, &written));
    for (size_t i = 0; i < 3; i++)
        check_dictionary(name, part[i], ac_json_get(written, part[i]), ac_json_at(expected, i));
    ac_json_release(written);
    ac_json_destroy(json);
}

static void check_tuning(const char *name, const metrics_case *of)
{
    const ac_json_value *all = ac_json_get(of->expected, "max_fbeta");
    for (size_t i = 0; i < ac_json_count(all); i++) {
        const ac_json_value *wanted = ac_json_at(all, i);
        size_t best[CASE_CLASSES], n_wrong = 0;
        double mean_f, beta = strtod(ac_json_key_at(all, i), NULL);
        ac_metrics_tune(of->total, of->at_grid, of->n_classes, of->grid, CASE_GRID, beta, true, best, &mean_f);
        for (size_t c = 0; c < of->n_classes; c++)
            n_wrong += of->grid[best[c]] != case_number(ac_json_at(ac_json_at(wanted, 1), c));
        double most = case_difference(0, mean_f, case_number(ac_json_at(wanted, 0)));
        TAP_OK(most <= 1e-12 && n_wrong == 0, "%s: largest F%g within %.1e, %zu thresholds differ", name, beta, most,
               n_wrong);
    }
}

static void check_ranking(const char *name, const metrics_case *of)
{
    const ac_json_value *wanted = ac_json_get(of->expected, "sklearn");
    double ap = 0, auc = 0;
    for (size_t c = 0; c < of->n_classes; c++) {
        ap = case_difference(ap, of->metrics.class_metrics[c].average_precision,
                             case_number(ac_json_at(ac_json_get(wanted, "average_precision"), c)));
        auc = case_difference(auc, of->metrics.class_metrics[c].roc_auc,
                              case_number(ac_json_at(ac_json_get(wanted, "roc_auc"), c)));
    }
    TAP_OK(ap <= 1e-12 && auc <= 1e-12, "%s: AP within %.1e, ROC-AUC within %.1e of scikit-learn", name, ap, auc);
}

/* The epsilons of 1e-7 move a ratio of small counts by up to 1e-6. */
static void check_beside(const char *name, const metrics_case *of)
{
    const ac_json_value *wanted = ac_json_at(ac_json_get(of->expected, "reference"), 2);
    double f1 = 0, f2 = 0;
    for (size_t c = 0; c < of->n_classes; c++) {
        f1 = case_difference(f1, of->metrics.class_metrics[c].f1,
                             case_number(ac_json_at(ac_json_get(wanted, "F1_CLS"), c)));
        f2 = case_difference(f2, of->metrics.class_metrics[c].f2,
                             case_number(ac_json_at(ac_json_get(wanted, "F2_CLS"), c)));
    }
    TAP_OK(f1 <= 1e-6 && f2 <= 1e-6, "%s: our F1 and F2 beside the reference's (%.1e, %.1e)", name, f1, f2);
}

static void check_case(const char *folder, const char *name)
{
    static metrics_case of;
    if (TAP_CALL(case_load(folder, name, &of)) && TAP_CALL(case_measure(&of, true))) {
        check_reference(name, &of);
        check_tuning(name, &of);
        if (TAP_CALL(case_measure(&of, false))) {
            check_ranking(name, &of);
            check_beside(name, &of);
        }
    }
    case_release(&of);
}

int main(void)
{
    char folder[AC_PATH_BYTES];
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        check_case("tests/metrics/fixtures", own[i]);
    if (!tap_shared())
        TAP_SKIP("the shared golden values are not there");
    else
        snprintf(folder, sizeof folder, "%s/golden/metrics", tap_shared());
    for (size_t i = 0; tap_shared() && i < sizeof golden / sizeof *golden; i++)
        check_case(folder, golden[i]);
    TAP_OK(ac_alloc_get_stats().n_live == 0, "no memory is left");
    return tap_done();
}
