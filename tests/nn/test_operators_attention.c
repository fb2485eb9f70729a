/* attention, case by case (operator_case.h). */
#include "tests/nn/operator_case.h"

static ac_value add_attention(ac_graph *g, ac_value x, const op_case *c)
{
    float head = (float)(c->channels / (3 * c->n_heads));
    return ac_add_attention(g, "attention", x, &(ac_attention_attribute){c->attention, c->n_heads, c->window, 1 / sqrtf(head)});
}

/* All positions of the map and one more in front. Batch norm mixes them, so that the first one knows of the others. */
static ac_value add_global(ac_graph *g, ac_value x, const op_case *c)
{
    const ac_tokens_attribute a = {{AC_INIT_NORMAL, 0, .5f}, {AC_INIT_NORMAL, 0, .5f}};
    ac_value y = add_attention(g, ac_add_tokens(g, "tokens", x, &a), c);
    return ac_add_first_token(g, "first_token", ac_add_batch_norm(g, "mix", y, AC_NO_VALUE, &(ac_batch_norm_attribute){1e-3f, 0.1f, AC_ACTIVATION_NONE, 0, 1}));
}

static const op_case cases[] = {
    {"global, 10 positions, 3 heads of 5", 2, 3, 45, add_global, .attention = AC_ATTENTION_GLOBAL, .n_heads = 3},
    {"global, 50 positions, 1 head of 64", 2, 7, 192, add_global, .attention = AC_ATTENTION_GLOBAL, .n_heads = 1},
    {"global, 37 positions, 2 heads of 32", 1, 6, 192, add_global, .attention = AC_ATTENTION_GLOBAL, .n_heads = 2},
    {"window of 2, 2 heads of 8", 2, 6, 48, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 2, .window = 2},
    {"grid of 2, 2 heads of 8", 2, 6, 48, add_attention, .attention = AC_ATTENTION_GRID, .n_heads = 2, .window = 2},
    {"window of 3, 1 head of 5", 2, 9, 15, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 1, .window = 3},
    {"grid of 3, 3 heads of 5", 1, 6, 45, add_attention, .attention = AC_ATTENTION_GRID, .n_heads = 3, .window = 3},
    {"window of 7, 2 heads of 32", 2, 14, 192, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 2, .window = 7},
    {"grid of 7, 2 heads of 32", 2, 14, 192, add_attention, .attention = AC_ATTENTION_GRID, .n_heads = 2, .window = 7},
    {"window of 7, the whole map, 5 heads of 8", 2, 7, 120, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 5, .window = 7},
    {"window of 1", 1, 3, 12, add_attention, .attention = AC_ATTENTION_WINDOW, .n_heads = 1, .window = 1},
};

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_case(&cases[i]);
        if (strcmp(tested_backend(), "cpu") != 0)
            continue;
        setenv("ANYCLASS_ATTENTION", "plain", 1); /* what processors without AVX-512 run */
        against_ref(&cases[i], "cpu", &tolerances[0]);
        inference_against_ref(&cases[i], "cpu", &tolerances[0]);
        unsetenv("ANYCLASS_ATTENTION");
    }
    return tap_done();
}
