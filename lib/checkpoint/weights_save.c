/* Writing .safetensors: the weights of a checkpoint, and the buffers that PyTorch's modules have beside them. */
#include "anyclass/alloc.h"
#include "anyclass/file.h"
#include "anyclass/json.h"
#include "anyclass/weights.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct entry { /* a tensor to write */
    char name[AC_NAME_BYTES + 32];
    int param;      /* of the graph; -1: an int64 buffer */
    int64_t window; /* then: relative_position_index of so many positions along a side; 0: num_batches_tracked */
    ac_shape shape;
    uint64_t at, n_bytes; /* behind the header */
} entry;

typedef struct entries {
    entry *item;
    size_t n, capacity;
} entries;

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

static ac_status add(entries *list, const entry *one)
{
    ac_status status = ac_reserve(&list->item, &list->capacity, list->n + 1, sizeof *list->item);
    if (status == AC_OK)
        list->item[list->n++] = *one;
    return status;
}

/* The buffer that PyTorch registers behind a parameter, if any: in a batch norm behind running_var, in an attention behind its
 * table of biases [(2 P - 1)^2, heads]. */
static ac_status add_buffer(entries *list, const ac_param_info *info)
{
    static const char *const behind[][2] = {{".running_var", ".num_batches_tracked"}, {".relative_position_bias_table", ".relative_position_index"}};
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++) {
        entry one = {.param = -1, .shape = {.dtype = AC_I64}};
        if (!ends_with(info->name, behind[i][0]))
            continue;
        snprintf(one.name, sizeof one.name, "%.*s%s", (int)(strlen(info->name) - strlen(behind[i][0])), info->name, behind[i][1]);
        while (i == 1 && (2 * one.window - 1) * (2 * one.window - 1) < info->shape.dim[0])
            one.window++;
        if (one.window)
            one.shape = (ac_shape){2, {one.window * one.window, one.window * one.window}, AC_I64};
        return add(list, &one);
    }
    return AC_OK;
}

/* ---- PyTorch's order: a module's own tensors, then those of its modules, in the order in which they were registered; a graph has them
 * in the order of use. ---- */

/* Length of the module's name at name + at, 0: a tensor stands there. */
static size_t count_module(const char *name, size_t at)
{
    const char *dot = strchr(name + at, '.');
    return dot ? (size_t)(dot - name) - at : 0;
}

/* Modules that are registered behind those that are used later: of a ResNet's or TResNet's block. */
static int rank_module(const char *name, size_t n)
{
    static const char *const late[] = {"downsample", "se"};
    for (int i = 0; i < 2; i++)
        if (strlen(late[i]) == n && strncmp(late[i], name, n) == 0)
            return 1 + i;
    return 0;
}

/* The first entry whose name begins with these bytes. */
static size_t find_first(const entries *list, const char *name, size_t n)
{
    size_t i = 0;
    while (strncmp(list->item[i].name, name, n) != 0)
        i++;
    return i;
}

/* Does entry a come before b? */
static bool comes_before(const entries *list, size_t a, size_t b)
{
    const char *x = list->item[a].name, *y = list->item[b].name;
    for (size_t at = 0;;) {
        const size_t n = count_module(x, at), m = count_module(y, at);
        if (n == 0 || m == 0)
            return n == m ? a < b : n == 0;
        if (n != m || strncmp(x + at, y + at, n) != 0) {
            const int rank = rank_module(x + at, n) - rank_module(y + at, m);
            return rank ? rank < 0 : find_first(list, x, at + n + 1) < find_first(list, y, at + m + 1);
        }
        at += n + 1;
    }
}

static ac_status order_entries(entries *list)
{
    ac_status status = AC_OK;
    size_t *place = NULL;
    entry *sorted = NULL;
    AC_TRY(ac_malloc(list->n, sizeof *place, &place));
    AC_TRY(ac_malloc(list->n, sizeof *sorted, &sorted));
    for (size_t i = 0; i < list->n; i++) { /* almost in order: by insertion */
        size_t k = i;
        for (; k > 0 && comes_before(list, i, place[k - 1]); k--)
            place[k] = place[k - 1];
        place[k] = i;
    }
    for (size_t i = 0; i < list->n; i++)
        sorted[i] = list->item[place[i]];
    memcpy(list->item, sorted, list->n * sizeof *sorted);
out:
    ac_free(place);
    ac_free(sorted);
    return status;
}

