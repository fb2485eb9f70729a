/* Which checkpoints are run and where their scores go. Rank 0 looks, the others are told. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "infer/steps.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct candidate { /* a checkpoint under one of its names */
    char path[AC_PATH_BYTES];
    infer_target target;
} candidate;

typedef struct candidates {
    candidate *item;
    size_t n, capacity;
} candidates;

static ac_status add(candidates *list, const candidate *one)
{
    ac_status status = ac_reserve(&list->item, &list->capacity, list->n + 1, sizeof *list->item);
    if (status == AC_OK)
        list->item[list->n++] = *one;
    return status;
}

/* A metric that was never a number has no best checkpoint: no reason to give up those that are there, unless it was
 * asked for. */
static ac_status is_left_out(const char *folder, const char *metric, bool *left_out)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_json_value *table = NULL;
    *left_out = false;
    AC_TRY(ac_path_join(path, folder, "checkpoints.json"));
    if (ac_path_exists(folder) && !ac_path_exists(path))
        return ac_error(
            AC_ERR_IO,
            "%s: there is no such file, no epoch has been validated: --checkpoints last takes the last checkpoint",
            path);
    AC_TRY(ac_json_load(path, &table));
    *left_out = ac_json_get(table, metric) == NULL;
    if (*left_out)
        ac_log(AC_LOG_WARN, "%s has no best checkpoint of %s: left out", folder, metric);
out:
    ac_json_release(table);
    return status;
}

static ac_status add_version(const infer *in, const char *version, candidates *list)
{
    ac_status status = AC_OK;
    const infer_config *c = in->config;
    char name[NAME_BYTES + 16], folder[AC_PATH_BYTES];
    size_t n_before = list->n;
    bool named = ac_options_given(in->run->options, "checkpoints"), left_out = false;
    snprintf(name, sizeof name, "version_%s", version);
    AC_TRY(ac_path_join(folder, c->log_dir, name));
    for (size_t k = 0; k < c->checkpoints.n_items; k++) {
        candidate one = {0};
        if (!named)
            AC_TRY(is_left_out(folder, c->checkpoints.item[k], &left_out));
        if (left_out)
            continue;
        AC_TRY(ac_checkpoint_find(folder, c->checkpoints.item[k], one.path, sizeof one.path));
        AC_TRY(ac_path_join(one.target.folder, c->results_output, name));
        snprintf(one.target.version, sizeof one.target.version, "%s", version);
        snprintf(one.target.checkpoint, sizeof one.target.checkpoint, "%s", c->checkpoints.item[k]);
        AC_TRY(add(list, &one));
    }
    if (list->n == n_before)
        status = ac_error(AC_ERR_IO, "%s names no best checkpoint: --checkpoints last takes the last one", folder);
out:
    return status;
}

static ac_status check_checkpoint_names(const ac_string_list *names)
{
    for (size_t k = 0; k < names->n_items; k++) {
        bool known = strcmp(names->item[k], "last") == 0;
        for (int t = 0; t < AC_N_TRACKED; t++)
            known = known || strcmp(names->item[k], ac_tracked_name[t]) == 0;
        if (!known)
            return ac_error(AC_ERR_USAGE,
                            "--checkpoints: '%s' is none of val_loss, val_bce, val_ap, val_f1, val_f2, last",
                            names->item[k]);
        for (size_t j = 0; j < k; j++)
            if (strcmp(names->item[j], names->item[k]) == 0)
                return ac_error(AC_ERR_USAGE, "--checkpoints names %s twice", names->item[k]);
    }
    return AC_OK;
}

/* "epoch=03-val_f1=0.8512.h5" is the best of val_f1; anything else keeps its name, without what says the kind of file. */
static void name_of_file(const char *base, char out[NAME_BYTES])
{
    const char *dash = strchr(base, '-');
    for (int t = 0; strncmp(base, "epoch=", 6) == 0 && dash && t < AC_N_TRACKED; t++) {
        size_t n = strlen(ac_tracked_name[t]);
        if (strncmp(dash + 1, ac_tracked_name[t], n) == 0 && dash[1 + n] == '=') {
            snprintf(out, NAME_BYTES, "%s", ac_tracked_name[t]);
            return;
        }
    }
    snprintf(out, NAME_BYTES, "%s", base);
    static const char *const endings[] = {".h5", ".safetensors", ".pth", ".pt", ".ckpt"};
    for (size_t e = 0; e < sizeof endings / sizeof *endings; e++) {
        size_t n = strlen(out), n_end = strlen(endings[e]);
        if (n > n_end && strcmp(out + n - n_end, endings[e]) == 0) {
            out[n - n_end] = 0;
            return;
        }
    }
}

