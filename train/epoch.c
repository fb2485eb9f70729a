/* Training steps. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/stop.h"
#include "train/train_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static ac_status gradient_ready(void *context, size_t n_ready)
{
    return ac_reducer_ready(context, n_ready);
}

/* Statistics of --sync_bn: a wait for other ranks amid forward or backward. */
static ac_status sum_over_ranks(void *context, double *values, size_t n)
{
    trainer *t = context;
    ac_watchdog_at(t->run->watchdog, "training step", t->optimizer->step + 1, true);
    ac_status status = ac_reducer_sum(t->reducer, values, n);
    ac_watchdog_at(t->run->watchdog, "training step", t->optimizer->step + 1, false);
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

static ac_status write_inputs(const trainer *t, const train_size *size, const ac_batch *batch, int64_t first, double scale)
{
    ac_status status = AC_OK;
    const ac_network *n = &size->network;
    size_t rows = (size_t)size->rows, m = t->train.n_classes;
    AC_TRY(ac_plan_write(size->plan, n->images, batch->image + (size_t)first * t->train.image_bytes, rows * t->train.image_bytes));
    AC_TRY(ac_plan_write(size->plan, n->keys, batch->key + first, rows * sizeof *batch->key));
    AC_TRY(ac_plan_write(size->plan, n->targets, batch->label + (size_t)first * m, rows * m));
    AC_TRY(ac_plan_write(size->plan, n->class_weights, t->class_weights, (m + 1) * sizeof(double)));
    AC_TRY(ac_plan_write(size->plan, n->inverse_denominator, &scale, sizeof scale));
out:
    return status;
}

/* Images of micro-batch k, and the graph for as many. */
static const train_size *size_of(const trainer *t, int64_t k, int64_t *first)
{
    int64_t rows;
    ac_comm_slice(t->slice_n, (int)k, (int)t->n_micro, first, &rows);
    return &t->size[rows == t->size[0].rows ? 0 : 1];
}

/* Row of the first image whose logits are no numbers, or -1. */
static ac_status find_bad_row(const train_size *size, size_t m, int64_t *row)
{
    ac_status status = AC_OK;
    float *logits = NULL;
    *row = -1;
    AC_TRY(ac_malloc((size_t)size->rows * m, sizeof *logits, &logits));
    AC_TRY(ac_plan_read(size->plan, size->network.logits, logits, (size_t)size->rows * m * sizeof *logits));
    for (size_t i = 0; i < (size_t)size->rows * m && *row < 0; i++)
        if (!isfinite(logits[i]))
            *row = (int64_t)(i / m);
out:
    ac_free(logits);
    return status;
}

/* Name the first image whose logits are no numbers: it is what a person will want to look at. The parameters are as they were in that step, so
 * its forward passes are made again. */
static ac_status bad_loss(trainer *t, const ac_batch *batch, int64_t step, bool *named)
{
    ac_status status = AC_OK;
    const char *name = NULL;
    *named = false;
    if (!batch) {
        AC_TRY(ac_loader_begin(t->loader, t->info.epoch, step));
        AC_TRY(ac_loader_next(t->loader, &batch, NULL));
    }
    for (int64_t k = 0; k < t->n_micro && !name; k++) {
        int64_t first, row;
        const ac_plan_hooks hooks = {.sum_over_ranks = NULL}; /* this rank alone */
        const train_size *size = size_of(t, k, &first);
        ac_plan_set_hooks(size->plan, &hooks);
        AC_TRY(write_inputs(t, size, batch, first, 1));
        AC_TRY(ac_plan_forward(size->plan));
        AC_TRY(find_bad_row(size, t->train.n_classes, &row));
        name = row < 0 ? NULL : ac_store_name(&t->train, batch->sample[first + row]);
    }
    status = ac_error(AC_ERR_NUMERIC, "the loss is not a number in epoch %lld, step %lld%s%s: try a smaller --learning_rate; saved checkpoints are as they were",
                      (long long)t->info.epoch, (long long)step + 1, name ? ", first for image " : "", name ? name : "");
    *named = name != NULL;
out:
    return status;
}

/* The same, found by all ranks in the sum: one that can name an image speaks. */
static ac_status bad_sum(trainer *t)
{
    ac_status status = AC_OK, mine;
    bool named;
    int n_named;
    mine = bad_loss(t, NULL, t->info.step, &named);
    n_named = named;
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &n_named, 1, MPI_INT, MPI_SUM, t->run->comm), "MPI_Allreduce"));
    status = ac_comm_agree(t->run->comm, n_named > 0 && !named ? AC_OK : mine);
out:
    return status;
}

/* J of all ranks is the device's to add up, if it has to be. */
static bool sums_there(const trainer *t)
{
    return t->device->backend->queue && (t->run->size == 1 || ac_reducer_on_device(t->reducer));
}

