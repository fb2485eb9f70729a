/* verify: the command that the option --verify is too. */
#include "preprocess/prepare.h"
#include "preprocess/steps.h"

typedef struct verify_config {
    ac_common_config common;
    const char *data_root;
    ac_string_list splits;
} verify_config;

static const ac_option option_table[] = {
    {.group = "Files",
     .name = "data_root",
     .type = AC_OPTION_STRING,
     .offset = offsetof(verify_config, data_root),
     .required = true,
     .unit = "FOLDER",
     .help = "Folder of the shards."},
    {.name = "splits",
     .type = AC_OPTION_STRINGS,
     .offset = offsetof(verify_config, splits),
     .fallback = "Train Val Test",
     .help = "Splits to read; those not named here are left out when they have no manifest."},
    AC_COMMON_OPTIONS(verify_config),
};
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Re-read shards and name what is damaged: shard, dataset, sample.",
    .usage = "verify --data_root SHARDS [--splits Train ...]",
    .options = option_table,
    .n_options = sizeof option_table / sizeof *option_table,
    .config_bytes = sizeof(verify_config),
};

static ac_status run_verify(ac_run *run, const void *config)
{
    const verify_config *c = config;
    preprocess_config whole = {.common = c->common, .output = c->data_root, .splits = c->splits, .verify = true};
    return preprocess_run_all(run, &whole);
}

const prepare_command prepare_verify = {"verify", &program, run_verify, true};
