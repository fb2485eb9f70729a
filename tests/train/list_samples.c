/* The trainer as anyclass-train opens it, but instead of training it says how its two graphs augment, and lists which
 * samples each global step holds, micro-batch by micro-batch, rank by rank: "epoch step: id id ...". Same options; run by
 * samples.t on several ranks. Continued from a checkpoint it lists the rest of the epoch; with SAVE_AT="EPOCH STEP" in the
 * environment it saves one that stands there. */
#include "anyclass/alloc.h"
#include "train/train_internal.h"
#include <stdio.h>
#include <stdlib.h>

/* The samples of this rank's micro-batches, one behind the other, as a step takes them. */
static ac_status take(const trainer *t, const ac_batch *batch, int64_t *out)
{
    int64_t n = 0;
    for (int64_t k = 0; k < t->n_micro; k++) {
        int64_t first, rows;
        ac_comm_slice(t->slice_n, (int)k, (int)t->n_micro, &first, &rows);
        if (rows != t->size[0].rows && rows != t->size[t->n_sizes - 1].rows)
            return ac_error(AC_ERR_RANGE, "a micro-batch of %lld rows has no plan", (long long)rows);
        for (int64_t i = 0; i < rows && n < t->slice_n; i++)
            out[n++] = batch->sample[first + i];
    }
    return n == t->slice_n && n == batch->n ? AC_OK : ac_error(AC_ERR_RANGE, "%lld samples in micro-batches of a slice of %d", (long long)n, batch->n);
}

static ac_status list_epoch(trainer *t, int64_t epoch, int64_t first_step)
{
    ac_status status = AC_OK;
    const ac_batch *batch;
    int64_t *all = NULL, *mine = NULL;
    size_t n_bytes;
    AC_TRY(ac_malloc((size_t)t->slice_n, sizeof *mine, &mine));
    AC_TRY(ac_loader_begin(t->loader, epoch, first_step));
    for (;;) {
        AC_TRY(ac_loader_next(t->loader, &batch, NULL));
        if (!batch)
            break;
        AC_TRY(ac_comm_agree(t->run->comm, take(t, batch, mine)));
        AC_TRY(ac_comm_gather_all(t->run->comm, mine, (size_t)t->slice_n * sizeof *mine, (void **)&all, &n_bytes, NULL));
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
    ac_free(mine);
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
    long long epoch, step;
    const char *save_at = getenv("SAVE_AT");
    if (save_at && sscanf(save_at, "%lld %lld", &epoch, &step) == 2) {
        t->info.epoch = epoch;
        t->info.step = step;
        t->info.optimizer_step = t->optimizer->step = epoch * t->n_steps + step;
        return trainer_save(t);
    }
    if (t->info.step > 0)
        return list_epoch(t, t->info.epoch, t->info.step);
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
