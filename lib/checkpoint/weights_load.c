/* Weights of a file into the parameters of a model: who takes what is decided before the first value is read. */
#include "anyclass/alloc.h"
#include "anyclass/log.h"
#include "anyclass/ops.h"
#include "anyclass/weights.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NOT_THERE = -1, SHAPE_BYTES = 160 };

typedef struct loading {
    ac_weights *weights;
    const ac_weights_options *options;
    ac_params *params;
    int64_t *source; /* [n_params] number of the tensor, NOT_THERE: it keeps its value */
    bool *used;      /* [n_tensors] */
    bool *is_scale;  /* [n_params] weight of a batch norm */
    bool *is_head;   /* [n_params] */
    size_t n_most;   /* elements of the largest tensor or parameter */
} loading;

static const char *format_dims(const int64_t *dim, int n, char out[SHAPE_BYTES])
{
    size_t used = (size_t)snprintf(out, SHAPE_BYTES, "[");
    for (int i = 0; i < n && used < SHAPE_BYTES; i++)
        used += (size_t)snprintf(out + used, SHAPE_BYTES - used, "%s%" PRId64, i ? ", " : "", dim[i]);
    if (used < SHAPE_BYTES)
        snprintf(out + used, SHAPE_BYTES - used, "]");
    return out;
}

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

bool ac_weights_is_torch_only(const char *name)
{
    return ends_with(name, ".num_batches_tracked") || ends_with(name, ".relative_position_index");
}

/* The blur of a TResNet's downsampling, which some of its implementations keep as a buffer: it is the same in all of them. */
static bool is_blur(const loading *l, const char *name)
{
    return strncmp(l->options->model, "tresnet", 7) == 0 && ends_with(name, ".filt");
}

/* The last linear layer is the head. */
static const ac_node *find_head(const ac_graph *graph)
{
    for (size_t i = graph->n_nodes; i-- > 0;)
        if (graph->node[i].op == &ac_op_linear)
            return &graph->node[i];
    return NULL;
}

static ac_status mark_params(loading *l)
{
    ac_status status = AC_OK;
    const ac_graph *graph = l->options->graph;
    const ac_node *head = find_head(graph);
    AC_TRY(ac_calloc(l->params->n_params + 1, sizeof *l->is_scale, &l->is_scale));
    AC_TRY(ac_calloc(l->params->n_params + 1, sizeof *l->is_head, &l->is_head));
    for (int i = 0; head && i < head->n_params; i++)
        l->is_head[head->param[i]] = true;
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (graph->node[i].op->is_norm && graph->node[i].n_params > 0)
            l->is_scale[graph->node[i].param[0]] = true;
out:
    return status;
}

/* ---- shapes ---- */

static bool same_shape(const ac_shape *shape, const ac_weights_tensor *t)
{
    return shape->n_dims == t->n_dims && memcmp(shape->dim, t->dim, (size_t)t->n_dims * sizeof *t->dim) == 0;
}

/* Side of the square of places behind the class token; 0: there is none. */
static int64_t grid_side(int64_t n_tokens)
{
    const int64_t side = (int64_t)llround(sqrt((double)(n_tokens - 1)));
    return side > 0 && side * side == n_tokens - 1 ? side : 0;
}

static bool can_resize(const ac_param_info *info, const ac_weights_tensor *t)
{
    return ends_with(info->name, "pos_embedding") && info->shape.n_dims == 3 && t->n_dims == 3 && t->dim[0] == 1 && info->shape.dim[0] == 1 &&
           t->dim[2] == info->shape.dim[2] && grid_side(t->dim[1]) && grid_side(info->shape.dim[1]);
}