/* --checkpoint FILE or --weights FILE: its version is the folder it lies in. */
static ac_status add_file(const infer *in, const char *option, const char *path, candidates *list)
{
    ac_status status = AC_OK;
    candidate one = {0};
    char *full = realpath(path, NULL);
    if (!full)
        AC_TRY(ac_error_errno("--%s %s", option, path));
    char *base = strrchr(full, '/');
    *base++ = 0;
    const char *folder = strrchr(full, '/');
    folder = folder ? folder + 1 : "";
    if (strncmp(folder, "version_", 8) == 0)
        folder += 8;
    AC_TRY(ac_path_join(one.path, "", path));
    AC_TRY(ac_path_join(one.target.folder, in->config->results_output, ""));
    snprintf(one.target.version, sizeof one.target.version, "%s", folder);
    name_of_file(base, one.target.checkpoint);
    AC_TRY(add(list, &one));
out:
    free(full);
    return status;
}

static ac_status list_candidates(const infer *in, candidates *list)
{
    ac_status status = AC_OK;
    const infer_config *c = in->config;
    if (c->weights)
        return add_file(in, "weights", c->weights, list);
    for (size_t k = 0; k < c->checkpoint.n_items; k++)
        AC_TRY(add_file(in, "checkpoint", c->checkpoint.item[k], list));
    if (c->checkpoint.n_items == 0)
        AC_TRY(check_checkpoint_names(&c->checkpoints));
    for (size_t v = 0; c->checkpoint.n_items == 0 && v < c->versions.n_items; v++)
        AC_TRY(add_version(in, c->versions.item[v], list));
out:
    return status;
}

ac_status infer_add_names(infer_jobs *jobs, char *const *names, size_t n_names, size_t *at)
{
    ac_status status = AC_OK;
    *at = jobs->n_name_bytes;
    for (size_t c = 0; c < n_names; c++) {
        size_t n = strlen(names[c]) + 1;
        AC_TRY(ac_reserve(&jobs->names, &jobs->names_capacity, jobs->n_name_bytes + n, 1));
        memcpy(jobs->names + jobs->n_name_bytes, names[c], n);
        jobs->n_name_bytes += n;
    }
out:
    return status;
}

static ac_status describe(const infer *in, const char *path, infer_jobs *jobs, infer_weights *out)
{
    ac_status status = AC_OK;
    ac_checkpoint_info info = {0};
    AC_TRY(ac_checkpoint_read_hash(path, &out->hash));
    AC_TRY(ac_checkpoint_read_info(path, &info));
    snprintf(out->path, sizeof out->path, "%s", path);
    snprintf(out->model, sizeof out->model, "%s", info.model);
    out->image_size_px = info.image_size_px;
    memcpy(out->mean, info.mean, sizeof out->mean);
    memcpy(out->std, info.std, sizeof out->std);
    out->n_classes = info.n_classes;
    if (!ac_model_find(info.model))
        AC_TRY(ac_error(AC_ERR_DATA, "%s: this build has no model %s, it has %s", path, info.model, ac_model_names()));
    if (strcmp(info.precision, infer_precision_name(in->config)) != 0)
        ac_log(AC_LOG_INFO, "%s was trained with --precision %s, scores are computed with %s", path, info.precision,
               infer_precision_name(in->config));
    AC_TRY(infer_add_names(jobs, info.class_name, info.n_classes, &out->classes_at));
out:
    ac_checkpoint_info_release(&info);
    return status;
}

static ac_status check_target(const infer_jobs *jobs, const char *model, const infer_target *t)
{
    for (size_t w = 0; w < jobs->n_weights; w++)
        for (size_t k = 0; k < jobs->weights[w].n_targets; k++) {
            const infer_target *other = &jobs->target[jobs->weights[w].first_target + k];
            if (strcmp(jobs->weights[w].model, model) == 0 && strcmp(other->folder, t->folder) == 0 &&
                strcmp(other->checkpoint, t->checkpoint) == 0)
                return ac_error(AC_ERR_USAGE,
                                "two checkpoints would write %s/%s_%s_*: give each a --results_output of its own",
                                t->folder, model, t->checkpoint);
        }
    return AC_OK;
}

