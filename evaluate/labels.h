/* From where labels lie to the table that every rank has. Private to labels.c, label_sources.c and label_weights.c. */
#ifndef ANYCLASS_EVALUATE_LABELS_H
#define ANYCLASS_EVALUATE_LABELS_H

#include "evaluate/steps.h"

typedef struct label_source {
    const char *kind; /* of ac_dataset_read(); NULL: shards */
    const char *path; /* of the annotations, or the folder of the shards */
    ac_split split;
    char text[AC_PATH_BYTES]; /* for messages */
} label_source;

typedef struct text_pool { /* zero-terminated strings, one after the other */
    char *text;
    size_t n_bytes, capacity;
} text_pool;

typedef struct label_share { /* what one rank read; all ranks' shares in their order are the whole */
    text_pool classes, names;
    uint8_t *label;
    size_t n_label_bytes, label_capacity;
} label_share;

void label_share_release(label_share *share);

/* Each fills a zeroed share, to be released in any case. */

/** This rank's shards. Not collective. AC_ERR_IO; AC_ERR_DATA for shards that do not fit their manifest. */
AC_NODISCARD ac_status evaluate_read_label_shards(const label_source *source, int rank, int size, label_share *out);
/** This rank's rows of a CSV. Collective, but the answer is each rank's own. AC_ERR_DATA, without a word about what is wrong, for
 * whatever ac_dataset_read() should look at. */
AC_NODISCARD ac_status evaluate_read_label_rows(MPI_Comm comm, const label_source *source, label_share *out);
/** All of them, through ac_dataset_read(), whose failures these are. Not collective. */
AC_NODISCARD ac_status evaluate_read_annotations(const label_source *source, label_share *out);

/** labels->label_weight as --label_weights says. Collective. AC_ERR_DATA for a CSV that does not fit the classes, AC_ERR_USAGE for
 * "sewer" where they are others; AC_ERR_IO. */
AC_NODISCARD ac_status evaluate_read_label_weights(MPI_Comm comm, const char *which, label_table *labels);

#endif
