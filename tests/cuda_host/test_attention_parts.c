/* The gradients of q, k and v of attention's tensor core kernels, each on its own against `ref`: in a network those of q and k are small beside v's, and nobody would
 * see them missing. Emulated only: arrays are host memory. */
#include "tests/model/drawn.h"
#include "tests/nn/operator_alone.h"
#include "tests/tap.h"
#include <math.h>

#ifdef AC_CUDA_EMULATED
typedef struct shape {
    const char *name;
    ac_attention_kind kind;
    int64_t batch, height, width;
    int n_heads, head, window;
} shape;

static const shape shapes[] = {
    {"global of 50, heads of 64", AC_ATTENTION_GLOBAL, 2, 1, 50, 2, 64, 0}, {"global of 197, heads of 64", AC_ATTENTION_GLOBAL, 1, 1, 197, 1, 64, 0},
    {"global of 37, heads of 32", AC_ATTENTION_GLOBAL, 2, 1, 37, 2, 32, 0}, {"global of 225, heads of 64", AC_ATTENTION_GLOBAL, 1, 1, 225, 1, 64, 0},
    {"window of 7", AC_ATTENTION_WINDOW, 1, 14, 21, 2, 32, 7},              {"grid of 7", AC_ATTENTION_GRID, 2, 14, 14, 1, 32, 7},
    {"window of 9", AC_ATTENTION_WINDOW, 1, 9, 9, 1, 32, 9},
};

static ac_status run(alone *a, const shape *s, const char *backend)
{
    ac_status status = AC_OK;
    int64_t channels = 3 * s->n_heads * s->head;
    ac_shape x = {4, {s->batch, s->height, s->width, channels}, AC_BF16};
    if (s->kind == AC_ATTENTION_GLOBAL)
        x = (ac_shape){3, {s->batch, s->height * s->width, channels}, AC_BF16};
    ac_attention_attribute attribute = {s->kind, s->n_heads, s->window, 1 / sqrtf((float)s->head)};
    AC_TRY(alone_open(a, backend, 1, &x, &ac_op_attention, &attribute, true));
    for (int64_t i = 0; i < a->n_x; i++)
        alone_set(a, ALONE_X, i, 3 * (2 * drawn("qkv", (uint64_t)i) - 1));
    for (int64_t i = 0; i < a->n_y; i++)
        alone_set(a, ALONE_DY, i, 2 * drawn("gradient", (uint64_t)i) - 1);
    for (int64_t i = 0; i < a->n_param; i++)
        alone_set(a, ALONE_PARAM, i, 2 * drawn("table", (uint64_t)i) - 1);
    AC_TRY(alone_run_on_device(a));
out:
    return status;
}

/* Root of the mean square difference to that of the gradient, of q (0), k or v. */
static double differs(const alone *a, const alone *b, int64_t channels, int which)
{
    double squares = 0, most = 1e-30;
    for (int64_t i = 0; i < a->n_x; i++) {
        double x = alone_get(a, ALONE_DX, i), y = alone_get(b, ALONE_DX, i);
        if (i / channels % 3 != which)
            continue;
        if (isnan(y))
            return 1;
        squares += (x - y) * (x - y);
        most += x * x;
    }
    return sqrt(squares / most);
}
#endif

int main(void)
{
#ifdef AC_CUDA_EMULATED
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        alone a, b;
        ac_status status = run(&a, &shapes[k], "ref");
        ac_status other = run(&b, &shapes[k], "cuda");
        TAP_OK(status == AC_OK && other == AC_OK, "%s runs", shapes[k].name);
        for (int which = 0; which < 3 && status == AC_OK && other == AC_OK; which++) {
            double d = differs(&a, &b, shapes[k].n_heads * shapes[k].head, which);
            TAP_OK(d < 0.01, "%s, gradient of %c differs by %.2g of itself", shapes[k].name, "qkv"[which], d); /* probabilities and their gradients in bf16: 2^-9 each */
        }
        alone_close(&a);
        alone_close(&b);
    }
#else
    TAP_OK(true, "nothing to do without the emulation");
#endif
    return tap_done();
}
