/* What training needs before its first step. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "train/train_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static ac_status open_data(trainer *t)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    size_t n_absent;
    AC_TRY(ac_store_open(c->data_root, "train", &t->train));
    AC_TRY(ac_store_open(c->data_root, "val", &t->val));
    if (t->train.n_classes != t->val.n_classes || t->train.image_size_px != t->val.image_size_px)
        return ac_error(AC_ERR_DATA, "%s: the splits train and val have different classes or image sizes", c->data_root);
    for (size_t k = 0; k < t->train.n_classes; k++)
        if (strcmp(t->train.manifest.class_name[k], t->val.manifest.class_name[k]) != 0)
            return ac_error(AC_ERR_DATA, "%s: class %zu is %s in train and %s in val", c->data_root, k, t->train.manifest.class_name[k],
                            t->val.manifest.class_name[k]);
    if (c->batch_size < t->run->size)
        return ac_error(AC_ERR_USAGE, "--batch_size %lld is smaller than the number of ranks, %d", (long long)c->batch_size, t->run->size);
    if (t->train.n_samples < c->batch_size)
        return ac_error(AC_ERR_USAGE, "--batch_size %lld is larger than the training split of %lld images", (long long)c->batch_size,
                        (long long)t->train.n_samples);
    ac_comm_slice(c->batch_size, t->run->rank, t->run->size, &t->slice_first, &t->slice_n);
    AC_TRY(ac_malloc(t->train.n_classes + 1, sizeof *t->class_weights, &t->class_weights));
    AC_TRY(ac_loss_class_weights(t->train.manifest.class_count, t->train.manifest.n_negative, t->train.n_classes, c->class_balancing_beta,
                                 t->class_weights, &n_absent));
    for (size_t k = 0; k < t->train.n_classes && n_absent; k++)
        if (t->train.manifest.class_count[k] == 0)
            ac_log(AC_LOG_WARN, "class %s has no positive training image: its weight is 0", t->train.manifest.class_name[k]);
    AC_TRY(ac_malloc((size_t)t->val.n_samples * t->val.n_classes + 1, sizeof *t->val_scores, &t->val_scores));
out:
    return status;
}

ac_augment trainer_augment(const train_config *c, const char *dataset)
{
    ac_augment augment = {c->augment - 1, (float)c->jitter_brightness, (float)c->jitter_contrast, (float)c->jitter_saturation, (float)c->jitter_hue,
                          (float)c->rotation_degrees};
    if (c->augment == 0)
        augment.kind = strcmp(dataset, "chest") == 0 ? AC_AUGMENT_ROTATION : AC_AUGMENT_COLOUR;
    return augment;
}

static const char *const augment_names[] = {"none", "colour", "rotation"};

static ac_status build_networks(trainer *t)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    ac_network_options o = {.model = ac_model_find(c->model), .batch = t->slice_n, .image_size_px = t->train.image_size_px,
                            .n_classes = (int64_t)t->train.n_classes, .training = true, .flip = c->flip, .augment = trainer_augment(c, t->train.manifest.dataset),
                            .sync_bn = c->sync_bn, .seed = (uint64_t)c->seed, .loss = t->loss, .activation_dtype = AC_F32};
    if (!o.model)
        return ac_error(AC_ERR_USAGE, "--model: '%s' is none of %s", c->model, ac_model_names());
    memcpy(o.mean, t->train.manifest.mean, sizeof o.mean);
    memcpy(o.std, t->train.manifest.std, sizeof o.std);
    AC_TRY(ac_network_build(&o, &t->network));
    ac_log(AC_LOG_INFO, "augmentation of data set %s: %s%s", t->train.manifest.dataset, augment_names[o.augment.kind], c->flip ? ", mirrored" : "");
    o.training = false;
    AC_TRY(ac_network_build(&o, &t->eval));
out:
    return status;
}

/* One arena serves both plans: validation begins when a step is over. */
static ac_status make_plans(trainer *t)
{
    ac_status status = AC_OK;
    AC_TRY(ac_plan_create(t->network.graph, t->params, true, &t->plan));
    AC_TRY(ac_plan_create(t->eval.graph, t->params, false, &t->eval_plan));
    ac_plan_memory memory = ac_plan_get_memory(t->plan), eval = ac_plan_get_memory(t->eval_plan);
    size_t bytes = memory.arena_bytes > eval.arena_bytes ? memory.arena_bytes : eval.arena_bytes;
    AC_TRY(t->device->backend->allocate(t->device, bytes, &t->arena));
    AC_TRY(ac_plan_bind(t->plan, t->arena));
    AC_TRY(ac_plan_bind(t->eval_plan, t->arena));
    char text[256];
    t->device->backend->describe(t->device, text, sizeof text);
    ac_log(AC_LOG_INFO, "device %s; %d rank%s", text, t->run->size, t->run->size == 1 ? "" : "s");
    ac_log(AC_LOG_INFO, "%s: %zu parameters, %.1f GFLOP forward per image; memory per rank: %.0f MiB activations (%.0f without sharing), %.0f MiB parameters",
           t->config->model, t->params->n_trainable, ac_graph_flops(t->network.graph) / 1e9 / (double)t->slice_n, (double)bytes / 1048576,
           (double)memory.sum_of_all_bytes / 1048576, (double)memory.param_bytes / 1048576);
out:
    return status;
}

