/* coco: instances JSON, streamed with YAJL in pieces. The three lists may come in any order: annotations are kept as
 * (image id, category id) pairs until the file has been read. */
#include "anyclass/alloc.h"
#include "data/dataset_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum { PIECE_BYTES = 1 << 16, NAME_BYTES = 1024 };

typedef enum section { SECTION_NONE, SECTION_IMAGES, SECTION_ANNOTATIONS, SECTION_CATEGORIES } section;

typedef struct id_index { /* id -> position, sorted by id before use */
    int64_t id;
    int64_t position;
} id_index;

typedef struct coco {
    ac_dataset *out;
    section section;
    bool seen[4];
    int depth;             /* of open objects and arrays; records are objects at depth 3 */
    char key[32];          /* last key at depth 1 or 3 */
    int64_t id, image_id, category_id;
    bool has_id, has_image_id, has_category_id, has_name;
    char name[NAME_BYTES]; /* file_name or name of the record */
    id_index *image, *category;
    size_t n_images, image_capacity, n_categories, category_capacity;
    id_index *pair;        /* id: image, position: category id */
    size_t n_pairs, pair_capacity;
    char **category_name;
    size_t n_names, name_capacity;
    char *file_names;      /* pool, until the classes are known */
    size_t names_bytes, names_capacity;
    ac_status status;
} coco;

static ac_status add_id(id_index **list, size_t *n, size_t *capacity, int64_t id, int64_t position)
{
    ac_status status = ac_reserve(list, capacity, *n + 1, sizeof **list);
    if (status == AC_OK)
        (*list)[(*n)++] = (id_index){id, position};
    return status;
}

static ac_status end_image(coco *c)
{
    ac_status status = AC_OK;
    size_t length = strlen(c->name) + 1;
    if (!c->has_id || !c->has_name)
        return ac_error(AC_ERR_DATA, "image %zu lacks id or file_name", c->n_images + 1);
    AC_TRY(ac_reserve(&c->file_names, &c->names_capacity, c->names_bytes + length, 1));
    memcpy(c->file_names + c->names_bytes, c->name, length);
    AC_TRY(add_id(&c->image, &c->n_images, &c->image_capacity, c->id, (int64_t)c->n_images));
    c->names_bytes += length;
out:
    return status;
}

static ac_status end_category(coco *c)
{
    ac_status status = AC_OK;
    char *copy = NULL;
    if (!c->has_id || !c->has_name)
        return ac_error(AC_ERR_DATA, "category %zu lacks id or name", c->n_categories + 1);
    AC_TRY(ac_strdup(c->name, &copy));
    AC_TRY(ac_reserve(&c->category_name, &c->name_capacity, c->n_names + 1, sizeof *c->category_name));
    AC_TRY(add_id(&c->category, &c->n_categories, &c->category_capacity, c->id, (int64_t)c->n_names));
    c->category_name[c->n_names++] = copy;
    copy = NULL;
out:
    ac_free(copy);
    return status;
}

static ac_status end_record(coco *c)
{
    switch (c->section) {
    case SECTION_IMAGES:
        return end_image(c);
    case SECTION_CATEGORIES:
        return end_category(c);
    case SECTION_ANNOTATIONS:
        if (!c->has_image_id || !c->has_category_id)
            return ac_error(AC_ERR_DATA, "annotation %zu lacks image_id or category_id", c->n_pairs + 1);
        return add_id(&c->pair, &c->n_pairs, &c->pair_capacity, c->image_id, c->category_id);
    case SECTION_NONE:
        break;
    }
    return AC_OK;
}

static int on_open_object(void *context)
{
    coco *c = context;
    if (++c->depth == 3 && c->section != SECTION_NONE)
        c->has_id = c->has_image_id = c->has_category_id = c->has_name = false;
    return 1;
}

static int on_close_object(void *context)
{
    coco *c = context;
    if (c->depth-- == 3 && c->section != SECTION_NONE)
        c->status = end_record(c);
    return c->status == AC_OK;
}

