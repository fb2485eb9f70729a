/* Opening, reading and verifying shards. The seal is checked first, then HDF5 gives attributes, labels, names and hashes
 * once; pixels come by pread from the offset HDF5 tells. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/log.h"
#include "anyclass/shard.h"
#include "data/shard_seal.h"
#include "hdf5/hdf5_util.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct opening { /* a shard being opened */
    hid_t file;
    ac_shard *shard;
    ac_seal seal;
    bool damaged[AC_SEAL_N_PARTS]; /* the part's bytes are not what the seal says */
    bool verify;                   /* log damage and go on, instead of giving up at the first */
    size_t n_failures;             /* logged so far */
} opening;

/* The seal, and everything but the pixels against it. libhdf5 may be let in when the structure is whole. */
static ac_status check_seal(opening *o)
{
    ac_status status = AC_OK;
    AC_TRY(ac_shard_seal_read(o->shard->fd, &o->seal));
    AC_TRY(ac_seal_check(o->shard->fd, &o->seal, o->damaged));
    if (o->damaged[AC_SEAL_STRUCTURE])
        return ac_error(AC_ERR_DATA, "the file's structure is damaged: its hash differs");
    for (int k = 0; k < AC_SEAL_N_DATASETS; k++) {
        const char *name = ac_shard_part_name((ac_shard_part)k);
        if (!o->damaged[k])
            continue;
        if (!o->verify)
            return ac_error(AC_ERR_DATA, "dataset %s is damaged: its hash differs", name);
        ac_log_here(AC_LOG_ERROR, "%s: dataset %s is damaged: its hash differs", o->shard->path, name);
        o->n_failures++;
    }
out:
    return status;
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
    AC_TRY(ac_hdf5_read_text(file, "/", "dataset", &s->dataset));
    AC_TRY(ac_hdf5_read_text(file, "/", "source", &s->source));
    AC_TRY(ac_hdf5_read_text(file, "/", "options", &s->options));
    AC_TRY(ac_hdf5_read_text(file, "/", "class_names", &classes));
    AC_TRY(split_classes(s, classes));
out:
    ac_free(classes);
    return status;
}

/* Read the n elements of a part of another kind than pixels. */
static ac_status read_part(opening *o, ac_shard_part part, hid_t type, size_t n, void *out)
{
    return ac_hdf5_read(o->file, ac_shard_part_name(part), type, n, out);
}

/* n texts: where each begins and, next in ac_shard_part, their zero-terminated bytes. A damaged table gives empty texts. */
static ac_status read_texts(opening *o, ac_shard_part offsets_part, size_t n, size_t **offset, char **pool)
{
    ac_status status = AC_OK;
    hsize_t n_bytes;
    uint64_t *stored = NULL;
    ac_shard_part bytes_part = offsets_part + 1;
    bool good = !o->damaged[offsets_part] && !o->damaged[bytes_part];
    AC_TRY(ac_hdf5_dims(o->file, ac_shard_part_name(bytes_part), 1, &n_bytes));
    if (n_bytes > o->seal.file_bytes)
        return ac_error(AC_ERR_DATA, "dataset %s is larger than the file", ac_shard_part_name(bytes_part));
    AC_TRY(ac_calloc(n + 1, sizeof *stored, &stored));
    AC_TRY(ac_calloc(n_bytes + 1, 1, pool));
    AC_TRY(ac_calloc(n + 1, sizeof **offset, offset));
    AC_TRY(read_part(o, offsets_part, H5T_NATIVE_UINT64, n + 1, stored));
    AC_TRY(read_part(o, bytes_part, H5T_NATIVE_UINT8, n_bytes, *pool));
    for (size_t i = 0; i <= n; i++)
        (*offset)[i] = good ? (size_t)stored[i] : (size_t)n_bytes;
    for (size_t i = 0; good && i <= n; i++)
        if (stored[i] > n_bytes || (i > 0 && (stored[i] <= stored[i - 1] || (*pool)[stored[i] - 1] != 0)))
            AC_TRY(ac_error(AC_ERR_DATA, "dataset %s does not fit %s at text %zu", ac_shard_part_name(offsets_part),
                            ac_shard_part_name(bytes_part), i));
out:
    ac_free(stored);
    return status;
}

