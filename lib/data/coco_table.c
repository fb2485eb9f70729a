/* What a COCO instances file holds, as tables: one pass over the file, whatever the order of its lists. */
#include "anyclass/alloc.h"
#include "anyclass/coco.h"
#include "data/dataset_internal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct id_place { /* id -> position in file order; sorted by id */
    int64_t id;
    int64_t position;
    uint64_t at;
} id_place;

static ac_status add_image(ac_coco_table *t, const ac_coco_record *r)
{
    ac_status status = AC_OK;
    size_t length = strlen(r->name) + 1;
    if (length == 1)
        return ac_error(AC_ERR_DATA, "an image with an empty file_name");
    AC_TRY(ac_reserve(&t->image, &t->image_capacity, t->n_images + 1, sizeof *t->image));
    AC_TRY(ac_reserve(&t->name_offset, &t->name_capacity, t->n_images + 1, sizeof *t->name_offset));
    AC_TRY(ac_reserve(&t->name_pool, &t->pool_capacity, t->pool_bytes + length, 1));
    memcpy(t->name_pool + t->pool_bytes, r->name, length);
    t->name_offset[t->n_images] = t->pool_bytes;
    t->pool_bytes += length;
    t->image[t->n_images++] = (ac_coco_image){r->value[AC_COCO_ID], r->at};
out:
    return status;
}

static ac_status add_category(ac_coco_table *t, const ac_coco_record *r)
{
    ac_status status = AC_OK;
    ac_coco_category one = {.id = r->value[AC_COCO_ID], .at = r->at};
    AC_TRY(ac_reserve(&t->category, &t->category_capacity, t->n_categories + 1, sizeof *t->category));
    AC_TRY(ac_strdup(r->name, &one.name));
    t->category[t->n_categories++] = one;
out:
    return status;
}

/* Ids for now; resolve() turns them into positions. */
static ac_status add_annotation(ac_coco_table *t, const ac_coco_record *r)
{
    ac_status status = ac_reserve(&t->annotation, &t->annotation_capacity, t->n_annotations + 1, sizeof *t->annotation);
    if (status == AC_OK)
        t->annotation[t->n_annotations++] =
            (ac_coco_annotation){r->value[AC_COCO_IMAGE_ID], r->value[AC_COCO_CATEGORY_ID],
                                 r->has[AC_COCO_ID] ? r->value[AC_COCO_ID] : -1, r->at};
    return status;
}

static ac_status add_other(ac_coco_table *t, const ac_coco_record *r)
{
    ac_status status = AC_OK;
    ac_coco_other one = {0};
    AC_TRY(ac_reserve(&t->other, &t->other_capacity, t->n_others + 1, sizeof *t->other));
    AC_TRY(ac_malloc(r->n_bytes + 1, 1, &one.text));
    memcpy(one.text, r->text, r->n_bytes);
    one.text[r->n_bytes] = 0;
    AC_TRY(ac_strdup(r->name, &one.key));
    t->other[t->n_others++] = one;
    return AC_OK;
out:
    ac_free(one.text);
    return status;
}

static ac_status add_record(void *context, const ac_coco_record *r)
{
    static ac_status (*const add[AC_COCO_N_LISTS])(ac_coco_table *, const ac_coco_record *) = {
        add_image, add_category, add_annotation, add_other};
    return add[r->list](context, r);
}

static int by_id(const void *a, const void *b)
{
    const id_place *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id)
                          : (x->position > y->position) - (x->position < y->position);
}

static const id_place *find_id(const id_place *list, size_t n, int64_t id)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && list[low].id == id ? &list[low] : NULL;
}

static ac_status sort_ids(id_place *list, size_t n, const char *path, const char *what)
{
    if (n)
        qsort(list, n, sizeof *list, by_id);
    for (size_t i = 1; i < n; i++)
        if (list[i].id == list[i - 1].id) {
            ac_status status = ac_error(AC_ERR_DATA, "%s id %" PRId64 " occurs twice", what, list[i].id);
            return ac_coco_error_at(status, path, list[i].at);
        }
    return AC_OK;
}

