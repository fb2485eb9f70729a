/* stage: shards and manifests to a disk of each machine. Options, and the order of things: lock, look at what is there, copy what is not, manifests last. */
#include "preprocess/stage.h"
#include "anyclass/alloc.h"
#include "anyclass/machine.h"
#include "anyclass/stop.h"
#include "preprocess/prepare.h"
#include "preprocess/steps.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define O(field) .offset = offsetof(stage_config, field)
static const ac_option option_table[] = {
    {.group = "Files",
     .name = "data_root",
     .type = AC_OPTION_STRING,
     O(data_root),
     .unit = "FOLDER",
     .help = "Folder of the shards."},
    {.name = "to",
     .type = AC_OPTION_STRING,
     O(to),
     .required = true,
     .unit = "FOLDER",
     .help = "Folder on a disk of each machine; it serves as --data_root afterwards."},
    {.name = "splits",
     .type = AC_OPTION_STRINGS,
     O(splits),
     .fallback = "Train Val Test",
     .help = "Splits to copy, or to remove; those not named here are left out when they have no manifest."},
    {.name = "verify",
     .type = AC_OPTION_FLAG,
     O(verify),
     .fallback = "false",
     .help = "Read the copies that are there, instead of believing their stamps; damaged ones are made anew."},
    {.name = "remove",
     .type = AC_OPTION_FLAG,
     O(remove),
     .fallback = "false",
     .help = "Remove the copies of these splits, and with the last one the folder."},
    AC_COMMON_OPTIONS(stage_config),
};
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Copy shards to a disk of each machine, every byte checked while it is copied.",
    .usage = "stage --data_root SHARDS --to FOLDER [--splits Train Val]\n"
             "       anyclass-preprocess stage --remove --to FOLDER",
    .notes = "Start it with the ranks of the training that follows: those of one machine share its copy, and so do other jobs there.\n"
             "What is there and whole is kept; what another version of the data left is replaced.",
    .options = option_table,
    .n_options = sizeof option_table / sizeof *option_table,
    .config_bytes = sizeof(stage_config),
};

ac_status stage_beat(stage_job *job)
{
    const int64_t *told = job->beat.told;
    ac_status status = beat_once(&job->beat);
    if (job->run->rank == 0 && told[BEAT_ALL_BYTES] > 0) {
        job->progress.total = (uint64_t)told[BEAT_ALL_BYTES] / 1000000;
        ac_progress_update(&job->progress, (uint64_t)told[BEAT_DONE_BYTES] / 1000000, NULL);
    }
    return status;
}

/* AC_OK on all ranks of a machine when all of them succeeded; those without a reason of their own get AC_ERR_SYNC. Collective over the machine. */
static ac_status machine_agree(stage_job *job, ac_status mine)
{
    ac_status status = AC_OK;
    MPI_Request request;
    int any = mine != AC_OK;
    char text[AC_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", ac_error_text());
    AC_TRY(ac_comm_check(MPI_Iallreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_MAX, job->machine, &request), "MPI_Iallreduce"));
    AC_TRY(beat_wait(&job->beat, &request));
    if (mine != AC_OK)
        status = ac_error(mine, "%s", text);
    else if (any)
        status = ac_error(AC_ERR_SYNC, "another rank of this machine failed");
out:
    return status;
}

/* This rank is done, and failed or not; returns when all are. Collective. */
static ac_status leave(stage_job *job, ac_status mine)
{
    ac_status status = AC_OK;
    char text[AC_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", ac_error_text());
    AC_TRY(beat_end(&job->beat, mine != AC_OK && mine != AC_ERR_DATA && mine != AC_ERR_SIGNAL));
    int signal = ac_stop_signal();
    if (job->beat.told[BEAT_SIGNALLED]) /* the same on all ranks */
        AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &signal, 1, MPI_INT, MPI_MAX, job->run->comm), "MPI_Allreduce"));
    if (mine == AC_ERR_SIGNAL)
        status = ac_error(mine, "stopped by signal %d: finished copies are kept, run it again to go on", signal);
    else if (mine != AC_OK)
        status = ac_error(mine, "%s", text);
out:
    return status;
}

static ac_status open_manifests(stage_job *job)
{
    ac_status status = AC_OK;
    const stage_config *c = job->config;
    preprocess_config whole = {.output = c->data_root, .splits = c->splits, .verify = true};
    AC_TRY(preprocess_choose_splits(&whole, ac_options_given(job->run->options, "splits"), job->split, &job->n_splits));
    for (size_t s = 0; s < job->n_splits; s++) {
        AC_TRY(ac_manifest_load(c->data_root, ac_split_name(job->split[s]), &job->manifest[s]));
        job->n_files += job->manifest[s].n_shards;
    }
    AC_TRY(ac_calloc(job->n_files + 1, sizeof *job->file, &job->file));
    AC_TRY(ac_calloc(job->n_files + 1, sizeof *job->state, &job->state));
    AC_TRY(ac_calloc(job->n_files + 1, sizeof *job->n_bytes, &job->n_bytes));
    for (size_t s = 0, k = 0; s < job->n_splits; s++)
        for (size_t i = 0; i < job->manifest[s].n_shards; i++)
            job->file[k++] = (stage_file){job->manifest[s].shard[i].file, job->manifest[s].shard[i].hash, s};
out:
    return status;
}

