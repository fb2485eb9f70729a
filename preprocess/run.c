/* Images and annotations to shards. A shard is made of a fixed range of the annotation list, so its bytes do not depend
 * on which rank makes it; shards are dealt out in turn. */
#include "anyclass/alloc.h"
#include "anyclass/dataset.h"
#include "anyclass/file.h"
#include "anyclass/image.h"
#include "anyclass/csv.h"
#include "anyclass/json.h"
#include "anyclass/log.h"
#include "anyclass/program.h"
#include "anyclass/shard.h"
#include "preprocess/preprocess.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef struct config {
    ac_common_config common;
    const char *dataset, *ann_root, *data_root, *output;
    ac_string_list splits;
    int64_t image_size, shard_size, max_bad, n_threads;
    bool allow_warnings, fast_decode, apply_exif, verify;
} config;

#define O(field) .offset = offsetof(config, field)
static const ac_option options[] = {
    {.group = "Data", .name = "dataset", .type = AC_OPTION_STRING, O(dataset), .unit = "KIND", .fallback = "csv", .help = "Annotation format: csv or coco."},
    {.name = "ann_root", .type = AC_OPTION_STRING, O(ann_root), .unit = "FOLDER", .help = "Folder of the annotation files, or the file itself."},
    {.name = "data_root", .type = AC_OPTION_STRING, O(data_root), .unit = "FOLDER", .help = "Folder of the images."},
    {.name = "output", .type = AC_OPTION_STRING, O(output), .required = true, .unit = "FOLDER", .help = "Folder of the shards."},
    {.name = "splits", .type = AC_OPTION_STRINGS, O(splits), .fallback = "Train Val Test", .help = "Splits to make: Train, Val, Test."},
    {.group = "Images", .name = "image_size", .type = AC_OPTION_INT, O(image_size), .fallback = "224", .min = 1, .max = 4096, .unit = "PIXELS", .help = "Side of the stored images."},
    {.name = "fast_decode", .type = AC_OPTION_FLAG, O(fast_decode), .fallback = "false", .help = "Decode JPEG at a reduced scale where that suffices (not bit-equal)."},
    {.name = "apply_exif", .type = AC_OPTION_FLAG, O(apply_exif), .fallback = "false", .help = "Apply the EXIF orientation."},
    {.name = "allow_warnings", .type = AC_OPTION_FLAG, O(allow_warnings), .fallback = "false", .help = "Accept images that the decoder warns about."},
    {.name = "max_bad", .type = AC_OPTION_INT, O(max_bad), .fallback = "0", .min = 0, .max = 1e12, .help = "Rejected images per split that are tolerated."},
    {.group = "Work", .name = "shard_size", .type = AC_OPTION_INT, O(shard_size), .fallback = "4096", .min = 1, .max = 1e6, .help = "Images per shard."},
    {.name = "n_threads", .type = AC_OPTION_INT, O(n_threads), .fallback = "0", .min = 0, .max = 1024, .help = "Threads per rank; 0: one per core of the rank's share."},
    {.name = "verify", .type = AC_OPTION_FLAG, O(verify), .fallback = "false", .help = "Only re-read the shards in --output and name what is damaged."},
    AC_COMMON_OPTIONS(config),
};
static const ac_program program = {
    .name = "anyclass-preprocess",
    .summary = "Images and annotations to sharded HDF5.",
    .usage = "--dataset coco --ann_root FOLDER --data_root FOLDER --output FOLDER",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .config_bytes = sizeof(config),
};

typedef struct rejected {
    int64_t sample;
    char reason[240];
} rejected;

typedef struct made { /* one finished shard */
    int64_t shard, n;
    ac_hash hash;
} made;

typedef struct work { /* one split on one rank */
    const config *config;
    ac_split split;
    ac_dataset dataset;
    ac_shard_meta meta;
    char *options;
    size_t n_shards;
    rejected *rejected;
    size_t n_rejected, rejected_capacity;
    made *made;
    size_t n_made, made_capacity;
    uint8_t *kept;          /* [n_samples] 1: in a shard */
    uint8_t *images;        /* [shard_size, S, S, 3] */
} work;

