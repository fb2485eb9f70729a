/* Training steps and validation. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "train/train_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static ac_status gradient_ready(void *context, size_t n_ready)
{
    return ac_reducer_ready(context, n_ready);
}

static ac_status sum_over_ranks(void *context, double *values, size_t n)
{
    trainer *t = context;
    ac_status status = AC_OK;
    int count;
    AC_TRY(ac_comm_count(n, &count));
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, MPI_SUM, t->run->comm), "MPI_Allreduce"));
out:
    return status;
}

/* 1 / sum of max(1, labels) over the global batch, from the labels every rank holds. */
static double inverse_denominator(const trainer *t, const ac_order *order, int64_t step)
{
    int64_t sum = 0, base = step * t->config->batch_size;
    for (int64_t i = 0; i < t->config->batch_size; i++) {
        int n = t->train.n_labels[ac_order_at(order, (uint64_t)(base + i))];
        sum += n > 1 ? n : 1;
    }
    return 1.0 / (double)sum;
}

static ac_status write_inputs(trainer *t, const ac_batch *batch, double scale)
{
    ac_status status = AC_OK;
    const ac_network *n = &t->network;
    size_t rows = (size_t)t->slice_n, m = t->train.n_classes;
    AC_TRY(ac_plan_write(t->plan, n->images, batch->image, rows * t->train.image_bytes));
    AC_TRY(ac_plan_write(t->plan, n->keys, batch->key, rows * sizeof *batch->key));
    AC_TRY(ac_plan_write(t->plan, n->targets, batch->label, rows * m));
    AC_TRY(ac_plan_write(t->plan, n->class_weights, t->class_weights, (m + 1) * sizeof(double)));
    AC_TRY(ac_plan_write(t->plan, n->inverse_denominator, &scale, sizeof scale));
out:
    return status;
}

/* Everything of a step that a rank can fail at alone, up to its local gradients. */
static ac_status local_step(trainer *t, const ac_order *order, const ac_batch **batch)
{
    ac_status status = AC_OK;
    double waited;
    AC_TRY(ac_loader_next(t->loader, batch, &waited));
    t->wait_s += waited;
    AC_TRY(write_inputs(t, *batch, inverse_denominator(t, order, (*batch)->step)));
out:
    return status;
}

static ac_status local_gradients(trainer *t)
{
    ac_status status = AC_OK;
    AC_TRY(ac_plan_forward(t->plan));
    AC_TRY(ac_plan_backward(t->plan, false));
out:
    return status;
}

static ac_status step(trainer *t, const ac_order *order, double rate, double *loss)
{
    ac_status status = AC_OK;
    const ac_batch *batch;
    double exposed, sums[2] = {0, 0}; /* J, ranks that failed */
    AC_TRY(ac_comm_agree(t->run->comm, local_step(t, order, &batch)));
    ac_reducer_begin(t->reducer);
    /* a rank that failed still takes part in every bucket, so that the others reach the agreement below */
    ac_status mine = local_gradients(t);
    AC_TRY(ac_reducer_finish(t->reducer, &exposed));
    t->exposed_s += exposed;
    if (mine == AC_OK)
        mine = ac_plan_read(t->plan, t->network.loss, &sums[0], sizeof sums[0]);
    sums[1] = mine != AC_OK;
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_DOUBLE, MPI_SUM, t->run->comm), "MPI_Allreduce"));
    if (sums[1] > 0)
        AC_TRY(ac_comm_agree(t->run->comm, mine));
    *loss = sums[0];
    if (!isfinite(*loss))
        return ac_error(AC_ERR_NUMERIC, "the loss is not a number in step %lld: try a smaller --learning_rate", (long long)t->optimizer->step + 1);
    AC_TRY(ac_optimizer_step(t->optimizer, rate, NULL));
out:
    return status;
}

static void log_profile(const trainer *t, int64_t n_steps)
{
    const double *forward_s, *backward_s;
    ac_plan_profile_read(t->plan, &forward_s, &backward_s);
    size_t n_ops;
    const ac_op *const *ops = ac_op_table(&n_ops);
    for (size_t k = 0; k < n_ops; k++) {
        double f = 0, b = 0;
        for (size_t i = 0; i < t->network.graph->n_nodes; i++)
            if (t->network.graph->node[i].op == ops[k]) {
                f += forward_s[i];
                b += backward_s[i];
            }
        ac_log(AC_LOG_INFO, "profile: %-16s forward %8.2f ms, backward %8.2f ms per step", ops[k]->name, 1e3 * f / (double)n_steps,
               1e3 * b / (double)n_steps);
    }
}

