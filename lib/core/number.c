/* Numbers from text and back, exact and independent of the locale (programs never call setlocale). */
#include "anyclass/csv.h"
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Powers of ten that a double holds exactly. */
static const double exact_power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static const uint64_t whole_power[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

static uint64_t load_eight(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Digits at `at`, at most eight, appended to *value. `word` holds digits in its low bytes, the first in the lowest: pairs, then
 * fours, then all eight are joined by one multiplication each. @return how many there are */
static inline int join_digits(const char *at, uint64_t *value)
{
    uint64_t word = load_eight(at) ^ 0x3030303030303030;
    uint64_t other = (((word & 0x7F7F7F7F7F7F7F7F) + 0x7676767676767676) | word) & 0x8080808080808080;
    int n = other ? __builtin_ctzll(other) / 8 : 8;
    if (n == 0)
        return 0;
    word <<= 64 - 8 * n;
    word = (word * 10 + (word >> 8)) & 0x00FF00FF00FF00FF;
    word = (word * 100 + (word >> 16)) & 0x0000FFFF0000FFFF;
    word = (word * 10000 + (word >> 32)) & 0x00000000FFFFFFFF;
    *value = *value * whole_power[n] + word;
    return n;
}

/* The digits at `at`, appended to *value, which is meaningless beyond 19 of them. `spare`: eight bytes can be read there. */
static inline const char *read_digits(const char *at, bool spare, uint64_t *value)
{
    for (int n = 8; spare && n == 8; at += n)
        n = join_digits(at, value);
    for (; !spare && *at >= '0' && *at <= '9'; at++)
        *value = *value * 10 + (uint64_t)(*at - '0');
    return at;
}

static inline const char *read_exponent(const char *at, int *exponent)
{
    bool negative = *at == '-';
    int value = 0;
    at += *at == '-' || *at == '+';
    const char *first = at;
    for (; *at >= '0' && *at <= '9' && at - first < 4; at++)
        value = 10 * value + (*at - '0');
    *exponent += negative ? -value : value;
    return at > first && !(*at >= '0' && *at <= '9') ? at : NULL; /* 1e00001 is the slow way's */
}

/* A decimal without a sign: digits with a point, exponent. Up to 2^53 and a small power of ten, both exact, so that one rounding
 * makes the nearest double (Clinger 1990). @return behind it; NULL for what needs the slow way */
static inline const char *read_decimal(const char *at, bool spare, double *out)
{
    uint64_t digits = 0;
    int exponent = 0;
    const char *first = at;
    at = read_digits(at, spare, &digits);
    ptrdiff_t n_digits = at - first;
    if (*at == '.') {
        first = ++at;
        at = read_digits(at, spare, &digits);
        n_digits += at - first;
        exponent = n_digits > 19 ? 0 : (int)(first - at);
    }
    if (n_digits == 0 || n_digits > 19 || digits > (uint64_t)1 << 53)
        return NULL;
    if (*at == 'e' || *at == 'E')
        at = read_exponent(at + 1, &exponent);
    if (!at || exponent < -22 || exponent > 22)
        return NULL;
    *out = exponent < 0 ? (double)digits / exact_power[-exponent] : (double)digits * exact_power[exponent];
    return at;
}

const char *ac_parse_decimals(const char *text, const char *end, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        text = read_decimal(text, true, &out[i]);
        if (!text || text > end || (i + 1 < n && (text == end || *text++ != ',')))
            return NULL;
    }
    return text;
}

static bool parse_short(const char *text, double *out)
{
    bool negative = *text == '-';
    const char *end = read_decimal(text + (negative || *text == '+'), false, out);
    if (!end || *end != 0)
        return false;
    *out = negative ? -*out : *out;
    return true;
}

static bool looks_like_number(const char *text)
{
    return text[strspn(text, "0123456789.eE+-")] == 0;
}

ac_status ac_parse_double(const char *text, double *out)
{
    if (parse_short(text, out))
        return AC_OK;
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != 0 || !looks_like_number(text) || !isfinite(value))
        return ac_error(AC_ERR_DATA, "'%.40s' is no number", text);
    *out = value;
    return AC_OK;
}

ac_status ac_parse_int64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != 0 || errno != 0 || text[strspn(text, "0123456789+-")] != 0)
        return ac_error(AC_ERR_DATA, "'%.40s' is no whole number", text);
    if (value < min || value > max)
        return ac_error(AC_ERR_DATA, "%lld is not in %" PRId64 " .. %" PRId64, value, min, max);
    *out = value;
    return AC_OK;
}

/* 128 bits: a GNU extension that every 64-bit compiler here has. */
__extension__ typedef unsigned __int128 wide;

enum { MOST_DIGITS = 9 /* always enough for a float */, MANTISSA_BITS = 24, LEAST_EXPONENT = -20 };

static wide power_of_ten(int n)
{
    wide power = (uint64_t)exact_power[n > 19 ? 19 : n];
    return n > 19 ? power * (uint64_t)exact_power[n - 19] : power;
}

typedef struct decimal { /* digits * 10^(exponent - n_digits + 1): the first digit stands for 10^exponent */
    uint64_t digits;
    int n_digits, exponent;
} decimal;

typedef struct binary { /* mantissa / 2^shift */
    uint64_t mantissa;
    int shift;
    bool lower_is_near; /* a power of two: the float below is half as far away as the one above */
} binary;

