/* What the table's columns are, for the parts of it. Private to this folder. */
#ifndef ANYCLASS_EVALUATE_TABLE_H
#define ANYCLASS_EVALUATE_TABLE_H

#include "evaluate/grid.h"
#include "evaluate/sweep.h"

typedef enum shown { SHOWN_ALWAYS, SHOWN_IN_CSV, SHOWN_WITH_WEIGHTS, SHOWN_TUNED } shown;

typedef struct table_column { /* a number of each set */
    const char *title;
    const char *key; /* the JSON's name, in CSV */
    size_t offset;   /* in ac_metrics */
    bool tuned;      /* of tuned_metrics */
    shown when;      /* outside CSV, which has all columns always */
} table_column;

typedef struct table { /* what is laid out; borrowed */
    const score_sets *sets;
    const set_result *result;
    const evaluate_sweep *sweep; /* NULL: none */
    const char *best;            /* of the sweep by this metric; NULL: not named */
    const char *split;           /* for CSV */
} table;

enum { TABLE_CELL_BYTES = SET_NAME_BYTES * 2 };

/** The column that --best names: its key, or the trainer's val_f1, val_f2, val_ap; NULL when there is none. */
const table_column *table_find_column(const char *name);
/** A set's number in a column; NaN when it is not defined. */
double table_value(const set_result *result, const table_column *of);
/** The first set of `version` (NULL: of all) with the highest value; n_sets when all are undefined. */
size_t table_find_best(const table *of, const table_column *column, const char *version);
/** How a set's checkpoint is called in the table; perhaps in `cell`. */
const char *table_checkpoint(const score_sets *sets, const score_set *set, char cell[TABLE_CELL_BYTES]);

/* ---- table_sweep.c ---- */

/** Are all values of this swept option numbers? */
bool table_key_is_number(const evaluate_sweep *sweep, size_t key);
/** Append, in text or Markdown: elements that are missing, the best element and what trains it again, and means over seeds. AC_ERR_MEMORY. */
AC_NODISCARD ac_status table_put_sweep(const table *of, grid_format format, grid_text *out);

#endif
