/* Operators on feature maps that TResNet and MaxViT add, case by case (operator_case.h). */
#include "tests/nn/operator_case.h"

static ac_value add_space(ac_graph *g, ac_value x, const op_case *c)
{
    return ac_add_space_to_depth(g, "space", x, &(ac_space_to_depth_attribute){c->kernel});
}

static ac_value add_blur(ac_graph *g, ac_value x, const op_case *c)
{
    (void)c;
    return ac_add_blur_pool(g, "blur", x);
}

/* `residual`: padding counts; `bias`: ceil. */
static ac_value add_average(ac_graph *g, ac_value x, const op_case *c)
{
    return ac_add_avg_pool(g, "pool", x, &(ac_avg_pool_attribute){c->kernel, c->stride, c->padding, .ceil = c->bias, .count_padding = c->residual});
}

static ac_value add_scale(ac_graph *g, ac_value x, ac_value residual, const char *name, const op_case *c)
{
    ac_squeeze_excite_attribute a = {.hidden_channels = c->out, .inner = c->activation, .outer = c->kernel ? AC_ACTIVATION_RELU : AC_ACTIVATION_NONE};
    for (int i = 0; i < 2; i++) {
        a.weight_init[i] = (ac_init){AC_INIT_NORMAL, 0, 0.5f};
        a.bias_init[i] = (ac_init){AC_INIT_NORMAL, 0, 0.3f};
    }
    return ac_add_squeeze_excite(g, name, x, residual, &a);
}

/* `kernel` 1: ReLU behind it. With a residual: what comes in is added to what is scaled twice. */
static ac_value add_excite(ac_graph *g, ac_value x, const op_case *c)
{
    ac_value y = add_scale(g, x, AC_NO_VALUE, "se1", c);
    return c->residual ? add_scale(g, y, x, "se2", c) : y;
}

static ac_value add_depthwise_to(ac_graph *g, ac_value x, const char *name, const op_case *c)
{
    return ac_add_conv2d(g, name, x, &(ac_conv2d_attribute){.out_channels = c->channels, .kernel_px = c->kernel, .stride_px = c->stride,
                         .padding_px = c->padding, .groups = c->channels, .bias = c->bias, .weight_init = {AC_INIT_NORMAL, 0, 0.3f}, .bias_init = {AC_INIT_NORMAL, 0, 0.3f}});
}

/* With a residual: a batch norm behind it, to which that is added; else one with the activation alone, if there is one. */
static ac_value add_depthwise(ac_graph *g, ac_value x, const op_case *c)
{
    ac_batch_norm_attribute a = {1e-5f, 0.1f, c->activation, 0.1f, 1};
    ac_value y = add_depthwise_to(g, x, "depthwise", c);
    return c->residual || c->activation != AC_ACTIVATION_NONE ? ac_add_batch_norm(g, "norm", y, c->residual ? x : AC_NO_VALUE, &a) : y;
}

/* One value read by four operators: its gradient comes in parts, and what they make is summed again. */
static ac_value add_fan(ac_graph *g, ac_value x, const op_case *c)
{
    op_case mine = *c;
    mine.out = 3;
    mine.activation = AC_ACTIVATION_SILU;
    mine.kernel = 1;
    ac_value first = add_scale(g, x, AC_NO_VALUE, "se1", &mine), second = add_scale(g, first, x, "se2", &mine);
    ac_value third = add_scale(g, second, first, "se3", &mine), half = ac_add_blur_pool(g, "blur", first);
    ac_value other = ac_add_avg_pool(g, "pool", third, &(ac_avg_pool_attribute){2, 2, 0, true, false});
    ac_value sum = add_scale(g, half, other, "se4", &mine);
    return add_scale(g, ac_add_blur_pool(g, "last", sum), ac_add_avg_pool(g, "last_pool", half, &(ac_avg_pool_attribute){3, 2, 1, false, true}), "se5", &mine);
}

