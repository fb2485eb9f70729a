/* Figures over thresholds and of precision and recall. On the page every class has its line, grey until it is chosen;
 * in a file the chosen ones are those of report.highlighted. */
#include "anyclass/alloc.h"
#include "evaluate/report.h"
#include <math.h>
#include <string.h>

enum {
    WIDTH_PX = 352,
    HEIGHT_PX = 276,
    PLOT_LEFT_PX = 36,
    PLOT_WIDTH_PX = 226,
    PLOT_HEIGHT_PX = 204,
    TITLE_PX = 22,
    STYLE_BYTES = 48
};
enum { SMALL_WIDTH_PX = 300, SMALL_HEIGHT_PX = 224, SMALL_PLOT_PX = 148 };

double report_begin_figure(ac_markup *out, const report_drawing *d, const char *name, const char *title,
                           const char *text, double width_px, double height_px)
{
    char id[128] = "";
    double extra = d->standalone ? TITLE_PX : 0;
    if (!d->standalone && d->version)
        snprintf(id, sizeof id, "f-%s-%zu-%zu", name, d->version->number, d->class_index);
    else if (!d->standalone)
        snprintf(id, sizeof id, "f-%s", name);
    ac_figure figure = {.id = id[0] ? id : NULL,
                        .title = title,
                        .text = text,
                        .width_px = width_px,
                        .height_px = height_px + extra,
                        .standalone = d->standalone};
    ac_figure_begin(out, &figure);
    if (d->standalone) {
        ac_markup_add(out, "<text class=\"title\" x=\"8\" y=\"19\">");
        ac_markup_escape(out, title);
        ac_markup_add(out, "</text>\n");
    }
    return 26 + extra;
}

/* Class names of class c's line. */
static const char *class_style(const report_drawing *d, size_t c, char style[STYLE_BYTES])
{
    unsigned number = (unsigned)c;
    const char *faint = d->report->labels->n_classes > MANY_CLASSES ? " faint" : "";
    if (!d->standalone)
        snprintf(style, STYLE_BYTES, "quiet thin%s c%u", faint, number);
    else if (d->report->highlighted[c])
        snprintf(style, STYLE_BYTES, "k%u d%u", number % AC_CHART_HUES, number / AC_CHART_HUES % AC_CHART_DASHES);
    else
        snprintf(style, STYLE_BYTES, "quiet thin%s", faint);
    return style;
}

static void class_end_labels(ac_markup *out, const ac_panel *panel, const report_drawing *d, const double *end,
                             const double *whole, const char *whole_name)
{
    const label_table *labels = d->report->labels;
    ac_end_label *label = NULL;
    char(*style)[STYLE_BYTES] = NULL;
    size_t n = 0;
    if (ac_malloc(labels->n_classes + 1, sizeof *label, &label) != AC_OK ||
        ac_malloc(labels->n_classes, sizeof *style, &style) != AC_OK) {
        out->status = AC_ERR_MEMORY;
        goto out;
    }
    for (size_t c = 0; c < labels->n_classes; c++)
        if (!d->standalone || d->report->highlighted[c])
            label[n++] = (ac_end_label){.y = end[c],
                                        .style = class_style(d, c, style[c]),
                                        .text = labels->class_name[c],
                                        .later = !d->report->highlighted[c]};
    label[n++] = (ac_end_label){.y = *whole, .style = "ink", .text = whole_name};
    ac_panel_end_labels(out, panel, label, n);
out:
    ac_free(label);
    ac_free(style);
}

/* From the first to the last of the reference's nineteen thresholds. */
enum { FIRST_SHOWN = 4, LAST_SHOWN = 94, N_SHOWN = LAST_SHOWN - FIRST_SHOWN + 1 };

