/* What the annotation readers share. */
#ifndef ANYCLASS_LIB_DATASET_INTERNAL_H
#define ANYCLASS_LIB_DATASET_INTERNAL_H

#include "anyclass/dataset.h"

/* A reader: fill `out` (zeroed but for source, mean and std) from the annotation file `path`. Whoever called releases
 * `out` after a failure. */
typedef ac_status ac_dataset_reader(const char *path, const ac_dataset_options *options, ac_dataset *out);

ac_dataset_reader ac_dataset_read_csv;
ac_dataset_reader ac_dataset_read_coco;

#endif
