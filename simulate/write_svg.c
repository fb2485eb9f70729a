/* Surfaces as a picture: filled bands, contour lines with their values, arrows, a legend. */
#include "anyclass/alloc.h"
#include "simulate/steps.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    PLOT_PX = 270,
    LEFT_PX = 44,
    RIGHT_PX = 22,
    TOP_PX = 74,
    BOTTOM_PX = 74,
    BAR_TOP_PX = 44,
    BAR_PX = 9,
    MOST_ACROSS = 4,
    BANDS_PER_LINE = 2,
    N_ARROWS = 11,
    LABEL_APART_PX = 34,
    MOST_LABELS = 64,
    STATE_PX = 14, /* from line to line */
    STATE_BYTES = 400
};

typedef struct picture { /* one surface */
    const simulate_plan *plan;
    simulate_surface surface;
    ac_color_map map;
    ac_panel panel;
    ac_contour_grid grid;
    double low, high;
    ac_ticks line; /* values of the contour lines */
    unsigned char *seen;
    double *xy, *x, *y; /* a contour: as traced, then in values of the axes */
    size_t n_labels;
    double label_x[MOST_LABELS], label_y[MOST_LABELS]; /* px */
    int label_line[MOST_LABELS];                       /* index in `line` */
} picture;

static double shade(const picture *p, double value)
{
    return p->high > p->low ? (value - p->low) / (p->high - p->low) : 0.5;
}

static const char *const ink[2] = {"#ffffff", "#10161d"}; /* on dark, on light */

static const char *ink_at(const picture *p, double value)
{
    return ink[ac_color_map_is_light(p->map, shade(p, value))];
}

static double arrow_place(int i)
{
    return 0.01 + 0.98 * (i + 0.5) / N_ARROWS;
}

static size_t trace(picture *p, double level, bool closed)
{
    size_t n = ac_contour_trace(&p->grid, level, closed, p->seen, p->xy);
    double step = (p->panel.x.max - p->panel.x.min) / (p->grid.n_columns - 1);
    for (size_t i = 0; i < n; i++) {
        p->x[i] = p->panel.x.min + step * p->xy[2 * i];
        p->y[i] = p->panel.y.min + step * p->xy[2 * i + 1];
    }
    return n;
}

/* Between two lines, with the distance of theirs where there are none. */
static double band_step(const picture *p)
{
    ac_axis axis = {.min = p->low, .max = p->high};
    ac_ticks ticks = p->line;
    if (ticks.n == 0)
        ac_axis_ticks(&axis, 10, &ticks);
    return ticks.step / BANDS_PER_LINE;
}

static void add_bands(ac_markup *out, picture *p)
{
    char color[8];
    double step = band_step(p), first = step > 0 ? (floor(p->low / step) + 1) * step : INFINITY;
    ac_color_map_text(p->map, step > 0 ? shade(p, fmax(p->low, first - step / 2)) : 0.5, color);
    ac_markup_format(out, "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"%s\"/>", p->panel.left_px,
                     p->panel.top_px, p->panel.width_px, p->panel.height_px, color);
    for (int k = 0; first + k * step < p->high && k < 2 * BANDS_PER_LINE * AC_TICKS_MOST; k++) {
        double level = first + k * step;
        ac_color_map_text(p->map, shade(p, fmin(p->high, level + step / 2)), color);
        ac_panel_region(out, &p->panel, color, p->x, p->y, trace(p, level, true));
    }
}

static bool label_has_room(const picture *p, double x, double y)
{
    const ac_panel *panel = &p->panel;
    bool room = p->n_labels < MOST_LABELS && x > panel->left_px + 18 && x < panel->left_px + panel->width_px - 18 &&
                y > panel->top_px + 10 && y < panel->top_px + panel->height_px - 10;
    for (size_t i = 0; i < p->n_labels; i++)
        room = room && hypot(p->label_x[i] - x, 1.6 * (p->label_y[i] - y)) > LABEL_APART_PX;
    return room;
}

/* The value at the middle of each line that is long enough, or where else on it there is room. */
static void place_label(picture *p, int line, size_t first, size_t n)
{
    static const double place[5] = {0.5, 0.35, 0.65, 0.2, 0.8};
    for (int k = 0; k < 5 && n > 12; k++) {
        size_t i = first + (size_t)(place[k] * (double)n);
        double x = p->panel.left_px + ac_axis_place(&p->panel.x, p->x[i]) * p->panel.width_px;
        double y = p->panel.top_px + (1 - ac_axis_place(&p->panel.y, p->y[i])) * p->panel.height_px;
        if (!label_has_room(p, x, y))
            continue;
        p->label_x[p->n_labels] = x;
        p->label_y[p->n_labels] = y;
        p->label_line[p->n_labels++] = line;
        return;
    }
}

