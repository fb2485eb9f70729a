/* The steps of anyclass-evaluate and what they hand to each other: find score sets, read labels, read and check one
 * set's scores, measure them, report. Private to this folder. */
#ifndef ANYCLASS_EVALUATE_STEPS_H
#define ANYCLASS_EVALUATE_STEPS_H

#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/metrics.h"
#include "anyclass/option.h"
#include "anyclass/status.h"
#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct evaluate_config {
    ac_common_config common;
    const char *results_output; /* folder with version_* folders, or NULL */
    ac_string_list versions;    /* none = all */
    ac_string_list scores;      /* files given directly */
    int split;                  /* ac_split */
    const char *data_root;      /* labels: shards, ... */
    const char *labels;         /* ... or a CSV */
    const char *output;         /* NULL = beside the scores */
    double threshold;
} evaluate_config;

enum { SET_NAME_BYTES = 256 };

typedef struct score_file {
    char name[SET_NAME_BYTES]; /* in its set's folder */
} score_file;

typedef struct score_set { /* the files that hold the scores of one checkpoint on one split */
    char version[SET_NAME_BYTES];
    char model[SET_NAME_BYTES];
    char checkpoint[SET_NAME_BYTES]; /* "val_f1", ..., "last"; "" when the file name does not say */
    char stem[SET_NAME_BYTES];       /* file name without "_sigmoid", ".rankNNNN" and ".csv" */
    char folder[AC_PATH_BYTES];
    char output[AC_PATH_BYTES];   /* the JSON file to write */
    uint64_t first_file, n_files; /* in score_sets.file */
} score_set;

typedef struct score_sets { /* in the order of the table: versions as asked for, then model, then checkpoint */
    score_set *set;
    size_t n_sets, set_capacity;
    score_file *file;
    size_t n_files, file_capacity;
} score_sets;

/** Find the score sets that the options name and the files to write. Collective: rank 0 looks, all get the list.
 * AC_ERR_IO for a folder that is not there, AC_ERR_DATA where there are no scores, AC_ERR_USAGE when two sets would
 * write the same file. Release after success. */
AC_NODISCARD ac_status evaluate_find_sets(MPI_Comm comm, const evaluate_config *config, score_sets *out);
void evaluate_release_sets(score_sets *sets);
/** Path of file `i` of `set` into out[AC_PATH_BYTES]. Not collective. */
AC_NODISCARD ac_status evaluate_file_path(const score_sets *sets, const score_set *set, size_t i, char *out);

typedef struct label_table { /* names and labels of a split, the same on every rank and for any number of ranks */
    char **class_name;       /* [n_classes] */
    size_t n_classes;
    size_t n_images;
    const char **name; /* [n_images], into name_pool */
    uint8_t *label;    /* [n_images, n_classes] */
    char *name_pool, *class_pool;
    uint32_t *slot;             /* open addressing: index + 1, 0 = free */
    size_t n_slots;             /* a power of two */
    char source[AC_PATH_BYTES]; /* for messages */
} label_table;

/** Read the labels that the options name, each rank its share of the shards. Collective. AC_ERR_DATA for a name that
 * occurs twice and for shards that do not fit their manifest. Release after success. */
AC_NODISCARD ac_status evaluate_read_labels(MPI_Comm comm, const evaluate_config *config, label_table *out);
void evaluate_release_labels(label_table *labels);
/** Index of the image `name`, or -1. Not collective. */
int64_t evaluate_find_label(const label_table *labels, const char *name);

typedef struct score_row { /* which image a row of scores is about, and where it was read */
    uint32_t image, file;
    uint64_t line;
} score_row;

typedef struct score_table { /* this rank's share of a set */
    double *score;           /* [n_rows, n_classes], classes in the labels' order */
    score_row *row;
    size_t n_rows, score_capacity, row_capacity;
} score_table;

/** Read this rank's share of the set's rows. Not collective; `out` is zeroed and must be released in any case.
 * AC_ERR_DATA naming file, line and column: wrong header, short row, unknown image, not a number in 0..1. */
AC_NODISCARD ac_status evaluate_read_scores(const score_sets *sets, const score_set *set, const label_table *labels,
                                            int rank, int size, score_table *out);
void evaluate_release_scores(score_table *scores);
/** Check that every image has its scores once over all ranks. Collective; the same answer on every rank.
 * AC_ERR_DATA naming the images that are missing or the two places of one that is there twice. */
AC_NODISCARD ac_status evaluate_check_complete(MPI_Comm comm, const score_sets *sets, const score_set *set,
                                               const label_table *labels, const score_table *scores);

/** Metrics of one set, the same on every rank. Collective. Release with ac_metrics_release(). */
AC_NODISCARD ac_status evaluate_measure(MPI_Comm comm, const label_table *labels, const score_table *scores,
                                        double threshold, ac_metrics *out);

/** Write the JSON of one set. Not collective. */
AC_NODISCARD ac_status evaluate_write_json(const score_set *set, const label_table *labels, const ac_metrics *metrics);
/** Print the table of all sets; metrics is [n_sets]. Not collective. */
AC_NODISCARD ac_status evaluate_print_table(FILE *stream, const score_sets *sets, const ac_metrics *metrics);

#endif
