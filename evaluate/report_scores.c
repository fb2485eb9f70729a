/* Figures of how scores are spread and whether they are probabilities, and of labels that occur together. */
#include "anyclass/alloc.h"
#include "evaluate/report.h"
#include <math.h>
#include <string.h>

enum {
    SMALL_WIDTH_PX = 300,
    SMALL_HEIGHT_PX = 224,
    SMALL_PLOT_PX = 148,
    LEFT_PX = 36,
    WIDTH_PX = 352,
    HEIGHT_PX = 276,
    PLOT_PX = 186
};

typedef struct spread { /* images per bin, by what they show */
    double positive[AC_PROFILE_BINS], in_positive[AC_PROFILE_BINS], in_negative[AC_PROFILE_BINS];
    double most;
} spread;

static void fill_spread(const ac_profile *profile, spread *out)
{
    out->most = 1;
    for (size_t b = 0; b < AC_PROFILE_BINS; b++) {
        out->positive[b] = (double)profile->bin[b].positive;
        out->in_positive[b] = (double)profile->bin[b].negative_in_positive;
        out->in_negative[b] = (double)profile->bin[b].negative_in_negative;
        out->most = fmax(out->most, fmax(out->positive[b], fmax(out->in_positive[b], out->in_negative[b])));
    }
}

static void draw_spread(ac_markup *out, const report_drawing *d, ac_panel *panel, size_t c, const char *shows)
{
    const ac_profile *profile = &d->report->result[d->version->set].profile[c];
    bool any = c == d->report->labels->n_classes;
    double threshold = d->report->config->threshold;
    ac_legend_entry legend[3] = {{"fill k1", shows}, {"k0 d1", "nothing"}, {"k6 thin", "another class"}};
    spread of;
    fill_spread(profile, &of);
    panel->x = (ac_axis){.min = 0, .max = 1, .label = "score"};
    panel->y = (ac_axis){.min = 0.5, .max = of.most * 1.3, .log = true, .label = NULL};
    ac_panel_begin(out, panel);
    ac_panel_steps(out, panel, "fill k1", shows, of.positive, AC_PROFILE_BINS);
    if (!any)
        ac_panel_steps(out, panel, "k6 thin", "another class", of.in_positive, AC_PROFILE_BINS);
    ac_panel_steps(out, panel, "k0 d1", "nothing", of.in_negative, AC_PROFILE_BINS);
    ac_panel_segment(out, panel, "rule", threshold, panel->y.min, threshold, panel->y.max);
    ac_panel_end(out);
    ac_figure_legend(out, panel->left_px - 26, panel->top_px - 22, panel->width_px + 30, legend, any ? 2 : 3);
}

void report_draw_scores(ac_markup *out, const report_drawing *d)
{
    bool any = d->class_index == d->report->labels->n_classes;
    double top = report_begin_figure(out, d, "class_scores", "Spread of scores",
                                     "Images per bin of 0.02 on a log scale: those that show the class, those that "
                                     "show another one, and those that show nothing.",
                                     SMALL_WIDTH_PX, SMALL_HEIGHT_PX);
    ac_panel panel = {.left_px = LEFT_PX,
                      .top_px = top,
                      .width_px = SMALL_WIDTH_PX - LEFT_PX - 12,
                      .height_px = SMALL_PLOT_PX,
                      .most_x_ticks = 6,
                      .most_y_ticks = 5,
                      .time_across = true};
    draw_spread(out, d, &panel, d->class_index, any ? "something" : "this class");
    ac_figure_end(out);
}

void report_draw_all_scores(ac_markup *out, const report_drawing *d)
{
    double top = report_begin_figure(
        out, d, "scores", "Highest score of each image",
        "Images per bin of 0.02 on a log scale: those that show something and those that show nothing.", WIDTH_PX,
        HEIGHT_PX);
    ac_panel panel = {.left_px = LEFT_PX,
                      .top_px = top,
                      .width_px = WIDTH_PX - LEFT_PX - 14,
                      .height_px = 204,
                      .most_x_ticks = 6,
                      .most_y_ticks = 6,
                      .time_across = true};
    draw_spread(out, d, &panel, d->report->labels->n_classes, "something");
    ac_figure_end(out);
}

