/* One reader for all CSV files: RFC 4180 quoting, LF or CRLF, byte-order mark skipped, no final newline needed.
 * Works in place on a file held in memory. Not collective, no allocation per row. */
#ifndef ANYCLASS_CSV_H
#define ANYCLASS_CSV_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ac_csv {
    char *text;       /* the file; owned, changed in place while reading (quotes removed, zero bytes put in) */
    size_t n_bytes;
    size_t at;        /* next byte to read */
    size_t line;      /* line on which the row in `field` ends, from 1 */
    char **field;     /* zero-terminated fields of the current row */
    size_t n_fields;
    size_t capacity;
    char name[256];   /* file name for messages (the end of it if long) */
} ac_csv;

/** Read `path` into memory and stand before its first row. AC_ERR_IO, AC_ERR_MEMORY. */
AC_NODISCARD ac_status ac_csv_open(ac_csv *csv, const char *path);
/** The same for text in memory, of which the reader becomes the owner (it must come from ac_malloc, with one spare
 * byte behind n_bytes). On failure the text is released too. */
AC_NODISCARD ac_status ac_csv_open_text(ac_csv *csv, const char *name, char *text, size_t n_bytes);
/** Go to the next row; blank lines are skipped.
 * @param[out] have_row false at the end.
 * @return AC_ERR_DATA "NAME line N: ... (field F)" for a quote that is never closed, text behind a closing quote, a zero byte. */
AC_NODISCARD ac_status ac_csv_next(ac_csv *csv, bool *have_row);
/** Index of the field equal to `name` in the current row (the header), or -1. Surrounding blanks count. */
int ac_csv_find(const ac_csv *csv, const char *name);
/** Safe on a zeroed struct, which is what it leaves. Frees the text and all fields in it. */
void ac_csv_close(ac_csv *csv);

/** Write `text` to out[capacity] as one CSV field with a final zero, quoted only where it must be; returns the bytes
 * needed, the zero included (cut when that is more than `capacity`). */
size_t ac_csv_quote(const char *text, char *out, size_t capacity);

/** Exact decimal to double, locale-free; the whole field must be a number (nan/inf are refused).
 * @return AC_ERR_DATA naming the text. */
AC_NODISCARD ac_status ac_parse_double(const char *text, double *out);
/** Read `n` >= 1 decimals with a comma between each two, as programs write them ("0.25", "1.2e-07"), exactly: for tables of many.
 * @param end  where the text ends; at least AC_DECIMALS_SPARE_BYTES can be read behind it, the first of which is no digit, point
 *             or letter
 * @return     what is behind the last one, at most `end`; NULL when there are fewer or one is not of this simple kind: then
 *             ac_parse_double() decides what it is, field by field */
const char *ac_parse_decimals(const char *text, const char *end, size_t n, double *out);
enum { AC_DECIMALS_SPARE_BYTES = 8 };
/** The whole field must be an integer in [min, max]. */
AC_NODISCARD ac_status ac_parse_int64(const char *text, int64_t min, int64_t max, int64_t *out);

enum { AC_NUMBER_BYTES = 32 };
/** Shortest decimal that reads back to the same float32 ("0.5", "1.2e-07"); locale-free. Returns its length. */
int ac_format_float(float value, char out[AC_NUMBER_BYTES]);
/** Shortest decimal that reads back to the same double. */
int ac_format_double(double value, char out[AC_NUMBER_BYTES]);

#endif