/* The nearest decimal of n_digits to a value in 10^exponent .. 10^(exponent + 1), a tie to the even one; true when it reads back
 * to the same float, that is when it lies between the middles to both neighbours. */
static bool round_to(const binary *value, decimal *out)
{
    const int power = out->n_digits - 1 - out->exponent;
    const wide scale = power_of_ten(power), scaled = value->mantissa * scale, unit = (wide)1 << value->shift;
    const wide rest = scaled & (unit - 1), half = unit >> 1;
    uint64_t digits = (uint64_t)(scaled >> value->shift);
    const bool up = rest > half || (rest == half && (digits & 1));
    const wide off = up ? unit - rest : rest, most = value->lower_is_near && !up ? scale >> 1 : scale;
    const bool same = value->mantissa & 1 ? 2 * off < most : 2 * off <= most;
    digits += up;
    if (digits == (uint64_t)exact_power[out->n_digits]) { /* 9.99 became 10.0 */
        digits /= 10;
        out->exponent++;
    }
    out->digits = digits;
    return same;
}

/* Floor of the decimal logarithm of a value below 10. */
static int exponent_of(const binary *value)
{
    int exponent = 0;
    while (exponent > LEAST_EXPONENT && value->mantissa * power_of_ten(-exponent) < (wide)1 << value->shift)
        exponent--;
    return exponent;
}

/* As printf's %.*g writes it. */
static int print_decimal(decimal d, char *out)
{
    char digit[MOST_DIGITS + 1];
    char *at = out;
    int precision = d.n_digits;
    while (d.n_digits > 1 && d.digits % 10 == 0) {
        d.digits /= 10;
        d.n_digits--;
    }
    for (int i = d.n_digits - 1; i >= 0; i--, d.digits /= 10)
        digit[i] = (char)('0' + d.digits % 10);
    if (d.exponent < -4 || d.exponent >= precision) {
        *at++ = digit[0];
        if (d.n_digits > 1) {
            *at++ = '.';
            memcpy(at, digit + 1, (size_t)d.n_digits - 1);
            at += d.n_digits - 1;
        }
        return (int)(at - out) + snprintf(at, AC_NUMBER_BYTES - (size_t)(at - out), "e%c%02d", d.exponent < 0 ? '-' : '+', abs(d.exponent));
    }
    if (d.exponent < 0) {
        memcpy(at, "0.000", 5);
        at += 1 - d.exponent;
    }
    for (int i = 0; i < d.n_digits; i++) {
        if (i == d.exponent + 1 && d.exponent >= 0)
            *at++ = '.';
        *at++ = digit[i];
    }
    *at = '\0';
    return (int)(at - out);
}

/* What scores are, 1e-20 to 10, in whole numbers of 128 bits: mantissa * 10^power and digits * 2^shift fit. False: something else. */
static bool format_score(float value, char *out, int *n)
{
    int exponent;
    binary b;
    if (!(value >= 1e-20f && value < 10))
        return false;
    b.mantissa = (uint64_t)ldexpf(frexpf(value, &exponent), MANTISSA_BITS);
    b.shift = MANTISSA_BITS - exponent;
    b.lower_is_near = b.mantissa == (uint64_t)1 << (MANTISSA_BITS - 1);
    const int first = exponent_of(&b);
    decimal d = {0};
    for (int digits = 1; digits <= MOST_DIGITS; digits++) {
        d = (decimal){.n_digits = digits, .exponent = first};
        if (round_to(&b, &d))
            break;
    }
    *n = print_decimal(d, out);
    return true;
}

/* "1e-07" and "5.00000e-01" come out of %g in one form only: shortest precision that reads back. */
int ac_format_float(float value, char out[AC_NUMBER_BYTES])
{
    int n = 0;
    if (format_score(value, out, &n))
        return n;
    for (int precision = 1; precision <= 9; precision++) {
        n = snprintf(out, AC_NUMBER_BYTES, "%.*g", precision, (double)value);
        if (strtof(out, NULL) == value)
            break;
    }
    return n;
}

/* Writes `value` with that many digits; true when it reads back. */
static bool print_double(double value, int precision, char out[AC_NUMBER_BYTES], int *n)
{
    *n = snprintf(out, AC_NUMBER_BYTES, "%.*g", precision, value);
    return strtod(out, NULL) == value;
}

/* Digits of a number's mantissa, without zeros at either end. */
static int significant_digits(const char *text)
{
    int n = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text >= '1' && *text <= '9') {
            n += zeros + 1;
            zeros = 0;
        } else if (*text == '0' && n > 0)
            zeros++;
    }
    return n > 0 ? n : 1;
}

/* A decimal of up to DBL_DIG digits that reads back to a normal double is what %.*g makes of it with DBL_DIG digits: one try
 * finds it, or tells that none is so short. */
int ac_format_double(double value, char out[AC_NUMBER_BYTES])
{
    int n = 0, precision = 1;
    if (fabs(value) >= DBL_MIN && isfinite(value)) {
        if (print_double(value, DBL_DIG, out, &n)) {
            (void)print_double(value, significant_digits(out), out, &n); /* 1e+05 is not 100000 */
            return n;
        }
        precision = DBL_DIG + 1;
    }
    while (!print_double(value, precision, out, &n) && precision < DBL_DECIMAL_DIG)
        precision++;
    return n;
}
