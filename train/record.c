/* What a training leaves to read: metrics.csv, a row per epoch, and TensorBoard event files. metrics.csv is rewritten whole after
 * each epoch: complete or as it was, and after a resume without the rows of epochs that are made again. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "train/train_internal.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char header[] = "epoch,step,learning_rate,train_loss,val_loss,val_bce,val_ap,val_f1,val_f2\n";

/* Copy the rows of epochs before `epoch`; a file of other columns is not ours to continue. */
static ac_status copy_rows(const char *path, int64_t epoch, ac_file *out)
{
    ac_status status = AC_OK;
    uint8_t *bytes = NULL;
    size_t n;
    if (epoch == 0 || !ac_path_exists(path))
        return AC_OK;
    AC_TRY(ac_file_read_all(path, 0, &bytes, &n));
    const char *at = (const char *)bytes, *end;
    if (strncmp(at, header, sizeof header - 1) != 0)
        AC_TRY(ac_error(AC_ERR_DATA, "%s has other columns than this program writes: move it away to continue", path));
    for (at += sizeof header - 1; (end = strchr(at, '\n')) != NULL; at = end + 1)
        if (strtoll(at, NULL, 10) < epoch)
            AC_TRY(ac_file_write(out, at, (size_t)(end + 1 - at)));
out:
    ac_free(bytes);
    return status;
}

bool trainer_has_rows(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && info.st_size > (off_t)sizeof header - 1;
}

static ac_status write_metrics(const trainer *t, int64_t epoch, double loss, const double *values)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_file file = {0};
    AC_TRY(ac_path_join(path, t->folder, "metrics.csv"));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_write(&file, header, sizeof header - 1));
    AC_TRY(copy_rows(path, epoch, &file));
    if (values) {
        AC_TRY(ac_file_printf(&file, "%lld,%lld,%.17g,%.17g", (long long)epoch, (long long)t->optimizer->step, ac_schedule_rate(&t->schedule, epoch), loss));
        for (int i = 0; i < AC_N_TRACKED; i++)
            AC_TRY(ac_file_printf(&file, ",%.17g", values[i]));
        AC_TRY(ac_file_printf(&file, "\n"));
    }
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

ac_status trainer_record_begin(trainer *t)
{
    ac_status status = AC_OK;
    int64_t done = t->info.optimizer_step; /* what was recorded of these steps stays, unless their epoch's end is still to come */
    int64_t first = done > 0 && t->info.step < t->n_steps ? done + 1 : done;
    AC_TRY(write_metrics(t, t->info.epoch, 0, NULL));
    AC_TRY(ac_event_file_open(t->folder, first, &t->events));
    AC_TRY(ac_event_file_text(t->events, "options", first, t->info.config));
    AC_TRY(ac_event_file_flush(t->events));
out:
    return status;
}

ac_status trainer_record_step(trainer *t, const train_record *r)
{
    ac_status status = AC_OK;
    int64_t step = t->optimizer->step;
    AC_TRY(ac_event_file_scalar(t->events, "step/loss", step, r->loss));
    AC_TRY(ac_event_file_scalar(t->events, "step/gradient_norm", step, r->gradient_norm));
    AC_TRY(ac_event_file_scalar(t->events, "step/learning_rate", step, r->learning_rate));
    AC_TRY(ac_event_file_scalar(t->events, "step/images_per_s", step, r->images_per_s));
    AC_TRY(ac_event_file_scalar(t->events, "step/wait_for_data_s", step, r->wait_s));
    AC_TRY(ac_event_file_scalar(t->events, "step/wait_for_ranks_s", step, r->exposed_s));
    AC_TRY(ac_event_file_flush(t->events));
out:
    return status;
}

ac_status trainer_record_epoch(trainer *t, int64_t epoch, double loss, const double values[AC_N_TRACKED])
{
    ac_status status = AC_OK;
    int64_t step = t->optimizer->step;
    AC_TRY(write_metrics(t, epoch, loss, values));
    AC_TRY(ac_event_file_scalar(t->events, "epoch", step, (double)epoch));
    AC_TRY(ac_event_file_scalar(t->events, "train_loss", step, loss));
    AC_TRY(ac_event_file_scalar(t->events, "learning_rate", step, ac_schedule_rate(&t->schedule, epoch)));
    if (t->images_per_s > 0) /* else all steps were made before a resume */
        AC_TRY(ac_event_file_scalar(t->events, "images_per_s", step, t->images_per_s));
    for (int i = 0; i < AC_N_TRACKED; i++)
        AC_TRY(ac_event_file_scalar(t->events, ac_tracked_name[i], step, values[i]));
    AC_TRY(ac_event_file_flush(t->events));
out:
    return status;
}
