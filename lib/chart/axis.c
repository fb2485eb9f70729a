/* Axes: round limits, ticks and their texts, and where a value lies. */
#include "anyclass/chart.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double largest = 1e300;

/* The smallest of 1, 2, 5, 10 times a power of ten that is at least `least`. */
static double round_step(double least)
{
    double power = pow(10, floor(log10(least)));
    double factor = least / power;
    factor = factor <= 1 + 1e-9 ? 1 : factor <= 2 + 1e-9 ? 2 : factor <= 5 + 1e-9 ? 5 : 10;
    return factor * power;
}

static double linear_step(double span, int most)
{
    return round_step(span / (most > 1 ? most - 1 : 1));
}

static double limited(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

void ac_axis_fit(ac_axis *axis, int most_ticks)
{
    if (!isfinite(axis->min) || !isfinite(axis->max) || axis->min > axis->max) {
        axis->min = 0;
        axis->max = 1;
        return;
    }
    double low = limited(axis->min, -largest, largest), high = limited(axis->max, -largest, largest);
    double size = fmax(fabs(low), fabs(high));
    if (high - low <= size * 1e-9) { /* ticks closer than that would not differ in their texts */
        low -= size > 0 ? size / 10 : 0;
        high += size > 0 ? size / 10 : 1;
    }
    for (double step = 0, wanted;
         (wanted = linear_step(high - low, most_ticks)) > step * (1 + 1e-9);) { /* wider may need a larger step */
        step = wanted;
        low = floor(low / step + 1e-9) * step;
        high = ceil(high / step - 1e-9) * step;
    }
    axis->min = low;
    axis->max = high;
}

static void log_ticks(const ac_axis *axis, int most, ac_ticks *out)
{
    if (axis->min <= 0)
        return;
    int low = (int)ceil(log10(axis->min) - 1e-9), high = (int)floor(log10(axis->max) + 1e-9), stride = 1;
    while ((high - low) / stride + 1 > most)
        stride++;
    out->step = pow(10, stride);
    for (int power = low; power <= high && out->n < most; power += stride)
        out->value[out->n++] = pow(10, power);
}

void ac_axis_ticks(const ac_axis *axis, int most, ac_ticks *out)
{
    memset(out, 0, sizeof *out);
    most = most > AC_TICKS_MOST ? AC_TICKS_MOST : most;
    if (most < 1 || !isfinite(axis->min) || !isfinite(axis->max) || !isfinite(axis->max - axis->min) ||
        axis->min >= axis->max)
        return;
    if (axis->log) {
        log_ticks(axis, most, out);
        return;
    }
    out->step = linear_step(axis->max - axis->min, most);
    double first = ceil(axis->min / out->step - 1e-9);
    for (int i = 0; out->n < most; i++) {
        double value = (first + i) * out->step;
        if (value > axis->max + out->step * 1e-9)
            break;
        out->value[out->n++] = fabs(value) < out->step * 1e-9 ? 0 : value;
    }
}

void ac_axis_tick_text(const ac_ticks *ticks, int i, char out[AC_TICK_BYTES])
{
    double value = ticks->value[i], size = fabs(value);
    double step = ticks->step > 0 ? ticks->step : 1;
    int places = step < 1 ? (int)ceil(-log10(step) - 1e-9) : 0;
    bool whole_thousands = fmod(value, 1000) == 0 && (ticks->n < 2 || fmod(ticks->value[ticks->n - 1], 1000) == 0);
    if (value == 0)
        snprintf(out, AC_TICK_BYTES, "0");
    else if (size >= 1e9 || size < 1e-4 || places > 6)
        snprintf(out, AC_TICK_BYTES, "%g", value);
    else if (size < 1 && places == 0) /* powers of ten below 1 */
        snprintf(out, AC_TICK_BYTES, "%g", value);
    else if (size >= 1e6 && fmod(value, 1e5) == 0)
        snprintf(out, AC_TICK_BYTES, "%gM", value / 1e6);
    else if (size >= 1e3 && whole_thousands)
        snprintf(out, AC_TICK_BYTES, "%gk", value / 1e3);
    else
        snprintf(out, AC_TICK_BYTES, "%.*f", places, value);
}

double ac_axis_place(const ac_axis *axis, double value)
{
    double low = axis->min, high = axis->max;
    if (isnan(value))
        return NAN;
    if (axis->log) {
        if (value <= 0)
            return 0;
        low = log10(low);
        high = log10(high);
        value = log10(value);
    }
    return high > low ? limited((value - low) / (high - low), 0, 1) : 0;
}
