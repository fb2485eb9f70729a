/* Tables of the report: sets side by side, classes of all versions, classes of one version. */
#include "evaluate/report.h"
#include <math.h>
#include <string.h>

typedef struct column { /* of the results table */
    const char *title, *meaning;
    size_t offset; /* of a double in ac_metrics */
    bool tuned;    /* of tuned_metrics */
} column;

#define METRIC(name) offsetof(ac_metrics, name)
static const column columns[] = {
    {"Macro F1", "mean over classes of F1", METRIC(macro_f1), false},
    {"Macro F2", "mean over classes of F2", METRIC(macro_f2), false},
    {"Macro P", "mean over classes of the precision", METRIC(macro_precision), false},
    {"Macro R", "mean over classes of the recall", METRIC(macro_recall), false},
    {"Micro F1", "F1 of all decisions together", METRIC(micro_f1), false},
    {"mAP", "mean over classes of the average precision", METRIC(mean_average_precision), false},
    {"ROC-AUC", "mean over classes of the area under the ROC curve", METRIC(macro_roc_auc), false},
    {"F1-Neg", "F1 of: the image shows nothing", METRIC(f1_negative), false},
    {"F1-Pos", "F1 of: the image shows something", METRIC(f1_positive), false},
    {"CIW-F2", "mean over classes of F2, weighted by importance", METRIC(ciw_f2), false},
    {"Macro F1 <br>tuned", "macro F1 with a threshold for each class, chosen on Val", METRIC(macro_f1), true},
    {"Macro F2 <br>tuned", "macro F2 with a threshold for each class, chosen on Val", METRIC(macro_f2), true},
    {"F1-Neg <br>tuned", "F1-Neg with a threshold for each class, chosen on Val", METRIC(f1_negative), true},
};
enum { N_COLUMNS = sizeof columns / sizeof *columns, CIW_COLUMN = 9 };

static double value_of(const set_result *result, const column *of)
{
    const ac_metrics *metrics = of->tuned ? &result->tuned_metrics : &result->metrics;
    double value;
    if ((of->tuned && !result->tuned) || (of->offset == METRIC(ciw_f2) && !metrics->has_label_weight))
        return NAN;
    memcpy(&value, (const char *)metrics + of->offset, sizeof value);
    return value;
}

/* The highest of some values, and whether it says anything: all may be equal. */
typedef struct best {
    double most, least;
} best;

static void best_add(best *of, double value)
{
    of->most = isnan(of->most) || value > of->most ? value : of->most;
    of->least = isnan(of->least) || value < of->least ? value : of->least;
}

/* Values are compared as they are shown. */
static bool is_best(double value, const best *of, int decimals)
{
    double scale = pow(10, decimals), most = floor(of->most * scale + 0.5);
    return !isnan(value) && floor(value * scale + 0.5) == most && floor(of->least * scale + 0.5) < most;
}

/* A box that scrolls, by keyboard too: across on a narrow screen, and down when the table is long. */
static void begin_table(ac_markup *out, const char *label, size_t n_rows)
{
    ac_markup_format(
        out, "<div class=\"scroll%s\" tabindex=\"0\" role=\"region\" aria-label=\"%s\"><table class=\"sortable\">",
        n_rows > MANY_CLASSES ? " tall" : "", label);
}

static void value_cell(ac_markup *out, double value, int decimals, bool marked, bool bar)
{
    ac_markup_add(out, marked ? "<td class=\"best" : "<td class=\"");
    ac_markup_add(out, bar && isfinite(value) ? " bar\" style=\"--v:" : "\"");
    if (bar && isfinite(value)) {
        ac_markup_number(out, value, 3);
        ac_markup_add(out, "\"");
    }
    ac_markup_add(out, ">");
    report_value(out, value, decimals);
    ac_markup_add(out, "</td>");
}

static void head_cell(ac_markup *out, const char *title, const char *meaning)
{
    ac_markup_format(out, "<th scope=\"col\" title=\"%s\">%s</th>", meaning, title);
}

static bool one_model(const report *r)
{
    for (size_t i = 1; i < r->sets->n_sets; i++)
        if (strcmp(r->sets->set[i].model, r->sets->set[0].model) != 0)
            return false;
    return true;
}

