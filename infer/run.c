/* anyclass-infer: options, checks before any work, one checkpoint after the other on all inputs. */
#include "anyclass/log.h"
#include "anyclass/stop.h"
#include "infer/infer.h"
#include "infer/steps.h"
#include <string.h>

#define O(field) .offset = offsetof(infer_config, field)
static const ac_option options[] = {
    {.group = "Checkpoints",
     .name = "log_dir",
     .type = AC_OPTION_STRING,
     O(log_dir),
     .unit = "FOLDER",
     .help = "The trainer's --log_save_dir."},
    {.name = "versions", .type = AC_OPTION_STRINGS, O(versions), .help = "Versions to run."},
    {.name = "checkpoints",
     .type = AC_OPTION_STRINGS,
     O(checkpoints),
     .fallback = "val_loss val_bce val_ap val_f1 val_f2",
     .help = "Which of each version: the best of a metric, or last. Those that are the same file are run once."},
    {.name = "checkpoint",
     .type = AC_OPTION_STRINGS,
     O(checkpoint),
     .unit = "FILE",
     .help = "Instead of --log_dir and --versions: these checkpoints."},
    {.name = "weights",
     .type = AC_OPTION_STRING,
     O(weights),
     .unit = "FILE",
     .help = "Instead of a checkpoint: .safetensors, PyTorch's .pth or Lightning's .ckpt (docs/weights.md)."},
    {.name = "model",
     .type = AC_OPTION_STRING,
     O(model),
     .unit = "NAME",
     .help = "--weights: the model whose weights these are, unless the file says it."},
    {.name = "inplace_abn",
     .type = AC_OPTION_CHOICE,
     O(inplace_abn),
     .fallback = "auto",
     .choices = AC_INPLACE_ABN_CHOICES,
     .help = "--weights: batch norm weights w stand for |w| + 1e-5; auto: in files of a TResNet that say so."},
    {.group = "Images",
     .name = "data_root",
     .type = AC_OPTION_STRING,
     O(data_root),
     .unit = "FOLDER",
     .help = "Shards made by anyclass-preprocess."},
    {.name = "split",
     .type = AC_OPTION_STRINGS,
     O(split),
     .fallback = "Val",
     .help = "Val, Test or Train, one or several."},
    {.name = "do_val_test",
     .type = AC_OPTION_FLAG,
     O(do_val_test),
     .fallback = "false",
     .help = "Both Val and Test, whatever --split says."},
    {.name = "images",
     .type = AC_OPTION_STRING,
     O(images),
     .unit = "FOLDER",
     .help = "Instead of shards: the .jpg, .jpeg and .png files in this folder and below."},
    {.name = "max_bad",
     .type = AC_OPTION_INT,
     O(max_bad),
     .fallback = "0",
     .min = 0,
     .max = 1e12,
     .help = "--images: pictures that may be rejected; with more, the run ends with 3."},
    {.name = "allow_warnings",
     .type = AC_OPTION_FLAG,
     O(allow_warnings),
     .fallback = "false",
     .help = "--images: accept pictures that the decoder warns about."},
    {.group = "Output",
     .name = "results_output",
     .type = AC_OPTION_STRING,
     O(results_output),
     .required = true,
     .unit = "FOLDER",
     .help = "Holds version_NAME/ with the score files; with --checkpoint the files themselves."},
    {.name = "overwrite",
     .type = AC_OPTION_FLAG,
     O(overwrite),
     .fallback = "false",
     .help = "Remove scores that are there from another checkpoint, other data or another precision."},
    {.group = "Machine",
     .name = "batch_size",
     .type = AC_OPTION_INT,
     O(batch_size),
     .fallback = "64",
     .min = 1,
     .max = 65536,
     .help =
         "Images of one step over all ranks; each takes at least two, and one per thread. Scores do not depend on it."},
    {.name = "precision",
     .type = AC_OPTION_CHOICE,
     O(precision),
     .fallback = "32",
     .choices = INFER_PRECISION_CHOICES,
     .help = "Of activations."},
    {.name = "device", .type = AC_OPTION_STRING, O(device), .fallback = "cpu", .unit = "NAME", .help = "cpu, cuda (in builds with CUDA), auto (cuda if there is a GPU, else cpu), or ref."},
    {.name = "n_threads",
     .type = AC_OPTION_INT,
     O(n_threads),
     .fallback = "0",
     .min = 0,
     .max = 1024,
     .help = "Compute threads per rank; 0: OMP_NUM_THREADS, else the rank's cores."},
    {.name = "n_workers",
     .type = AC_OPTION_INT,
     O(n_workers),
     .fallback = "0",
     .min = 0,
     .max = 256,
     .help = "Loader threads per rank, which decode pictures; 0: one for shards, two for pictures."},
    AC_COMMON_OPTIONS(infer_config),
};
static const ac_program program = {
    .name = "anyclass-infer",
    .summary = "Scores of every image, for every version and each of its best checkpoints.",
    .usage = "--log_dir LOGS --versions A B --data_root SHARDS --split Val --results_output FOLDER\n"
             "       anyclass-infer --checkpoint FILE --images FOLDER --results_output FOLDER\n"
             "       anyclass-infer --weights FILE --model NAME --data_root SHARDS --split Val --results_output FOLDER",
    .notes = "A run that was stopped goes on where it was, on any number of ranks: run it again.",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(infer_config),
};

