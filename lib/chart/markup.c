/* Growing HTML and SVG text: escaping, numbers, base64. The first failure is kept, so that writers need not look. */
#include "anyclass/alloc.h"
#include "anyclass/chart.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD";

static void put(ac_markup *out, const char *bytes, size_t n)
{
    if (out->status == AC_OK)
        out->status = ac_reserve(&out->text, &out->capacity, out->n_bytes + n + 1, 1);
    if (out->status != AC_OK)
        return;
    memcpy(out->text + out->n_bytes, bytes, n);
    out->n_bytes += n;
    out->text[out->n_bytes] = '\0';
}

void ac_markup_add(ac_markup *out, const char *text)
{
    put(out, text, strlen(text));
}

void ac_markup_format(ac_markup *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (out->status == AC_OK)
        out->status = ac_reserve(&out->text, &out->capacity, out->n_bytes + (size_t)n + 1, 1);
    if (out->status != AC_OK)
        return;
    va_start(args, format);
    vsnprintf(out->text + out->n_bytes, (size_t)n + 1, format, args);
    va_end(args);
    out->n_bytes += (size_t)n;
}

/* Bytes of the UTF-8 character at `text`, 0 if it is none. */
static size_t character_bytes(const unsigned char *text)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = text[0] < 0x80   ? 1
               : text[0] < 0xC2 ? 0
               : text[0] < 0xE0 ? 2
               : text[0] < 0xF0 ? 3
               : text[0] < 0xF5 ? 4
                                : 0;
    uint32_t code = n == 1 ? text[0] : text[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3F);
    }
    return n > 1 && (code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) ? 0 : n;
}

/* Put one character and return its bytes in `text`. */
static size_t escape_character(ac_markup *out, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t n = character_bytes(at);
    bool control = n == 1 && (*at < 0x20 || *at == 0x7F);
    bool never = n == 3 && at[0] == 0xEF && at[1] == 0xBF && at[2] >= 0xBE; /* U+FFFE, U+FFFF: not XML */
    if (n == 0 || control || never)
        ac_markup_add(out, replacement);
    else if (*at == '&')
        ac_markup_add(out, "&amp;");
    else if (*at == '<')
        ac_markup_add(out, "&lt;");
    else if (*at == '>')
        ac_markup_add(out, "&gt;");
    else if (*at == '"')
        ac_markup_add(out, "&quot;");
    else if (*at == '\'')
        ac_markup_add(out, "&#39;");
    else
        put(out, text, n);
    return n ? n : 1;
}

void ac_markup_escape(ac_markup *out, const char *text)
{
    while (*text)
        text += escape_character(out, text);
}

void ac_markup_shorten(ac_markup *out, const char *text, size_t n_characters)
{
    size_t n = 0;
    for (const char *at = text; *at; n++) {
        size_t bytes = character_bytes((const unsigned char *)at);
        at += bytes ? bytes : 1;
    }
    if (n <= n_characters) {
        ac_markup_escape(out, text);
        return;
    }
    for (size_t i = 1; i < n_characters; i++)
        text += escape_character(out, text);
    ac_markup_add(out, "\xE2\x80\xA6");
}

void ac_markup_number(ac_markup *out, double value, int decimals)
{
    char text[400];
    int n = snprintf(text, sizeof text, "%.*f", decimals, isfinite(value) ? value : 0.0);
    if (decimals > 0) {
        while (text[n - 1] == '0')
            n--;
        n -= text[n - 1] == '.';
    }
    text[n] = '\0';
    ac_markup_add(out, strcmp(text, "-0") == 0 ? "0" : text);
}

void ac_markup_count(ac_markup *out, int64_t value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%" PRId64, value);
    int sign = digits[0] == '-';
    for (int i = 0; i < n; i++) {
        if (i > sign && (n - i) % 3 == 0)
            ac_markup_add(out, "\xE2\x80\xAF"); /* narrow no-break space */
        put(out, digits + i, 1);
    }
}

void ac_markup_base64(ac_markup *out, const uint8_t *bytes, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t group = (uint32_t)bytes[i] << 16;
        group |= i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0;
        group |= i + 2 < n ? bytes[i + 2] : 0;
        char four[4] = {digit[group >> 18], digit[group >> 12 & 63], digit[group >> 6 & 63], digit[group & 63]};
        if (i + 2 >= n)
            four[3] = '=';
        if (i + 1 >= n)
            four[2] = '=';
        put(out, four, sizeof four);
    }
}

void ac_markup_release(ac_markup *out)
{
    ac_free(out->text);
    *out = (ac_markup){0};
}