/* Shares above, counts below: what a point rests on. */
static void draw_calibration(ac_markup *out, const report_drawing *d, size_t c, double top_px, double width_px,
                             double height_px)
{
    const set_result *result = &d->report->result[d->version->set];
    calibration of;
    double count[CALIBRATION_BINS], most = 1;
    char note[32], text[96];
    ac_panel panel = {.left_px = LEFT_PX,
                      .top_px = top_px,
                      .width_px = width_px,
                      .height_px = height_px * 0.72,
                      .most_y_ticks = 6,
                      .most_x_ticks = 6,
                      .x = {.min = 0, .max = 1},
                      .y = {.min = 0, .max = 1, .label = "share of positives"}};
    ac_panel counts = {.left_px = LEFT_PX,
                       .top_px = top_px + height_px * 0.8 + 8,
                       .width_px = width_px,
                       .height_px = height_px * 0.2 - 8,
                       .most_y_ticks = 2,
                       .x = {.min = 0, .max = 1, .label = "score"},
                       .y = {.min = 0.5, .log = true}};
    report_calibrate(d->report->labels, result, c, &of);
    for (size_t b = 0; b < CALIBRATION_BINS; b++) {
        count[b] = (double)of.n[b];
        most = fmax(most, count[b]);
    }
    ac_panel_begin(out, &panel);
    ac_panel_segment(out, &panel, "rule", 0, 0, 1, 1);
    for (size_t b = 0; b < CALIBRATION_BINS; b++)
        ac_panel_segment(out, &panel, "gap", of.score[b], of.score[b], of.score[b], of.share[b]);
    ac_panel_line(out, &panel, "k0", NULL, of.score, of.share, CALIBRATION_BINS);
    for (size_t b = 0; b < CALIBRATION_BINS; b++) {
        snprintf(text, sizeof text, "mean score %.3f, share %.3f, %lld", of.score[b], of.share[b], (long long)of.n[b]);
        ac_panel_dot(out, &panel, "k0", of.score[b], of.share[b], 3.5, text);
    }
    snprintf(note, sizeof note, "ECE %.3f", of.error);
    ac_panel_note(out, &panel, 0.02, 0.92, note);
    ac_panel_end(out);
    counts.y.max = most * 2;
    ac_panel_begin(out, &counts);
    ac_panel_steps(out, &counts, "fill quiet", NULL, count, CALIBRATION_BINS);
    ac_panel_end(out);
}

void report_draw_calibration(ac_markup *out, const report_drawing *d)
{
    double top =
        report_begin_figure(out, d, "class_calibration", "Calibration",
                            "Share of positives over the mean score in ten bins, and images per bin on a log scale.",
                            SMALL_WIDTH_PX, SMALL_HEIGHT_PX);
    draw_calibration(out, d, d->class_index, top, SMALL_WIDTH_PX - LEFT_PX - 12, SMALL_PLOT_PX + 16);
    ac_figure_end(out);
}

void report_draw_all_calibration(ac_markup *out, const report_drawing *d)
{
    double top =
        report_begin_figure(out, d, "calibration", "Calibration, all classes together",
                            "Share of positives over the mean score in ten bins, and decisions per bin on a log scale.",
                            WIDTH_PX, HEIGHT_PX);
    draw_calibration(out, d, d->report->labels->n_classes + 1, top, WIDTH_PX - LEFT_PX - 14, 212);
    ac_figure_end(out);
}

/* "12", "1.2k", "104k": what fits a cell. */
static void short_count(ac_markup *out, int64_t n)
{
    if (n < 1000)
        ac_markup_format(out, "%lld", (long long)n);
    else if (n < 9950)
        ac_markup_format(out, "%.1fk", (double)n / 1e3);
    else if (n < 999500)
        ac_markup_format(out, "%.0fk", (double)n / 1e3);
    else
        ac_markup_format(out, "%.1fM", (double)n / 1e6);
}

static void cell_count(ac_markup *out, const void *context, size_t row, size_t column)
{
    const report *r = context;
    short_count(out, r->together[row * r->labels->n_classes + column]);
}

static void cell_title(ac_markup *out, const void *context, size_t row, size_t column)
{
    const report *r = context;
    size_t n = r->labels->n_classes;
    int64_t both = r->together[row * n + column], own = r->together[row * n + row];
    ac_markup_count(out, both);
    if (row == column) {
        ac_markup_add(out, " images show ");
        ac_markup_escape(out, r->labels->class_name[row]);
        return;
    }
    ac_markup_add(out, " show ");
    ac_markup_escape(out, r->labels->class_name[row]);
    ac_markup_add(out, " and ");
    ac_markup_escape(out, r->labels->class_name[column]);
    ac_markup_format(out, ": %.1f %% of the former", 100 * (double)both / (double)own);
}

void report_draw_together(ac_markup *out, const report_drawing *d)
{
    const report *r = d->report;
    size_t n = r->labels->n_classes;
    double cell = n <= 20 ? 28 : n <= 40 ? 18 : 11, longest = 20, *shade = NULL;
    for (size_t c = 0; c < n; c++)
        longest = fmax(longest, ac_figure_text_width(r->labels->class_name[c]));
    longest = fmin(longest, 112);
    double above = longest * 0.87 + 14, width = longest + 10 + cell * (double)n + 0.5 * longest + 8;
    double top = report_begin_figure(out, d, "labels", "Labels that occur together",
                                     "Each row a class: the share of its images that show the class of the column too.",
                                     width, above + cell * (double)n + 6);
    if (ac_malloc(n * n, sizeof *shade, &shade) != AC_OK) {
        out->status = AC_ERR_MEMORY;
        goto out;
    }
    for (size_t i = 0; i < n * n; i++) {
        int64_t own = r->together[i / n * n + i / n];
        shade[i] = r->together[i] == 0 ? NAN : i / n == i % n ? 0 : (double)r->together[i] / (double)own;
    }
    ac_heat_map map = {.left_px = longest + 10,
                       .top_px = top - 26 + above,
                       .cell_px = cell,
                       .n_rows = n,
                       .n_columns = n,
                       .shade = shade,
                       .row_name = r->labels->class_name,
                       .column_name = r->labels->class_name,
                       .cell_text = n <= 20 ? cell_count : NULL,
                       .cell_title = cell_title,
                       .context = r};
    ac_figure_heat_map(out, &map);
out:
    ac_figure_end(out);
    ac_free(shade);
}
