/* MaxViT (Tu et al., ECCV 2022) as torchvision builds it: its parameter names, initialisation, and scale of attention (by the square root
 * of the whole width, not of a head's). */
#include "model/models.h"
#include <math.h>
#include <stdio.h>

typedef struct maxvit_table {
    int64_t stem_channels, channels[4];
    int n_layers[4];
    int head_width, window_px;
    float stochastic_depth;
} maxvit_table;

static const ac_init zero = {AC_INIT_CONSTANT, 0, 0}, normal = {AC_INIT_NORMAL, 0, 0.02f};

typedef struct conv_size {
    int64_t out_channels;
    int kernel_px, stride_px, groups;
    bool bias;
} conv_size;

static ac_value conv(ac_graph *graph, const char *name, ac_value x, conv_size size)
{
    const ac_conv2d_attribute a = {.out_channels = size.out_channels, .kernel_px = size.kernel_px, .stride_px = size.stride_px,
                                   .padding_px = size.kernel_px / 2, .groups = size.groups, .bias = size.bias, .weight_init = normal, .bias_init = zero};
    return ac_add_conv2d(graph, name, x, &a);
}

static ac_value batch_norm(ac_graph *graph, const char *name, ac_value x, ac_activation activation)
{
    const ac_batch_norm_attribute a = {.eps = 1e-3f, .momentum = 0.01f, .activation = activation, .weight_init = 1};
    return ac_add_batch_norm(graph, name, x, AC_NO_VALUE, &a);
}

static ac_value layer_norm(ac_graph *graph, const char *name, ac_value x)
{
    return ac_add_layer_norm(graph, name, x, &(ac_layer_norm_attribute){.eps = 1e-5f});
}

static ac_linear_attribute linear(int64_t out_features, ac_activation activation)
{
    return (ac_linear_attribute){.out_features = out_features, .bias = true, .weight_init = normal, .bias_init = zero, .activation = activation};
}

typedef struct layer_size { /* of one layer of a stage; the first of a stage halves the sides */
    int stage, index;
    int64_t channels;
    float depth; /* probability that a branch is dropped */
} layer_size;

/* Inverted residual with a depthwise convolution and squeeze-and-excitation. */
static ac_value add_mbconv(ac_model_builder *b, ac_layer_name *name, ac_value x, const layer_size *s)
{
    ac_graph *graph = b->graph;
    int64_t wide = 4 * s->channels;
    const ac_squeeze_excite_attribute squeeze = {.hidden_channels = s->channels / 4, .inner = AC_ACTIVATION_SILU,
                                                 .weight_init = {normal, normal}, .bias_init = {zero, zero}};
    const ac_avg_pool_attribute pool = {.kernel_px = 3, .stride_px = 2, .padding_px = 1, .count_padding = true};
    ac_value residual = x;
    if (s->index == 0) {
        residual = ac_add_avg_pool(graph, ac_layer_name_get(name, "MBconv.proj.0"), residual, &pool);
        residual = conv(graph, ac_layer_name_get(name, "MBconv.proj.1"), residual, (conv_size){s->channels, 1, 1, 1, true});
    }
    x = batch_norm(graph, ac_layer_name_get(name, "MBconv.layers.pre_norm"), x, AC_ACTIVATION_NONE);
    x = conv(graph, ac_layer_name_get(name, "MBconv.layers.conv_a.0"), x, (conv_size){wide, 1, 1, 1, false});
    x = batch_norm(graph, ac_layer_name_get(name, "MBconv.layers.conv_a.1"), x, AC_ACTIVATION_GELU);
    x = conv(graph, ac_layer_name_get(name, "MBconv.layers.conv_b.0"), x, (conv_size){wide, 3, s->index == 0 ? 2 : 1, (int)wide, false});
    x = batch_norm(graph, ac_layer_name_get(name, "MBconv.layers.conv_b.1"), x, AC_ACTIVATION_GELU);
    x = ac_add_squeeze_excite(graph, ac_layer_name_get(name, "MBconv.layers.squeeze_excitation"), x, AC_NO_VALUE, &squeeze);
    x = conv(graph, ac_layer_name_get(name, "MBconv.layers.conv_c"), x, (conv_size){s->channels, 1, 1, 1, true});
    return ac_model_add_residual(b, ac_layer_name_get(name, "MBconv.add"), x, residual, s->depth);
}

