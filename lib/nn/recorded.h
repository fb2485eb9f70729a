/* Work on a device that is asked for again and again: recorded the second time, replayed from then on, where the device can. */
#ifndef ANYCLASS_LIB_RECORDED_H
#define ANYCLASS_LIB_RECORDED_H

#include "anyclass/backend.h"

typedef struct recorder {
    ac_device *device;
    const ac_queue *queue; /* NULL: everything is done when a call returns */
    bool records;
} recorder;

typedef struct recorded { /* one piece of work; all zero at first */
    int n_runs;
    ac_recording *recording;
} recorded;

recorder recorder_of(ac_device *device, bool record);
/** Do `work`, by its recording if there is one. `plainly`: this time as it is; nothing is recorded. */
AC_NODISCARD ac_status recorded_run(recorder *r, recorded *piece, bool plainly, ac_status (*work)(void *context), void *context);
/** The device must have done what was asked of it. */
void recorded_release(const recorder *r, recorded *piece);
/** Wait for the device before what it works on is released. */
void recorder_settle(const recorder *r);

#endif
