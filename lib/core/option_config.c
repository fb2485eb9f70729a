/* Options as a JSON document: --dump_config writes it, --config reads it. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "anyclass/json.h"
#include "core/option_internal.h"
#include <string.h>

static void choice_text(const ac_option *option, int index, char out[64])
{
    const char *at = option->choices;
    for (; index > 0 && at; index--) {
        at = strchr(at, '|');
        at += at != NULL;
    }
    snprintf(out, 64, "%.*s", at ? (int)strcspn(at, "|") : 0, at ? at : "");
}

static void write_option(ac_json *json, const ac_option *option, const void *config)
{
    const void *field = (const unsigned char *)config + option->offset;
    const ac_string_list *strings = field;
    const ac_double_list *doubles = field;
    char text[64];
    switch (option->type) {
    case AC_OPTION_FLAG:
        ac_json_bool(json, option->name, *(const bool *)field);
        break;
    case AC_OPTION_INT:
        ac_json_int(json, option->name, *(const int64_t *)field);
        break;
    case AC_OPTION_DOUBLE:
        ac_json_double(json, option->name, *(const double *)field);
        break;
    case AC_OPTION_STRING:
        ac_json_string(json, option->name, *(const char *const *)field);
        break;
    case AC_OPTION_CHOICE:
        choice_text(option, *(const int *)field, text);
        ac_json_string(json, option->name, text);
        break;
    case AC_OPTION_STRINGS:
        ac_json_begin_array(json, option->name);
        for (size_t i = 0; i < strings->n_items; i++)
            ac_json_string(json, NULL, strings->item[i]);
        ac_json_end_array(json);
        break;
    case AC_OPTION_DOUBLES:
        ac_json_begin_array(json, option->name);
        for (size_t i = 0; i < doubles->n_items; i++)
            ac_json_double(json, NULL, doubles->item[i]);
        ac_json_end_array(json);
        break;
    }
}

ac_status ac_options_dump(const ac_program *program, const void *config, char **out)
{
    ac_status status = AC_OK;
    ac_json *json = NULL;
    const char *text;
    size_t n;
    AC_TRY(ac_json_create(&json));
    ac_json_begin_object(json, NULL);
    for (size_t i = 0; i < program->n_options; i++)
        write_option(json, &program->options[i], config);
    ac_json_end_object(json);
    AC_TRY(ac_json_text(json, &text, &n));
    AC_TRY(ac_strdup(text, out));
out:
    ac_json_destroy(json);
    return status;
}

/* One value of the document as the word a command line would hold. */
static ac_status word_of(const ac_json_value *value, const char *name, char number[AC_NUMBER_BYTES], const char **out)
{
    bool truth;
    double real;
    int64_t whole;
    if (ac_json_read_string(value, name, out) == AC_OK)
        return AC_OK;
    if (ac_json_read_bool(value, name, &truth) == AC_OK) {
        *out = truth ? "true" : "false";
        return AC_OK;
    }
    if (ac_json_read_int(value, name, &whole) == AC_OK) {
        snprintf(number, AC_NUMBER_BYTES, "%lld", (long long)whole);
        *out = number;
        return AC_OK;
    }
    if (ac_json_read_double(value, name, &real) == AC_OK && real == real) {
        ac_format_double(real, number);
        *out = number;
        return AC_OK;
    }
    return ac_error(AC_ERR_USAGE, "option %s has no usable value", name);
}

static ac_status read_option(ac_options *options, const char *name, const ac_json_value *value, void *config)
{
    ac_status status = AC_OK;
    char number[AC_NUMBER_BYTES];
    const char *word;
    double nothing;
    const ac_option *option = option_find(options->program, name, strlen(name));
    if (!option)
        return ac_error(AC_ERR_USAGE, "unknown option %s", name);
    options->given[option - options->program->options] = 1;
    if (option->type == AC_OPTION_STRINGS || option->type == AC_OPTION_DOUBLES) {
        memset((unsigned char *)config + option->offset, 0, sizeof(ac_string_list));
        for (size_t i = 0; i < ac_json_count(value); i++) {
            AC_TRY(word_of(ac_json_at(value, i), name, number, &word));
            AC_TRY(option_set(options, option, config, &word, 1));
        }
        return AC_OK;
    }
    if (option->type == AC_OPTION_STRING && ac_json_read_double(value, name, &nothing) == AC_OK && nothing != nothing)
        return AC_OK; /* null: not given */
    AC_TRY(word_of(value, name, number, &word));
    AC_TRY(option_set(options, option, config, &word, 1));
out:
    return status;
}

ac_status option_load_config(ac_options *options, const char *path, void *config)
{
    ac_json_value *document;
    ac_status status = ac_json_load(path, &document);
    if (status != AC_OK)
        return status;
    if (!ac_json_key_at(document, 0))
        status = ac_error(AC_ERR_USAGE, "%s: needs a JSON object of options", path);
    for (size_t i = 0; status == AC_OK && ac_json_key_at(document, i); i++) {
        status = read_option(options, ac_json_key_at(document, i), ac_json_at(document, i), config);
        if (status != AC_OK)
            status = ac_error_in(status, "%s", path);
    }
    ac_json_release(document);
    return status;
}
