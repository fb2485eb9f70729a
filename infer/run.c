/* anyclass-infer: scores of every image of a split, for every version and each of its best checkpoints; one CSV per
 * rank, complete or absent. */
#include "anyclass/alloc.h"
#include "anyclass/checkpoint.h"
#include "anyclass/csv.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "anyclass/model.h"
#include "anyclass/plan.h"
#include "anyclass/program.h"
#include "anyclass/store.h"
#include "infer/infer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct config {
    ac_common_config common;
    const char *log_dir, *data_root, *results_output, *device;
    ac_string_list versions, split;
    bool do_val_test;
    int64_t batch_size, n_threads;
} config;

#define O(field) .offset = offsetof(config, field)
static const ac_option options[] = {
    {.group = "Input", .name = "log_dir", .type = AC_OPTION_STRING, O(log_dir), .required = true, .unit = "FOLDER", .help = "The trainer's --log_save_dir."},
    {.name = "versions", .type = AC_OPTION_STRINGS, O(versions), .required = true, .help = "Versions to run."},
    {.name = "data_root", .type = AC_OPTION_STRING, O(data_root), .required = true, .unit = "FOLDER", .help = "Shards."},
    {.name = "split", .type = AC_OPTION_STRINGS, O(split), .fallback = "Val", .help = "Val, Test or Train, one or several."},
    {.name = "do_val_test", .type = AC_OPTION_FLAG, O(do_val_test), .fallback = "false", .help = "Both Val and Test, whatever --split says."},
    {.group = "Output", .name = "results_output", .type = AC_OPTION_STRING, O(results_output), .required = true, .unit = "FOLDER", .help = "Holds version_NAME/ with the score files."},
    {.group = "Machine", .name = "batch_size", .type = AC_OPTION_INT, O(batch_size), .fallback = "64", .min = 1, .max = 65536, .help = "Images of one step over all ranks."},
    {.name = "device", .type = AC_OPTION_STRING, O(device), .fallback = "cpu", .unit = "NAME", .help = "cpu or ref."},
    {.name = "n_threads", .type = AC_OPTION_INT, O(n_threads), .fallback = "0", .min = 0, .max = 1024, .help = "Compute threads per rank; 0: OMP_NUM_THREADS, else the rank's cores."},
    AC_COMMON_OPTIONS(config),
};
static const ac_program program = {
    .name = "anyclass-infer",
    .summary = "Scores of every image, for every version and each of its best checkpoints.",
    .usage = "--log_dir LOGS --versions A B --data_root SHARDS --split Val --results_output FOLDER",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(config),
};

typedef struct job { /* one checkpoint on one split */
    const config *config;
    const ac_run *run;
    ac_store *store;
    const char *version, *metric;
    char split[16], checkpoint[AC_PATH_BYTES], output[AC_PATH_BYTES];
    ac_checkpoint_info info;
    ac_device *device;
    ac_network network;
    ac_params *params;
    ac_plan *plan;
    ac_loader *loader;
    float *logits;
    int64_t slice_first, slice_n;
} job;

static ac_status check_fit(const job *j)
{
    const ac_checkpoint_info *info = &j->info;
    if (info->n_classes != j->store->n_classes || info->image_size_px != j->store->image_size_px)
        return ac_error(AC_ERR_DATA, "%s has %zu classes at %d pixels, the shards %zu at %d", j->checkpoint, info->n_classes, info->image_size_px,
                        j->store->n_classes, j->store->image_size_px);
    for (size_t c = 0; c < info->n_classes; c++)
        if (strcmp(info->class_name[c], j->store->manifest.class_name[c]) != 0)
            return ac_error(AC_ERR_DATA, "%s: class %zu is %s, in the shards %s", j->checkpoint, c, info->class_name[c], j->store->manifest.class_name[c]);
    return AC_OK;
}

