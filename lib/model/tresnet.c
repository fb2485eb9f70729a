/* TResNet (Ridnik et al., WACV 2021), with the parameter names and the initialisation of its authors' code, and batch norm + leaky ReLU in
 * the place of their in-place activated batch norm. */
#include "model/models.h"
#include <math.h>
#include <stdio.h>

typedef struct tresnet_table {
    int n_blocks[4];
    int64_t width; /* channels of the stem and the first stage */
} tresnet_table;

/* Kaiming normal, fan out: standard deviation sqrt(2 / (out * k * k)). */
static ac_init kaiming(int64_t out_channels, int kernel_px)
{
    return (ac_init){AC_INIT_NORMAL, 0, (float)sqrt(2.0 / ((double)out_channels * kernel_px * kernel_px))};
}

static ac_init fan_in_uniform(int64_t fan_in)
{
    float bound = (float)(1.0 / sqrt((double)fan_in));
    return (ac_init){AC_INIT_UNIFORM, -bound, bound};
}

typedef struct conv_norm { /* a convolution without bias, stride 1, and the norm behind it */
    int64_t out_channels;
    int kernel_px;
    float slope;      /* of the leaky ReLU; 0: there is none */
    bool relu;        /* behind the residual */
    bool zero;        /* the norm's scale begins at 0: the last of a residual branch */
    ac_value residual;
} conv_norm;

/* `prefix` names the pair: its layers are 0 and 1. */
static ac_value add_conv_norm(ac_graph *graph, ac_layer_name *name, const char *prefix, ac_value x, const conv_norm *c)
{
    ac_conv2d_attribute conv = {.out_channels = c->out_channels, .kernel_px = c->kernel_px, .stride_px = 1, .padding_px = c->kernel_px / 2,
                                .groups = 1, .weight_init = kaiming(c->out_channels, c->kernel_px)};
    ac_batch_norm_attribute norm = {.eps = 1e-5f, .momentum = 0.1f, .slope = c->slope, .weight_init = c->zero ? 0 : 1};
    norm.activation = c->slope > 0 ? AC_ACTIVATION_LEAKY_RELU : c->relu ? AC_ACTIVATION_RELU : AC_ACTIVATION_NONE;
    char suffix[32];
    snprintf(suffix, sizeof suffix, "%s.0", prefix);
    x = ac_add_conv2d(graph, ac_layer_name_get(name, suffix), x, &conv);
    snprintf(suffix, sizeof suffix, "%s.1", prefix);
    return ac_add_batch_norm(graph, ac_layer_name_get(name, suffix), x, c->residual, &norm);
}

/* 3x3; a stride of 2 is stride 1 and a blur. */
static ac_value add_spatial(ac_graph *graph, ac_layer_name *name, const char *prefix, ac_value x, int64_t channels, bool halve)
{
    const conv_norm c = {.out_channels = channels, .kernel_px = 3, .slope = 1e-3f, .residual = AC_NO_VALUE};
    char suffix[32];
    snprintf(suffix, sizeof suffix, "%s%s", prefix, halve ? ".0" : "");
    x = add_conv_norm(graph, name, suffix, x, &c);
    if (!halve)
        return x;
    snprintf(suffix, sizeof suffix, "%s.1", prefix);
    return ac_add_blur_pool(graph, ac_layer_name_get(name, suffix), x);
}

/* With a residual: relu(x gate + residual). */
static ac_value add_squeeze_excite(ac_graph *graph, ac_layer_name *name, ac_value x, ac_value residual, int64_t channels, int64_t hidden)
{
    hidden = hidden > 64 ? hidden : 64;
    const ac_squeeze_excite_attribute a = {.hidden_channels = hidden, .inner = AC_ACTIVATION_RELU,
                                           .outer = residual == AC_NO_VALUE ? AC_ACTIVATION_NONE : AC_ACTIVATION_RELU,
                                           .weight_init = {kaiming(hidden, 1), kaiming(channels, 1)},
                                           .bias_init = {fan_in_uniform(channels), fan_in_uniform(hidden)}};
    return ac_add_squeeze_excite(graph, ac_layer_name_get(name, "se"), x, residual, &a);
}

