/* Rows of parts of a file: wherever it is cut, the parts' rows are those that the reader of whole files gives, and what is wrong is
 * said in the same words. */
#include "anyclass/alloc.h"
#include "anyclass/random.h"
#include "anyclass/rows.h"
#include "tests/tap.h"
#include <string.h>
#include <unistd.h>

typedef struct text { /* rows as one text: fields end with '|', rows with '/'; or the error behind a '!' */
    char *bytes;
    size_t n, capacity;
} text;

static char path[AC_PATH_BYTES];

static void add(text *to, const char *word, char end)
{
    size_t n = strlen(word);
    if (ac_reserve(&to->bytes, &to->capacity, to->n + n + 2, 1) != AC_OK)
        exit(1);
    memcpy(to->bytes + to->n, word, n);
    to->n += n;
    to->bytes[to->n++] = end;
    to->bytes[to->n] = 0;
}

static void add_row(text *to, const ac_csv *csv)
{
    for (size_t i = 0; i < csv->n_fields; i++)
        add(to, csv->field[i], '|');
    add(to, "", '/');
}

static bool write_file(const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    return file && fwrite(bytes, 1, n, file) == n && fclose(file) == 0;
}

static void read_whole(text *out)
{
    ac_csv csv = {0};
    bool have_row = true;
    ac_status status = ac_csv_open(&csv, path);
    while (status == AC_OK && have_row) {
        status = ac_csv_next(&csv, &have_row);
        if (status == AC_OK && have_row)
            add_row(out, &csv);
    }
    if (status != AC_OK)
        add(out, ac_error_text(), '!');
    ac_csv_close(&csv);
}

/* Rows that begin in a part. */
static ac_status read_part(uint64_t begin, uint64_t end, ac_rows_state state, size_t n_most, uint64_t *next, text *out)
{
    ac_status status = AC_OK;
    ac_rows rows = {0};
    bool have_row = true;
    AC_TRY(ac_rows_open(&rows, path, begin, end, state));
    while (n_most-- > 0) {
        AC_TRY(ac_rows_next(&rows, &have_row));
        *next = have_row ? rows.next : rows.file_bytes;
        if (!have_row)
            break;
        AC_TRY(ac_rows_split(&rows));
        add_row(out, &rows.fields);
    }
out:
    if (status != AC_OK)
        add(out, ac_error_text(), '!');
    ac_rows_close(&rows);
    return status;
}

/* The first row as a header, then the parts [cut[i], cut[i + 1]) one after the other, as different ranks would. */
static void read_parts(const uint64_t *cut, size_t n_parts, text *out)
{
    uint64_t header_end, next;
    ac_rows_state state = AC_ROWS_AT_ROW, to[AC_ROWS_N_STATES];
    if (read_part(0, UINT64_MAX, state, 1, &header_end, out) != AC_OK)
        return;
    for (size_t i = 0; i < n_parts; i++) {
        uint64_t begin = cut[i] < header_end ? header_end : cut[i], end = cut[i + 1];
        if (begin >= end)
            continue;
        if (read_part(begin, end, state, SIZE_MAX, &next, out) != AC_OK)
            return;
        if (ac_rows_scan(path, begin, end, to) != AC_OK) {
            add(out, ac_error_text(), '?');
            return;
        }
        state = to[state];
    }
}

static bool is_same(const text *wanted, const uint64_t *cut, size_t n_parts)
{
    text got = {0};
    read_parts(cut, n_parts, &got);
    bool same = got.n == wanted->n && memcmp(got.bytes, wanted->bytes, got.n) == 0;
    if (!same)
        printf("# cut at %d and %d: %.300s\n# instead of %.300s\n", (int)cut[1], (int)cut[2], got.bytes ? got.bytes : "", wanted->bytes);
    ac_free(got.bytes);
    return same;
}

static void test_every_cut(void)
{
    static const char *const cases[] = {
        "a,b\n1,2\n3,4\n",
        "a,b\r\n1,2\r\n\r\n3,4",
        "\xEF\xBB\xBF" "a,b\n\n\n1,2\n",
        "\n\r\n\na,b\n1,2\n\n",
        "a,b\n\"1,\"\"\n\",2\n\"\n\n\",\"4\"\r\n5\"5,6\n",
        "\"a\n\",b\n\"\",\"\n\"\n\"\"\"\",\"\"\"\n\"\"\"\nx,y",
        "a,b\n5\" x,\"q\"\n6,\"7\r\n8\"\r\n",
        "a,b\n1,2\r",
        "a,b\n\r",
        "a,b\r1,2\n3,4\r\r\n",
        "a,b\n,\n,,\n \n\"\"",
        "a,b\n1,2\n\"x\"y,3\n4,5\n",
        "a,b\n\"1\n2\",3\n\"never closed\n4,5\n",
        "a,b\n\"x\"\ry,3\n",
        "a,b\n\"x\"\r",
        "\"never\n closed",
        "a",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text wanted = {0};
        size_t n = strlen(cases[i]), n_wrong = 0;
        if (!write_file(cases[i], n))
            exit(1);
        read_whole(&wanted);
        for (uint64_t k = 0; k <= n; k++)
            for (uint64_t m = k; m <= n; m++)
                n_wrong += !is_same(&wanted, (uint64_t[4]){0, k, m, n}, 3);
        TAP_OK(n_wrong == 0, "text %d: three parts, cut at every two bytes, give %d bytes of rows", (int)i, (int)wanted.n);
        ac_free(wanted.bytes);
    }
}

