/* What is drawn in a panel: lines, columns, dots, rules, notes, names of curves; and the heat map. */
#include "anyclass/alloc.h"
#include "anyclass/chart.h"
#include "lib/chart/chart_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { END_LABEL_PX = 11, END_LABEL_CHARACTERS = 12 };
static const double tolerance_px = 0.08;

static void begin_path(ac_markup *out, const char *style, const char *name)
{
    ac_markup_format(out, "<path class=\"ln %s\"", style);
    if (name) {
        ac_markup_add(out, " data-n=\"");
        ac_markup_escape(out, name);
        ac_markup_add(out, "\"");
    }
    ac_markup_add(out, " d=\"");
}

/* True when the line from point i to point k passes all points between them. */
static bool passes(const ac_panel *panel, const double *x, const double *y, size_t i, size_t k)
{
    double x0 = chart_x(panel, x[i]), y0 = chart_y(panel, y[i]), dx = chart_x(panel, x[k]) - x0,
           dy = chart_y(panel, y[k]) - y0;
    double length = hypot(dx, dy);
    for (size_t j = i + 1; j < k; j++) {
        double ax = chart_x(panel, x[j]) - x0, ay = chart_y(panel, y[j]) - y0, along = ax * dx + ay * dy;
        double away = length > 0 ? fabs(ax * dy - ay * dx) / length : hypot(ax, ay);
        if (away > tolerance_px || along < 0 || along > length * length + tolerance_px)
            return false;
    }
    return true;
}

/* Points of a path, without those that a line without them passes. */
static void add_points(ac_markup *out, const ac_panel *panel, const double *x, const double *y, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (isnan(x[i]) || isnan(y[i])) {
            i++;
            continue;
        }
        ac_markup_add(out, i > 0 && !isnan(y[i - 1]) && !isnan(x[i - 1]) ? "L" : "M");
        chart_point(out, chart_x(panel, x[i]), chart_y(panel, y[i]));
        size_t next = i + 1; /* the farthest point that a straight line reaches */
        while (next + 1 < n && !isnan(x[next]) && !isnan(y[next]) && !isnan(x[next + 1]) && !isnan(y[next + 1]) &&
               passes(panel, x, y, i, next + 1))
            next++;
        i = next;
    }
}

void ac_panel_line(ac_markup *out, const ac_panel *panel, const char *style, const char *name, const double *x,
                   const double *y, size_t n)
{
    begin_path(out, style, name);
    add_points(out, panel, x, y, n);
    ac_markup_add(out, "\"/>\n");
}

void ac_panel_region(ac_markup *out, const ac_panel *panel, const char *color, const double *x, const double *y,
                     size_t n)
{
    ac_markup_format(out, "<path fill=\"%s\" fill-rule=\"evenodd\" d=\"", color);
    add_points(out, panel, x, y, n);
    ac_markup_add(out, "\"/>\n");
}

void ac_panel_contour(ac_markup *out, const ac_panel *panel, const char *color, double opacity, double width_px,
                      const double *x, const double *y, size_t n)
{
    ac_markup_format(out, "<path fill=\"none\" stroke=\"%s\" stroke-opacity=\"%.2g\" stroke-width=\"%.2g\" d=\"", color,
                     opacity, width_px);
    add_points(out, panel, x, y, n);
    ac_markup_add(out, "\"/>\n");
}

static void add_step(ac_markup *out, const char *letter, double x, double y)
{
    ac_markup_add(out, letter);
    chart_point(out, x, y);
}

void ac_panel_arrows(ac_markup *out, const ac_panel *panel, const char *color, const ac_arrow *arrow, size_t n)
{
    ac_markup_format(out,
                     "<path fill=\"none\" stroke=\"%s\" stroke-opacity=\".75\" stroke-linecap=\"round\" "
                     "stroke-linejoin=\"round\" d=\"",
                     color);
    for (size_t i = 0; i < n; i++) {
        double dx = arrow[i].right_px, dy = arrow[i].down_px, length = hypot(dx, dy);
        if (!isfinite(length) || length <= 0.1 || isnan(arrow[i].x) || isnan(arrow[i].y))
            continue;
        double head = fmin(4, 0.4 * length) / length, ux = dx * head, uy = dy * head;
        double tip_x = chart_x(panel, arrow[i].x) + dx / 2, tip_y = chart_y(panel, arrow[i].y) + dy / 2;
        add_step(out, "M", tip_x - dx, tip_y - dy);
        add_step(out, "L", tip_x, tip_y);
        add_step(out, "M", tip_x - ux - 0.6 * uy, tip_y - uy + 0.6 * ux);
        add_step(out, "L", tip_x, tip_y);
        add_step(out, "L", tip_x - ux + 0.6 * uy, tip_y - uy - 0.6 * ux);
    }
    ac_markup_add(out, "\"/>\n");
}