static ac_status list_entries(const ac_graph *graph, entries *list)
{
    ac_status status = AC_OK;
    for (size_t p = 0; p < graph->n_params; p++) {
        const ac_param_info *info = &graph->param[p];
        entry one = {.param = (int)p, .shape = info->shape};
        snprintf(one.name, sizeof one.name, "%s", info->name);
        AC_TRY(add(list, &one));
        AC_TRY(add_buffer(list, info));
    }
    if (list->n)
        AC_TRY(order_entries(list));
out:
    return status;
}

/* Integers first: each type then lies on a multiple of its size, which readers that map the file need. */
static void place(entries *list)
{
    uint64_t at = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < list->n; i++) {
            entry *e = &list->item[i];
            if ((e->param < 0) != (pass == 0))
                continue;
            e->n_bytes = (uint64_t)ac_shape_elements(&e->shape) * (pass == 0 ? sizeof(int64_t) : sizeof(float));
            e->at = at;
            at += e->n_bytes;
        }
}

/* ---- header ---- */

/* A JSON text inside of a JSON text: metadata has texts only. */
static ac_status add_text(ac_json *json, const char *key, ac_json *inner)
{
    ac_status status = AC_OK;
    const char *text;
    size_t n;
    AC_TRY(ac_json_text(inner, &text, &n));
    ac_json_string(json, key, text);
out:
    ac_json_destroy(inner);
    return status;
}

static ac_status add_floats(ac_json *json, const char *key, const float *values, size_t n)
{
    ac_json *inner;
    ac_status status = ac_json_create(&inner);
    if (status != AC_OK)
        return status;
    ac_json_begin_array(inner, NULL);
    for (size_t i = 0; i < n; i++)
        ac_json_double(inner, NULL, (double)values[i]);
    ac_json_end_array(inner);
    return add_text(json, key, inner);
}

static ac_status add_classes(ac_json *json, const ac_checkpoint_info *info)
{
    ac_json *inner;
    ac_status status = ac_json_create(&inner);
    if (status != AC_OK)
        return status;
    ac_json_begin_array(inner, NULL);
    for (size_t c = 0; c < info->n_classes; c++)
        ac_json_string(inner, NULL, info->class_name[c]);
    ac_json_end_array(inner);
    return add_text(json, "classes", inner);
}

static ac_status add_metadata(ac_json *json, const ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    char number[32];
    ac_json_begin_object(json, "__metadata__");
    ac_json_string(json, "format", "pt");
    ac_json_string(json, "anyclass", "1");
    ac_json_string(json, "model", info->model);
    AC_TRY(add_classes(json, info));
    snprintf(number, sizeof number, "%d", info->image_size_px);
    ac_json_string(json, "image_size", number);
    AC_TRY(add_floats(json, "mean", info->mean, 3));
    AC_TRY(add_floats(json, "std", info->std, 3));
    ac_json_end_object(json);
out:
    return status;
}

static ac_status make_header(const ac_checkpoint_info *info, const entries *list, ac_json *json)
{
    ac_status status = AC_OK;
    ac_json_begin_object(json, NULL);
    AC_TRY(add_metadata(json, info));
    for (size_t i = 0; i < list->n; i++) {
        const entry *e = &list->item[i];
        ac_json_begin_object(json, e->name);
        ac_json_string(json, "dtype", ac_weights_type_name(e->param < 0 ? AC_WEIGHTS_I64 : AC_WEIGHTS_F32));
        ac_json_begin_array(json, "shape");
        for (int d = 0; d < e->shape.n_dims; d++)
            ac_json_int(json, NULL, e->shape.dim[d]);
        ac_json_end_array(json);
        ac_json_begin_array(json, "data_offsets");
        ac_json_int(json, NULL, (int64_t)e->at);
        ac_json_int(json, NULL, (int64_t)(e->at + e->n_bytes));
        ac_json_end_array(json);
        ac_json_end_object(json);
    }
    ac_json_end_object(json);
out:
    return status;
}