static void write_set_row(ac_markup *out, const report *r, size_t i, const best *of_column)
{
    const score_set *set = &r->sets->set[i];
    ac_markup_add(out, "<tr><th scope=\"row\" class=\"text\">");
    ac_markup_escape(out, set->version[0] ? set->version : set->stem);
    ac_markup_add(out, "</th>");
    if (!one_model(r)) {
        ac_markup_add(out, "<td class=\"text\">");
        ac_markup_escape(out, set->model);
        ac_markup_add(out, "</td>");
    }
    ac_markup_add(out, "<td class=\"text\">");
    ac_markup_escape(out, set->checkpoint[0] ? set->checkpoint : set->stem);
    ac_markup_add(out, "</td>");
    for (size_t k = 0; k < N_COLUMNS; k++)
        if (!isnan(of_column[k].most)) {
            double value = value_of(&r->result[i], &columns[k]);
            value_cell(out, value, 4, is_best(value, &of_column[k], 4), false);
        }
    ac_markup_add(out, "</tr>\n");
}

void report_write_table(ac_markup *out, const report *r)
{
    best of_column[N_COLUMNS];
    ac_markup_add(out, "<section id=\"results\" aria-labelledby=\"h-results\"><h2 id=\"h-results\">Results</h2>\n<p>");
    ac_markup_count(out, (int64_t)r->sets->n_sets);
    ac_markup_add(out, r->sets->n_sets == 1 ? " score set"
                                            : " score sets, the best of each column <b class=\"mark\">marked</b>");
    ac_markup_format(out, "; a class is predicted where its score is at least %g.</p>\n", r->config->threshold);
    begin_table(out, "Results of all versions and checkpoints", r->sets->n_sets);
    ac_markup_add(out, "<thead><tr><th scope=\"col\" class=\"text\">Version</th>");
    if (!one_model(r))
        ac_markup_add(out, "<th scope=\"col\" class=\"text\">Model</th>");
    ac_markup_add(out, "<th scope=\"col\" class=\"text\">Checkpoint</th>");
    for (size_t k = 0; k < N_COLUMNS; k++) {
        of_column[k] = (best){NAN, NAN};
        for (size_t i = 0; i < r->sets->n_sets; i++)
            best_add(&of_column[k], value_of(&r->result[i], &columns[k]));
        if (!isnan(of_column[k].most))
            head_cell(out, columns[k].title, columns[k].meaning);
    }
    ac_markup_add(out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < r->sets->n_sets; i++)
        write_set_row(out, r, i, of_column);
    ac_markup_add(out, "</tbody></table></div></section>\n");
}

/* F1 and AP of a class in each version, the best marked. */
static void compare_cells(ac_markup *out, const report *r, size_t c, bool ap)
{
    best of_row = {NAN, NAN};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < r->n_versions; i++) {
            const ac_class_metrics *of = &r->result[r->version[i].set].metrics.class_metrics[c];
            double value = ap ? of->average_precision : of->f1;
            if (pass == 0)
                best_add(&of_row, value);
            else
                value_cell(out, value, 3, is_best(value, &of_row, 3), true);
        }
    }
}

static void compare_names(ac_markup *out, const report *r)
{
    for (size_t i = 0; i < r->n_versions; i++) {
        ac_markup_add(out, "<th scope=\"col\">");
        ac_markup_shorten(out, report_version_name(r, &r->version[i]), 24);
        ac_markup_add(out, "</th>");
    }
}

void report_write_comparison(ac_markup *out, const report *r)
{
    if (r->n_versions < 2)
        return;
    ac_markup_add(
        out, "<section id=\"classes\" aria-labelledby=\"h-classes\"><h2 id=\"h-classes\">Classes across versions</h2>\n"
             "<p>Where one run gains or loses: each version's detailed checkpoint, the best of each row "
             "<b class=\"mark\">marked</b>.</p>\n");
    begin_table(out, "F1 and average precision of each class in each version", r->labels->n_classes);
    ac_markup_add(out, "<thead><tr><td></td><td></td>");
    ac_markup_format(out,
                     "<th scope=\"colgroup\" colspan=\"%zu\">F1 at %g</th><th scope=\"colgroup\" "
                     "colspan=\"%zu\">Average precision</th></tr>\n"
                     "<tr><th scope=\"col\" class=\"text\">Class</th><th scope=\"col\">Images</th>",
                     r->n_versions, r->config->threshold, r->n_versions);
    compare_names(out, r);
    compare_names(out, r);
    ac_markup_add(out, "</tr></thead>\n<tbody>\n");
    for (size_t c = 0; c < r->labels->n_classes; c++) {
        ac_markup_format(out, "<tr data-c=\"%zu\"><th scope=\"row\" class=\"text\">", c);
        ac_markup_escape(out, r->labels->class_name[c]);
        ac_markup_add(out, "</th><td>");
        ac_markup_count(out, r->result[0].profile[c].total.positive);
        ac_markup_add(out, "</td>");
        compare_cells(out, r, c, false);
        compare_cells(out, r, c, true);
        ac_markup_add(out, "</tr>\n");
    }
    ac_markup_add(out, "</tbody></table></div></section>\n");
}

