/* What the annotation readers share. */
#ifndef ANYCLASS_LIB_DATASET_INTERNAL_H
#define ANYCLASS_LIB_DATASET_INTERNAL_H

#include "anyclass/dataset.h"
#include "anyclass/file.h"

AC_NODISCARD ac_status ac_dataset_read_csv(const ac_dataset_options *options, ac_dataset *out);
AC_NODISCARD ac_status ac_dataset_read_coco(const ac_dataset_options *options, ac_dataset *out);

/** ann_root itself if it names a .csv or .json file, else the first of the candidates that exists in it. AC_ERR_IO. */
AC_NODISCARD ac_status ac_dataset_find_file(const ac_dataset_options *options, const char *const *candidates, size_t n,
                                            char path[AC_PATH_BYTES]);
/** Remember the annotation file's base name. */
AC_NODISCARD ac_status ac_dataset_set_source(ac_dataset *dataset, const char *path);

/** Normalisation constants: COCO's, also for CSV. */
static inline void ac_dataset_use_coco_constants(ac_dataset *dataset)
{
    static const float mean[3] = {.470f, .447f, .408f}, std[3] = {.233f, .228f, .231f};
    for (int c = 0; c < 3; c++) {
        dataset->mean[c] = mean[c];
        dataset->std[c] = std[c];
    }
}

#endif
