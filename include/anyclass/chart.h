/* Charts as SVG text, for a page or for a file of its own, and the markup they are written into. Colours come from CSS
 * custom properties (ac_chart_style_css), so that one text serves light and dark. Knows nothing of metrics, files or
 * programs. The same input gives the same bytes. Not collective; every function may run in many threads at once. */
#ifndef ANYCLASS_CHART_H
#define ANYCLASS_CHART_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ac_markup { /* HTML or SVG being written, in memory; a zeroed struct is an empty one */
    char *text;            /* zero-terminated; NULL while empty */
    size_t n_bytes, capacity;
    ac_status status; /* the first failure: AC_ERR_MEMORY; what is added afterwards is dropped */
} ac_markup;

/** Append text as it stands: markup of our own. */
void ac_markup_add(ac_markup *out, const char *text);
/** Append formatted text as it stands. No "%s" for what comes from a file: that is ac_markup_escape()'s. */
void ac_markup_format(ac_markup *out, const char *format, ...) AC_PRINTF(2, 3);
/** Append foreign text, for content and for attributes in either kind of quotes: & < > " ' escaped; control characters
 * and bytes that are no UTF-8 become U+FFFD. */
void ac_markup_escape(ac_markup *out, const char *text);
/** The same, cut behind `n_characters` with an ellipsis as the last of them. */
void ac_markup_shorten(ac_markup *out, const char *text, size_t n_characters);
/** Append a number with at most `decimals` (0..6) places, no zero that can go, never "-0"; what is not finite as 0. */
void ac_markup_number(ac_markup *out, double value, int decimals);
/** Append a count with blanks between thousands that do not break ("1 040 129"). */
void ac_markup_count(ac_markup *out, int64_t value);
/** Append bytes in base64. */
void ac_markup_base64(ac_markup *out, const uint8_t *bytes, size_t n);
/** Frees the text; safe on a zeroed struct, which is what it leaves. */
void ac_markup_release(ac_markup *out);

typedef struct ac_axis {
    double min, max; /* log: both > 0 */
    bool log;
    const char *label; /* escaped when written; NULL: none */
} ac_axis;

enum { AC_TICKS_MOST = 16, AC_TICK_BYTES = 24 };

typedef struct ac_ticks {
    double value[AC_TICKS_MOST];
    int n;
    double step; /* between two; log: factor */
} ac_ticks;

/** Widen a linear axis to round numbers that hold min .. max, for at most so many ticks. Not finite or reversed limits
 * give 0..1; equal ones, or as good as equal, a range around them. Limits beyond 1e300 are cut there. */
void ac_axis_fit(ac_axis *axis, int most_ticks);
/** Round numbers (1, 2 or 5 times a power of ten; log: powers of ten) within the axis, at most `most` (1..16) of them
 * where most >= 2; the axis need not be fitted. None for an axis that is not finite or empty. */
void ac_axis_ticks(const ac_axis *axis, int most, ac_ticks *out);
/** What stands at a tick: "0.25", "1500", "20k", "1e-05"; as many places as the step needs. */
void ac_axis_tick_text(const ac_ticks *ticks, int i, char out[AC_TICK_BYTES]);
/** Where `value` lies: 0 at min, 1 at max, cut there; NaN for NaN. Log: what is not positive lies at 0. */
double ac_axis_place(const ac_axis *axis, double value);

typedef struct ac_figure {
    const char *id;           /* of the element; our own text. NULL: none */
    const char *title, *text; /* what it shows, for those who do not see it too; escaped */
    double width_px, height_px;
    bool standalone; /* a file of its own: with XML head, style sheet and background */
} ac_figure;

typedef struct ac_panel {                        /* a rectangle with two axes; a figure may have several */
    double left_px, top_px, width_px, height_px; /* of the plot, without ticks and labels */
    ac_axis x, y;
    int most_x_ticks, most_y_ticks; /* 0: no ticks and no grid on that axis */
    const char *title;              /* above the plot; escaped. NULL: none */
    bool time_across;               /* read-outs go along x: curves are functions of it */
} ac_panel;

/** Style sheet of all charts, without colours' values: those are ac_chart_colors_css's custom properties. Static
 * storage. */
extern const char ac_chart_style_css[];
/** Custom properties for light and dark: by prefers-color-scheme, and overruled by data-theme="light" or "dark" or by a
 * checked element #theme-light or #theme-dark. Static storage. */
extern const char ac_chart_colors_css[];

enum { AC_CHART_HUES = 7, AC_CHART_DASHES = 3 };
/* Class names that the style sheet knows, to combine: "k0".."k6" hue, "d1" "d2" dashed and dotted, "thin", "bold",
 * "quiet" (grey), "faint", "fill" (area under it). Hues differ in lightness, so that with the dashes 21 series can be
 * told apart without seeing colour. */

/** Begin and end <svg>. */
void ac_figure_begin(ac_markup *out, const ac_figure *figure);
/** Close what ac_figure_begin() opened. */
void ac_figure_end(ac_markup *out);

typedef struct ac_legend_entry {
    const char *style; /* class names */
    const char *text;  /* escaped */
} ac_legend_entry;
/** Samples of lines with their names from `left_px` on, in as many rows as fit `width_px`.
 * @return the height taken in px. */
double ac_figure_legend(ac_markup *out, double left_px, double top_px, double width_px, const ac_legend_entry *entry,
                        size_t n);
/** Width that `text` takes at the size of tick labels, estimated from its number of characters. */
double ac_figure_text_width(const char *text);