static ac_panel threshold_panel(double left_px, double top_px, const char *label)
{
    return (ac_panel){.left_px = left_px,
                      .top_px = top_px,
                      .width_px = PLOT_WIDTH_PX,
                      .height_px = PLOT_HEIGHT_PX,
                      .most_x_ticks = 6,
                      .most_y_ticks = 6,
                      .time_across = true,
                      .x = {.min = 0.05, .max = 0.95, .label = "threshold"},
                      .y = {.min = 0, .max = 1, .label = label}};
}

static void threshold_rule(ac_markup *out, const ac_panel *panel, double threshold)
{
    if (threshold >= panel->x.min && threshold <= panel->x.max)
        ac_panel_segment(out, panel, "rule", threshold, panel->y.min, threshold, panel->y.max);
}

static void metrics_panel(ac_markup *out, const report_drawing *d, double left_px, double top_px)
{
    static const char *const name[5] = {"Macro F1", "Macro F2", "F1-Pos", "F1-Neg", "CIW-F2"};
    static const char *const style[5] = {"k0", "k1", "k2 d1", "k3 d1", "k5 d2"};
    const report_curves *curves = &d->version->curves;
    const double *const value[5] = {curves->macro_f1, curves->macro_f2, curves->f1_positive, curves->f1_negative,
                                    curves->ciw_f2};
    const double *threshold = d->report->result[d->version->set].threshold;
    ac_panel panel = threshold_panel(left_px, top_px, "metric");
    ac_end_label label[5];
    ac_panel_begin(out, &panel);
    threshold_rule(out, &panel, d->report->config->threshold);
    size_t n = curves->has_label_weight ? 5 : 4;
    for (size_t k = 0; k < n; k++) {
        ac_panel_line(out, &panel, style[k], name[k], threshold + FIRST_SHOWN, value[k] + FIRST_SHOWN, N_SHOWN);
        label[k] = (ac_end_label){.y = value[k][LAST_SHOWN], .style = style[k], .text = name[k]};
    }
    ac_panel_end_labels(out, &panel, label, n);
    ac_panel_end(out);
}

/* F of a class at a threshold that need not be one of the grid. */
static double near_threshold(const double *curve, double threshold)
{
    double at = threshold * 100 - 1;
    size_t i = at < 0 ? 0 : at > EVALUATE_GRID - 1 ? EVALUATE_GRID - 1 : (size_t)at;
    double part = at - (double)i;
    return i + 1 < EVALUATE_GRID && part > 0 ? curve[i] + part * (curve[i + 1] - curve[i]) : curve[i];
}

static void class_panel(ac_markup *out, const report_drawing *d, double left_px, double top_px, bool f2)
{
    const report *r = d->report;
    const report_curves *curves = &d->version->curves;
    const set_result *result = &r->result[d->version->set];
    const double *of = f2 ? curves->class_f2 : curves->class_f1, *macro = f2 ? curves->macro_f2 : curves->macro_f1;
    char style[STYLE_BYTES];
    size_t n = r->labels->n_classes;
    double *end = NULL;
    ac_panel panel = threshold_panel(left_px, top_px, f2 ? "F2" : "F1");
    if (ac_malloc(n, sizeof *end, &end) != AC_OK) {
        out->status = AC_ERR_MEMORY;
        return;
    }
    ac_panel_begin(out, &panel);
    threshold_rule(out, &panel, r->config->threshold);
    for (size_t c = 0; c < n; c++) {
        const double *curve = of + c * EVALUATE_GRID;
        end[c] = curve[LAST_SHOWN];
        if (isnan(end[c]))
            continue;
        ac_panel_line(out, &panel, class_style(d, c, style), r->labels->class_name[c], result->threshold + FIRST_SHOWN,
                      curve + FIRST_SHOWN, N_SHOWN);
        if (result->tuned)
            ac_panel_dot(out, &panel, style, result->tuned_threshold[c],
                         near_threshold(curve, result->tuned_threshold[c]), 3, NULL);
    }
    ac_panel_line(out, &panel, "bold ink", "macro mean", result->threshold + FIRST_SHOWN, macro + FIRST_SHOWN, N_SHOWN);
    class_end_labels(out, &panel, d, end, &macro[LAST_SHOWN], "macro");
    ac_panel_end(out);
    ac_free(end);
}