/* What comes of a step is read when the next one is under way: on a device that works behind our back and needs no host amid a step. */
static bool reads_later(const trainer *t)
{
    return sums_there(t) && (t->run->size == 1 || !t->config->sync_bn);
}

/* All ranks are where they can go on together: none failed. Where the devices sum, a rank that could not ask for its part of a step
 * is told of here, before anybody waits for that step. @param[out] stop  some rank got a signal */
static ac_status meet(trainer *t, ac_status mine, bool *stop)
{
    ac_status status = AC_OK;
    int events[2] = {mine != AC_OK, ac_stop_signal() != 0};
    if (t->run->size > 1)
        AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, events, 2, MPI_INT, MPI_MAX, t->run->comm), "MPI_Allreduce"));
    if (events[0])
        AC_TRY(ac_comm_agree(t->run->comm, mine));
    *stop = *stop || events[1];
out:
    return status;
}

/* 16-mixed takes a loss that is no number as an overflow, until the loss scale cannot be lowered any more. */
static bool is_bad(const trainer *t, double loss)
{
    return !isfinite(loss) && !t->optimizer->config.dynamic_scale;
}

/* Forward and backward of this rank's images; *loss: its share of J, if it is known at once. */
static ac_status make_gradients(trainer *t, const ac_batch *batch, double scale, double rate, double *loss)
{
    ac_status status = AC_OK;
    bool named;
    for (int64_t k = 0; k < t->n_micro; k++) {
        int64_t first;
        const train_size *size = size_of(t, k, &first);
        bool last = k == t->n_micro - 1;
        bool others = t->run->size > 1;
        const ac_plan_hooks hooks = {last && others ? gradient_ready : NULL, t->reducer, others && t->config->sync_bn ? sum_over_ranks : NULL, t};
        AC_TRY(write_inputs(t, size, batch, first, scale));
        AC_TRY(ac_step_run(t->step, (int)(size - t->size), (k == 0 ? AC_STEP_FIRST : 0) | (last ? AC_STEP_LAST : 0) | (last && reads_later(t) ? AC_STEP_UPDATE : 0),
                           &hooks, rate));
    }
    if (sums_there(t))
        return AC_OK;
    AC_TRY(ac_step_read_loss(t->step, loss));
    if (is_bad(t, *loss))
        return bad_loss(t, batch, batch->step, &named);
out:
    return status;
}

typedef struct step_result {
    double loss, gradient_norm;
    bool stop;    /* some rank got a signal */
    bool updated; /* false: gradients overflowed in 16-mixed */
} step_result;

/* The sum over ranks and the update behind it, where devices do not do both by themselves. `loss` is this rank's share of J, `mine` how its part of the
 * step went: a rank that failed still takes part in every bucket, so that the others get through. */
static ac_status sum_and_update(trainer *t, double loss, ac_status mine, double rate, step_result *result)
{
    ac_status status = AC_OK;
    double sums[3] = {loss, mine != AC_OK, ac_stop_signal() != 0}; /* J, ranks that failed, that got a signal */
    if (mine != AC_OK)
        ac_reducer_give_up(t->reducer);
    AC_TRY(ac_reducer_finish_sum(t->reducer, sums, sizeof sums / sizeof *sums, NULL));
    if (sums[1] > 0)
        AC_TRY(ac_comm_agree(t->run->comm, mine));
    AC_TRY(ac_step_update(t->step, rate));
    t->summed_loss = sums[0];
    result->stop = sums[2] > 0;
out:
    return status;
}

/* Ask for the next step of the epoch. */
static ac_status ask(trainer *t, const ac_order *order, double rate, step_result *result)
{
    ac_status status = AC_OK;
    const ac_batch *batch;
    double waited = 0, loss = 0;
    bool stop = false;
    int64_t number = t->optimizer->step + ac_step_n_waiting(t->step) + 1;
    ac_watchdog_at(t->run->watchdog, "reading training images", number, false);
    status = ac_loader_next(t->loader, &batch, &waited);
    ac_watchdog_at(t->run->watchdog, "training step", number, true);
    AC_TRY(meet(t, status, &stop));
    t->wait_s += waited;
    ac_watchdog_at(t->run->watchdog, "training step", number, false);
    ac_reducer_begin(t->reducer);
    status = make_gradients(t, batch, inverse_denominator(t, order, batch->step), rate, &loss);
    ac_watchdog_at(t->run->watchdog, "training step", number, true);
    if (!reads_later(t)) {
        AC_TRY(sum_and_update(t, loss, status, rate, result));
    } else if (status == AC_OK) {
        result->stop = stop;
    } else {
        ac_reducer_give_up(t->reducer);
        AC_TRY(meet(t, status, &stop)); /* the others are in the next one, or will be */
    }
    AC_TRY(ac_step_end(t->step));
out:
    return status;
}

