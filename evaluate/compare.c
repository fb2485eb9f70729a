/* `anyclass-evaluate compare A B`: options and the order of the steps. */
#include "evaluate/compare.h"
#include "anyclass/comm.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "evaluate/grid.h"
#include "evaluate/options.h"
#include <string.h>

#define FIELD(name) offsetof(compare_config, name)
#define SHARED(name) offsetof(compare_config, evaluate.name)

static const ac_option options[] = {
    {.group = "Scores",
     .name = "results_output",
     .type = AC_OPTION_STRING,
     .offset = SHARED(results_output),
     .unit = "DIR",
     .help = "Folder that anyclass-infer wrote, when A or B is a version in it."},
    {.name = "checkpoint",
     .type = AC_OPTION_STRING,
     .offset = SHARED(checkpoint),
     .fallback = "val_f1",
     .unit = "NAME",
     .help = "Checkpoint that is taken of a version."},
    EVALUATE_LABEL_OPTIONS(SHARED),
    EVALUATE_THRESHOLD_OPTION(SHARED, "Comparison"),
    {.name = "n_bootstrap",
     .type = AC_OPTION_INT,
     .offset = FIELD(n_bootstrap),
     .fallback = "1000",
     .min = 2,
     .max = 1e6,
     .unit = "N",
     .help = "Replicates, in each of which every image counts as often as a Poisson draw says."},
    {.name = "confidence",
     .type = AC_OPTION_DOUBLE,
     .offset = FIELD(confidence),
     .fallback = "0.95",
     .min = 0.01,
     .max = 0.9999,
     .help = "Share of the replicates that an interval covers."},
    {.name = "seed",
     .type = AC_OPTION_INT,
     .offset = FIELD(seed),
     .fallback = "1",
     .min = 0,
     .max = 1e15,
     .help = "The replicates are a function of the images' names and this number."},
    {.group = "Output",
     .name = "output",
     .type = AC_OPTION_STRING,
     .offset = SHARED(output),
     .unit = "FILE",
     .help = "Everything in full precision, as JSON."},
    {.name = "table",
     .type = AC_OPTION_STRINGS,
     .offset = SHARED(table),
     .unit = "FILE",
     .help = "Also write the table, by the file's ending: .txt, .csv, .md, .tex."},
    AC_COMMON_OPTIONS(evaluate_config), /* it is the first member */
};
#undef FIELD
#undef SHARED

static const ac_program program = {
    .name = "anyclass-evaluate",
    .summary = "Put two score sets side by side, with bootstrap confidence intervals over images.",
    .usage = "compare A B [--results_output DIR] --data_root DIR [--split Val]",
    .notes =
        "A and B are score files (one rank's stands for all ranks') or versions in --results_output.\n"
        "Prints the table on stdout: B - A with its interval (low, high), and the share of replicates in which B > A.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(compare_config),
};

static ac_status check_config(const evaluate_config *config, const ac_string_list *words)
{
    if (words->n_items != COMPARE_N_SETS)
        return ac_error(AC_ERR_USAGE, "compare takes two score sets, A and B, not %zu", words->n_items);
    ac_status status = evaluate_check_label_source(config);
    return status == AC_OK ? grid_check_files("table", &config->table) : status;
}

static ac_status check_outputs(const evaluate_config *config, const score_sets *const *found)
{
    evaluate_config own = *config;
    own.only_read = true;
    return evaluate_check_outputs(&own, found, COMPARE_N_SETS);
}

static ac_status report_comparison(const compare_config *config, const compare_sets *sets, const label_table *labels,
                                   const compare_replicates *replicates)
{
    ac_status status = AC_OK;
    compare_result result = {0};
    AC_TRY(compare_summarise(config, labels, replicates, &result));
    const compare_report report = {.config = config, .sets = sets, .labels = labels, .result = &result};
    AC_TRY(compare_write(&report));
out:
    compare_release_result(&result);
    return status;
}

static ac_status compare(const ac_run *run, const compare_config *config, const ac_string_list *words)
{
    ac_status status = AC_OK;
    compare_sets sets = {0};
    label_table labels = {0};
    compare_replicates replicates = {0};
    AC_TRY(check_config(&config->evaluate, words));
    for (int s = 0; s < COMPARE_N_SETS; s++)
        AC_TRY(compare_find_set(run->comm, config, words->item[s], &sets.found[s], &sets.set[s]));
    const score_sets *found[COMPARE_N_SETS] = {&sets.found[COMPARE_A], &sets.found[COMPARE_B]};
    AC_TRY(ac_comm_agree(run->comm, run->rank == 0 ? check_outputs(&config->evaluate, found) : AC_OK));
    AC_TRY(evaluate_read_labels(run->comm, &config->evaluate, (ac_split)config->evaluate.split, &labels));
    ac_log(AC_LOG_INFO, "A: %s, %zu files; B: %s, %zu files; %zu images, %zu classes", sets.set[COMPARE_A]->stem,
           (size_t)sets.set[COMPARE_A]->n_files, sets.set[COMPARE_B]->stem, (size_t)sets.set[COMPARE_B]->n_files,
           labels.n_images, labels.n_classes);
    AC_TRY(compare_measure(run->comm, config, &sets, &labels, &replicates));
    if (config->evaluate.common.dry_run) {
        ac_log(AC_LOG_INFO, "dry run: both score sets are complete, nothing was written");
        goto out;
    }
    AC_TRY(ac_comm_agree(run->comm, run->rank == 0 ? report_comparison(config, &sets, &labels, &replicates) : AC_OK));
out:
    compare_release_replicates(&replicates);
    evaluate_release_labels(&labels);
    for (int s = 0; s < COMPARE_N_SETS; s++)
        evaluate_release_sets(&sets.found[s]);
    return status;
}

int evaluate_compare_run(MPI_Comm parent, int argc, char **argv)
{
    ac_status status = AC_OK;
    ac_run run;
    compare_config config;
    ac_string_list words = {0};
    AC_TRY(ac_run_begin(&run, parent, &program, argc, argv, &config, &words));
    if (run.go)
        AC_TRY(compare(&run, &config, &words));
out:
    return ac_run_end(&run, &program, status);
}
