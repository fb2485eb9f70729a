/* Rows of a part of a CSV file. Finds where rows begin and end, and leaves fields to the CSV reader. */
#include "anyclass/rows.h"
#include "anyclass/alloc.h"
#include <string.h>
#include <sys/stat.h>

#ifndef AC_ROWS_BLOCK_BYTES
#define AC_ROWS_BLOCK_BYTES ((size_t)1 << 19) /* stays in a core's own cache */
#endif
static const size_t MOST_ROW_BYTES = (size_t)1 << 28;
static const uint64_t BORDER_BYTES = 4096; /* read beyond the part's end for its last row */

/* The state behind `n` bytes without a quote, of which the last decides. */
static ac_rows_state behind_run(ac_rows_state state, const char *run, size_t n)
{
    if (n == 0 || state == AC_ROWS_IN_QUOTES)
        return state;
    return run[n - 1] == '\n' ? AC_ROWS_AT_ROW : run[n - 1] == ',' ? AC_ROWS_AT_FIELD : AC_ROWS_IN_FIELD;
}

static ac_rows_state behind_quote(ac_rows_state state)
{
    static const ac_rows_state next[AC_ROWS_N_STATES] = {AC_ROWS_IN_QUOTES, AC_ROWS_IN_QUOTES, AC_ROWS_IN_FIELD,
                                                         AC_ROWS_BEHIND_QUOTE, AC_ROWS_IN_QUOTES};
    return next[state];
}

/* A piece of the file: from the state before it to the one behind it, for each that it might be. */
static void pass_block(const char *block, size_t n, ac_rows_state to[AC_ROWS_N_STATES])
{
    for (const char *at = block, *end = block + n;;) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        size_t run = (size_t)((quote ? quote : end) - at);
        for (int i = 0; i < AC_ROWS_N_STATES; i++) {
            to[i] = behind_run(to[i], at, run);
            to[i] = quote ? behind_quote(to[i]) : to[i];
        }
        if (!quote)
            return;
        at = quote + 1;
    }
}

static ac_status open_file(const char *path, FILE **stream, uint64_t *n_bytes)
{
    struct stat info;
    ac_status status = ac_file_open_regular(path, stream);
    if (status != AC_OK)
        return status;
    if (fstat(fileno(*stream), &info) == 0) {
        *n_bytes = (uint64_t)info.st_size;
        return AC_OK;
    }
    status = ac_error_errno("%s", path);
    fclose(*stream);
    *stream = NULL;
    return status;
}

static ac_status read_at(FILE *stream, const char *path, uint64_t at, void *out, size_t n)
{
    ac_status status = ac_file_read_at(fileno(stream), at, out, n);
    return status == AC_OK ? AC_OK : ac_error_in(status, "%s", path);
}

/* A text of no bytes in a block of its own, for the fields of one row after the other. */
static ac_status open_fields(ac_rows *rows)
{
    ac_status status = AC_OK;
    char *text;
    AC_TRY(ac_malloc(1, 1, &text));
    AC_TRY(ac_csv_open_text(&rows->fields, rows->path, text, 0));
out:
    return status;
}

ac_status ac_rows_open(ac_rows *rows, const char *path, uint64_t begin, uint64_t end, ac_rows_state state)
{
    ac_status status = AC_OK;
    char mark[3];
    memset(rows, 0, sizeof *rows);
    if (strlen(path) >= sizeof rows->path)
        return ac_error(AC_ERR_USAGE, "path of more than %d bytes: %.60s...", AC_PATH_BYTES - 1, path);
    strcpy(rows->path, path);
    AC_TRY(open_file(path, &rows->stream, &rows->file_bytes));
    rows->end = end < rows->file_bytes ? end : rows->file_bytes;
    rows->state = state;
    if (begin == 0 && rows->file_bytes >= sizeof mark) {
        AC_TRY(read_at(rows->stream, path, 0, mark, sizeof mark));
        if (memcmp(mark, "\xEF\xBB\xBF", sizeof mark) == 0)
            begin = sizeof mark;
    }
    rows->block_offset = rows->next = begin;
    rows->capacity = AC_ROWS_BLOCK_BYTES;
    AC_TRY(ac_malloc(rows->capacity + AC_ROWS_SPARE_BYTES, 1, &rows->block));
    AC_TRY(open_fields(rows));
out:
    if (status != AC_OK)
        ac_rows_close(rows);
    return status;
}

