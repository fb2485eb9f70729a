/* Opening, reading and verifying shards. HDF5 gives labels, names and hashes once; pixels come by pread from the offset
 * HDF5 tells. Damage of HDF5's own structures is found by the checksums it keeps of them (format 1.10), damage of data
 * by our hashes. */
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

typedef struct opening { /* a shard being opened */
    hid_t file;
    ac_shard *shard;
    bool verify;       /* log damage and go on, instead of giving up at the first */
    size_t n_failures; /* logged so far */
} opening;

/* What lies at the start of an HDF5 file: tells "no HDF5 file" and "cut short" from other damage. */
static ac_status check_file(const ac_shard *s)
{
    unsigned char head[36] = {0};
    struct stat info;
    uint64_t end = 0;
    if (fstat(s->fd, &info) != 0)
        return ac_error_errno("%s", s->path);
    ssize_t got = pread(s->fd, head, sizeof head, 0);
    if (got < 0)
        return ac_error_errno("%s", s->path);
    if (memcmp(head, "\x89HDF\r\n\x1a\n", 8) != 0)
        return ac_error(AC_ERR_DATA, "%s: no HDF5 file", s->path);
    for (int i = 7; i >= 0; i--)
        end = end << 8 | head[28 + i];
    if ((head[8] == 2 || head[8] == 3) && end > (uint64_t)info.st_size)
        return ac_error(AC_ERR_DATA, "%s: truncated: %" PRIu64 " bytes of %" PRIu64, s->path, (uint64_t)info.st_size,
                        end);
    return AC_OK;
}

static ac_status damaged(opening *o, const char *dataset)
{
    if (!o->verify)
        return ac_error(AC_ERR_DATA, "dataset %s is damaged: its hash differs", dataset);
    ac_log_here(AC_LOG_ERROR, "%s: dataset %s is damaged: its hash differs", o->shard->path, dataset);
    o->n_failures++;
    return AC_OK;
}

