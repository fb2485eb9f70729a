/* CSV, numbers and JSON: what is written is read back, what is wrong is refused with file and line. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/json.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* All rows as one text: fields end with '|', rows with '/'; or the error behind a '!'. */
static const char *rows_of(const char *text, size_t n)
{
    static char out[512];
    size_t at = 0;
    char *copy;
    bool have_row = true;
    ac_csv csv;
    if (ac_malloc(n + 1, 1, &copy) != AC_OK)
        return "memory";
    memcpy(copy, text, n);
    if (ac_csv_open_text(&csv, "list.csv", copy, n) != AC_OK)
        return "memory";
    while (have_row) {
        if (ac_csv_next(&csv, &have_row) != AC_OK) {
            snprintf(out + at, sizeof out - at, "!%s", ac_error_text());
            break;
        }
        for (size_t i = 0; have_row && i < csv.n_fields; i++)
            at += (size_t)snprintf(out + at, sizeof out - at, "%s|", csv.field[i]);
        at += (size_t)snprintf(out + at, sizeof out - at, have_row ? "/" : "");
    }
    ac_csv_close(&csv);
    return out;
}

static void test_csv(void)
{
    static const struct {
        const char *text, *rows;
    } cases[] = {
        {"", ""},
        {"\n\r\n\n", ""},
        {"a,b\n1,2\n", "a|b|/1|2|/"},
        {"a,b\r\n1,2", "a|b|/1|2|/"},
        {"\xEF\xBB\xBF" "a\n", "a|/"},
        {"a,,\n,b,\n", "a|||/|b||/"},
        {"\"a,b\",\"c\"\"d\"\n", "a,b|c\"d|/"},
        {"\"two\nlines\",x\n", "two\nlines|x|/"},
        {"\"\",x\r\n", "|x|/"},
        {" a , b\n", " a | b|/"},
        {"a\n\"b\n", "a|/!list.csv line 2: a quote is never closed (field 1)"},
        {"a\n\"b\"c\n", "a|/!list.csv line 2: text behind a closing quote (field 1)"},
        {"\"a\n\nb\",c\nd\n\"e\n\"f", "a\n\nb|c|/d|/!list.csv line 6: text behind a closing quote (field 1)"},
        {"a\n\n\n\"b\n\n\"\"c", "a|/!list.csv line 4: a quote is never closed (field 1)"},
        {"\"x\"", "x|/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *rows = rows_of(cases[i].text, strlen(cases[i].text));
        TAP_OK(strcmp(rows, cases[i].rows) == 0, "csv %zu gives %zu bytes", i, strlen(rows));
        if (strcmp(rows, cases[i].rows) != 0)
            printf("# got '%s'\n", rows);
    }
    TAP_OK(strstr(rows_of("a\nb\0c\n", 6), "!list.csv line 2: a zero byte") != NULL, "a zero byte is refused");
    static const char *const fields[] = {"plain", "", "with,comma", "with \"quotes\"", "two\nlines", " blanks "};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char quoted[64], text[80], wanted[80];
        size_t n = ac_csv_quote(fields[i], quoted, sizeof quoted);
        snprintf(text, sizeof text, "%s,x\n", quoted);
        snprintf(wanted, sizeof wanted, "%s|x|/", fields[i]);
        TAP_OK(n == strlen(quoted) + 1 && strcmp(rows_of(text, strlen(text)), wanted) == 0, "field %zu survives quoting", i);
    }
    char small[4];
    TAP_OK(ac_csv_quote("a,b", small, sizeof small) == 6, "the bytes needed are told when they do not fit");
}

/* The text that defines ac_format_float(): printf's, of the first precision that reads back. */
static bool is_shortest(float value)
{
    char text[AC_NUMBER_BYTES], wanted[AC_NUMBER_BYTES];
    for (int precision = 1; precision <= 9; precision++) {
        snprintf(wanted, sizeof wanted, "%.*g", precision, (double)value);
        if (strtof(wanted, NULL) == value)
            break;
    }
    return ac_format_float(value, text) == (int)strlen(wanted) && strcmp(text, wanted) == 0;
}

/* Floats of all sizes, scores, short decimals, and around the powers of two, where neighbours are not equally far. */
static void test_float_texts(void)
{
    int n_wrong = 0;
    for (uint32_t k = 0; k < 40000; k++) {
        uint32_t word = ac_random_block(2, AC_STREAM_TEST, k, 0).word[0];
        union {
            uint32_t bits;
            float value;
        } any = {word % 0x7F800000}, near_power = {(k % 254 + 1) << 23};
        near_power.bits += k / 254 % 7 - 3;
        float score = (float)(word >> 8) / 16777216.0f;
        n_wrong += !is_shortest(any.value) + !is_shortest(near_power.value) + !is_shortest(score) + !is_shortest(score * score * score * score) +
                   !is_shortest((float)k / 40000.0f);
    }
    TAP_OK(n_wrong == 0, "200000 floats are written as printf writes them: %d are not", n_wrong);
}

