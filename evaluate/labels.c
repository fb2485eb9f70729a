/* Names and labels of a split on every rank, and the way from a name to its labels. Leaves where they come from to label_sources.c,
 * scores to scores.c. */
#include "evaluate/labels.h"
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/hash.h"
#include "anyclass/log.h"
#include "evaluate/shares.h"
#include <string.h>

/* Pointers to the strings of a pool, and one to its end; their number tells how many there are. */
static ac_status index_texts(char *pool, size_t n_bytes, void *texts, size_t *n_texts)
{
    ac_status status = AC_OK;
    char **text = NULL;
    size_t n = 0;
    for (size_t at = 0; at < n_bytes; at++)
        n += pool[at] == '\0';
    AC_TRY(ac_malloc(n + 1, sizeof *text, &text));
    for (size_t i = 0, at = 0; i < n; i++, at += strlen(pool + at) + 1)
        text[i] = pool + at;
    text[n] = pool + n_bytes;
    memcpy(texts, &text, sizeof text);
    *n_texts = n;
out:
    return status;
}

static void find_positive(label_table *labels)
{
    const uint8_t *label = labels->label;
    for (size_t i = 0; i < labels->n_images; i++, label += labels->n_classes) {
        uint8_t any = 0;
        for (size_t c = 0; c < labels->n_classes; c++)
            any |= label[c];
        labels->image_positive[i] = any;
    }
}

static size_t name_bytes(const label_table *labels, size_t image)
{
    return (size_t)(labels->name[image + 1] - labels->name[image]) - 1;
}

static uint64_t tag_of(uint64_t hash)
{
    return hash >> 32;
}

/* The slot of a name, or the free one where it would be: the name decides, its hash only saves most looks at names. */
static size_t find_slot(const label_table *labels, uint64_t hash, const char *name, size_t n_bytes)
{
    size_t mask = labels->n_slots - 1, at = (size_t)hash & mask;
    for (uint64_t slot; (slot = labels->slot[at]) != 0; at = (at + 1) & mask) {
        size_t image = (uint32_t)slot - 1;
        if (slot >> 32 == tag_of(hash) && name_bytes(labels, image) == n_bytes &&
            memcmp(labels->name[image], name, n_bytes) == 0)
            return at;
    }
    return at;
}

int64_t evaluate_find_label(const label_table *labels, const char *name)
{
    size_t n = strlen(name);
    return (int64_t)(uint32_t)labels->slot[find_slot(labels, ac_hash64_bytes(name, n), name, n)] - 1;
}

/* The image of the first slot on the way whose tag is right: most likely the one. */
static uint32_t guess(const label_table *labels, uint64_t hash)
{
    size_t mask = labels->n_slots - 1, at = (size_t)hash & mask;
    while (labels->slot[at] != 0 && labels->slot[at] >> 32 != tag_of(hash))
        at = (at + 1) & mask;
    return (uint32_t)labels->slot[at];
}

void evaluate_find_labels(const label_table *labels, const char *text, const size_t *start, size_t n, int64_t *image)
{
    uint64_t hash[EVALUATE_LOOK_UPS];
    uint32_t likely[EVALUATE_LOOK_UPS];
    for (size_t i = 0; i < n; i++) {
        hash[i] = ac_hash64_bytes(text + start[i], start[i + 1] - start[i]);
        __builtin_prefetch(&labels->slot[(size_t)hash[i] & (labels->n_slots - 1)]);
    }
    for (size_t i = 0; i < n; i++) {
        likely[i] = guess(labels, hash[i]);
        __builtin_prefetch(&labels->name[likely[i]]);
    }
    for (size_t i = 0; i < n; i++)
        __builtin_prefetch(labels->name[likely[i] ? likely[i] - 1 : 0]);
    for (size_t i = 0; i < n; i++) {
        size_t at = find_slot(labels, hash[i], text + start[i], start[i + 1] - start[i]);
        image[i] = (int64_t)(uint32_t)labels->slot[at] - 1;
    }
}

static ac_status add_names(label_table *labels, size_t first, size_t n)
{
    uint64_t hash[EVALUATE_LOOK_UPS];
    for (size_t i = 0; i < n; i++) {
        hash[i] = ac_hash64_bytes(labels->name[first + i], name_bytes(labels, first + i));
        __builtin_prefetch(&labels->slot[(size_t)hash[i] & (labels->n_slots - 1)], 1);
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = labels->name[first + i];
        uint64_t *slot = &labels->slot[find_slot(labels, hash[i], name, name_bytes(labels, first + i))];
        if (*slot != 0)
            return ac_error(AC_ERR_DATA, "%s: the image %.200s has labels twice", labels->source, name);
        *slot = tag_of(hash[i]) << 32 | (first + i + 1);
    }
    return AC_OK;
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
    for (size_t i = 0; i < labels->n_images; i += EVALUATE_LOOK_UPS)
        AC_TRY(add_names(labels, i, labels->n_images - i < EVALUATE_LOOK_UPS ? labels->n_images - i : EVALUATE_LOOK_UPS));
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
    AC_TRY(ac_malloc(labels->n_images, 1, &labels->image_positive));
    find_positive(labels);
    AC_TRY(build_lookup(labels));
out:
    return status;
}