void report_draw_metrics(ac_markup *out, const report_drawing *d)
{
    double top = report_begin_figure(
        out, d, "metrics", "Metrics over the threshold",
        "Macro F1, macro F2, F1-Pos, F1-Neg and, with class weights, CIW-F2 from threshold 0.05 to 0.95.", WIDTH_PX,
        HEIGHT_PX);
    metrics_panel(out, d, PLOT_LEFT_PX, top);
    ac_figure_end(out);
}

static void draw_class_f(ac_markup *out, const report_drawing *d, const char *name, const char *title, bool is_f2)
{
    double top = report_begin_figure(out, d, name, title,
                                     "One line for each class and their mean, from threshold 0.05 to 0.95.", WIDTH_PX,
                                     HEIGHT_PX);
    class_panel(out, d, PLOT_LEFT_PX, top, is_f2);
    ac_figure_end(out);
}

void report_draw_class_f1(ac_markup *out, const report_drawing *d)
{
    draw_class_f(out, d, "class_f1", "F1 of each class over the threshold", false);
}

void report_draw_class_f2(ac_markup *out, const report_drawing *d)
{
    draw_class_f(out, d, "class_f2", "F2 of each class over the threshold", true);
}

void report_draw_thresholds(ac_markup *out, const report_drawing *d)
{
    double top =
        report_begin_figure(out, d, "thresholds", "Metrics, F1 of each class and F2 of each class over the threshold",
                            "Three plots side by side, from threshold 0.05 to 0.95.", 3 * WIDTH_PX, HEIGHT_PX);
    metrics_panel(out, d, PLOT_LEFT_PX, top);
    class_panel(out, d, WIDTH_PX + PLOT_LEFT_PX, top, false);
    class_panel(out, d, 2 * WIDTH_PX + PLOT_LEFT_PX, top, true);
    ac_figure_end(out);
}

/* Points of equal F1: F = 2PR / (P + R), so P = FR / (2R - F). */
static void equal_f1(ac_markup *out, const ac_panel *panel)
{
    enum { N = 40 };
    for (int k = 2; k <= 8; k += 2) {
        double f = k / 10.0, x[N], y[N];
        char text[16];
        for (int i = 0; i < N; i++) {
            x[i] = f / (2 - f) + (1 - f / (2 - f)) * i / (N - 1);
            y[i] = f * x[i] / (2 * x[i] - f);
        }
        ac_panel_line(out, panel, "quiet thin d2", NULL, x, y, N);
        snprintf(text, sizeof text, "F1 %.1f", f);
        ac_panel_note(out, panel, f - 0.02, f - 0.02, text);
    }
}

/* Precision as a function of recall; before its first point the curve goes on level, as AP counts it. */
static void draw_curve(ac_markup *out, const ac_panel *panel, const char *style, const char *name,
                       const ac_profile *profile)
{
    double x[AC_PROFILE_POINTS + 1], y[AC_PROFILE_POINTS + 1];
    size_t n = profile->n_points;
    for (size_t i = 0; i < n; i++) {
        x[i + 1] = (double)profile->point_recall[i];
        y[i + 1] = (double)profile->point_precision[i];
    }
    if (n == 0)
        return;
    x[0] = 0;
    y[0] = y[1];
    ac_panel_line(out, panel, style, name, x, y, n + 1);
}

static ac_panel recall_panel(double top_px)
{
    return (ac_panel){.left_px = PLOT_LEFT_PX,
                      .top_px = top_px,
                      .width_px = PLOT_WIDTH_PX,
                      .height_px = PLOT_HEIGHT_PX,
                      .most_x_ticks = 6,
                      .most_y_ticks = 6,
                      .time_across = true,
                      .x = {.min = 0, .max = 1, .label = "recall"},
                      .y = {.min = 0, .max = 1, .label = "precision"}};
}

