/* Opening and reading shards. HDF5 gives labels, names and hashes once; pixels come by pread from the offset HDF5 tells. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "anyclass/shard.h"
#include "hdf5/hdf5_util.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ac_status split_classes(ac_shard *s, const char *text)
{
    ac_status status = AC_OK;
    for (const char *at = text; *at; at++)
        s->n_classes += *at == '\n';
    AC_TRY(ac_calloc(s->n_classes + 1, sizeof *s->class_name, &s->class_name));
    for (size_t c = 0; c < s->n_classes; c++) {
        size_t n = strcspn(text, "\n");
        AC_TRY(ac_calloc(n + 1, 1, &s->class_name[c]));
        memcpy(s->class_name[c], text, n);
        text += n + 1;
    }
out:
    return status;
}

static ac_status read_attributes(hid_t file, ac_shard *s)
{
    ac_status status = AC_OK;
    int64_t format, size;
    char *classes = NULL;
    AC_TRY(ac_hdf5_read_number(file, "/", "format", H5T_NATIVE_INT64, 1, &format));
    if (format != AC_SHARD_FORMAT)
        return ac_error(AC_ERR_DATA, "shard format %" PRId64 ", this program reads %d", format, AC_SHARD_FORMAT);
    AC_TRY(ac_hdf5_read_number(file, "/", "image_size_px", H5T_NATIVE_INT64, 1, &size));
    if (size < 1 || size > 4096)
        return ac_error(AC_ERR_DATA, "image size %" PRId64, size);
    s->image_size_px = (int)size;
    AC_TRY(ac_hdf5_read_number(file, "/", "mean", H5T_NATIVE_FLOAT, 3, s->mean));
    AC_TRY(ac_hdf5_read_number(file, "/", "std", H5T_NATIVE_FLOAT, 3, s->std));
    AC_TRY(ac_hdf5_read_text(file, "/", "class_names", &classes));
    AC_TRY(split_classes(s, classes));
out:
    ac_free(classes);
    return status;
}

/* Read n elements, compare with the stored hash. */
static ac_status read_hashed(hid_t file, const char *name, hid_t type, size_t type_bytes, size_t n, void *out)
{
    ac_status status = AC_OK;
    uint64_t wanted;
    AC_TRY(ac_hdf5_read(file, name, type, n, out));
    AC_TRY(ac_hdf5_read_number(file, name, "hash", H5T_NATIVE_UINT64, 1, &wanted));
    if (ac_hash64_bytes(out, n * type_bytes) != wanted)
        return ac_error(AC_ERR_DATA, "dataset %s is damaged: its hash differs", name);
out:
    return status;
}

static ac_status read_names(hid_t file, ac_shard *s)
{
    ac_status status = AC_OK;
    hsize_t pool_bytes;
    uint64_t *offset = NULL;
    AC_TRY(ac_hdf5_dims(file, "name_bytes", 1, &pool_bytes));
    AC_TRY(ac_calloc(s->n + 1, sizeof *offset, &offset));
    AC_TRY(ac_calloc(pool_bytes + 1, 1, &s->name_pool));
    AC_TRY(ac_calloc(s->n + 1, sizeof *s->name_offset, &s->name_offset));
    AC_TRY(read_hashed(file, "name_offsets", H5T_NATIVE_UINT64, 8, s->n + 1, offset));
    AC_TRY(read_hashed(file, "name_bytes", H5T_NATIVE_UINT8, 1, pool_bytes, s->name_pool));
    for (size_t i = 0; i <= s->n; i++) {
        if (offset[i] > pool_bytes || (i > 0 && (offset[i] <= offset[i - 1] || s->name_pool[offset[i] - 1] != 0)))
            AC_TRY(ac_error(AC_ERR_DATA, "dataset name_offsets is damaged at sample %zu", i));
        s->name_offset[i] = (size_t)offset[i];
    }
out:
    ac_free(offset);
    return status;
}

