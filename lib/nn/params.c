/* Parameters in flat arenas, and the way between them and PyTorch's names and layouts. */
#include "anyclass/params.h"
#include "anyclass/alloc.h"
#include "nn/initial.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static size_t padded(size_t n)
{
    return (n + AC_PARAM_ALIGN - 1) / AC_PARAM_ALIGN * AC_PARAM_ALIGN;
}

/* Reverse order of use: the gradients that backward finishes first lie first. */
static void lay_out(ac_params *params)
{
    for (size_t p = params->n_params; p-- > 0;) {
        size_t n = (size_t)ac_shape_elements(&params->info[p].shape);
        size_t *total = params->info[p].role == AC_PARAM_BUFFER ? &params->n_buffers : &params->n_values;
        params->offset[p] = *total;
        *total += padded(n);
        if (params->info[p].role != AC_PARAM_BUFFER)
            params->n_trainable += n;
    }
}

static ac_status check_names(const ac_params *params)
{
    for (size_t p = 0; p < params->n_params; p++)
        if (ac_params_find(params, params->info[p].name) != (int)p)
            return ac_error(AC_ERR_RANGE, "two parameters are called %s", params->info[p].name);
    return AC_OK;
}

static ac_status allocate_gradient(ac_params *params)
{
    ac_status status = AC_OK;
    const ac_backend *backend = params->device->backend;
    const ac_step_state state = {.loss_scale = 1};
    AC_TRY(backend->allocate(params->device, params->n_values * sizeof(float), (void **)&params->gradient));
    AC_TRY(backend->allocate(params->device, sizeof state, (void **)&params->state));
    AC_TRY(backend->upload(params->device, params->state, &state, sizeof state));
out:
    return status;
}

ac_status ac_params_create(ac_device *device, const ac_graph *graph, bool with_gradient, ac_params **out)
{
    ac_status status = AC_OK;
    ac_params *params = NULL;
    const ac_backend *backend = device->backend;
    AC_TRY(ac_calloc(1, sizeof *params, &params));
    params->device = device;
    params->n_params = graph->n_params;
    AC_TRY(ac_malloc(graph->n_params, sizeof *params->info, &params->info));
    AC_TRY(ac_calloc(graph->n_params, sizeof *params->offset, &params->offset));
    if (graph->n_params)
        memcpy(params->info, graph->param, graph->n_params * sizeof *params->info);
    AC_TRY(check_names(params));
    lay_out(params);
    AC_TRY(backend->allocate(device, params->n_values * sizeof(float), (void **)&params->value));
    AC_TRY(backend->allocate(device, params->n_buffers * sizeof(float), (void **)&params->buffer));
    params->mirror_type = graph->activation_dtype;
    if (backend->mirror && ac_dtype_bytes(params->mirror_type) == 2)
        AC_TRY(backend->allocate(device, params->n_values * 2, &params->mirror));
    params->mirror_version = params->version - 1;
    if (with_gradient)
        AC_TRY(allocate_gradient(params));
    *out = params;
    return AC_OK;
out:
    ac_params_destroy(params);
    *out = NULL;
    return status;
}

void ac_params_destroy(ac_params *params)
{
    if (!params)
        return;
    if (params->device) {
        params->device->backend->release(params->device, params->value);
        params->device->backend->release(params->device, params->mirror);
        params->device->backend->release(params->device, params->gradient);
        params->device->backend->release(params->device, params->state);
        params->device->backend->release(params->device, params->buffer);
    }
    ac_free(params->info);
    ac_free(params->offset);
    ac_free(params);
}

int ac_params_find(const ac_params *params, const char *name)
{
    for (size_t p = 0; p < params->n_params; p++)
        if (strcmp(params->info[p].name, name) == 0)
            return (int)p;
    return -1;
}

/* PyTorch's [O, I, H, W] to the stored [O, H, W, I], or back. One thread: a checkpoint has hundreds of tensors, and on a
 * busy machine each barrier costs more than the copying. */
static void swap_layout(const ac_param_info *info, const float *restrict from, float *restrict to, bool to_stored)
{
    size_t n_out = (size_t)info->shape.dim[0], n_in = (size_t)info->shape.dim[1];
    size_t n_taps = (size_t)(info->shape.dim[2] * info->shape.dim[3]);
    for (size_t o = 0; o < n_out; o++)
        for (size_t i = 0; i < n_in; i++)
            for (size_t k = 0; k < n_taps; k++) {
                size_t torch = (o * n_in + i) * n_taps + k, stored = (o * n_taps + k) * n_in + i;
                if (to_stored)
                    to[stored] = from[torch];
                else
                    to[torch] = from[stored];
            }
}