void ac_rows_close(ac_rows *rows)
{
    if (rows->stream)
        fclose(rows->stream);
    ac_free(rows->block);
    ac_csv_close(&rows->fields);
    memset(rows, 0, sizeof *rows);
}

/* Lines that end before byte `end`. */
static ac_status count_lines(const ac_rows *rows, uint64_t end, size_t *n_lines)
{
    ac_status status = AC_OK;
    char *block = NULL;
    size_t n;
    *n_lines = 0;
    AC_TRY(ac_malloc(AC_ROWS_BLOCK_BYTES, 1, &block));
    for (uint64_t at = 0; at < end; at += n) {
        n = end - at < AC_ROWS_BLOCK_BYTES ? (size_t)(end - at) : AC_ROWS_BLOCK_BYTES;
        AC_TRY(read_at(rows->stream, rows->path, at, block, n));
        size_t found = 0;
        for (size_t i = 0; i < n; i++)
            found += block[i] == '\n';
        *n_lines += found;
    }
out:
    ac_free(block);
    return status;
}

static ac_status grow(ac_rows *rows)
{
    ac_status status = AC_OK;
    size_t n_lines;
    if (rows->capacity >= MOST_ROW_BYTES) {
        AC_TRY(count_lines(rows, rows->block_offset, &n_lines));
        return ac_error(AC_ERR_DATA, "%s line %zu: a row of more than %zu bytes: is a quote never closed?",
                        rows->fields.name, n_lines + 1, MOST_ROW_BYTES);
    }
    AC_TRY(ac_realloc(&rows->block, 2 * rows->capacity + AC_ROWS_SPARE_BYTES, 1));
    rows->capacity *= 2;
out:
    return status;
}

static void find_quote(ac_rows *rows)
{
    const char *quote = memchr(rows->block + rows->at, '"', rows->n_block - rows->at);
    rows->quote_at = quote ? (size_t)(quote - rows->block) : rows->n_block;
}

/* More of the file behind what is left of the block. */
static ac_status refill(ac_rows *rows)
{
    ac_status status = AC_OK;
    rows->n_block -= rows->at;
    memmove(rows->block, rows->block + rows->at, rows->n_block);
    rows->block_offset += rows->at;
    rows->at = 0;
    if (rows->n_block == rows->capacity)
        AC_TRY(grow(rows));
    uint64_t at = rows->block_offset + rows->n_block, wanted = rows->capacity - rows->n_block;
    uint64_t border = (at < rows->end ? rows->end - at : 0) + BORDER_BYTES;
    wanted = wanted < border ? wanted : border;
    wanted = wanted < rows->file_bytes - at ? wanted : rows->file_bytes - at;
    AC_TRY(read_at(rows->stream, rows->path, at, rows->block + rows->n_block, (size_t)wanted));
    rows->n_block += (size_t)wanted;
    memset(rows->block + rows->n_block, 0, AC_ROWS_SPARE_BYTES);
    find_quote(rows);
out:
    return status;
}

/* The line break that ends the row in which `state` stands at the block's `at`; NULL when it is not in the block. */
static const char *find_line_break(const ac_rows *rows, ac_rows_state state)
{
    const char *at = rows->block + rows->at, *end = rows->block + rows->n_block, *quote = rows->block + rows->quote_at;
    for (;;) {
        if (state != AC_ROWS_IN_QUOTES) {
            const char *found = memchr(at, '\n', (size_t)(quote - at));
            if (found)
                return found;
        }
        if (quote == end)
            return NULL;
        state = behind_quote(behind_run(state, at, (size_t)(quote - at)));
        at = quote + 1;
        quote = memchr(at, '"', (size_t)(end - at));
        quote = quote ? quote : end;
    }
}