static void image_ratios(const report_drawing *d, ac_ratios *out)
{
    const ac_image_count *count = &d->report->result[d->version->set].metrics.image_count;
    ac_metrics_ratios(count->true_positive, count->false_positive, count->false_negative, out);
}

void report_draw_precision_recall(ac_markup *out, const report_drawing *d)
{
    const report *r = d->report;
    const set_result *result = &r->result[d->version->set];
    size_t n = r->labels->n_classes;
    char style[STYLE_BYTES];
    ac_ratios image;
    double *end = NULL;
    double top = report_begin_figure(
        out, d, "precision_recall", "Precision and recall",
        "One line for each class and one for images that show something; dots are at the threshold.", WIDTH_PX,
        HEIGHT_PX);
    ac_panel panel = recall_panel(top);
    const ac_profile *any = &result->profile[n];
    if (ac_malloc(n, sizeof *end, &end) != AC_OK) {
        out->status = AC_ERR_MEMORY;
        goto out;
    }
    ac_panel_begin(out, &panel);
    equal_f1(out, &panel);
    for (size_t c = 0; c < n; c++) {
        const ac_profile *profile = &result->profile[c];
        const ac_class_metrics *at = &result->metrics.class_metrics[c];
        end[c] = profile->n_points > 0 ? (double)profile->point_precision[profile->n_points - 1] : NAN;
        if (profile->n_points == 0)
            continue;
        draw_curve(out, &panel, class_style(d, c, style), r->labels->class_name[c], profile);
        if (at->recall > 0)
            ac_panel_dot(out, &panel, style, at->recall, at->precision, 3, NULL);
    }
    draw_curve(out, &panel, "bold ink", "shows something", any);
    image_ratios(d, &image);
    ac_panel_dot(out, &panel, "ink", image.recall, image.precision, 4, NULL);
    double any_end = any->n_points > 0 ? (double)any->point_precision[any->n_points - 1] : NAN;
    class_end_labels(out, &panel, d, end, &any_end, "any class");
    ac_panel_end(out);
out:
    ac_figure_end(out);
    ac_free(end);
}

bool report_has_positive(const report_drawing *d)
{
    return d->report->result[d->version->set].profile[d->class_index].n_points > 0;
}

void report_draw_class_precision_recall(ac_markup *out, const report_drawing *d)
{
    const set_result *result = &d->report->result[d->version->set];
    size_t c = d->class_index;
    double precision, recall;
    ac_ratios image;
    char note[32];
    double top = report_begin_figure(out, d, "class_precision_recall", "Precision and recall",
                                     "The dot is at the threshold.", SMALL_WIDTH_PX, SMALL_HEIGHT_PX);
    ac_panel panel = recall_panel(top);
    panel.height_px = SMALL_PLOT_PX;
    panel.width_px = SMALL_WIDTH_PX - PLOT_LEFT_PX - 12;
    image_ratios(d, &image);
    precision = c < d->report->labels->n_classes ? result->metrics.class_metrics[c].precision : image.precision;
    recall = c < d->report->labels->n_classes ? result->metrics.class_metrics[c].recall : image.recall;
    ac_panel_begin(out, &panel);
    draw_curve(out, &panel, "k0", "precision", &result->profile[c]);
    if (recall > 0) {
        snprintf(note, sizeof note, "at %g", d->report->config->threshold);
        ac_panel_dot(out, &panel, "k0", recall, precision, 4, NULL);
        ac_panel_note(out, &panel, recall, precision > 0.9 ? precision - 0.1 : precision + 0.07, note);
    }
    ac_panel_end(out);
    ac_figure_end(out);
}

