/* A training step as the device sees it: forward and backward of each micro-batch, the update, and what comes of it. Where the
 * device can, each kind of step is recorded the second time it is made and replayed as one from then on; the host may run
 * AC_STEPS_AHEAD steps ahead of the device and reads a step's numbers later. Not collective. One thread at a time. */
#ifndef ANYCLASS_STEP_H
#define ANYCLASS_STEP_H

#include "anyclass/optimizer.h"
#include "anyclass/plan.h"

typedef struct ac_step ac_step;

enum { AC_STEP_MAX_PLANS = 2, AC_STEPS_AHEAD = 2 };

typedef struct ac_step_config {
    ac_optimizer *optimizer;  /* borrowed, as all of these */
    int n_plans;              /* bound, for training, over the optimiser's parameters */
    ac_plan *plan[AC_STEP_MAX_PLANS];
    ac_value loss[AC_STEP_MAX_PLANS];
    bool record;              /* false: never; true: where the device can. Not with hooks that need the host amid a step (sum_over_ranks) */
} ac_step_config;

typedef enum ac_step_part { /* bits: which part of a step a micro-batch is */
    AC_STEP_FIRST = 1,      /* gradients and loss are written, not added */
    AC_STEP_LAST = 2,       /* gradient_ready of the hooks is called */
    AC_STEP_UPDATE = 4      /* the update follows at once: gradients are whole, or the hooks make them so on the device */
} ac_step_part;

AC_NODISCARD ac_status ac_step_create(const ac_step_config *config, ac_step **out);
/** NULL is allowed. Waits for what is under way. Before its plans and optimiser. */
void ac_step_destroy(ac_step *step);
/** Forward and backward of plan `plan` on what ac_plan_write() left, and what `part` says. Does not wait where the device works
 * behind the caller's back. With hooks: in a replay they are not called; what they asked of the device is done again.
 * @param learning_rate  used with AC_STEP_UPDATE */
AC_NODISCARD ac_status ac_step_run(ac_step *step, int plan, unsigned part, const ac_plan_hooks *hooks, double learning_rate);
/** The update by itself, after gradients were summed outside. */
AC_NODISCARD ac_status ac_step_update(ac_step *step, double learning_rate);
/** The step is asked for. At most AC_STEPS_AHEAD of them may wait for their ac_step_take(). */
AC_NODISCARD ac_status ac_step_end(ac_step *step);
/** Steps that ended and were not taken. */
int ac_step_n_waiting(const ac_step *step);
/** Wait for the oldest of them. @param[out] state  what it left: loss, gradient norm, number of updates, loss scale.
 * @return AC_OK; AC_ERR_NUMERIC as ac_optimizer_take(), `state` is set then too. */
AC_NODISCARD ac_status ac_step_take(ac_step *step, ac_step_state *state);
/** The loss so far, of the micro-batches asked for, when the update is still to come. Waits. */
AC_NODISCARD ac_status ac_step_read_loss(ac_step *step, double *loss);
/** Steps are replayed (false: not yet, or never). */
bool ac_step_is_recorded(const ac_step *step);

#endif
