/* Scores by class instead of by image: each rank gets whole classes, in the labels' order of images, so that nothing that follows
 * depends on the number of ranks or on the order of rows. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "evaluate/steps.h"
#include <string.h>

typedef struct exchange { /* buffers of one round: one class for each rank */
    int rank, size;
    int *n_rows, *offset;      /* [size] rows of each rank, and their start in the received column */
    int *send_n, *send_offset; /* [size] */
    int *none;                 /* [size] zeros: a rank that has no class in this round */
    uint32_t *image;           /* [all rows] of the rows as they arrive */
    double *send, *received;   /* [size, rows here]; [all rows] */
    double *column;            /* [n_images] */
} exchange;

static void release_exchange(exchange *of)
{
    ac_free(of->n_rows);
    ac_free(of->offset);
    ac_free(of->send_n);
    ac_free(of->send_offset);
    ac_free(of->none);
    ac_free(of->image);
    ac_free(of->send);
    ac_free(of->received);
    ac_free(of->column);
}

static ac_status allocate_exchange(exchange *of, size_t n_rows, size_t n_images)
{
    ac_status status = AC_OK;
    size_t size = (size_t)of->size;
    AC_TRY(ac_calloc(size, sizeof(int), &of->n_rows));
    AC_TRY(ac_calloc(size, sizeof(int), &of->offset));
    AC_TRY(ac_calloc(size, sizeof(int), &of->send_n));
    AC_TRY(ac_calloc(size, sizeof(int), &of->send_offset));
    AC_TRY(ac_calloc(size, sizeof(int), &of->none));
    AC_TRY(ac_malloc(n_images, sizeof *of->image, &of->image));
    AC_TRY(ac_malloc(size * n_rows, sizeof *of->send, &of->send));
    AC_TRY(ac_malloc(n_images, sizeof *of->received, &of->received));
    AC_TRY(ac_malloc(n_images, sizeof *of->column, &of->column));
out:
    return status;
}

/* Rows are the images, each once: n_images in all. */
static ac_status begin_exchange(MPI_Comm comm, const label_table *labels, const score_table *scores, exchange *of)
{
    ac_status status = AC_OK;
    int mine = 0, ignored;
    uint64_t n_here = scores->n_rows, n_most = 0;
    memset(of, 0, sizeof *of);
    MPI_Comm_rank(comm, &of->rank);
    MPI_Comm_size(comm, &of->size);
    AC_TRY(ac_comm_check(MPI_Allreduce(&n_here, &n_most, 1, MPI_UINT64_T, MPI_MAX, comm), "comparing rows"));
    AC_TRY(ac_comm_count(labels->n_images, &ignored));
    AC_TRY(ac_comm_count(n_most * (uint64_t)of->size, &ignored));
    AC_TRY(ac_comm_count(n_here, &mine));
    AC_TRY(ac_comm_agree(comm, allocate_exchange(of, scores->n_rows, labels->n_images)));
    AC_TRY(ac_comm_check(MPI_Allgather(&mine, 1, MPI_INT, of->n_rows, 1, MPI_INT, comm), "gathering rows"));
    for (int r = 1; r < of->size; r++)
        of->offset[r] = of->offset[r - 1] + of->n_rows[r - 1];
    AC_TRY(ac_comm_check(MPI_Allgatherv(scores->image, mine, MPI_UINT32_T, of->image, of->n_rows, of->offset,
                                        MPI_UINT32_T, comm),
                         "gathering images"));
out:
    return status;
}

static void pack_column(const score_table *scores, size_t n_classes, size_t c, double *out)
{
    for (size_t i = 0; i < scores->n_rows; i++) {
        const double *row = scores->score + i * n_classes;
        double value = c < n_classes ? row[c] : row[0];
        for (size_t k = 1; c == n_classes && k < n_classes; k++)
            value = row[k] > value ? row[k] : value;
        out[i] = value;
    }
}

/* Fill what goes to each rank in this round: the column `first` + its number. */
static void pack_round(exchange *of, const label_table *labels, const score_table *scores, size_t first)
{
    for (int r = 0; r < of->size; r++) {
        size_t c = first + (size_t)r, start = (size_t)r * scores->n_rows;
        of->send_offset[r] = (int)start;
        of->send_n[r] = c <= labels->n_classes ? (int)scores->n_rows : 0;
        if (of->send_n[r] > 0)
            pack_column(scores, labels->n_classes, c, of->send + start);
    }
}

static ac_status use_round(MPI_Comm comm, exchange *of, const label_table *labels, const score_table *scores,
                           size_t first, evaluate_use_column use, void *context)
{
    ac_status status = AC_OK;
    size_t mine = first + (size_t)of->rank;
    bool have = mine <= labels->n_classes;
    pack_round(of, labels, scores, first);
    AC_TRY(ac_comm_check(MPI_Alltoallv(of->send, of->send_n, of->send_offset, MPI_DOUBLE, of->received,
                                       have ? of->n_rows : of->none, have ? of->offset : of->none, MPI_DOUBLE, comm),
                         "exchanging scores"));
    if (have) {
        for (size_t i = 0; i < labels->n_images; i++)
            of->column[of->image[i]] = of->received[i];
        status = use(context, mine, of->column);
    }
    status = ac_comm_agree(comm, status);
out:
    return status;
}

ac_status evaluate_each_column(MPI_Comm comm, const label_table *labels, const score_table *scores,
                               evaluate_use_column use, void *context)
{
    ac_status status = AC_OK;
    exchange of;
    AC_TRY(begin_exchange(comm, labels, scores, &of));
    for (size_t first = 0; first <= labels->n_classes; first += (size_t)of.size)
        AC_TRY(use_round(comm, &of, labels, scores, first, use, context));
out:
    release_exchange(&of);
    return status;
}
