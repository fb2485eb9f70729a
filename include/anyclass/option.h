/* One option table per program: it drives parsing, --help, validation, --config and --dump_config.
 * Long options only, '_' and '-' alike, "--name value" or "--name=value"; a flag takes no value ("--name", "--no_name").
 * The caller gives a struct of plain fields; the table says where each lives. Not collective. */
#ifndef ANYCLASS_OPTION_H
#define ANYCLASS_OPTION_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum ac_option_type {
    AC_OPTION_FLAG,   /* bool */
    AC_OPTION_INT,    /* int64_t, in [min, max] */
    AC_OPTION_DOUBLE, /* double, in [min, max] */
    AC_OPTION_STRING, /* const char *, NULL when not given */
    AC_OPTION_CHOICE, /* int: index into choices */
    AC_OPTION_STRINGS,/* ac_string_list: one or more values: "--versions a b" or repeated */
    AC_OPTION_DOUBLES /* ac_double_list, each in [min, max] */
} ac_option_type;

typedef struct ac_string_list {
    const char **item;
    size_t n_items;
} ac_string_list;

typedef struct ac_double_list {
    double *item;
    size_t n_items;
} ac_double_list;

typedef struct ac_option {
    const char *group;        /* heading in --help; NULL = same as the row above */
    const char *name;         /* with '_' */
    ac_option_type type;
    size_t offset;            /* offsetof(config struct, field) */
    const char *fallback;     /* default as text ("a b" for lists, "true"/"false" for flags); NULL = no default */
    bool required;
    double min, max;          /* numbers; min == max == 0 means no limit */
    const char *choices;      /* "bce|focal" for AC_OPTION_CHOICE */
    const char *unit;         /* value name in --help: FILE, N, SECONDS */
    const char *help;         /* one sentence */
} ac_option;

typedef struct ac_program {
    const char *name;     /* "anyclass-train" */
    const char *summary;  /* one line */
    const char *usage;    /* behind the name: "--dataset NAME --ann_root DIR ..." */
    const char *notes;    /* closing paragraph of --help: examples, exit codes; may be NULL */
    const ac_option *options;
    size_t n_options;
    size_t config_bytes;
} ac_program;

/* Options every program has, as the first member of its config struct; AC_COMMON_OPTIONS adds their rows. */
typedef struct ac_common_config {
    bool dry_run;
    int log_level; /* ac_log_level */
    bool log_all_ranks;
    int64_t watchdog_s;
} ac_common_config;

#define AC_COMMON_OPTIONS(config)                                                                                     \
    {.group = "General", .name = "dry_run", .type = AC_OPTION_FLAG, .offset = offsetof(config, common.dry_run),       \
     .fallback = "false", .help = "Check options, inputs and outputs, write nothing."},                               \
    {.name = "log_level", .type = AC_OPTION_CHOICE, .offset = offsetof(config, common.log_level), .fallback = "info", \
     .choices = "error|warn|info|debug", .help = "Least important lines that are shown."},                            \
    {.name = "log_all_ranks", .type = AC_OPTION_FLAG, .offset = offsetof(config, common.log_all_ranks),               \
     .fallback = "false", .help = "Log from every rank, not from rank 0 alone."},                                     \
    {.name = "watchdog_s", .type = AC_OPTION_INT, .offset = offsetof(config, common.watchdog_s), .fallback = "300",   \
     .min = 0, .max = 1e6, .unit = "SECONDS", .help = "End all ranks when one is stopped or stuck for so long; 0: off."}

typedef enum ac_option_action { AC_ACTION_RUN, AC_ACTION_HELP, AC_ACTION_VERSION, AC_ACTION_DUMP_CONFIG } ac_option_action;

typedef struct ac_options ac_options; /* owns the strings and lists that the config points to */

/** Fill `config` (zeroed by the callee) from defaults, then --config FILE (JSON as --dump_config writes it), then argv.
 * Positional words are refused unless `positional` is given. `--help`, `--version`, `--dump_config` are seen wherever
 * they stand and win over missing required options (not over wrong ones).
 * @param[out] positional  words that are no options; may be NULL
 * @param[out] out  owner of what `config` points to; destroy it after the last use of `config`
 * @return AC_ERR_USAGE: unknown option (with the nearest known name), missing or wrong value, number out of range,
 *         required option missing, option given twice (lists excepted). */
AC_NODISCARD ac_status ac_options_parse(const ac_program *program, int argc, char **argv, void *config,
                                        ac_string_list *positional, ac_option_action *action, ac_options **out);
/** NULL is allowed. */
void ac_options_destroy(ac_options *options);
/** True when the user gave `name` on the command line or in --config. */
bool ac_options_given(const ac_options *options, const char *name);

/** --help text: usage, groups, every option with default, range or choices. AC_ERR_MEMORY. `text` is owned by the caller
 * (ac_free). */
AC_NODISCARD ac_status ac_options_help(const ac_program *program, char **text);
/** JSON object of all options and their values. AC_ERR_MEMORY. `text` is owned by the caller (ac_free). */
AC_NODISCARD ac_status ac_options_dump(const ac_program *program, const void *config, char **text);

/** Answer --help, --version or --dump_config on stdout; AC_ACTION_RUN has no answer. AC_ERR_MEMORY, AC_ERR_IO. */
AC_NODISCARD ac_status ac_options_answer(const ac_program *program, ac_option_action action, const void *config);

/** "anyclass 0.1.0 (hdf5 1.10.8, oneDNN 2.6.3, ...)"-style line, static storage. */
const char *ac_version_text(void);

#endif