/* Options that decide the bytes, as the shards record them. */
static ac_status describe_options(const config *c, char **out)
{
    ac_status status = AC_OK;
    char text[256];
    snprintf(text, sizeof text, "{\"image_size\": %lld, \"shard_size\": %lld, \"fast_decode\": %s, \"apply_exif\": %s, \"allow_warnings\": %s}",
             (long long)c->image_size, (long long)c->shard_size, c->fast_decode ? "true" : "false", c->apply_exif ? "true" : "false",
             c->allow_warnings ? "true" : "false");
    AC_TRY(ac_strdup(text, out));
out:
    return status;
}

typedef struct thread_tools {
    ac_image image;
    ac_resizer *resizer;
    uint8_t *scratch;
    size_t scratch_bytes;
} thread_tools;

/* One image into its row, or the reason why not. */
static ac_status read_image(const work *w, thread_tools *tools, size_t sample, uint8_t *row)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    const config *c = w->config;
    ac_decode_options decode = {.allow_warnings = c->allow_warnings, .apply_orientation = c->apply_exif,
                                .min_side_px = c->fast_decode ? (int)c->image_size : 0};
    if (!tools->resizer)
        AC_TRY(ac_resizer_create((int)c->image_size, &tools->resizer));
    AC_TRY(ac_path_join(path, c->data_root, ac_dataset_name(&w->dataset, sample)));
    AC_TRY(ac_image_load(path, &decode, &tools->image, &tools->scratch, &tools->scratch_bytes));
    AC_TRY(ac_resizer_run(tools->resizer, &tools->image, row));
out:
    return status;
}

/* Decode samples [first, first + n); reason[i] is empty for good ones. Memory failures end the run. */
static ac_status read_images(work *w, size_t first, size_t n, char (*reason)[240])
{
    ac_status worst = AC_OK;
    char text[AC_ERROR_TEXT_BYTES] = "";
    size_t image_bytes = (size_t)(w->config->image_size * w->config->image_size * 3);
#pragma omp parallel
    {
        thread_tools tools = {0};
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < n; i++) {
            reason[i][0] = 0;
            ac_status status = read_image(w, &tools, first + i, w->images + i * image_bytes);
            if (status == AC_OK)
                continue;
            snprintf(reason[i], 240, "%s", ac_error_text());
            if (status == AC_ERR_MEMORY) {
#pragma omp critical
                {
                    worst = status;
                    snprintf(text, sizeof text, "%s", ac_error_text());
                }
            }
        }
        ac_resizer_destroy(tools.resizer);
        ac_image_release(&tools.image);
        ac_free(tools.scratch);
    }
    return worst == AC_OK ? AC_OK : ac_error(worst, "%s", text);
}

