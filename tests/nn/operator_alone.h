/* One operator with one input and at most one parameter, called without a plan: for shapes that need no network around them, for inspection of
 * what it saves, and for timing. Every array has guard bytes behind it. */
#ifndef ANYCLASS_TESTS_OPERATOR_ALONE_H
#define ANYCLASS_TESTS_OPERATOR_ALONE_H

#include "anyclass/alloc.h"
#include "anyclass/backend.h"
#include "anyclass/bf16.h"
#include "anyclass/ops.h"
#include <string.h>

enum { ALONE_GUARD = 64, ALONE_ARRAYS = 9 };

typedef struct alone {
    ac_graph *graph;
    ac_device *device;
    const ac_kernel *kernel;
    ac_kernel_plan made;
    ac_call call;
    ac_dtype dtype;
    int64_t n_x, n_y, n_param, n_saved;
    unsigned char *array[ALONE_ARRAYS]; /* in the order of the names below */
    size_t bytes[ALONE_ARRAYS];
} alone;

/* The first five are activations, the others float; DY2 is a second part of the gradient. */
enum { ALONE_X, ALONE_Y, ALONE_DY, ALONE_DX, ALONE_DY2, ALONE_PARAM, ALONE_DPARAM, ALONE_SAVED, ALONE_WORKSPACE };

static inline void alone_close(alone *a)
{
    if (a->made.state && a->kernel->release)
        a->kernel->release(a->made.state);
    for (int k = 0; k < ALONE_ARRAYS; k++)
        ac_free(a->array[k]);
    if (a->device)
        a->device->backend->close(a->device);
    ac_graph_destroy(a->graph);
    memset(a, 0, sizeof *a);
}

/* Arrays are filled with NaN. */
static inline ac_status alone_open(alone *a, const char *backend, int n_threads, const ac_shape *x, const ac_op *op, const void *attribute, bool training)
{
    ac_status status = AC_OK;
    memset(a, 0, sizeof *a);
    a->dtype = x->dtype;
    AC_TRY(ac_graph_create(x->dtype, &a->graph));
    ac_value in = ac_graph_input(a->graph, "x", x);
    ac_value y = ac_graph_append(a->graph, op, "alone", &in, 1, attribute);
    AC_TRY(ac_graph_finish(a->graph));
    const ac_node *node = &a->graph->node[0];
    AC_TRY(ac_backend_find(backend)->open(n_threads, &a->device));
    a->kernel = ac_backend_kernel(a->device->backend, op);
    if (!a->kernel)
        return ac_error(AC_ERR_UNSUPPORTED, "%s has no %s", backend, op->name);
    if (a->kernel->plan)
        AC_TRY(a->kernel->plan(a->device, a->graph, node, training, 1, &a->made));
    a->n_x = ac_shape_elements(x);
    a->n_y = ac_shape_elements(ac_graph_shape(a->graph, y));
    a->n_param = node->n_params ? ac_shape_elements(&a->graph->param[0].shape) : 0;
    a->n_saved = node->n_saved ? ac_shape_elements(&node->saved[0]) : 0;
    size_t each = ac_dtype_bytes(x->dtype), n_x = (size_t)a->n_x * each, n_y = (size_t)a->n_y * each, n_param = sizeof(float) * (size_t)a->n_param;
    size_t bytes[ALONE_ARRAYS] = {n_x, n_y, n_y, n_x, n_y, n_param, n_param, sizeof(float) * (size_t)a->n_saved, a->made.workspace_bytes};
    for (int k = 0; k < ALONE_ARRAYS; k++) {
        a->bytes[k] = bytes[k];
        AC_TRY(ac_malloc(bytes[k] + ALONE_GUARD, 1, &a->array[k]));
        memset(a->array[k], 0xFF, bytes[k] + ALONE_GUARD);
    }
    a->call = (ac_call){.device = a->device, .graph = a->graph, .node = node, .state = a->made.state, .training = training,
                        .input = {a->array[ALONE_X]}, .output = {a->array[ALONE_Y]}, .param = {a->array[ALONE_PARAM]},
                        .param_gradient = {(float *)(void *)a->array[ALONE_DPARAM]}, .saved = {training ? a->array[ALONE_SAVED] : NULL},
                        .doutput = {a->array[ALONE_DY], a->array[ALONE_DY2]}, .n_doutput = 1, .dinput = {a->array[ALONE_DX]},
                        .workspace = a->array[ALONE_WORKSPACE]};
out:
    return status;
}

static inline bool alone_guards_hold(const alone *a)
{
    for (int k = 0; k < ALONE_ARRAYS; k++)
        for (int i = 0; i < ALONE_GUARD; i++)
            if (a->array[k][a->bytes[k] + (size_t)i] != 0xFF)
                return false;
    return true;
}

static inline void alone_set(alone *a, int array, int64_t i, double value)
{
    if (a->dtype == AC_BF16 && array <= ALONE_DY2)
        ((uint16_t *)(void *)a->array[array])[i] = ac_bf16_from_float((float)value);
    else
        ((float *)(void *)a->array[array])[i] = (float)value;
}

static inline double alone_get(const alone *a, int array, int64_t i)
{
    if (a->dtype == AC_BF16 && array <= ALONE_DY2)
        return (double)ac_float_from_bf16(((const uint16_t *)(const void *)a->array[array])[i]);
    return (double)((const float *)(const void *)a->array[array])[i];
}

/* Forward and backward on copies in the device's memory; y, dx and dparam come back. */
static inline ac_status alone_run_on_device(alone *a)
{
    ac_status status = AC_OK;
    const ac_backend *backend = a->device->backend;
    void *copy[ALONE_ARRAYS] = {NULL};
    for (int k = 0; k < ALONE_ARRAYS; k++) {
        AC_TRY(backend->allocate(a->device, a->bytes[k] + ALONE_GUARD, &copy[k]));
        AC_TRY(backend->upload(a->device, copy[k], a->array[k], a->bytes[k]));
    }
    a->call.input[0] = copy[ALONE_X];
    a->call.output[0] = copy[ALONE_Y];
    a->call.param[0] = copy[ALONE_PARAM];
    a->call.param_gradient[0] = copy[ALONE_DPARAM];
    a->call.saved[0] = copy[ALONE_SAVED];
    a->call.doutput[0] = copy[ALONE_DY];
    a->call.dinput[0] = copy[ALONE_DX];
    a->call.workspace = copy[ALONE_WORKSPACE];
    AC_TRY(a->kernel->forward(&a->call));
    AC_TRY(a->kernel->backward(&a->call));
    static const int results[] = {ALONE_Y, ALONE_DX, ALONE_DPARAM};
    for (int k = 0; k < 3; k++)
        AC_TRY(backend->download(a->device, a->array[results[k]], copy[results[k]], a->bytes[results[k]]));
out:
    for (int k = 0; k < ALONE_ARRAYS; k++)
        backend->release(a->device, copy[k]);
    return status;
}

#endif
