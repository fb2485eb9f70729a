/* What the table says of a sweep beneath its rows: what is missing, which element is best, and what the seeds of a point agree on. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "evaluate/table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool table_key_is_number(const evaluate_sweep *sweep, size_t key)
{
    double ignored;
    for (size_t i = 0; i < sweep->file.n_elements; i++)
        if (ac_parse_double(sweep->file.value[i * sweep->file.n_keys + key], &ignored) != AC_OK)
            return false;
    return true;
}

static const char *value_at(const evaluate_sweep *sweep, size_t i, size_t key)
{
    return sweep->file.value[i * sweep->file.n_keys + key];
}

static ac_status make_align(const evaluate_sweep *sweep, const char *before, const char *behind, size_t without, char **out)
{
    ac_status status = AC_OK;
    size_t n = strlen(before);
    AC_TRY(ac_malloc(n + sweep->file.n_keys + strlen(behind) + 1, 1, out));
    memcpy(*out, before, n);
    for (size_t k = 0; k < sweep->file.n_keys; k++)
        if (k != without)
            (*out)[n++] = table_key_is_number(sweep, k) ? 'r' : 'l';
    strcpy(*out + n, behind);
out:
    return status;
}

static ac_status put_missing(const evaluate_sweep *sweep, grid_format format, grid_text *out)
{
    ac_status status = AC_OK;
    char *align = NULL;
    grid cells = {0};
    if (sweep->n_versions == sweep->file.n_elements)
        return AC_OK;
    AC_TRY(make_align(sweep, "l", "l", SIZE_MAX, &align));
    grid_begin(&cells, format, align);
    grid_add(&cells, "missing");
    for (size_t k = 0; k < sweep->file.n_keys; k++)
        grid_add(&cells, sweep->file.key[k]);
    grid_add(&cells, "state");
    for (size_t i = 0; i < sweep->file.n_elements; i++) {
        if (sweep->state[i][0] == '\0')
            continue;
        grid_add(&cells, sweep->file.version[i]);
        for (size_t k = 0; k < sweep->file.n_keys; k++)
            grid_add(&cells, value_at(sweep, i, k));
        grid_add(&cells, sweep->state[i]);
    }
    grid_put(out, "\n");
    AC_TRY(grid_render(&cells, out));
out:
    grid_release(&cells);
    ac_free(align);
    return status;
}

static void put_line(grid_text *out, const char *label, const char *text, grid_format format)
{
    grid_put(out, label);
    grid_put(out, format == GRID_MARKDOWN ? "\n\n    " : " ");
    grid_put(out, text);
    grid_put(out, "\n");
}

/* The element with the highest value at any of its checkpoints. */
static void put_best(const table *of, const table_column *column, grid_format format, grid_text *out)
{
    const evaluate_sweep *sweep = of->sweep;
    char cell[TABLE_CELL_BYTES], number[64];
    size_t best = table_find_best(of, column, NULL);
    grid_put(out, "\nbest ");
    grid_put(out, column->title);
    if (best == of->sets->n_sets) {
        grid_put(out, ": not defined for any version\n");
        return;
    }
    const score_set *set = &of->sets->set[best];
    size_t i = evaluate_find_element(sweep, set->version);
    snprintf(number, sizeof number, ": %.4f, version ", table_value(&of->result[best], column));
    grid_put(out, number);
    grid_put(out, set->version);
    grid_put(out, ", checkpoint ");
    grid_put(out, table_checkpoint(of->sets, set, cell));
    for (size_t k = 0; k < sweep->file.n_keys; k++) {
        grid_put(out, k == 0 ? ": " : ", ");
        grid_put(out, sweep->file.key[k]);
        grid_put(out, " ");
        grid_put(out, value_at(sweep, i, k));
    }
    grid_put(out, "\n");
    put_line(out, format == GRID_MARKDOWN ? "\ntrain it again:" : "train it again:", sweep->file.command[i], format);
}

typedef struct seed_point { /* elements that differ in nothing but their seed */
    size_t first;           /* of them */
    size_t n;               /* that have a value */
    double sum, sum_squares, low, high, mean;
} seed_point;

static bool same_point(const evaluate_sweep *sweep, size_t a, size_t b, size_t seed)
{
    for (size_t k = 0; k < sweep->file.n_keys; k++)
        if (k != seed && strcmp(value_at(sweep, a, k), value_at(sweep, b, k)) != 0)
            return false;
    return true;
}

