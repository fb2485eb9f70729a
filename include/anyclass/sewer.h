/* SewerML_{Split}.csv: where its columns are, and what a row shows. Not collective. */
#ifndef ANYCLASS_SEWER_H
#define ANYCLASS_SEWER_H

#include "anyclass/csv.h"
#include "anyclass/status.h"
#include <stddef.h>
#include <stdint.h>

enum { AC_SEWER_N_CLASSES = 17 };

typedef struct ac_sewer_columns { /* picked by name from the header, in any order */
    size_t n_fields;
    size_t file_name;
    size_t label[AC_SEWER_N_CLASSES];
    int defect; /* -1 when there is none */
} ac_sewer_columns;

/** Code of class c ("RB"), in the order of the labels. */
const char *ac_sewer_class(size_t c);
/** Its class-importance weight, between 0 and 1, of the CIW-F2 score (arXiv 2103.10895). */
double ac_sewer_class_weight(size_t c);
/** Find the columns in the row that `csv` is at, its header. AC_ERR_DATA naming what is missing or occurs twice. */
AC_NODISCARD ac_status ac_sewer_find_columns(const ac_csv *csv, ac_sewer_columns *out);
/** Labels of a row. @param[out] label  [AC_SEWER_N_CLASSES], each 0 or 1. AC_ERR_DATA naming the column. */
AC_NODISCARD ac_status ac_sewer_read_row(const ac_csv *csv, const ac_sewer_columns *columns, uint8_t *label);

#endif
