/* ChestX-ray14: the table of all images (Data_Entry_2017*.csv, both editions) and lists of image names. Not collective.
 */
#ifndef ANYCLASS_CHEST_H
#define ANYCLASS_CHEST_H

#include "anyclass/dataset.h"
#include "anyclass/file.h"

typedef struct ac_chest_table {
    ac_dataset rows;  /* every row of the file, in file order; source, mean and std are not set */
    int64_t *patient; /* [rows.n_samples]; NULL when the file has no column Patient ID */
    size_t *slot;     /* index of the names */
    size_t n_slots, patient_capacity;
} ac_chest_table;

/** The table of a folder: its newest edition, Data_Entry_2017_v2020.csv or Data_Entry_2017.csv. AC_ERR_IO if it has
 * none. */
AC_NODISCARD ac_status ac_chest_find_table(const char *folder, char path[AC_PATH_BYTES]);
/** Read the table. AC_ERR_DATA naming file, line and column: a missing column, an unknown finding, one that stands
 * beside `No Finding`, a patient that is no number, an image twice. Release after success. */
AC_NODISCARD ac_status ac_chest_table_read(const char *path, ac_chest_table *out);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_chest_table_release(ac_chest_table *table);

/** Rows of the images that a list names, in its order: one name per line, LF or CRLF, blank lines skipped.
 * @param[out] row  [*n] owned by the caller (ac_free)
 * @return AC_ERR_IO; AC_ERR_DATA naming file and line: a name that the table lacks or that occurs twice. */
AC_NODISCARD ac_status ac_chest_list_read(const char *path, const ac_chest_table *table, size_t **row, size_t *n);

#endif
