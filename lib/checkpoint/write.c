/* Writing one checkpoint file. libhdf5 lays it out; the seal in front is ours. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "checkpoint/checkpoint_internal.h"
#include "hdf5/hdf5_util.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct writing {
    hid_t file;
    const ac_params *params;
    ac_tensor_list list;
    ac_seal seal;
    float *host, *scratch; /* the tensor at hand; room for the largest */
} writing;

/* A dataset, and where the seal finds it. */
static ac_status write_part(writing *w, size_t k, const char *name, hid_t type, size_t n_bytes, int n_dims,
                            const hsize_t *dims, const void *data)
{
    ac_status status = AC_OK;
    unsigned long long at = 0;
    AC_TRY(ac_hdf5_write(w->file, name, type, n_dims, dims, data));
    AC_TRY(ac_hdf5_offset(w->file, name, &at));
    w->seal.part[k] = (ac_seal_part){name, at, n_bytes, ac_hash_bytes(data, n_bytes)};
out:
    return status;
}

static ac_status write_info(writing *w, const ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    ac_json *json = NULL;
    const char *text;
    size_t n;
    AC_TRY(ac_json_create(&json));
    AC_TRY(ac_checkpoint_info_print(info, &w->list, json));
    AC_TRY(ac_json_text(json, &text, &n));
    AC_TRY(write_part(w, 0, "info", H5T_STD_U8LE, n, 1, &(hsize_t){n}, text));
out:
    ac_json_destroy(json);
    return status;
}

/* The groups of all names, each before the first name in it. */
static ac_status write_groups(const writing *w)
{
    ac_status status = AC_OK;
    char group[512], made[512] = "";
    for (size_t k = 0; k < w->list.n; k++) {
        const char *name = w->list.tensor[k].name;
        for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
            snprintf(group, sizeof group, "%.*s/", (int)(slash - name), name);
            if (strncmp(made, group, strlen(group)) == 0)
                continue;
            strcpy(made, group);
            AC_TRY(ac_hdf5_group(w->file, group));
        }
    }
out:
    return status;
}

/* True when no exponent has all bits set. A loop without branches: it runs over all that is saved. */
static bool all_finite(const float *values, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & 0x7F800000u) == 0x7F800000u;
    }
    return !bad;
}

static ac_status write_tensor(writing *w, size_t k)
{
    ac_status status = AC_OK;
    const ac_tensor *tensor = &w->list.tensor[k];
    const size_t n = (size_t)ac_shape_elements(&tensor->shape);
    hsize_t dims[AC_MAX_DIMS];
    for (int i = 0; i < tensor->shape.n_dims; i++)
        dims[i] = (hsize_t)tensor->shape.dim[i];
    AC_TRY(ac_params_get_with(w->params, tensor->param, tensor->arena, w->scratch, w->host));
    if (!all_finite(w->host, n))
        return ac_error(AC_ERR_NUMERIC, "tensor %s holds a value that is not finite: it is not saved", tensor->name);
    AC_TRY(
        write_part(w, k + 1, tensor->name, H5T_IEEE_F32LE, n * sizeof *w->host, tensor->shape.n_dims, dims, w->host));
out:
    return status;
}

/* All but the seal's block. */
static ac_status write_content(writing *w, const char *part, const ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    unlink(part); /* it may be another name of a file that is to stay as it is */
    AC_TRY(ac_hdf5_create(part, w->seal.block_bytes, &w->file));
    AC_TRY(write_info(w, info));
    AC_TRY(write_groups(w));
    for (size_t k = 0; k < w->list.n; k++)
        AC_TRY(write_tensor(w, k));
    AC_TRY(ac_hdf5_close(&w->file, part));
out:
    if (w->file >= 0) {
        char text[AC_ERROR_TEXT_BYTES];
        snprintf(text, sizeof text, "%s", ac_error_text());
        if (ac_hdf5_close(&w->file, part) != AC_OK)
            ac_error(status, "%s", text); /* the first failure is the one to tell */
    }
    return status;
}

/* The block, then everything from the file again, then onto the disk. */
static ac_status seal_and_check(const char *part, ac_seal *seal)
{
    ac_status status = AC_OK;
    ac_seal stored = {0};
    int fd = open(part, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return ac_error_errno("%s", part);
    AC_TRY(ac_seal_write(fd, seal));
    AC_TRY(ac_seal_read(fd, seal->kind, &stored));
    AC_TRY(ac_seal_verify(fd, &stored));
    if (fsync(fd) != 0)
        status = ac_error_errno("sync");
out:
    ac_seal_release(&stored);
    if (close(fd) != 0 && status == AC_OK)
        status = ac_error_errno("close");
    return status;
}

ac_status ac_checkpoint_write(const char *part, const ac_checkpoint_info *info, const ac_params *params,
                              const ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    writing w = {.file = -1, .params = params};
    ac_seal_part *parts = NULL;
    AC_TRY(ac_tensor_list_make(params, optimizer, &w.list));
    AC_TRY(ac_calloc(w.list.n + 1, sizeof *parts, &parts));
    AC_TRY(ac_malloc(w.list.n_most, sizeof *w.host, &w.host));
    AC_TRY(ac_malloc(w.list.n_most, sizeof *w.scratch, &w.scratch));
    w.seal = (ac_seal){.kind = &ac_checkpoint_seal_kind, .part = parts, .n_parts = w.list.n + 1};
    w.seal.block_bytes = ac_seal_block_bytes(w.seal.kind, w.seal.n_parts, w.list.n_name_bytes);
    AC_TRY(write_content(&w, part, info));
    AC_TRY(seal_and_check(part, &w.seal));
out:
    ac_tensor_list_release(&w.list);
    ac_free(w.host);
    ac_free(w.scratch);
    ac_free(parts);
    if (status != AC_OK)
        unlink(part);
    return status;
}

ac_status ac_checkpoint_save(const char *path, const ac_checkpoint_info *info, const ac_params *params,
                             const ac_optimizer *optimizer)
{
    ac_status status = AC_OK;
    char part[AC_PATH_BYTES + 8];
    snprintf(part, sizeof part, "%s.part", path);
    AC_TRY(ac_checkpoint_write(part, info, params, optimizer));
    status = ac_file_publish(part, path);
    if (status != AC_OK)
        unlink(part);
out:
    return status == AC_OK ? status : ac_error_in(status, "%s", path);
}
