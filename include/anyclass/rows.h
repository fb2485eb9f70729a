/* Rows of a part of a CSV file, block by block: memory does not grow with the file, and many ranks can each read a part of one
 * file. What a row is, is csv.h's word: quoted line breaks belong to it, blank lines and a byte-order mark are skipped. Not collective. */
#ifndef ANYCLASS_ROWS_H
#define ANYCLASS_ROWS_H

#include "anyclass/csv.h"
#include "anyclass/file.h"
#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum ac_rows_state { /* where in the file a byte stands */
    AC_ROWS_AT_ROW,          /* a row begins here */
    AC_ROWS_AT_FIELD,        /* another field does: a quote would open it */
    AC_ROWS_IN_FIELD,        /* in a field that is not quoted */
    AC_ROWS_IN_QUOTES,
    AC_ROWS_BEHIND_QUOTE, /* the quote before closes the field, or is the first of two */
    AC_ROWS_N_STATES
} ac_rows_state;

typedef struct ac_rows {
    const char *row;  /* the current row without its line break, in the block: valid until the next call */
    size_t n_bytes;   /* of it */
    uint64_t offset;  /* of its first byte in the file */
    bool has_quote;   /* there is a quote somewhere in it */
    uint64_t next;    /* offset of what follows it */
    ac_csv fields;    /* of the row that ac_rows_split() cut up */
    FILE *stream;     /* from here on the reader's own */
    uint64_t end, file_bytes;
    char *block;
    size_t n_block, capacity, at, quote_at, raw_bytes, text_capacity;
    uint64_t block_offset;
    ac_rows_state state;
    char path[AC_PATH_BYTES];
} ac_rows;

enum { AC_ROWS_SPARE_BYTES = 16 }; /* that can be read behind a row; the first is no part of a number */

/** Stand before the rows that begin in bytes [begin, end) of the file; `state` is where `begin` stands (AT_ROW for 0). `end` may lie
 * beyond the file's. AC_ERR_IO for what is no regular file; AC_ERR_MEMORY. Close after success. */
AC_NODISCARD ac_status ac_rows_open(ac_rows *rows, const char *path, uint64_t begin, uint64_t end, ac_rows_state state);
/** Go to the next row; its fields are not looked at.
 * @param[out] have_row  false behind the last
 * @return AC_OK; AC_ERR_IO; AC_ERR_DATA when the file became shorter, or for a row of more than 256 MiB; AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_rows_next(ac_rows *rows, bool *have_row);
/** Cut the current row into rows->fields, a copy. AC_ERR_DATA as ac_csv_next() says it, with the line in the file. The line in
 * `fields` counts from the row's first until ac_rows_count_lines() was called. */
AC_NODISCARD ac_status ac_rows_split(ac_rows *rows);
/** Make rows->fields.line the line of the file: reads what lies before the row once more. For messages. */
AC_NODISCARD ac_status ac_rows_count_lines(ac_rows *rows);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_rows_close(ac_rows *rows);

/** Where the byte `end` of the file stands, for every state that the byte `begin` might have: to[begin's] is end's. So ranks can
 * look at their parts at the same time, and only then ask what stands before. The states are right as long as no row before is
 * wrong as CSV. AC_ERR_IO, AC_ERR_DATA when the file is shorter, AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_rows_scan(const char *path, uint64_t begin, uint64_t end, ac_rows_state to[AC_ROWS_N_STATES]);

#endif