/* The same for ac_format_double(). */
static bool is_shortest_double(double value)
{
    char text[AC_NUMBER_BYTES], wanted[AC_NUMBER_BYTES];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(wanted, sizeof wanted, "%.*g", precision, value);
        if (strtod(wanted, NULL) == value)
            break;
    }
    return ac_format_double(value, text) == (int)strlen(wanted) && strcmp(text, wanted) == 0;
}

/* Doubles of all sizes, subnormal ones too, shares, decimals of 1 to 17 digits, whole numbers that end in zeros, and around the powers of two. */
static void test_double_texts(void)
{
    int n_wrong = 0;
    for (uint32_t k = 0; k < 4000; k++) {
        ac_philox block = ac_random_block(3, AC_STREAM_TEST, k, 0);
        uint64_t bits = (uint64_t)block.word[0] << 32 | block.word[1];
        union {
            uint64_t bits;
            double value;
        } any = {bits % (UINT64_C(0x7FF) << 52)}, near_power = {((uint64_t)(k % 2046) + 1) << 52}, subnormal = {bits >> (12 + k % 52)};
        char decimal[AC_NUMBER_BYTES];
        near_power.bits += k / 2046 * 2 - 1;
        snprintf(decimal, sizeof decimal, "%.*e", (int)(k % 17), any.value);
        double whole = (double)(bits % 1000) * pow(10, k % 23);
        n_wrong += !is_shortest_double(any.value) + !is_shortest_double(-any.value) + !is_shortest_double(near_power.value) + !is_shortest_double(subnormal.value) +
                   !is_shortest_double((double)(bits >> 11) / 9007199254740992.0) + !is_shortest_double(strtod(decimal, NULL)) + !is_shortest_double(whole);
    }
    n_wrong += !is_shortest_double(0) + !is_shortest_double(-0.0) + !is_shortest_double(DBL_MAX) + !is_shortest_double(DBL_MIN) + !is_shortest_double(INFINITY);
    TAP_OK(n_wrong == 0, "28000 doubles are written as printf writes them: %d are not", n_wrong);
}

