/* What the checkpoint tests save: a network of one convolution, one batch norm and one linear layer with its optimiser.
 * Header only. */
#ifndef ANYCLASS_TESTS_CHECKPOINT_HOLDER_H
#define ANYCLASS_TESTS_CHECKPOINT_HOLDER_H

#include "anyclass/alloc.h"
#include "anyclass/checkpoint.h"
#include "anyclass/model.h"
#include "anyclass/random.h"
#include <stdio.h>
#include <string.h>

typedef struct holder {
    ac_graph *graph;
    ac_device *device;
    ac_params *params;
    ac_optimizer *optimizer;
    ac_checkpoint_info info;
} holder;

static inline void close_holder(holder *h)
{
    ac_optimizer_destroy(h->optimizer);
    ac_params_destroy(h->params);
    if (h->device)
        h->device->backend->close(h->device);
    ac_graph_destroy(h->graph);
    ac_checkpoint_info_release(&h->info);
}

static inline ac_status describe_holder(ac_checkpoint_info *info)
{
    ac_status status = AC_OK;
    snprintf(info->model, sizeof info->model, "resnet18");
    snprintf(info->precision, sizeof info->precision, "32");
    snprintf(info->data_hash, sizeof info->data_hash, "%032d", 7);
    info->image_size_px = 32;
    info->mean[1] = .1f;
    info->std[2] = 1 / 3.f;
    info->n_samples = 1000;
    info->batch_size = 16;
    info->seed = 9000000000000000;
    info->loss_scale = 1;
    AC_TRY(ac_calloc(3, sizeof *info->class_name, &info->class_name));
    AC_TRY(ac_strdup("crack", &info->class_name[0]));
    AC_TRY(ac_strdup("a \"b\", c", &info->class_name[1]));
    info->n_classes = 2;
    AC_TRY(ac_strdup("{\"seed\": 1}", &info->config));
out:
    return status;
}

static inline ac_status open_holder(holder *h, uint64_t seed, int64_t width, int kind)
{
    ac_status status = AC_OK;
    const ac_optimizer_config config = {kind, .01, .9, .9, .999, 1e-8, 1, false};
    memset(h, 0, sizeof *h);
    AC_TRY(ac_graph_create(AC_F32, &h->graph));
    ac_value x = ac_graph_input(h->graph, "x", &(ac_shape){4, {1, 4, 4, 3}, AC_F32});
    x = ac_add_conv2d(h->graph, "conv", x,
                      &(ac_conv2d_attribute){.out_channels = width,
                                             .kernel_px = 3,
                                             .stride_px = 1,
                                             .padding_px = 1,
                                             .groups = 1,
                                             .weight_init = {AC_INIT_NORMAL, 0, 1}});
    x = ac_add_batch_norm(h->graph, "norm", x, AC_NO_VALUE,
                          &(ac_batch_norm_attribute){1e-5f, .1f, AC_ACTIVATION_RELU, 0, 1});
    x = ac_add_linear(h->graph, "fc", ac_add_global_avg_pool(h->graph, "pool", x),
                      &(ac_linear_attribute){.out_features = 2,
                                             .bias = true,
                                             .weight_init = {AC_INIT_NORMAL, 0, 1},
                                             .bias_init = {AC_INIT_NORMAL, 0, 1}});
    AC_TRY(ac_graph_finish(h->graph));
    AC_TRY(ac_backend_find("ref")->open(1, &h->device));
    AC_TRY(ac_params_create(h->device, h->graph, true, &h->params));
    AC_TRY(ac_params_init(h->params, seed));
    AC_TRY(ac_optimizer_create(&config, h->params, &h->optimizer));
    for (size_t i = 0; i < h->params->n_values; i++)
        for (int k = 0; k < h->optimizer->n_moments; k++)
            h->optimizer->moment[k][i] = (float)ac_random_block(seed, AC_STREAM_TEST, i, (uint32_t)k).word[0];
    AC_TRY(describe_holder(&h->info));
out:
    return status;
}

/* Equal as PyTorch would see them: padding between parameters is left out. */
static inline bool same_state(const holder *a, const holder *b)
{
    static float x[4096], y[4096];
    for (size_t p = 0; p < a->params->n_params; p++) {
        const size_t bytes = (size_t)ac_shape_elements(&a->params->info[p].shape) * sizeof(float);
        const int n = a->params->info[p].role == AC_PARAM_BUFFER ? 1 : 1 + a->optimizer->n_moments;
        for (int k = 0; k < n; k++)
            if (ac_params_get(a->params, (int)p, k ? a->optimizer->moment[k - 1] : NULL, x) != AC_OK ||
                ac_params_get(b->params, (int)p, k ? b->optimizer->moment[k - 1] : NULL, y) != AC_OK ||
                memcmp(x, y, bytes) != 0)
                return false;
    }
    return a->optimizer->step == b->optimizer->step;
}

#endif
