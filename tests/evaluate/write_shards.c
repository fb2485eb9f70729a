/* Helper: shards with grey pixels for the names and labels of a CSV.
 * usage: write_shards LABELS.csv DIR N_SHARDS */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/shard.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_PX = 8, IMAGE_BYTES = SIZE_PX * SIZE_PX * 3, MOST_SHARDS = 16 };

static ac_status write_shard(const ac_dataset *dataset, const char *folder, size_t first, size_t n, size_t shard,
                             size_t n_shards, ac_manifest_entry *entry)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    const char **names = NULL;
    uint8_t *images = NULL;
    ac_shard_meta meta = {.split = "val",
                          .dataset = "csv",
                          .source = "labels.csv",
                          .options = "{}",
                          .class_name = dataset->class_name,
                          .n_classes = dataset->n_classes,
                          .image_size_px = SIZE_PX,
                          .mean = {.5f, .5f, .5f},
                          .std = {.2f, .2f, .2f}};
    ac_shard_file_name(entry->file, sizeof entry->file, "val", shard, n_shards);
    AC_TRY(ac_path_join(path, folder, entry->file));
    AC_TRY(ac_malloc(n, sizeof *names, &names));
    AC_TRY(ac_calloc(n, IMAGE_BYTES, &images));
    for (size_t i = 0; i < n; i++)
        names[i] = ac_dataset_name(dataset, first + i);
    entry->n_samples = n;
    ac_shard_content content = {
        .n = n, .names = names, .labels = dataset->label + first * dataset->n_classes, .images = images};
    AC_TRY(ac_shard_write(path, &meta, shard, n_shards, &content, &entry->hash));
out:
    ac_free(names);
    ac_free(images);
    return status;
}

static void count_labels(const ac_dataset *dataset, int64_t *class_count, int64_t *n_negative)
{
    for (size_t i = 0; i < dataset->n_samples; i++) {
        bool any = false;
        for (size_t c = 0; c < dataset->n_classes; c++) {
            class_count[c] += dataset->label[i * dataset->n_classes + c];
            any |= dataset->label[i * dataset->n_classes + c] != 0;
        }
        *n_negative += !any;
    }
}

static ac_status write_all(const ac_dataset *dataset, const char *folder, size_t n_shards)
{
    ac_status status = AC_OK;
    ac_manifest_entry entries[MOST_SHARDS];
    static char split[] = "val", dataset_kind[] = "csv", source[] = "labels.csv", options[] = "{}";
    ac_manifest manifest = {.split = split,
                            .dataset = dataset_kind,
                            .source = source,
                            .options = options,
                            .class_name = dataset->class_name,
                            .n_classes = dataset->n_classes,
                            .n_samples = dataset->n_samples,
                            .image_size_px = SIZE_PX,
                            .mean = {.5f, .5f, .5f},
                            .std = {.2f, .2f, .2f},
                            .shard = entries,
                            .n_shards = n_shards};
    memset(entries, 0, sizeof entries);
    AC_TRY(ac_calloc(dataset->n_classes, sizeof *manifest.class_count, &manifest.class_count));
    count_labels(dataset, manifest.class_count, &manifest.n_negative);
    for (size_t shard = 0; shard < n_shards; shard++) {
        size_t first = dataset->n_samples * shard / n_shards, end = dataset->n_samples * (shard + 1) / n_shards;
        AC_TRY(write_shard(dataset, folder, first, end - first, shard, n_shards, &entries[shard]));
    }
    AC_TRY(ac_manifest_save(&manifest, folder));
out:
    ac_free(manifest.class_count);
    return status;
}

int main(int argc, char **argv)
{
    ac_dataset dataset;
    ac_dataset_options options = {.kind = "csv", .ann_root = argc == 4 ? argv[1] : "", .split = AC_SPLIT_VAL};
    size_t n_shards = argc == 4 ? (size_t)atoi(argv[3]) : 0;
    if (n_shards < 1 || n_shards > MOST_SHARDS)
        return 2;
    ac_status status = ac_dataset_read(&options, &dataset);
    if (status == AC_OK) {
        status = write_all(&dataset, argv[2], n_shards);
        ac_dataset_release(&dataset);
    }
    if (status != AC_OK)
        fprintf(stderr, "%s\n", ac_error_text());
    return ac_status_exit_code(status);
}
