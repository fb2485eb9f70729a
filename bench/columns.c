/* The exchange of score columns between ranks, with nothing done to them.
 * Usage: mpirun -n RANKS columns [IMAGES [CLASSES [ROUNDS [sorted|shuffled]]]] */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/store.h"
#include "evaluate/steps.h"
#include <stdlib.h>
#include <string.h>

static ac_status use_nothing(void *context, size_t c, const double *score)
{
    *(double *)context += score[c];
    return AC_OK;
}

static ac_status fill(const label_table *labels, int rank, int size, bool shuffled, score_table *out)
{
    ac_status status = AC_OK;
    int64_t first, n;
    ac_order order;
    ac_order_init(&order, labels->n_images, 1, 0, shuffled);
    ac_comm_slice((int64_t)labels->n_images, rank, size, &first, &n);
    out->n_rows = (size_t)n;
    AC_TRY(ac_malloc(out->n_rows, sizeof *out->image, &out->image));
    AC_TRY(ac_malloc(out->n_rows * labels->n_classes, sizeof *out->score, &out->score));
    for (size_t i = 0; i < out->n_rows; i++)
        out->image[i] = (uint32_t)ac_order_at(&order, (uint64_t)first + i);
    for (size_t i = 0; i < out->n_rows * labels->n_classes; i++)
        out->score[i] = (double)(i % 1000) / 1000;
out:
    return status;
}

int main(int argc, char **argv)
{
    ac_status status = AC_OK;
    int rank, size;
    double sum = 0;
    MPI_Comm comm = MPI_COMM_WORLD;
    score_table scores = {0};
    label_table labels = {.n_images = argc > 1 ? strtoull(argv[1], NULL, 10) : 1040129,
                          .n_classes = argc > 2 ? strtoull(argv[2], NULL, 10) : 17};
    int n_rounds = argc > 3 ? atoi(argv[3]) : 5;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    AC_TRY(fill(&labels, rank, size, argc > 4 && strcmp(argv[4], "shuffled") == 0, &scores));
    for (int i = 0; i < n_rounds; i++) {
        MPI_Barrier(comm);
        double start_s = MPI_Wtime();
        AC_TRY(evaluate_each_column(comm, &labels, &scores, use_nothing, &sum));
        if (rank == 0)
            printf("%d ranks, %zu images, %zu columns: %.3f s\n", size, labels.n_images, labels.n_classes + 1, MPI_Wtime() - start_s);
    }
out:
    if (status != AC_OK)
        fprintf(stderr, "columns: %s\n", ac_error_text());
    ac_free(scores.image);
    ac_free(scores.score);
    MPI_Finalize();
    return ac_status_exit_code(status);
}
