/* Recording work and replaying it. */
#include "nn/recorded.h"
#include "anyclass/log.h"
#include <stdio.h>

recorder recorder_of(ac_device *device, bool record)
{
    recorder r = {.device = device, .queue = device->backend->queue};
    r.records = record && r.queue && r.queue->record_begin;
    return r;
}

/* A device that cannot record something works on without: slower, never wrong. */
static void record(recorder *r, recorded *piece, ac_status (*work)(void *context), void *context)
{
    char why[AC_ERROR_TEXT_BYTES] = "";
    ac_status status = r->queue->record_begin(r->device);
    if (status == AC_OK) {
        status = work(context);
        if (status != AC_OK)
            snprintf(why, sizeof why, "%s", ac_error_text()); /* the end says no more than that something went wrong before */
        ac_status ended = r->queue->record_end(r->device, &piece->recording);
        status = status == AC_OK ? ended : status;
    }
    if (status == AC_OK)
        return;
    recorded_release(r, piece);
    r->records = false;
    ac_log(AC_LOG_WARN, "steps are not recorded, which may make them slower: %s", *why ? why : ac_error_text());
}

ac_status recorded_run(recorder *r, recorded *piece, bool plainly, ac_status (*work)(void *context), void *context)
{
    if (r->records && !plainly && !piece->recording && piece->n_runs > 0) /* the first time sets up what is made late */
        record(r, piece, work, context);
    piece->n_runs += !plainly;
    return piece->recording && !plainly ? r->queue->replay(r->device, piece->recording) : work(context);
}

void recorded_release(const recorder *r, recorded *piece)
{
    if (piece->recording)
        r->queue->release_recording(r->device, piece->recording);
    piece->recording = NULL;
}

void recorder_settle(const recorder *r)
{
    if (r->queue && r->device->backend->synchronize)
        (void)r->device->backend->synchronize(r->device); /* what failed was told, or is of no use any more */
}
