/* anyclass-weights: options, and which of the three commands is meant. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "infer/weights/weights.h"
#include <stdarg.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct weights_config {
    ac_common_config common;
    bool json, overwrite;
    double tolerance;
} weights_config;

#define O(field) .offset = offsetof(weights_config, field)
static const ac_option options[] = {
    {.group = "Commands' options",
     .name = "json",
     .type = AC_OPTION_FLAG,
     O(json),
     .fallback = "false",
     .help = "list: as JSON, with what the file says beside its tensors."},
    {.name = "tolerance",
     .type = AC_OPTION_DOUBLE,
     O(tolerance),
     .fallback = "0",
     .min = 0,
     .max = 1e30,
     .help = "compare: elements are equal when they differ by no more than this, or by no more than this share of the larger one."},
    {.name = "overwrite", .type = AC_OPTION_FLAG, O(overwrite), .fallback = "false", .help = "export: replace the file if it is there."},
    AC_COMMON_OPTIONS(weights_config),
};
static const ac_program program = {
    .name = "anyclass-weights",
    .summary = "Weights of checkpoints to PyTorch, and what is in files of weights.",
    .usage = "export CHECKPOINT.h5 OUT.safetensors [--overwrite]\n"
             "       anyclass-weights list FILE [--json]\n"
             "       anyclass-weights compare A B [--tolerance X]",
    .notes = "Read are checkpoints, .safetensors, PyTorch's .pth and .pt, and the .ckpt of PyTorch Lightning; which one a file is, its bytes say.\n"
             "compare ends with 0 when the files are equal within the tolerance, with 3 when they differ.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(weights_config),
};

ac_status weights_add_text(weights_text *text, const char *format, ...)
{
    ac_status status = AC_OK;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    AC_TRY(ac_reserve(&text->at, &text->capacity, text->n + (size_t)n + 1, 1));
    va_start(args, format);
    vsnprintf(text->at + text->n, (size_t)n + 1, format, args);
    va_end(args);
    text->n += (size_t)n;
out:
    return status;
}

ac_status weights_add_shape(weights_text *text, const ac_weights_tensor *tensor)
{
    ac_status status = AC_OK;
    AC_TRY(weights_add_text(text, "["));
    for (int i = 0; i < tensor->n_dims; i++)
        AC_TRY(weights_add_text(text, "%s%" PRId64, i ? ", " : "", tensor->dim[i]));
    AC_TRY(weights_add_text(text, "]"));
out:
    return status;
}

static ac_status check_words(const ac_string_list *words)
{
    static const struct {
        const char *name;
        size_t n_files;
        const char *files;
    } commands[] = {{"export", 2, "CHECKPOINT.h5 OUT.safetensors"}, {"list", 1, "FILE"}, {"compare", 2, "A B"}};
    for (size_t i = 0; words->n_items && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(words->item[0], commands[i].name) == 0)
            return words->n_items == 1 + commands[i].n_files
                       ? AC_OK
                       : ac_error(AC_ERR_USAGE, "it is: anyclass-weights %s %s", commands[i].name, commands[i].files);
    return words->n_items ? ac_error(AC_ERR_USAGE, "'%s' is none of export, list, compare", words->item[0])
                          : ac_error(AC_ERR_USAGE, "say what to do: export, list or compare (--help tells more)");
}

static ac_status run_command(const weights_config *c, const ac_string_list *words)
{
    const char *const *word = words->item;
    if (word[0][0] == 'e')
        return weights_export(word[1], word[2], c->overwrite, c->common.dry_run);
    if (word[0][0] == 'l')
        return weights_list(word[1], c->json);
    return weights_compare(word[1], word[2], c->tolerance);
}

int ac_weights_run(MPI_Comm comm, int argc, char **argv)
{
    ac_run run;
    weights_config config;
    ac_string_list words = {0};
    ac_status status = ac_run_begin(&run, comm, &program, argc, argv, &config, &words);
    if (status != AC_OK || !run.go)
        return ac_run_end(&run, &program, status);
    AC_TRY(ac_comm_agree(run.comm, check_words(&words)));
    ac_watchdog_at(run.watchdog, "reading weights", -1, run.rank > 0);
    status = run.rank == 0 ? run_command(&config, &words) : AC_OK;
    ac_watchdog_at(run.watchdog, "reading weights", -1, true);
    status = ac_comm_agree(run.comm, status);
out:
    return ac_run_end(&run, &program, status);
}
