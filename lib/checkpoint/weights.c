/* Files of weights: what kind one is, its list of tensors, and the elements of one as floats. The formats are read in
 * weights_safetensors.c and weights_pytorch.c, our own checkpoints in read.c. */
#include "anyclass/weights.h"
#include "anyclass/alloc.h"
#include "anyclass/bf16.h"
#include "anyclass/f16.h"
#include "anyclass/file.h"
#include "checkpoint/weights_internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    size_t n_bytes;
    bool is_float;
} types[] = {
#define TYPE_ROW(name, bytes, is_float) {#name, bytes, is_float},
    AC_WEIGHTS_TYPES(TYPE_ROW)
#undef TYPE_ROW
};

const char *ac_weights_type_name(ac_weights_type type)
{
    return types[type].name;
}

size_t ac_weights_type_bytes(ac_weights_type type)
{
    return types[type].n_bytes;
}

bool ac_weights_type_is_float(ac_weights_type type)
{
    return types[type].is_float;
}

const char *ac_weights_kind_name(ac_weights_kind kind)
{
    static const char *const names[] = {"safetensors", "PyTorch", "PyTorch Lightning", "anyclass checkpoint"};
    return names[kind];
}

/* ---- the list of tensors ---- */

ac_status ac_weights_add(ac_weights *weights, const char *name, size_t n_name, ac_weights_tensor **tensor, ac_weights_place **place)
{
    ac_status status = AC_OK;
    ac_weights_source *s = weights->source;
    AC_TRY(ac_reserve(&weights->tensor, &s->tensor_capacity, weights->n_tensors + 1, sizeof *weights->tensor));
    AC_TRY(ac_reserve(&s->place, &s->place_capacity, weights->n_tensors + 1, sizeof *s->place));
    AC_TRY(ac_reserve(&s->names, &s->names_capacity, s->n_names + n_name + 1, 1));
    memcpy(s->names + s->n_names, name, n_name);
    s->names[s->n_names + n_name] = 0;
    *tensor = &weights->tensor[weights->n_tensors];
    *place = &s->place[weights->n_tensors++];
    memset(*tensor, 0, sizeof **tensor);
    memset(*place, 0, sizeof **place);
    s->n_names += n_name + 1;
out:
    return status;
}