/** Grid, ticks, labels and title of a panel, and the group that its marks go into; end it with ac_panel_end(). */
void ac_panel_begin(ac_markup *out, const ac_panel *panel);
/** Close what ac_panel_begin() opened. */
void ac_panel_end(ac_markup *out);
/** A line through points (x, y); NaN interrupts it, points beyond the axes lie at their ends. Points that a line
 * without them passes within 0.08 px are left out.
 * @param style  class names, our own text; @param name  for read-outs, escaped; NULL: none */
void ac_panel_line(ac_markup *out, const ac_panel *panel, const char *style, const char *name, const double *x,
                   const double *y, size_t n);
/** Columns of equal width over the whole x axis as one outline; style "fill" closes it. On a log axis 0 lies at the
 * bottom. */
void ac_panel_steps(ac_markup *out, const ac_panel *panel, const char *style, const char *name, const double *y,
                    size_t n);
/** A dot of radius_px, with a text to read at it (escaped; NULL: none). Nothing for NaN. */
void ac_panel_dot(ac_markup *out, const ac_panel *panel, const char *style, double x, double y, double radius_px,
                  const char *text);
/** A straight line from (x0, y0) to (x1, y1): rules, diagonals, gaps. Nothing when one is NaN. */
void ac_panel_segment(ac_markup *out, const ac_panel *panel, const char *style, double x0, double y0, double x1,
                      double y1);
/** A short text beside (x, y) inside the panel, on the side that has room. */
void ac_panel_note(ac_markup *out, const ac_panel *panel, double x, double y, const char *text);

/** A region in one colour without outline: closed pieces as ac_contour_trace(closed) gives them, NaN between two; what
 * lies within an even number of them is left out. @param color "#rrggbb", our own text */
void ac_panel_region(ac_markup *out, const ac_panel *panel, const char *color, const double *x, const double *y,
                     size_t n);
/** A line as ac_panel_line() draws it, without a name, in a colour of its own.
 * @param color "#rrggbb"; @param opacity 0..1 */
void ac_panel_contour(ac_markup *out, const ac_panel *panel, const char *color, double opacity, double width_px,
                      const double *x, const double *y, size_t n);
typedef struct ac_arrow {
    double x, y;              /* of its middle, in the panel's values */
    double right_px, down_px; /* from end to tip */
} ac_arrow;
/** Arrows in one colour; those that are no longer than a tenth of a pixel, or not finite, are left out. */
void ac_panel_arrows(ac_markup *out, const ac_panel *panel, const char *color, const ac_arrow *arrow, size_t n);

typedef struct ac_contour_grid {
    int n_columns, n_rows; /* both >= 2 */
    const double *value;   /* [n_rows, n_columns]; NaN is below every level */
} ac_contour_grid;

/* What ac_contour_trace() needs: bytes of `seen`, and points of `xy`, two doubles each. */
#define AC_CONTOUR_SEEN_BYTES(n_columns, n_rows) (((size_t)(n_columns) + 2) * ((size_t)(n_rows) + 2))
#define AC_CONTOUR_POINTS(n_columns, n_rows) (4 * AC_CONTOUR_SEEN_BYTES(n_columns, n_rows))

/** Lines at which the values, linear between neighbours, reach `level`: what is at least that lies at their left.
 * @param closed  the outlines of the regions instead, closed along the grid's border
 * @param seen    scratch [AC_CONTOUR_SEEN_BYTES]; @param[out] xy [AC_CONTOUR_POINTS, 2] column and row as real numbers,
 * one NaN pair behind each line; lines that go round end where they begin
 * @return points written. No allocation. */
size_t ac_contour_trace(const ac_contour_grid *grid, double level, bool closed, unsigned char *seen, double *xy);

typedef enum ac_color_map {
    AC_MAP_BLUES,
    AC_MAP_GREYS,
    AC_MAP_PLASMA,
    AC_MAP_RDBU,
    AC_MAP_YLGNBU,
    AC_N_COLOR_MAPS
} ac_color_map;
#define AC_COLOR_MAP_CHOICES "blues|greys|plasma|rdbu|ylgnbu"

/** Colour of t (0..1, cut there; NaN: 0) as red, green, blue 0..255. Lightness goes one way, but for RdBu, whose middle
 * is the lightest. */
void ac_color_map_at(ac_color_map map, double t, uint8_t rgb[3]);
/** The same as "#rrggbb". */
void ac_color_map_text(ac_color_map map, double t, char out[8]);
/** True where text and lines on that colour should be dark. */
bool ac_color_map_is_light(ac_color_map map, double t);

typedef struct ac_end_label {
    double y;                 /* where its curve ends; NaN: no label */
    const char *style, *text; /* class names; escaped and cut at 12 characters */
    bool later; /* takes a place that the others leave, or none: a name that is not shown from the start */
} ac_end_label;
/** Names right of the panel beside the ends of curves, moved apart where they would overlap. Reorders `label`.
 * AC_ERR_MEMORY is kept in `out`. */
void ac_panel_end_labels(ac_markup *out, const ac_panel *panel, ac_end_label *label, size_t n);

typedef struct ac_heat_map {
    double left_px, top_px, cell_px;
    size_t n_rows, n_columns;
    const double *shade;                        /* [n_rows, n_columns] 0..1; NaN: an empty cell */
    char *const *row_name, *const *column_name; /* escaped */
    void (*cell_text)(ac_markup *out, const void *context, size_t row, size_t column); /* inside a cell; NULL: none */
    void (*cell_title)(ac_markup *out, const void *context, size_t row,
                       size_t column); /* to read at a cell; NULL: none */
    const void *context;
} ac_heat_map;
/** Cells whose strength is `shade`, with names at the left and, slanted, above. The caller leaves room for both. */
void ac_figure_heat_map(ac_markup *out, const ac_heat_map *map);

#endif
