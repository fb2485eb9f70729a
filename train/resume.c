/* Where a training begins: at its first step, or where a checkpoint left it. Rank 0 reads, the others get what it read. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/json.h"
#include "anyclass/log.h"
#include "train/train_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where parameters come from: --seed, --init or --checkpoint. */
typedef enum { DRAWN, GIVEN, CONTINUED } origin;

static bool same_json(const ac_json_value *a, const ac_json_value *b)
{
    const char *s, *r;
    double x, y;
    bool p, q;
    if (ac_json_count(a) || ac_json_count(b)) {
        bool same = ac_json_count(a) == ac_json_count(b);
        for (size_t i = 0; same && i < ac_json_count(a); i++)
            same = same_json(ac_json_at(a, i), ac_json_at(b, i));
        return same;
    }
    if (ac_json_read_string(a, "", &s) == AC_OK)
        return ac_json_read_string(b, "", &r) == AC_OK && strcmp(s, r) == 0;
    if (ac_json_read_bool(a, "", &p) == AC_OK)
        return ac_json_read_bool(b, "", &q) == AC_OK && p == q;
    if (ac_json_read_double(a, "", &x) == AC_OK)
        return ac_json_read_double(b, "", &y) == AC_OK && (x == y || (x != x && y != y));
    return true;
}

static bool decides_result(const char *group, const char *name)
{
    static const char *const others[] = {"data_root", "n_workers", "prefetch_mib", "max_epochs", "init", "new_head", "inplace_abn"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    return strcmp(group, "Output") != 0 && strcmp(group, "Machine") != 0 && strcmp(group, "General") != 0;
}

/* Names of the options that decide the result and differ between two dumps. */
static void list_differences(const ac_json_value *before, const ac_json_value *now, char *out, size_t capacity)
{
    const char *group = NULL;
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < train_program.n_options; i++) {
        const ac_option *o = &train_program.options[i];
        group = o->group ? o->group : group;
        if (!decides_result(group, o->name) || same_json(ac_json_get(before, o->name), ac_json_get(now, o->name)))
            continue;
        if (used + strlen(o->name) + 3 < capacity)
            used += (size_t)snprintf(out + used, capacity - used, "%s--%s", used ? ", " : "", o->name);
    }
}

/* An optimiser cannot continue with another's state; anything else that changed is the user's wish, and said. */
static ac_status compare_options(const char *path, const ac_checkpoint_info *info, const ac_checkpoint_info *now)
{
    ac_status status = AC_OK;
    ac_json_value *before = NULL, *after = NULL;
    char text[1024];
    AC_TRY(ac_json_parse(path, info->config, strlen(info->config), &before));
    AC_TRY(ac_json_parse("options", now->config, strlen(now->config), &after));
    if (!same_json(ac_json_get(before, "optimizer"), ac_json_get(after, "optimizer")))
        AC_TRY(ac_error(AC_ERR_USAGE, "%s was saved with another --optimizer: its state does not serve this one", path));
    list_differences(before, after, text, sizeof text);
    if (text[0])
        ac_log(AC_LOG_WARN, "continuing with other values than %s was saved with: %s", path, text);
out:
    ac_json_release(before);
    ac_json_release(after);
    return status;
}

/* Amid an epoch the remaining steps must hold the images that the steps before did not. */
static ac_status check_position(const char *path, const ac_checkpoint_info *info, const ac_checkpoint_info *now)
{
    bool same_data = info->n_samples == now->n_samples && strcmp(info->data_hash, now->data_hash) == 0;
    if (info->step == 0) {
        if (!same_data)
            ac_log(AC_LOG_WARN, "%s was trained on other shards than these", path);
        return AC_OK;
    }
    if (info->batch_size != now->batch_size)
        return ac_error(AC_ERR_USAGE, "%s was saved amid an epoch of --batch_size %lld, this run has %lld: continue with the same", path,
                        (long long)info->batch_size, (long long)now->batch_size);
    if (info->seed != now->seed)
        return ac_error(AC_ERR_USAGE, "%s was saved amid an epoch of --seed %lld, this run has %lld: continue with the same", path,
                        (long long)info->seed, (long long)now->seed);
    if (!same_data)
        return ac_error(AC_ERR_DATA, "%s was saved amid an epoch of other shards than these", path);
    return AC_OK;
}

static ac_status check_fit(const char *path, const ac_checkpoint_info *info, const ac_checkpoint_info *now)
{
    ac_status status = AC_OK;
    if (strcmp(info->model, now->model) != 0 || info->n_classes != now->n_classes || info->image_size_px != now->image_size_px)
        return ac_error(AC_ERR_DATA, "%s is a %s with %zu classes for %d pixels, not a %s with %zu for %d", path, info->model, info->n_classes,
                        info->image_size_px, now->model, now->n_classes, now->image_size_px);
    for (size_t c = 0; c < info->n_classes; c++)
        if (strcmp(info->class_name[c], now->class_name[c]) != 0)
            return ac_error(AC_ERR_DATA, "%s: class %zu is %s, in the shards %s", path, c, info->class_name[c], now->class_name[c]);
    if (!(info->loss_scale > 0 && info->loss_scale < (double)INFINITY))
        return ac_error(AC_ERR_DATA, "%s: its loss scale is %g", path, info->loss_scale);
    AC_TRY(check_position(path, info, now));
    AC_TRY(compare_options(path, info, now));
out:
    return status;
}