ac_status ac_weights_count(ac_weights_tensor *t)
{
    t->n_elements = 1;
    for (int i = 0; i < t->n_dims; i++)
        if (t->dim[i] < 0 || __builtin_mul_overflow(t->n_elements, t->dim[i], &t->n_elements) || t->n_elements > INT64_MAX / 16)
            return ac_error(AC_ERR_DATA, "it has a dimension of %" PRId64, t->dim[i]);
    t->n_bytes = (uint64_t)t->n_elements * ac_weights_type_bytes(t->type);
    return AC_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names have their place in memory now. Two tensors of one name: no saying which is meant. */
static ac_status name_all(ac_weights *weights)
{
    ac_status status = AC_OK;
    const char **sorted = NULL, *name = weights->source->names;
    AC_TRY(ac_malloc(weights->n_tensors + 1, sizeof *sorted, &sorted));
    for (size_t k = 0; k < weights->n_tensors; k++, name += strlen(name) + 1)
        sorted[k] = weights->tensor[k].name = name;
    if (weights->n_tensors)
        qsort(sorted, weights->n_tensors, sizeof *sorted, by_name);
    for (size_t k = 1; k < weights->n_tensors; k++)
        if (strcmp(sorted[k - 1], sorted[k]) == 0)
            AC_TRY(ac_error(AC_ERR_DATA, "two of its tensors are called %.200s", sorted[k]));
    if (weights->n_tensors == 0)
        status = ac_error(AC_ERR_DATA, "it holds no tensor");
out:
    ac_free(sorted);
    return status;
}

/* ---- our own checkpoints ---- */

static ac_status open_checkpoint(ac_weights *weights)
{
    ac_status status = AC_OK;
    static const char group[] = "model/";
    ac_weights_source *s = weights->source;
    ac_checkpoint_file *file = &s->checkpoint;
    AC_TRY(ac_checkpoint_file_open(s->path, true, file));
    for (size_t k = 0; k + 1 < file->seal.n_parts; k++) {
        const char *name = file->seal.part[k + 1].name;
        const ac_json_value *dims = ac_json_at(file->shapes, k);
        ac_weights_tensor *tensor;
        ac_weights_place *place;
        if (strncmp(name, group, sizeof group - 1) != 0)
            continue;
        AC_TRY(ac_weights_add(weights, name + sizeof group - 1, strlen(name) - (sizeof group - 1), &tensor, &place));
        tensor->type = AC_WEIGHTS_F32;
        tensor->n_dims = (int)ac_json_count(dims);
        for (int i = 0; i < tensor->n_dims; i++)
            AC_TRY(ac_json_read_int(ac_json_at(dims, (size_t)i), name, &tensor->dim[i]));
        AC_TRY(ac_weights_count(tensor));
        *place =
            (ac_weights_place){.at = file->seal.part[k + 1].at, .storage_elements = (uint64_t)tensor->n_elements, .contiguous = true, .entry = k};
    }
out:
    return status;
}

/* ---- opening ---- */

static ac_status refuse_kind(const uint8_t *head, size_t n)
{
    static const uint8_t legacy[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46};
    if (n >= sizeof legacy && memcmp(head, legacy, sizeof legacy) == 0)
        return ac_error(AC_ERR_DATA, "it is in the format of torch.save() before PyTorch 1.6. Convert it: python -c \"import torch; "
                                     "torch.save(torch.load('OLD', map_location='cpu', weights_only=True), 'NEW')\"");
    return ac_error(AC_ERR_DATA, "it is no file of weights: neither .safetensors, nor of torch.save(), nor an anyclass checkpoint");
}

static ac_status open_kind(ac_weights *weights)
{
    ac_status status = AC_OK;
    static const char ours[] = "anyclass checkpoint";
    ac_weights_source *s = weights->source;
    uint8_t head[32] = {0};
    const size_t n = s->n_bytes < sizeof head ? (size_t)s->n_bytes : sizeof head;
    AC_TRY(ac_file_read_at(s->fd, 0, head, n));
    if (n >= sizeof ours && memcmp(head, ours, sizeof ours - 1) == 0) {
        weights->kind = AC_WEIGHTS_CHECKPOINT;
        AC_TRY(open_checkpoint(weights));
    } else if (n > 4 && memcmp(head, "PK\3\4", 4) == 0) {
        AC_TRY(ac_weights_open_pytorch(weights));
    } else if (n > 9 && head[8] == '{') {
        weights->kind = AC_WEIGHTS_SAFETENSORS;
        AC_TRY(ac_weights_open_safetensors(weights));
    } else {
        AC_TRY(refuse_kind(head, n));
    }
    AC_TRY(name_all(weights));
out:
    return status;
}

static ac_status open_file(const char *path, ac_weights_source *s)
{
    struct stat info;
    snprintf(s->path, sizeof s->path, "%s", path);
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    if (s->fd < 0)
        return ac_error_errno("cannot be opened");
    if (fstat(s->fd, &info) != 0)
        return ac_error_errno("cannot be read");
    if (!S_ISREG(info.st_mode))
        return ac_error(AC_ERR_IO, "it is no regular file");
    s->n_bytes = (uint64_t)info.st_size;
    return AC_OK;
}

ac_status ac_weights_open(const char *path, ac_weights **out)
{
    ac_status status = AC_OK;
    ac_weights *weights = NULL;
    *out = NULL;
    if (strlen(path) >= AC_PATH_BYTES)
        return ac_error(AC_ERR_IO, "%.100s...: the path is too long", path);
    AC_TRY(ac_calloc(1, sizeof *weights, &weights));
    AC_TRY(ac_calloc(1, sizeof *weights->source, &weights->source));
    weights->source->fd = weights->source->checkpoint.fd = -1;
    AC_TRY(open_file(path, weights->source));
    AC_TRY(open_kind(weights));
    *out = weights;
    return AC_OK;
out:
    ac_weights_close(weights);
    return ac_error_in(status, "%s", path);
}

void ac_weights_close(ac_weights *weights)
{
    if (!weights)
        return;
    ac_weights_source *s = weights->source;
    if (s) {
        ac_checkpoint_file_close(&s->checkpoint);
        ac_zip_release(&s->zip);
        ac_free(s->place);
        ac_free(s->names);
        if (s->fd >= 0)
            close(s->fd);
    }
    ac_free(s);
    ac_free(weights->tensor);
    ac_free(weights->metadata);
    ac_free(weights);
}

int64_t ac_weights_find(const ac_weights *weights, const char *name)
{
    for (size_t k = 0; k < weights->n_tensors; k++)
        if (strcmp(weights->tensor[k].name, name) == 0)
            return (int64_t)k;
    return -1;
}

/* ---- elements ---- */

#define CONVERT(type, expression)                                                                                                                    \
    for (size_t i = 0; i < n; i++) {                                                                                                                 \
        type x;                                                                                                                                      \
        memcpy(&x, bytes + i * sizeof x, sizeof x);                                                                                                  \
        out[i] = (expression);                                                                                                                       \
    }                                                                                                                                                \
    break

static void convert(ac_weights_type type, const uint8_t *bytes, size_t n, float *out)
{
    switch (type) {
    case AC_WEIGHTS_F64: CONVERT(double, (float)x);
    case AC_WEIGHTS_F32: memcpy(out, bytes, n * sizeof *out); break;
    case AC_WEIGHTS_F16: CONVERT(uint16_t, ac_float_from_f16(x));
    case AC_WEIGHTS_BF16: CONVERT(uint16_t, ac_float_from_bf16(x));
    case AC_WEIGHTS_I64: CONVERT(int64_t, (float)x);
    case AC_WEIGHTS_I32: CONVERT(int32_t, (float)x);
    case AC_WEIGHTS_I16: CONVERT(int16_t, (float)x);
    case AC_WEIGHTS_I8: CONVERT(int8_t, (float)x);
    case AC_WEIGHTS_U64: CONVERT(uint64_t, (float)x);
    case AC_WEIGHTS_U32: CONVERT(uint32_t, (float)x);
    case AC_WEIGHTS_U16: CONVERT(uint16_t, (float)x);
    case AC_WEIGHTS_U8: CONVERT(uint8_t, (float)x);
    case AC_WEIGHTS_BOOL: CONVERT(uint8_t, x ? 1.0f : 0.0f);
    case AC_N_WEIGHTS_TYPES: break;
    }
}

/* n elements of the storage from element `first` on. */
static ac_status read_range(const ac_weights_source *s, const ac_weights_place *place, ac_weights_type type, uint64_t first, size_t n, float *out)
{
    enum { PIECE = 1 << 14 };
    ac_status status = AC_OK;
    const size_t item = ac_weights_type_bytes(type);
    uint8_t *piece = NULL;
    if (type == AC_WEIGHTS_F32)
        return ac_file_read_at(s->fd, place->at + first * item, out, n * item);
    AC_TRY(ac_malloc(n < PIECE ? n : PIECE, item, &piece));
    for (size_t done = 0; done < n;) {
        const size_t k = n - done < PIECE ? n - done : PIECE;
        AC_TRY(ac_file_read_at(s->fd, place->at + (first + done) * item, piece, k * item));
        convert(type, piece, k, out + done);
        done += k;
    }
out:
    ac_free(piece);
    return status;
}

/* A view: its elements stand anywhere in the storage, which is not larger than the file. */
static ac_status gather(const ac_weights_source *s, const ac_weights_place *place, const ac_weights_tensor *t, float *out)
{
    ac_status status = AC_OK;
    float *storage = NULL;
    int64_t at[AC_WEIGHTS_MAX_DIMS] = {0};
    uint64_t last = 0;
    for (int i = 0; i < t->n_dims; i++)
        last += (uint64_t)((t->dim[i] - 1) * place->stride[i]);
    AC_TRY(ac_malloc((size_t)last + 1, sizeof *storage, &storage));
    AC_TRY(read_range(s, place, t->type, place->first, (size_t)last + 1, storage));
    for (int64_t e = 0; e < t->n_elements; e++) {
        int64_t from = 0;
        for (int i = 0; i < t->n_dims; i++)
            from += at[i] * place->stride[i];
        out[e] = storage[from];
        for (int i = t->n_dims - 1; i >= 0 && ++at[i] == t->dim[i]; i--)
            at[i] = 0;
    }
out:
    ac_free(storage);
    return status;
}

ac_status ac_weights_read(ac_weights *weights, size_t k, float *out)
{
    ac_status status = AC_OK;
    ac_weights_source *s = weights->source;
    const ac_weights_tensor *t = &weights->tensor[k];
    const ac_weights_place *place = &s->place[k];
    if (t->n_elements == 0)
        return AC_OK;
    if (weights->kind == AC_WEIGHTS_CHECKPOINT) {
        AC_TRY(ac_checkpoint_file_read(&s->checkpoint, place->entry, out));
        return AC_OK;
    }
    if (weights->kind != AC_WEIGHTS_SAFETENSORS)
        AC_TRY(ac_zip_check(s->fd, &s->zip, place->entry));
    if (place->contiguous)
        AC_TRY(read_range(s, place, t->type, place->first, (size_t)t->n_elements, out));
    else
        AC_TRY(gather(s, place, t, out));
out:
    return status == AC_OK ? status : ac_error_in(status, "%s: tensor %s", s->path, t->name);
}

ac_status ac_weights_hash_file(const char *path, ac_hash *hash)
{
    enum { PIECE_BYTES = 1 << 20 };
    ac_status status = AC_OK;
    ac_weights_source s = {.fd = -1};
    uint8_t *piece = NULL;
    ac_hash pair[2] = {ac_hash_bytes("", 0), {0, 0}};
    AC_TRY(open_file(path, &s));
    AC_TRY(ac_malloc(PIECE_BYTES, 1, &piece));
    for (uint64_t at = 0; at < s.n_bytes; at += PIECE_BYTES) {
        const size_t n = s.n_bytes - at < PIECE_BYTES ? (size_t)(s.n_bytes - at) : PIECE_BYTES;
        AC_TRY(ac_file_read_at(s.fd, at, piece, n));
        pair[1] = ac_hash_bytes(piece, n);
        pair[0] = ac_hash_bytes(pair, sizeof pair);
    }
    *hash = pair[0];
out:
    ac_free(piece);
    if (s.fd >= 0)
        close(s.fd);
    return status == AC_OK ? status : ac_error_in(status, "%s", path);
}
