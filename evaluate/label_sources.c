/* Where names and labels come from: shards (each rank reads some), rows of a CSV (each rank its bytes), annotations (one rank). Leaves
 * the table that all ranks have to labels.c. */
#include "evaluate/labels.h"
#include "anyclass/alloc.h"
#include "anyclass/comm.h"
#include "anyclass/shard.h"
#include "evaluate/shares.h"
#include <string.h>

void label_share_release(label_share *share)
{
    ac_free(share->classes.text);
    ac_free(share->names.text);
    ac_free(share->label);
    memset(share, 0, sizeof *share);
}

static ac_status add_bytes(text_pool *pool, const char *text, size_t n)
{
    ac_status status = AC_OK;
    AC_TRY(ac_reserve(&pool->text, &pool->capacity, pool->n_bytes + n + 1, 1));
    memcpy(pool->text + pool->n_bytes, text, n);
    pool->text[pool->n_bytes + n] = 0;
    pool->n_bytes += n + 1;
out:
    return status;
}

static ac_status add_text(text_pool *pool, const char *text)
{
    return add_bytes(pool, text, strlen(text));
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

ac_status evaluate_read_label_shards(const label_source *source, int rank, int size, label_share *out)
{
    ac_status status = AC_OK;
    ac_manifest manifest;
    int64_t first, n;
    AC_TRY(ac_manifest_load(source->path, ac_split_name(source->split), &manifest));
    if (rank == 0)
        status = add_classes(out, manifest.class_name, manifest.n_classes);
    ac_comm_slice((int64_t)manifest.n_shards, rank, size, &first, &n);
    for (int64_t i = first; status == AC_OK && i < first + n; i++)
        status = add_shard(out, source->path, &manifest, (size_t)i);
    ac_manifest_release(&manifest);
out:
    return status;
}

ac_status evaluate_read_annotations(const label_source *source, label_share *out)
{
    ac_status status = AC_OK;
    ac_dataset dataset;
    ac_dataset_options options = {.kind = source->kind, .ann_root = source->path, .split = source->split};
    AC_TRY(ac_dataset_read(&options, &dataset));
    status = add_classes(out, dataset.class_name, dataset.n_classes);
    for (size_t i = 0; status == AC_OK && i < dataset.n_samples; i++)
        status = add_text(&out->names, ac_dataset_name(&dataset, i));
    if (status == AC_OK)
        status = add_labels(out, dataset.label, dataset.n_samples, dataset.n_classes);
    ac_dataset_release(&dataset);
out:
    return status;
}

typedef struct label_rows { /* while a CSV is read */
    label_share *out;
    ac_dataset classes; /* of the header; no samples */
    bool first;         /* this rank hands the classes to all */
    uint64_t share_bytes;
} label_rows;

/* Only that something is wrong: ac_dataset_read(), which reads the file again, says what. */
static ac_status not_usual(const ac_rows *rows)
{
    return ac_error(AC_ERR_DATA, "%s: not the usual rows of labels", rows->path);
}

static ac_status visit_header(void *context, size_t file, const ac_csv *csv)
{
    ac_status status = AC_OK;
    label_rows *in = context;
    (void)file;
    for (size_t i = 1; i < csv->n_fields; i++)
        AC_TRY(ac_dataset_add_class(&in->classes, csv->field[i]));
    if (in->first)
        AC_TRY(add_classes(in->out, in->classes.class_name, in->classes.n_classes));
out:
    return status;
}

static bool is_plain_name(const char *name, size_t n)
{
    bool plain = n > 0;
    for (size_t i = 0; i < n; i++)
        plain &= (unsigned char)name[i] >= 0x20 && name[i] != 0x7F;
    return plain;
}

/* ",0,1,0" and the row's end */
static bool read_bits(const char *at, const char *end, uint8_t *label, size_t n)
{
    unsigned wrong = (size_t)(end - at) != 2 * n;
    for (size_t c = 0; !wrong && c < n; c++) {
        label[c] = (uint8_t)(at[2 * c + 1] - '0');
        wrong |= (unsigned)(at[2 * c] != ',') | (unsigned)(label[c] > 1);
    }
    return !wrong;
}

/* A row with quotes. */
static ac_status add_any_row(label_rows *in, ac_rows *rows, uint8_t *label)
{
    ac_status status = AC_OK;
    size_t n = in->classes.n_classes;
    AC_TRY(ac_rows_split(rows));
    const char *name = rows->fields.field[0];
    if (rows->fields.n_fields != n + 1 || !is_plain_name(name, strlen(name)))
        return not_usual(rows);
    for (size_t c = 0; c < n; c++) {
        const char *text = rows->fields.field[c + 1];
        if ((text[0] != '0' && text[0] != '1') || text[1] != 0)
            return not_usual(rows);
        label[c] = (uint8_t)(text[0] - '0');
    }
    AC_TRY(add_text(&in->out->names, name));
out:
    return status;
}

static ac_status add_row(label_rows *in, ac_rows *rows)
{
    ac_status status = AC_OK;
    label_share *out = in->out;
    size_t n = in->classes.n_classes;
    AC_TRY(ac_reserve(&out->label, &out->label_capacity, out->n_label_bytes + n, 1));
    uint8_t *label = out->label + out->n_label_bytes;
    const char *end = rows->row + rows->n_bytes, *comma = memchr(rows->row, ',', rows->n_bytes);
    if (rows->has_quote) {
        AC_TRY(add_any_row(in, rows, label));
    } else {
        if (!comma || !is_plain_name(rows->row, (size_t)(comma - rows->row)) || !read_bits(comma, end, label, n))
            return not_usual(rows);
        AC_TRY(add_bytes(&out->names, rows->row, (size_t)(comma - rows->row)));
    }
    out->n_label_bytes += n;
out:
    return status;
}

/* Room for the whole share, should its rows be as long as this one, and some. */
static ac_status expect_rows(label_rows *in, const ac_rows *rows)
{
    ac_status status = AC_OK;
    label_share *out = in->out;
    size_t n_classes = in->classes.n_classes, n_bytes = rows->n_bytes + 1;
    size_t n = (size_t)in->share_bytes / n_bytes, name_bytes = n_bytes > 2 * n_classes ? n_bytes - 2 * n_classes : 1;
    n += n / 32 + 1;
    AC_TRY(ac_reserve(&out->names.text, &out->names.capacity, n * name_bytes, 1));
    AC_TRY(ac_reserve(&out->label, &out->label_capacity, n * n_classes, 1));
out:
    return status;
}

static ac_status visit_rows(void *context, size_t file, ac_rows *rows)
{
    ac_status status = AC_OK;
    bool have_row;
    (void)file;
    for (bool first = true;; first = false) {
        AC_TRY(ac_rows_next(rows, &have_row));
        if (!have_row)
            break;
        if (first)
            AC_TRY(expect_rows(context, rows));
        AC_TRY(add_row(context, rows));
    }
out:
    return status;
}

static ac_status path_of_source(const void *context, size_t file, char *out)
{
    const label_source *source = context;
    (void)file;
    if (strlen(source->path) >= AC_PATH_BYTES)
        return ac_error(AC_ERR_USAGE, "path of more than %d bytes: %.60s...", AC_PATH_BYTES - 1, source->path);
    strcpy(out, source->path);
    return AC_OK;
}

ac_status evaluate_read_label_rows(MPI_Comm comm, const label_source *source, label_share *out)
{
    ac_status status = AC_OK;
    static const row_visitor visitor = {.header = visit_header, .rows = visit_rows};
    row_share share;
    label_rows in = {.out = out};
    AC_TRY(row_share_divide(comm, path_of_source, source, 1, &share));
    in.share_bytes = row_share_bytes(&share);
    in.first = share.begin == 0 && share.end > 0;
    AC_TRY(row_share_read(&share, &visitor, &in));
out:
    ac_dataset_release(&in.classes);
    row_share_release(&share);
    return status;
}
