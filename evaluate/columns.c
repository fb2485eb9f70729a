/* Scores by class instead of by image: each rank gets whole classes, in the labels' order of images, so that nothing
 * that follows depends on the number of ranks or on the order of rows. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "evaluate/steps.h"
#include <string.h>

enum { GROUP = 8 }; /* columns that are cut out of the rows in one pass: a cache line of each row */

ac_column evaluate_column(const label_table *labels, size_t c, const double *score)
{
    bool any = c == labels->n_classes;
    return (ac_column){.score = score,
                       .label = any ? labels->image_positive : labels->label + c,
                       .label_stride = any ? 1 : labels->n_classes,
                       .image_positive = labels->image_positive,
                       .n = labels->n_images};
}

typedef struct exchange { /* in each round one column for each rank; several rounds' columns are packed together */
    int rank, size;
    size_t n_packed;           /* columns in `send`: those of whole rounds */
    int *n_rows, *offset;      /* [size] rows of each rank, and their start in the received column */
    int *send_n, *send_offset; /* [size] */
    int *none;                 /* [size] zeros: a rank that has no class in this round */
    uint32_t *image;           /* [all rows] of the rows as they arrive */
    double *send, *received;   /* [n_packed, rows here]; [all rows] */
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

static ac_status allocate_exchange(exchange *of, size_t n_columns, size_t n_rows, size_t n_images)
{
    ac_status status = AC_OK;
    size_t size = (size_t)of->size;
    of->n_packed = size < GROUP ? GROUP / size * size : size;
    while (of->n_packed > size && of->n_packed - size >= n_columns)
        of->n_packed -= size;
    AC_TRY(ac_calloc(size, sizeof(int), &of->n_rows));
    AC_TRY(ac_calloc(size, sizeof(int), &of->offset));
    AC_TRY(ac_calloc(size, sizeof(int), &of->send_n));
    AC_TRY(ac_calloc(size, sizeof(int), &of->send_offset));
    AC_TRY(ac_calloc(size, sizeof(int), &of->none));
    AC_TRY(ac_malloc(n_images, sizeof *of->image, &of->image));
    AC_TRY(ac_malloc(of->n_packed * n_rows, sizeof *of->send, &of->send));
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
    AC_TRY(ac_comm_agree(comm, allocate_exchange(of, labels->n_classes + 1, scores->n_rows, labels->n_images)));
    AC_TRY(ac_comm_check(MPI_Allgather(&mine, 1, MPI_INT, of->n_rows, 1, MPI_INT, comm), "gathering rows"));
    for (int r = 1; r < of->size; r++)
        of->offset[r] = of->offset[r - 1] + of->n_rows[r - 1];
    AC_TRY(ac_comm_check(
        MPI_Allgatherv(scores->image, mine, MPI_UINT32_T, of->image, of->n_rows, of->offset, MPI_UINT32_T, comm),
        "gathering images"));
out:
    return status;
}

/* The highest score of each image. */
static void pack_highest(const score_table *scores, size_t n_classes, double *out)
{
    for (size_t i = 0; i < scores->n_rows; i++) {
        const double *row = scores->score + i * n_classes;
        double value = row[0];
        for (size_t k = 1; k < n_classes; k++)
            value = row[k] > value ? row[k] : value;
        out[i] = value;
    }
}

/* Columns first, first + 1 .. of the rows here. */
static void pack_columns(exchange *of, size_t n_classes, const score_table *scores, size_t first)
{
    size_t n_rows = scores->n_rows, n = first < n_classes ? n_classes - first : 0;
    n = n < of->n_packed ? n : of->n_packed;
    for (size_t i = 0; i < n_rows; i++) {
        const double *row = scores->score + i * n_classes + first;
        for (size_t k = 0; k < n; k++)
            of->send[k * n_rows + i] = row[k];
    }
    if (n < of->n_packed && first + n == n_classes)
        pack_highest(scores, n_classes, of->send + n * n_rows);
}

/* What goes to each rank in this round: the column `first` + its number. */
static void prepare_round(exchange *of, size_t n_classes, const score_table *scores, size_t first)
{
    size_t packed = first % of->n_packed;
    if (packed == 0)
        pack_columns(of, n_classes, scores, first);
    for (int r = 0; r < of->size; r++) {
        of->send_offset[r] = (int)((size_t)r * scores->n_rows);
        of->send_n[r] = first + (size_t)r <= n_classes ? (int)scores->n_rows : 0;
    }
}

static ac_status use_round(MPI_Comm comm, exchange *of, const label_table *labels, const score_table *scores,
                           size_t first, evaluate_use_column use, void *context)
{
    ac_status status = AC_OK;
    size_t mine = first + (size_t)of->rank;
    bool have = mine <= labels->n_classes;
    prepare_round(of, labels->n_classes, scores, first);
    const double *send = of->send + first % of->n_packed * scores->n_rows;
    AC_TRY(ac_comm_check(MPI_Alltoallv(send, of->send_n, of->send_offset, MPI_DOUBLE, of->received,
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