/* Rows longer than a block, quotes or not, and cuts anywhere. */
static void test_long_rows(void)
{
    enum { N_WORDS = 400000, N_CUTS = 12 };
    static const char *const words[] = {"0.25", ",", "\n", "\"\"", "\"q,\n\"", "x\"", "\r\n", "\"", "word", "\"\n\n\""};
    text file = {0}, wanted = {0};
    size_t n_wrong = 0;
    for (uint32_t i = 0; i < N_WORDS; i++) {
        ac_philox block = ac_random_block(3, AC_STREAM_TEST, i, 0);
        uint32_t k = block.word[0] % 8; /* a lone quote would soon be an error: it comes in a field of its own */
        for (uint32_t times = i % 100000 == 77777 ? 300000 : 1; times > 0; times--)
            add(&file, k == 7 ? "\n" : k == 4 || k == 3 ? ",\"a\"\"\n\"," : words[k], k == 5 ? ' ' : ',');
    }
    bool ready = write_file(file.bytes, file.n);
    read_whole(&wanted);
    for (uint32_t i = 0; ready && i < N_CUTS; i++) {
        ac_philox block = ac_random_block(4, AC_STREAM_TEST, i, 0);
        uint64_t k = block.word[0] % file.n, m = block.word[1] % file.n;
        n_wrong += !is_same(&wanted, (uint64_t[4]){0, k < m ? k : m, k < m ? m : k, file.n}, 3);
    }
    TAP_OK(ready && n_wrong == 0 && !memchr(wanted.bytes, '!', wanted.n), "%d cuts of %d bytes with rows longer than a block",
           N_CUTS, (int)file.n);
    ac_free(file.bytes);
    ac_free(wanted.bytes);
}

static void test_lines(void)
{
    static const char rows_text[] = "a,b\n\n\"1\n\",2\n3,4\n";
    static const size_t line[] = {1, 4, 5};
    ac_rows rows;
    bool have_row = true;
    size_t n = 0, n_wrong = 0;
    if (!TAP_OK(write_file(rows_text, sizeof rows_text - 1) && ac_rows_open(&rows, path, 0, UINT64_MAX, AC_ROWS_AT_ROW) == AC_OK, "open"))
        return;
    while (ac_rows_next(&rows, &have_row) == AC_OK && have_row && n < 3) {
        n_wrong += ac_rows_split(&rows) != AC_OK || ac_rows_count_lines(&rows) != AC_OK || rows.fields.line != line[n];
        n++;
    }
    TAP_OK(n == 3 && n_wrong == 0, "lines of the file, at which rows end");
    ac_rows_close(&rows);
}

static void test_failures(void)
{
    ac_rows rows;
    ac_rows_state to[AC_ROWS_N_STATES];
    bool have_row;
    static char big[3 << 20];
    memset(big, '\n', sizeof big);
    memcpy(big, "a\n", 2);
    big[sizeof big - 1] = 'z';
    bool ready = write_file(big, sizeof big) && ac_rows_open(&rows, path, 0, UINT64_MAX, AC_ROWS_AT_ROW) == AC_OK;
    ready = ready && ac_rows_next(&rows, &have_row) == AC_OK && have_row && truncate(path, 1 << 20) == 0;
    TAP_OK(ready && ac_rows_next(&rows, &have_row) == AC_ERR_DATA && strstr(ac_error_text(), "the file ends before"),
           "a file that becomes shorter while it is read");
    ac_rows_close(&rows);
    TAP_OK(ac_rows_scan(path, 0, sizeof big, to) == AC_ERR_DATA, "and that is shorter than it was");
    TAP_OK(ac_rows_open(&rows, "/dev/null", 0, 1, AC_ROWS_AT_ROW) == AC_ERR_IO && strstr(ac_error_text(), "/dev/null"), "no regular file");
    TAP_OK(ac_rows_open(&rows, "nowhere.csv", 0, 1, AC_ROWS_AT_ROW) == AC_ERR_IO && strstr(ac_error_text(), "nowhere.csv"), "no file");
    uint64_t live = ac_alloc_get_stats().n_live, at = 1;
    text got = {0};
    for (; at < 100; at++) {
        uint64_t next;
        got.n = 0;
        ac_alloc_fail_at(at);
        ac_status status = read_part(0, UINT64_MAX, AC_ROWS_AT_ROW, 1, &next, &got);
        ac_alloc_fail_at(0);
        if (status == AC_OK)
            break;
        if (status != AC_ERR_MEMORY)
            at = 100;
    }
    TAP_OK(at > 3 && at < 100 && ac_alloc_get_stats().n_live <= live + 1, "each of %d allocations failed once, none leaked", (int)at - 1);
    ac_free(got.bytes);
}

int main(void)
{
    char folder[AC_PATH_BYTES];
    if (!tap_folder(folder) || ac_path_join(path, folder, "list.csv") != AC_OK)
        return tap_done();
    test_every_cut();
    test_long_rows();
    test_lines();
    test_failures();
    tap_remove(folder);
    return tap_done();
}
