/* The table that puts versions and checkpoints side by side, and which of them is best. Leaves layout to grid.c. */
#include "evaluate/table.h"
#include "anyclass/alloc.h"
#include <math.h>
#include <string.h>
#include <strings.h>

enum { N_NAMES = 2, N_CSV_NAMES = 5 };

#define AT(field) offsetof(ac_metrics, field)
static const table_column columns[] = {
    {"macro F1", "MACRO_F1", AT(macro_f1), false, SHOWN_ALWAYS},
    {"macro F2", "MACRO_F2", AT(macro_f2), false, SHOWN_ALWAYS},
    {"macro P", "MACRO_P", AT(macro_precision), false, SHOWN_ALWAYS},
    {"macro R", "MACRO_R", AT(macro_recall), false, SHOWN_ALWAYS},
    {"micro F1", "MICRO_F1", AT(micro_f1), false, SHOWN_ALWAYS},
    {"mAP", "mAP", AT(mean_average_precision), false, SHOWN_ALWAYS},
    {"F1-Neg", "NEGATIVE_F1", AT(f1_negative), false, SHOWN_ALWAYS},
    {"F1-Pos", "POSITIVE_F1", AT(f1_positive), false, SHOWN_ALWAYS},
    {"ROC-AUC", "ROC_AUC", AT(macro_roc_auc), false, SHOWN_ALWAYS},
    {"CIW-F2", "CIW_F2", AT(ciw_f2), false, SHOWN_WITH_WEIGHTS},
    {"tuned macro F1", "TUNED_MACRO_F1", AT(macro_f1), true, SHOWN_TUNED},
    {"tuned macro F2", "TUNED_MACRO_F2", AT(macro_f2), true, SHOWN_TUNED},
    {"micro P", "MICRO_P", AT(micro_precision), false, SHOWN_IN_CSV},
    {"micro R", "MICRO_R", AT(micro_recall), false, SHOWN_IN_CSV},
    {"micro F2", "MICRO_F2", AT(micro_f2), false, SHOWN_IN_CSV},
};
#undef AT
enum { N_COLUMNS = sizeof columns / sizeof *columns };

const table_column *table_find_column(const char *name)
{
    static const char *const tracked[][2] = {{"val_f1", "MACRO_F1"}, {"val_f2", "MACRO_F2"}, {"val_ap", "mAP"}};
    for (size_t i = 0; i < sizeof tracked / sizeof *tracked; i++)
        if (strcmp(name, tracked[i][0]) == 0)
            name = tracked[i][1];
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (strcasecmp(columns[c].key, name) == 0)
            return &columns[c];
    return NULL;
}

double table_value(const set_result *result, const table_column *of)
{
    double value;
    const ac_metrics *metrics = of->tuned ? &result->tuned_metrics : &result->metrics;
    if (of->tuned && !result->tuned)
        return NAN;
    if (of->when == SHOWN_WITH_WEIGHTS && !metrics->has_label_weight)
        return NAN;
    memcpy(&value, (const char *)metrics + of->offset, sizeof value);
    return value;
}

static bool is_shown(const table *of, const table_column *column, grid_format format)
{
    bool have = column->when == SHOWN_ALWAYS || format == GRID_CSV;
    for (size_t i = 0; !have && i < of->sets->n_sets; i++)
        have = (column->when == SHOWN_WITH_WEIGHTS && of->result[i].metrics.has_label_weight) ||
               (column->when == SHOWN_TUNED && of->result[i].tuned);
    return have;
}

size_t table_find_best(const table *of, const table_column *column, const char *version)
{
    size_t best = of->sets->n_sets;
    for (size_t i = 0; i < of->sets->n_sets; i++) {
        double value = table_value(&of->result[i], column);
        if (isnan(value) || (version && strcmp(of->sets->set[i].version, version) != 0))
            continue;
        if (best == of->sets->n_sets || value > table_value(&of->result[best], column))
            best = i;
    }
    return best;
}

static bool is_best(const table *of, const table_column *column, size_t i)
{
    size_t best = of->sets->n_sets > 1 ? table_find_best(of, column, NULL) : of->sets->n_sets;
    return best < of->sets->n_sets && table_value(&of->result[i], column) == table_value(&of->result[best], column);
}

static bool has_one_model(const score_sets *sets)
{
    for (size_t i = 1; i < sets->n_sets; i++)
        if (strcmp(sets->set[i].model, sets->set[0].model) != 0)
            return false;
    return true;
}