static ac_status make_shard(work *w, size_t shard)
{
    ac_status status = AC_OK;
    size_t size = (size_t)w->config->shard_size, first = shard * size, m = w->dataset.n_classes, kept = 0;
    size_t n = w->dataset.n_samples - first < size ? w->dataset.n_samples - first : size;
    size_t image_bytes = (size_t)(w->config->image_size * w->config->image_size * 3);
    char(*reason)[240] = NULL, file[256], path[AC_PATH_BYTES];
    const char **names = NULL;
    uint8_t *labels = NULL;
    made done = {.shard = (int64_t)shard};
    AC_TRY(ac_calloc(n, sizeof *reason, &reason));
    AC_TRY(ac_calloc(n, sizeof *names, &names));
    AC_TRY(ac_calloc(n * m, 1, &labels));
    AC_TRY(read_images(w, first, n, reason));
    for (size_t i = 0; i < n; i++) {
        if (reason[i][0]) {
            AC_TRY(ac_reserve(&w->rejected, &w->rejected_capacity, w->n_rejected + 1, sizeof *w->rejected));
            w->rejected[w->n_rejected] = (rejected){.sample = (int64_t)(first + i)};
            memcpy(w->rejected[w->n_rejected++].reason, reason[i], 240);
            continue;
        }
        names[kept] = ac_dataset_name(&w->dataset, first + i);
        memcpy(labels + kept * m, w->dataset.label + (first + i) * m, m);
        if (kept != i)
            memcpy(w->images + kept * image_bytes, w->images + i * image_bytes, image_bytes);
        kept++;
    }
    ac_shard_file_name(file, sizeof file, w->meta.split, shard, w->n_shards);
    AC_TRY(ac_path_join(path, w->config->output, file));
    AC_TRY(ac_shard_write(path, &w->meta, shard, w->n_shards, kept, names, labels, w->images, &done.hash));
    done.n = (int64_t)kept;
    AC_TRY(ac_reserve(&w->made, &w->made_capacity, w->n_made + 1, sizeof *w->made));
    w->made[w->n_made++] = done;
out:
    ac_free(reason);
    ac_free(names);
    ac_free(labels);
    return status;
}

static int by_sample(const void *a, const void *b)
{
    const rejected *x = a, *y = b;
    return (x->sample > y->sample) - (x->sample < y->sample);
}

static ac_status write_rejected(const work *w, const rejected *list, size_t n)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES], name[64], field[2][2048];
    ac_file file = {0};
    snprintf(name, sizeof name, "%s-rejected.csv", w->meta.split);
    AC_TRY(ac_path_join(path, w->config->output, name));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(ac_file_printf(&file, "file,reason\n"));
    for (size_t i = 0; i < n; i++) {
        ac_csv_quote(ac_dataset_name(&w->dataset, (size_t)list[i].sample), field[0], sizeof field[0]);
        ac_csv_quote(list[i].reason, field[1], sizeof field[1]);
        AC_TRY(ac_file_printf(&file, "%s,%s\n", field[0], field[1]));
    }
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    return status;
}

/* Rank 0: rejected.csv always, the manifest when few enough were rejected. */
static ac_status write_manifest(work *w, const made *all, size_t n_made, const rejected *list, size_t n_rejected)
{
    ac_status status = AC_OK;
    size_t m = w->dataset.n_classes;
    ac_manifest manifest = {.split = (char *)w->meta.split, .source = w->dataset.source, .options = w->options, .class_name = w->dataset.class_name,
                            .n_classes = m, .n_rejected = n_rejected, .image_size_px = (int)w->config->image_size, .n_shards = n_made};
    memcpy(manifest.mean, w->meta.mean, sizeof manifest.mean);
    memcpy(manifest.std, w->meta.std, sizeof manifest.std);
    AC_TRY(ac_calloc(m, sizeof *manifest.class_count, &manifest.class_count));
    AC_TRY(ac_calloc(n_made + 1, sizeof *manifest.shard, &manifest.shard));
    AC_TRY(ac_calloc(w->dataset.n_samples + 1, 1, &w->kept));
    memset(w->kept, 1, w->dataset.n_samples);
    for (size_t i = 0; i < n_rejected; i++)
        w->kept[list[i].sample] = 0;
    for (size_t i = 0; i < w->dataset.n_samples; i++) {
        int any = 0;
        for (size_t c = 0; w->kept[i] && c < m; c++) {
            manifest.class_count[c] += w->dataset.label[i * m + c];
            any |= w->dataset.label[i * m + c];
        }
        manifest.n_negative += w->kept[i] && !any;
        manifest.n_samples += w->kept[i];
    }
    for (size_t k = 0; k < n_made; k++) {
        ac_manifest_entry *entry = &manifest.shard[all[k].shard];
        ac_shard_file_name(entry->file, sizeof entry->file, w->meta.split, (size_t)all[k].shard, w->n_shards);
        entry->n_samples = (size_t)all[k].n;
        entry->hash = all[k].hash;
    }
    AC_TRY(write_rejected(w, list, n_rejected));
    ac_log(AC_LOG_INFO, "%s: %zu images in %zu shards, %zu classes, %lld negative, %zu rejected", w->meta.split, manifest.n_samples, n_made, m,
           (long long)manifest.n_negative, n_rejected);
    for (size_t c = 0; c < m; c++)
        ac_log(AC_LOG_DEBUG, "%s: class %s in %lld images", w->meta.split, manifest.class_name[c], (long long)manifest.class_count[c]);
    if ((int64_t)n_rejected > w->config->max_bad)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: %zu images rejected, first %s (%s): see %s/%s-rejected.csv; --max_bad %zu lets the run pass", w->meta.split,
                        n_rejected, ac_dataset_name(&w->dataset, (size_t)list[0].sample), list[0].reason, w->config->output, w->meta.split, n_rejected));
    AC_TRY(ac_manifest_save(&manifest, w->config->output));