static ac_status check_shape(const loading *l, size_t p, const ac_weights_tensor *t)
{
    const ac_param_info *info = &l->params->info[p];
    char in_file[SHAPE_BYTES], in_model[SHAPE_BYTES];
    if (!ac_weights_type_is_float(t->type))
        return ac_error(AC_ERR_DATA, "tensor %s is of type %s, not of numbers with a fraction", t->name, ac_weights_type_name(t->type));
    if (same_shape(&info->shape, t) || can_resize(info, t))
        return AC_OK;
    format_dims(t->dim, t->n_dims, in_file);
    format_dims(info->shape.dim, info->shape.n_dims, in_model);
    if (l->is_head[p] && t->n_dims == info->shape.n_dims && t->dim[0] != info->shape.dim[0] && (t->n_dims < 2 || t->dim[1] == info->shape.dim[1]))
        return ac_error(AC_ERR_DATA, "tensor %s has the shape %s, %s for these classes %s: anyclass-train --new_head begins with a new last layer", t->name, in_file,
                        l->options->model, in_model);
    return ac_error(AC_ERR_DATA, "tensor %s has the shape %s, in %s it is %s", t->name, in_file, l->options->model, in_model);
}

/* ---- who takes what ---- */

/* A parameter's tensor, also under the name that older versions of torchvision gave it, which files of vision transformers may have. */
static int64_t find_tensor(const ac_weights *w, const char *name)
{
    static const char *const renamed[][2] = {{".mlp.0.", ".mlp.linear_1."}, {".mlp.3.", ".mlp.linear_2."}};
    char old[2 * AC_NAME_BYTES];
    int64_t k = ac_weights_find(w, name);
    for (int i = 0; k < 0 && i < 2; i++) {
        const char *at = strstr(name, renamed[i][0]);
        if (!at)
            continue;
        snprintf(old, sizeof old, "%.*s%s%s", (int)(at - name), name, renamed[i][1], at + strlen(renamed[i][0]));
        k = ac_weights_find(w, old);
    }
    return k;
}

static ac_status find_sources(loading *l)
{
    ac_status status = AC_OK;
    for (size_t p = 0; p < l->params->n_params; p++) {
        const ac_param_info *info = &l->params->info[p];
        const int64_t k = find_tensor(l->weights, info->name);
        const size_t n = (size_t)ac_shape_elements(&info->shape);
        l->source[p] = NOT_THERE;
        l->n_most = n > l->n_most ? n : l->n_most;
        if (k >= 0 && !l->weights->tensor[k].outside)
            l->used[k] = true;
        if (l->is_head[p] && l->options->new_head)
            continue;
        if (k < 0 || l->weights->tensor[k].outside)
            return ac_error(AC_ERR_DATA, "it has no tensor %s, which %s needs", info->name, l->options->model);
        AC_TRY(check_shape(l, p, &l->weights->tensor[k]));
        l->source[p] = k;
        const size_t n_stored = (size_t)l->weights->tensor[k].n_elements;
        l->n_most = n_stored > l->n_most ? n_stored : l->n_most;
    }
out:
    return status;
}

static ac_status check_all_used(const loading *l)
{
    const ac_weights *w = l->weights;
    size_t n_outside = 0, first = 0;
    char shape[SHAPE_BYTES];
    for (size_t k = 0; k < w->n_tensors; k++) {
        if (w->tensor[k].outside && n_outside++ == 0)
            first = k;
        if (!w->tensor[k].outside && !l->used[k] && !ac_weights_is_torch_only(w->tensor[k].name) && !is_blur(l, w->tensor[k].name))
            return ac_error(AC_ERR_DATA, "it has a tensor %s of shape %s, which %s does not have", w->tensor[k].name,
                            format_dims(w->tensor[k].dim, w->tensor[k].n_dims, shape), l->options->model);
    }
    if (n_outside)
        ac_log(AC_LOG_INFO, "weights: %zu tensor%s beside the model %s left out, such as %s", n_outside, n_outside == 1 ? "" : "s",
               n_outside == 1 ? "is" : "are", w->tensor[first].name);
    return AC_OK;
}

/* InPlaceABN applies |w| + eps where batch norm applies w, and has no counter of batches. */
static bool is_inplace_abn(const loading *l)
{
    const ac_weights *w = l->weights;
    if (strncmp(l->options->model, "tresnet", 7) != 0 || w->kind == AC_WEIGHTS_CHECKPOINT)
        return false;
    for (size_t k = 0; w->kind != AC_WEIGHTS_LIGHTNING && k < w->n_tensors; k++)
        if (ends_with(w->tensor[k].name, ".num_batches_tracked"))
            return false;
    return true;
}