/* All ranks' bytes into *pointer, both pointers of whatever type. A rank that is alone hands its block over. */
static ac_status gather(MPI_Comm comm, void *block, size_t n_bytes, void *pointer, size_t *n_all)
{
    ac_status status = AC_OK;
    void *mine, *all = NULL;
    int size;
    MPI_Comm_size(comm, &size);
    memcpy(&mine, block, sizeof mine);
    if (size == 1 && mine) {
        all = mine;
        mine = NULL;
        *n_all = n_bytes;
        memcpy(block, &mine, sizeof mine);
    } else {
        AC_TRY(ac_comm_gather_all(comm, mine, n_bytes, &all, n_all, NULL));
    }
    memcpy(pointer, &all, sizeof all);
out:
    return status;
}

/* From what each rank read to the table that all have. `mine` is how that went. */
static ac_status join_shares(MPI_Comm comm, ac_status mine, label_share *share, label_table *out)
{
    ac_status status = AC_OK;
    size_t n_class_bytes, n_name_bytes, n_label_bytes;
    AC_TRY(evaluate_agree(comm, mine));
    AC_TRY(gather(comm, &share->classes.text, share->classes.n_bytes, &out->class_pool, &n_class_bytes));
    AC_TRY(gather(comm, &share->names.text, share->names.n_bytes, &out->name_pool, &n_name_bytes));
    AC_TRY(gather(comm, &share->label, share->n_label_bytes, &out->label, &n_label_bytes));
    AC_TRY(evaluate_agree(comm, build_table(out, n_class_bytes, n_name_bytes, n_label_bytes)));
out:
    return status;
}

typedef enum label_way { FROM_SHARDS, FROM_ROWS, FROM_ANNOTATIONS } label_way;

static ac_status read_table(MPI_Comm comm, label_way way, const label_source *source, label_table *out)
{
    label_share share = {0};
    int rank, size;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    memset(out, 0, sizeof *out);
    snprintf(out->source, sizeof out->source, "%s", source->text);
    ac_status status = AC_OK;
    if (way == FROM_ROWS)
        status = evaluate_read_label_rows(comm, source, &share);
    else if (way == FROM_SHARDS)
        status = evaluate_read_label_shards(source, rank, size, &share);
    else if (rank == 0)
        status = evaluate_read_annotations(source, &share);
    status = join_shares(comm, status, &share, out);
    label_share_release(&share);
    if (status != AC_OK)
        evaluate_release_labels(out);
    return status;
}

/* Where the labels of a split come from. */
static void name_source(const evaluate_config *config, ac_split split, label_source *out)
{
    bool other_split = config->val_labels && split == AC_SPLIT_VAL && config->split != AC_SPLIT_VAL;
    *out = (label_source){.split = split};
    if (config->labels) {
        out->kind = "csv";
        out->path = other_split ? config->val_labels : config->labels;
    } else if (config->ann_root && config->dataset > 0) {
        out->kind = ac_dataset_kind((size_t)config->dataset - 1);
        out->path = config->ann_root;
    } else {
        out->path = config->data_root;
    }
    if (config->labels)
        snprintf(out->text, sizeof out->text, "%s", out->path);
    else
        snprintf(out->text, sizeof out->text, "%s (%s)", out->path, ac_split_name(split));
}

ac_status evaluate_read_labels(MPI_Comm comm, const evaluate_config *config, ac_split split, label_table *out)
{
    ac_status status = AC_OK;
    label_source source;
    double start_s = MPI_Wtime();
    name_source(config, split, &source);
    bool one_csv = source.kind && strcmp(source.kind, "csv") == 0;
    AC_TRY(read_table(comm, !source.kind ? FROM_SHARDS : one_csv ? FROM_ROWS : FROM_ANNOTATIONS, &source, out));
out:
    /* what the fast reader does not know, a folder or a wrong row, is for the one that has words for it */
    if (one_csv && (status == AC_ERR_DATA || status == AC_ERR_IO))
        status = read_table(comm, FROM_ANNOTATIONS, &source, out);
    if (status == AC_OK)
        status = evaluate_read_label_weights(comm, config->label_weights, out);
    if (status != AC_OK)
        evaluate_release_labels(out);
    else
        ac_log(AC_LOG_DEBUG, "read the labels of %s in %.3f s", out->source, MPI_Wtime() - start_s);
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
