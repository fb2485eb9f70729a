/* The operators of ResNets, case by case (operator_case.h). */
#include "tests/nn/operator_case.h"

static ac_value add_conv(ac_graph *g, ac_value x, const op_case *c)
{
    return ac_add_conv2d(g, "conv", x, &(ac_conv2d_attribute){.out_channels = c->out, .kernel_px = c->kernel, .stride_px = c->stride,
                         .padding_px = c->padding, .groups = c->groups, .bias = c->bias, .weight_init = {AC_INIT_NORMAL, 0, 0.3f}, .bias_init = {AC_INIT_NORMAL, 0, 0.3f}});
}

/* The operator twice: on what is in front, and on the pixels themselves, whose gradient nobody wants. */
static ac_value add_on_pixels(ac_graph *g, ac_value x, const op_case *c)
{
    ac_value left = add_conv(g, x, c);
    ac_value right = ac_add_conv2d(g, "on pixels", ac_graph_find(g, "input"), &(ac_conv2d_attribute){.out_channels = c->out, .kernel_px = c->kernel, .stride_px = c->stride,
                                   .padding_px = c->padding, .groups = 1, .bias = c->bias, .weight_init = {AC_INIT_NORMAL, 0, 0.3f}, .bias_init = {AC_INIT_NORMAL, 0, 0.3f}});
    return ac_add_add(g, "sum", left, right, AC_NO_VALUE, &(ac_drop_attribute){0});
}

static ac_value add_norm(ac_graph *g, ac_value x, const op_case *c)
{
    ac_batch_norm_attribute a = {1e-5f, 0.1f, c->activation, 0.1f, 1};
    ac_value y = ac_add_batch_norm(g, "norm1", x, AC_NO_VALUE, &a);
    return c->residual ? ac_add_batch_norm(g, "norm2", y, x, &a) : y;
}

static ac_value add_pool(ac_graph *g, ac_value x, const op_case *c)
{
    return ac_add_max_pool(g, "pool", x, &(ac_pool_attribute){c->kernel, c->stride, c->padding});
}

/* One value read three times: its gradient comes in parts. */
static ac_value add_fan(ac_graph *g, ac_value x, const op_case *c)
{
    ac_batch_norm_attribute a = {1e-5f, 0.1f, AC_ACTIVATION_RELU, 0, 1};
    op_case conv = *c;
    ac_value left = ac_add_batch_norm(g, "left", x, AC_NO_VALUE, &a), right = add_conv(g, left, &conv);
    ac_value sum = ac_add_batch_norm(g, "sum", right, left, &a);
    return ac_add_batch_norm(g, "last", sum, left, &a);
}

static const op_case cases[] = {
    {"conv 1x1", 2, 7, 5, add_conv, 1, 1, 0, 1, 7, .bias = true},
    {"conv 3x3", 2, 9, 17, add_conv, 3, 1, 1, 1, 16, .bias = false},
    {"conv 3x3 stride 2", 3, 9, 16, add_conv, 3, 2, 1, 1, 32, .bias = false},
    {"conv 7x7 stride 2", 1, 15, 3, add_conv, 7, 2, 3, 1, 64, .bias = true},
    {"conv 5x5 on one pixel", 2, 1, 3, add_conv, 5, 1, 2, 1, 4, .bias = true},
    {"conv 1x1, 200 channels", 2, 15, 200, add_conv, 1, 1, 0, 1, 70, .bias = false},
    {"conv 1x1, padding", 2, 6, 20, add_conv, 1, 1, 1, 1, 270, .bias = true},
    {"conv 1x1 stride 2, 530 channels", 1, 7, 530, add_conv, 1, 2, 0, 1, 33, .bias = false},
    {"conv 1x1 to 530 channels", 1, 4, 36, add_conv, 1, 1, 0, 1, 530, .bias = false},
    {"conv 3x3 stride 2, 37 channels", 3, 14, 37, add_conv, 3, 2, 1, 1, 45, .bias = false},
    {"conv 2x2 stride 3", 2, 10, 7, add_conv, 2, 3, 0, 1, 20, .bias = false},
    {"conv 5x5 stride 3, padding 3", 2, 11, 6, add_conv, 5, 3, 3, 1, 18, .bias = true},
    {"conv 3x3 by tiles, 40 to 50 channels", 4, 13, 40, add_conv, 3, 1, 1, 1, 50, .bias = true},
    {"conv 3x3 by tiles, no padding", 4, 14, 35, add_conv, 3, 1, 0, 1, 33, .bias = false},
    {"conv 3x3 by tiles, padding 2", 1, 21, 32, add_conv, 3, 1, 2, 1, 64, .bias = false},
    {"conv 3x3 stride 2, 12 to 20 channels", 3, 13, 12, add_conv, 3, 2, 1, 1, 20, .bias = false},
    {"conv 3x3, 24 to 152 channels", 2, 9, 24, add_conv, 3, 1, 1, 1, 152, .bias = false},
    {"conv 3x3, 36 to 92 channels", 1, 12, 36, add_conv, 3, 1, 1, 1, 92, .bias = true},
    {"conv 16x16 of windows, on pixels", 2, 32, 4, add_on_pixels, 16, 16, 0, 1, 24, .bias = true},
    {"conv 4x4 of windows, on pixels, 3 left over", 3, 11, 4, add_on_pixels, 4, 4, 0, 1, 20, .bias = false},
    {"conv 2x2 of windows", 2, 8, 12, add_conv, 2, 2, 0, 1, 20, .bias = true},
    {"conv in 3 groups", 2, 6, 9, add_conv, 3, 1, 1, 3, 6, .bias = true},
    {"depthwise conv", 2, 8, 16, add_conv, 3, 1, 1, 16, 16, .bias = false},
    {"batch norm", 3, 5, 17, add_norm, .activation = AC_ACTIVATION_NONE},
    {"batch norm, relu", 4, 8, 64, add_norm, .activation = AC_ACTIVATION_RELU},
    {"batch norm in several tiles", 3, 11, 70, add_norm, .activation = AC_ACTIVATION_RELU, .residual = true},
    {"batch norm, leaky relu, residual", 2, 7, 67, add_norm, .activation = AC_ACTIVATION_LEAKY_RELU, .residual = true},
    {"batch norm, residual, no activation", 2, 3, 1, add_norm, .activation = AC_ACTIVATION_NONE, .residual = true},
    {"max pool 3x3 stride 2", 2, 9, 17, add_pool, 3, 2, 1, .out = 17},
    {"max pool 2x2", 1, 5, 3, add_pool, 2, 2, 0, .out = 3},
    {"colour jitter in front", 4, 9, 3, add_conv, 1, 1, 0, 1, 4, .bias = true, .augment = {AC_AUGMENT_COLOUR, .4f, .4f, .4f, .3f, 0}},
    {"rotation in front", 3, 11, 3, add_conv, 1, 1, 0, 1, 4, .bias = true, .augment = {AC_AUGMENT_ROTATION, 0, 0, 0, 0, 30}},
    {"three readers", 2, 6, 8, add_fan, 3, 1, 1, 1, 8, .bias = false},
};

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_case(&cases[i]);
        if (cases[i].add == add_conv && cases[i].groups == 1 && strcmp(tested_backend(), "cpu") == 0) { /* what processors without AVX-512 run */
            setenv("ANYCLASS_CONV", "onednn", 1);
            against_ref(&cases[i], "cpu", &tolerances[0]);
            inference_against_ref(&cases[i], "cpu", &tolerances[0]);
            unsetenv("ANYCLASS_CONV");
        }
    }
    return tap_done();
}