void ac_panel_steps(ac_markup *out, const ac_panel *panel, const char *style, const char *name, const double *y,
                    size_t n)
{
    double bottom = panel->top_px + panel->height_px, last = bottom;
    begin_path(out, style, name);
    for (size_t i = 0; i <= n; i++) { /* nothing is drawn along the bottom: it would cover the axis */
        double at = i < n ? chart_y(panel, y[i]) : bottom, x = panel->left_px + panel->width_px * (double)i / (double)n;
        if (fabs(at - last) < tolerance_px)
            continue;
        if (bottom - last < tolerance_px) {
            ac_markup_add(out, "M");
            chart_point(out, x, bottom);
        } else {
            ac_markup_add(out, "H");
            ac_markup_number(out, x, 1);
        }
        ac_markup_add(out, "V");
        ac_markup_number(out, at, 1);
        last = at;
    }
    ac_markup_add(out, "\"/>\n");
}

void ac_panel_dot(ac_markup *out, const ac_panel *panel, const char *style, double x, double y, double radius_px,
                  const char *text)
{
    if (isnan(x) || isnan(y))
        return;
    ac_markup_format(out, "<circle class=\"dot %s\" cx=\"", style);
    ac_markup_number(out, chart_x(panel, x), 1);
    ac_markup_add(out, "\" cy=\"");
    ac_markup_number(out, chart_y(panel, y), 1);
    ac_markup_add(out, "\" r=\"");
    ac_markup_number(out, radius_px, 1);
    if (text) {
        ac_markup_add(out, "\"><title>");
        ac_markup_escape(out, text);
        ac_markup_add(out, "</title></circle>\n");
    } else
        ac_markup_add(out, "\"/>\n");
}

void ac_panel_segment(ac_markup *out, const ac_panel *panel, const char *style, double x0, double y0, double x1,
                      double y1)
{
    if (isnan(x0) || isnan(y0) || isnan(x1) || isnan(y1))
        return;
    ac_markup_format(out, "<path class=\"%s\" d=\"M", style);
    chart_point(out, chart_x(panel, x0), chart_y(panel, y0));
    ac_markup_add(out, "L");
    chart_point(out, chart_x(panel, x1), chart_y(panel, y1));
    ac_markup_add(out, "\"/>\n");
}

void ac_panel_note(ac_markup *out, const ac_panel *panel, double x, double y, const char *text)
{
    double at = chart_x(panel, x), width = ac_figure_text_width(text);
    bool left = at + width + 5 > panel->left_px + panel->width_px && at - width > panel->left_px;
    chart_text_at(out, left ? "note end" : "note", at + (left ? -5 : 5), chart_y(panel, y) + 4);
    ac_markup_escape(out, text);
    ac_markup_add(out, "</text>\n");
}

static int by_height(const void *a, const void *b)
{
    const ac_end_label *one = a, *other = b;
    if (one->y != other->y)
        return one->y > other->y ? -1 : 1;
    return strcmp(one->text, other->text);
}

static void end_label(ac_markup *out, const ac_panel *panel, const ac_end_label *label, double at)
{
    double right = panel->left_px + panel->width_px;
    ac_markup_format(out, "<g class=\"name %s\"><path d=\"M", label->style);
    chart_point(out, right + 1, chart_y(panel, label->y));
    ac_markup_add(out, "L");
    chart_point(out, right + 7, at);
    ac_markup_add(out, "\"/>");
    chart_text_at(out, NULL, right + 9, at + 3.5);
    ac_markup_shorten(out, label->text, END_LABEL_CHARACTERS);
    ac_markup_add(out, "</text></g>\n");
}

/* As high as their curves, below the last, with room for those below. */
static size_t place_first(const ac_panel *panel, const ac_end_label *label, size_t n, double *at)
{
    double lowest = panel->top_px + panel->height_px + 4, last = panel->top_px - 2 * END_LABEL_PX;
    size_t left = 0, placed = 0;
    for (size_t i = 0; i < n; i++)
        left += !label[i].later;
    double gap = (panel->height_px + END_LABEL_PX) / (double)left;
    gap = gap < END_LABEL_PX ? gap : END_LABEL_PX;
    for (size_t i = 0; i < n; i++) {
        if (label[i].later)
            continue;
        double wanted = chart_y(panel, label[i].y), most = lowest - gap * (double)--left;
        wanted = wanted < last + gap ? last + gap : wanted;
        last = at[placed++] = wanted > most ? most : wanted;
    }
    return placed;
}

