/* One sum over all ranks is always under way, and a rank looks at it between two pieces of its work. So a signal, or a failure, costs what the slowest
 * rank's piece takes, and no rank waits for another before the end. */
#include "preprocess/beat.h"
#include "anyclass/stop.h"
#include <string.h>
#include <time.h>

void beat_begin(work_beat *b, MPI_Comm comm, ac_watchdog *watchdog, const char *phase)
{
    *b = (work_beat){.comm = comm, .watchdog = watchdog, .phase = phase, .request = MPI_REQUEST_NULL, .mine[BEAT_WORKING] = 1, .told[BEAT_WORKING] = 1};
}

static ac_status begin_sum(work_beat *b)
{
    b->mine[BEAT_SIGNALLED] = ac_stop_signal() != 0;
    memcpy(b->sum, b->mine, sizeof b->sum);
    return ac_comm_check(MPI_Iallreduce(MPI_IN_PLACE, b->sum, N_BEAT, MPI_INT64_T, MPI_SUM, b->comm, &b->request), "MPI_Iallreduce");
}

/* The sum that is under way, or the next one. */
static ac_status hear(work_beat *b)
{
    ac_status status = AC_OK;
    int done = 0;
    if (b->watchdog)
        ac_watchdog_at(b->watchdog, b->phase, b->count++, false);
    if (b->told[BEAT_WORKING] == 0) /* all ranks have heard that: none begins another sum */
        goto out;
    if (b->request == MPI_REQUEST_NULL)
        AC_TRY(begin_sum(b));
    AC_TRY(ac_comm_check(MPI_Test(&b->request, &done, MPI_STATUS_IGNORE), "MPI_Test"));
    if (done)
        memcpy(b->told, b->sum, sizeof b->told);
out:
    return status;
}

ac_status beat_once(work_beat *b)
{
    ac_status status = AC_OK;
    AC_TRY(hear(b));
    if (ac_stop_signal() || b->told[BEAT_SIGNALLED])
        status = ac_error(AC_ERR_SIGNAL, "stopped by a signal");
    else if (b->told[BEAT_FAILED])
        status = ac_error(AC_ERR_SYNC, "another rank failed");
out:
    return status;
}

void beat_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

ac_status beat_wait(work_beat *b, MPI_Request *request)
{
    ac_status status = AC_OK;
    int done = 0;
    for (;;) {
        AC_TRY(ac_comm_check(MPI_Test(request, &done, MPI_STATUS_IGNORE), "MPI_Test"));
        if (done)
            return AC_OK;
        AC_TRY(hear(b));
        beat_pause();
    }
out:
    return status;
}

ac_status beat_leave(work_beat *b, bool failed, bool *all_done)
{
    b->mine[BEAT_WORKING] = 0;
    b->mine[BEAT_FAILED] = failed;
    ac_status status = hear(b);
    *all_done = status == AC_OK && b->told[BEAT_WORKING] == 0;
    return status;
}

ac_status beat_end(work_beat *b, bool failed)
{
    ac_status status = AC_OK;
    bool all_done = false;
    while (!all_done) {
        AC_TRY(beat_leave(b, failed, &all_done));
        if (!all_done)
            beat_pause();
    }
out:
    return status;
}
