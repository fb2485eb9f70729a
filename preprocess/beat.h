/* Ranks that work at their own pace for a long time, and yet hear of each other's failures and signals. */
#ifndef ANYCLASS_PREPROCESS_BEAT_H
#define ANYCLASS_PREPROCESS_BEAT_H

#include "anyclass/comm.h"
#include "anyclass/watchdog.h"

enum { BEAT_WORKING, BEAT_FAILED, BEAT_SIGNALLED, BEAT_DONE_BYTES, BEAT_ALL_BYTES, N_BEAT };

typedef struct work_beat { /* what all ranks know of each other, a moment ago */
    MPI_Comm comm;
    ac_watchdog *watchdog; /* NULL: nothing is reported */
    const char *phase;
    MPI_Request request;
    int64_t mine[N_BEAT]; /* this rank's, to be set at any time; summed */
    int64_t sum[N_BEAT], told[N_BEAT];
    int64_t count; /* calls, for the watchdog */
} work_beat;

/* Between begin and end no other collective call on `comm` may be made. */
void beat_begin(work_beat *beat, MPI_Comm comm, ac_watchdog *watchdog, const char *phase);
/* Tell and hear. Called between any two pieces of work.
 * @return AC_ERR_SIGNAL when any rank got a signal; AC_ERR_SYNC when another one failed, or MPI did. */
ac_status beat_once(work_beat *beat);
/* Wait for a request of some ranks' own, whatever is told meanwhile: they all come. AC_ERR_SYNC when MPI fails. */
ac_status beat_wait(work_beat *beat, MPI_Request *request);
/* This rank is done, and failed or not. True when all are; call it until then. */
ac_status beat_leave(work_beat *beat, bool failed, bool *all_done);
/* The same, until all are. */
ac_status beat_end(work_beat *beat, bool failed);
/* Between two looks when there is nothing to do. */
void beat_pause(void);

#endif
