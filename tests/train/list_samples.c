/* The trainer as anyclass-train opens it, but instead of training it says how its two graphs augment, and lists which
 * samples each global step holds, in the order of the batch: "epoch step: id id ...". Same options; run by samples.t on
 * several ranks. */
#include "anyclass/alloc.h"
#include "train/train_internal.h"
#include <stdio.h>

static ac_status list_epoch(trainer *t, int64_t epoch, int64_t first_step)
{
    ac_status status = AC_OK;
    const ac_batch *batch;
    int64_t *all = NULL;
    size_t n_bytes;
    AC_TRY(ac_loader_begin(t->loader, epoch, first_step));
    for (;;) {
        AC_TRY(ac_loader_next(t->loader, &batch, NULL));
        if (!batch)
            break;
        AC_TRY(ac_comm_gather_all(t->run->comm, batch->sample, (size_t)batch->n * sizeof *batch->sample, (void **)&all, &n_bytes, NULL));
        if (t->run->rank == 0) {
            printf("%lld %lld:", (long long)epoch, (long long)batch->step);
            for (size_t i = 0; i < n_bytes / sizeof *all; i++)
                printf(" %lld", (long long)all[i]);
            printf("\n");
        }
        ac_free(all);
        all = NULL;
    }
out:
    ac_free(all);
    return status;
}

static void print_augment(const char *graph, const ac_network *network)
{
    const ac_image_input_attribute *input = (const void *)network->graph->node[0].attribute;
    const ac_augment *a = &input->augment;
    printf("%s: kind %d, %g %g %g %g, %g degrees, flip %d, seed %llu\n", graph, a->kind, (double)a->brightness, (double)a->contrast,
           (double)a->saturation, (double)a->hue, (double)a->rotation_degrees, input->flip, (unsigned long long)input->seed);
}

static ac_status list(trainer *t)
{
    ac_status status = AC_OK;
    if (t->run->rank == 0) {
        print_augment("train", &t->size[0].network);
        print_augment("val", &t->eval);
    }
    AC_TRY(list_epoch(t, 0, 0));
    AC_TRY(list_epoch(t, 1, 0));
    AC_TRY(list_epoch(t, 1, 2)); /* entered in the middle */
out:
    return status;
}

static int run_list(MPI_Comm comm, int argc, char **argv)
{
    return trainer_run(comm, argc, argv, list);
}

int main(int argc, char **argv)
{
    return ac_main(argc, argv, run_list);
}
