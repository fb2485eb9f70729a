/* --help and --version. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/option.h"
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 100, INDENT = 30 };

static const char *value_name(const ac_option *option)
{
    if (option->unit)
        return option->unit;
    switch (option->type) {
    case AC_OPTION_FLAG:
        return "";
    case AC_OPTION_INT:
        return "N";
    case AC_OPTION_DOUBLE:
        return "X";
    case AC_OPTION_CHOICE:
        return "NAME";
    case AC_OPTION_DOUBLES:
        return "X ...";
    case AC_OPTION_STRINGS:
        return "NAME ...";
    default:
        return "TEXT";
    }
}

/* Words of `text`, wrapped at WIDTH and indented. `column` is where the cursor stands. */
static int print_wrapped(FILE *stream, int column, const char *text)
{
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (column + n > WIDTH) {
            fprintf(stream, "\n%*s", INDENT, "");
            column = INDENT;
        }
        fprintf(stream, "%.*s%s", n, text, text[n] ? " " : "");
        column += n + 1;
        text += n + (text[n] != 0);
    }
    return column;
}

static void print_option(const ac_option *option, FILE *stream)
{
    char detail[512];
    int column = fprintf(stream, "  --%s %s", option->name, value_name(option));
    if (column >= INDENT) {
        fprintf(stream, "\n");
        column = 0;
    }
    fprintf(stream, "%*s", INDENT - column, "");
    column = print_wrapped(stream, INDENT, option->help);
    detail[0] = 0;
    size_t n = 0;
    if (option->choices)
        n += (size_t)snprintf(detail + n, sizeof detail - n, " One of %s.", option->choices);
    if (n < sizeof detail && (option->min != 0 || option->max != 0))
        n += (size_t)snprintf(detail + n, sizeof detail - n, " From %.12g to %.12g.", option->min, option->max);
    if (n < sizeof detail && option->required)
        snprintf(detail + n, sizeof detail - n, " Required.");
    else if (n < sizeof detail && option->fallback)
        snprintf(detail + n, sizeof detail - n, " Default: %s.", option->fallback);
    print_wrapped(stream, column, detail);
    fprintf(stream, "\n");
}

static void print_help(const ac_program *program, FILE *stream)
{
    fprintf(stream, "%s\n\nusage: %s %s\n", program->summary, program->name, program->usage);
    for (size_t i = 0; i < program->n_options; i++) {
        if (program->options[i].group || i == 0)
            fprintf(stream, "\n%s:\n", program->options[i].group ? program->options[i].group : "Options");
        print_option(&program->options[i], stream);
    }
    static const ac_option always[] = {
        {.name = "config", .type = AC_OPTION_STRING, .unit = "FILE", .help = "Read options from JSON as --dump_config writes it; the command line counts more."},
        {.name = "dump_config", .type = AC_OPTION_FLAG, .help = "Print all options with their values as JSON, do nothing else."},
        {.name = "help", .type = AC_OPTION_FLAG, .help = "This text."},
        {.name = "version", .type = AC_OPTION_FLAG, .help = "Print the version."},
    };
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        print_option(&always[i], stream);
    fprintf(stream, "\nOptions take '_' and '-' alike; --name=value works, and --no_name for a flag.\n"
                    "Exit codes: 0 done; 2 usage; 3 bad input data; 4 input/output; 5 numeric failure; 6 ranks out of step;\n"
                    "7 watchdog; 75 stopped by a signal, state saved, run again.\n");
    if (program->notes)
        fprintf(stream, "\n%s\n", program->notes);
}

ac_status ac_options_help(const ac_program *program, char **text)
{
    ac_status status = AC_OK;
    char *own = NULL;
    size_t n;
    *text = NULL;
    FILE *stream = open_memstream(&own, &n);
    if (!stream)
        return ac_error(AC_ERR_MEMORY, "no memory for the help text");
    print_help(program, stream);
    if (fclose(stream) != 0)
        AC_TRY(ac_error(AC_ERR_MEMORY, "no memory for the help text"));
    AC_TRY(ac_strdup(own, text));
out:
    free(own);
    return status;
}

ac_status ac_options_answer(const ac_program *program, ac_option_action action, const void *config)
{
    ac_status status = AC_OK;
    char *text = NULL;
    if (action == AC_ACTION_HELP)
        AC_TRY(ac_options_help(program, &text));
    if (action == AC_ACTION_DUMP_CONFIG)
        AC_TRY(ac_options_dump(program, config, &text));
    if (action == AC_ACTION_VERSION)
        AC_TRY(ac_strdup(ac_version_text(), &text));
    if (text)
        AC_TRY(ac_log_answer(text));
    if (action == AC_ACTION_VERSION)
        AC_TRY(ac_log_answer("\n"));
out:
    ac_free(text);
    return status;
}

const char *ac_version_text(void)
{
#ifdef __VERSION__
    return "anyclass " AC_VERSION " (compiler " __VERSION__ ")";
#else
    return "anyclass " AC_VERSION;
#endif
}
