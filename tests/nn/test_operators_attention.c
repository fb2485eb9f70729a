/* attention, case by case (operator_case.h). */
#include "tests/nn/operator_case.h"

static ac_value add_attention(ac_graph *g, ac_value x, const op_case *c)
{
    float head = (float)(c->channels / (3 * c->n_heads));
    return ac_add_attention(g, "attention", x, &(ac_attention_attribute){c->attention, c->n_heads, c->window, 1 / sqrtf(head)});
}

/* Tokens of a map, of which the head sees the first. */
static ac_value add_global(ac_graph *g, ac_value x, const op_case *c)
{
    x = ac_add_tokens(g, "tokens", x, &(ac_tokens_attribute){{AC_INIT_NORMAL, 0, 0.3f}, {AC_INIT_NORMAL, 0, 0.3f}});
    return ac_add_first_token(g, "first token", add_attention(g, x, c));
}

/* The same, mixed by a batch norm, so that the first one knows of the others. */
static ac_value add_mixed(ac_graph *g, ac_value x, const op_case *c)
{
    const ac_tokens_attribute a = {{AC_INIT_NORMAL, 0, .5f}, {AC_INIT_NORMAL, 0, .5f}};
    ac_value y = add_attention(g, ac_add_tokens(g, "tokens", x, &a), c);
    return ac_add_first_token(g, "first_token", ac_add_batch_norm(g, "mix", y, AC_NO_VALUE, &(ac_batch_norm_attribute){1e-3f, 0.1f, AC_ACTIVATION_NONE, 0, 1}));
}

static const op_case cases[] = {
    {"global of 10, 3 heads of 5", 2, 3, 45, add_global, .attention = AC_ATTENTION_GLOBAL, .n_heads = 3},
    {"global of 65, 1 head of 64", 1, 8, 192, add_global, .attention = AC_ATTENTION_GLOBAL, .n_heads = 1},
    {"global, mixed, 10 positions, 3 heads of 5", 2, 3, 45, add_mixed, .attention = AC_ATTENTION_GLOBAL, .n_heads = 3},
    {"global, mixed, 50 positions, 1 head of 64", 2, 7, 192, add_mixed, .attention = AC_ATTENTION_GLOBAL, .n_heads = 1},
    {"global, mixed, 37 positions, 2 heads of 32", 1, 6, 192, add_mixed, .attention = AC_ATTENTION_GLOBAL, .n_heads = 2},
    {"window of 2, 2 heads of 8", 2, 6, 48, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 2, .window = 2},
    {"grid of 2, 2 heads of 8", 2, 6, 48, add_attention, .attention = AC_ATTENTION_GRID, .n_heads = 2, .window = 2},
    {"window of 3, 1 head of 5", 2, 9, 15, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 1, .window = 3},
    {"grid of 3, 3 heads of 5", 1, 6, 45, add_attention, .attention = AC_ATTENTION_GRID, .n_heads = 3, .window = 3},
    {"window of 7, 1 head of 32", 1, 14, 96, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 1, .window = 7},
    {"grid of 7, 1 head of 32", 1, 14, 96, add_attention, .attention = AC_ATTENTION_GRID, .n_heads = 1, .window = 7},
    {"window of 7, the whole map, 5 heads of 8", 2, 7, 120, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 5, .window = 7},
    {"global of 225, 1 head of 64", 1, 15, 192, add_global, .attention = AC_ATTENTION_GLOBAL, .n_heads = 1},
    {"window of 9, 2 heads of 32", 1, 9, 192, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 2, .window = 9},
    {"grid of 7, 2 heads of 64", 1, 14, 384, add_attention, .attention = AC_ATTENTION_GRID, .n_heads = 2, .window = 7},
    {"window of 1", 1, 3, 12, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 1, .window = 1},
};

/* Products in bf16 round probabilities and the gradient of logits before they are multiplied (2^-9 of each), which ref does not: losses are then as far
 * apart as ref's own is from its loss in float (seen: up to 4.1e-3 here, 1.1e-2 there), gradients about one rounding further than the other operators'
 * (seen: 8e-3). */
static const tolerance rounded = {AC_BF16, 1e-2, 0x1p-6, 2e-2};

/* The first token does not see what is not a number in another's q; test_attention has that. */
static void nan_in_both(const op_case *c, ac_dtype dtype)
{
    if (c->add != add_global) {
        nan_goes_through(c, "cpu", dtype);
        nan_goes_through(c, "ref", dtype);
    }
}

static void run_all_ways(const op_case *c)
{
    differences(c);
    against_ref(c, "cpu", &tolerances[0]);
    inference_against_ref(c, "cpu", &tolerances[0]);
    nan_in_both(c, AC_F32);
    near_float(c);
    setenv("ANYCLASS_ATTENTION", "plain", 1); /* what processors without AVX-512 run */
    against_ref(c, "cpu", &tolerances[0]);
    inference_against_ref(c, "cpu", &tolerances[0]);
    unsetenv("ANYCLASS_ATTENTION");
    if (!runs_here("cpu", AC_BF16))
        return;
    against_ref(c, "cpu", &rounded);
    inference_against_ref(c, "cpu", &rounded);
    nan_in_both(c, AC_BF16);
    setenv("ANYCLASS_ATTENTION", "float", 1);
    against_ref(c, "cpu", &tolerances[1]);
    unsetenv("ANYCLASS_ATTENTION");
}

int main(void)
{
    const char *backend = tested_backend();
    bool cpu = strcmp(backend, "cpu") == 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cpu) {
            if (part_has_next())
                run_all_ways(&cases[i]);
        } else if (cases[i].add != add_global) {
            run_case(&cases[i]);
        } else if (part_has_next()) {
            for (size_t k = 0; k < sizeof tolerances / sizeof *tolerances; k++) {
                against_ref(&cases[i], backend, tolerance_of(backend, k));
                inference_against_ref(&cases[i], backend, tolerance_of(backend, k));
            }
        }
    }
    return tap_done();
}