static int on_open_array(void *context)
{
    coco *c = context;
    static const struct {
        const char *key;
        section section;
    } sections[] = {{"images", SECTION_IMAGES}, {"annotations", SECTION_ANNOTATIONS}, {"categories", SECTION_CATEGORIES}};
    if (++c->depth != 2)
        return 1;
    c->section = SECTION_NONE;
    for (size_t i = 0; i < 3; i++)
        if (strcmp(c->key, sections[i].key) == 0) {
            c->section = sections[i].section;
            c->seen[c->section] = true;
        }
    return 1;
}

static int on_close_array(void *context)
{
    coco *c = context;
    if (c->depth-- == 2)
        c->section = SECTION_NONE;
    return 1;
}

static int on_key(void *context, const unsigned char *text, size_t n)
{
    coco *c = context;
    if (c->depth == 1 || c->depth == 3) {
        n = n < sizeof c->key ? n : 0; /* a longer key is none of ours */
        memcpy(c->key, text, n);
        c->key[n] = 0;
    }
    return 1;
}

static int on_number(void *context, const char *text, size_t n)
{
    coco *c = context;
    char copy[32];
    if (c->depth != 3 || c->section == SECTION_NONE)
        return 1;
    bool is_id = strcmp(c->key, "id") == 0 && c->section != SECTION_ANNOTATIONS, is_image = strcmp(c->key, "image_id") == 0;
    bool is_category = strcmp(c->key, "category_id") == 0;
    if (!is_id && !is_image && !is_category)
        return 1;
    char *end = copy;
    errno = 0;
    snprintf(copy, sizeof copy, "%.*s", (int)(n < 31 ? n : 31), text);
    int64_t value = strtoll(copy, &end, 10);
    if (*end || errno || n > 20) {
        c->status = ac_error(AC_ERR_DATA, "%s '%s' is no whole number", c->key, copy);
        return 0;
    }
    if (is_id) {
        c->id = value;
        c->has_id = true;
    } else if (is_image) {
        c->image_id = value;
        c->has_image_id = true;
    } else {
        c->category_id = value;
        c->has_category_id = true;
    }
    return 1;
}

static int on_string(void *context, const unsigned char *text, size_t n)
{
    coco *c = context;
    const char *wanted = c->section == SECTION_IMAGES ? "file_name" : "name";
    if (c->depth != 3 || (c->section != SECTION_IMAGES && c->section != SECTION_CATEGORIES) || strcmp(c->key, wanted) != 0)
        return 1;
    if (n >= sizeof c->name || memchr(text, 0, n)) {
        c->status = ac_error(AC_ERR_DATA, "a %s of %zu bytes or with a zero byte", wanted, n);
        return 0;
    }
    memcpy(c->name, text, n);
    c->name[n] = 0;
    c->has_name = true;
    return 1;
}

