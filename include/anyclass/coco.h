/* COCO instances files, streamed: one record after the other in constant memory, and the table of what a file holds.
 * JSON is checked in full; members that nobody asks for are not kept. Not collective. */
#ifndef ANYCLASS_COCO_H
#define ANYCLASS_COCO_H

#include "anyclass/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The document's lists, and OTHER: a member of the document that is none of them ("info", "licenses"). */
typedef enum ac_coco_list {
    AC_COCO_IMAGES,
    AC_COCO_CATEGORIES,
    AC_COCO_ANNOTATIONS,
    AC_COCO_OTHER,
    AC_COCO_N_LISTS
} ac_coco_list;

/* Members of a record that are read. NAME is an image's file_name and a category's name. */
typedef enum ac_coco_member {
    AC_COCO_ID,
    AC_COCO_IMAGE_ID,
    AC_COCO_CATEGORY_ID,
    AC_COCO_NAME,
    AC_COCO_N_MEMBERS
} ac_coco_member;

typedef struct ac_coco_record {
    ac_coco_list list;
    uint64_t number; /* in its list, from 1 */
    uint64_t at;     /* byte of the file at which the record begins */
    bool
        has[AC_COCO_N_MEMBERS]; /* images and categories: ID and NAME; annotations: IMAGE_ID, CATEGORY_ID, perhaps ID */
    int64_t value[AC_COCO_N_MEMBERS]; /* ids */
    const char *name;                 /* NAME, or the key of an OTHER */
    const char *text;                 /* the record's own bytes; NULL unless asked for */
    size_t n_bytes;
    size_t begin[AC_COCO_N_MEMBERS]; /* value of each member that is there: text[begin, end) */
    size_t end[AC_COCO_N_MEMBERS];
} ac_coco_record;

typedef struct ac_coco_scan_options {
    unsigned lists;     /* 1 << list for each list to visit */
    unsigned with_text; /* 1 << list for each list whose records come with their bytes */
    bool may_end_early; /* stop behind the last of the lists to visit: the rest of the file is not looked at */
} ac_coco_scan_options;

/** Called for each record; what it points to is valid during the call. Not AC_OK ends the scan, whose error is that
 * with the record's place in front. */
typedef ac_status ac_coco_visit(void *context, const ac_coco_record *record);

/** Visit the records of an instances file in file order.
 * @return AC_ERR_IO; AC_ERR_DATA naming file, line, column and byte: no JSON, cut short, a text or number of more than
 *         4 MiB, a list missing or twice, a record without its members, an id that is no whole number; whatever `visit`
 *         returned. */
AC_NODISCARD ac_status ac_coco_scan(const char *path, const ac_coco_scan_options *options, ac_coco_visit *visit,
                                    void *context);

/** Put "PATH line L column C (byte B): " in front of the recorded error; returns `status`. Reads the file to count its
 * lines (all from 1, the byte from 0); names the byte alone when it cannot. */
ac_status ac_coco_error_at(ac_status status, const char *path, uint64_t byte);

typedef struct ac_coco_image {
    int64_t id;
    uint64_t at;
} ac_coco_image;

typedef struct ac_coco_category {
    int64_t id;
    uint64_t at;
    char *name;
} ac_coco_category;

typedef struct ac_coco_annotation {
    int64_t image, category; /* positions in the two lists, not ids */
    int64_t id;              /* its own; -1 when it has none */
    uint64_t at;
} ac_coco_annotation;

typedef struct ac_coco_other { /* a member of the document that is none of the lists, as it stands in the file */
    char *key, *text;
} ac_coco_other;

typedef struct ac_coco_table { /* what a file holds, each list in file order */
    ac_coco_image *image;
    size_t n_images, image_capacity;
    size_t *name_offset; /* [n_images] into name_pool: file names, zero-terminated */
    char *name_pool;
    size_t pool_bytes, pool_capacity, name_capacity;
    ac_coco_category *category;
    size_t n_categories, category_capacity;
    ac_coco_annotation *annotation;
    size_t n_annotations, annotation_capacity;
    ac_coco_other *other; /* only when asked for */
    size_t n_others, other_capacity;
} ac_coco_table;

/** Read a whole file into `out` (zeroed by the callee): 32 bytes per annotation, 24 and its name per image.
 * `with_others`: keep the members that are no list too.
 * AC_ERR_DATA, besides ac_coco_scan()'s: an image or category id or a file name that occurs twice, an annotation of an
 * image or category that is not listed. Release after success. */
AC_NODISCARD ac_status ac_coco_table_read(const char *path, bool with_others, ac_coco_table *out);
/** Safe on a zeroed struct, which is what it leaves. */
void ac_coco_table_release(ac_coco_table *table);
/** File name of image i; borrowed. */
const char *ac_coco_image_name(const ac_coco_table *table, size_t i);

#endif
