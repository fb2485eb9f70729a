/* Parsing a command line by a program's option table. Help is in option_help.c, documents in option_config.c. */
#include "anyclass/alloc.h"
#include "anyclass/csv.h"
#include "core/option_internal.h"
#include <string.h>

static bool same_name(const char *name, const char *given, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (name[i] == 0 || name[i] != (given[i] == '-' ? '_' : given[i]))
            return false;
    return name[n] == 0;
}

const ac_option *option_find(const ac_program *program, const char *name, size_t n)
{
    for (size_t i = 0; i < program->n_options; i++)
        if (same_name(program->options[i].name, name, n))
            return &program->options[i];
    return NULL;
}

/* Keep a block until ac_options_destroy(); on failure it is released. */
static ac_status own(ac_options *options, void *block)
{
    ac_status status = ac_reserve(&options->owned, &options->owned_capacity, options->n_owned + 1, sizeof *options->owned);
    if (status == AC_OK)
        options->owned[options->n_owned++] = block;
    else
        ac_free(block);
    return status;
}

static ac_status own_text(ac_options *options, const char *text, const char **out)
{
    char *copy;
    ac_status status = ac_strdup(text, &copy);
    if (status == AC_OK)
        status = own(options, copy);
    if (status == AC_OK)
        *out = copy;
    return status;
}

static ac_status check_range(const ac_option *option, double value)
{
    if ((option->min != 0 || option->max != 0) && !(value >= option->min && value <= option->max))
        return ac_error(AC_ERR_USAGE, "--%s: %.12g is not in %.12g .. %.12g", option->name, value, option->min, option->max);
    return AC_OK;
}

static ac_status parse_number(const ac_option *option, const char *word, double *out)
{
    if (ac_parse_double(word, out) != AC_OK)
        return ac_error(AC_ERR_USAGE, "--%s: '%s' is no number", option->name, word);
    return check_range(option, *out);
}

static ac_status set_choice(const ac_option *option, const char *word, int *out)
{
    int index = 0;
    size_t n = strlen(word);
    for (const char *at = option->choices; at; index++) {
        const char *end = strchr(at, '|');
        size_t length = end ? (size_t)(end - at) : strlen(at);
        if (length == n && memcmp(at, word, n) == 0) {
            *out = index;
            return AC_OK;
        }
        at = end ? end + 1 : NULL;
    }
    return ac_error(AC_ERR_USAGE, "--%s: '%s' is none of %s", option->name, word, option->choices);
}

static ac_status set_strings(ac_options *options, ac_string_list *list, const char *const *words, size_t n)
{
    ac_status status = AC_OK;
    const char **item = NULL;
    AC_TRY(ac_malloc(list->n_items + n, sizeof *item, &item));
    AC_TRY(own(options, item));
    if (list->n_items)
        memcpy(item, list->item, list->n_items * sizeof *item);
    for (size_t i = 0; i < n; i++)
        AC_TRY(own_text(options, words[i], &item[list->n_items + i]));
    list->item = item;
    list->n_items += n;
out:
    return status;
}

static ac_status set_doubles(ac_options *options, const ac_option *option, ac_double_list *list, const char *const *words, size_t n)
{
    ac_status status = AC_OK;
    double *item = NULL;
    AC_TRY(ac_malloc(list->n_items + n, sizeof *item, &item));
    AC_TRY(own(options, item));
    if (list->n_items)
        memcpy(item, list->item, list->n_items * sizeof *item);
    for (size_t i = 0; i < n; i++)
        AC_TRY(parse_number(option, words[i], &item[list->n_items + i]));
    list->item = item;
    list->n_items += n;
out:
    return status;
}

