/* anyclass-train with one operator's backward, on the last rank alone, made to fail: the others must come to know it.
 * Same options; run by samples.t. */
#include "nn/plan_internal.h"
#include "train/train_internal.h"

static ac_status fail(const ac_call *call)
{
    return ac_error(AC_ERR_NUMERIC, "%s was made to fail", call->node->op->name);
}

static ac_status train_one_epoch(trainer *t)
{
    train_size *size = &t->size[0];
    size_t middle = size->network.graph->n_nodes / 2;
    ac_kernel broken = *size->plan->node[middle].kernel;
    broken.backward = fail;
    if (t->run->rank == t->run->size - 1)
        size->plan->node[middle].kernel = &broken;
    ac_status status = trainer_epoch(t);
    size->plan->node[middle].kernel = ac_backend_kernel(t->device->backend, size->network.graph->node[middle].op);
    return status;
}

static int run_failing(MPI_Comm comm, int argc, char **argv)
{
    return trainer_run(comm, argc, argv, train_one_epoch);
}

int main(int argc, char **argv)
{
    return ac_main(argc, argv, run_failing);
}