out:
    ac_free(manifest.class_count);
    ac_free(manifest.shard);
    return status;
}

static ac_status gather_and_write(ac_run *run, work *w)
{
    ac_status status = AC_OK;
    made *all = NULL;
    rejected *list = NULL;
    size_t made_bytes, list_bytes;
    AC_TRY(ac_comm_gather_all(run->comm, w->made, w->n_made * sizeof *w->made, (void **)&all, &made_bytes, NULL));
    AC_TRY(ac_comm_gather_all(run->comm, w->rejected, w->n_rejected * sizeof *w->rejected, (void **)&list, &list_bytes, NULL));
    size_t n_rejected = list_bytes / sizeof *list;
    if (n_rejected)
        qsort(list, n_rejected, sizeof *list, by_sample);
    if (run->rank == 0)
        status = write_manifest(w, all, made_bytes / sizeof *all, list, n_rejected);
    AC_TRY(ac_comm_agree(run->comm, status));
out:
    ac_free(all);
    ac_free(list);
    return status;
}

static ac_status prepare(const config *c, work *w)
{
    ac_status status = AC_OK;
    AC_TRY(ac_dataset_read(&(ac_dataset_options){c->dataset, c->ann_root, w->split}, &w->dataset));
    AC_TRY(describe_options(c, &w->options));
    w->meta = (ac_shard_meta){.split = ac_split_name(w->split), .source = w->dataset.source, .options = w->options,
                              .class_name = w->dataset.class_name, .n_classes = w->dataset.n_classes, .image_size_px = (int)c->image_size};
    memcpy(w->meta.mean, w->dataset.mean, sizeof w->meta.mean);
    memcpy(w->meta.std, w->dataset.std, sizeof w->meta.std);
    w->n_shards = (w->dataset.n_samples + (size_t)c->shard_size - 1) / (size_t)c->shard_size;
out:
    return status;
}

static ac_status run_split(ac_run *run, const config *c, ac_split split)
{
    ac_status status = AC_OK;
    ac_progress progress;
    work w = {.config = c, .split = split};
    AC_TRY(ac_comm_agree(run->comm, prepare(c, &w)));
    if (c->common.dry_run) {
        ac_log(AC_LOG_INFO, "%s: %zu images, %zu classes, would make %zu shards", w.meta.split, w.dataset.n_samples, w.dataset.n_classes, w.n_shards);
        goto out;
    }
    size_t rows = w.dataset.n_samples < (size_t)c->shard_size ? w.dataset.n_samples : (size_t)c->shard_size;
    AC_TRY(ac_comm_agree(run->comm, ac_malloc(rows, (size_t)(c->image_size * c->image_size * 3), &w.images)));
    ac_progress_begin(&progress, w.meta.split, "images", w.dataset.n_samples);
    for (size_t shard = (size_t)run->rank; shard < w.n_shards && status == AC_OK; shard += (size_t)run->size) {
        status = make_shard(&w, shard);
        size_t done = (shard + (size_t)run->size) * (size_t)c->shard_size;
        ac_progress_update(&progress, done < w.dataset.n_samples ? done : w.dataset.n_samples, NULL);
    }
    AC_TRY(ac_comm_agree(run->comm, status));
    ac_progress_end(&progress);
    AC_TRY(gather_and_write(run, &w));
out:
    ac_free(w.images);
    ac_free(w.options);
    ac_free(w.rejected);
    ac_free(w.made);
    ac_free(w.kept);
    ac_dataset_release(&w.dataset);
    return status;
}

