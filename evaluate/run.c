/* anyclass-evaluate: options, the order of the steps, and the exit code. */
#include "evaluate/evaluate.h"
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "evaluate/options.h"
#include "evaluate/steps.h"
#include "evaluate/sweep.h"
#include <string.h>
#include <sys/resource.h>

#define FIELD(name) offsetof(evaluate_config, name)

static const ac_option options[] = {
    {.group = "Scores",
     .name = "results_output",
     .type = AC_OPTION_STRING,
     .offset = FIELD(results_output),
     .unit = "DIR",
     .help = "Folder that anyclass-infer wrote: version_NAME/*_sigmoid*.csv."},
    {.name = "versions",
     .type = AC_OPTION_STRINGS,
     .offset = FIELD(versions),
     .unit = "NAME",
     .help = "Versions to evaluate, in the order of the table; without it all."},
    {.name = "scores",
     .type = AC_OPTION_STRINGS,
     .offset = FIELD(scores),
     .unit = "FILE",
     .help = "Score files instead of --results_output; X.rank0000.csv, X.rank0001.csv, ... count as one set."},
    {.name = "sweep",
     .type = AC_OPTION_STRING,
     .offset = FIELD(sweep),
     .unit = "FILE",
     .help = "Table of anyclass-train sweep: its elements are the versions, their values columns of the table; what is missing is "
             "listed, and the exit code then 3."},
    {.name = "best",
     .type = AC_OPTION_STRING,
     .offset = FIELD(best),
     .unit = "METRIC",
     .help = "--sweep: name the best version by this metric (val_f1, val_f2, val_ap or a column of the CSV table), and the command "
             "that trains it again."},
    EVALUATE_LABEL_OPTIONS(FIELD),
    EVALUATE_THRESHOLD_OPTION(FIELD, "Metrics"),
    {.name = "multi_threshold",
     .type = AC_OPTION_FLAG,
     .offset = FIELD(multi_threshold),
     .fallback = "false",
     .help = "Also the metrics at 0.05, 0.10 .. 0.95, and their plot beside each JSON."},
    {.name = "max_fbeta",
     .type = AC_OPTION_FLAG,
     .offset = FIELD(max_fbeta),
     .fallback = "false",
     .help = "Also with a threshold for each class, the one with the highest F-beta on Val."},
    {.name = "f_beta",
     .type = AC_OPTION_DOUBLE,
     .offset = FIELD(f_beta),
     .fallback = "1",
     .min = 0.01,
     .max = 100,
     .help = "Beta of --max_fbeta."},
    {.name = "tune_over",
     .type = AC_OPTION_CHOICE,
     .offset = FIELD(tune_over),
     .fallback = "grid",
     .choices = "grid|scores",
     .help = "Thresholds that --max_fbeta tries: 0.05, 0.10 .. 0.95, or all scores of Val."},
    {.name = "val_scores",
     .type = AC_OPTION_STRINGS,
     .offset = FIELD(val_scores),
     .unit = "FILE",
     .help = "Where --max_fbeta tunes, with --scores: the Val scores, of the same names or one set for each in the "
             "same order."},
    {.name = "val_labels",
     .type = AC_OPTION_STRING,
     .offset = FIELD(val_labels),
     .unit = "FILE",
     .help = "Labels of Val for --max_fbeta, with --labels."},
    {.name = "compat",
     .type = AC_OPTION_CHOICE,
     .offset = FIELD(compat),
     .fallback = "none",
     .choices = "none|reference",
     .help = "reference: the arithmetic of the paper's own code, for comparison with its numbers."},
    {.group = "Output",
     .name = "output",
     .type = AC_OPTION_STRING,
     .offset = FIELD(output),
     .unit = "DIR",
     .help = "Folder for the JSON files; without it each lies beside its scores."},
    {.name = "table",
     .type = AC_OPTION_STRINGS,
     .offset = FIELD(table),
     .unit = "FILE",
     .help = "Also write the table of all sets, by the file's ending: .txt, .csv, .md, .tex."},
    {.name = "report",
     .type = AC_OPTION_STRING,
     .offset = FIELD(report),
     .unit = "FILE",
     .help = "Report to look at, one HTML file."},
    {.name = "plots",
     .type = AC_OPTION_STRING,
     .offset = FIELD(plots),
     .unit = "DIR",
     .help = "The report's plots as SVG files."},
    {.name = "log_dir",
     .type = AC_OPTION_STRING,
     .offset = FIELD(log_dir),
     .unit = "DIR",
     .help = "The trainer's --log_save_dir: training curves for the report; with --sweep which elements are finished."},
    {.name = "checkpoint",
     .type = AC_OPTION_STRING,
     .offset = FIELD(checkpoint),
     .fallback = "val_f1",
     .unit = "NAME",
     .help = "Checkpoint of each version that the report shows in detail."},
    AC_COMMON_OPTIONS(evaluate_config),
};