static int by_id(const void *a, const void *b)
{
    const id_index *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static const id_index *find_id(const id_index *list, size_t n, int64_t id)
{
    const id_index key = {id, 0};
    return bsearch(&key, list, n, sizeof *list, by_id);
}

static ac_status sort_ids(id_index *list, size_t n, const char *what)
{
    qsort(list, n, sizeof *list, by_id);
    for (size_t i = 1; i < n; i++)
        if (list[i].id == list[i - 1].id)
            return ac_error(AC_ERR_DATA, "%s id %" PRId64 " occurs twice", what, list[i].id);
    return AC_OK;
}

/* The lists are complete: classes, samples, labels. */
static ac_status build(coco *c)
{
    ac_status status = AC_OK;
    int64_t *class_of = NULL; /* category position -> class, -1 for "unlabeled" */
    if (!c->seen[SECTION_IMAGES] || !c->seen[SECTION_ANNOTATIONS] || !c->seen[SECTION_CATEGORIES])
        return ac_error(AC_ERR_DATA, "needs the lists images, annotations and categories");
    AC_TRY(ac_malloc(c->n_names + 1, sizeof *class_of, &class_of));
    for (size_t i = 0; i < c->n_names; i++) {
        bool is_class = strcmp(c->category_name[i], "unlabeled") != 0;
        class_of[i] = is_class ? (int64_t)c->out->n_classes : -1;
        if (is_class)
            AC_TRY(ac_dataset_add_class(c->out, c->category_name[i]));
    }
    if (c->out->n_classes == 0 || c->n_images == 0)
        AC_TRY(ac_error(AC_ERR_DATA, "no %s", c->n_images ? "categories" : "images"));
    const char *name = c->file_names;
    for (size_t i = 0; i < c->n_images; i++, name += strlen(name) + 1)
        AC_TRY(ac_dataset_add_sample(c->out, name));
    AC_TRY(sort_ids(c->image, c->n_images, "image"));
    AC_TRY(sort_ids(c->category, c->n_categories, "category"));
    for (size_t i = 0; i < c->n_pairs; i++) {
        const id_index *image = find_id(c->image, c->n_images, c->pair[i].id);
        const id_index *category = find_id(c->category, c->n_categories, c->pair[i].position);
        if (!image || !category)
            AC_TRY(ac_error(AC_ERR_DATA, "annotation %zu: unknown %s %" PRId64, i + 1, image ? "category_id" : "image_id",
                            image ? c->pair[i].position : c->pair[i].id));
        if (class_of[category->position] >= 0)
            c->out->label[(size_t)image->position * c->out->n_classes + (size_t)class_of[category->position]] = 1;
    }
out:
    ac_free(class_of);
    return status;
}

static ac_status parse_file(coco *c, const char *path, FILE *file, unsigned char *piece)
{
    static const yajl_callbacks callbacks = {
        .yajl_number = on_number, .yajl_string = on_string, .yajl_start_map = on_open_object, .yajl_map_key = on_key,
        .yajl_end_map = on_close_object, .yajl_start_array = on_open_array, .yajl_end_array = on_close_array,
    };
    ac_status status = AC_OK;
    size_t n, before = 0;
    yajl_handle handle = yajl_alloc(&callbacks, NULL, c);
    if (!handle)
        return ac_error(AC_ERR_MEMORY, "%s: cannot allocate a parser", path);
    do {
        n = fread(piece, 1, PIECE_BYTES, file);
        if (ferror(file))
            AC_TRY(ac_error_errno("%s: read", path));
        yajl_status parsed = n ? yajl_parse(handle, piece, n) : yajl_complete_parse(handle);
        if (parsed != yajl_status_ok) {
            unsigned char *why = yajl_get_error(handle, 0, piece, n);
            size_t at = before + yajl_get_bytes_consumed(handle), length = why ? strcspn((char *)why, "\n") : 0;
            status = c->status != AC_OK ? ac_error_in(c->status, "%s byte %zu", path, at)
                                        : ac_error(AC_ERR_DATA, "%s byte %zu: %.*s", path, at, (int)length, why ? (char *)why : "");
            if (why)
                yajl_free_error(handle, why);
            goto out;
        }
        before += n;
    } while (n);
out:
    yajl_free(handle);
    return status;
}

ac_status ac_dataset_read_coco(const ac_dataset_options *options, ac_dataset *out)
{
    static const char *const names[][2] = {{"instances_train.json", "instances_train2017.json"},
                                           {"instances_val.json", "instances_val2017.json"},
                                           {"instances_test.json", "instances_test2017.json"}};
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    unsigned char *piece = NULL;
    FILE *file = NULL;
    coco *c = NULL;
    AC_TRY(ac_dataset_find_file(options, names[options->split], 2, path));
    AC_TRY(ac_dataset_set_source(out, path));
    ac_dataset_use_coco_constants(out);
    AC_TRY(ac_calloc(1, sizeof *c, &c));
    AC_TRY(ac_malloc(PIECE_BYTES, 1, &piece));
    c->out = out;
    file = fopen(path, "rb");
    if (!file)
        AC_TRY(ac_error_errno("%s", path));
    AC_TRY(parse_file(c, path, file, piece));
    status = build(c);
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
    AC_TRY(ac_dataset_check_unique(out, path));
out:
    if (file)
        fclose(file);
    if (c) {
        for (size_t i = 0; i < c->n_names; i++)
            ac_free(c->category_name[i]);
        ac_free(c->category_name);
        ac_free(c->image);
        ac_free(c->category);
        ac_free(c->pair);
        ac_free(c->file_names);
    }
    ac_free(c);
    ac_free(piece);
    return status;
}