static void class_cells(ac_markup *out, const report *r, const set_result *result, size_t c, const ac_ratios *at)
{
    const ac_profile *profile = &result->profile[c];
    bool of_class = c < r->labels->n_classes, absent = profile->total.positive == 0;
    calibration of;
    report_calibrate(r->labels, result, c, &of);
    ac_markup_add(out, "<td>");
    ac_markup_count(out, profile->total.positive);
    ac_markup_add(out, "</td>");
    value_cell(out, at->precision, 3, false, true);
    value_cell(out, at->recall, 3, false, true);
    value_cell(out, at->f1, 3, false, true);
    value_cell(out, at->f2, 3, false, true);
    value_cell(out, of_class ? result->metrics.class_metrics[c].average_precision : profile->average_precision, 3,
               false, true);
    value_cell(out, profile->roc_auc, 3, false, false);
    value_cell(out, profile->log_loss, 4, false, false);
    value_cell(out, of.error, 4, false, false);
    value_cell(out, absent ? NAN : profile->best_threshold, 3, false, false);
    if (result->tuned) {
        value_cell(out, of_class && !absent ? result->tuned_threshold[c] : NAN, 3, false, false);
        value_cell(out, of_class ? result->tuned_metrics.class_metrics[c].f1 : NAN, 3, false, true);
    }
}

static void class_head(ac_markup *out, const report *r, const set_result *result)
{
    head_cell(out, "Images", "that show it");
    head_cell(out, "P", "precision");
    head_cell(out, "R", "recall");
    head_cell(out, "F1", "harmonic mean of precision and recall");
    head_cell(out, "F2", "the same with recall counted twice");
    head_cell(out, "AP", "average precision");
    head_cell(out, "AUC", "area under the ROC curve");
    head_cell(out, "Log loss", "mean of -log of the probability given to what is so");
    head_cell(out, "ECE", "expected calibration error, ten bins");
    ac_markup_format(out,
                     "<th scope=\"col\" title=\"threshold with the highest F%g on these very scores\">Best F%g at</th>",
                     r->config->f_beta, r->config->f_beta);
    if (result->tuned) {
        head_cell(out, "Tuned at", "threshold chosen on Val");
        head_cell(out, "F1 <br>tuned", "F1 at that threshold");
    }
}

void report_write_class_table(ac_markup *out, const report *r, const report_version *v)
{
    const set_result *result = &r->result[v->set];
    size_t n = r->labels->n_classes;
    ac_ratios at;
    begin_table(out, "Metrics of each class", n);
    ac_markup_add(out, "<thead><tr>"
                       "<th scope=\"col\" class=\"text\">Class</th>");
    class_head(out, r, result);
    ac_markup_add(out, "</tr></thead>\n<tbody>\n");
    for (size_t c = 0; c < n; c++) {
        const ac_class_metrics *of = &result->metrics.class_metrics[c];
        at = (ac_ratios){of->precision, of->recall, of->f1, of->f2};
        ac_markup_format(out, "<tr data-c=\"%zu\"><th scope=\"row\" class=\"text\"><a href=\"#c%zu-%zu\">", c,
                         v->number, c);
        ac_markup_escape(out, r->labels->class_name[c]);
        ac_markup_add(out, "</a></th>");
        class_cells(out, r, result, c, &at);
        ac_markup_add(out, "</tr>\n");
    }
    const ac_image_count *image = &result->metrics.image_count;
    ac_metrics_ratios(image->true_positive, image->false_positive, image->false_negative, &at);
    ac_markup_add(out, "</tbody><tfoot><tr>");
    ac_markup_format(out, "<th scope=\"row\" class=\"text\"><a href=\"#c%zu-%zu\">shows something</a></th>", v->number,
                     n);
    class_cells(out, r, result, n, &at);
    ac_markup_add(out, "</tr></tfoot></table></div>\n");
}