static ac_status read_file(hid_t file, ac_shard *s)
{
    ac_status status = AC_OK;
    hsize_t dims[4], label_dims[2];
    unsigned long long at;
    AC_TRY(read_attributes(file, s));
    AC_TRY(ac_hdf5_dims(file, "images", 4, dims));
    AC_TRY(ac_hdf5_dims(file, "labels", 2, label_dims));
    hsize_t side = (hsize_t)s->image_size_px;
    if (dims[1] != side || dims[2] != side || dims[3] != 3 || label_dims[0] != dims[0] || label_dims[1] != s->n_classes || dims[0] > INT32_MAX)
        return ac_error(AC_ERR_DATA, "sizes of images and labels do not fit together");
    s->n = (size_t)dims[0];
    AC_TRY(ac_calloc(s->n * s->n_classes + 1, 1, &s->label));
    AC_TRY(ac_calloc(s->n + 1, sizeof *s->image_hash, &s->image_hash));
    AC_TRY(read_hashed(file, "labels", H5T_NATIVE_UINT8, 1, s->n * s->n_classes, s->label));
    AC_TRY(read_hashed(file, "image_hash", H5T_NATIVE_UINT64, 8, s->n, s->image_hash));
    for (size_t i = 0; i < s->n * s->n_classes; i++)
        if (s->label[i] > 1)
            return ac_error(AC_ERR_DATA, "dataset labels holds a value other than 0 and 1");
    AC_TRY(read_names(file, s));
    if (s->n > 0) {
        AC_TRY(ac_hdf5_offset(file, "images", &at));
        s->images_at = at;
    }
out:
    return status;
}

ac_status ac_shard_open(const char *path, ac_shard *out)
{
    ac_status status = AC_OK;
    hid_t file = -1;
    struct stat info;
    memset(out, 0, sizeof *out);
    out->fd = -1;
    snprintf(out->path, sizeof out->path, "%s", path);
    AC_TRY(ac_hdf5_open(path, &file));
    status = read_file(file, out);
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (out->fd < 0 || fstat(out->fd, &info) != 0)
        AC_TRY(ac_error_errno("%s", path));
    uint64_t side = (uint64_t)out->image_size_px;
    if (out->images_at + out->n * side * side * 3 > (uint64_t)info.st_size)
        AC_TRY(ac_error(AC_ERR_DATA, "%s: truncated, dataset images passes the end", path));
out:
    if (file >= 0)
        H5Fclose(file);
    if (status != AC_OK)
        ac_shard_close(out);
    return status;
}

void ac_shard_close(ac_shard *s)
{
    if (s->fd > 0)
        close(s->fd);
    for (size_t c = 0; s->class_name && c < s->n_classes; c++)
        ac_free(s->class_name[c]);
    ac_free(s->class_name);
    ac_free(s->image_hash);
    ac_free(s->label);
    ac_free(s->name_pool);
    ac_free(s->name_offset);
    memset(s, 0, sizeof *s);
    s->fd = -1;
}

const char *ac_shard_name(const ac_shard *s, size_t i)
{
    return s->name_pool + s->name_offset[i];
}

ac_status ac_shard_read_image(const ac_shard *s, size_t i, bool check, uint8_t *out)
{
    size_t n = (size_t)s->image_size_px * (size_t)s->image_size_px * 3, done = 0;
    if (i >= s->n)
        return ac_error(AC_ERR_RANGE, "%s: no sample %zu", s->path, i);
    while (done < n) {
        ssize_t got = pread(s->fd, out + done, n - done, (off_t)(s->images_at + i * n + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ac_error_errno("%s: dataset images, sample %zu", s->path, i);
        if (got == 0)
            return ac_error(AC_ERR_DATA, "%s: dataset images ends at sample %zu", s->path, i);
        done += (size_t)got;
    }
    if (check && ac_hash64_bytes(out, n) != s->image_hash[i])
        return ac_error(AC_ERR_DATA, "%s: dataset images, sample %zu (%s) is damaged: its hash differs", s->path, i, ac_shard_name(s, i));
    return AC_OK;
}

ac_status ac_shard_verify(const char *path, size_t *n_failures)
{
    ac_status status = AC_OK;
    uint8_t *pixels = NULL;
    ac_shard shard;
    *n_failures = 1;
    status = ac_shard_open(path, &shard);
    if (status != AC_OK)
        return status;
    *n_failures = 0;
    AC_TRY(ac_malloc((size_t)shard.image_size_px * (size_t)shard.image_size_px, 3, &pixels));
    for (size_t i = 0; i < shard.n; i++)
        if (ac_shard_read_image(&shard, i, true, pixels) != AC_OK) {
            ac_log_here(AC_LOG_ERROR, "%s", ac_error_text());
            (*n_failures)++;
        }
    if (*n_failures)
        status = ac_error(AC_ERR_DATA, "%s: %zu damaged samples", path, *n_failures);
out:
    ac_free(pixels);
    ac_shard_close(&shard);
    return status;
}