static const ac_program program = {
    .name = "anyclass-evaluate",
    .summary = "Compute metrics of score files and compare versions and checkpoints.",
    .usage = "--results_output DIR --versions NAME... --data_root DIR [--split Val]\n"
             "       anyclass-evaluate --results_output DIR --sweep FILE --best val_f1 --log_dir DIR --data_root DIR",
    .notes = "anyclass-evaluate compare A B puts two score sets side by side with bootstrap intervals; compare --help "
             "says more.\n"
             "Writes {model}_{checkpoint}_{split}_metrics.json for every score set and a table on stdout.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(evaluate_config),
};

/* `tuned`: thresholds from Val, or empty when the set is of Val itself. */
static ac_status measure_tuned(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                               const score_table *scores, tuning *tuned, set_result *out)
{
    ac_status status = AC_OK;
    if (!tuned->threshold)
        AC_TRY(ac_comm_agree(comm, evaluate_tune(config, labels, out, tuned)));
    AC_TRY(evaluate_measure_tuned(comm, config, labels, scores, tuned, out));
out:
    return status;
}

static ac_status write_set(const evaluate_config *config, const score_set *set, const label_table *labels,
                           const set_result *result)
{
    ac_status status = AC_OK;
    AC_TRY(evaluate_write_json(config, set, labels, result));
    if (config->multi_threshold)
        AC_TRY(evaluate_write_threshold_plot(config, set, labels, result));
out:
    return status;
}

static double peak_rss_mb(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss * 1024e-6 : 0;
}

static ac_status evaluate_set(MPI_Comm comm, const evaluate_config *config, const score_sets *sets,
                              const score_set *set, const label_table *labels, tuning *tuned, set_result *out)
{
    ac_status status = AC_OK;
    int rank;
    score_table scores = {0};
    MPI_Comm_rank(comm, &rank);
    AC_TRY(evaluate_read_scores(comm, sets, set, labels, &scores));
    if (config->common.dry_run)
        goto out;
    double start_s = MPI_Wtime();
    AC_TRY(evaluate_measure(comm, config, labels, &scores, out));
    if (config->max_fbeta)
        AC_TRY(measure_tuned(comm, config, labels, &scores, tuned, out));
    double measured_s = MPI_Wtime();
    AC_TRY(ac_comm_agree(comm, rank == 0 ? write_set(config, set, labels, out) : AC_OK));
    ac_log(AC_LOG_DEBUG, "measured %s in %.3f s, wrote it in %.3f s; peak RSS %.0f MB", set->stem, measured_s - start_s,
           MPI_Wtime() - measured_s, peak_rss_mb());
    ac_log(AC_LOG_INFO, "wrote %s", set->output);
out:
    evaluate_release_scores(&scores);
    return status;
}

/* One line however many classes. */
static void warn_absent(const label_table *labels, const ac_metrics *metrics)
{
    char names[512] = "";
    size_t n_used = 0, n_named = 0;
    for (size_t c = 0; metrics->n_absent > 0 && c < labels->n_classes; c++) {
        const ac_class_count *count = &metrics->class_metrics[c].count;
        if (count->true_positive + count->false_negative > 0)
            continue;
        size_t room = sizeof names - n_used;
        int n = snprintf(names + n_used, room, "%s%s", n_named > 0 ? ", " : "", labels->class_name[c]);
        if (n < 0 || (size_t)n >= room) {
            names[n_used] = '\0';
            break;
        }
        n_used += (size_t)n;
        n_named++;
    }
    if (metrics->n_absent > n_named)
        ac_log(AC_LOG_WARN, "no image of %s shows %s and %zu more: their metrics are null and left out of means",
               labels->source, names, metrics->n_absent - n_named);
    else if (n_named > 0)
        ac_log(AC_LOG_WARN, "no image of %s shows %s: %s metrics are null and left out of means", labels->source, names,
               n_named == 1 ? "its" : "their");
}

/* `sweep`: NULL for none. */
static ac_status write_overview(const evaluate_config *config, const evaluate_sweep *sweep, const score_sets *sets,
                                const label_table *labels, const set_result *result)
{
    ac_status status = AC_OK;
    AC_TRY(evaluate_print_table(stdout, config, sweep, sets, result));
    AC_TRY(evaluate_write_tables(config, sweep, sets, result));
    if (config->report || config->plots)
        AC_TRY(evaluate_write_report(config, sets, labels, result));
out:
    return status;
}

typedef struct work { /* of all sets, [n_sets] each */
    set_result *result;
    tuning *tuned;
} work;