ac_status trainer_epoch(trainer *t, int64_t epoch, double *mean_loss)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    ac_order order;
    ac_progress progress;
    ac_schedule schedule = {.kind = c->schedule, .learning_rate = c->learning_rate, .steps = c->lr_steps.item, .n_steps = c->lr_steps.n_items,
                            .decay = c->lr_decay, .min_rate = c->min_lr, .first_period = 10, .period_factor = 2,
                            .warmup_epochs = c->warmup_epochs, .warmup_start_factor = c->warmup_start_factor};
    double rate = ac_schedule_rate(&schedule, epoch), loss = 0, sum = 0;
    char label[32], note[64];
    int64_t n_steps = t->train.n_samples / c->batch_size;
    n_steps = c->max_steps > 0 && c->max_steps < n_steps ? c->max_steps : n_steps;
    ac_plan_hooks hooks = {gradient_ready, t->reducer, sum_over_ranks, t};
    ac_plan_set_hooks(t->plan, &hooks);
    ac_plan_profile(t->plan, c->profile);
    ac_order_init(&order, (uint64_t)t->train.n_samples, (uint64_t)c->seed, (uint64_t)epoch, true);
    if (t->begun_epoch != epoch)
        AC_TRY(ac_loader_begin(t->loader, epoch, 0));
    t->wait_s = t->exposed_s = 0;
    snprintf(label, sizeof label, "epoch %lld", (long long)epoch);
    ac_progress_begin(&progress, label, "images", (uint64_t)(n_steps * c->batch_size));
    for (int64_t s = 0; s < n_steps; s++) {
        AC_TRY(step(t, &order, rate, &loss));
        sum += loss;
        snprintf(note, sizeof note, "loss %.4f", loss);
        ac_progress_update(&progress, (uint64_t)((s + 1) * c->batch_size), note);
        if (c->log_every > 0 && (s + 1) % c->log_every == 0)
            ac_log(AC_LOG_INFO, "epoch %lld step %lld/%lld: loss %.6f, learning rate %.3g", (long long)epoch, (long long)s + 1, (long long)n_steps, loss, rate);
    }
    ac_progress_end(&progress);
    if (epoch + 1 < c->max_epochs) { /* the next epoch's first batches come while this one is validated */
        AC_TRY(ac_loader_begin(t->loader, epoch + 1, 0));
        t->begun_epoch = epoch + 1;
    }
    *mean_loss = sum / (double)n_steps;
    ac_log(AC_LOG_DEBUG, "epoch %lld: %.2f s waiting for data, %.2f s for other ranks", (long long)epoch, t->wait_s, t->exposed_s);
    if (c->profile)
        log_profile(t, n_steps);
out:
    return status;
}

/* This rank's rows of every validation batch. */
static ac_status infer_slices(trainer *t, int64_t epoch, float *mine, int64_t *ids, size_t *n_mine)
{
    ac_status status = AC_OK;
    size_t m = t->val.n_classes, rows = (size_t)t->slice_n;
    const ac_batch *batch;
    float *logits = NULL;
    AC_TRY(ac_malloc(rows * m, sizeof *logits, &logits));
    AC_TRY(ac_loader_begin(t->val_loader, epoch, 0));
    *n_mine = 0;
    for (;;) {
        AC_TRY(ac_loader_next(t->val_loader, &batch, NULL));
        if (!batch)
            break;
        AC_TRY(ac_plan_write(t->eval_plan, t->eval.images, batch->image, rows * t->val.image_bytes));
        AC_TRY(ac_plan_write(t->eval_plan, t->eval.keys, batch->key, rows * sizeof *batch->key));
        AC_TRY(ac_plan_forward(t->eval_plan));
        AC_TRY(ac_plan_read(t->eval_plan, t->eval.logits, logits, rows * m * sizeof *logits));
        memcpy(mine + *n_mine * m, logits, (size_t)batch->n * m * sizeof *logits);
        memcpy(ids + *n_mine, batch->sample, (size_t)batch->n * sizeof *ids);
        *n_mine += (size_t)batch->n;
    }
out:
    ac_free(logits);
    return status;
}