/* To where the next row begins, or to the block's end. */
static void skip_to_row(ac_rows *rows)
{
    ac_rows_state to[AC_ROWS_N_STATES] = {0, 1, 2, 3, 4};
    if (rows->state == AC_ROWS_AT_ROW)
        return;
    const char *found = find_line_break(rows, rows->state);
    if (!found)
        pass_block(rows->block + rows->at, rows->n_block - rows->at, to);
    rows->state = found ? AC_ROWS_AT_ROW : to[rows->state];
    rows->at = found ? (size_t)(found - rows->block) + 1 : rows->n_block;
    find_quote(rows);
}

/* The row at the block's `at`; blank lines before it are passed. False: more of the file is needed, or there is none. */
static bool take_row(ac_rows *rows, bool at_file_end)
{
    while (rows->at < rows->n_block && rows->block_offset + rows->at < rows->end) {
        const char *first = rows->block + rows->at, *found = find_line_break(rows, AC_ROWS_AT_ROW);
        if (!found && !at_file_end)
            return false;
        const char *end = found ? found : rows->block + rows->n_block;
        size_t n = (size_t)(end - first);
        bool blank = found && (n == 0 || (n == 1 && *first == '\r'));
        rows->row = first;
        rows->n_bytes = n > 0 && first[n - 1] == '\r' ? n - 1 : n;
        rows->raw_bytes = n + (found != NULL);
        rows->offset = rows->block_offset + rows->at;
        rows->next = rows->offset + rows->raw_bytes;
        rows->has_quote = rows->quote_at < rows->at + n;
        rows->at += rows->raw_bytes;
        if (rows->quote_at < rows->at)
            find_quote(rows);
        if (!blank)
            return true;
    }
    return false;
}

ac_status ac_rows_next(ac_rows *rows, bool *have_row)
{
    ac_status status = AC_OK;
    *have_row = false;
    for (;;) {
        bool at_file_end = rows->block_offset + rows->n_block >= rows->file_bytes;
        skip_to_row(rows);
        *have_row = rows->state == AC_ROWS_AT_ROW && take_row(rows, at_file_end);
        if (*have_row || at_file_end || rows->block_offset + rows->at >= rows->end)
            return AC_OK;
        AC_TRY(refill(rows));
    }
out:
    return status;
}

/* Fields of the current row, which begins in line `line`. */
static ac_status cut(ac_rows *rows, size_t line)
{
    ac_status status = AC_OK;
    bool have_row;
    ac_csv *csv = &rows->fields;
    AC_TRY(ac_reserve(&csv->text, &rows->text_capacity, rows->raw_bytes + 1, 1));
    memcpy(csv->text, rows->row, rows->raw_bytes);
    csv->text[rows->raw_bytes] = 0;
    csv->n_bytes = rows->raw_bytes;
    csv->at = csv->n_fields = 0;
    csv->line = line;
    AC_TRY(ac_csv_next(csv, &have_row));
out:
    return status;
}

ac_status ac_rows_split(ac_rows *rows)
{
    ac_status status = cut(rows, 1);
    size_t n_lines;
    if (status != AC_ERR_DATA)
        return status;
    AC_TRY(count_lines(rows, rows->offset, &n_lines));
    AC_TRY(cut(rows, n_lines + 1));
out:
    return status;
}

ac_status ac_rows_count_lines(ac_rows *rows)
{
    size_t n_lines;
    ac_status status = count_lines(rows, rows->offset, &n_lines);
    if (status == AC_OK)
        rows->fields.line += n_lines;
    return status;
}

ac_status ac_rows_scan(const char *path, uint64_t begin, uint64_t end, ac_rows_state to[AC_ROWS_N_STATES])
{
    ac_status status = AC_OK;
    FILE *stream;
    uint64_t file_bytes;
    char *block = NULL;
    size_t n;
    for (int i = 0; i < AC_ROWS_N_STATES; i++)
        to[i] = (ac_rows_state)i;
    AC_TRY(open_file(path, &stream, &file_bytes));
    status = ac_malloc(AC_ROWS_BLOCK_BYTES, 1, &block);
    for (uint64_t at = begin; status == AC_OK && at < end; at += n) {
        n = end - at < AC_ROWS_BLOCK_BYTES ? (size_t)(end - at) : AC_ROWS_BLOCK_BYTES;
        status = read_at(stream, path, at, block, n);
        if (status == AC_OK)
            pass_block(block, n, to);
    }
    ac_free(block);
    fclose(stream);
out:
    return status;
}
