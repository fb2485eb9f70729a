/* Writing one shard: complete or absent, the same bytes whoever writes it. Reading is in shard_read.c. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/shard.h"
#include "hdf5/hdf5_util.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char *ac_shard_file_name(char *out, size_t capacity, const char *split, size_t shard, size_t n_shards)
{
    snprintf(out, capacity, "%s-%05zu-of-%05zu.h5", split, shard, n_shards);
    return out;
}

/* Class names as one text, a line each (they hold no control characters). */
static ac_status join_classes(const ac_shard_meta *meta, char **out)
{
    size_t n = 1, at = 0;
    for (size_t c = 0; c < meta->n_classes; c++)
        n += strlen(meta->class_name[c]) + 1;
    ac_status status = ac_calloc(n, 1, out);
    for (size_t c = 0; status == AC_OK && c < meta->n_classes; c++) {
        size_t length = strlen(meta->class_name[c]);
        memcpy(*out + at, meta->class_name[c], length);
        (*out)[at + length] = '\n';
        at += length + 1;
    }
    return status;
}

static ac_status write_attributes(hid_t file, const ac_shard_meta *meta, uint64_t shard, uint64_t n_shards)
{
    ac_status status = AC_OK;
    int64_t format = AC_SHARD_FORMAT, size = meta->image_size_px;
    char *classes = NULL;
    AC_TRY(join_classes(meta, &classes));
    AC_TRY(ac_hdf5_write_number(file, "/", "format", H5T_NATIVE_INT64, 1, &format));
    AC_TRY(ac_hdf5_write_text(file, "/", "split", meta->split));
    AC_TRY(ac_hdf5_write_text(file, "/", "source", meta->source));
    AC_TRY(ac_hdf5_write_text(file, "/", "options", meta->options));
    AC_TRY(ac_hdf5_write_text(file, "/", "class_names", classes));
    AC_TRY(ac_hdf5_write_number(file, "/", "image_size_px", H5T_NATIVE_INT64, 1, &size));
    AC_TRY(ac_hdf5_write_number(file, "/", "shard", H5T_NATIVE_UINT64, 1, &shard));
    AC_TRY(ac_hdf5_write_number(file, "/", "n_shards", H5T_NATIVE_UINT64, 1, &n_shards));
    AC_TRY(ac_hdf5_write_number(file, "/", "mean", H5T_NATIVE_FLOAT, 3, meta->mean));
    AC_TRY(ac_hdf5_write_number(file, "/", "std", H5T_NATIVE_FLOAT, 3, meta->std));
out:
    ac_free(classes);
    return status;
}

/* A dataset and the hash of its bytes. */
static ac_status write_hashed(hid_t file, const char *name, hid_t type, size_t n_bytes, int n_dims, const hsize_t *dims,
                              const void *data)
{
    ac_status status = AC_OK;
    uint64_t hash = ac_hash64_bytes(data, n_bytes);
    AC_TRY(ac_hdf5_write(file, name, type, n_dims, dims, data));
    AC_TRY(ac_hdf5_write_number(file, name, "hash", H5T_NATIVE_UINT64, 1, &hash));
out:
    return status;
}

/* n texts as two datasets: their zero-terminated bytes, and where each begins. */
static ac_status write_texts(hid_t file, const char *offsets_name, const char *bytes_name, const char *const *text,
                             size_t n)
{
    ac_status status = AC_OK;
    uint64_t *offset = NULL;
    char *pool = NULL;
    AC_TRY(ac_calloc(n + 1, sizeof *offset, &offset));
    for (size_t i = 0; i < n; i++)
        offset[i + 1] = offset[i] + strlen(text[i]) + 1;
    AC_TRY(ac_calloc(offset[n] + 1, 1, &pool));
    for (size_t i = 0; i < n; i++)
        strcpy(pool + offset[i], text[i]);
    hsize_t n_offsets = n + 1, n_bytes = offset[n];
    AC_TRY(write_hashed(file, offsets_name, H5T_STD_U64LE, n_offsets * sizeof *offset, 1, &n_offsets, offset));
    AC_TRY(write_hashed(file, bytes_name, H5T_STD_U8LE, n_bytes, 1, &n_bytes, pool));
out:
    ac_free(offset);
    ac_free(pool);
    return status;
}

static ac_status write_content(hid_t file, const ac_shard_meta *meta, const ac_shard_content *content)
{
    ac_status status = AC_OK;
    uint64_t *hash = NULL;
    hsize_t n = content->n, side = (hsize_t)meta->image_size_px, n_labels = n * meta->n_classes;
    hsize_t image_dims[] = {n, side, side, 3}, label_dims[] = {n, meta->n_classes};
    size_t image_bytes = side * side * 3;
    AC_TRY(ac_calloc(n + 1, sizeof *hash, &hash));
    for (size_t i = 0; i < n; i++)
        hash[i] = ac_hash64_bytes(content->images + i * image_bytes, image_bytes);
    AC_TRY(ac_hdf5_write(file, "images", H5T_STD_U8LE, 4, image_dims, content->images));
    AC_TRY(write_hashed(file, "labels", H5T_STD_U8LE, n_labels, 2, label_dims, content->labels));
    AC_TRY(write_texts(file, "name_offsets", "name_bytes", content->names, n));
    AC_TRY(write_hashed(file, "image_hash", H5T_STD_U64LE, n * sizeof *hash, 1, &n, hash));
    AC_TRY(write_texts(file, "rejected_offsets", "rejected_bytes", content->rejected, 2 * content->n_rejected));
out:
    ac_free(hash);
    return status;
}

ac_status ac_shard_write(const char *path, const ac_shard_meta *meta, size_t shard, size_t n_shards,
                         const ac_shard_content *content, ac_hash *hash)
{
    ac_status status = AC_OK;
    char part[AC_PATH_BYTES + 8];
    size_t n_failures = 0;
    hid_t file = -1;
    snprintf(part, sizeof part, "%s.part", path);
    AC_TRY(ac_hdf5_create(part, &file));
    AC_TRY(write_attributes(file, meta, shard, n_shards));
    AC_TRY(write_content(file, meta, content));
    AC_TRY(ac_hdf5_close(&file, part));
    AC_TRY(ac_shard_verify(part, &n_failures));
    AC_TRY(ac_hash_file(part, hash));
    AC_TRY(ac_file_publish(part, path));
out:
    if (file >= 0) {
        char text[AC_ERROR_TEXT_BYTES];
        snprintf(text, sizeof text, "%s", ac_error_text());
        if (ac_hdf5_close(&file, part) != AC_OK)
            ac_error(status, "%s", text); /* the first failure is the one to tell */
    }
    if (status != AC_OK) {
        unlink(part);
        ac_error_in(status, "%s", path);
    }
    return status;
}