/* Take over steps that were asked for, until `keep` of them are left. */
static ac_status settle(trainer *t, int keep, step_result *result)
{
    ac_status status = AC_OK;
    while (ac_step_n_waiting(t->step) > keep) {
        ac_step_state state = {0}; /* a device that computes no more leaves nothing there */
        int64_t n_skipped = t->optimizer->state.n_skipped;
        status = ac_step_take(t->step, &state);
        result->loss = sums_there(t) ? state.loss : t->summed_loss;
        result->gradient_norm = state.gradient_norm;
        result->updated = state.n_updates > t->info.optimizer_step;
        if (status == AC_OK || status == AC_ERR_NUMERIC)
            if (is_bad(t, result->loss) || (status != AC_OK && !isfinite(result->loss)))
                return bad_sum(t);
        AC_TRY(status);
        if (state.n_skipped > n_skipped)
            ac_log(AC_LOG_INFO, "epoch %lld step %lld: gradients overflowed, no update; the loss scale is now %g", (long long)t->info.epoch, (long long)t->info.step + 1,
                   state.loss_scale);
        t->info.optimizer_step = t->optimizer->step;
        t->info.loss_scale = state.loss_scale;
        t->info.n_even = state.n_even;
        t->info.n_skipped = state.n_skipped;
        t->info.loss_sum += isfinite(result->loss) ? result->loss : 0;
        t->info.step++;
    }
out:
    return status;
}

static void log_profile(const trainer *t, int64_t n_steps)
{
    size_t n_ops;
    const ac_op *const *ops = ac_op_table(&n_ops);
    for (size_t k = 0; k < n_ops; k++) {
        double f = 0, b = 0;
        for (int s = 0; s < t->n_sizes; s++) {
            const double *forward_s, *backward_s;
            const ac_graph *graph = t->size[s].network.graph;
            ac_plan_profile_read(t->size[s].plan, &forward_s, &backward_s);
            for (size_t i = 0; i < graph->n_nodes; i++)
                if (graph->node[i].op == ops[k]) {
                    f += forward_s[i];
                    b += backward_s[i];
                }
        }
        ac_log(AC_LOG_INFO, "profile: %-16s forward %8.2f ms, backward %8.2f ms per step", ops[k]->name, 1e3 * f / (double)n_steps,
               1e3 * b / (double)n_steps);
    }
}

typedef struct interval { /* since the last line of --log_every */
    double start_s, wait_s, exposed_s;
    int64_t first_step;
} interval;

static interval interval_begin(const trainer *t)
{
    ac_reducer_stats stats;
    ac_reducer_get_stats(t->reducer, &stats);
    return (interval){ac_now_s(), t->wait_s, stats.exposed_s, t->info.step};
}

static ac_status report_interval(trainer *t, interval *since, double rate, const step_result *r)
{
    ac_status status = AC_OK;
    const interval now = interval_begin(t);
    double took = now.start_s - since->start_s, n = (double)(t->info.step - since->first_step);
    train_record record = {.loss = r->loss, .gradient_norm = r->gradient_norm, .learning_rate = rate,
                           .images_per_s = n * (double)t->config->batch_size / took, .wait_s = (now.wait_s - since->wait_s) / n,
                           .exposed_s = (now.exposed_s - since->exposed_s) / n};
    ac_log(AC_LOG_INFO, "epoch %lld step %lld/%lld: loss %.7g, learning rate %.3g, gradient norm %.3g, %.1f images/s, waits per step %.1f ms for data, %.1f ms for other ranks",
           (long long)t->info.epoch, (long long)t->info.step, (long long)t->n_steps, r->loss, rate, r->gradient_norm, record.images_per_s,
           1e3 * record.wait_s, 1e3 * record.exposed_s);
    *since = now;
    if (t->events)
        AC_TRY(trainer_record_step(t, &record));
out:
    return status;
}

/* Does anything come due behind the steps asked for so far that needs their results? */
static bool is_due(const trainer *t)
{
    const train_config *c = t->config;
    int64_t n = t->optimizer->step + ac_step_n_waiting(t->step);
    return !reads_later(t) || c->profile || t->info.step + ac_step_n_waiting(t->step) == t->n_steps || (c->log_every > 0 && n % c->log_every == 0) ||
           (c->check_steps > 0 && n % c->check_steps == 0) || (c->checkpoint_steps > 0 && n % c->checkpoint_steps == 0);
}

