/* The table of a sweep, sweep.csv: which version has which values. anyclass-train sweep writes it, anyclass-evaluate joins it with
 * metrics. Format in docs/sweeps.md. Not collective. */
#ifndef ANYCLASS_SWEEP_H
#define ANYCLASS_SWEEP_H

#include "anyclass/csv.h"

typedef struct ac_sweep_file {
    const char **key;     /* [n_keys] options that are swept */
    const char **version; /* [n_elements] */
    const char **value;   /* [n_elements, n_keys] as words of a command line */
    const char **command; /* [n_elements] what trains the element again */
    size_t n_keys, n_elements, version_capacity, value_capacity, command_capacity;
    ac_csv csv; /* owns the texts */
} ac_sweep_file;

/** Read a table. Release in any case. AC_ERR_IO; AC_ERR_DATA naming file and line: other columns, a row that is short or out of order, no rows. */
AC_NODISCARD ac_status ac_sweep_file_read(const char *path, ac_sweep_file *out);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_sweep_file_release(ac_sweep_file *file);

#endif
