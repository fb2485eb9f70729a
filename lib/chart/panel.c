/* Figures and panels: the frame around marks. Marks are in marks.c. */
#include "anyclass/chart.h"
#include "lib/chart/chart_internal.h"
#include <string.h>

enum { LEGEND_ROW_PX = 16, LEGEND_SAMPLE_PX = 18, LEGEND_GAP_PX = 14 };

void ac_figure_begin(ac_markup *out, const ac_figure *figure)
{
    if (figure->standalone)
        ac_markup_add(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    ac_markup_add(out, figure->standalone ? "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\""
                                          : "<svg class=\"chart\"");
    if (figure->id)
        ac_markup_format(out, " id=\"%s\"", figure->id);
    ac_markup_format(out, " viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" role=\"img\" aria-label=\"",
                     figure->width_px, figure->height_px, figure->width_px, figure->height_px);
    ac_markup_escape(out, figure->title);
    ac_markup_add(out, "\">");
    if (figure->standalone) { /* in a page it would lie over the read-outs, and a caption says it */
        ac_markup_add(out, "<title>");
        ac_markup_escape(out, figure->title);
        ac_markup_add(out, "</title>");
    }
    if (figure->text) {
        ac_markup_add(out, "<desc>");
        ac_markup_escape(out, figure->text);
        ac_markup_add(out, "</desc>");
    }
    if (figure->standalone) {
        ac_markup_add(out, "<style>\n");
        ac_markup_add(out, ac_chart_colors_css);
        ac_markup_add(out, ac_chart_style_css);
        ac_markup_add(out, "</style><rect class=\"back\" width=\"100%\" height=\"100%\"/>");
    }
    ac_markup_add(out, "\n");
}

void ac_figure_end(ac_markup *out)
{
    ac_markup_add(out, "</svg>\n");
}

size_t chart_n_characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

double ac_figure_text_width(const char *text)
{
    return 6.1 * (double)chart_n_characters(text);
}

double ac_figure_legend(ac_markup *out, double left_px, double top_px, double width_px, const ac_legend_entry *entry,
                        size_t n)
{
    double x = left_px, y = top_px + LEGEND_ROW_PX / 2.0;
    if (n == 0)
        return 0;
    ac_markup_add(out, "<g class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        double wanted = LEGEND_SAMPLE_PX + 5 + ac_figure_text_width(entry[i].text);
        if (x > left_px && x + wanted > left_px + width_px) {
            x = left_px;
            y += LEGEND_ROW_PX;
        }
        ac_markup_format(out, "<path class=\"ln %s\" d=\"M", entry[i].style);
        chart_point(out, x, y);
        if (strstr(entry[i].style, "fill"))
            ac_markup_format(out, "v-4h%dv8h-%dz\"/><text x=\"", LEGEND_SAMPLE_PX, LEGEND_SAMPLE_PX);
        else
            ac_markup_format(out, "h%d\"/><text x=\"", LEGEND_SAMPLE_PX);
        ac_markup_number(out, x + LEGEND_SAMPLE_PX + 5, 1);
        ac_markup_add(out, "\" y=\"");
        ac_markup_number(out, y + 4, 1);
        ac_markup_add(out, "\">");
        ac_markup_escape(out, entry[i].text);
        ac_markup_add(out, "</text>");
        x += wanted + LEGEND_GAP_PX;
    }
    ac_markup_add(out, "</g>\n");
    return y + LEGEND_ROW_PX / 2.0 - top_px;
}

void chart_point(ac_markup *out, double x, double y)
{
    ac_markup_number(out, x, 1);
    ac_markup_add(out, " ");
    ac_markup_number(out, y, 1);
}

void chart_text_at(ac_markup *out, const char *style, double x, double y)
{
    ac_markup_add(out, "<text");
    if (style)
        ac_markup_format(out, " class=\"%s\"", style);
    ac_markup_add(out, " x=\"");
    ac_markup_number(out, x, 1);
    ac_markup_add(out, "\" y=\"");
    ac_markup_number(out, y, 1);
    ac_markup_add(out, "\">");
}

double chart_x(const ac_panel *panel, double value)
{
    return panel->left_px + ac_axis_place(&panel->x, value) * panel->width_px;
}

double chart_y(const ac_panel *panel, double value)
{
    return panel->top_px + (1 - ac_axis_place(&panel->y, value)) * panel->height_px;
}

static void draw_grid(ac_markup *out, const ac_panel *panel, const ac_ticks *x, const ac_ticks *y)
{
    ac_markup_add(out, "<path class=\"grid\" d=\"");
    for (int i = 0; i < x->n; i++) {
        ac_markup_add(out, "M");
        chart_point(out, chart_x(panel, x->value[i]), panel->top_px);
        ac_markup_format(out, "v%g", panel->height_px);
    }
    for (int i = 0; i < y->n; i++) {
        ac_markup_add(out, "M");
        chart_point(out, panel->left_px, chart_y(panel, y->value[i]));
        ac_markup_format(out, "h%g", panel->width_px);
    }
    ac_markup_add(out, "\"/>");
}

static void draw_ticks(ac_markup *out, const ac_panel *panel, const ac_ticks *x, const ac_ticks *y)
{
    char text[AC_TICK_BYTES];
    ac_markup_add(out, "<g class=\"tx\">");
    for (int i = 0; i < x->n; i++) {
        ac_axis_tick_text(x, i, text);
        chart_text_at(out, NULL, chart_x(panel, x->value[i]), panel->top_px + panel->height_px + 14);
        ac_markup_format(out, "%s</text>", text);
    }
    ac_markup_add(out, "</g><g class=\"ty\">");
    for (int i = 0; i < y->n; i++) {
        ac_axis_tick_text(y, i, text);
        chart_text_at(out, NULL, panel->left_px - 6, chart_y(panel, y->value[i]) + 3.5);
        ac_markup_format(out, "%s</text>", text);
    }
    ac_markup_add(out, "</g>");
}

static void draw_labels(ac_markup *out, const ac_panel *panel)
{
    double bottom = panel->top_px + panel->height_px;
    if (panel->x.label) {
        chart_text_at(out, "lx", panel->left_px + panel->width_px / 2, bottom + (panel->most_x_ticks > 0 ? 30 : 15));
        ac_markup_escape(out, panel->x.label);
        ac_markup_add(out, "</text>");
    }
    if (panel->y.label) { /* above the axis, where it reads without turning the head */
        chart_text_at(out, "ly", panel->left_px - 28, panel->top_px - 9);
        ac_markup_escape(out, panel->y.label);
        ac_markup_add(out, "</text>");
    }
    if (panel->title) {
        chart_text_at(out, "title", panel->left_px - 28, panel->top_px - 26);
        ac_markup_escape(out, panel->title);
        ac_markup_add(out, "</text>");
    }
}

void ac_panel_begin(ac_markup *out, const ac_panel *panel)
{
    ac_ticks x = {0}, y = {0};
    if (panel->most_x_ticks > 0)
        ac_axis_ticks(&panel->x, panel->most_x_ticks, &x);
    if (panel->most_y_ticks > 0)
        ac_axis_ticks(&panel->y, panel->most_y_ticks, &y);
    ac_markup_add(out, "<g class=\"panel\"");
    if (panel->time_across) /* what a script needs to turn places into values */
        ac_markup_format(out, " data-p=\"%g %g %g %g %.6g %.6g %.6g %.6g %d\"", panel->left_px, panel->top_px,
                         panel->width_px, panel->height_px, panel->x.min, panel->x.max, panel->y.min, panel->y.max,
                         panel->y.log);
    ac_markup_add(out, ">");
    draw_grid(out, panel, &x, &y);
    ac_markup_add(out, "<path class=\"axis\" d=\"M");
    chart_point(out, panel->left_px, panel->top_px + panel->height_px);
    ac_markup_format(out, "h%g\"/>", panel->width_px);
    draw_ticks(out, panel, &x, &y);
    draw_labels(out, panel);
    ac_markup_add(out, "\n");
}

void ac_panel_end(ac_markup *out)
{
    ac_markup_add(out, "</g>\n");
}
