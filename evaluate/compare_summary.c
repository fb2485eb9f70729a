/* From replicates to metrics, intervals and shares. Each replicate's metrics come from ac_metrics_compute(), so that
 * they are what anyclass-evaluate says of any table. */
#include "anyclass/alloc.h"
#include "evaluate/compare.h"
#include <math.h>
#include <string.h>

typedef struct values {                   /* of all replicates */
    double *metric[COMPARE_N_SETS];       /* [COMPARE_N_METRICS, n_draws] */
    double *class_metric[COMPARE_N_SETS]; /* [COMPARE_N_CLASS_METRICS, n_classes, n_draws] */
    double *scratch;                      /* [n_draws] */
} values;

typedef struct inputs { /* of one replicate, [n_classes] */
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

static ac_status allocate_inputs(size_t n_classes, double threshold, inputs *of)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(n_classes, sizeof *of->total, &of->total));
    AC_TRY(ac_calloc(n_classes, sizeof *of->reached, &of->reached));
    AC_TRY(ac_malloc(n_classes, sizeof *of->threshold, &of->threshold));
    AC_TRY(ac_malloc(n_classes, sizeof *of->ap, &of->ap));
    AC_TRY(ac_malloc(n_classes, sizeof *of->auc, &of->auc));
    AC_TRY(ac_malloc(n_classes, sizeof *of->log_loss, &of->log_loss));
    for (size_t c = 0; c < n_classes; c++)
        of->threshold[c] = threshold;
out:
    return status;
}

static void release_values(values *of)
{
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        ac_free(of->metric[s]);
        ac_free(of->class_metric[s]);
    }
    ac_free(of->scratch);
}

static ac_status allocate_values(const compare_replicates *from, values *of)
{
    ac_status status = AC_OK;
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        AC_TRY(ac_malloc(COMPARE_N_METRICS * from->n_draws, sizeof(double), &of->metric[s]));
        AC_TRY(
            ac_malloc(COMPARE_N_CLASS_METRICS * from->n_classes * from->n_draws, sizeof(double), &of->class_metric[s]));
    }
    AC_TRY(ac_malloc(from->n_draws, sizeof(double), &of->scratch));
out:
    return status;
}

/* The mean log loss of a replicate is known for all classes together: given to each class it is their mean again. */
static ac_metrics_input fill_inputs(const compare_replicates *from, const label_table *labels, int s, size_t draw,
                                    inputs *of)
{
    int64_t total = (int64_t)from->total[draw];
    const ac_bootstrap_class *any = &from->column[s][from->n_classes * from->n_draws + draw];
    for (size_t c = 0; c < from->n_classes; c++) {
        const ac_bootstrap_class *one = &from->column[s][c * from->n_draws + draw];
        of->total[c] = (ac_split_count){.positive = one->positive, .negative_in_negative = total - one->positive};
        of->reached[c] = (ac_split_count){.positive = one->true_positive, .negative_in_negative = one->false_positive};
        of->ap[c] = one->average_precision;
        of->auc[c] = one->roc_auc;
        of->log_loss[c] = from->loss[s][draw];
    }
    return (ac_metrics_input){.n_classes = from->n_classes,
                              .total = of->total,
                              .reached = of->reached,
                              .image = {.true_positive = any->true_positive,
                                        .false_positive = any->false_positive,
                                        .false_negative = any->positive - any->true_positive,
                                        .true_negative = total - any->positive - any->false_positive},
                              .threshold = of->threshold,
                              .average_precision = of->ap,
                              .roc_auc = of->auc,
                              .log_loss = of->log_loss,
                              .label_weight = labels->label_weight};
}

static void store_metrics(const compare_replicates *from, const ac_metrics *metrics, int s, size_t draw, values *out)
{
    const double metric[COMPARE_N_METRICS] = {
        [COMPARE_MACRO_F1] = metrics->macro_f1,
        [COMPARE_MACRO_F2] = metrics->macro_f2,
        [COMPARE_MACRO_P] = metrics->macro_precision,
        [COMPARE_MACRO_R] = metrics->macro_recall,
        [COMPARE_MICRO_F1] = metrics->micro_f1,
        [COMPARE_MAP] = metrics->mean_average_precision,
        [COMPARE_ROC_AUC] = metrics->macro_roc_auc,
        [COMPARE_F1_NEGATIVE] = metrics->f1_negative,
        [COMPARE_F1_POSITIVE] = metrics->f1_positive,
        [COMPARE_CIW_F2] = metrics->has_label_weight ? metrics->ciw_f2 : NAN,
        [COMPARE_LOG_LOSS] = from->loss[s][draw],
    };
    for (int m = 0; m < COMPARE_N_METRICS; m++)
        out->metric[s][(size_t)m * from->n_draws + draw] = metric[m];
    for (size_t c = 0; c < from->n_classes; c++) {
        const ac_class_metrics *of = &metrics->class_metrics[c];
        const double value[COMPARE_N_CLASS_METRICS] = {
            [COMPARE_CLASS_F1] = of->f1, [COMPARE_CLASS_F2] = of->f2, [COMPARE_CLASS_AP] = of->average_precision};
        for (size_t m = 0; m < COMPARE_N_CLASS_METRICS; m++)
            out->class_metric[s][(m * from->n_classes + c) * from->n_draws + draw] = value[m];
    }
}

