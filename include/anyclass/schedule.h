/* Learning rate of an epoch, in double. Warm-up counts in epochs. Not collective. */
#ifndef ANYCLASS_SCHEDULE_H
#define ANYCLASS_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

typedef enum ac_schedule_kind { AC_SCHEDULE_CONSTANT, AC_SCHEDULE_MULTISTEP, AC_SCHEDULE_COSINE } ac_schedule_kind;
#define AC_SCHEDULE_CHOICES "constant|multistep|cosine"

typedef struct ac_schedule {
    int kind;                    /* ac_schedule_kind; the reference: multistep with sgd, cosine with adamW */
    double learning_rate;        /* base rate */
    const double *steps;         /* multistep: epochs at which the rate is multiplied by `decay`, in any order, borrowed */
    size_t n_steps;
    double decay;
    double min_rate;             /* cosine */
    int64_t first_period, period_factor; /* cosine with warm restarts: T0 and Tmult */
    int64_t warmup_epochs;       /* linear from start factor to 1 times the base rate over this many epochs; then the schedule */
    double warmup_start_factor;  /* begins at its own epoch 0: steps and periods count from the end of the warm-up */
} ac_schedule;

/** Rate used throughout `epoch` (from 0). Cosine: min + (base - min) (1 + cos(pi t / T)) / 2 with t epochs into a period
 * of T (Loshchilov and Hutter, ICLR 2017). */
double ac_schedule_rate(const ac_schedule *schedule, int64_t epoch);

#endif