/* The free place nearest to `wanted`; NaN where all are taken. */
static double free_place(const ac_panel *panel, double wanted, const double *at, size_t n)
{
    double best = NAN;
    for (double y = panel->top_px - 4; y <= panel->top_px + panel->height_px + 4; y += 1) {
        bool taken = false;
        for (size_t i = 0; i < n; i++)
            taken |= fabs(at[i] - y) < END_LABEL_PX - 1;
        if (!taken && !(fabs(y - wanted) >= fabs(best - wanted)))
            best = y;
    }
    return best;
}

void ac_panel_end_labels(ac_markup *out, const ac_panel *panel, ac_end_label *label, size_t n)
{
    size_t kept = 0, placed, next = 0;
    double *at = NULL;
    for (size_t i = 0; i < n; i++)
        if (!isnan(label[i].y))
            label[kept++] = label[i];
    if (ac_malloc(kept, sizeof *at, &at) != AC_OK) {
        out->status = AC_ERR_MEMORY;
        return;
    }
    qsort(label, kept, sizeof *label, by_height);
    placed = place_first(panel, label, kept, at);
    for (size_t i = 0; i < kept; i++)
        if (!label[i].later)
            end_label(out, panel, &label[i], at[next++]);
    for (size_t i = 0; i < kept; i++) {
        double place = label[i].later ? free_place(panel, chart_y(panel, label[i].y), at, placed) : NAN;
        if (isnan(place))
            continue;
        at[placed++] = place;
        end_label(out, panel, &label[i], place);
    }
    ac_free(at);
}

static void heat_names(ac_markup *out, const ac_heat_map *map)
{
    double size = map->cell_px * 0.75;
    size = size > 11 ? 11 : size;
    ac_markup_format(out, "<g class=\"ty\" style=\"font-size:%gpx\">", size);
    for (size_t i = 0; i < map->n_rows; i++) {
        chart_text_at(out, NULL, map->left_px - 5, map->top_px + map->cell_px * ((double)i + 0.5) + size / 3);
        ac_markup_shorten(out, map->row_name[i], 18);
        ac_markup_add(out, "</text>");
    }
    ac_markup_format(out, "</g><g class=\"slant\" style=\"font-size:%gpx\">", size);
    for (size_t i = 0; i < map->n_columns; i++) {
        ac_markup_add(out, "<text transform=\"translate(");
        chart_point(out, map->left_px + map->cell_px * ((double)i + 0.5) + size / 3, map->top_px - 6);
        ac_markup_add(out, ") rotate(-60)\">");
        ac_markup_shorten(out, map->column_name[i], 18);
        ac_markup_add(out, "</text>");
    }
    ac_markup_add(out, "</g>\n");
}

void ac_figure_heat_map(ac_markup *out, const ac_heat_map *map)
{
    heat_names(out, map);
    ac_markup_add(out, "<path class=\"grid\" d=\"M");
    chart_point(out, map->left_px, map->top_px);
    ac_markup_format(out, "h%gv%gh-%gz\"/><g class=\"heat\">", map->cell_px * (double)map->n_columns,
                     map->cell_px * (double)map->n_rows, map->cell_px * (double)map->n_columns);
    for (size_t i = 0; i < map->n_rows; i++) {
        for (size_t k = 0; k < map->n_columns; k++) {
            double shade = map->shade[i * map->n_columns + k];
            double x = map->left_px + map->cell_px * (double)k, y = map->top_px + map->cell_px * (double)i;
            if (isnan(shade))
                continue;
            ac_markup_format(out, "<g><path style=\"fill-opacity:%.2f\" d=\"M", shade);
            chart_point(out, x + 0.5, y + 0.5);
            ac_markup_format(out, "h%gv%gh-%gz\"/>", map->cell_px - 1, map->cell_px - 1, map->cell_px - 1);
            if (map->cell_text) {
                chart_text_at(out, shade > 0.55 ? "on" : NULL, x + map->cell_px / 2, y + map->cell_px / 2 + 3.5);
                map->cell_text(out, map->context, i, k);
                ac_markup_add(out, "</text>");
            }
            if (map->cell_title) {
                ac_markup_add(out, "<title>");
                map->cell_title(out, map->context, i, k);
                ac_markup_add(out, "</title>");
            }
            ac_markup_add(out, "</g>\n");
        }
    }
    ac_markup_add(out, "</g>\n");
}
