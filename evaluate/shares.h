/* One set of CSV files, read by all ranks at once: laid end to end the files are one string of bytes, of which each rank takes an
 * equal part and with it the rows that begin there. Private to this folder. */
#ifndef ANYCLASS_EVALUATE_SHARES_H
#define ANYCLASS_EVALUATE_SHARES_H

#include "anyclass/rows.h"
#include "anyclass/status.h"
#include <mpi.h>

/* Path of file `file` into out[AC_PATH_BYTES]. */
typedef ac_status (*row_share_path)(const void *context, size_t file, char *out);

typedef struct row_share { /* of this rank */
    row_share_path path;
    const void *context; /* of `path`; borrowed */
    size_t n_files;
    uint64_t *start;     /* [n_files + 1] first byte of each file in the string, and its end */
    uint64_t begin, end;
    ac_rows_state state; /* at `begin`, when that is behind its file's header */
    bool is_last;        /* files without a byte at the end of the string are the last rank's */
} row_share;

typedef struct row_visitor { /* both get the `context` of row_share_read() */
    /* The header of a file; what `csv` holds is gone afterwards. */
    ac_status (*header)(void *context, size_t file, const ac_csv *csv);
    /* This rank's rows of that file: calls ac_rows_next() until there are no more. */
    ac_status (*rows)(void *context, size_t file, ac_rows *rows);
} row_visitor;

/** Divide the files. Collective, the same answer on every rank. `out` must be released in any case. AC_ERR_IO, AC_ERR_DATA,
 * AC_ERR_MEMORY. */
AC_NODISCARD ac_status row_share_divide(MPI_Comm comm, row_share_path path, const void *context, size_t n_files, row_share *out);
void row_share_release(row_share *share);
/** Read this rank's share in the order of the string. Not collective: when ranks fail, the lowest one's failure is the first in the
 * files. AC_ERR_DATA also for a file without a header; AC_ERR_IO, AC_ERR_MEMORY, and what the visitor returns. */
AC_NODISCARD ac_status row_share_read(const row_share *share, const row_visitor *visitor, void *context);
/** The file that byte `at` of the string is in. */
size_t row_share_find_file(const row_share *share, uint64_t at);
/** Bytes of the share. */
uint64_t row_share_bytes(const row_share *share);

/** ac_comm_agree() for what all ranks would have said alike: the text does not tell which of them found it. Collective. */
AC_NODISCARD ac_status evaluate_agree(MPI_Comm comm, ac_status mine);

#endif