/* Attention inside the partitions of one kind, and the perceptron behind it. `name` ends in the kind. */
static ac_value add_partition_attention(ac_model_builder *b, ac_layer_name *name, ac_value x, const layer_size *s, const ac_attention_attribute *heads)
{
    const ac_linear_attribute qkv = linear(3 * s->channels, AC_ACTIVATION_NONE), inner = linear(4 * s->channels, AC_ACTIVATION_GELU);
    ac_model_branch branch = {.linear = linear(s->channels, AC_ACTIVATION_NONE), .depth = s->depth};
    ac_value y = layer_norm(b->graph, ac_layer_name_get(name, "attn_layer.0"), x);
    y = ac_add_linear(b->graph, ac_layer_name_get(name, "attn_layer.1.to_qkv"), y, &qkv);
    y = ac_add_attention(b->graph, ac_layer_name_get(name, "attn_layer.1"), y, heads);
    x = ac_model_add_branch(b, ac_layer_name_get(name, "attn_layer.1.merge"), y, x, &branch);
    y = layer_norm(b->graph, ac_layer_name_get(name, "mlp_layer.0"), x);
    y = ac_add_linear(b->graph, ac_layer_name_get(name, "mlp_layer.1"), y, &inner);
    branch.dropout = true;
    return ac_model_add_branch(b, ac_layer_name_get(name, "mlp_layer.3"), y, x, &branch);
}

static ac_value add_layer(ac_model_builder *b, ac_value x, const maxvit_table *t, const layer_size *s)
{
    ac_layer_name name;
    ac_attention_attribute heads = {.kind = AC_ATTENTION_WINDOW, .n_heads = (int)s->channels / t->head_width, .window_px = t->window_px,
                                    .scale = (float)(1.0 / sqrt((double)s->channels))};
    snprintf(name.base, sizeof name.base, "blocks.%d.layers.%d.layers", s->stage, s->index);
    x = add_mbconv(b, &name, x, s);
    snprintf(name.base, sizeof name.base, "blocks.%d.layers.%d.layers.window_attention", s->stage, s->index);
    x = add_partition_attention(b, &name, x, s, &heads);
    heads.kind = AC_ATTENTION_GRID;
    snprintf(name.base, sizeof name.base, "blocks.%d.layers.%d.layers.grid_attention", s->stage, s->index);
    return add_partition_attention(b, &name, x, s, &heads);
}

static ac_value add_classifier(ac_graph *graph, ac_value x, int64_t width, int64_t n_classes)
{
    const ac_linear_attribute hidden = linear(width, AC_ACTIVATION_TANH);
    ac_linear_attribute head = linear(n_classes, AC_ACTIVATION_NONE);
    head.bias = false;
    head.float32_output = true;
    x = ac_add_global_avg_pool(graph, "classifier.0", x);
    x = layer_norm(graph, "classifier.2", x);
    x = ac_add_linear(graph, "classifier.3", x, &hidden);
    return ac_add_linear(graph, "classifier.5", x, &head);
}

/* The probability to drop a branch grows from 0 at the first layer to the whole at the last. */
static ac_value build(const ac_model *model, ac_graph *graph, const ac_model_input *in)
{
    const maxvit_table *t = model->table;
    ac_model_builder b = ac_model_builder_begin(graph, in, t->stochastic_depth);
    int n_layers = t->n_layers[0] + t->n_layers[1] + t->n_layers[2] + t->n_layers[3], layer = 0;
    ac_value x = conv(graph, "stem.0.0", in->images, (conv_size){t->stem_channels, 3, 2, 1, false});
    x = batch_norm(graph, "stem.0.1", x, AC_ACTIVATION_GELU);
    x = conv(graph, "stem.1.0", x, (conv_size){t->stem_channels, 3, 1, 1, true});
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < t->n_layers[stage]; i++, layer++) {
            const layer_size s = {stage, i, t->channels[stage], b.stochastic_depth * (float)layer / (float)(n_layers - 1)};
            x = add_layer(&b, x, t, &s);
        }
    return add_classifier(graph, x, t->channels[3], in->n_classes);
}

static const maxvit_table maxvit_t = {64, {64, 128, 256, 512}, {2, 2, 5, 2}, 32, 7, 0.2f},
                          maxvit_s = {64, {96, 192, 384, 768}, {2, 2, 5, 2}, 32, 7, 0.2f};

/* Halved five times, a side is still whole windows of 7. (torchvision's rounding also takes the three sizes below each multiple.) */
#define MODEL(model_name) const ac_model ac_model_##model_name = {#model_name, 224, 224, AC_DROPS_ELEMENTS | AC_DROPS_BRANCHES, &model_name, build}
MODEL(maxvit_t);
MODEL(maxvit_s);
