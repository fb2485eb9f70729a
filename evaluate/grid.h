/* A table of texts and numbers that is laid out as plain text, CSV, Markdown or LaTeX. Private to this folder, not collective. */
#ifndef ANYCLASS_EVALUATE_GRID_H
#define ANYCLASS_EVALUATE_GRID_H

#include "anyclass/option.h"
#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum grid_format { GRID_TEXT, GRID_CSV, GRID_MARKDOWN, GRID_LATEX } grid_format;

typedef struct grid_cell {
    size_t text; /* where it begins in the pool */
    int width;   /* columns on a terminal */
    bool best, space_before;
} grid_cell;

typedef struct grid { /* a zeroed one is empty */
    grid_format format;
    const char *align; /* of each column: 'l' or 'r' */
    size_t n_columns;
    grid_cell *cell; /* row by row, the heading first */
    size_t n_cells, cell_capacity;
    char *pool;
    size_t n_pool, pool_capacity;
    bool space; /* asked for before the next row */
    ac_status status;
} grid;

typedef struct grid_text { /* a growing text */
    char *text;
    size_t n, capacity;
    ac_status status; /* kept: nothing is added after a failure */
} grid_text;

/** Begin; `align` ("llrrr") is borrowed. Errors of what follows are kept until grid_render(). */
void grid_begin(grid *of, grid_format format, const char *align);
/** Add the next cell. A control character, which no table can hold, becomes '?'. */
void grid_add(grid *of, const char *text);
/** A number: in CSV the shortest decimal that reads back and nothing for NaN, elsewhere four decimals and '-'. `best` is set bold where
 * the format knows bold. */
void grid_add_number(grid *of, double value, bool best);
void grid_add_count(grid *of, int64_t value);
/** A gap before the next row, where the format knows one. */
void grid_add_space(grid *of);
/** Append the table to `out`. AC_ERR_MEMORY. */
AC_NODISCARD ac_status grid_render(const grid *of, grid_text *out);
void grid_release(grid *of);

/** Append text; a failure is kept. */
void grid_put(grid_text *out, const char *text);
/** Write it out, flushed. AC_ERR_IO. */
AC_NODISCARD ac_status grid_print(const grid_text *of, FILE *stream);
void grid_release_text(grid_text *of);

/** The format that the ending of `path` names; false when it is none of .txt .csv .md .tex. */
bool grid_find_format(const char *path, grid_format *out);
/** AC_ERR_USAGE when a file of `option` has another ending or stands there twice. Looks at no file. */
AC_NODISCARD ac_status grid_check_files(const char *option, const ac_string_list *files);
/** Check, writing nothing, that a file could be made. AC_ERR_IO. */
AC_NODISCARD ac_status grid_check_folder(const char *path);
/** Make the folder of a file. AC_ERR_IO. */
AC_NODISCARD ac_status grid_make_folder(const char *path);

/* Append what a file of this format holds. */
typedef ac_status (*grid_fill)(const void *context, grid_format format, grid_text *out);
/** Write all files, each complete or absent; none is replaced when one cannot be written. Folders are made. AC_ERR_IO, AC_ERR_MEMORY. */
AC_NODISCARD ac_status grid_write_files(const ac_string_list *files, grid_fill fill, const void *context);

#endif