static const op_case cases[] = {
    {"space to depth by 4", 2, 12, 3, add_space, .kernel = 4},
    {"space to depth by 3", 1, 9, 17, add_space, .kernel = 3},
    {"blur, odd side", 2, 9, 17, add_blur, .bias = false},
    {"blur, even side", 1, 6, 76, add_blur, .bias = false},
    {"blur, three pixels", 3, 3, 3, add_blur, .bias = false},
    {"blur, two pixels", 2, 2, 1, add_blur, .bias = false},
    {"average 2x2, ceil, odd side", 2, 9, 17, add_average, 2, 2, 0, .bias = true},
    {"average 2x2, ceil, even side", 1, 4, 76, add_average, 2, 2, 0, .bias = true},
    {"average 3x3 stride 2, padding counts", 2, 9, 20, add_average, 3, 2, 1, .residual = true},
    {"average 3x3 stride 2, even side, padding counts", 2, 8, 1, add_average, 3, 2, 1, .residual = true},
    {"average 3x3 stride 2, padding does not count", 2, 7, 3, add_average, 3, 2, 1, .bias = false},
    {"average 3x3 stride 2, ceil, padding counts", 1, 8, 33, add_average, 3, 2, 1, .bias = true, .residual = true},
    {"average 2x2 stride 3", 2, 11, 5, add_average, 2, 3, 0, .bias = false},
    {"average 5x5 of three pixels, ceil", 2, 3, 4, add_average, 5, 2, 2, .bias = true},
    {"squeeze, relu", 2, 7, 17, add_excite, .out = 5, .activation = AC_ACTIVATION_RELU},
    {"squeeze, silu", 2, 3, 76, add_excite, .out = 19, .activation = AC_ACTIVATION_SILU},
    {"squeeze, silu, residual", 2, 9, 3, add_excite, .out = 2, .activation = AC_ACTIVATION_SILU, .residual = true},
    {"squeeze, relu, residual, relu", 2, 3, 76, add_excite, .kernel = 1, .out = 20, .activation = AC_ACTIVATION_RELU, .residual = true},
    {"squeeze, silu, relu", 2, 5, 1, add_excite, .kernel = 1, .out = 1, .activation = AC_ACTIVATION_SILU},
    {"squeeze in several tiles, one image", 1, 21, 76, add_excite, .kernel = 1, .out = 8, .activation = AC_ACTIVATION_RELU, .residual = true},
    {"squeeze of one pixel", 3, 1, 40, add_excite, .out = 4, .activation = AC_ACTIVATION_RELU},
    {"depthwise 3x3", 2, 9, 17, add_depthwise, 3, 1, 1, .bias = false},
    {"depthwise 3x3, even side, bias", 1, 8, 76, add_depthwise, 3, 1, 1, .bias = true},
    {"depthwise 3x3 stride 2, odd side", 1, 9, 76, add_depthwise, 3, 2, 1, .bias = true},
    {"depthwise 3x3 stride 2, even side", 2, 12, 16, add_depthwise, 3, 2, 1, .bias = false},
    {"depthwise 3x3 stride 2, one channel", 2, 7, 1, add_depthwise, 3, 2, 1, .bias = false},
    {"depthwise 3x3, three channels", 1, 6, 3, add_depthwise, 3, 1, 1, .bias = false},
    {"depthwise 3x3 of one pixel", 2, 1, 20, add_depthwise, 3, 1, 1, .bias = false},
    {"depthwise 3x3 stride 2 of two pixels", 2, 2, 32, add_depthwise, 3, 2, 1, .bias = false},
    {"depthwise 3x3, no padding", 2, 6, 19, add_depthwise, 3, 1, 0, .bias = false},
    {"depthwise 5x5", 2, 8, 33, add_depthwise, 5, 1, 2, .bias = true},
    {"depthwise 5x5 stride 2", 2, 9, 17, add_depthwise, 5, 2, 2, .bias = false},
    {"depthwise 2x2 stride 3", 2, 11, 18, add_depthwise, 2, 3, 0, .bias = false},
    {"depthwise 3x3, batch norm, relu", 2, 7, 33, add_depthwise, 3, 1, 1, .bias = true, .activation = AC_ACTIVATION_RELU},
    {"depthwise 3x3, batch norm, leaky relu, residual", 2, 9, 17, add_depthwise, 3, 1, 1, .activation = AC_ACTIVATION_LEAKY_RELU, .residual = true},
    {"depthwise 3x3 stride 2, batch norm, relu", 2, 8, 16, add_depthwise, 3, 2, 1, .activation = AC_ACTIVATION_RELU},
    {"depthwise 3x3, batch norm, gelu", 2, 9, 20, add_depthwise, 3, 1, 1, .activation = AC_ACTIVATION_GELU},
    {"depthwise 3x3 stride 2, batch norm, gelu", 2, 7, 5, add_depthwise, 3, 2, 1, .bias = true, .activation = AC_ACTIVATION_GELU},
    {"several readers", 2, 11, 20, add_fan, .bias = false},
};

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(&cases[i]);
    return tap_done();
}
