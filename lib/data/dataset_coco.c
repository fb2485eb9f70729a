/* coco: instances_*.json, streamed with YAJL in pieces. The file is read twice, since its three lists may come in any
 * order: once for images and categories, then for the annotations, which go straight into the table. Memory: the table,
 * and 16 bytes per image for the map from ids. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "data/dataset_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum { PIECE_BYTES = 1 << 16, NAME_BYTES = 1024, LIST_DEPTH = 2, RECORD_DEPTH = 3 };

typedef enum section { IMAGES, CATEGORIES, ANNOTATIONS, N_SECTIONS, NONE = N_SECTIONS } section;
static const char *const section_name[N_SECTIONS] = {"images", "categories", "annotations"};

/* Members of a record that matter. */
typedef enum member { ID, IMAGE_ID, CATEGORY_ID, NAME, N_MEMBERS, OTHER = N_MEMBERS } member;

typedef struct id_index { /* id -> position in file order; sorted by id once the list is complete */
    int64_t id;
    int64_t position;
} id_index;

typedef struct coco {
    ac_dataset *out;
    bool second;                    /* the pass that reads annotations */
    section section;                /* list that is open */
    bool seen[N_SECTIONS];          /* in this pass */
    uint64_t n_records[N_SECTIONS]; /* begun so far */
    int depth;                      /* of open objects and arrays */
    char key[16];                   /* last key of the document itself; longer ones are none of ours */
    member member;                  /* last key of the record */
    int64_t value[N_MEMBERS];       /* ids of the record */
    char name[NAME_BYTES];          /* file_name or name of the record */
    bool has[N_MEMBERS];
    id_index *image, *category;
    size_t n_images, image_capacity, n_categories, category_capacity;
    char **category_name; /* [n_categories] */
    size_t category_name_capacity;
    int64_t *class_of; /* [n_categories] class, -1 for the negative one */
    char *file_names;  /* pool, until the classes are known */
    size_t names_bytes, names_capacity;
    ac_status status; /* why a callback stopped the parser */
} coco;

static int stop(coco *c, ac_status status)
{
    c->status = status;
    return status == AC_OK;
}

/* True inside a list that this pass reads. */
static bool wanted(const coco *c)
{
    return c->section != NONE && (c->section == ANNOTATIONS) == c->second;
}

