/* Metrics of one set over all ranks: each class is measured whole by the rank that owns it; counts at thresholds of
 * classes are added over rows. Leaves the formulas to lib/metrics and the choice of thresholds to tune.c. */
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
    const ac_column column = evaluate_column(of->labels, c, score);
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
out:
    return status;
}

typedef struct inputs { /* arrays of one ac_metrics_input, [n_classes] each */
    ac_split_count *total, *reached;
    double *ap, *auc, *log_loss;
} inputs;

static void release_inputs(inputs *of)
{
    ac_free(of->total);
    ac_free(of->reached);
    ac_free(of->ap);
    ac_free(of->auc);
    ac_free(of->log_loss);
}

static ac_status allocate_inputs(size_t n_classes, inputs *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(n_classes, sizeof *out->total, &out->total));
    AC_TRY(ac_calloc(n_classes, sizeof *out->reached, &out->reached));
    AC_TRY(ac_calloc(n_classes, sizeof *out->ap, &out->ap));
    AC_TRY(ac_calloc(n_classes, sizeof *out->auc, &out->auc));
    AC_TRY(ac_calloc(n_classes, sizeof *out->log_loss, &out->log_loss));
out:
    return status;
}

static void fill_inputs(const set_result *result, size_t n_classes, bool reference, inputs *out)
{
    for (size_t c = 0; c < n_classes; c++) {
        const ac_profile *profile = &result->profile[c];
        out->total[c] = profile->total;
        out->ap[c] = reference ? profile->reference_average_precision : profile->average_precision;
        out->auc[c] = profile->roc_auc;
        out->log_loss[c] = profile->log_loss;
    }
}

/* Counts at a threshold of its own for each class: which images show something by that, no column tells. */
static ac_status count_rows(MPI_Comm comm, const label_table *labels, const score_table *scores,
                            const double *threshold, ac_split_count *reached, ac_image_count *image)
{
    ac_status status = AC_OK;
    int n;
    size_t n_classes = labels->n_classes;
    for (size_t i = 0; i < scores->n_rows; i++) {
        const double *score = scores->score + i * n_classes;
        const uint8_t *label = labels->label + (size_t)scores->image[i] * n_classes;
        bool predicted = false, positive = labels->image_positive[scores->image[i]];
        for (size_t c = 0; c < n_classes; c++) {
            bool is_reached = score[c] >= threshold[c];
            predicted |= is_reached;
            reached[c].positive += is_reached & label[c];
            reached[c].negative_in_positive += is_reached & !label[c] & positive;
            reached[c].negative_in_negative += is_reached & !positive;
        }
        image->true_positive += positive & predicted;
        image->false_negative += positive & !predicted;
        image->false_positive += !positive & predicted;
        image->true_negative += !positive & !predicted;
    }
    AC_TRY(ac_comm_count(n_classes * (sizeof *reached / sizeof(int64_t)), &n));
    AC_TRY(ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, reached, n, MPI_INT64_T, MPI_SUM, comm), "adding counts"));
    AC_TRY(
        ac_comm_check(MPI_Allreduce(MPI_IN_PLACE, image, sizeof *image / sizeof(int64_t), MPI_INT64_T, MPI_SUM, comm),
                      "adding counts"));
out:
    return status;
}

static ac_status compute_metrics(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                                 const score_table *scores, const set_result *result, const double *threshold,
                                 ac_metrics *out)
{
    ac_status status = AC_OK;
    inputs of = {0};
    ac_metrics_input input = {.n_classes = labels->n_classes,
                              .threshold = threshold,
                              .label_weight = labels->label_weight,
                              .reference = config->compat == EVALUATE_COMPAT_REFERENCE};
    AC_TRY(ac_comm_agree(comm, allocate_inputs(labels->n_classes, &of)));
    fill_inputs(result, labels->n_classes, input.reference, &of);
    AC_TRY(count_rows(comm, labels, scores, threshold, of.reached, &input.image));
    input.total = of.total;
    input.reached = of.reached;
    input.average_precision = of.ap;
    input.roc_auc = of.auc;
    input.log_loss = of.log_loss;
    input.profile = result->profile;
    AC_TRY(ac_comm_agree(comm, ac_metrics_compute(&input, out)));
out:
    release_inputs(&of);
    return status;
}

static ac_status compute_at_one(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                                const score_table *scores, set_result *result)
{
    ac_status status = AC_OK;
    double *threshold = NULL;
    AC_TRY(ac_comm_agree(comm, ac_malloc(labels->n_classes, sizeof *threshold, &threshold)));
    for (size_t c = 0; c < labels->n_classes; c++)
        threshold[c] = config->threshold;
    AC_TRY(compute_metrics(comm, config, labels, scores, result, threshold, &result->metrics));
out:
    ac_free(threshold);
    return status;
}

ac_status evaluate_measure(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                           const score_table *scores, set_result *out)
{
    ac_status status = AC_OK;
    ac_profile_workspace workspace = {0};
    for (size_t i = 0; i < EVALUATE_GRID; i++)
        out->threshold[i] = (double)(i + 1) / 100;
    out->threshold[EVALUATE_GRID] = config->threshold;
    ac_profile_options options = {.threshold = out->threshold,
                                  .n_thresholds = EVALUATE_N_THRESHOLDS,
                                  .beta = config->f_beta,
                                  .reference = config->compat == EVALUATE_COMPAT_REFERENCE,
                                  .workspace = &workspace};
    measuring context = {.labels = labels, .options = &options, .result = out};
    AC_TRY(ac_comm_agree(comm, allocate_result(labels->n_classes, out)));
    AC_TRY(evaluate_each_column(comm, labels, scores, measure_column, &context));
    AC_TRY(share_columns(comm, labels->n_classes + 1, out->profile, sizeof *out->profile));
    AC_TRY(share_columns(comm, labels->n_classes + 1, out->reached, EVALUATE_N_THRESHOLDS * sizeof *out->reached));
    AC_TRY(compute_at_one(comm, config, labels, scores, out));
out:
    ac_profile_release(&workspace);
    return status;
}

ac_status evaluate_measure_tuned(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                                 const score_table *scores, const tuning *tuned, set_result *out)
{
    ac_status status = AC_OK;
    AC_TRY(ac_comm_agree(comm, ac_malloc(labels->n_classes, sizeof *out->tuned_threshold, &out->tuned_threshold)));
    memcpy(out->tuned_threshold, tuned->threshold, labels->n_classes * sizeof *out->tuned_threshold);
    out->val_max_f = tuned->mean_f;
    AC_TRY(compute_metrics(comm, config, labels, scores, out, out->tuned_threshold, &out->tuned_metrics));
    out->tuned = true;
out:
    return status;
}