/* The stored order is PyTorch's: also of a convolution with one tap. */
static bool is_same_layout(const ac_param_info *info)
{
    return info->layout == AC_LAYOUT_PLAIN || info->shape.dim[2] * info->shape.dim[3] == 1;
}

static float *arena_of(const ac_params *params, int p, float *arena)
{
    if (!arena)
        arena = params->info[p].role == AC_PARAM_BUFFER ? params->buffer : params->value;
    return arena + params->offset[p];
}

static ac_status check_index(const ac_params *params, int p)
{
    return p >= 0 && (size_t)p < params->n_params ? AC_OK : ac_error(AC_ERR_RANGE, "no parameter %d", p);
}

ac_status ac_params_get_with(const ac_params *params, int p, const float *arena, float *scratch, float *host)
{
    ac_status status = AC_OK;
    AC_TRY(check_index(params, p));
    const ac_param_info *info = &params->info[p];
    const bool same = is_same_layout(info);
    const size_t n_bytes = (size_t)ac_shape_elements(&info->shape) * sizeof(float);
    AC_TRY(params->device->backend->download(params->device, same ? host : scratch, arena_of(params, p, (float *)arena), n_bytes));
    if (!same)
        swap_layout(info, scratch, host, false);
out:
    return status;
}

void ac_params_changed(ac_params *params)
{
    params->version++;
}

ac_status ac_params_set_with(ac_params *params, int p, float *arena, float *scratch, const float *host)
{
    ac_status status = AC_OK;
    AC_TRY(check_index(params, p));
    const ac_param_info *info = &params->info[p];
    const bool same = is_same_layout(info);
    const size_t n_bytes = (size_t)ac_shape_elements(&info->shape) * sizeof(float);
    ac_params_changed(params);
    if (!same)
        swap_layout(info, host, scratch, true);
    AC_TRY(params->device->backend->upload(params->device, arena_of(params, p, arena), same ? host : scratch, n_bytes));
out:
    return status;
}

/* Room for a parameter in the stored order. */
static ac_status make_scratch(const ac_params *params, int p, float **scratch)
{
    ac_status status = AC_OK;
    *scratch = NULL;
    AC_TRY(check_index(params, p));
    if (!is_same_layout(&params->info[p]))
        AC_TRY(ac_malloc((size_t)ac_shape_elements(&params->info[p].shape), sizeof(float), scratch));
out:
    return status;
}

ac_status ac_params_get(const ac_params *params, int p, const float *arena, float *host)
{
    ac_status status = AC_OK;
    float *scratch = NULL;
    AC_TRY(make_scratch(params, p, &scratch));
    AC_TRY(ac_params_get_with(params, p, arena, scratch, host));
out:
    ac_free(scratch);
    return status;
}

ac_status ac_params_set(ac_params *params, int p, float *arena, const float *host)
{
    ac_status status = AC_OK;
    float *scratch = NULL;
    AC_TRY(make_scratch(params, p, &scratch));
    AC_TRY(ac_params_set_with(params, p, arena, scratch, host));
out:
    ac_free(scratch);
    return status;
}

enum { STRETCH = 1 << 14 }; /* elements that a thread draws at a time */

ac_status ac_params_init(ac_params *params, uint64_t seed)
{
    ac_status status = AC_OK;
    float *host = NULL;
    size_t largest = 0;
    for (size_t p = 0; p < params->n_params; p++) {
        size_t n = (size_t)ac_shape_elements(&params->info[p].shape);
        largest = n > largest ? n : largest;
    }
    AC_TRY(ac_malloc(largest, sizeof *host, &host));
    for (size_t p = 0; p < params->n_params; p++) {
        int64_t n = ac_shape_elements(&params->info[p].shape);
#pragma omp parallel for schedule(static)
        for (int64_t e = 0; e < n; e += STRETCH)
            initial_draw_many(&params->info[p].init, seed, p, (size_t)e, (size_t)(n - e < STRETCH ? n - e : STRETCH), host + e);
        AC_TRY(ac_params_set(params, (int)p, NULL, host));
    }
out:
    ac_free(host);
    return status;
}

ac_status ac_params_hash(const ac_params *params, bool values_alone, ac_hash *out)
{
    ac_status status = AC_OK;
    float *host = NULL;
    size_t n_buffers = values_alone ? 0 : params->n_buffers;
    AC_TRY(ac_malloc(params->n_values + n_buffers, sizeof *host, &host));
    AC_TRY(params->device->backend->download(params->device, host, params->value, params->n_values * sizeof *host));
    AC_TRY(params->device->backend->download(params->device, host + params->n_values, params->buffer, n_buffers * sizeof *host));
    *out = ac_hash_bytes(host, (params->n_values + n_buffers) * sizeof *host);
out:
    ac_free(host);
    return status;
}
