/* Notices a rank that died, was stopped, or is stuck, and ends the others: a thread per rank that talks to rank 0's over TCP,
 * since calls of MPI hang when another rank is gone. What it costs the caller is a few stores per report.
 *
 * A rank that goes without a goodbye (killed, crashed) ends all others at once with AC_ERR_SYNC. A rank that is not heard of for
 * `limit_s` (stopped, its machine hangs), one whose main thread made no report for `limit_s`, or ranks that wait for each other
 * for `limit_s`, end all with AC_ERR_WATCHDOG. One rank speaks: rank 0, or another one when rank 0 is the one that is gone.
 * Time in which this rank itself was stopped is held against nobody. */
#ifndef ANYCLASS_WATCHDOG_H
#define ANYCLASS_WATCHDOG_H

#include "anyclass/comm.h"

typedef struct ac_watchdog ac_watchdog;

typedef struct ac_watchdog_config {
    double limit_s; /* > 0 */
    /* Called once, on the watchdog's thread, when the run cannot go on. `text`: the line to show, NULL on ranks that are to
     * keep quiet. Must not wait for the main thread. */
    void (*verdict)(void *context, ac_status status, const char *text);
    /* Called after it, when the other ranks know: ends the process with the status's exit code, and does not return. */
    void (*end)(void *context, ac_status status);
    void *context;
} ac_watchdog_config;

/** Collective. Returns at once: connections are made in the background, and one warning names the ranks that could not
 * connect; those are watched by their own clock only. With one rank there is no network at all.
 * @return AC_OK; AC_ERR_MEMORY, AC_ERR_IO, AC_ERR_SYNC, the same on all ranks. */
AC_NODISCARD ac_status ac_watchdog_start(MPI_Comm comm, const ac_watchdog_config *config, ac_watchdog **out);

/** Report what the main thread does now: the clock of its report starts anew. Lock-free, some 50 ns; one thread at a time.
 * Not collective. A rank that reports nothing, or NULL, may take as long as it likes unless others wait for it.
 * @param watchdog  NULL: nothing happens
 * @param phase     "training step", of static storage; NULL: nothing to report from here on
 * @param step      number shown with it; negative: none
 * @param waiting   for other ranks: then it is those that do not wait who are to blame */
void ac_watchdog_at(ac_watchdog *watchdog, const char *phase, int64_t step, bool waiting);

/** Say goodbye and end the thread, at most about a second later. NULL is allowed. Not collective, but all ranks' work must be
 * done: nobody is watched from here on. */
void ac_watchdog_stop(ac_watchdog *watchdog);

#endif
