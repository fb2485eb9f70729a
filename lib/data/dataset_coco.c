/* coco: instances_*.json to the table of annotated images. */
#include "anyclass/alloc.h"
#include "anyclass/coco.h"
#include "data/dataset_internal.h"
#include <string.h>

/* Classes in file order; class_of[category] is -1 for the negative one. */
static ac_status add_classes(const ac_coco_table *table, const char *path, int64_t *class_of, ac_dataset *out)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < table->n_categories; i++) {
        const ac_coco_category *category = &table->category[i];
        class_of[i] = -1;
        if (strcmp(category->name, "unlabeled") == 0)
            continue;
        class_of[i] = (int64_t)out->n_classes;
        status = ac_dataset_add_class(out, category->name);
        if (status != AC_OK)
            return ac_coco_error_at(status, path, category->at);
    }
    return out->n_classes ? AC_OK : ac_error(AC_ERR_DATA, "%s: has no category that is a class", path);
}

ac_status ac_dataset_read_coco(const char *path, const ac_dataset_options *options, ac_dataset *out)
{
    ac_status status = AC_OK;
    ac_coco_table table = {0};
    int64_t *class_of = NULL;
    (void)options;
    AC_TRY(ac_coco_table_read(path, false, &table));
    AC_TRY(ac_malloc(table.n_categories + 1, sizeof *class_of, &class_of));
    AC_TRY(add_classes(&table, path, class_of, out));
    for (size_t i = 0; i < table.n_images; i++)
        AC_TRY(ac_dataset_add_sample(out, ac_coco_image_name(&table, i)));
    for (size_t i = 0; i < table.n_annotations; i++) {
        const ac_coco_annotation *a = &table.annotation[i];
        if (class_of[a->category] >= 0)
            out->label[(size_t)a->image * out->n_classes + (size_t)class_of[a->category]] = 1;
    }
out:
    ac_free(class_of);
    ac_coco_table_release(&table);
    return status;
}
