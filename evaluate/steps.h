/* The steps of anyclass-evaluate and what they hand to each other: find score sets, read labels, read and check one
 * set's scores, measure them, report. Private to this folder. */
#ifndef ANYCLASS_EVALUATE_STEPS_H
#define ANYCLASS_EVALUATE_STEPS_H

#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/metrics.h"
#include "anyclass/profile.h"
#include "anyclass/option.h"
#include "anyclass/status.h"
#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What a signal's line says: all files are complete or absent, and none depends on an earlier run. */
#define EVALUATE_STOPPED "nothing is half written, run it again"

typedef struct evaluate_config {
    ac_common_config common;
    const char *results_output; /* folder with version_* folders, or NULL */
    ac_string_list versions;    /* none = all */
    ac_string_list scores;      /* files given directly */
    const char *sweep, *best;   /* table of a sweep, whose finished elements are the versions; metric that names its best */
    int split;                  /* ac_split */
    const char *data_root;      /* labels: shards, ... */
    const char *labels;         /* ... or a CSV, ... */
    int dataset;                /* ... or annotations: evaluate_dataset, */
    const char *ann_root;       /* and where they are */
    const char *val_labels;     /* --max_fbeta: labels of the Val scores, when `labels` is given and split is not Val */
    ac_string_list val_scores;  /* --max_fbeta: the Val scores, when `scores` is given and split is not Val */
    const char *label_weights;  /* "auto", "none", "sewer" or a CSV: class, weight */
    const char *output;         /* NULL = beside the scores */
    double threshold;
    bool multi_threshold, max_fbeta;
    double f_beta;
    int tune_over;              /* evaluate_tune_over */
    int compat;                 /* evaluate_compat */
    ac_string_list table;       /* files of the results table, by ending: .txt .csv .md .tex */
    const char *report, *plots; /* HTML file; folder of SVG files */
    const char *log_dir;        /* the trainer's --log_save_dir: training curves of the report */
    const char *checkpoint;     /* whose details the report shows and that compare takes */
    bool only_read;             /* compare, and the Val sets of --max_fbeta: nothing is written of each set */
} evaluate_config;

typedef enum evaluate_compat { EVALUATE_COMPAT_NONE, EVALUATE_COMPAT_REFERENCE } evaluate_compat;
typedef enum evaluate_tune_over { EVALUATE_TUNE_GRID, EVALUATE_TUNE_SCORES } evaluate_tune_over;

/** Refuse options that do not go together. Not collective; looks at no file, so that all ranks may ask. AC_ERR_USAGE. */
AC_NODISCARD ac_status evaluate_check_config(const evaluate_config *config);
/** The part of it about labels: they come from one place. */
AC_NODISCARD ac_status evaluate_check_label_source(const evaluate_config *config);

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
    uint64_t given;               /* number of its first file in --scores */
} score_set;

typedef struct score_sets { /* in the order of the table: versions as asked for, then model, then checkpoint */
    score_set *set;
    size_t n_sets, set_capacity;
    score_file *file;
    size_t n_files, file_capacity;
} score_sets;

/** Find the score sets that the options name and the files to write. Collective: rank 0 looks, all get the list.
 * AC_ERR_IO for a folder that is not there, AC_ERR_DATA where there are no scores, AC_ERR_USAGE when two sets would
 * write the same file, but for `only_read`. Release after success. */
AC_NODISCARD ac_status evaluate_find_sets(MPI_Comm comm, const evaluate_config *config, score_sets *out);
void evaluate_release_sets(score_sets *sets);
/** Are there scores of config->split for a version in config->results_output? Not collective. A folder that is not there has none; AC_ERR_IO for
 * one that cannot be read. */
AC_NODISCARD ac_status evaluate_has_scores(const evaluate_config *config, const char *version, bool *out);
/** Path of file `i` of `set` into out[AC_PATH_BYTES]. Not collective. */
AC_NODISCARD ac_status evaluate_file_path(const score_sets *sets, const score_set *set, size_t i, char *out);

/** Look, before any work and writing nothing, at all files that the options and sets [n_sets] name for writing (with `only_read` none
 * of a set's own). Not collective: rank 0. AC_ERR_USAGE when one would replace another or a file that is read, AC_ERR_IO when one cannot
 * be made or --log_dir is not there. */
AC_NODISCARD ac_status evaluate_check_outputs(const evaluate_config *config, const score_sets *const *sets, size_t n_sets);

