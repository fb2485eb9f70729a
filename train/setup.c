/* What training needs before its first step. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "anyclass/machine.h"
#include "train/train_internal.h"
#include <stdio.h>
#include <stdlib.h>
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
    t->n_steps = t->train.n_samples / c->batch_size;
    if (c->max_steps > 0 && c->max_steps < t->n_steps)
        t->n_steps = c->max_steps;
    AC_TRY(ac_malloc(t->train.n_classes + 1, sizeof *t->class_weights, &t->class_weights));
    AC_TRY(ac_loss_class_weights(t->train.manifest.class_count, t->train.manifest.n_negative, t->train.n_classes, c->class_balancing_beta,
                                 t->class_weights, &n_absent));
    if (t->val.manifest.n_negative == t->val.n_samples)
        ac_log(AC_LOG_WARN, "no validation image has a label: val_ap, val_f1 and val_f2 are not defined and have no best checkpoint");
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

/* The slice is cut into micro-batches of at most --micro_batch images: the same number on every rank, since each may hold
 * collectives (--sync_bn), and therefore counted on the largest slice. */
static ac_status divide_slice(trainer *t)
{
    const train_config *c = t->config;
    int64_t largest = (c->batch_size + t->run->size - 1) / t->run->size, smallest = c->batch_size / t->run->size;
    t->n_micro = c->micro_batch > 0 ? (largest + c->micro_batch - 1) / c->micro_batch : 1;
    if (t->n_micro > smallest)
        return ac_error(AC_ERR_USAGE, "--micro_batch %lld: with --batch_size %lld on %d ranks some have %lld images, others %lld; choose a multiple of the ranks",
                        (long long)c->micro_batch, (long long)c->batch_size, t->run->size, (long long)largest, (long long)smallest);
    t->n_sizes = t->slice_n % t->n_micro ? 2 : 1;
    t->size[0].rows = (t->slice_n + t->n_micro - 1) / t->n_micro;
    t->size[1].rows = t->slice_n / t->n_micro;
    t->val_batch = t->n_micro == 1 ? c->batch_size : (largest + t->n_micro - 1) / t->n_micro * t->run->size;
    ac_comm_slice(t->val_batch, t->run->rank, t->run->size, &t->val_first, &t->val_rows);
    if (t->n_micro > 1)
        ac_log(AC_LOG_INFO, "gradients of %lld micro-batches of %lld images are accumulated in each step", (long long)t->n_micro, (long long)t->size[0].rows);
    return AC_OK;
}

static const char *const precision_names[] = {"32", "tf32", "bf16-mixed", "16-mixed"};
enum { PRECISION_32, PRECISION_TF32, PRECISION_BF16, PRECISION_F16 };

/* Element type of activations, if this device has it. */
static ac_status choose_activations(const trainer *t, ac_dtype *out)
{
    ac_status status = AC_OK;
    const char *name = precision_names[t->config->precision];
    *out = t->config->precision == PRECISION_BF16 ? AC_BF16 : t->config->precision == PRECISION_F16 ? AC_F16 : AC_F32;
    if (t->config->precision == PRECISION_TF32 && t->device->backend->allow_tf32)
        return t->device->backend->allow_tf32(t->device);
    if (t->config->precision == PRECISION_TF32)
        return ac_error(AC_ERR_UNSUPPORTED, "--precision tf32 is what some GPUs have, not --device %s", t->config->device);
    status = t->device->backend->check_precision(t->device, *out);
    return status == AC_OK ? AC_OK : ac_error_in(status, "--precision %s", name);
}

static ac_status build_networks(trainer *t)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    ac_network_options o = {.model = ac_model_find(c->model), .image_size_px = t->train.image_size_px,
                            .n_classes = (int64_t)t->train.n_classes, .training = true, .flip = c->flip, .augment = trainer_augment(c, t->train.manifest.dataset),
                            .sync_bn = c->sync_bn, .seed = (uint64_t)c->seed, .loss = t->loss,
                            .dropout = (float)c->dropout, .stochastic_depth = (float)c->stochastic_depth};
    if (!o.model)
        return ac_error(AC_ERR_USAGE, "--model: '%s' is none of %s", c->model, ac_model_names());
    memcpy(o.mean, t->train.manifest.mean, sizeof o.mean);
    memcpy(o.std, t->train.manifest.std, sizeof o.std);
    AC_TRY(choose_activations(t, &o.activation_dtype));
    AC_TRY(divide_slice(t));
    for (int s = 0; s < t->n_sizes; s++) {
        o.batch = t->size[s].rows;
        AC_TRY(ac_network_build(&o, &t->size[s].network));
    }
    ac_log(AC_LOG_INFO, "augmentation of data set %s: %s%s", t->train.manifest.dataset, augment_names[o.augment.kind], c->flip ? ", mirrored" : "");
    o.training = false;
    o.batch = t->val_rows;
    AC_TRY(ac_network_build(&o, &t->eval));