/* What comes due between two steps, beside the log. */
static ac_status after_step(trainer *t, const step_result *r)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    if (r->updated && c->check_steps > 0 && t->optimizer->step % c->check_steps == 0)
        AC_TRY(trainer_check_drift(t));
    if (r->stop)
        return trainer_stop(t);
    if (r->updated && c->checkpoint_steps > 0 && t->optimizer->step % c->checkpoint_steps == 0) {
        AC_TRY(trainer_save(t));
        AC_TRY(trainer_check_stop(t)); /* it may have taken long: a signal that came meanwhile need not wait for another step */
    }
out:
    return status;
}

/* The loader may have begun this epoch while the one before was validated. */
static ac_status begin_epoch(trainer *t)
{
    ac_status status = AC_OK;
    if (t->begun_epoch != t->info.epoch || t->info.step > 0)
        AC_TRY(ac_loader_begin(t->loader, t->info.epoch, t->info.step));
    t->begun_epoch = -1;
    for (int s = 0; s < t->n_sizes; s++)
        ac_plan_profile(t->size[s].plan, t->config->profile);
    t->wait_s = 0;
out:
    return status;
}

/* What the steps of an epoch waited for, and how much of the communication was hidden behind backward. */
static void log_waits(const trainer *t, int64_t n_steps, const ac_reducer_stats *before)
{
    ac_reducer_stats now;
    double n = (double)n_steps / 1e3;
    ac_reducer_get_stats(t->reducer, &now);
    ac_log(AC_LOG_INFO, "epoch %lld: %.1f ms per step waiting for data", (long long)t->info.epoch, t->wait_s / n);
    if (t->run->size > 1 && ac_reducer_on_device(t->reducer))
        ac_log(AC_LOG_INFO, "epoch %lld: communication per step: %.2f ms exposed, by %s", (long long)t->info.epoch, (now.exposed_s - before->exposed_s) / n,
               ac_reducer_way(t->reducer));
    else if (t->run->size > 1)
        ac_log(AC_LOG_INFO, "epoch %lld: communication per step: %.1f ms exposed, %.1f ms under way%s, %.1f ms in sums, %.1f MB sent", (long long)t->info.epoch,
               (now.exposed_s - before->exposed_s) / n, (now.busy_s - before->busy_s) / n, now.threaded ? "" : " (no thread: MPI has no MPI_THREAD_SERIALIZED)",
               (now.sum_s - before->sum_s) / n, (double)(now.sent_bytes - before->sent_bytes) / 1e9 / n);
}

ac_status trainer_epoch(trainer *t)
{
    ac_status status = AC_OK;
    const train_config *c = t->config;
    ac_order order;
    ac_progress progress;
    step_result result = {0};
    double rate = ac_schedule_rate(&t->schedule, t->info.epoch);
    char label[32], note[64];
    int64_t first_step = t->info.step;
    double start = ac_now_s();
    ac_order_init(&order, (uint64_t)t->train.n_samples, (uint64_t)c->seed, (uint64_t)t->info.epoch, true);
    AC_TRY(begin_epoch(t));
    snprintf(label, sizeof label, "epoch %lld", (long long)t->info.epoch);
    ac_progress_begin(&progress, label, "images", (uint64_t)((t->n_steps - first_step) * c->batch_size));
    interval since = interval_begin(t);
    ac_reducer_stats before;
    ac_reducer_get_stats(t->reducer, &before);
    while (t->info.step < t->n_steps) {
        AC_TRY(ask(t, &order, rate, &result));
        bool due = result.stop || is_due(t);
        if (due && reads_later(t))
            AC_TRY(meet(t, AC_OK, &result.stop)); /* all ranks have asked for the step that is now waited for */
        AC_TRY(settle(t, due ? 0 : AC_STEPS_AHEAD - 1, &result));
        snprintf(note, sizeof note, "loss %.4f", result.loss);
        ac_progress_update(&progress, (uint64_t)((t->info.step - first_step) * c->batch_size), note);
        if (!due)
            continue;
        if (result.updated && c->log_every > 0 && t->optimizer->step % c->log_every == 0)
            AC_TRY(ac_comm_agree(t->run->comm, report_interval(t, &since, rate, &result)));
        AC_TRY(after_step(t, &result));
    }
    ac_progress_end(&progress);
    if (t->info.epoch + 1 < c->max_epochs) { /* the next epoch's first batches come while this one is validated */
        AC_TRY(ac_loader_begin(t->loader, t->info.epoch + 1, 0));
        t->begun_epoch = t->info.epoch + 1;
    }
    int64_t n = t->n_steps - first_step;
    t->images_per_s = (double)(n * c->batch_size) / (ac_now_s() - start);
    log_waits(t, n, &before);
    if (c->profile)
        log_profile(t, n);
out:
    if (status != AC_OK)
        ac_reducer_give_up(t->reducer); /* nobody waits for what this rank will not do */
    return status;
}
