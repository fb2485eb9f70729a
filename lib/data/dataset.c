/* The table of annotated images, and which reader fills it. */
#include "data/dataset_internal.h"
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/hash.h"
#include <stdio.h>
#include <string.h>

typedef struct reader { /* one row per annotation format */
    const char *kind;
    ac_status (*read)(const ac_dataset_options *options, ac_dataset *out);
} reader;

static const reader readers[] = {{"csv", ac_dataset_read_csv}, {"coco", ac_dataset_read_coco}};

const char *ac_dataset_kinds(void)
{
    return "csv|coco";
}

const char *ac_split_name(ac_split split)
{
    static const char *const name[] = {"train", "val", "test"};
    return name[split];
}

ac_status ac_dataset_read(const ac_dataset_options *options, ac_dataset *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (strcmp(readers[i].kind, options->kind) != 0)
            continue;
        ac_status status = readers[i].read(options, out);
        if (status != AC_OK)
            ac_dataset_release(out);
        return status;
    }
    return ac_error(AC_ERR_USAGE, "no reader for data set '%s', only %s", options->kind, ac_dataset_kinds());
}

void ac_dataset_release(ac_dataset *dataset)
{
    for (size_t c = 0; c < dataset->n_classes; c++)
        ac_free(dataset->class_name[c]);
    ac_free(dataset->class_name);
    ac_free(dataset->source);
    ac_free(dataset->name_offset);
    ac_free(dataset->name_pool);
    ac_free(dataset->label);
    memset(dataset, 0, sizeof *dataset);
}

const char *ac_dataset_name(const ac_dataset *dataset, size_t i)
{
    return dataset->name_pool + dataset->name_offset[i];
}

ac_status ac_dataset_add_class(ac_dataset *dataset, const char *name)
{
    ac_status status = AC_OK;
    char *copy = NULL;
    if (!name[0])
        return ac_error(AC_ERR_DATA, "class %zu has no name", dataset->n_classes + 1);
    for (size_t c = 0; c < dataset->n_classes; c++)
        if (strcmp(dataset->class_name[c], name) == 0)
            return ac_error(AC_ERR_DATA, "class '%s' occurs twice", name);
    AC_TRY(ac_strdup(name, &copy));
    AC_TRY(ac_realloc(&dataset->class_name, dataset->n_classes + 1, sizeof *dataset->class_name));
    dataset->class_name[dataset->n_classes++] = copy;
    copy = NULL;
out:
    ac_free(copy);
    return status;
}

ac_status ac_dataset_add_sample(ac_dataset *dataset, const char *file_name)
{
    ac_status status = AC_OK;
    size_t length = strlen(file_name) + 1, n = dataset->n_samples, m = dataset->n_classes;
    if (length == 1)
        return ac_error(AC_ERR_DATA, "an empty file name");
    AC_TRY(ac_reserve(&dataset->name_offset, &dataset->name_capacity, n + 2, sizeof *dataset->name_offset));
    AC_TRY(ac_reserve(&dataset->name_pool, &dataset->pool_capacity, dataset->pool_bytes + length, 1));
    AC_TRY(ac_reserve(&dataset->label, &dataset->label_capacity, (n + 1) * m + 1, 1));
    memcpy(dataset->name_pool + dataset->pool_bytes, file_name, length);
    memset(dataset->label + n * m, 0, m);
    dataset->name_offset[n] = dataset->pool_bytes;
    dataset->pool_bytes += length;
    dataset->name_offset[n + 1] = dataset->pool_bytes;
    dataset->n_samples++;
out:
    return status;
}

ac_status ac_dataset_check_unique(const ac_dataset *dataset, const char *where)
{
    ac_status status = AC_OK;
    size_t n_slots = 16;
    size_t *slot = NULL; /* sample + 1, open addressing */
    while (n_slots < 2 * dataset->n_samples)
        n_slots *= 2;
    AC_TRY(ac_calloc(n_slots, sizeof *slot, &slot));
    for (size_t i = 0; i < dataset->n_samples; i++) {
        const char *name = ac_dataset_name(dataset, i);
        size_t at = (size_t)ac_hash64_bytes(name, strlen(name)) & (n_slots - 1);
        for (; slot[at]; at = (at + 1) & (n_slots - 1))
            if (strcmp(ac_dataset_name(dataset, slot[at] - 1), name) == 0)
                AC_TRY(ac_error(AC_ERR_DATA, "%s: file name '%s' occurs twice", where, name));
        slot[at] = i + 1;
    }
out:
    ac_free(slot);
    return status;
}

ac_status ac_dataset_find_file(const ac_dataset_options *options, const char *const *candidates, size_t n, char path[AC_PATH_BYTES])
{
    size_t length = strlen(options->ann_root);
    if (length > 4 && (strcmp(options->ann_root + length - 4, ".csv") == 0 || strcmp(options->ann_root + length - 5, ".json") == 0))
        return ac_path_join(path, options->ann_root, "") == AC_OK ? (path[strlen(path) - 1] = 0, AC_OK) : AC_ERR_USAGE;
    for (size_t i = 0; i < n; i++) {
        ac_status status = ac_path_join(path, options->ann_root, candidates[i]);
        if (status != AC_OK)
            return status;
        if (ac_path_exists(path))
            return AC_OK;
    }
    return ac_error(AC_ERR_IO, "%s: no annotation file %s (or another name the format allows)", options->ann_root, candidates[0]);
}

ac_status ac_dataset_set_source(ac_dataset *dataset, const char *path)
{
    const char *slash = strrchr(path, '/');
    return ac_strdup(slash ? slash + 1 : path, &dataset->source);
}