static ac_status allocate_work(size_t n_sets, work *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(n_sets, sizeof *out->result, &out->result));
    AC_TRY(ac_calloc(n_sets, sizeof *out->tuned, &out->tuned));
out:
    return status;
}

static void release_work(size_t n_sets, work *of)
{
    for (size_t i = 0; of->result && i < n_sets; i++)
        evaluate_release_result(&of->result[i]);
    for (size_t i = 0; of->tuned && i < n_sets; i++)
        evaluate_release_tuning(&of->tuned[i]);
    ac_free(of->result);
    ac_free(of->tuned);
}

static ac_status evaluate_sets(MPI_Comm comm, const evaluate_config *config, const evaluate_sweep *sweep,
                               const score_sets *sets, const label_table *labels)
{
    ac_status status = AC_OK;
    int rank;
    work of = {0};
    ac_progress progress;
    MPI_Comm_rank(comm, &rank);
    AC_TRY(ac_comm_agree(comm, allocate_work(sets->n_sets, &of)));
    if (config->max_fbeta && config->split != AC_SPLIT_VAL)
        AC_TRY(evaluate_tune_on_val(comm, config, sets, labels, of.tuned));
    ac_progress_begin(&progress, "evaluating", "score sets", sets->n_sets);
    for (size_t i = 0; i < sets->n_sets; i++) {
        AC_TRY(ac_comm_check_stop(comm, EVALUATE_STOPPED));
        AC_TRY(evaluate_set(comm, config, sets, &sets->set[i], labels, &of.tuned[i], &of.result[i]));
        ac_progress_update(&progress, i + 1, NULL);
    }
    ac_progress_end(&progress);
    if (config->common.dry_run) {
        ac_log(AC_LOG_INFO, "dry run: %zu score sets for %zu images are complete, nothing was written", sets->n_sets,
               labels->n_images);
        goto out;
    }
    warn_absent(labels, &of.result[0].metrics);
    AC_TRY(ac_comm_agree(comm, rank == 0 ? write_overview(config, sweep, sets, labels, of.result) : AC_OK));
out:
    release_work(sets->n_sets, &of);
    return status;
}

/* On the rank that writes: what would only be found at the end. */
static ac_status look_ahead(const evaluate_config *config, const score_sets *sets)
{
    ac_status status = evaluate_check_outputs(config, &sets, 1);
    return status == AC_OK ? evaluate_check_report(config, sets) : status;
}

/* On rank 0, which finds the sets: the versions of a sweep that can be evaluated. */
static ac_status take_versions(evaluate_config *config, evaluate_sweep *sweep)
{
    if (!config->sweep)
        return AC_OK;
    ac_status status = evaluate_open_sweep(config, sweep);
    config->versions = (ac_string_list){.item = sweep->version, .n_items = sweep->n_versions};
    return status;
}

static ac_status evaluate(MPI_Comm comm, const evaluate_config *given)
{
    ac_status status = AC_OK;
    int rank;
    evaluate_config own = *given;
    const evaluate_config *config = &own;
    score_sets sets = {0};
    label_table labels = {0};
    evaluate_sweep sweep = {0};
    MPI_Comm_rank(comm, &rank);
    AC_TRY(ac_comm_agree(comm, evaluate_check_config(config)));
    AC_TRY(ac_comm_agree(comm, rank == 0 ? take_versions(&own, &sweep) : AC_OK));
    AC_TRY(evaluate_find_sets(comm, config, &sets));
    AC_TRY(ac_comm_agree(comm, rank == 0 ? look_ahead(config, &sets) : AC_OK));
    AC_TRY(evaluate_read_labels(comm, config, (ac_split)config->split, &labels));
    ac_log(AC_LOG_INFO, "%zu score sets in %zu files; %zu images, %zu classes", sets.n_sets, sets.n_files,
           labels.n_images, labels.n_classes);
    AC_TRY(evaluate_sets(comm, config, config->sweep ? &sweep : NULL, &sets, &labels));
    AC_TRY(ac_comm_agree(comm, rank == 0 && config->sweep ? evaluate_check_sweep(config, &sweep) : AC_OK));
out:
    evaluate_release_labels(&labels);
    evaluate_release_sets(&sets);
    evaluate_release_sweep(&sweep);
    return status;
}

int ac_evaluate_run(MPI_Comm parent, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "compare") == 0)
        return evaluate_compare_run(parent, argc - 1, argv + 1);
    ac_status status = AC_OK;
    ac_run run;
    evaluate_config config;
    AC_TRY(ac_run_begin(&run, parent, &program, argc, argv, &config, NULL));
    if (run.go)
        AC_TRY(evaluate(run.comm, &config));
out:
    return ac_run_end(&run, &program, status);
}
