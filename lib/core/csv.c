/* The CSV reader: one pass over the text, fields cut out in place. */
#include "anyclass/csv.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include <string.h>

ac_status ac_csv_open_text(ac_csv *csv, const char *name, char *text, size_t n_bytes)
{
    memset(csv, 0, sizeof *csv);
    size_t length = strlen(name), skipped = length >= sizeof csv->name ? length - sizeof csv->name + 1 : 0;
    strcpy(csv->name, name + skipped);
    csv->text = text;
    csv->n_bytes = n_bytes;
    csv->line = 1;
    text[n_bytes] = 0;
    if (n_bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        csv->at = 3;
    csv->field = NULL;
    ac_status status = ac_reserve(&csv->field, &csv->capacity, 32, sizeof *csv->field);
    if (status != AC_OK)
        ac_csv_close(csv);
    return status;
}

ac_status ac_csv_open(ac_csv *csv, const char *path)
{
    uint8_t *bytes;
    size_t n;
    memset(csv, 0, sizeof *csv);
    ac_status status = ac_file_read_all(path, 0, &bytes, &n);
    return status == AC_OK ? ac_csv_open_text(csv, path, (char *)bytes, n) : status;
}

void ac_csv_close(ac_csv *csv)
{
    ac_free(csv->text);
    ac_free(csv->field);
    memset(csv, 0, sizeof *csv);
}

static ac_status fail(const ac_csv *csv, size_t line, const char *what)
{
    return ac_error(AC_ERR_DATA, "%s line %zu: %s (field %zu)", csv->name, line, what, csv->n_fields);
}

/* A quoted field: moves the text over its quotes. On return csv->at stands behind the closing quote. */
static ac_status read_quoted(ac_csv *csv, size_t line, char **end_of_text)
{
    char *to = csv->text + csv->at;
    csv->at++;
    for (;;) {
        if (csv->at >= csv->n_bytes)
            return fail(csv, line, "a quote is never closed");
        char c = csv->text[csv->at++];
        if (c == '"') {
            if (csv->text[csv->at] != '"')
                break;
            csv->at++;
        }
        csv->line += c == '\n';
        if (c == 0)
            return fail(csv, csv->line, "a zero byte");
        *to++ = c;
    }
    *end_of_text = to;
    char next = csv->text[csv->at];
    if (csv->at < csv->n_bytes && next != ',' && next != '\n' && !(next == '\r' && csv->text[csv->at + 1] == '\n'))
        return fail(csv, csv->line, "text behind a closing quote");
    return AC_OK;
}

static ac_status read_field(ac_csv *csv, size_t line, bool *last)
{
    ac_status status = AC_OK;
    char *start = csv->text + csv->at, *end = start;
    AC_TRY(ac_reserve(&csv->field, &csv->capacity, csv->n_fields + 1, sizeof *csv->field));
    csv->field[csv->n_fields++] = start;
    if (*start == '"' && csv->at < csv->n_bytes) {
        AC_TRY(read_quoted(csv, line, &end));
    } else {
        csv->at += strcspn(start, ",\n");
        end = csv->text + csv->at;
        if (*end == 0 && csv->at < csv->n_bytes)
            return fail(csv, csv->line, "a zero byte");
        if (*end != ',' && end > start && end[-1] == '\r')
            end--;
    }
    if (csv->text[csv->at] == '\r') /* only behind a quote */
        csv->at++;
    *last = csv->text[csv->at] != ',';
    if (csv->at < csv->n_bytes)
        csv->at++;
    *end = 0;
out:
    return status;
}

ac_status ac_csv_next(ac_csv *csv, bool *have_row)
{
    ac_status status = AC_OK;
    /* csv->line is the line on which the row ends */
    *have_row = false;
    if (csv->n_fields)
        csv->line++;
    for (;;) {
        size_t skip = csv->text[csv->at] == '\n' ? 1 : csv->text[csv->at] == '\r' && csv->text[csv->at + 1] == '\n' ? 2 : 0;
        if (skip == 0)
            break;
        csv->at += skip;
        csv->line++;
    }
    csv->n_fields = 0;
    if (csv->at >= csv->n_bytes)
        return AC_OK;
    for (bool last = false; !last;)
        AC_TRY(read_field(csv, csv->line, &last));
    *have_row = true;
out:
    return status;
}

int ac_csv_find(const ac_csv *csv, const char *name)
{
    for (size_t i = 0; i < csv->n_fields; i++)
        if (strcmp(csv->field[i], name) == 0)
            return (int)i;
    return -1;
}

size_t ac_csv_quote(const char *text, char *out, size_t capacity)
{
    size_t n = 0;
    bool quote = text[strcspn(text, ",\"\r\n")] != 0;
    if (quote && n++ < capacity)
        out[n - 1] = '"';
    for (; *text; text++) {
        if (*text == '"' && n++ < capacity)
            out[n - 1] = '"';
        if (n++ < capacity)
            out[n - 1] = *text;
    }
    if (quote && n++ < capacity)
        out[n - 1] = '"';
    if (n < capacity)
        out[n] = 0;
    return n + 1;
}
