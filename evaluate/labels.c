/* Names and labels of a split, from shards (each rank reads its share) or from a CSV (rank 0 reads), gathered so that
 * every rank can look up any name. Leaves scores to scores.c. */
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/shard.h"
#include "evaluate/steps.h"
#include <string.h>

typedef struct text_pool { /* zero-terminated strings, one after the other */
    char *text;
    size_t n_bytes, capacity;
} text_pool;

typedef struct label_share { /* what one rank read */
    text_pool classes, names;
    uint8_t *label;
    size_t n_label_bytes, label_capacity;
} label_share;

static ac_status add_text(text_pool *pool, const char *text)
{
    ac_status status = AC_OK;
    size_t n = strlen(text) + 1;
    AC_TRY(ac_reserve(&pool->text, &pool->capacity, pool->n_bytes + n, 1));
    memcpy(pool->text + pool->n_bytes, text, n);
    pool->n_bytes += n;
out:
    return status;
}

static ac_status add_classes(label_share *share, char *const *class_name, size_t n_classes)
{
    ac_status status = AC_OK;
    for (size_t c = 0; c < n_classes; c++)
        AC_TRY(add_text(&share->classes, class_name[c]));
out:
    return status;
}

static ac_status add_labels(label_share *share, const uint8_t *label, size_t n_images, size_t n_classes)
{
    ac_status status = AC_OK;
    size_t n = n_images * n_classes;
    if (n == 0)
        return AC_OK;
    AC_TRY(ac_reserve(&share->label, &share->label_capacity, share->n_label_bytes + n, 1));
    memcpy(share->label + share->n_label_bytes, label, n);
    share->n_label_bytes += n;
out:
    return status;
}

static ac_status check_shard(const ac_shard *shard, const ac_manifest *manifest, size_t expected)
{
    if (shard->n != expected || shard->n_classes != manifest->n_classes)
        return ac_error(AC_ERR_DATA,
                        "%s holds %zu samples of %zu classes, its manifest says %zu of %zu: run "
                        "anyclass-preprocess again",
                        shard->path, shard->n, shard->n_classes, expected, manifest->n_classes);
    for (size_t c = 0; c < shard->n_classes; c++) {
        if (strcmp(shard->class_name[c], manifest->class_name[c]) != 0)
            return ac_error(AC_ERR_DATA, "%s: class %zu is %s, its manifest says %s", shard->path, c,
                            shard->class_name[c], manifest->class_name[c]);
    }
    return AC_OK;
}

static ac_status add_shard(label_share *share, const char *folder, const ac_manifest *manifest, size_t i)
{
    ac_status status = AC_OK;
    char path[AC_PATH_BYTES];
    ac_shard shard;
    AC_TRY(ac_path_join(path, folder, manifest->shard[i].file));
    AC_TRY(ac_shard_open(path, &shard));
    status = check_shard(&shard, manifest, manifest->shard[i].n_samples);
    for (size_t k = 0; status == AC_OK && k < shard.n; k++)
        status = add_text(&share->names, ac_shard_name(&shard, k));
    if (status == AC_OK)
        status = add_labels(share, shard.label, shard.n, shard.n_classes);
    ac_shard_close(&shard);
out:
    return status;
}

static ac_status read_shards(const evaluate_config *config, ac_split split, int rank, int size, label_share *share)
{
    ac_status status = AC_OK;
    ac_manifest manifest;
    int64_t first, n;
    AC_TRY(ac_manifest_load(config->data_root, ac_split_name(split), &manifest));
    if (rank == 0)
        status = add_classes(share, manifest.class_name, manifest.n_classes);
    ac_comm_slice((int64_t)manifest.n_shards, rank, size, &first, &n);
    for (int64_t i = first; status == AC_OK && i < first + n; i++)
        status = add_shard(share, config->data_root, &manifest, (size_t)i);
    ac_manifest_release(&manifest);
out:
    return status;
}

static ac_status read_csv(const evaluate_config *config, ac_split split, int rank, label_share *share)
{
    ac_status status = AC_OK;
    ac_dataset dataset;
    ac_dataset_options options = {.kind = "csv", .ann_root = config->labels, .split = split};
    if (rank != 0)
        return AC_OK;
    AC_TRY(ac_dataset_read(&options, &dataset));
    status = add_classes(share, dataset.class_name, dataset.n_classes);
    for (size_t i = 0; status == AC_OK && i < dataset.n_samples; i++)
        status = add_text(&share->names, ac_dataset_name(&dataset, i));
    if (status == AC_OK)
        status = add_labels(share, dataset.label, dataset.n_samples, dataset.n_classes);
    ac_dataset_release(&dataset);
out:
    return status;
}

/* Pointers to the strings of a pool; their number tells how many there are. */
static ac_status index_texts(char *pool, size_t n_bytes, void *texts, size_t *n_texts)
{
    ac_status status = AC_OK;
    char **text = NULL;
    size_t n = 0;
    for (size_t at = 0; at < n_bytes; at++)
        n += pool[at] == '\0';
    AC_TRY(ac_malloc(n, sizeof *text, &text));
    for (size_t i = 0, at = 0; i < n; i++, at += strlen(pool + at) + 1)
        text[i] = pool + at;
    memcpy(texts, &text, sizeof text);
    *n_texts = n;
out:
    return status;
}