/* Loss values over all images, in double. */
static ac_status losses(const trainer *t, double *val_loss, double *val_bce)
{
    ac_status status = AC_OK;
    size_t n = (size_t)t->val.n_samples, m = t->val.n_classes;
    double *z = NULL, *ones = NULL;
    const ac_loss_config bce = {.base = AC_LOSS_BCE};
    AC_TRY(ac_malloc(n * m, sizeof *z, &z));
    AC_TRY(ac_malloc(m + 1, sizeof *ones, &ones));
    for (size_t i = 0; i < n * m; i++)
        z[i] = (double)t->val_scores[i];
    *val_loss = ac_loss_batch(&t->loss, z, t->val.label, n, m, t->class_weights, 1.0 / (double)ac_loss_denominator(t->val.label, n, m), NULL);
    /* plain binary cross-entropy: image by image, since W_i would sum the weights of an image's labels */
    *val_bce = 0;
    for (size_t i = 0; i < n; i++) {
        int labels = t->val.n_labels[i];
        for (size_t c = 0; c <= m; c++)
            ones[c] = 1.0 / (labels > 1 ? labels : 1);
        *val_bce += ac_loss_batch(&bce, z + i * m, t->val.label + i * m, 1, m, ones, 1.0 / (double)(n * m), NULL);
    }
out:
    ac_free(z);
    ac_free(ones);
    return status;
}

static ac_status score(trainer *t, double values[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    size_t n = (size_t)t->val.n_samples, m = t->val.n_classes;
    ac_class_count *count = NULL;
    ac_image_count image = {0};
    double *ap = NULL;
    ac_metrics metrics = {0};
    AC_TRY(losses(t, &values[0], &values[1]));
    AC_TRY(ac_calloc(m, sizeof *count, &count));
    AC_TRY(ac_calloc(m, sizeof *ap, &ap));
    for (size_t i = 0; i < n * m; i++)
        t->val_scores[i] = 1.0f / (1.0f + expf(-t->val_scores[i]));
    AC_TRY(ac_metrics_count(t->val_scores, t->val.label, n, m, 0.5, count, &image));
    for (size_t c = 0; c < m; c++)
        AC_TRY(ac_metrics_average_precision(t->val_scores + c, t->val.label + c, n, m, &ap[c]));
    AC_TRY(ac_metrics_summarise(count, &image, m, 0.5, ap, NULL, &metrics));
    values[2] = metrics.mean_average_precision;
    values[3] = metrics.macro_f1;
    values[4] = metrics.macro_f2;
out:
    ac_metrics_release(&metrics);
    ac_free(count);
    ac_free(ap);
    return status;
}

ac_status trainer_validate(trainer *t, int64_t epoch, double values[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    size_t n = (size_t)t->val.n_samples, m = t->val.n_classes, n_mine = 0, all_bytes, id_bytes;
    float *mine = NULL, *all = NULL;
    int64_t *ids = NULL, *all_ids = NULL;
    AC_TRY(ac_comm_agree(t->run->comm, ac_malloc(n * m + 1, sizeof *mine, &mine)));
    AC_TRY(ac_comm_agree(t->run->comm, ac_malloc(n + 1, sizeof *ids, &ids)));
    AC_TRY(ac_comm_agree(t->run->comm, infer_slices(t, epoch, mine, ids, &n_mine)));
    AC_TRY(ac_comm_gather_all(t->run->comm, mine, n_mine * m * sizeof *mine, (void **)&all, &all_bytes, NULL));
    AC_TRY(ac_comm_gather_all(t->run->comm, ids, n_mine * sizeof *ids, (void **)&all_ids, &id_bytes, NULL));
    for (size_t i = 0; i < id_bytes / sizeof *ids; i++)
        memcpy(t->val_scores + (size_t)all_ids[i] * m, all + i * m, m * sizeof *all);
    AC_TRY(ac_comm_agree(t->run->comm, score(t, values)));
out:
    ac_free(mine);
    ac_free(all);
    ac_free(ids);
    ac_free(all_ids);
    return status;
}