static ac_status read_labels(opening *o, ac_shard *s)
{
    ac_status status = AC_OK;
    AC_TRY(ac_calloc(s->n * s->n_classes + 1, 1, &s->label));
    AC_TRY(read_part(o, AC_SEAL_LABELS, H5T_NATIVE_UINT8, s->n * s->n_classes, s->label));
    for (size_t i = 0; !o->damaged[AC_SEAL_LABELS] && i < s->n * s->n_classes; i++)
        if (s->label[i] > 1)
            return ac_error(AC_ERR_DATA, "dataset labels, sample %zu: a value other than 0 and 1", i / s->n_classes);
out:
    return status;
}

/* Sizes of the datasets against each other, and of what is about to be allocated against the file. */
static ac_status read_sizes(opening *o, ac_shard *s)
{
    ac_status status = AC_OK;
    hsize_t dims[4], label_dims[2], n_offsets, side = (hsize_t)s->image_size_px, most = o->seal.file_bytes;
    AC_TRY(ac_hdf5_dims(o->file, "images", 4, dims));
    AC_TRY(ac_hdf5_dims(o->file, "labels", 2, label_dims));
    AC_TRY(ac_hdf5_dims(o->file, "rejected_offsets", 1, &n_offsets));
    if (dims[1] != side || dims[2] != side || dims[3] != 3 || label_dims[0] != dims[0] ||
        label_dims[1] != s->n_classes || n_offsets % 2 != 1)
        return ac_error(AC_ERR_DATA, "sizes of the datasets images, labels, rejected_offsets do not fit together");
    if (dims[0] > INT32_MAX || dims[0] > most / (side * side * 3) || n_offsets > most ||
        (dims[0] > 0 && s->n_classes > most / dims[0]))
        return ac_error(AC_ERR_DATA, "the datasets are larger than the file");
    s->n = (size_t)dims[0];
    s->n_rejected = (size_t)(n_offsets / 2);
out:
    return status;
}

static ac_status read_file(opening *o)
{
    ac_status status = AC_OK;
    ac_shard *s = o->shard;
    unsigned long long at;
    AC_TRY(read_attributes(o->file, s));
    AC_TRY(read_sizes(o, s));
    AC_TRY(read_labels(o, s));
    AC_TRY(ac_calloc(s->n + 1, sizeof *s->image_hash, &s->image_hash));
    AC_TRY(read_part(o, AC_SEAL_IMAGE_HASH, H5T_NATIVE_UINT64, s->n, s->image_hash));
    AC_TRY(read_texts(o, AC_SEAL_NAME_OFFSETS, s->n, &s->name_offset, &s->name_pool));
    AC_TRY(read_texts(o, AC_SEAL_REJECTED_OFFSETS, 2 * s->n_rejected, &s->rejected_offset, &s->rejected_pool));
    if (s->n > 0) {
        AC_TRY(ac_hdf5_offset(o->file, "images", &at));
        if (at != o->seal.part[AC_SEAL_IMAGES].at)
            return ac_error(AC_ERR_DATA, "dataset images does not lie where the seal says");
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
    out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    if (out->fd < 0)
        AC_TRY(ac_error_errno("%s", path));
    status = check_seal(&o);
    out->hash = o.seal.root;
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
    AC_TRY(ac_hdf5_open(path, &o.file));
    status = read_file(&o);
    if (status != AC_OK)
        AC_TRY(ac_error_in(status, "%s", path));
out:
    if (o.file >= 0)
        H5Fclose(o.file);
    ac_seal_release(&o.seal);
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
    ac_free(s->dataset);
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
    size_t n = (size_t)s->image_size_px * (size_t)s->image_size_px * 3;
    if (i >= s->n)
        return ac_error(AC_ERR_RANGE, "%s: no sample %zu", s->path, i);
    ac_status status = ac_file_read_at(s->fd, s->images_at + i * n, out, n);
    if (status != AC_OK)
        return ac_error_in(status, "%s: dataset images, sample %zu", s->path, i);
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