/* Length, header, spaces up to a multiple of 8. */
static ac_status write_header(ac_file *file, ac_json *json)
{
    ac_status status = AC_OK;
    const char *text;
    size_t n;
    uint8_t length[8];
    AC_TRY(ac_json_text(json, &text, &n));
    n--; /* without the last newline */
    const uint64_t padded = (n + 7) / 8 * 8;
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(padded >> 8 * i);
    AC_TRY(ac_file_write(file, length, sizeof length));
    AC_TRY(ac_file_write(file, text, n));
    AC_TRY(ac_file_write(file, "        ", (size_t)padded - n));
out:
    return status;
}

/* ---- tensors ---- */

/* For positions i and j of a window, the row of the table of biases that holds for i looking at j. */
static ac_status write_position_index(ac_file *file, int64_t window)
{
    ac_status status = AC_OK;
    int64_t *row = NULL;
    const int64_t n = window * window;
    AC_TRY(ac_malloc((size_t)n, sizeof *row, &row));
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++)
            row[j] = (i / window - j / window + window - 1) * (2 * window - 1) + i % window - j % window + window - 1;
        AC_TRY(ac_file_write(file, row, (size_t)n * sizeof *row));
    }
out:
    ac_free(row);
    return status;
}

static ac_status write_integers(ac_file *file, const ac_checkpoint_info *info, const entries *list)
{
    ac_status status = AC_OK;
    for (size_t i = 0; i < list->n; i++)
        if (list->item[i].param < 0)
            AC_TRY(list->item[i].window ? write_position_index(file, list->item[i].window)
                                        : ac_file_write(file, &info->optimizer_step, sizeof info->optimizer_step));
out:
    return status;
}

static ac_status write_floats(ac_file *file, const entries *list, const int64_t *source, ac_weights *from)
{
    ac_status status = AC_OK;
    float *values = NULL;
    size_t n_most = 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->item[i].param >= 0 && list->item[i].n_bytes > n_most)
            n_most = (size_t)list->item[i].n_bytes;
    AC_TRY(ac_malloc(n_most, 1, &values));
    for (size_t i = 0; i < list->n; i++)
        if (list->item[i].param >= 0) {
            AC_TRY(ac_weights_read(from, (size_t)source[i], values));
            AC_TRY(ac_file_write(file, values, (size_t)list->item[i].n_bytes));
        }
out:
    ac_free(values);
    return status;
}

/* The number of each entry's tensor in the checkpoint, which must be of its shape. */
static ac_status find_sources(const entries *list, const ac_weights *from, int64_t *source)
{
    for (size_t i = 0; i < list->n; i++) {
        const entry *e = &list->item[i];
        source[i] = e->param < 0 ? -1 : ac_weights_find(from, e->name);
        const ac_weights_tensor *t = source[i] < 0 ? NULL : &from->tensor[source[i]];
        if (e->param >= 0 && (!t || t->n_dims != e->shape.n_dims || memcmp(t->dim, e->shape.dim, (size_t)t->n_dims * sizeof *t->dim) != 0))
            return ac_error(AC_ERR_DATA, "the checkpoint has no tensor %s of the model's shape", e->name);
    }
    return AC_OK;
}

ac_status ac_weights_save(const char *path, const ac_checkpoint_info *info, const ac_graph *graph, ac_weights *from)
{
    ac_status status = AC_OK;
    entries list = {0};
    int64_t *source = NULL;
    ac_json *header = NULL;
    ac_file file = {0};
    AC_TRY(list_entries(graph, &list));
    place(&list);
    AC_TRY(ac_malloc(list.n + 1, sizeof *source, &source));
    AC_TRY(find_sources(&list, from, source));
    AC_TRY(ac_json_create(&header));
    AC_TRY(make_header(info, &list, header));
    AC_TRY(ac_file_create(&file, path));
    AC_TRY(write_header(&file, header));
    AC_TRY(write_integers(&file, info, &list));
    AC_TRY(write_floats(&file, &list, source, from));
    AC_TRY(ac_file_commit(&file));
out:
    ac_file_discard(&file);
    ac_json_destroy(header);
    ac_free(list.item);
    ac_free(source);
    return status;
}
