/* Forward passes whose result is read later, for devices that work behind the caller's back: while one is under way the next batch is
 * written and the result of the one before used. Recorded and replayed as steps are (step.h). Not collective. One thread at a time. */
#ifndef ANYCLASS_FORWARD_H
#define ANYCLASS_FORWARD_H

#include "anyclass/plan.h"

typedef struct ac_forward ac_forward;

enum { AC_FORWARDS_AHEAD = 2 };

/** @param plan    bound; borrowed
 *  @param result  of its graph: what is read */
AC_NODISCARD ac_status ac_forward_create(ac_plan *plan, ac_value result, bool record, ac_forward **out);
/** NULL is allowed. Waits for what is under way. Before the plan. */
void ac_forward_destroy(ac_forward *forward);
/** A pass over what ac_plan_write() left. At most AC_FORWARDS_AHEAD may wait for their ac_forward_take(). */
AC_NODISCARD ac_status ac_forward_run(ac_forward *forward);
/** How many passes it is worth to have under way before the oldest is taken: 1, or 0 where ac_forward_run() returns when it is done. */
int ac_forward_lag(const ac_forward *forward);
/** Passes that were run and not taken. */
int ac_forward_n_waiting(const ac_forward *forward);
/** Wait for the oldest pass. @param[out] result  host memory of the result's shape, which may be written to; whole until the pass behind the next one is run */
AC_NODISCARD ac_status ac_forward_take(ac_forward *forward, void **result);

#endif
