/* anyclass-train with one parameter damaged in mid-epoch, as the environment variable DAMAGE says. bit: one bit changed on the
 * last rank alone, as bad memory would do it; nan: not a number, on all ranks. Same options; run by behaviour.t. */
#include "train/train_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void damage(trainer *t, const char *how)
{
    float *value = &t->params->value[t->params->n_values / 2];
    uint32_t bits;
    if (strcmp(how, "nan") == 0) {
        *value = NAN;
    } else if (t->run->rank == t->run->size - 1) {
        memcpy(&bits, value, sizeof bits);
        bits ^= 1;
        memcpy(value, &bits, sizeof bits);
    }
}

static ac_status train_damaged(trainer *t)
{
    ac_status status = AC_OK;
    int64_t n_steps = t->n_steps;
    t->n_steps = 2; /* equal until here */
    AC_TRY(trainer_epoch(t));
    AC_TRY(trainer_check_drift(t));
    damage(t, getenv("DAMAGE"));
    t->n_steps = n_steps;
    AC_TRY(trainer_epoch(t));
out:
    return status;
}

static int run_damaged(MPI_Comm comm, int argc, char **argv)
{
    return trainer_run(comm, argc, argv, train_damaged);
}

int main(int argc, char **argv)
{
    return ac_main(argc, argv, run_damaged);
}
