/* Ranks that copy files at their own pace hear of each other's failures and signals: one sum over all of them is always under way, and a rank looks
 * at it between two pieces of a file. So a signal costs what the slowest rank's piece takes, and no rank waits for another before the end. */
#include "anyclass/stop.h"
#include "preprocess/stage.h"
#include <string.h>
#include <time.h>

static ac_status begin_sum(stage_job *job)
{
    stage_beat *b = &job->beat;
    b->mine[BEAT_SIGNALLED] = ac_stop_signal() != 0;
    memcpy(b->sum, b->mine, sizeof b->sum);
    return ac_comm_check(MPI_Iallreduce(MPI_IN_PLACE, b->sum, N_BEAT, MPI_INT64_T, MPI_SUM, job->run->comm, &b->request), "MPI_Iallreduce");
}

static void show(stage_job *job)
{
    const int64_t *told = job->beat.told;
    if (job->run->rank > 0 || told[BEAT_ALL_BYTES] == 0)
        return;
    job->progress.total = (uint64_t)told[BEAT_ALL_BYTES] / 1000000;
    ac_progress_update(&job->progress, (uint64_t)told[BEAT_DONE_BYTES] / 1000000, NULL);
}

void stage_beat_begin(stage_job *job)
{
    job->beat = (stage_beat){.request = MPI_REQUEST_NULL, .mine[BEAT_WORKING] = 1, .told[BEAT_WORKING] = 1};
}

/* The sum that is under way, or the next one. @param[out] *all  it has arrived */
static ac_status hear(stage_job *job, bool *all)
{
    ac_status status = AC_OK;
    stage_beat *b = &job->beat;
    int arrived = 0;
    ac_watchdog_at(job->run->watchdog, "staging", b->count++, false);
    if (b->request == MPI_REQUEST_NULL)
        AC_TRY(begin_sum(job));
    AC_TRY(ac_comm_check(MPI_Test(&b->request, &arrived, MPI_STATUS_IGNORE), "MPI_Test"));
    if (arrived)
        memcpy(b->told, b->sum, sizeof b->told);
    *all = arrived != 0;
    show(job);
out:
    return status;
}

ac_status stage_beat_once(stage_job *job)
{
    ac_status status = AC_OK;
    bool all;
    AC_TRY(hear(job, &all));
    if (ac_stop_signal() || job->beat.told[BEAT_SIGNALLED])
        status = ac_error(AC_ERR_SIGNAL, "stopped by a signal");
    else if (job->beat.told[BEAT_FAILED])
        status = ac_error(AC_ERR_SYNC, "another rank failed");
out:
    return status;
}

/* Between two looks when there is nothing to do. */
static void pause_shortly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
}

ac_status stage_beat_wait(stage_job *job, MPI_Request *request)
{
    ac_status status = AC_OK;
    int arrived = 0;
    bool all;
    for (;;) {
        AC_TRY(ac_comm_check(MPI_Test(request, &arrived, MPI_STATUS_IGNORE), "MPI_Test"));
        if (arrived)
            return AC_OK;
        AC_TRY(hear(job, &all));
        pause_shortly();
    }
out:
    return status;
}

ac_status stage_machine_agree(stage_job *job, ac_status mine)
{
    ac_status status = AC_OK;
    MPI_Request request;
    int any = mine != AC_OK;
    char text[AC_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", ac_error_text());
    AC_TRY(ac_comm_check(MPI_Iallreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_MAX, job->machine, &request), "MPI_Iallreduce"));
    AC_TRY(stage_beat_wait(job, &request));
    if (mine != AC_OK)
        status = ac_error(mine, "%s", text);
    else if (any)
        status = ac_error(AC_ERR_SYNC, "another rank of this machine failed");
out:
    return status;
}

ac_status stage_beat_end(stage_job *job, ac_status mine)
{
    ac_status status = AC_OK;
    stage_beat *b = &job->beat;
    bool all = false;
    char text[AC_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "%s", ac_error_text());
    b->mine[BEAT_WORKING] = 0;
    b->mine[BEAT_FAILED] = mine != AC_OK && mine != AC_ERR_DATA && mine != AC_ERR_SIGNAL;
    do {
        AC_TRY(hear(job, &all));
        if (!all)
            pause_shortly();
    } while (!all || b->told[BEAT_WORKING] > 0);
    int signal = ac_stop_signal();
    if (b->told[BEAT_SIGNALLED]) /* the same on all ranks */
        AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, &signal, 1, MPI_INT, MPI_MAX, job->run->comm), "MPI_Allreduce"));
    if (mine == AC_ERR_SIGNAL)
        status = ac_error(mine, "stopped by signal %d: finished copies are kept, run it again to go on", signal);
    else if (mine != AC_OK)
        status = ac_error(mine, "%s", text);
out:
    return status;
}
