/* One kernel of a backend, called by itself on tensors of a test's or a benchmark's own: no plan, no other operator. */
#ifndef ANYCLASS_TESTS_SINGLE_KERNEL_H
#define ANYCLASS_TESTS_SINGLE_KERNEL_H

#include "anyclass/alloc.h"
#include "anyclass/backend.h"
#include "anyclass/ops.h"
#include "anyclass/random.h"
#include <string.h>

enum { SINGLE_BLOCKS = 40 };

typedef struct single_kernel { /* open, add graph inputs and ONE operator to `graph`, prepare, run forward and backward */
    ac_graph *graph;
    ac_device *device;
    const ac_node *node;
    const ac_kernel *kernel;
    ac_kernel_plan made;
    ac_call forward, backward;
    size_t input_bytes, output_bytes;
    void *block[SINGLE_BLOCKS];
    int n_blocks;
} single_kernel;

static void single_close(single_kernel *k)
{
    if (k->kernel && k->kernel->release)
        k->kernel->release(k->made.state);
    for (int i = 0; i < k->n_blocks; i++)
        k->device->backend->release(k->device, k->block[i]);
    if (k->device)
        k->device->backend->close(k->device);
    ac_graph_destroy(k->graph);
    memset(k, 0, sizeof *k);
}

static ac_status single_open(single_kernel *k, const char *backend, int n_threads, ac_dtype dtype)
{
    ac_status status = AC_OK;
    memset(k, 0, sizeof *k);
    AC_TRY(ac_graph_create(dtype, &k->graph));
    AC_TRY(ac_backend_find(backend)->open(n_threads, &k->device));
out:
    return status;
}

/* Memory of n_bytes with small numbers of both signs, of either type of element. */
static ac_status single_block(single_kernel *k, ac_dtype dtype, size_t n_bytes, void **out)
{
    ac_status status = AC_OK;
    AC_TRY(k->device->backend->allocate(k->device, n_bytes ? n_bytes : 1, out));
    k->block[k->n_blocks++] = *out;
    for (size_t i = 0; dtype == AC_F32 && i < n_bytes / sizeof(float); i++)
        ((float *)*out)[i] = (float)((i * 2654435761u >> 8) % 2048) / 1024.0f - 1.0f;
    for (size_t i = 0; dtype == AC_BF16 && i < n_bytes / sizeof(uint16_t); i++)
        ((uint16_t *)*out)[i] = (uint16_t)(0x3E00 + (i * 2654435761u >> 8) % 384 + (i % 3 == 0 ? 0x8000 : 0));
out:
    return status;
}

static ac_status single_tensor(single_kernel *k, const ac_shape *shape, void **out)
{
    return single_block(k, shape->dtype, ac_shape_bytes(shape), out);
}

static ac_status single_prepare(single_kernel *k, bool training)
{
    ac_status status = AC_OK;
    ac_call *f = &k->forward, *b = &k->backward;
    void *at;
    AC_TRY(ac_graph_finish(k->graph));
    k->node = &k->graph->node[0];
    k->kernel = ac_backend_kernel(k->device->backend, k->node->op);
    if (!k->kernel)
        return ac_error(AC_ERR_UNSUPPORTED, "no kernel of operator %s", k->node->op->name);
    *f = (ac_call){.device = k->device, .graph = k->graph, .node = k->node, .training = training};
    if (k->kernel->plan)
        AC_TRY(k->kernel->plan(k->device, k->graph, k->node, training, 3, &k->made));
    f->state = k->made.state;
    AC_TRY(single_block(k, AC_U8, k->made.workspace_bytes, &f->workspace));
    AC_TRY(single_block(k, AC_U8, k->made.prepared_bytes, &f->prepared));
    AC_TRY(single_tensor(k, ac_graph_shape(k->graph, k->node->output[0]), &f->output[0]));
    k->output_bytes = ac_shape_bytes(ac_graph_shape(k->graph, k->node->output[0]));
    for (int i = 0; i < k->node->n_inputs; i++) {
        const ac_shape *shape = ac_graph_shape(k->graph, k->node->input[i]);
        k->input_bytes += ac_shape_bytes(shape);
        AC_TRY(single_tensor(k, shape, &at));
        f->input[i] = at;
        if (training)
            AC_TRY(single_tensor(k, shape, &b->dinput[i]));
    }
    for (int i = 0; i < k->node->n_params; i++) {
        const ac_shape *shape = &k->graph->param[k->node->param[i]].shape;
        AC_TRY(single_tensor(k, shape, &at));
        f->param[i] = at;
        AC_TRY(single_tensor(k, shape, &at));
        b->param_gradient[i] = at;
    }
    for (int i = 0; training && i < k->node->n_saved; i++)
        AC_TRY(single_tensor(k, &k->node->saved[i], &f->saved[i]));
    ac_call gradients = *b;
    *b = *f;
    memcpy(b->dinput, gradients.dinput, sizeof b->dinput);
    memcpy(b->param_gradient, gradients.param_gradient, sizeof b->param_gradient);
    b->n_doutput = 1;
    if (training)
        AC_TRY(single_tensor(k, ac_graph_shape(k->graph, k->node->output[0]), &at));
    b->doutput[0] = at;
    if (!training && k->kernel->prepare)
        AC_TRY(k->kernel->prepare(f));
out:
    return status;
}

#endif