/* Candidate i, and with it those behind it that are the same file. */
static ac_status add_weights(const infer *in, infer_jobs *jobs, const candidates *list, const ac_hash *hash, size_t i)
{
    ac_status status = AC_OK;
    infer_weights w = {.first_target = jobs->n_targets};
    AC_TRY(in->config->weights ? infer_foreign_describe(in, list->item[i].path, jobs, &w) : describe(in, list->item[i].path, jobs, &w));
    AC_TRY(ac_reserve(&jobs->weights, &jobs->weights_capacity, jobs->n_weights + 1, sizeof *jobs->weights));
    for (size_t k = i; k < list->n; k++) {
        if (!ac_hash_equal(hash[k], hash[i]))
            continue;
        AC_TRY(check_target(jobs, w.model, &list->item[k].target));
        for (size_t t = w.first_target; t < jobs->n_targets; t++) /* the same file given twice */
            if (strcmp(jobs->target[t].folder, list->item[k].target.folder) == 0 &&
                strcmp(jobs->target[t].checkpoint, list->item[k].target.checkpoint) == 0)
                return ac_error(AC_ERR_USAGE, "--checkpoint names %s twice", list->item[k].path);
        AC_TRY(ac_reserve(&jobs->target, &jobs->target_capacity, jobs->n_targets + 1, sizeof *jobs->target));
        jobs->target[jobs->n_targets++] = list->item[k].target;
        w.n_targets++;
    }
    jobs->weights[jobs->n_weights++] = w;
    if (w.n_targets > 1)
        ac_log(AC_LOG_INFO, "%s is %zu checkpoints in one: it is run once", w.path, w.n_targets);
out:
    return status;
}

static ac_status find(const infer *in, infer_jobs *jobs)
{
    ac_status status = AC_OK;
    candidates list = {0};
    ac_hash *hash = NULL;
    AC_TRY(list_candidates(in, &list));
    AC_TRY(ac_calloc(list.n + 1, sizeof *hash, &hash));
    for (size_t i = 0; i < list.n; i++)
        AC_TRY(in->config->weights ? infer_foreign_hash(in, list.item[i].path, &hash[i])
                                   : ac_checkpoint_read_hash(list.item[i].path, &hash[i]));
    for (size_t i = 0; i < list.n; i++) {
        size_t first = 0;
        while (!ac_hash_equal(hash[first], hash[i]))
            first++;
        if (first == i)
            AC_TRY(add_weights(in, jobs, &list, hash, i));
    }
out:
    ac_free(list.item);
    ac_free(hash);
    return status;
}

/* A block of rank 0's, of any length, on all ranks. */
static ac_status share(MPI_Comm comm, int rank, void *block, size_t n_bytes)
{
    ac_status status = AC_OK;
    void **at = block;
    if (rank > 0)
        status = ac_malloc(n_bytes, 1, at);
    AC_TRY(ac_comm_agree(comm, status));
    AC_TRY(ac_comm_broadcast(comm, *at, n_bytes));
out:
    return status;
}

ac_status infer_jobs_find(infer *in)
{
    ac_status status = AC_OK;
    infer_jobs *jobs = &in->jobs;
    MPI_Comm comm = in->run->comm;
    int rank = in->run->rank;
    ac_watchdog_at(in->run->watchdog, "looking for checkpoints", -1, rank > 0);
    status = rank == 0 ? find(in, jobs) : AC_OK;
    ac_watchdog_at(in->run->watchdog, "looking for checkpoints", -1, true);
    AC_TRY(ac_comm_agree(comm, status));
    size_t n[] = {jobs->n_weights, jobs->n_targets, jobs->n_name_bytes};
    AC_TRY(ac_comm_broadcast(comm, n, sizeof n));
    jobs->n_weights = n[0];
    jobs->n_targets = n[1];
    jobs->n_name_bytes = n[2];
    AC_TRY(share(comm, rank, &jobs->weights, n[0] * sizeof *jobs->weights));
    AC_TRY(share(comm, rank, &jobs->target, n[1] * sizeof *jobs->target));
    AC_TRY(share(comm, rank, &jobs->names, n[2]));
out:
    return status;
}

void infer_jobs_release(infer_jobs *jobs)
{
    ac_free(jobs->weights);
    ac_free(jobs->target);
    ac_free(jobs->names);
    memset(jobs, 0, sizeof *jobs);
}

const char *infer_class_name(const infer_jobs *jobs, const infer_weights *weights, size_t c)
{
    const char *name = jobs->names + weights->classes_at;
    for (size_t k = 0; k < c; k++)
        name += strlen(name) + 1;
    return name;
}