static bool is_inside(const char *path, const char *folder)
{
    char parent[AC_PATH_BYTES], *a = NULL, *b = NULL;
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
    a = realpath(slash ? parent : ".", NULL);
    b = realpath(folder, NULL);
    bool inside = a && b && strcmp(a, b) == 0;
    free(a);
    free(b);
    return inside;
}

static bool is_last(const char *path)
{
    const char *name = strrchr(path, '/');
    return strcmp(name ? name + 1 : path, "last.h5") == 0;
}

/* Rows of epochs are a training too, if its checkpoints were removed. */
static ac_status is_begun(const trainer *t, bool *begun)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    AC_TRY(ac_checkpoint_present(t->folder, begun));
    AC_TRY(ac_path_join(path, t->folder, "metrics.csv"));
    *begun = *begun || trainer_has_rows(path);
out:
    return status;
}

/* Which checkpoint to continue from; path "": none. A training that is there is never overwritten unasked. */
static ac_status choose(const trainer *t, char path[AC_PATH_BYTES], ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    const char *asked = t->config->checkpoint;
    bool begun;
    path[0] = '\0';
    if (asked && strcmp(asked, "auto") == 0) {
        AC_TRY(ac_checkpoint_choose(t->folder, path, info));
        if (!path[0])
            ac_log(AC_LOG_INFO, "no checkpoint in %s yet: starting at epoch 0", t->folder);
        return AC_OK;
    }
    AC_TRY(is_begun(t, &begun));
    bool inside = asked && is_inside(asked, t->folder);
    if (begun && !t->config->overwrite && !inside)
        return ac_error(AC_ERR_USAGE, "%s holds a training already: go on with --checkpoint auto, take another --version_name, or begin anew with --overwrite",
                        t->folder);
    if (asked) {
        AC_TRY(ac_path_join(path, "", asked));
        if (!inside && t->lock.path[0])
            AC_TRY(ac_checkpoint_stage(t->folder, asked, path));
        status = ac_checkpoint_check(path, info);
        if (status != AC_OK)
            return inside ? status : ac_error_in(status, "%s", asked);
        if (inside && !is_last(asked))
            ac_log(AC_LOG_WARN, "going back to %s: rows and best checkpoints of later epochs are removed", asked);
    }
out:
    return status;
}

static void take_over(ac_checkpoint_info *mine, const ac_checkpoint_info *saved)
{
    mine->epoch = saved->epoch;
    mine->step = saved->step;
    mine->optimizer_step = saved->optimizer_step;
    mine->loss_sum = saved->loss_sum;
    if (strcmp(mine->precision, saved->precision) == 0) { /* another precision begins with its own */
        mine->loss_scale = saved->loss_scale;
        mine->n_even = saved->n_even;
    }
    mine->n_skipped = saved->n_skipped;
    memcpy(mine->best, saved->best, sizeof mine->best);
}

/* Weights to begin with; read whole by --dry_run too. */
static ac_status begin_with(trainer *t)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    const ac_weights_options o = {.model = c->model, .graph = t->size[0].network.graph, .new_head = c->new_head, .inplace_abn = (ac_inplace_abn)c->inplace_abn};
    AC_TRY(ac_params_init(t->params, (uint64_t)c->seed)); /* a new head keeps what is drawn */
    status = ac_weights_load(c->init, &o, t->params);
    if (status != AC_OK)
        status = ac_error_in(status, "--init");
out:
    return status;
}

static ac_status read_origin(trainer *t, bool writes, origin *from)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_checkpoint_info info = {0};
    AC_TRY(choose(t, path, &info));
    if (path[0]) {
        *from = CONTINUED;
        AC_TRY(check_fit(path, &info, &t->info));
        AC_TRY(ac_checkpoint_load(path, t->params, t->optimizer));
        ac_log(AC_LOG_INFO, "continuing in epoch %lld at step %lld of %lld, from %s", (long long)info.epoch, (long long)info.step, (long long)t->n_steps, path);
        if (writes)
            AC_TRY(ac_checkpoint_adopt(t->folder, path, &info));
        take_over(&t->info, &info);
        if (t->config->init)
            ac_log(AC_LOG_INFO, "--init %s was for the beginning of this training: its weights are not read again", t->config->init);
    } else if (t->config->init) {
        *from = GIVEN;
        AC_TRY(begin_with(t));
    }
out:
    ac_checkpoint_info_release(&info);
    return status;
}

/* Rank 0's part. The folder is locked before anything in it is looked at; one that was made for a training that is then
 * refused is removed again. */