static int by_id(const void *a, const void *b)
{
    const id_index *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static const id_index *find_id(const id_index *list, size_t n, int64_t id)
{
    const id_index key = {id, 0};
    return n ? bsearch(&key, list, n, sizeof *list, by_id) : NULL;
}

static ac_status sort_ids(id_index *list, size_t n, const char *what)
{
    if (n)
        qsort(list, n, sizeof *list, by_id);
    for (size_t i = 1; i < n; i++)
        if (list[i].id == list[i - 1].id)
            return ac_error(AC_ERR_DATA, "%s id %" PRId64 " occurs twice", what, list[i].id);
    return AC_OK;
}

static ac_status end_image(coco *c)
{
    ac_status status = AC_OK;
    size_t length = strlen(c->name) + 1;
    if (!c->has[ID] || !c->has[NAME])
        return ac_error(AC_ERR_DATA, "image %" PRIu64 " lacks a whole number 'id' or a text 'file_name'",
                        c->n_records[IMAGES]);
    AC_TRY(ac_reserve(&c->file_names, &c->names_capacity, c->names_bytes + length, 1));
    AC_TRY(ac_reserve(&c->image, &c->image_capacity, c->n_images + 1, sizeof *c->image));
    memcpy(c->file_names + c->names_bytes, c->name, length);
    c->names_bytes += length;
    c->image[c->n_images] = (id_index){c->value[ID], (int64_t)c->n_images};
    c->n_images++;
out:
    return status;
}

static ac_status end_category(coco *c)
{
    ac_status status = AC_OK;
    if (!c->has[ID] || !c->has[NAME])
        return ac_error(AC_ERR_DATA, "category %" PRIu64 " lacks a whole number 'id' or a text 'name'",
                        c->n_records[CATEGORIES]);
    AC_TRY(ac_reserve(&c->category, &c->category_capacity, c->n_categories + 1, sizeof *c->category));
    AC_TRY(ac_reserve(&c->category_name, &c->category_name_capacity, c->n_categories + 1, sizeof *c->category_name));
    AC_TRY(ac_strdup(c->name, &c->category_name[c->n_categories]));
    c->category[c->n_categories] = (id_index){c->value[ID], (int64_t)c->n_categories};
    c->n_categories++;
out:
    return status;
}

static ac_status end_annotation(coco *c)
{
    if (!c->has[IMAGE_ID] || !c->has[CATEGORY_ID])
        return ac_error(AC_ERR_DATA, "annotation %" PRIu64 " lacks a whole number 'image_id' or 'category_id'",
                        c->n_records[ANNOTATIONS]);
    const id_index *image = find_id(c->image, c->n_images, c->value[IMAGE_ID]);
    const id_index *category = find_id(c->category, c->n_categories, c->value[CATEGORY_ID]);
    if (!image || !category)
        return ac_error(AC_ERR_DATA, "annotation %" PRIu64 ": no %s has the id %" PRId64, c->n_records[ANNOTATIONS],
                        image ? "category" : "image", c->value[image ? CATEGORY_ID : IMAGE_ID]);
    int64_t class = c->class_of[category->position];
    if (class >= 0)
        c->out->label[(size_t)image->position * c->out->n_classes + (size_t) class] = 1;
    return AC_OK;
}

/* What is neither object nor array. */
static int on_scalar(coco *c)
{
    if (c->depth == LIST_DEPTH && wanted(c))
        return stop(c,
                    ac_error(AC_ERR_DATA, "the list '%s' holds something that is no object", section_name[c->section]));
    return 1;
}

static int on_null(void *context)
{
    return on_scalar(context);
}

static int on_boolean(void *context, int value)
{
    (void)value;
    return on_scalar(context);
}

static int on_open_object(void *context)
{
    coco *c = context;
    if (++c->depth == RECORD_DEPTH && c->section != NONE) {
        c->n_records[c->section]++;
        memset(c->has, 0, sizeof c->has);
        c->member = OTHER;
    }
    return 1;
}

static int on_close_object(void *context)
{
    static ac_status (*const end[N_SECTIONS])(coco *) = {end_image, end_category, end_annotation};
    coco *c = context;
    if (c->depth-- == RECORD_DEPTH && wanted(c))
        return stop(c, end[c->section](c));
    return 1;
}

static int on_open_array(void *context)
{
    coco *c = context;
    if (on_scalar(c) == 0)
        return 0;
    if (++c->depth != LIST_DEPTH)
        return 1;
    for (section s = 0; s < N_SECTIONS; s++) {
        if (strcmp(c->key, section_name[s]) != 0)
            continue;
        if (c->seen[s])
            return stop(c, ac_error(AC_ERR_DATA, "the list '%s' occurs twice", section_name[s]));
        c->seen[s] = true;
        c->section = s;
    }
    return 1;
}

static int on_close_array(void *context)
{
    coco *c = context;
    if (c->depth-- == LIST_DEPTH)
        c->section = NONE;
    return 1;
}

static bool same(const unsigned char *text, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(text, word, n) == 0;
}

static int on_key(void *context, const unsigned char *text, size_t n)
{
    static const char *const names[N_MEMBERS] = {"id", "image_id", "category_id", "name"};
    coco *c = context;
    if (c->depth == 1) {
        n = n < sizeof c->key ? n : 0;
        memcpy(c->key, text, n);
        c->key[n] = 0;
    } else if (c->depth == RECORD_DEPTH && wanted(c)) {
        c->member = OTHER;
        for (member m = 0; m < N_MEMBERS; m++)
            if ((c->section == ANNOTATIONS) == (m == IMAGE_ID || m == CATEGORY_ID) &&
                same(text, n, m == NAME && c->section == IMAGES ? "file_name" : names[m]))
                c->member = m;
    }
    return 1;
}

static int on_number(void *context, const char *text, size_t n)
{
    coco *c = context;
    char copy[24] = "", *end = copy;
    if (c->depth != RECORD_DEPTH || !wanted(c) || c->member == OTHER || c->member == NAME)
        return on_scalar(c);
    if (n < sizeof copy)
        memcpy(copy, text, n);
    errno = 0;
    c->value[c->member] = strtoll(copy, &end, 10);
    if (end == copy || *end || errno)
        return stop(c,
                    ac_error(AC_ERR_DATA, "the id %.*s is no whole number of 64 bits", (int)(n < 40 ? n : 40), text));
    c->has[c->member] = true;
    return 1;
}

static int on_string(void *context, const unsigned char *text, size_t n)
{
    coco *c = context;
    if (c->depth != RECORD_DEPTH || !wanted(c) || c->member != NAME)
        return on_scalar(c);
    if (n >= sizeof c->name || memchr(text, 0, n))
        return stop(c, ac_error(AC_ERR_DATA, "a name of %zu bytes or with a zero byte", n));
    memcpy(c->name, text, n);
    c->name[n] = 0;
    c->has[NAME] = true;
    return 1;
}

/* Feed the file to a parser. */
static ac_status parse(coco *c, const char *path, FILE *file, yajl_handle handle, unsigned char *piece)
{
    size_t n, before = 0;
    do {
        n = fread(piece, 1, PIECE_BYTES, file);
        if (ferror(file))
            return ac_error_errno("%s: read", path);
        if ((n ? yajl_parse(handle, piece, n) : yajl_complete_parse(handle)) != yajl_status_ok) {
            size_t at = before + yajl_get_bytes_consumed(handle);
            if (c->status != AC_OK)
                return ac_error_in(c->status, "%s, before byte %zu", path, at);
            unsigned char *why = yajl_get_error(handle, 0, NULL, 0);
            size_t length = why ? strcspn((char *)why, "\n") : 0;
            ac_status status =
                ac_error(AC_ERR_DATA, "%s, byte %zu: %.*s", path, at, (int)length, why ? (char *)why : "");
            if (why)
                yajl_free_error(handle, why);
            return status;
        }
        before += n;
    } while (n);
    return AC_OK;
}

static ac_status read_pass(coco *c, const char *path, bool second, unsigned char *piece)
{
    static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_object,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close_object,
        .yajl_start_array = on_open_array,
        .yajl_end_array = on_close_array,
    };
    FILE *file = fopen(path, "rb");
    if (!file)
        return ac_error_errno("%s", path);
    c->second = second;
    c->section = NONE;
    c->depth = 0;
    memset(c->seen, 0, sizeof c->seen);
    memset(c->n_records, 0, sizeof c->n_records);
    yajl_handle handle = yajl_alloc(&callbacks, NULL, c);
    ac_status status =
        handle ? parse(c, path, file, handle, piece) : ac_error(AC_ERR_MEMORY, "%s: no memory for a parser", path);
    if (handle)
        yajl_free(handle);
    fclose(file);
    return status;
}

