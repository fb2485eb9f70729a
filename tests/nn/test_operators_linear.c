/* linear, case by case (operator_case.h): activations, residual, and sizes on both sides of every block of the products. */
#include "tests/nn/operator_case.h"

static const ac_init weights = {AC_INIT_NORMAL, 0, 0.2f};

static ac_value add_one(ac_graph *g, ac_value x, const op_case *c)
{
    ac_linear_attribute a = {.out_features = c->out, .bias = c->bias, .weight_init = weights, .bias_init = weights, .activation = c->activation};
    return ac_add_linear(g, "fc", x, &a);
}

/* As in an encoder: x + fc2(gelu(fc1(x))), x read twice; the gradient of x is added to. */
static ac_value add_mlp(ac_graph *g, ac_value x, const op_case *c)
{
    ac_linear_attribute a = {.out_features = c->out, .bias = true, .weight_init = weights, .bias_init = weights, .activation = c->activation};
    ac_value y = ac_add_linear(g, "fc1", x, &a);
    a.out_features = c->channels;
    a.activation = AC_ACTIVATION_NONE;
    return ac_add_linear_residual(g, "fc2", y, x, &a);
}

/* One output read three times: its gradient comes in parts. */
static ac_value add_three_readers(ac_graph *g, ac_value x, const op_case *c)
{
    ac_linear_attribute a = {.out_features = c->channels, .bias = true, .weight_init = weights, .bias_init = weights, .activation = c->activation};
    ac_value y = ac_add_linear(g, "fc1", x, &a), z;
    a.activation = AC_ACTIVATION_NONE;
    z = ac_add_linear_residual(g, "fc2", y, y, &a);
    return ac_add_linear_residual(g, "fc3", y, z, &a);
}

/* On [N, C]. */
static ac_value add_behind_average(ac_graph *g, ac_value x, const op_case *c)
{
    return add_one(g, ac_add_global_avg_pool(g, "first average", x), c);
}

static const op_case cases[] = {
    {"linear", 2, 7, 5, add_one, .out = 7, .bias = true},
    {"linear to 70", 2, 7, 35, add_one, .out = 70, .bias = true},
    {"linear to 33, no bias", 1, 9, 64, add_one, .out = 33},
    {"linear, gelu", 3, 5, 17, add_one, .out = 40, .bias = true, .activation = AC_ACTIVATION_GELU},
    {"linear to few, gelu", 2, 5, 33, add_one, .out = 9, .bias = true, .activation = AC_ACTIVATION_GELU},
    {"linear, tanh", 4, 4, 31, add_behind_average, .out = 48, .bias = true, .activation = AC_ACTIVATION_TANH},
    {"linear to few, tanh", 4, 4, 31, add_behind_average, .out = 6, .bias = true, .activation = AC_ACTIVATION_TANH},
    {"linear in several blocks", 2, 12, 33, add_one, .out = 130, .bias = true, .activation = AC_ACTIVATION_GELU},
    {"mlp with residual", 2, 5, 24, add_mlp, .out = 72, .activation = AC_ACTIVATION_GELU},
    {"mlp with residual, few", 2, 6, 8, add_mlp, .out = 32, .activation = AC_ACTIVATION_GELU},
    {"linear of 400", 1, 3, 400, add_behind_average, .out = 36, .bias = true},
    {"three readers", 2, 5, 40, add_three_readers, .activation = AC_ACTIVATION_GELU},
    {"three readers, tanh, few", 2, 5, 12, add_three_readers, .activation = AC_ACTIVATION_TANH},
};

int main(void)
{
    static const char *const tiles[] = {"plain", "avx2"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_case(&cases[i]);
        for (int k = 0; k < 2 && strcmp(tested_backend(), "cpu") == 0; k++) { /* what other processors run */
            setenv("ANYCLASS_GEMM", tiles[k], 1);
            against_ref(&cases[i], "cpu", &tolerances[0]);
            inference_against_ref(&cases[i], "cpu", &tolerances[0]);
            unsetenv("ANYCLASS_GEMM");
        }
    }
    return tap_done();
}