static ac_status open_job(job *j)
{
    ac_status status = AC_OK;
    const config *c = j->config;
    char folder[AC_PATH_BYTES], name[512];
    AC_TRY(ac_checkpoint_read_info(j->checkpoint, &j->info));
    AC_TRY(check_fit(j));
    snprintf(name, sizeof name, "version_%s", j->version);
    AC_TRY(ac_path_join(folder, c->results_output, name));
    AC_TRY(ac_path_make_folders(folder));
    snprintf(name, sizeof name, "%s_%s_%s_sigmoid.rank%04d.csv", j->info.model, j->metric, j->split, j->run->rank);
    AC_TRY(ac_path_join(j->output, folder, name));
    ac_comm_slice(c->batch_size, j->run->rank, j->run->size, &j->slice_first, &j->slice_n);
    ac_network_options o = {.model = ac_model_find(j->info.model), .batch = j->slice_n, .image_size_px = j->info.image_size_px,
                            .n_classes = (int64_t)j->info.n_classes, .activation_dtype = AC_F32};
    if (!o.model)
        return ac_error(AC_ERR_DATA, "%s: this build has no model %s", j->checkpoint, j->info.model);
    memcpy(o.mean, j->info.mean, sizeof o.mean);
    memcpy(o.std, j->info.std, sizeof o.std);
    AC_TRY(ac_network_build(&o, &j->network));
    AC_TRY(ac_params_create(j->device, j->network.graph, false, &j->params));
    AC_TRY(ac_checkpoint_load(j->checkpoint, j->params, NULL));
    AC_TRY(ac_plan_create(j->network.graph, j->params, false, &j->plan));
    AC_TRY(ac_plan_bind(j->plan, NULL));
    AC_TRY(ac_malloc((size_t)j->slice_n * j->info.n_classes, sizeof *j->logits, &j->logits));
    AC_TRY(ac_loader_create(&(ac_loader_config){.store = j->store, .global_batch = c->batch_size, .slice_first = j->slice_first,
                                                .slice_n = j->slice_n, .n_sharing = j->run->n_local}, &j->loader));
out:
    return status;
}

static void close_job(job *j)
{
    ac_loader_destroy(j->loader);
    ac_plan_destroy(j->plan);
    ac_params_destroy(j->params);
    ac_network_release(&j->network);
    ac_checkpoint_info_release(&j->info);
    ac_free(j->logits);
}

static ac_status write_header(const job *j, ac_file *file)
{
    ac_status status = AC_OK;
    char field[2048];
    AC_TRY(ac_file_printf(file, "Filename"));
    for (size_t c = 0; c < j->info.n_classes; c++) {
        ac_csv_quote(j->info.class_name[c], field, sizeof field);
        AC_TRY(ac_file_printf(file, ",%s", field));
    }
    AC_TRY(ac_file_printf(file, "\n"));
out:
    return status;
}

static ac_status write_rows(const job *j, const ac_batch *batch, ac_file *file)
{
    ac_status status = AC_OK;
    char field[2048], number[AC_NUMBER_BYTES];
    size_t m = j->info.n_classes;
    for (int i = 0; i < batch->n; i++) {
        ac_csv_quote(ac_store_name(j->store, batch->sample[i]), field, sizeof field);
        AC_TRY(ac_file_printf(file, "%s", field));
        for (size_t c = 0; c < m; c++) {
            float score = 1.0f / (1.0f + expf(-j->logits[(size_t)i * m + c]));
            if (!isfinite(score))
                return ac_error(AC_ERR_NUMERIC, "%s: the score of %s is not a number", j->checkpoint, ac_store_name(j->store, batch->sample[i]));
            ac_format_float(score, number);
            AC_TRY(ac_file_printf(file, ",%s", number));
        }
        AC_TRY(ac_file_printf(file, "\n"));
    }
out:
    return status;
}

