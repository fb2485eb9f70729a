/* Between steps: agreement of the ranks' parameters, and saving, after an epoch, on the way, or because of a signal. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/stop.h"
#include "train/train_internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Ranks whose hash is not the most frequent one, as "1, 4": n hashes, ties won by the lowest rank. */
static void list_outsiders(const ac_hash *hash, int n, char *out, size_t capacity)
{
    int best = 0, most = 0;
    size_t used = 0;
    for (int a = 0; a < n; a++) {
        int same = 0;
        for (int b = 0; b < n; b++)
            same += ac_hash_equal(hash[a], hash[b]);
        if (same > most) {
            most = same;
            best = a;
        }
    }
    out[0] = '\0';
    for (int a = 0; a < n && used + 16 < capacity; a++)
        if (!ac_hash_equal(hash[a], hash[best]))
            used += (size_t)snprintf(out + used, capacity - used, "%s%d", used ? ", " : "", a);
}

ac_status trainer_check_drift(trainer *t)
{
    ac_status status = AC_OK;
    ac_hash *all = NULL;
    bool same;
    char outsiders[256];
    ac_hash hash;
    if (t->run->size == 1)
        return AC_OK;
    /* running statistics are each rank's own without --sync_bn: values alone must agree */
    AC_TRY(ac_comm_agree(t->run->comm, ac_params_hash(t->params, true, &hash)));
    AC_TRY(ac_comm_same(t->run->comm, &hash, sizeof hash, &same));
    if (same)
        return AC_OK;
    AC_TRY(ac_comm_agree(t->run->comm, ac_calloc((size_t)t->run->size, sizeof *all, &all)));
    AC_TRY(ac_comm_check(MPI_Allgather(&hash, sizeof hash, MPI_BYTE, all, sizeof hash, MPI_BYTE, t->run->comm), "MPI_Allgather"));
    list_outsiders(all, t->run->size, outsiders, sizeof outsiders);
    status = ac_error(AC_ERR_SYNC, "after step %lld the parameters of rank %s differ from the others': faulty memory or processor there? Saved checkpoints are from before; continue with --checkpoint auto",
                      (long long)t->optimizer->step, outsiders);
out:
    ac_free(all);
    return status;
}

static void note_saved(trainer *t)
{
    t->saved_epoch = t->info.epoch;
    t->saved_step = t->info.step;
}

ac_status trainer_save(trainer *t)
{
    ac_status status = AC_OK;
    double start = ac_now_s();
    ac_watchdog_at(t->run->watchdog, "saving", -1, t->run->rank > 0);
    if (t->run->rank == 0) {
        status = ac_checkpoint_check_lock(&t->lock);
        if (status == AC_OK)
            status = ac_checkpoint_keep_last(t->folder, &t->info, t->params, t->optimizer);
    }
    ac_watchdog_at(t->run->watchdog, "saving", -1, true);
    AC_TRY(ac_comm_agree(t->run->comm, status));
    note_saved(t);
    ac_log(AC_LOG_INFO, "saved epoch %lld, step %lld in %.1f s", (long long)t->info.epoch, (long long)t->info.step, ac_now_s() - start);
out:
    return status;
}

static ac_status finish_epoch(trainer *t, double loss, const double values[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    AC_TRY(ac_checkpoint_check_lock(&t->lock));
    /* The row first: if this ends before the checkpoint is there, the resumed training writes it again. A row that cannot be
     * written ends the training, but not before the epoch is saved. */
    ac_status recorded = trainer_record_epoch(t, t->info.epoch - 1, loss, values);
    char text[AC_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", ac_error_text());
    AC_TRY(ac_checkpoint_keep(t->folder, &t->info, values, t->params, t->optimizer));
    if (recorded != AC_OK)
        return ac_error(recorded, "%s", text);
out:
    return status;
}

ac_status trainer_end_epoch(trainer *t, const double values[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    double loss = t->info.loss_sum / (double)t->info.step;
    ac_log(AC_LOG_INFO, "epoch %lld: train loss %.4f, val loss %.4f, bce %.4f, AP %.4f, F1 %.4f, F2 %.4f", (long long)t->info.epoch, loss, values[0],
           values[1], values[2], values[3], values[4]);
    t->info.epoch++;
    t->info.step = 0;
    t->info.loss_sum = 0;
    ac_watchdog_at(t->run->watchdog, "saving", -1, t->run->rank > 0);
    if (t->run->rank == 0)
        status = finish_epoch(t, loss, values);
    ac_watchdog_at(t->run->watchdog, "saving", -1, true);
    AC_TRY(ac_comm_agree(t->run->comm, status));
    note_saved(t);
out:
    return status;
}

ac_status trainer_check_stop(trainer *t)
{
    ac_status status = ac_comm_check_stop(t->run->comm, "");
    return status == AC_ERR_SIGNAL ? trainer_stop(t) : status;
}

ac_status trainer_stop(trainer *t)
{
    ac_status status = AC_OK;
    int signal = ac_stop_signal();
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &signal, 1, MPI_INT, MPI_MAX, t->run->comm), "MPI_Allreduce"));
    if (t->info.epoch == 0 && t->info.step == 0)
        return ac_error(AC_ERR_SIGNAL, "stopped by signal %d before the first step: run it again to begin", signal);
    if (t->info.epoch != t->saved_epoch || t->info.step != t->saved_step) /* else it came while that was saved, or before anything else was done */
        AC_TRY(trainer_save(t));
    return ac_error(AC_ERR_SIGNAL, "stopped by signal %d: epoch %lld, step %lld is saved in %s; run again with --checkpoint auto to go on", signal,
                    (long long)t->info.epoch, (long long)t->info.step, t->folder);
out:
    return status;
}
