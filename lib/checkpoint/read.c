/* Reading a checkpoint: by the positions in its seal and the shapes in its info, so that libhdf5 never sees a file that
 * may be damaged. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "checkpoint/checkpoint_internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

const ac_seal_kind ac_checkpoint_seal_kind = {
    .name = "checkpoint", .format = AC_CHECKPOINT_FORMAT, .advice = ": use the version that wrote it, or train again"};

static ac_status read_part(const ac_checkpoint_file *file, size_t k, void *out)
{
    ac_status status = AC_OK;
    const ac_seal_part *part = &file->seal.part[k];
    AC_TRY(ac_file_read_at(file->fd, part->at, out, (size_t)part->n_bytes));
    if (!ac_hash_equal(ac_hash_bytes(out, (size_t)part->n_bytes), part->hash))
        status = ac_error(AC_ERR_DATA, "dataset %s is damaged: its hash differs", part->name);
out:
    return status;
}

static ac_status read_document(ac_checkpoint_file *file)
{
    ac_status status = AC_OK;
    const ac_seal *seal = &file->seal;
    char *text = NULL;
    if (seal->n_parts == 0 || strcmp(seal->part[0].name, "info") != 0)
        return ac_error(AC_ERR_DATA, "it has no info");
    const size_t n = (size_t)seal->part[0].n_bytes;
    AC_TRY(ac_malloc(n + 1, 1, &text));
    AC_TRY(read_part(file, 0, text));
    AC_TRY(ac_json_parse("info", text, n, &file->document));
    file->shapes = ac_json_get(file->document, "tensors");
out:
    ac_free(text);
    return status;
}

static ac_status read_shape(const ac_checkpoint_file *file, size_t k, ac_shape *shape)
{
    ac_status status = AC_OK;
    const ac_json_value *dims = ac_json_at(file->shapes, k);
    const char *name = ac_json_key_at(file->shapes, k);
    const size_t n = ac_json_count(dims);
    int64_t n_elements = 1;
    *shape = (ac_shape){.n_dims = (int)n, .dtype = AC_F32};
    if (!name || n > AC_MAX_DIMS || strcmp(name, file->seal.part[k + 1].name) != 0)
        return ac_error(AC_ERR_DATA, "the info's tensors are not those of the seal");
    for (size_t i = 0; i < n; i++) {
        AC_TRY(ac_json_read_int(ac_json_at(dims, i), name, &shape->dim[i]));
        if (shape->dim[i] < 1 || shape->dim[i] > INT64_MAX / 4 / n_elements)
            return ac_error(AC_ERR_DATA, "tensor %s: a dimension of %" PRId64, name, shape->dim[i]);
        n_elements *= shape->dim[i];
    }
    if ((uint64_t)n_elements * sizeof(float) != file->seal.part[k + 1].n_bytes)
        status = ac_error(AC_ERR_DATA, "tensor %s has other sizes in the info and in the seal", name);
out:
    return status;
}

static ac_status check_shapes(const ac_checkpoint_file *file)
{
    ac_status status = AC_OK;
    ac_shape shape;
    if (ac_json_count(file->shapes) != file->seal.n_parts - 1)
        return ac_error(AC_ERR_DATA, "the info's tensors are not those of the seal");
    for (size_t k = 0; k + 1 < file->seal.n_parts; k++)
        AC_TRY(read_shape(file, k, &shape));
out:
    return status;
}

ac_status ac_checkpoint_file_open(const char *path, bool whole, ac_checkpoint_file *file)
{
    ac_status status = AC_OK;
    memset(file, 0, sizeof *file);
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    if (file->fd < 0)
        AC_TRY(ac_error_errno("cannot be opened"));
    AC_TRY(ac_seal_read(file->fd, &ac_checkpoint_seal_kind, &file->seal));
    if (whole)
        AC_TRY(ac_seal_verify(file->fd, &file->seal));
    AC_TRY(read_document(file));
    AC_TRY(check_shapes(file));
out:
    return status;
}

void ac_checkpoint_file_close(ac_checkpoint_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    ac_json_release(file->document);
    ac_seal_release(&file->seal);
    memset(file, 0, sizeof *file);
    file->fd = -1;
}

ac_status ac_checkpoint_file_find(ac_checkpoint_file *file, const char *name, const ac_shape *shape, size_t *k)
{
    ac_status status = AC_OK;
    ac_shape stored;
    const size_t n = file->seal.n_parts - 1;
    size_t tried = 0;
    while (tried < n && strcmp(file->seal.part[(file->next + tried) % n + 1].name, name) != 0)
        tried++;
    if (tried == n)
        return ac_error(AC_ERR_DATA, "it has no tensor %s", name);
    *k = (file->next + tried) % n;
    file->next = *k + 1;
    AC_TRY(read_shape(file, *k, &stored));
    if (stored.n_dims != shape->n_dims ||
        memcmp(stored.dim, shape->dim, (size_t)shape->n_dims * sizeof *shape->dim) != 0)
        status = ac_error(AC_ERR_DATA, "tensor %s has another shape than the model's", name);
out:
    return status;
}

ac_status ac_checkpoint_file_read(const ac_checkpoint_file *file, size_t k, float *out)
{
    return read_part(file, k + 1, out);
}

static ac_status read_info(const char *path, bool whole, ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    ac_checkpoint_file file;
    memset(info, 0, sizeof *info);
    AC_TRY(ac_checkpoint_file_open(path, whole, &file));
    AC_TRY(ac_checkpoint_info_parse(file.document, info));
out:
    ac_checkpoint_file_close(&file);
    if (status != AC_OK) {
        ac_checkpoint_info_release(info);
        ac_error_in(status, "%s", path);
    }
    return status;
}

ac_status ac_checkpoint_read_info(const char *path, ac_checkpoint_info *info)
{
    return read_info(path, false, info);
}

ac_status ac_checkpoint_check(const char *path, ac_checkpoint_info *info)
{
    return read_info(path, true, info);
}

ac_status ac_checkpoint_read_hash(const char *path, ac_hash *hash)
{
    ac_checkpoint_file file;
    ac_status status = ac_checkpoint_file_open(path, false, &file);
    *hash = file.seal.root;
    ac_checkpoint_file_close(&file);
    return status == AC_OK ? status : ac_error_in(status, "%s", path);
}
