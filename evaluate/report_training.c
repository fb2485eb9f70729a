/* Training curves: the trainer's metrics.csv, and its figures. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "evaluate/report.h"
#include <math.h>
#include <string.h>

static const char *const column_name[N_LOG_COLUMNS] = {"train_loss", "val_loss", "val_bce",
                                                       "val_ap",     "val_f1",   "val_f2"};

void report_release_log(report_log *log)
{
    ac_free(log->epoch);
    for (int k = 0; k < N_LOG_COLUMNS; k++)
        ac_free(log->value[k]);
    memset(log, 0, sizeof *log);
}

static ac_status grow(report_log *log)
{
    ac_status status = AC_OK;
    size_t wanted = log->capacity ? 2 * log->capacity : 64;
    AC_TRY(ac_realloc(&log->epoch, wanted, sizeof(double)));
    for (int k = 0; k < N_LOG_COLUMNS; k++)
        AC_TRY(ac_realloc(&log->value[k], wanted, sizeof(double)));
    log->capacity = wanted;
out:
    return status;
}

/* An empty cell is a number that was not measured at that step; "nan" one that was none. */
static ac_status read_cell(const ac_csv *csv, int field, double *out)
{
    const char *text = csv->field[field];
    *out = NAN;
    bool negative = *text == '-';
    if (*text == '\0' || strcmp(text + negative, "nan") == 0 || strcmp(text + negative, "inf") == 0)
        return AC_OK;
    ac_status status = ac_parse_double(text, out);
    return status == AC_OK ? status : ac_error_in(status, "%s line %zu", csv->name, csv->line);
}

/* Find the columns in the header: epoch, step, then those of column_name. */
static ac_status find_columns(ac_csv *csv, int field[N_LOG_COLUMNS + 2])
{
    ac_status status = AC_OK;
    bool have;
    AC_TRY(ac_csv_next(csv, &have));
    for (int k = 0; k < N_LOG_COLUMNS + 2; k++) {
        const char *name = k == 0 ? "epoch" : k == 1 ? "step" : column_name[k - 2];
        field[k] = have ? ac_csv_find(csv, name) : -1;
        if (field[k] < 0)
            AC_TRY(ac_error(AC_ERR_DATA, "%s: no column %s: not a metrics.csv of anyclass-train", csv->name, name));
    }
out:
    return status;
}

/* Rows between epochs have a step but no validation; their place is interpolated from the last epoch that ended. */
static void place_rows(report_log *log, const double *step)
{
    double steps_per_epoch = 0;
    for (size_t i = 0; i < log->n_rows; i++)
        if (!isnan(log->value[LOG_VAL_LOSS][i]) || !isnan(log->value[LOG_VAL_BCE][i]))
            steps_per_epoch = step[i] / (log->epoch[i] + 1);
    for (size_t i = 0; i < log->n_rows; i++)
        log->epoch[i] = steps_per_epoch > 0 ? step[i] / steps_per_epoch : log->epoch[i] + 1;
}

static ac_status read_rows(ac_csv *csv, report_log *out)
{
    ac_status status = AC_OK;
    int field[N_LOG_COLUMNS + 2];
    size_t n_fields;
    double *step = NULL;
    AC_TRY(find_columns(csv, field));
    n_fields = csv->n_fields;
    for (bool have = true;; out->n_rows++) {
        AC_TRY(ac_csv_next(csv, &have));
        if (!have)
            break;
        if (csv->n_fields != n_fields)
            AC_TRY(ac_error(AC_ERR_DATA, "%s line %zu: %zu fields, the header has %zu", csv->name, csv->line,
                            csv->n_fields, n_fields));
        if (out->n_rows == out->capacity) {
            AC_TRY(grow(out));
            AC_TRY(ac_realloc(&step, out->capacity, sizeof *step));
        }
        AC_TRY(read_cell(csv, field[0], &out->epoch[out->n_rows]));
        AC_TRY(read_cell(csv, field[1], &step[out->n_rows]));
        for (int k = 0; k < N_LOG_COLUMNS; k++)
            AC_TRY(read_cell(csv, field[k + 2], &out->value[k][out->n_rows]));
    }
    place_rows(out, step);
out:
    ac_free(step);
    return status;
}

