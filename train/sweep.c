/* `anyclass-train sweep`: options, the elements on stdout and in a table, and how far the elements of a table are. Leaves ranges and points to
 * sweep_ranges.c and sweep_points.c, the table to sweep_table.c. */
#include "train/sweep.h"
#include "anyclass/alloc.h"
#include "anyclass/checkpoint.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "train/sweep_table.h"
#include "train/train_internal.h"
#include <stdio.h>
#include <string.h>

typedef struct sweep_config {
    ac_common_config common;
    const char *ranges, *name, *table, *log_save_dir;
    int method;
    int64_t n_points, seed;
    bool scramble, status;
} sweep_config;

#define O(field) .offset = offsetof(sweep_config, field)
static const ac_option options[] = {
    {.group = "Points", .name = "ranges", .type = AC_OPTION_STRING, O(ranges), .unit = "FILE", .help = "Options of the trainer and their values, one a line: 'learning_rate = log 1e-4 .. 1e-1'."},
    {.name = "method", .type = AC_OPTION_CHOICE, O(method), .fallback = "grid", .choices = "grid|random|sobol", .help = "grid: all combinations; random; sobol: points of Sobol's sequence, which fill the ranges evenly."},
    {.name = "n_points", .type = AC_OPTION_INT, O(n_points), .fallback = "0", .min = 0, .max = SWEEP_MOST_ELEMENTS, .unit = "N", .help = "random, sobol: number of points; more of them leave the first ones as they are."},
    {.name = "seed", .type = AC_OPTION_INT, O(seed), .fallback = "1", .min = 0, .max = 9e15, .help = "random, sobol: the points are a function of the ranges and this number."},
    {.name = "scramble", .type = AC_OPTION_FLAG, O(scramble), .fallback = "true", .help = "sobol: scrambled by the seed (Owen); without it the sequence itself, whose first point is all lowest values."},
    {.group = "Output", .name = "name", .type = AC_OPTION_STRING, O(name), .fallback = "sweep", .help = "Element 7 is the version NAME-007."},
    {.name = "table", .type = AC_OPTION_STRING, O(table), .unit = "FILE", .help = "Write this CSV, a row per element with its values; with --status read it."},
    {.group = "Progress", .name = "status", .type = AC_OPTION_FLAG, O(status), .fallback = "false", .help = "Say instead how far each element of --table is."},
    {.name = "log_save_dir", .type = AC_OPTION_STRING, O(log_save_dir), .unit = "FOLDER", .help = "--status: the trainings' folder."},
    AC_COMMON_OPTIONS(sweep_config),
};
#undef O

static const ac_program program = {
    .name = "anyclass-train",
    .summary = "Choose values of the trainer's options for a sweep, a version for each choice.",
    .usage = "sweep --ranges FILE [--method grid|random|sobol] [--n_points N] [--name NAME] [--table FILE] [-- OPTIONS OF ALL ELEMENTS]\n"
             "       anyclass-train sweep --status --table FILE --log_save_dir FOLDER",
    .notes = "Prints a line per element: number, version, then the options that are its own, separated by tabs.\n"
             "What stands behind -- is held against the trainer together with each element, and becomes part of the table's command.\n"
             "--status prints version and state: finished, epoch E of N, not begun. docs/sweeps.md has the format of the ranges.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(sweep_config),
};

/* A part of file names, of options and of a command line: nothing that one of them could take amiss. */
static ac_status check_name(const char *name)
{
    enum { MOST = 200 };
    for (const char *at = name; *at; at++)
        if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || (at > name && strchr("._+-", *at))))
            return ac_error(AC_ERR_USAGE, "--name %.60s: letters, digits and '.', '_', '+', '-' behind the first make a name of versions", name);
    if (!*name || strlen(name) > MOST)
        return ac_error(AC_ERR_USAGE, "--name has 1 to %d letters", MOST);
    return AC_OK;
}

static ac_status check_config(const sweep_config *config, const ac_options *given, const ac_string_list *fixed)
{
    ac_status status = AC_OK;
    if (config->status) {
        if (!config->table || !config->log_save_dir || config->ranges)
            return ac_error(AC_ERR_USAGE, "--status takes --table FILE and --log_save_dir FOLDER, and no --ranges");
        return AC_OK;
    }
    if (!config->ranges)
        return ac_error(AC_ERR_USAGE, "--ranges FILE is wanted (--help says more)");
    if (config->log_save_dir)
        return ac_error(AC_ERR_USAGE, "--log_save_dir goes with --status; for the trainings it stands behind --");
    if (config->method == SWEEP_GRID && ac_options_given(given, "n_points"))
        return ac_error(AC_ERR_USAGE, "--n_points goes with --method random or sobol: a grid has all combinations");
    if (config->method != SWEEP_GRID && config->n_points == 0)
        return ac_error(AC_ERR_USAGE, "--method %s needs --n_points", config->method == SWEEP_SOBOL ? "sobol" : "random");
    for (size_t i = 0; i < fixed->n_items; i++)
        if (strpbrk(fixed->item[i], "\t\n"))
            return ac_error(AC_ERR_USAGE, "'%s': no tab and no line end can stand in a line of options", fixed->item[i]);
    AC_TRY(check_name(config->name));
out:
    return status;
}