/* Over everything else, in the colour that lies there. */
static void add_labels(ac_markup *out, const picture *p)
{
    char color[8], text[AC_TICK_BYTES];
    for (size_t i = 0; i < p->n_labels; i++) {
        double value = p->line.value[p->label_line[i]];
        ac_axis_tick_text(&p->line, p->label_line[i], text);
        ac_color_map_text(p->map, shade(p, value), color);
        ac_markup_format(out,
                         "<text x=\"%.1f\" y=\"%.1f\" "
                         "style=\"fill:%s;stroke:%s;stroke-width:3px;stroke-linejoin:round;paint-order:stroke;"
                         "text-anchor:middle;font-size:10px\">%s</text>\n",
                         p->label_x[i], p->label_y[i] + 3.5, ink_at(p, value), color, text);
    }
}

static void add_lines(ac_markup *out, picture *p)
{
    for (int k = 0; k < p->line.n; k++) {
        double value = p->line.value[k];
        size_t n = trace(p, value, false), first = 0;
        ac_panel_contour(out, &p->panel, ink_at(p, value), 0.55, 0.9, p->x, p->y, n);
        for (size_t i = 0; i < n; i++)
            if (isnan(p->x[i])) {
                place_label(p, k, first, i - first);
                first = i + 1;
            }
    }
}

/* Down the loss of the surface, by the two logits; the longest is as long as they are apart. */
static void add_arrows(ac_markup *out, picture *p)
{
    ac_arrow dark[N_ARROWS * N_ARROWS], light[N_ARROWS * N_ARROWS];
    double down[N_ARROWS * N_ARROWS][2], value[N_ARROWS * N_ARROWS], longest = 0, apart = p->panel.width_px / N_ARROWS;
    size_t n_dark = 0, n_light = 0;
    for (int k = 0; k < N_ARROWS * N_ARROWS; k++) {
        value[k] =
            simulate_at(&p->plan->scene, p->surface, arrow_place(k % N_ARROWS), arrow_place(k / N_ARROWS), down[k]);
        longest = fmax(longest, hypot(down[k][0], down[k][1]));
    }
    for (int k = 0; k < N_ARROWS * N_ARROWS && longest > 0; k++) {
        bool on_light = ac_color_map_is_light(p->map, shade(p, value[k]));
        ac_arrow *to = on_light ? &dark[n_dark++] : &light[n_light++];
        *to = (ac_arrow){arrow_place(k % N_ARROWS), arrow_place(k / N_ARROWS), -down[k][0] / longest * apart,
                         down[k][1] / longest * apart};
    }
    ac_panel_arrows(out, &p->panel, ink[1], dark, n_dark);
    ac_panel_arrows(out, &p->panel, ink[0], light, n_light);
}

/* The one value that the surface has. */
static void add_value(ac_markup *out, const picture *p, double top)
{
    char color[8];
    ac_color_map_text(p->map, shade(p, p->low), color);
    ac_markup_format(out, "<path fill=\"%s\" d=\"M%g %gh%gv%dh-%gz\"/>", color, p->panel.left_px, top,
                     p->panel.width_px, BAR_PX, p->panel.width_px);
    ac_markup_format(out, "<text x=\"%g\" y=\"%g\" style=\"text-anchor:middle\">%.6g</text>\n",
                     p->panel.left_px + p->panel.width_px / 2, top + BAR_PX + 13, p->low);
}

static void add_legend(ac_markup *out, const picture *p)
{
    char color[8], text[AC_TICK_BYTES];
    double top = p->panel.top_px + p->panel.height_px + BAR_TOP_PX;
    if (!(p->high > p->low)) {
        add_value(out, p, top);
        return;
    }
    double step = band_step(p), last = -INFINITY;
    double scale = p->panel.width_px / (p->high - p->low);
    double first = step > 0 ? floor(p->low / step) : 0;
    for (int k = 0; step > 0 && k < 3 * BANDS_PER_LINE * AC_TICKS_MOST; k++) {
        double from = fmax(p->low, (first + k) * step), to = fmin(p->high, (first + k + 1) * step);
        if (!(from < to))
            break;
        ac_color_map_text(p->map, shade(p, (from + to) / 2), color);
        ac_markup_format(out, "<path fill=\"%s\" d=\"M%.1f %gh%.1fv%dh-%.1fz\"/>", color,
                         p->panel.left_px + (from - p->low) * scale, top, (to - from) * scale + 0.3, BAR_PX,
                         (to - from) * scale + 0.3);
    }
    ac_ticks ticks = p->line;
    ac_axis axis = {.min = p->low, .max = p->high};
    if (ticks.n == 0)
        ac_axis_ticks(&axis, 6, &ticks);
    for (int k = 0; k < ticks.n; k++) {
        double x = p->panel.left_px + (ticks.value[k] - p->low) * scale;
        ac_axis_tick_text(&ticks, k, text);
        if (x - last < ac_figure_text_width(text) + 6)
            continue;
        last = x;
        ac_markup_format(out, "<text x=\"%.1f\" y=\"%g\" style=\"text-anchor:middle\">%s</text>", x, top + BAR_PX + 13,
                         text);
    }
    ac_markup_add(out, "\n");
}

