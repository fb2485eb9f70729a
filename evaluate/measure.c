/* Metrics of one set over all ranks: counts are added, and for ranking each rank sorts whole classes that the others
 * send it, one class per rank and round. Leaves the formulas to lib/metrics. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "evaluate/steps.h"
#include <string.h>

typedef struct exchange { /* buffers of one round */
    int rank, size;
    int *n_rows, *offset;       /* [size] rows of each rank, and their start in the gathered column */
    int *send_n, *send_offset;  /* [size] */
    int *none;                  /* [size] zeros: counts and offsets of a rank that has no class in this round */
    size_t n_total;             /* rows over all ranks */
    double *send_score, *score; /* [size, rows here]; [n_total] */
    uint8_t *send_label, *label;
} exchange;

static void release_exchange(exchange *of)
{
    ac_free(of->n_rows);
    ac_free(of->offset);
    ac_free(of->send_n);
    ac_free(of->send_offset);
    ac_free(of->none);
    ac_free(of->send_score);
    ac_free(of->score);
    ac_free(of->send_label);
    ac_free(of->label);
    memset(of, 0, sizeof *of);
}

static ac_status allocate_exchange(exchange *of, size_t n_rows)
{
    ac_status status = AC_OK;
    size_t size = (size_t)of->size;
    AC_TRY(ac_calloc(size, sizeof(int), &of->n_rows));
    AC_TRY(ac_calloc(size, sizeof(int), &of->offset));
    AC_TRY(ac_calloc(size, sizeof(int), &of->send_n));
    AC_TRY(ac_calloc(size, sizeof(int), &of->send_offset));
    AC_TRY(ac_calloc(size, sizeof(int), &of->none));
    AC_TRY(ac_malloc(size * n_rows, sizeof(double), &of->send_score));
    AC_TRY(ac_malloc(size * n_rows, 1, &of->send_label));
    AC_TRY(ac_malloc(of->n_total, sizeof(double), &of->score));
    AC_TRY(ac_malloc(of->n_total, 1, &of->label));
out:
    return status;
}

static ac_status begin_exchange(MPI_Comm comm, size_t n_rows, exchange *of)
{
    ac_status status = AC_OK;
    int ignored, mine = (int)n_rows; /* checked just below */
    uint64_t n_here = n_rows, n_total = 0, n_most = 0;
    memset(of, 0, sizeof *of);
    MPI_Comm_rank(comm, &of->rank);
    MPI_Comm_size(comm, &of->size);
    AC_TRY(ac_comm_check(MPI_Allreduce(&n_here, &n_total, 1, MPI_UINT64_T, MPI_SUM, comm), "adding rows"));
    AC_TRY(ac_comm_check(MPI_Allreduce(&n_here, &n_most, 1, MPI_UINT64_T, MPI_MAX, comm), "comparing rows"));
    AC_TRY(ac_comm_count(n_total, &ignored));
    AC_TRY(ac_comm_count(n_most * (uint64_t)of->size, &ignored));
    of->n_total = n_total;
    AC_TRY(ac_comm_agree(comm, allocate_exchange(of, n_rows)));
    AC_TRY(ac_comm_check(MPI_Allgather(&mine, 1, MPI_INT, of->n_rows, 1, MPI_INT, comm), "gathering rows"));
    for (int r = 1; r < of->size; r++)
        of->offset[r] = of->offset[r - 1] + of->n_rows[r - 1];
out:
    return status;
}

/* Fill what goes to each rank in this round: the column of class `first` + its number. */
static void pack_columns(exchange *of, const label_table *labels, const score_table *scores, size_t first)
{
    for (int r = 0; r < of->size; r++) {
        size_t c = first + (size_t)r, start = (size_t)r * scores->n_rows;
        of->send_offset[r] = (int)start;
        of->send_n[r] = c < labels->n_classes ? (int)scores->n_rows : 0;
        for (int i = 0; i < of->send_n[r]; i++) {
            of->send_score[start + (size_t)i] = scores->score[(size_t)i * labels->n_classes + c];
            of->send_label[start + (size_t)i] = labels->label[scores->row[i].image * labels->n_classes + c];
        }
    }
}

