/* Rows of parts of a CSV file, and rows of decimals. First four bytes: where the file is cut (two), allocation that fails, its number of decimals. */
#include "anyclass/rows.h"
#include "tests/fuzz/fuzz.h"

typedef struct said { /* fields end with a zero byte, rows with byte 1; the failure behind a byte 2 */
    char *bytes;
    size_t n, capacity;
} said;

static void say(said *to, const char *word, char end)
{
    const size_t n = strlen(word);
    FUZZ_REQUIRE(ac_reserve(&to->bytes, &to->capacity, to->n + n + 1, 1) == AC_OK);
    memcpy(to->bytes + to->n, word, n);
    to->n += n;
    to->bytes[to->n++] = end;
}

static void say_row(said *to, const ac_csv *csv)
{
    for (size_t i = 0; i < csv->n_fields; i++)
        say(to, csv->field[i], 0);
    say(to, "", 1);
}

/* What the reader of whole files gives, all lines counted. */
static void read_whole(const char *path, said *out)
{
    ac_csv csv;
    bool have_row = true;
    FUZZ_REQUIRE(ac_csv_open(&csv, path) == AC_OK);
    ac_status status = AC_OK;
    while (status == AC_OK && have_row) {
        status = ac_csv_next(&csv, &have_row);
        if (status == AC_OK && have_row)
            say_row(out, &csv);
    }
    if (status != AC_OK)
        say(out, ac_error_text(), 2);
    ac_csv_close(&csv);
}

/* @return AC_OK, or what stopped the reading: then it is said too. */
static ac_status read_part(const char *path, uint64_t begin, uint64_t end, ac_rows_state state, size_t n_most, uint64_t *next, said *out)
{
    ac_rows rows;
    bool have_row = true;
    ac_status status = ac_rows_open(&rows, path, begin, end, state);
    if (status != AC_OK)
        return status;
    while (n_most-- > 0) {
        status = ac_rows_next(&rows, &have_row);
        *next = status == AC_OK && have_row ? rows.next : rows.file_bytes;
        if (status != AC_OK || !have_row)
            break;
        FUZZ_REQUIRE(rows.offset >= begin && rows.offset < end && rows.offset + rows.n_bytes <= rows.next);
        status = ac_rows_split(&rows);
        if (status != AC_OK)
            break;
        if (out)
            say_row(out, &rows.fields);
        status = ac_rows_count_lines(&rows);
        if (status != AC_OK)
            break;
    }
    if (status != AC_OK && out)
        say(out, ac_error_text(), 2);
    ac_rows_close(&rows);
    return status;
}

static void read_parts(const char *path, const uint64_t cut[4], said *out)
{
    uint64_t header_end = 0, next;
    ac_rows_state state = AC_ROWS_AT_ROW, to[AC_ROWS_N_STATES];
    ac_status status = read_part(path, 0, UINT64_MAX, state, 1, &header_end, out);
    for (int i = 0; status == AC_OK && i < 3; i++) {
        const uint64_t begin = cut[i] < header_end ? header_end : cut[i];
        if (begin >= cut[i + 1])
            continue;
        status = read_part(path, begin, cut[i + 1], state, SIZE_MAX, &next, out);
        FUZZ_REQUIRE(ac_rows_scan(path, begin, cut[i + 1], to) == AC_OK);
        state = to[state];
    }
}

/* Numbers taken from a row at once are those that the C library reads one by one. */
static void check_decimals(const fuzz_input *input, size_t n)
{
    double value[256];
    char *text = NULL;
    FUZZ_REQUIRE(n >= 1 && n <= 256 && ac_malloc(input->n + AC_DECIMALS_SPARE_BYTES, 1, &text) == AC_OK);
    memcpy(text, input->bytes, input->n);
    memset(text + input->n, 0, AC_DECIMALS_SPARE_BYTES);
    const char *end = ac_parse_decimals(text, text + input->n, n, value), *at = text;
    FUZZ_REQUIRE(!end || (end > text && end <= text + input->n));
    for (size_t i = 0; end && i < n; i++) {
        char *stop, word[512];
        const size_t length = strcspn(at, ",");
        FUZZ_REQUIRE(value[i] == strtod(at, &stop) && stop > at && stop <= end && (i + 1 == n ? stop == end : *stop == ','));
        if (i + 1 < n && length < sizeof word) {
            double again;
            memcpy(word, at, length);
            word[length] = 0;
            FUZZ_REQUIRE(ac_parse_double(word, &again) == AC_OK && again == value[i]);
        }
        at = stop + 1;
    }
    ac_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    said whole = {0}, parts = {0};
    uint64_t next;
    const unsigned first = fuzz_byte(&input), second = fuzz_byte(&input), fail = fuzz_byte(&input), n = fuzz_byte(&input) + 1;
    const char *path = fuzz_file(input.bytes, input.n);
    const uint64_t k = first * input.n / 255, m = second * input.n / 255;
    fuzz_run run = fuzz_begin(0);
    read_whole(path, &whole);
    read_parts(path, (uint64_t[4]){0, k < m ? k : m, k < m ? m : k, input.n}, &parts);
    FUZZ_REQUIRE(whole.n == parts.n && (whole.n == 0 || memcmp(whole.bytes, parts.bytes, whole.n) == 0));
    ac_free(whole.bytes);
    ac_free(parts.bytes);
    check_decimals(&input, n);
    run = fuzz_begin(fail);
    const ac_status status = read_part(path, 0, UINT64_MAX, AC_ROWS_AT_ROW, SIZE_MAX, &next, NULL);
    fuzz_check_status(&run, status);
    fuzz_end(&run);
    return 0;
}
