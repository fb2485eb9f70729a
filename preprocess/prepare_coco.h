/* Instances files in, instances files out: what coco_filter and coco_split share. */
#ifndef ANYCLASS_PREPROCESS_PREPARE_COCO_H
#define ANYCLASS_PREPROCESS_PREPARE_COCO_H

#include "anyclass/coco.h"
#include "preprocess/prepare.h"

typedef struct coco_input {
    const char *path;
    const char *folder; /* put in front of its file names; NULL: nothing */
    ac_coco_table table;
    size_t first_image; /* number of its first image among those of all inputs */
} coco_input;

typedef struct coco_output {
    char path[AC_PATH_BYTES];
    size_t others_from; /* input whose "info", "licenses" ... and categories it gets */
    ac_file file;
    size_t n_in_list, n_images, n_annotations;
} coco_output;

typedef struct coco_rewrite {
    coco_input *input;
    size_t n_inputs, n_images;
    coco_output *output;
    size_t n_outputs;
    uint8_t *output_of;    /* [n_images] */
    int64_t *new_category; /* [n_categories] new id, -1 for a dropped one; NULL: ids stay */
    bool renumber;         /* images and annotations get new ids, from 1 */
    int64_t n_renumbered;  /* annotations so far */
} coco_rewrite;

/* Read the inputs' tables. Their categories must be the same. AC_ERR_DATA, AC_ERR_IO, AC_ERR_USAGE for a file that is
 * named twice. Close after success and failure. */
ac_status coco_rewrite_open(coco_rewrite *r, const ac_string_list *paths);
/* Outputs at most 255, zeroed but for what the caller sets. */
ac_status coco_rewrite_add_outputs(coco_rewrite *r, size_t n);
void coco_rewrite_close(coco_rewrite *r);
/* No output may be there (without `overwrite`), and none may be an input. */
ac_status coco_rewrite_check_outputs(const coco_rewrite *r, bool overwrite);
/* What --dry_run says. */
void coco_rewrite_log_dry_run(const coco_rewrite *r);
/* Write the outputs, each complete or absent. Records keep their bytes but for ids and file names that change. */
ac_status coco_rewrite_write(coco_rewrite *r);

#endif
