/* Replicates of two score sets over all ranks: each rank sorts the columns that it owns, then goes through all
 * replicates, eight at a time, with weights that it draws itself. Leaves the arithmetic to lib/metrics. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/hash.h"
#include "anyclass/log.h"
#include "anyclass/stop.h"
#include "evaluate/compare.h"
#include <string.h>

typedef struct own_columns { /* columns rank, rank + size, ... of both sets */
    const label_table *labels;
    double threshold;
    size_t rank, size, n;
    ac_bootstrap_order **order[COMPARE_N_SETS]; /* [n] */
    ac_bootstrap_class *measured;               /* [n, COMPARE_N_SETS, n_draws] */
    int64_t *loss[COMPARE_N_SETS];              /* [n_images] of all classes, after they were added */
    uint64_t *key;                              /* [n_images] */
    ac_bootstrap_weights weights;
    size_t n_draws;
    int set; /* that is read now */
} own_columns;

static void release_own(own_columns *of)
{
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        for (size_t i = 0; of->order[s] && i < of->n; i++)
            ac_bootstrap_order_destroy(of->order[s][i]);
        ac_free(of->order[s]);
        ac_free(of->loss[s]);
    }
    ac_free(of->measured);
    ac_free(of->key);
    ac_free(of->weights.packed);
}

static ac_status allocate_own(own_columns *of)
{
    ac_status status = AC_OK;
    size_t n_images = of->labels->n_images, n_columns = of->labels->n_classes + 1;
    of->n = of->rank < n_columns ? (n_columns - of->rank - 1) / of->size + 1 : 0;
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        AC_TRY(ac_calloc(of->n, sizeof *of->order[s], &of->order[s]));
        AC_TRY(ac_calloc(n_images, sizeof *of->loss[s], &of->loss[s]));
    }
    AC_TRY(ac_malloc(of->n * COMPARE_N_SETS * of->n_draws, sizeof *of->measured, &of->measured));
    AC_TRY(ac_malloc(n_images, sizeof *of->key, &of->key));
    AC_TRY(ac_malloc(n_images, sizeof *of->weights.packed, &of->weights.packed));
    of->weights.n = n_images;
    for (size_t i = 0; i < n_images; i++)
        of->key[i] = ac_hash64_bytes(of->labels->name[i], strlen(of->labels->name[i]));
out:
    return status;
}

static ac_status use_column(void *context, size_t c, const double *score)
{
    own_columns *of = context;
    const label_table *labels = of->labels;
    const ac_column column = evaluate_column(labels, c, score);
    if (c < labels->n_classes)
        ac_bootstrap_add_loss(&column, of->loss[of->set]);
    return ac_bootstrap_order_create(&column, of->threshold, &of->order[of->set][c / of->size]);
}

/* Sum over ranks, in pieces that MPI can count. */
static ac_status add_losses(MPI_Comm comm, int64_t *loss, size_t n)
{
    ac_status status = AC_OK;
    enum { BLOCK = 1 << 24 };
    for (size_t first = 0; first < n; first += BLOCK) {
        int part = (int)(n - first < BLOCK ? n - first : BLOCK);
        AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, loss + first, part, MPI_INT64_T, MPI_SUM, comm),
                             "adding losses"));
    }
out:
    return status;
}

static ac_status read_set(MPI_Comm comm, const compare_sets *sets, int s, own_columns *of)
{
    ac_status status = AC_OK;
    score_table scores = {0};
    of->set = s;
    AC_TRY(evaluate_read_scores(comm, &sets->found[s], sets->set[s], of->labels, &scores));
    AC_TRY(evaluate_each_column(comm, of->labels, &scores, use_column, of));
    AC_TRY(add_losses(comm, of->loss[s], of->labels->n_images));
out:
    evaluate_release_scores(&scores);
    return status;
}

/* Eight replicates of all own columns; those behind the last draw are left out. */
static void measure_block(own_columns *of, size_t first, compare_replicates *out)
{
    size_t n = of->n_draws - first < AC_BOOTSTRAP_LANES ? of->n_draws - first : AC_BOOTSTRAP_LANES;
    for (size_t i = 0; i < of->n; i++)
        for (int s = 0; s < COMPARE_N_SETS; s++) {
            ac_bootstrap_class lane[AC_BOOTSTRAP_LANES];
            ac_bootstrap_walk(of->order[s][i], &of->weights, lane);
            memcpy(of->measured + (i * COMPARE_N_SETS + (size_t)s) * of->n_draws + first, lane, n * sizeof *lane);
        }
    if (of->rank != 0)
        return;
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        double loss[AC_BOOTSTRAP_LANES];
        ac_bootstrap_mean_loss(of->loss[s], of->labels->n_classes, &of->weights, loss);
        memcpy(out->loss[s] + first, loss, n * sizeof *loss);
    }
    memcpy(out->total + first, of->weights.total, n * sizeof *out->total);
}

