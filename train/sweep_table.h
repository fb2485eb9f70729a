/* The elements of a sweep as they are printed, saved and handed to the trainer. Private to this folder, not collective. */
#ifndef ANYCLASS_TRAIN_SWEEP_TABLE_H
#define ANYCLASS_TRAIN_SWEEP_TABLE_H

#include "anyclass/sweep.h"
#include "train/sweep.h"

enum { SWEEP_VERSION_BYTES = 256 };

typedef struct sweep_table { /* all but `value` borrowed */
    const sweep_ranges *ranges;
    const sweep_points *points;
    const char *name;             /* of the versions: NAME-000 */
    const ac_string_list *fixed;  /* options of all elements */
    size_t n_elements;
    char (*value)[SWEEP_VALUE_BYTES]; /* [n_keys] of the element last asked for */
} sweep_table;

/** Release in any case. As sweep_count(). */
AC_NODISCARD ac_status sweep_table_make(const sweep_ranges *ranges, const sweep_points *points, const char *name, const ac_string_list *fixed,
                                        sweep_table *out);
void sweep_table_release(sweep_table *table);
/** NAME-007: the same however many elements there are. */
void sweep_table_version(const sweep_table *table, size_t i, char out[SWEEP_VERSION_BYTES]);
/** The trainer's argv[n] for element i, with --dump_config, so that it asks for no more than is there. One block: ac_free(). AC_ERR_MEMORY. */
AC_NODISCARD ac_status sweep_table_words(const sweep_table *table, size_t i, char ***argv, size_t *n);
/** A line per element to stdout: number, version and options, separated by tabs. AC_ERR_IO, AC_ERR_MEMORY. */
AC_NODISCARD ac_status sweep_table_print(const sweep_table *table);
/** Write the CSV, complete or absent, in the place of one whose elements are the same as far as both go (only checked with `dry_run`).
 * AC_ERR_USAGE naming the first that is another: a version must not become another training. AC_ERR_IO, AC_ERR_DATA for a file that is no such table. */
AC_NODISCARD ac_status sweep_table_save(const sweep_table *table, const char *path, bool dry_run);

#endif