static int by_mean(const void *a, const void *b)
{
    const seed_point *left = a, *right = b;
    if (isnan(left->mean) || isnan(right->mean))
        return isnan(left->mean) - isnan(right->mean);
    return left->mean > right->mean ? -1 : left->mean < right->mean ? 1 : left->first < right->first ? -1 : 1;
}

/* Elements of a point stand together. Deviations are of differences to the first value, which lose nothing. */
static ac_status find_points(const table *of, const table_column *column, size_t seed, seed_point **points, size_t *n_points)
{
    ac_status status = AC_OK;
    const evaluate_sweep *sweep = of->sweep;
    seed_point *point = NULL;
    double zero = 0;
    *n_points = 0;
    AC_TRY(ac_calloc(sweep->file.n_elements, sizeof *point, &point));
    for (size_t i = 0; i < sweep->file.n_elements; i++) {
        if (i == 0 || !same_point(sweep, i - 1, i, seed))
            point[(*n_points)++] = (seed_point){.first = i, .low = INFINITY, .high = -INFINITY};
        seed_point *in = &point[*n_points - 1];
        size_t best = sweep->state[i][0] ? of->sets->n_sets : table_find_best(of, column, sweep->file.version[i]);
        if (best == of->sets->n_sets)
            continue;
        double value = table_value(&of->result[best], column);
        zero = in->n++ == 0 ? value : zero;
        in->sum += value - zero;
        in->sum_squares += (value - zero) * (value - zero);
        in->low = value < in->low ? value : in->low;
        in->high = value > in->high ? value : in->high;
        in->mean = zero + in->sum / (double)in->n;
    }
    for (size_t i = 0; i < *n_points; i++)
        point[i].mean = point[i].n ? point[i].mean : NAN;
    qsort(point, *n_points, sizeof *point, by_mean);
    *points = point;
out:
    return status;
}

static void add_point(const evaluate_sweep *sweep, const seed_point *point, size_t seed, grid *cells)
{
    double n = (double)point->n, variance = n > 1 ? (point->sum_squares - point->sum * point->sum / n) / (n - 1) : NAN;
    for (size_t k = 0; k < sweep->file.n_keys; k++)
        if (k != seed)
            grid_add(cells, value_at(sweep, point->first, k));
    grid_add_count(cells, (int64_t)point->n);
    grid_add_number(cells, point->mean, false);
    grid_add_number(cells, variance > 0 ? sqrt(variance) : variance, false);
    grid_add_number(cells, point->n ? point->low : NAN, false);
    grid_add_number(cells, point->n ? point->high : NAN, false);
}

/* Where seeds were swept, points in the order of their means: the best of many elements is also a lucky one. */
static ac_status put_points(const table *of, const table_column *column, grid_format format, grid_text *out)
{
    ac_status status = AC_OK;
    const evaluate_sweep *sweep = of->sweep;
    size_t seed = 0, n_points = 0;
    char *align = NULL;
    seed_point *points = NULL;
    grid cells = {0};
    while (seed < sweep->file.n_keys && strcmp(sweep->file.key[seed], "seed") != 0)
        seed++;
    if (seed == sweep->file.n_keys)
        return AC_OK;
    AC_TRY(find_points(of, column, seed, &points, &n_points));
    if (n_points == sweep->file.n_elements)
        goto out; /* one seed */
    AC_TRY(make_align(sweep, "", "rrrrr", seed, &align));
    grid_begin(&cells, format, align);
    for (size_t k = 0; k < sweep->file.n_keys; k++)
        if (k != seed)
            grid_add(&cells, sweep->file.key[k]);
    grid_add(&cells, "seeds");
    grid_add(&cells, "mean");
    grid_add(&cells, "deviation");
    grid_add(&cells, "lowest");
    grid_add(&cells, "highest");
    for (size_t i = 0; i < n_points; i++)
        add_point(sweep, &points[i], seed, &cells);
    grid_put(out, "\n");
    grid_put(out, column->title);
    grid_put(out, " over seeds, of each version's best checkpoint:\n\n");
    AC_TRY(grid_render(&cells, out));
out:
    grid_release(&cells);
    ac_free(align);
    ac_free(points);
    return status;
}

ac_status table_put_sweep(const table *of, grid_format format, grid_text *out)
{
    ac_status status = AC_OK;
    AC_TRY(put_missing(of->sweep, format, out));
    if (of->best) {
        const table_column *column = table_find_column(of->best);
        AC_TRY(put_points(of, column, format, out));
        put_best(of, column, format, out);
    }
    status = out->status;
out:
    return status;
}
