/* anyclass-train for one epoch of which nothing is saved: its steps are logged, and a model may be as large as memory allows. Same
 * options; run by models.t. */
#include "train/train_internal.h"

static ac_status train_unsaved(trainer *t)
{
    ac_status status = AC_OK;
    AC_TRY(trainer_epoch(t));
    AC_TRY(trainer_check_drift(t));
out:
    return status;
}

static int run_unsaved(MPI_Comm comm, int argc, char **argv)
{
    return trainer_run(comm, argc, argv, train_unsaved);
}

int main(int argc, char **argv)
{
    return ac_main(argc, argv, run_unsaved);
}
