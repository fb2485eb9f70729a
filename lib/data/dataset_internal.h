/* What the annotation readers share. */
#ifndef ANYCLASS_LIB_DATASET_INTERNAL_H
#define ANYCLASS_LIB_DATASET_INTERNAL_H

#include "anyclass/csv.h"
#include "anyclass/dataset.h"

/* A reader: fill `out` (zeroed but for source, mean and std) from the annotation file `path`. Whoever called releases
 * `out` after a failure. */
typedef ac_status ac_dataset_reader(const char *path, const ac_dataset_options *options, ac_dataset *out);

ac_dataset_reader ac_dataset_read_sewer;
ac_dataset_reader ac_dataset_read_coco;
ac_dataset_reader ac_dataset_read_chest;
ac_dataset_reader ac_dataset_read_csv;

/* The sample added last stands in this line of the file: for messages. */
AC_NODISCARD ac_status ac_dataset_set_line(ac_dataset *dataset, size_t line);

/* A field that must be 0 or 1; AC_ERR_DATA naming `column`. */
AC_NODISCARD ac_status ac_dataset_parse_label(const char *text, const char *column, uint8_t *out);

/* A function for each row of a CSV file; what it fails with gets file and line in front. An empty file is AC_ERR_DATA.
 */
typedef ac_status ac_csv_visit(void *context, const ac_csv *csv, bool header);
AC_NODISCARD ac_status ac_csv_for_each(const char *path, ac_csv_visit *visit, void *context);

typedef struct ac_name_index { /* name -> its number in a pool of zero-terminated names; pool and offsets are borrowed
                                */
    const char *pool;
    const size_t *offset;
    size_t *slot; /* number + 1, 0 = free */
    size_t n_slots;
} ac_name_index;

/* Of names that occur more than once the first is found. twice[]: numbers of the first such pair, else 0 and 0. */
AC_NODISCARD ac_status ac_name_index_create(const char *pool, const size_t *offset, size_t n, ac_name_index *out,
                                            size_t twice[2]);
/* Safe on a zeroed struct. */
void ac_name_index_release(ac_name_index *index);
/* SIZE_MAX when there is none. */
size_t ac_name_index_find(const ac_name_index *index, const char *name);

#endif
