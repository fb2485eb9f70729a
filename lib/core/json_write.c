/* The JSON writer: a growing text with stable formatting. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/file.h"
#include "anyclass/json.h"
#include <inttypes.h>
#include <stdio.h>
#include <math.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

struct ac_json {
    char *text;
    size_t n, capacity;
    int depth;
    bool is_array[MAX_DEPTH], has_items[MAX_DEPTH], only_numbers[MAX_DEPTH];
    bool finished;
    ac_status status;
};

ac_status ac_json_create(ac_json **out)
{
    return ac_calloc(1, sizeof **out, out);
}

void ac_json_destroy(ac_json *json)
{
    if (json)
        ac_free(json->text);
    ac_free(json);
}

static void put(ac_json *json, const char *bytes, size_t n)
{
    if (json->status == AC_OK)
        json->status = ac_reserve(&json->text, &json->capacity, json->n + n + 1, 1);
    if (json->status != AC_OK)
        return;
    memcpy(json->text + json->n, bytes, n);
    json->n += n;
    json->text[json->n] = 0;
}

static void put_text(ac_json *json, const char *text)
{
    put(json, text, strlen(text));
}

static void new_line(ac_json *json)
{
    put(json, "\n", 1);
    for (int i = 0; i < json->depth; i++)
        put(json, "  ", 2);
}

/* Bytes of the UTF-8 character at `text`, 0 if it is none. */
static size_t utf8_length(const unsigned char *text)
{
    size_t n = text[0] < 0x80 ? 1 : text[0] >= 0xC2 && text[0] < 0xE0 ? 2 : (text[0] & 0xF0) == 0xE0 ? 3 : text[0] >= 0xF0 && text[0] < 0xF5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    if ((text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xED && text[1] > 0x9F) || (text[0] == 0xF0 && text[1] < 0x90) ||
        (text[0] == 0xF4 && text[1] > 0x8F))
        return 0;
    return n;
}

static void put_quoted(ac_json *json, const char *value)
{
    put(json, "\"", 1);
    for (const unsigned char *at = (const unsigned char *)value; *at;) {
        size_t n = utf8_length(at);
        char escape[8];
        if (n == 0) {
            put_text(json, "\xEF\xBF\xBD"); /* the replacement character */
            n = 1;
        } else if (*at == '"' || *at == '\\') {
            escape[0] = '\\';
            escape[1] = (char)*at;
            put(json, escape, 2);
        } else if (*at < 0x20) {
            snprintf(escape, sizeof escape, "\\u%04x", *at);
            put_text(json, escape);
        } else {
            put(json, (const char *)at, n);
        }
        at += n;
    }
    put(json, "\"", 1);
}

/* Separator, indentation and key in front of the next item. */
static void begin_item(ac_json *json, const char *key, bool number)
{
    if (json->depth > 0) {
        int d = json->depth - 1;
        if (json->has_items[d])
            put(json, ",", 1);
        if (json->is_array[d] && number && json->only_numbers[d]) {
            if (json->has_items[d])
                put(json, " ", 1);
        } else {
            new_line(json);
            json->only_numbers[d] = false;
        }
        json->has_items[d] = true;
    }
    if (key) {
        put_quoted(json, key);
        put(json, ": ", 2);
    }
}

static void begin(ac_json *json, const char *key, bool is_array)
{
    begin_item(json, key, false);
    if (json->depth == MAX_DEPTH) {
        json->status = ac_error(AC_ERR_RANGE, "JSON nested deeper than %d", MAX_DEPTH);
        return;
    }
    json->is_array[json->depth] = is_array;
    json->only_numbers[json->depth] = is_array;
    json->has_items[json->depth++] = false;
    put(json, is_array ? "[" : "{", 1);
}

static void end(ac_json *json, bool is_array)
{
    if (json->depth == 0)
        return;
    int d = --json->depth;
    if (json->has_items[d] && !json->only_numbers[d])
        new_line(json);
    put(json, is_array ? "]" : "}", 1);
}

void ac_json_begin_object(ac_json *json, const char *key)
{
    begin(json, key, false);
}

void ac_json_end_object(ac_json *json)
{
    end(json, false);
}

void ac_json_begin_array(ac_json *json, const char *key)
{
    begin(json, key, true);
}

void ac_json_end_array(ac_json *json)
{
    end(json, true);
}

void ac_json_string(ac_json *json, const char *key, const char *value)
{
    begin_item(json, key, false);
    if (value)
        put_quoted(json, value);
    else
        put_text(json, "null");
}

void ac_json_int(ac_json *json, const char *key, int64_t value)
{
    char text[32];
    begin_item(json, key, true);
    snprintf(text, sizeof text, "%" PRId64, value);
    put_text(json, text);
}

void ac_json_double(ac_json *json, const char *key, double value)
{
    char text[AC_NUMBER_BYTES] = "null";
    begin_item(json, key, true);
    if (isfinite(value))
        ac_format_double(value, text);
    put_text(json, text);
}

void ac_json_bool(ac_json *json, const char *key, bool value)
{
    begin_item(json, key, false);
    put_text(json, value ? "true" : "false");
}

ac_status ac_json_text(ac_json *json, const char **text, size_t *n_bytes)
{
    if (!json->finished)
        put(json, "\n", 1);
    json->finished = true;
    if (json->status != AC_OK)
        return json->status;
    *text = json->text;
    *n_bytes = json->n;
    return AC_OK;
}

ac_status ac_json_save(ac_json *json, const char *path)
{
    ac_status status = AC_OK;
    const char *text;
    size_t n;
    ac_file file = {0};
    AC_TRY(ac_json_text(json, &text, &n));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_write(&file, text, n));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}
