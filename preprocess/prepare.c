/* The frame of the preparation commands. */
#include "preprocess/prepare.h"
#include "anyclass/divide.h"
#include "anyclass/stop.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static const prepare_command *const commands[] = {
#define ROW(name, text) &prepare_##name,
    PREPARE_COMMANDS(ROW)
#undef ROW
};

const prepare_command *prepare_find(const char *word)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const char *name = commands[i]->name, *at = word;
        while (*name && (*name == *at || (*name == '_' && *at == '-'))) {
            name++;
            at++;
        }
        if (!*name && !*at)
            return commands[i];
    }
    return NULL;
}

int prepare_run(const prepare_command *command, MPI_Comm comm, int argc, char **argv)
{
    union {
        max_align_t align;
        unsigned char bytes[PREPARE_CONFIG_BYTES];
    } config;
    ac_run run;
    assert(command->program->config_bytes <= sizeof config);
    ac_status status = ac_run_begin(&run, comm, command->program, argc, argv, &config, NULL);
    if (status == AC_OK && run.go)
        status = ac_comm_check_stop(run.comm, "nothing was done");
    if (!command->is_collective) /* its outputs are complete or absent: it may end at any time */
        ac_stop_release();
    if (status == AC_OK && run.go && (command->is_collective || run.rank == 0))
        status = command->run(&run, &config);
    return ac_run_end(&run, command->program, status);
}

typedef struct no_config {
    ac_common_config common;
} no_config;

int prepare_refuse(const char *word, MPI_Comm comm, char **argv)
{
#define NAME(name, text) " " #name
    static const ac_option options[] = {AC_COMMON_OPTIONS(no_config)};
    static const ac_program program = {.name = "anyclass-preprocess",
                                       .options = options,
                                       .n_options = sizeof options / sizeof *options,
                                       .config_bytes = sizeof(no_config)};
    no_config config;
    ac_run run;
    /* argc 1: whatever options follow belong to a command that is not known */
    ac_status status = ac_run_begin(&run, comm, &program, 1, argv, &config, NULL);
    if (status == AC_OK)
        status = ac_error(AC_ERR_USAGE, "'%s' is no command; there are" PREPARE_COMMANDS(NAME) " (--help says more)", word);
    return ac_run_end(&run, &program, status);
#undef NAME
}

ac_status prepare_check_output(const char *path, bool overwrite)
{
    if (!overwrite && ac_path_exists(path))
        return ac_error(AC_ERR_USAGE, "%s is there already: use another --output, or --overwrite", path);
    return AC_OK;
}

ac_status prepare_make_folder(const char *folder, bool dry_run)
{
    ac_status status = ac_path_check_writable(folder);
    return status == AC_OK && !dry_run ? ac_path_make_folders(folder) : status;
}

ac_status prepare_folder_of(const char *path, char folder[AC_PATH_BYTES])
{
    ac_status status = ac_path_join(folder, "", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    else
        strcpy(folder, ".");
    return status;
}

ac_status prepare_remove_old(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? AC_OK : ac_error_errno("%s: cannot be replaced", path);
}

ac_status prepare_fractions(const ac_double_list *given, double fraction[AC_N_SPLITS])
{
    static const double usual[AC_N_SPLITS] = {.7, .15, .15};
    if (given->n_items != 0 && given->n_items != AC_N_SPLITS)
        return ac_error(AC_ERR_USAGE, "--fractions needs three numbers: of Train, Val and Test");
    memcpy(fraction, given->n_items ? given->item : usual, sizeof usual);
    ac_status status = ac_divide_check(fraction, AC_N_SPLITS);
    return status == AC_OK ? AC_OK : ac_error_in(status, "--fractions");
}