static ac_status index_images(const ac_coco_table *t, const char *path, id_place **out)
{
    ac_status status = ac_malloc(t->n_images + 1, sizeof **out, out);
    for (size_t i = 0; status == AC_OK && i < t->n_images; i++)
        (*out)[i] = (id_place){t->image[i].id, (int64_t)i, t->image[i].at};
    return status == AC_OK ? sort_ids(*out, t->n_images, path, "image") : status;
}

static ac_status index_categories(const ac_coco_table *t, const char *path, id_place **out)
{
    ac_status status = ac_malloc(t->n_categories + 1, sizeof **out, out);
    for (size_t i = 0; status == AC_OK && i < t->n_categories; i++)
        (*out)[i] = (id_place){t->category[i].id, (int64_t)i, t->category[i].at};
    return status == AC_OK ? sort_ids(*out, t->n_categories, path, "category") : status;
}

/* Ids of annotations become positions. Annotations of one image often follow each other. */
static ac_status resolve(ac_coco_table *t, const char *path)
{
    ac_status status = AC_OK;
    id_place *images = NULL, *categories = NULL;
    const id_place *image = NULL;
    AC_TRY(index_images(t, path, &images));
    AC_TRY(index_categories(t, path, &categories));
    for (size_t i = 0; i < t->n_annotations; i++) {
        ac_coco_annotation *a = &t->annotation[i];
        if (!image || image->id != a->image)
            image = find_id(images, t->n_images, a->image);
        const id_place *category = find_id(categories, t->n_categories, a->category);
        if (!image || !category) {
            status = ac_error(AC_ERR_DATA, "annotation %zu: no %s has the id %" PRId64, i + 1,
                              image ? "category" : "image", image ? a->category : a->image);
            AC_TRY(ac_coco_error_at(status, path, a->at));
        }
        a->image = image->position;
        a->category = category->position;
    }
out:
    ac_free(images);
    ac_free(categories);
    return status;
}

static ac_status check_names(const ac_coco_table *t, const char *path)
{
    ac_status status = AC_OK;
    ac_name_index index = {0};
    size_t twice[2];
    AC_TRY(ac_name_index_create(t->name_pool, t->name_offset, t->n_images, &index, twice));
    if (twice[1]) {
        status = ac_error(AC_ERR_DATA, "file name '%s' occurs twice (images %" PRId64 " and %" PRId64 ")",
                          ac_coco_image_name(t, twice[1]), t->image[twice[0]].id, t->image[twice[1]].id);
        status = ac_coco_error_at(status, path, t->image[twice[1]].at);
    }
out:
    ac_name_index_release(&index);
    return status;
}

ac_status ac_coco_table_read(const char *path, bool with_others, ac_coco_table *out)
{
    ac_status status = AC_OK;
    unsigned others = with_others ? 1u << AC_COCO_OTHER : 0;
    ac_coco_scan_options options = {.lists = 1u << AC_COCO_IMAGES | 1u << AC_COCO_CATEGORIES |
                                             1u << AC_COCO_ANNOTATIONS | others,
                                    .with_text = others};
    memset(out, 0, sizeof *out);
    AC_TRY(ac_coco_scan(path, &options, add_record, out));
    AC_TRY(check_names(out, path));
    AC_TRY(resolve(out, path));
out:
    if (status != AC_OK)
        ac_coco_table_release(out);
    return status;
}

void ac_coco_table_release(ac_coco_table *t)
{
    for (size_t i = 0; i < t->n_categories; i++)
        ac_free(t->category[i].name);
    for (size_t i = 0; i < t->n_others; i++) {
        ac_free(t->other[i].key);
        ac_free(t->other[i].text);
    }
    ac_free(t->category);
    ac_free(t->other);
    ac_free(t->image);
    ac_free(t->annotation);
    ac_free(t->name_offset);
    ac_free(t->name_pool);
    memset(t, 0, sizeof *t);
}

const char *ac_coco_image_name(const ac_coco_table *t, size_t i)
{
    return t->name_pool + t->name_offset[i];
}