static ac_status run_job(job *j)
{
    ac_status status = AC_OK;
    ac_file file = {0};
    const ac_batch *batch;
    ac_progress progress;
    char label[128];
    size_t rows = (size_t)j->slice_n, m = j->info.n_classes;
    snprintf(label, sizeof label, "%.60s %s %s", j->version, j->metric, j->split);
    ac_progress_begin(&progress, label, "images", (uint64_t)j->store->n_samples);
    AC_TRY(ac_file_create(&file, j->output));
    AC_TRY(write_header(j, &file));
    AC_TRY(ac_loader_begin(j->loader, 0, 0));
    for (;;) {
        AC_TRY(ac_loader_next(j->loader, &batch, NULL));
        if (!batch)
            break;
        AC_TRY(ac_plan_write(j->plan, j->network.images, batch->image, rows * j->store->image_bytes));
        AC_TRY(ac_plan_write(j->plan, j->network.keys, batch->key, rows * sizeof *batch->key));
        AC_TRY(ac_plan_forward(j->plan));
        AC_TRY(ac_plan_read(j->plan, j->network.logits, j->logits, rows * m * sizeof *j->logits));
        AC_TRY(write_rows(j, batch, &file));
        int64_t done = (batch->step + 1) * j->config->batch_size;
        ac_progress_update(&progress, (uint64_t)(done < j->store->n_samples ? done : j->store->n_samples), NULL);
    }
    AC_TRY(ac_file_commit(&file));
    ac_progress_end(&progress);
out:
    ac_file_discard(&file);
    return status;
}

static ac_status run_version(const config *c, ac_run *run, ac_device *device, ac_store *store, const char *split, const char *version)
{
    ac_status status = AC_OK;
    char folder[AC_PATH_BYTES], name[512];
    snprintf(name, sizeof name, "version_%s", version);
    AC_TRY(ac_path_join(folder, c->log_dir, name));
    for (int metric = 0; metric < AC_N_TRACKED; metric++) {
        job j = {.config = c, .run = run, .store = store, .version = version, .metric = ac_tracked_name[metric], .device = device};
        snprintf(j.split, sizeof j.split, "%s", split);
        status = ac_checkpoint_find(folder, j.metric, j.checkpoint, sizeof j.checkpoint);
        if (status == AC_OK && !c->common.dry_run)
            status = open_job(&j);
        status = ac_comm_agree(run->comm, status);
        if (status == AC_OK && !c->common.dry_run)
            status = ac_comm_agree(run->comm, run_job(&j));
        close_job(&j);
        AC_TRY(status);
    }
out:
    return status;
}

static ac_status run_split(const config *c, ac_run *run, ac_device *device, const char *split)
{
    static const char *const known[][2] = {{"Train", "train"}, {"Val", "val"}, {"Test", "test"}};
    ac_status status = AC_OK;
    ac_store store = {0};
    const char *file_name = NULL, *title = NULL;
    for (int i = 0; i < 3; i++)
        if (strcmp(split, known[i][0]) == 0 || strcmp(split, known[i][1]) == 0) {
            title = known[i][0];
            file_name = known[i][1];
        }
    if (!title)
        return ac_error(AC_ERR_USAGE, "--split: '%s' is none of Val, Test, Train", split);
    AC_TRY(ac_comm_agree(run->comm, ac_store_open(c->data_root, file_name, &store)));
    for (size_t v = 0; v < c->versions.n_items; v++)
        AC_TRY(run_version(c, run, device, &store, title, c->versions.item[v]));
out:
    ac_store_close(&store);
    return status;
}

int ac_infer_run(MPI_Comm comm, int argc, char **argv)
{
    static const char *both[] = {"Val", "Test"};
    ac_run run;
    config c;
    ac_device *device = NULL;
    ac_status status = ac_run_begin(&run, comm, &program, argc, argv, &c, NULL);
    if (status != AC_OK || !run.go)
        return ac_run_end(&run, &program, status);
    if (c.do_val_test)
        c.split = (ac_string_list){both, 2};
    const ac_backend *backend = ac_backend_find(c.device);
    if (!backend)
        AC_TRY(ac_error(AC_ERR_USAGE, "--device: this build has %s, not '%s'", ac_backend_names(), c.device));
    if (c.batch_size < run.size)
        AC_TRY(ac_error(AC_ERR_USAGE, "--batch_size %lld is smaller than the number of ranks, %d", (long long)c.batch_size, run.size));
    AC_TRY(ac_comm_agree(run.comm, ac_path_check_writable(c.results_output)));
    AC_TRY(ac_comm_agree(run.comm, backend->open((int)c.n_threads, &device)));
    for (size_t s = 0; s < c.split.n_items; s++)
        AC_TRY(run_split(&c, &run, device, c.split.item[s]));
out:
    if (device)
        device->backend->close(device);
    return ac_run_end(&run, &program, status);
}
