/* Vision transformer (Dosovitskiy et al., ICLR 2021) as torchvision builds it: its parameter names and initialisation. */
#include "model/models.h"
#include <math.h>
#include <stdio.h>

typedef struct vit_table {
    int patch_px, n_layers, n_heads;
    int64_t width, mlp_width;
} vit_table;

static const ac_init zero = {AC_INIT_CONSTANT, 0, 0};

static ac_init xavier_uniform(int64_t fan_in, int64_t fan_out)
{
    float bound = (float)sqrt(6.0 / (double)(fan_in + fan_out));
    return (ac_init){AC_INIT_UNIFORM, -bound, bound};
}

static ac_value norm(ac_graph *graph, const char *name, ac_value x)
{
    return ac_add_layer_norm(graph, name, x, &(ac_layer_norm_attribute){.eps = 1e-6f});
}

/* torch.nn.MultiheadAttention between a norm and a residual. */
static ac_value add_attention(ac_model_builder *b, ac_layer_name *name, ac_value x, const vit_table *t)
{
    float bound = (float)(1.0 / sqrt((double)t->width));
    const ac_linear_attribute qkv = {.out_features = 3 * t->width, .bias = true, .weight_name = "in_proj_weight", .bias_name = "in_proj_bias",
                                     .weight_init = xavier_uniform(t->width, 3 * t->width), .bias_init = zero};
    const ac_attention_attribute heads = {.kind = AC_ATTENTION_GLOBAL, .n_heads = t->n_heads,
                                          .scale = (float)(1.0 / sqrt((double)t->width / t->n_heads))};
    const ac_model_branch out = {.linear = {.out_features = t->width, .bias = true, .weight_init = {AC_INIT_UNIFORM, -bound, bound}, .bias_init = zero},
                                 .dropout = true};
    ac_value y = norm(b->graph, ac_layer_name_get(name, "ln_1"), x);
    y = ac_add_linear(b->graph, ac_layer_name_get(name, "self_attention"), y, &qkv);
    y = ac_add_attention(b->graph, ac_layer_name_get(name, "self_attention.heads"), y, &heads);
    return ac_model_add_branch(b, ac_layer_name_get(name, "self_attention.out_proj"), y, x, &out);
}

static ac_value add_mlp(ac_model_builder *b, ac_layer_name *name, ac_value x, const vit_table *t)
{
    const ac_init weight = xavier_uniform(t->width, t->mlp_width), bias = {AC_INIT_NORMAL, 0, 1e-6f};
    const ac_linear_attribute inner = {.out_features = t->mlp_width, .bias = true, .weight_init = weight, .bias_init = bias,
                                       .activation = AC_ACTIVATION_GELU};
    const ac_model_branch outer = {.linear = {.out_features = t->width, .bias = true, .weight_init = weight, .bias_init = bias}, .dropout = true};
    ac_value y = norm(b->graph, ac_layer_name_get(name, "ln_2"), x);
    y = ac_add_linear(b->graph, ac_layer_name_get(name, "mlp.0"), y, &inner);
    y = ac_model_add_dropout(b, ac_layer_name_get(name, "mlp.2"), y);
    return ac_model_add_branch(b, ac_layer_name_get(name, "mlp.3"), y, x, &outer);
}

/* torchvision cuts the normal values of the patches' weights at +-2, which is some fifty standard deviations: they are not cut here. */
static ac_value add_patches(ac_model_builder *b, const vit_table *t)
{
    const ac_conv2d_attribute patches = {.out_channels = t->width, .kernel_px = t->patch_px, .stride_px = t->patch_px, .groups = 1, .bias = true,
                                         .weight_init = {AC_INIT_NORMAL, 0, (float)(1.0 / sqrt(3.0 * t->patch_px * t->patch_px))}, .bias_init = zero};
    const ac_tokens_attribute tokens = {.class_token_init = zero, .pos_embedding_init = {AC_INIT_NORMAL, 0, 0.02f}};
    ac_value x = ac_add_conv2d(b->graph, "conv_proj", b->in->images, &patches);
    x = ac_add_tokens(b->graph, "encoder", x, &tokens);
    return ac_model_add_dropout(b, "encoder.dropout", x);
}

static ac_value build(const ac_model *model, ac_graph *graph, const ac_model_input *in)
{
    const vit_table *t = model->table;
    ac_model_builder b = ac_model_builder_begin(graph, in, 0);
    ac_value x = add_patches(&b, t);
    for (int i = 0; i < t->n_layers; i++) {
        ac_layer_name name;
        snprintf(name.base, sizeof name.base, "encoder.layers.encoder_layer_%d", i);
        x = add_attention(&b, &name, x, t);
        x = add_mlp(&b, &name, x, t);
    }
    /* Only the class token is read: its row alone is normalised, rows do not know of each other there. */
    x = ac_add_first_token(graph, "encoder.class_token", x);
    x = norm(graph, "encoder.ln", x);
    return ac_add_linear(graph, "heads.head", x, &(ac_linear_attribute){.out_features = in->n_classes, .bias = true, .float32_output = true,
                                                     .weight_init = zero, .bias_init = zero});
}

static const vit_table vit_b_16 = {16, 12, 12, 768, 3072}, vit_b_32 = {32, 12, 12, 768, 3072}, vit_l_16 = {16, 24, 16, 1024, 4096},
                       vit_l_32 = {32, 24, 16, 1024, 4096};

#define MODEL(model_name, patch_px) const ac_model ac_model_##model_name = {#model_name, patch_px, patch_px, AC_DROPS_ELEMENTS, &model_name, build}
MODEL(vit_b_16, 16);
MODEL(vit_b_32, 32);
MODEL(vit_l_16, 16);
MODEL(vit_l_32, 32);
