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

typedef struct block_name { /* names the layers of one block: "layer1.0" + ".conv1" */
    char base[32], full[64];
} block_name;

static const char *layer(block_name *name, const char *suffix)
{
    snprintf(name->full, sizeof name->full, "%s.%s", name->base, suffix);
    return name->full;
}

static ac_value add_block(ac_graph *graph, block_name *name, ac_value x, bool bottleneck, int64_t width, int stride_px, bool downsample)
{
    int64_t out_channels = bottleneck ? 4 * width : width;
    ac_value y = x, residual = x;
    y = conv(graph, layer(name, "conv1"), y, width, bottleneck ? 1 : 3, bottleneck ? 1 : stride_px);
    y = norm(graph, layer(name, "bn1"), y, AC_NO_VALUE, true);
    y = conv(graph, layer(name, "conv2"), y, width, 3, bottleneck ? stride_px : 1);
    if (bottleneck) {
        y = norm(graph, layer(name, "bn2"), y, AC_NO_VALUE, true);
        y = conv(graph, layer(name, "conv3"), y, out_channels, 1, 1);
    }
    if (downsample) {
        residual = conv(graph, layer(name, "downsample.0"), x, out_channels, 1, stride_px);
        residual = norm(graph, layer(name, "downsample.1"), residual, AC_NO_VALUE, false);
    }
    return norm(graph, layer(name, bottleneck ? "bn3" : "bn2"), y, residual, true);
}

static ac_value build(const ac_model *model, ac_graph *graph, const ac_model_input *in)
{
    const resnet_table *table = model->table;
    ac_value x = conv(graph, "conv1", in->images, 64, 7, 2);
    x = norm(graph, "bn1", x, AC_NO_VALUE, true);
    x = ac_add_max_pool(graph, "maxpool", x, &(ac_pool_attribute){.kernel_px = 3, .stride_px = 2, .padding_px = 1});
    for (int stage = 0; stage < 4; stage++)
        for (int b = 0; b < table->n_blocks[stage]; b++) {
            block_name name;
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

const ac_model ac_models_resnet[] = {
    {"resnet18", 32, 1, &resnet18, build},   {"resnet34", 32, 1, &resnet34, build},   {"resnet50", 32, 1, &resnet50, build},
    {"resnet101", 32, 1, &resnet101, build}, {"resnet152", 32, 1, &resnet152, build},
};
const size_t ac_n_models_resnet = sizeof ac_models_resnet / sizeof *ac_models_resnet;