/* The whole command line of an element as its training would read it. The trainer's warnings are its own to give. */
static ac_status check_element(const sweep_table *table, size_t i)
{
    ac_status status = AC_OK;
    train_config config;
    ac_option_action action;
    ac_options *parsed = NULL;
    char **argv = NULL, version[SWEEP_VERSION_BYTES];
    size_t n;
    AC_TRY(sweep_table_words(table, i, &argv, &n));
    AC_TRY(ac_options_parse(&train_program, (int)n, argv, &config, NULL, &action, &parsed));
    AC_TRY(trainer_check_options(&config, parsed));
out:
    ac_options_destroy(parsed);
    ac_free(argv);
    sweep_table_version(table, i, version);
    return status == AC_OK ? status : ac_error_in(status, "element %s", version);
}

static ac_status check_elements(const ac_run *run, const sweep_config *config, const sweep_table *table)
{
    ac_status status = AC_OK;
    ac_log_init(program.name, run->rank, run->size, AC_LOG_ERROR, false);
    for (size_t i = 0; i < table->n_elements && status == AC_OK; i++)
        status = check_element(table, i);
    ac_log_init(program.name, run->rank, run->size, (ac_log_level)config->common.log_level, config->common.log_all_ranks);
    return status;
}

/* Given to all elements, and swept: the trainer would only say that it was given twice. */
static ac_status check_shared(const sweep_ranges *ranges, const ac_string_list *fixed)
{
    for (size_t i = 0; i < fixed->n_items; i++) {
        const char *word = fixed->item[i];
        for (size_t k = 0; k < ranges->n_keys && word[0] == '-' && word[1] == '-'; k++) {
            const char *name = ranges->key[k].option->name, *at = word + 2;
            while (*name && (*name == *at || (*name == '_' && *at == '-'))) {
                name++;
                at++;
            }
            if (!*name && (!*at || *at == '='))
                return ac_error(AC_ERR_USAGE, "%s line %zu: --%s is swept, and given to all elements too: take one of them away", ranges->name,
                                ranges->key[k].line, ranges->key[k].option->name);
        }
    }
    return AC_OK;
}

static ac_status make_sweep(const ac_run *run, const sweep_config *config, const ac_string_list *fixed)
{
    ac_status status = AC_OK;
    sweep_ranges ranges = {0};
    sweep_table table = {0};
    char last[SWEEP_VERSION_BYTES];
    const sweep_points points = {(sweep_method)config->method, (uint64_t)config->seed, config->n_points, config->scramble};
    AC_TRY(sweep_read_ranges(config->ranges, &ranges));
    AC_TRY(check_shared(&ranges, fixed));
    if (points.method == SWEEP_GRID)
        AC_TRY(sweep_list_ranges(&ranges));
    AC_TRY(sweep_table_make(&ranges, &points, config->name, fixed, &table));
    AC_TRY(check_elements(run, config, &table));
    if (config->table)
        AC_TRY(sweep_table_save(&table, config->table, config->common.dry_run));
    AC_TRY(sweep_table_print(&table));
    if (points.method == SWEEP_SOBOL && (points.n_points & (points.n_points - 1)) != 0)
        ac_log(AC_LOG_INFO, "Sobol's points are most even when their number is a power of two, and %lld is none", (long long)points.n_points);
    sweep_table_version(&table, table.n_elements - 1, last);
    ac_log(AC_LOG_INFO, "%zu elements, the last is %s", table.n_elements, last);
out:
    sweep_table_release(&table);
    sweep_release_ranges(&ranges);
    return status;
}

static ac_status say_progress(const sweep_config *config)
{
    ac_status status = AC_OK;
    ac_sweep_file file = {0};
    char text[AC_PATH_BYTES], folder[AC_PATH_BYTES], state[AC_PROGRESS_BYTES];
    AC_TRY(ac_sweep_file_read(config->table, &file));
    for (size_t i = 0; i < file.n_elements; i++) {
        ac_progress_state progress;
        snprintf(text, sizeof text, "version_%s", file.version[i]);
        AC_TRY(ac_path_join(folder, config->log_save_dir, text));
        AC_TRY(ac_checkpoint_progress(folder, &progress));
        ac_checkpoint_progress_text(&progress, state);
        snprintf(text, sizeof text, "%s\t%s\n", file.version[i], state);
        AC_TRY(ac_log_answer(text));
    }
out:
    ac_sweep_file_release(&file);
    return status;
}

int sweep_run(MPI_Comm comm, int argc, char **argv)
{
    ac_run run;
    sweep_config config;
    ac_string_list fixed = {0};
    ac_status status = ac_run_begin(&run, comm, &program, argc, argv, &config, &fixed);
    if (status == AC_OK && run.go && run.rank == 0) {
        status = check_config(&config, run.options, &fixed);
        if (status == AC_OK)
            status = config.status ? say_progress(&config) : make_sweep(&run, &config, &fixed);
    }
    return ac_run_end(&run, &program, status);
}
