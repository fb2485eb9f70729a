/* Shared by the files of lib/chart. */
#ifndef ANYCLASS_LIB_CHART_INTERNAL_H
#define ANYCLASS_LIB_CHART_INTERNAL_H

#include "anyclass/chart.h"

/** Place of a value in the figure, in px; NaN for NaN. */
double chart_x(const ac_panel *panel, double value);
double chart_y(const ac_panel *panel, double value);
/** "X Y" with one decimal: a tenth of a pixel cannot be seen. */
void chart_point(ac_markup *out, double x, double y);
/** <text> up to its content; style may be NULL. */
void chart_text_at(ac_markup *out, const char *style, double x, double y);
size_t chart_n_characters(const char *text);

#endif