out:
    return status;
}

/* Said now rather than by the kernel's out-of-memory killer in the first step. */
static ac_status check_memory(const trainer *t, size_t arena_bytes)
{
    uint64_t left = ac_machine_memory_bytes(), wanted = (uint64_t)t->run->n_local * arena_bytes;
    if (left == 0 || wanted <= left || t->device->backend->queue) /* a GPU has memory of its own, and says itself what it lacks */
        return AC_OK;
    return ac_error(AC_ERR_MEMORY, "%lld images per rank need %.0f MiB for activations, %d rank%s on this machine %.0f MiB, and it has %.0f MiB left: give a smaller --micro_batch",
                    (long long)t->size[0].rows, (double)arena_bytes / 1048576, t->run->n_local, t->run->n_local == 1 ? "" : "s",
                    (double)wanted / 1048576, (double)left / 1048576);
}

/* One arena serves all plans: validation begins when a step is over, a micro-batch when the one before is. */
static ac_status make_plans(trainer *t)
{
    ac_status status = AC_OK;
    const ac_graph *graph = t->size[0].network.graph;
    AC_TRY(ac_plan_create(t->eval.graph, t->params, false, &t->eval_plan));
    size_t bytes = ac_plan_get_memory(t->eval_plan).arena_bytes;
    for (int s = 0; s < t->n_sizes; s++) {
        AC_TRY(ac_plan_create(t->size[s].network.graph, t->params, true, &t->size[s].plan));
        size_t mine = ac_plan_get_memory(t->size[s].plan).arena_bytes;
        bytes = mine > bytes ? mine : bytes;
    }
    AC_TRY(check_memory(t, bytes));
    AC_TRY(t->device->backend->allocate(t->device, bytes, &t->arena));
    AC_TRY(ac_plan_bind(t->eval_plan, t->arena));
    for (int s = 0; s < t->n_sizes; s++)
        AC_TRY(ac_plan_bind(t->size[s].plan, t->arena));
    ac_plan_memory memory = ac_plan_get_memory(t->size[0].plan);
    char text[256];
    t->device->backend->describe(t->device, text, sizeof text);
    ac_log(AC_LOG_INFO, "device %s; %d rank%s", text, t->run->size, t->run->size == 1 ? "" : "s");
    ac_log(AC_LOG_INFO, "%s: %zu parameters, %.1f GFLOP forward per image; memory per rank: %.0f MiB activations (%.0f without sharing), %.0f MiB parameters",
           t->config->model, t->params->n_trainable, ac_graph_flops(graph) / 1e9 / (double)t->size[0].rows, (double)bytes / 1048576,
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
    loader.global_batch = t->val_batch;
    loader.slice_first = t->val_first;
    loader.slice_n = t->val_rows;
    AC_TRY(ac_loader_create(&loader, &t->val_loader));
out:
    return status;
}

/* What the shards of both splits hold, whatever their folder. */
static void hash_data(const ac_manifest *train, const ac_manifest *val, char out[AC_HASH_TEXT_BYTES])
{
    const ac_manifest *const split[] = {train, val};
    ac_hash hash = ac_hash_bytes("", 0);
    for (int s = 0; s < 2; s++)
        for (size_t i = 0; i < split[s]->n_shards; i++) {
            const ac_hash pair[2] = {hash, split[s]->shard[i].hash};
            hash = ac_hash_bytes(pair, sizeof pair);
        }
    ac_hash_format(hash, out);
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
    hash_data(&t->train.manifest, &t->val.manifest, t->info.data_hash);
    snprintf(t->info.precision, sizeof t->info.precision, "%s", precision_names[t->config->precision]);
    t->info.n_samples = t->train.n_samples;
    t->info.batch_size = t->config->batch_size;
    t->info.seed = t->config->seed;
    t->info.loss_scale = t->optimizer->state.loss_scale;
out:
    return status;
}

static void make_schedule(trainer *t)
{
    const train_config *c = t->config;
    t->schedule = (ac_schedule){.kind = c->schedule - 1, .learning_rate = c->learning_rate, .steps = c->lr_steps.item, .n_steps = c->lr_steps.n_items,
                                .decay = c->lr_decay, .min_rate = c->min_lr, .first_period = c->restart_period, .period_factor = c->restart_factor,
                                .warmup_epochs = c->warmup_epochs, .warmup_start_factor = c->warmup_start_factor};
    if (c->schedule == 0) /* auto: as the reference pairs them */
        t->schedule.kind = c->optimizer == AC_OPTIMIZER_SGD ? AC_SCHEDULE_MULTISTEP : AC_SCHEDULE_COSINE;
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
    make_schedule(t);
    AC_TRY(open_data(t));
    AC_TRY(ac_backend_open(c->device, (int)c->n_threads, &t->device));
    AC_TRY(build_networks(t));
    AC_TRY(ac_params_create(t->device, t->size[0].network.graph, true, &t->params));
    AC_TRY(make_plans(t));
    ac_optimizer_config optimizer = {.kind = c->optimizer, .weight_decay = c->weight_decay, .momentum = c->momentum, .beta1 = 0.9,
                                     .beta2 = 0.999, .epsilon = 1e-8, .max_norm = c->clip_norm, .dynamic_scale = c->precision == PRECISION_F16};
    AC_TRY(ac_optimizer_create(&optimizer, t->params, &t->optimizer));
    AC_TRY(open_loaders(t));
    AC_TRY(describe_run(t));
out:
    return status;
}

/* ANYCLASS_CUDA_GRAPH=0: no step is recorded, to tell what recording does. */
static bool records(void)
{
    const char *value = getenv("ANYCLASS_CUDA_GRAPH");
    return !value || strcmp(value, "0") != 0;
}

static ac_status create_reducer(trainer *t)
{
    ac_status status = AC_OK;
    const ac_reducer_place place = {t->device, t->params->gradient, t->params->n_values, t->params->state};
    AC_TRY(ac_comm_agree(t->run->comm, ac_reducer_create_on(t->run->comm, &place, (size_t)t->config->bucket_mib << 20, &t->reducer)));
    if (t->run->size > 1)
        ac_log(AC_LOG_INFO, "gradients of %d ranks are summed by %s", t->run->size, ac_reducer_way(t->reducer));
out:
    return status;
}

ac_status trainer_open(trainer *t, ac_run *run, const train_config *config)
{
    ac_status status = AC_OK;
    memset(t, 0, sizeof *t);
    t->begun_epoch = -1;
    t->config = config;
    t->run = run;
    ac_watchdog_at(run->watchdog, "opening data", -1, false);
    status = open_all(t);
    ac_watchdog_at(run->watchdog, "opening data", -1, true);
    AC_TRY(ac_comm_agree(run->comm, status));
    AC_TRY(ac_comm_check_stop(run->comm, "nothing was changed, run it again"));
    AC_TRY(trainer_begin(t));
    AC_TRY(create_reducer(t));
    ac_step_config step = {.optimizer = t->optimizer, .n_plans = t->n_sizes, .record = !config->profile && records()};
    for (int s = 0; s < t->n_sizes; s++) {
        step.plan[s] = t->size[s].plan;
        step.loss[s] = t->size[s].network.loss;
    }
    AC_TRY(ac_comm_agree(run->comm, ac_step_create(&step, &t->step)));
    AC_TRY(ac_comm_agree(run->comm, ac_forward_create(t->eval_plan, t->eval.logits, step.record, &t->eval_pass)));
out:
    return status;
}

void trainer_close(trainer *t)
{
    ac_loader_destroy(t->loader);
    ac_loader_destroy(t->val_loader);
    ac_step_destroy(t->step);
    ac_forward_destroy(t->eval_pass);
    ac_reducer_destroy(t->reducer);
    for (int s = 0; s < TRAIN_MAX_SIZES; s++)
        ac_plan_destroy(t->size[s].plan);
    ac_plan_destroy(t->eval_plan);
    ac_optimizer_destroy(t->optimizer);
    ac_params_destroy(t->params);
    if (t->device) {
        t->device->backend->release(t->device, t->arena);
        t->device->backend->close(t->device);
    }
    for (int s = 0; s < TRAIN_MAX_SIZES; s++)
        ac_network_release(&t->size[s].network);
    ac_network_release(&t->eval);
    ac_store_close(&t->train);
    ac_store_close(&t->val);
    ac_checkpoint_info_release(&t->info);
    (void)ac_event_file_close(&t->events); /* what failed before is the failure to tell */
    if (t->lock.path[0])
        ac_checkpoint_unlock_folder(&t->lock);
    ac_free(t->class_weights);
    ac_free(t->val_scores);
}