/* Images and categories are complete: classes, samples without labels, maps. */
static ac_status build(coco *c)
{
    ac_status status = AC_OK;
    for (section s = 0; s < N_SECTIONS; s++)
        if (!c->seen[s])
            return ac_error(AC_ERR_DATA, "has no list '%s'", section_name[s]);
    AC_TRY(ac_malloc(c->n_categories + 1, sizeof *c->class_of, &c->class_of));
    for (size_t i = 0; i < c->n_categories; i++) {
        bool is_class = strcmp(c->category_name[i], "unlabeled") != 0;
        c->class_of[i] = is_class ? (int64_t)c->out->n_classes : -1;
        if (is_class)
            AC_TRY(ac_dataset_add_class(c->out, c->category_name[i]));
    }
    if (c->out->n_classes == 0)
        return ac_error(AC_ERR_DATA, "has no category that is a class");
    const char *name = c->file_names;
    for (size_t i = 0; i < c->n_images; i++, name += strlen(name) + 1)
        AC_TRY(ac_dataset_add_sample(c->out, name));
    AC_TRY(sort_ids(c->image, c->n_images, "image"));
    AC_TRY(sort_ids(c->category, c->n_categories, "category"));
out:
    return status;
}

static void release(coco *c)
{
    for (size_t i = 0; i < c->n_categories; i++)
        ac_free(c->category_name[i]);
    ac_free(c->category_name);
    ac_free(c->category);
    ac_free(c->class_of);
    ac_free(c->image);
    ac_free(c->file_names);
    ac_free(c);
}

ac_status ac_dataset_read_coco(const char *path, const ac_dataset_options *options, ac_dataset *out)
{
    ac_status status = AC_OK;
    unsigned char *piece = NULL;
    coco *c = NULL;
    (void)options;
    AC_TRY(ac_calloc(1, sizeof *c, &c));
    AC_TRY(ac_malloc(PIECE_BYTES, 1, &piece));
    c->out = out;
    AC_TRY(read_pass(c, path, false, piece));
    status = build(c);
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
    ac_free(c->file_names);
    c->file_names = NULL;
    AC_TRY(read_pass(c, path, true, piece));
out:
    if (c)
        release(c);
    ac_free(piece);
    return status;
}
