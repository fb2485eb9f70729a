/* ResNet as torchvision builds it (He et al., CVPR 2016, with the stride on the 3x3 convolution of a bottleneck):
 * its parameter names and initialisation. */
#include "model/models.h"
#include <math.h>
#include <stdio.h>

typedef struct resnet_table {
    bool bottleneck;
    int n_blocks[4];
} resnet_table;

/* Kaiming normal, fan out, for ReLU: standard deviation sqrt(2 / (out * k * k)). */
static ac_value conv(ac_graph *graph, const char *name, ac_value x, int64_t out_channels, int kernel_px, int stride_px)
{
    ac_conv2d_attribute attribute = {
        .out_channels = out_channels,
        .kernel_px = kernel_px,
        .stride_px = stride_px,
        .padding_px = kernel_px / 2,
        .groups = 1,
        .weight_init = {AC_INIT_NORMAL, 0, (float)sqrt(2.0 / ((double)out_channels * kernel_px * kernel_px))},
    };
    return ac_add_conv2d(graph, name, x, &attribute);
}

static ac_value norm(ac_graph *graph, const char *name, ac_value x, ac_value residual, bool relu)
{
    ac_batch_norm_attribute attribute = {
        .eps = 1e-5f,
        .momentum = 0.1f,
        .activation = relu ? AC_ACTIVATION_RELU : AC_ACTIVATION_NONE,
        .weight_init = 1,
    };
    return ac_add_batch_norm(graph, name, x, residual, &attribute);
}

static ac_value add_block(ac_graph *graph, ac_layer_name *name, ac_value x, bool bottleneck, int64_t width, int stride_px, bool downsample)
{
    int64_t out_channels = bottleneck ? 4 * width : width;
    ac_value y = x, residual = x;
    y = conv(graph, ac_layer_name_get(name, "conv1"), y, width, bottleneck ? 1 : 3, bottleneck ? 1 : stride_px);
    y = norm(graph, ac_layer_name_get(name, "bn1"), y, AC_NO_VALUE, true);
    y = conv(graph, ac_layer_name_get(name, "conv2"), y, width, 3, bottleneck ? stride_px : 1);
    if (bottleneck) {
        y = norm(graph, ac_layer_name_get(name, "bn2"), y, AC_NO_VALUE, true);
        y = conv(graph, ac_layer_name_get(name, "conv3"), y, out_channels, 1, 1);
    }
    if (downsample) {
        residual = conv(graph, ac_layer_name_get(name, "downsample.0"), x, out_channels, 1, stride_px);
        residual = norm(graph, ac_layer_name_get(name, "downsample.1"), residual, AC_NO_VALUE, false);
    }
    return norm(graph, ac_layer_name_get(name, bottleneck ? "bn3" : "bn2"), y, residual, true);
}

static ac_value build(const ac_model *model, ac_graph *graph, const ac_model_input *in)
{
    const resnet_table *table = model->table;
    ac_value x = conv(graph, "conv1", in->images, 64, 7, 2);
    x = norm(graph, "bn1", x, AC_NO_VALUE, true);
    x = ac_add_max_pool(graph, "maxpool", x, &(ac_pool_attribute){.kernel_px = 3, .stride_px = 2, .padding_px = 1});
    for (int stage = 0; stage < 4; stage++)
        for (int b = 0; b < table->n_blocks[stage]; b++) {
            ac_layer_name name;
            snprintf(name.base, sizeof name.base, "layer%d.%d", stage + 1, b);
            int stride_px = stage > 0 && b == 0 ? 2 : 1;
            x = add_block(graph, &name, x, table->bottleneck, 64 << stage, stride_px, b == 0 && (stage > 0 || table->bottleneck));
        }
    x = ac_add_global_avg_pool(graph, "avgpool", x);
    float bound = (float)(1.0 / sqrt(table->bottleneck ? 2048.0 : 512.0));
    return ac_add_linear(graph, "fc", x, &(ac_linear_attribute){.out_features = in->n_classes, .bias = true, .float32_output = true,
                                             .weight_init = {AC_INIT_UNIFORM, -bound, bound}, .bias_init = {AC_INIT_UNIFORM, -bound, bound}});
}

static const resnet_table resnet18 = {false, {2, 2, 2, 2}}, resnet34 = {false, {3, 4, 6, 3}}, resnet50 = {true, {3, 4, 6, 3}},
                          resnet101 = {true, {3, 4, 23, 3}}, resnet152 = {true, {3, 8, 36, 3}};

#define MODEL(model_name) const ac_model ac_model_##model_name = {#model_name, 32, 1, 0, &model_name, build}
MODEL(resnet18);
MODEL(resnet34);
MODEL(resnet50);
MODEL(resnet101);
MODEL(resnet152);