ac_status option_set(ac_options *options, const ac_option *option, void *config, const char *const *words, size_t n)
{
    void *field = (unsigned char *)config + option->offset;
    bool is_list = option->type == AC_OPTION_STRINGS || option->type == AC_OPTION_DOUBLES;
    double number;
    if (n == 0 || (n > 1 && !is_list))
        return ac_error(AC_ERR_USAGE, "--%s needs %s", option->name, is_list ? "at least one value" : "one value");
    switch (option->type) {
    case AC_OPTION_FLAG:
        if (strcmp(words[0], "true") != 0 && strcmp(words[0], "false") != 0)
            return ac_error(AC_ERR_USAGE, "--%s is a flag: true or false, not '%s'", option->name, words[0]);
        *(bool *)field = words[0][0] == 't';
        return AC_OK;
    case AC_OPTION_INT:
        if (ac_parse_int64(words[0], INT64_MIN, INT64_MAX, field) != AC_OK)
            return ac_error(AC_ERR_USAGE, "--%s: '%s' is no whole number", option->name, words[0]);
        return check_range(option, (double)*(int64_t *)field);
    case AC_OPTION_DOUBLE:
        if (parse_number(option, words[0], &number) != AC_OK)
            return AC_ERR_USAGE;
        *(double *)field = number;
        return AC_OK;
    case AC_OPTION_STRING:
        return own_text(options, words[0], field);
    case AC_OPTION_CHOICE:
        return set_choice(option, words[0], field);
    case AC_OPTION_STRINGS:
        return set_strings(options, field, words, n);
    case AC_OPTION_DOUBLES:
        return set_doubles(options, option, field, words, n);
    }
    return ac_error(AC_ERR_USAGE, "--%s has no type", option->name);
}

/* Edit distance, for "did you mean". */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= 64 || strlen(a) >= 64)
        return 64;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (*a != b[j - 1] && !(*a == '-' && b[j - 1] == '_'));
            diagonal = row[j];
            size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < other ? change : other;
        }
    }
    return row[n];
}

static ac_status unknown(const ac_program *program, const char *name, size_t n)
{
    char given[64] = "";
    const char *nearest = NULL;
    size_t best = 4;
    memcpy(given, name, n < sizeof given ? n : sizeof given - 1);
    for (size_t i = 0; i < program->n_options; i++) {
        size_t d = distance(given, program->options[i].name);
        if (d < best) {
            best = d;
            nearest = program->options[i].name;
        }
    }
    return ac_error(AC_ERR_USAGE, "unknown option --%s%s%s (--help lists all)", given, nearest ? ", did you mean --" : "",
                    nearest ? nearest : "");
}

typedef struct parser {
    ac_options *options;
    void *config;
    int argc;
    char **argv;
    int at;
    ac_string_list *positional;
    ac_option_action action;
    const char *config_path;
} parser;

/* "-5" and "-.5e3" are values, "-x" and "--x" are not. */
static bool is_value(const char *word)
{
    return word[0] != '-' || (word[1] >= '0' && word[1] <= '9') || word[1] == '.' || word[1] == 0;
}

static bool take_builtin(parser *p, const char *name, size_t n)
{
    if (same_name("help", name, n))
        p->action = AC_ACTION_HELP;
    else if (same_name("version", name, n))
        p->action = AC_ACTION_VERSION;
    else if (same_name("dump_config", name, n))
        p->action = p->action == AC_ACTION_RUN ? AC_ACTION_DUMP_CONFIG : p->action;
    else
        return false;
    return true;
}

static ac_status take_value(parser *p, const ac_option *option, const char *value)
{
    ac_options *options = p->options;
    size_t index = (size_t)(option - options->program->options);
    bool is_list = option->type == AC_OPTION_STRINGS || option->type == AC_OPTION_DOUBLES;
    if (options->given[index] == 2 && !is_list)
        return ac_error(AC_ERR_USAGE, "--%s is given twice", option->name);
    if (is_list && options->given[index] != 2) /* the first of the command line replaces the default */
        memset((unsigned char *)p->config + option->offset, 0, sizeof(ac_string_list));
    options->given[index] = 2;
    if (value)
        return option_set(options, option, p->config, &value, 1);
    if (option->type == AC_OPTION_FLAG) {
        value = "true";
        return option_set(options, option, p->config, &value, 1);
    }
    size_t n = 0;
    while (p->at + (int)n < p->argc && is_value(p->argv[p->at + (int)n]) && (is_list || n == 0))
        n++;
    const char *const *words = (const char *const *)&p->argv[p->at];
    p->at += (int)n;
    return option_set(options, option, p->config, words, n);
}