/* ---- values ---- */

static ac_status check_finite(const char *name, const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return ac_error(AC_ERR_DATA, "tensor %s holds a value that is not a finite number", name);
    return AC_OK;
}

static ac_status take_one(loading *l, size_t p, bool inplace_abn, float *values, float *scratch)
{
    ac_status status = AC_OK;
    const ac_param_info *info = &l->params->info[p];
    const ac_weights_tensor *t = &l->weights->tensor[l->source[p]];
    AC_TRY(ac_weights_read(l->weights, (size_t)l->source[p], values));
    status = check_finite(t->name, values, (size_t)t->n_elements);
    for (int64_t i = 0; inplace_abn && l->is_scale[p] && i < t->n_elements; i++)
        values[i] = fabsf(values[i]) + 1e-5f;
    if (status == AC_OK && !same_shape(&info->shape, t)) {
        const int64_t n_old = grid_side(t->dim[1]), n_new = grid_side(info->shape.dim[1]);
        ac_weights_resize_positions(values, n_old, scratch, n_new, t->dim[2]);
        memcpy(values, scratch, (size_t)ac_shape_elements(&info->shape) * sizeof *values);
        ac_log(AC_LOG_INFO, "weights: %s is interpolated from %" PRId64 " x %" PRId64 " places to %" PRId64 " x %" PRId64, t->name, n_old, n_old,
               n_new, n_new);
    }
    AC_TRY(status);
    AC_TRY(ac_params_set_with(l->params, (int)p, NULL, scratch, values));
out:
    return status;
}

static ac_status take_all(loading *l)
{
    ac_status status = AC_OK;
    float *values = NULL, *scratch = NULL;
    const bool inplace_abn = l->options->inplace_abn == AC_INPLACE_ABN_AUTO ? is_inplace_abn(l) : l->options->inplace_abn == AC_INPLACE_ABN_YES;
    AC_TRY(ac_malloc(l->n_most, sizeof *values, &values));
    AC_TRY(ac_malloc(l->n_most, sizeof *scratch, &scratch));
    for (size_t p = 0; p < l->params->n_params; p++)
        if (l->source[p] != NOT_THERE)
            AC_TRY(take_one(l, p, inplace_abn, values, scratch));
    if (inplace_abn)
        ac_log(AC_LOG_INFO, "weights: batch norms are taken for InPlaceABN's, whose weights w act as |w| + 1e-5 (--inplace_abn no: as w)");
    else if (strncmp(l->options->model, "tresnet", 7) == 0)
        ac_log(AC_LOG_INFO, "weights: batch norms are taken as they are (--inplace_abn yes: for InPlaceABN's)");
    if (l->options->new_head)
        ac_log(AC_LOG_INFO, "weights: the last layer, %s, begins anew", find_head(l->options->graph)->name);
out:
    ac_free(values);
    ac_free(scratch);
    return status;
}

ac_status ac_weights_load(const char *path, const ac_weights_options *options, ac_params *params)
{
    ac_status status = AC_OK;
    loading l = {.options = options, .params = params};
    status = ac_weights_open(path, &l.weights);
    if (status != AC_OK)
        return status;
    AC_TRY(mark_params(&l));
    AC_TRY(ac_malloc(params->n_params + 1, sizeof *l.source, &l.source));
    AC_TRY(ac_calloc(l.weights->n_tensors + 1, sizeof *l.used, &l.used));
    AC_TRY(find_sources(&l));
    AC_TRY(check_all_used(&l));
    AC_TRY(take_all(&l));
    ac_log(AC_LOG_INFO, "weights of %s (%s, %zu tensors)", path, ac_weights_kind_name(l.weights->kind), l.weights->n_tensors);
out:
    ac_weights_close(l.weights);
    ac_free(l.source);
    ac_free(l.used);
    ac_free(l.is_scale);
    ac_free(l.is_head);
    if (status != AC_OK && strncmp(ac_error_text(), path, strlen(path)) != 0)
        ac_error_in(status, "%s", path);
    return status;
}
