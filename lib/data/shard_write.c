/* Writing one shard: complete or absent, the same bytes whoever writes it. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/shard.h"
#include "hdf5/hdf5_util.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char *ac_shard_file_name(char *out, size_t capacity, const char *split, size_t shard, size_t n_shards)
{
    snprintf(out, capacity, "%s-%05zu-of-%05zu.h5", split, shard, n_shards);
    return out;
}

/* Class names as one text, a line each. */
static ac_status join_classes(const ac_shard_meta *meta, char **out)
{
    size_t n = 1;
    for (size_t c = 0; c < meta->n_classes; c++)
        n += strlen(meta->class_name[c]) + 1;
    ac_status status = ac_calloc(n, 1, out);
    for (size_t c = 0; status == AC_OK && c < meta->n_classes; c++) {
        strcat(*out, meta->class_name[c]);
        strcat(*out, "\n");
    }
    return status;
}

static ac_status write_attributes(hid_t file, const ac_shard_meta *meta, const char *classes, uint64_t shard, uint64_t n_shards)
{
    ac_status status = AC_OK;
    int64_t format = AC_SHARD_FORMAT, size = meta->image_size_px;
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
    return status;
}

/* A dataset and the hash of its bytes. */
static ac_status write_hashed(hid_t file, const char *name, hid_t type, size_t type_bytes, int n_dims, const hsize_t *dims, const void *data)
{
    ac_status status = AC_OK;
    size_t n = 1;
    for (int i = 0; i < n_dims; i++)
        n *= dims[i];
    uint64_t hash = ac_hash64_bytes(data, n * type_bytes);
    AC_TRY(ac_hdf5_write(file, name, type, n_dims, dims, data));
    AC_TRY(ac_hdf5_write_number(file, name, "hash", H5T_NATIVE_UINT64, 1, &hash));
out:
    return status;
}

static ac_status write_content(hid_t file, const ac_shard_meta *meta, size_t n, const char *const *names, const uint8_t *labels,
                               const uint8_t *images)
{
    ac_status status = AC_OK;
    uint64_t *offset = NULL, *hash = NULL;
    char *pool = NULL;
    size_t pool_bytes = 0, image_bytes = (size_t)meta->image_size_px * (size_t)meta->image_size_px * 3;
    for (size_t i = 0; i < n; i++)
        pool_bytes += strlen(names[i]) + 1;
    AC_TRY(ac_calloc(n + 1, sizeof *offset, &offset));
    AC_TRY(ac_calloc(n + 1, sizeof *hash, &hash));
    AC_TRY(ac_calloc(pool_bytes + 1, 1, &pool));
    for (size_t i = 0; i < n; i++) {
        strcpy(pool + offset[i], names[i]);
        offset[i + 1] = offset[i] + strlen(names[i]) + 1;
        hash[i] = ac_hash64_bytes(images + i * image_bytes, image_bytes);
    }
    hsize_t side = (hsize_t)meta->image_size_px, one = pool_bytes, n_offsets = n + 1, count = n;
    hsize_t image_dims[] = {n, side, side, 3}, label_dims[] = {n, meta->n_classes};
    AC_TRY(ac_hdf5_write(file, "images", H5T_STD_U8LE, 4, image_dims, images));
    AC_TRY(write_hashed(file, "labels", H5T_STD_U8LE, 1, 2, label_dims, labels));
    AC_TRY(write_hashed(file, "name_offsets", H5T_STD_U64LE, 8, 1, &n_offsets, offset));
    AC_TRY(write_hashed(file, "name_bytes", H5T_STD_U8LE, 1, 1, &one, pool));
    AC_TRY(write_hashed(file, "image_hash", H5T_STD_U64LE, 8, 1, &count, hash));
out:
    ac_free(offset);
    ac_free(hash);
    ac_free(pool);
    return status;
}

ac_status ac_shard_write(const char *path, const ac_shard_meta *meta, size_t shard, size_t n_shards, size_t n, const char *const *names,
                         const uint8_t *labels, const uint8_t *images, ac_hash *hash)
{
    ac_status status = AC_OK;
    char part[AC_PATH_BYTES + 8], *classes = NULL;
    size_t n_failures = 0;
    hid_t file = -1;
    snprintf(part, sizeof part, "%s.part", path);
    AC_TRY(join_classes(meta, &classes));
    AC_TRY(ac_hdf5_create(part, &file));
    AC_TRY(write_attributes(file, meta, classes, shard, n_shards));
    AC_TRY(write_content(file, meta, n, names, labels, images));
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
    ac_free(classes);
    return status;
}