ac_status report_read_log(const char *log_dir, const char *version, report_log *out)
{
    ac_status status = AC_OK;
    ac_csv csv = {0};
    char folder[SET_NAME_BYTES + 16], path[AC_PATH_BYTES], base[AC_PATH_BYTES];
    snprintf(folder, sizeof folder, "version_%s", version);
    AC_TRY(ac_path_join(base, log_dir, folder));
    AC_TRY(ac_path_join(path, base, "metrics.csv"));
    out->missing = version[0] == '\0' || !ac_path_exists(path);
    if (out->missing)
        goto out;
    AC_TRY(ac_csv_open(&csv, path));
    AC_TRY(read_rows(&csv, out));
out:
    ac_csv_close(&csv);
    return status;
}

bool report_has_log(const report_drawing *d)
{
    return d->version->log.n_rows > 0;
}

static size_t best_row(const report_log *log, int column, bool highest)
{
    size_t best = log->n_rows;
    for (size_t i = 0; i < log->n_rows; i++) {
        double value = log->value[column][i];
        if (!isnan(value) &&
            (best == log->n_rows || (highest ? value > log->value[column][best] : value < log->value[column][best])))
            best = i;
    }
    return best;
}

/* Only the rows that have a value: a line over what lies between two epochs. */
static void draw_curve(ac_markup *out, const ac_panel *panel, const report_log *log, int column, const char *style,
                       bool highest, double *x, double *y)
{
    char text[96];
    size_t n = 0, best = best_row(log, column, highest);
    for (size_t i = 0; i < log->n_rows; i++) {
        if (isnan(log->value[column][i]))
            continue;
        x[n] = log->epoch[i];
        y[n++] = log->value[column][i];
    }
    ac_panel_line(out, panel, style, column_name[column], x, y, n);
    if (n == 1)
        ac_panel_dot(out, panel, style, x[0], y[0], 2, NULL);
    if (best == log->n_rows || column == LOG_TRAIN_LOSS)
        return;
    snprintf(text, sizeof text, "best %s: %.4f after epoch %.0f", column_name[column], log->value[column][best],
             log->epoch[best]);
    ac_panel_dot(out, panel, style, log->epoch[best], log->value[column][best], 4, text);
}

static void draw_training(ac_markup *out, const report_drawing *d, const char *name, const char *title, int first,
                          bool highest)
{
    static const char *const style[3] = {"quiet", "k0", "k1 d1"}, *const style_highest[3] = {"k0", "k2 d1", "k3 d2"};
    const report_log *log = &d->version->log;
    ac_legend_entry legend[3];
    double *x = NULL, *y = NULL;
    double top = report_begin_figure(out, d, name, title,
                                     "Curves over epochs from metrics.csv; dots mark the best epochs.", 352, 262);
    ac_panel panel = {.left_px = 40,
                      .top_px = top,
                      .width_px = 300,
                      .height_px = 186,
                      .most_x_ticks = 8,
                      .most_y_ticks = 6,
                      .time_across = true,
                      .x = {.min = 0, .max = 1, .label = "epochs"},
                      .y = {.min = INFINITY, .max = -INFINITY}};
    for (size_t i = 0; i < log->n_rows; i++) {
        panel.x.max = fmax(panel.x.max, log->epoch[i]);
        for (int k = first; k < first + 3; k++) {
            panel.y.min = fmin(panel.y.min, log->value[k][i]);
            panel.y.max = fmax(panel.y.max, log->value[k][i]);
        }
    }
    if (!highest && panel.y.min > 0 && panel.y.min < panel.y.max / 2)
        panel.y.min = 0;
    ac_axis_fit(&panel.y, panel.most_y_ticks);
    if (ac_malloc(log->n_rows, sizeof *x, &x) != AC_OK || ac_malloc(log->n_rows, sizeof *y, &y) != AC_OK) {
        out->status = AC_ERR_MEMORY;
        goto out;
    }
    ac_panel_begin(out, &panel);
    for (int k = 0; k < 3; k++) {
        legend[k] = (ac_legend_entry){highest ? style_highest[k] : style[k], column_name[first + k]};
        draw_curve(out, &panel, log, first + k, legend[k].style, highest, x, y);
    }
    ac_panel_end(out);
    ac_figure_legend(out, panel.left_px, top + 228 - 6, panel.width_px, legend, 3);
out:
    ac_figure_end(out);
    ac_free(x);
    ac_free(y);
}

void report_draw_losses(ac_markup *out, const report_drawing *d)
{
    draw_training(out, d, "training_loss", "Losses while training", LOG_TRAIN_LOSS, false);
}

void report_draw_validation(ac_markup *out, const report_drawing *d)
{
    draw_training(out, d, "training_validation", "Validation metrics while training", LOG_VAL_AP, true);
}
