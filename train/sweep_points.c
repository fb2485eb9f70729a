/* What a sweep's elements are: a value for a place in a range or list, and the places of grid, random numbers and Sobol's sequence. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/random.h"
#include "train/sweep.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_whole(const sweep_key *key)
{
    return key->option->type == AC_OPTION_INT;
}

static void format_within(const sweep_key *key, double value, char out[SWEEP_VALUE_BYTES])
{
    value = value < key->low ? key->low : value > key->high ? key->high : value;
    if (is_whole(key))
        snprintf(out, SWEEP_VALUE_BYTES, "%.0f", round(value));
    else
        ac_format_double(value, out);
}

/* Six digits are more than any sweep needs, and the same on machines whose log() differ in the last bit. */
static double round_digits(double value)
{
    char text[AC_NUMBER_BYTES];
    snprintf(text, sizeof text, "%.5e", value);
    return strtod(text, NULL);
}

/* 1 - rest in decimals, where the difference of doubles would show digits that nobody asked for. */
static double one_minus(double rest)
{
    enum { DIGITS = 6 };
    char text[SWEEP_VALUE_BYTES];
    int decimals = rest > 0 ? DIGITS - 1 - (int)floor(log10(rest)) : 0;
    snprintf(text, sizeof text, "%.*f", decimals < 0 ? 0 : decimals > 20 ? 20 : decimals, 1 - rest);
    return strtod(text, NULL);
}

/* The value of a range at t in [0, 1]; `low` and `high` are both reached. */
static double value_of(const sweep_key *key, double t)
{
    double low = key->low, high = key->high;
    switch (key->scale) {
    case SWEEP_LOG:
        return round_digits(exp(log(low) + t * (log(high) - log(low))));
    case SWEEP_LOG1M:
        return one_minus(round_digits(exp(log(1 - low) + t * (log(1 - high) - log(1 - low)))));
    case SWEEP_POW2:
        return exp2(round(log2(low) + t * (log2(high) - log2(low))));
    case SWEEP_LINEAR:
        break;
    }
    return is_whole(key) ? low + t * (high - low) : round_digits(low + t * (high - low));
}

void sweep_range_at(const sweep_key *key, double t, char out[SWEEP_VALUE_BYTES])
{
    double value = t <= 0 ? key->low : t >= 1 ? key->high : value_of(key, t); /* the ends as they were written */
    format_within(key, value, out);
}

/* Numbers that a range of whole numbers or powers of two holds. */
static double count_steps(const sweep_key *key)
{
    if (key->scale == SWEEP_POW2)
        return round(log2(key->high) - log2(key->low)) + 1;
    return key->high - key->low + 1;
}

void sweep_value_at(const sweep_key *key, double u, char out[SWEEP_VALUE_BYTES])
{
    if (key->n_values > 0) {
        size_t i = (size_t)(u * (double)key->n_values);
        memcpy(out, key->value[i < key->n_values ? i : key->n_values - 1], SWEEP_VALUE_BYTES);
    } else if (key->scale == SWEEP_POW2 || (is_whole(key) && key->scale == SWEEP_LINEAR)) { /* each has the same share */
        double n = count_steps(key), step = floor(u * n);
        format_within(key, key->scale == SWEEP_POW2 ? ldexp(key->low, (int)step) : key->low + step, out);
    } else {
        format_within(key, value_of(key, u), out);
    }
}

static ac_status add_steps(sweep_key *key)
{
    ac_status status = AC_OK;
    double n = count_steps(key);
    if (n > SWEEP_MOST_ELEMENTS)
        return ac_error(AC_ERR_USAGE, "%.0f values are too many: give a count, as in '%.0f .. %.0f x 5'", n, key->low, key->high);
    AC_TRY(ac_reserve(&key->value, &key->capacity, (size_t)n, sizeof *key->value));
    for (size_t i = 0; i < (size_t)n; i++)
        format_within(key, key->scale == SWEEP_POW2 ? ldexp(key->low, (int)i) : key->low + (double)i, key->value[i]);
    key->n_values = (size_t)n;
out:
    return status;
}

ac_status sweep_list_range(sweep_key *key)
{
    if (key->n_values > 0)
        return AC_OK;
    if (key->scale == SWEEP_POW2 || (is_whole(key) && key->scale == SWEEP_LINEAR))
        return add_steps(key);
    return ac_error(AC_ERR_USAGE, "--%s: a grid needs the number of values, as in 'LOW .. HIGH x 5'", key->option->name);
}

ac_status sweep_list_ranges(sweep_ranges *ranges)
{
    for (size_t k = 0; k < ranges->n_keys; k++) {
        ac_status status = sweep_list_range(&ranges->key[k]);
        if (status != AC_OK)
            return ac_error_in(status, "%s line %zu", ranges->name, ranges->key[k].line);
    }
    return AC_OK;
}

ac_status sweep_count(const sweep_ranges *ranges, const sweep_points *points, size_t *n_elements)
{
    double n = points->method == SWEEP_GRID ? 1 : (double)points->n_points;
    int n_dimensions = 0;
    for (size_t k = 0; k < ranges->n_keys; k++) {
        bool is_seed = &ranges->key[k] == ranges->seed;
        n *= is_seed || points->method == SWEEP_GRID ? (double)ranges->key[k].n_values : 1;
        n_dimensions += !is_seed;
    }
    if (n > SWEEP_MOST_ELEMENTS)
        return ac_error(AC_ERR_USAGE, "%s: %.0f elements are more than %d", ranges->name, n, SWEEP_MOST_ELEMENTS);
    if (points->method == SWEEP_SOBOL && n_dimensions > SWEEP_N_DIMENSIONS)
        return ac_error(AC_ERR_USAGE, "%s: %d lines; --method sobol takes %d at most", ranges->name, n_dimensions, SWEEP_N_DIMENSIONS);
    *n_elements = (size_t)n;
    return AC_OK;
}

static double place_of(const sweep_points *points, uint32_t point, int dimension)
{
    if (points->method == SWEEP_RANDOM) {
        ac_philox draw = ac_random_block(points->seed, AC_STREAM_SWEEP, point, (uint32_t)dimension);
        return ac_uniform_double(draw.word[0], draw.word[1]);
    }
    uint32_t x = sweep_sobol(point, dimension);
    return points->scramble ? ((double)sweep_scramble(x, dimension, points->seed) + 0.5) * 0x1p-32 : (double)x * 0x1p-32;
}

void sweep_element(const sweep_ranges *ranges, const sweep_points *points, size_t i, char (*value)[SWEEP_VALUE_BYTES])
{
    size_t n_seeds = ranges->seed ? ranges->seed->n_values : 1, point = i / n_seeds;
    int dimension = 0;
    for (size_t at = ranges->n_keys; at-- > 0;) {
        const sweep_key *key = &ranges->key[at];
        if (key == ranges->seed) {
            memcpy(value[at], key->value[i % n_seeds], SWEEP_VALUE_BYTES);
        } else if (points->method == SWEEP_GRID) {
            memcpy(value[at], key->value[point % key->n_values], SWEEP_VALUE_BYTES);
            point /= key->n_values;
        }
    }
    for (size_t at = 0; points->method != SWEEP_GRID && at < ranges->n_keys; at++)
        if (&ranges->key[at] != ranges->seed)
            sweep_value_at(&ranges->key[at], place_of(points, (uint32_t)point, dimension++), value[at]);
}
