/* `anyclass-evaluate compare A B`: options, the replicates of both sets, what is said of each metric, and its outputs. Private to this
 * folder. */
#ifndef ANYCLASS_EVALUATE_COMPARE_H
#define ANYCLASS_EVALUATE_COMPARE_H

#include "anyclass/bootstrap.h"
#include "evaluate/steps.h"

enum { COMPARE_A, COMPARE_B, COMPARE_N_SETS };

typedef struct compare_config {
    evaluate_config evaluate; /* first, as AC_COMMON_OPTIONS wants it: where scores and labels are, --threshold, --output (here a file), --table */
    int64_t n_bootstrap, seed;
    double confidence;
} compare_config;

typedef enum compare_metric { /* of all classes together */
    COMPARE_MACRO_F1,
    COMPARE_MACRO_F2,
    COMPARE_MACRO_P,
    COMPARE_MACRO_R,
    COMPARE_MICRO_F1,
    COMPARE_MAP,
    COMPARE_ROC_AUC,
    COMPARE_F1_NEGATIVE,
    COMPARE_F1_POSITIVE,
    COMPARE_CIW_F2,
    COMPARE_LOG_LOSS,
    COMPARE_N_METRICS
} compare_metric;

typedef enum compare_class_metric { COMPARE_CLASS_F1, COMPARE_CLASS_F2, COMPARE_CLASS_AP, COMPARE_N_CLASS_METRICS } compare_class_metric;

typedef struct compare_line { /* what is said of one metric; NaN: undefined */
    double value[COMPARE_N_SETS], difference; /* of the data: A, B, B - A */
    ac_bootstrap_interval interval[COMPARE_N_SETS], difference_interval;
    double share;     /* of the replicates that have both values: those in which B is above A, and half of those in which they are equal */
} compare_line;

typedef struct compare_result { /* on rank 0 */
    compare_line metric[COMPARE_N_METRICS];
    compare_line *class_metric; /* [COMPARE_N_CLASS_METRICS, n_classes] */
    int64_t *n_positive;        /* [n_classes] */
    bool has_label_weight;
} compare_result;

typedef struct compare_replicates { /* of both sets: replicate 0 is the data, then n_bootstrap draws */
    size_t n_draws, n_classes, n_images;
    ac_bootstrap_class *column[COMPARE_N_SETS]; /* [n_classes + 1, n_draws] on rank 0; the last column: the highest score of an image
                                                   against "shows something" */
    double *loss[COMPARE_N_SETS];               /* [n_draws] on rank 0: mean log loss */
    uint64_t *total;                            /* [n_draws] on rank 0: images, each as often as its weight says */
} compare_replicates;

typedef struct compare_sets { /* A and B */
    score_sets found[COMPARE_N_SETS];
    const score_set *set[COMPARE_N_SETS]; /* one of each */
} compare_sets;

/** Find the set that a word stands for: a CSV file, of which the files of the other ranks are taken too, or a version of
 * --results_output with --checkpoint. Collective. AC_ERR_IO, AC_ERR_DATA, AC_ERR_USAGE when there are several. Release in any case. */
AC_NODISCARD ac_status compare_find_set(MPI_Comm comm, const compare_config *config, const char *word, score_sets *out,
                                        const score_set **set);

/** Read both sets and measure all replicates. Collective. `out` is zeroed and must be released in any case. */
AC_NODISCARD ac_status compare_measure(MPI_Comm comm, const compare_config *config, const compare_sets *sets,
                                       const label_table *labels, compare_replicates *out);
void compare_release_replicates(compare_replicates *of);

/** Metrics, intervals and shares from the replicates. Not collective: rank 0. Release in any case. AC_ERR_MEMORY. */
AC_NODISCARD ac_status compare_summarise(const compare_config *config, const label_table *labels, const compare_replicates *replicates,
                                         compare_result *out);
void compare_release_result(compare_result *of);

typedef struct compare_report { /* what the outputs are made of; borrowed */
    const compare_config *config;
    const compare_sets *sets;
    const label_table *labels;
    const compare_result *result;
} compare_report;

/** Print on stdout, write --table and --output. Not collective: rank 0. AC_ERR_IO, AC_ERR_MEMORY. */
AC_NODISCARD ac_status compare_write(const compare_report *report);

#endif