/* "val_f1"; with the model in front when the table holds several, the file's stem when its name does not tell. */
const char *table_checkpoint(const score_sets *sets, const score_set *set, char cell[TABLE_CELL_BYTES])
{
    if (set->checkpoint[0] == '\0')
        snprintf(cell, TABLE_CELL_BYTES, "%s", set->stem);
    else if (has_one_model(sets))
        snprintf(cell, TABLE_CELL_BYTES, "%s", set->checkpoint);
    else
        snprintf(cell, TABLE_CELL_BYTES, "%s %s", set->model, set->checkpoint);
    return cell;
}

static size_t n_keys(const table *of)
{
    return of->sweep ? of->sweep->file.n_keys : 0;
}

/* In CSV the set's own column "model" says it already. */
static bool is_key_shown(const table *of, size_t key, grid_format format)
{
    return format != GRID_CSV || strcmp(of->sweep->file.key[key], "model") != 0;
}

static void add_values(const table *of, const char *version, grid *out)
{
    if (!of->sweep)
        return;
    const ac_sweep_file *file = &of->sweep->file;
    size_t i = evaluate_find_element(of->sweep, version);
    for (size_t k = 0; k < file->n_keys; k++)
        if (is_key_shown(of, k, out->format))
            grid_add(out, file->value[i * file->n_keys + k]);
}

static void add_names(const table *of, size_t i, grid *out)
{
    const score_set *set = &of->sets->set[i];
    char cell[TABLE_CELL_BYTES];
    grid_add(out, set->version);
    add_values(of, set->version, out);
    if (out->format != GRID_CSV) {
        grid_add(out, table_checkpoint(of->sets, set, cell));
        return;
    }
    grid_add(out, set->model);
    grid_add(out, set->checkpoint[0] ? set->checkpoint : set->stem);
    grid_add(out, of->split);
    grid_add_count(out, of->result[i].metrics.n_images);
}

static void add_heading(const table *of, grid *out)
{
    static const char *const csv_names[N_CSV_NAMES] = {"version", "model", "checkpoint", "split", "n_images"};
    static const char *const names[N_NAMES] = {"version", "checkpoint"};
    bool csv = out->format == GRID_CSV;
    for (size_t i = 0; i < (csv ? N_CSV_NAMES : N_NAMES); i++) {
        grid_add(out, csv ? csv_names[i] : names[i]);
        for (size_t k = 0; i == 0 && k < n_keys(of); k++)
            if (is_key_shown(of, k, out->format))
                grid_add(out, of->sweep->file.key[k]);
    }
}

static void add_set(const table *of, size_t i, grid *out)
{
    add_names(of, i, out);
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (is_shown(of, &columns[c], out->format))
            grid_add_number(out, table_value(&of->result[i], &columns[c]), is_best(of, &columns[c], i));
}

/* 'l' or 'r' for each column. CSV is not aligned: only their number counts. */
static ac_status make_align(const table *of, grid_format format, char **out)
{
    ac_status status = AC_OK;
    size_t n = 0;
    AC_TRY(ac_calloc(n_keys(of) + N_CSV_NAMES + N_COLUMNS + 1, 1, out));
    (*out)[n++] = 'l';
    for (size_t k = 0; k < n_keys(of); k++)
        if (is_key_shown(of, k, format))
            (*out)[n++] = table_key_is_number(of->sweep, k) ? 'r' : 'l';
    for (int i = 1; i < (format == GRID_CSV ? N_CSV_NAMES : N_NAMES); i++)
        (*out)[n++] = 'l';
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (is_shown(of, &columns[c], format))
            (*out)[n++] = 'r';
out:
    return status;
}

static ac_status put_sets(const table *of, grid_format format, grid_text *out)
{
    ac_status status = AC_OK;
    char *align = NULL;
    grid cells = {0};
    AC_TRY(make_align(of, format, &align));
    grid_begin(&cells, format, align);
    add_heading(of, &cells);
    for (size_t c = 0; c < N_COLUMNS; c++)
        if (is_shown(of, &columns[c], format))
            grid_add(&cells, format == GRID_CSV ? columns[c].key : columns[c].title);
    for (size_t i = 0; i < of->sets->n_sets; i++) {
        if (format == GRID_LATEX && i > 0 && strcmp(of->sets->set[i].version, of->sets->set[i - 1].version) != 0)
            grid_add_space(&cells);
        add_set(of, i, &cells);
    }
    AC_TRY(grid_render(&cells, out));
out:
    grid_release(&cells);
    ac_free(align);
    return status;
}

