/* Writing one shard: complete or absent, the same bytes whoever writes it. Reading is in shard_read.c. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/shard.h"
#include "data/shard_seal.h"
#include "hdf5/hdf5_util.h"
#include <fcntl.h>
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
    AC_TRY(ac_hdf5_write_text(file, "/", "dataset", meta->dataset));
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

/* A dataset, and where the seal finds it. */
static ac_status write_part(hid_t file, ac_shard_part part, hid_t type, size_t n_bytes, int n_dims, const hsize_t *dims,
                            const void *data, ac_seal *seal)
{
    ac_status status = AC_OK;
    unsigned long long at = 0;
    const char *name = ac_shard_part_name(part);
    AC_TRY(ac_hdf5_write(file, name, type, n_dims, dims, data));
    if (n_bytes > 0)
        AC_TRY(ac_hdf5_offset(file, name, &at));
    seal->part[part].at = at;
    seal->part[part].n_bytes = n_bytes;
out:
    return status;
}

/* n texts as two datasets: where each begins, and, next in ac_shard_part, their zero-terminated bytes. */
static ac_status write_texts(hid_t file, ac_shard_part offsets_part, const char *const *text, size_t n, ac_seal *seal)
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
    AC_TRY(write_part(file, offsets_part, H5T_STD_U64LE, n_offsets * sizeof *offset, 1, &n_offsets, offset, seal));
    AC_TRY(write_part(file, offsets_part + 1, H5T_STD_U8LE, n_bytes, 1, &n_bytes, pool, seal));
out:
    ac_free(offset);
    ac_free(pool);
    return status;
}

static ac_status write_content(hid_t file, const ac_shard_meta *meta, const ac_shard_content *content, ac_seal *seal)
{
    ac_status status = AC_OK;
    uint64_t *hash = NULL;
    hsize_t n = content->n, side = (hsize_t)meta->image_size_px, n_labels = n * meta->n_classes;
    hsize_t image_dims[] = {n, side, side, 3}, label_dims[] = {n, meta->n_classes};
    size_t image_bytes = side * side * 3;
    AC_TRY(ac_calloc(n + 1, sizeof *hash, &hash));
    for (size_t i = 0; i < n; i++)
        hash[i] = ac_hash64_bytes(content->images + i * image_bytes, image_bytes);
    AC_TRY(write_part(file, AC_SEAL_IMAGES, H5T_STD_U8LE, n * image_bytes, 4, image_dims, content->images, seal));
    AC_TRY(write_part(file, AC_SEAL_LABELS, H5T_STD_U8LE, n_labels, 2, label_dims, content->labels, seal));
    AC_TRY(write_texts(file, AC_SEAL_NAME_OFFSETS, content->names, n, seal));
    AC_TRY(write_part(file, AC_SEAL_IMAGE_HASH, H5T_STD_U64LE, n * sizeof *hash, 1, &n, hash, seal));
    AC_TRY(write_texts(file, AC_SEAL_REJECTED_OFFSETS, content->rejected, 2 * content->n_rejected, seal));
out:
    ac_free(hash);
    return status;
}

static ac_status write_seal(const char *path, ac_seal *seal)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return ac_error_errno("%s", path);
    ac_status status = ac_seal_hash_parts(fd, seal);
    if (status == AC_OK)
        status = ac_seal_write(fd, seal);
    if (close(fd) != 0 && status == AC_OK)
        status = ac_error_errno("%s: close", path);
    return status;
}

ac_status ac_shard_write(const char *path, const ac_shard_meta *meta, size_t shard, size_t n_shards,
                         const ac_shard_content *content, ac_hash *hash)
{
    ac_status status = AC_OK;
    char part[AC_PATH_BYTES + 8];
    size_t n_failures = 0;
    hid_t file = -1;
    ac_seal_part parts[AC_SEAL_N_DATASETS];
    ac_seal seal;
    ac_shard_seal_begin(&seal, parts);
    snprintf(part, sizeof part, "%s.part", path);
    AC_TRY(ac_hdf5_create(part, AC_SEAL_BYTES, &file));
    AC_TRY(write_attributes(file, meta, shard, n_shards));
    AC_TRY(write_content(file, meta, content, &seal));
    AC_TRY(ac_hdf5_close(&file, part));
    AC_TRY(write_seal(part, &seal));
    AC_TRY(ac_shard_verify(part, &n_failures));
    *hash = seal.root;
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
