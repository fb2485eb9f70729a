/* Annotations: which images there are and what they show. One reader per annotation format fills the same table.
 * Knows nothing of pixels. Not collective. */
#ifndef ANYCLASS_DATASET_H
#define ANYCLASS_DATASET_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ac_split { AC_SPLIT_TRAIN, AC_SPLIT_VAL, AC_SPLIT_TEST } ac_split;
#define AC_SPLIT_CHOICES "Train|Val|Test"
enum { AC_N_SPLITS = 3 };

/** "train", "val", "test": as used in file names. */
const char *ac_split_name(ac_split split);

typedef struct ac_dataset {
    char *source;      /* annotation file it came from (base name), for the shards' attributes */
    char **class_name; /* [n_classes] UTF-8 without control characters */
    size_t n_classes;
    size_t n_samples;
    size_t *name_offset; /* [n_samples + 1] into name_pool; names are zero-terminated there */
    char *name_pool;
    uint8_t *label;        /* [n_samples, n_classes], each 0 or 1; a row of zeros is a negative image */
    float mean[3], std[3]; /* normalisation constants of the data set, RGB in 0..1 */
    size_t *line;          /* [n_samples] line of the annotation file, for messages; NULL where there are none */
    size_t name_capacity, label_capacity, line_capacity, pool_bytes, pool_capacity; /* used while filling */
} ac_dataset;

typedef struct ac_dataset_options {
    const char *kind;     /* one of AC_DATASET_CHOICES */
    const char *ann_root; /* folder of the annotation files, or the file itself */
    ac_split split;
} ac_dataset_options;

/** The kinds this build reads, as an option's choices. */
#define AC_DATASET_CHOICES "sewer|coco|chest|csv"
/** Name of kind `i` of AC_DATASET_CHOICES, from 0; NULL beyond the last. */
const char *ac_dataset_kind(size_t i);

/** True when the annotation file of the split is there (ann_root is a file, or holds one of the names the kind knows).
 */
bool ac_dataset_available(const ac_dataset_options *options);

/** Read the annotations of one split. Samples come in file order; a file name that occurs twice is AC_ERR_DATA, and so
 * are labels other than 0/1, a missing column or member; messages name the file, its line and the column
 * (COCO: column of characters, and byte). A chest split is a list of images beside the table of all (docs/formats.md).
 * `out` is zeroed by the callee; release it with ac_dataset_release() after success. AC_ERR_IO when the file is missing
 * or cannot be read, AC_ERR_USAGE for an unknown kind. */
AC_NODISCARD ac_status ac_dataset_read(const ac_dataset_options *options, ac_dataset *out);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_dataset_release(ac_dataset *dataset);

/** File name of sample i, borrowed. */
const char *ac_dataset_name(const ac_dataset *dataset, size_t i);

/* For readers: build a table. */

enum { AC_CLASS_NAMES_BYTES = 60000 }; /* all class names together, one byte behind each: what a shard's attribute takes */

/** AC_ERR_DATA for a name that is empty, occurs twice, is no UTF-8 or has control characters, and when the names become
 * longer than AC_CLASS_NAMES_BYTES. */
AC_NODISCARD ac_status ac_dataset_add_class(ac_dataset *dataset, const char *name);
/** Adds a sample with all labels 0; all classes must have been added. Its index is n_samples - 1 afterwards.
 * AC_ERR_DATA for a name that is empty or has control characters, and for more than 2^32 labels in the table. */
AC_NODISCARD ac_status ac_dataset_add_sample(ac_dataset *dataset, const char *file_name);
/** AC_ERR_DATA naming a file name that occurs twice, and where. */
AC_NODISCARD ac_status ac_dataset_check_unique(const ac_dataset *dataset, const char *where);

#endif