static ac_status load(trainer *t, origin *from)
{
    ac_status status = AC_OK;
    char part[AC_PATH_BYTES];
    bool writes = !t->config->common.dry_run, had_parent = ac_path_exists(t->config->log_save_dir), had_folder = ac_path_exists(t->folder);
    if (writes) {
        AC_TRY(ac_path_make_folders(t->folder));
        AC_TRY(ac_checkpoint_lock_folder(t->folder, &t->lock));
    }
    AC_TRY(read_origin(t, writes, from));
out:
    if (status != AC_OK && writes && !had_folder) {
        if (t->lock.path[0])
            ac_checkpoint_unlock_folder(&t->lock);
        if (ac_path_join(part, t->folder, "last.h5.part") == AC_OK)
            unlink(part);
        if (rmdir(t->folder) == 0 && !had_parent)
            rmdir(t->config->log_save_dir);
    }
    return status;
}

/* Rank 0's part once all ranks have their parameters: nothing of an older training is removed before that. */
static ac_status begin_records(trainer *t, origin from)
{
    ac_status status = AC_OK;
    if (t->config->overwrite && from != CONTINUED)
        AC_TRY(ac_checkpoint_clear(t->folder));
    AC_TRY(trainer_record_begin(t));
out:
    return status;
}

/* Every rank draws for itself. */
static ac_status draw(trainer *t)
{
    ac_status status = AC_OK;
    bool same = false;
    ac_hash hash;
    ac_watchdog_at(t->run->watchdog, "drawing the parameters", -1, false);
    status = ac_params_init(t->params, (uint64_t)t->config->seed);
    if (status == AC_OK)
        status = ac_params_hash(t->params, false, &hash);
    ac_watchdog_at(t->run->watchdog, "drawing the parameters", -1, true);
    AC_TRY(ac_comm_agree(t->run->comm, status));
    AC_TRY(ac_comm_same(t->run->comm, &hash, sizeof hash, &same));
    if (!same)
        AC_TRY(ac_error(AC_ERR_SYNC, "the ranks start from different parameters: do they all see the same files?"));
out:
    return status;
}

static ac_status broadcast_params(trainer *t)
{
    ac_status status = AC_OK;
    AC_TRY(ac_comm_broadcast_arena(t->run->comm, t->device, t->params->value, t->params->n_values * sizeof(float)));
    AC_TRY(ac_comm_broadcast_arena(t->run->comm, t->device, t->params->buffer, t->params->n_buffers * sizeof(float)));
out:
    return status;
}

ac_status trainer_begin(trainer *t)
{
    ac_status status = AC_OK;
    MPI_Comm comm = t->run->comm;
    origin from = DRAWN;
    ac_watchdog_at(t->run->watchdog, "loading the checkpoint", -1, t->run->rank > 0);
    status = t->run->rank == 0 ? load(t, &from) : AC_OK;
    ac_watchdog_at(t->run->watchdog, "loading the checkpoint", -1, true);
    AC_TRY(ac_comm_agree(comm, status));
    AC_TRY(ac_comm_broadcast(comm, &from, sizeof from));
    AC_TRY(ac_comm_broadcast(comm, &t->info.epoch, sizeof t->info.epoch));
    AC_TRY(ac_comm_broadcast(comm, &t->info.step, sizeof t->info.step));
    AC_TRY(ac_comm_broadcast(comm, &t->info.loss_sum, sizeof t->info.loss_sum));
    AC_TRY(ac_comm_broadcast(comm, &t->info.loss_scale, sizeof t->info.loss_scale));
    AC_TRY(ac_comm_broadcast(comm, &t->info.n_even, sizeof t->info.n_even));
    AC_TRY(ac_comm_broadcast(comm, &t->info.n_skipped, sizeof t->info.n_skipped));
    AC_TRY(ac_comm_broadcast(comm, &t->info.optimizer_step, sizeof t->info.optimizer_step));
    AC_TRY(from == DRAWN ? draw(t) : broadcast_params(t));
    if (t->info.optimizer_step > 0)
        for (int m = 0; m < t->optimizer->n_moments; m++)
            AC_TRY(ac_comm_broadcast_arena(comm, t->device, t->optimizer->moment[m], t->params->n_values * sizeof(float)));
    t->saved_epoch = t->info.epoch; /* epoch 0, step 0: nothing is there, and nothing to save either */
    t->saved_step = t->info.step;
    t->optimizer->step = t->info.optimizer_step;
    t->optimizer->state.loss_scale = t->info.loss_scale;
    t->optimizer->state.n_even = t->info.n_even;
    t->optimizer->state.n_skipped = t->info.n_skipped;
    ac_params_changed(t->params);
    ac_watchdog_at(t->run->watchdog, "beginning the records", -1, t->run->rank > 0);
    status = t->run->rank == 0 && !t->config->common.dry_run ? begin_records(t, from) : AC_OK;
    ac_watchdog_at(t->run->watchdog, "beginning the records", -1, true);
    AC_TRY(ac_comm_agree(comm, status));
out:
    return status;
}