static size_t slot_of(const label_table *labels, const char *name)
{
    size_t at = (size_t)ac_hash64_bytes(name, strlen(name)) & (labels->n_slots - 1);
    while (labels->slot[at] != 0 && strcmp(labels->name[labels->slot[at] - 1], name) != 0)
        at = (at + 1) & (labels->n_slots - 1);
    return at;
}

static ac_status build_lookup(label_table *labels)
{
    ac_status status = AC_OK;
    if (labels->n_images >= UINT32_MAX)
        return ac_error(AC_ERR_RANGE, "%s: at most 2^32 - 2 images, not %zu", labels->source, labels->n_images);
    labels->n_slots = 16;
    while (labels->n_slots < 2 * labels->n_images)
        labels->n_slots *= 2;
    AC_TRY(ac_calloc(labels->n_slots, sizeof *labels->slot, &labels->slot));
    for (size_t i = 0; i < labels->n_images; i++) {
        size_t at = slot_of(labels, labels->name[i]);
        if (labels->slot[at] != 0)
            return ac_error(AC_ERR_DATA, "%s: the image %s has labels twice", labels->source, labels->name[i]);
        labels->slot[at] = (uint32_t)i + 1;
    }
out:
    return status;
}

static ac_status build_table(label_table *labels, size_t n_class_bytes, size_t n_name_bytes, size_t n_label_bytes)
{
    ac_status status = AC_OK;
    AC_TRY(index_texts(labels->class_pool, n_class_bytes, &labels->class_name, &labels->n_classes));
    AC_TRY(index_texts(labels->name_pool, n_name_bytes, &labels->name, &labels->n_images));
    if (labels->n_classes == 0)
        return ac_error(AC_ERR_DATA, "%s names no class", labels->source);
    if (labels->n_images == 0)
        return ac_error(AC_ERR_DATA, "%s holds no image", labels->source);
    if (n_label_bytes != labels->n_images * labels->n_classes)
        return ac_error(AC_ERR_DATA, "%s: %zu labels for %zu images of %zu classes", labels->source, n_label_bytes,
                        labels->n_images, labels->n_classes);
    AC_TRY(ac_calloc(labels->n_images, 1, &labels->image_positive));
    for (size_t i = 0; i < n_label_bytes; i++)
        labels->image_positive[i / labels->n_classes] |= labels->label[i];
    AC_TRY(build_lookup(labels));
out:
    return status;
}

/* All ranks' bytes into *pointer, whatever its type. */
static ac_status gather(MPI_Comm comm, const void *bytes, size_t n_bytes, void *pointer, size_t *n_all)
{
    ac_status status = AC_OK;
    void *all = NULL;
    AC_TRY(ac_comm_gather_all(comm, bytes, n_bytes, &all, n_all, NULL));
    memcpy(pointer, &all, sizeof all);
out:
    return status;
}

ac_status evaluate_read_labels(MPI_Comm comm, const evaluate_config *config, ac_split split, label_table *out)
{
    ac_status status = AC_OK;
    int rank, size;
    label_share share = {0};
    size_t n_class_bytes, n_name_bytes, n_label_bytes;
    memset(out, 0, sizeof *out);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    if (config->labels)
        snprintf(out->source, sizeof out->source, "%s", config->labels);
    else
        snprintf(out->source, sizeof out->source, "%s (%s)", config->data_root, ac_split_name(split));
    AC_TRY(
        ac_comm_agree(comm, config->labels ? read_csv(config, split, rank, &share) : read_shards(config, split, rank, size, &share)));
    AC_TRY(gather(comm, share.classes.text, share.classes.n_bytes, &out->class_pool, &n_class_bytes));
    AC_TRY(gather(comm, share.names.text, share.names.n_bytes, &out->name_pool, &n_name_bytes));
    AC_TRY(gather(comm, share.label, share.n_label_bytes, &out->label, &n_label_bytes));
    AC_TRY(ac_comm_agree(comm, build_table(out, n_class_bytes, n_name_bytes, n_label_bytes)));
out:
    ac_free(share.classes.text);
    ac_free(share.names.text);
    ac_free(share.label);
    if (status != AC_OK)
        evaluate_release_labels(out);
    return status;
}

void evaluate_release_labels(label_table *labels)
{
    ac_free(labels->class_name);
    ac_free(labels->name);
    ac_free(labels->class_pool);
    ac_free(labels->name_pool);
    ac_free(labels->label);
    ac_free(labels->image_positive);
    ac_free(labels->label_weight);
    ac_free(labels->slot);
    memset(labels, 0, sizeof *labels);
}

int64_t evaluate_find_label(const label_table *labels, const char *name)
{
    return (int64_t)labels->slot[slot_of(labels, name)] - 1;
}