typedef struct label_table { /* names and labels of a split, the same on every rank and for any number of ranks; images
                                in the order of the shards (ac_store's index) or of the label file */
    char **class_name;       /* [n_classes] */
    size_t n_classes;
    size_t n_images;
    const char **name; /* [n_images + 1], into name_pool; zero-terminated; the last is the pool's end */
    uint8_t *label;    /* [n_images, n_classes] */
    uint8_t *image_positive; /* [n_images] 1: has some label */
    char *name_pool, *class_pool;
    uint64_t *slot;             /* open addressing: 32 bits of the name's hash, 32 of index + 1; 0 = free */
    size_t n_slots;             /* a power of two */
    double *label_weight;       /* [n_classes] of CIW-F2, or NULL */
    char source[AC_PATH_BYTES]; /* for messages */
} label_table;

/** Read the labels of a split that the options name, each rank its share, and the class weights. Collective. AC_ERR_DATA for a name that
 * occurs twice, for shards that do not fit their manifest and for weights that do not fit the classes. Release after success. */
AC_NODISCARD ac_status evaluate_read_labels(MPI_Comm comm, const evaluate_config *config, ac_split split, label_table *out);
void evaluate_release_labels(label_table *labels);
/** Index of the image `name`, or -1. Not collective. */
int64_t evaluate_find_label(const label_table *labels, const char *name);
enum { EVALUATE_LOOK_UPS = 32 };
/** The same for n <= EVALUATE_LOOK_UPS names at once, which wait for memory together: name i is text[start[i] .. start[i + 1]). */
void evaluate_find_labels(const label_table *labels, const char *text, const size_t *start, size_t n, int64_t *image);

typedef struct score_table { /* this rank's share of a set: whole rows, each image once over all ranks */
    double *score;           /* [n_rows, n_classes], classes in the labels' order */
    uint32_t *image;         /* [n_rows] index in the labels */
    size_t n_rows;
} score_table;

/** Read a set's rows, each rank its share, matched with the labels by name. Collective; the same answer on every rank. `out` is
 * zeroed and must be released in any case. AC_ERR_DATA naming file, line and column: wrong header, short row, unknown image, not a
 * number in 0..1; naming the images that are missing or the two places of one that is there twice. */
AC_NODISCARD ac_status evaluate_read_scores(MPI_Comm comm, const score_sets *sets, const score_set *set, const label_table *labels,
                                            score_table *out);
void evaluate_release_scores(score_table *scores);

/* What a rank does with a class that it owns (class c is rank c % size's): score [n_images] in the labels' order, valid during
 * the call; not collective. Column n_classes is the highest score of each image. */
typedef ac_status (*evaluate_use_column)(void *context, size_t c, const double *score);
/** Scores [n_images] of class c and its labels, borrowed; c = n_classes: "shows something". Not collective. */
ac_column evaluate_column(const label_table *labels, size_t c, const double *score);
/** Give each rank the columns 0 .. n_classes that it owns, one after the other. Collective; the same answer on every rank. */
AC_NODISCARD ac_status evaluate_each_column(MPI_Comm comm, const label_table *labels, const score_table *scores,
                                            evaluate_use_column use, void *context);

/* Thresholds at which everything is counted: 0.01 .. 0.99, then --threshold. The reference's nineteen are every fifth. */
enum { EVALUATE_GRID = 99, EVALUATE_N_THRESHOLDS = EVALUATE_GRID + 1 };

typedef struct set_result { /* of one set, the same on every rank */
    double threshold[EVALUATE_N_THRESHOLDS];
    ac_profile *profile;    /* [n_classes + 1] the last one: the highest score of an image against "shows something" */
    ac_split_count *reached; /* [n_classes + 1, EVALUATE_N_THRESHOLDS] */
    ac_metrics metrics;     /* at --threshold */
    bool tuned;             /* --max_fbeta: */
    double *tuned_threshold; /* [n_classes] best on Val */
    double val_max_f;       /* mean over classes of their best F-beta on Val */
    ac_metrics tuned_metrics; /* at tuned_threshold */
} set_result;

void evaluate_release_result(set_result *result);

/** Metrics of one set. Collective. `out` must be zeroed; release it in any case. */
AC_NODISCARD ac_status evaluate_measure(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                                        const score_table *scores, set_result *out);

