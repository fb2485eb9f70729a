/* The table that puts versions and checkpoints side by side. */
#include "evaluate/steps.h"
#include <math.h>
#include <string.h>

enum { N_VALUES = 8, CELL_BYTES = SET_NAME_BYTES * 2 };

/* Characters, so that names beyond ASCII line up. */
static int width(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void print_left(FILE *stream, const char *text, int columns)
{
    fprintf(stream, "%s%*s  ", text, columns > width(text) ? columns - width(text) : 0, "");
}

/* "val_f1"; with the model in front when the table holds several, the file's stem when its name does not tell. */
static void checkpoint_cell(const score_set *set, bool one_model, char cell[CELL_BYTES])
{
    if (set->checkpoint[0] == '\0')
        snprintf(cell, CELL_BYTES, "%s", set->stem);
    else if (one_model)
        snprintf(cell, CELL_BYTES, "%s", set->checkpoint);
    else
        snprintf(cell, CELL_BYTES, "%s %s", set->model, set->checkpoint);
}

static void print_values(FILE *stream, const ac_metrics *metrics)
{
    const double values[N_VALUES] = {metrics->macro_f1,     metrics->macro_f2,   metrics->macro_precision,
                                     metrics->macro_recall, metrics->micro_f1,   metrics->mean_average_precision,
                                     metrics->f1_negative,  metrics->f1_positive};
    for (int i = 0; i < N_VALUES; i++) {
        if (isnan(values[i]))
            fprintf(stream, "%9s", "-");
        else
            fprintf(stream, "%9.4f", values[i]);
    }
    fputc('\n', stream);
}

ac_status evaluate_print_table(FILE *stream, const score_sets *sets, const set_result *result)
{
    static const char *const title[N_VALUES] = {"macro F1", "macro F2", "macro P", "macro R",
                                                "micro F1", "mAP",      "F1-Neg",  "F1-Pos"};
    char cell[CELL_BYTES];
    int version_width = width("version"), checkpoint_width = width("checkpoint");
    bool one_model = true;
    for (size_t i = 1; i < sets->n_sets; i++)
        one_model &= strcmp(sets->set[i].model, sets->set[0].model) == 0;
    for (size_t i = 0; i < sets->n_sets; i++) {
        checkpoint_cell(&sets->set[i], one_model, cell);
        version_width = width(sets->set[i].version) > version_width ? width(sets->set[i].version) : version_width;
        checkpoint_width = width(cell) > checkpoint_width ? width(cell) : checkpoint_width;
    }
    print_left(stream, "version", version_width);
    print_left(stream, "checkpoint", checkpoint_width);
    for (int i = 0; i < N_VALUES; i++)
        fprintf(stream, "%9s", title[i]);
    fputc('\n', stream);
    for (size_t i = 0; i < sets->n_sets; i++) {
        checkpoint_cell(&sets->set[i], one_model, cell);
        print_left(stream, sets->set[i].version, version_width);
        print_left(stream, cell, checkpoint_width);
        print_values(stream, &result[i].metrics);
    }
    if (fflush(stream) != 0 || ferror(stream))
        return ac_error_errno("cannot write the results table");
    return AC_OK;
}