static ac_status draw(ac_markup *out, picture *p)
{
    ac_status status = AC_OK;
    double *value = NULL;
    int n = (int)p->plan->config->grid;
    ac_axis axis = {0};
    AC_TRY(simulate_values(p->plan, p->surface, &value));
    p->grid = (ac_contour_grid){n, n, value};
    p->low = p->high = value[0];
    for (int i = 1; i < n * n; i++) {
        p->low = fmin(p->low, value[i]);
        p->high = fmax(p->high, value[i]);
    }
    axis = (ac_axis){.min = p->low, .max = p->high};
    if (p->plan->config->levels > 0)
        ac_axis_ticks(&axis, (int)p->plan->config->levels, &p->line);
    ac_panel_begin(out, &p->panel);
    add_bands(out, p);
    add_lines(out, p);
    if (p->plan->config->arrows && p->surface > SIMULATE_GEOMETRIC_MEAN)
        add_arrows(out, p);
    add_labels(out, p);
    add_legend(out, p);
    ac_panel_end(out);
out:
    ac_free(value);
    return status;
}

static ac_status draw_all(ac_markup *out, const simulate_plan *plan, int across, int top_px)
{
    ac_status status = AC_OK;
    picture p = {.plan = plan, .map = (ac_color_map)plan->config->colormap};
    size_t n = (size_t)plan->config->grid, n_points = AC_CONTOUR_POINTS(n, n);
    char x[40], y[40], title[96];
    snprintf(x, sizeof x, "p\xE2\x82\x81 (y\xE2\x82\x81 = %d)", plan->scene.y[0]);
    snprintf(y, sizeof y, "p\xE2\x82\x82 (y\xE2\x82\x82 = %d)", plan->scene.y[1]);
    AC_TRY(ac_malloc(AC_CONTOUR_SEEN_BYTES(n, n), 1, &p.seen));
    AC_TRY(ac_malloc(2 * n_points, sizeof *p.xy, &p.xy));
    AC_TRY(ac_malloc(n_points, sizeof *p.x, &p.x));
    AC_TRY(ac_malloc(n_points, sizeof *p.y, &p.y));
    for (size_t k = 0; k < plan->n_surfaces; k++) {
        int column = (int)k % across, row = (int)k / across;
        simulate_title(plan, plan->surface[k], title, sizeof title);
        p.surface = plan->surface[k];
        p.n_labels = 0;
        p.line.n = 0;
        p.panel = (ac_panel){.left_px = LEFT_PX + column * (PLOT_PX + LEFT_PX + RIGHT_PX),
                             .top_px = top_px + row * (PLOT_PX + TOP_PX - 20 + BOTTOM_PX),
                             .width_px = PLOT_PX,
                             .height_px = PLOT_PX,
                             .x = {0.01, 0.99, false, x},
                             .y = {0.01, 0.99, false, y},
                             .most_x_ticks = 6,
                             .most_y_ticks = 6,
                             .title = title};
        AC_TRY(draw(out, &p));
    }
out:
    ac_free(p.seen);
    ac_free(p.xy);
    ac_free(p.x);
    ac_free(p.y);
    return status;
}

/* The state in lines no wider than the figure, broken behind commas. Returns how many; without `out` it only counts. */
static int add_state(ac_markup *out, const char *text, double width_px)
{
    int n = 0;
    for (size_t n_bytes; *text; text += n_bytes, n++) {
        char line[STATE_BYTES];
        n_bytes = 0;
        do {
            const char *comma = strstr(text + n_bytes, ", ");
            size_t longer = comma ? (size_t)(comma + 2 - text) : strlen(text);
            snprintf(line, sizeof line, "%.*s", (int)longer, text);
            if (n_bytes > 0 && ac_figure_text_width(line) > width_px)
                break;
            n_bytes = longer;
        } while (text[n_bytes]);
        if (!out)
            continue;
        snprintf(line, sizeof line, "%.*s", (int)n_bytes, text);
        ac_markup_format(out, "<text x=\"%d\" y=\"%d\">", LEFT_PX - 28, 20 + n * STATE_PX);
        ac_markup_escape(out, line);
        ac_markup_add(out, "</text>\n");
    }
    return n;
}

ac_status simulate_write_svg(ac_markup *out, const simulate_plan *plan)
{
    ac_status status = AC_OK;
    int across = plan->n_surfaces < MOST_ACROSS ? (int)plan->n_surfaces : MOST_ACROSS,
        down = ((int)plan->n_surfaces + across - 1) / across;
    ac_markup state = {0};
    simulate_describe(&state, plan);
    AC_TRY(state.status);
    int width_px = across * (PLOT_PX + LEFT_PX + RIGHT_PX);
    double line_px = width_px - (LEFT_PX - 28) - 8;
    int top_px = TOP_PX + (add_state(NULL, state.text, line_px) - 1) * STATE_PX;
    ac_figure figure = {.title = "The loss over two classes' probabilities",
                        .text = state.text,
                        .standalone = true,
                        .width_px = width_px,
                        .height_px = top_px + BOTTOM_PX + PLOT_PX + (down - 1) * (PLOT_PX + TOP_PX - 20 + BOTTOM_PX)};
    ac_figure_begin(out, &figure);
    (void)add_state(out, state.text, line_px);
    AC_TRY(draw_all(out, plan, across, top_px));
    ac_figure_end(out);
out:
    ac_markup_release(&state);
    return status;
}