static ac_status verify_split(ac_run *run, const config *c, ac_split split)
{
    ac_status status = AC_OK, worst = AC_OK;
    char path[AC_PATH_BYTES], text[AC_ERROR_TEXT_BYTES] = "";
    size_t n_failures;
    ac_hash hash;
    ac_manifest manifest;
    AC_TRY(ac_comm_agree(run->comm, ac_manifest_load(c->output, ac_split_name(split), &manifest)));
    for (size_t k = (size_t)run->rank; k < manifest.n_shards; k += (size_t)run->size) {
        status = ac_path_join(path, c->output, manifest.shard[k].file);
        if (status == AC_OK)
            status = ac_shard_verify(path, &n_failures);
        if (status == AC_OK)
            status = ac_hash_file(path, &hash);
        if (status == AC_OK && !ac_hash_equal(hash, manifest.shard[k].hash))
            status = ac_error(AC_ERR_DATA, "%s: the file's hash differs from the manifest's", path);
        if (status != AC_OK) {
            ac_log_here(AC_LOG_ERROR, "%s", ac_error_text());
            worst = status;
            snprintf(text, sizeof text, "%s", ac_error_text());
        }
    }
    ac_manifest_release(&manifest);
    status = worst == AC_OK ? AC_OK : ac_error(worst, "%s", text);
    AC_TRY(ac_comm_agree(run->comm, status));
    ac_log(AC_LOG_INFO, "%s: all shards are whole", ac_split_name(split));
out:
    return status;
}

static ac_status split_of(const char *name, ac_split *out)
{
    static const char *const names[][2] = {{"Train", "train"}, {"Val", "val"}, {"Test", "test"}};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i][0]) == 0 || strcmp(name, names[i][1]) == 0) {
            *out = (ac_split)i;
            return AC_OK;
        }
    return ac_error(AC_ERR_USAGE, "--splits: '%s' is none of Train, Val, Test", name);
}

static ac_status check_usage(const config *c)
{
    ac_status status = AC_OK;
    ac_split split;
    for (size_t i = 0; i < c->splits.n_items; i++)
        AC_TRY(split_of(c->splits.item[i], &split));
    if (c->verify)
        return AC_OK;
    if (!c->ann_root || !c->data_root)
        return ac_error(AC_ERR_USAGE, "--%s is required (--help lists all)", c->ann_root ? "data_root" : "ann_root");
    if (!ac_path_exists(c->data_root))
        return ac_error(AC_ERR_IO, "--data_root %s: not there", c->data_root);
    AC_TRY(ac_path_check_writable(c->output));
    if (!c->common.dry_run)
        AC_TRY(ac_path_make_folders(c->output));
out:
    return status;
}

int ac_preprocess_run(MPI_Comm comm, int argc, char **argv)
{
    ac_run run;
    config c;
    ac_split split = AC_SPLIT_TRAIN;
    ac_status status = ac_run_begin(&run, comm, &program, argc, argv, &c, NULL);
    if (status != AC_OK || !run.go)
        return ac_run_end(&run, &program, status);
    if (c.n_threads > 0)
        omp_set_num_threads((int)c.n_threads);
    AC_TRY(ac_comm_agree(run.comm, check_usage(&c)));
    for (size_t i = 0; i < c.splits.n_items; i++) {
        AC_TRY(split_of(c.splits.item[i], &split));
        AC_TRY(c.verify ? verify_split(&run, &c, split) : run_split(&run, &c, split));
    }
out:
    return ac_run_end(&run, &program, status);
}
