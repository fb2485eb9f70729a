/* Numbers from text and back, exact and independent of the locale (programs never call setlocale). */
#include "anyclass/csv.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Powers of ten that a double holds exactly. */
static const double exact_power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Digits, point, exponent: up to 15 digits and a small power of ten, one rounding makes the exact value (Clinger 1990).
 * Returns false for what needs the slow way. */
static bool parse_short(const char *text, double *out)
{
    uint64_t digits = 0;
    int n_digits = 0, exponent = 0;
    bool negative = *text == '-', point = false, any = false;
    text += *text == '-' || *text == '+';
    for (;; text++) {
        if (*text == '.' && !point) {
            point = true;
            continue;
        }
        if (*text < '0' || *text > '9')
            break;
        any = true;
        digits = digits * 10 + (uint64_t)(*text - '0');
        n_digits += digits != 0;
        exponent -= point;
        if (n_digits > 15)
            return false;
    }
    if (!any || *text != 0 || exponent < -22)
        return false;
    double value = (double)digits / exact_power[-exponent];
    *out = negative ? -value : value;
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

/* "1e-07" and "5.00000e-01" come out of %g in one form only: shortest precision that reads back. */
int ac_format_float(float value, char out[AC_NUMBER_BYTES])
{
    int n = 0;
    for (int precision = 1; precision <= 9; precision++) {
        n = snprintf(out, AC_NUMBER_BYTES, "%.*g", precision, (double)value);
        if (strtof(out, NULL) == value)
            break;
    }
    return n;
}

int ac_format_double(double value, char out[AC_NUMBER_BYTES])
{
    int n = 0;
    for (int precision = 1; precision <= 17; precision++) {
        n = snprintf(out, AC_NUMBER_BYTES, "%.*g", precision, value);
        if (strtod(out, NULL) == value)
            break;
    }
    return n;
}