const char *infer_precision_name(const infer_config *config)
{
    return config->precision ? "bf16-mixed" : "32";
}

ac_dtype infer_precision_dtype(const infer_config *config)
{
    return config->precision ? AC_BF16 : AC_F32;
}

/* A version's folder is LOG_DIR/version_NAME and nothing else. */
static ac_status check_versions(const ac_string_list *versions)
{
    for (size_t v = 0; v < versions->n_items; v++) {
        const char *name = versions->item[v];
        if (!name[0] || strlen(name) >= NAME_BYTES - sizeof "version_" || strpbrk(name, "/\n"))
            return ac_error(AC_ERR_USAGE, "--versions: '%s' is no name of a version", name);
        for (size_t k = 0; k < v; k++)
            if (strcmp(versions->item[k], name) == 0)
                return ac_error(AC_ERR_USAGE, "--versions names %s twice", name);
    }
    return AC_OK;
}

/* A file of weights is a source of its own. */
static ac_status check_weights_options(const infer_config *c, const ac_options *given)
{
    static const char *const others[] = {"log_dir", "versions", "checkpoints", "checkpoint"};
    static const char *const of_weights[] = {"model", "inplace_abn"};
    for (size_t i = 0; c->weights && i < sizeof others / sizeof *others; i++)
        if (ac_options_given(given, others[i]))
            return ac_error(AC_ERR_USAGE, "--weights and --%s exclude each other", others[i]);
    for (size_t i = 0; !c->weights && i < sizeof of_weights / sizeof *of_weights; i++)
        if (ac_options_given(given, of_weights[i]))
            return ac_error(AC_ERR_USAGE, "--%s is for --weights: a checkpoint says it itself", of_weights[i]);
    if (c->model && !ac_model_find(c->model))
        return ac_error(AC_ERR_USAGE, "--model: '%s' is none of %s", c->model, ac_model_names());
    return AC_OK;
}

static ac_status check_options(const infer_config *c, const ac_options *given)
{
    ac_status status = AC_OK;
    static const char *const of_versions[] = {"log_dir", "versions", "checkpoints"};
    static const char *const of_shards[] = {"split", "do_val_test"}, *const of_pictures[] = {"max_bad",
                                                                                             "allow_warnings"};
    for (size_t i = 0; c->checkpoint.n_items && i < sizeof of_versions / sizeof *of_versions; i++)
        if (ac_options_given(given, of_versions[i]))
            return ac_error(AC_ERR_USAGE, "--checkpoint and --%s exclude each other", of_versions[i]);
    AC_TRY(check_weights_options(c, given));
    if (!c->weights && !c->checkpoint.n_items && (!c->log_dir || !c->versions.n_items))
        return ac_error(AC_ERR_USAGE, "--%s is required, or --checkpoint, or --weights (--help lists all)",
                        c->log_dir ? "versions" : "log_dir");
    if (!c->data_root == !c->images)
        return ac_error(AC_ERR_USAGE, "give %s --data_root (shards) or --images (a folder of pictures)",
                        c->images ? "one of" : "");
    for (size_t i = 0; c->images && i < 2; i++)
        if (ac_options_given(given, of_shards[i]))
            ac_log(AC_LOG_WARN, "--%s has no effect with --images", of_shards[i]);
    for (size_t i = 0; c->data_root && i < 2; i++)
        if (ac_options_given(given, of_pictures[i]))
            ac_log(AC_LOG_WARN, "--%s has no effect with --data_root", of_pictures[i]);
    if (!c->results_output[0])
        return ac_error(AC_ERR_USAGE, "--results_output is empty");
    AC_TRY(check_versions(&c->versions));
out:
    return status;
}