static ac_status compute_values(const compare_replicates *from, const label_table *labels, inputs *of, values *out,
                                bool *has_label_weight)
{
    ac_status status = AC_OK;
    for (int s = 0; s < COMPARE_N_SETS; s++) {
        for (size_t draw = 0; draw < from->n_draws; draw++) {
            ac_metrics metrics;
            ac_metrics_input input = fill_inputs(from, labels, s, draw, of);
            AC_TRY(ac_metrics_compute(&input, &metrics));
            store_metrics(from, &metrics, s, draw, out);
            *has_label_weight = metrics.has_label_weight;
            ac_metrics_release(&metrics);
        }
    }
out:
    return status;
}

static ac_bootstrap_interval interval_of(const double *draw, size_t n, double confidence, double *scratch)
{
    memcpy(scratch, draw, n * sizeof *draw);
    return ac_bootstrap_percentiles(scratch, n, confidence);
}

/* a, b [n_draws]: of the data, then of the replicates. */
static compare_line make_line(const double *a, const double *b, size_t n_draws, double confidence, double *scratch)
{
    size_t n = n_draws - 1, n_both = 0;
    double above = 0;
    compare_line out = {.value = {a[0], b[0]}, .difference = b[0] - a[0]};
    out.interval[COMPARE_A] = interval_of(a + 1, n, confidence, scratch);
    out.interval[COMPARE_B] = interval_of(b + 1, n, confidence, scratch);
    for (size_t i = 0; i < n; i++) {
        double difference = b[i + 1] - a[i + 1];
        scratch[i] = difference;
        if (isnan(difference))
            continue;
        n_both++;
        above += difference > 0 ? 1 : difference == 0 ? 0.5 : 0;
    }
    out.difference_interval = ac_bootstrap_percentiles(scratch, n, confidence);
    out.share = n_both > 0 ? above / (double)n_both : NAN;
    return out;
}

ac_status compare_summarise(const compare_config *config, const label_table *labels,
                            const compare_replicates *replicates, compare_result *out)
{
    ac_status status = AC_OK;
    values all = {0};
    inputs of = {0};
    size_t n_draws = replicates->n_draws, n_classes = replicates->n_classes;
    memset(out, 0, sizeof *out);
    AC_TRY(allocate_values(replicates, &all));
    AC_TRY(allocate_inputs(n_classes, config->evaluate.threshold, &of));
    AC_TRY(ac_malloc(COMPARE_N_CLASS_METRICS * n_classes, sizeof *out->class_metric, &out->class_metric));
    AC_TRY(ac_malloc(n_classes, sizeof *out->n_positive, &out->n_positive));
    AC_TRY(compute_values(replicates, labels, &of, &all, &out->has_label_weight));
    for (size_t m = 0; m < COMPARE_N_METRICS; m++)
        out->metric[m] = make_line(all.metric[COMPARE_A] + m * n_draws, all.metric[COMPARE_B] + m * n_draws, n_draws,
                                   config->confidence, all.scratch);
    for (size_t i = 0; i < COMPARE_N_CLASS_METRICS * n_classes; i++)
        out->class_metric[i] =
            make_line(all.class_metric[COMPARE_A] + i * n_draws, all.class_metric[COMPARE_B] + i * n_draws, n_draws,
                      config->confidence, all.scratch);
    for (size_t c = 0; c < n_classes; c++)
        out->n_positive[c] = replicates->column[COMPARE_A][c * n_draws].positive;
out:
    release_values(&all);
    release_inputs(&of);
    return status;
}

void compare_release_result(compare_result *of)
{
    ac_free(of->class_metric);
    ac_free(of->n_positive);
    memset(of, 0, sizeof *of);
}