static ac_value add_downsample(ac_graph *graph, ac_layer_name *name, ac_value x, int64_t out_channels, bool halve)
{
    const ac_avg_pool_attribute pool = {.kernel_px = 2, .stride_px = 2, .ceil = true};
    const conv_norm c = {.out_channels = out_channels, .kernel_px = 1, .residual = AC_NO_VALUE};
    if (halve)
        x = ac_add_avg_pool(graph, ac_layer_name_get(name, "downsample.0"), x, &pool);
    return add_conv_norm(graph, name, halve ? "downsample.1" : "downsample.0", x, &c);
}

static ac_value add_basic_block(ac_graph *graph, ac_layer_name *name, ac_value x, int64_t width, bool halve)
{
    const conv_norm last = {.out_channels = width, .kernel_px = 3, .zero = true, .residual = AC_NO_VALUE};
    ac_value residual = halve ? add_downsample(graph, name, x, width, true) : x;
    x = add_spatial(graph, name, "conv1", x, width, halve);
    x = add_conv_norm(graph, name, "conv2", x, &last);
    return add_squeeze_excite(graph, name, x, residual, width, width / 4);
}

static ac_value add_bottleneck(ac_graph *graph, ac_layer_name *name, ac_value x, int64_t width, bool halve, bool squeeze)
{
    const conv_norm first = {.out_channels = width, .kernel_px = 1, .slope = 1e-3f, .residual = AC_NO_VALUE};
    conv_norm last = {.out_channels = 4 * width, .kernel_px = 1, .relu = true, .zero = true};
    last.residual = halve ? add_downsample(graph, name, x, 4 * width, true) : x;
    x = add_conv_norm(graph, name, "conv1", x, &first);
    x = add_spatial(graph, name, "conv2", x, width, halve);
    if (squeeze)
        x = add_squeeze_excite(graph, name, x, AC_NO_VALUE, width, width / 2);
    return add_conv_norm(graph, name, "conv3", x, &last);
}

static ac_value build(const ac_model *model, ac_graph *graph, const ac_model_input *in)
{
    const tresnet_table *table = model->table;
    const conv_norm stem = {.out_channels = table->width, .kernel_px = 3, .slope = 1e-2f, .residual = AC_NO_VALUE};
    ac_layer_name name = {.base = "body"};
    ac_value x = ac_add_space_to_depth(graph, "body.SpaceToDepth", in->images, &(ac_space_to_depth_attribute){.block_px = 4});
    x = add_conv_norm(graph, &name, "conv1", x, &stem);
    for (int stage = 0; stage < 4; stage++)
        for (int b = 0; b < table->n_blocks[stage]; b++) {
            int64_t width = table->width << stage;
            bool halve = stage > 0 && b == 0;
            snprintf(name.base, sizeof name.base, "body.layer%d.%d", stage + 1, b);
            x = stage < 2 ? add_basic_block(graph, &name, x, width, halve) : add_bottleneck(graph, &name, x, width, halve, stage == 2);
        }
    x = ac_add_global_avg_pool(graph, "global_pool", x);
    return ac_add_linear(graph, "head.fc", x, &(ac_linear_attribute){.out_features = in->n_classes, .bias = true, .float32_output = true,
                                                  .weight_init = {AC_INIT_NORMAL, 0, 0.01f}, .bias_init = fan_in_uniform(32 * table->width)});
}

static const tresnet_table tresnet_m = {{3, 4, 11, 3}, 64}, tresnet_l = {{4, 5, 18, 3}, 76}, tresnet_xl = {{4, 5, 24, 3}, 83};

/* Sides are multiples of the 4 pixels that become channels; the last blur needs 2 pixels to mirror at, which 5, 3, 2 gives it. */
#define MODEL(model_name) const ac_model ac_model_##model_name = {#model_name, 20, 4, 0, &model_name, build}
MODEL(tresnet_m);
MODEL(tresnet_l);
MODEL(tresnet_xl);
