/* Parts of the report: what is drawn from, one function per figure, and the pieces of the page. Private to
 * evaluate/report*.c. */
#ifndef ANYCLASS_EVALUATE_REPORT_H
#define ANYCLASS_EVALUATE_REPORT_H

#include "anyclass/chart.h"
#include "anyclass/store.h"
#include "evaluate/steps.h"

extern const char evaluate_report_css[], evaluate_report_js[];

typedef struct report_curves {   /* metrics at each threshold of the grid */
    double *class_f1, *class_f2; /* [n_classes, EVALUATE_GRID] */
    double macro_f1[EVALUATE_GRID], macro_f2[EVALUATE_GRID], f1_negative[EVALUATE_GRID], f1_positive[EVALUATE_GRID],
        ciw_f2[EVALUATE_GRID];
    bool has_label_weight;
} report_curves;

typedef enum report_log_column {
    LOG_TRAIN_LOSS,
    LOG_VAL_LOSS,
    LOG_VAL_BCE,
    LOG_VAL_AP,
    LOG_VAL_F1,
    LOG_VAL_F2,
    N_LOG_COLUMNS
} report_log_column;

typedef struct report_log { /* a training's metrics.csv */
    size_t n_rows, capacity;
    double *epoch;                /* [n_rows] epochs done; the first ends at 1 */
    double *value[N_LOG_COLUMNS]; /* [n_rows] NaN: an empty cell */
    bool missing;                 /* there is no such file */
} report_log;

typedef struct report_version { /* the detailed set of a version */
    size_t number;              /* from 0, in ids */
    size_t set;                 /* in score_sets and results */
    report_curves curves;
    report_log log;
} report_version;

typedef struct report {
    const evaluate_config *config;
    const score_sets *sets;
    const label_table *labels;
    const set_result *result; /* [n_sets] */
    report_version *version;  /* [n_versions] */
    size_t n_versions;
    bool *highlighted; /* [n_classes] drawn in colour from the start */
    int64_t *together; /* [n_classes, n_classes] images that show both */
    uint32_t n_wrong;  /* most wrong images shown of each kind, class and version */
    bool has_pixels;
    ac_store store; /* when has_pixels */
} report;

enum { CALIBRATION_BINS = 10, MANY_CLASSES = 24 };

typedef struct calibration { /* of one class, or all decisions together */
    int64_t n[CALIBRATION_BINS];
    double score[CALIBRATION_BINS], share[CALIBRATION_BINS]; /* mean score, share of positives; NaN: no image */
    double error;                                            /* expected calibration error; NaN without images */
} calibration;

/** Metrics of a set at each threshold; release also after a failure. AC_ERR_MEMORY. */
AC_NODISCARD ac_status report_compute_curves(const label_table *labels, const set_result *result, bool reference,
                                             report_curves *out);
void report_release_curves(report_curves *curves);
/** Calibration in ten bins of the scores; class n_classes: "shows something", n_classes + 1: all classes' decisions
 * together. */
void report_calibrate(const label_table *labels, const set_result *result, size_t c, calibration *out);
/** Read {log_dir}/version_NAME/metrics.csv; a missing file is no failure. Release also after one. AC_ERR_DATA naming
 * file and line. */
AC_NODISCARD ac_status report_read_log(const char *log_dir, const char *version, report_log *out);
void report_release_log(report_log *log);

/** Allocate and fill `highlighted`; the versions are chosen before. AC_ERR_MEMORY. */
AC_NODISCARD ac_status report_choose_classes(report *r);

/* ---- names ---- */
/** "any_bce", or what else tells the set from others; borrowed. */
const char *report_version_name(const report *r, const report_version *v);
/** Name of class c; n_classes: "shows something". */
const char *report_class_name(const report *r, size_t c);
/** A value with `decimals` places, or a dash for NaN. */
void report_value(ac_markup *out, double value, int decimals);

/* ---- figures ---- */
typedef struct report_drawing {
    const report *report;
    const report_version *version; /* NULL: of the data alone */
    size_t class_index;
    bool standalone; /* a file of its own */
} report_drawing;

typedef void (*report_draw)(ac_markup *out, const report_drawing *d);

typedef struct report_figure {
    const char *name;    /* in ids and file names */
    const char *caption; /* on the page */
    const char *note;    /* below it; NULL: none */
    report_draw draw;
    bool (*possible)(const report_drawing *d); /* NULL: always */
} report_figure;

/* Lists end with an entry without name. */
extern const report_figure report_set_figures[];      /* of a version */
extern const report_figure report_class_figures[];    /* of a class of a version, and of "shows something" */
extern const report_figure report_training_figures[]; /* of a version's training */
extern const report_figure report_data_figures[];     /* of the labels */

void report_draw_metrics(ac_markup *out, const report_drawing *d);
void report_draw_class_f1(ac_markup *out, const report_drawing *d);
void report_draw_class_f2(ac_markup *out, const report_drawing *d);
/** The three above side by side: the plot of the paper's own code. */
void report_draw_thresholds(ac_markup *out, const report_drawing *d);
void report_draw_precision_recall(ac_markup *out, const report_drawing *d);
void report_draw_class_precision_recall(ac_markup *out, const report_drawing *d);
void report_draw_class_threshold(ac_markup *out, const report_drawing *d);
void report_draw_scores(ac_markup *out, const report_drawing *d);
void report_draw_all_scores(ac_markup *out, const report_drawing *d);
void report_draw_calibration(ac_markup *out, const report_drawing *d);
void report_draw_all_calibration(ac_markup *out, const report_drawing *d);
void report_draw_losses(ac_markup *out, const report_drawing *d);
void report_draw_validation(ac_markup *out, const report_drawing *d);
void report_draw_together(ac_markup *out, const report_drawing *d);
bool report_has_log(const report_drawing *d);
bool report_has_positive(const report_drawing *d);

/** Begin a figure of its own size; standalone ones get their title drawn. @return where panels may begin, in px from
 * the top. */
double report_begin_figure(ac_markup *out, const report_drawing *d, const char *name, const char *title,
                           const char *text, double width_px, double height_px);

/* ---- pieces of the page ---- */
void report_write_head(ac_markup *out, const report *r);
void report_write_table(ac_markup *out, const report *r);
void report_write_comparison(ac_markup *out, const report *r);
void report_write_class_table(ac_markup *out, const report *r, const report_version *v);
void report_write_classes(ac_markup *out, const report *r, const report_version *v);
/** The list of most wrong images of one class. */
void report_write_wrong(ac_markup *out, const report *r, const report_version *v, size_t c);
/** Pixels of all images in those lists, each once. A damaged sample gets a placeholder and a warning in the log.
 * AC_ERR_IO. */
AC_NODISCARD ac_status report_write_pixels(ac_markup *out, report *r);
/** Captioned figures of a list. */
void report_write_figures(ac_markup *out, const report_figure *figures, const report_drawing *d);
/** Whole page. */
AC_NODISCARD ac_status report_write_page(ac_markup *out, report *r);

/** All figures as files in config->plots. */
AC_NODISCARD ac_status report_write_plots(const report *r);

#endif