static ac_status rank_round(MPI_Comm comm, exchange *of, const label_table *labels, const score_table *scores,
                            size_t first, double *ap, double *auc)
{
    ac_status status = AC_OK;
    size_t mine = first + (size_t)of->rank;
    bool have = mine < labels->n_classes;
    const int *n = have ? of->n_rows : of->none, *at = have ? of->offset : of->none;
    pack_columns(of, labels, scores, first);
    AC_TRY(ac_comm_check(
        MPI_Alltoallv(of->send_score, of->send_n, of->send_offset, MPI_DOUBLE, of->score, n, at, MPI_DOUBLE, comm),
        "exchanging scores"));
    AC_TRY(ac_comm_check(
        MPI_Alltoallv(of->send_label, of->send_n, of->send_offset, MPI_UINT8_T, of->label, n, at, MPI_UINT8_T, comm),
        "exchanging labels"));
    if (have)
        status = ac_metrics_rank_double(of->score, of->label, of->n_total, 1, &ap[mine], &auc[mine]);
    status = ac_comm_agree(comm, status);
out:
    return status;
}

/* Each class was ranked by rank c % size: take its numbers from there, on every rank. */
static ac_status share_ranking(MPI_Comm comm, int size, size_t n_classes, double *ap, double *auc)
{
    ac_status status = AC_OK;
    void *all_ap = NULL, *all_auc = NULL;
    size_t n_bytes;
    AC_TRY(ac_comm_gather_all(comm, ap, n_classes * sizeof *ap, &all_ap, &n_bytes, NULL));
    AC_TRY(ac_comm_gather_all(comm, auc, n_classes * sizeof *auc, &all_auc, &n_bytes, NULL));
    for (size_t c = 0; c < n_classes; c++) {
        ap[c] = ((double *)all_ap)[c % (size_t)size * n_classes + c];
        auc[c] = ((double *)all_auc)[c % (size_t)size * n_classes + c];
    }
out:
    ac_free(all_ap);
    ac_free(all_auc);
    return status;
}

static ac_status rank_classes(MPI_Comm comm, const label_table *labels, const score_table *scores, double *ap,
                              double *auc)
{
    ac_status status = AC_OK;
    exchange round;
    AC_TRY(begin_exchange(comm, scores->n_rows, &round));
    for (size_t first = 0; first < labels->n_classes; first += (size_t)round.size)
        AC_TRY(rank_round(comm, &round, labels, scores, first, ap, auc));
    AC_TRY(share_ranking(comm, round.size, labels->n_classes, ap, auc));
out:
    release_exchange(&round);
    return status;
}

/* Labels of this rank's rows, in the order of its scores. */
static void collect_labels(const label_table *labels, const score_table *scores, uint8_t *out)
{
    for (size_t i = 0; i < scores->n_rows; i++)
        memcpy(out + i * labels->n_classes, labels->label + scores->row[i].image * labels->n_classes,
               labels->n_classes);
}

typedef struct work {            /* memory of one measurement */
    uint8_t *label;              /* [n_rows, n_classes] */
    ac_class_count *class_count; /* [n_classes] */
    double *ap, *auc;            /* [n_classes] */
} work;

static ac_status allocate_work(size_t n_rows, size_t n_classes, work *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_malloc(n_rows * n_classes, 1, &out->label));
    AC_TRY(ac_calloc(n_classes, sizeof *out->class_count, &out->class_count));
    AC_TRY(ac_calloc(n_classes, sizeof *out->ap, &out->ap));
    AC_TRY(ac_calloc(n_classes, sizeof *out->auc, &out->auc));
out:
    return status;
}

static ac_status add_counts(MPI_Comm comm, void *counts, size_t n_bytes)
{
    ac_status status = AC_OK;
    int n;
    AC_TRY(ac_comm_count(n_bytes / sizeof(int64_t), &n));
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, counts, n, MPI_INT64_T, MPI_SUM, comm), "adding counts"));
out:
    return status;
}

ac_status evaluate_measure(MPI_Comm comm, const label_table *labels, const score_table *scores, double threshold,
                           ac_metrics *out)
{
    ac_status status = AC_OK;
    size_t n_classes = labels->n_classes;
    ac_image_count image_count = {0};
    work of = {0};
    AC_TRY(ac_comm_agree(comm, allocate_work(scores->n_rows, n_classes, &of)));
    collect_labels(labels, scores, of.label);
    AC_TRY(ac_comm_agree(comm, ac_metrics_count_double(scores->score, of.label, scores->n_rows, n_classes, threshold,
                                                       of.class_count, &image_count)));
    AC_TRY(add_counts(comm, of.class_count, n_classes * sizeof *of.class_count));
    AC_TRY(add_counts(comm, &image_count, sizeof image_count));
    AC_TRY(rank_classes(comm, labels, scores, of.ap, of.auc));
    AC_TRY(ac_comm_agree(comm,
                         ac_metrics_summarise(of.class_count, &image_count, n_classes, threshold, of.ap, of.auc, out)));
out:
    ac_free(of.label);
    ac_free(of.class_count);
    ac_free(of.ap);
    ac_free(of.auc);
    return status;
}
