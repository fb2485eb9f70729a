/* Metrics of one set over all ranks: each class is measured whole by the rank that owns it; counts of images are added. Leaves the
 * formulas to lib/metrics. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "evaluate/steps.h"
#include <string.h>

void evaluate_release_result(set_result *result)
{
    ac_free(result->profile);
    ac_free(result->reached);
    ac_free(result->tuned_threshold);
    ac_metrics_release(&result->metrics);
    ac_metrics_release(&result->tuned_metrics);
    memset(result, 0, sizeof *result);
}

typedef struct measuring { /* what a rank needs for a class of its own */
    const label_table *labels;
    const ac_profile_options *options;
    set_result *result;
} measuring;

static ac_status measure_column(void *context, size_t c, const double *score)
{
    measuring *of = context;
    const label_table *labels = of->labels;
    bool any = c == labels->n_classes;
    ac_column column = {.score = score,
                        .label = any ? labels->image_positive : labels->label + c,
                        .label_stride = any ? 1 : labels->n_classes,
                        .image_positive = labels->image_positive,
                        .n = labels->n_images};
    return ac_profile_measure(&column, of->options, &of->result->profile[c],
                              of->result->reached + c * EVALUATE_N_THRESHOLDS);
}

/* From the owner of each class to all ranks. */
static ac_status share_columns(MPI_Comm comm, size_t n_columns, void *items, size_t item_bytes)
{
    ac_status status = AC_OK;
    int size, n;
    char *item = items;
    MPI_Comm_size(comm, &size);
    AC_TRY(ac_comm_count(item_bytes, &n));
    for (size_t c = 0; c < n_columns; c++)
        AC_TRY(ac_comm_check(MPI_Bcast(item + c * item_bytes, n, MPI_BYTE, (int)(c % (size_t)size), comm),
                             "sharing measurements"));
out:
    return status;
}

static ac_status allocate_result(size_t n_classes, set_result *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(n_classes + 1, sizeof *out->profile, &out->profile));
    AC_TRY(ac_calloc((n_classes + 1) * EVALUATE_N_THRESHOLDS, sizeof *out->reached, &out->reached));
    AC_TRY(ac_calloc(n_classes, sizeof *out->tuned_threshold, &out->tuned_threshold));
out:
    return status;
}

/* Images in which some class reaches its own threshold: a count that no single column tells. */
static ac_status count_images(MPI_Comm comm, const label_table *labels, const score_table *scores,
                              const double *threshold, ac_image_count *out)
{
    ac_status status = AC_OK;
    int64_t *count = (int64_t[4]){0};
    for (size_t i = 0; i < scores->n_rows; i++) {
        bool predicted = false, positive = labels->image_positive[scores->image[i]];
        for (size_t c = 0; c < labels->n_classes; c++)
            predicted |= scores->score[i * labels->n_classes + c] >= threshold[c];
        count[2 * positive + predicted]++;
    }
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, count, 4, MPI_INT64_T, MPI_SUM, comm), "adding counts"));
    *out = (ac_image_count){.true_negative = count[0], .false_positive = count[1], .false_negative = count[2],
                            .true_positive = count[3]};
out:
    return status;
}

typedef struct inputs { /* arrays of one ac_metrics_input */
    ac_split_count *total, *reached;
    double *threshold, *ap, *auc, *log_loss;
} inputs;

static void release_inputs(inputs *of)
{
    ac_free(of->total);
    ac_free(of->reached);
    ac_free(of->threshold);
    ac_free(of->ap);
    ac_free(of->auc);
    ac_free(of->log_loss);
}

static ac_status fill_inputs(const evaluate_config *config, size_t n_classes, const set_result *result, inputs *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(n_classes, sizeof *out->total, &out->total));
    AC_TRY(ac_calloc(n_classes, sizeof *out->reached, &out->reached));
    AC_TRY(ac_calloc(n_classes, sizeof *out->threshold, &out->threshold));
    AC_TRY(ac_calloc(n_classes, sizeof *out->ap, &out->ap));
    AC_TRY(ac_calloc(n_classes, sizeof *out->auc, &out->auc));
    AC_TRY(ac_calloc(n_classes, sizeof *out->log_loss, &out->log_loss));
    for (size_t c = 0; c < n_classes; c++) {
        const ac_profile *profile = &result->profile[c];
        bool reference = config->compat == EVALUATE_COMPAT_REFERENCE;
        out->total[c] = profile->total;
        out->reached[c] = result->reached[c * EVALUATE_N_THRESHOLDS + EVALUATE_GRID];
        out->threshold[c] = config->threshold;
        out->ap[c] = reference ? profile->reference_average_precision : profile->average_precision;
        out->auc[c] = profile->roc_auc;
        out->log_loss[c] = profile->log_loss;
    }
out:
    return status;
}

static ac_status compute_metrics(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                                 const score_table *scores, set_result *result)
{
    ac_status status = AC_OK;
    inputs of = {0};
    ac_image_count image;
    AC_TRY(ac_comm_agree(comm, fill_inputs(config, labels->n_classes, result, &of)));
    AC_TRY(count_images(comm, labels, scores, of.threshold, &image));
    ac_metrics_input input = {.n_classes = labels->n_classes,
                              .total = of.total,
                              .reached = of.reached,
                              .image = image,
                              .threshold = of.threshold,
                              .average_precision = of.ap,
                              .roc_auc = of.auc,
                              .log_loss = of.log_loss,
                              .label_weight = labels->label_weight,
                              .reference = config->compat == EVALUATE_COMPAT_REFERENCE};
    AC_TRY(ac_comm_agree(comm, ac_metrics_compute(&input, &result->metrics)));
out:
    release_inputs(&of);
    return status;
}

ac_status evaluate_measure(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                           const score_table *scores, set_result *out)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < EVALUATE_GRID; i++)
        out->threshold[i] = (double)(i + 1) / 100;
    out->threshold[EVALUATE_GRID] = config->threshold;
    ac_profile_options options = {.threshold = out->threshold,
                                  .n_thresholds = EVALUATE_N_THRESHOLDS,
                                  .beta = config->f_beta,
                                  .reference = config->compat == EVALUATE_COMPAT_REFERENCE};
    measuring context = {.labels = labels, .options = &options, .result = out};
    AC_TRY(ac_comm_agree(comm, allocate_result(labels->n_classes, out)));
    AC_TRY(evaluate_each_column(comm, labels, scores, measure_column, &context));
    AC_TRY(share_columns(comm, labels->n_classes + 1, out->profile, sizeof *out->profile));
    AC_TRY(share_columns(comm, labels->n_classes + 1, out->reached, EVALUATE_N_THRESHOLDS * sizeof *out->reached));
    AC_TRY(compute_metrics(comm, config, labels, scores, out));
out:
    return status;
}