static ac_status open_loaders(trainer *t)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    ac_loader_config loader = {.store = &t->train, .seed = (uint64_t)c->seed, .shuffle = true, .global_batch = c->batch_size,
                               .slice_first = t->slice_first, .slice_n = t->slice_n, .drop_last = true, .n_threads = (int)c->n_workers,
                               .memory_bytes = (size_t)c->prefetch_mib << 20, .n_sharing = t->run->n_local};
    size_t n_bytes;
    AC_TRY(ac_loader_create(&loader, &t->loader));
    int64_t depth = ac_loader_depth(t->loader, &n_bytes);
    ac_log(AC_LOG_INFO, "loader: %d thread%s, up to %lld batches ahead (%.0f MiB)", loader.n_threads, loader.n_threads == 1 ? "" : "s",
           (long long)depth, (double)n_bytes / 1048576);
    loader.store = &t->val;
    loader.shuffle = loader.drop_last = false;
    loader.n_prefetch = 2;
    AC_TRY(ac_loader_create(&loader, &t->val_loader));
out:
    return status;
}

static ac_status describe_run(trainer *t)
{
    ac_status status = AC_OK;
    size_t n = t->train.n_classes;
    snprintf(t->info.model, sizeof t->info.model, "%s", t->config->model);
    t->info.image_size_px = t->train.image_size_px;
    memcpy(t->info.mean, t->train.manifest.mean, sizeof t->info.mean);
    memcpy(t->info.std, t->train.manifest.std, sizeof t->info.std);
    AC_TRY(ac_calloc(n + 1, sizeof *t->info.class_name, &t->info.class_name));
    for (; t->info.n_classes < n; t->info.n_classes++)
        AC_TRY(ac_strdup(t->train.manifest.class_name[t->info.n_classes], &t->info.class_name[t->info.n_classes]));
    AC_TRY(ac_options_dump(&train_program, t->config, &t->info.config));
    t->info.loss_scale = 1;
out:
    return status;
}