static ac_status split_classes(ac_shard *s, const char *text)
{
    ac_status status = AC_OK;
    size_t n_classes = 0;
    for (const char *at = text; *at; at++)
        n_classes += *at == '\n';
    if (n_classes == 0)
        return ac_error(AC_ERR_DATA, "attribute class_names has no line");
    AC_TRY(ac_calloc(n_classes, sizeof *s->class_name, &s->class_name));
    s->n_classes = n_classes;
    for (size_t c = 0; c < n_classes; c++) {
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
    if (ac_hdf5_read_number(file, "/", "format", H5T_NATIVE_INT64, 1, &format) != AC_OK)
        return ac_error(AC_ERR_DATA, "no shard: it has no attribute format");
    if (format != AC_SHARD_FORMAT)
        return ac_error(AC_ERR_DATA, "shard format %" PRId64 ", this program reads %d: run anyclass-preprocess again",
                        format, AC_SHARD_FORMAT);
    AC_TRY(ac_hdf5_read_number(file, "/", "image_size_px", H5T_NATIVE_INT64, 1, &size));
    if (size < 1 || size > 4096)
        return ac_error(AC_ERR_DATA, "image size %" PRId64, size);
    s->image_size_px = (int)size;
    AC_TRY(ac_hdf5_read_number(file, "/", "shard", H5T_NATIVE_UINT64, 1, &s->index));
    AC_TRY(ac_hdf5_read_number(file, "/", "n_shards", H5T_NATIVE_UINT64, 1, &s->n_shards));
    AC_TRY(ac_hdf5_read_number(file, "/", "mean", H5T_NATIVE_FLOAT, 3, s->mean));
    AC_TRY(ac_hdf5_read_number(file, "/", "std", H5T_NATIVE_FLOAT, 3, s->std));
    AC_TRY(ac_hdf5_read_text(file, "/", "split", &s->split));
    AC_TRY(ac_hdf5_read_text(file, "/", "source", &s->source));
    AC_TRY(ac_hdf5_read_text(file, "/", "options", &s->options));
    AC_TRY(ac_hdf5_read_text(file, "/", "class_names", &classes));
    AC_TRY(split_classes(s, classes));
out:
    ac_free(classes);
    return status;
}

/* Read n elements, compare with the stored hash. `same` may be NULL. */
static ac_status read_hashed(opening *o, const char *name, hid_t type, size_t type_bytes, size_t n, void *out,
                             bool *same)
{
    ac_status status = AC_OK;
    uint64_t wanted;
    AC_TRY(ac_hdf5_read(o->file, name, type, n, out));
    AC_TRY(ac_hdf5_read_number(o->file, name, "hash", H5T_NATIVE_UINT64, 1, &wanted));
    bool good = ac_hash64_bytes(out, n * type_bytes) == wanted;
    if (same)
        *same = good;
    if (!good)
        AC_TRY(damaged(o, name));
out:
    return status;
}

/* n texts: where each begins, and their zero-terminated bytes. A damaged table gives empty texts. */
static ac_status read_texts(opening *o, const char *offsets_name, const char *bytes_name, size_t n, size_t **offset,
                            char **pool)
{
    ac_status status = AC_OK;
    hsize_t n_bytes;
    uint64_t *stored = NULL;
    bool offsets_good = false, bytes_good = false;
    AC_TRY(ac_hdf5_dims(o->file, bytes_name, 1, &n_bytes));
    AC_TRY(ac_calloc(n + 1, sizeof *stored, &stored));
    AC_TRY(ac_calloc(n_bytes + 1, 1, pool));
    AC_TRY(ac_calloc(n + 1, sizeof **offset, offset));
    AC_TRY(read_hashed(o, offsets_name, H5T_NATIVE_UINT64, sizeof *stored, n + 1, stored, &offsets_good));
    AC_TRY(read_hashed(o, bytes_name, H5T_NATIVE_UINT8, 1, n_bytes, *pool, &bytes_good));
    bool good = offsets_good && bytes_good;
    for (size_t i = 0; i <= n; i++)
        (*offset)[i] = good ? (size_t)stored[i] : (size_t)n_bytes;
    for (size_t i = 0; good && i <= n; i++)
        if (stored[i] > n_bytes || (i > 0 && (stored[i] <= stored[i - 1] || (*pool)[stored[i] - 1] != 0)))
            AC_TRY(ac_error(AC_ERR_DATA, "dataset %s does not fit %s at text %zu", offsets_name, bytes_name, i));
out:
    ac_free(stored);
    return status;
}

static ac_status read_labels(opening *o, ac_shard *s)
{
    ac_status status = AC_OK;
    bool good;
    AC_TRY(ac_calloc(s->n * s->n_classes + 1, 1, &s->label));
    AC_TRY(read_hashed(o, "labels", H5T_NATIVE_UINT8, 1, s->n * s->n_classes, s->label, &good));
    for (size_t i = 0; good && i < s->n * s->n_classes; i++)
        if (s->label[i] > 1)
            return ac_error(AC_ERR_DATA, "dataset labels, sample %zu: a value other than 0 and 1", i / s->n_classes);
out:
    return status;
}

static ac_status read_file(opening *o)
{
    ac_status status = AC_OK;
    ac_shard *s = o->shard;
    hsize_t dims[4], label_dims[2], n_offsets;
    unsigned long long at;
    AC_TRY(read_attributes(o->file, s));
    AC_TRY(ac_hdf5_dims(o->file, "images", 4, dims));
    AC_TRY(ac_hdf5_dims(o->file, "labels", 2, label_dims));
    AC_TRY(ac_hdf5_dims(o->file, "rejected_offsets", 1, &n_offsets));
    hsize_t side = (hsize_t)s->image_size_px;
    if (dims[1] != side || dims[2] != side || dims[3] != 3 || label_dims[0] != dims[0] ||
        label_dims[1] != s->n_classes || dims[0] > INT32_MAX || n_offsets % 2 != 1)
        return ac_error(AC_ERR_DATA, "sizes of the datasets images, labels, rejected_offsets do not fit together");
    s->n = (size_t)dims[0];
    s->n_rejected = (size_t)(n_offsets / 2);
    AC_TRY(read_labels(o, s));
    AC_TRY(ac_calloc(s->n + 1, sizeof *s->image_hash, &s->image_hash));
    AC_TRY(read_hashed(o, "image_hash", H5T_NATIVE_UINT64, sizeof *s->image_hash, s->n, s->image_hash, NULL));
    AC_TRY(read_texts(o, "name_offsets", "name_bytes", s->n, &s->name_offset, &s->name_pool));
    AC_TRY(
        read_texts(o, "rejected_offsets", "rejected_bytes", 2 * s->n_rejected, &s->rejected_offset, &s->rejected_pool));
    if (s->n > 0) {
        AC_TRY(ac_hdf5_offset(o->file, "images", &at));
        s->images_at = at;
    }
out:
    return status;
}

static ac_status open_shard(const char *path, ac_shard *out, bool verify, size_t *n_failures)
{
    ac_status status = AC_OK;
    opening o = {.file = -1, .shard = out, .verify = verify};
    memset(out, 0, sizeof *out);
    snprintf(out->path, sizeof out->path, "%s", path);
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (out->fd < 0)
        AC_TRY(ac_error_errno("%s", path));
    AC_TRY(check_file(out));
    AC_TRY(ac_hdf5_open(path, &o.file));
    status = read_file(&o);
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
out:
    if (o.file >= 0)
        H5Fclose(o.file);
    if (status != AC_OK)
        ac_shard_close(out);
    *n_failures = o.n_failures;
    return status;
}

ac_status ac_shard_open(const char *path, ac_shard *out)
{
    size_t n_failures;
    return open_shard(path, out, false, &n_failures);
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
    ac_free(s->split);
    ac_free(s->source);
    ac_free(s->options);
    ac_free(s->rejected_pool);
    ac_free(s->rejected_offset);
    memset(s, 0, sizeof *s);
    s->fd = -1;
}

const char *ac_shard_name(const ac_shard *s, size_t i)
{
    return s->name_pool + s->name_offset[i];
}

const char *ac_shard_rejected(const ac_shard *s, size_t i, const char **reason)
{
    if (reason)
        *reason = s->rejected_pool + s->rejected_offset[2 * i + 1];
    return s->rejected_pool + s->rejected_offset[2 * i];
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
        return ac_error(AC_ERR_DATA, "%s: dataset images, sample %zu (%s) is damaged: its hash differs", s->path, i,
                        ac_shard_name(s, i));
    return AC_OK;
}

ac_status ac_shard_verify(const char *path, size_t *n_failures)
{
    ac_status status = AC_OK, worst = AC_ERR_DATA;
    uint8_t *pixels = NULL;
    ac_shard shard;
    status = open_shard(path, &shard, true, n_failures);
    if (status != AC_OK) {
        ac_log_here(AC_LOG_ERROR, "%s", ac_error_text());
        (*n_failures)++;
        return status;
    }
    AC_TRY(ac_malloc((size_t)shard.image_size_px * (size_t)shard.image_size_px, 3, &pixels));
    for (size_t i = 0; i < shard.n; i++) {
        ac_status read = ac_shard_read_image(&shard, i, true, pixels);
        if (read == AC_OK)
            continue;
        ac_log_here(AC_LOG_ERROR, "%s", ac_error_text());
        (*n_failures)++;
        worst = read == AC_ERR_IO ? read : worst;
    }
    if (*n_failures)
        status = ac_error(worst, "%s: %zu damaged parts", path, *n_failures);
out:
    ac_free(pixels);
    ac_shard_close(&shard);
    return status;
}