static ac_status check_usage(const stage_config *c)
{
    if (!c->to[0])
        return ac_error(AC_ERR_USAGE, "--to is empty");
    if (!c->remove && !c->data_root)
        return ac_error(AC_ERR_USAGE, "--data_root is required (--help lists all)");
    if (c->remove && c->verify)
        return ac_error(AC_ERR_USAGE, "--remove and --verify exclude each other");
    return AC_OK;
}

static ac_status named_splits(stage_job *job)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < job->config->splits.n_items && i < AC_N_SPLITS; i++)
        AC_TRY(preprocess_split_of(job->config->splits.item[i], &job->split[job->n_splits++]));
out:
    return status;
}

/* What all ranks of the machine found, by maximum. */
static ac_status share_files(stage_job *job)
{
    ac_status status = AC_OK;
    MPI_Request request;
    int n;
    AC_TRY(ac_comm_count(job->n_files, &n));
    AC_TRY(ac_comm_check(MPI_Iallreduce(MPI_IN_PLACE, job->state, n, MPI_UINT8_T, MPI_MAX, job->machine, &request), "MPI_Iallreduce"));
    AC_TRY(beat_wait(&job->beat, &request));
    AC_TRY(ac_comm_check(MPI_Iallreduce(MPI_IN_PLACE, job->n_bytes, n, MPI_UINT64_T, MPI_MAX, job->machine, &request), "MPI_Iallreduce"));
    AC_TRY(beat_wait(&job->beat, &request));
out:
    return status;
}

/* Files are dealt to the first ranks of a machine in turn. */
static bool is_mine(const stage_job *job, size_t k)
{
    size_t n = job->size < STAGE_MAX_STREAMS ? (size_t)job->size : STAGE_MAX_STREAMS;
    return k % n == (size_t)job->rank;
}

static ac_status look_at_all(stage_job *job)
{
    ac_status status = AC_OK;
    for (size_t k = 0; k < job->n_files && status == AC_OK; k++)
        if (is_mine(job, k))
            status = stage_look(job, k, &job->state[k], &job->n_bytes[k]);
    AC_TRY(machine_agree(job, status));
    AC_TRY(share_files(job));
out:
    return status;
}

/* A damaged shard of the source keeps no other from being copied: all of them are named. The last one is told by the status. */
static ac_status copy_mine(stage_job *job)
{
    ac_status status = AC_OK, worst = AC_OK;
    char text[AC_ERROR_TEXT_BYTES] = "";
    for (size_t k = 0; k < job->n_files; k++) {
        if (job->state[k] != STAGE_COPY || !is_mine(job, k))
            continue;
        status = stage_copy(job, k);
        if (status == AC_OK)
            continue;
        job->state[k] = STAGE_FAILED;
        if (status != AC_ERR_DATA)
            return status;
        if (worst != AC_OK)
            ac_log_here(AC_LOG_WARN, "%s", text);
        worst = status;
        snprintf(text, sizeof text, "%s", ac_error_text());
    }
    return worst == AC_OK ? AC_OK : ac_error(worst, "%s: make it anew with anyclass-preprocess and the options of the others; whole shards are copied", text);
}

static uint64_t count_bytes(const stage_job *job, size_t *n)
{
    uint64_t sum = 0;
    *n = 0;
    for (size_t k = 0; k < job->n_files; k++)
        if (job->state[k] != STAGE_KEEP) {
            ++*n;
            sum += job->n_bytes[k];
        }
    return sum;
}