/* What rank 0 looks at before the first byte is written. */
static ac_status check_everything(infer *in)
{
    ac_status status = AC_OK;
    for (size_t w = 0; w < in->jobs.n_weights; w++)
        for (size_t i = 0; i < in->n_inputs; i++)
            AC_TRY(infer_check_fit(in, &in->jobs.weights[w], &in->input[i]));
    AC_TRY(ac_path_check_writable(in->config->results_output));
    for (size_t t = 0; t < in->jobs.n_targets; t++)
        AC_TRY(ac_path_check_writable(in->jobs.target[t].folder));
    AC_TRY(infer_check_origins(in));
    if (!in->config->common.dry_run)
        AC_TRY(infer_lock_folders(in));
out:
    return status;
}

ac_status infer_check_stop(const infer *in)
{
    return ac_comm_check_stop(in->run->comm, "what was scored is kept, run the same command again to go on");
}

static ac_status run_set(infer *in, const infer_weights *weights, infer_input *input)
{
    ac_status status = AC_OK;
    infer_state state;
    const infer_config *c = in->config;
    memset(&state, 0, sizeof state);
    AC_TRY(infer_check_stop(in));
    ac_pictures_forget(&input->pictures);
    AC_TRY(infer_state_open(in, weights, input, !c->common.dry_run, &state));
    if (c->common.dry_run) {
        ac_log(AC_LOG_INFO, "%s: %lld of %lld images to score", state.set.stem, (long long)(input->n - state.n_done),
               (long long)input->n);
        goto out;
    }
    if (state.n_done < input->n) {
        AC_TRY(infer_session_load(in, weights));
        AC_TRY(infer_score(in, weights, input, &state));
        in->n_scored++;
    }
    AC_TRY(infer_finish(in, weights, input, &state));
out:
    infer_state_release(&state);
    return status;
}

/* --dry_run reads what a run would read. */
static ac_status check_weights(infer *in, const infer_weights *weights)
{
    ac_checkpoint_info info = {0};
    if (weights->is_foreign) /* only a network knows what must be in it */
        return infer_session_load(in, weights);
    ac_watchdog_at(in->run->watchdog, "checking a checkpoint", -1, in->run->rank > 0);
    ac_status status = in->run->rank == 0 ? ac_checkpoint_check(weights->path, &info) : AC_OK;
    ac_watchdog_at(in->run->watchdog, "checking a checkpoint", -1, true);
    ac_checkpoint_info_release(&info);
    return ac_comm_agree(in->run->comm, status);
}

static ac_status run_all(infer *in)
{
    ac_status status = AC_OK;
    MPI_Comm comm = in->run->comm;
    AC_TRY(ac_comm_agree(comm, check_options(in->config, in->run->options)));
    AC_TRY(infer_inputs_open(in));
    AC_TRY(infer_check_stop(in)); /* many shards take a while */
    AC_TRY(infer_session_open(in));
    AC_TRY(infer_jobs_find(in));
    ac_watchdog_at(in->run->watchdog, "looking at the output", -1, in->run->rank > 0);
    status = in->run->rank == 0 ? check_everything(in) : AC_OK;
    ac_watchdog_at(in->run->watchdog, "looking at the output", -1, true);
    AC_TRY(ac_comm_agree(comm, status));
    for (size_t w = 0; w < in->jobs.n_weights; w++) {
        if (in->config->common.dry_run)
            AC_TRY(check_weights(in, &in->jobs.weights[w]));
        for (size_t i = 0; i < in->n_inputs; i++)
            AC_TRY(run_set(in, &in->jobs.weights[w], &in->input[i]));
    }
    if (in->config->common.dry_run)
        ac_log(AC_LOG_INFO, "everything is in place; nothing was written");
    else if (in->n_scored == 0)
        ac_log(AC_LOG_INFO, "everything is complete already: nothing is left to do");
    if (in->n_over)
        status = ac_error(
            AC_ERR_DATA,
            "%zu pictures were rejected and have no scores, see %s: repair them and run again, or allow them with "
            "--max_bad %zu (all other pictures are scored)",
            in->n_rejected, in->rejected_path, in->n_rejected);
out:
    return status;
}

int ac_infer_run(MPI_Comm comm, int argc, char **argv)
{
    ac_run run;
    infer_config config;
    infer in = {.config = &config, .run = &run};
    ac_status status = ac_run_begin(&run, comm, &program, argc, argv, &config, NULL);
    if (status != AC_OK || !run.go)
        return ac_run_end(&run, &program, status);
    ac_stop_catch();
    status = run_all(&in);
    infer_unlock_folders(&in);
    infer_inputs_close(&in);
    infer_session_close(&in.session);
    infer_jobs_release(&in.jobs);
    return ac_run_end(&run, &program, status);
}