static void measure_all(const compare_config *config, own_columns *of, compare_replicates *out)
{
    ac_progress progress;
    ac_progress_begin(&progress, "bootstrap", "replicates", of->n_draws - 1);
    for (size_t first = 0; first < of->n_draws && !ac_stop_signal(); first += AC_BOOTSTRAP_LANES) {
        size_t end = first + AC_BOOTSTRAP_LANES < of->n_draws ? first + AC_BOOTSTRAP_LANES : of->n_draws;
        ac_bootstrap_draw((uint64_t)config->seed, (uint32_t)first, of->key, &of->weights);
        measure_block(of, first, out);
        ac_progress_update(&progress, end - 1, NULL);
    }
    ac_progress_end(&progress);
}

static ac_status allocate_replicates(int rank, compare_replicates *out)
{
    ac_status status = AC_OK;
    for (int s = 0; rank == 0 && s < COMPARE_N_SETS; s++) {
        AC_TRY(ac_malloc((out->n_classes + 1) * out->n_draws, sizeof *out->column[s], &out->column[s]));
        AC_TRY(ac_malloc(out->n_draws, sizeof *out->loss[s], &out->loss[s]));
    }
    if (rank == 0)
        AC_TRY(ac_malloc(out->n_draws, sizeof *out->total, &out->total));
out:
    return status;
}

/* A column of one set, from its owner to rank 0. */
static ac_status send_column(MPI_Comm comm, const own_columns *of, size_t c, int s, compare_replicates *out)
{
    ac_status status = AC_OK;
    int n_bytes;
    size_t owner = c % of->size, n = of->n_draws;
    AC_TRY(ac_comm_count(n * sizeof *of->measured, &n_bytes));
    const ac_bootstrap_class *mine = of->measured + (c / of->size * COMPARE_N_SETS + (size_t)s) * n;
    if (owner == 0) {
        if (of->rank == 0)
            memcpy(out->column[s] + c * n, mine, n * sizeof *mine);
    } else if (of->rank == owner)
        status = ac_comm_check(MPI_Send(mine, n_bytes, MPI_BYTE, 0, s, comm), "sending replicates");
    else if (of->rank == 0)
        status =
            ac_comm_check(MPI_Recv(out->column[s] + c * n, n_bytes, MPI_BYTE, (int)owner, s, comm, MPI_STATUS_IGNORE),
                          "receiving replicates");
out:
    return status;
}

ac_status compare_measure(MPI_Comm comm, const compare_config *config, const compare_sets *sets,
                          const label_table *labels, compare_replicates *out)
{
    ac_status status = AC_OK;
    int rank, size;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    *out = (compare_replicates){
        .n_draws = (size_t)config->n_bootstrap + 1, .n_classes = labels->n_classes, .n_images = labels->n_images};
    own_columns of = {.labels = labels,
                      .threshold = config->evaluate.threshold,
                      .rank = (size_t)rank,
                      .size = (size_t)size,
                      .n_draws = out->n_draws};
    AC_TRY(ac_comm_agree(comm, allocate_own(&of)));
    for (int s = 0; s < COMPARE_N_SETS; s++)
        AC_TRY(read_set(comm, sets, s, &of));
    AC_TRY(ac_comm_check_stop(comm, EVALUATE_STOPPED));
    if (config->evaluate.common.dry_run)
        goto out;
    AC_TRY(ac_comm_agree(comm, allocate_replicates(rank, out)));
    measure_all(config, &of, out);
    AC_TRY(ac_comm_check_stop(comm, EVALUATE_STOPPED));
    for (size_t c = 0; c <= labels->n_classes; c++)
        for (int s = 0; s < COMPARE_N_SETS; s++)
            AC_TRY(send_column(comm, &of, c, s, out));
    status = ac_comm_agree(comm, status);
out:
    release_own(&of);
    return status;
}

void compare_release_replicates(compare_replicates *of)
{
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        ac_free(of->column[s]);
        ac_free(of->loss[s]);
    }
    ac_free(of->total);
    memset(of, 0, sizeof *of);
}
