/* Numbers from text are the nearest doubles, as the C library's strtod gives them: random texts of many shapes, alone and in rows. */
#include "anyclass/csv.h"
#include "anyclass/random.h"
#include "tests/tap.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_TEXTS = 1000000, TEXT_BYTES = 64, N_SHAPES = 13, ROW = 17 };

static uint64_t draw_key;
static uint64_t draw(uint64_t below)
{
    ac_philox block = ac_random_block(11, AC_STREAM_TEST, draw_key++, 0);
    return ((uint64_t)block.word[0] << 32 | block.word[1]) % below;
}

static double draw_double(void)
{
    union {
        uint64_t bits;
        double value;
    } d = {draw(UINT64_C(0x7FF0000000000000))};
    return d.value;
}

static char *add_digits(char *at, size_t n)
{
    for (; n > 0; n--)
        *at++ = (char)('0' + draw(10));
    return at;
}

/* Halfway between two doubles of 53 bits, exactly: an odd 54-bit integer, or the same with a digit more. */
static void write_halfway(char *out)
{
    uint64_t whole = (UINT64_C(1) << 53) + 2 * draw(UINT64_C(1) << 51) + 1;
    static const char *const tail[] = {"", ".0", "e0", ".000000000000000000001", "e-3", "E+2"};
    snprintf(out, TEXT_BYTES, "%llu%s", (unsigned long long)whole, tail[draw(6)]);
}

static void write_text(int shape, char out[TEXT_BYTES])
{
    char *at = out;
    switch (shape) {
    case 0: snprintf(out, TEXT_BYTES, "%.6f", (double)draw(1000001) / 1e6); return;
    case 1: snprintf(out, TEXT_BYTES, "%.9g", (double)(float)draw_double()); return;
    case 2: snprintf(out, TEXT_BYTES, "%.17g", draw_double()); return;
    case 3: snprintf(out, TEXT_BYTES, "%.17g", (double)draw(UINT64_C(1) << 53) / 9007199254740992.0); return;
    case 4: snprintf(out, TEXT_BYTES, "%.*e", (int)draw(20), draw_double()); return;
    case 5: snprintf(out, TEXT_BYTES, "%.*g", 1 + (int)draw(17), 5e-324 * (double)draw(1000000)); return; /* subnormal */
    case 6: write_halfway(out); return;
    case 7: snprintf(out, TEXT_BYTES, "%llue%d", (unsigned long long)draw(UINT64_C(1) << draw(64)), (int)draw(60) - 30); return;
    case 8: snprintf(out, TEXT_BYTES, "0.%0*d%llu", (int)draw(24) + 1, 0, (unsigned long long)draw(1000000)); return;
    case 9: snprintf(out, TEXT_BYTES, "%0*llu.%llu", (int)draw(24) + 1, (unsigned long long)draw(100000), (unsigned long long)draw(UINT64_MAX)); return;
    case 10: at = add_digits(at, draw(20)); *at++ = '.'; at = add_digits(at, 1 + draw(20)); *at = 0; return;
    case 11: at = add_digits(at, 1 + draw(20)); *at++ = '.'; at = add_digits(at, draw(20)); snprintf(at, 8, "e%d", (int)draw(80) - 40); return;
    default: *at++ = "+-"[draw(2)]; at = add_digits(at, 1 + draw(18)); *at++ = '.'; at = add_digits(at, draw(18)); *at = 0; return;
    }
}

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void test_random(void)
{
    size_t n_wrong = 0, n_refused = 0, n_wrong_in_row = 0, n_usual_slow = 0, n_in_row = 0;
    for (int i = 0; i < N_TEXTS; i++) {
        char text[TEXT_BYTES], row[TEXT_BYTES + 16];
        double value = NAN, in_row[2] = {NAN, NAN};
        int shape = i % N_SHAPES;
        write_text(shape, text);
        double wanted = strtod(text, NULL);
        if (ac_parse_double(text, &value) != AC_OK)
            n_refused += isfinite(wanted);
        else if (!same_bits(value, wanted) && n_wrong++ < 5)
            printf("# %s: %.17g instead of %.17g\n", text, value, wanted);
        int n = snprintf(row, sizeof row, "%s,0.5\r--------", text) - 9;
        const char *end = ac_parse_decimals(row, row + n, 2, in_row);
        n_in_row += end != NULL;
        n_wrong_in_row += end && (end != row + n || !same_bits(in_row[0], wanted) || in_row[1] != .5);
        n_usual_slow += !end && shape == 0;
    }
    TAP_OK(n_wrong == 0 && n_refused == 0, "%d texts of %d shapes: %d wrong, %d refused", N_TEXTS, N_SHAPES, (int)n_wrong, (int)n_refused);
    TAP_OK(n_wrong_in_row == 0 && n_in_row > N_TEXTS / 4, "in a row %d are read at once, %d wrong", (int)n_in_row, (int)n_wrong_in_row);
    TAP_OK(n_usual_slow == 0, "none of them is one with six decimals");
}

/* Every text of six decimals from 0 to 1. */
static void test_six_decimals(void)
{
    size_t n_wrong = 0;
    for (int k = 0; k <= 1000000; k++) {
        char text[32];
        double value = -1;
        int n = snprintf(text, sizeof text, "%d.%06d\n--------", k / 1000000, k % 1000000) - 9;
        n_wrong += ac_parse_decimals(text, text + n, 1, &value) != text + n || value != k / 1e6;
    }
    TAP_OK(n_wrong == 0, "all numbers of six decimals in 0..1: %d wrong", (int)n_wrong);
}

static void test_rows(void)
{
    static const struct {
        const char *text;
        size_t n;
        bool good;
    } cases[] = {
        {"0.5,1,.25,1e-05", 4, true},   {"0.5,1.,00.25", 3, true},      {"1E+2,12345678,123456789", 3, true},
        {"0.5,1", 3, false},            {"0.5,1,", 3, false},           {"0.5,,1", 3, false},
        {"0.5;1", 2, false},            {"-0.5,1", 2, false},           {"nan,1", 2, false},
        {"0x1,1", 2, false},            {" 0.5,1", 2, false},           {"0.5 ,1", 2, false},
        {"1e,1", 2, false},             {"1e-,1", 2, false},            {".,1", 2, false},
        {"1e400,1", 2, false},          {"0.12345678901234567890,1", 2, false},
        {"0.5\0,1", 2, false},          {"", 1, false},                 {"\"1\",1", 2, false},
        {"0.5,1e00001", 2, false},      {"0.5,1e-00001", 2, false},     {"0.5,1e0001", 2, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char row[64] = {0};
        double value[4];
        size_t n = i == 17 ? 6 : strlen(cases[i].text);
        memcpy(row, cases[i].text, n);
        row[n] = '\n';
        const char *end = ac_parse_decimals(row, row + n, cases[i].n, value);
        TAP_OK((end == row + n) == cases[i].good && (cases[i].good || end == NULL), "row %d: %s", (int)i, cases[i].text);
    }
    double value[ROW];
    char row[256] = "1,2,3\n9,9,9";
    TAP_OK(ac_parse_decimals(row, row + 5, 2, value) == row + 3 && value[1] == 2, "what follows the last number is the caller's");
    TAP_OK(ac_parse_decimals(row, row + 5, 4, value) == NULL, "nothing is read behind the end");
}

int main(void)
{
    test_random();
    test_six_decimals();
    test_rows();
    return tap_done();
}