void report_draw_class_threshold(ac_markup *out, const report_drawing *d)
{
    static const char *const style[4] = {"k0", "k1 d1", "k2", "k3 d1"}, *const name[4] = {"P", "R", "F1", "F2"};
    const set_result *result = &d->report->result[d->version->set];
    size_t c = d->class_index, n = d->report->labels->n_classes;
    double value[4][EVALUATE_GRID];
    ac_legend_entry legend[4];
    double top = report_begin_figure(out, d, "class_threshold", "Precision, recall, F1 and F2 over the threshold",
                                     "The dashed line is the threshold; a second one the tuned threshold.",
                                     SMALL_WIDTH_PX, SMALL_HEIGHT_PX);
    ac_panel panel = threshold_panel(PLOT_LEFT_PX, top, NULL);
    panel.height_px = SMALL_PLOT_PX;
    panel.width_px = SMALL_WIDTH_PX - PLOT_LEFT_PX - 12;
    panel.x.min = 0.01;
    panel.x.max = 0.99;
    for (size_t t = 0; t < EVALUATE_GRID; t++) {
        const ac_split_count *reached = &result->reached[c * EVALUATE_N_THRESHOLDS + t];
        ac_ratios at;
        ac_metrics_ratios(reached->positive, reached->negative_in_positive + reached->negative_in_negative,
                          result->profile[c].total.positive - reached->positive, &at);
        value[0][t] =
            reached->positive + reached->negative_in_positive + reached->negative_in_negative > 0 ? at.precision : NAN;
        value[1][t] = at.recall;
        value[2][t] = at.f1;
        value[3][t] = at.f2;
    }
    ac_panel_begin(out, &panel);
    threshold_rule(out, &panel, d->report->config->threshold);
    if (result->tuned && c < n) {
        double tuned = result->tuned_threshold[c];
        threshold_rule(out, &panel, tuned);
        ac_panel_note(out, &panel, tuned, 0.04, "tuned");
    }
    for (int k = 0; k < 4; k++) {
        legend[k] = (ac_legend_entry){style[k], name[k]};
        ac_panel_line(out, &panel, style[k], name[k], result->threshold, value[k], EVALUATE_GRID);
    }
    ac_panel_end(out);
    ac_figure_legend(out, PLOT_LEFT_PX, top - 22, panel.width_px, legend, 4);
    ac_figure_end(out);
}

const report_figure report_set_figures[] = {
    {"metrics", "Metrics over the threshold", "The dashed line is the threshold of this report.", report_draw_metrics,
     NULL},
    {"class_f1", "F1 of each class over the threshold", "Thick: the macro mean. Tuned thresholds are marked by dots.",
     report_draw_class_f1, NULL},
    {"class_f2", "F2 of each class over the threshold", "Thick: the macro mean. Tuned thresholds are marked by dots.",
     report_draw_class_f2, NULL},
    {"precision_recall", "Precision and recall",
     "Thick: whether an image shows anything. Dots: at the threshold. Dotted: equal F1.", report_draw_precision_recall,
     NULL},
    {"scores", "Highest score of each image", "Images per bin of 0.02 on a log scale, by what they show.",
     report_draw_all_scores, NULL},
    {"calibration", "Calibration, all classes together",
     "On the diagonal, scores are probabilities. Below: decisions per bin, on a log scale.",
     report_draw_all_calibration, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

const report_figure report_class_figures[] = {
    {"class_precision_recall", "Precision and recall", "The dot is at the threshold.",
     report_draw_class_precision_recall, report_has_positive},
    {"class_threshold", "Over the threshold", "Dashed: the threshold.", report_draw_class_threshold,
     report_has_positive},
    {"class_scores", "Scores of images that show", "Images per bin of 0.02, on a log scale.", report_draw_scores, NULL},
    {"class_calibration", "Calibration", "Below: images per bin, on a log scale.", report_draw_calibration, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

const report_figure report_training_figures[] = {
    {"training_loss", "Losses while training",
     "Dots: lowest. train_loss is measured with augmentation and the training's weights.", report_draw_losses,
     report_has_log},
    {"training_validation", "Validation metrics while training", "Dots: highest; those epochs are the checkpoints.",
     report_draw_validation, report_has_log},
    {NULL, NULL, NULL, NULL, NULL},
};

const report_figure report_data_figures[] = {
    {"labels", "Labels that occur together", NULL, report_draw_together, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