static void test_numbers(void)
{
    char text[AC_NUMBER_BYTES];
    int n_wrong = 0, n_long = 0;
    for (uint32_t k = 0; k < 200000; k++) {
        ac_philox block = ac_random_block(1, AC_STREAM_TEST, k, 0);
        union {
            uint32_t bits;
            float value;
        } f = {block.word[0]};
        union {
            uint64_t bits;
            double value;
        } d = {(uint64_t)block.word[1] << 32 | block.word[2]};
        double back = 0;
        if (isfinite(f.value)) {
            n_long += ac_format_float(f.value, text) > 15;
            n_wrong += ac_parse_double(text, &back) != AC_OK || (float)back != f.value;
        }
        if (isfinite(d.value)) {
            ac_format_double(d.value, text);
            n_wrong += ac_parse_double(text, &back) != AC_OK || back != d.value;
        }
    }
    TAP_OK(n_wrong == 0 && n_long == 0, "200000 floats and doubles read back: %d wrong, %d too long", n_wrong, n_long);
    static const struct {
        float value;
        const char *text;
    } known[] = {{0.5f, "0.5"}, {1, "1"}, {0.1f, "0.1"}, {1.2e-7f, "1.2e-07"}, {16777216, "16777216"}, {FLT_MIN, "1.1754944e-38"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        ac_format_float(known[i].value, text);
        TAP_OK(strcmp(text, known[i].text) == 0, "%s is the shortest text", known[i].text);
    }
    test_float_texts();
    test_double_texts();
    double d;
    int64_t whole;
    static const char *const bad[] = {"", " ", "nan", "inf", "-inf", "1x", "0x10", "1,5", "1e", "--1", "1 ", " 1", "1e999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        TAP_OK(ac_parse_double(bad[i], &d) == AC_ERR_DATA, "'%s' is no number", bad[i]);
    TAP_OK(ac_parse_double("1\n2\033[J\x7F\xC3\xA9", &d) == AC_ERR_DATA && strcmp(ac_error_text(), "'1?2?[J?\xC3\xA9' is no number") == 0, "control characters of a file do not get into messages");
    TAP_OK(ac_parse_int64("12", 0, 12, &whole) == AC_OK && whole == 12, "12 in 0..12");
    TAP_OK(ac_parse_int64("13", 0, 12, &whole) != AC_OK && ac_parse_int64("-1", 0, 12, &whole) != AC_OK, "beyond the range");
    TAP_OK(ac_parse_int64("1.5", 0, 12, &whole) != AC_OK && ac_parse_int64("", 0, 12, &whole) != AC_OK, "no whole numbers");
    TAP_OK(ac_parse_int64("99999999999999999999", 0, INT64_MAX, &whole) != AC_OK, "beyond 64 bits");
}

static void test_json(void)
{
    ac_json *json;
    const char *text, *word;
    size_t n;
    double d = 0;
    int64_t i = 0;
    bool flag = false;
    ac_json_value *document;
    if (!TAP_CALL(ac_json_create(&json)))
        return;
    ac_json_begin_object(json, NULL);
    ac_json_string(json, "text", "quote \" backslash \\ newline \n tab \t \x01 caf\xC3\xA9 bad \xFF");
    ac_json_int(json, "int", INT64_MIN);
    ac_json_double(json, "double", 0.1);
    ac_json_double(json, "nan", NAN);
    ac_json_bool(json, "flag", true);
    ac_json_begin_array(json, "list");
    for (int k = 0; k < 3; k++)
        ac_json_int(json, NULL, k);
    ac_json_end_array(json);
    ac_json_begin_array(json, "empty");
    ac_json_end_array(json);
    ac_json_end_object(json);
    if (TAP_CALL(ac_json_text(json, &text, &n)) && TAP_CALL(ac_json_parse("doc", text, n, &document))) {
        TAP_OK(text[n - 1] == '\n', "the text ends with a newline");
        TAP_OK(ac_json_read_string(ac_json_get(document, "text"), "text", &word) == AC_OK &&
                   strncmp(word, "quote \" backslash \\ newline \n tab \t \x01 caf\xC3\xA9 bad ", 47) == 0 && !strchr(word, '\xFF'),
               "strings survive; what is no UTF-8 is replaced");
        TAP_OK(ac_json_read_int(ac_json_get(document, "int"), "int", &i) == AC_OK && i == INT64_MIN, "the smallest integer survives");
        TAP_OK(ac_json_read_double(ac_json_get(document, "double"), "double", &d) == AC_OK && d == 0.1, "doubles survive");
        TAP_OK(ac_json_read_double(ac_json_get(document, "nan"), "nan", &d) == AC_OK && isnan(d), "NaN is null and back");
        TAP_OK(ac_json_read_bool(ac_json_get(document, "flag"), "flag", &flag) == AC_OK && flag, "true is true");
        TAP_OK(ac_json_count(ac_json_get(document, "list")) == 3 && ac_json_count(ac_json_get(document, "empty")) == 0, "arrays count");
        TAP_OK(ac_json_read_int(ac_json_get(document, "none"), "none", &i) == AC_ERR_DATA && strstr(ac_error_text(), "none"), "an absent member is named");
        TAP_OK(ac_json_read_int(ac_json_get(document, "text"), "text", &i) == AC_ERR_DATA, "a text is no integer");
        TAP_OK(strcmp(ac_json_key_at(document, 1), "int") == 0 && !ac_json_at(document, 99) && !ac_json_key_at(document, 99), "members in order, none beyond");
        ac_json_release(document);
    }
    ac_json_destroy(json);
    static const char *const bad[] = {"", "{", "{\"a\": }", "[1,]", "{} x", "\"open", "{\"a\": 1 \"b\": 2}", "nul", "\xFF"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        TAP_OK(ac_json_parse("doc", bad[k], strlen(bad[k]), &document) == AC_ERR_DATA && strstr(ac_error_text(), "doc"), "bad document %zu is refused", k);
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    TAP_OK(ac_json_parse("doc", deep, sizeof deep, &document) == AC_ERR_DATA, "a hundred arrays inside each other are refused");
    /* every allocation of a parse fails once: an error, no leak */
    static const char good[] = "{\"a\": [1, 2.5, {\"b\": \"c\"}], \"d\": null}";
    uint64_t live = ac_alloc_get_stats().n_live, at = 1;
    for (;; at++) {
        ac_alloc_fail_at(at);
        ac_status status = ac_json_parse("doc", good, sizeof good - 1, &document);
        ac_alloc_fail_at(0);
        if (status == AC_OK) {
            ac_json_release(document);
            break;
        }
        if (status != AC_ERR_MEMORY || at > 1000)
            break;
    }
    TAP_OK(at > 1 && at < 1000 && ac_alloc_get_stats().n_live == live, "each of %d allocations failed once, none leaked", (int)at - 1);
}

int main(void)
{
    test_csv();
    test_numbers();
    test_json();
    return tap_done();
}