typedef struct tuning { /* thresholds of one set, tuned on Val */
    double *threshold; /* [n_classes] */
    double mean_f;     /* mean over classes of their best F-beta on Val */
} tuning;

/** Best threshold of each class for one measured set, over the grid or over all scores. Not collective. A class without a
 * positive gets config->threshold (with --compat reference: 0.05). `out` must be zeroed; release it in any case. AC_ERR_MEMORY. */
AC_NODISCARD ac_status evaluate_tune(const evaluate_config *config, const label_table *labels, const set_result *result, tuning *out);
void evaluate_release_tuning(tuning *of);
/** --max_fbeta when the split is not Val: find, read and measure the Val set of each of `sets`, tune on it. Collective.
 * @param labels      of the split to evaluate: the classes must be the same
 * @param[out] tuned  [sets->n_sets], zeroed; release each in any case. AC_ERR_DATA, AC_ERR_USAGE naming what has no Val scores. */
AC_NODISCARD ac_status evaluate_tune_on_val(MPI_Comm comm, const evaluate_config *config, const score_sets *sets,
                                            const label_table *labels, tuning *tuned);
/** The metrics at tuned thresholds, behind evaluate_measure(). Collective. */
AC_NODISCARD ac_status evaluate_measure_tuned(MPI_Comm comm, const evaluate_config *config, const label_table *labels,
                                              const score_table *scores, const tuning *tuned, set_result *out);

/** Path of the metrics at tuned thresholds, "{stem}_max_f{beta}_metrics.json" beside set->output, into out[AC_PATH_BYTES].
 * AC_ERR_IO where it is too long. Not collective. */
AC_NODISCARD ac_status evaluate_tuned_output(const score_set *set, double f_beta, char *out);
/** Write the JSON of one set, and the one at tuned thresholds where result->tuned. Not collective. */
AC_NODISCARD ac_status evaluate_write_json(const evaluate_config *config, const score_set *set, const label_table *labels,
                                           const set_result *result);
typedef struct evaluate_sweep evaluate_sweep; /* sweep.h */

/** Print the table of all sets, with the values of `sweep` unless it is NULL; result is [n_sets]. Not collective. */
AC_NODISCARD ac_status evaluate_print_table(FILE *stream, const evaluate_config *config, const evaluate_sweep *sweep, const score_sets *sets,
                                            const set_result *result);
/** AC_ERR_USAGE when config->best names no column of the table. Not collective; looks at no file. */
AC_NODISCARD ac_status evaluate_check_best(const evaluate_config *config);
/** AC_ERR_USAGE when a file of config->table has an ending that names no format, or stands there twice. Not collective; looks at no
 * file, so that all ranks may ask. */
AC_NODISCARD ac_status evaluate_check_tables(const evaluate_config *config);
/** Write it to config->table's files as text, CSV, Markdown or LaTeX. Not collective. */
AC_NODISCARD ac_status evaluate_write_tables(const evaluate_config *config, const evaluate_sweep *sweep, const score_sets *sets,
                                             const set_result *result);
/** Look before any work whether what the report shows beside scores and labels, the training curves, can be read. Not collective: rank 0.
 * AC_ERR_DATA, AC_ERR_IO, AC_ERR_MEMORY. */
AC_NODISCARD ac_status evaluate_check_report(const evaluate_config *config, const score_sets *sets);
/** Write config->report and config->plots, whichever are given. Not collective: rank 0. AC_ERR_IO, AC_ERR_DATA for shards or
 * metrics.csv that cannot be read, AC_ERR_MEMORY. */
AC_NODISCARD ac_status evaluate_write_report(const evaluate_config *config, const score_sets *sets, const label_table *labels,
                                             const set_result *result);

/** Path of that plot into out[AC_PATH_BYTES]. Not collective. */
AC_NODISCARD ac_status evaluate_threshold_plot_output(const score_set *set, char *out);
/** Write the metrics over the threshold as set->output with .svg in the place of .json: what --multi_threshold plots. Not
 * collective. AC_ERR_IO, AC_ERR_MEMORY. */
AC_NODISCARD ac_status evaluate_write_threshold_plot(const evaluate_config *config, const score_set *set, const label_table *labels,
                                                     const set_result *result);

/** `anyclass-evaluate compare A B`: the program's other face. Collective; returns the exit code. */
int evaluate_compare_run(MPI_Comm comm, int argc, char **argv);

#endif
