/* Validation: every image once, the metrics of all of them on every rank. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/stop.h"
#include "train/train_internal.h"
#include <math.h>
#include <string.h>

typedef struct scored { /* what this rank has scored */
    float *logits;      /* [capacity, M] */
    int64_t *sample;
    size_t n, n_asked;
} scored;

/* Ask for this rank's rows of the next batch. Which samples they are is noted now, their logits come later, in the same order. */
static ac_status ask(trainer *t, scored *mine)
{
    ac_status status = AC_OK;
    size_t rows = (size_t)t->val_rows;
    const ac_batch *batch;
    AC_TRY(ac_loader_next(t->val_loader, &batch, NULL));
    AC_TRY(ac_plan_write(t->eval_plan, t->eval.images, batch->image, rows * t->val.image_bytes));
    AC_TRY(ac_plan_write(t->eval_plan, t->eval.keys, batch->key, rows * sizeof *batch->key));
    AC_TRY(ac_forward_run(t->eval_pass));
    memcpy(mine->sample + mine->n_asked, batch->sample, (size_t)batch->n * sizeof *batch->sample);
    mine->n_asked += (size_t)batch->n;
out:
    return status;
}

static ac_status take(trainer *t, scored *mine)
{
    ac_status status = AC_OK;
    size_t m = t->val.n_classes, n = mine->n_asked - mine->n < (size_t)t->val_rows ? mine->n_asked - mine->n : (size_t)t->val_rows; /* the last alone may hold fewer */
    float *logits;
    AC_TRY(ac_forward_take(t->eval_pass, (void **)&logits));
    for (size_t i = 0; i < n * m; i++)
        if (isnan(logits[i]))
            return ac_error(AC_ERR_NUMERIC, "the validation score of %s is not a number after epoch %lld: try a smaller --learning_rate; saved checkpoints are as they were",
                            ac_store_name(&t->val, mine->sample[mine->n + i / m]), (long long)t->info.epoch);
    memcpy(mine->logits + mine->n * m, logits, n * m * sizeof *logits);
    mine->n += n;
out:
    return status;
}

static ac_status ask_and_take(trainer *t, scored *mine, bool last)
{
    ac_status status = AC_OK;
    AC_TRY(ask(t, mine));
    while (ac_forward_n_waiting(t->eval_pass) > (last ? 0 : ac_forward_lag(t->eval_pass)))
        AC_TRY(take(t, mine));
out:
    return status;
}

/* All ranks make the same number of batches, so that failures and signals can be agreed on after each. */
static ac_status infer_slices(trainer *t, scored *mine)
{
    ac_status status = AC_OK;
    int64_t n_batches = (t->val.n_samples + t->val_batch - 1) / t->val_batch;
    AC_TRY(ac_comm_agree(t->run->comm, ac_loader_begin(t->val_loader, t->info.epoch, 0)));
    for (int64_t b = 0; b < n_batches; b++) {
        ac_watchdog_at(t->run->watchdog, "validation batch", b, false);
        ac_status one = ask_and_take(t, mine, b == n_batches - 1);
        ac_watchdog_at(t->run->watchdog, "validation batch", b, true);
        int events[2] = {one != AC_OK, ac_stop_signal() != 0};
        AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, events, 2, MPI_INT, MPI_MAX, t->run->comm), "MPI_Allreduce"));
        if (events[0])
            AC_TRY(ac_comm_agree(t->run->comm, one));
        if (events[1])
            return trainer_stop(t);
    }
out:
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

ac_status trainer_validate(trainer *t, double values[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    size_t n = (size_t)t->val.n_samples, m = t->val.n_classes, all_bytes, id_bytes;
    float *all = NULL;
    int64_t *all_ids = NULL;
    scored mine = {0};
    double start = ac_now_s();
    /* running statistics are each rank's own without --sync_bn: from here on rank 0's are everybody's */
    AC_TRY(ac_comm_broadcast_arena(t->run->comm, t->device, t->params->buffer, t->params->n_buffers * sizeof(float)));
    ac_params_changed(t->params);
    AC_TRY(ac_comm_agree(t->run->comm, ac_malloc(n * m + 1, sizeof *mine.logits, &mine.logits)));
    AC_TRY(ac_comm_agree(t->run->comm, ac_malloc(n + 1, sizeof *mine.sample, &mine.sample)));
    AC_TRY(infer_slices(t, &mine));
    AC_TRY(ac_comm_gather_all(t->run->comm, mine.logits, mine.n * m * sizeof *mine.logits, (void **)&all, &all_bytes, NULL));
    AC_TRY(ac_comm_gather_all(t->run->comm, mine.sample, mine.n * sizeof *mine.sample, (void **)&all_ids, &id_bytes, NULL));
    for (size_t i = 0; i < id_bytes / sizeof *all_ids; i++)
        memcpy(t->val_scores + (size_t)all_ids[i] * m, all + i * m, m * sizeof *all);
    ac_watchdog_at(t->run->watchdog, "scoring", -1, false);
    status = score(t, values);
    ac_watchdog_at(t->run->watchdog, "scoring", -1, true);
    AC_TRY(ac_comm_agree(t->run->comm, status));
    ac_log(AC_LOG_DEBUG, "validation: %lld images in %.2f s", (long long)t->val.n_samples, ac_now_s() - start);
out:
    ac_free(mine.logits);
    ac_free(mine.sample);
    ac_free(all);
    ac_free(all_ids);
    return status;
}