/* On each machine, beside the others, while job->beat tells of them. The lock is held until the machine's manifests are written. */
static ac_status stage_machine(stage_job *job)
{
    ac_status status = AC_OK;
    bool first = job->rank == 0;
    size_t n_copies;
    if (!job->config->common.dry_run)
        AC_TRY(machine_agree(job, first ? stage_lock(job) : AC_OK));
    AC_TRY(look_at_all(job));
    AC_TRY(machine_agree(job, first ? stage_check_space(job) : AC_OK));
    if (job->config->common.dry_run)
        return AC_OK;
    uint64_t n_bytes = count_bytes(job, &n_copies);
    AC_TRY(machine_agree(job, first ? stage_clear(job) : AC_OK));
    job->beat.mine[BEAT_ALL_BYTES] = first ? (int64_t)n_bytes : 0;
    job->keep_cache = n_bytes < ac_machine_memory_bytes() / 2;
    status = copy_mine(job);
    ac_status whole = machine_agree(job, status == AC_ERR_DATA ? AC_OK : status);
    if (whole == AC_OK) {
        char text[AC_ERROR_TEXT_BYTES];
        snprintf(text, sizeof text, "%s", ac_error_text());
        whole = share_files(job);
        whole = machine_agree(job, whole == AC_OK && first ? stage_complete(job) : whole);
        if (status != AC_OK)
            return ac_error(status, "%s", text);
    }
    status = status == AC_OK ? whole : status;
out:
    return status;
}

static ac_status remove_machine(stage_job *job)
{
    ac_status status = AC_OK;
    size_t n = 0;
    if (job->rank > 0)
        return AC_OK;
    AC_TRY(stage_lock(job));
    if (job->lock < 0)
        return AC_OK;
    AC_TRY(stage_check_target(job));
    AC_TRY(stage_remove(job, &n));
    ac_log(AC_LOG_INFO, "%s: %zu files removed", job->config->to, n);
out:
    return status;
}

/* What was done, on all machines together. */
static ac_status report(stage_job *job, double took_s)
{
    ac_status status = AC_OK;
    size_t n_copies;
    uint64_t bytes = count_bytes(job, &n_copies);
    uint64_t sum[4] = {job->rank == 0, job->rank == 0 ? n_copies : 0, job->rank == 0 ? bytes : 0, job->n_mended};
    const char *be = job->config->common.dry_run ? "would be " : "";
    size_t n;
    char rate[32] = "";
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, sum, 4, MPI_UINT64_T, MPI_SUM, job->run->comm), "MPI_Allreduce"));
    n = job->n_files * (size_t)sum[0];
    if (sum[2] > 0 && !be[0])
        snprintf(rate, sizeof rate, " in %.1f s, %.0f MB/s", took_s, (double)sum[2] / 1e6 / took_s);
    ac_log(AC_LOG_INFO, "%s: %zu of %zu shards %scopied (%.1f MB%s), %zu %skept%s", job->config->to, (size_t)sum[1], n, be, (double)sum[2] / 1e6, rate,
           n - (size_t)sum[1], be, sum[0] > 1 ? "; on all machines together" : "");
    if (sum[3] > 0)
        ac_log(AC_LOG_WARN, "%s: %zu copies had rotten and were made anew", job->config->to, (size_t)sum[3]);
out:
    return status;
}

static ac_status open_job(stage_job *job)
{
    ac_status status = AC_OK;
    AC_TRY(check_usage(job->config));
    AC_TRY(job->config->remove ? named_splits(job) : open_manifests(job));
    AC_TRY(stage_check_target(job));
    if (!job->config->remove)
        AC_TRY(ac_path_check_writable(job->config->to));
out:
    return status;
}

static ac_status run_stage(ac_run *run, const void *config)
{
    ac_status status = AC_OK;
    stage_job job = {.config = config, .run = run, .machine = MPI_COMM_NULL, .lock = -1};
    double start_s = ac_now_s();
    ac_stop_catch();
    AC_TRY(ac_comm_check(MPI_Comm_split_type(run->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &job.machine), "MPI_Comm_split_type"));
    AC_TRY(ac_comm_check(MPI_Comm_rank(job.machine, &job.rank), "MPI_Comm_rank"));
    AC_TRY(ac_comm_check(MPI_Comm_size(job.machine, &job.size), "MPI_Comm_size"));
    AC_TRY(ac_comm_agree(run->comm, open_job(&job)));
    ac_progress_begin(&job.progress, "staging", "MB", 0);
    beat_begin(&job.beat, run->comm, run->watchdog, "staging");
    status = job.config->remove ? remove_machine(&job) : stage_machine(&job);
    stage_unlock(&job);
    status = leave(&job, status);
    AC_TRY(ac_comm_agree(run->comm, status));
    if (job.config->remove && job.rank == 0 && rmdir(job.config->to) != 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        ac_log_here(AC_LOG_WARN, "%s: is empty, but cannot be removed", job.config->to);
    if (!job.config->remove)
        AC_TRY(report(&job, ac_now_s() - start_s));
out:
    for (size_t s = 0; s < AC_N_SPLITS; s++)
        ac_manifest_release(&job.manifest[s]);
    ac_free(job.file);
    ac_free(job.state);
    ac_free(job.n_bytes);
    if (job.machine != MPI_COMM_NULL)
        MPI_Comm_free(&job.machine);
    return status;
}

const prepare_command prepare_stage = {"stage", &program, run_stage, true};