static ac_status take_option(parser *p, const char *word)
{
    const char *name = word + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    if (take_builtin(p, name, n))
        return AC_OK;
    if (same_name("config", name, n)) {
        if (!value && p->at < p->argc)
            value = p->argv[p->at++];
        p->config_path = value;
        return value ? AC_OK : ac_error(AC_ERR_USAGE, "--config needs a file");
    }
    const ac_option *option = option_find(p->options->program, name, n);
    if (option)
        return take_value(p, option, value);
    if (n > 3 && (memcmp(name, "no_", 3) == 0 || memcmp(name, "no-", 3) == 0) && !value) {
        option = option_find(p->options->program, name + 3, n - 3);
        if (option && option->type == AC_OPTION_FLAG)
            return take_value(p, option, "false");
    }
    return unknown(p->options->program, name, n);
}

static ac_status take_words(parser *p)
{
    ac_status status = AC_OK;
    bool only_words = false;
    while (p->at < p->argc) {
        const char *word = p->argv[p->at++];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!only_words && strcmp(word, "-h") == 0) {
            p->action = AC_ACTION_HELP;
        } else if (!only_words && word[0] == '-' && word[1] == '-') {
            AC_TRY(take_option(p, word));
        } else if (p->positional && (only_words || word[0] != '-')) {
            AC_TRY(set_strings(p->options, p->positional, &word, 1));
        } else {
            return ac_error(AC_ERR_USAGE, "'%s' is no option: options begin with -- (--help lists all)", word);
        }
    }
out:
    return status;
}

/* Defaults first; a list's default is split at blanks. */
static ac_status set_defaults(ac_options *options, void *config)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < options->program->n_options; i++) {
        const ac_option *option = &options->program->options[i];
        char text[256];
        const char *words[16];
        size_t n = 0;
        if (!option->fallback)
            continue;
        if (option->type != AC_OPTION_STRINGS && option->type != AC_OPTION_DOUBLES) {
            AC_TRY(option_set(options, option, config, &option->fallback, 1));
            continue;
        }
        snprintf(text, sizeof text, "%s", option->fallback);
        for (char *at = text; *at && n < 16;) {
            words[n++] = at;
            at += strcspn(at, " ");
            if (*at)
                *at++ = 0;
        }
        if (n)
            AC_TRY(option_set(options, option, config, words, n));
    }
out:
    return status;
}

/* The config file counts less than the command line, wherever it is named: so it is looked up first. */
static ac_status load_config(ac_options *options, int argc, char **argv, void *config)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--config=", 9) == 0)
            return option_load_config(options, argv[i] + 9, config);
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return option_load_config(options, argv[i + 1], config);
    }
    return AC_OK;
}

static ac_status check_required(const ac_options *options)
{
    for (size_t i = 0; i < options->program->n_options; i++)
        if (options->program->options[i].required && !options->given[i])
            return ac_error(AC_ERR_USAGE, "--%s is required (--help lists all)", options->program->options[i].name);
    return AC_OK;
}

ac_status ac_options_parse(const ac_program *program, int argc, char **argv, void *config, ac_string_list *positional,
                           ac_option_action *action, ac_options **out)
{
    ac_status status = AC_OK;
    ac_options *options = NULL;
    *out = NULL;
    *action = AC_ACTION_RUN;
    memset(config, 0, program->config_bytes);
    if (positional)
        *positional = (ac_string_list){0};
    AC_TRY(ac_calloc(1, sizeof *options, &options));
    options->program = program;
    AC_TRY(ac_calloc(program->n_options, 1, &options->given));
    AC_TRY(set_defaults(options, config));
    AC_TRY(load_config(options, argc, argv, config));
    parser p = {.options = options, .config = config, .argc = argc, .argv = argv, .at = 1, .positional = positional};
    AC_TRY(take_words(&p));
    *action = p.action;
    if (p.action == AC_ACTION_RUN)
        AC_TRY(check_required(options));
    *out = options;
    return AC_OK;
out:
    ac_options_destroy(options);
    return status;
}

void ac_options_destroy(ac_options *options)
{
    if (!options)
        return;
    for (size_t i = 0; i < options->n_owned; i++)
        ac_free(options->owned[i]);
    ac_free(options->owned);
    ac_free(options->given);
    ac_free(options);
}

bool ac_options_given(const ac_options *options, const char *name)
{
    const ac_option *option = option_find(options->program, name, strlen(name));
    return option && options->given[option - options->program->options];
}
