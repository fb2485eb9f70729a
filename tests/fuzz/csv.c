/* The CSV reader, the data sets that come as CSV, and numbers. First two bytes: what reads the text, allocation that
 * fails. */
#include "anyclass/csv.h"
#include "anyclass/log.h"
#include "tests/fuzz/fuzz.h"

/* data sets whose annotations are CSV; NULL: the rows as they are */
static const char *const kinds[] = {"csv", NULL, "sewer"};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* `text` is a field that the reader gave: written again and read back, it is the same. */
static void check_quoting(const char *text)
{
    const size_t n = ac_csv_quote(text, NULL, 0) - 1;
    char *line = NULL;
    ac_csv csv;
    bool have_row = false;
    FUZZ_REQUIRE(ac_malloc(n + 5, 1, &line) == AC_OK);
    FUZZ_REQUIRE(ac_csv_quote(text, line + 2, n + 1) == n + 1);
    memcpy(line, "x,", 2);
    memcpy(line + 2 + n, ",", 2);
    FUZZ_REQUIRE(ac_csv_open_text(&csv, "again", line, n + 3) == AC_OK);
    FUZZ_REQUIRE(ac_csv_next(&csv, &have_row) == AC_OK && have_row);
    FUZZ_REQUIRE(csv.n_fields == 3 && strcmp(csv.field[1], text) == 0);
    FUZZ_REQUIRE(ac_csv_next(&csv, &have_row) == AC_OK && !have_row);
    ac_csv_close(&csv);
}

/* A number that was accepted is the one that the C library reads, and survives being written. */
static void check_number(const char *text)
{
    double value = 0, again = 0;
    int64_t whole = 0;
    char written[AC_NUMBER_BYTES];
    if (ac_parse_double(text, &value) == AC_OK) {
        FUZZ_REQUIRE(isfinite(value) && value == strtod(text, NULL));
        const int n = ac_format_double(value, written);
        FUZZ_REQUIRE(n > 0 && n < AC_NUMBER_BYTES);
        FUZZ_REQUIRE(ac_parse_double(written, &again) == AC_OK && again == value);
    }
    if (ac_parse_int64(text, -1000, INT64_MAX, &whole) == AC_OK)
        FUZZ_REQUIRE(whole >= -1000 && whole == strtoll(text, NULL, 10));
}

/* Fields lie in the text, and lines are counted within it. */
static void check_row(const ac_csv *csv, size_t n_lines, bool with_fields)
{
    FUZZ_REQUIRE(csv->line >= 1 && csv->line <= n_lines + 1 && csv->at <= csv->n_bytes);
    for (size_t i = 0; with_fields && i < csv->n_fields; i++) {
        FUZZ_REQUIRE(csv->field[i] >= csv->text && csv->field[i] <= csv->text + csv->n_bytes);
        check_quoting(csv->field[i]);
        check_number(csv->field[i]);
    }
}

static void read_rows(const fuzz_input *input, uint64_t fail)
{
    char *text = NULL;
    ac_csv csv;
    size_t n_lines = 1;
    bool have_row = true;
    const uint64_t n_live = ac_alloc_get_stats().n_live;
    FUZZ_REQUIRE(ac_malloc(input->n + 1, 1, &text) == AC_OK);
    memcpy(text, input->bytes, input->n);
    for (size_t i = 0; i < input->n; i++)
        n_lines += input->bytes[i] == '\n';
    fuzz_run run = fuzz_begin(fail);
    run.n_live = n_live;
    ac_status status = ac_csv_open_text(&csv, "file.csv", text, input->n);
    const bool opened = status == AC_OK;
    while (status == AC_OK && have_row) {
        status = ac_csv_next(&csv, &have_row);
        check_row(&csv, n_lines, status == AC_OK && have_row && fail == 0);
    }
    fuzz_check_status(&run, status);
    if (opened)
        ac_csv_close(&csv);
    fuzz_end(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    fuzz_input input = {bytes, n_bytes};
    const char *kind = kinds[fuzz_byte(&input) % N_KINDS];
    const unsigned fail = fuzz_byte(&input);
    ac_log_init("fuzz", 0, 1, AC_LOG_ERROR, false); /* not the reader's warnings */
    if (kind)
        fuzz_read_dataset(kind, &input, fail, NULL);
    else
        read_rows(&input, fail);
    return 0;
}