static ac_status resume(trainer *t)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_checkpoint_info info = {0};
    if (!t->config->checkpoint)
        return AC_OK;
    if (strcmp(t->config->checkpoint, "auto") == 0) {
        if (ac_checkpoint_find(t->folder, "last", path, sizeof path) != AC_OK) {
            ac_log(AC_LOG_INFO, "no checkpoint in %s yet: starting at epoch 0", t->folder);
            return AC_OK;
        }
    } else {
        AC_TRY(ac_path_join(path, "", t->config->checkpoint));
    }
    AC_TRY(ac_checkpoint_read_info(path, &info));
    if (strcmp(info.model, t->info.model) != 0 || info.n_classes != t->info.n_classes)
        AC_TRY(ac_error(AC_ERR_DATA, "%s is a %s with %zu classes, not a %s with %zu", path, info.model, info.n_classes, t->info.model, t->info.n_classes));
    AC_TRY(ac_checkpoint_load(path, t->params, t->optimizer));
    t->info.epoch = info.epoch;
    memcpy(t->info.best, info.best, sizeof info.best);
    ac_log(AC_LOG_INFO, "continuing behind epoch %lld of %s", (long long)info.epoch - 1, path);
out:
    ac_checkpoint_info_release(&info);
    return status;
}

static ac_status open_all(trainer *t)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    char name[256];
    t->loss = (ac_loss_config){c->base_loss, c->focal_gamma, c->meta_loss_weight, c->meta_loss_beta};
    snprintf(name, sizeof name, "version_%s", c->version_name);
    AC_TRY(ac_path_join(t->folder, c->log_save_dir, name));
    AC_TRY(ac_path_check_writable(t->folder));
    AC_TRY(open_data(t));
    AC_TRY(build_networks(t));
    const ac_backend *backend = ac_backend_find(c->device);
    if (!backend)
        return ac_error(AC_ERR_USAGE, "--device: this build has %s, not '%s'", ac_backend_names(), c->device);
    AC_TRY(backend->open((int)c->n_threads, &t->device));
    AC_TRY(ac_params_create(t->device, t->network.graph, true, &t->params));
    AC_TRY(ac_params_init(t->params, (uint64_t)c->seed));
    AC_TRY(make_plans(t));
    ac_optimizer_config optimizer = {.kind = c->optimizer, .weight_decay = c->weight_decay, .momentum = c->momentum, .beta1 = 0.9,
                                     .beta2 = 0.999, .epsilon = 1e-8, .max_norm = c->clip_norm};
    AC_TRY(ac_optimizer_create(&optimizer, t->params, &t->optimizer));
    AC_TRY(open_loaders(t));
    AC_TRY(describe_run(t));
    AC_TRY(resume(t));
    if (t->run->rank == 0 && !c->common.dry_run)
        AC_TRY(ac_path_make_folders(t->folder));
out:
    return status;
}

ac_status trainer_open(trainer *t, ac_run *run, const train_config *config)
{
    ac_status status = AC_OK;
    bool same = false;
    ac_hash hash;
    memset(t, 0, sizeof *t);
    t->begun_epoch = -1;
    t->config = config;
    t->run = run;
    AC_TRY(ac_comm_agree(run->comm, open_all(t)));
    AC_TRY(ac_comm_agree(run->comm, ac_params_hash(t->params, &hash)));
    AC_TRY(ac_comm_same(run->comm, &hash, sizeof hash, &same));
    if (!same)
        return ac_error(AC_ERR_SYNC, "the ranks start from different parameters: do they all see the same files?");
    AC_TRY(ac_comm_agree(run->comm, ac_reducer_create(run->comm, t->params->gradient, t->params->n_values, (size_t)config->bucket_mib << 20, &t->reducer)));
out:
    return status;
}

void trainer_close(trainer *t)
{
    ac_loader_destroy(t->loader);
    ac_loader_destroy(t->val_loader);
    ac_reducer_destroy(t->reducer);
    ac_plan_destroy(t->plan);
    ac_plan_destroy(t->eval_plan);
    ac_optimizer_destroy(t->optimizer);
    ac_params_destroy(t->params);
    if (t->device) {
        t->device->backend->release(t->device, t->arena);
        t->device->backend->close(t->device);
    }
    ac_network_release(&t->network);
    ac_network_release(&t->eval);
    ac_store_close(&t->train);
    ac_store_close(&t->val);
    ac_checkpoint_info_release(&t->info);
    ac_free(t->class_weights);
    ac_free(t->val_scores);
}