static bool is_first_of_version(const score_sets *sets, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(sets->set[k].version, sets->set[i].version) == 0)
            return false;
    return true;
}

/* The best checkpoint of every version, where there are several versions. */
static void add_best_of_versions(const table *of, const table_column *column, grid *out)
{
    const score_sets *sets = of->sets;
    char cell[TABLE_CELL_BYTES];
    for (size_t i = 0; i < sets->n_sets; i++) {
        if (!is_first_of_version(sets, i))
            continue;
        size_t best = column ? table_find_best(of, column, sets->set[i].version) : i;
        if (!column)
            grid_add(out, sets->set[i].version);
        else
            grid_add(out, best < sets->n_sets ? table_checkpoint(sets, &sets->set[best], cell) : "-");
    }
}

static void add_best(const table *of, bool versions, grid *out)
{
    const score_sets *sets = of->sets;
    char cell[TABLE_CELL_BYTES];
    grid_add(out, "best");
    grid_add(out, "value");
    grid_add(out, "version");
    grid_add(out, "checkpoint");
    if (versions)
        add_best_of_versions(of, NULL, out);
    for (size_t c = 0; c < N_COLUMNS; c++) {
        if (!is_shown(of, &columns[c], GRID_TEXT))
            continue;
        size_t best = table_find_best(of, &columns[c], NULL);
        grid_add(out, columns[c].title);
        grid_add_number(out, best < sets->n_sets ? table_value(&of->result[best], &columns[c]) : NAN, false);
        grid_add(out, best < sets->n_sets ? sets->set[best].version : "-");
        grid_add(out, best < sets->n_sets ? table_checkpoint(sets, &sets->set[best], cell) : "-");
        if (versions)
            add_best_of_versions(of, &columns[c], out);
    }
}

/* Which set is best in each column, and which checkpoint of each version. */
static ac_status put_best(const table *of, grid_text *out)
{
    enum { MOST_VERSIONS = 12 }; /* more make lines that nobody can read: the CSV is there */
    char align[4 + MOST_VERSIONS + 1] = "lrll";
    size_t n_versions = 0;
    grid cells;
    for (size_t i = 0; i < of->sets->n_sets; i++)
        n_versions += is_first_of_version(of->sets, i);
    bool versions = n_versions > 1 && n_versions < of->sets->n_sets && n_versions <= MOST_VERSIONS;
    memset(align + 4, 'l', versions ? n_versions : 0);
    grid_begin(&cells, GRID_TEXT, align);
    add_best(of, versions, &cells);
    grid_put(out, "\n");
    ac_status status = grid_render(&cells, out);
    grid_release(&cells);
    return status;
}

static ac_status fill_table(const void *context, grid_format format, grid_text *out)
{
    const table *of = context;
    ac_status status = put_sets(of, format, out);
    if (status == AC_OK && format == GRID_TEXT && of->sets->n_sets > 1)
        status = put_best(of, out);
    if (status == AC_OK && of->sweep && (format == GRID_TEXT || format == GRID_MARKDOWN))
        status = table_put_sweep(of, format, out);
    return status;
}

ac_status evaluate_print_table(FILE *stream, const evaluate_config *config, const evaluate_sweep *sweep, const score_sets *sets,
                               const set_result *result)
{
    const table of = {.sets = sets, .result = result, .sweep = sweep, .best = config->best, .split = ""};
    grid_text text = {0};
    ac_status status = fill_table(&of, GRID_TEXT, &text);
    if (status == AC_OK)
        status = grid_print(&text, stream);
    grid_release_text(&text);
    return status;
}

ac_status evaluate_check_tables(const evaluate_config *config)
{
    return grid_check_files("table", &config->table);
}

ac_status evaluate_check_best(const evaluate_config *config)
{
    char names[256] = "";
    if (!config->best || table_find_column(config->best))
        return AC_OK;
    for (size_t c = 0; c < N_COLUMNS; c++) {
        strcat(names, " ");
        strcat(names, columns[c].key);
    }
    return ac_error(AC_ERR_USAGE, "--best %.60s is none of val_f1 val_f2 val_ap%s", config->best, names);
}

ac_status evaluate_write_tables(const evaluate_config *config, const evaluate_sweep *sweep, const score_sets *sets, const set_result *result)
{
    const table of = {.sets = sets, .result = result, .sweep = sweep, .best = config->best, .split = ac_split_name((ac_split)config->split)};
    return grid_write_files(&config->table, fill_table, &of);
}
